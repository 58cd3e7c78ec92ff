//! What went wrong, who must act, on which field.

use domain::StoreError;
use serde::Serialize;

/// Who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The caller must change the request.
    Caller,
    /// The operator must look after the machine or the data folder.
    Operator,
    /// It is a defect of this program.
    Us,
}

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Dotted path of the field, as in the request.
    pub field: String,
    /// What was there, cut to 120 characters.
    pub got: String,
    /// What should have been.
    pub expected: String,
}

impl Problem {
    /// A problem with a field.
    pub fn new(field: impl Into<String>, got: impl Into<String>, expected: impl Into<String>) -> Problem {
        let got: String = got.into();
        let got = if got.chars().count() > 120 {
            got.chars().take(117).chain("...".chars()).collect()
        } else {
            got
        };
        Problem {
            field: field.into(),
            got,
            expected: expected.into(),
        }
    }
}

/// Why the service did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ServiceError {
    /// The caller asked for something that cannot be.
    #[error("{}: got {}, expected {}", .0.field, .0.got, .0.expected)]
    Input(Problem),
    /// There is no such thing.
    #[error("no {what} {id:?}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// An input that a past decision rests on is not kept any more, or never was.
    #[error("the {what} is gone: {detail}")]
    Gone {
        /// Which input: `request`, `lineage`, `configuration`, `bundle`, `catalogue`, `positions` or `events`.
        what: &'static str,
        /// What exactly, and why.
        detail: String,
    },
    /// Something is under way that excludes it.
    #[error("{0}")]
    Busy(String),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the data folder could not be read or written.
    #[error("{action} {path}: {reason}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// There are too few events to learn from as yet.
    #[error("training: {0}")]
    TooLittle(String),
    /// Training failed.
    #[error("training: {0}")]
    Training(String),
}

impl ServiceError {
    /// Who must act.
    pub fn actor(&self) -> Actor {
        match self {
            ServiceError::Input(_)
            | ServiceError::NotFound { .. }
            | ServiceError::Gone { .. }
            | ServiceError::Busy(_)
            | ServiceError::TooLittle(_) => Actor::Caller,
            ServiceError::Store(StoreError::Input { .. }) => Actor::Caller,
            ServiceError::Store(_)
            | ServiceError::Io { .. }
            | ServiceError::Config(_)
            | ServiceError::Training(_) => Actor::Operator,
        }
    }

    /// Shorthand for an input error.
    pub fn input(
        field: impl Into<String>,
        got: impl Into<String>,
        expected: impl Into<String>,
    ) -> ServiceError {
        ServiceError::Input(Problem::new(field, got, expected))
    }

    /// Shorthand for an input that is gone.
    pub(crate) fn gone(what: &'static str, detail: impl Into<String>) -> ServiceError {
        ServiceError::Gone {
            what,
            detail: detail.into(),
        }
    }

    /// Shorthand for a file error.
    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
        reason: impl std::fmt::Display,
    ) -> ServiceError {
        ServiceError::Io {
            action,
            path: path.display().to_string(),
            reason: reason.to_string(),
        }
    }
}
