//! Item neighbours over the baseline: r̂ = b + Σ s(r − b) / Σ s over the k items most like this one among those rated.
//!
//! Likeness: `likeness.rs`, between items. Cost: Σ of squared history lengths to train, items² × 4
//! bytes in memory, refused above `memory_mb_max`. Nothing is random.

use crate::baseline::{BaselineConfig, Biases};
use crate::likeness::{Sums, fits, vote};
use crate::registry::{check, parse};
use crate::{RatingModel, RatingTrainer, Ratings, RatingsError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) const NAME: &str = "item-knn";

/// Configuration of item neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemKnnConfig {
    /// Neighbours that vote. Default 40.
    pub neighbours: usize,
    /// People's worth of shrinkage of a likeness. Default 100.
    pub shrinkage: f32,
    /// Training that would need more is refused. Default 4096.
    pub memory_mb_max: u64,
}

impl Default for ItemKnnConfig {
    fn default() -> Self {
        ItemKnnConfig {
            neighbours: 40,
            shrinkage: 100.0,
            memory_mb_max: 4096,
        }
    }
}

struct ItemKnnTrainer(ItemKnnConfig);

pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn RatingTrainer>, RatingsError> {
    let config: ItemKnnConfig = parse(NAME, config)?;
    check(NAME, "neighbours", config.neighbours as f64, 1.0, 1e6)?;
    check(NAME, "shrinkage", f64::from(config.shrinkage), 0.0, 1e6)?;
    Ok(Box::new(ItemKnnTrainer(config)))
}

struct ItemKnn {
    config: ItemKnnConfig,
    biases: Biases,
    /// Row-major, item by item.
    likeness: Vec<f32>,
    n_items: usize,
    /// (item, value), by user.
    rated: Vec<Vec<(u32, f32)>>,
}

impl RatingTrainer for ItemKnnTrainer {
    fn fit(&self, data: &Ratings, _seed: u64) -> Result<Box<dyn RatingModel>, RatingsError> {
        let n = data.n_items;
        fits(n, self.0.memory_mb_max).map_err(|needed| RatingsError::Config {
            model: NAME.to_owned(),
            field: "memory_mb_max".to_owned(),
            got: self.0.memory_mb_max.to_string(),
            expected: format!("at least {needed} for {n} items"),
        })?;
        let biases = Biases::fit(data, &BaselineConfig::default());
        let rest = |user: usize| {
            let rows = data.of_user(user).iter();
            rows.map(|row| (row.item, row.value - biases.of(user as u32, row.item)))
                .collect()
        };
        let lists: Vec<Vec<(u32, f32)>> = (0..data.n_users).map(rest).collect();
        let by_item = data.by_item();
        let mut likeness = vec![0f32; n * n];
        likeness.par_chunks_exact_mut(n).enumerate().for_each_init(
            || Sums::new(n),
            |sums, (item, row)| {
                let own = by_item[item].iter();
                let own = own.map(|(user, value)| (*user, value - biases.of(*user, item as u32)));
                sums.row(own, &lists, self.0.shrinkage, row);
                row[item] = 0.0;
            },
        );
        let rated = |user| {
            data.of_user(user)
                .iter()
                .map(|row| (row.item, row.value))
                .collect()
        };
        Ok(Box::new(ItemKnn {
            config: self.0.clone(),
            biases,
            likeness,
            n_items: n,
            rated: (0..data.n_users).map(rated).collect(),
        }))
    }
}

impl ItemKnn {
    fn predicted(&self, own: f32, history: &[(u32, f32)], item: u32) -> f32 {
        let base = self.biases.mean + own + self.biases.of_item(item);
        if item as usize >= self.n_items {
            return self.biases.clamped(base);
        }
        let row = &self.likeness[item as usize * self.n_items..(item as usize + 1) * self.n_items];
        let rest = |other: u32, value: f32| value - self.biases.mean - own - self.biases.of_item(other);
        let near = history.iter();
        let near = near.filter_map(|(other, value)| Some((*row.get(*other as usize)?, rest(*other, *value))));
        let near: Vec<(f32, f32)> = near.collect();
        self.biases.clamped(base + vote(&near, self.config.neighbours))
    }
}

impl RatingModel for ItemKnn {
    fn predict(&self, user: u32, item: u32) -> f32 {
        let history = self.rated.get(user as usize).map_or(&[][..], Vec::as_slice);
        self.predicted(self.biases.of_user(user), history, item)
    }

    fn predict_for(&self, history: &[(u32, f32)], items: &[u32]) -> Vec<f32> {
        let own = self.biases.of_history(history.iter().copied());
        items
            .iter()
            .map(|item| self.predicted(own, history, *item))
            .collect()
    }
}
