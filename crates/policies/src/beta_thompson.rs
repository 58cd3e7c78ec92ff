//! Thompson sampling with a beta posterior of counts: at every position each arm that is left draws a rate from
//! Beta(prior_wins + wins, prior_losses + losses), and the highest stands there.
//!
//! As with normal posteriors, values are drawn anew for each position, and the probability of the highest is one integral
//! ([`race`](crate::race)), here to about 1e-7: with parameters that are no whole numbers the density is not smooth at 0 and 1. Scores are not looked at.
//!
//! Source: Thompson (1933), Biometrika 25; Chapelle and Li (2011), NeurIPS 24, algorithm 2.

use crate::beta::Beta;
use crate::contract::{Chances, SlatePolicy};
use crate::race::{Race, Window};
use crate::settings::{parse, shown, within};
use crate::{Arms, PolicyEntry, PolicyError};
use numeric::SeededStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Its line in the table.
pub(crate) const ENTRY: PolicyEntry = PolicyEntry {
    name: "beta-thompson",
    summary: "the highest of rates drawn from beta posteriors (wins and losses per item)",
    source: "Chapelle and Li 2011, algorithm 2",
    build: |settings| {
        let policy: BetaThompson = parse(settings)?;
        within("prior_wins", policy.prior_wins, 1.0, 1e6)?;
        within("prior_losses", policy.prior_losses, 1.0, 1e6)?;
        Ok::<Box<dyn SlatePolicy>, PolicyError>(Box::new(policy))
    },
};

/// Counts beyond this add nothing: the distribution would be narrower than what can be told apart.
const COUNTS_MAX: f64 = 1e6;
const REACH: f64 = 12.0;

/// Draws a rate for each arm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BetaThompson {
    /// Wins that every arm starts with, 1 or more.
    pub prior_wins: f64,
    /// Losses that every arm starts with, 1 or more.
    pub prior_losses: f64,
}

impl Default for BetaThompson {
    fn default() -> Self {
        BetaThompson {
            prior_wins: 1.0,
            prior_losses: 1.0,
        }
    }
}

impl SlatePolicy for BetaThompson {
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
        let posterior = |arm: &crate::Arm| {
            let (wins, losses) = (self.prior_wins + arm.wins, self.prior_losses + arm.losses);
            let scale = (COUNTS_MAX / (wins + losses)).min(1.0);
            Beta::new((wins * scale).max(1.0), (losses * scale).max(1.0))
        };
        Box::new(Rates {
            arms,
            betas: arms.list().iter().map(posterior).collect(),
            race: None,
        })
    }
}

struct Rates<'a> {
    arms: &'a Arms,
    betas: Vec<Beta>,
    race: Option<(usize, Race)>,
}

impl Rates<'_> {
    fn race(&mut self, n: usize) -> &Race {
        let fits = self.race.as_ref().is_some_and(|(up_to, _)| n <= *up_to);
        let kept = if fits { self.race.take() } else { None };
        let race = kept.unwrap_or_else(|| (n, self.tabulated(n)));
        &self.race.insert(race).1
    }

    fn tabulated(&self, n: usize) -> Race {
        let window = |beta: &Beta| {
            let (mean, deviation) = (beta.mean(), beta.deviation());
            Window {
                low: (mean - REACH * deviation).max(0.0),
                high: (mean + REACH * deviation).min(1.0),
                width: 0.5 * deviation,
            }
        };
        let windows: Vec<Window> = self.betas.iter().map(window).collect();
        let open: Vec<bool> = self.arms.list().iter().map(|arm| arm.open).collect();
        Race::new(&windows, &open, n, 1.0, &|arm, x| self.betas[arm].density(x))
    }
}

impl Chances for Rates<'_> {
    fn next(&mut self, prefix: &[usize], out: &mut [f64]) {
        let n = self.arms.n_open().max(1);
        self.race(n).next(prefix, out);
    }

    fn n_arms(&self) -> usize {
        self.arms.len()
    }

    fn draw_next(&mut self, prefix: &[usize], stream: &mut SeededStream) -> usize {
        let left = self.arms.left(prefix);
        let mut best = (f64::NEG_INFINITY, 0);
        for (at, beta) in self.betas.iter().enumerate().filter(|(at, _)| left[*at]) {
            let value = beta.draw(stream);
            if value > best.0 {
                best = (value, at);
            }
        }
        best.1
    }

    fn conditionals(&mut self, slate: &[usize]) -> Vec<f64> {
        self.race(slate.len().max(1)).conditionals(slate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arm;

    #[test]
    fn two_arms_by_hand() {
        // Beta(2, 1) against Beta(1, 1): the mean of the first, 2/3. Beta(3, 1) against Beta(1, 2): ∫ 3x² (1 − (1−x)²) = 3/2 − 3/5 = 0.9.
        for (a, b, chance) in [((1.0, 0.0), (0.0, 0.0), 2.0 / 3.0), ((2.0, 0.0), (0.0, 1.0), 0.9)] {
            let arm = |(wins, losses)| Arm {
                wins,
                losses,
                ..Arm::of_score(0.0)
            };
            let arms = Arms::new(vec![arm(a), arm(b)]).expect("finite");
            let mut out = [0.0; 2];
            BetaThompson::default().chances(&arms).next(&[], &mut out);
            assert!((out[0] - chance).abs() < 1e-9, "{out:?}");
        }
    }
}
