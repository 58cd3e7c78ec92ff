//! A cap on each label within any run of places: no three of a kind in a row.
//!
//! Place by place stands the first candidate of which no label stands more than `max` times, itself included, among the last `window` places.
//! If there is none, the first of all stands there and `window` is named as relaxed. Candidates without labels fit anywhere.
//!
//! Cost: O(places · candidates · window) at worst. Nothing is random.

use crate::labels::{Labels, in_front};
use domain::{Candidate, Query, Reranked, Reranker};
use std::sync::Arc;

/// See the head of the module.
#[derive(Clone)]
pub(crate) struct WindowReranker {
    pub(crate) labels: Arc<dyn Labels>,
    pub(crate) window: usize,
    pub(crate) max: usize,
}

impl Reranker for WindowReranker {
    fn name(&self) -> &'static str {
        "window"
    }

    fn rerank(&self, query: &Query, ranked: Vec<Candidate>) -> Reranked {
        let labels: Vec<Vec<u64>> = ranked.iter().map(|c| self.labels.labels(c.item)).collect();
        let places = query.n.min(ranked.len());
        let mut is_used = vec![false; ranked.len()];
        let mut chosen: Vec<usize> = Vec::with_capacity(places);
        let mut is_relaxed = false;
        while chosen.len() < places {
            let last = &chosen[chosen.len().saturating_sub(self.window - 1)..];
            let fits = |at: &usize| {
                labels[*at].iter().all(|label| {
                    last.iter()
                        .filter(|other| labels[**other].contains(label))
                        .count()
                        < self.max
                })
            };
            let mut left = (0..ranked.len()).filter(|at| !is_used[*at]);
            let next = match left.clone().find(fits) {
                Some(next) => next,
                None => {
                    is_relaxed = true;
                    let Some(first) = left.next() else {
                        break;
                    };
                    first
                }
            };
            is_used[next] = true;
            chosen.push(next);
        }
        Reranked {
            chosen: in_front(ranked, &chosen),
            relaxed: is_relaxed.then(|| self.name().to_owned()).into_iter().collect(),
            ..Reranked::default()
        }
    }
}
