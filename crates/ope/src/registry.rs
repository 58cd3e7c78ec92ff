//! The tables of estimators, and how a name with a parameter is read.

use crate::estimators::{
    dm, dr, dros, ips, ips_clip, mips, sndr, snips, subgaussian_dr, subgaussian_ips, switch_dr,
};
use crate::slates::{cascade_dr, independent_ips, pseudo_inverse, reward_interaction_ips, standard_ips};
use crate::{Contributions, Log, Refusal, RequestError, SlateLog};
use std::fmt::Debug;

/// One action per round.
pub trait Estimator: Debug + Send + Sync {
    /// What each round contributes.
    ///
    /// # Errors
    /// What the log lacks. Support is not looked at here: [`judge`](crate::judge) does.
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal>;
}

/// Several positions per round.
pub trait SlateEstimator: Debug + Send + Sync {
    /// What each slate contributes.
    ///
    /// # Errors
    /// What the log lacks.
    fn contributions(&self, log: &SlateLog) -> Result<Contributions, Refusal>;
}

/// Where the target's choices must have been possible for the logging policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupportOf {
    /// Each action.
    Actions,
    /// Each category of actions.
    Categories,
    /// Nowhere: the reward model speaks for all, right or wrong.
    Nothing,
}

/// What an estimator needs of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// A reward model.
    pub model: bool,
    /// Support.
    pub support: SupportOf,
}

/// A number that trades bias for variance.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// Smallest and largest value.
    pub range: (f64, f64),
    /// Values worth a try on a log with these importance weights, from the least biased on.
    pub grid: fn(&[f64]) -> Vec<f64>,
}

/// An estimator of the table.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// What it needs.
    pub needs: Needs,
    /// Its parameter, if it has one; tuned from the log where none is given.
    pub parameter: Option<Parameter>,
    /// The estimator without this one's bias, whose interval is told for both; none for one whose bias vanishes in large logs.
    pub unbiased: Option<&'static str>,
    /// Makes it; the number is ignored by those without parameter.
    pub build: fn(f64) -> Box<dyn Estimator>,
}

/// A slate estimator of the table.
#[derive(Debug, Clone, Copy)]
pub struct SlateEntry {
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// The logged probabilities that its weights come from, for the check of support.
    pub(crate) propensities: fn(&SlateLog) -> Option<&[f64]>,
    /// Makes it.
    pub build: fn() -> Box<dyn SlateEstimator>,
}

/// All estimators for one action per round.
pub fn estimators() -> &'static [Entry] {
    &[
        ips::ENTRY,
        ips_clip::ENTRY,
        snips::ENTRY,
        dm::ENTRY,
        dr::ENTRY,
        sndr::ENTRY,
        switch_dr::ENTRY,
        dros::ENTRY,
        subgaussian_ips::ENTRY,
        subgaussian_dr::ENTRY,
        mips::ENTRY,
    ]
}

/// All estimators for slates.
pub fn slate_estimators() -> &'static [SlateEntry] {
    &[
        standard_ips::ENTRY,
        standard_ips::SELF_NORMALISED,
        independent_ips::ENTRY,
        independent_ips::SELF_NORMALISED,
        reward_interaction_ips::ENTRY,
        reward_interaction_ips::SELF_NORMALISED,
        cascade_dr::ENTRY,
        cascade_dr::SELF_NORMALISED,
        pseudo_inverse::ENTRY,
        pseudo_inverse::SELF_NORMALISED,
    ]
}

/// The estimator of this text: a name, or a name, a colon and a parameter. The parameter is `None` where it is to be tuned.
///
/// # Errors
/// Names what is known if the name is not, and the range if the parameter is out of it.
pub fn estimator(text: &str) -> Result<(&'static Entry, Option<f64>), RequestError> {
    let (name, given) = match text.split_once(':') {
        Some((name, given)) => (name.trim(), Some(given.trim())),
        None => (text.trim(), None),
    };
    let entry = estimators()
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| {
            let known: Vec<&str> = estimators().iter().map(|entry| entry.name).collect();
            RequestError::new(
                "estimators",
                format!("{name:?}"),
                format!("one of {}", known.join(", ")),
            )
        })?;
    let Some(given) = given else {
        return Ok((entry, None));
    };
    let Some(parameter) = entry.parameter else {
        return Err(RequestError::new(
            "estimators",
            format!("{text:?}"),
            format!("{name} without a parameter"),
        ));
    };
    let (low, high) = parameter.range;
    match given.parse::<f64>() {
        Ok(value) if value >= low && value <= high => Ok((entry, Some(value))),
        _ => Err(RequestError::new(
            "estimators",
            format!("{text:?}"),
            format!("{} from {low} to {high} after the colon", parameter.name),
        )),
    }
}

/// The slate estimator of this name.
///
/// # Errors
/// Names what is known.
pub fn slate_estimator(text: &str) -> Result<&'static SlateEntry, RequestError> {
    let name = text.trim();
    slate_estimators()
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| {
            let known: Vec<&str> = slate_estimators().iter().map(|entry| entry.name).collect();
            RequestError::new(
                "estimators",
                format!("{name:?}"),
                format!("one of {}", known.join(", ")),
            )
        })
}
