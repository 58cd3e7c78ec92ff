//! Pseudo-inverse estimator: one weight per slate that is right for rewards which add up over positions.
//!
//! `mean(w Σ_l r_l)`, `w = 1ᵀ_s Γ† q`: Γ the second moments under the logging policy, q the first under the target, of indicators of item
//! and position. If only the sum of a slate's rewards is known, and it is a sum of unknown terms of each item at its position, weights grow with the number of
//! positions instead of its power. If the logging policy fills positions independently, `w = Σ_l w_l − L + 1`, and the log alone is enough;
//! otherwise the weights come from [`pseudo_inverse_weights`]. Swaminathan, Krishnamurthy, Agarwal and others, 2017. The self-normalised kind
//! divides by the mean weight.

use crate::slates::by_slate;
use crate::solve::pseudo_solve;
use crate::{Contributions, Refusal, SlateEntry, SlateEstimator, SlateLog};

/// The line of the table.
pub(crate) const ENTRY: SlateEntry = SlateEntry {
    name: "pseudo_inverse",
    summary: "one weight per slate, right for rewards that add up over positions",
    source: "Swaminathan and others, 2017",
    propensities: |log| log.logged(&log.slate),
    build: || Box::new(PseudoInverseEstimator { normalised: false }),
};

/// The line of the self-normalised kind.
pub(crate) const SELF_NORMALISED: SlateEntry = SlateEntry {
    name: "sn_pseudo_inverse",
    summary: "one weight per slate, right for rewards that add up over positions, self-normalised",
    source: "Swaminathan and others, 2017",
    propensities: |log| log.logged(&log.slate),
    build: || Box::new(PseudoInverseEstimator { normalised: true }),
};

#[derive(Debug)]
struct PseudoInverseEstimator {
    normalised: bool,
}

impl SlateEstimator for PseudoInverseEstimator {
    fn contributions(&self, log: &SlateLog) -> Result<Contributions, Refusal> {
        let weights = match &log.pseudo_inverse {
            Some(weights) => weights.clone(),
            None => factored(log)?,
        };
        Ok(by_slate(log, weights, self.normalised))
    }
}

/// Weights if the logging policy filled positions independently of each other, which the log must show.
fn factored(log: &SlateLog) -> Result<Vec<f64>, Refusal> {
    let slate = log
        .slate
        .as_ref()
        .ok_or_else(|| Refusal::lacks("the probabilities of whole slates under both policies"))?;
    let marginal = log.marginal.as_ref().ok_or_else(|| log.lacks_marginals())?;
    for (whole, own) in slate
        .logging
        .iter()
        .zip(marginal.logging.chunks_exact(log.n_positions))
    {
        if (own.iter().product::<f64>() / whole - 1.0).abs() > 1e-6 {
            return Err(log.absent.pseudo_inverse(
                "pseudo-inverse weights: its positions depend on each other, so they do not follow from the probabilities of items at their positions",
            ));
        }
    }
    let weights = marginal.weights();
    let sum = |own: &[f64]| own.iter().sum::<f64>() - log.n_positions as f64 + 1.0;
    Ok(weights.chunks_exact(log.n_positions).map(sum).collect())
}

/// Pseudo-inverse weight of a slate that was drawn evenly, without replacement, from `m` candidates. Given for each shown item the target's probability
/// of it at its position and anywhere on the slate.
///
/// With K positions below m, `w = Σ_l [(m − 1) q_l + ((m − 1) u_l − (K − 1)) / (m − K)] − (K − 1)`, q the former and u the latter. With K = m, where
/// everything is shown anyway, `w = 1 + (m − 1)(Σ_l q_l − 1)`. These solve Γ θ = q for Γ with 1/m on the diagonal, 1/(m(m − 1)) for different items at
/// different positions, and else 0.
pub(crate) fn even_weight(m: usize, here_and_anywhere: &[(f64, f64)]) -> f64 {
    let (items, positions) = (m as f64, here_and_anywhere.len() as f64);
    let sum = |of: fn(&(f64, f64)) -> f64| here_and_anywhere.iter().map(of).sum::<f64>();
    let (here, anywhere) = (sum(|pair| pair.0), sum(|pair| pair.1));
    if here_and_anywhere.len() == m {
        return 1.0 + (items - 1.0) * (here - 1.0);
    }
    let across = (items - 1.0) * anywhere - positions * (positions - 1.0);
    (items - 1.0) * here + across / (items - positions) - (positions - 1.0)
}

