//! What callers send and get: the shapes of the API, without HTTP. Unknown fields are refused.

use domain::{Attributes, Decision, RawAttribute};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::Problem;

/// A timestamp as sent: RFC 3339 or a date as text, Unix seconds or milliseconds as a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Moment {
    /// Unix seconds or milliseconds.
    Number(f64),
    /// RFC 3339, a date, or a number as text.
    Text(String),
}

/// An event as sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventInput {
    /// The caller's id; makes retries safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Who.
    pub user_id: String,
    /// With what.
    pub item_id: String,
    /// Which kind of act, one of the configured event types.
    pub event_type: String,
    /// When; the moment of receipt if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Moment>,
    /// How much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Within which run of activity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// In answer to which decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
    /// Circumstances.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: Attributes,
}

/// An item as sent. A put replaces the item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemInput {
    /// Its id.
    pub item_id: String,
    /// What is known of it.
    #[serde(default)]
    pub attributes: Attributes,
    /// Hidden items are never shown.
    #[serde(default)]
    pub hidden: bool,
    /// When it entered the catalogue; the moment of the first put if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at: Option<Moment>,
}

/// A user as sent. A put replaces the user's attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserInput {
    /// Their id.
    pub user_id: String,
    /// What is known of them.
    #[serde(default)]
    pub attributes: Attributes,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// Stored.
    Accepted,
    /// Already there.
    Duplicate,
    /// Refused; see `rejected`.
    Rejected,
}

/// A refused row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowProblem {
    /// Row, from 0, in the order sent.
    pub row: usize,
    /// Which field, what was there, what was expected.
    #[serde(flatten)]
    pub problem: Problem,
}

/// One event's receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventReceipt {
    /// What became of it.
    pub status: RowStatus,
    /// Its place in the log, if accepted.
    pub sequence: Option<u64>,
}

/// What became of a batch of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct IngestReport {
    /// Rows stored.
    pub accepted: usize,
    /// Rows already there.
    pub duplicate: usize,
    /// Rows refused, with reasons.
    pub rejected: Vec<RowProblem>,
    /// The log's last number once the batch was in: a recommendation with at least this
    /// `sequence` has seen it.
    pub sequence: u64,
    /// One receipt per row, in order (left out for batches above 1,000 rows).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<EventReceipt>,
}

/// What became of a batch of items or users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct WriteReport {
    /// New ones.
    pub created: u64,
    /// Changed ones.
    pub updated: u64,
    /// Put again as they were.
    pub unchanged: u64,
    /// Rows refused, with reasons.
    pub rejected: Vec<RowProblem>,
}

/// A request for a slate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecommendRequest {
    /// Which placement.
    pub placement: String,
    /// For whom; nobody in particular if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Events of an anonymous session (or on top of the user's); `user_id` may be left out in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session: Vec<SessionEvent>,
    /// Attributes of the person, on top of the stored ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
    /// Circumstances.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: Attributes,
    /// The item that the placement is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// Items wanted, 1 to 1,000; the placement's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// Conditions on item attributes that every shown item satisfies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<serde_json::Value>,
    /// Items not to show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// If given, only these are considered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Vec<String>>,
    /// Candidates of the caller's own, besides those of the placement's sources, best first or with scores: up to 10,000, of which the best
    /// enter up to the placement's quota for `proposed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposed: Vec<ProposedItem>,
    /// If given, items that score less than this share of the way from the weakest candidate to the best are left out, 0 to 1, and
    /// nothing fills the slate up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relevance_min: Option<f32>,
    /// Whether to take every score apart.
    #[serde(default)]
    pub explain: bool,
    /// Source of all randomness; drawn if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// A look at what would be shown, not to be shown to anyone: nothing is recorded, counted or learnt from, so there is no decision either that events could belong to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preview: bool,
}

/// A candidate of the caller's own: an id, or an id with a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "another value, expected an id, or an object with item_id and score"
)]
pub enum ProposedItem {
    /// Its place in the list says how good it is.
    Id(String),
    /// Its score does.
    Scored(ScoredItem),
}

/// An item with the caller's score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoredItem {
    /// Which.
    pub item_id: String,
    /// How good, in any unit; higher is better, finite.
    pub score: f32,
}

