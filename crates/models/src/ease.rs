//! EASE: a linear model from items to items with a zero diagonal, in closed form.
//!
//! Minimises ‖X − XB‖² + Σⱼ λⱼ‖Bⱼ‖² with Bⱼⱼ = 0 over the matrix X of who took what: with P = (XᵀX + Λ)⁻¹,
//! Bᵢⱼ = −Pᵢⱼ / Pⱼⱼ (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW). Options:
//!
//! - `dropout` p makes it denoising: Λ grows by p / (1 − p) times the diagonal of XᵀX, the closed form of training
//!   with each entry of the input left out with probability p (Steck 2020, "Autoencoders that don't overfit towards
//!   the Identity", NeurIPS).
//! - `user_exponent` b weighs a user's row by length⁻ᵇ, so that busy people count less.
//! - `item_exponent` a scales items by frequency⁻ᵃ before, and back after, which draws scores towards (a > 0)
//!   rare items.
//!
//! Defaults were chosen on the validation part of MovieLens 1M.
//!
//! Of each column the `keep` largest weights are kept; what is served is sparse. Nothing is random.
//! Cost: n³ multiplications for n items; memory: one n × n matrix of 4 bytes an entry, refused above `memory_mb_max`.

use crate::common::{parse, require_rows, shown, summed, within};
use crate::item_weights::ItemWeights;
use crate::memo::Memo;
use crate::{Model, ModelError, Run, Trainer, TrainingData};
use numeric::{Csr, invert_symmetric, on_threads, parallel_chunks};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) const NAME: &str = "ease";

/// Configuration of EASE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EaseConfig {
    /// λ. Default: twice the mean of the diagonal of XᵀX, at least 1.
    pub l2: Option<f64>,
    /// Share of the input that is thought left out, 0 to below 1. Default 0.4.
    pub dropout: f64,
    /// Rows weigh length to the minus this, 0 to 1. Default 0.3.
    pub user_exponent: f64,
    /// Items are scaled by frequency to the minus this, -1 to 1. Default 0.
    pub item_exponent: f64,
    /// Weights kept of each column, the largest. Default 1000.
    pub keep: usize,
    /// Latest events of a history that count. Default 1000.
    pub history_max: usize,
    /// Training that would need more is refused. Default 8192.
    pub memory_mb_max: u64,
}

impl Default for EaseConfig {
    fn default() -> Self {
        EaseConfig {
            l2: None,
            dropout: 0.4,
            user_exponent: 0.3,
            item_exponent: 0.0,
            keep: 1000,
            history_max: 1000,
            memory_mb_max: 8192,
        }
    }
}

/// Learns EASE.
#[derive(Debug, Clone)]
pub struct EaseTrainer {
    config: EaseConfig,
}

/// Who took what: items of each user, ascending, each once.
struct Lists {
    users: Vec<Vec<u32>>,
    n_items: usize,
    mean_strength: f32,
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
        within(NAME, "keep", config.keep as f64, 1.0, 1e7)?;
        within(NAME, "history_max", config.history_max as f64, 1.0, 1e6)?;
        Ok(Box::new(EaseTrainer { config }))
    }

    fn check_memory(&self, n_items: usize) -> Result<(), ModelError> {
        let kept = self.config.keep.min(n_items) as u64 * 24 * n_items as u64;
        let needed_mb = (4 * (n_items as u64).pow(2) + kept) >> 20;
        if needed_mb > self.config.memory_mb_max {
            return Err(ModelError::TooLarge {
                model: NAME.to_owned(),
                needed_mb,
                limit_mb: self.config.memory_mb_max,
            });
        }
        Ok(())
    }

    /// The upper triangle of XᵀX + Λ, by rows, over the known items only, and the frequencies of these.
    fn gram(&self, lists: &Lists, scales: &[f64]) -> Vec<f32> {
        let n = lists.n_items;
        let mut users_of: Vec<Vec<u32>> = vec![Vec::new(); n];
        for (user, items) in (0u32..).zip(&lists.users) {
            items.iter().for_each(|item| users_of[*item as usize].push(user));
        }
        let square = |user: &u32| {
            let length = lists.users[*user as usize].len() as f64;
            length.powf(-2.0 * self.config.user_exponent) as f32
        };
        let mut gram = vec![0f32; n * n];
        gram.par_chunks_exact_mut(n).enumerate().for_each(|(item, row)| {
            for user in &users_of[item] {
                let weight = square(user);
                let items = &lists.users[*user as usize];
                let start = items.partition_point(|other| (*other as usize) < item);
                items[start..]
                    .iter()
                    .for_each(|other| row[*other as usize] += weight);
            }
            for (value, scale) in row[item..].iter_mut().zip(&scales[item..]) {
                *value = (f64::from(*value) * scales[item] * scale) as f32;
            }
        });
        let diagonal: f64 = (0..n).map(|i| f64::from(gram[i * n + i])).sum();
        let l2 = self.config.l2.unwrap_or((2.0 * diagonal / n as f64).max(1.0));
        let noise = self.config.dropout / (1.0 - self.config.dropout);
        for i in 0..n {
            let value = &mut gram[i * n + i];
            *value += (l2 + noise * f64::from(*value)) as f32;
        }
        gram
    }

    /// Rows of B, cut.
    fn weights(&self, inverse: &[f32], n: usize, scales: &[f64]) -> Csr {
        let keep = self.config.keep;
        let columns = parallel_chunks(n, 64, |range| {
            let column = |j: usize| {
                let row = &inverse[j * n..(j + 1) * n];
                let own = -1.0 / f64::from(row[j]) / scales[j];
                let of = |i: usize| (f64::from(row[i]) * own * scales[i]) as f32;
                let mut all: Vec<(u32, f32)> =
                    (0..n).filter(|i| *i != j).map(|i| (i as u32, of(i))).collect();
                if all.len() > keep {
                    let by_size =
                        |a: &(u32, f32), b: &(u32, f32)| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0));
                    all.select_nth_unstable_by(keep, by_size);
                    all.truncate(keep);
                    all.sort_unstable_by_key(|(i, _)| *i);
                }
                all
            };
            range.map(column).collect::<Vec<_>>()
        });
        let (mut offsets, mut rows, mut values) = (vec![0usize], Vec::new(), Vec::new());
        for column in columns.into_iter().flatten() {
            for (row, value) in column
                .into_iter()
                .filter(|(_, value)| value.is_finite() && *value != 0.0)
            {
                rows.push(row);
                values.push(value);
            }
            offsets.push(rows.len());
        }
        Csr::from_parts(n, offsets, rows, values)
            .expect("columns were built in order")
            .transpose()
    }
}

