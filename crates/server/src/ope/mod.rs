//! Judging a policy, over HTTP: from rounds that are sent, or from the decisions of this server.

use crate::schemas::{count, flag, number, object, or_null, text, texts};
use ::ope::{
    Assumption, IntervalKind, JudgedSlate, Log, LogError, Options, Range, RecordedSlate, Report,
    RequestError, RewardKind, RewardModelConfig, ScorePolicy, Tuning, estimator, first_choices, judge,
    judge_slates, judged_choices, judged_log, judged_slates, slate_estimator,
};
use assembly::{JoinReport, JoinRequest, Problem, ReplayRequest, Service, ServiceError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most rounds times actions.
const CELLS_MAX: usize = 5_000_000;
/// Most rounds times resamples.
const DRAWS_MAX: usize = 200_000_000;
/// Most resamples.
const RESAMPLES_MAX: usize = 10_000;
/// Most of (rounds + actions × features) × features², which is what learning a reward model costs.
const MODEL_COST_MAX: usize = 20_000_000;
/// Most estimators in a request.
const ESTIMATORS_MAX: usize = 50;

/// One round.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Round {
    action: String,
    reward: f64,
    propensity: Option<f64>,
    #[serde(default)]
    target: BTreeMap<String, f64>,
    #[serde(default)]
    logging: BTreeMap<String, f64>,
    #[serde(default)]
    model: BTreeMap<String, f64>,
    #[serde(default)]
    features: Vec<f64>,
}

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

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpeRequest {
    #[serde(default)]
    rounds: Vec<Round>,
    decisions: Option<DecisionsRequest>,
    #[serde(default)]
    estimators: Vec<String>,
    assume_propensities: Option<Assumption>,
    reward_model: Option<RewardKind>,
    tuning: Option<Tuning>,
    interval: Option<IntervalKind>,
    level: Option<f64>,
    reward_range: Option<[f64; 2]>,
    support_tolerance: Option<f64>,
    resamples: Option<usize>,
    #[serde(default)]
    seed: u64,
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

fn request_problem(e: RequestError) -> Problem {
    Problem::new(e.field, e.got, e.expected)
}

fn log_problem(e: LogError) -> Problem {
    let field = match e.row {
        Some(row) => format!("rounds[{row}].{}", e.field),
        None => e.field.to_owned(),
    };
    Problem::new(field, e.got, e.expected)
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
        (Some(policy), None) => by_scores(service, request, ScorePolicy::parse(policy).map_err(input)?)?,
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
        judged,
        single,
        join,
        short,
        cut,
        gone,
    } = slates;
    if judged.is_empty() {
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
    within_draws(judged.len(), options).map_err(ServiceError::Input)?;
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
    let report = reported(request.positions, (&judged, single), estimators, options)?;
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
    positions: usize,
    (judged, single): (&[JudgedSlate], Option<Log>),
    estimators: &[String],
    options: &Options,
) -> Result<Report, ServiceError> {
    let input = |e: RequestError| ServiceError::Input(request_problem(e));
    let fault = |e: LogError| ServiceError::Input(log_problem(e));
    let of_slates = [
        "standard_ips",
        "sn_standard_ips",
        "reward_interaction_ips",
        "sn_reward_interaction_ips",
    ];
    let names: Vec<&str> = match (estimators, &single) {
        ([], None) => of_slates.to_vec(),
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
    let log = judged_log(judged, positions).map_err(fault)?;
    let slates = judge_slates(&log, &of_slates, options).map_err(input)?;
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
        let got = format!("{:?} over {positions} positions", of_one[0]);
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
    judged: Vec<JudgedSlate>,
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
            rewards: slate.rewards,
        })
        .collect();
    let short = (all - slates.len()) as u64;
    let long = slates.len();
    slates.retain(|slate| slate.unrecorded == 0 || !policy.needs_all_scores());
    let cut = (long - slates.len()) as u64;
    let fault = |e: LogError| ServiceError::Input(log_problem(e));
    let judged = judged_slates(&slates, request.positions, policy).map_err(fault)?;
    let single = request.positions == 1 && !slates.is_empty();
    let single = single.then(|| first_choices(&slates, policy)).transpose();
    Ok(Slates {
        judged,
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
            target,
            rewards: slate.rewards,
        })
        .collect();
    let single = request.positions == 1 && !judged.is_empty();
    let single = single.then(|| judged_choices(&judged)).transpose();
    Ok(Slates {
        short: (all - judged.len()) as u64,
        single: single.map_err(|e| ServiceError::Input(log_problem(e)))?,
        judged,
        join,
        cut: 0,
        gone,
    })
}

