//! A source over a list made beforehand.

use domain::{Query, Retriever, StageError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Proposes the first items of a fixed list that are allowed, the same for everybody.
///
/// Cost of a query: the entries looked at, until the budget is spent. Memory: 8 bytes per entry,
/// shared.
#[derive(Debug, Clone)]
pub struct ListRetriever {
    name: String,
    items: Arc<Vec<(u32, f32)>>,
}

impl ListRetriever {
    /// A source of these items. If the list is not best first, repeats an item or holds a score
    /// that is not finite, a copy that is put right (stable sort, first of each item kept) takes its place.
    pub fn new(name: impl Into<String>, items: Arc<Vec<(u32, f32)>>) -> ListRetriever {
        let mut met = BTreeSet::new();
        let right = items
            .iter()
            .all(|(item, score)| score.is_finite() && met.insert(*item))
            && items.is_sorted_by(|a, b| a.1 >= b.1);
        let items = if right { items } else { Arc::new(put_right(&items)) };
        ListRetriever {
            name: name.into(),
            items,
        }
    }

    /// Entries in the list.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True if it proposes nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

fn put_right(items: &[(u32, f32)]) -> Vec<(u32, f32)> {
    let mut sorted: Vec<(u32, f32)> = items.iter().copied().filter(|(_, s)| s.is_finite()).collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut met = BTreeSet::new();
    sorted.retain(|(item, _)| met.insert(*item));
    sorted
}

impl Retriever for ListRetriever {
    fn name(&self) -> &str {
        &self.name
    }

    fn retrieve(
        &self,
        _query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        let fit = self.items.iter().copied().filter(|(item, _)| allowed(*item));
        Ok(fit.take(budget).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_out_of_order_is_put_right() {
        let list = ListRetriever::new(
            "x",
            Arc::new(vec![(1, 1.0), (2, 3.0), (1, 9.0), (3, f32::NAN), (4, 3.0)]),
        );
        let all = list.retrieve(&Query::default(), 9, &|_| true);
        assert_eq!(all, Ok(vec![(1, 9.0), (2, 3.0), (4, 3.0)]));
        let some = list.retrieve(&Query::default(), 1, &|item| item != 1);
        assert_eq!(some, Ok(vec![(2, 3.0)]));
    }
}
