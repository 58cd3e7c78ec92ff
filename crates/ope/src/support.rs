//! Can the log say anything about the target at all?
//!
//! An importance weight can make seldom things count more, never things that could not happen. Where the logging policy's
//! distributions are known, the target's mass on what it never does is summed exactly. Where only the logged propensities are, two signs are looked for.
//!
//! *Shortfall*: weights have mean one under full support and 1 − mass otherwise. A mean below one is no proof by itself: with heavy tails a few rounds in thousands carry half of
//! the mean, and most logs have none of them. So the mean is tested against all distributions with mean one whose weights stay below a bound, by betting against it: the product of
//! 1 + λ (1 − w) over rounds is 1,000 or more in at most one log in 1,000 with support, at any size (Waudby-Smith and Ramdas, 2024; mixed over λ = 2, 1, 1/2, …, none of
//! which may lose more than all). The bound says how far beyond what was seen weights may go ([`Reach`]): not at all where the largest weight comes up again and again, far where the largest
//! ones lie far apart, and as far as the less likely of the logged choices would take it had the target wanted them.
//!
//! *Unseen actions*: the target wants an action that is not in the log, which by the same bound had to be there with more than 999 chances in 1,000.
//!
//! A mean that is below one but not beyond that bound is told as a warning: support or the tail is missing, and the log cannot say which. One pass over rounds × actions, and 20 over rounds.

use crate::estimators::mips;
use crate::{Log, Refusal, SupportOf};
use serde::Serialize;

/// Standard errors from which a mean weight is told to be off one.
const SCORE: f64 = 4.0;
/// A mean weight below this is told, however many standard errors that is.
const MEAN_LOW: f64 = 0.8;
/// Logarithm of the odds at which something is not missing by accident.
const BEYOND_CHANCE: f64 = 6.9;
/// How far down the largest weights are compared to see how heavy their tail is.
const TAIL: usize = 20;
/// Share of possible choices that may be less likely than those from which the bound on weights is taken.
const SELDOM: f64 = 0.2;
/// No weight is bounded by less.
const BOUND_MIN: f64 = 1.5;
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
    /// What those are called.
    pub unseen_names: Vec<String>,
    /// The target's mass on actions that are not in the log, by accident or not.
    pub unseen_mass: f64,
    /// Mean of the weights.
    pub mean_weight: f64,
    /// By how many standard errors it is off one, corrected for skewness.
    pub mean_weight_score: f64,
    /// Weights may be as large as this where support is full, as far as the log shows; a mean below one is held against it.
    pub weight_reach: f64,
    /// The missing mass is within the tolerance.
    pub holds: bool,
}

impl Support {
    /// The unseen actions, the most wanted first.
    fn unseen_told(&self) -> String {
        let told: Vec<&str> = self.unseen_names.iter().take(5).map(String::as_str).collect();
        let more = if self.unseen_names.len() > 5 { " …" } else { "" };
        format!("{}{more}", told.join(", "))
    }

    /// What to know of unseen actions that are no reason to refuse.
    pub(crate) fn unseen_warning(&self, tolerance: f64) -> Option<String> {
        (self.evidence == SupportEvidence::Log && self.unseen_mass > tolerance).then(|| {
            format!(
                "{:.4} of the target's choices are actions that are not in the log, by accident or for lack of support: {}",
                self.unseen_mass,
                self.unseen_told()
            )
        })
    }

    /// The refusal of an estimator that needs this support.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.holds {
            return None;
        }
        let evidence = match self.evidence {
            SupportEvidence::Distributions => "by the logging policy's own probabilities".to_owned(),
            SupportEvidence::Log if self.unseen_mass > 0.5 * self.missing_mass => {
                format!("actions that are not in the log: {}", self.unseen_told())
            }
            SupportEvidence::Log => shortfall_told(self.mean_weight, self.weight_reach),
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

/// How far weights can go that the log does not show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// The least propensity to reckon with: that of the less likely ones among the choices that the logging policy could make.
    seldom: f64,
    /// The largest weight.
    largest: f64,
    /// How much larger one may be that was not drawn: the square of how far the largest is above the 20th. Of weights with a regular tail, those beyond
    /// have next to no share in the mean.
    beyond: f64,
}

impl Reach {
    /// From weights and the logged propensities that they come from.
    pub(crate) fn of(weights: &[f64], propensities: &[f64]) -> Reach {
        let mut down: Vec<f64> = weights.iter().copied().filter(|w| *w > 0.0).collect();
        down.sort_unstable_by(|a, b| b.total_cmp(a));
        let largest = down.first().copied().unwrap_or(0.0);
        let compared = down.get(TAIL - 1).or(down.last()).copied().unwrap_or(largest);
        let apart = if compared > 0.0 { largest / compared } else { 1.0 };
        // A round with propensity p stands for 1 / p choices that were possible.
        let mut up = propensities.to_vec();
        up.sort_unstable_by(f64::total_cmp);
        let mut left = SELDOM * up.iter().map(|p| 1.0 / p).sum::<f64>();
        let seldom = up.iter().copied().find(|p| {
            left -= 1.0 / p;
            left < 0.0
        });
        Reach {
            seldom: seldom.unwrap_or(1.0),
            largest,
            beyond: apart * apart,
        }
    }

