//! SVD++: factorisation in which what someone rated says something by itself:
//! r̂ = μ + bᵤ + bᵢ + qᵢ·(pᵤ + |N(u)|^−½ Σ yⱼ).
//!
//! Source: Koren 2008, "Factorization Meets the Neighborhood", KDD, §4. The sum over N(u) is built once per user and
//! pass, and the steps of its yⱼ are gathered and taken together after the user's ratings, so that a pass costs ratings ×
//! factors, not that times the length of histories. Someone new is folded in: the sum from what they rated, the rest by
//! ridge regression.

use crate::registry::{check, parse};
use crate::svd::{Factors, SvdConfig, TIME_EVERY, random, start, untimed};
use crate::time::{TimeConfig, Timing};
use crate::{RatingModel, RatingTrainer, Ratings, RatingsError};
use numeric::{SeededStream, axpy, dot};
use serde::{Deserialize, Serialize};

pub(crate) const NAME: &str = "svdpp";

/// Configuration of SVD++.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SvdppConfig {
    /// Length of a factor. Default 64.
    pub factors: usize,
    /// Passes. Default 40.
    pub epochs: usize,
    /// First rate of learning. Default 0.008.
    pub rate: f32,
    /// The rate is multiplied by this after each pass. Default 0.95.
    pub decay: f32,
    /// Regularisation of factors. Default 0.06.
    pub reg: f32,
    /// Regularisation of biases. Default 0.02.
    pub reg_bias: f32,
    /// Regularisation of what the rated things say by themselves. Default 0.02.
    pub reg_implicit: f32,
    /// What the moment of a rating adds, fitted in turn with the rest; null for nothing. Default null.
    pub time: Option<TimeConfig>,
}

impl Default for SvdppConfig {
    fn default() -> Self {
        SvdppConfig {
            factors: 64,
            epochs: 40,
            rate: 0.008,
            decay: 0.95,
            reg: 0.06,
            reg_bias: 0.02,
            reg_implicit: 0.02,
            time: None,
        }
    }
}

struct SvdppTrainer(SvdppConfig);

pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn RatingTrainer>, RatingsError> {
    let config: SvdppConfig = parse(NAME, config)?;
    let shared = SvdConfig {
        factors: config.factors,
        epochs: config.epochs,
        rate: config.rate,
        decay: config.decay,
        reg: config.reg,
        reg_bias: config.reg_bias,
        time: config.time.clone(),
    };
    shared.check(NAME)?;
    check(NAME, "reg_implicit", f64::from(config.reg_implicit), 0.0, 10.0)?;
    Ok(Box::new(SvdppTrainer(config)))
}

struct Svdpp {
    factors: Factors,
    /// y, by item.
    implicit: Vec<f32>,
    /// pᵤ + |N(u)|^−½ Σ yⱼ, by user.
    whole: Vec<f32>,
}

impl Svdpp {
    /// Sets `whole` by what the rest is.
    fn sum_up(&mut self, data: &Ratings) {
        let d = self.factors.d;
        for user in 0..data.n_users {
            let whole = &mut self.whole[user * d..(user + 1) * d];
            let items = data.of_user(user).iter().map(|row| row.item);
            spoken(&self.implicit, d, items, whole);
            axpy(1.0, &self.factors.users[user * d..(user + 1) * d], whole);
        }
    }
}

/// |N|^−½ Σ yⱼ.
fn spoken(implicit: &[f32], d: usize, items: impl Iterator<Item = u32> + Clone, out: &mut [f32]) -> f32 {
    out.fill(0.0);
    let known = items.filter(|item| (*item as usize + 1) * d <= implicit.len());
    let share = 1.0 / (known.clone().count().max(1) as f32).sqrt();
    for item in known {
        let y = &implicit[item as usize * d..(item as usize + 1) * d];
        axpy(share, y, out);
    }
    share
}