fn within_draws(rounds: usize, options: &Options) -> Result<(), Problem> {
    let draws = rounds.saturating_mul(options.bootstrap_rounds);
    if draws > DRAWS_MAX {
        let got = format!("{} resamples of {rounds} rounds", options.bootstrap_rounds);
        let expected = format!("at most {DRAWS_MAX} draws in all");
        return Err(Problem::new("resamples", got, expected));
    }
    Ok(())
}

impl OpeRequest {
    fn options(&self) -> Result<Options, Problem> {
        let usual = Options::default();
        let bootstrap_rounds = self.resamples.unwrap_or(usual.bootstrap_rounds);
        if bootstrap_rounds > RESAMPLES_MAX {
            let expected = format!("at most {RESAMPLES_MAX}");
            return Err(Problem::new("resamples", bootstrap_rounds.to_string(), expected));
        }
        if self.estimators.len() > ESTIMATORS_MAX {
            let expected = format!("at most {ESTIMATORS_MAX}");
            return Err(Problem::new(
                "estimators",
                format!("{} of them", self.estimators.len()),
                expected,
            ));
        }
        Ok(Options {
            level: self.level.unwrap_or(usual.level),
            interval: self.interval.unwrap_or(usual.interval),
            bootstrap_rounds,
            seed: self.seed,
            reward_range: self.reward_range.map(|[low, high]| Range { low, high }),
            support_tolerance: self.support_tolerance.unwrap_or(usual.support_tolerance),
            assume_propensities: self.assume_propensities,
            tuning: self.tuning.unwrap_or(usual.tuning),
            reward_model: RewardModelConfig {
                kind: self.reward_model.unwrap_or(RewardKind::Ridge),
                seed: self.seed,
                ..usual.reward_model
            },
        })
    }

    /// The log of the rounds that were sent.
    fn log(&self) -> Result<Log, Problem> {
        let rounds = &self.rounds;
        let names: BTreeSet<&str> = rounds
            .iter()
            .flat_map(|round| {
                let told = [&round.target, &round.logging, &round.model];
                let told = told.into_iter().flat_map(|map| map.keys().map(String::as_str));
                told.chain([round.action.as_str()])
            })
            .collect();
        let numbers: BTreeMap<&str, u32> = names.iter().copied().zip(0..).collect();
        let n_actions = numbers.len();
        let features = rounds.first().map_or(0, |round| round.features.len());
        if rounds.len().saturating_mul(n_actions) > CELLS_MAX {
            let got = format!("{} rounds with {n_actions} actions", rounds.len());
            return Err(Problem::new(
                "rounds",
                got,
                format!("at most {CELLS_MAX} of both multiplied"),
            ));
        }
        let cost = n_actions.saturating_mul(features).saturating_add(rounds.len());
        if cost.saturating_mul(features.saturating_mul(features)) > MODEL_COST_MAX {
            let got = format!(
                "{} rounds with {n_actions} actions and {features} features",
                rounds.len()
            );
            return Err(Problem::new("rounds[0].features", got, "fewer features"));
        }
        let matrix = |of: fn(&Round) -> &BTreeMap<String, f64>| {
            let mut out = vec![0.0; rounds.len() * n_actions];
            for (row, round) in out.chunks_exact_mut(n_actions.max(1)).zip(rounds) {
                for (name, value) in of(round) {
                    if let Some(cell) = numbers
                        .get(name.as_str())
                        .and_then(|at| row.get_mut(*at as usize))
                    {
                        *cell = *value;
                    }
                }
            }
            out
        };
        let actions = rounds
            .iter()
            .filter_map(|round| numbers.get(round.action.as_str()).copied());
        let rewards = rounds.iter().map(|round| round.reward).collect();
        let labels = names.iter().map(|name| (*name).to_owned()).collect();
        let mut log = Log::new(n_actions, rewards, actions.collect(), matrix(|r| &r.target))
            .and_then(|log| log.with_labels(labels))
            .map_err(log_problem)?;
        if self.all("propensity", |round| round.propensity.is_some())? {
            let told = rounds.iter().filter_map(|round| round.propensity).collect();
            log = log.with_propensities(told).map_err(log_problem)?;
        }
        if self.all("logging", |round| !round.logging.is_empty())? {
            log = log.with_logging(matrix(|r| &r.logging)).map_err(log_problem)?;
        }
        if self.all("model", |round| !round.model.is_empty())? {
            self.all("model", |round| round.model.len() == n_actions)?
                .then_some(())
                .ok_or_else(|| Problem::new("rounds[0].model", "some actions", "a guess for every action"))?;
            log = log.with_model(matrix(|r| &r.model)).map_err(log_problem)?;
        }
        if self.all("features", |round| round.features.len() == features)? && features > 0 {
            let told = rounds.iter().flat_map(|round| round.features.iter().copied());
            log = log.with_contexts(features, told.collect()).map_err(log_problem)?;
        }
        Ok(log)
    }

