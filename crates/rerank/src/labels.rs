//! What items have in common: labels drawn from their attributes.

use crate::{AttributeSource, AttributeValue};
use domain::Candidate;
use std::sync::Arc;

/// Labels of an item: numbers that stand for values of its attributes, ascending, none twice.
pub trait Labels: Send + Sync {
    /// The labels of the item at a position; empty if it has none.
    fn labels(&self, item: u32) -> Vec<u64>;
}

/// Labels from attributes that are categories, tags, ids or texts. Values of different attributes are different labels.
#[derive(Clone)]
pub struct AttributeLabels {
    source: Arc<dyn AttributeSource>,
    /// Names with their hashes.
    attributes: Vec<(String, u64)>,
}

impl AttributeLabels {
    /// Labels from these attributes.
    pub fn new(source: Arc<dyn AttributeSource>, attributes: Vec<String>) -> AttributeLabels {
        let hashed = |name: String| {
            let key = numeric::hash_bytes(name.as_bytes());
            (name, key)
        };
        AttributeLabels {
            source,
            attributes: attributes.into_iter().map(hashed).collect(),
        }
    }

    /// The values of an attribute.
    pub(crate) fn values(source: &dyn AttributeSource, item: u32, attribute: &str) -> Vec<String> {
        match source.value(item, attribute) {
            Some(AttributeValue::Text(text)) => vec![text.to_owned()],
            Some(AttributeValue::Texts(texts)) => texts.to_vec(),
            _ => Vec::new(),
        }
    }
}

impl Labels for AttributeLabels {
    fn labels(&self, item: u32) -> Vec<u64> {
        let mut labels = Vec::new();
        for (at, (attribute, key)) in self.attributes.iter().enumerate() {
            let seed = numeric::mix(at as u64 + 1);
            let mut add = |hash: u64| labels.push(hash ^ seed);
            self.source.hashes(item, attribute, *key, &mut add);
        }
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

/// Cosine of two sets of labels: how many they share over the geometric mean of their sizes; 0 if either is empty. In 0 to 1, and the
/// matrix of it over any items is positive semi-definite, as one of inner products is.
pub(crate) fn cosine(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0);
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
    cosine_of(shared, a.len(), b.len())
}

/// The same of two sets of such sizes that share so many.
pub(crate) fn cosine_of(shared: u64, a: usize, b: usize) -> f64 {
    if shared == 0 {
        return 0.0;
    }
    shared as f64 / (a as f64 * b as f64).sqrt()
}

/// Scores brought to 0 to 1 over these candidates; all 1 if they are alike.
pub(crate) fn relevance(candidates: &[Candidate]) -> Vec<f64> {
    let scores = candidates.iter().map(|c| f64::from(c.score));
    let (low, high) = scores
        .clone()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), score| {
            (low.min(score), high.max(score))
        });
    let range = high - low;
    scores
        .map(|score| if range > 0.0 { (score - low) / range } else { 1.0 })
        .collect()
}

/// The candidates with those at `first` in front, in that order, and the others as they were.
pub(crate) fn in_front(candidates: Vec<Candidate>, first: &[usize]) -> Vec<Candidate> {
    let mut left: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
    let mut out: Vec<Candidate> = first.iter().filter_map(|at| left[*at].take()).collect();
    out.extend(left.into_iter().flatten());
    out
}
