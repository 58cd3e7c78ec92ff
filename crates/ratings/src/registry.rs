//! The table of rating models and what they promise.

use crate::{Ratings, RatingsError, baseline, item_knn, slope_one, svd, svdpp, user_knn};
use serde::de::DeserializeOwned;

/// Learns to predict ratings.
pub trait RatingTrainer: Send + Sync {
    /// Learns; the same data, configuration and seed give the same predictions at any number of threads.
    ///
    /// # Errors
    /// [`RatingsError::Config`] if the data is too large for what is configured.
    fn fit(&self, data: &Ratings, seed: u64) -> Result<Box<dyn RatingModel>, RatingsError>;
}

/// Predicts ratings: always a finite number within the scale seen in training.
pub trait RatingModel: Send + Sync {
    /// What this user of the training would give; someone unknown is predicted as anyone.
    fn predict(&self, user: u32, item: u32) -> f32;
    /// The same at this moment, for models that learnt what moments add; the others do not look at it.
    fn predict_at(&self, user: u32, item: u32, _at_s: Option<i64>) -> f32 {
        self.predict(user, item)
    }
    /// What someone with these ratings (item, value), whoever it is, would give to each of `items`.
    fn predict_for(&self, history: &[(u32, f32)], items: &[u32]) -> Vec<f32>;
}

/// A rating model that can be asked for by name.
#[derive(Debug, Clone, Copy)]
pub struct RatingTrainerEntry {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Builds it from a configuration (`null` for the default); unknown keys are refused.
    pub build: fn(&serde_json::Value) -> Result<Box<dyn RatingTrainer>, RatingsError>,
}

/// All rating models, simplest first.
pub fn trainers() -> &'static [RatingTrainerEntry] {
    TRAINERS
}

/// The rating model with this name.
pub fn trainer(name: &str) -> Option<&'static RatingTrainerEntry> {
    TRAINERS.iter().find(|entry| entry.name == name)
}

static TRAINERS: &[RatingTrainerEntry] = &[
    RatingTrainerEntry {
        name: baseline::NAME,
        summary: "mean plus what user and item deviate by",
        source: "Koren 2010, TKDD 4(1)",
        build: baseline::build,
    },
    RatingTrainerEntry {
        name: slope_one::NAME,
        summary: "mean differences between items, by the people behind them",
        source: "Lemire and Maclachlan 2005, SDM",
        build: slope_one::build,
    },
    RatingTrainerEntry {
        name: item_knn::NAME,
        summary: "what is left after the baseline, from the items most like this one",
        source: "Koren 2010, TKDD 4(1)",
        build: item_knn::build,
    },
    RatingTrainerEntry {
        name: user_knn::NAME,
        summary: "what is left after the baseline, from the people most like this one",
        source: "Herlocker, Konstan, Borchers, Riedl 1999, SIGIR",
        build: user_knn::build,
    },
    RatingTrainerEntry {
        name: svd::NAME,
        summary: "biased matrix factorisation",
        source: "Koren, Bell, Volinsky 2009, IEEE Computer 42(8)",
        build: svd::build,
    },
    RatingTrainerEntry {
        name: svdpp::NAME,
        summary: "factorisation in which what was rated says something by itself",
        source: "Koren 2008, KDD",
        build: svdpp::build,
    },
];

pub(crate) fn parse<C: DeserializeOwned + Default>(
    model: &str,
    config: &serde_json::Value,
) -> Result<C, RatingsError> {
    if config.is_null() {
        return Ok(C::default());
    }
    serde_json::from_value(config.clone()).map_err(|e| RatingsError::Config {
        model: model.to_owned(),
        field: "config".to_owned(),
        got: e.to_string(),
        expected: "an object with the documented keys".to_owned(),
    })
}

pub(crate) fn check(model: &str, field: &str, value: f64, low: f64, high: f64) -> Result<(), RatingsError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(RatingsError::Config {
        model: model.to_owned(),
        field: field.to_owned(),
        got: value.to_string(),
        expected: format!("{low} to {high}"),
    })
}
