//! Placements that learn by themselves from rewards which action pays: offers, next best actions, news.
//!
//! - [`BanditConfig`] says what is learnt from what, [`ActionsConfig`] which items are the actions;
//! - `features` turns a person, a context and an item into numbers;
//! - `learner` is what was learnt so far, derived from the decision log and the event log up to a sequence number;
//! - `journal` keeps it, with the order in which it came about: reading both logs from the start is saved, and past beliefs can be made again;
//! - `chooser` draws from it with exact probabilities, like every policy;
//! - `live` takes in decisions and events while the service runs.

mod actions;
mod chooser;
mod config;
mod features;
mod journal;
mod learner;
mod live;

pub(crate) use actions::{ActionCache, ActionRetriever, ActionRule};
pub(crate) use chooser::{belief_of, chooser};
pub use config::{ActionsConfig, BanditConfig, Feature, FeatureOf, LearnerKind};
pub(crate) use journal::{PastLearners, read};
pub use learner::BanditStatus;
pub(crate) use live::{BANDITS_DIR, Bandits, Beliefs};
