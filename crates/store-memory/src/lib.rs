//! Event log and catalogue in memory: slow, obvious, and nothing kept. The yardstick for the others.
//!
//! What this crate does not know: files, databases, what an event is worth.

mod catalogue;
mod log;

pub use catalogue::MemoryCatalogue;
pub use log::MemoryEventLog;