    /// Whether all rounds have something; none may if the first has not.
    fn all(&self, field: &str, has: impl Fn(&Round) -> bool) -> Result<bool, Problem> {
        let first = self.rounds.first().is_some_and(&has);
        match self.rounds.iter().position(|round| has(round) != first) {
            None => Ok(first),
            Some(row) => Err(Problem::new(
                format!("rounds[{row}].{field}"),
                "something else than in the first round",
                "the same in all rounds",
            )),
        }
    }

    /// The report.
    pub(crate) fn answer(&self, service: &Service, rows_max: usize) -> Result<Value, ServiceError> {
        let options = self.options().map_err(ServiceError::Input)?;
        let told = match (&self.decisions, self.rounds.len()) {
            (Some(decisions), 0) => {
                serde_json::to_value(judge_decisions(service, decisions, &self.estimators, &options)?)
            }
            (None, rounds) if rounds > 0 && rounds <= rows_max => {
                within_draws(rounds, &options).map_err(ServiceError::Input)?;
                let log = self.log().map_err(ServiceError::Input)?;
                let report = if self.estimators.is_empty() {
                    let names: Vec<&str> = ::ope::estimators().iter().map(|entry| entry.name).collect();
                    judge(&log, &names, &options)
                } else {
                    judge(&log, &self.estimators, &options)
                };
                serde_json::to_value(report.map_err(|e| ServiceError::Input(request_problem(e)))?)
            }
            (Some(_), _) => {
                return Err(ServiceError::input(
                    "decisions",
                    "rounds and decisions",
                    "one of them",
                ));
            }
            (None, rounds) => {
                let expected = format!("1 to {rows_max} rounds, or decisions");
                return Err(ServiceError::input(
                    "rounds",
                    format!("{rounds} rounds"),
                    expected,
                ));
            }
        };
        told.map_err(|e| ServiceError::input("rounds", e.to_string(), "numbers that can be told"))
    }
}

fn numbers(what: &str) -> Value {
    json!({"type": "object", "additionalProperties": {"type": "number"}, "description": what})
}

fn range() -> Value {
    object(
        &["low", "high"],
        json!({"low": number("Lower end"), "high": number("Upper end")}),
    )
}

fn choice(of: &[&str], what: &str) -> Value {
    json!({"type": ["string", "null"], "description": format!("{what}: {}", of.join(", "))})
}

