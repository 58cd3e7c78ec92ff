//! Items, users, and the untyped attributes that they arrive with.

use crate::{ItemId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An attribute as it was sent, before the schema gives it a kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RawAttribute {
    /// `true` or `false`; the schema treats it as a category.
    Flag(bool),
    /// A finite number.
    Number(f64),
    /// Text, a category, or a moment written out.
    Text(String),
    /// A geographic point, degrees.
    Geo {
        /// Latitude, −90 to 90.
        lat: f64,
        /// Longitude, −180 to 180.
        lon: f64,
    },
    /// Numbers: an embedding.
    Numbers(Vec<f64>),
    /// Strings: tags or ids.
    Texts(Vec<String>),
}

/// Attributes by name, in name order.
pub type Attributes = BTreeMap<String, RawAttribute>;

/// Something that can be shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub item_id: ItemId,
    /// What is known of it.
    pub attributes: Attributes,
    /// Hidden items are never shown.
    pub hidden: bool,
    /// When it entered the catalogue.
    pub added_at: Option<Timestamp>,
}

/// What is known of a person apart from events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Their id.
    pub user_id: UserId,
    /// What is known of them.
    pub attributes: Attributes,
}
