//! What a placement learns from what, as configured.

use super::chooser::Plan;
use crate::choice::PolicyConfig;
use policies::PolicyError;
use policies::learners::{CountBandit, LinearBandit, LinearBanditConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Which items are the actions of a placement; nothing else is ever shown there. One of both is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActionsConfig {
    /// Ids of items.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
    /// A filter over the catalogue, as in requests: `{ attribute = "kind", any = ["offer"] }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
}

/// What is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearnerKind {
    /// Wins and losses of each action, whoever it is shown to.
    Counts,
    /// Rewards linear in features: weights of each action's own, and weights that all share.
    Linear,
}

/// Where a feature comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureOf {
    /// Circumstances of the request.
    Context,
    /// Attributes of the person, stored or sent with the request.
    Person,
    /// Attributes of the action.
    Item,
    /// The score that the trained models give to the action for this person: how a placement starts warm.
    Score,
}

/// One feature: a number, or an indicator for each of some values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Where it comes from.
    pub of: FeatureOf,
    /// Name of the attribute; none for a score.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// If given, the feature is one indicator per value, for text and lists of texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What is taken away from a number.
    #[serde(default)]
    pub center: f64,
    /// What it is divided by then, above 0.
    #[serde(default = "one")]
    pub scale: f64,
    /// Weight with which it starts, learnt elsewhere.
    #[serde(default)]
    pub prior: f64,
}

fn one() -> f64 {
    1.0
}

/// What a placement learns, and from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BanditConfig {
    /// What is learnt.
    pub learner: LearnerKind,
    /// Worth of events by type; each type counts once for each item shown. With counts, 0 to 1.
    pub rewards: BTreeMap<String, f64>,
    /// Hours after a decision in which events count, above 0, at most 8,784.
    pub window_hours: f64,
    /// Features with weights of each action's own, beside a constant; none of items. Linear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<Feature>,
    /// Features with weights that all actions share. Linear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<Feature>,
    /// Whether the shared features are multiplied with the own ones, each with each. Linear.
    pub cross: bool,
    /// Precision of the prior, above 0. Linear.
    pub reg: f64,
    /// What all that was learnt counts for after another trial, 0.5 to 1; with γ the memory is about 1/(1 − γ) trials.
    pub discount: f64,
    /// Probability that a position is looked at, from the top; the last holds for all below; empty for 1 throughout. What is shown where nobody looks is then not held against it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examination: Vec<f64>,
}

impl Default for BanditConfig {
    fn default() -> Self {
        BanditConfig {
            learner: LearnerKind::Counts,
            rewards: BTreeMap::from([("click".to_owned(), 1.0)]),
            window_hours: 24.0,
            own: Vec::new(),
            shared: Vec::new(),
            cross: false,
            reg: 1.0,
            discount: 1.0,
            examination: Vec::new(),
        }
    }
}

pub(crate) fn wrong(field: impl Into<String>, got: impl ToString, expected: impl ToString) -> PolicyError {
    PolicyError {
        field: field.into(),
        got: got.to_string(),
        expected: expected.to_string(),
    }
}

impl ActionsConfig {
    pub(crate) fn check(&self) -> Result<(), PolicyError> {
        if self.items.is_empty() == self.filter.is_none() {
            return Err(wrong(
                "actions",
                "both or neither of items and filter",
                "one of them",
            ));
        }
        if self.items.len() > 10_000 {
            return Err(wrong(
                "actions.items",
                format!("{} items", self.items.len()),
                "at most 10000",
            ));
        }
        if let Some(filter) = &self.filter {
            serde_json::from_value::<rerank::FilterForm>(filter.clone())
                .map_err(|e| wrong("actions.filter", filter, format!("a filter: {e}")))?;
        }
        Ok(())
    }
}

impl BanditConfig {
    /// Numbers of one action's own features and of shared ones.
    pub(crate) fn shape(&self) -> (usize, usize) {
        let width = |list: &[Feature]| list.iter().map(|f| f.values.len().max(1)).sum::<usize>();
        let own = 1 + width(&self.own);
        let shared = width(&self.shared);
        (own, if self.cross { shared * own } else { shared })
    }

