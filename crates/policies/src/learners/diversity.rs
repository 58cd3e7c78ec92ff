//! Whether contexts are diverse enough for a linear bandit to learn without exploring.
//!
//! A greedy bandit learns about an action from those contexts in which it looks best, and these fill at worst a half of the space. If the contexts in every half-space still span all directions
//! (covariate diversity: `λmin(E[x xᵀ · 1{x·u ≥ 0}]) ≥ λ₀ > 0` for all u), each action that is chosen is learnt, and greedy choice has regret as low as any. This checks the condition on a sample: the
//! smallest eigenvalue over both sides of every eigenvector and of 64 seeded directions, less a bound on the sampling error (matrix Bernstein), against a share of the mean eigenvalue.
//!
//! Limits: all directions cannot be tried, so a pass is strong evidence and no proof; the bound needs some hundred contexts per feature. Leave out features that are constant: no half-space has both signs
//! of them. The condition does not help actions that are never best at first; with few actions of which some always look bad, explore.
//!
//! Sources: Bastani, Bayati and Khosravi (2021), *Mostly exploration-free algorithms for contextual bandits*, Management Science 67(3), assumption 3; Kannan, Morgenstern, Roth, Waggoner and Wu (2018), *A smoothed
//! analysis of the greedy algorithm for the linear contextual bandit problem*, NeurIPS 31 (random perturbations are enough); Tropp (2012), Found. Comput. Math. 12 (the bound).

use super::spd::{add_outer, dot, eigen};
use numeric::SeededStream;

/// How strict the check is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiversityOptions {
    /// Least smallest eigenvalue, as a share of the mean eigenvalue of all contexts.
    pub share_min: f64,
    /// Probability that the bound on the sampling error fails.
    pub failure: f64,
    /// Seed of the directions tried.
    pub seed: u64,
}

impl Default for DiversityOptions {
    fn default() -> Self {
        DiversityOptions {
            share_min: 0.05,
            failure: 0.05,
            seed: 1,
        }
    }
}

/// What the check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Diversity {
    /// Contexts looked at.
    pub contexts: usize,
    /// Mean eigenvalue of the second moments.
    pub mean_eigenvalue: f64,
    /// Smallest eigenvalue of the second moments of all contexts.
    pub smallest: f64,
    /// Smallest one over all half-spaces tried.
    pub smallest_half: f64,
    /// What sampling may have added to it.
    pub error_bound: f64,
    /// True if greedy choice is safe by this check.
    pub greedy_is_safe: bool,
    /// Why, or why not.
    pub reason: String,
}

fn moments(contexts: &[f64], d: usize, keeps: &dyn Fn(&[f64]) -> bool) -> Vec<f64> {
    let mut sum = vec![0.0; d * d];
    let n = (contexts.len() / d) as f64;
    contexts
        .chunks_exact(d)
        .filter(|x| keeps(x))
        .for_each(|x| add_outer(&mut sum, 1.0 / n, x, x));
    sum
}

/// Checks contexts, given one after the other with `features` values each.
///
/// # Panics
/// If `features` is 0 or the values do not divide into contexts.
pub fn diversity(contexts: &[f64], features: usize, options: &DiversityOptions) -> Diversity {
    assert!(
        features > 0 && contexts.len().is_multiple_of(features),
        "{} values of {features} features",
        contexts.len()
    );
    let (d, n) = (features, contexts.len() / features);
    let all = eigen(&moments(contexts, d, &|_| true), d);
    let mean_eigenvalue = all.iter().map(|(value, _)| value).sum::<f64>() / d as f64;
    let (smallest, largest) = (all[0].0, all[d - 1].0);
    let mut stream = SeededStream::new(options.seed, 0xd17);
    let random = (0..64).map(|_| (0..d).map(|_| stream.normal()).collect::<Vec<f64>>());
    let directions: Vec<Vec<f64>> = all.into_iter().map(|(_, vector)| vector).chain(random).collect();
    let mut smallest_half = f64::INFINITY;
    for (u, sign) in directions.iter().flat_map(|u| [(u, 1.0), (u, -1.0)]) {
        let half = moments(contexts, d, &|x| sign * dot(x, u) >= 0.0);
        smallest_half = smallest_half.min(eigen(&half, d)[0].0);
    }
    let longest = contexts.chunks_exact(d).map(|x| dot(x, x)).fold(0.0, f64::max);
    let log = (2.0 * d as f64 / options.failure).ln() / n.max(1) as f64;
    let error_bound = (2.0 * longest * largest * log).sqrt() + 2.0 / 3.0 * longest * log;
    let needed = options.share_min * mean_eigenvalue;
    let greedy_is_safe = n > 0 && mean_eigenvalue > 0.0 && smallest_half - error_bound >= needed;
    let reason = if greedy_is_safe {
        format!(
            "every half-space has a smallest eigenvalue of at least {:.4}, {needed:.4} are needed",
            smallest_half - error_bound
        )
    } else if smallest_half >= needed {
        format!(
            "{n} contexts are too few to tell: {smallest_half:.4} was found, give or take {error_bound:.4}, {needed:.4} are needed"
        )
    } else {
        format!(
            "some half-space has a smallest eigenvalue of {smallest_half:.4}, {needed:.4} are needed: explore"
        )
    };
    Diversity {
        contexts: n,
        mean_eigenvalue,
        smallest,
        smallest_half,
        error_bound,
        greedy_is_safe,
        reason,
    }
}
