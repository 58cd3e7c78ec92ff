//! Giving attributes a kind, and reading them by it.

use domain::{AttributeKind, RawAttribute, Timestamp};

/// An attribute read by its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum TypedValue {
    /// One of a set of values.
    Category(String),
    /// Labels, in the order given.
    Tags(Vec<String>),
    /// A quantity, finite.
    Number(f64),
    /// Words.
    Text(String),
    /// A moment.
    Timestamp(Timestamp),
    /// Degrees.
    Geo {
        /// Latitude.
        lat: f64,
        /// Longitude.
        lon: f64,
    },
    /// A vector, finite.
    Embedding(Vec<f32>),
    /// References.
    Ids(Vec<String>),
}

/// Longest text that inference still takes for a category, in characters.
const CATEGORY_CHARS_MAX: usize = 40;
/// Most words of a text that inference still takes for a category.
const CATEGORY_WORDS_MAX: usize = 4;

/// Kind that fits every value seen, from the values themselves; `None` for no values.
///
/// Numbers are `Number`, unless mixed with text; points `Geo`; lists of numbers `Embedding`;
/// lists of strings `Tags`; strings that all read as a moment with a date `Timestamp`; short strings that repeat
/// (fewer distinct than half of the values, once there are ten) or flags `Category`; longer ones `Text`.
pub fn infer_kind<'a>(values: impl IntoIterator<Item = &'a RawAttribute>) -> Option<AttributeKind> {
    let (mut numbers, mut points, mut vectors, mut lists, mut texts, mut flags) =
        (0usize, 0usize, 0usize, 0usize, 0usize, 0usize);
    let (mut moments, mut short) = (0usize, 0usize);
    let mut distinct = std::collections::BTreeSet::new();
    for value in values {
        match value {
            RawAttribute::Number(_) => numbers += 1,
            RawAttribute::Geo { .. } => points += 1,
            RawAttribute::Numbers(_) => vectors += 1,
            RawAttribute::Texts(_) => lists += 1,
            RawAttribute::Flag(_) => flags += 1,
            RawAttribute::Text(text) => {
                texts += 1;
                let dated = text.contains('-') && text.parse::<f64>().is_err();
                moments += usize::from(dated && crate::parse_timestamp(text).is_ok());
                short += usize::from(
                    text.chars().count() <= CATEGORY_CHARS_MAX
                        && text.split_whitespace().count() <= CATEGORY_WORDS_MAX,
                );
                distinct.insert(text.as_str());
            }
        }
    }
    let total = numbers + points + vectors + lists + texts + flags;
    Some(match total {
        0 => return None,
        _ if numbers == total => AttributeKind::Number,
        _ if points == total => AttributeKind::Geo,
        _ if vectors == total => AttributeKind::Embedding,
        _ if lists > 0 => AttributeKind::Tags,
        _ if texts > 0 && moments == texts && texts == total => AttributeKind::Timestamp,
        _ if flags == total => AttributeKind::Category,
        _ if texts > 0 && short == texts && (texts < 10 || distinct.len() * 2 < texts) => {
            AttributeKind::Category
        }
        _ if texts > 0 => AttributeKind::Text,
        _ => AttributeKind::Category,
    })
}

/// Reads a value as a kind. Lossless readings only: a single string is a list of one for `Tags`
/// and `Ids` (split at `|` for tags), a number is its decimal text for `Category`.
///
/// # Errors
/// What was expected, if the value cannot be read so.
pub fn typed(raw: &RawAttribute, kind: AttributeKind) -> Result<TypedValue, &'static str> {
    use RawAttribute as R;
    let finite = |x: f64| x.is_finite();
    match (kind, raw) {
        (AttributeKind::Category, R::Text(text)) => Ok(TypedValue::Category(text.clone())),
        (AttributeKind::Category, R::Flag(flag)) => Ok(TypedValue::Category(flag.to_string())),
        (AttributeKind::Category, R::Number(number)) => Ok(TypedValue::Category(number.to_string())),
        (AttributeKind::Category, _) => Err("a string, a number or a boolean"),
        (AttributeKind::Tags, R::Texts(tags)) => Ok(TypedValue::Tags(tags.clone())),
        (AttributeKind::Tags, R::Text(text)) => Ok(TypedValue::Tags(
            text.split('|')
                .filter(|t| !t.is_empty())
                .map(str::to_owned)
                .collect(),
        )),
        (AttributeKind::Tags, R::Flag(flag)) => Ok(TypedValue::Tags(vec![flag.to_string()])),
        (AttributeKind::Tags, R::Number(number)) => Ok(TypedValue::Tags(vec![number.to_string()])),
        (AttributeKind::Tags, R::Numbers(numbers)) => {
            Ok(TypedValue::Tags(numbers.iter().map(f64::to_string).collect()))
        }
        (AttributeKind::Tags, _) => Err("a list of strings"),
        (AttributeKind::Number, R::Number(number)) if finite(*number) => Ok(TypedValue::Number(*number)),
        (AttributeKind::Number, R::Text(text)) => match text.trim().parse::<f64>() {
            Ok(number) if finite(number) => Ok(TypedValue::Number(number)),
            _ => Err("a finite number"),
        },
        (AttributeKind::Number, _) => Err("a finite number"),
        (AttributeKind::Text, R::Text(text)) => Ok(TypedValue::Text(text.clone())),
        (AttributeKind::Text, R::Texts(texts)) => Ok(TypedValue::Text(texts.join(" "))),
        (AttributeKind::Text, R::Number(number)) => Ok(TypedValue::Text(number.to_string())),
        (AttributeKind::Text, R::Flag(flag)) => Ok(TypedValue::Text(flag.to_string())),
        (AttributeKind::Text, _) => Err("a string"),
        (AttributeKind::Timestamp, R::Text(text)) => crate::parse_timestamp(text)
            .map(TypedValue::Timestamp)
            .map_err(|_| "a timestamp"),
        (AttributeKind::Timestamp, R::Number(number)) => crate::timestamp_from_number(*number)
            .map(TypedValue::Timestamp)
            .map_err(|_| "a timestamp"),
        (AttributeKind::Timestamp, _) => Err("a timestamp"),
        (AttributeKind::Geo, R::Geo { lat, lon }) if lat.abs() <= 90.0 && lon.abs() <= 180.0 => {
            Ok(TypedValue::Geo { lat: *lat, lon: *lon })
        }
        (AttributeKind::Geo, _) => Err("{lat, lon} in degrees"),
        (AttributeKind::Embedding, R::Numbers(numbers)) if numbers.iter().all(|x| finite(*x)) => {
            Ok(TypedValue::Embedding(numbers.iter().map(|x| *x as f32).collect()))
        }
        (AttributeKind::Embedding, _) => Err("a list of finite numbers"),
        (AttributeKind::Ids, R::Texts(ids)) => Ok(TypedValue::Ids(ids.clone())),
        (AttributeKind::Ids, R::Text(id)) => Ok(TypedValue::Ids(vec![id.clone()])),
        (AttributeKind::Ids, _) => Err("a list of ids"),
    }
}
