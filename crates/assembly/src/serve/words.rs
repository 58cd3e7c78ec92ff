//! A decision in the caller's words.

use crate::Service;
use crate::catalogue::LiveCatalogue;
use crate::snapshot::Snapshot;
use crate::wire::{Part, RecommendResponse, Recommended};
use domain::{Contribution, ContributionSource, Shown};
use engine::Decided;

impl Service {
    /// A decision in the caller's words.
    pub(super) fn response(&self, snapshot: &Snapshot, decided: &Decided) -> RecommendResponse {
        let decision = &decided.decision;
        let items = decision.shown.iter().map(|shown| self.shown(snapshot, shown));
        RecommendResponse {
            decision_id: decision.decision_id.as_str().to_owned(),
            items: items.collect(),
            snapshot: decision.snapshot.to_string(),
            sequence: decision.sequence.0,
            arms: decision.arms.iter().cloned().collect(),
            policy: decision.policy.clone(),
            seed: decision.seed,
            degraded: decision.degraded.clone(),
            timings_us: decided.timings_us.iter().cloned().collect(),
        }
    }

    fn shown(&self, snapshot: &Snapshot, shown: &Shown) -> Recommended {
        let catalogue = &snapshot.catalogue;
        let entry = self
            .known(snapshot, shown.item_id.as_str())
            .and_then(|at| catalogue.get(at));
        let parts = shown.explanation.as_ref();
        let parts = parts.map(|parts| parts_of(catalogue, &parts.contributions));
        Recommended {
            item_id: shown.item_id.as_str().to_owned(),
            rank: shown.rank,
            score: shown.score,
            propensity: shown.propensity,
            position_propensity: shown.position_propensity,
            sources: shown.sources.clone(),
            reasons: shown.reasons.clone(),
            explanation: parts,
            attributes: entry
                .and_then(|entry| entry.attributes.clone())
                .unwrap_or_default(),
        }
    }
}

/// Parts of a score in the caller's words. Hidden items are never named: what they add comes as one part.
fn parts_of(catalogue: &LiveCatalogue, contributions: &[Contribution]) -> Vec<Part> {
    let is_hidden = |part: &&Contribution| match part.source {
        ContributionSource::History { item } => catalogue.hidden.get(item as usize).copied().unwrap_or(true),
        _ => false,
    };
    let (withheld, told): (Vec<&Contribution>, Vec<&Contribution>) =
        contributions.iter().partition(is_hidden);
    let mut parts: Vec<Part> = told.into_iter().map(|part| named(catalogue, part)).collect();
    if !withheld.is_empty() {
        parts.push(Part {
            model: "history".to_owned(),
            kind: "base",
            of: "withheld".to_owned(),
            value: withheld.iter().map(|part| part.value).sum(),
        });
    }
    parts
}

fn named(catalogue: &LiveCatalogue, part: &Contribution) -> Part {
    let (kind, of) = match &part.source {
        ContributionSource::History { item } => {
            let id = catalogue.get(*item).map_or("", |entry| entry.id.as_str());
            ("history", id.to_owned())
        }
        ContributionSource::Feature { name } => ("feature", name.clone()),
        ContributionSource::Base { name } => ("base", name.clone()),
        ContributionSource::Source { name } => ("source", name.clone()),
        ContributionSource::Rule { name } => ("rule", name.clone()),
        ContributionSource::Exploration { from } => ("exploration", format!("from place {from}")),
    };
    Part {
        model: part.model.to_string(),
        kind,
        of,
        value: part.value,
    }
}
