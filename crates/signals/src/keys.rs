//! Which events are the same.
//!
//! An event with an id is that id. One without is its content: user, item, type, moment, value,
//! session, decision and context. One with neither id nor moment is its content within a window
//! of [`UNTIMED_WINDOW_MS`], so that a retried request does not count twice while the same act
//! an hour later counts again.

use domain::{Event, EventId, EventKey, NewEvent, RawAttribute};

/// Length of the window in which two equal events without id and moment are one, milliseconds.
/// A retry that falls into the next window is recognised too.
pub const UNTIMED_WINDOW_MS: i64 = 600_000;

/// The key of an event: BLAKE3 cut to 128 bits, over the id if there is one, else the content.
/// Every field is preceded by its length, so that no two contents run together.
pub fn event_key(event: &Event) -> EventKey {
    let mut hasher = blake3::Hasher::new();
    match &event.event_id {
        Some(id) => {
            hasher.update(b"i");
            hasher.update(id.as_str().as_bytes());
        }
        None => {
            hasher.update(b"c");
            content(&mut hasher, event);
            hasher.update(&event.timestamp.0.to_le_bytes());
        }
    }
    finish(&hasher)
}

/// Prepares an event for the log.
///
/// `timed` says whether the caller gave the moment; if not, `event.timestamp` is the moment of
/// receipt, and an event without id gets one derived from its content and the current window.
pub fn new_event(mut event: Event, timed: bool) -> NewEvent {
    if timed || event.event_id.is_some() {
        let key = event_key(&event);
        return NewEvent {
            event,
            key,
            alias: None,
        };
    }
    let window = event.timestamp.0.div_euclid(UNTIMED_WINDOW_MS);
    let before = untimed_id(&event, window - 1);
    event.event_id = Some(untimed_id(&event, window));
    let key = event_key(&event);
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"i");
    hasher.update(before.as_str().as_bytes());
    NewEvent {
        event,
        key,
        alias: Some(finish(&hasher)),
    }
}

fn untimed_id(event: &Event, window: i64) -> EventId {
    let mut hasher = blake3::Hasher::new();
    content(&mut hasher, event);
    hasher.update(&window.to_le_bytes());
    EventId::new(format!("~{:032x}", finish(&hasher).0)).expect("hexadecimal is a valid id")
}

fn finish(hasher: &blake3::Hasher) -> EventKey {
    let hash = hasher.finalize();
    let bytes: [u8; 16] = hash.as_bytes()[..16].try_into().expect("a hash has 32 bytes");
    EventKey(u128::from_le_bytes(bytes))
}

fn content(hasher: &mut blake3::Hasher, event: &Event) {
    text(hasher, event.user_id.as_str());
    text(hasher, event.item_id.as_str());
    text(hasher, event.event_type.as_str());
    match event.value {
        Some(value) => hasher.update(&value.to_bits().to_le_bytes()),
        None => hasher.update(b"-"),
    };
    text(hasher, event.session_id.as_ref().map_or("", |s| s.as_str()));
    text(hasher, event.decision_id.as_ref().map_or("", |d| d.as_str()));
    for (name, value) in &event.context {
        text(hasher, name);
        attribute(hasher, value);
    }
}

fn text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u32).to_le_bytes());
    hasher.update(text.as_bytes());
}

fn attribute(hasher: &mut blake3::Hasher, value: &RawAttribute) {
    match value {
        RawAttribute::Flag(flag) => {
            hasher.update(&[b'f', u8::from(*flag)]);
        }
        RawAttribute::Number(number) => {
            hasher.update(b"n");
            hasher.update(&number.to_bits().to_le_bytes());
        }
        RawAttribute::Text(value) => {
            hasher.update(b"t");
            text(hasher, value);
        }
        RawAttribute::Geo { lat, lon } => {
            hasher.update(b"g");
            hasher.update(&lat.to_bits().to_le_bytes());
            hasher.update(&lon.to_bits().to_le_bytes());
        }
        RawAttribute::Numbers(numbers) => {
            hasher.update(b"N");
            hasher.update(&(numbers.len() as u32).to_le_bytes());
            for number in numbers {
                hasher.update(&number.to_bits().to_le_bytes());
            }
        }
        RawAttribute::Texts(texts) => {
            hasher.update(b"T");
            hasher.update(&(texts.len() as u32).to_le_bytes());
            for value in texts {
                text(hasher, value);
            }
        }
    }
}
