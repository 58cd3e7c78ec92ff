//! Slates whose candidates, scores and propensities were written down, as logs for estimators.
//!
//! A recorded slate says which candidates there were, what each scored, what was shown, and with which probability each item stood at its place, given those
//! before it and, as far as known, whatever stood elsewhere. A [`ScorePolicy`] gives its own probability of the same choices, place by place, without replacement: `greedy`, `uniform`,
//! ε-greedy, or Plackett–Luce over scores (`softmax`). From these follow the probabilities of items at their positions, of prefixes and of whole slates, the mean of a reward model over the target's choice, and, where slates were drawn
//! evenly, pseudo-inverse weights: [`recorded_log`]. Where another configuration tells only how probable it would have made the shown ([`JudgedSlate`]), a log has no
//! reward model and no pseudo-inverse weights: [`judged_log`]. Cost: slates × positions × candidates, and a reward model for each position.
//!
//! What it does not know: rules that reorder a slate after scoring. A policy here orders by score alone.

mod choices;
mod policy;

pub use choices::{first_choices, judged_choices};
pub use policy::ScorePolicy;

use crate::log::{LogError, wrong};
use crate::slates::pseudo_inverse::even_weight;
use crate::{RewardModelConfig, SlateLog};

/// Slates done together.
const CHUNK: usize = 256;
/// How far a probability may be from that of an even draw, relative to it.
const EVEN_SLACK: f64 = 1e-6;

/// A slate as recorded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordedSlate {
    /// Scores of the candidates, best first as the log has them.
    pub scores: Vec<f64>,
    /// Candidates beyond `scores` that scored no more than the last, and are not in the record.
    pub unrecorded: u32,
    /// Which candidates were shown, by place in `scores`, from the top of the slate.
    pub shown: Vec<u32>,
    /// Probability of each, given those before it.
    pub propensities: Vec<f64>,
    /// Probability of each at its place, whatever stands elsewhere, as far as known; may be shorter.
    pub position_propensities: Vec<Option<f64>>,
    /// What came of each.
    pub rewards: Vec<f64>,
}

/// A slate as recorded, with what a policy of any kind gives it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JudgedSlate {
    /// Probability with which each item was shown, given those before it.
    pub propensities: Vec<f64>,
    /// The target's probability of the same.
    pub target: Vec<f64>,
    /// Probability with which each stood at its place, whatever stood elsewhere, as far as known; may be shorter.
    pub position_propensities: Vec<Option<f64>>,
    /// The target's probability of the same, if known.
    pub position_target: Option<Vec<f64>>,
    /// What came of each.
    pub rewards: Vec<f64>,
}

/// The log of the first `positions` places of slates, with this policy as target, and with a reward model by position learnt as `model` says, if that is asked for.
/// What cannot be known is absent with the reason, and the estimators that need it refuse.
///
/// # Errors
/// Names the slate that is too short, shows what is no candidate or shows one twice, or has a score or propensity that cannot be; a reward model that cannot be learnt
/// as configured.
pub fn recorded_log(
    slates: &[RecordedSlate],
    positions: usize,
    policy: ScorePolicy,
    model: Option<&RewardModelConfig>,
) -> Result<SlateLog, LogError> {
    let judged = judged_slates(slates, positions, policy)?;
    let mut log = assembled(&judged, positions, NO_INTEGRAL)?;
    log = with_even_draws(log, slates, policy)?;
    let Some(config) = model else {
        return Ok(log);
    };
    if slates.len() < config.folds {
        let (n, folds) = (slates.len(), config.folds);
        log.absent.model = Some(format!(
            "a reward model by position: {n} slates are too few to learn one in {folds} parts"
        ));
        return Ok(log);
    }
    let (logged, target) = choices::guesses(slates, positions, policy, config)?;
    log = log.with_model(logged, target)?;
    log.model_from = Some(config.told());
    Ok(log)
}

/// The first `positions` places of slates with what this policy gives them.
///
/// # Errors
/// As [`recorded_log`].
pub fn judged_slates(
    slates: &[RecordedSlate],
    positions: usize,
    policy: ScorePolicy,
) -> Result<Vec<JudgedSlate>, LogError> {
    let chunks = numeric::parallel_chunks(slates.len(), CHUNK, |range| {
        let rows = range.map(|row| judged_slate(row, &slates[row], positions, policy));
        rows.collect::<Result<Vec<JudgedSlate>, LogError>>()
    });
    let chunks: Result<Vec<_>, _> = chunks.into_iter().collect();
    Ok(chunks?.into_iter().flatten().collect())
}

