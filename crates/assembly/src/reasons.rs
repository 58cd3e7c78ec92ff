//! Explanations in words for a person.

use crate::bound::Bound;
use crate::catalogue::{Entry, LiveCatalogue, NOWHERE};
use domain::{Attributes, Candidate, ContributionSource, Evidence, Query, RawAttribute};
use engine::Reasoner;
use models::Someone;
use serde::{Deserialize, Serialize};
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

/// Reasons in words, as templates. An empty one is not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReasonsConfig {
    /// For what the person did; `{items}` stands for up to two titles.
    pub because: String,
    /// For what the item has in common with those; `{features}` stands for it.
    pub shared: String,
    /// Where what everyone likes speaks for it more than what the person did.
    pub popular: String,
    /// Where what people with the same attributes like does.
    pub alike: String,
    /// For what came lately, where nothing else speaks for it.
    pub new: String,
    /// For what a rule put at its place.
    pub pinned: String,
    /// Where nothing speaks for it.
    pub otherwise: String,
}

impl Default for ReasonsConfig {
    fn default() -> Self {
        ReasonsConfig {
            because: "Because of {items}".to_owned(),
            shared: "Shares {features}".to_owned(),
            popular: "Popular with everyone".to_owned(),
            alike: "Popular with people like you".to_owned(),
            new: "New here".to_owned(),
            pinned: "Picked for you".to_owned(),
            otherwise: "From the catalogue".to_owned(),
        }
    }
}

impl ReasonsConfig {
    /// What is wrong: a placeholder that would stay, or one that is missed.
    pub(crate) fn check(&self) -> Result<(), String> {
        let table = [
            ("because", &self.because, "{items}"),
            ("shared", &self.shared, "{features}"),
            ("popular", &self.popular, ""),
            ("alike", &self.alike, ""),
            ("new", &self.new, ""),
            ("pinned", &self.pinned, ""),
            ("otherwise", &self.otherwise, ""),
        ];
        for (key, template, holder) in table {
            let rest = match holder {
                "" => template.clone(),
                _ => template.replace(holder, ""),
            };
            if rest.contains(['{', '}']) || template.len() > 200 {
                let expected = match holder {
                    "" => "at most 200 bytes without placeholders".to_owned(),
                    _ => format!("at most 200 bytes with {holder} as the only placeholder"),
                };
                return Err(format!("{key}: got {template:?}, expected {expected}"));
            }
        }
        Ok(())
    }
}

/// Names the things in a person's history that speak most for an item, then what they share,
/// then what everyone likes. It never names a hidden item.
pub(crate) struct TitleReasoner {
    pub(crate) words: ReasonsConfig,
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
        (!shared.is_empty()).then(|| self.words.shared.replace("{features}", &shared))
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
        if candidate.hits.iter().any(|hit| &*hit.source == "pinned") {
            reasons.push(self.words.pinned.clone());
        }
        if !titles.is_empty() {
            reasons.push(self.words.because.replace("{items}", &titles.join(" and ")));
        }
        reasons.extend(self.shared(query, candidate.item));
        if evidence.rest > personal {
            let alike = self.by_attributes(query, candidate.item);
            let words = if alike {
                &self.words.alike
            } else {
                &self.words.popular
            };
            reasons.push(words.clone());
        }
        if reasons.is_empty() {
            let recent = candidate.hits.iter().any(|hit| &*hit.source == "recent");
            let word = if recent {
                &self.words.new
            } else {
                &self.words.otherwise
            };
            reasons.push(word.clone());
        }
        reasons.retain(|reason| !reason.is_empty());
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
