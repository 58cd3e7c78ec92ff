//! Maximal marginal relevance.
//!
//! Carbonell and Goldstein, 1998, "The use of MMR, diversity-based reranking for reordering documents and producing
//! summaries". Place by place stands the candidate with the largest (1 − d)·relevance − d·(likeness to the most alike of those that
//! stand already), d being `diversity`. Relevance is the score brought to 0 to 1 over the pool; likeness the cosine of labels.
//!
//! Worth is worked out anew only of whoever might stand next (lazy evaluation as of Minoux, 1978, "Accelerated greedy algorithms for maximizing submodular set functions");
//! labels are drawn only of those.
//!
//! Cost: O(places · pool) likenesses at worst, mostly a small part of it. Nothing is random. Ties go by the order of the candidates.

use crate::labels::{Labels, cosine_of, in_front, relevance};
use domain::{Candidate, Query, Reranked, Reranker};
use numeric::Spread;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// See the head of the module.
#[derive(Clone)]
pub(crate) struct MmrReranker {
    pub(crate) labels: Arc<dyn Labels>,
    pub(crate) diversity: f64,
    pub(crate) pool: usize,
    pub(crate) depth: usize,
}

/// Labels by number, in the order in which they come up.
#[derive(Default)]
struct Numbers(HashMap<u64, u32, BuildHasherDefault<Spread>>);

impl Numbers {
    /// Numbers of labels of which none comes twice.
    fn of(&mut self, labels: Vec<u64>) -> Vec<u32> {
        let number = |label: u64| {
            let next = self.0.len() as u32;
            *self.0.entry(label).or_insert(next)
        };
        labels.into_iter().map(number).collect()
    }
}

/// Labels of one that stands, a bit each, so that what another shares with them is counted by looking at its own few.
struct Bits {
    words: Vec<u64>,
    n: usize,
}

impl Bits {
    fn of(labels: &[u32]) -> Bits {
        let most = labels.iter().max().map_or(0, |most| most / u64::BITS + 1);
        let mut words = vec![0u64; most as usize];
        for label in labels {
            words[(label / u64::BITS) as usize] |= 1 << (label % u64::BITS);
        }
        let n = labels.len();
        Bits { words, n }
    }

    fn has(&self, label: u32) -> u64 {
        let word = self.words.get((label / u64::BITS) as usize).copied();
        (word.unwrap_or(0) >> (label % u64::BITS)) & 1
    }

    /// As [`cosine`](crate::labels::cosine) of the labels themselves.
    fn cosine(&self, other: &[u32]) -> f64 {
        let shared = other.iter().map(|label| self.has(*label)).sum();
        cosine_of(shared, self.n, other.len())
    }
}

/// A candidate that does not stand yet.
struct Standing {
    /// As of the last comparison.
    worth: f64,
    /// Place in the pool.
    at: usize,
    most_alike: f64,
    /// With how many of those that stand it was compared.
    compared: usize,
}

impl Ord for Standing {
    fn cmp(&self, other: &Standing) -> Ordering {
        let by_worth = self.worth.partial_cmp(&other.worth).unwrap_or(Ordering::Equal);
        by_worth.then(other.at.cmp(&self.at))
    }
}

impl PartialOrd for Standing {
    fn partial_cmp(&self, other: &Standing) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Standing {
    fn eq(&self, other: &Standing) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Standing {}

impl Reranker for MmrReranker {
    fn name(&self) -> &'static str {
        "mmr"
    }

    fn rerank(&self, query: &Query, ranked: Vec<Candidate>) -> Reranked {
        let pool = &ranked[..ranked.len().min(self.pool.max(query.n))];
        let relevance = relevance(pool);
        let places = query.n.max(self.depth).min(pool.len());
        let worth =
            |at: usize, most_alike: f64| (1.0 - self.diversity) * relevance[at] - self.diversity * most_alike;
        // Nobody's worth rises as others come to stand, so that what it was last is a bound on what it is.
        let mut left: BinaryHeap<Standing> = (0..pool.len())
            .map(|at| Standing {
                worth: worth(at, 0.0),
                at,
                most_alike: 0.0,
                compared: 0,
            })
            .collect();
        let mut chosen: Vec<usize> = Vec::with_capacity(places);
        let mut standing: Vec<Bits> = Vec::with_capacity(places);
        let mut numbers = Numbers::default();
        let mut labels: Vec<Option<Vec<u32>>> = vec![None; pool.len()];
        while chosen.len() < places
            && let Some(mut first) = left.pop()
        {
            let own =
                labels[first.at].get_or_insert_with(|| numbers.of(self.labels.labels(pool[first.at].item)));
            if first.compared == chosen.len() {
                chosen.push(first.at);
                standing.push(Bits::of(own));
                continue;
            }
            for other in &standing[first.compared..] {
                first.most_alike = first.most_alike.max(other.cosine(own));
            }
            first.compared = chosen.len();
            first.worth = worth(first.at, first.most_alike);
            left.push(first);
        }
        Reranked {
            chosen: in_front(ranked, &chosen),
            ..Reranked::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::cosine;
    use numeric::SeededStream;

    struct Given(Vec<Vec<u64>>);

    impl Labels for Given {
        fn labels(&self, item: u32) -> Vec<u64> {
            self.0[item as usize].clone()
        }
    }

    /// Everybody's worth at every place; ties to the first.
    fn slowly(labels: &[Vec<u64>], pool: &[Candidate], diversity: f64, places: usize) -> Vec<usize> {
        let relevance = relevance(pool);
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < places.min(pool.len()) {
            let mut best: Option<(f64, usize)> = None;
            for at in (0..pool.len()).filter(|at| !chosen.contains(at)) {
                let likenesses = chosen.iter().map(|other| cosine(&labels[at], &labels[*other]));
                let worth = (1.0 - diversity) * relevance[at] - diversity * likenesses.fold(0.0, f64::max);
                if best.is_none_or(|(most, _)| worth > most) {
                    best = Some((worth, at));
                }
            }
            chosen.extend(best.map(|(_, at)| at));
        }
        chosen
    }

    #[test]
    fn who_is_not_looked_at_would_not_stand_next() {
        let mut stream = SeededStream::new(11, 0);
        for round in 0..200 {
            let n_items = 1 + stream.below(40) as usize;
            let labels: Vec<Vec<u64>> = (0..n_items)
                .map(|_| (0..6).filter(|_| stream.below(3) == 0).collect())
                .collect();
            // Few different scores, so that many are equal.
            let mut scores: Vec<f32> = (0..n_items).map(|_| stream.below(5) as f32 / 2.0).collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            let ranked: Vec<Candidate> = (0u32..)
                .zip(&scores)
                .map(|(item, score)| Candidate {
                    item,
                    score: *score,
                    ..Candidate::default()
                })
                .collect();
            let diversity = [0.0, 0.2, 0.5, 1.0][round % 4];
            let depth = stream.below(n_items as u64 + 5) as usize;
            let expected = slowly(&labels, &ranked, diversity, depth.max(3));
            let reranker = MmrReranker {
                labels: Arc::new(Given(labels)),
                diversity,
                pool: 100,
                depth,
            };
            let query = Query {
                n: 3,
                ..Query::default()
            };
            let chosen = reranker.rerank(&query, ranked).chosen;
            let front: Vec<usize> = chosen[..expected.len()].iter().map(|c| c.item as usize).collect();
            assert_eq!(front, expected, "round {round}");
            assert_eq!(chosen.len(), n_items);
        }
    }
}
