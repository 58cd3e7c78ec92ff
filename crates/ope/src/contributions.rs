//! What each round contributes to an estimate: the common form of all estimators.
//!
//! An estimate is `mean(base) + Σ ratios Σ numerator / Σ weight`. Plain estimators have a base alone; self-normalised ones have ratios, one
//! for each thing that is normalised. Value, linearised influence of a round, and resamples follow from this form, so that no
//! estimator has code of its own for intervals.

use crate::{Log, Refusal};

/// A self-normalised part.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// Weighted rewards (or residuals), one per round.
    pub numerator: Vec<f64>,
    /// Weights, one per round.
    pub weight: Vec<f64>,
}

/// What each round contributes.
#[derive(Debug, Clone, PartialEq)]
pub struct Contributions {
    /// The plain part, one per round.
    pub base: Vec<f64>,
    /// The self-normalised parts.
    pub ratios: Vec<Ratio>,
    /// Weights as the estimator uses them, for the effective sample size; none if it uses none. Several per round for slates.
    pub weights: Option<Vec<f64>>,
    /// No weight in these contexts can be larger, whatever the policies drew; none if that is not known.
    pub weight_bound: Option<f64>,
    /// Smallest and largest guess of the reward model, zeros if there is none.
    pub model_range: (f64, f64),
}

impl Contributions {
    /// The estimate.
    ///
    /// # Errors
    /// [`Refusal::NoWeight`] if a ratio has no weight at all; [`Refusal::TooFewRounds`]; [`Refusal::NotFinite`].
    pub fn value(&self) -> Result<f64, Refusal> {
        if self.base.len() < 2 {
            return Err(Refusal::TooFewRounds(self.base.len()));
        }
        let mut value = numeric::mean(&self.base);
        for ratio in &self.ratios {
            let weight: f64 = ratio.weight.iter().sum();
            if weight <= 0.0 {
                return Err(Refusal::NoWeight);
            }
            value += ratio.numerator.iter().sum::<f64>() / weight;
        }
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Refusal::NotFinite(value))
        }
    }

    /// The estimate as a mean of one number per round: exactly for plain estimators, to first order (delta method) for ratios.
    ///
    /// # Errors
    /// As [`Contributions::value`].
    pub fn linearised(&self) -> Result<Vec<f64>, Refusal> {
        self.value()?;
        let mut out = self.base.clone();
        let n = out.len() as f64;
        for ratio in &self.ratios {
            let weight: f64 = ratio.weight.iter().sum();
            let value = ratio.numerator.iter().sum::<f64>() / weight;
            let mean = weight / n;
            for (out, (numerator, weight)) in out.iter_mut().zip(ratio.numerator.iter().zip(&ratio.weight)) {
                *out += value + (numerator - value * weight) / mean;
            }
        }
        Ok(out)
    }
}

/// A change of importance weights: the function, and a bound on what it gives (infinite if none).
pub(crate) struct Change<F: Fn(f64) -> f64> {
    pub(crate) of: F,
    pub(crate) bound: f64,
}

/// No change.
pub(crate) fn unchanged() -> Change<impl Fn(f64) -> f64> {
    Change {
        of: |w| w,
        bound: f64::INFINITY,
    }
}

impl<F: Fn(f64) -> f64> Change<F> {
    /// No changed weight is above this. A change may lift weights below one, but not above one.
    fn weight_bound(&self, log: &Log) -> Option<f64> {
        let possible = log.weight_max().map_or(f64::INFINITY, |w| w.max(1.0));
        Some(self.bound.min(possible)).filter(|bound| bound.is_finite())
    }
}

/// Changed weights times rewards; normalised by their sum or by the number of rounds.
pub(crate) fn weighted<F: Fn(f64) -> f64>(
    log: &Log,
    change: &Change<F>,
    normalised: bool,
) -> Result<Contributions, Refusal> {
    let weights: Vec<f64> = log.weights()?.into_iter().map(&change.of).collect();
    let terms: Vec<f64> = weights.iter().zip(log.rewards()).map(|(w, r)| w * r).collect();
    Ok(parts(
        vec![0.0; terms.len()],
        terms,
        weights,
        normalised,
        change.weight_bound(log),
        (0.0, 0.0),
    ))
}

/// The reward model's value of the target, corrected by changed weights times what the model missed.
pub(crate) fn corrected<F: Fn(f64) -> f64>(
    log: &Log,
    change: &Change<F>,
    normalised: bool,
) -> Result<Contributions, Refusal> {
    let weights: Vec<f64> = log.weights()?.into_iter().map(&change.of).collect();
    let (base, model) = modelled(log)?;
    let n_actions = log.n_actions();
    let terms = weights.iter().zip(log.rewards()).zip(log.actions()).enumerate();
    let terms = terms
        .map(|(row, ((w, reward), action))| w * (reward - model[row * n_actions + *action as usize]))
        .collect();
    Ok(parts(
        base,
        terms,
        weights,
        normalised,
        change.weight_bound(log),
        range(model),
    ))
}

/// The reward model's value of the target in each round, and its guesses.
pub(crate) fn modelled(log: &Log) -> Result<(Vec<f64>, &[f64]), Refusal> {
    let target = log
        .target()
        .ok_or_else(|| Refusal::lacks("the target's probabilities of all actions"))?;
    let model = log
        .model()
        .ok_or_else(|| Refusal::lacks("a reward model, or features to learn one from"))?;
    let rows = target
        .chunks_exact(log.n_actions())
        .zip(model.chunks_exact(log.n_actions()));
    let base = rows
        .map(|(p, q)| p.iter().zip(q).map(|(p, q)| p * q).sum())
        .collect();
    Ok((base, model))
}

/// Smallest and largest value.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    let ends = (f64::INFINITY, f64::NEG_INFINITY);
    let ends = values
        .iter()
        .fold(ends, |(low, high), v| (low.min(*v), high.max(*v)));
    if ends.0 <= ends.1 { ends } else { (0.0, 0.0) }
}

fn parts(
    mut base: Vec<f64>,
    terms: Vec<f64>,
    weights: Vec<f64>,
    normalised: bool,
    weight_bound: Option<f64>,
    model_range: (f64, f64),
) -> Contributions {
    let mut ratios = Vec::new();
    if normalised {
        ratios.push(Ratio {
            numerator: terms,
            weight: weights.clone(),
        });
    } else {
        base.iter_mut().zip(terms).for_each(|(base, term)| *base += term);
    }
    Contributions {
        base,
        ratios,
        weights: Some(weights),
        weight_bound,
        model_range,
    }
}
