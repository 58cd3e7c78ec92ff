//! Calibration: the slate has the person's mix of interests.
//!
//! Steck, 2018, "Calibrated recommendations". p is the share of each label in the history (each item's strength, spread evenly over its
//! labels), q that on the slate; the slate grows by the candidate with the largest (1 − w)·Σ relevance − w·KL(p ‖ q̃), where
//! q̃ = (1 − α)·q + α·p with α = 0.01 keeps it finite. Somebody without a history of labelled items gets the order as it was.
//!
//! Cost: O(places · pool · labels of the history). Nothing is random. Ties go by the order of the candidates.

use crate::labels::{Labels, in_front, relevance};
use domain::{Candidate, Query, Reranked, Reranker};
use std::collections::BTreeMap;
use std::sync::Arc;

const ALPHA: f64 = 0.01;

/// See the head of the module.
#[derive(Clone)]
pub(crate) struct CalibratedReranker {
    pub(crate) labels: Arc<dyn Labels>,
    pub(crate) weight: f64,
    pub(crate) pool: usize,
    pub(crate) depth: usize,
}

impl CalibratedReranker {
    /// Shares of labels in the history; they sum to 1, or there are none.
    pub(crate) fn interests(&self, query: &Query) -> BTreeMap<u64, f64> {
        let mut shares: BTreeMap<u64, f64> = BTreeMap::new();
        let mut total = 0.0;
        for event in query.history.iter().filter(|event| event.weight > 0.0) {
            let labels = self.labels.labels(event.item);
            for label in &labels {
                *shares.entry(*label).or_default() += f64::from(event.weight) / labels.len() as f64;
            }
            total += if labels.is_empty() {
                0.0
            } else {
                f64::from(event.weight)
            };
        }
        shares.values_mut().for_each(|share| *share /= total);
        shares
    }
}

/// KL(p ‖ q̃) where q is `mass` over `total`, label by label of p.
pub(crate) fn divergence(p: &[f64], mass: impl Fn(usize) -> f64, total: f64) -> f64 {
    let terms = p.iter().enumerate().map(|(at, p)| {
        let q = if total > 0.0 { mass(at) / total } else { 0.0 };
        p * (p / ((1.0 - ALPHA) * q + ALPHA * p)).ln()
    });
    terms.sum()
}

impl Reranker for CalibratedReranker {
    fn name(&self) -> &'static str {
        "calibrated"
    }

    fn rerank(&self, query: &Query, ranked: Vec<Candidate>) -> Reranked {
        let interests = self.interests(query);
        if interests.is_empty() {
            return Reranked {
                chosen: ranked,
                ..Reranked::default()
            };
        }
        let place: BTreeMap<u64, usize> = interests
            .keys()
            .enumerate()
            .map(|(at, label)| (*label, at))
            .collect();
        let p: Vec<f64> = interests.into_values().collect();
        let pool = &ranked[..ranked.len().min(self.pool.max(query.n))];
        // By candidate: how much it adds to which label of the history; the rest of its mass goes elsewhere.
        let adds: Vec<(Vec<usize>, f64)> = (pool.iter())
            .map(|candidate| {
                let labels = self.labels.labels(candidate.item);
                let known = labels.iter().filter_map(|label| place.get(label).copied());
                (known.collect(), 1.0 / labels.len().max(1) as f64)
            })
            .collect();
        let relevance = relevance(pool);
        let places = query.n.max(self.depth).min(pool.len());
        let mut mass = vec![0.0; p.len()];
        let mut is_used = vec![false; pool.len()];
        let mut chosen = Vec::with_capacity(places);
        while chosen.len() < places {
            let total = chosen.len() as f64 + 1.0;
            let mut best: Option<(f64, usize)> = None;
            for at in (0..pool.len()).filter(|at| !is_used[*at]) {
                let (known, share) = &adds[at];
                let with = |label: usize| mass[label] + if known.contains(&label) { *share } else { 0.0 };
                let worth = (1.0 - self.weight) * relevance[at] - self.weight * divergence(&p, with, total);
                if best.is_none_or(|(most, _)| worth > most) {
                    best = Some((worth, at));
                }
            }
            let Some((_, next)) = best else {
                break;
            };
            is_used[next] = true;
            adds[next].0.iter().for_each(|label| mass[*label] += adds[next].1);
            chosen.push(next);
        }
        Reranked {
            chosen: in_front(ranked, &chosen),
            ..Reranked::default()
        }
    }
}
