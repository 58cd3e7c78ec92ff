//! Mean plus what the user and the item deviate by: r̂ = μ + bᵤ + bᵢ, each drawn to zero by how little is known.
//!
//! Alternating closed forms with shrinkage: bᵢ = Σ(r − μ − bᵤ) / (reg_item + n), bᵤ likewise (Koren 2010, "Factor in the
//! Neighbors", TKDD 4(1), §2.1). With `time`, what the moment adds (`time.rs`) in turn with them. Cost: ratings × rounds. Nothing is random.

use crate::registry::{check, parse};
use crate::time::{TimeConfig, Timed, Timing};
use crate::{RatingModel, RatingTrainer, Ratings, RatingsError};
use serde::{Deserialize, Serialize};

pub(crate) const NAME: &str = "baseline";

/// Configuration of the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaselineConfig {
    /// Ratings' worth of shrinkage of an item. Default 5.
    pub reg_item: f32,
    /// Ratings' worth of shrinkage of a user. Default 5.
    pub reg_user: f32,
    /// Rounds. Default 10.
    pub rounds: usize,
    /// What the moment of a rating adds; null for nothing. Default null.
    pub time: Option<TimeConfig>,
}

impl Default for BaselineConfig {
    fn default() -> Self {
        BaselineConfig {
            reg_item: 5.0,
            reg_user: 5.0,
            rounds: 10,
            time: None,
        }
    }
}

pub(crate) struct BaselineTrainer(BaselineConfig);

pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn RatingTrainer>, RatingsError> {
    let config: BaselineConfig = parse(NAME, config)?;
    check(NAME, "reg_item", f64::from(config.reg_item), 0.0, 1e6)?;
    check(NAME, "reg_user", f64::from(config.reg_user), 0.0, 1e6)?;
    check(NAME, "rounds", config.rounds as f64, 1.0, 1e4)?;
    config.time.iter().try_for_each(|time| time.check(NAME))?;
    Ok(Box::new(BaselineTrainer(config)))
}

/// μ, bᵤ, bᵢ.
#[derive(Debug, Clone)]
pub(crate) struct Biases {
    pub(crate) mean: f32,
    pub(crate) user: Vec<f32>,
    pub(crate) item: Vec<f32>,
    pub(crate) reg_user: f32,
    pub(crate) scale: (f32, f32),
    pub(crate) timed: Option<Timed>,
}

impl Biases {
    pub(crate) fn fit(data: &Ratings, config: &BaselineConfig) -> Biases {
        let (mut biases, timing) = Biases::fit_with(data, config);
        biases.timed = timing.map(Timing::finish);
        biases
    }

