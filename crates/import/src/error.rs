//! What can be wrong with a file or with one of its rows.

use serde::Serialize;

/// Why a row was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// Column or field at fault; `row` for the row as a whole.
    pub field: String,
    /// What was there.
    pub got: String,
    /// What should have been.
    pub expected: String,
    /// The row as it stands in the file, where it could not be cut into columns; shortened if long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

/// Characters of a row that are kept.
const RAW_MAX: usize = 4000;

impl BadRow {
    /// A row with this fault.
    pub fn new(field: impl Into<String>, got: impl Into<String>, expected: impl Into<String>) -> BadRow {
        let got: String = got.into();
        let got = if got.chars().count() > 120 {
            got.chars().take(117).chain("...".chars()).collect()
        } else {
            got
        };
        BadRow {
            field: field.into(),
            got,
            expected: expected.into(),
            raw: None,
        }
    }

    /// With the row as it stands in the file.
    #[must_use]
    pub fn with_raw(mut self, raw: &[u8]) -> BadRow {
        let raw = String::from_utf8_lossy(&raw[..raw.len().min(RAW_MAX)]);
        self.raw = Some(raw.trim_end_matches(['\r', '\n']).to_owned());
        self
    }

    /// Under which rows with the same fault are counted.
    pub fn cause(&self) -> String {
        format!("{}: expected {}", self.field, self.expected)
    }
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: got {}, expected {}", self.field, self.got, self.expected)
    }
}

/// Why a file was not imported.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// The file could not be opened or read.
    #[error("{name}: {reason}")]
    Unreadable {
        /// Which file.
        name: String,
        /// What the system or the format's reader said.
        reason: String,
    },
    /// There are no rows.
    #[error("{name}: got 0 rows, expected at least one{hint}")]
    Empty {
        /// Which file.
        name: String,
        /// What else was noticed.
        hint: String,
    },
    /// What must be there is not.
    #[error("{name}: no column for {field}; there are {columns}. Say which it is with --map {field}=COLUMN")]
    NoColumn {
        /// Which file.
        name: String,
        /// The field of an event, item or user.
        field: &'static str,
        /// What is there.
        columns: String,
    },
    /// An option does not fit the file.
    #[error("--{option}: got {got}, expected {expected}")]
    Option {
        /// Which.
        option: &'static str,
        /// What was said.
        got: String,
        /// What could have been said.
        expected: String,
    },
    /// Too many rows are bad.
    #[error(
        "{name}: {bad} of {rows} rows are bad, more than --max-bad-share {max_share} allows; {written}. The first: line {line}, {first}"
    )]
    TooManyBad {
        /// Which file.
        name: String,
        /// Bad rows.
        bad: u64,
        /// Rows looked at.
        rows: u64,
        /// What is allowed.
        max_share: f64,
        /// Whether anything was stored.
        written: &'static str,
        /// Line of the first.
        line: u64,
        /// What is wrong with it.
        first: Box<BadRow>,
    },
    /// The rows could not be put where they go.
    #[error("{0}")]
    Sink(String),
}
