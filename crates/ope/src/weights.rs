//! What the importance weights of a log look like.

use serde::Serialize;

/// How many equally weighted rounds are worth as much: `(Σ w)² / Σ w²` (Kish, 1965). Zero if there is no weight.
pub fn effective_sample_size(weights: &[f64]) -> f64 {
    let sum: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|w| w * w).sum();
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// The upper end of the weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightTails {
    /// Mean; one where propensities and support are right.
    pub mean: f64,
    /// Half of the weights are below.
    pub p50: f64,
    /// 90 in 100 are below.
    pub p90: f64,
    /// 99 in 100 are below.
    pub p99: f64,
    /// 999 in 1000 are below.
    pub p999: f64,
    /// The largest.
    pub max: f64,
    /// Share of the largest in the sum of all.
    pub max_share: f64,
    /// Share of the largest hundredth of the weights in the sum of all.
    pub top_percent_share: f64,
}

/// The tails of weights; all zero for none.
pub fn weight_tails(weights: &[f64]) -> WeightTails {
    let mut sorted = weights.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let sum: f64 = sorted.iter().sum();
    let at = |q: f64| numeric::quantile(&sorted, q).unwrap_or(0.0);
    let top: f64 = sorted[sorted.len() - sorted.len().div_ceil(100)..].iter().sum();
    let share = |part: f64| if sum > 0.0 { part / sum } else { 0.0 };
    let max = sorted.last().copied().unwrap_or(0.0);
    WeightTails {
        mean: numeric::mean(&sorted),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max,
        max_share: share(max),
        top_percent_share: share(top),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(effective_sample_size(&[1.0; 7]), 7.0);
        assert_eq!(effective_sample_size(&[0.0, 3.0, 0.0]), 1.0);
        assert_eq!(effective_sample_size(&[]), 0.0);
        let tails = weight_tails(&[4.0, 1.0, 2.0, 1.0]);
        assert_eq!(
            (tails.mean, tails.p50, tails.max, tails.max_share),
            (2.0, 1.5, 4.0, 0.5)
        );
        assert_eq!(weight_tails(&[]).max, 0.0);
    }
}
