//! Single choices of recorded slates: as a log of one action, and as what a reward model by position is learnt from.

use crate::log::LogError;
use crate::recorded::{JudgedSlate, RecordedSlate, ScorePolicy, judged_log, judged_slates};
use crate::{Log, RewardModelConfig, cross_fit};

/// The first places of slates as a log with one action each, for estimators that need one. Candidates differ from slate to slate, so an action is a place
/// in the order of scores: the best, the second and so on, and beyond them all that are not in the record. Reward models are learnt by that place, from the
/// number of candidates and the best, mean and spread of their scores.
///
/// # Errors
/// As [`recorded_log`](crate::recorded_log).
pub fn first_choices(slates: &[RecordedSlate], policy: ScorePolicy) -> Result<Log, LogError> {
    let judged = judged_slates(slates, 1, policy)?;
    let propensities = judged.iter().map(|slate| slate.propensities[0]).collect();
    choices_at(slates, 0, policy)?.with_propensities(propensities)
}

/// The choices at a position, after what was shown above it. Features are the number, best score, mean and spread of the candidates that are left, and below the
/// first position the mean score of what stands above.
fn choices_at(slates: &[RecordedSlate], at: usize, policy: ScorePolicy) -> Result<Log, LogError> {
    let widest = slates.iter().map(|slate| slate.scores.len()).max().unwrap_or(0);
    let beyond = slates.iter().any(|slate| slate.unrecorded > 0);
    let n_actions = widest + usize::from(beyond);
    let mut target = vec![0.0; slates.len() * n_actions];
    let (mut actions, mut rewards, mut contexts) = (Vec::new(), Vec::new(), Vec::new());
    for (slate, row) in slates.iter().zip(target.chunks_exact_mut(n_actions.max(1))) {
        let scores = &slate.scores;
        let above = &slate.shown[..at];
        let mut left = vec![true; scores.len()];
        above.iter().for_each(|place| left[*place as usize] = false);
        let next = policy.next(scores, slate.unrecorded, &left);
        row[..scores.len()].copy_from_slice(&next);
        if slate.unrecorded > 0 {
            row[widest] = (1.0 - next.iter().sum::<f64>()).max(0.0);
        }
        actions.push(slate.shown[at]);
        rewards.push(slate.rewards[at]);
        let of_left: Vec<f64> = (scores.iter().zip(&left))
            .filter(|(_, left)| **left)
            .map(|(score, _)| *score)
            .collect();
        let best = of_left.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let spread = match of_left.len() {
            0 | 1 => 0.0,
            _ => numeric::variance(&of_left).sqrt(),
        };
        let n = of_left.len() as f64 + f64::from(slate.unrecorded);
        contexts.extend([n.ln_1p(), best, numeric::mean(&of_left), spread]);
        if at > 0 {
            let above: f64 = above.iter().map(|place| scores[*place as usize]).sum();
            contexts.push(above / at as f64);
        }
    }
    let width = 4 + usize::from(at > 0);
    Log::new(n_actions, rewards, actions, target)?.with_contexts(width, standardised(contexts, width))
}

/// Guesses of the reward at each position of each slate, learnt from slates in other parts of the log: of what was shown, and the mean over the target's choice after
/// the same items. A model for each position, by place in the order of scores, as [`choices_at`] tells it. A slate is in the same part at all
/// positions, so that no guess has seen what came of its slate. Cost and memory: those of [`cross_fit`] with an action for each candidate, once
/// for each position.
pub(super) fn guesses(
    slates: &[RecordedSlate],
    positions: usize,
    policy: ScorePolicy,
    config: &RewardModelConfig,
) -> Result<(Vec<f64>, Vec<f64>), LogError> {
    let mut logged = vec![0.0; slates.len() * positions];
    let mut target = logged.clone();
    for at in 0..positions {
        let log = choices_at(slates, at, policy)?;
        let guesses = cross_fit(&log, config)?;
        let n_actions = log.n_actions();
        let rows = guesses.chunks_exact(n_actions);
        let wanted = log.target().unwrap_or_default().chunks_exact(n_actions);
        for ((row, (own, wanted)), action) in rows.zip(wanted).enumerate().zip(log.actions()) {
            logged[row * positions + at] = own[*action as usize];
            target[row * positions + at] = own.iter().zip(wanted).map(|(q, p)| q * p).sum();
        }
    }
    Ok((logged, target))
}

/// Columns with mean zero and variance one, so that a penalty means the same for all; zeros for one that does not vary.
fn standardised(mut rows: Vec<f64>, width: usize) -> Vec<f64> {
    for at in 0..width {
        let column: Vec<f64> = rows.iter().skip(at).step_by(width).copied().collect();
        let mean = numeric::mean(&column);
        let deviation = if column.len() > 1 {
            numeric::variance(&column).sqrt()
        } else {
            0.0
        };
        let unit = if deviation > 1e-12 * mean.abs() {
            1.0 / deviation
        } else {
            0.0
        };
        rows.iter_mut()
            .skip(at)
            .step_by(width)
            .for_each(|x| *x = (*x - mean) * unit);
    }
    rows
}

/// The first places of slates of which only the target's probability of what was shown is known, for estimators without reward model. Actions are not told apart.
///
/// # Errors
/// As [`judged_log`].
pub fn judged_choices(slates: &[JudgedSlate]) -> Result<Log, LogError> {
    judged_log(slates, 1)?;
    let of = |each: fn(&JudgedSlate) -> f64| slates.iter().map(each).collect::<Vec<f64>>();
    Log::of_logged(
        1,
        of(|slate| slate.rewards[0]),
        vec![0; slates.len()],
        of(|slate| slate.target[0]),
    )?
    .with_propensities(of(|slate| slate.propensities[0]))
}
