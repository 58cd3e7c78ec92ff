//! Why there is no measurement. All are errors of the input.

/// What is wrong with what was to be measured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvaluateError {
    /// No rows to learn from.
    #[error("train: no rows{0}")]
    EmptyTrain(String),
    /// No rows to judge by.
    #[error("test: no rows{0}")]
    EmptyTest(String),
    /// Test pairs that the learner would see.
    #[error(
        "test: {pairs} of {of} user-item pairs also occur in {given}, for example user {user} with item {item}; \
         remove them, or allow the overlap to leave them out of the judgement"
    )]
    Overlap {
        /// How many.
        pairs: usize,
        /// Of how many.
        of: usize,
        /// In which rows they also occur.
        given: &'static str,
        /// Example: the user.
        user: String,
        /// Example: the item.
        item: String,
    },
    /// A split that cannot be.
    #[error(
        "split: got {got:?}, expected temporal:SHARE, last:COUNT or random:SHARE with 0 < SHARE < 1 and COUNT ≥ 1"
    )]
    Split {
        /// What was there.
        got: String,
    },
    /// A split in time of rows without time.
    #[error(
        "split: all {rows} rows have the same moment, so they cannot be split by time; is the timestamp column missing?"
    )]
    NoTime {
        /// How many rows.
        rows: usize,
    },
    /// List lengths that cannot be.
    #[error("k: got {got}, expected one or more whole numbers of at least 1")]
    Lengths {
        /// What was there.
        got: String,
    },
    /// A user of the test has no negatives.
    #[error(
        "negatives: user {user} of the test has none; every test user needs at least one ({missing} have none)"
    )]
    NoNegatives {
        /// An example.
        user: String,
        /// How many.
        missing: usize,
    },
    /// A parameter of a protocol cannot be.
    #[error("{field}: got {got}, expected {expected}")]
    Scheme {
        /// Which.
        field: &'static str,
        /// What was there.
        got: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A protocol leaves nobody to rank for.
    #[error("protocol {protocol}: nobody is left to judge by; hold out a larger share, or fewer first rows")]
    NobodyLeft {
        /// Which.
        protocol: &'static str,
    },
    /// No item has this attribute as a label.
    #[error("calibrate-by: got {got:?}, expected one of {}", if known.is_empty() { "the attributes of --items with categories or tags".to_owned() } else { known.join(", ") })]
    Attribute {
        /// What was there.
        got: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A metric that is not taken by user.
    #[error("metric: got {got:?}, expected one of {}", known.join(", "))]
    Metric {
        /// What was there.
        got: String,
        /// What there is.
        known: Vec<String>,
    },
    /// An item stands twice in one list.
    #[error("recommendations: user {user} has item {item} twice")]
    Twice {
        /// Whose list.
        user: String,
        /// Which item.
        item: String,
    },
}
