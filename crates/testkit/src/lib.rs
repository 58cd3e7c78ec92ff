//! Conformance suites, planted worlds and generators for tests.

pub mod stages;
