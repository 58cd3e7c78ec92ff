//! A source of what is new.

use domain::{Query, Retriever, StageError, Timestamp};

/// Proposes the items added last before the moment of the decision, newest first; the score is
/// 1 / (1 + days since the item was added).
///
/// Cost of a query: a binary search and the entries looked at. Memory: 16 bytes per item.
#[derive(Debug, Clone)]
pub struct RecentRetriever {
    name: String,
    /// Newest first.
    added: Vec<(u32, Timestamp)>,
}

impl RecentRetriever {
    /// A source of these items with the moments when they were added, in any order; items added at
    /// the same moment keep the order given. Of an item given twice the newest entry counts.
    pub fn new(name: impl Into<String>, mut added: Vec<(u32, Timestamp)>) -> RecentRetriever {
        added.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
        let mut met = std::collections::BTreeSet::new();
        added.retain(|(item, _)| met.insert(*item));
        RecentRetriever {
            name: name.into(),
            added,
        }
    }
}

impl Retriever for RecentRetriever {
    fn name(&self) -> &str {
        &self.name
    }

    fn retrieve(
        &self,
        query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        let start = self.added.partition_point(|(_, at)| *at > query.now);
        let fit = self.added[start..].iter().filter(|(item, _)| allowed(*item));
        let score = |at: Timestamp| 1.0 / (1.0 + query.now.days_since(at));
        Ok(fit.take(budget).map(|(item, at)| (*item, score(*at))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_first_and_nothing_from_the_future() {
        let day = |days: i64| Timestamp(days * 86_400_000);
        let source = RecentRetriever::new(
            "new",
            vec![(0, day(1)), (1, day(5)), (2, day(3)), (3, day(3)), (0, day(2))],
        );
        let query = Query {
            now: day(3),
            ..Query::default()
        };
        let list = source.retrieve(&query, 9, &|_| true);
        assert_eq!(list, Ok(vec![(2, 1.0), (3, 1.0), (0, 0.5)]));
    }
}
