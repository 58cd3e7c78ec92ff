//! Slope One: r̂ = mean of the user + mean over rated items j of the mean difference between item i and j.
//!
//! Source: Lemire and Maclachlan 2005, "Slope One Predictors for Online Rating-Based Collaborative Filtering", SDM; with
//! `weighted` each difference counts by the number of people behind it. Cost: Σ of squared history lengths; items² × 8
//! bytes in memory, refused above `memory_mb_max`. Nothing is random.

use crate::registry::{check, parse};
use crate::{RatingModel, RatingTrainer, Ratings, RatingsError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) const NAME: &str = "slope-one";

/// Configuration of Slope One.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlopeOneConfig {
    /// Differences count by the people behind them. Default true.
    pub weighted: bool,
    /// Training that would need more is refused. Default 4096.
    pub memory_mb_max: u64,
}

impl Default for SlopeOneConfig {
    fn default() -> Self {
        SlopeOneConfig {
            weighted: true,
            memory_mb_max: 4096,
        }
    }
}

struct SlopeOneTrainer(SlopeOneConfig);

pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn RatingTrainer>, RatingsError> {
    let config: SlopeOneConfig = parse(NAME, config)?;
    check(NAME, "memory_mb_max", config.memory_mb_max as f64, 1.0, 1e9)?;
    Ok(Box::new(SlopeOneTrainer(config)))
}

struct SlopeOne {
    weighted: bool,
    mean: f32,
    scale: (f32, f32),
    n_items: usize,
    /// Row-major (mean of row minus column, people).
    differences: Vec<(f32, f32)>,
    rated: Vec<Vec<(u32, f32)>>,
}

impl RatingTrainer for SlopeOneTrainer {
    fn fit(&self, data: &Ratings, _seed: u64) -> Result<Box<dyn RatingModel>, RatingsError> {
        let n = data.n_items;
        let needed = (8 * n as u64 * n as u64) >> 20;
        if needed > self.0.memory_mb_max {
            return Err(RatingsError::Config {
                model: NAME.to_owned(),
                field: "memory_mb_max".to_owned(),
                got: self.0.memory_mb_max.to_string(),
                expected: format!("at least {needed} for {n} items"),
            });
        }
        let by_item = data.by_item();
        let mut differences = vec![(0f32, 0f32); n * n];
        differences
            .par_chunks_exact_mut(n)
            .enumerate()
            .for_each(|(item, row)| {
                for (user, value) in &by_item[item] {
                    for other in data.of_user(*user as usize) {
                        let cell = &mut row[other.item as usize];
                        cell.0 += value - other.value;
                        cell.1 += 1.0;
                    }
                }
                row[item] = (0.0, 0.0);
                row.iter_mut()
                    .filter(|cell| cell.1 > 0.0)
                    .for_each(|cell| cell.0 /= cell.1);
            });
        let rated = |user| {
            data.of_user(user)
                .iter()
                .map(|row| (row.item, row.value))
                .collect()
        };
        Ok(Box::new(SlopeOne {
            weighted: self.0.weighted,
            mean: data.mean,
            scale: data.clamp(),
            n_items: n,
            differences,
            rated: (0..data.n_users).map(rated).collect(),
        }))
    }
}

impl SlopeOne {
    fn predicted(&self, history: &[(u32, f32)], item: u32) -> f32 {
        let (mut sum, mut total, mut own) = (0f64, 0f64, 0f64);
        for (other, value) in history {
            own += f64::from(*value);
            if (item as usize) < self.n_items && (*other as usize) < self.n_items {
                let (difference, people) = self.differences[item as usize * self.n_items + *other as usize];
                if people > 0.0 {
                    let weight = if self.weighted { f64::from(people) } else { 1.0 };
                    sum += weight * f64::from(difference + if self.weighted { *value } else { 0.0 });
                    total += weight;
                }
            }
        }
        let mean = if history.is_empty() {
            f64::from(self.mean)
        } else {
            own / history.len() as f64
        };
        let predicted = match (total > 0.0, self.weighted) {
            (false, _) => mean,
            (true, true) => sum / total,
            (true, false) => mean + sum / total,
        };
        (predicted as f32).clamp(self.scale.0, self.scale.1)
    }
}

impl RatingModel for SlopeOne {
    fn predict(&self, user: u32, item: u32) -> f32 {
        self.predicted(self.rated.get(user as usize).map_or(&[][..], Vec::as_slice), item)
    }

    fn predict_for(&self, history: &[(u32, f32)], items: &[u32]) -> Vec<f32> {
        items.iter().map(|item| self.predicted(history, *item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rating;

    #[test]
    fn the_example_of_the_paper() {
        // John 5 3 2, Mark 3 4 –, Lucy – 2 5: Lucy on the first item is 4.33 weighted, Mark on the third 3.33.
        let row = |user, item, value| Rating {
            user,
            item,
            value,
            at_s: None,
        };
        let rows = vec![
            row(0, 0, 5.0),
            row(0, 1, 3.0),
            row(0, 2, 2.0),
            row(1, 0, 3.0),
            row(1, 1, 4.0),
            row(2, 1, 2.0),
            row(2, 2, 5.0),
        ];
        let data = Ratings::new(3, 3, rows).unwrap();
        let model = build(&serde_json::Value::Null).unwrap().fit(&data, 0).unwrap();
        assert!((model.predict(2, 0) - 13.0 / 3.0).abs() < 1e-5);
        assert!((model.predict(1, 2) - 10.0 / 3.0).abs() < 1e-5);
        assert_eq!(
            model.predict_for(&[(1, 2.0), (2, 5.0)], &[0])[0],
            model.predict(2, 0)
        );
    }
}
