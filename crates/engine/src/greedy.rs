//! The policy without exploration.

use crate::limits::in_order;
use domain::{Candidate, Choice, Limit, Policy, Query};

/// Shows the first `n` as they come, each with probability exactly 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct GreedyPolicy;

impl Policy for GreedyPolicy {
    fn name(&self) -> &str {
        "greedy"
    }

    fn version(&self) -> &str {
        "1"
    }

    fn choose(&self, query: &Query, mut ordered: Vec<Candidate>) -> Choice {
        let held_back = ordered.split_off(query.n.min(ordered.len()));
        Choice {
            marginals: vec![1.0; ordered.len()],
            slate: ordered.into_iter().map(|candidate| (candidate, 1.0)).collect(),
            held_back,
            relaxed: Vec::new(),
        }
    }

    fn conditionals(&self, _: &Query, ordered: &[Candidate], slate: &[u32]) -> Option<Vec<f64>> {
        let best_left = |placed: &[u32]| ordered.iter().map(|c| c.item).find(|item| !placed.contains(item));
        let one = |at: usize| f64::from(u8::from(best_left(&slate[..at]) == Some(slate[at])));
        Some((0..slate.len()).map(one).collect())
    }

    fn marginals(&self, _: &Query, ordered: &[Candidate], slate: &[u32]) -> Option<Vec<f64>> {
        let stands = |(at, item): (usize, &u32)| ordered.get(at).is_some_and(|c| c.item == *item);
        let one = |pair| f64::from(u8::from(stands(pair)));
        Some(slate.iter().enumerate().map(one).collect())
    }

    fn choose_within(
        &self,
        query: &Query,
        ordered: Vec<Candidate>,
        limits: &[Limit],
        taken: &[u32],
    ) -> Option<Choice> {
        Some(in_order(ordered, limits, taken, query.n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_would_show_is_certain_and_all_else_impossible() {
        let ordered: Vec<Candidate> = [7, 3, 5]
            .into_iter()
            .map(|item| Candidate {
                item,
                ..Candidate::default()
            })
            .collect();
        let query = Query::default();
        for (slate, expected, anyhow) in [
            (vec![7, 3, 5], vec![1.0, 1.0, 1.0], vec![1.0, 1.0, 1.0]),
            (vec![3, 7, 5], vec![0.0, 1.0, 1.0], vec![0.0, 0.0, 1.0]),
            (vec![7, 9, 3], vec![1.0, 0.0, 1.0], vec![1.0, 0.0, 0.0]),
        ] {
            assert_eq!(GreedyPolicy.marginals(&query, &ordered, &slate), Some(anyhow));
            assert_eq!(
                GreedyPolicy.conditionals(&query, &ordered, &slate),
                Some(expected)
            );
        }
    }

    #[test]
    fn keeps_the_promises() {
        testkit::stages::policy(&GreedyPolicy, 25);
    }
}
