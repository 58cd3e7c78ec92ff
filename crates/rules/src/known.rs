//! What rules may speak of.

use domain::{AttributeKind, RawAttribute, Schema, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What rules are checked against.
pub struct Known<'a> {
    /// Attributes of items.
    pub items: &'a Schema,
    /// Attributes of users.
    pub users: &'a Schema,
    /// Attributes that requests bring as context (or of the person), as configured.
    pub context: &'a BTreeMap<String, AttributeKind>,
    /// Names of the placements.
    pub placements: &'a BTreeSet<String>,
    /// Names of the event types.
    pub event_types: &'a BTreeSet<String>,
    /// Reads a moment as the rest of the product does.
    pub moment: fn(&RawAttribute) -> Option<Timestamp>,
}