    /// The same with what time adds still in the making.
    pub(crate) fn fit_with<'a>(data: &Ratings, config: &'a BaselineConfig) -> (Biases, Option<Timing<'a>>) {
        let mut biases = Biases {
            mean: data.mean,
            user: vec![0.0; data.n_users],
            item: vec![0.0; data.n_items],
            reg_user: config.reg_user,
            scale: data.clamp(),
            timed: None,
        };
        let mut timing = config.time.as_ref().and_then(|time| Timing::new(data, time));
        for _ in 0..config.rounds {
            let mut sums = vec![(0f64, 0f64); data.n_items];
            // What time adds to a rating by its place.
            let added = |at: usize, user| timing.as_ref().map_or(0.0, |timing| timing.of(at, user));
            for (at, row) in data.rows.iter().enumerate() {
                let sum = &mut sums[row.item as usize];
                let rest = row.value - data.mean - biases.user[row.user as usize];
                sum.0 += f64::from(rest - added(at, row.user));
                sum.1 += 1.0;
            }
            for (bias, (sum, n)) in biases.item.iter_mut().zip(sums) {
                *bias = shrunk(sum, n, config.reg_item);
            }
            for user in 0..data.n_users {
                let known = (data.offsets[user]..).zip(data.of_user(user));
                let known = known.map(|(at, row)| (row.item, row.value - added(at, row.user)));
                biases.user[user] = biases.of_history(known);
            }
            if let Some(timing) = &mut timing {
                timing.refit(data, |row| row.value - biases.of(row.user, row.item));
            }
        }
        (biases, timing)
    }

    /// What the moment adds, if one is given and something was learnt of them.
    pub(crate) fn of_time(&self, user: u32, item: u32, at_s: Option<i64>) -> f32 {
        let both = self.timed.as_ref().zip(at_s);
        both.map_or(0.0, |(timed, at)| timed.of(user, item, at))
    }

    /// bᵤ of someone with these ratings.
    pub(crate) fn of_history(&self, history: impl Iterator<Item = (u32, f32)>) -> f32 {
        let (mut sum, mut n) = (0f64, 0f64);
        for (item, value) in history {
            sum += f64::from(value - self.mean - self.of_item(item));
            n += 1.0;
        }
        shrunk(sum, n, self.reg_user)
    }

    pub(crate) fn of_item(&self, item: u32) -> f32 {
        self.item.get(item as usize).copied().unwrap_or(0.0)
    }

    pub(crate) fn of_user(&self, user: u32) -> f32 {
        self.user.get(user as usize).copied().unwrap_or(0.0)
    }

    /// μ + bᵤ + bᵢ, not clamped.
    pub(crate) fn of(&self, user: u32, item: u32) -> f32 {
        self.mean + self.of_user(user) + self.of_item(item)
    }

    pub(crate) fn clamped(&self, value: f32) -> f32 {
        value.clamp(self.scale.0, self.scale.1)
    }
}

fn shrunk(sum: f64, n: f64, reg: f32) -> f32 {
    let weight = n + f64::from(reg);
    if weight > 0.0 { (sum / weight) as f32 } else { 0.0 }
}

impl RatingTrainer for BaselineTrainer {
    fn fit(&self, data: &Ratings, _seed: u64) -> Result<Box<dyn RatingModel>, RatingsError> {
        Ok(Box::new(Biases::fit(data, &self.0)))
    }
}

impl RatingModel for Biases {
    fn predict(&self, user: u32, item: u32) -> f32 {
        self.clamped(self.of(user, item))
    }

    fn predict_at(&self, user: u32, item: u32, at_s: Option<i64>) -> f32 {
        self.clamped(self.of(user, item) + self.of_time(user, item, at_s))
    }

    fn predict_for(&self, history: &[(u32, f32)], items: &[u32]) -> Vec<f32> {
        let own = self.of_history(history.iter().copied());
        let one = |item: &u32| self.clamped(self.mean + own + self.of_item(*item));
        items.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rating;

    #[test]
    fn one_round_by_hand() {
        let row = |user, item, value| Rating {
            user,
            item,
            value,
            at_s: None,
        };
        let data = Ratings::new(2, 2, vec![row(0, 0, 5.0), row(0, 1, 3.0), row(1, 0, 4.0)]).unwrap();
        let config = BaselineConfig {
            reg_item: 1.0,
            reg_user: 2.0,
            rounds: 1,
            time: None,
        };
        let biases = Biases::fit(&data, &config);
        // μ = 4; items: (1 + 0) / 3, (−1) / 2; users: (1 − 1/3 − 1 + 1/2) / 4, (0 − 1/3) / 3.
        let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
        assert!(close(biases.item[0], 1.0 / 3.0) && close(biases.item[1], -0.5));
        assert!(close(biases.user[0], (1.0 / 6.0) / 4.0) && close(biases.user[1], -1.0 / 9.0));
        assert!(close(
            biases.predict_for(&[(0, 5.0), (1, 3.0)], &[1])[0],
            biases.predict(0, 1)
        ));
        assert!(close(biases.predict(9, 9), 4.0), "strangers get the mean");
    }
}
