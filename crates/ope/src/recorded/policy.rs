//! Policies that choose by scores, place by place and without replacement, with what they make of a list of candidates.

use crate::RequestError;
use numeric::{frontier_marginals, race_marginals};

/// A policy that chooses by scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScorePolicy {
    /// The best that is left; of equals the first.
    Greedy,
    /// Any that is left.
    Uniform,
    /// The best with 1 − ε, any with ε.
    Epsilon(f64),
    /// In proportion to e^(score / temperature).
    Softmax(f64),
}

impl ScorePolicy {
    /// The policy of this text: `greedy`, `uniform`, `epsilon:0.1`, `softmax:0.5`.
    ///
    /// # Errors
    /// Names what there is.
    pub fn parse(text: &str) -> Result<ScorePolicy, RequestError> {
        let (name, given) = text
            .split_once(':')
            .map_or((text, None), |(name, given)| (name, Some(given)));
        let number = given.map(str::parse::<f64>);
        match (name.trim(), number) {
            ("greedy", None) => Ok(ScorePolicy::Greedy),
            ("uniform", None) => Ok(ScorePolicy::Uniform),
            ("epsilon", Some(Ok(share))) if (0.0..=1.0).contains(&share) => Ok(ScorePolicy::Epsilon(share)),
            ("softmax", Some(Ok(temperature))) if temperature > 0.0 && temperature.is_finite() => {
                Ok(ScorePolicy::Softmax(temperature))
            }
            _ => Err(RequestError::new(
                "policy",
                format!("{text:?}"),
                "greedy, uniform, epsilon:SHARE from 0 to 1 or softmax:TEMPERATURE above 0",
            )),
        }
    }

    /// Whether the policy must know the score of every candidate; others need to know only how many there are.
    pub fn needs_all_scores(self) -> bool {
        matches!(self, ScorePolicy::Softmax(_))
    }

    /// Probability of each recorded candidate to stand next, 0 for those that are not left. What is missing to one is that of candidates beyond the record.
    /// Cost: one pass over the candidates.
    pub(crate) fn next(self, scores: &[f64], unrecorded: u32, left: &[bool]) -> Vec<f64> {
        let open = || (0..scores.len()).filter(|at| left[*at]);
        let Some(best) = open().reduce(|best, at| if scores[at] > scores[best] { at } else { best }) else {
            return vec![0.0; scores.len()];
        };
        let mixed = |share: f64| {
            let even = 1.0 / (open().count() as f64 + f64::from(unrecorded));
            let mut out: Vec<f64> = left
                .iter()
                .map(|left| if *left { share * even } else { 0.0 })
                .collect();
            out[best] += 1.0 - share;
            out
        };
        match self {
            ScorePolicy::Greedy => mixed(0.0),
            ScorePolicy::Uniform => mixed(1.0),
            ScorePolicy::Epsilon(share) => mixed(share),
            ScorePolicy::Softmax(temperature) => {
                let weight = |at: usize| ((scores[at] - scores[best]) / temperature).exp();
                let total: f64 = open().map(weight).sum();
                let mut out = vec![0.0; scores.len()];
                open().for_each(|at| out[at] = weight(at) / total);
                out
            }
        }
    }

