//! EASE: a linear model from items to items with a zero diagonal, in closed form.
//!
//! Minimises ‖X − XB‖² + Σⱼ λⱼ‖Bⱼ‖² with Bⱼⱼ = 0 over the matrix X of who took what: with P = (XᵀX + Λ)⁻¹,
//! Bᵢⱼ = −Pᵢⱼ / Pⱼⱼ (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW). Options:
//!
//! - `dropout` p makes it denoising: Λ grows by p / (1 − p) times the diagonal of XᵀX, the closed form of training
//!   with each entry of the input left out with probability p, with only what was left out counting in the loss: the
//!   full-rank EDLAE (Steck 2020, "Autoencoders that don't overfit towards the Identity", NeurIPS).
//! - `zero_diagonal` false counts all entries in the loss, the DLAE of the same paper: B = P·XᵀX without a constraint,
//!   so Bᵢⱼ = −PᵢⱼΛⱼⱼ off the diagonal, which is not served.
//! - `user_exponent` b weighs a user's row by length⁻ᵇ, so that busy people count less.
//! - `item_exponent` a scales items by frequency⁻ᵃ before, and back after, which draws scores towards (a > 0)
//!   rare items.
//!
//! Defaults were chosen on the validation part of MovieLens 1M.
//!
//! Where there are too many items for that, or `neighbours` is given, each item is regressed on its nearest items only
//! (`ease_nearest`).
//!
//! Of each column the `keep` largest weights are kept; what is served is sparse. Nothing is random.
//! Cost: n³ multiplications for n items; memory: one n × n matrix of 4 bytes an entry, not taken above `memory_mb_max`.

use crate::common::{open_keys, parse, shown, within};
use crate::ease_nearest::{self, Ridge};
use crate::recall::{self, Recall};
use crate::taken::{Taken, largest, of_rows};
use crate::{Model, ModelError, Run, Trainer, TrainingData};
use numeric::{Csr, invert_symmetric, large_zeros, on_threads, parallel_chunks};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) const NAME: &str = "ease";

/// Nearest items that enter where not all do.
const NEIGHBOURS: usize = 300;
/// Items up to which all enter: tens of seconds. The time of the exact form grows with the third power, and on sparse
/// data its many tiny weights are noise.
const EXACT_MAX: usize = 16_000;

/// Configuration of EASE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EaseConfig {
    /// λ. Default: twice the mean of the diagonal of XᵀX, at least 1.
    pub l2: Option<f64>,
    /// Share of the input that is thought left out, 0 to below 1. Default 0.4.
    pub dropout: f64,
    /// Each item is told by the others alone; false lets it tell itself while learning. Default true.
    pub zero_diagonal: bool,
    /// Rows weigh length to the minus this, 0 to 1. Default 0.3.
    pub user_exponent: f64,
    /// Items are scaled by frequency to the minus this, -1 to 1. Default 0.
    pub item_exponent: f64,
    /// Regress each item on this many of its nearest items only; 0 for all of them, come what may. Default: all
    /// up to 16,000 items if the matrix fits `memory_mb_max`, else 300.
    pub neighbours: Option<usize>,
    /// Weights kept of each column, the largest. Default 1000.
    pub keep: usize,
    /// Latest events of a history that count; null for 200 if most people's events have different moments, else 1,000.
    /// Default null.
    pub history_max: Option<usize>,
    /// Events of a history after which one counts half; 0 for all alike; null for 4 if `history_max` is null and most people's events have
    /// different moments, else 0. Default null.
    pub half_life_events: Option<f32>,
    /// Least share that an event counts, 0 to 1. Default 0.1.
    pub floor: Option<f32>,
    /// Training that would need more is refused. Default 8192.
    pub memory_mb_max: u64,
}

