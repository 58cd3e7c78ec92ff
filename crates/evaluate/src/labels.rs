//! What items are described by: how different the items of a list are, and whether it keeps the mix of a history.
//!
//! Labels are the values of categories, tags and references. Diversity of a list is the mean of 1 − Jaccard over all pairs
//! (Ziegler et al. 2005, "Improving recommendation lists through topic diversification"). Calibration is
//! Steck (2018), "Calibrated recommendations": KL(p ‖ q̃) in nats, where p is the mix of one attribute's labels in the
//! history (by weight, each item's weight shared among its labels), q that of the list, q̃ = (1 − α)q + αp, α = 0.01: zero if
//! the mix is kept, at most ln(1/α) = 4.6. Cost: k²/2 merges of a few labels, and one pass over the history, per list.

use crate::EvaluateError;
use domain::HistoryEvent;
use models::ItemFeatures;
use signals::TypedValue;
use std::collections::{BTreeMap, BTreeSet};

/// Steck's α.
const SMOOTHING: f64 = 0.01;
/// An attribute with more labels is not chosen by itself: it would name items rather than kinds.
const CHOSEN_LABELS_MAX: usize = 200;

/// Labels by item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// All labels of each item, ascending.
    all: Vec<Vec<u32>>,
    /// The attribute that calibration goes by.
    attribute: Option<String>,
    /// Its labels of each item, ascending.
    kinds: Vec<Vec<u32>>,
    n_kinds: usize,
}

impl Labels {
    /// Reads labels; calibration goes by attribute `by`, or else by the one that most items have among those with 2 to
    /// 200 labels (the first by name of several). `None` if no item has labels.
    ///
    /// # Errors
    /// [`EvaluateError::Attribute`] if no item has labels of `by`.
    pub fn new(features: &[ItemFeatures], by: Option<&str>) -> Result<Option<Labels>, EvaluateError> {
        let mut per_attribute: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
        for (name, value) in features.iter().flatten() {
            let labels = labels_of(value);
            if labels.is_empty() {
                continue;
            }
            let held = per_attribute.entry(name).or_default();
            held.0 += 1;
            held.1.extend(labels);
        }
        if let Some(wanted) = by.filter(|wanted| !per_attribute.contains_key(wanted)) {
            return Err(EvaluateError::Attribute {
                got: wanted.to_owned(),
                known: per_attribute.keys().map(|name| (*name).to_owned()).collect(),
            });
        }
        if per_attribute.is_empty() {
            return Ok(None);
        }
        let fit = |labels: &BTreeSet<&str>| (2..=CHOSEN_LABELS_MAX).contains(&labels.len());
        let eligible = per_attribute.iter().filter(|(_, (_, labels))| fit(labels));
        // `max_by_key` gives the last of several, so the first by name comes from the reversed order.
        let widest = eligible.rev().max_by_key(|(_, (items, _))| *items);
        let attribute = by.or(widest.map(|(name, _)| *name)).map(str::to_owned);
        let mut ids: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let mut kind_ids: BTreeMap<&str, u32> = BTreeMap::new();
        for (name, (_, labels)) in &per_attribute {
            for label in labels {
                let next = ids.len() as u32;
                ids.insert((name, label), next);
                if attribute.as_deref() == Some(*name) {
                    let next = kind_ids.len() as u32;
                    kind_ids.insert(label, next);
                }
            }
        }
        let sorted = |labels: BTreeSet<u32>| labels.into_iter().collect::<Vec<u32>>();
        let all_of = |features: &ItemFeatures| {
            let pairs = features.iter().flat_map(|(name, value)| {
                labels_of(value)
                    .into_iter()
                    .map(move |label| (name.as_str(), label))
            });
            sorted(pairs.filter_map(|pair| ids.get(&pair).copied()).collect())
        };
        let kinds_of = |features: &ItemFeatures| {
            let value = attribute.as_ref().and_then(|name| features.get(name));
            let labels = value.map(labels_of).unwrap_or_default();
            sorted(
                labels
                    .iter()
                    .filter_map(|label| kind_ids.get(label).copied())
                    .collect(),
            )
        };
        Ok(Some(Labels {
            all: features.iter().map(all_of).collect(),
            kinds: features.iter().map(kinds_of).collect(),
            n_kinds: kind_ids.len(),
            attribute,
        }))
    }

    /// The attribute that calibration goes by, if there is one that fits.
    pub fn attribute(&self) -> Option<&str> {
        self.attribute.as_deref()
    }

    /// Mean of 1 − Jaccard over the pairs of labelled items among the first `k`; not a number for fewer than two.
    pub fn diversity(&self, list: &[u32], k: usize) -> f64 {
        let first = &list[..list.len().min(k)];
        let (mut sum, mut pairs) = (0f64, 0u32);
        for (at, item) in first.iter().enumerate() {
            let own = self.labels(*item);
            if own.is_empty() {
                continue;
            }
            for other in &first[..at] {
                let theirs = self.labels(*other);
                if !theirs.is_empty() {
                    sum += distance(own, theirs);
                    pairs += 1;
                }
            }
        }
        sum / f64::from(pairs)
    }

