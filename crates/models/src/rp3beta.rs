//! RP3β: where a random walk of three steps from a person ends, popular ends held back.
//!
//! W(i, j) = Σᵤ dᵢ⁻ᵅ · dᵤ⁻ᵅ / dⱼᵝ over the people u who took both, dᵢ the people of an item and dᵤ the items of a
//! person: the walk item → person → item with probabilities to the power α, and the penalty β on popular ends
//! (Paudel, Christoffel, Newell, Bernstein 2016, "Updatable, accurate, diverse, and scalable recommendations for
//! interactive applications", ACM TiiS 7(1)). score(c) = Σ over the history of W(h, c).
//!
//! Of each row the `neighbours` largest entries are kept. Nothing is random.
//! Cost: Σ list length² to train; entries in the rows of the history to answer. Limit: weights stay until the next
//! training.

use crate::common::{parse, shown, within};
use crate::companions::Row;
use crate::recall::{self, Recall};
use crate::taken::{Taken, largest, of_rows};
use crate::{Model, ModelError, Run, Trainer, TrainingData};
use numeric::{Csr, Sums, on_threads, parallel_chunks_with};
use serde::{Deserialize, Serialize};

pub(crate) const NAME: &str = "rp3beta";

/// Configuration of RP3β.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rp3BetaConfig {
    /// Ends kept per item of the history. Default 200.
    pub neighbours: usize,
    /// Power of the transition probabilities, 0 to 3; 1 is the plain walk. Default 1.
    pub alpha: f64,
    /// How much popular ends are held back, 0 to 2. Default 0.5.
    pub beta: f64,
    /// Latest events of a history that count; null for 200 if most people's events have different moments, else 1,000.
    /// Default null.
    pub history_max: Option<usize>,
    /// Events of a history after which one counts half; 0 for all alike; null for 4 if `history_max` is null and most people's events have
    /// different moments, else 0. Default null.
    pub half_life_events: Option<f32>,
    /// Least share that an event counts, 0 to 1. Default 0.1.
    pub floor: Option<f32>,
}

impl Default for Rp3BetaConfig {
    fn default() -> Self {
        Rp3BetaConfig {
            neighbours: 200,
            alpha: 1.0,
            beta: 0.5,
            history_max: None,
            half_life_events: None,
            floor: None,
        }
    }
}

/// Learns RP3β.
#[derive(Debug, Clone)]
pub struct Rp3BetaTrainer {
    config: Rp3BetaConfig,
}

impl Rp3BetaTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        let config: Rp3BetaConfig = parse(NAME, config)?;
        within(NAME, "neighbours", config.neighbours as f64, 1.0, 1e6)?;
        within(NAME, "alpha", config.alpha, 0.0, 3.0)?;
        within(NAME, "beta", config.beta, 0.0, 2.0)?;
        within(
            NAME,
            "history_max",
            config.history_max.unwrap_or(1) as f64,
            1.0,
            1e6,
        )?;
        recall::check(NAME, config.half_life_events, config.floor)?;
        Ok(Box::new(Rp3BetaTrainer { config }))
    }

    fn walk(&self, taken: &Taken) -> Csr {
        let n = taken.n_items();
        let (alpha, beta) = (self.config.alpha, self.config.beta);
        let users_of = taken.users_of();
        let from_user: Vec<f32> = taken
            .users
            .iter()
            .map(|list| (list.len() as f64).powf(-alpha) as f32)
            .collect();
        let degree = |users: &Vec<u32>, power: f64| (users.len() as f64).powf(-power);
        let held_back: Vec<f64> = users_of.iter().map(|users| degree(users, beta)).collect();
        let rows = parallel_chunks_with(
            n,
            32,
            || (Sums::new(n), Row::default()),
            |(sums, gathered), range| {
                let row = |item: usize| {
                    for user in &users_of[item] {
                        let step = from_user[*user as usize];
                        let others = &taken.users[*user as usize];
                        others.iter().for_each(|other| sums.add(*other, step));
                    }
                    let first = degree(&users_of[item], alpha);
                    let end = |other: u32, sum: f32| {
                        let held_back = if other as usize == item {
                            0.0
                        } else {
                            held_back[other as usize]
                        };
                        (other, (first * f64::from(sum) * held_back) as f32)
                    };
                    gathered.take(sums);
                    let pairs = gathered.items.iter().zip(&gathered.sums);
                    let ends = pairs.map(|(other, sum)| end(*other, *sum));
                    largest(ends.collect(), self.config.neighbours)
                };
                range.map(row).collect::<Vec<_>>()
            },
        );
        of_rows(n, rows.into_iter().flatten())
    }
}

impl Trainer for Rp3BetaTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        let taken = Taken::of(data)?;
        run.check()?;
        let weights = on_threads(run.threads, || self.walk(&taken));
        run.check()?;
        Ok(Box::new(taken.model(
            NAME,
            data,
            &weights,
            Recall::of(
                self.config.history_max,
                self.config.half_life_events,
                self.config.floor,
                &data.interactions,
            ),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::InteractionsBuilder;
    use domain::{HistoryEvent, ItemId, Timestamp, UserId};
    use std::sync::Arc;

    #[test]
    fn weights_are_those_of_the_walk() {
        let lists = [vec![0, 1, 2], vec![1, 2, 3], vec![0, 3], vec![2, 3], vec![3]];
        let mut builder = InteractionsBuilder::default();
        for (user, list) in lists.iter().enumerate() {
            for item in list {
                let (user, item) = (UserId::new(format!("u{user}")), ItemId::new(format!("i{item}")));
                builder.push(&user.unwrap(), &item.unwrap(), 1.0, Timestamp(0));
            }
        }
        let data = TrainingData {
            interactions: Arc::new(builder.build()),
            features: Arc::default(),
            user_features: Arc::default(),
            now: Timestamp(0),
        };
        let (alpha, beta) = (0.8, 0.4);
        let config = serde_json::json!({"alpha": alpha, "beta": beta, "neighbours": 2});
        let model = Rp3BetaTrainer::build(&config)
            .unwrap()
            .fit(&data, &Run::new(0, 1))
            .unwrap();
        let position = |i: usize| model.vocabulary().position(&format!("i{i}")).unwrap();
        let count = |i: usize| lists.iter().filter(|list| list.contains(&i)).count() as f64;
        for i in 0..4 {
            let weight = |j: usize| {
                let both = lists.iter().filter(|list| list.contains(&i) && list.contains(&j));
                let sum: f64 = both.map(|list| (list.len() as f64).powf(-alpha)).sum();
                sum * count(i).powf(-alpha) * count(j).powf(-beta)
            };
            let mut expected: Vec<(usize, f64)> =
                (0..4).filter(|j| *j != i).map(|j| (j, weight(j))).collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1));
            let event = HistoryEvent {
                item: position(i),
                weight: 1.0,
                age_days: 0.0,
            };
            for (rank, (j, weight)) in expected.into_iter().enumerate() {
                let mut score = [0f32];
                model.score(&[event], &[position(j)], &mut score);
                let weight = if rank < 2 { weight } else { 0.0 };
                assert!(
                    (f64::from(score[0]) - weight).abs() < 1e-6,
                    "{i} {j}: {} {weight}",
                    score[0]
                );
            }
        }
    }
}
