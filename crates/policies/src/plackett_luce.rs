//! Softmax over scores, drawn without replacement (Plackett–Luce): an arm stands next with probability proportional to exp(score / temperature) among
//! those that are left.
//!
//! The probability of a slate is the product of its conditionals, exactly. Marginals come from one integral over an equivalent race, to about 1e-9
//! (`numeric::race_marginals`); they are given for slates of up to 64.
//!
//! Cost: n·m exponentials for a slate of n from m arms. Source: Luce (1959); Plackett (1975), *The Analysis of Permutations*.

use crate::contract::{Chances, Drawn, SlatePolicy, pick, placed};
use crate::settings::{parse, shown, within};
use crate::{Arms, PolicyEntry, PolicyError};
use numeric::{SeededStream, race_marginals};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Its line in the table.
pub(crate) const ENTRY: PolicyEntry = PolicyEntry {
    name: "softmax",
    summary: "proportional to exp(score / temperature) among those left (Plackett-Luce)",
    source: "Plackett 1975, The Analysis of Permutations",
    build: |settings| {
        let policy: PlackettLuce = parse(settings)?;
        within("temperature", policy.temperature, 1e-6, 1e6)?;
        Ok::<Box<dyn SlatePolicy>, PolicyError>(Box::new(policy))
    },
};

/// Better ones more often.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlackettLuce {
    /// How much chance: towards 0 the best always, towards infinity all alike. In units of the score.
    pub temperature: f64,
}

impl Default for PlackettLuce {
    fn default() -> Self {
        PlackettLuce { temperature: 0.3 }
    }
}

impl SlatePolicy for PlackettLuce {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        4
    }

    fn settings(&self) -> Value {
        shown(self)
    }

    fn chances<'a>(&'a self, arms: &'a Arms) -> Box<dyn Chances + 'a> {
        Box::new(self.weighted(arms))
    }

    fn draw(&self, arms: &Arms, n: usize, stream: &mut SeededStream) -> Drawn {
        self.weighted(arms).drawn(n, stream)
    }

    fn draw_with_marginals(
        &self,
        arms: &Arms,
        n: usize,
        stream: &mut SeededStream,
    ) -> (Drawn, Option<Vec<f64>>) {
        let mut weighted = self.weighted(arms);
        let drawn = weighted.drawn(n, stream);
        let marginals = weighted.marginals(n, &placed(&drawn.slate));
        (drawn, marginals)
    }
}

impl PlackettLuce {
    fn weighted<'a>(&self, arms: &'a Arms) -> Weighted<'a> {
        let logs = arms.list().iter().map(|arm| arm.score / self.temperature);
        let logs: Vec<f64> = logs.collect();
        let best = (logs.iter().zip(arms.list()))
            .filter(|(_, arm)| arm.open)
            .fold(f64::NEG_INFINITY, |best, (log, _)| best.max(*log));
        let weights = logs.iter().zip(arms.list());
        let open = weights
            .map(|(log, arm)| if arm.open { (log - best).exp() } else { 0.0 })
            .collect();
        Weighted { logs, open, arms }
    }
}

struct Weighted<'a> {
    /// Logarithm of each weight.
    logs: Vec<f64>,
    /// The weights of the open ones, the greatest of which is 1; 0 for the others.
    open: Vec<f64>,
    arms: &'a Arms,
}

impl Weighted<'_> {
    fn drawn(&mut self, n: usize, stream: &mut SeededStream) -> Drawn {
        let n = n.min(self.arms.n_open());
        let (mut slate, mut conditionals) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let mut out = vec![0.0; self.arms.len()];
        while slate.len() < n {
            // What is drawn from says the probability, too.
            self.next(&slate, &mut out);
            let next = pick(&out, stream.uniform());
            slate.push(next);
            conditionals.push(out[next]);
        }
        Drawn { slate, conditionals }
    }
}

/// Weights that sum to less have lost their digits: they are taken anew, below the best that is left.
const SMALL: f64 = 1e-200;

impl Chances for Weighted<'_> {
    fn next(&mut self, prefix: &[usize], out: &mut [f64]) {
        out.copy_from_slice(&self.open);
        prefix.iter().for_each(|at| out[*at] = 0.0);
        let mut total: f64 = out.iter().sum();
        if total < SMALL {
            let left = self.arms.left(prefix);
            let best = (self.logs.iter().zip(&left))
                .filter(|(_, left)| **left)
                .fold(f64::NEG_INFINITY, |best, (log, _)| best.max(*log));
            total = 0.0;
            for ((out, log), left) in out.iter_mut().zip(&self.logs).zip(&left) {
                *out = if *left { (log - best).exp() } else { 0.0 };
                total += *out;
            }
        }
        if total > 0.0 {
            out.iter_mut().for_each(|chance| *chance /= total);
        }
    }

    fn n_arms(&self) -> usize {
        self.arms.len()
    }

    fn marginals(&mut self, n: usize, pairs: &[(usize, usize)]) -> Option<Vec<f64>> {
        let open = self.arms.open();
        let weights: Vec<f64> = open.iter().map(|arm| self.open[*arm]).collect();
        let logs = open.iter().map(|arm| self.logs[*arm]);
        let (least, best) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, best), log| {
            (log.min(least), log.max(best))
        });
        let mut place = vec![usize::MAX; self.arms.len()];
        for (at, arm) in open.iter().enumerate() {
            place[*arm] = at;
        }
        let known: Vec<_> = pairs
            .iter()
            .map(|(arm, position)| (place[*arm], *position))
            .collect();
        race_marginals(&weights, least - best, n, &known)
    }
}
