//! What is asked of a replay, and what is told of it.

use super::Again;
use domain::Decision;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most differences that are told of one decision.
const DIFFERENCES_MAX: usize = 50;

/// What to make again, and what otherwise.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Keys of the placement's configuration to put in place of those of then, as a merge patch: `{"policy": {"name": "softmax"}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Value>,
    /// Whether today's models, catalogue and configuration answer in place of those of then.
    #[serde(default)]
    pub today: bool,
    /// The stored rules of this version in place of those of then; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u64>,
    /// Another seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl ReplayRequest {
    pub(super) fn is_exact(&self) -> bool {
        *self == ReplayRequest::default()
    }
}

/// A part of the record, and whether it came out the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// `person`, `stages`, `candidates`, `removals`, `choice`, `slate` or `rest`.
    pub part: &'static str,
    /// Whether it is the same to the last bit.
    pub same: bool,
}

/// A value that came out otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Path in the record, as `/shown/0/score`.
    pub at: String,
    /// What the record has.
    pub recorded: Value,
    /// What came out.
    pub replayed: Value,
}

/// An item in two slates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlateChange {
    /// Which.
    pub item_id: String,
    /// Place in the recorded slate.
    pub rank_before: Option<u32>,
    /// Place in the other slate.
    pub rank_after: Option<u32>,
    /// Score recorded.
    pub score_before: Option<f32>,
    /// Score in the other slate.
    pub score_after: Option<f32>,
    /// Recorded probability of its place, given those before it.
    pub propensity_before: Option<f64>,
    /// That in the other slate.
    pub propensity_after: Option<f64>,
}

/// How the slate would have been.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIfReport {
    /// Items of both slates, in the order of the other one, then those that it lacks.
    pub slate: Vec<SlateChange>,
    /// Items of the other slate that the recorded one lacks.
    pub entered: u32,
    /// Items that it lacks.
    pub left: u32,
    /// Items in both, at another place.
    pub moved: u32,
}

/// A decision made again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayReport {
    /// Which.
    pub decision_id: String,
    /// Whether the record came out the same to the last bit; always false if something was asked to be otherwise and it mattered.
    pub identical: bool,
    /// Part by part.
    pub parts: Vec<Part>,
    /// What differs, the first 50 values; empty in answer to "what if", which has `what_if`.
    pub differences: Vec<Difference>,
    /// Version of the program that decided.
    pub code_then: String,
    /// Version of this program.
    pub code_now: String,
    /// How the slate would have been; absent for an exact replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what_if: Option<WhatIfReport>,
    /// The record as it came out.
    pub decision: Decision,
}

/// A decision of a sample that did not come out the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unlike {
    /// Which.
    pub decision_id: String,
    /// Where it differs first, or which input is gone.
    pub reason: String,
}

/// Many decisions made again.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct SampleReport {
    /// Decisions kept.
    pub kept: u64,
    /// Decisions made again.
    pub replayed: u64,
    /// Of those, the same to the last bit.
    pub identical: u64,
    /// Of those, not the same: the first 20.
    pub different: Vec<Unlike>,
    /// Decisions that could not be made again, by the input that is gone.
    pub gone: BTreeMap<String, u64>,
    /// Examples of those: the first 20.
    pub gone_examples: Vec<Unlike>,
    /// Snapshots that were made again.
    pub snapshots: u64,
    /// How long it took.
    pub seconds: f64,
}

/// A decision made again, with its record.
pub(super) type Replayed = Again<Decision>;

/// Whether a decision came out as recorded. What the record went through on its way to the disk, the other goes through too.
pub(super) fn is_same(replayed: &Replayed) -> bool {
    replayed.made == replayed.stored.decision || {
        let again = serde_json::to_vec(&replayed.made).ok();
        let again = again.and_then(|json| serde_json::from_slice::<Decision>(&json).ok());
        again.as_ref() == Some(&replayed.stored.decision)
    }
}

