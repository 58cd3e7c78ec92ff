//! Policies that choose by recorded scores, judged from slates whose candidates, scores and propensities were written down.
//!
//! A recorded slate says which candidates there were, what each scored, what was shown, and with which probability each item stood at its place, given those
//! before it. A [`ScorePolicy`] gives its own probability of the same choices, place by place, without replacement: `greedy`, `uniform`,
//! ε-greedy, or Plackett–Luce over scores (`softmax`). From both follow the probabilities of prefixes and of whole slates, and with them the
//! estimators that need no marginals. Cost: slates × positions × candidates.
//!
//! What it does not know: rules that reorder a slate after scoring. A policy here orders by score alone.

use crate::log::{LogError, wrong};
use crate::{Log, RequestError, SlateLog};

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
    /// What came of each.
    pub rewards: Vec<f64>,
}

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

    /// Probability of a candidate among those that are left.
    fn chance(self, scores: &[f64], unrecorded: u32, left: &[bool], place: usize) -> f64 {
        let open = || (0..scores.len()).filter(|at| left[*at]);
        let even = || 1.0 / (open().count() as f64 + f64::from(unrecorded)).max(1.0);
        let best = || open().reduce(|best, at| if scores[at] > scores[best] { at } else { best });
        let greedy = || f64::from(u8::from(best() == Some(place)));
        match self {
            ScorePolicy::Greedy => greedy(),
            ScorePolicy::Uniform => even(),
            ScorePolicy::Epsilon(share) => (1.0 - share) * greedy() + share * even(),
            ScorePolicy::Softmax(temperature) => {
                let most = best().map_or(0.0, |at| scores[at]);
                let weight = |at: usize| ((scores[at] - most) / temperature).exp();
                weight(place) / open().map(weight).sum::<f64>()
            }
        }
    }
}

