//! The catalogue in one SQLite file.
//!
//! Items and users are rows of strict tables with their attributes as JSON; a put is one transaction in
//! WAL mode with full synchronisation, so it is on stable storage when it returns. The kinds of attributes
//! are inferred from counts that are kept in memory and brought up to date with every put; fixed kinds are stored.
//!
//! Cost: a put is one transaction whatever its size; opening is cheap, the first question about the schema
//! reads every row once. One connection behind one lock.
//!
//! What this crate does not know: events, models, HTTP.

mod catalogue;
mod errors;
mod json;
mod rules;
mod schema;

pub use catalogue::SqliteCatalogue;