fn judged_slate(
    row: usize,
    slate: &RecordedSlate,
    positions: usize,
    policy: ScorePolicy,
) -> Result<JudgedSlate, LogError> {
    let fault = |field, got: String, expected| Err(wrong(field, Some(row), got, expected));
    let RecordedSlate {
        scores,
        unrecorded,
        shown,
        propensities,
        position_propensities,
        rewards,
    } = slate;
    if shown.len() < positions || rewards.len() < positions {
        return fault(
            "positions",
            shown.len().min(rewards.len()).to_string(),
            "as many as are judged, with propensities and rewards",
        );
    }
    if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
        return fault("score", score.to_string(), "a finite number");
    }
    if *unrecorded > 0 && policy.needs_all_scores() {
        return fault(
            "score",
            format!("{unrecorded} candidates without"),
            "the score of every candidate",
        );
    }
    let mut left = vec![true; scores.len()];
    let mut target = Vec::with_capacity(positions);
    let mut pairs = Vec::with_capacity(positions);
    for (position, place) in shown.iter().take(positions).enumerate() {
        let place = *place as usize;
        if left.get(place) != Some(&true) {
            return fault("shown", place.to_string(), "a candidate that is not shown yet");
        }
        target.push(policy.next(scores, *unrecorded, &left)[place]);
        pairs.push((place, position));
        left[place] = false;
    }
    Ok(JudgedSlate {
        propensities: propensities.clone(),
        position_target: policy.marginals(scores, *unrecorded, &pairs),
        target,
        position_propensities: position_propensities.clone(),
        rewards: rewards.clone(),
    })
}

/// With pseudo-inverse weights where the log shows that slates were drawn evenly from all candidates: of more than one position, that is all that single records can say about pairs of items.
fn with_even_draws(
    mut log: SlateLog,
    slates: &[RecordedSlate],
    policy: ScorePolicy,
) -> Result<SlateLog, LogError> {
    let positions = log.n_positions();
    if positions == 1 {
        return Ok(log);
    }
    let is_even = |slate: &RecordedSlate| {
        let m = slate.scores.len() as f64 + f64::from(slate.unrecorded);
        let drawn = slate.propensities.iter().take(positions).enumerate();
        drawn
            .map(|(at, p)| p * (m - at as f64) - 1.0)
            .all(|off| off.abs() < EVEN_SLACK)
    };
    let uneven = slates.iter().filter(|slate| !is_even(slate)).count();
    if uneven > 0 {
        log.absent.pseudo_inverse = Some(format!(
            "the probability of every pair of items at every pair of positions, which pseudo-inverse weights are made of: a decision records it only if its slate was drawn evenly from all candidates (policy epsilon-greedy with epsilon = 1 and a pool that holds them all), and {uneven} of {} were not",
            slates.len()
        ));
        return Ok(log);
    }
    let weight = |slate: &RecordedSlate| {
        let shown: Vec<usize> = (slate.shown.iter().take(positions))
            .map(|place| *place as usize)
            .collect();
        let pairs: Vec<(usize, usize)> = (shown.iter())
            .flat_map(|place| (0..positions).map(move |position| (*place, position)))
            .collect();
        let found = policy.marginals(&slate.scores, slate.unrecorded, &pairs)?;
        let rows = found.chunks_exact(positions).enumerate();
        let known: Vec<(f64, f64)> = rows.map(|(at, own)| (own[at], own.iter().sum())).collect();
        Some(even_weight(
            slate.scores.len() + slate.unrecorded as usize,
            &known,
        ))
    };
    let weights = numeric::parallel_chunks(slates.len(), CHUNK, |range| {
        range.map(|row| weight(&slates[row])).collect::<Vec<_>>()
    });
    let weights: Option<Vec<f64>> = weights.into_iter().flatten().collect();
    match weights {
        Some(weights) => log.with_pseudo_inverse_weights(weights),
        None => {
            log.absent.pseudo_inverse = Some(NO_INTEGRAL.to_owned());
            Ok(log)
        }
    }
}

const NO_INTEGRAL: &str = "the target's probability of items at their positions: softmax has it for up to 64 positions and scores that are not too far apart for its temperature; judge a higher temperature, or greedy";

/// The log of the first `positions` places of slates whose target probabilities are known.
///
/// # Errors
/// Names the slate that is too short or has a probability that cannot be.
pub fn judged_log(slates: &[JudgedSlate], positions: usize) -> Result<SlateLog, LogError> {
    let mut log = assembled(slates, positions, NO_CLOSED_FORM)?;
    log.absent.model = Some(format!("a reward model by position: {ONLY_THE_SHOWN}"));
    if positions > 1 {
        log.absent.pseudo_inverse = Some(format!(
            "the probability of every pair of items at every pair of positions: {ONLY_THE_SHOWN}"
        ));
    }
    Ok(log)
}

