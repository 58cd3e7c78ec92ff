//! The decision log on a real disk.

mod log;
