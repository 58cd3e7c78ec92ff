//! Which models an evaluation is about.

use crate::failure::InputError;
use models::{Model, Trainer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A learner with its configuration.
pub(crate) struct Chosen {
    pub(crate) name: String,
    /// What was given of its configuration; null for nothing.
    pub(crate) given: Value,
    pub(crate) trainer: Box<dyn Trainer>,
}

impl Chosen {
    /// A learner with this configuration.
    pub(crate) fn build(name: &str, given: Value) -> Result<Chosen, InputError> {
        let known = || {
            models::trainers()
                .iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
        };
        let entry = models::trainer(name).ok_or_else(|| {
            InputError(format!(
                "--models: got {name:?}, expected one of {}",
                known().join(", ")
            ))
        })?;
        let trainer = (entry.build)(&given).map_err(|e| InputError(format!("--models: {e}")))?;
        Ok(Chosen {
            name: name.to_owned(),
            given,
            trainer,
        })
    }
}

/// A configuration with what followed from the data where it says null, by a model that was trained with it.
pub(crate) fn effective(mut config: Value, model: &dyn Model) -> Value {
    for (key, value) in model.settled() {
        if let Some(open) = config.get_mut(&key).filter(|value| value.is_null()) {
            *open = value;
        }
    }
    let parts = model.parts();
    for told in config
        .get_mut("parts")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(part) = parts.iter().find(|part| told["model"] == part.name()) {
            told["config"] = effective(told["config"].take(), *part);
        }
    }
    config
}

/// Longest part of a configuration that a name is told apart by.
const TOLD_MAX: usize = 48;

/// Gives learners of one kind different names: tables are by name, and so are comparisons in pairs.
pub(crate) fn told_apart(chosen: &mut [Chosen]) {
    let kinds: Vec<String> = chosen.iter().map(|one| one.name.clone()).collect();
    let mut taken: Vec<String> = Vec::new();
    for (at, one) in chosen.iter_mut().enumerate() {
        if kinds.iter().filter(|kind| **kind == one.name).count() > 1 && !one.given.is_null() {
            let given: String = one.given.to_string().replace('"', "");
            let told: String = given.chars().take(TOLD_MAX).collect();
            let cut = if told.len() < given.len() { "…" } else { "" };
            one.name = format!("{} {told}{cut}", kinds[at]);
        }
        if taken.contains(&one.name) {
            one.name = format!("{} #{}", one.name, at + 1);
        }
        taken.push(one.name.clone());
    }
}

/// Reads `a,b:{json}`; all learners for an empty text. A configuration in the text wins over one
/// of the file.
pub(crate) fn chosen(text: &str, config: Option<&Path>) -> Result<Vec<Chosen>, InputError> {
    let of_file = match config {
        Some(path) => file(path)?,
        None => BTreeMap::new(),
    };
    let known = || {
        models::trainers()
            .iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(name) = of_file.keys().find(|name| models::trainer(name).is_none()) {
        return Err(InputError(format!(
            "--config: got model {name:?}, expected one of {}",
            known()
        )));
    }
    let wanted: Vec<(String, Option<Value>)> = if text.trim().is_empty() {
        models::trainers()
            .iter()
            .map(|entry| (entry.name.to_owned(), None))
            .collect()
    } else {
        pieces(text).into_iter().map(named).collect::<Result<_, _>>()?
    };
    wanted
        .into_iter()
        .map(|(name, config)| {
            let config = config.or_else(|| of_file.get(&name).cloned());
            Chosen::build(&name, config.unwrap_or(Value::Null))
        })
        .collect()
}

/// Cuts at commas that are outside braces, brackets and strings.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut depth) = (Vec::new(), 0, 0i32);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            ',' if !quoted && depth <= 0 => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

pub(crate) fn named(piece: &str) -> Result<(String, Option<Value>), InputError> {
    let Some((name, config)) = piece.split_once(':') else {
        return Ok((piece.trim().to_owned(), None));
    };
    match serde_json::from_str::<Value>(config) {
        Ok(value) if value.is_object() => Ok((name.trim().to_owned(), Some(value))),
        Ok(_) => Err(InputError(format!(
            "--models: {name}: got {config}, expected a JSON object"
        ))),
        Err(e) => Err(InputError(format!(
            "--models: {name}: got {config}, expected a JSON object ({e})"
        ))),
    }
}

/// Configurations by model name, of a file in TOML or JSON.
pub(crate) fn file(path: &Path) -> Result<BTreeMap<String, Value>, InputError> {
    let fail = |e: &dyn std::fmt::Display| InputError(format!("--config {}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| fail(&e))?;
    if path.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).map_err(|e| fail(&e))
    } else {
        toml::from_str(&text).map_err(|e| fail(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_inside_a_configuration_do_not_cut() {
        assert_eq!(
            pieces(r#"a,b:{"x":[1,2],"y":"},"},c"#),
            ["a", r#"b:{"x":[1,2],"y":"},"}"#, "c"]
        );
        let all = chosen("", None).unwrap_or_default();
        assert_eq!(all.len(), models::trainers().len());
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let refused = |text: &str| match chosen(text, None) {
            Ok(_) => String::new(),
            Err(error) => error.0,
        };
        assert!(refused("popular,poplar").contains("got \"poplar\", expected one of popular, "));
        assert!(refused("popular:{").contains("expected a JSON object"));
        assert!(refused("popular:[1]").contains("expected a JSON object"));
        assert!(refused(r#"popular:{"no_such_key":1}"#).contains("no_such_key"));
    }

    #[test]
    fn learners_of_one_kind_are_told_apart() {
        let text = r#"ease,als,ease:{"keep":300},ease:{"keep":300},als"#;
        let mut chosen = chosen(text, None).expect("sound");
        told_apart(&mut chosen);
        let names: Vec<&str> = chosen.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            ["ease", "als", "ease {keep:300}", "ease {keep:300} #4", "als #5"]
        );
    }
}
