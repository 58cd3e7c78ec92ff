//! The parts that are taken out one at a time, and what the data have to hold for each to be measured.

use crate::RerankConfig;
use crate::ranker_history::{Past, Setup};
use crate::snapshot::Models;
use domain::{AttributeKind, Schema};
use ranking::HeadWeight;
use serde_json::{Map, Value};
use signals::Role;
use std::collections::BTreeMap;

/// Most attributes that a reranker may be given.
const ATTRIBUTES_MAX: usize = 20;

/// A part that is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Hybrid,
    EventWeights,
    Content,
    Context,
    Diversity,
    NegativeSignals,
    PositionCorrection,
}

impl Part {
    pub(super) const ALL: [Part; 7] = [
        Part::Hybrid,
        Part::EventWeights,
        Part::Content,
        Part::Context,
        Part::Diversity,
        Part::NegativeSignals,
        Part::PositionCorrection,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Hybrid => "hybrid",
            Part::EventWeights => "event weights",
            Part::Content => "content",
            Part::Context => "context",
            Part::Diversity => "diversity",
            Part::NegativeSignals => "negative signals",
            Part::PositionCorrection => "position correction",
        }
    }
}

/// What is left of a ranker without context.
pub(super) const WITHOUT_CONTEXT: &str =
    "a ranker that is not told what the request brings, what time it is and what went just before";

/// What is left when a part is taken out, and that in words; or why it cannot be.
pub(super) type TakenOut = Result<(Setup, String), String>;

/// Events of the earlier part by type.
pub(super) fn by_type(earlier: &Past) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (.., event) in earlier {
        match counts.get_mut(event.event_type.as_str()) {
            Some(count) => *count += 1,
            None => {
                counts.insert(event.event_type.as_str().to_owned(), 1);
            }
        }
    }
    counts
}

/// Models that propose by themselves: the parts of the one that ranks, or itself, and the fallbacks.
pub(super) fn single_models(full: &Setup, models: &Models) -> Vec<&'static str> {
    let whole = &models.main.model;
    let is_source = |name: &&'static str| {
        let sources = &full.placement.sources;
        sources.is_empty() || sources.iter().any(|source| source == name)
    };
    let mut names = models.names();
    names.retain(|name| whole.parts().is_empty() || *name != whole.name());
    names.retain(is_source);
    names
}

/// One model alone, as source and as judge.
pub(super) fn without_hybrid(full: &Setup, best: &str, ndcg: f64, k: usize) -> (Setup, String) {
    let mut setup = full.clone();
    setup.only = Some(best.to_owned());
    setup.placement.sources = vec![best.to_owned()];
    let words = format!(
        "{best} alone, whose own list was the best of all single models on the last tenth of the earlier part (NDCG@{k} {ndcg:.4})"
    );
    (setup, words)
}

/// Every positive type worth the same, so that all their events together are worth what they were.
pub(super) fn without_event_weights(full: &Setup, counts: &BTreeMap<String, u64>) -> TakenOut {
    let mut setup = full.clone();
    let count = |name: &str| counts.get(name).copied().unwrap_or(0) as f64;
    let types = &mut setup.config.event_types.0;
    let (mut events, mut worth, mut found) = (0.0, 0.0, Vec::new());
    for (name, config) in types.iter().filter(|(name, _)| count(name) > 0.0) {
        if config.weight > 0.0 && config.role != Role::Exposure {
            events += count(name);
            worth += count(name) * f64::from(config.weight);
            found.push((name.clone(), config.weight));
        }
    }
    let told: Vec<String> = found
        .iter()
        .map(|(name, weight)| format!("{name} {weight}"))
        .collect();
    let told = told.join(", ");
    match &found[..] {
        [] => return Err("no event of a positive type in the earlier part".to_owned()),
        [(one, _)] => return Err(format!("one positive type of event in the earlier part: {one}")),
        [(_, first), rest @ ..] if rest.iter().all(|(_, weight)| weight == first) => {
            return Err(format!(
                "all positive types of the earlier part weigh the same: {told}"
            ));
        }
        _ => {}
    }
    let alike = (worth / events) as f32;
    for config in types.values_mut() {
        if config.weight > 0.0 && config.role != Role::Exposure {
            config.weight = alike;
        }
    }
    let liked = |head: &HeadWeight| head.weight > 0.0;
    let heads = setup.weights.iter().filter(|(_, head)| liked(head));
    let (events, worth) = heads.fold((0.0, 0.0), |(events, worth), (name, head)| {
        (events + count(name), worth + count(name) * f64::from(head.weight))
    });
    for head in setup.weights.values_mut().filter(|head| liked(head)) {
        head.weight = (worth / events) as f32;
    }
    Ok((setup, format!("{told}: {alike:.3} each")))
}

