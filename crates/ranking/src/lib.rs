//! Stage 3, ranking: scores for candidates.
//!
//! [`SourceScoreRanker`] ranks by what the sources said, and is what answers when the ranker of a
//! placement fails. Models are made into rankers by `assembly`.
//!
//! What this crate does not know: models, item ids, attributes, the clock.

mod source_score;

pub use source_score::SourceScoreRanker;
