//! Explanations in words for a person.

use crate::bound::Bound;
use crate::catalogue::{Entry, LiveCatalogue, NOWHERE};
use domain::{Attributes, Candidate, ContributionSource, Evidence, Query, RawAttribute};
use engine::Reasoner;
use models::Someone;
use std::sync::Arc;

/// Attributes that name a thing, most telling first.
const TITLES: [&str; 4] = ["title", "name", "headline", "label"];
/// Reasons given per item.
const REASONS_MAX: usize = 3;
/// Things of a history that are named.
const NAMED_MAX: usize = 2;
/// Least that a person's attributes must say for an item, against what holds for everyone, to be named.
const ALIKE_MIN: f32 = 0.1;
/// Features looked at to say what is shared.
const FEATURES_MAX: usize = 5;

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
    /// True if what the person is described by is a good part of what speaks for an item, beside what holds for everyone.
    fn by_attributes(&self, query: &Query, item: u32) -> bool {
        let Some(bound) = &self.bound else {
            return false;
        };
        let someone = Someone {
            history: &bound.history(&query.history),
            attributes: &bound.attributes(&query.user_attributes),
        };
        if someone.attributes.is_empty() {
            return false;
        }
        let parts = bound.model.explain_for(someone, bound.local(item)).contributions;
        let sum = |of: &dyn Fn(&ContributionSource) -> bool| -> f32 {
            parts
                .iter()
                .filter(|part| of(&part.source))
                .map(|part| part.value)
                .sum()
        };
        let own = sum(&|source| matches!(source, ContributionSource::Feature { .. }));
        own > ALIKE_MIN * sum(&|source| matches!(source, ContributionSource::Base { .. }))
    }

    fn shared(&self, query: &Query, item: u32) -> Option<String> {
        let bound = self.bound.as_ref()?;
        let local = bound.local(item);
        if local == NOWHERE {
            return None;
        }
        let history = bound.history(&query.history);
        let features = bound.model.features_shared(&history, local, FEATURES_MAX);
        let shared = shared_words(features.iter().map(|(name, _)| name.as_str()));
        (!shared.is_empty()).then(|| format!("Shares {shared}"))
    }
}

/// Features such as `genres=Comedy` or `year≈1994.6`, attribute by attribute, the strongest first. Words of titles
/// say little and are left out.
fn shared_words<'a>(features: impl Iterator<Item = &'a str>) -> String {
    let mut by_attribute: Vec<(&str, Vec<String>)> = Vec::new();
    for feature in features {
        let Some(at) = feature.find(['=', '≈']) else {
            continue;
        };
        let (attribute, rest) = feature.split_at(at);
        let is_about = rest.starts_with('≈');
        let value = rest.trim_start_matches(['=', '≈']);
        if TITLES.contains(&attribute) || value.is_empty() {
            continue;
        }
        let value = match value.parse::<f64>() {
            Ok(number) if is_about && number.abs() >= 100.0 => format!("about {number:.0}"),
            Ok(number) if is_about => format!("about {number:.1}"),
            _ => value.to_owned(),
        };
        match by_attribute.iter_mut().find(|(known, _)| *known == attribute) {
            // One range of a quantity is enough.
            Some(_) if is_about => {}
            Some((_, values)) => values.push(value),
            None => by_attribute.push((attribute, vec![value])),
        }
    }
    let told = by_attribute.iter().take(2).map(|(attribute, values)| {
        let values: Vec<&str> = values.iter().take(2).map(String::as_str).collect();
        format!("{attribute} {}", values.join(", "))
    });
    told.collect::<Vec<_>>().join("; ")
}

impl Reasoner for TitleReasoner {
    fn reasons(&self, query: &Query, candidate: &Candidate, evidence: &Evidence) -> Vec<String> {
        let (mut personal, mut strongest) = (0.0, Vec::new());
        let speaking = evidence.history.iter().filter(|(_, value)| *value > 0.0);
        for (item, value) in speaking {
            personal += value;
            strongest.push((*item, *value));
        }
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let visible = |item: u32| self.catalogue.is_visible(item);
        strongest.retain(|(item, _)| visible(*item));
        if strongest.len() > NAMED_MAX {
            strongest.select_nth_unstable_by(NAMED_MAX, order);
            strongest.truncate(NAMED_MAX);
        }
        strongest.sort_unstable_by(order);
        let titles: Vec<&str> = strongest
            .iter()
            .filter_map(|(item, _)| Some(title_of(self.catalogue.get(*item)?)))
            .collect();
        let mut reasons = Vec::new();
        if !titles.is_empty() {
            reasons.push(format!("Because of {}", titles.join(" and ")));
        }
        reasons.extend(self.shared(query, candidate.item));
        if evidence.rest > personal {
            let alike = self.by_attributes(query, candidate.item);
            let who = if alike { "people like you" } else { "everyone" };
            reasons.push(format!("Popular with {who}"));
        }
        if reasons.is_empty() {
            let recent = candidate.hits.iter().any(|hit| &*hit.source == "recent");
            reasons.push(if recent { "New here" } else { "From the catalogue" }.to_owned());
        }
        reasons.truncate(REASONS_MAX);
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::shared_words;

    #[test]
    fn features_in_words() {
        let told = |features: &[&str]| shared_words(features.iter().copied());
        let films = [
            "title=toy",
            "genres=Action",
            "year≈1994.6136",
            "genres=Crime",
            "year≈1985.3",
        ];
        assert_eq!(told(&films), "genres Action, Crime; year about 1995");
        assert_eq!(told(&["price≈12.345"]), "price about 12.3");
        assert_eq!(told(&["title=toy", "odd"]), "");
    }
}