impl SvdppTrainer {
    /// One user's ratings in turn.
    fn visit(
        &self,
        (data, values): (&Ratings, &[f32]),
        user: usize,
        rate: f32,
        model: &mut Svdpp,
        scratch: &mut Scratch,
    ) {
        let (config, d) = (&self.0, model.factors.d);
        let rows = data.of_user(user);
        let values = &values[data.offsets[user]..];
        if rows.is_empty() {
            return;
        }
        let Scratch {
            said,
            z,
            gathered,
            turn,
            stream,
        } = scratch;
        let share = spoken(&model.implicit, d, rows.iter().map(|row| row.item), said);
        let f = &mut model.factors;
        let p = &mut f.users[user * d..(user + 1) * d];
        gathered.fill(0.0);
        turn.clear();
        turn.extend(0..rows.len());
        stream.shuffle(turn);
        for at in turn.iter() {
            let item = rows[*at].item as usize;
            for ((z, p), said) in z.iter_mut().zip(p.iter()).zip(said.iter()) {
                *z = p + said;
            }
            let q = &mut f.items[item * d..(item + 1) * d];
            let (own, bias) = (&mut f.biases.user[user], &mut f.biases.item[item]);
            let error = values[*at] - (f.biases.mean + *own + *bias + dot(z, q));
            *own += rate * (error - config.reg_bias * *own);
            *bias += rate * (error - config.reg_bias * *bias);
            let (e, keep) = (rate * error, 1.0 - rate * config.reg);
            axpy(error, q, gathered);
            for ((q, p), z) in q.iter_mut().zip(p.iter_mut()).zip(z.iter()) {
                let old = *q;
                *q = keep * old + e * z;
                *p = keep * *p + e * old;
            }
        }
        let keep = (1.0 - rate * config.reg_implicit).powi(rows.len().min(10_000) as i32);
        for row in rows {
            let y = &mut model.implicit[row.item as usize * d..(row.item as usize + 1) * d];
            y.iter_mut().for_each(|y| *y *= keep);
            axpy(rate * share, gathered, y);
        }
    }
}

struct Scratch {
    said: Vec<f32>,
    z: Vec<f32>,
    gathered: Vec<f32>,
    turn: Vec<usize>,
    stream: SeededStream,
}

impl RatingTrainer for SvdppTrainer {
    fn fit(&self, data: &Ratings, seed: u64) -> Result<Box<dyn RatingModel>, RatingsError> {
        let d = self.0.factors;
        let mut stream = SeededStream::new(seed, 0);
        let baseline = start(self.0.time.as_ref());
        let (factors, mut timing) = Factors::new(data, d, self.0.reg, &baseline, &mut stream);
        let mut values = untimed(data, timing.as_ref());
        let implicit = random(data.n_items, d, &mut stream);
        let mut model = Svdpp {
            factors,
            implicit,
            whole: vec![0.0; data.n_users * d],
        };
        let mut scratch = Scratch {
            said: vec![0.0; d],
            z: vec![0.0; d],
            gathered: vec![0.0; d],
            turn: Vec::new(),
            stream,
        };
        let mut order: Vec<usize> = (0..data.n_users).collect();
        let mut rate = self.0.rate;
        for epoch in 1..=self.0.epochs {
            scratch.stream.shuffle(&mut order);
            for user in &order {
                self.visit((data, &values), *user, rate, &mut model, &mut scratch);
            }
            rate *= self.0.decay;
            if let Some(timing) = timing.as_mut().filter(|_| epoch % TIME_EVERY == 0) {
                model.sum_up(data);
                let f = &model.factors;
                timing.refit(data, |row| {
                    let (z, q) = (row.user as usize * d, row.item as usize * d);
                    let product = dot(&model.whole[z..z + d], &f.items[q..q + d]);
                    row.value - f.biases.of(row.user, row.item) - product
                });
                values = untimed(data, Some(timing));
            }
        }
        model.factors.biases.timed = timing.map(Timing::finish);
        model.sum_up(data);
        Ok(Box::new(model))
    }
}

impl RatingModel for Svdpp {
    fn predict(&self, user: u32, item: u32) -> f32 {
        let d = self.factors.d;
        let whole = self.whole.get(user as usize * d..(user as usize + 1) * d);
        self.factors
            .predicted(self.factors.biases.of_user(user), whole, item)
    }

    fn predict_at(&self, user: u32, item: u32, at_s: Option<i64>) -> f32 {
        let d = self.factors.d;
        let whole = self.whole.get(user as usize * d..(user as usize + 1) * d);
        let biases = &self.factors.biases;
        let own = biases.of_user(user) + biases.of_time(user, item, at_s);
        self.factors.predicted(own, whole, item)
    }

    fn predict_for(&self, history: &[(u32, f32)], items: &[u32]) -> Vec<f32> {
        let mut said = vec![0f32; self.factors.d];
        spoken(
            &self.implicit,
            self.factors.d,
            history.iter().map(|(item, _)| *item),
            &mut said,
        );
        let (own, factor) = self.factors.fold_in(history, &said);
        items
            .iter()
            .map(|item| self.factors.predicted(own, Some(&factor), *item))
            .collect()
    }
}
