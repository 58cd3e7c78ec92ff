//! Conformance suites, planted worlds and generators for tests.
//!
//! What this crate does not know: any implementation; suites take what they test as an argument.

pub mod catalogues;
pub mod stages;
pub mod stores;
pub mod worlds;
