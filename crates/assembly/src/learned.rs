//! What a snapshot has learnt besides models: rankers with the state that their features are read from, prices of
//! exposure, and what is popular in segments.

use crate::catalogue::LiveCatalogue;
use crate::config::{Config, PlacementConfig};
use crate::exposures::Prices;
use crate::segments::Segments;
use domain::{AttributeKind, Event, Ranker, Schema};
use ranking::features::{FactsSource, FeatureSet, ItemCounts, ItemFacts, Known};
use ranking::{OutcomeModel, RankerKind, SourceScoreRanker, TreesRanker};
use signals::{EventTypes, Role, TypedValue};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most attributes of a kind that become features, in the order of their names.
const ATTRIBUTES_MAX: usize = 8;

/// A ranker in service.
#[derive(Clone)]
pub(crate) struct InService {
    pub(crate) version: u64,
    pub(crate) model: Arc<OutcomeModel>,
}

/// Rankers by placement, and events counted up to the number that the snapshot has absorbed.
#[derive(Clone, Default)]
pub(crate) struct Learned {
    pub(crate) rankers: Arc<BTreeMap<String, InService>>,
    pub(crate) counts: Arc<ItemCounts>,
    /// Kinds of the attributes of users.
    pub(crate) users: Arc<Schema>,
    /// Prices of exposure.
    pub(crate) prices: Arc<Prices>,
    /// What is popular in segments, by events up to the number that the snapshot has absorbed.
    pub(crate) segments: Segments,
}

/// True if some placement ranks by trees, so that features are read at all.
pub(crate) fn wanted(config: &Config) -> bool {
    config
        .placements
        .values()
        .any(|placement| placement.ranker.kind == RankerKind::Trees)
}

/// Nothing counted yet.
pub(crate) fn no_counts(types: &EventTypes) -> ItemCounts {
    ItemCounts::new(types.0.keys().map(String::as_str))
}

/// Counts an event, if it counts for anything.
pub(crate) fn count(counts: &mut ItemCounts, types: &EventTypes, item: u32, event: &Event) {
    if types.strength(event).is_some_and(|weight| weight != 0.0) {
        counts.add(item, event.event_type.as_str(), event.timestamp);
    }
}

/// Attributes as features read them.
pub(crate) fn facts(features: &models::ItemFeatures, added_at: Option<domain::Timestamp>) -> ItemFacts {
    let mut facts = ItemFacts::added(added_at);
    for (name, value) in features {
        match value {
            TypedValue::Number(number) => facts.number(name, *number),
            TypedValue::Category(text) => facts.value(name, text),
            TypedValue::Tags(texts) | TypedValue::Ids(texts) => {
                texts.iter().for_each(|text| facts.value(name, text))
            }
            _ => {}
        }
    }
    facts
}

impl FactsSource for LiveCatalogue {
    fn facts(&self, item: u32) -> Option<&ItemFacts> {
        Some(&self.get(item)?.facts)
    }
}

fn of_kinds(schema: &Schema, kinds: &[AttributeKind]) -> Vec<String> {
    let fitting = schema
        .iter()
        .filter(|(_, attribute)| kinds.contains(&attribute.kind));
    fitting
        .map(|(name, _)| name.clone())
        .take(ATTRIBUTES_MAX)
        .collect()
}

/// The features that can be read for a placement with these sources.
pub(crate) fn feature_set(
    config: &Config,
    sources: Vec<String>,
    items: &Schema,
    users: &Schema,
) -> FeatureSet {
    let types = |exposures: bool| {
        let fitting = config
            .event_types
            .0
            .iter()
            .filter(|(_, c)| (c.role == Role::Exposure) == exposures && c.weight != 0.0);
        fitting.map(|(name, _)| name.clone()).collect::<Vec<String>>()
    };
    FeatureSet::all(&Known {
        sources,
        item_numbers: of_kinds(items, &[AttributeKind::Number]),
        item_categories: of_kinds(items, &[AttributeKind::Category]),
        item_tags: of_kinds(items, &[AttributeKind::Tags, AttributeKind::Ids]),
        user_categories: of_kinds(users, &[AttributeKind::Category]),
        user_numbers: of_kinds(users, &[AttributeKind::Number]),
        outcomes: types(false),
        exposures: types(true),
    })
}

/// The ranker that a placement's configuration asks for, on top of the model.
pub(crate) fn ranker(
    config: &Config,
    name: &str,
    placement: &PlacementConfig,
    sources: Vec<String>,
    catalogue: &Arc<LiveCatalogue>,
    learned: &Learned,
    model: Arc<dyn Ranker>,
) -> Arc<dyn Ranker> {
    match placement.ranker.kind {
        RankerKind::Model => model,
        RankerKind::SourceRanks => Arc::new(SourceScoreRanker::default()),
        RankerKind::Trees => {
            let noted = Arc::new(feature_set(config, sources, &catalogue.schema, &learned.users));
            let make = |published: Option<&InService>| {
                let published = published.map(|one| (one.version, one.model.clone()));
                TreesRanker::new(
                    published,
                    noted.clone(),
                    learned.counts.clone(),
                    catalogue.clone(),
                    model.clone(),
                )
            };
            let made = make(learned.rankers.get(name)).or_else(|error| {
                tracing::warn!(placement = name, %error, "the ranker asks for features that this version does not have; the model ranks");
                make(None)
            });
            made.map_or(model.clone(), |ranker| Arc::new(ranker))
        }
    }
}
