//! Thompson sampling with a normal posterior: at every position each arm that is left draws a score from N(score, variance), and the highest stands there.
//!
//! Values are drawn anew for each position, so what stands next depends on what is left and on nothing else. The probability that an arm has the highest of
//! independent normal values is one integral ([`normal_race`](crate::normal_race)), to about 1e-9: exact, not simulated. Marginals have no closed form.
//!
//! A standard deviation below a ten-thousandth of the greatest, or 1e-12 of the range of scores, counts as that, so that the integral can be done; if all are 0, the
//! best stands first with probability 1. Two arms further apart than 2 × 7 standard deviations count as certainly ordered.
//!
//! Source: Thompson (1933), Biometrika 25; Chapelle and Li (2011), NeurIPS 24.

use crate::contract::{Chances, SlatePolicy};
use crate::greedy::Greedy;
use crate::normal_race::NormalRace;
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

const RATIO_MAX: f64 = 1e4;
const RESOLUTION: f64 = 1e-12;

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
        3
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
        let scores = || arms.list().iter().map(|arm| arm.score);
        let best = scores().fold(f64::NEG_INFINITY, f64::max);
        let worst = scores().fold(f64::INFINITY, f64::min);
        let least = (widest / RATIO_MAX).max(RESOLUTION * (best - worst));
        // Counted from the best, so that nothing is lost where all are large.
        let means: Vec<f64> = scores().map(|score| score - best).collect();
        let spreads: Vec<f64> = arms.list().iter().map(|arm| spread(arm).max(least)).collect();
        Box::new(Normal::new(arms, &means, &spreads, 1.0))
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

struct Normal {
    race: NormalRace,
    open: Vec<bool>,
    /// Those that are open and not placed, when last drawn from.
    left: Vec<bool>,
}

impl Normal {
    fn new(arms: &Arms, means: &[f64], spreads: &[f64], fineness: f64) -> Normal {
        let open: Vec<bool> = arms.list().iter().map(|arm| arm.open).collect();
        Normal {
            race: NormalRace::new(means, spreads, &open, fineness),
            left: open.clone(),
            open,
        }
    }
}

impl Chances for Normal {
    fn next(&mut self, prefix: &[usize], out: &mut [f64]) {
        self.race.next(prefix, out);
    }

    fn n_arms(&self) -> usize {
        self.open.len()
    }

    fn draw_next(&mut self, prefix: &[usize], stream: &mut SeededStream) -> usize {
        self.left.copy_from_slice(&self.open);
        prefix.iter().for_each(|at| self.left[*at] = false);
        self.race.drawn(&self.left, stream)
    }

    fn conditionals(&mut self, slate: &[usize]) -> Vec<f64> {
        self.race.conditionals(slate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arm;
    use crate::race::{Race, Window};
    use proptest::prelude::*;

    fn means(arms: &Arms) -> Vec<f64> {
        arms.list().iter().map(|arm| arm.score).collect()
    }

    fn spreads(arms: &Arms) -> Vec<f64> {
        arms.list().iter().map(|arm| arm.variance.sqrt()).collect()
    }

    /// The same by a table of densities, whose distribution functions are integrated.
    fn tabulated(arms: &Arms) -> Race {
        let (means, spreads) = (means(arms), spreads(arms));
        let windows = means.iter().zip(&spreads).map(|(mean, spread)| Window {
            low: mean - 7.5 * spread,
            high: mean + 7.5 * spread,
            width: *spread,
        });
        let open: Vec<bool> = arms.list().iter().map(|arm| arm.open).collect();
        let density = |arm: usize, x: f64| {
            let z = (x - means[arm]) / spreads[arm];
            (-0.5 * z * z).exp() / (spreads[arm] * std::f64::consts::TAU.sqrt())
        };
        Race::new(&windows.collect::<Vec<_>>(), &open, open.len(), 4.0, &density)
    }

    proptest! {
        /// The quadrature against itself at a quarter of the width, against a table, and against the sum that it must have.
        #[test]
        fn the_integral_is_done(seed in 0u64..60, m in 2usize..40, ratio in 0.0f64..3.0, closed in 0usize..3) {
            let mut stream = SeededStream::new(seed, 5);
            let arm = |stream: &mut SeededStream, at: usize| Arm {
                variance: 10f64.powf(ratio * (stream.uniform() - 1.0)).powi(2),
                open: at < 2 || at % 3 >= closed,
                ..Arm::of_score(stream.normal())
            };
            let arms = Arms::new((0..m).map(|at| arm(&mut stream, at)).collect()).expect("finite");
            let of_fineness = |fineness| Normal::new(&arms, &means(&arms), &spreads(&arms), fineness);
            let (mut normal, mut fine) = (of_fineness(1.0), of_fineness(5.0));
            let table = tabulated(&arms);
            for prefix in [vec![], vec![0]] {
                let (mut a, mut b, mut c) = (vec![0.0; m], vec![0.0; m], vec![0.0; m]);
                normal.next(&prefix, &mut a);
                fine.next(&prefix, &mut b);
                table.next(&prefix, &mut c);
                prop_assert!((a.iter().sum::<f64>() - 1.0).abs() < 1e-8, "{a:?}");
                for ((a, b), c) in a.iter().zip(&b).zip(&c) {
                    prop_assert!((a - b).abs() < 2e-9, "{a} {b}");
                    prop_assert!((a - c).abs() < 2e-9, "{a} {c}");
                    // Small ones are known, too.
                    prop_assert!((a - b).abs() < 1e-3 * b + 1e-11, "{a} {b}");
                }
            }
            for n in [1, 3, arms.n_open()] {
                let slate: Vec<usize> = arms.open().into_iter().rev().take(n).collect();
                let said = normal.conditionals(&slate);
                let mut out = vec![0.0; m];
                for (at, said) in said.iter().enumerate() {
                    normal.next(&slate[..at], &mut out);
                    prop_assert!((said - out[slate[at]]).abs() < 1e-3 * said + 1e-11, "{said} {}", out[slate[at]]);
                }
            }
        }
    }

    #[test]
    fn scores_of_any_size_are_served() {
        for (shift, size) in [(1e9, 1.0), (0.0, 1e-15), (-1e12, 1e3), (1e300, 1e290), (0.0, 1e9)] {
            let arm = |score: f64, spread: f64| Arm {
                variance: spread * spread,
                ..Arm::of_score(shift + size * score)
            };
            let arms = vec![
                arm(1.0, 1e-3),
                arm(0.9, 0.2),
                arm(-3.0, 1e-9),
                arm(0.0, 0.0),
                arm(-2.9, 1e-3),
            ];
            let arms = Arms::new(arms).expect("finite");
            let drawn = GaussianThompson::default().draw(&arms, 5, &mut SeededStream::new(1, 1));
            assert!(
                drawn
                    .conditionals
                    .iter()
                    .all(|chance| *chance > 0.0 && *chance <= 1.0),
                "{drawn:?}"
            );
            let mut out = [0.0; 5];
            GaussianThompson::default().chances(&arms).next(&[], &mut out);
            assert!((out.iter().sum::<f64>() - 1.0).abs() < 1e-8, "{out:?}");
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
