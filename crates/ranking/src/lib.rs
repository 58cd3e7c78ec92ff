//! Stage 3, ranking: scores for candidates.
//!
//! [`SourceScoreRanker`] ranks by what the sources said, and is what answers when the ranker of a
//! placement fails. [`TreesRanker`] ranks by a learnt model over the [feature catalogue](features), several outcomes combined by weights. [`learn`] makes
//! such a model from what was shown and what came of it, with or without a correction for places ([`by_interventions`], [`by_expectation`]). Models are made into rankers by `assembly`.
//!
//! What this crate does not know: models, item ids, where attributes are kept, the clock.

mod config;
mod examination;
pub mod features;
mod learn;
mod outcome_model;
mod source_score;
mod trees_ranker;

pub use config::{HeadWeight, PositionMode, RankObjective, RankerConfig, RankerKind};
pub use examination::{Impression, PLACES_MAX, by_expectation, by_interventions};
pub use features::FeatureError;
pub use learn::{HeadReport, LearnError, LearnReport, RankRows, learn};
pub use outcome_model::{DamagedRanker, Form, Head, OutcomeModel};
pub use source_score::SourceScoreRanker;
pub use trees_ranker::TreesRanker;
