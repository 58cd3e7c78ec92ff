//! Explanations in words for a person.

use crate::bound::Bound;
use crate::catalogue::{Entry, LiveCatalogue, NOWHERE};
use domain::{Attributes, Candidate, ContributionSource, Explanation, Query, RawAttribute};
use engine::Reasoner;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Attributes that name a thing, most telling first.
const TITLES: [&str; 4] = ["title", "name", "headline", "label"];
/// Reasons given per item.
const REASONS_MAX: usize = 3;

/// What to call an item: its title-like attribute, or its id.
pub(crate) fn title<'a>(id: &'a str, attributes: Option<&'a Attributes>) -> &'a str {
    let named = TITLES.iter().find_map(|name| match attributes?.get(*name)? {
        RawAttribute::Text(text) if !text.trim().is_empty() => Some(text.as_str()),
        _ => None,
    });
    named.unwrap_or(id)
}

pub(crate) fn title_of(entry: &Entry) -> &str {
    title(entry.id.as_str(), entry.attributes.as_ref())
}

/// Names the things in a person's history that speak most for an item, then what they share,
/// then what everyone likes. It never names a hidden item.
pub(crate) struct TitleReasoner {
    pub(crate) catalogue: Arc<LiveCatalogue>,
    pub(crate) bound: Option<Arc<Bound>>,
}

impl TitleReasoner {
    fn shared(&self, query: &Query, item: u32) -> Option<String> {
        let bound = self.bound.as_ref()?;
        let local = bound.local(item);
        if local == NOWHERE {
            return None;
        }
        let features = bound
            .model
            .features_shared(&bound.history(&query.history), local, 2);
        let names: Vec<String> = features.into_iter().map(|(name, _)| name).collect();
        (!names.is_empty()).then(|| format!("Shares {}", names.join(", ")))
    }
}

impl Reasoner for TitleReasoner {
    fn reasons(&self, query: &Query, candidate: &Candidate, explanation: &Explanation) -> Vec<String> {
        let mut by_item: BTreeMap<u32, f32> = BTreeMap::new();
        let mut base = 0.0;
        for part in &explanation.contributions {
            match &part.source {
                ContributionSource::History { item } => *by_item.entry(*item).or_default() += part.value,
                _ => base += part.value,
            }
        }
        let mut history: Vec<(u32, f32)> = by_item.into_iter().filter(|(_, value)| *value > 0.0).collect();
        history.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let personal: f32 = history.iter().map(|(_, value)| value).sum();
        let visible = |item: u32| !self.catalogue.hidden.get(item as usize).copied().unwrap_or(true);
        let named = history.iter().filter(|(item, _)| visible(*item)).take(2);
        let titles: Vec<&str> = named
            .filter_map(|(item, _)| Some(title_of(self.catalogue.get(*item)?)))
            .collect();
        let mut reasons = Vec::new();
        if !titles.is_empty() {
            reasons.push(format!("Because of {}", titles.join(" and ")));
        }
        reasons.extend(self.shared(query, candidate.item));
        if base > personal {
            reasons.push("Popular with everyone".to_owned());
        }
        if reasons.is_empty() {
            let recent = candidate.hits.iter().any(|hit| hit.source == "recent");
            reasons.push(if recent { "New here" } else { "From the catalogue" }.to_owned());
        }
        reasons.truncate(REASONS_MAX);
        reasons
    }
}
