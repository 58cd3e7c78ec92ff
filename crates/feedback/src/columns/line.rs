//! The line of JSON of a record: what does not stand in columns.

use crate::StoredDecision;
use domain::Decision;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// A record without what stands in columns.
pub(super) struct Line<'a> {
    pub(super) stored: &'a StoredDecision,
    pub(super) stays: Stays,
}

/// What stays in the line although it could stand in columns.
#[derive(Clone, Copy)]
pub(super) struct Stays {
    pub(super) candidates: bool,
    pub(super) features: bool,
    pub(super) stages: bool,
    pub(super) times: bool,
    pub(super) shown: bool,
}

/// The fields of a decision, but with no history, no removals, and perhaps without candidates, features, stages and what was shown.
struct Rest<'a>(&'a Decision, Stays);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Named one by one, so that a new field cannot be forgotten.
        let StoredDecision {
            decision,
            timings_us,
            request,
        } = self.stored;
        let mut out = serializer.serialize_struct("StoredDecision", 3)?;
        out.serialize_field("decision", &Rest(decision, self.stays))?;
        let none: [u8; 0] = [];
        if self.stays.times {
            out.serialize_field("timings_us", timings_us)?;
        } else {
            out.serialize_field("timings_us", &none)?;
        }
        if request.is_some() {
            out.serialize_field("request", request)?;
        }
        out.end()
    }
}

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Decision {
            decision_id,
            now,
            placement,
            user_id,
            snapshot,
            sequence,
            seed,
            config_hash,
            n,
            attributes,
            context,
            item_id,
            history: _,
            stages,
            considered,
            considered_cut,
            removals: _,
            removals_cut,
            policy,
            rules,
            constraints,
            page,
            shown,
            features,
            degraded,
            arms,
        } = self.0;
        let none: [u8; 0] = [];
        let mut out = serializer.serialize_struct("Decision", 26)?;
        out.serialize_field("decision_id", decision_id)?;
        out.serialize_field("now", now)?;
        out.serialize_field("placement", placement)?;
        out.serialize_field("user_id", user_id)?;
        out.serialize_field("snapshot", snapshot)?;
        out.serialize_field("sequence", sequence)?;
        out.serialize_field("seed", seed)?;
        out.serialize_field("config_hash", config_hash)?;
        out.serialize_field("n", n)?;
        if !attributes.is_empty() {
            out.serialize_field("attributes", attributes)?;
        }
        if !context.is_empty() {
            out.serialize_field("context", context)?;
        }
        if item_id.is_some() {
            out.serialize_field("item_id", item_id)?;
        }
        out.serialize_field("history", &none)?;
        if self.1.stages {
            out.serialize_field("stages", stages)?;
        } else {
            out.serialize_field("stages", &none)?;
        }
        if self.1.candidates {
            out.serialize_field("considered", considered)?;
        } else {
            out.serialize_field("considered", &none)?;
        }
        out.serialize_field("considered_cut", considered_cut)?;
        out.serialize_field("removals", &none)?;
        out.serialize_field("removals_cut", removals_cut)?;
        if policy.is_some() {
            out.serialize_field("policy", policy)?;
        }
        if rules.is_some() {
            out.serialize_field("rules", rules)?;
        }
        if !constraints.is_empty() {
            out.serialize_field("constraints", constraints)?;
        }
        if page.is_some() {
            out.serialize_field("page", page)?;
        }
        if self.1.shown {
            out.serialize_field("shown", shown)?;
        } else {
            out.serialize_field("shown", &none)?;
        }
        if self.1.features && features.is_some() {
            out.serialize_field("features", features)?;
        }
        out.serialize_field("degraded", degraded)?;
        out.serialize_field("arms", arms)?;
        out.end()
    }
}
