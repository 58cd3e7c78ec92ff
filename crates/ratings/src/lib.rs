//! Explicit ratings: predicting the number that someone gives to something.
//!
//! A [`RatingTrainer`] of the [`trainers`] table learns from [`Ratings`]; its [`RatingModel`] predicts for people that it was
//! trained on, and for anyone else from a handful of their ratings. [`cross_validate`] measures. Ranking what to show
//! is not the job of these models: that is what `models` are for.
//!
//! What this crate does not know: ids, files, the clock.

mod baseline;
mod cross_validate;
mod data;
mod item_knn;
mod likeness;
mod registry;
mod slope_one;
mod svd;
mod svdpp;
mod time;
mod user_knn;

pub use baseline::BaselineConfig;
pub use cross_validate::{Folds, Measured, cross_validate, folds, folds_by_time};
pub use data::{Rating, Ratings, RatingsError};
pub use item_knn::ItemKnnConfig;
pub use registry::{RatingModel, RatingTrainer, RatingTrainerEntry, trainer, trainers};
pub use slope_one::SlopeOneConfig;
pub use svd::SvdConfig;
pub use svdpp::SvdppConfig;
pub use time::TimeConfig;
pub use user_knn::UserKnnConfig;
