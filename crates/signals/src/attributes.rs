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

impl TypedValue {
    /// The kind by which it was read.
    pub fn kind(&self) -> AttributeKind {
        match self {
            TypedValue::Category(_) => AttributeKind::Category,
            TypedValue::Tags(_) => AttributeKind::Tags,
            TypedValue::Number(_) => AttributeKind::Number,
            TypedValue::Text(_) => AttributeKind::Text,
            TypedValue::Timestamp(_) => AttributeKind::Timestamp,
            TypedValue::Geo { .. } => AttributeKind::Geo,
            TypedValue::Embedding(_) => AttributeKind::Embedding,
            TypedValue::Ids(_) => AttributeKind::Ids,
        }
    }
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
    let mut tally = KindTally::default();
    for value in values {
        tally.add(value);
    }
    tally.kind()
}

/// What inference needs of the values of one attribute: they can come and go. Memory: 24 bytes per
/// distinct string.
#[derive(Debug, Clone, Default)]
pub struct KindTally {
    numbers: usize,
    points: usize,
    vectors: usize,
    lists: usize,
    texts: usize,
    flags: usize,
    moments: usize,
    short: usize,
    distinct: hashbrown::HashMap<u64, usize>,
}

/// What a string says of its attribute's kind.
fn traits_of(text: &str) -> (bool, bool) {
    let dated = text.contains('-') && text.parse::<f64>().is_err();
    let moment = dated && crate::parse_timestamp(text).is_ok();
    let short =
        text.chars().count() <= CATEGORY_CHARS_MAX && text.split_whitespace().count() <= CATEGORY_WORDS_MAX;
    (moment, short)
}

fn text_hash(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}

impl KindTally {
    /// Counts a value.
    pub fn add(&mut self, value: &RawAttribute) {
        match value {
            RawAttribute::Number(_) => self.numbers += 1,
            RawAttribute::Geo { .. } => self.points += 1,
            RawAttribute::Numbers(_) => self.vectors += 1,
            RawAttribute::Texts(_) => self.lists += 1,
            RawAttribute::Flag(_) => self.flags += 1,
            RawAttribute::Text(text) => {
                let (moment, short) = traits_of(text);
                self.texts += 1;
                self.moments += usize::from(moment);
                self.short += usize::from(short);
                *self.distinct.entry(text_hash(text)).or_default() += 1;
            }
        }
    }

    /// Takes back a value that was counted.
    pub fn remove(&mut self, value: &RawAttribute) {
        let less = |count: &mut usize, by: bool| *count = count.saturating_sub(usize::from(by));
        match value {
            RawAttribute::Number(_) => less(&mut self.numbers, true),
            RawAttribute::Geo { .. } => less(&mut self.points, true),
            RawAttribute::Numbers(_) => less(&mut self.vectors, true),
            RawAttribute::Texts(_) => less(&mut self.lists, true),
            RawAttribute::Flag(_) => less(&mut self.flags, true),
            RawAttribute::Text(text) => {
                let (moment, short) = traits_of(text);
                less(&mut self.texts, true);
                less(&mut self.moments, moment);
                less(&mut self.short, short);
                let hash = text_hash(text);
                if let Some(count) = self.distinct.get_mut(&hash) {
                    *count -= 1;
                    if *count == 0 {
                        self.distinct.remove(&hash);
                    }
                }
            }
        }
    }

    /// Values counted.
    pub fn len(&self) -> usize {
        self.numbers + self.points + self.vectors + self.lists + self.texts + self.flags
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`infer_kind`] of the values counted.
    pub fn kind(&self) -> Option<AttributeKind> {
        let total = self.len();
        let texts = self.texts;
        Some(match total {
            0 => return None,
            _ if self.numbers == total => AttributeKind::Number,
            _ if self.points == total => AttributeKind::Geo,
            _ if self.vectors == total => AttributeKind::Embedding,
            _ if self.lists > 0 => AttributeKind::Tags,
            _ if texts > 0 && self.moments == texts && texts == total => AttributeKind::Timestamp,
            _ if self.flags == total => AttributeKind::Category,
            _ if texts > 0 && self.short == texts && (texts < 10 || self.distinct.len() * 2 < texts) => {
                AttributeKind::Category
            }
            _ if texts > 0 => AttributeKind::Text,
            _ => AttributeKind::Category,
        })
    }
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
