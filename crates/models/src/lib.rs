//! Learners: data in, artefact out; one file each.
//!
//! A model answers from a history, never from a user id, so that someone who arrived a second
//! ago is served like everyone else. Positions in this crate are positions in the model's own
//! [`Vocabulary`]; `assembly` translates to and from the positions of the live catalogue.
//!
//! What this crate does not know: stores, HTTP, the engine, the clock.

mod als;
mod als_absence;
mod als_config;
mod als_fold;
mod als_fresh;
mod als_gradients;
mod als_prior;
mod als_saved;
mod als_step;
#[cfg(test)]
mod als_tests;
mod als_train;
mod als_variance;
mod artefact;
mod blend;
mod blend_config;
mod blend_fit;
mod blend_held;
mod blend_part;
mod blend_unit;
mod by_id;
mod co_counts;
mod common;
mod companions;
mod content;
mod content_terms;
mod contract;
mod decayed;
mod ease;
mod ease_nearest;
mod gathered;
mod item_knn;
mod item_knn_config;
mod item_weights;
mod memo;
mod popular;
mod recall;
mod registry;
mod rp3beta;
pub mod space;
mod spectral;
mod staleness;
mod standing;
mod swing;
mod taken;
mod trending;
mod user_knn;

pub use als_config::AlsConfig;
pub use als_fresh::FRESH_MAX;
pub use als_train::AlsTrainer;
pub use blend::BlendTrainer;
pub use blend_config::{BlendConfig, BlendPart};
pub use blend_unit::Normalise;
pub use content::{ContentConfig, ContentTrainer};
pub use contract::{
    Asked, ItemFeatures, Model, ModelError, Run, Someone, TopItems, Trainer, TrainingData, UpdateGuarantee,
    UpdateReport, UserFeatures, VectorSpace,
};
pub use dataset::Vocabulary;
pub use ease::{EaseConfig, EaseTrainer};
pub use item_knn::ItemKnnTrainer;
pub use item_knn_config::{ItemBm25Config, ItemCosineConfig, SwingConfig};
pub use popular::{PopularConfig, PopularTrainer};
pub use recall::Recall;
pub use registry::{TrainerEntry, load, trainer, trainers};
pub use rp3beta::{Rp3BetaConfig, Rp3BetaTrainer};
pub use spectral::{SpectralConfig, SpectralTrainer};
pub use staleness::Staleness;
pub use trending::{TrendingConfig, TrendingTrainer};
pub use user_knn::{UserKnnConfig, UserKnnTrainer};
