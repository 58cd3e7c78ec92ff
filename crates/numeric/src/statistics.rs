//! Means, quantiles and bootstrap intervals.

use crate::SeededStream;

/// Arithmetic mean; zero for no values.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.iter().sum::<f64>() / values.len() as f64
}

/// Variance with n − 1 in the denominator; zero for fewer than two values.
pub fn variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// Quantile with linear interpolation between order statistics (type 7 of Hyndman and Fan, 1996).
/// `None` for no values; `q` is held within 0 and 1.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_sorted(&sorted, q)
}

fn quantile_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = q.clamp(0.0, 1.0) * last as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(last);
    Some(sorted[low] + (at - low as f64) * (sorted[high] - sorted[low]))
}

/// An estimate with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Mean with the percentile bootstrap interval (Efron, 1979) at this level (0.95, say), from
/// `rounds` resamples. All zero for no values.
pub fn bootstrap_mean(values: &[f64], rounds: usize, level: f64, seed: u64) -> Interval {
    let centre = mean(values);
    let n = values.len();
    let means: Vec<f64> = crate::parallel_chunks(if n == 0 { 0 } else { rounds }, 16, |range| {
        let draw = |round: usize| {
            let mut stream = SeededStream::new(seed, round as u64);
            (0..n)
                .map(|_| values[stream.below(n as u64) as usize])
                .sum::<f64>()
                / n as f64
        };
        range.map(draw).collect::<Vec<_>>()
    })
    .concat();
    let mut sorted = means;
    sorted.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Interval {
        mean: centre,
        low: quantile_sorted(&sorted, tail).unwrap_or(centre),
        high: quantile_sorted(&sorted, 1.0 - tail).unwrap_or(centre),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(variance(&[1.0, 2.0, 6.0]), 7.0);
        assert_eq!((mean(&[]), variance(&[1.0])), (0.0, 0.0));
        assert_eq!(quantile(&[4.0, 1.0, 2.0, 3.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[5.0], 0.9), Some(5.0));
    }

    #[test]
    fn bootstrap_interval_has_the_width_theory_gives() {
        let mut stream = SeededStream::new(1, 0);
        let values: Vec<f64> = (0..400).map(|_| stream.normal()).collect();
        let interval = bootstrap_mean(&values, 1000, 0.95, 9);
        let expected = 2.0 * 1.96 * (variance(&values) / 400.0).sqrt();
        // The ends of 1,000 resamples vary by a few per cent.
        assert!(((interval.high - interval.low) / expected - 1.0).abs() < 0.12);
        assert!(interval.low < interval.mean && interval.mean < interval.high);
        assert_eq!(interval, bootstrap_mean(&values, 1000, 0.95, 9));
        assert_eq!(bootstrap_mean(&[], 10, 0.95, 9).high, 0.0);
    }
}
