//! Means over users with percentile bootstrap intervals (Efron, 1979).

use numeric::{SeededStream, parallel_chunks};
use serde::Serialize;

/// Resamples per interval.
pub const ROUNDS: usize = 1000;
/// Rounds taken in one pass over the values, which are read row by row: each row counts as often as it was drawn.
const LANES: usize = 8;

/// A mean over users and its 95 % interval; no interval where the figure is not a mean over users.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure.
    pub mean: f64,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// Column means of `values` (`n_users × width`, row per user) with intervals. Values that are not
/// numbers are left out of their column. Every round draws users once and uses them for all
/// columns; round `r` draws from stream `r` of the seed, so the result is the same at any thread
/// count. O(rounds · users · width).
pub(crate) fn column_means(values: &[f64], width: usize, rounds: usize, seed: u64) -> Vec<Estimate> {
    if width == 0 {
        return Vec::new();
    }
    let n_users = values.len() / width;
    let once = vec![[1f64; LANES]; n_users];
    let means: Vec<f64> = weighted_means(values, width, &once)
        .iter()
        .map(|m| m[0])
        .collect();
    let finite = |mean: f64| if mean.is_finite() { mean } else { 0.0 };
    if n_users == 0 {
        let none = Estimate {
            mean: 0.0,
            low: None,
            high: None,
        };
        return vec![none; width];
    }
    let resampled: Vec<Vec<[f64; LANES]>> = parallel_chunks(rounds, LANES, |range| {
        let mut drawn = vec![[0f64; LANES]; n_users];
        for (lane, round) in range.enumerate() {
            let mut stream = SeededStream::new(seed, round as u64);
            for _ in 0..n_users {
                drawn[stream.below(n_users as u64) as usize][lane] += 1.0;
            }
        }
        weighted_means(values, width, &drawn)
    });
    (0..width)
        .map(|column| {
            // Lanes past the last round drew nobody, and have no mean.
            let sample: Vec<f64> = resampled
                .iter()
                .flat_map(|means| means[column])
                .filter(|mean| mean.is_finite())
                .collect();
            Estimate {
                mean: finite(means[column]),
                low: numeric::quantile(&sample, 0.025),
                high: numeric::quantile(&sample, 0.975),
            }
        })
        .collect()
}

/// Column means with each row counted as often as `drawn` says, for all lanes at once.
fn weighted_means(values: &[f64], width: usize, drawn: &[[f64; LANES]]) -> Vec<[f64; LANES]> {
    let mut sums = vec![[0f64; LANES]; width];
    let mut counts = vec![[0f64; LANES]; width];
    for (row, times) in values.chunks_exact(width).zip(drawn) {
        for ((value, sum), count) in row.iter().zip(&mut sums).zip(&mut counts) {
            let known = value.is_finite();
            let (value, one) = if known { (*value, 1.0) } else { (0.0, 0.0) };
            for lane in 0..LANES {
                sum[lane] += times[lane] * value;
                count[lane] += times[lane] * one;
            }
        }
    }
    for (sum, count) in sums.iter_mut().zip(&counts) {
        for lane in 0..LANES {
            sum[lane] /= count[lane];
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The interval of a mean of n draws from a fair coin is about ± 1.96 · 0.5 / √n.
    #[test]
    fn as_wide_as_the_normal_interval_and_the_same_on_any_threads() {
        let n = 2000;
        let values: Vec<f64> = (0..n).flat_map(|i| [f64::from(i % 2), f64::NAN]).collect();
        let on = |threads| numeric::on_threads(threads, || column_means(&values, 2, ROUNDS, 3));
        let one = on(1);
        let (low, high) = (one[0].low.expect("users"), one[0].high.expect("users"));
        let expected = 1.96 * 0.5 / f64::from(n).sqrt();
        assert!((one[0].mean - 0.5).abs() < 1e-12);
        // The half-width of 1,000 resamples has a standard error of about 4 %.
        assert!(
            ((high - low) / 2.0 / expected - 1.0).abs() < 0.15,
            "{low} {high} {expected}"
        );
        assert_eq!((one[1].mean, one[1].low), (0.0, None));
        assert_eq!(one, on(4));
        assert_eq!(column_means(&[], 1, 10, 0)[0].low, None);
    }

    /// Against drawing and averaging user by user.
    #[test]
    fn equals_the_plain_resampling() {
        let values: Vec<f64> = (0..60)
            .map(|i| {
                if i % 7 == 3 {
                    f64::NAN
                } else {
                    f64::from(i * i % 11)
                }
            })
            .collect();
        let (width, rounds) = (3, 21);
        let plain: Vec<f64> = (0..rounds)
            .map(|round| {
                let mut stream = SeededStream::new(9, round);
                let drawn: Vec<f64> = (0..20)
                    .map(|_| values[stream.below(20) as usize * width + 1])
                    .collect();
                numeric::mean(&drawn.into_iter().filter(|v| v.is_finite()).collect::<Vec<_>>())
            })
            .collect();
        let found = column_means(&values, width, rounds as usize, 9)[1];
        let expected = [0.025, 0.975].map(|at| numeric::quantile(&plain, at).expect("rounds"));
        assert!(
            (found.low.expect("users") - expected[0]).abs() < 1e-12,
            "{found:?} {expected:?}"
        );
        assert!((found.high.expect("users") - expected[1]).abs() < 1e-12);
    }
}
