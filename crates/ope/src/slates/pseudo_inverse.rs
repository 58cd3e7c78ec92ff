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
    const LACKS: Refusal = Refusal::MissingInput(
        "pseudo-inverse weights: its positions depend on each other, so they do not follow from the probabilities of items at their positions",
    );
    let slate = log.slate.as_ref();
    let slate = slate.ok_or(Refusal::MissingInput(
        "the probabilities of whole slates under both policies",
    ))?;
    let marginal = log.marginal.as_ref().ok_or(Refusal::MissingInput(
        "the probabilities of items at their positions under both policies",
    ))?;
    for (whole, own) in slate
        .logging
        .iter()
        .zip(marginal.logging.chunks_exact(log.n_positions))
    {
        if (own.iter().product::<f64>() / whole - 1.0).abs() > 1e-6 {
            return Err(LACKS);
        }
    }
    let weights = marginal.weights();
    let sum = |own: &[f64]| own.iter().sum::<f64>() - log.n_positions as f64 + 1.0;
    Ok(weights.chunks_exact(log.n_positions).map(sum).collect())
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
