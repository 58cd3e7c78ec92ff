//! Measuring models offline: ranking metrics, splits, protocols and intervals.
//!
//! [`prepare`] turns rows into what a learner may see and what it is judged by, and refuses test
//! pairs that occur in the training rows. [`measure`] ranks for every test user and gives each
//! metric with a bootstrap interval. [`measure_lists`] does the same for lists made elsewhere.
//! The definitions of the metrics stand in [`metrics`] and [`Popularity`].
//!
//! What this crate does not know: files, the clock, how models are built.

mod bootstrap;
mod error;
mod lists;
mod measure;
pub mod metrics;
mod popularity;
mod prepare;
mod set;
mod split;

pub use bootstrap::{Estimate, ROUNDS};
pub use error::EvaluateError;
pub use lists::{ListMetrics, Listed, ListsInput, measure_lists};
pub use measure::{LIST_LENGTH_MIN, Measured, Protocol, Segment, measure};
pub use popularity::Popularity;
pub use prepare::{DataSummary, Inputs, Prepared, TestUser, prepare};
pub use set::MetricSet;
pub use split::{Row, Split, split};
