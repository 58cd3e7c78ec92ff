//! Reading of settings.

use crate::PolicyError;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads settings; `null` for the defaults. The field of an error is empty where the reader does not know it.
pub(crate) fn parse<T: DeserializeOwned>(settings: &Value) -> Result<T, PolicyError> {
    let settings = match settings {
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other.clone(),
    };
    T::deserialize(&settings).map_err(|e| {
        let words = e.to_string();
        // serde names the key between the first back-quotes of what it says of unknown and missing ones.
        let named = words
            .split('`')
            .nth(1)
            .filter(|key| words.starts_with("unknown field") && settings.get(key).is_some());
        match named {
            Some(key) => PolicyError {
                field: key.to_owned(),
                got: settings[key].to_string(),
                expected: words
                    .split_once(", ")
                    .map_or_else(|| "no such key".to_owned(), |(_, rest)| rest.to_owned()),
            },
            None => PolicyError {
                field: "settings".to_owned(),
                got: settings.to_string(),
                expected: words,
            },
        }
    })
}

/// A number within limits; `above` excludes the lower one.
pub(crate) fn within(field: &str, value: f64, low: f64, high: f64) -> Result<(), PolicyError> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(PolicyError {
        field: field.to_owned(),
        got: value.to_string(),
        expected: format!("{low} to {high}"),
    })
}

/// Settings as they are in force.
pub(crate) fn shown<T: serde::Serialize>(settings: &T) -> Value {
    serde_json::to_value(settings).unwrap_or(Value::Null)
}
