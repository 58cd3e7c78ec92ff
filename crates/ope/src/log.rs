//! A log of rounds with one action each, and what the target policy would have done in them.

use crate::Refusal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Slack of sums of probabilities.
const SUM_SLACK: f64 = 1e-6;

/// Something in a log that cannot be.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{field}{}: got {got}, expected {expected}", row.map_or(String::new(), |row| format!(", round {row}")))]
pub struct LogError {
    /// Which part of the log.
    pub field: &'static str,
    /// Which round, from zero.
    pub row: Option<usize>,
    /// What was there.
    pub got: String,
    /// What was expected.
    pub expected: &'static str,
}

impl LogError {
    /// The round, where the row is that of a value in a matrix of this width.
    fn of_rows(self, width: usize) -> LogError {
        LogError {
            row: self.row.map(|at| at / width.max(1)),
            ..self
        }
    }
}

pub(crate) fn wrong(
    field: &'static str,
    row: Option<usize>,
    got: impl ToString,
    expected: &'static str,
) -> LogError {
    LogError {
        field,
        row,
        got: got.to_string(),
        expected,
    }
}

/// Where the probabilities of the logged actions come from. Carried into every report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PropensitySource {
    /// Written down when the action was chosen.
    Logged,
    /// Guessed afterwards from the frequencies of actions: right only if the choice did not depend on anything else.
    Estimated,
    /// Taken to be the same for all actions, because somebody said so.
    Assumed,
    /// Neither.
    Missing,
}

/// What is assumed of a log without propensities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assumption {
    /// Actions were chosen as often as they are in the log, whatever the circumstances.
    Frequencies,
    /// Every action had the same chance.
    Uniform,
}

/// Rounds with one action each. Matrices are rows of rounds, one column per action.
///
/// Memory is 8 bytes per round and action for each matrix; a log of which only the target's probability of the logged action is
/// known ([`Log::of_logged`]) needs none, and serves the estimators without reward model.
#[derive(Debug, Clone)]
pub struct Log {
    n_actions: usize,
    rewards: Vec<f64>,
    actions: Vec<u32>,
    target: Option<Vec<f64>>,
    target_logged: Vec<f64>,
    propensities: Option<Vec<f64>>,
    source: PropensitySource,
    logging: Option<Vec<f64>>,
    model: Option<Vec<f64>>,
    contexts: (usize, Vec<f64>),
    categories: Option<Vec<u32>>,
    labels: Vec<String>,
}

impl Log {
    /// Rounds with the target's distribution over all actions, `rewards.len()` × `n_actions`.
    ///
    /// # Errors
    /// Names the field and the round if lengths differ, an action is out of range, a number is not finite, or a row of the target is no distribution.
    pub fn new(
        n_actions: usize,
        rewards: Vec<f64>,
        actions: Vec<u32>,
        target: Vec<f64>,
    ) -> Result<Log, LogError> {
        let n = rewards.len();
        basic(n_actions, &rewards, &actions)?;
        distributions("target", &target, n, n_actions)?;
        let at = |(row, action): (usize, &u32)| target[row * n_actions + *action as usize];
        let target_logged = actions.iter().enumerate().map(at).collect();
        Ok(Log::assembled(
            n_actions,
            rewards,
            actions,
            Some(target),
            target_logged,
        ))
    }

    /// Rounds of which only the target's probability of the logged action is known.
    ///
    /// # Errors
    /// As [`Log::new`].
    pub fn of_logged(
        n_actions: usize,
        rewards: Vec<f64>,
        actions: Vec<u32>,
        target_logged: Vec<f64>,
    ) -> Result<Log, LogError> {
        basic(n_actions, &rewards, &actions)?;
        each("target", &target_logged, rewards.len(), "a probability", |p| {
            (0.0..=1.0).contains(&p)
        })?;
        Ok(Log::assembled(n_actions, rewards, actions, None, target_logged))
    }

    fn assembled(
        n_actions: usize,
        rewards: Vec<f64>,
        actions: Vec<u32>,
        target: Option<Vec<f64>>,
        target_logged: Vec<f64>,
    ) -> Log {
        Log {
            n_actions,
            rewards,
            actions,
            target,
            target_logged,
            propensities: None,
            source: PropensitySource::Missing,
            logging: None,
            model: None,
            contexts: (0, Vec::new()),
            categories: None,
            labels: Vec::new(),
        }
    }

    /// With the probability of each logged action, written down when it was chosen.
    ///
    /// # Errors
    /// Names the round whose probability is not above 0 and at most 1.
    pub fn with_propensities(mut self, propensities: Vec<f64>) -> Result<Log, LogError> {
        each(
            "propensity",
            &propensities,
            self.n_rounds(),
            "above 0 and at most 1",
            |p| p > 0.0 && p <= 1.0,
        )?;
        self.propensities = Some(propensities);
        self.source = PropensitySource::Logged;
        Ok(self)
    }

