//! Events as bytes.
//!
//! One event in a frame: distance of its sequence from the one before (varint), flags (1 byte), moment (8
//! bytes), value (8 bytes, if any), then user, item, type and those of event id, session, decision and context
//! that the flags name, each as a varint length and UTF-8; the context is JSON.

use domain::{
    Attributes, DecisionId, Event, EventId, EventType, ItemId, RawAttribute, SessionId, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};

const HAS_VALUE: u8 = 1;
const HAS_EVENT_ID: u8 = 2;
const HAS_SESSION: u8 = 4;
const HAS_DECISION: u8 = 8;
const HAS_CONTEXT: u8 = 16;

/// An event whose texts still lie in the buffer that it was read from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct EventView<'a> {
    pub(crate) event_id: Option<&'a str>,
    pub(crate) user_id: &'a str,
    pub(crate) item_id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) timestamp: i64,
    pub(crate) value: Option<f64>,
    pub(crate) session_id: Option<&'a str>,
    pub(crate) decision_id: Option<&'a str>,
    pub(crate) context: Option<&'a str>,
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

impl EventView<'_> {
    /// Appends the event, `distance` sequences after the one before it.
    pub(crate) fn encode(&self, distance: u64, out: &mut Vec<u8>) {
        put_varint(out, distance);
        let flag = |present: bool, bit: u8| if present { bit } else { 0 };
        out.push(
            flag(self.value.is_some(), HAS_VALUE)
                | flag(self.event_id.is_some(), HAS_EVENT_ID)
                | flag(self.session_id.is_some(), HAS_SESSION)
                | flag(self.decision_id.is_some(), HAS_DECISION)
                | flag(self.context.is_some(), HAS_CONTEXT),
        );
        out.extend_from_slice(&self.timestamp.to_le_bytes());
        if let Some(value) = self.value {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for text in [self.user_id, self.item_id, self.event_type] {
            put_text(out, text);
        }
        for text in [self.event_id, self.session_id, self.decision_id, self.context]
            .into_iter()
            .flatten()
        {
            put_text(out, text);
        }
    }
}

/// Appends an accepted event that directly follows the one before it.
pub(crate) fn encode(event: &Event, out: &mut Vec<u8>) {
    let context = (!event.context.is_empty()).then(|| context_to_json(&event.context));
    EventView {
        event_id: event.event_id.as_ref().map(EventId::as_str),
        user_id: event.user_id.as_str(),
        item_id: event.item_id.as_str(),
        event_type: event.event_type.as_str(),
        timestamp: event.timestamp.0,
        value: event.value,
        session_id: event.session_id.as_ref().map(SessionId::as_str),
        decision_id: event.decision_id.as_ref().map(DecisionId::as_str),
        context: context.as_deref(),
    }
    .encode(1, out);
}

/// Reads from the front of a slice.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (front, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(front)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (front, rest) = self.0.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*front)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        let length = self.varint()?;
        let bytes = self.take(usize::try_from(length).map_err(|_| "a length is too large")?)?;
        std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")
    }

    /// The next event and its distance from the one before.
    pub(crate) fn event(&mut self) -> Result<(u64, EventView<'a>), &'static str> {
        let distance = self.varint()?;
        let [flags] = self.array()?;
        let timestamp = i64::from_le_bytes(self.array()?);
        let has = |bit: u8| flags & bit != 0;
        let value = if has(HAS_VALUE) {
            Some(f64::from_le_bytes(self.array()?))
        } else {
            None
        };
        let (user_id, item_id, event_type) = (self.text()?, self.text()?, self.text()?);
        let mut optional = |bit: u8| if has(bit) { self.text().map(Some) } else { Ok(None) };
        let view = EventView {
            event_id: optional(HAS_EVENT_ID)?,
            session_id: optional(HAS_SESSION)?,
            decision_id: optional(HAS_DECISION)?,
            context: optional(HAS_CONTEXT)?,
            user_id,
            item_id,
            event_type,
            timestamp,
            value,
        };
        Ok((distance, view))
    }
}