/// What users took, of the items that anyone took, by places in a table of those.
fn lists(data: &TrainingData) -> Result<(Lists, Vec<u32>), ModelError> {
    let rows = &data.interactions;
    require_rows(rows)?;
    let (mut total, mut count) = (0f64, 0usize);
    let mut users = Vec::with_capacity(rows.n_users());
    let mut taken = vec![false; rows.n_items()];
    for user in 0..rows.n_users() {
        let mut items: Vec<u32> = Vec::new();
        for (item, strength) in summed(rows, user).into_iter().filter(|(_, sum)| *sum > 0.0) {
            taken[item as usize] = true;
            items.push(item);
            total += f64::from(strength);
            count += 1;
        }
        items.sort_unstable();
        users.push(items);
    }
    if count == 0 {
        return Err(ModelError::Empty("no interactions above zero".to_owned()));
    }
    let known: Vec<u32> = (0u32..)
        .zip(&taken)
        .filter(|(_, taken)| **taken)
        .map(|(item, _)| item)
        .collect();
    let mut places = vec![0u32; taken.len()];
    for (place, item) in (0u32..).zip(&known) {
        places[*item as usize] = place;
    }
    users
        .iter_mut()
        .flatten()
        .for_each(|item| *item = places[*item as usize]);
    let lists = Lists {
        users,
        n_items: known.len(),
        mean_strength: (total / count as f64) as f32,
    };
    Ok((lists, known))
}

/// The same matrix over all items.
fn spread(weights: &Csr, known: &[u32], n_items: usize) -> Csr {
    let (_, columns, values) = weights.parts();
    let mut offsets = vec![0usize; n_items + 1];
    for (place, item) in known.iter().enumerate() {
        offsets[*item as usize + 1] = weights.row(place).0.len();
    }
    for item in 0..n_items {
        offsets[item + 1] += offsets[item];
    }
    let columns = columns.iter().map(|place| known[*place as usize]).collect();
    Csr::from_parts(n_items, offsets, columns, values.to_vec()).expect("places are in the order of items")
}

impl Trainer for EaseTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        let (lists, items) = lists(data)?;
        let n = lists.n_items;
        self.check_memory(n)?;
        let mut counts = vec![0u32; n];
        lists
            .users
            .iter()
            .flatten()
            .for_each(|item| counts[*item as usize] += 1);
        let scale = |count: &u32| f64::from(*count).powf(-self.config.item_exponent);
        let scales: Vec<f64> = counts.iter().map(scale).collect();
        run.check()?;
        let weights = on_threads(run.threads, || {
            let mut matrix = self.gram(&lists, &scales);
            run.check()?;
            invert_symmetric(&mut matrix, n).map_err(|e| ModelError::Config {
                model: NAME.to_owned(),
                field: "l2".to_owned(),
                got: format!("{:?} ({e})", self.config.l2),
                expected: "a value large enough for the matrix to be inverted in single precision".to_owned(),
            })?;
            run.check()?;
            Ok(self.weights(&matrix, n, &scales))
        })?;
        let n_items = data.interactions.n_items();
        let mut known = vec![false; n_items];
        items.iter().for_each(|item| known[*item as usize] = true);
        Ok(Box::new(ItemWeights {
            name: NAME,
            vocabulary: Arc::clone(&data.interactions.items),
            weights: Arc::new(spread(&weights, &items, n_items)),
            known: Arc::new(known),
            mean_strength: lists.mean_strength,
            history_max: self.config.history_max,
            memo: Memo::default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::InteractionsBuilder;
    use domain::{HistoryEvent, ItemId, Timestamp, UserId};

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
        let (l2, p, b, a) = (1.5, 0.25, 0.4, 0.3);
        let lists = [
            vec![0, 1, 2],
            vec![1, 2, 3, 4],
            vec![0, 4],
            vec![2, 4],
            vec![0, 1],
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
            now: Timestamp(0),
        };
        let config = serde_json::json!({"l2": l2, "dropout": p, "user_exponent": b, "item_exponent": a});
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
        (0..n).for_each(|i| gram[i][i] += l2 + p / (1.0 - p) * gram[i][i]);
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
                let weight = -inverse[i][j] / inverse[j][j] * count(i).powf(-a) * count(j).powf(a);
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

    #[test]
    fn too_large_is_refused_with_the_estimate() {
        let trainer = EaseTrainer {
            config: EaseConfig {
                memory_mb_max: 100,
                ..EaseConfig::default()
            },
        };
        assert!(trainer.check_memory(3_000).is_err() && trainer.check_memory(2_000).is_ok());
    }
}
