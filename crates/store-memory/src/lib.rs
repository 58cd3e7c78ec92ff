//! Event log and catalogue in memory.
