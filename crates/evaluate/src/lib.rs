//! Measuring models offline: ranking metrics, splits, protocols and intervals.
//!
//! [`Scheme`] says whom and what to judge by and makes cases of a split. [`prepare`] turns rows into
//! what a learner may see and what it is judged by, and refuses test pairs that occur in the training
//! rows. [`measure`] ranks for every test user and gives each metric with a bootstrap interval;
//! [`compare`] says whether two models differ. [`measure_lists`] does the same for lists made
//! elsewhere. [`Search`] proposes configurations to try. The definitions of the metrics stand in
//! [`metrics`], [`Popularity`], [`Groups`] and [`Labels`].
//!
//! What this crate does not know: files, the clock, how models are built.

mod bootstrap;
mod compare;
mod error;
mod groups;
mod labels;
mod lists;
mod measure;
pub mod metrics;
mod popularity;
mod prepare;
mod protocols;
mod replay;
mod set;
mod split;
mod tune;

pub use bootstrap::{Estimate, ROUNDS};
pub use compare::{Comparison, SIGN_ROUNDS, compare};
pub use error::EvaluateError;
pub use groups::{GROUPS, Groups, gini};
pub use labels::Labels;
pub use lists::{ListMetrics, Listed, ListsInput, measure_lists};
pub use measure::{LIST_LENGTH_MIN, Measured, Protocol, Segment, measure};
pub use popularity::Popularity;
pub use prepare::{DataSummary, Inputs, Prepared, TestUser, prepare};
pub use protocols::{Among, Case, Scheme};
pub use replay::{Batch, Replay};
pub use set::{Judge, Lens, MetricSet};
pub use split::{Row, Split, split};
pub use tune::{Found, Rung, Search, Trial, cut_for_tuning, rungs};
