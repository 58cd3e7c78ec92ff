//! How a placement ranks, and how its ranker is learnt.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankerKind {
    /// The trained model.
    #[default]
    Model,
    /// The ranks that the sources gave.
    SourceRanks,
    /// Trees over features, learnt from what was shown and what came of it; the trained model until there are any.
    Trees,
}

/// What trees are learnt to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankObjective {
    /// A calibrated probability per outcome; the score is their weighted sum.
    #[default]
    Outcomes,
    /// An order (LambdaMART) by the worth of what came of each item; the score has no unit.
    Order,
}

/// What is done about the place at which something was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionMode {
    /// Nothing: what was shown first looks better than it is.
    None,
    /// An outcome counts for as many as would have come if everybody had looked: one over the examination of its place.
    Ips,
    /// As `ips`, and what clipping the weights leaves out comes from an imputation: the probability that a model of its own, learnt from the other half of the decisions, gives to the
    /// outcome of an item that is looked at (Dudík, Langford and Li 2011; for places Oosterhuis 2022).
    DoublyRobust,
    /// The place is a feature in training; in serving everything stands in the first.
    #[default]
    Feature,
}

/// What one unit of an outcome is worth in the score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadWeight {
    /// The weight.
    pub weight: f32,
    /// The least that anyone, an experiment for one, may set it to; −10 if not given.
    #[serde(default = "HeadWeight::min_if_absent")]
    pub min: f32,
    /// The most; 10 if not given.
    #[serde(default = "HeadWeight::max_if_absent")]
    pub max: f32,
}

impl HeadWeight {
    fn min_if_absent() -> f32 {
        -10.0
    }

    fn max_if_absent() -> f32 {
        10.0
    }
}

/// How a placement ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RankerConfig {
    /// Who ranks: `model`, `source_ranks` or `trees`.
    pub kind: RankerKind,
    /// What trees are learnt to say: `outcomes` or `order`.
    pub objective: RankObjective,
    /// Worth by type of event. Empty for the weights of the event types that are outcomes or preferences, within ±10.
    pub weights: BTreeMap<String, HeadWeight>,
    /// Number of this set of weights, recorded with every model; raise it when you change them.
    pub weights_version: u32,
    /// What is done about places: `none`, `ips`, `doubly_robust` or `feature`.
    pub position: PositionMode,
    /// With `ips` and `doubly_robust`, the most that one over an examination may be, 1 to 1,000.
    pub clip: f64,
    /// Negatives of rising strength: something that a person was shown again, nothing having come of it the last k times, counts as 1 + k times this where nothing comes of it again (k at most 5),
    /// and for an order its worth is that much lower. 0 to 10; 0 for all alike.
    pub unclicked: f64,
    /// Hours after a decision in which events count, above 0 to 8,784.
    pub window_hours: f64,
    /// Joined decisions below which a ranker is learnt from the event log instead, at least 10.
    pub decisions_min: usize,
    /// Rows with an outcome below which it gets no head, at least 1.
    pub outcomes_min: usize,
    /// Share of the latest decisions on which a new ranker is compared with the one in service, 0.05 to 0.5.
    pub holdout_share: f64,
    /// Minutes between trainings while there are new decisions; 0 for on demand only.
    pub every_minutes: u32,
    /// Published rankers to keep, at least 2.
    pub keep: usize,
    /// Trees per head at most.
    pub trees: usize,
    /// Leaves per tree at most; scoring is fastest up to 32.
    pub leaves: usize,
    /// What share of each tree's answer is taken.
    pub learning_rate: f64,
    /// Rows in a leaf at least.
    pub leaf_rows_min: usize,
}

impl Default for RankerConfig {
    fn default() -> Self {
        RankerConfig {
            kind: RankerKind::Model,
            objective: RankObjective::Outcomes,
            weights: BTreeMap::new(),
            weights_version: 1,
            position: PositionMode::Feature,
            clip: 20.0,
            unclicked: 0.0,
            window_hours: 24.0,
            decisions_min: 500,
            outcomes_min: 50,
            holdout_share: 0.2,
            every_minutes: 0,
            keep: 5,
            trees: 300,
            leaves: 31,
            learning_rate: 0.05,
            leaf_rows_min: 20,
        }
    }
}

impl PositionMode {
    /// True if it goes by how probable it is that a place is looked at.
    pub fn needs_examination(self) -> bool {
        matches!(self, PositionMode::Ips | PositionMode::DoublyRobust)
    }
}

impl RankerConfig {
    /// Checks ranges and relations.
    ///
    /// # Errors
    /// `key: got …, expected …` for the first key that cannot be.
    pub fn check(&self) -> Result<(), String> {
        for (name, head) in &self.weights {
            let HeadWeight { weight, min, max } = *head;
            let all = [weight, min, max];
            if !all.iter().all(|v| v.is_finite() && v.abs() <= 1000.0) || min > max {
                return Err(format!(
                    "weights.{name}: got {min} to {max}, expected numbers from -1000 to 1000, the least first"
                ));
            }
            if !(min..=max).contains(&weight) {
                return Err(format!(
                    "weights.{name}.weight: got {weight}, expected {min} to {max}"
                ));
            }
        }
        if !(self.window_hours > 0.0 && self.window_hours <= 8784.0) {
            return Err(format!(
                "window_hours: got {}, expected above 0 and at most 8784",
                self.window_hours
            ));
        }
        if !(0.05..=0.5).contains(&self.holdout_share) {
            return Err(format!(
                "holdout_share: got {}, expected 0.05 to 0.5",
                self.holdout_share
            ));
        }
        if !(1.0..=1000.0).contains(&self.clip) {
            return Err(format!("clip: got {}, expected 1 to 1000", self.clip));
        }
        if !(0.0..=10.0).contains(&self.unclicked) {
            return Err(format!("unclicked: got {}, expected 0 to 10", self.unclicked));
        }
        for (key, value, least) in [
            ("decisions_min", self.decisions_min, 10),
            ("outcomes_min", self.outcomes_min, 1),
            ("keep", self.keep, 2),
        ] {
            if value < least {
                return Err(format!("{key}: got {value}, expected at least {least}"));
            }
        }
        self.trees_config(trees::Objective::LogLoss, 1)
            .check()
            .map_err(|e| e.to_string())
    }

    pub(crate) fn trees_config(&self, objective: trees::Objective, seed: u64) -> trees::TreesConfig {
        trees::TreesConfig {
            objective,
            trees: self.trees,
            leaves: self.leaves,
            learning_rate: self.learning_rate,
            leaf_rows_min: self.leaf_rows_min,
            reg: 1.0,
            stop_after: 20,
            row_share: 0.8,
            feature_share: 0.8,
            seed,
            ..trees::TreesConfig::default()
        }
    }
}
