//! Stage 1, signals: what an event is worth, which events are the same, how attributes are read,
//! and the state of a user as of a sequence number.
//!
//! What this crate does not know: files, databases, HTTP, models, the clock.

mod attributes;
mod event_types;
mod keys;
mod moments;
mod state;

pub use attributes::{KindTally, TypedValue, infer_kind, typed};
pub use event_types::{EventTypeConfig, EventTypeError, EventTypes, Role};
pub use keys::{UNTIMED_WINDOW_MS, event_key, new_event};
pub use moments::{MomentError, parse_timestamp, timestamp_from_number};
pub use state::{
    HISTORY_EVENTS_MAX, KeptEvents, RecentEvent, ShardedUserStates, UserStates, UserView, session_view,
};
