//! A cap on how much of a slate one group may take.

use domain::{Candidate, Query, Reranked, Reranker};
use std::collections::HashMap;
use std::sync::Arc;

/// Keeps the order but lets no group (category, producer) have more than `share_max` of the slate:
/// at most ⌈share_max · n⌉ of the first `n`. Candidates over the cap stand directly behind the first `n`, in
/// order. If too few others are there to fill the slate, the cap is exceeded by the best that are left
/// and `spread` is named as relaxed.
///
/// Cost: O(m) for m candidates. Groups come by position; items past the table have none and are
/// never capped.
#[derive(Debug, Clone)]
pub struct SpreadReranker {
    groups: Arc<Vec<Option<u32>>>,
    share_max: f32,
}

impl SpreadReranker {
    /// A reranker over one group per position. `share_max` is brought into 0 to 1; at 0 one of each
    /// group may still stand in the slate.
    pub fn new(groups: Arc<Vec<Option<u32>>>, share_max: f32) -> SpreadReranker {
        SpreadReranker {
            groups,
            share_max: if share_max.is_finite() {
                share_max.clamp(0.0, 1.0)
            } else {
                1.0
            },
        }
    }
}

impl Reranker for SpreadReranker {
    fn name(&self) -> &str {
        "spread"
    }

    fn rerank(&self, query: &Query, ranked: Vec<Candidate>) -> Reranked {
        let cap = ((query.n as f32 * self.share_max).ceil() as usize).max(1);
        let mut used: HashMap<u32, usize> = HashMap::new();
        let (mut first, mut over, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for candidate in ranked {
            if first.len() >= query.n {
                rest.push(candidate);
                continue;
            }
            match self.groups.get(candidate.item as usize).copied().flatten() {
                Some(group) if used.get(&group).is_some_and(|count| *count >= cap) => over.push(candidate),
                Some(group) => {
                    *used.entry(group).or_default() += 1;
                    first.push(candidate);
                }
                None => first.push(candidate),
            }
        }
        let relaxed = first.len() < query.n && !over.is_empty();
        first.append(&mut over);
        first.append(&mut rest);
        Reranked {
            chosen: first,
            held_back: Vec::new(),
            relaxed: if relaxed {
                vec!["spread".to_owned()]
            } else {
                Vec::new()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slate(share_max: f32, n: usize, groups: &[Option<u32>]) -> (Vec<u32>, bool) {
        let ranked = (0..groups.len() as u32).map(|item| Candidate {
            item,
            score: -(item as f32),
            hits: Vec::new(),
        });
        let query = Query {
            n,
            ..Query::default()
        };
        let out = SpreadReranker::new(Arc::new(groups.to_vec()), share_max).rerank(&query, ranked.collect());
        (
            out.chosen.iter().map(|c| c.item).collect(),
            !out.relaxed.is_empty(),
        )
    }

    #[test]
    fn by_hand() {
        let groups = [Some(1), Some(1), Some(1), Some(2), None, Some(2), Some(3)];
        assert_eq!(slate(0.5, 4, &groups), (vec![0, 1, 3, 4, 2, 5, 6], false));
        assert_eq!(slate(0.0, 3, &groups), (vec![0, 3, 4, 1, 2, 5, 6], false));
        assert_eq!(slate(0.25, 4, &groups[..3]), (vec![0, 1, 2], true));
        assert_eq!(slate(1.0, 3, &groups).0, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn keeps_the_promises() {
        let groups = Arc::new((0..20).map(|i| (i % 4 != 0).then_some(i % 4)).collect());
        testkit::stages::reranker(&SpreadReranker::new(groups, 0.3), 20);
    }
}