    /// No weight is larger where the target gives nothing more than `most`.
    pub(crate) fn bound(&self, most: f64) -> f64 {
        (self.beyond * self.largest.max(most / self.seldom)).max(BOUND_MIN)
    }

    /// The least propensity of an action that the target gives `wanted` and that is wanted as much as by chance with `even`.
    fn least(&self, wanted: f64, even: f64) -> f64 {
        let by_choices = self.seldom * (wanted / even).min(1.0);
        let by_weights = if self.largest > 0.0 {
            wanted / self.largest
        } else {
            1.0
        };
        by_choices.min(by_weights) / self.beyond
    }
}

/// Logarithm of what betting that the mean of the weights is below one has won: above [`BEYOND_CHANCE`] in at most one log in 1,000 whose weights
/// have mean one and stay within their bounds.
fn won(weights: &[f64], bounds: impl Fn(usize) -> f64) -> f64 {
    let steps = (weights.len().max(2) as f64).log2().ceil() as i32 + 2;
    let bounds: Vec<f64> = (0..weights.len()).map(|row| 1.0 / (bounds(row) - 1.0)).collect();
    let each: Vec<f64> = (0..steps)
        .map(|step| {
            let stake = 2.0f64.powi(1 - step);
            let bets = weights.iter().zip(&bounds);
            bets.map(|(w, most)| (stake.min(*most) * (1.0 - w)).ln_1p()).sum()
        })
        .collect();
    let best = each.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    best + (each.iter().map(|own| (own - best).exp()).sum::<f64>() / each.len() as f64).ln()
}

/// The sign of a shortfall: the missing mass, if the mean of the weights is below one beyond chance. `most` is the most that the target gives to an action in a round.
pub(crate) fn shortfall(weights: &[f64], reach: &Reach, most: impl Fn(usize) -> f64) -> f64 {
    let mean = numeric::mean(weights);
    if mean < 1.0 && won(weights, |row| reach.bound(most(row))) > BEYOND_CHANCE {
        1.0 - mean
    } else {
        0.0
    }
}

/// What shows a shortfall.
pub(crate) fn shortfall_told(mean: f64, reach: f64) -> String {
    format!("weights have mean {mean:.3} where 1 is due, beyond chance as long as none is above {reach:.4}")
}

/// What to know of weights that are light on average, if support is not refused.
pub(crate) fn light(mean: f64, score: f64) -> Option<String> {
    (mean < MEAN_LOW || score < -SCORE).then(|| {
        format!(
            "weights have mean {mean:.3} where 1 is due: either large, rare weights did not come up, or the logging policy never does {:.0} % of what the target \
             does; the log cannot say which, and the estimate may be off by as much",
            100.0 * (1.0 - mean)
        )
    })
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
    let reach = Reach::of(&weights, log.propensities().unwrap_or_default());
    let most = log.most_wanted();
    let unseen = unseen(log);
    let unseen_mass = unseen.iter().fold(0.0, |sum, (_, mass)| sum + mass);
    let unseen_actions: Vec<u32> = unseen.iter().take(TOLD).map(|(action, _)| *action).collect();
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
            let even = 1.0 / log.n_actions() as f64;
            let absent = unseen.iter().filter(|(action, _)| {
                chances(log, *action, &reach, even) > BEYOND_CHANCE + (unseen.len() as f64).ln()
            });
            let absent = absent.fold(0.0, |sum, (_, mass)| sum + mass);
            let short = shortfall(&weights, &reach, |row| most[row]);
            (SupportEvidence::Log, absent.max(short))
        }
    };
    Some(Support {
        evidence,
        missing_mass,
        unseen_names: unseen_actions.iter().map(|action| log.label(*action)).collect(),
        unseen_actions,
        unseen_mass,
        mean_weight,
        mean_weight_score,
        weight_reach: most.iter().map(|most| reach.bound(*most)).fold(0.0, f64::max),
        holds: missing_mass <= tolerance,
    })
}

/// How often an action had to be in the log at least, by the least propensities that the log lets one reckon with.
fn chances(log: &Log, action: u32, reach: &Reach, even: f64) -> f64 {
    let rows = log.target().unwrap_or_default().chunks_exact(log.n_actions());
    rows.map(|row| reach.least(row[action as usize], even)).sum()
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
