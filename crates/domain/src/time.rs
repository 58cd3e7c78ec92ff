//! Moments and positions in the event log.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z; may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole days, as a fraction, from `earlier` to `self`; zero if `earlier` is later.
    pub fn days_since(self, earlier: Timestamp) -> f32 {
        (self.0.saturating_sub(earlier.0).max(0) as f64 / 86_400_000.0) as f32
    }
}

/// Position of an accepted event in the log: the first is 1, the next is one more, with no gaps
/// except those that erasure leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first event.
    pub const ZERO: Sequence = Sequence(0);

    /// The position after this one.
    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
