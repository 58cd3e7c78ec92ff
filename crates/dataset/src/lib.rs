//! The offline view of signals: who interacted with what, how strongly and when.
//!
//! What this crate does not know: models, files, databases, HTTP.

mod interactions;
mod synthetic;
mod vocabulary;

pub use interactions::{Interaction, Interactions, InteractionsBuilder};
pub use synthetic::Synthetic;
pub use vocabulary::Vocabulary;
