//! Thompson sampling with a normal posterior: at every position each arm that is left draws a score from N(score, variance), and the highest stands there.
//!
//! Values are drawn anew for each position, so what stands next depends on what is left and on nothing else. The probability that an arm has the highest of
//! independent normal values is one integral ([`race`](crate::race)), to about 1e-9: exact, not simulated. Marginals have no closed form.
//!
//! A standard deviation below a ten-thousandth of the greatest counts as that, so that the integral can be done; if all are 0, the best stands
//! first with probability 1. Two arms further apart than 2 × 7.5 standard deviations count as certainly ordered.
//!
//! Source: Thompson (1933), Biometrika 25; Chapelle and Li (2011), NeurIPS 24.

use crate::contract::{Chances, SlatePolicy};
use crate::greedy::Greedy;
use crate::race::{Race, Window};
use crate::settings::{parse, shown, within};
use crate::{Arms, PolicyEntry, PolicyError};
use numeric::SeededStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Its line in the table.
pub(crate) const ENTRY: PolicyEntry = PolicyEntry {
    name: "thompson",
    summary: "the highest of scores drawn from normal posteriors (mean and variance per item)",
    source: "Thompson 1933; Chapelle and Li 2011",
    build: |settings| {
        let policy: GaussianThompson = parse(settings)?;
        within("scale", policy.scale, 0.0, 1e6)?;
        Ok::<Box<dyn SlatePolicy>, PolicyError>(Box::new(policy))
    },
};

/// Half the width of what is alive of a normal distribution, in standard deviations; 6e-14 lies beyond.
const REACH: f64 = 7.5;
const RATIO_MAX: f64 = 1e4;

/// Draws a score for each arm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianThompson {
    /// Factor on the standard deviations; 0 for no exploration.
    pub scale: f64,
}

impl Default for GaussianThompson {
    fn default() -> Self {
        GaussianThompson { scale: 1.0 }
    }
}

impl SlatePolicy for GaussianThompson {
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
        let spread = |arm: &crate::Arm| self.scale * arm.variance.sqrt();
        let open = arms.list().iter().filter(|arm| arm.open);
        let widest = open.map(spread).fold(0.0, f64::max);
        if widest == 0.0 {
            // Nothing to draw: by score, and by order where scores are equal.
            return Box::new(ByScore::new(arms));
        }
        let spreads = arms.list().iter().map(|arm| spread(arm).max(widest / RATIO_MAX));
        Box::new(Normal {
            arms,
            spreads: spreads.collect(),
            race: None,
        })
    }
}

/// The best by score.
struct ByScore {
    order: Vec<usize>,
    sorted: Arms,
}

impl ByScore {
    fn new(arms: &Arms) -> ByScore {
        let mut order: Vec<usize> = (0..arms.len()).collect();
        order.sort_by(|a, b| {
            arms.list()[*b]
                .score
                .total_cmp(&arms.list()[*a].score)
                .then(a.cmp(b))
        });
        let sorted = Arms::new(order.iter().map(|at| arms.list()[*at]).collect());
        ByScore {
            sorted: sorted.unwrap_or_default(),
            order,
        }
    }
}

impl Chances for ByScore {
    fn next(&mut self, prefix: &[usize], out: &mut [f64]) {
        let inner: Vec<usize> = (prefix.iter())
            .filter_map(|arm| self.order.iter().position(|at| at == arm))
            .collect();
        let mut sorted = vec![0.0; out.len()];
        Greedy.chances(&self.sorted).next(&inner, &mut sorted);
        for (at, chance) in self.order.iter().zip(sorted) {
            out[*at] = chance;
        }
    }

    fn n_arms(&self) -> usize {
        self.order.len()
    }
}

struct Normal<'a> {
    arms: &'a Arms,
    spreads: Vec<f64>,
    /// Tabulated for slates up to a length.
    race: Option<(usize, Race)>,
}

impl Normal<'_> {
    fn race(&mut self, n: usize) -> &Race {
        let fits = self.race.as_ref().is_some_and(|(up_to, _)| n <= *up_to);
        let kept = if fits { self.race.take() } else { None };
        let race = kept.unwrap_or_else(|| (n, self.tabulated(n, 1.0)));
        &self.race.insert(race).1
    }

    fn tabulated(&self, n: usize, fineness: f64) -> Race {
        let list = self.arms.list();
        let window = |(arm, spread): (&crate::Arm, &f64)| Window {
            low: arm.score - REACH * spread,
            high: arm.score + REACH * spread,
            width: *spread,
        };
        let windows: Vec<Window> = list.iter().zip(&self.spreads).map(window).collect();
        let open: Vec<bool> = list.iter().map(|arm| arm.open).collect();
        let scale = 1.0 / std::f64::consts::TAU.sqrt();
        Race::new(&windows, &open, n, fineness, &|arm, x| {
            let z = (x - list[arm].score) / self.spreads[arm];
            scale / self.spreads[arm] * (-0.5 * z * z).exp()
        })
    }
}

impl Chances for Normal<'_> {
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
        for (at, arm) in self.arms.list().iter().enumerate().filter(|(at, _)| left[*at]) {
            let value = arm.score + self.spreads[at] * stream.normal();
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
    use proptest::prelude::*;

    proptest! {
        /// The quadrature against itself at a quarter of the width, and against the sum that it must have.
        #[test]
        fn the_integral_is_done(seed in 0u64..60, m in 2usize..12, ratio in 0.0f64..3.0) {
            let mut stream = SeededStream::new(seed, 5);
            let arm = |stream: &mut SeededStream| Arm {
                variance: 10f64.powf(ratio * (stream.uniform() - 1.0)).powi(2),
                ..Arm::of_score(stream.normal())
            };
            let arms = Arms::new((0..m).map(|_| arm(&mut stream)).collect()).expect("finite");
            let spreads: Vec<f64> = arms.list().iter().map(|arm| arm.variance.sqrt()).collect();
            let normal = Normal { arms: &arms, spreads, race: None };
            let (coarse, fine) = (normal.tabulated(m, 1.0), normal.tabulated(m, 4.0));
            for prefix in [vec![], vec![0]] {
                let (mut a, mut b) = (vec![0.0; m], vec![0.0; m]);
                coarse.next(&prefix, &mut a);
                fine.next(&prefix, &mut b);
                prop_assert!((a.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{a:?}");
                for (a, b) in a.iter().zip(&b) {
                    prop_assert!((a - b).abs() < 1e-9, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn two_arms_by_hand() {
        // N(1, 9) against N(0, 16): P = Φ(1 / 5) = 0.579259709439103.
        let arms = vec![
            Arm {
                variance: 9.0,
                ..Arm::of_score(1.0)
            },
            Arm {
                variance: 16.0,
                ..Arm::of_score(0.0)
            },
        ];
        let arms = Arms::new(arms).expect("finite");
        let mut out = [0.0; 2];
        GaussianThompson::default().chances(&arms).next(&[], &mut out);
        assert!((out[0] - 0.579_259_709_439_103).abs() < 1e-10, "{out:?}");
    }
}
