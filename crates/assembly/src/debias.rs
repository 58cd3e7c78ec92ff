//! Learning from what one chose to show: outcomes weighed by how probable it was that they could happen.
//!
//! A click tells of liking and of having been shown, and the more often something is shown, the more clicks it has. Weighed by 1 / P(the item stood there and was looked at), clicks estimate what everyone would click if
//! all were shown alike (Schnabel, Swaminathan, Singh, Chandak and Joachims 2016, ICML; for positions Joachims, Swaminathan and Schnabel 2017, WSDM). Weights are clipped, which bounds the variance
//! and leaves some bias, and divided by their mean, so that decided and other events count alike on average (self-normalised: Swaminathan and Joachims 2015, NeurIPS).
//!
//! Cost: one pass over the decision log; 24 bytes per outcome that carries a decision. What the decision log no longer has counts as average.

use crate::{Service, ServiceError};
use domain::{Event, Sequence};
use hashbrown::HashMap;
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
        if !(1.0..=10_000.0).contains(&self.clip) {
            return Err(format!("clip: got {}, expected 1 to 10000", self.clip));
        }
        match self
            .examination
            .iter()
            .find(|look| !(**look > 0.0 && **look <= 1.0))
        {
            Some(look) => Err(format!(
                "examination: got {look}, expected probabilities above 0, at most 1"
            )),
            None => Ok(()),
        }
    }

    fn weight(&self, place: usize, propensity: f64) -> f64 {
        let look = self.examination.get(place).or(self.examination.last());
        (1.0 / (propensity * look.copied().unwrap_or(1.0))).min(self.clip)
    }
}

/// Weights of outcomes by decision and item.
#[derive(Default)]
pub(crate) struct Weights(HashMap<(u64, u64), f32>);

fn key(decision_id: &str, item_id: &str) -> (u64, u64) {
    (
        numeric::hash_bytes(decision_id.as_bytes()),
        numeric::hash_bytes(item_id.as_bytes()),
    )
}

impl Weights {
    /// What the strength of an event is multiplied by.
    pub(crate) fn of(&self, event: &Event) -> f32 {
        let known = event
            .decision_id
            .as_ref()
            .and_then(|decision| self.0.get(&key(decision.as_str(), event.item_id.as_str())));
        known.copied().filter(|weight| *weight > 0.0).unwrap_or(1.0)
    }
}

impl Service {
    /// Weights for the outcomes of the log up to `head`; none at all if training does not weigh.
    pub(crate) fn outcome_weights(&self, head: Sequence) -> Result<Weights, ServiceError> {
        let Some(config) = &self.config.training.inverse_propensity else {
            return Ok(Weights::default());
        };
        let mut weights: HashMap<(u64, u64), f32> = HashMap::new();
        for batch in self.stores.log.scan(Sequence(1), head)? {
            for stored in batch? {
                if let Some(decision) = &stored.event.decision_id {
                    weights.insert(key(decision.as_str(), stored.event.item_id.as_str()), 0.0);
                }
            }
        }
        // In a fixed order, so that the mean does not depend on the order of the log's files.
        let mut found: Vec<((u64, u64), f64)> = Vec::with_capacity(weights.len());
        let read = self.decisions.each(|stored| {
            let decision = stored.decision;
            for (place, shown) in decision.shown.iter().enumerate() {
                let key = key(decision.decision_id.as_str(), shown.item_id.as_str());
                if weights.contains_key(&key) {
                    let propensity = shown.position_propensity.unwrap_or(shown.propensity);
                    found.push((key, config.weight(place, propensity.max(1e-12))));
                }
            }
        });
        read.map_err(|e| ServiceError::io("reading", &self.dir.join("decisions"), e))?;
        found.sort_by_key(|(key, _)| *key);
        let sum: f64 = found.iter().map(|(_, weight)| weight).sum();
        let mean = sum / found.len().max(1) as f64;
        for (key, weight) in found {
            weights.insert(key, (weight / mean) as f32);
        }
        Ok(Weights(weights))
    }
}
