//! What validation looks at.

use crate::exponential::sigmoid;

/// Gain of a grade.
pub(crate) fn gain(label: f32) -> f64 {
    f64::from(label).exp2() - 1.0
}

/// Discount of a rank, from 0.
pub(crate) fn discount(rank: usize) -> f64 {
    1.0 / (rank as f64 + 2.0).log2()
}

/// Mean NDCG at depth `k` over groups, with gains 2^grade − 1 and discounts 1 / log₂(1 + rank). Equal scores stand in the order of the rows. A group without
/// anything relevant counts as 1, or is left out: `None` if all are.
pub fn ndcg(scores: &[f64], labels: &[f32], groups: &[u32], k: usize, empty_counts: bool) -> Option<f64> {
    let (mut start, mut sum, mut n) = (0, 0.0, 0u64);
    for size in groups {
        let end = start + *size as usize;
        let mut order: Vec<usize> = (start..end).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let value: f64 = order
            .iter()
            .take(k)
            .enumerate()
            .map(|(r, at)| gain(labels[*at]) * discount(r))
            .sum();
        let mut ideal: Vec<f32> = labels[start..end].to_vec();
        ideal.sort_by(|a, b| b.total_cmp(a));
        let ideal: f64 = ideal
            .iter()
            .take(k)
            .enumerate()
            .map(|(r, l)| gain(*l) * discount(r))
            .sum();
        if ideal > 0.0 {
            sum += value / ideal;
            n += 1;
        } else if empty_counts {
            sum += 1.0;
            n += 1;
        }
        start = end;
    }
    (n > 0).then(|| sum / n as f64)
}

/// Mean logistic loss of log-odds, weighted (`weights` may be empty).
pub fn log_loss(scores: &[f64], labels: &[f32], weights: &[f32]) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (at, (score, label)) in scores.iter().zip(labels).enumerate() {
        let weight = weights.get(at).map_or(1.0, |w| f64::from(*w));
        // log(1 + eˢ) − y s, without overflow.
        let positive = if *score > 0.0 { *score } else { 0.0 };
        let rest = (1.0 + crate::exponential::exp(-score.abs())).ln();
        sum += weight * (positive + rest - f64::from(*label) * score);
        total += weight;
    }
    sum / total
}

/// Mean half squared error, weighted.
pub(crate) fn half_squared_error(scores: &[f64], labels: &[f32], weights: &[f32]) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (at, (score, label)) in scores.iter().zip(labels).enumerate() {
        let weight = weights.get(at).map_or(1.0, |w| f64::from(*w));
        sum += weight * 0.5 * (score - f64::from(*label)).powi(2);
        total += weight;
    }
    sum / total
}

/// The log-odds of a share, within reason.
pub(crate) fn log_odds(share: f64) -> f64 {
    let share = share.clamp(1e-9, 1.0 - 1e-9);
    (share / (1.0 - share)).ln()
}

/// The probability of a log-odds.
pub(crate) fn probability(score: f64) -> f64 {
    sigmoid(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ndcg_by_hand() {
        // Grades 0, 2 in that order of scores: DCG 3 / log2(3), ideal 3.
        let value = ndcg(&[2.0, 1.0], &[0.0, 2.0], &[2], 10, false);
        assert!((value.expect("a group") - 1.0 / 3f64.log2()).abs() < 1e-12);
        assert_eq!(ndcg(&[2.0, 1.0], &[0.0, 0.0], &[2], 10, false), None);
        assert_eq!(ndcg(&[2.0, 1.0], &[0.0, 0.0], &[2], 10, true), Some(1.0));
        assert!((log_loss(&[0.0, 0.0], &[0.0, 1.0], &[]) - 2f64.ln()).abs() < 1e-12);
    }
}