    /// With the logging policy's distribution over all actions. The check of support is then exact, and the propensities are those
    /// of this matrix if none were given.
    ///
    /// # Errors
    /// Names the round whose row is no distribution, gives the logged action nothing, or contradicts the propensity.
    pub fn with_logging(mut self, logging: Vec<f64>) -> Result<Log, LogError> {
        distributions("logging", &logging, self.n_rounds(), self.n_actions)?;
        let mut own = Vec::with_capacity(self.n_rounds());
        for (row, action) in self.actions.iter().enumerate() {
            let p = logging[row * self.n_actions + *action as usize];
            if p <= 0.0 {
                return Err(wrong(
                    "logging",
                    Some(row),
                    p,
                    "a probability above 0 for the logged action",
                ));
            }
            if let Some(given) = self.propensities.as_ref().map(|given| given[row])
                && (given - p).abs() > SUM_SLACK
            {
                return Err(wrong(
                    "logging",
                    Some(row),
                    p,
                    "the propensity of the logged action",
                ));
            }
            own.push(p);
        }
        if self.propensities.is_none() {
            self.propensities = Some(own);
            self.source = PropensitySource::Logged;
        }
        self.logging = Some(logging);
        Ok(self)
    }

    /// With a guess of the reward of each action in each round.
    ///
    /// # Errors
    /// Names the round whose guess is not finite.
    pub fn with_model(mut self, model: Vec<f64>) -> Result<Log, LogError> {
        each(
            "model",
            &model,
            self.n_rounds() * self.n_actions,
            "a finite number",
            f64::is_finite,
        )
        .map_err(|e| e.of_rows(self.n_actions))?;
        self.model = Some(model);
        Ok(self)
    }

    /// With `dim` features per round, for reward models.
    ///
    /// # Errors
    /// Names the first feature that is not finite.
    pub fn with_contexts(mut self, dim: usize, contexts: Vec<f64>) -> Result<Log, LogError> {
        each(
            "contexts",
            &contexts,
            self.n_rounds() * dim,
            "a finite number",
            f64::is_finite,
        )
        .map_err(|e| e.of_rows(dim))?;
        self.contexts = (dim, contexts);
        Ok(self)
    }

    /// With the category of each action, for estimators that need support by category only.
    ///
    /// # Errors
    /// If there is not one for each action, or a number is not below the number of actions.
    pub fn with_categories(mut self, categories: Vec<u32>) -> Result<Log, LogError> {
        if categories.len() != self.n_actions {
            return Err(wrong("categories", None, categories.len(), "one for each action"));
        }
        if let Some(got) = categories.iter().find(|c| **c as usize >= self.n_actions) {
            return Err(wrong("categories", None, got, "a number below that of actions"));
        }
        self.categories = Some(categories);
        Ok(self)
    }

    /// With the name of each action, for what is told of them.
    ///
    /// # Errors
    /// If there is not one for each action.
    pub fn with_labels(mut self, labels: Vec<String>) -> Result<Log, LogError> {
        if labels.len() != self.n_actions {
            return Err(wrong("labels", None, labels.len(), "one for each action"));
        }
        self.labels = labels;
        Ok(self)
    }

    /// What an action is called: its name, or its number.
    pub(crate) fn label(&self, action: u32) -> String {
        let named = self.labels.get(action as usize);
        named.cloned().unwrap_or_else(|| action.to_string())
    }

    /// With propensities guessed from how often each action was logged, within strata (one number per round, as the position) if given.
    /// Says so in [`Log::source`], and from there in every report.
    ///
    /// # Errors
    /// If strata are not one per round.
    pub fn with_estimated_propensities(mut self, strata: Option<&[u32]>) -> Result<Log, LogError> {
        if let Some(strata) = strata
            && strata.len() != self.n_rounds()
        {
            return Err(wrong("strata", None, strata.len(), "one for each round"));
        }
        let stratum = |row: usize| strata.map_or(0, |strata| strata[row]);
        let mut counts = std::collections::BTreeMap::new();
        let mut totals = std::collections::BTreeMap::new();
        for (row, action) in self.actions.iter().enumerate() {
            *counts.entry((stratum(row), *action)).or_insert(0.0) += 1.0;
            *totals.entry(stratum(row)).or_insert(0.0) += 1.0;
        }
        let share = |(row, action): (usize, &u32)| -> f64 {
            let of = |count: Option<&f64>| count.copied().unwrap_or(1.0);
            of(counts.get(&(stratum(row), *action))) / of(totals.get(&stratum(row)))
        };
        self.propensities = Some(self.actions.iter().enumerate().map(share).collect());
        self.source = PropensitySource::Estimated;
        self.logging = None;
        Ok(self)
    }

