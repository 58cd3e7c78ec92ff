//! The decision log on a real disk.

mod columns;
mod log;
