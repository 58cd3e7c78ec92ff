//! What goes wrong with the decision log.

use std::path::Path;

/// Why the decision log did not do what was asked. All are for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackError {
    /// The disk refused.
    #[error("{action} {path}: {reason}")]
    Io {
        /// What was tried, as a gerund.
        action: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// What is stored is not what was written.
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// File.
        path: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A record could not be encoded.
    #[error("encoding decision {id}: {reason}")]
    Encode {
        /// Which.
        id: String,
        /// Why.
        reason: String,
    },
    /// The log's thread could not be started.
    #[error("starting the writer of the decision log: {0}")]
    Thread(String),
}

impl FeedbackError {
    pub(crate) fn io(action: &'static str, path: &Path, error: &std::io::Error) -> FeedbackError {
        FeedbackError::Io {
            action,
            path: path.display().to_string(),
            reason: error.to_string(),
        }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, reason: impl ToString) -> FeedbackError {
        FeedbackError::Damaged {
            path: path.display().to_string(),
            offset,
            reason: reason.to_string(),
        }
    }
}
