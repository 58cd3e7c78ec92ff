//! Maximal marginal relevance.
//!
//! Carbonell and Goldstein, 1998, "The use of MMR, diversity-based reranking for reordering documents and producing
//! summaries". Place by place stands the candidate with the largest (1 − d)·relevance − d·(likeness to the most alike of those that
//! stand already), d being `diversity`. Relevance is the score brought to 0 to 1 over the pool; likeness the cosine of labels.
//!
//! Cost: O(places · pool) likenesses. Nothing is random. Ties go by the order of the candidates.

use crate::labels::{Labels, cosine, in_front, relevance};
use domain::{Candidate, Query, Reranked, Reranker};
use std::sync::Arc;

/// See the head of the module.
#[derive(Clone)]
pub(crate) struct MmrReranker {
    pub(crate) labels: Arc<dyn Labels>,
    pub(crate) diversity: f64,
    pub(crate) pool: usize,
    pub(crate) depth: usize,
}

impl Reranker for MmrReranker {
    fn name(&self) -> &'static str {
        "mmr"
    }

    fn rerank(&self, query: &Query, ranked: Vec<Candidate>) -> Reranked {
        let pool = &ranked[..ranked.len().min(self.pool.max(query.n))];
        let labels: Vec<Vec<u64>> = pool.iter().map(|c| self.labels.labels(c.item)).collect();
        let relevance = relevance(pool);
        let places = query.n.max(self.depth).min(pool.len());
        let mut most_alike = vec![0.0f64; pool.len()];
        // Those that do not stand yet, in order.
        let mut left: Vec<usize> = (0..pool.len()).collect();
        let mut chosen: Vec<usize> = Vec::with_capacity(places);
        while chosen.len() < places {
            let last = chosen.last().map(|last| labels[*last].as_slice());
            let mut best: Option<(f64, usize)> = None;
            for (place, at) in left.iter().copied().enumerate() {
                if let Some(last) = last {
                    most_alike[at] = most_alike[at].max(cosine(&labels[at], last));
                }
                let worth = (1.0 - self.diversity) * relevance[at] - self.diversity * most_alike[at];
                if best.is_none_or(|(most, _)| worth > most) {
                    best = Some((worth, place));
                }
            }
            let Some((_, place)) = best else {
                break;
            };
            chosen.push(left.remove(place));
        }
        Reranked {
            chosen: in_front(ranked, &chosen),
            ..Reranked::default()
        }
    }
}