    fn labels(&self, item: u32) -> &[u32] {
        self.all.get(item as usize).map_or(&[], Vec::as_slice)
    }

    /// The mix of a history, summing to one; empty if nothing in it has a label of the attribute.
    pub fn mix_of_history(&self, history: &[HistoryEvent]) -> Vec<f64> {
        let liked = history.iter().filter(|event| event.weight > 0.0);
        self.mix(liked.map(|event| (event.item, f64::from(event.weight))))
    }

    fn mix(&self, items: impl Iterator<Item = (u32, f64)>) -> Vec<f64> {
        let mut mix = vec![0f64; self.n_kinds];
        let mut total = 0f64;
        for (item, weight) in items {
            let kinds = self.kinds.get(item as usize).map_or(&[][..], Vec::as_slice);
            for kind in kinds {
                mix[*kind as usize] += weight / kinds.len() as f64;
            }
            total += if kinds.is_empty() { 0.0 } else { weight };
        }
        if total <= 0.0 {
            return Vec::new();
        }
        mix.iter_mut().for_each(|share| *share /= total);
        mix
    }

    /// Divergence of the first `k` from a mix; not a number without either.
    pub fn miscalibration(&self, mix: &[f64], list: &[u32], k: usize) -> f64 {
        if mix.is_empty() || list.is_empty() {
            return f64::NAN;
        }
        let listed = self.mix(list.iter().take(k).map(|item| (*item, 1.0)));
        let divergence = |(at, p): (usize, &f64)| {
            let q = listed.get(at).copied().unwrap_or(0.0);
            p * (p / ((1.0 - SMOOTHING) * q + SMOOTHING * p)).ln()
        };
        let shares = mix.iter().enumerate().filter(|(_, p)| **p > 0.0);
        shares.map(divergence).sum()
    }
}

fn labels_of(value: &TypedValue) -> Vec<&str> {
    match value {
        TypedValue::Category(label) => vec![label],
        TypedValue::Tags(labels) | TypedValue::Ids(labels) => labels.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// 1 − Jaccard of two ascending lists.
fn distance(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0usize);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                shared += 1;
                i += 1;
                j += 1;
            }
        }
    }
    1.0 - shared as f64 / (a.len() + b.len() - shared) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn films() -> Vec<ItemFeatures> {
        let film = |genres: &[&str], id: &str| {
            let genres = genres.iter().map(|g| (*g).to_owned()).collect();
            ItemFeatures::from([
                ("genres".to_owned(), TypedValue::Tags(genres)),
                ("studio".to_owned(), TypedValue::Category(id.to_owned())),
                ("year".to_owned(), TypedValue::Number(1990.0)),
            ])
        };
        vec![
            film(&["drama"], "x"),
            film(&["comedy", "drama"], "x"),
            film(&["comedy"], "y"),
            ItemFeatures::new(),
        ]
    }

    /// Item 0: drama, x; 1: comedy, drama, x; 2: comedy, y; 3: nothing.
    #[test]
    fn by_hand() {
        let labels = Labels::new(&films(), Some("genres"))
            .expect("there are genres")
            .expect("labels");
        let diversity = labels.diversity(&[0, 3, 1, 2], 4);
        // 0 and 1 share two of three, 0 and 2 nothing, 1 and 2 one of four.
        assert!(
            (diversity - (1.0 / 3.0 + 1.0 + 3.0 / 4.0) / 3.0).abs() < 1e-12,
            "{diversity}"
        );
        assert!(labels.diversity(&[0, 3], 2).is_nan());
        let event = |item, weight| HistoryEvent {
            item,
            weight,
            age_days: 0.0,
        };
        let mix = labels.mix_of_history(&[event(0, 1.0), event(1, 2.0), event(3, 5.0), event(2, -1.0)]);
        // Comedy: half of 2, drama: 1 and half of 2; of 3.
        assert!((mix[0] - 1.0 / 3.0).abs() < 1e-12 && (mix[1] - 2.0 / 3.0).abs() < 1e-12);
        let kl = labels.miscalibration(&mix, &[0, 2], 1);
        let (p, q) = ([1.0 / 3.0, 2.0 / 3.0f64], [0.0, 1.0f64]);
        let expected: f64 = (0..2)
            .map(|g| p[g] * (p[g] / (0.99 * q[g] + 0.01 * p[g])).ln())
            .sum();
        assert!((kl - expected).abs() < 1e-12, "{kl} {expected}");
        assert!(labels.miscalibration(&[0.5, 0.5], &[0, 2], 2).abs() < 1e-12);
        assert!(labels.miscalibration(&mix, &[], 2).is_nan());
    }

    #[test]
    fn the_attribute_that_most_items_have() {
        let mut films = films();
        films[2].remove("genres");
        let labels = Labels::new(&films, None).expect("sound").expect("labels");
        assert_eq!(labels.attribute(), Some("studio"));
        let refused = Labels::new(&films, Some("year")).expect_err("numbers are no labels");
        assert!(refused.to_string().contains("genres, studio"), "{refused}");
        assert_eq!(Labels::new(&[ItemFeatures::new()], None), Ok(None));
    }
}
