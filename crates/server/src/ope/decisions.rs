//! Judging a policy from the decisions of this server.

use super::{log_problem, request_problem, within_draws};
use ::ope::{
    JudgedSlate, Log, LogError, Options, RecordedSlate, Report, RequestError, RewardModelConfig, ScorePolicy,
    SlateLog, estimator, first_choices, judge, judge_slates, judged_choices, judged_log, recorded_log,
    slate_estimator,
};
use assembly::{JoinReport, JoinRequest, ReplayRequest, Service, ServiceError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Decisions of the server to judge from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionsRequest {
    /// Which, and what counts.
    pub join: JoinRequest,
    /// `greedy`, `uniform`, `epsilon:SHARE` or `softmax:TEMPERATURE` over the recorded scores; or else `under`.
    #[serde(default)]
    pub policy: Option<String>,
    /// Another configuration of the placement, or today's models, under which every decision is made again up to the choice.
    #[serde(default)]
    pub under: Option<ReplayRequest>,
    /// How many places of each slate, from the top; decisions that showed fewer are left out.
    pub positions: usize,
}

/// A report over decisions, with the account of the join.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionsReport {
    /// What was joined and what was left out.
    pub join: JoinReport,
    /// Decisions left out because they showed fewer places than are judged.
    pub short: u64,
    /// Decisions left out because the policy needs the scores of all candidates, and the record has only the best.
    pub cut: u64,
    /// Decisions left out because they cannot be made again, by the input that is gone.
    pub gone: BTreeMap<String, u64>,
    /// What to know of the request.
    pub notes: Vec<String>,
    /// The estimates.
    #[serde(flatten)]
    pub report: Report,
}

/// Judges a policy from the decisions of a service. No estimator named means all that fit.
///
/// # Errors
/// A request that cannot be; a log that cannot be read.
pub fn judge_decisions(
    service: &Service,
    request: &DecisionsRequest,
    estimators: &[String],
    options: &Options,
) -> Result<DecisionsReport, ServiceError> {
    let input = |e: RequestError| ServiceError::Input(request_problem(e));
    if request.positions == 0 {
        return Err(ServiceError::input("positions", "0", "at least 1"));
    }
    let slates = match (&request.policy, &request.under) {
        (Some(policy), None) => {
            let policy = ScorePolicy::parse(policy).map_err(input)?;
            // Of a single place, all that fit are those of one action.
            let wants_model = match estimators {
                [] => request.positions > 1,
                asked => asked.iter().any(|name| name.trim().ends_with("cascade_dr")),
            };
            let model = wants_model.then_some(&options.reward_model);
            by_scores(service, request, policy, model)?
        }
        (None, Some(under)) => by_replay(service, request, under)?,
        (policy, _) => {
            let got = if policy.is_some() {
                "policy and under"
            } else {
                "neither policy nor under"
            };
            return Err(ServiceError::input("policy", got, "one of them"));
        }
    };
    let Slates {
        log,
        single,
        join,
        short,
        cut,
        gone,
    } = slates;
    if log.n_slates() == 0 {
        let all_scores = if cut > 0 {
            let policy = request.policy.as_deref().unwrap_or_default();
            format!(
                "; {policy} needs the score of every candidate: set placements.record.considered to as many as a decision has, for decisions to come, or judge greedy, uniform or epsilon:SHARE, or under with a policy of the placement"
            )
        } else {
            String::new()
        };
        let expected = format!(
            "at least one; left out: {} with an open window, {} filled up, {cut} without all scores, {short} too short, {} that cannot be made again{all_scores}",
            join.open,
            join.filled,
            gone.values().sum::<u64>()
        );
        let got = format!("no decision of {} to judge from", request.join.placement);
        return Err(ServiceError::input("decisions", got, expected));
    }
    within_draws(log.n_slates(), options).map_err(ServiceError::Input)?;
    let known = &service.config().event_types;
    let unknown = request
        .join
        .rewards
        .keys()
        .filter(|name| known.get(name).is_none());
    let notes = unknown.map(|name| {
        let known: Vec<&str> = known.0.keys().map(String::as_str).collect();
        format!(
            "rewards: got {name}, which is no event type of the configuration; there are {}",
            known.join(", ")
        )
    });
    let notes: Vec<String> = notes.collect();
    let report = reported((&log, single), estimators, options)?;
    Ok(DecisionsReport {
        join,
        short,
        cut,
        gone,
        notes,
        report,
    })
}