/// Nothing told of items but who did what with them.
pub(super) fn without_content(full: &Setup, items: &Schema) -> TakenOut {
    if items.is_empty() {
        return Err("items have no attributes".to_owned());
    }
    let mut setup = full.clone();
    setup.describes_items = false;
    let names: Vec<&str> = items.keys().map(String::as_str).collect();
    let words = format!(
        "no model and no feature is told {}; a content model is left out",
        names.join(", ")
    );
    Ok((setup, words))
}

/// Types with a negative weight count for nothing.
pub(super) fn without_negative_signals(full: &Setup, counts: &BTreeMap<String, u64>) -> TakenOut {
    let mut setup = full.clone();
    let types = &mut setup.config.event_types.0;
    let negative: Vec<String> = types
        .iter()
        .filter(|(_, config)| config.weight < 0.0)
        .map(|(name, _)| name.clone())
        .collect();
    if negative.is_empty() {
        return Err("no type of event has a negative weight".to_owned());
    }
    let found = negative.iter().filter_map(|name| {
        let count = counts.get(name)?;
        Some(format!("{count} of {name}"))
    });
    let found: Vec<String> = found.collect();
    if found.is_empty() {
        let negative = negative.join(", ");
        return Err(format!(
            "no event of a type with a negative weight ({negative}) in the earlier part"
        ));
    }
    for name in &negative {
        if let Some(config) = types.get_mut(name) {
            config.weight = 0.0;
        }
        setup.weights.remove(name);
    }
    Ok((setup, format!("events without weight: {}", found.join(", "))))
}

/// The reranker that stands for diversity, in words too: the placement's own unless that only keeps the order or a weight is given, else `mmr` over the attributes that the placement
/// names, or over all categories, tags and references of items.
pub(super) fn diversity(
    own: &RerankConfig,
    weight: Option<f64>,
    items: &Schema,
) -> Result<(RerankConfig, String), String> {
    if own.name != "top" && weight.is_none() {
        return Ok((
            own.clone(),
            format!("without {}, as the placement has it", own.name),
        ));
    }
    let named = own.settings.get("attributes").cloned();
    let attributes = named.unwrap_or_else(|| labels(items).into());
    let names: Vec<&str> = attributes.as_array().map_or(Vec::new(), |names| {
        names.iter().filter_map(Value::as_str).collect()
    });
    if names.is_empty() {
        return Err("no attribute of items is a category, tags or references".to_owned());
    }
    let words = format!("without mmr over {}", names.join(", "));
    let mut settings = Map::from_iter([("attributes".to_owned(), attributes)]);
    if let Some(weight) = weight {
        settings.insert("diversity".to_owned(), weight.into());
    }
    let name = "mmr".to_owned();
    Ok((RerankConfig { name, settings }, words))
}

/// Attributes of items by whose values two of them are alike.
pub(super) fn labels(items: &Schema) -> Vec<String> {
    use AttributeKind::{Category, Ids, Tags};
    let labels = items
        .iter()
        .filter(|(_, attribute)| matches!(attribute.kind, Category | Tags | Ids));
    labels
        .map(|(name, _)| name.clone())
        .take(ATTRIBUTES_MAX)
        .collect()
}
