//! Parquet files as rows for `import`, and events as Parquet files.
//!
//! [`open`] gives a [`RowSource`](import::RowSource): flat columns and lists of texts or numbers, of any physical type that has a
//! counterpart; nested ones are left out and named in the description. Rows are decoded some
//! thousands at a time, so memory does not grow with the file, only with its widest row group's pages.
//! [`write_events`] is the other way round; [`write_shown`] writes what decisions showed.
//!
//! What this crate does not know: where rows go, and what columns mean.

mod read;
mod values;
mod write;

pub use read::open;
pub use write::{ShownRow, WriteError, write_events, write_shown};
