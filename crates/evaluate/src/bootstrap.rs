//! Means over users with percentile bootstrap intervals (Efron, 1979).

use numeric::{SeededStream, parallel_chunks};
use serde::Serialize;

/// Resamples per interval.
pub const ROUNDS: usize = 1000;

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
    let means = sample_means(values, width, 0..n_users);
    if n_users == 0 {
        let none = Estimate {
            mean: 0.0,
            low: None,
            high: None,
        };
        return vec![none; width];
    }
    let resampled: Vec<Vec<f64>> = parallel_chunks(rounds, 8, |range| {
        range
            .map(|round| {
                let mut stream = SeededStream::new(seed, round as u64);
                let draws = (0..n_users).map(|_| stream.below(n_users as u64) as usize);
                sample_means(values, width, draws)
            })
            .collect::<Vec<_>>()
    })
    .into_iter()
    .flatten()
    .collect();
    (0..width)
        .map(|column| {
            let sample: Vec<f64> = resampled
                .iter()
                .map(|means| means[column])
                .filter(|m| m.is_finite())
                .collect();
            Estimate {
                mean: if means[column].is_finite() {
                    means[column]
                } else {
                    0.0
                },
                low: numeric::quantile(&sample, 0.025),
                high: numeric::quantile(&sample, 0.975),
            }
        })
        .collect()
}

fn sample_means(values: &[f64], width: usize, users: impl Iterator<Item = usize>) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    let mut counts = vec![0u32; width];
    for user in users {
        let row = &values[user * width..(user + 1) * width];
        for (column, value) in row.iter().enumerate() {
            if value.is_finite() {
                sums[column] += value;
                counts[column] += 1;
            }
        }
    }
    sums.iter()
        .zip(&counts)
        .map(|(sum, count)| sum / f64::from(*count))
        .collect()
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
}
