//! Item neighbours over the baseline: r̂ = b + Σ s(r − b) / Σ s over the k items most like this one among those rated.
//!
//! Likeness is the correlation of what is left after the baseline, over the people who rated both, times
//! (n − 1) / (n − 1 + shrinkage) (Koren 2010, TKDD 4(1), §2.2 and §3). Cost: Σ of squared history lengths to train, items² × 4
//! bytes in memory, refused above `memory_mb_max`. Nothing is random.

use crate::baseline::{BaselineConfig, Biases};
use crate::registry::{check, parse};
use crate::{RatingModel, RatingTrainer, Ratings, RatingsError};
use numeric::top_k;
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
        let needed = (4 * n as u64 * n as u64) >> 20;
        if needed > self.0.memory_mb_max {
            return Err(RatingsError::Config {
                model: NAME.to_owned(),
                field: "memory_mb_max".to_owned(),
                got: self.0.memory_mb_max.to_string(),
                expected: format!("at least {needed} for {n} items"),
            });
        }
        let biases = Biases::fit(data, &BaselineConfig::default());
        let by_item = data.by_item();
        let mut likeness = vec![0f32; n * n];
        likeness.par_chunks_exact_mut(n).enumerate().for_each_init(
            || (vec![[0f32; 4]; n], Vec::new()),
            |(sums, touched), (item, row)| {
                for (user, value) in &by_item[item] {
                    let own = value - biases.of(*user, item as u32);
                    for other in data.of_user(*user as usize) {
                        let sum = &mut sums[other.item as usize];
                        if sum[3] == 0.0 {
                            touched.push(other.item);
                        }
                        let rest = other.value - biases.of(*user, other.item);
                        sum[0] += own * rest;
                        sum[1] += own * own;
                        sum[2] += rest * rest;
                        sum[3] += 1.0;
                    }
                }
                for other in touched.drain(..) {
                    let [product, a, b, count] = std::mem::take(&mut sums[other as usize]);
                    let both = (f64::from(a) * f64::from(b)).sqrt() as f32;
                    if other as usize != item && both > 0.0 {
                        row[other as usize] =
                            product / both * (count - 1.0) / (count - 1.0 + self.0.shrinkage).max(1e-9);
                    }
                }
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
        let near = (0u32..).zip(history).filter_map(|(at, (other, _))| {
            let likeness = *row.get(*other as usize)?;
            (likeness > 0.0).then_some((at, likeness))
        });
        let (mut sum, mut total) = (0f32, 0f32);
        for (at, likeness) in top_k(self.config.neighbours, near) {
            let (other, value) = history[at as usize];
            sum += likeness * (value - self.biases.mean - own - self.biases.of_item(other));
            total += likeness;
        }
        let rest = if total > 0.0 { sum / total } else { 0.0 };
        self.biases.clamped(base + rest)
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
