//! Placements that learn by themselves from rewards which action pays: offers, next best actions, news.
//!
//! - [`BanditConfig`] says what is learnt from what, [`ActionsConfig`] which items are the actions;
//! - `features` turns a person, a context and an item into numbers;
//! - `learner` is what was learnt so far, derived from the decision log and the event log up to a sequence number, with a file that saves reading both from the start;
//! - `chooser` draws from it with exact probabilities, like every policy;
//! - `live` takes in decisions and events while the service runs.

mod actions;
mod chooser;
mod config;
mod features;
mod learner;
mod live;

pub(crate) use actions::{ActionRetriever, ActionRule};
pub(crate) use chooser::chooser;
pub use config::{ActionsConfig, BanditConfig, Feature, FeatureOf, LearnerKind};
pub use learner::BanditStatus;
pub(crate) use live::{BANDITS_DIR, Bandits, Beliefs, read};
