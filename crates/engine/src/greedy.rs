//! The policy without exploration.

use domain::{Candidate, Choice, Policy, Query};

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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_promises() {
        testkit::stages::policy(&GreedyPolicy, 25);
    }
}
