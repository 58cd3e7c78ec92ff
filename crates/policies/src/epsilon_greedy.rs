//! ε-greedy without replacement: at every position the best that is left, or with probability ε any that is left, all alike.
//!
//! Conditional probability of an arm at position t of m open arms: `(1 − ε)·[it is the first left] + ε / (m − t)`. Exact.
//!
//! Marginals are exact, too. While the slate grows, all arms before some frontier stand on it, the one at the frontier does not, and those beyond it
//! that stand on it were all drawn uniformly: given their number, each set of them is as likely as any other. So (position, frontier) is all there is to a state:
//! n²/2 of them, each with at most n successors. Cost O(n³) at worst, for slates of ten some 2 µs.
//!
//! Source: Sutton and Barto (2018), *Reinforcement Learning*, §2.2, drawn without replacement.

use crate::contract::{Chances, SlatePolicy};
use crate::settings::{parse, shown, within};
use crate::{Arms, PolicyEntry, PolicyError};
use numeric::SeededStream;
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

    /// Probabilities of the frontiers at each position: `states[t][j]`.
    fn states(&self, n: usize) -> Vec<Vec<f64>> {
        let m = self.order.len();
        let mut states = vec![vec![1.0]];
        for t in 0..n.saturating_sub(1) {
            let mut after = vec![0.0; t + 2];
            let uniform = self.epsilon / (m - t) as f64;
            for (j, chance) in states[t].iter().enumerate().filter(|(_, chance)| **chance > 0.0) {
                let beyond = m - 1 - j;
                let taken = t - j;
                after[j] += chance * uniform * (beyond - taken) as f64;
                // The frontier moves on past those beyond it that are taken without a gap.
                let mut run = chance * (1.0 - self.epsilon + uniform);
                for l in 0..=taken {
                    if beyond == l {
                        break;
                    }
                    let more = (taken - l) as f64 / (beyond - l) as f64;
                    after[j + 1 + l] += run * (1.0 - more);
                    run *= more;
                }
            }
            states.push(after);
        }
        states
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
        let m = self.order.len();
        let n = n.min(m);
        if n > MARGINALS_N_MAX {
            return None;
        }
        let states = self.states(n);
        let one = |(arm, t): &(usize, usize)| {
            let (i, t) = (self.place[*arm], *t);
            if i == usize::MAX || t >= n {
                return 0.0;
            }
            let uniform = self.epsilon / (m - t) as f64;
            let from = |(j, chance): (usize, &f64)| match i.cmp(&j) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => chance * (1.0 - self.epsilon + uniform),
                std::cmp::Ordering::Greater => chance * uniform * (1.0 - (t - j) as f64 / (m - 1 - j) as f64),
            };
            states[t].iter().enumerate().map(from).sum()
        };
        Some(pairs.iter().map(one).collect())
    }
}
