//! User neighbours over the baseline: r̂ = b + Σ s(r − b) / Σ s over the k people most like this one among those who rated the item.
//!
//! Likeness: `likeness.rs`, between people (Herlocker, Konstan, Borchers and Riedl 1999, SIGIR, on what the baseline leaves). Cost: Σ
//! of squared numbers of ratings per item to train, users² × 4 bytes in memory, refused above `memory_mb_max`. Someone
//! new is compared with everyone when asked. Nothing is random.

use crate::baseline::{BaselineConfig, Biases};
use crate::likeness::{Sums, fits, vote};
use crate::registry::{check, parse};
use crate::{RatingModel, RatingTrainer, Ratings, RatingsError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) const NAME: &str = "user-knn";

/// Configuration of user neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserKnnConfig {
    /// Neighbours that vote. Default 60.
    pub neighbours: usize,
    /// Items' worth of shrinkage of a likeness. Default 20.
    pub shrinkage: f32,
    /// Training that would need more is refused. Default 4096.
    pub memory_mb_max: u64,
}

impl Default for UserKnnConfig {
    fn default() -> Self {
        UserKnnConfig {
            neighbours: 60,
            shrinkage: 20.0,
            memory_mb_max: 4096,
        }
    }
}

struct UserKnnTrainer(UserKnnConfig);

pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn RatingTrainer>, RatingsError> {
    let config: UserKnnConfig = parse(NAME, config)?;
    check(NAME, "neighbours", config.neighbours as f64, 1.0, 1e6)?;
    check(NAME, "shrinkage", f64::from(config.shrinkage), 0.0, 1e6)?;
    Ok(Box::new(UserKnnTrainer(config)))
}

struct UserKnn {
    config: UserKnnConfig,
    biases: Biases,
    /// Row-major, user by user.
    likeness: Vec<f32>,
    n_users: usize,
    /// (user, what the baseline leaves), by item.
    raters: Vec<Vec<(u32, f32)>>,
}

impl RatingTrainer for UserKnnTrainer {
    fn fit(&self, data: &Ratings, _seed: u64) -> Result<Box<dyn RatingModel>, RatingsError> {
        let n = data.n_users;
        fits(n, self.0.memory_mb_max).map_err(|needed| RatingsError::Config {
            model: NAME.to_owned(),
            field: "memory_mb_max".to_owned(),
            got: self.0.memory_mb_max.to_string(),
            expected: format!("at least {needed} for {n} users"),
        })?;
        let biases = Biases::fit(data, &BaselineConfig::default());
        let mut raters = data.by_item();
        for (item, list) in raters.iter_mut().enumerate() {
            list.iter_mut()
                .for_each(|(user, value)| *value -= biases.of(*user, item as u32));
        }
        let mut likeness = vec![0f32; n * n];
        let shrinkage = self.0.shrinkage;
        likeness.par_chunks_exact_mut(n).enumerate().for_each_init(
            || Sums::new(n),
            |sums, (user, row)| {
                let own = data.of_user(user).iter();
                let own = own.map(|rating| (rating.item, rating.value - biases.of(user as u32, rating.item)));
                sums.row(own, &raters, shrinkage, row);
                row[user] = 0.0;
            },
        );
        Ok(Box::new(UserKnn {
            config: self.0.clone(),
            biases,
            likeness,
            n_users: n,
            raters,
        }))
    }
}

impl UserKnn {
    fn predicted(&self, own: f32, row: &[f32], item: u32) -> f32 {
        let base = self.biases.mean + own + self.biases.of_item(item);
        let raters = self.raters.get(item as usize).map_or(&[][..], Vec::as_slice);
        let near = raters
            .iter()
            .filter_map(|(user, rest)| Some((*row.get(*user as usize)?, *rest)));
        let near: Vec<(f32, f32)> = near.collect();
        self.biases.clamped(base + vote(&near, self.config.neighbours))
    }
}

impl RatingModel for UserKnn {
    fn predict(&self, user: u32, item: u32) -> f32 {
        let start = user as usize * self.n_users;
        let row = self.likeness.get(start..start + self.n_users).unwrap_or_default();
        self.predicted(self.biases.of_user(user), row, item)
    }

    fn predict_for(&self, history: &[(u32, f32)], items: &[u32]) -> Vec<f32> {
        let own = self.biases.of_history(history.iter().copied());
        let rest =
            |(item, value): &(u32, f32)| (*item, value - self.biases.mean - own - self.biases.of_item(*item));
        let mut row = vec![0f32; self.n_users];
        Sums::new(self.n_users).row(
            history.iter().map(rest),
            &self.raters,
            self.config.shrinkage,
            &mut row,
        );
        items
            .iter()
            .map(|item| self.predicted(own, &row, *item))
            .collect()
    }
}
