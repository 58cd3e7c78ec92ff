//! Why an estimator does not answer, and what is wrong with a request.

use std::borrow::Cow;
use thiserror::Error;

/// Why an estimator refuses a log.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nobody wrote down with which probability actions were chosen.
    #[error(
        "the log has no propensities: the probability with which each action was chosen was not recorded; they are \
         guessed only on explicit demand"
    )]
    MissingPropensities,
    /// The target chooses what the log knows nothing about.
    #[error(
        "support is missing: {mass:.4} of the target's choices are where the logging policy never went ({evidence})"
    )]
    MissingSupport {
        /// Share of the target's choices.
        mass: f64,
        /// What shows it.
        evidence: String,
    },
    /// The estimator needs more than the log has.
    #[error("the log lacks {0}")]
    MissingInput(Cow<'static, str>),
    /// No round of the log is one that the target could have produced.
    #[error("all importance weights are zero: the target chooses nothing that is in the log")]
    NoWeight,
    /// Too few rounds for a variance.
    #[error("the log has {0} rounds, expected at least 2")]
    TooFewRounds(usize),
    /// A result that is not a finite number, as from an overflow.
    #[error("the estimate is not a finite number: {0}")]
    NotFinite(f64),
}

impl Refusal {
    /// Of a log that lacks this.
    pub(crate) fn lacks(what: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::MissingInput(what.into())
    }
}

/// A request that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: got {got}, expected {expected}")]
pub struct RequestError {
    /// Which option.
    pub field: String,
    /// What was there.
    pub got: String,
    /// What was expected.
    pub expected: String,
}

impl RequestError {
    pub(crate) fn new(field: &str, got: impl ToString, expected: impl Into<String>) -> RequestError {
        RequestError {
            field: field.to_owned(),
            got: got.to_string(),
            expected: expected.into(),
        }
    }
}
