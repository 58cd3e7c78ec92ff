//! Events: what happened, in the caller's words.

use crate::{Attributes, DecisionId, EventId, EventType, ItemId, Sequence, SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// One thing that a user did with an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The caller's id, or one derived on acceptance for an event without id and timestamp.
    pub event_id: Option<EventId>,
    /// Who.
    pub user_id: UserId,
    /// With what.
    pub item_id: ItemId,
    /// Which kind of act.
    pub event_type: EventType,
    /// When.
    pub timestamp: Timestamp,
    /// How much: a rating, seconds of dwell, a price. Finite.
    pub value: Option<f64>,
    /// Within which run of activity.
    pub session_id: Option<SessionId>,
    /// In answer to which decision.
    pub decision_id: Option<DecisionId>,
    /// Circumstances; empty if none were given.
    pub context: Attributes,
}

/// 128 bits that two events share only if they are the same event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventKey(pub u128);

/// An event on its way into the log. `signals` derives the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// Its key; must equal what `signals::event_key` gives for `event`, since stores recompute it on reopening.
    pub key: EventKey,
    /// A second key under which the same event may already have been accepted.
    pub alias: Option<EventKey>,
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its place.
    pub sequence: Sequence,
    /// The event.
    pub event: Event,
}
