//! Where rows come from.

use crate::{Batch, ImportError};

/// How far a source has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consumed {
    /// Bytes of the file read, compressed as they are, or rows where these are known beforehand.
    pub done: u64,
    /// Of how many, if known.
    pub total: Option<u64>,
    /// True if `done` and `total` are rows.
    pub are_rows: bool,
}

/// Rows of a file, in order.
pub trait RowSource: Send {
    /// Names of the columns met so far; it may grow at the end, never change.
    fn columns(&self) -> &[String];
    /// What was found out about the format, in a line.
    fn describe(&self) -> String;
    /// About `max` more rows, or `None` at the end.
    ///
    /// # Errors
    /// A file that cannot be read further.
    fn next_batch(&mut self, max: usize) -> Result<Option<Batch>, ImportError>;
    /// How far it has come.
    fn consumed(&self) -> Consumed;
}
