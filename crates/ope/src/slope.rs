//! Choosing between estimates that trade bias for variance, by Lepski's principle: SLOPE.
//!
//! Su, Srinath and Krishnamurthy, 2020, "Adaptive estimator selection for off-policy evaluation"; the constant of Tucker and Lee, 2021
//! ("Improved estimator selection for off-policy evaluation"). Walks from the least biased candidate to the most biased and stops before
//! the first whose interval does not agree with that of each one before. The cost is the square of the number of candidates.

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

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn stops_before_the_first_that_disagrees() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&[(1.0, 0.5)]), Some(0));
        // Agreeing all the way: the narrowest.
        assert_eq!(slope(&[(1.0, 0.5), (0.9, 0.3), (0.8, 0.1)]), Some(2));
        // The third is 0.9 away from the first, beyond 0.1 + 1.449 * 0.5 = 0.825; the fourth agrees again, but is not asked.
        assert_eq!(slope(&[(1.0, 0.5), (0.9, 0.3), (0.1, 0.1), (1.0, 0.1)]), Some(1));
    }
}
