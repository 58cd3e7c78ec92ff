//! What each type of event is worth. Weights are configuration: changing one re-derives
//! everything from the log, nothing is imported again.

use domain::Event;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an event type tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The item was shown.
    Exposure,
    /// The person did something with it.
    Outcome,
    /// The person said what they think of it.
    Preference,
}

/// What one event type is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTypeConfig {
    /// Strength, −10 to 10; negative for dislike.
    pub weight: f32,
    /// Days after which the strength has halved; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life_days: Option<f32>,
    /// The event counts only if its value is at least this; an event without value does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_min: Option<f64>,
    /// The event counts only if its value is at most this; an event without value does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_max: Option<f64>,
    /// If set, the strength is `weight` times value / this: a rating of 5 with 5 counts `weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_scale: Option<f64>,
    /// What it tells.
    pub role: Role,
    /// Whether an item with such an event is left out of later slates.
    #[serde(default = "yes")]
    pub marks_seen: bool,
}

fn yes() -> bool {
    true
}

/// Every event type by name, and what an unnamed one is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTypes(pub BTreeMap<String, EventTypeConfig>);

/// A configuration that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("event_types.{event_type}.{field}: got {got}, expected {expected}")]
pub struct EventTypeError {
    /// Which type.
    pub event_type: String,
    /// Which key.
    pub field: &'static str,
    /// What was there.
    pub got: String,
    /// What should have been.
    pub expected: &'static str,
}

impl Default for EventTypes {
    fn default() -> Self {
        let of = |weight: f32, role: Role, marks_seen: bool| EventTypeConfig {
            weight,
            half_life_days: None,
            value_min: None,
            value_max: None,
            value_scale: None,
            role,
            marks_seen,
        };
        let mut types = BTreeMap::new();
        types.insert("purchase".into(), of(1.0, Role::Outcome, true));
        types.insert("cart".into(), of(0.7, Role::Outcome, true));
        types.insert(
            "view".into(),
            EventTypeConfig {
                value_min: Some(30.0),
                ..of(0.4, Role::Outcome, true)
            },
        );
        types.insert("click".into(), of(0.2, Role::Outcome, true));
        types.insert("impression".into(), of(0.05, Role::Exposure, false));
        types.insert("return".into(), of(-1.0, Role::Outcome, true));
        types.insert("dismiss".into(), of(-0.5, Role::Preference, true));
        types.insert("like".into(), of(1.0, Role::Preference, true));
        types.insert(
            "rating".into(),
            EventTypeConfig {
                value_scale: Some(5.0),
                ..of(1.0, Role::Preference, true)
            },
        );
        EventTypes(types)
    }
}

impl EventTypes {
    /// The configuration of a type, if it is known.
    pub fn get(&self, event_type: &str) -> Option<&EventTypeConfig> {
        self.0.get(event_type)
    }

    /// Strength of an event when it happened, or `None` if its type is unknown or its value
    /// condition does not hold.
    pub fn strength(&self, event: &Event) -> Option<f32> {
        self.get(event.event_type.as_str())?.strength(event.value)
    }

    /// Checks signs, ranges and relations.
    ///
    /// # Errors
    /// The first key that cannot be.
    pub fn check(&self) -> Result<(), EventTypeError> {
        for (event_type, config) in &self.0 {
            let fail = |field, got: String, expected| EventTypeError {
                event_type: event_type.clone(),
                field,
                got,
                expected,
            };
            if !config.weight.is_finite() || config.weight.abs() > 10.0 {
                return Err(fail(
                    "weight",
                    config.weight.to_string(),
                    "a number from -10 to 10",
                ));
            }
            if let Some(days) = config.half_life_days
                && !(days.is_finite() && days > 0.0)
            {
                return Err(fail("half_life_days", days.to_string(), "a number above 0"));
            }
            if let Some(scale) = config.value_scale
                && !(scale.is_finite() && scale > 0.0)
            {
                return Err(fail("value_scale", scale.to_string(), "a number above 0"));
            }
            if let (Some(min), Some(max)) = (config.value_min, config.value_max)
                && min > max
            {
                return Err(fail("value_min", min.to_string(), "at most value_max"));
            }
        }
        Ok(())
    }
}

impl EventTypeConfig {
    /// Strength of an event with this value when it happened, or `None` if the condition fails.
    pub fn strength(&self, value: Option<f64>) -> Option<f32> {
        if let Some(min) = self.value_min
            && value.is_none_or(|v| v < min)
        {
            return None;
        }
        if let Some(max) = self.value_max
            && value.is_none_or(|v| v > max)
        {
            return None;
        }
        let scale = match (self.value_scale, value) {
            (Some(scale), Some(value)) => (value / scale).clamp(-10.0, 10.0) as f32,
            _ => 1.0,
        };
        Some(self.weight * scale)
    }

    /// What is left of a strength after `age_days`.
    pub fn decay(&self, age_days: f32) -> f32 {
        self.half_life_days.map_or(1.0, |half| (-age_days / half).exp2())
    }
}
