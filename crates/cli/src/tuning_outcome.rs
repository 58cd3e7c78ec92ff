//! What a search for good configurations found, for people, machines and the next run.

use crate::evaluate_models::Chosen;
use crate::failure::InputError;
use anyhow::Context;
use serde_json::{Map, Value, json};

/// What was found for one model.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) config: Value,
    /// Score of what was found, and of the configuration as given. `None` where there was no time for the model as a whole,
    /// but for parts of it.
    pub(crate) score: Option<f64>,
    pub(crate) given: Option<f64>,
    pub(crate) trials: usize,
    pub(crate) seconds: f64,
}

/// What was found for all models.
pub(crate) struct Outcome {
    pub(crate) metric: String,
    pub(crate) found: Vec<Found>,
    /// Models that could not be fitted at all, with reasons.
    pub(crate) failed: Vec<(String, String)>,
    pub(crate) seconds: f64,
}

impl Outcome {
    /// The models with what was found for them; a blend gets the configurations of its parts.
    pub(crate) fn applied(&self, chosen: Vec<Chosen>) -> Result<Vec<Chosen>, InputError> {
        let tuned = |chosen: Chosen| {
            let config = self.config_of(&chosen.name).unwrap_or(chosen.given);
            Chosen::build(&chosen.name, config)
        };
        chosen.into_iter().map(tuned).collect()
    }

    /// True if something was found for a part of this model.
    pub(crate) fn has_part_of(&self, blend: &Found) -> bool {
        let config = Chosen::build(&blend.name, blend.config.clone()).map(|built| built.trainer.config());
        let of = |config: &Value| config.get("parts").and_then(Value::as_array).cloned();
        let parts = config.ok().as_ref().and_then(of).unwrap_or_default();
        let found = |part: &Value| {
            self.found
                .iter()
                .any(|found| part["model"] == found.name.as_str())
        };
        parts.iter().any(found)
    }

    /// What was found for a model, completed; `None` if nothing was.
    fn config_of(&self, name: &str) -> Option<Value> {
        let found = self.found.iter().find(|found| found.name == name)?;
        let full = Chosen::build(name, found.config.clone()).ok()?.trainer.config();
        Some(self.with_tuned_parts(full))
    }

    /// Puts what was found for the parts of a blend into its configuration.
    fn with_tuned_parts(&self, mut config: Value) -> Value {
        let parts = config.get_mut("parts").and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            let name = part.get("model").and_then(Value::as_str).unwrap_or_default();
            if let Some(found) = self.found.iter().find(|found| found.name == name)
                && let Ok(built) = Chosen::build(name, found.config.clone())
                && let Some(part) = part.as_object_mut()
            {
                part.insert("config".to_owned(), built.trainer.config());
            }
        }
        config
    }

    /// For machines.
    pub(crate) fn as_json(&self) -> Value {
        let one = |found: &Found| {
            json!({
                "name": found.name,
                "config": self.config_of(&found.name),
                "score": found.score,
                "score_as_given": found.given,
                "trials": found.trials,
                "seconds": (found.seconds * 100.0).round() / 100.0,
            })
        };
        let failed = |(name, reason): &(String, String)| json!({"name": name, "reason": reason});
        json!({
            "metric": self.metric,
            "seconds": (self.seconds * 100.0).round() / 100.0,
            "models": self.found.iter().map(one).collect::<Vec<_>>(),
            "failed": self.failed.iter().map(failed).collect::<Vec<_>>(),
        })
    }

    /// The configurations as a file: a table per model.
    pub(crate) fn to_toml(&self) -> anyhow::Result<String> {
        let mut text = format!(
            "# Configurations found by `concierge tune` by {} on validation rows, in {:.0} seconds.\n\
             # Use them with `concierge evaluate --config FILE` or `concierge init --tuned FILE`.\n",
            self.metric, self.seconds
        );
        for found in &self.found {
            let config = self
                .config_of(&found.name)
                .map(without_nulls)
                .map(short)
                .unwrap_or_default();
            let table: Map<String, Value> = [(found.name.clone(), config)].into_iter().collect();
            let given = found
                .given
                .map_or_else(String::new, |given| format!(", {given:.4} before"));
            text.push_str(&match found.score {
                Some(score) => format!(
                    "\n# {score:.4}{given}; {} trials, {:.0} seconds\n",
                    found.trials, found.seconds
                ),
                None => "\n# Not tried, for lack of time: what was found for its parts.\n".to_owned(),
            });
            let written = toml::to_string(&table).context("failed to write TOML")?;
            text.push_str(&written);
        }
        Ok(text)
    }
}

/// TOML has no null; a key that is left out means the same.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        value => value,
    }
}

/// Numbers of single precision with as many digits as they have.
fn short(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (key, short(value))).collect())
        }
        Value::Number(number) if number.is_f64() => {
            let wide = number.as_f64().unwrap_or_default();
            let single = wide as f32;
            // The digits that tell it from its neighbours of single precision.
            let text = (f64::from(single) == wide).then(|| single.to_string());
            text.and_then(|text| text.parse::<f64>().ok())
                .map_or(Value::Number(number), Value::from)
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blend_takes_what_was_found_for_its_parts_and_the_file_reads_back() {
        let late = |found: Found| Found { score: None, ..found };
        let found = |name: &str, config: Value| Found {
            name: name.to_owned(),
            config,
            score: Some(0.3),
            given: Some(0.2),
            trials: 4,
            seconds: 2.0,
        };
        let outcome = Outcome {
            metric: "ndcg@20".to_owned(),
            found: vec![
                found("als", json!({"factors": 33, "reg_exponent": f64::from(0.74f32)})),
                found("popular", json!({})),
                late(found("blend", Value::Null)),
            ],
            failed: Vec::new(),
            seconds: 1.0,
        };
        assert!(outcome.has_part_of(&outcome.found[2]) && !outcome.has_part_of(&outcome.found[1]));
        let text = outcome.to_toml().expect("plain data");
        let read: std::collections::BTreeMap<String, Value> = toml::from_str(&text).expect("TOML");
        for (name, config) in &read {
            assert!(Chosen::build(name, config.clone()).is_ok(), "{text}");
        }
        assert_eq!(read["als"]["factors"], 33);
        assert!(text.contains("reg_exponent = 0.74\n"), "{text}");
        let parts = read["blend"]["parts"].as_array().expect("parts");
        let als = parts.iter().find(|part| part["model"] == "als").expect("a part");
        assert_eq!(als["config"]["factors"], 33);
    }
}
