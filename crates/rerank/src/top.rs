//! The order of the scores.

use domain::{Candidate, Query, Reranked, Reranker};
use numeric::Chunked;

/// Orders by score, best first, and holds nobody back. Ties go by the tie key of the item's
/// position (its rank by item id, say); without keys, or between items without, by position.
///
/// Cost: O(m log m) for m candidates.
#[derive(Debug, Clone, Default)]
pub struct TopReranker {
    tie_keys: Chunked<u32>,
}

impl TopReranker {
    /// A reranker with a tie key for each position; lower stands first.
    pub fn new(tie_keys: Chunked<u32>) -> TopReranker {
        TopReranker { tie_keys }
    }
}

impl Reranker for TopReranker {
    fn name(&self) -> &str {
        "top"
    }

    fn rerank(&self, _query: &Query, mut ranked: Vec<Candidate>) -> Reranked {
        let key = |item: u32| {
            (
                self.tie_keys.get(item as usize).copied().unwrap_or(u32::MAX),
                item,
            )
        };
        ranked.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| key(a.item).cmp(&key(b.item)))
        });
        Reranked {
            chosen: ranked,
            ..Reranked::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_score_then_key() {
        let one = |item, score| Candidate {
            item,
            score,
            hits: Vec::new(),
        };
        let top = TopReranker::new([2, 1, 0].into_iter().collect());
        let out = top.rerank(
            &Query::default(),
            vec![one(0, 1.0), one(1, 1.0), one(2, 3.0), one(9, 1.0)],
        );
        assert_eq!(
            out.chosen.iter().map(|c| c.item).collect::<Vec<_>>(),
            [2, 1, 0, 9]
        );
        testkit::stages::reranker(&top, 20);
        testkit::stages::reranker(&TopReranker::default(), 20);
    }
}