/// The log of the first `positions` places of slates, with this policy as target.
///
/// # Errors
/// Names the slate that is too short, shows what is no candidate or shows one twice, or has a score or propensity that cannot be.
pub fn recorded_log(
    slates: &[RecordedSlate],
    positions: usize,
    policy: ScorePolicy,
) -> Result<SlateLog, LogError> {
    judged_log(&judged_slates(slates, positions, policy)?, positions)
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
    let mut judged = Vec::with_capacity(slates.len());
    for (row, slate) in slates.iter().enumerate() {
        let fault = |field, got: String, expected| Err(wrong(field, Some(row), got, expected));
        let RecordedSlate {
            scores,
            unrecorded,
            shown,
            propensities,
            rewards,
        } = slate;
        if shown.len() < positions {
            return fault(
                "positions",
                shown.len().to_string(),
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
        for place in shown.iter().take(positions) {
            let place = *place as usize;
            if left.get(place) != Some(&true) {
                return fault("shown", place.to_string(), "a candidate that is not shown yet");
            }
            target.push(policy.chance(scores, *unrecorded, &left, place));
            left[place] = false;
        }
        judged.push(JudgedSlate {
            propensities: propensities.clone(),
            target,
            rewards: rewards.clone(),
        });
    }
    Ok(judged)
}

/// The first places of slates as a log with one action each, for estimators that need one. Candidates differ from slate to slate, so an action is a place
/// in the order of scores: the best, the second and so on, and beyond them all that are not in the record. Reward models are learnt by that place, from the
/// number of candidates and the best, mean and spread of their scores.
///
/// # Errors
/// As [`recorded_log`].
pub fn first_choices(slates: &[RecordedSlate], policy: ScorePolicy) -> Result<Log, LogError> {
    let judged = judged_slates(slates, 1, policy)?;
    let widest = slates.iter().map(|slate| slate.scores.len()).max().unwrap_or(0);
    let beyond = slates.iter().any(|slate| slate.unrecorded > 0);
    let n_actions = widest + usize::from(beyond);
    let mut target = vec![0.0; slates.len() * n_actions];
    let (mut actions, mut rewards, mut contexts) = (Vec::new(), Vec::new(), Vec::new());
    for (slate, row) in slates.iter().zip(target.chunks_exact_mut(n_actions.max(1))) {
        let left = vec![true; slate.scores.len()];
        for (place, p) in row.iter_mut().enumerate().take(slate.scores.len()) {
            *p = policy.chance(&slate.scores, slate.unrecorded, &left, place);
        }
        if slate.unrecorded > 0 {
            let known: f64 = row.iter().sum();
            row[widest] = (1.0 - known).max(0.0);
        }
        actions.push(slate.shown[0]);
        rewards.push(slate.rewards[0]);
        let n = slate.scores.len() as f64 + f64::from(slate.unrecorded);
        let best = slate.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = numeric::mean(&slate.scores);
        let spread = if slate.scores.len() > 1 {
            numeric::variance(&slate.scores).sqrt()
        } else {
            0.0
        };
        contexts.extend([n.ln_1p(), best, mean, spread]);
    }
    let propensities = judged.iter().map(|slate| slate.propensities[0]).collect();
    Log::new(n_actions, rewards, actions, target)?
        .with_propensities(propensities)?
        .with_contexts(4, standardised(contexts, 4))
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

/// A slate as recorded, with what a policy of any kind gives it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JudgedSlate {
    /// Probability with which each item was shown, given those before it.
    pub propensities: Vec<f64>,
    /// The target's probability of the same.
    pub target: Vec<f64>,
    /// What came of each.
    pub rewards: Vec<f64>,
}

/// The log of the first `positions` places of slates whose target probabilities are known.
///
/// # Errors
/// Names the slate that is too short or has a probability that cannot be.
pub fn judged_log(slates: &[JudgedSlate], positions: usize) -> Result<SlateLog, LogError> {
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
    if positions > 1 {
        return log.with_prefixes(logging, target);
    }
    // With a single place, the item there is all there is to a slate.
    log.with_prefixes(logging.clone(), target.clone())?
        .with_marginals(logging, target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, judge_slates};
    use numeric::SeededStream;

    #[test]
    fn policies_are_distributions_over_slates_and_read_from_text() {
        let scores = [0.3, 2.0, 1.0, 2.0];
        for text in ["greedy", "uniform", "epsilon:0.3", "softmax:0.7"] {
            let policy = ScorePolicy::parse(text).expect("a policy");
            let mut sum = 0.0;
            for first in 0..4u32 {
                for second in (0..4u32).filter(|second| *second != first) {
                    let mut left = [true; 4];
                    let p = policy.chance(&scores, 0, &left, first as usize);
                    left[first as usize] = false;
                    sum += p * policy.chance(&scores, 0, &left, second as usize);
                }
            }
            assert!((sum - 1.0f64).abs() < 1e-12, "{text}: {sum}");
        }
        // Of equals the first: candidate 1, then 3.
        assert_eq!(ScorePolicy::Greedy.chance(&scores, 9, &[true; 4], 1), 1.0);
        assert_eq!(
            ScorePolicy::Greedy.chance(&scores, 0, &[true, false, true, true], 3),
            1.0
        );
        // Two of four are left, and six more that are not in the record.
        let epsilon = ScorePolicy::Epsilon(0.4);
        assert!((epsilon.chance(&scores, 6, &[true, false, true, false], 0) - 0.05).abs() < 1e-12);
        for bad in ["epsilon:2", "softmax:0", "softmax", "greedy:1", "best"] {
            assert!(ScorePolicy::parse(bad).is_err(), "{bad}");
        }
    }

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
                let chances: Vec<f64> = (0..4)
                    .map(|at| {
                        if left[at] {
                            logging.chance(&scores, 0, &left, at)
                        } else {
                            0.0
                        }
                    })
                    .collect();
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
            let plain = recorded_log(&slates, 1, policy).expect("the slates are right");
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
            let log = recorded_log(&slates, 2, policy).expect("the slates are right");
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
        let log = recorded_log(&sure, 2, ScorePolicy::Uniform).expect("the slates are right");
        let report = judge_slates(&log, &["standard_ips"], &Options::default()).expect("a right request");
        assert!(
            report.refused[0].reason.starts_with("support is missing"),
            "{report:?}"
        );
        let twice = RecordedSlate {
            shown: vec![1, 1],
            ..sure[0].clone()
        };
        let told = recorded_log(&[twice], 2, ScorePolicy::Greedy).expect_err("shown twice");
        assert!(told.to_string().starts_with("shown, round 0: got 1"), "{told}");
        assert!(recorded_log(&sure, 3, ScorePolicy::Greedy).is_err());
        let part = RecordedSlate {
            unrecorded: 5,
            ..sure[0].clone()
        };
        assert!(recorded_log(std::slice::from_ref(&part), 2, ScorePolicy::Greedy).is_ok());
        assert!(recorded_log(&[part], 2, ScorePolicy::Softmax(1.0)).is_err());
    }
}
