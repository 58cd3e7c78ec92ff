//! What a population is shown slates by.

use crate::SimulateError;
use assembly::{EventInput, ItemInput};
use domain::{Attributes, Timestamp};

/// Someone who comes by.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Visit {
    /// Who.
    pub user_id: String,
    /// What is known of the person.
    pub attributes: Attributes,
    /// Source of all randomness of the decision.
    pub seed: u64,
}

/// What one visit was shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shown {
    /// Id of the decision, for events.
    pub decision_id: String,
    /// Items, from the top.
    pub items: Vec<String>,
}

/// Something that decides and learns: the engine in this process, or a server.
pub trait Target: Sync {
    /// Moves the clock. False if the clock is not ours to move: then events carry no moments.
    fn set_clock(&self, now: Timestamp) -> bool;
    /// Adds or changes items.
    ///
    /// # Errors
    /// What the target says.
    fn put_items(&self, items: Vec<ItemInput>) -> Result<(), SimulateError>;
    /// Tells what people did, in order, and lets what learns from events one by one learn from them.
    ///
    /// # Errors
    /// What the target says.
    fn tell(&self, events: Vec<EventInput>) -> Result<(), SimulateError>;
    /// Slates of `n` for visits at the same moment, in their order.
    ///
    /// # Errors
    /// What the target says.
    fn show(&self, placement: &str, n: usize, visits: &[Visit]) -> Result<Vec<Shown>, SimulateError>;
    /// Trains on everything so far: models, and rankers of placements that rank by trees.
    ///
    /// # Errors
    /// What the target says.
    fn train(&self) -> Result<(), SimulateError>;
}