/// The form of the request.
pub(crate) fn request_schema() -> Value {
    let round = object(
        &["action", "reward"],
        json!({
            "action": text("What was chosen"), "reward": number("What came of it"),
            "propensity": or_null(number("Probability with which it was chosen")),
            "target": numbers("The target's probability by action; 0 for those not named"),
            "logging": numbers("The logging policy's probability by action"),
            "model": numbers("A guess of the reward of every action"),
            "features": {"type": "array", "items": {"type": "number"}, "description": "To learn such guesses from"},
        }),
    );
    let join = object(
        &["placement", "rewards"],
        json!({"placement": text("Decisions of which placement"), "rewards": numbers("Worth by type of event"),
            "window_hours": or_null(number("Hours after a decision in which events count; those of the configuration if absent"))}),
    );
    let mut decisions = object(
        &["join", "positions"],
        json!({"join": join, "policy": or_null(text("greedy, uniform, epsilon:SHARE or softmax:TEMPERATURE over the recorded scores; or else under")),
            "under": {"type": ["object", "null"], "description": "As the body of a replay: a configuration under which every decision is made again up to the choice"},
            "positions": count("Places of each slate, from the top")}),
    );
    decisions["type"] = json!(["object", "null"]);
    object(
        &[],
        json!({
            "rounds": {"type": "array", "items": round, "description": "A log, instead of decisions"},
            "decisions": decisions,
            "estimators": texts("By name, with a parameter behind a colon if it is not to be tuned; all that fit if absent"),
            "assume_propensities": choice(&["frequencies", "uniform"], "What to assume where there are none"),
            "reward_model": choice(&["ridge", "logistic"], "What is learnt where no model is given"),
            "tuning": choice(&["mean_square", "slope"], "How parameters are chosen"),
            "interval": choice(&["bootstrap", "normal", "bernstein", "few_events"], "Which is told first; few_events instead of the first two where few rounds are rewarded"),
            "level": or_null(number("Level of intervals; 0.95 if absent")),
            "reward_range": {"type": ["array", "null"], "items": {"type": "number"}, "description": "Least and most that a reward can be"},
            "support_tolerance": or_null(number("Share of the target's choices that may be without support; 0.001 if absent")),
            "resamples": {"type": ["integer", "null"], "minimum": 2, "description": "Of the bootstrap; 1,000 if absent"},
            "seed": count("Seed"),
        }),
    )
}

/// The form of the answer.
pub(crate) fn report_schema() -> Value {
    let mut bernstein = range();
    bernstein["properties"]["guaranteed"] = flag("Whether it holds for certain");
    let intervals = object(
        &["standard_error", "bootstrap", "normal", "bernstein"],
        json!({"standard_error": number("Of the linearised estimate"), "bootstrap": range(), "normal": range(), "bernstein": bernstein,
            "few_events": {"type": ["object", "null"], "description": "For few rewarded rounds: low, high, how many events, how many equal ones they are worth; none without weights"}}),
    );
    let estimate = object(
        &[
            "estimator",
            "value",
            "low",
            "high",
            "interval",
            "effective_sample_size",
            "propensities",
            "intervals",
            "warnings",
        ],
        json!({
            "interval": text("Which interval low and high are"),
            "estimator": text("As it was asked for"), "value": number("The estimate"),
            "low": number("Lower end of the interval"), "high": number("Upper end"),
            "effective_sample_size": number("Equal rounds that are worth as much"),
            "propensities": or_null(text("logged, estimated, assumed or missing; null where none were used")),
            "intervals": intervals, "interval_of": or_null(text("The estimator without bias that the intervals are of")),
            "sampling": or_null(range()),
            "parameter": {"type": ["object", "null"]}, "weights": {"type": ["object", "null"]},
            "warnings": texts("What to know before relying on it"),
        }),
    );
    let refused = object(
        &["estimator", "reason"],
        json!({"estimator": text("As it was asked for"), "reason": text("Why it would not answer")}),
    );
    object(
        &[
            "rounds",
            "actions",
            "logged_value",
            "propensities",
            "level",
            "interval",
            "seed",
            "estimates",
            "refused",
        ],
        json!({
            "rounds": count("Rounds, or slates"), "actions": count("Actions, or positions"),
            "logged_value": number("What the logging policy earned a round"),
            "propensities": text("logged, estimated, assumed or missing"),
            "reward_model": or_null(text("Where it comes from")), "level": number("Of intervals"),
            "interval": text("Which one is told first"), "seed": count("Seed"),
            "support": {"type": ["object", "null"], "description": "What the log can say about the target"},
            "estimates": {"type": "array", "items": estimate}, "refused": {"type": "array", "items": refused},
            "join": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "What was joined and left out"},
            "short": count("Decisions with fewer places"), "cut": count("Decisions without the scores of all candidates"),
            "notes": texts("What to know of the request"),
            "gone": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "Decisions that cannot be made again, by the input that is gone"},
        }),
    )
}