/// Estimators of slates, and for a single place those of one action too; estimates and refusals in the order asked for.
fn reported(
    (log, single): (&SlateLog, Option<Log>),
    estimators: &[String],
    options: &Options,
) -> Result<Report, ServiceError> {
    let input = |e: RequestError| ServiceError::Input(request_problem(e));
    // What can never answer such decisions is left out unless it is asked for by name.
    let fits = |name: &&str| match name.trim_start_matches("sn_") {
        "cascade_dr" => log.has_model(),
        "pseudo_inverse" => log.has_pseudo_inverse_weights(),
        _ => true,
    };
    let names: Vec<&str> = match (estimators, &single) {
        ([], None) => {
            let of_slates = ::ope::slate_estimators().iter().map(|entry| entry.name);
            of_slates.filter(fits).collect()
        }
        // Categories of items are not asked for, so there are no weights of categories.
        ([], Some(_)) => {
            let single = ::ope::estimators().iter().map(|entry| entry.name);
            single.filter(|name| *name != "mips").collect()
        }
        (asked, _) => asked.iter().map(String::as_str).collect(),
    };
    let (of_slates, of_one): (Vec<&str>, Vec<&str>) = names
        .iter()
        .copied()
        .partition(|name| slate_estimator(name).is_ok());
    let slates = judge_slates(log, &of_slates, options).map_err(input)?;
    if of_one.is_empty() {
        return Ok(slates);
    }
    if let Some(name) = of_one.iter().find(|name| estimator(name).is_err()) {
        let known = ::ope::slate_estimators().iter().map(|entry| entry.name);
        let known: Vec<&str> = known
            .chain(::ope::estimators().iter().map(|entry| entry.name))
            .collect();
        // A known name with a parameter that cannot be says so itself.
        if name.contains(':') {
            estimator(name).map_err(input)?;
        }
        let expected = format!("one of {}", known.join(", "));
        return Err(ServiceError::input("estimators", format!("{name:?}"), expected));
    }
    let Some(single) = single else {
        let got = format!("{:?} over {} positions", of_one[0], log.n_positions());
        let expected = "an estimator of slates, or positions 1, where estimators of one action can answer";
        return Err(ServiceError::input("estimators", got, expected));
    };
    let mut report = judge(&single, &of_one, options).map_err(input)?;
    report.estimates.extend(slates.estimates);
    report.refused.extend(slates.refused);
    let place = |told: &str| names.iter().position(|name| *name == told);
    report.estimates.sort_by_key(|e| place(&e.estimator));
    report.refused.sort_by_key(|r| place(&r.estimator));
    Ok(report)
}

/// Slates ready to be judged, and what was left out.
struct Slates {
    log: SlateLog,
    /// Their first places, if no others are judged.
    single: Option<Log>,
    join: JoinReport,
    short: u64,
    cut: u64,
    gone: BTreeMap<String, u64>,
}

/// Under a policy that chooses by the recorded scores.
fn by_scores(
    service: &Service,
    request: &DecisionsRequest,
    policy: ScorePolicy,
    model: Option<&RewardModelConfig>,
) -> Result<Slates, ServiceError> {
    let (joined, join) = service.joined(&request.join)?;
    let all = joined.len();
    let mut slates: Vec<RecordedSlate> = joined
        .into_iter()
        .filter(|slate| slate.shown.len() >= request.positions)
        .map(|slate| RecordedSlate {
            scores: slate.scores,
            unrecorded: slate.unrecorded,
            shown: slate.shown,
            propensities: slate.propensities,
            position_propensities: slate.position_propensities,
            rewards: slate.rewards,
        })
        .collect();
    let short = (all - slates.len()) as u64;
    let long = slates.len();
    slates.retain(|slate| slate.unrecorded == 0 || !policy.needs_all_scores());
    let cut = (long - slates.len()) as u64;
    let fault = |e: LogError| ServiceError::Input(log_problem(e));
    let log = recorded_log(&slates, request.positions, policy, model).map_err(fault)?;
    let single = request.positions == 1 && !slates.is_empty();
    let single = single.then(|| first_choices(&slates, policy)).transpose();
    Ok(Slates {
        log,
        single: single.map_err(fault)?,
        join,
        short,
        cut,
        gone: BTreeMap::new(),
    })
}

/// Under another configuration.
fn by_replay(
    service: &Service,
    request: &DecisionsRequest,
    under: &ReplayRequest,
) -> Result<Slates, ServiceError> {
    let (joined, join, gone) = service.joined_under(&request.join, under)?;
    let all = joined.len();
    let judged: Vec<JudgedSlate> = joined
        .into_iter()
        .filter(|(slate, _)| slate.shown.len() >= request.positions)
        .map(|(slate, target)| JudgedSlate {
            propensities: slate.propensities,
            target: target.conditionals,
            position_propensities: slate.position_propensities,
            position_target: target.marginals,
            rewards: slate.rewards,
        })
        .collect();
    let fault = |e: LogError| ServiceError::Input(log_problem(e));
    let single = request.positions == 1 && !judged.is_empty();
    let single = single.then(|| judged_choices(&judged)).transpose();
    Ok(Slates {
        short: (all - judged.len()) as u64,
        single: single.map_err(fault)?,
        log: judged_log(&judged, request.positions).map_err(fault)?,
        join,
        cut: 0,
        gone,
    })
}
