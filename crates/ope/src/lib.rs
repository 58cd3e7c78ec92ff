//! Off-policy evaluation: what a policy would have earned, judged from a log that another one wrote.
//!
//! A [`Log`] holds rounds with one action each, a [`SlateLog`] rounds with several positions. [`judge`] and [`judge_slates`] run
//! estimators of the [`estimators`] and [`slate_estimators`] tables over them and give a [`Report`]: value, intervals, effective sample
//! size, tails of the weights, and the check whether the log can say anything about the target at all. An estimator that cannot be
//! trusted with a log refuses it with a reason ([`Refusal`]).
//!
//! Rounds are taken as independent of each other, given what was logged. Where one person causes many of them, intervals are too
//! narrow.
//!
//! What this crate does not know: decisions, files, models that serve. It sees numbers only.

mod contributions;
mod estimators;
mod few_events;
mod gamma;
mod interval;
mod log;
mod recorded;
mod refusal;
mod registry;
mod report;
mod reward_model;
mod slate_log;
mod slates;
mod slope;
mod solve;
mod support;
mod weights;

pub use contributions::{Contributions, Ratio};
pub use few_events::FewEvents;
pub use interval::{Bernstein, Intervals, Range, intervals};
pub use log::{Assumption, Log, LogError, PropensitySource};
pub use recorded::{
    JudgedSlate, RecordedSlate, ScorePolicy, first_choices, judged_choices, judged_log, judged_slates,
    recorded_log,
};
pub use refusal::{Refusal, RequestError};
pub use registry::{
    Entry, Estimator, Needs, Parameter, SlateEntry, SlateEstimator, SupportOf, estimator, estimators,
    slate_estimator, slate_estimators,
};
pub use report::{Estimate, IntervalKind, Options, Refused, Report, Tuned, judge, judge_slates};
pub use reward_model::{RewardKind, RewardModelConfig, cross_fit};
pub use slate_log::{SlateLog, TabularModel};
pub use slates::pseudo_inverse::pseudo_inverse_weights;
pub use slope::{Tuning, mean_square, slope};
pub use support::{Support, SupportEvidence};
pub use weights::{WeightTails, effective_sample_size, weight_tails};