const ONLY_THE_SHOWN: &str = "of another configuration only the probability of what was shown is known";
const NO_CLOSED_FORM: &str = "the target's probability of items at their positions: it has none in closed form, as policy thompson, new_items and slates of more than 20 have none; judge another policy, or leave new_items out";

/// `why` there is no probability of items at their positions under the target, where that is so.
fn assembled(slates: &[JudgedSlate], positions: usize, why: &str) -> Result<SlateLog, LogError> {
    let mut rewards = Vec::with_capacity(slates.len() * positions);
    let (mut logging, mut target) = (Vec::new(), Vec::new());
    for (row, slate) in slates.iter().enumerate() {
        let lengths = [slate.propensities.len(), slate.target.len(), slate.rewards.len()];
        let shortest = lengths.into_iter().min().unwrap_or(0);
        if shortest < positions {
            let expected = "as many as are judged, with propensities and rewards";
            return Err(wrong("positions", Some(row), shortest.to_string(), expected));
        }
        let (mut by_log, mut by_target) = (1.0, 1.0);
        for at in 0..positions {
            by_log *= slate.propensities[at];
            by_target *= slate.target[at];
            logging.push(by_log);
            target.push(by_target);
            rewards.push(slate.rewards[at]);
        }
    }
    let last = |prefixes: &[f64]| {
        prefixes
            .chunks_exact(positions.max(1))
            .filter_map(|p| p.last().copied())
            .collect()
    };
    let (slates_logging, slates_target) = (last(&logging), last(&target));
    let log = SlateLog::new(positions, rewards)?.with_slates(slates_logging, slates_target)?;
    let mut log = log.with_prefixes(logging, target)?;
    match marginals(slates, positions, why) {
        Ok((logging, target)) => log.with_marginals(logging, target),
        Err(why) => {
            log.absent.marginal = Some(why);
            Ok(log)
        }
    }
}