    /// A learner that has learnt nothing.
    pub(crate) fn counts(&self) -> Result<CountBandit, PolicyError> {
        CountBandit::new(self.discount)
    }

    pub(crate) fn linear(&self) -> Result<LinearBandit, PolicyError> {
        let (features, shared) = self.shape();
        let bandit = LinearBandit::new(LinearBanditConfig {
            features,
            shared,
            reg: self.reg,
            discount: self.discount,
        })?;
        let priors = |list: &[Feature]| {
            let each = list
                .iter()
                .flat_map(|f| std::iter::repeat_n(f.prior, f.values.len().max(1)));
            each.collect::<Vec<f64>>()
        };
        let own: Vec<f64> = std::iter::once(0.0).chain(priors(&self.own)).collect();
        let shared_priors = priors(&self.shared);
        // A product starts from nothing, except that with the constant, which is the feature itself.
        let crossed = shared_priors
            .iter()
            .flat_map(|prior| std::iter::once(*prior).chain(std::iter::repeat_n(0.0, features - 1)));
        let shared_all = if self.cross {
            crossed.collect()
        } else {
            shared_priors.clone()
        };
        bandit.with_prior(own, shared_all)
    }

    pub(crate) fn check(
        &self,
        policy: &PolicyConfig,
        event_types: &signals::EventTypes,
    ) -> Result<(), PolicyError> {
        if self.rewards.is_empty() {
            return Err(wrong(
                "rewards",
                "nothing",
                "the worth of at least one type of event",
            ));
        }
        let top = if self.learner == LearnerKind::Counts {
            1.0
        } else {
            1e6
        };
        let low = if self.learner == LearnerKind::Counts {
            0.0
        } else {
            -1e6
        };
        for (name, worth) in &self.rewards {
            if event_types.get(name).is_none() {
                let known: Vec<&str> = event_types.0.keys().map(String::as_str).collect();
                return Err(wrong(
                    format!("rewards.{name}"),
                    name,
                    format!("one of {}", known.join(", ")),
                ));
            }
            if !(low..=top).contains(worth) {
                return Err(wrong(format!("rewards.{name}"), worth, format!("{low} to {top}")));
            }
        }
        if !(self.window_hours > 0.0 && self.window_hours <= 8784.0) {
            return Err(wrong("window_hours", self.window_hours, "above 0, at most 8784"));
        }
        if let Some(bad) = self
            .examination
            .iter()
            .find(|look| !(**look > 0.0 && **look <= 1.0))
        {
            return Err(wrong("examination", bad, "probabilities above 0, at most 1"));
        }
        for (list, features) in [("own", &self.own), ("shared", &self.shared)] {
            for (at, feature) in features.iter().enumerate() {
                let field = |name: &str| format!("{list}[{at}].{name}");
                let is_score = feature.of == FeatureOf::Score;
                if is_score != feature.name.is_empty() {
                    let expected = if is_score {
                        "no name for a score"
                    } else {
                        "the name of an attribute"
                    };
                    return Err(wrong(field("name"), format!("{:?}", feature.name), expected));
                }
                if is_score && !feature.values.is_empty() {
                    return Err(wrong(field("values"), "values", "none for a score"));
                }
                if list == "own" && matches!(feature.of, FeatureOf::Item | FeatureOf::Score) {
                    return Err(wrong(
                        field("of"),
                        "item or score",
                        "context or person: what an action is like is shared",
                    ));
                }
                if !(feature.scale > 0.0
                    && feature.scale.is_finite()
                    && feature.center.is_finite()
                    && feature.prior.is_finite())
                {
                    return Err(wrong(
                        field("scale"),
                        feature.scale,
                        "finite numbers, the scale above 0",
                    ));
                }
            }
        }
        if self.learner == LearnerKind::Counts && !(self.own.is_empty() && self.shared.is_empty()) {
            return Err(wrong(
                "own",
                "features",
                "none with counts, which look at nothing",
            ));
        }
        if self.cross && self.shared.is_empty() {
            return Err(wrong("cross", "true without shared features", "shared features"));
        }
        match self.learner {
            LearnerKind::Counts => self.counts().map(|_| ())?,
            LearnerKind::Linear => self.linear().map(|_| ())?,
        }
        Plan::of(policy, self).map(|_| ())
    }
}