/// An attribute in JSON. An empty list of strings reads as an empty list of numbers, so it is spelled out.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredAttribute {
    Plain(RawAttribute),
    NoTexts { texts: [String; 0] },
}

pub(crate) fn context_to_json(context: &Attributes) -> String {
    let no_texts = |value: &RawAttribute| matches!(value, RawAttribute::Texts(texts) if texts.is_empty());
    let json = if context.values().any(no_texts) {
        let stored: std::collections::BTreeMap<&str, StoredAttribute> = context
            .iter()
            .map(|(name, value)| {
                let stored = if no_texts(value) {
                    StoredAttribute::NoTexts { texts: [] }
                } else {
                    StoredAttribute::Plain(value.clone())
                };
                (name.as_str(), stored)
            })
            .collect();
        serde_json::to_string(&stored)
    } else {
        serde_json::to_string(context)
    };
    json.expect("maps with text keys and finite numbers have a JSON form")
}

pub(crate) fn context_from_json(json: &str) -> Result<Attributes, String> {
    if let Ok(context) = serde_json::from_str(json) {
        return Ok(context);
    }
    let stored: std::collections::BTreeMap<String, StoredAttribute> =
        serde_json::from_str(json).map_err(|error| format!("the context is not attributes: {error}"))?;
    let plain = |value| match value {
        StoredAttribute::Plain(value) => value,
        StoredAttribute::NoTexts { .. } => RawAttribute::Texts(Vec::new()),
    };
    Ok(stored
        .into_iter()
        .map(|(name, value)| (name, plain(value)))
        .collect())
}

/// Remembers ids met lately, one per slot, so that repeated ones are neither checked nor allocated again.
struct Recent<T> {
    slots: Vec<Option<T>>,
}

impl<T: AsRef<str> + Clone> Recent<T> {
    fn new(slots: usize) -> Self {
        Self {
            slots: vec![None; slots],
        }
    }

    fn get<E: std::fmt::Display>(
        &mut self,
        text: &str,
        make: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, String> {
        let slot = (hash(text.as_bytes()) % self.slots.len() as u64) as usize;
        if let Some(known) = &self.slots[slot]
            && known.as_ref() == text
        {
            return Ok(known.clone());
        }
        let made = make(text).map_err(|error| error.to_string())?;
        self.slots[slot] = Some(made.clone());
        Ok(made)
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut last = [0u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    for chunk in chunks.iter().chain([&last]) {
        hash = (hash ^ u64::from_le_bytes(*chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    hash
}

/// Makes events from views, sharing the texts of repeated ids.
pub(crate) struct Interner {
    users: Recent<UserId>,
    items: Recent<ItemId>,
    types: Recent<EventType>,
}

impl Interner {
    pub(crate) fn new() -> Self {
        Self {
            users: Recent::new(4096),
            items: Recent::new(4096),
            types: Recent::new(64),
        }
    }

    pub(crate) fn event(&mut self, view: &EventView<'_>) -> Result<Event, String> {
        let bad = |error: domain::IdError| error.to_string();
        Ok(Event {
            event_id: view.event_id.map(EventId::new).transpose().map_err(bad)?,
            user_id: self.users.get(view.user_id, |text| UserId::new(text))?,
            item_id: self.items.get(view.item_id, |text| ItemId::new(text))?,
            event_type: self.types.get(view.event_type, |text| EventType::new(text))?,
            timestamp: Timestamp(view.timestamp),
            value: view.value,
            session_id: view.session_id.map(SessionId::new).transpose().map_err(bad)?,
            decision_id: view.decision_id.map(DecisionId::new).transpose().map_err(bad)?,
            context: view
                .context
                .map(context_from_json)
                .transpose()?
                .unwrap_or_default(),
        })
    }
}