    /// Probability of each recorded candidate (by place in `scores`) at a position, whatever stands elsewhere. Exact, for softmax to about 1e-9: one integral, some
    /// 65 × candidates × positions operations. `None` if softmax is asked beyond the 64th position, or its temperature is so low against the spread of
    /// scores that there is no integral.
    pub(crate) fn marginals(
        self,
        scores: &[f64],
        unrecorded: u32,
        pairs: &[(usize, usize)],
    ) -> Option<Vec<f64>> {
        let m = scores.len() + unrecorded as usize;
        let n = pairs.iter().map(|(_, position)| position + 1).max().unwrap_or(0);
        let share = match self {
            ScorePolicy::Greedy => 0.0,
            ScorePolicy::Uniform => 1.0,
            ScorePolicy::Epsilon(share) => share,
            ScorePolicy::Softmax(temperature) => {
                let logs = scores.iter().map(|score| score / temperature);
                let (least, best) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, best), log| {
                    (log.min(least), log.max(best))
                });
                let weights: Vec<f64> = (scores.iter())
                    .map(|score| (score / temperature - best).exp())
                    .collect();
                let found = race_marginals(&weights, least - best, n, pairs)?;
                return Some(found.into_iter().map(|p| p.clamp(0.0, 1.0)).collect());
            }
        };
        // Place of each candidate in the order of scores; of equals the first comes first.
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let mut rank = vec![0; scores.len()];
        order.iter().enumerate().for_each(|(at, place)| rank[*place] = at);
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(place, position)| (rank[*place], *position))
            .collect();
        Some(frontier_marginals(m, share, n, &pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_distributions_over_slates_and_read_from_text() {
        let scores = [0.3, 2.0, 1.0, 2.0];
        for text in ["greedy", "uniform", "epsilon:0.3", "softmax:0.7"] {
            let policy = ScorePolicy::parse(text).expect("a policy");
            let mut sum = 0.0;
            for first in 0..4 {
                let mut left = [true; 4];
                let p = policy.next(&scores, 0, &left)[first];
                left[first] = false;
                let next = policy.next(&scores, 0, &left);
                assert_eq!(next[first], 0.0);
                sum += p * next.iter().sum::<f64>();
            }
            assert!((sum - 1.0f64).abs() < 1e-12, "{text}: {sum}");
        }
        // Of equals the first: candidate 1, then 3.
        let greedy = ScorePolicy::Greedy;
        assert_eq!(greedy.next(&scores, 9, &[true; 4]), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(
            greedy.next(&scores, 0, &[true, false, true, true]),
            [0.0, 0.0, 0.0, 1.0]
        );
        // Two of four are left, and six more that are not in the record.
        let epsilon = ScorePolicy::Epsilon(0.4).next(&scores, 6, &[true, false, true, false]);
        assert!(
            (epsilon[0] - 0.05).abs() < 1e-12 && (epsilon[2] - 0.65).abs() < 1e-12,
            "{epsilon:?}"
        );
        for bad in ["epsilon:2", "softmax:0", "softmax", "greedy:1", "best"] {
            assert!(ScorePolicy::parse(bad).is_err(), "{bad}");
        }
    }

    /// Sums over all slates; candidates beyond the record stand last, with the least score.
    fn slowly(policy: ScorePolicy, scores: &[f64], n: usize) -> Vec<f64> {
        let m = scores.len();
        let mut out = vec![0.0; m * n];
        let mut slates = vec![(vec![true; m], 1.0)];
        for t in 0..n {
            let mut longer = Vec::new();
            for (left, chance) in &slates {
                for (at, p) in policy.next(scores, 0, left).into_iter().enumerate() {
                    if p > 0.0 {
                        out[at * n + t] += chance * p;
                        let mut left = left.clone();
                        left[at] = false;
                        longer.push((left, chance * p));
                    }
                }
            }
            slates = longer;
        }
        out
    }

    #[test]
    fn marginals_are_sums_over_all_slates() {
        let scores = [0.3, 2.0, 1.0, 2.0, -1.5, 0.3];
        for text in [
            "greedy",
            "uniform",
            "epsilon:0.3",
            "softmax:0.7",
            "softmax:0.1",
            "softmax:50",
        ] {
            let policy = ScorePolicy::parse(text).expect("a policy");
            for n in 1..=5 {
                let pairs: Vec<_> = (0..6 * n).map(|at| (at / n, at % n)).collect();
                let found = policy.marginals(&scores, 0, &pairs).expect("scores are close");
                for ((found, slow), pair) in found.iter().zip(slowly(policy, &scores, n)).zip(&pairs) {
                    assert!(
                        (found - slow).abs() < 1e-8,
                        "{text}, {pair:?} of {n}: {found} {slow}"
                    );
                }
            }
        }
        // Two more beyond the record, that score less.
        let all = [scores.as_slice(), &[-2.0, -2.0]].concat();
        let epsilon = ScorePolicy::Epsilon(0.3);
        let pairs: Vec<_> = (0..18).map(|at| (at / 3, at % 3)).collect();
        let found = epsilon.marginals(&scores, 2, &pairs).expect("exact");
        for (found, slow) in found.iter().zip(slowly(epsilon, &all, 3)) {
            assert!((found - slow).abs() < 1e-12, "{found} {slow}");
        }
    }

    #[test]
    fn by_hand_for_three_candidates() {
        // Weights 2, 1, 1: the first stands second if one of the others is first, 1/4 · 2/3 each.
        let scores = [2f64.ln(), 0.0, 0.0];
        let found = ScorePolicy::Softmax(1.0).marginals(&scores, 0, &[(0, 1), (1, 1), (0, 2)]);
        // The second: after the first 1/2 · 1/2, after the third 1/4 · 1/3. The first last: 2 · 1/4 · 1/3.
        for (found, by_hand) in found
            .expect("close scores")
            .iter()
            .zip([1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0])
        {
            assert!((found - by_hand).abs() < 1e-9, "{found} {by_hand}");
        }
        // ε = 0.6 over three: the best is second if another stood first, 2 · 0.2 times 0.4 + 0.3.
        let found = ScorePolicy::Epsilon(0.6).marginals(&[3.0, 2.0, 1.0], 0, &[(0, 1)]);
        assert!((found.expect("exact")[0] - 0.28).abs() < 1e-12);
        // A temperature that leaves nothing to chance, down to numbers that there are not.
        assert_eq!(
            ScorePolicy::Softmax(1e-5).marginals(&[1.0, 0.5, 0.0], 0, &[(2, 2)]),
            None
        );
    }
}
