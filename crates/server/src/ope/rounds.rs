//! Rounds that are sent, as a log.

use super::log_problem;
use ::ope::Log;
use assembly::Problem;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most rounds times actions.
const CELLS_MAX: usize = 5_000_000;
/// Most of (rounds + actions × features) × features², which is what learning a reward model costs.
const MODEL_COST_MAX: usize = 20_000_000;

/// One round.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Round {
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

/// The log of the rounds that were sent.
pub(super) fn log(rounds: &[Round]) -> Result<Log, Problem> {
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
    if all(rounds, "propensity", |round| round.propensity.is_some())? {
        let told = rounds.iter().filter_map(|round| round.propensity).collect();
        log = log.with_propensities(told).map_err(log_problem)?;
    }
    if all(rounds, "logging", |round| !round.logging.is_empty())? {
        log = log.with_logging(matrix(|r| &r.logging)).map_err(log_problem)?;
    }
    if all(rounds, "model", |round| !round.model.is_empty())? {
        all(rounds, "model", |round| round.model.len() == n_actions)?
            .then_some(())
            .ok_or_else(|| Problem::new("rounds[0].model", "some actions", "a guess for every action"))?;
        log = log.with_model(matrix(|r| &r.model)).map_err(log_problem)?;
    }
    if all(rounds, "features", |round| round.features.len() == features)? && features > 0 {
        let told = rounds.iter().flat_map(|round| round.features.iter().copied());
        log = log.with_contexts(features, told.collect()).map_err(log_problem)?;
    }
    Ok(log)
}

/// Whether all rounds have something; none may if the first has not.
fn all(rounds: &[Round], field: &str, has: impl Fn(&Round) -> bool) -> Result<bool, Problem> {
    let first = rounds.first().is_some_and(&has);
    match rounds.iter().position(|round| has(round) != first) {
        None => Ok(first),
        Some(row) => Err(Problem::new(
            format!("rounds[{row}].{field}"),
            "something else than in the first round",
            "the same in all rounds",
        )),
    }
}