    /// With the same probability for each action. Says so in [`Log::source`], and from there in every report.
    pub fn with_uniform_propensities(mut self) -> Log {
        self.propensities = Some(vec![1.0 / self.n_actions as f64; self.n_rounds()]);
        self.source = PropensitySource::Assumed;
        self.logging = None;
        self
    }

    /// How many rounds.
    pub fn n_rounds(&self) -> usize {
        self.rewards.len()
    }

    /// How many actions there are.
    pub fn n_actions(&self) -> usize {
        self.n_actions
    }

    /// Reward of each round.
    pub fn rewards(&self) -> &[f64] {
        &self.rewards
    }

    /// Logged action of each round.
    pub fn actions(&self) -> &[u32] {
        &self.actions
    }

    /// Where the propensities come from.
    pub fn source(&self) -> PropensitySource {
        self.source
    }

    /// The target's distribution, if known.
    pub fn target(&self) -> Option<&[f64]> {
        self.target.as_deref()
    }

    /// The logging policy's distribution, if known.
    pub fn logging(&self) -> Option<&[f64]> {
        self.logging.as_deref()
    }

    /// The reward model's guesses, if there are any.
    pub fn model(&self) -> Option<&[f64]> {
        self.model.as_deref()
    }

    /// Number of features per round, and the features.
    pub fn contexts(&self) -> (usize, &[f64]) {
        (self.contexts.0, &self.contexts.1)
    }

    /// Category of each action, if given.
    pub fn categories(&self) -> Option<&[u32]> {
        self.categories.as_deref()
    }

    /// Propensity of each logged action, if known.
    pub(crate) fn propensities(&self) -> Option<&[f64]> {
        self.propensities.as_deref()
    }

    /// The most that the target gives to an action in each round, and no less than an even share; one where that is not known.
    pub(crate) fn most_wanted(&self) -> Vec<f64> {
        let even = 1.0 / self.n_actions as f64;
        match &self.target {
            None => vec![1.0; self.n_rounds()],
            Some(target) => target
                .chunks_exact(self.n_actions)
                .map(|row| row.iter().copied().fold(even, f64::max))
                .collect(),
        }
    }

    /// Importance weights: the target's probability of the logged action by the logging policy's.
    ///
    /// # Errors
    /// [`Refusal::MissingPropensities`].
    pub fn weights(&self) -> Result<Vec<f64>, Refusal> {
        let logged = self.propensities.as_ref().ok_or(Refusal::MissingPropensities)?;
        Ok(self
            .target_logged
            .iter()
            .zip(logged)
            .map(|(target, logged)| target / logged)
            .collect())
    }

    /// The largest weight that any action could have had in these rounds; `None` unless both distributions are known.
    pub fn weight_max(&self) -> Option<f64> {
        let pairs = self.target.as_ref()?.iter().zip(self.logging.as_ref()?);
        Some(
            pairs
                .filter(|(_, logging)| **logging > 0.0)
                .map(|(target, logging)| target / logging)
                .fold(0.0, f64::max),
        )
    }
}

fn basic(n_actions: usize, rewards: &[f64], actions: &[u32]) -> Result<(), LogError> {
    if n_actions == 0 {
        return Err(wrong("actions", None, 0, "at least one"));
    }
    each(
        "reward",
        rewards,
        rewards.len(),
        "a finite number",
        f64::is_finite,
    )?;
    if actions.len() != rewards.len() {
        return Err(wrong("action", None, actions.len(), "one for each reward"));
    }
    match actions.iter().position(|action| *action as usize >= n_actions) {
        Some(row) => Err(wrong(
            "action",
            Some(row),
            actions[row],
            "a number below that of actions",
        )),
        None => Ok(()),
    }
}

/// Checks the number of values and each of them. The row that is told is the place of the value.
pub(crate) fn each(
    field: &'static str,
    values: &[f64],
    n: usize,
    expected: &'static str,
    fine: impl Fn(f64) -> bool,
) -> Result<(), LogError> {
    if values.len() != n {
        let got = format!("{} values, where {n} are due", values.len());
        return Err(wrong(field, None, got, "a value for each round (and action)"));
    }
    match values.iter().position(|value| !fine(*value)) {
        Some(at) => Err(wrong(field, Some(at), values[at], expected)),
        None => Ok(()),
    }
}

fn distributions(field: &'static str, values: &[f64], n: usize, n_actions: usize) -> Result<(), LogError> {
    let fine = |p| (0.0..=1.0 + SUM_SLACK).contains(&p);
    each(field, values, n * n_actions, "a probability", fine).map_err(|e| e.of_rows(n_actions))?;
    for (row, own) in values.chunks_exact(n_actions).enumerate() {
        let sum: f64 = own.iter().sum();
        if (sum - 1.0).abs() > SUM_SLACK * 10.0 {
            return Err(wrong(
                field,
                Some(row),
                format!("a sum of {sum}"),
                "probabilities that sum to 1",
            ));
        }
    }
    Ok(())
}
