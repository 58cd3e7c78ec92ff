//! Judging a policy, over HTTP: from rounds or slates that are sent, or from the decisions of this server.

mod decisions;
mod rounds;
mod schema;
mod slates;

pub use decisions::{DecisionsReport, DecisionsRequest, judge_decisions};
pub(crate) use schema::{report_schema, request_schema};

use ::ope::{
    Assumption, IntervalKind, LogError, Options, Range, Report, RequestError, RewardKind, RewardModelConfig,
    Tuning, judge, judge_slates,
};
use assembly::{Problem, Service, ServiceError};
use rounds::Round;
use serde::Deserialize;
use serde_json::Value;
use slates::Slate;

/// Most rounds times resamples.
const DRAWS_MAX: usize = 200_000_000;
/// Most resamples.
const RESAMPLES_MAX: usize = 10_000;
/// Most estimators in a request.
const ESTIMATORS_MAX: usize = 50;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpeRequest {
    #[serde(default)]
    rounds: Vec<Round>,
    #[serde(default)]
    slates: Vec<Slate>,
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

    /// An option that what is judged has no use for.
    fn unused(&self) -> Result<(), Problem> {
        let assumed = ("assume_propensities", self.assume_propensities.is_some());
        let (tuned, learnt) = (
            ("tuning", self.tuning.is_some()),
            ("reward_model", self.reward_model.is_some()),
        );
        let (given, of) = match &self.decisions {
            Some(decisions) if decisions.positions > 1 => (vec![assumed, tuned], "slates of decisions"),
            Some(_) => (vec![assumed], "decisions, which have them"),
            None if !self.slates.is_empty() => (vec![assumed, tuned, learnt], "slates that are sent"),
            None => (Vec::new(), ""),
        };
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => Err(Problem::new(name, format!("one for {of}"), "none, it has no use")),
            None => Ok(()),
        }
    }

    /// The report.
    pub(crate) fn answer(&self, service: &Service, rows_max: usize) -> Result<Value, ServiceError> {
        let options = self.options().map_err(ServiceError::Input)?;
        let of_this = |report: Result<Report, RequestError>| {
            let report = report.map_err(|e| ServiceError::Input(request_problem(e)))?;
            serde_json::to_value(report).map_err(cannot_be_told)
        };
        let sent = (!self.rounds.is_empty(), !self.slates.is_empty());
        if let (Some(_), (true, _)) | (Some(_), (_, true)) | (None, (true, true)) = (&self.decisions, sent) {
            let names = [
                ("rounds", sent.0),
                ("slates", sent.1),
                ("decisions", self.decisions.is_some()),
            ];
            let names = names
                .iter()
                .filter(|(_, is_there)| *is_there)
                .map(|(name, _)| *name);
            let names: Vec<&str> = names.collect();
            let field = *names.last().unwrap_or(&"rounds");
            return Err(ServiceError::input(field, names.join(" and "), "one of them"));
        }
        self.unused().map_err(ServiceError::Input)?;
        if let Some(decisions) = &self.decisions {
            let report = judge_decisions(service, decisions, &self.estimators, &options)?;
            return serde_json::to_value(report).map_err(cannot_be_told);
        }
        let named = |all: &mut dyn Iterator<Item = &'static str>| match self.estimators.is_empty() {
            true => all.map(str::to_owned).collect(),
            false => self.estimators.clone(),
        };
        if sent.1 {
            let rows = self.slates.iter().map(Slate::n_positions).sum();
            if rows > rows_max {
                let got = format!("{rows} positions in all");
                return Err(ServiceError::input("slates", got, format!("1 to {rows_max}")));
            }
            within_draws(rows, &options).map_err(ServiceError::Input)?;
            let log = slates::log(&self.slates).map_err(ServiceError::Input)?;
            let names: Vec<String> = named(&mut ::ope::slate_estimators().iter().map(|entry| entry.name));
            return of_this(judge_slates(&log, &names, &options));
        }
        let rounds = self.rounds.len();
        if rounds == 0 || rounds > rows_max {
            let expected = format!("1 to {rows_max} rounds, or slates, or decisions");
            return Err(ServiceError::input(
                "rounds",
                format!("{rounds} rounds"),
                expected,
            ));
        }
        within_draws(rounds, &options).map_err(ServiceError::Input)?;
        let log = rounds::log(&self.rounds).map_err(ServiceError::Input)?;
        let names: Vec<String> = named(&mut ::ope::estimators().iter().map(|entry| entry.name));
        of_this(judge(&log, &names, &options))
    }
}

fn cannot_be_told(e: serde_json::Error) -> ServiceError {
    ServiceError::input("rounds", e.to_string(), "numbers that can be told")
}