impl Default for EaseConfig {
    fn default() -> Self {
        EaseConfig {
            l2: None,
            dropout: 0.4,
            zero_diagonal: true,
            user_exponent: 0.3,
            item_exponent: 0.0,
            neighbours: None,
            keep: 1000,
            history_max: None,
            half_life_events: None,
            floor: None,
            memory_mb_max: 8192,
        }
    }
}

/// Learns EASE.
#[derive(Debug, Clone)]
pub struct EaseTrainer {
    config: EaseConfig,
}

impl EaseTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        let config: EaseConfig = parse(NAME, config)?;
        if let Some(l2) = config.l2 {
            within(NAME, "l2", l2, 1e-6, 1e12)?;
        }
        within(NAME, "dropout", config.dropout, 0.0, 0.999)?;
        within(NAME, "user_exponent", config.user_exponent, 0.0, 1.0)?;
        within(NAME, "item_exponent", config.item_exponent, -1.0, 1.0)?;
        within(
            NAME,
            "neighbours",
            config.neighbours.unwrap_or(0) as f64,
            0.0,
            5000.0,
        )?;
        within(NAME, "keep", config.keep as f64, 1.0, 1e7)?;
        within(
            NAME,
            "history_max",
            config.history_max.unwrap_or(1) as f64,
            1.0,
            1e6,
        )?;
        recall::check(NAME, config.half_life_events, config.floor)?;
        Ok(Box::new(EaseTrainer { config }))
    }

    /// Megabytes that the exact form needs for this many items.
    fn exact_mb(&self, n_items: usize) -> u64 {
        let kept = self.config.keep.min(n_items) as u64 * 24 * n_items as u64;
        (4 * (n_items as u64).pow(2) + kept) >> 20
    }

    /// Nearest items that enter; `None` for all.
    fn form(&self, taken: &Taken) -> Result<Option<usize>, ModelError> {
        let (exact, limit_mb) = (self.exact_mb(taken.n_items()), self.config.memory_mb_max);
        let neighbours = match self.config.neighbours {
            None if exact <= limit_mb && taken.n_items() <= EXACT_MAX => None,
            None => Some(NEIGHBOURS),
            Some(0) => None,
            some => some,
        };
        let kept = |n: usize| (n.min(self.config.keep) * 24 * taken.n_items()) as u64;
        let needed_mb = neighbours.map_or(exact, |n| (ease_nearest::bytes_at_most(taken) + kept(n)) >> 20);
        if needed_mb > limit_mb {
            return Err(ModelError::TooLarge {
                model: NAME.to_owned(),
                needed_mb,
                limit_mb,
            });
        }
        Ok(neighbours)
    }

    /// Weight of a pair of items of a user with this many.
    fn pair(&self, length: usize) -> f32 {
        (length as f64).powf(-2.0 * self.config.user_exponent) as f32
    }

    /// What is added to the diagonal.
    fn ridge(&self, diagonal: impl Iterator<Item = f32> + Clone, n: usize) -> Vec<f32> {
        let l2 = self.l2(diagonal.clone(), n);
        let noise = self.config.dropout / (1.0 - self.config.dropout);
        diagonal.map(|d| (l2 + noise * f64::from(d)) as f32).collect()
    }

    /// λ, by the diagonal of XᵀX if nothing else is said.
    fn l2(&self, diagonal: impl Iterator<Item = f32>, n: usize) -> f64 {
        let total: f64 = diagonal.map(f64::from).sum();
        self.config.l2.unwrap_or((2.0 * total / n as f64).max(1.0))
    }

    /// The weights, and λ.
    fn exact(&self, taken: &Taken, scales: &[f64], run: &Run) -> Result<(Csr, f64), ModelError> {
        let n = taken.n_items();
        let (mut matrix, ridge, l2) = self.gram(taken, scales);
        run.check()?;
        invert_symmetric(&mut matrix, n).map_err(|e| ModelError::Config {
            model: NAME.to_owned(),
            field: "l2".to_owned(),
            got: format!("{:?} ({e})", self.config.l2),
            expected: "a value large enough for the matrix to be inverted in single precision".to_owned(),
        })?;
        run.check()?;
        Ok((self.weights(&matrix, &ridge, scales), l2))
    }

    fn nearest(
        &self,
        taken: &Taken,
        scales: &[f64],
        neighbours: usize,
        run: &Run,
    ) -> Result<(Csr, f64), ModelError> {
        let n = taken.n_items();
        let lengths: Vec<f32> = taken.users.iter().map(|list| self.pair(list.len())).collect();
        let gram = ease_nearest::gram(taken, scales, |user| lengths[user]);
        run.check()?;
        let diagonal = (0..n).map(|i| gram.get(i, i as u32));
        let (ridge, l2) = (self.ridge(diagonal.clone(), n), self.l2(diagonal, n));
        let form = Ridge {
            gram,
            ridge,
            zero_diagonal: self.config.zero_diagonal,
        };
        let columns = form.columns(neighbours, self.config.keep);
        let scaled = |j: usize| {
            let (rows, values) = columns.row(j);
            let back = move |(i, value): (&u32, &f32)| {
                (*i, (f64::from(*value) * scales[*i as usize] / scales[j]) as f32)
            };
            rows.iter().zip(values).map(back).collect::<Vec<_>>()
        };
        Ok((of_rows(n, (0..n).map(scaled)).transpose(), l2))
    }

    /// The upper triangle of XᵀX + Λ, by rows, Λ, and λ.
    fn gram(&self, taken: &Taken, scales: &[f64]) -> (Vec<f32>, Vec<f32>, f64) {
        let n = taken.n_items();
        let users_of = taken.users_of();
        let mut gram = large_zeros(n * n);
        gram.par_chunks_exact_mut(n).enumerate().for_each(|(item, row)| {
            for user in &users_of[item] {
                let items = &taken.users[*user as usize];
                let weight = self.pair(items.len());
                let start = items.partition_point(|other| (*other as usize) < item);
                items[start..]
                    .iter()
                    .for_each(|other| row[*other as usize] += weight);
            }
            for (value, scale) in row[item..].iter_mut().zip(&scales[item..]) {
                *value = (f64::from(*value) * scales[item] * scale) as f32;
            }
        });
        let diagonal = (0..n).map(|i| gram[i * n + i]);
        let (ridge, l2) = (self.ridge(diagonal.clone(), n), self.l2(diagonal, n));
        for (i, ridge) in ridge.iter().enumerate() {
            gram[i * n + i] += ridge;
        }
        (gram, ridge, l2)
    }

    /// Rows of B, cut.
    fn weights(&self, inverse: &[f32], ridge: &[f32], scales: &[f64]) -> Csr {
        let n = ridge.len();
        let columns = parallel_chunks(n, 64, |range| {
            let column = |j: usize| {
                let row = &inverse[j * n..(j + 1) * n];
                let own = if self.config.zero_diagonal {
                    -1.0 / f64::from(row[j]) / scales[j]
                } else {
                    -f64::from(ridge[j]) / scales[j]
                };
                let of = |i: usize| (f64::from(row[i]) * own * scales[i]) as f32;
                let others = (0..n).filter(|i| *i != j);
                largest(others.map(|i| (i as u32, of(i))).collect(), self.config.keep)
            };
            range.map(column).collect::<Vec<_>>()
        });
        of_rows(n, columns.into_iter().flatten()).transpose()
    }
}

