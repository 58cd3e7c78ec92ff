//! Whether one model is better than another on the same users.
//!
//! The difference of two models is the mean over users of the difference of their metrics. Its interval is a percentile
//! bootstrap over users (Efron 1979), its p-value that of the two-sided randomisation test (Fisher; for ranking:
//! Smucker, Allan and Carterette 2007, "A comparison of statistical significance tests for information retrieval
//! evaluation"): how often the mean is as far from zero when each user's difference gets a random sign. Over all
//! pairs the p-values are corrected by Holm (1979). Users for whom a metric is defined for one model only are left
//! out. Random: signs of [`SIGN_ROUNDS`] rounds and the draws of the bootstrap, from streams of the seed; the same at any
//! thread count. Cost: pairs · rounds · users additions, 64 rounds at once.
//!
//! Limit: users are taken as independent, the models and the split as given; another split or seed may
//! differ by more.

use crate::bootstrap::{ROUNDS, column_means};
use crate::{Estimate, Measured};
use numeric::{SeededStream, parallel_chunks};
use serde::Serialize;

/// Rounds of random signs; the least p-value is one over this and one.
pub const SIGN_ROUNDS: usize = 9_984;
/// Rounds taken at once, one per bit.
const LANES: usize = 64;

/// One model against another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The first model.
    pub a: String,
    /// The second.
    pub b: String,
    /// Mean of a − b over users, with its interval.
    pub difference: Estimate,
    /// Probability of a difference at least this large either way if both were the same.
    pub p_value: f64,
    /// The same, corrected for the number of pairs.
    pub p_holm: f64,
    /// Users for whom both are defined.
    pub users: usize,
}

/// All pairs of models by one metric, in the order of `models`. Empty if no model has the metric by user.
pub fn compare(models: &[(&str, &Measured)], metric: &str, seed: u64) -> Vec<Comparison> {
    let columns: Vec<(&str, Vec<f64>)> = models
        .iter()
        .filter_map(|(name, measured)| Some((*name, measured.per_user(metric)?)))
        .collect();
    let mut found = Vec::new();
    for (at, (a, of_a)) in columns.iter().enumerate() {
        for (b, of_b) in &columns[at + 1..] {
            let pairs = of_a.iter().zip(of_b).map(|(x, y)| x - y);
            let differences: Vec<f64> = pairs.filter(|d| d.is_finite()).collect();
            let estimates = column_means(&differences, 1, ROUNDS, seed);
            found.push(Comparison {
                a: (*a).to_owned(),
                b: (*b).to_owned(),
                difference: estimates[0],
                p_value: sign_test(&differences, seed),
                p_holm: 1.0,
                users: differences.len(),
            });
        }
    }
    correct(&mut found);
    found
}

/// Share of rounds of random signs, the observed ones counted as one of them, whose sum is as far from zero.
fn sign_test(differences: &[f64], seed: u64) -> f64 {
    let moved: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let observed = moved.iter().sum::<f64>().abs();
    // Equal sums in another order may differ by rounding.
    let least = observed - 1e-12 * moved.iter().map(|d| d.abs()).sum::<f64>();
    let counts = parallel_chunks(SIGN_ROUNDS / LANES, 1, |batch| {
        let mut stream = SeededStream::new(seed ^ 0x5169_6e73, batch.start as u64);
        let mut sums = [0f64; LANES];
        for difference in &moved {
            let bits = stream.next_u64();
            let magnitude = difference.to_bits();
            for (lane, sum) in sums.iter_mut().enumerate() {
                // The bit becomes the sign.
                *sum += f64::from_bits(magnitude ^ ((bits >> lane) << 63));
            }
        }
        sums.iter().filter(|sum| sum.abs() >= least).count()
    });
    (counts.iter().sum::<usize>() + 1) as f64 / (SIGN_ROUNDS + 1) as f64
}

/// Holm's step-down: the i-th smallest of m p-values times m − i + 1, never less than those before it.
fn correct(comparisons: &mut [Comparison]) {
    let mut order: Vec<usize> = (0..comparisons.len()).collect();
    order.sort_by(|x, y| comparisons[*x].p_value.total_cmp(&comparisons[*y].p_value));
    let mut least = 0f64;
    for (place, at) in order.iter().enumerate() {
        let factor = (comparisons.len() - place) as f64;
        least = least.max((comparisons[*at].p_value * factor).min(1.0));
        comparisons[*at].p_holm = least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten differences of one: of 2¹⁰ signs two sum to ± 10, so p = 2/1024 but for the rounds' own error.
    #[test]
    fn as_the_exact_test_of_few_users() {
        let p = sign_test(&[1.0; 10], 3);
        // Standard error √(0.002 / 9984) = 0.00044; the observed round adds 0.0001.
        assert!((p - 2.0 / 1024.0).abs() < 0.002, "{p}");
        // 3, −1: signs give ± 4, ± 2; half of them at least 2 … all. With 3 and 1 summing 2 observed: always.
        assert!(sign_test(&[3.0, -1.0], 3) > 0.99);
        assert_eq!(sign_test(&[], 3), 1.0);
        assert_eq!(sign_test(&[0.0; 5], 3), 1.0);
    }

    /// P-values of equal models are even on 0 … 1: 5 % of them are below 0.05.
    #[test]
    fn rejects_no_more_than_it_says_where_there_is_nothing() {
        let mut stream = SeededStream::new(11, 0);
        let worlds = 400;
        let below = (0..worlds)
            .filter(|_| {
                let differences: Vec<f64> = (0..60).map(|_| stream.normal()).collect();
                sign_test(&differences, 5) < 0.05
            })
            .count() as f64;
        // Standard error of the share: √(0.05 · 0.95 / 400) = 0.011; three of them.
        assert!((below / f64::from(worlds) - 0.05).abs() < 0.033, "{below}");
    }

    #[test]
    fn holm_by_hand() {
        let p = [0.01, 0.04, 0.03, 0.005];
        let mut comparisons: Vec<Comparison> = p
            .iter()
            .map(|p| Comparison {
                a: String::new(),
                b: String::new(),
                difference: Estimate {
                    mean: 0.0,
                    low: None,
                    high: None,
                },
                p_value: *p,
                p_holm: 1.0,
                users: 1,
            })
            .collect();
        correct(&mut comparisons);
        // Ascending 0.005·4, 0.01·3, 0.03·2, 0.04·1, each at least the one before.
        let expected = [0.03, 0.06, 0.06, 0.02];
        for (comparison, expected) in comparisons.iter().zip(expected) {
            assert!((comparison.p_holm - expected).abs() < 1e-12, "{comparison:?}");
        }
    }
}
