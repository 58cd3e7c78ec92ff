//! Choosing between estimates that trade bias for variance.
//!
//! *SLOPE*, by Lepski's principle. Su, Srinath and Krishnamurthy, 2020, "Adaptive estimator selection for off-policy evaluation"; the constant of Tucker and Lee, 2021
//! ("Improved estimator selection for off-policy evaluation"). Walks from the least biased candidate to the most biased and stops before
//! the first whose interval does not agree with that of each one before. The cost is the square of the number of candidates. Its intervals add up as if the candidates came from different logs, so it lets much bias pass.
//!
//! *Mean square*: the candidate whose variance and squared distance from the least biased one are least in sum (Thomas and Brunskill, 2016, section 6, and Su and others,
//! 2020, section 5, choose in this way). The distance is bias and noise together, so it is careful.

use serde::{Deserialize, Serialize};

/// Place of the chosen one among `(value, half width of its interval)`, ordered from the least biased on. `None` for no candidates.
pub fn slope(candidates: &[(f64, f64)]) -> Option<usize> {
    let slack = 6.0f64.sqrt() - 1.0;
    let agrees = |at: usize| {
        let (value, width) = candidates[at];
        candidates[..at]
            .iter()
            .all(|(other, other_width)| (value - other).abs() <= width + slack * other_width)
    };
    let agreeing = (0..candidates.len()).take_while(|at| agrees(*at)).count();
    agreeing.checked_sub(1)
}

/// How the parameter of an estimator is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tuning {
    /// Least sum of variance and squared distance from the least biased candidate.
    MeanSquare,
    /// Lepski's principle.
    Slope,
}

/// Place of the candidate with the least sum of variance and squared distance from the first, among `(value, standard error)` ordered from the least biased
/// on; the less biased one of two. `None` for no candidates.
pub fn mean_square(candidates: &[(f64, f64)]) -> Option<usize> {
    let (first, _) = *candidates.first()?;
    let error = |(value, deviation): &(f64, f64)| (value - first).powi(2) + deviation * deviation;
    let errors = candidates.iter().map(error).enumerate();
    let least = errors.reduce(|best, next| if next.1 < best.1 { next } else { best });
    least.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::{mean_square, slope};

    #[test]
    fn stops_before_the_first_that_disagrees() {
        assert_eq!(slope(&[]), None);
        assert_eq!(mean_square(&[]), None);
        // Sums 0.25, 0.10 and 0.09; then 0.25, 0.10 and 0.65.
        assert_eq!(mean_square(&[(1.0, 0.5), (0.9, 0.3), (0.72, 0.1)]), Some(2));
        assert_eq!(mean_square(&[(1.0, 0.5), (0.9, 0.3), (0.2, 0.1)]), Some(1));
        assert_eq!(mean_square(&[(1.0, 0.5), (1.0, 0.5)]), Some(0));
        assert_eq!(slope(&[(1.0, 0.5)]), Some(0));
        // Agreeing all the way: the narrowest.
        assert_eq!(slope(&[(1.0, 0.5), (0.9, 0.3), (0.8, 0.1)]), Some(2));
        // The third is 0.9 away from the first, beyond 0.1 + 1.449 * 0.5 = 0.825; the fourth agrees again, but is not asked.
        assert_eq!(slope(&[(1.0, 0.5), (0.9, 0.3), (0.1, 0.1), (1.0, 0.1)]), Some(1));
    }
}