impl Trainer for EaseTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        let taken = Taken::of(data)?;
        let form = self.form(&taken)?;
        let scale = |count: &u32| f64::from(*count).powf(-self.config.item_exponent);
        let scales: Vec<f64> = taken.counts().iter().map(scale).collect();
        run.check()?;
        let (weights, l2) = on_threads(run.threads, || match form {
            None => self.exact(&taken, &scales, run),
            Some(neighbours) => self.nearest(&taken, &scales, neighbours, run),
        })?;
        let mut model = taken.model(
            NAME,
            data,
            &weights,
            Recall::of(
                self.config.history_max,
                self.config.half_life_events,
                self.config.floor,
                &data.interactions,
            ),
        );
        let whole = EaseConfig {
            l2: Some(l2),
            neighbours: Some(form.unwrap_or(0)),
            ..self.config.clone()
        };
        model.settled = open_keys(&EaseConfig::default(), &whole);
        Ok(Box::new(model))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::InteractionsBuilder;
    use domain::{HistoryEvent, ItemId, Timestamp, UserId};
    use std::sync::Arc;

    /// Gauss-Jordan in `f64`.
    fn inverse(mut a: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        let n = a.len();
        for (i, row) in a.iter_mut().enumerate() {
            row.extend((0..n).map(|j| f64::from(u8::from(i == j))));
        }
        for i in 0..n {
            let pivot = a[i][i];
            a[i].iter_mut().for_each(|x| *x /= pivot);
            let own = a[i].clone();
            for (_, row) in a.iter_mut().enumerate().filter(|(r, _)| *r != i) {
                let factor = row[i];
                row.iter_mut().zip(&own).for_each(|(x, y)| *x -= factor * y);
            }
        }
        a.into_iter().map(|row| row[n..].to_vec()).collect()
    }

    #[test]
    fn weights_are_those_of_the_formula() {
        // With all four neighbours of five items the other form is the exact one, since every pair is met.
        for (zero_diagonal, neighbours) in [(true, 0), (false, 0), (true, 4), (false, 4)] {
            check_formula(zero_diagonal, neighbours);
        }
    }

    fn check_formula(zero_diagonal: bool, neighbours: usize) {
        let (l2, p, b, a) = (1.5, 0.25, 0.4, 0.3);
        let lists = [
            vec![0, 1, 2],
            vec![1, 2, 3, 4],
            vec![0, 4],
            vec![2, 4],
            vec![0, 1],
            vec![0, 3],
        ];
        let (n, mut builder) = (5, InteractionsBuilder::default());
        for (user, list) in lists.iter().enumerate() {
            for item in list {
                let (user, item) = (UserId::new(format!("u{user}")), ItemId::new(format!("i{item}")));
                builder.push(&user.unwrap(), &item.unwrap(), 1.0, Timestamp(0));
            }
        }
        // Nobody took the sixth; it may not disturb.
        builder.item(&ItemId::new("h").unwrap());
        let data = TrainingData {
            interactions: Arc::new(builder.build()),
            features: Arc::default(),
            user_features: Arc::default(),
            now: Timestamp(0),
        };
        let config = serde_json::json!({"l2": l2, "dropout": p, "user_exponent": b, "item_exponent": a,
            "zero_diagonal": zero_diagonal, "neighbours": neighbours});
        let model = EaseTrainer::build(&config)
            .unwrap()
            .fit(&data, &Run::new(0, 2))
            .unwrap();

        let count = |i: usize| lists.iter().filter(|list| list.contains(&i)).count() as f64;
        let mut gram = vec![vec![0f64; n]; n];
        for list in &lists {
            for i in list {
                for j in list {
                    gram[*i][*j] += (list.len() as f64).powf(-2.0 * b) * (count(*i) * count(*j)).powf(-a);
                }
            }
        }
        let ridge: Vec<f64> = (0..n).map(|i| l2 + p / (1.0 - p) * gram[i][i]).collect();
        let plain = gram.clone();
        (0..n).for_each(|i| gram[i][i] += ridge[i]);
        let inverse = inverse(gram);
        for i in 0..n {
            let event = HistoryEvent {
                item: i as u32 + 1,
                weight: 1.0,
                age_days: 0.0,
            };
            let mut scores = vec![0f32; n + 1];
            model.score(&[event], &[0, 1, 2, 3, 4, 5], &mut scores);
            assert_eq!(scores[0], 0.0);
            for j in 0..n {
                // The DLAE in full: (G + Λ)⁻¹G.
                let weight = if zero_diagonal {
                    -inverse[i][j] / inverse[j][j]
                } else {
                    (0..n).map(|k| inverse[i][k] * plain[k][j]).sum()
                };
                let weight = weight * count(i).powf(-a) * count(j).powf(a);
                let expected = if i == j { 0.0 } else { weight };
                assert!(
                    (f64::from(scores[j + 1]) - expected).abs() < 1e-5,
                    "{i} {j}: {} {expected}",
                    scores[j + 1]
                );
            }
        }
        assert!(!model.knows(0) && model.knows(1));
    }

    fn random(n_users: usize, n_items: usize, seed: u64) -> TrainingData {
        let mut stream = numeric::SeededStream::new(seed, 0);
        let mut builder = InteractionsBuilder::default();
        for user in 0..n_users {
            for _ in 0..12 {
                let item = (stream.uniform().powi(2) * n_items as f64) as usize;
                let (user, item) = (UserId::new(format!("u{user}")), ItemId::new(format!("i{item}")));
                builder.push(&user.unwrap(), &item.unwrap(), 1.0, Timestamp(0));
            }
        }
        TrainingData {
            interactions: Arc::new(builder.build()),
            features: Arc::default(),
            user_features: Arc::default(),
            now: Timestamp(0),
        }
    }

    fn scores(data: &TrainingData, config: serde_json::Value) -> Vec<f32> {
        let model = EaseTrainer::build(&config)
            .unwrap()
            .fit(data, &Run::new(0, 2))
            .unwrap();
        let n = data.interactions.n_items() as u32;
        let mut all = Vec::new();
        for item in 0..n {
            let event = HistoryEvent {
                item,
                weight: 1.0,
                age_days: 0.0,
            };
            let mut scores = vec![0f32; n as usize];
            model.score(&[event], &(0..n).collect::<Vec<_>>(), &mut scores);
            all.extend(scores);
        }
        all
    }

    /// Every pair of items is met here, so with all neighbours it is the exact form.
    #[test]
    fn nearest_becomes_exact_as_neighbours_grow() {
        let data = random(500, 25, 3);
        let with = |neighbours: usize| {
            scores(
                &data,
                serde_json::json!({"l2": 3.0, "dropout": 0.2, "user_exponent": 0.2, "item_exponent": 0.1, "neighbours": neighbours}),
            )
        };
        let exact = with(0);
        let error = |scores: Vec<f32>| {
            let squares = scores.iter().zip(&exact).map(|(a, b)| f64::from(a - b).powi(2));
            let size: f64 = exact.iter().map(|b| f64::from(*b).powi(2)).sum();
            (squares.sum::<f64>() / size).sqrt()
        };
        let errors: Vec<f64> = [3, 10, 24].into_iter().map(|m| error(with(m))).collect();
        assert!(errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
        assert!(errors[2] < 1e-3, "{errors:?}");
    }

    #[test]
    fn what_does_not_fit_is_approximated_or_refused() {
        let data = random(200, 2000, 5);
        let taken = Taken::of(&data).unwrap();
        let trainer = |neighbours, memory_mb_max| EaseTrainer {
            config: EaseConfig {
                neighbours,
                memory_mb_max,
                keep: 20,
                ..EaseConfig::default()
            },
        };
        assert!(trainer(None, 100).exact_mb(5_500) > 100 && trainer(None, 100).exact_mb(5_000) <= 100);
        assert_eq!(trainer(None, 100).form(&taken).unwrap(), None);
        assert_eq!(trainer(Some(40), 100).form(&taken).unwrap(), Some(40));
        assert_eq!(trainer(None, 2).form(&taken).unwrap(), Some(NEIGHBOURS));
        assert!(matches!(
            trainer(Some(0), 2).form(&taken),
            Err(ModelError::TooLarge { limit_mb: 2, .. })
        ));
    }
}