/// An event of a session given in a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEvent {
    /// With what.
    pub item_id: String,
    /// Which kind of act; `click` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// When; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Moment>,
    /// How much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// A slate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecommendResponse {
    /// Id of the decision, for events and for `GET /v1/decisions/{id}`; empty, and left out of JSON, for a preview.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub decision_id: String,
    /// The slate, best first.
    pub items: Vec<Recommended>,
    /// Version of the bundle that answered.
    pub snapshot: String,
    /// Last event that the person's state included.
    pub sequence: u64,
    /// Experiment arms, by experiment.
    pub arms: BTreeMap<String, String>,
    /// Who chose, and how probable the slate was.
    pub policy: Option<domain::PolicyRecord>,
    /// Source of all randomness in this decision.
    pub seed: u64,
    /// Stages that were cut or skipped, and why; empty if all went as configured.
    pub degraded: Vec<domain::Degradation>,
    /// Microseconds by stage.
    pub timings_us: BTreeMap<String, u64>,
}

/// One item of a slate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recommended {
    /// Which.
    pub item_id: String,
    /// Place, from 1.
    pub rank: u32,
    /// Score; comparable within this slate only.
    pub score: f32,
    /// Probability that it stood here, given those before it.
    pub propensity: f64,
    /// Probability that it stood here, whatever stood elsewhere; absent where there is no closed form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_propensity: Option<f64>,
    /// Who proposed it.
    pub sources: Vec<String>,
    /// Why, for a person.
    pub reasons: Vec<String>,
    /// The parts of the score, if asked for; item positions are resolved to ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Vec<Part>>,
    /// Attributes from the catalogue.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, RawAttribute>,
}

/// A signed part of a score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// Model that said so.
    pub model: String,
    /// `history`, `feature`, `source`, `base`, `rule` or `exploration`.
    pub kind: &'static str,
    /// The item of the history, the feature, the source, the base, the rule, or the place from which chance moved it.
    pub of: String,
    /// How much; the values sum to the score.
    pub value: f32,
}

/// A request for items like one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimilarRequest {
    /// Like which.
    pub item_id: String,
    /// Items wanted, 1 to 1,000; 10 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// Which model's notion; the blend's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Conditions on item attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<serde_json::Value>,
}

/// Items like one item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimilarResponse {
    /// Best first.
    pub items: Vec<Recommended>,
    /// Version of the bundle that answered.
    pub snapshot: String,
}

/// A request to order given items for someone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankRequest {
    /// Items to order.
    pub candidates: Vec<String>,
    /// Which placement's ranker and rules; `home` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Events of an anonymous session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session: Vec<SessionEvent>,
    /// Whether to take every score apart.
    #[serde(default)]
    pub explain: bool,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Version of the current bundle.
    pub snapshot: String,
    /// Last event accepted.
    pub sequence: u64,
    /// Last event that user states include.
    pub state_sequence: u64,
    /// Last event that the models have absorbed.
    pub absorbed_sequence: u64,
    /// Events in the log.
    pub events: u64,
    /// Items in the catalogue (hidden ones included), and those known from events alone.
    pub items: u64,
    /// Users with state.
    pub users: u64,
    /// Hidden items.
    pub hidden_items: u64,
    /// Models in the bundle: name and bytes.
    pub models: Vec<(String, u64)>,
    /// How stale each model is: share of what it would be trained on now that it does not reflect, 0 to 1.
    pub staleness: Vec<(String, f64)>,
    /// Staleness above which the schedule trains anew.
    pub staleness_max: f64,
    /// When the bundle was trained, milliseconds since 1970.
    pub trained_at: Option<i64>,
    /// Whether a training is under way.
    pub training: bool,
    /// What the last training said, if it failed.
    pub last_training_error: Option<String>,
    /// Events of unconfigured types, which count for nothing, by type.
    pub unknown_event_types: BTreeMap<String, u64>,
    /// Decisions in the decision log.
    pub decisions: u64,
    /// Bytes of the decision log.
    pub decision_bytes: u64,
    /// How many decisions something came of since the start.
    pub outcomes: crate::JoinRate,
    /// Placements by name.
    pub placements: Vec<String>,
    /// Placements that learn by themselves, and what they have learnt from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bandits: Vec<crate::BanditStatus>,
    /// Placements with constraints on exposures, and how these stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exposures: Vec<crate::ExposureStatus>,
    /// Things an operator should know (a damaged bundle passed over, say).
    pub warnings: Vec<String>,
}

/// A decision as kept, with its timings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeptDecision {
    /// The record.
    #[serde(flatten)]
    pub decision: Decision,
    /// Microseconds by stage.
    pub timings_us: BTreeMap<String, u64>,
    /// What was asked, under `recommend` or `rank`; absent in records of older versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<serde_json::Value>,
}
