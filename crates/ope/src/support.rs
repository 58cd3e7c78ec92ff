//! Can the log say anything about the target at all?
//!
//! An importance weight can make seldom things count more, never things that could not happen. Where the logging policy's
//! distributions are known, the target's mass on what it never does is summed exactly. Where only the logged propensities are, two signs are
//! looked for. *Unseen actions*: the target wants an action that is not in the log, and if its weight were no larger than the largest weight seen, the chance not to meet it even
//! once would be below 1 in 10,000. *Shortfall*: weights have mean one under full support and 1 − mass otherwise, so a mean that is significantly below one (a
//! score beyond 4 standard errors, corrected for skewness after Hall, 1992) shows the missing mass. A missing mass that is small against the noise of the weights is
//! not found that way. One pass over rounds × actions.

use crate::estimators::mips;
use crate::{Log, Refusal, SupportOf};
use serde::Serialize;

/// Standard errors from which a mean weight is not one.
const SCORE: f64 = 4.0;
/// Logarithm of the chance at which an action is not absent by accident.
const ABSENCE: f64 = 9.21;
/// Unseen actions that are told.
const TOLD: usize = 20;

/// What the check goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SupportEvidence {
    /// The logging policy's distributions.
    Distributions,
    /// Signs in the log.
    Log,
}

/// What the log can say about the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Support {
    /// What the check goes by.
    pub evidence: SupportEvidence,
    /// Share of the target's choices where the logging policy never goes; zero if there is no sign of it.
    pub missing_mass: f64,
    /// Actions that the target wants and that are not in the log, the most wanted first, at most 20.
    pub unseen_actions: Vec<u32>,
    /// The target's mass on actions that are not in the log, by accident or not.
    pub unseen_mass: f64,
    /// Mean of the weights.
    pub mean_weight: f64,
    /// By how many standard errors it is off one.
    pub mean_weight_score: f64,
    /// The missing mass is within the tolerance.
    pub holds: bool,
}

impl Support {
    /// The refusal of an estimator that needs this support.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.holds {
            return None;
        }
        let evidence = match self.evidence {
            SupportEvidence::Distributions => "by the logging policy's own probabilities".to_owned(),
            SupportEvidence::Log if self.unseen_mass > 0.5 * self.missing_mass => {
                let told: Vec<String> = self.unseen_actions.iter().take(5).map(u32::to_string).collect();
                format!("actions that are not in the log: {} …", told.join(", "))
            }
            SupportEvidence::Log => format!(
                "weights have mean {:.3}, which is {:.1} standard errors off one",
                self.mean_weight, self.mean_weight_score
            ),
        };
        Some(Refusal::MissingSupport {
            mass: self.missing_mass,
            evidence,
        })
    }
}

/// By how many standard errors the mean of these weights is off one, corrected for skewness: Hall's transformation, which is monotone.
pub(crate) fn score(weights: &[f64]) -> f64 {
    let n = weights.len() as f64;
    let (mean, variance) = (numeric::mean(weights), numeric::variance(weights));
    let off = mean - 1.0;
    if off.abs() < 1e-9 {
        return 0.0;
    }
    if variance <= 1e-18 {
        return off.signum() * n.sqrt();
    }
    let deviation = variance.sqrt();
    let skewness = weights
        .iter()
        .map(|w| ((w - mean) / deviation).powi(3))
        .sum::<f64>()
        / n;
    let s = off / deviation;
    let bent = s + skewness * s * s / 3.0 + skewness * skewness * s.powi(3) / 27.0 + skewness / (6.0 * n);
    bent * n.sqrt()
}

/// The sign of a shortfall: the missing mass, if the mean of the weights is significantly below one.
pub(crate) fn shortfall(mean: f64, score: f64) -> f64 {
    if score < -SCORE {
        (1.0 - mean).max(0.0)
    } else {
        0.0
    }
}

/// True if the weights are too heavy on average for right propensities.
pub(crate) fn overshoots(score: f64) -> bool {
    score > SCORE
}

/// The check; `None` if nothing is asked or nothing can be said.
pub(crate) fn check(log: &Log, of: SupportOf, tolerance: f64) -> Option<Support> {
    let weights = log.weights().ok()?;
    let mean_weight = numeric::mean(&weights);
    let mean_weight_score = score(&weights);
    let unseen = unseen(log);
    let unseen_mass = unseen.iter().fold(0.0, |sum, (_, mass)| sum + mass);
    let unseen_actions = unseen.iter().take(TOLD).map(|(action, _)| *action).collect();
    let (evidence, missing_mass) = match (of, exact(log), mips::masses(log)) {
        (SupportOf::Nothing, _, _) => return None,
        (SupportOf::Categories, _, Ok(masses)) => {
            let gone = masses.iter().flatten().filter(|(_, logging)| *logging <= 0.0);
            let mass = gone.fold(0.0, |sum, (target, _)| sum + target) / log.n_rounds().max(1) as f64;
            (SupportEvidence::Distributions, mass)
        }
        (SupportOf::Categories, _, Err(_)) => return None,
        (SupportOf::Actions, Some(mass), _) => (SupportEvidence::Distributions, mass),
        (SupportOf::Actions, None, _) => {
            let largest = weights.iter().copied().fold(1.0, f64::max);
            let chance = |mass: f64| log.n_rounds() as f64 * mass / largest;
            let absent = unseen.iter().filter(|(_, mass)| chance(*mass) > ABSENCE);
            let absent = absent.fold(0.0, |sum, (_, mass)| sum + mass);
            (
                SupportEvidence::Log,
                absent.max(shortfall(mean_weight, mean_weight_score)),
            )
        }
    };
    Some(Support {
        evidence,
        missing_mass,
        unseen_actions,
        unseen_mass,
        mean_weight,
        mean_weight_score,
        holds: missing_mass <= tolerance,
    })
}

/// The target's mass on what the logging policy never does, if both are known.
fn exact(log: &Log) -> Option<f64> {
    let pairs = log.target()?.iter().zip(log.logging()?);
    let gone = pairs
        .filter(|(_, logging)| **logging <= 0.0)
        .map(|(target, _)| target);
    Some(gone.sum::<f64>() / log.n_rounds().max(1) as f64)
}

/// Actions that are not in the log, with the target's mean probability where that is above zero, the most wanted first.
fn unseen(log: &Log) -> Vec<(u32, f64)> {
    let Some(target) = log.target() else {
        return Vec::new();
    };
    let mut seen = vec![false; log.n_actions()];
    log.actions()
        .iter()
        .for_each(|action| seen[*action as usize] = true);
    let mut masses = vec![0.0; log.n_actions()];
    for row in target.chunks_exact(log.n_actions()) {
        masses.iter_mut().zip(row).for_each(|(mass, p)| *mass += p);
    }
    let n = log.n_rounds().max(1) as f64;
    let mut out: Vec<(u32, f64)> = (0u32..)
        .zip(masses.iter().zip(&seen))
        .filter(|(_, (mass, seen))| !**seen && **mass > 0.0)
        .map(|(action, (mass, _))| (action, mass / n))
        .collect();
    out.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    out
}
