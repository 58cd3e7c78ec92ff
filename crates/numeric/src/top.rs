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

    /// Offers the keys from `first` on with their scores, but for those that `wanted` refuses; it is asked only about what would enter. As a run of [`push`](TopK::push), but whole
    /// runs of scores that are too low are passed over with a few instructions.
    pub fn push_run(&mut self, first: u32, scores: &[f32], wanted: impl Fn(u32, f32) -> bool) {
        const RUN: usize = 64;
        for (start, run) in (first..).step_by(RUN).zip(scores.chunks(RUN)) {
            if let (Some(floor), Ok(run)) = (self.floor, <&[f32; RUN]>::try_from(run))
                && !run.iter().fold(false, |any, score| any | (*score >= floor))
            {
                continue;
            }
            for (key, score) in (start..).zip(run) {
                if self.admits(*score) && wanted(key, *score) {
                    self.push(key, *score);
                }
            }
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

    proptest! {
        #[test]
        fn a_run_is_as_one_after_the_other(scores in prop::collection::vec(-50i8..50, 0..400), n in 0usize..9, first in 0u32..5) {
            let scores: Vec<f32> = scores.iter().map(|s| if *s == 7 { f32::NAN } else { f32::from(*s) }).collect();
            let wanted = |key: u32, score: f32| key % 3 != 1 && score != 0.0;
            let (mut run, mut single) = (TopK::new(n, |a, b| a.cmp(&b)), TopK::new(n, |a, b| a.cmp(&b)));
            run.push_run(first, &scores, wanted);
            for (key, score) in (first..).zip(&scores).filter(|(key, score)| wanted(*key, **score)) {
                single.push(key, *score);
            }
            prop_assert_eq!(run.finish(), single.finish());
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
