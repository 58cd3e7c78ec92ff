//! Items, users, and the untyped attributes that they arrive with.

use crate::{ItemId, Timestamp, UserId};
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// An attribute as it was sent, before the schema gives it a kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RawAttribute {
    /// `true` or `false`; the schema treats it as a category.
    Flag(bool),
    /// A finite number.
    Number(f64),
    /// Text, a category, or a moment written out.
    Text(String),
    /// A geographic point, degrees.
    Geo {
        /// Latitude, −90 to 90.
        lat: f64,
        /// Longitude, −180 to 180.
        lon: f64,
    },
    /// Numbers: an embedding.
    Numbers(Vec<f64>),
    /// Strings: tags or ids.
    Texts(Vec<String>),
}

// By hand: a catalogue is read at every start, and trying one form after the other costs an error message for each that it is not.
impl<'de> Deserialize<'de> for RawAttribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawAttribute, D::Error> {
        deserializer.deserialize_any(Form)
    }
}

/// Finds out by what comes first.
struct Form;

/// One of several.
enum Entry {
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        match RawAttribute::deserialize(deserializer)? {
            RawAttribute::Number(number) => Ok(Entry::Number(number)),
            RawAttribute::Text(text) => Ok(Entry::Text(text)),
            RawAttribute::Flag(flag) => Err(D::Error::invalid_type(Unexpected::Bool(flag), &LISTED)),
            RawAttribute::Geo { .. } => Err(D::Error::invalid_type(Unexpected::Map, &LISTED)),
            RawAttribute::Numbers(_) | RawAttribute::Texts(_) => {
                Err(D::Error::invalid_type(Unexpected::Seq, &LISTED))
            }
        }
    }
}

const LISTED: &str = "numbers alone or strings alone within an array";

impl<'de> Visitor<'de> for Form {
    type Value = RawAttribute;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, a number, a string, an array of numbers or of strings, or an object with lat and lon")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<RawAttribute, E> {
        Ok(RawAttribute::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<RawAttribute, E> {
        Ok(RawAttribute::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<RawAttribute, E> {
        Ok(RawAttribute::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<RawAttribute, E> {
        Ok(RawAttribute::Number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawAttribute, E> {
        Ok(RawAttribute::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<RawAttribute, E> {
        Ok(RawAttribute::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawAttribute, A::Error> {
        let room = list.size_hint().unwrap_or(0).min(4096);
        match list.next_element()? {
            None => Ok(RawAttribute::Numbers(Vec::new())),
            Some(Entry::Number(first)) => {
                let mut numbers = Vec::with_capacity(room);
                numbers.push(first);
                while let Some(next) = list.next_element()? {
                    numbers.push(next);
                }
                Ok(RawAttribute::Numbers(numbers))
            }
            Some(Entry::Text(first)) => {
                let mut texts = Vec::with_capacity(room);
                texts.push(first);
                while let Some(next) = list.next_element()? {
                    texts.push(next);
                }
                Ok(RawAttribute::Texts(texts))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<RawAttribute, A::Error> {
        let (mut lat, mut lon) = (None, None);
        while let Some(name) = fields.next_key::<String>()? {
            let (field, place) = match name.as_str() {
                "lat" => ("lat", &mut lat),
                "lon" => ("lon", &mut lon),
                _ => {
                    fields.next_value::<serde::de::IgnoredAny>()?;
                    continue;
                }
            };
            if place.replace(fields.next_value()?).is_some() {
                return Err(A::Error::duplicate_field(field));
            }
        }
        Ok(RawAttribute::Geo {
            lat: lat.ok_or_else(|| A::Error::missing_field("lat"))?,
            lon: lon.ok_or_else(|| A::Error::missing_field("lon"))?,
        })
    }
}

/// Attributes by name, in name order.
pub type Attributes = BTreeMap<String, RawAttribute>;

/// Something that can be shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub item_id: ItemId,
    /// What is known of it.
    pub attributes: Attributes,
    /// Hidden items are never shown.
    pub hidden: bool,
    /// When it entered the catalogue.
    pub added_at: Option<Timestamp>,
}

/// What is known of a person apart from events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Their id.
    pub user_id: UserId,
    /// What is known of them.
    pub attributes: Attributes,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms one after the other, as serde tries them.
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum OneByOne {
        Flag(bool),
        Number(f64),
        Text(String),
        Numbers(Vec<f64>),
        Texts(Vec<String>),
        Geo { lat: f64, lon: f64 },
    }

    #[test]
    fn forms_are_those_that_trying_them_one_by_one_finds() {
        let texts = [
            "true",
            "0",
            "-3",
            "2.5",
            "1e300",
            "18446744073709551615",
            "\"\"",
            "\"a\\\"b\"",
            "[]",
            "[1]",
            "[1,2]",
            "[1,-2.5,3]",
            "[\"a\"]",
            "[\"a\",\"b\"]",
            "{\"lat\":1,\"lon\":-2.5}",
            "{\"lon\":1,\"more\":[{}],\"lat\":0.5}",
            "null",
            "[null]",
            "[true]",
            "[1,\"a\"]",
            "[\"a\",1]",
            "[[1]]",
            "[{\"lat\":1,\"lon\":2}]",
            "{}",
            "{\"lat\":1}",
            "{\"lat\":\"1\",\"lon\":2}",
            "{\"lat\":1,\"lat\":1,\"lon\":2}",
        ];
        for text in texts {
            let slowly = match serde_json::from_str(text) {
                Ok(OneByOne::Flag(flag)) => Some(RawAttribute::Flag(flag)),
                Ok(OneByOne::Number(number)) => Some(RawAttribute::Number(number)),
                Ok(OneByOne::Text(text)) => Some(RawAttribute::Text(text)),
                Ok(OneByOne::Numbers(numbers)) => Some(RawAttribute::Numbers(numbers)),
                Ok(OneByOne::Texts(texts)) => Some(RawAttribute::Texts(texts)),
                Ok(OneByOne::Geo { lat, lon }) => Some(RawAttribute::Geo { lat, lon }),
                Err(_) => None,
            };
            let read = serde_json::from_str::<RawAttribute>(text).ok();
            assert_eq!(read, slowly, "{text}");
            let value = serde_json::from_str::<serde_json::Value>(text).ok();
            let by_value = value.and_then(|value| serde_json::from_value::<RawAttribute>(value).ok());
            // A value has each name once.
            assert!(by_value == slowly || text.contains("lat\":1,\"lat"), "{text}");
            if let Some(read) = read {
                let written = serde_json::to_string(&read).expect("a form of JSON");
                assert_eq!(
                    serde_json::from_str::<RawAttribute>(&written).ok(),
                    Some(read),
                    "{written}"
                );
            }
        }
        let error = serde_json::from_str::<RawAttribute>("[1,\"a\"]").expect_err("two kinds");
        assert!(error.to_string().contains("string \"a\""), "{error}");
    }
}
