//! Identifiers. Each is a non-empty string of at most [`MAX_ID_BYTES`] bytes without control
//! characters; the newtypes keep a user from being taken for an item.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Longest accepted identifier, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 256;

/// Why a string is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The string has no characters.
    #[error("{field}: expected a non-empty id, got an empty string")]
    Empty {
        /// The field the id was meant for.
        field: &'static str,
    },
    /// The string is longer than [`MAX_ID_BYTES`].
    #[error("{field}: expected at most {MAX_ID_BYTES} bytes, got {bytes}")]
    TooLong {
        /// The field the id was meant for.
        field: &'static str,
        /// Length found.
        bytes: usize,
    },
    /// The string holds a control character.
    #[error("{field}: expected no control characters, got {got:?}")]
    Control {
        /// The field the id was meant for.
        field: &'static str,
        /// The text found.
        got: String,
    },
}

fn check(field: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { field });
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong {
            field,
            bytes: text.len(),
        });
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::Control {
            field,
            got: text.to_owned(),
        });
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and wraps it.
            ///
            /// # Errors
            /// [`IdError`] if it is empty, too long, or holds a control character.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                check($field, text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(
    /// A person, account or device, as the product names it.
    UserId, "user_id"
);
id!(
    /// Something that can be shown.
    ItemId, "item_id"
);
id!(
    /// A caller's own name for an event; a second event with the same id is a duplicate.
    EventId, "event_id"
);
id!(
    /// One answer given to one request.
    DecisionId, "decision_id"
);
id!(
    /// A run of activity, as the product cuts it.
    SessionId, "session_id"
);
id!(
    /// The kind of an event: `click`, `purchase`, …
    EventType, "event_type"
);
