//! What kinds of attributes there are, and which name has which.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Items or users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// Things that can be shown.
    Item,
    /// People.
    User,
}

/// How an attribute is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeKind {
    /// One of a set of values.
    Category,
    /// Any number of short labels.
    Tags,
    /// A quantity.
    Number,
    /// Words to be searched.
    Text,
    /// A moment.
    Timestamp,
    /// A point on the globe.
    Geo,
    /// A vector of fixed length.
    Embedding,
    /// References to other things.
    Ids,
}

/// Who said which kind an attribute has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindOrigin {
    /// Worked out from the values seen.
    Inferred,
    /// Stated by an operator; inference leaves it alone.
    Fixed,
}

/// What is known of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeSchema {
    /// How it is read.
    pub kind: AttributeKind,
    /// Who said so.
    pub origin: KindOrigin,
    /// Entities that carry it.
    pub present: u64,
}

/// Attribute name to what is known of it.
pub type Schema = BTreeMap<String, AttributeSchema>;
