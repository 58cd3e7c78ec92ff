//! Probability of every arm at every position, whatever stands elsewhere, for policies without a closed form.

use crate::{Arms, SlatePolicy};
use numeric::SeededStream;

/// Probabilities by position and arm.
#[derive(Debug, Clone, PartialEq)]
pub struct Marginals {
    /// `n` runs, one per position, of a probability per arm.
    pub by_position: Vec<f64>,
    /// Standard error of each; empty if exact.
    pub standard_errors: Vec<f64>,
    n_arms: usize,
}

impl Marginals {
    /// Probability of an arm at a position (from 0).
    pub fn at(&self, arm: usize, position: usize) -> f64 {
        self.by_position[position * self.n_arms + arm]
    }

    /// Probability of an arm to stand anywhere on the slate.
    pub fn inclusion(&self, arm: usize) -> f64 {
        (self.by_position.iter().skip(arm).step_by(self.n_arms.max(1))).sum()
    }
}

/// Sums over all prefixes, exactly; `None` if there are more than `prefixes_max` of them.
pub fn enumerated_marginals(
    policy: &dyn SlatePolicy,
    arms: &Arms,
    n: usize,
    prefixes_max: usize,
) -> Option<Marginals> {
    let n = n.min(arms.n_open());
    let m = arms.len();
    let mut chances = policy.chances(arms);
    let mut by_position = vec![0.0; n * m];
    let mut level: Vec<(Vec<usize>, f64)> = vec![(Vec::new(), 1.0)];
    let mut out = vec![0.0; m];
    let mut seen = 0;
    for position in 0..n {
        seen += level.len();
        if seen > prefixes_max {
            return None;
        }
        let mut after = Vec::new();
        for (prefix, weight) in &level {
            chances.next(prefix, &mut out);
            for (arm, chance) in out.iter().enumerate().filter(|(_, chance)| **chance > 0.0) {
                by_position[position * m + arm] += weight * chance;
                if position + 1 < n {
                    let mut longer = prefix.clone();
                    longer.push(arm);
                    after.push((longer, weight * chance));
                }
            }
        }
        level = after;
    }
    Some(Marginals {
        by_position,
        standard_errors: Vec::new(),
        n_arms: m,
    })
}

/// Means over `draws` seeded slates of the distribution at each position given the prefix drawn (Rao–Blackwell: less noise than counting).
pub fn simulated_marginals(
    policy: &dyn SlatePolicy,
    arms: &Arms,
    n: usize,
    draws: u32,
    seed: u64,
) -> Marginals {
    let n = n.min(arms.n_open());
    let m = arms.len();
    let mut chances = policy.chances(arms);
    let (mut sums, mut squares) = (vec![0.0; n * m], vec![0.0; n * m]);
    let mut out = vec![0.0; m];
    let mut stream = SeededStream::new(seed, 0x3a5);
    for _ in 0..draws {
        let mut prefix = Vec::with_capacity(n);
        for position in 0..n {
            chances.next(&prefix, &mut out);
            for (arm, chance) in out.iter().enumerate() {
                sums[position * m + arm] += chance;
                squares[position * m + arm] += chance * chance;
            }
            prefix.push(crate::contract::pick(&out, stream.uniform()));
        }
    }
    let draws = f64::from(draws.max(1));
    let error = |(sum, square): (&f64, &f64)| {
        let mean = sum / draws;
        ((square / draws - mean * mean).max(0.0) / draws).sqrt()
    };
    Marginals {
        standard_errors: sums.iter().zip(&squares).map(error).collect(),
        by_position: sums.iter().map(|sum| sum / draws).collect(),
        n_arms: m,
    }
}
