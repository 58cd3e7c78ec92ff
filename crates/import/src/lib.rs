//! Files into events, items and users.
//!
//! A [`RowSource`] gives rows as cells: delimited text ([`open_text`]), JSON lines, or another crate's format. [`plan`]
//! looks at the first rows and says what each column will become; [`run`] reads everything, turns rows
//! into what a [`Sink`] takes, counts bad ones by cause and names each in a rejects file. Decoding,
//! conversion and the sink run side by side; memory is bounded by a few batches, whatever the size of the file.
//!
//! What this crate does not know: where rows go, Parquet, terminals.

mod cell;
mod convert;
mod delimited;
mod error;
mod fields;
mod guess;
mod json_lines;
mod moments;
mod plan;
mod run;
mod source;
mod text;

pub use cell::{Batch, Cell, Row};
pub use error::{BadRow, ImportError};
pub use fields::{Field, Kind};
pub use moments::TimeUnit;
pub use plan::{Column, Options, Plan, plan};
pub use run::{Counts, Progress, Sink, Summary, run};
pub use source::{Consumed, RowSource};
pub use text::{Compression, Format, TextOptions, is_parquet, open_text};