pub(super) fn differences(replayed: &Replayed) -> Vec<Difference> {
    let value = |decision: &Decision| serde_json::to_value(decision).unwrap_or_default();
    let mut found = Vec::new();
    compare(
        "",
        &value(&replayed.stored.decision),
        &value(&replayed.made),
        &mut found,
    );
    found
}

fn compare(at: &str, recorded: &Value, replayed: &Value, found: &mut Vec<Difference>) {
    if recorded == replayed || found.len() >= DIFFERENCES_MAX {
        return;
    }
    match (recorded, replayed) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                compare(&format!("{at}/{key}"), &of(a), &of(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for place in 0..a.len().max(b.len()) {
                let of = |list: &[Value]| list.get(place).cloned().unwrap_or_default();
                compare(&format!("{at}/{place}"), &of(a), &of(b), found);
            }
        }
        _ => found.push(Difference {
            at: at.to_owned(),
            recorded: recorded.clone(),
            replayed: replayed.clone(),
        }),
    }
}

pub(super) fn report(replayed: Replayed, request: &ReplayRequest) -> ReplayReport {
    let (a, b) = (&replayed.stored.decision, &replayed.made);
    let identical = is_same(&replayed);
    let all: [(&'static str, bool); 6] = [
        (
            "person",
            (&a.history, a.sequence, &a.attributes) == (&b.history, b.sequence, &b.attributes),
        ),
        ("stages", (&a.stages, &a.degraded) == (&b.stages, &b.degraded)),
        (
            "candidates",
            (&a.considered, a.considered_cut) == (&b.considered, b.considered_cut),
        ),
        (
            "removals",
            (&a.removals, a.removals_cut) == (&b.removals, b.removals_cut),
        ),
        ("choice", (&a.policy, a.seed) == (&b.policy, b.seed)),
        ("slate", a.shown == b.shown),
    ];
    let rest = identical || all.iter().any(|(_, same)| !same);
    let parts = all.into_iter().chain([("rest", rest)]);
    let parts = parts.map(|(part, same)| Part {
        part,
        same: same || identical,
    });
    let what_if = (!request.is_exact()).then(|| what_if(a, b));
    ReplayReport {
        decision_id: a.decision_id.to_string(),
        identical,
        parts: parts.collect(),
        differences: if identical || what_if.is_some() {
            Vec::new()
        } else {
            differences(&replayed)
        },
        code_then: replayed.code.clone(),
        code_now: env!("CARGO_PKG_VERSION").to_owned(),
        what_if,
        decision: replayed.made,
    }
}

fn what_if(before: &Decision, after: &Decision) -> WhatIfReport {
    let find =
        |list: &Decision, id: &domain::ItemId| list.shown.iter().find(|shown| shown.item_id == *id).cloned();
    let left = before
        .shown
        .iter()
        .filter(|shown| find(after, &shown.item_id).is_none());
    let ids = after.shown.iter().chain(left).map(|shown| &shown.item_id);
    let slate: Vec<SlateChange> = ids
        .map(|id| {
            let (before, after) = (find(before, id), find(after, id));
            SlateChange {
                item_id: id.to_string(),
                rank_before: before.as_ref().map(|shown| shown.rank),
                rank_after: after.as_ref().map(|shown| shown.rank),
                score_before: before.as_ref().map(|shown| shown.score),
                score_after: after.as_ref().map(|shown| shown.score),
                propensity_before: before.as_ref().map(|shown| shown.propensity),
                propensity_after: after.as_ref().map(|shown| shown.propensity),
            }
        })
        .collect();
    let count = |of: &dyn Fn(&SlateChange) -> bool| slate.iter().filter(|change| of(change)).count() as u32;
    WhatIfReport {
        entered: count(&|change| change.rank_before.is_none()),
        left: count(&|change| change.rank_after.is_none()),
        moved: count(&|change| {
            change.rank_before.is_some()
                && change.rank_after.is_some()
                && change.rank_before != change.rank_after
        }),
        slate,
    }
}
