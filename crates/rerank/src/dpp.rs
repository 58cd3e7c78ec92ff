//! Determinantal point process: the slate whose vectors, long for relevance and apart for diversity, span the largest volume.
//!
//! Kernel L_ij = q_i·S_ij·q_j with quality q_i = exp(w·relevance_i / 2) and S the cosine of labels, with a little on the diagonal so that
//! items without labels, or with the same, can stand. The slate of largest determinant is sought greedily, as in Chen, Zhang and Zhou, 2018,
//! "Fast greedy MAP inference for determinantal point process to improve recommendation diversity": a Cholesky
//! factor grows by a row per place.
//!
//! Cost: O(places² · pool). Nothing is random. Ties go by the order of the candidates.

use crate::labels::{Labels, cosine, in_front, relevance};
use domain::{Candidate, Query, Reranked, Reranker};
use std::sync::Arc;

/// Added to the likeness of each item to itself.
const RIDGE: f64 = 0.01;
/// A candidate that adds less volume than this adds none.
const VOLUME_MIN: f64 = 1e-10;

/// See the head of the module.
#[derive(Clone)]
pub(crate) struct DppReranker {
    pub(crate) labels: Arc<dyn Labels>,
    pub(crate) weight: f64,
    pub(crate) pool: usize,
    pub(crate) depth: usize,
}

impl DppReranker {
    pub(crate) fn kernel(quality: &[f64], labels: &[Vec<u64>], i: usize, j: usize) -> f64 {
        let likeness = match i == j {
            true => 1.0 + RIDGE,
            false => cosine(&labels[i], &labels[j]),
        };
        quality[i] * likeness * quality[j]
    }

    pub(crate) fn quality(&self, pool: &[Candidate]) -> Vec<f64> {
        let relevance = relevance(pool).into_iter();
        relevance.map(|r| (self.weight * r / 2.0).exp()).collect()
    }
}

impl Reranker for DppReranker {
    fn name(&self) -> &'static str {
        "dpp"
    }

    fn rerank(&self, query: &Query, ranked: Vec<Candidate>) -> Reranked {
        let pool = &ranked[..ranked.len().min(self.pool.max(query.n))];
        let labels: Vec<Vec<u64>> = pool.iter().map(|c| self.labels.labels(c.item)).collect();
        let quality = self.quality(pool);
        let kernel = |i: usize, j: usize| DppReranker::kernel(&quality, &labels, i, j);
        let places = query.n.max(self.depth).min(pool.len());
        // By candidate: its row of the factor so far, and the squared volume that it would add.
        let mut rows: Vec<Vec<f64>> = vec![Vec::new(); pool.len()];
        let mut gains: Vec<f64> = (0..pool.len()).map(|at| kernel(at, at)).collect();
        let mut chosen: Vec<usize> = Vec::with_capacity(places);
        while chosen.len() < places {
            let mut best: Option<usize> = None;
            for at in (0..pool.len()).filter(|at| gains[*at] > VOLUME_MIN) {
                if best.is_none_or(|best| gains[at] > gains[best]) {
                    best = Some(at);
                }
            }
            let Some(next) = best else {
                break;
            };
            let (row, root) = (rows[next].clone(), gains[next].sqrt());
            gains[next] = f64::NEG_INFINITY;
            chosen.push(next);
            for at in 0..pool.len() {
                if gains[at] == f64::NEG_INFINITY {
                    continue;
                }
                let known: f64 = row.iter().zip(&rows[at]).map(|(a, b)| a * b).sum();
                let entry = (kernel(next, at) - known) / root;
                rows[at].push(entry);
                gains[at] -= entry * entry;
            }
        }
        Reranked {
            chosen: in_front(ranked, &chosen),
            ..Reranked::default()
        }
    }
}
