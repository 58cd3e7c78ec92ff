//! Tests of the crate's promises.

mod conformance;
mod learners;