/// Pseudo-inverse weights of the slates of one context: each with its items by position, its probability under the logging policy and under the
/// target. All slates of either policy must be listed. Costs (positions × items)³ once, and slates × positions².
pub fn pseudo_inverse_weights(n_items: usize, slates: &[(&[u32], f64, f64)]) -> Vec<f64> {
    let size = slates.iter().map(|(items, _, _)| items.len()).max().unwrap_or(0) * n_items;
    let mut moments = vec![0.0; size * size];
    let mut wanted = vec![0.0; size];
    let places = |items: &[u32]| -> Vec<usize> {
        let place = |(position, item): (usize, &u32)| position * n_items + *item as usize;
        items.iter().enumerate().map(place).collect()
    };
    for (items, logging, target) in slates {
        let places = places(items);
        for i in &places {
            wanted[*i] += target;
            for j in &places {
                moments[i * size + j] += logging;
            }
        }
    }
    let solved = pseudo_solve(&moments, &wanted);
    let weight = |(items, _, _): &(&[u32], f64, f64)| places(items).iter().map(|at| solved[*at]).sum();
    slates.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    #[test]
    fn the_weights_of_even_draws_are_the_general_ones() {
        let mut stream = SeededStream::new(4, 0);
        for (m, k) in [(1, 1), (3, 1), (4, 2), (5, 3), (4, 3), (4, 4)] {
            let mut lists: Vec<Vec<u32>> = vec![Vec::new()];
            for _ in 0..k {
                let longer = lists.iter().flat_map(|list| {
                    let left = (0..m as u32).filter(|item| !list.contains(item));
                    left.map(|item| [list.as_slice(), &[item]].concat())
                });
                lists = longer.collect();
            }
            // Any target at all.
            let chances: Vec<f64> = lists.iter().map(|_| stream.uniform().powi(3)).collect();
            let total: f64 = chances.iter().sum();
            let even = 1.0 / lists.len() as f64;
            let slates: Vec<(&[u32], f64, f64)> = (lists.iter().zip(&chances))
                .map(|(list, chance)| (list.as_slice(), even, chance / total))
                .collect();
            let chance_of = |alike: &dyn Fn(&[u32]) -> bool| -> f64 {
                let those = slates.iter().filter(|(list, _, _)| alike(list));
                those.map(|(_, _, target)| target).sum()
            };
            for (weight, list) in pseudo_inverse_weights(m, &slates).iter().zip(&lists) {
                let shown = list.iter().enumerate();
                let known: Vec<(f64, f64)> = shown
                    .map(|(at, item)| {
                        (
                            chance_of(&|list| list[at] == *item),
                            chance_of(&|list| list.contains(item)),
                        )
                    })
                    .collect();
                let closed = even_weight(m, &known);
                assert!(
                    (weight - closed).abs() < 1e-8,
                    "{m} {k} {list:?}: {weight} {closed}"
                );
            }
        }
    }

    #[test]
    fn the_general_weights_are_those_of_the_closed_form_for_independent_positions() {
        let (logging, target) = (
            [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]],
            [[0.1, 0.8, 0.1], [0.6, 0.3, 0.1]],
        );
        let items: Vec<[u32; 2]> = (0..9).map(|at| [at / 3, at % 3]).collect();
        let p = |of: &[[f64; 3]; 2], s: &[u32; 2]| of[0][s[0] as usize] * of[1][s[1] as usize];
        let slates: Vec<(&[u32], f64, f64)> = items
            .iter()
            .map(|s| (s.as_slice(), p(&logging, s), p(&target, s)))
            .collect();
        for (weight, s) in pseudo_inverse_weights(3, &slates).iter().zip(&items) {
            let by_hand: f64 = (0..2)
                .map(|l| target[l][s[l] as usize] / logging[l][s[l] as usize])
                .sum::<f64>()
                - 1.0;
            assert!((weight - by_hand).abs() < 1e-9, "{s:?}: {weight} {by_hand}");
        }
    }
}
