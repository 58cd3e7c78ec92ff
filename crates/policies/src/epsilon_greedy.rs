//! ε-greedy without replacement: at every position the best that is left, or with probability ε any that is left, all alike.
//!
//! Conditional probability of an arm at position t of m open arms: `(1 − ε)·[it is the first left] + ε / (m − t)`. Exact.
//!
//! Marginals are exact, too (`numeric::frontier_marginals`).
//!
//! Source: Sutton and Barto (2018), *Reinforcement Learning*, §2.2, drawn without replacement.

use crate::contract::{Chances, SlatePolicy};
use crate::settings::{parse, shown, within};
use crate::{Arms, PolicyEntry, PolicyError};
use numeric::{SeededStream, frontier_marginals};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Its line in the table.
pub(crate) const ENTRY: PolicyEntry = PolicyEntry {
    name: "epsilon-greedy",
    summary: "the best that is left, and with probability epsilon any that is left",
    source: "Sutton and Barto 2018, section 2.2, without replacement",
    build: |settings| {
        let policy: EpsilonGreedy = parse(settings)?;
        within("epsilon", policy.epsilon, 0.0, 1.0)?;
        Ok::<Box<dyn SlatePolicy>, PolicyError>(Box::new(policy))
    },
};

/// Slates longer than this get no marginals.
const MARGINALS_N_MAX: usize = 200;

/// Mostly the best, sometimes any.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EpsilonGreedy {
    /// Probability of a uniform draw at each position (ε), 0 to 1.
    pub epsilon: f64,
}

impl Default for EpsilonGreedy {
    fn default() -> Self {
        EpsilonGreedy { epsilon: 0.1 }
    }
}

impl SlatePolicy for EpsilonGreedy {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        shown(self)
    }

    fn chances<'a>(&'a self, arms: &'a Arms) -> Box<dyn Chances + 'a> {
        let order = arms.open();
        let mut place = vec![usize::MAX; arms.len()];
        for (at, arm) in order.iter().enumerate() {
            place[*arm] = at;
        }
        Box::new(Mixed {
            epsilon: self.epsilon,
            order,
            place,
        })
    }
}

struct Mixed {
    epsilon: f64,
    /// Open arms, best first.
    order: Vec<usize>,
    /// Place of each arm in `order`.
    place: Vec<usize>,
}

impl Mixed {
    /// Place of the first arm that is left.
    fn first_left(&self, prefix: &[usize]) -> usize {
        (0..self.order.len())
            .find(|at| !prefix.contains(&self.order[*at]))
            .unwrap_or(0)
    }
}

impl Chances for Mixed {
    fn next(&mut self, prefix: &[usize], out: &mut [f64]) {
        out.fill(0.0);
        let left = self.order.len() - prefix.len();
        if left == 0 {
            return;
        }
        for arm in &self.order {
            out[*arm] = self.epsilon / left as f64;
        }
        for arm in prefix {
            out[*arm] = 0.0;
        }
        out[self.order[self.first_left(prefix)]] += 1.0 - self.epsilon;
    }

    fn n_arms(&self) -> usize {
        self.place.len()
    }

    fn draw_next(&mut self, prefix: &[usize], stream: &mut SeededStream) -> usize {
        let explores = stream.uniform() < self.epsilon;
        if !explores {
            return self.order[self.first_left(prefix)];
        }
        let mut at = stream.below((self.order.len() - prefix.len()) as u64) as usize;
        let mut before: Vec<usize> = prefix.iter().map(|arm| self.place[*arm]).collect();
        before.sort_unstable();
        for place in before {
            at += usize::from(place <= at);
        }
        self.order[at]
    }

    fn conditionals(&mut self, slate: &[usize]) -> Vec<f64> {
        let m = self.order.len();
        let each = (0..slate.len()).map(|t| {
            let first = self.order[self.first_left(&slate[..t])];
            let greedy = if slate[t] == first {
                1.0 - self.epsilon
            } else {
                0.0
            };
            greedy + self.epsilon / (m - t) as f64
        });
        each.collect()
    }

    fn marginals(&mut self, n: usize, pairs: &[(usize, usize)]) -> Option<Vec<f64>> {
        if n.min(self.order.len()) > MARGINALS_N_MAX {
            return None;
        }
        let pairs: Vec<_> = pairs.iter().map(|(arm, t)| (self.place[*arm], *t)).collect();
        Some(frontier_marginals(self.order.len(), self.epsilon, n, &pairs))
    }
}
