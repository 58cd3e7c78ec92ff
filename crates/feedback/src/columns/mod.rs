//! Decisions as bytes: what is long stands in columns, the rest as JSON.
//!
//! Nearly all of a record is its candidates: for each an item, a score, and for each source that proposed it a rank and a score. Those, the removals
//! and the history are taken out of the records and stood side by side: texts once per block, in the order of first mention, and
//! then by number; scores as differences of their bit patterns from the one before, which are small since lists are in order; ranks as differences. What remains of a
//! record is a line of JSON. A record whose candidates name their sources in an order that columns cannot tell keeps them in its line. The features of what was shown stand
//! feature by feature, as many of them are the same for a whole slate, under their names as one text; so do the numbers of the stages and their times. What was shown stands in a column of its own, unless parts of its scores
//! were asked for.
//!
//! Everything comes back to the last bit.

mod decode;
mod encode;
mod line;
mod names;
mod numbers;
mod strengths;

pub(crate) use decode::{decode, records, streams};
pub(crate) use encode::{Encoder, Head, head};

/// Streams of a block, one after the other.
pub(crate) const STREAMS: usize = 13;
/// The first versions had these, the next ones more: what the others hold stood in the line, and strengths behind each item of the history.
const STREAMS_BEFORE: usize = 9;
const LINES: usize = 0;
const NAMES: usize = 1;
const COUNTS: usize = 2;
const ITEMS: usize = 3;
const SCORES: usize = 4;
const SOURCES: usize = 5;
const HITS: usize = 6;
const HISTORY: usize = 7;
const REMOVALS: usize = 8;
const FEATURES: usize = 9;
const STAGES: usize = 10;
const SHOWN: usize = 11;
const STRENGTHS: usize = 12;

/// Between names that stand as one text, which have none of it.
const BETWEEN: char = '\n';
