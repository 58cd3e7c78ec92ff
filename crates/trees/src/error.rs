//! What can go wrong.

/// Why trees cannot be learnt or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreesError {
    /// The caller's configuration or rows cannot be.
    #[error("{field}: got {got}, expected {expected}")]
    Input {
        /// Which part.
        field: String,
        /// What was there.
        got: String,
        /// What should have been.
        expected: String,
    },
    /// The bytes are not those of a forest as it was written.
    #[error("the forest is damaged: {0}")]
    Damaged(String),
}

impl TreesError {
    pub(crate) fn input(
        field: impl Into<String>,
        got: impl ToString,
        expected: impl Into<String>,
    ) -> TreesError {
        TreesError::Input {
            field: field.into(),
            got: got.to_string(),
            expected: expected.into(),
        }
    }
}
