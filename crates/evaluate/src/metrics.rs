//! Metrics of one user's list, from the gains of its items in order.
//!
//! `gains` holds the gain of each listed item, best first, zero for one that is not relevant;
//! `ideal` holds the gains of *all* relevant items in descending order, listed or not. An item is
//! relevant if its gain is above zero. A list shorter than `k` counts as filled up with items
//! that are not relevant. Definitions are those of trec_eval (<https://github.com/usnistgov/trec_eval>).
//! All cost O(k) and lie within 0 and 1.

/// Share of the first `k` places with a relevant item (`P_k`).
pub fn precision(gains: &[f64], k: usize) -> f64 {
    hits(gains, k) as f64 / k as f64
}

/// Share of the relevant items within the first `k` places (`recall_k`); zero if there are none.
pub fn recall(gains: &[f64], ideal: &[f64], k: usize) -> f64 {
    share(hits(gains, k) as f64, ideal.len())
}

/// One if a relevant item is within the first `k` places (`success_k`).
pub fn hit_rate(gains: &[f64], k: usize) -> f64 {
    f64::from(hits(gains, k) > 0)
}

/// One over the place of the first relevant item (`recip_rank`); zero if none is listed.
pub fn reciprocal_rank(gains: &[f64]) -> f64 {
    gains
        .iter()
        .position(|gain| *gain > 0.0)
        .map_or(0.0, |at| 1.0 / (at + 1) as f64)
}

/// Average precision cut at `k` (`map_cut_k`): precision at each relevant item of the first `k`
/// places, summed, divided by the number of *all* relevant items.
pub fn average_precision(gains: &[f64], ideal: &[f64], k: usize) -> f64 {
    share(precision_sum(gains, k), ideal.len())
}

/// Average precision cut at `k`, divided by min(`k`, number of relevant items), so that a list
/// full of relevant items has one.
pub fn average_precision_min(gains: &[f64], ideal: &[f64], k: usize) -> f64 {
    share(precision_sum(gains, k), ideal.len().min(k))
}

/// Normalised discounted cumulative gain at `k` with linear gain (`ndcg_cut_k`):
/// Σ gain / log₂(place + 1) over the same sum of the ideal order cut at `k`.
pub fn ndcg(gains: &[f64], ideal: &[f64], k: usize) -> f64 {
    normalised(gains, ideal, k, |gain| gain)
}

/// The same with gain 2^gain − 1 (Burges et al., 2005). Equal to [`ndcg`] for gains of zero and one.
pub fn ndcg_exponential(gains: &[f64], ideal: &[f64], k: usize) -> f64 {
    normalised(gains, ideal, k, |gain| gain.exp2() - 1.0)
}

fn hits(gains: &[f64], k: usize) -> usize {
    gains.iter().take(k).filter(|gain| **gain > 0.0).count()
}

fn share(part: f64, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part / whole as f64 }
}

fn precision_sum(gains: &[f64], k: usize) -> f64 {
    let mut found = 0usize;
    let mut sum = 0.0;
    for (at, gain) in gains.iter().take(k).enumerate() {
        if *gain > 0.0 {
            found += 1;
            sum += found as f64 / (at + 1) as f64;
        }
    }
    sum
}

fn normalised(gains: &[f64], ideal: &[f64], k: usize, value: impl Fn(f64) -> f64) -> f64 {
    let discounted = |gains: &[f64]| {
        gains
            .iter()
            .take(k)
            .enumerate()
            .map(|(at, gain)| value(gain.max(0.0)) / ((at + 2) as f64).log2())
            .sum::<f64>()
    };
    let best = discounted(ideal);
    if best > 0.0 { discounted(gains) / best } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    /// Worked by hand: relevant a (gain 3), b (2), c (1), d (1); list x a y c b.
    #[test]
    fn by_hand() {
        let gains = [0.0, 3.0, 0.0, 1.0, 2.0];
        let ideal = [3.0, 2.0, 1.0, 1.0];
        close(precision(&gains, 4), 0.5);
        close(precision(&gains, 10), 0.3);
        close(recall(&gains, &ideal, 4), 0.5);
        close(hit_rate(&gains, 1), 0.0);
        close(hit_rate(&gains, 2), 1.0);
        close(reciprocal_rank(&gains), 0.5);
        // Relevant at places 2, 4, 5: precisions 1/2, 2/4, 3/5.
        close(average_precision(&gains, &ideal, 5), (0.5 + 0.5 + 0.6) / 4.0);
        close(average_precision(&gains, &ideal, 2), 0.5 / 4.0);
        close(average_precision_min(&gains, &ideal, 2), 0.5 / 2.0);
        let log = |x: f64| x.log2();
        let found = 3.0 / log(3.0) + 1.0 / log(5.0) + 2.0 / log(6.0);
        let best = 3.0 + 2.0 / log(3.0) + 0.5 + 1.0 / log(5.0);
        close(ndcg(&gains, &ideal, 5), found / best);
        close(ndcg(&gains, &ideal, 2), (3.0 / log(3.0)) / (3.0 + 2.0 / log(3.0)));
        let found = 7.0 / log(3.0) + 1.0 / log(5.0) + 3.0 / log(6.0);
        let best = 7.0 + 3.0 / log(3.0) + 0.5 + 1.0 / log(5.0);
        close(ndcg_exponential(&gains, &ideal, 5), found / best);
    }

    #[test]
    fn nothing_relevant_or_nothing_listed_is_zero() {
        for (gains, ideal) in [(&[0.0, 0.0][..], &[][..]), (&[][..], &[1.0][..])] {
            assert_eq!(ndcg(gains, ideal, 3), 0.0);
            assert_eq!(recall(gains, ideal, 3), 0.0);
            assert_eq!(average_precision(gains, ideal, 3), 0.0);
            assert_eq!(average_precision_min(gains, ideal, 3), 0.0);
            assert_eq!(reciprocal_rank(gains), 0.0);
        }
    }

    /// A list and all gains: some of the relevant items at some of the places.
    fn cases() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        (
            proptest::collection::vec(0u8..4, 0..30),
            proptest::collection::vec(1u8..4, 0..10),
        )
            .prop_map(|(list, missed)| {
                let gains: Vec<f64> = list.into_iter().map(f64::from).collect();
                let mut ideal: Vec<f64> = gains.iter().copied().filter(|g| *g > 0.0).collect();
                ideal.extend(missed.into_iter().map(f64::from));
                ideal.sort_unstable_by(|a, b| b.total_cmp(a));
                (gains, ideal)
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::with_cases(256) })]

        /// Against the definitions written with sets and prefixes.
        #[test]
        fn equals_the_obvious_way((gains, ideal) in cases(), k in 1usize..40) {
            let relevant_in = |n: usize| (0..n.min(gains.len())).filter(|i| gains[*i] > 0.0).count() as f64;
            close(precision(&gains, k) * k as f64, relevant_in(k));
            close(recall(&gains, &ideal, k) * ideal.len() as f64, relevant_in(k));
            let mut sum = 0.0;
            for i in 1..=k.min(gains.len()) {
                if relevant_in(i) > relevant_in(i - 1) {
                    sum += relevant_in(i) / i as f64;
                }
            }
            close(average_precision(&gains, &ideal, k) * ideal.len() as f64, sum);
            for value in [ndcg(&gains, &ideal, k), ndcg_exponential(&gains, &ideal, k), average_precision_min(&gains, &ideal, k)] {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value), "{value}");
            }
            if !ideal.is_empty() {
                close(ndcg(&ideal, &ideal, k), 1.0);
                close(average_precision_min(&ideal, &ideal, k), 1.0);
            }
        }
    }
}
