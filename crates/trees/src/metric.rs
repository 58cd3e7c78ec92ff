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
///
/// `weights` (may be empty) multiply the gains of their rows. A group then counts for its ideal over that without weights: were all groups to count alike, the weight of a
/// group's only gain would go with the ideal, and rows weighed by inverse propensities would be judged as if they were not.
pub fn ndcg(
    scores: &[f64],
    labels: &[f32],
    weights: &[f32],
    groups: &[u32],
    k: usize,
    empty_counts: bool,
) -> Option<f64> {
    let gain_at = |at: usize| gain(labels[at]);
    let weighed_at = |at: usize| weights.get(at).map_or(1.0, |weight| f64::from(*weight)) * gain_at(at);
    let (mut start, mut sum, mut counted) = (0, 0.0, 0.0);
    for size in groups {
        let rows = start..start + *size as usize;
        start = rows.end;
        let plain = ideal(rows.clone().map(gain_at), k);
        if plain > 0.0 {
            let mut order: Vec<usize> = rows.clone().collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
            sum += discounted(order.into_iter().map(weighed_at), k) / plain;
            counted += ideal(rows.map(weighed_at), k) / plain;
        } else if empty_counts {
            sum += 1.0;
            counted += 1.0;
        }
    }
    (counted > 0.0).then(|| sum / counted)
}

/// DCG of gains in their order.
fn discounted(gains: impl Iterator<Item = f64>, k: usize) -> f64 {
    gains
        .take(k)
        .enumerate()
        .map(|(rank, gain)| gain * discount(rank))
        .sum()
}

/// The most that the DCG of these gains can be.
fn ideal(gains: impl Iterator<Item = f64>, k: usize) -> f64 {
    let mut gains: Vec<f64> = gains.collect();
    gains.sort_by(|a, b| b.total_cmp(a));
    discounted(gains.into_iter(), k)
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
    fn a_group_counts_for_what_its_gains_stand_for() {
        // The only gain of the first group is at rank 1 and stands for one; that of the second is at rank 2 and stands for four.
        let (scores, labels, weights) = ([2.0, 1.0, 2.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 4.0]);
        let at_two = 1.0 / 3f64.log2();
        let weighed = ndcg(&scores, &labels, &weights, &[2, 2], 10, false).expect("there are gains");
        assert!((weighed - (1.0 + 4.0 * at_two) / 5.0).abs() < 1e-12, "{weighed}");
        let plain = ndcg(&scores, &labels, &[1.0; 4], &[2, 2], 10, false).expect("there are gains");
        assert!((plain - (1.0 + at_two) / 2.0).abs() < 1e-12, "{plain}");
    }

    #[test]
    fn ndcg_by_hand() {
        // Grades 0, 2 in that order of scores: DCG 3 / log2(3), ideal 3.
        let value = ndcg(&[2.0, 1.0], &[0.0, 2.0], &[], &[2], 10, false);
        assert!((value.expect("a group") - 1.0 / 3f64.log2()).abs() < 1e-12);
        assert_eq!(ndcg(&[2.0, 1.0], &[0.0, 0.0], &[], &[2], 10, false), None);
        assert_eq!(ndcg(&[2.0, 1.0], &[0.0, 0.0], &[], &[2], 10, true), Some(1.0));
        assert!((log_loss(&[0.0, 0.0], &[0.0, 1.0], &[]) - 2f64.ln()).abs() < 1e-12);
    }
}
