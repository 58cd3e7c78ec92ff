//! The best few of many.

use std::cmp::Ordering;

/// A key with its score.
pub type Ranked = (u32, f32);

/// Keeps the best `n` under a total order: higher score first, then `tie` on keys.
///
/// Collects up to 2n and then halves by selection, so a push costs amortised constant time and,
/// once full, usually one comparison.
pub struct TopK<F: Fn(u32, u32) -> Ordering> {
    n: usize,
    kept: Vec<Ranked>,
    /// Worst score that can still enter, once `n` are known.
    floor: Option<f32>,
    tie: F,
}

impl<F: Fn(u32, u32) -> Ordering> TopK<F> {
    /// Keeps `n`.
    pub fn new(n: usize, tie: F) -> TopK<F> {
        TopK {
            n,
            kept: Vec::with_capacity(n.saturating_mul(2).min(4096)),
            floor: None,
            tie,
        }
    }

    /// False if an offer of this score would be passed over.
    #[inline]
    pub fn admits(&self, score: f32) -> bool {
        !(score.is_nan() || self.floor.is_some_and(|floor| score < floor) || self.n == 0)
    }

    /// Offers one. Scores that are not numbers are passed over.
    #[inline]
    pub fn push(&mut self, key: u32, score: f32) {
        if !self.admits(score) {
            return;
        }
        self.kept.push((key, score));
        if self.kept.len() >= self.n.saturating_mul(2) {
            self.halve();
        }
    }

    fn halve(&mut self) {
        if self.kept.len() <= self.n {
            return;
        }
        let tie = &self.tie;
        self.kept
            .select_nth_unstable_by(self.n - 1, |a, b| order(a, b, tie));
        self.kept.truncate(self.n);
        self.floor = self.kept.last().map(|(_, score)| *score);
    }

    /// The best, best first.
    pub fn finish(mut self) -> Vec<Ranked> {
        self.halve();
        let tie = &self.tie;
        self.kept.sort_unstable_by(|a, b| order(a, b, tie));
        self.kept
    }
}

fn order(a: &Ranked, b: &Ranked, tie: &impl Fn(u32, u32) -> Ordering) -> Ordering {
    // 0.0 and -0.0 tie, which total_cmp alone would not have.
    b.1.partial_cmp(&a.1)
        .unwrap_or(Ordering::Equal)
        .then_with(|| tie(a.0, b.0))
}

/// The best `n` of some keys with scores, best first, ties by lower key.
pub fn top_k(n: usize, ranked: impl IntoIterator<Item = Ranked>) -> Vec<Ranked> {
    let mut top = TopK::new(n, |a, b| a.cmp(&b));
    for (key, score) in ranked {
        top.push(key, score);
    }
    top.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_head_of_the_sorted_list(scores in prop::collection::vec(-5i8..5, 0..120), n in 0usize..40) {
            let all: Vec<Ranked> = scores.iter().enumerate().map(|(k, s)| (k as u32, f32::from(*s))).collect();
            let mut sorted = all.clone();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            sorted.truncate(n);
            prop_assert_eq!(top_k(n, all.iter().copied()), sorted.clone());
            prop_assert_eq!(top_k(n, all.into_iter().rev()), sorted);
        }
    }

    #[test]
    fn not_a_number_is_passed_over() {
        assert_eq!(
            top_k(2, [(1, f32::NAN), (2, -1.0), (3, f32::INFINITY)]),
            [(3, f32::INFINITY), (2, -1.0)]
        );
    }
}
