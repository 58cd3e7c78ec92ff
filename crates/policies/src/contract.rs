//! What every policy promises.

use crate::Arms;
use numeric::SeededStream;

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: got {got}, expected {expected}")]
pub struct PolicyError {
    /// Which key.
    pub field: String,
    /// What was there.
    pub got: String,
    /// What should have been.
    pub expected: String,
}

/// A slate, and how probable each of its positions was.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drawn {
    /// Places in the list of arms, first position first.
    pub slate: Vec<usize>,
    /// For each position, the probability of what stands there given what stands before.
    pub conditionals: Vec<f64>,
}

/// Probability of a slate from those of its positions, each given the ones before it.
pub fn slate_propensity(conditionals: &[f64]) -> f64 {
    conditionals.iter().product()
}

/// A way of choosing.
///
/// Promises, for any arms and any prefix of distinct open arms: [`Chances::next`] gives probabilities that sum to 1 as long as an open arm is left, and
/// exactly 0 to closed and placed arms; draws have that distribution; [`Chances::conditionals`] agree with it; the same arms and
/// seed give the same slate.
pub trait SlatePolicy: Send + Sync + std::fmt::Debug {
    /// Its name in configurations and records.
    fn name(&self) -> &'static str;
    /// Raised whenever the same settings and seed would give another slate or probability.
    fn version(&self) -> u32;
    /// Its effective settings.
    fn settings(&self) -> serde_json::Value;
    /// Gets ready to choose from these arms.
    fn chances<'a>(&'a self, arms: &'a Arms) -> Box<dyn Chances + 'a>;

    /// Draws a slate of up to `n` open arms with its probabilities.
    fn draw(&self, arms: &Arms, n: usize, stream: &mut SeededStream) -> Drawn {
        drawn(&mut *self.chances(arms), arms, n, stream)
    }

    /// As [`draw`](Self::draw), and for each position the probability of what stands there, whatever stands elsewhere; `None` where there is no closed form.
    fn draw_with_marginals(
        &self,
        arms: &Arms,
        n: usize,
        stream: &mut SeededStream,
    ) -> (Drawn, Option<Vec<f64>>) {
        let mut chances = self.chances(arms);
        let drawn = drawn(&mut *chances, arms, n, stream);
        let marginals = chances.marginals(n, &placed(&drawn.slate));
        (drawn, marginals)
    }
}

/// A slate drawn position by position.
fn drawn(chances: &mut dyn Chances, arms: &Arms, n: usize, stream: &mut SeededStream) -> Drawn {
    let n = n.min(arms.n_open());
    let mut slate = Vec::with_capacity(n);
    while slate.len() < n {
        let next = chances.draw_next(&slate, stream);
        slate.push(next);
    }
    let conditionals = chances.conditionals(&slate);
    Drawn { slate, conditionals }
}

/// The arms of a slate with their positions.
pub(crate) fn placed(slate: &[usize]) -> Vec<(usize, usize)> {
    slate
        .iter()
        .enumerate()
        .map(|(position, arm)| (*arm, position))
        .collect()
}

/// A policy in front of one list of arms.
pub trait Chances {
    /// Writes the probability of each arm to stand next after `prefix` into `out`, which has a place for each arm.
    fn next(&mut self, prefix: &[usize], out: &mut [f64]);

    /// How many arms there are.
    fn n_arms(&self) -> usize;

    /// Draws what stands next; at least one open arm must be left.
    fn draw_next(&mut self, prefix: &[usize], stream: &mut SeededStream) -> usize {
        let mut out = vec![0.0; self.n_arms()];
        self.next(prefix, &mut out);
        pick(&out, stream.uniform())
    }

    /// Probability of what stands at each position, given what stands before.
    fn conditionals(&mut self, slate: &[usize]) -> Vec<f64> {
        let mut out = vec![0.0; self.n_arms()];
        let mut each = Vec::with_capacity(slate.len());
        for at in 0..slate.len() {
            self.next(&slate[..at], &mut out);
            each.push(out[slate[at]]);
        }
        each
    }

    /// Probability of each of these (arm, position from 0) in slates of `n`, whatever stands at the other positions; `None` where there is no closed form.
    fn marginals(&mut self, _n: usize, _pairs: &[(usize, usize)]) -> Option<Vec<f64>> {
        None
    }
}

/// The arm at this quantile of a distribution; never one of probability 0, as long as there is one above.
pub(crate) fn pick(chances: &[f64], quantile: f64) -> usize {
    let total: f64 = chances.iter().sum();
    let mut rest = quantile * total;
    let mut last = 0;
    for (at, chance) in chances.iter().enumerate() {
        if *chance > 0.0 {
            last = at;
            if rest < *chance {
                return at;
            }
            rest -= chance;
        }
    }
    last
}
