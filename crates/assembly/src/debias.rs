//! Learning from what one chose to show: outcomes weighed by how probable it was that they could happen.
//!
//! A click tells of liking and of having been shown, and the more often something is shown, the more clicks it has. Weighed by 1 / P(the item stood there and was looked at), clicks estimate what everyone would click if
//! all were shown alike (Schnabel, Swaminathan, Singh, Chandak and Joachims 2016, ICML; for positions Joachims, Swaminathan and Schnabel 2017, WSDM). Weights are clipped, which bounds the variance
//! and leaves some bias, and divided by their mean, so that decided and other events count alike on average (self-normalised: Swaminathan and Joachims 2015, NeurIPS).
//!
//! Cost: one pass over the decision log; 24 bytes per outcome that carries a decision. What the decision log no longer has counts as average.

use crate::learn::Extract;
use crate::{Service, ServiceError};
use domain::{Event, ItemId, Sequence, Timestamp, UserId};
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

/// How outcomes of decisions are weighed in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InversePropensityConfig {
    /// Greatest weight before they are divided by their mean, 1 to 10,000.
    pub clip: f64,
    /// Probability that a position is looked at, from the top; the last holds for all below; empty for 1 throughout.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examination: Vec<f64>,
}

impl Default for InversePropensityConfig {
    fn default() -> Self {
        InversePropensityConfig {
            clip: 20.0,
            examination: Vec::new(),
        }
    }
}

impl InversePropensityConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        within_bounds(self.clip, &self.examination)
    }

    fn weight(&self, place: usize, propensity: f64) -> f64 {
        let look = self.examination.get(place).or(self.examination.last());
        (1.0 / (propensity * look.copied().unwrap_or(1.0))).min(self.clip)
    }
}

/// A clip and probabilities of looks that can be.
pub(crate) fn within_bounds(clip: f64, examination: &[f64]) -> Result<(), String> {
    if !(1.0..=10_000.0).contains(&clip) {
        return Err(format!("clip: got {clip}, expected 1 to 10000"));
    }
    match examination.iter().find(|look| !(**look > 0.0 && **look <= 1.0)) {
        Some(look) => Err(format!(
            "examination: got {look}, expected probabilities above 0, at most 1"
        )),
        None => Ok(()),
    }
}

/// What outcomes of decisions count in training.
#[derive(Default)]
pub(crate) struct Labels {
    /// What the strength of an event is multiplied by, by decision and item; `None` where `rows` say it instead.
    pub(crate) weights: HashMap<(u64, u64), Option<f32>>,
    /// Who, what, how strongly and when.
    pub(crate) rows: Vec<(UserId, ItemId, f32, Timestamp)>,
}

/// A decision and an item of it.
pub(crate) fn key(decision_id: &str, item_id: &str) -> (u64, u64) {
    (
        numeric::hash_bytes(decision_id.as_bytes()),
        numeric::hash_bytes(item_id.as_bytes()),
    )
}

impl Labels {
    /// What the strength of an event is multiplied by; `None` if it is told otherwise.
    pub(crate) fn of(&self, event: &Event) -> Option<f32> {
        let known = event
            .decision_id
            .as_ref()
            .and_then(|decision| self.weights.get(&key(decision.as_str(), event.item_id.as_str())));
        known.copied().unwrap_or(Some(1.0))
    }
}

impl Service {
    /// What the outcomes in the log count; as they are if training does nothing about what was chosen to be shown.
    pub(crate) fn outcome_labels(&self, extract: &Extract<'_>) -> Result<Labels, ServiceError> {
        let training = &self.config.training;
        match (&training.inverse_propensity, &training.doubly_robust) {
            (Some(config), _) => self.inverse_propensity_weights(config, extract.head),
            (None, Some(config)) => self.doubly_robust_labels(config, extract),
            (None, None) => Ok(Labels::default()),
        }
    }

    fn inverse_propensity_weights(
        &self,
        config: &InversePropensityConfig,
        head: Sequence,
    ) -> Result<Labels, ServiceError> {
        let mut carried: HashSet<(u64, u64)> = HashSet::new();
        for batch in self.stores.log.scan(Sequence(1), head)? {
            for stored in batch? {
                if let Some(decision) = &stored.event.decision_id {
                    carried.insert(key(decision.as_str(), stored.event.item_id.as_str()));
                }
            }
        }
        // In a fixed order, so that the mean does not depend on the order of the log's files.
        let mut found: Vec<((u64, u64), f64)> = Vec::with_capacity(carried.len());
        let read = self.decisions.each(|stored| {
            let decision = stored.decision;
            for (place, shown) in decision.shown.iter().enumerate() {
                let key = key(decision.decision_id.as_str(), shown.item_id.as_str());
                if carried.contains(&key) {
                    let propensity = shown.position_propensity.unwrap_or(shown.propensity);
                    found.push((key, config.weight(place, propensity.max(1e-12))));
                }
            }
        });
        read.map_err(|e| ServiceError::io("reading", &self.dir.join("decisions"), e))?;
        found.sort_by_key(|(key, _)| *key);
        let sum: f64 = found.iter().map(|(_, weight)| weight).sum();
        let mean = sum / found.len().max(1) as f64;
        let weights = found
            .into_iter()
            .map(|(key, weight)| (key, Some((weight / mean) as f32)));
        Ok(Labels {
            weights: weights.collect(),
            rows: Vec::new(),
        })
    }
}