/// Probabilities of items at their positions, by slate and position, or why they are not known. At the first position that is the probability of the choice, and what is certain
/// with all that stands above it is certain.
fn marginals(slates: &[JudgedSlate], positions: usize, why: &str) -> Result<(Vec<f64>, Vec<f64>), String> {
    let (mut logging, mut target) = (Vec::new(), Vec::new());
    let (mut without, mut unknown) = (0, 0);
    for slate in slates {
        let mut is_certain = true;
        let recorded = (0..positions).map(|at| {
            let p = slate.propensities[at];
            is_certain &= p == 1.0;
            let known = slate.position_propensities.get(at).copied().flatten();
            known.or((at == 0 || is_certain).then_some(p))
        });
        let recorded: Option<Vec<f64>> = recorded.collect();
        let wanted = match (&slate.position_target, positions) {
            (Some(known), _) => known.get(..positions),
            (None, 1) => slate.target.get(..1),
            (None, _) => None,
        };
        without += usize::from(recorded.is_none());
        unknown += usize::from(wanted.is_none());
        logging.extend(recorded.into_iter().flatten());
        target.extend(wanted.into_iter().flatten());
    }
    let n = slates.len();
    if without > 0 {
        return Err(format!(
            "the probability of items at their positions whatever stood elsewhere in {without} of {n} decisions: position_propensity is recorded by policies with a closed form, for slates of up to 20 and without quotas and new_items"
        ));
    }
    if unknown > 0 {
        return Err(format!("{why} ({unknown} of {n} decisions)"));
    }
    Ok((logging, target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, judge_slates};
    use numeric::SeededStream;

    /// Slates of two, drawn by ε-greedy with ε = 0.5; candidate i is clicked with 0.1 (i + 1) at either place, and scores are 0, 1, 2, 3.
    fn drawn(n: usize) -> Vec<RecordedSlate> {
        let mut stream = SeededStream::new(3, 0);
        let scores = vec![3.0, 2.0, 1.0, 0.0];
        let logging = ScorePolicy::Epsilon(0.5);
        let slate = |_| {
            let mut out = RecordedSlate {
                scores: scores.clone(),
                ..RecordedSlate::default()
            };
            let mut left = [true; 4];
            for _ in 0..2 {
                let mut u = stream.uniform();
                let chances = logging.next(&scores, 0, &left);
                let mut at = 0;
                while at < 3 && (u >= chances[at] || !left[at]) {
                    u -= chances[at];
                    at += 1;
                }
                left[at] = false;
                out.shown.push(at as u32);
                out.propensities.push(chances[at]);
                out.rewards
                    .push(f64::from(u8::from(stream.uniform() < 0.1 * (4 - at) as f64)));
            }
            out
        };
        (0..n).map(slate).collect()
    }

    #[test]
    fn first_choices_serve_estimators_of_one_action() {
        let slates = drawn(20_000);
        let names = ["ips", "snips", "dm", "dr", "sndr", "switch_dr:100", "dros:100"];
        // The first place alone: greedy earns 0.4, an even choice 0.25.
        for (policy, truth) in [
            (ScorePolicy::Greedy, 0.4),
            (ScorePolicy::Uniform, 0.25),
            (ScorePolicy::Softmax(1.0), 0.0),
        ] {
            let truth = if truth > 0.0 {
                truth
            } else {
                let all: f64 = (0..4).map(|at| (-f64::from(at)).exp()).sum();
                (0..4)
                    .map(|at| (-f64::from(at)).exp() / all * 0.1 * f64::from(4 - at))
                    .sum()
            };
            let log = first_choices(&slates, policy).expect("the slates are right");
            let report = crate::judge(&log, &names, &Options::default()).expect("a right request");
            assert_eq!(report.estimates.len(), names.len(), "{:?}", report.refused);
            let plain = recorded_log(&slates, 1, policy, None).expect("the slates are right");
            let slate_names = ["standard_ips", "independent_ips", "pseudo_inverse"];
            let slate = judge_slates(&plain, &slate_names, &Options::default()).expect("a right request");
            for e in &report.estimates {
                assert!(
                    (e.value - truth).abs() < 4.0 * e.intervals.standard_error + 0.001,
                    "{policy:?}: {e:?}"
                );
            }
            for e in &slate.estimates {
                assert!(
                    (e.value - report.estimates[0].value).abs() < 1e-12,
                    "{}",
                    e.estimator
                );
            }
            assert_eq!(slate.estimates.len(), 3);
            // What is known of the shown alone gives the same weights, and no reward model.
            let judged = judged_slates(&slates, 1, policy).expect("the slates are right");
            let thin = judged_choices(&judged).expect("the slates are right");
            let thin = crate::judge(&thin, &["ips", "dr"], &Options::default()).expect("a right request");
            assert!((thin.estimates[0].value - report.estimates[0].value).abs() < 1e-12);
            assert!(
                thin.refused[0].reason.contains("probabilities of all actions"),
                "{thin:?}"
            );
        }
        // Candidates that are not in the record are one more action.
        let part: Vec<RecordedSlate> = slates
            .iter()
            .map(|slate| RecordedSlate {
                unrecorded: 4,
                ..slate.clone()
            })
            .collect();
        let log = first_choices(&part, ScorePolicy::Uniform).expect("the slates are right");
        assert_eq!(log.n_actions(), 5);
        let row = &log.target().expect("all actions")[..5];
        assert!(
            row[..4].iter().all(|p| (p - 0.125).abs() < 1e-12) && (row[4] - 0.5).abs() < 1e-12,
            "{row:?}"
        );
    }

    #[test]
    fn values_of_policies_are_found_and_a_greedy_log_is_refused() {
        let slates = drawn(20_000);
        // Greedy shows the first two: 0.4 + 0.3. Uniform: twice the mean of 0.1 to 0.4.
        for (policy, truth) in [(ScorePolicy::Greedy, 0.7), (ScorePolicy::Uniform, 0.5)] {
            let log = recorded_log(&slates, 2, policy, None).expect("the slates are right");
            let names = ["standard_ips", "sn_standard_ips", "reward_interaction_ips"];
            let report = judge_slates(&log, &names, &Options::default()).expect("a right request");
            assert_eq!(report.estimates.len(), 3, "{:?}", report.refused);
            for e in &report.estimates {
                let error = e.intervals.standard_error;
                assert!(
                    (e.value - truth).abs() < 4.0 * error && error < 0.02,
                    "{policy:?}: {e:?}"
                );
            }
        }
        let sure: Vec<RecordedSlate> = slates
            .iter()
            .map(|slate| RecordedSlate {
                shown: vec![0, 1],
                propensities: vec![1.0, 1.0],
                ..slate.clone()
            })
            .collect();
        let log = recorded_log(&sure, 2, ScorePolicy::Uniform, None).expect("the slates are right");
        let report = judge_slates(&log, &["standard_ips"], &Options::default()).expect("a right request");
        assert!(
            report.refused[0].reason.starts_with("support is missing"),
            "{report:?}"
        );
        let twice = RecordedSlate {
            shown: vec![1, 1],
            ..sure[0].clone()
        };
        let told = recorded_log(&[twice], 2, ScorePolicy::Greedy, None).expect_err("shown twice");
        assert!(told.to_string().starts_with("shown, round 0: got 1"), "{told}");
        assert!(recorded_log(&sure, 3, ScorePolicy::Greedy, None).is_err());
        let part = RecordedSlate {
            unrecorded: 5,
            ..sure[0].clone()
        };
        assert!(recorded_log(std::slice::from_ref(&part), 2, ScorePolicy::Greedy, None).is_ok());
        assert!(recorded_log(&[part], 2, ScorePolicy::Softmax(1.0), None).is_err());
    }
}
