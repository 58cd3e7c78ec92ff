//! Attributes as JSON. An empty list of strings would read back as an empty list of numbers, so it is
//! spelled out.

use domain::{Attributes, RawAttribute};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Plain(RawAttribute),
    NoTexts { texts: [String; 0] },
}

fn no_texts(value: &RawAttribute) -> bool {
    matches!(value, RawAttribute::Texts(texts) if texts.is_empty())
}

pub(crate) fn to_json(attributes: &Attributes) -> String {
    let json = if attributes.values().any(no_texts) {
        let stored: BTreeMap<&str, Stored> = attributes
            .iter()
            .map(|(name, value)| {
                let stored = if no_texts(value) {
                    Stored::NoTexts { texts: [] }
                } else {
                    Stored::Plain(value.clone())
                };
                (name.as_str(), stored)
            })
            .collect();
        serde_json::to_string(&stored)
    } else {
        serde_json::to_string(attributes)
    };
    json.expect("maps with text keys have a JSON form")
}

pub(crate) fn from_json(json: &str) -> Result<Attributes, String> {
    if let Ok(attributes) = serde_json::from_str(json) {
        return Ok(attributes);
    }
    let stored: BTreeMap<String, Stored> =
        serde_json::from_str(json).map_err(|e| format!("not attributes: {e}"))?;
    let plain = |value| match value {
        Stored::Plain(value) => value,
        Stored::NoTexts { .. } => RawAttribute::Texts(Vec::new()),
    };
    Ok(stored
        .into_iter()
        .map(|(name, value)| (name, plain(value)))
        .collect())
}
