//! Stage 6, feedback: the decision log.
//!
//! [`DecisionLog`] keeps what was decided, so that a slate can be looked up, explained, replayed
//! and joined with what came of it. Records are queued in memory and written by a thread of the
//! log's own, in checksummed, compressed blocks, to a bounded set of files.
//!
//! **What survives.** A killed process loses nothing that [`DecisionLog::record`] took: it is in the hands of the operating system before `record` returns. When the machine
//! stops, everything recorded before a [`DecisionLog::flush`] that returned `Ok` survives; of
//! the rest, what was recorded within the last `sync_interval` (and the time one write takes) may
//! be lost. Decisions are not events: losing the last second of them loses no behaviour.
//!
//! What this crate does not know: the engine, models, HTTP. One process at a time may open a folder; the
//! caller sees to that. Entry point: [`DecisionLog::open`].

mod block;
mod columns;
mod error;
mod files;
mod log;
mod tail;
mod waiting;

pub use error::FeedbackError;
pub use files::{Verified, verify};
pub use log::{DecisionFilter, DecisionLog, DecisionLogOptions, DecisionLogStats};

use domain::Decision;
use serde::{Deserialize, Serialize};

/// A decision as kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredDecision {
    /// The record.
    pub decision: Decision,
    /// Microseconds by stage; not part of the record, since they differ from run to run.
    pub timings_us: Vec<(String, u64)>,
    /// What was asked, as whoever decided wrote it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<serde_json::Value>,
}
