//! Biased matrix factorisation by stochastic gradient descent: r̂ = μ + bᵤ + bᵢ + qᵢ·pᵤ.
//!
//! Source: Koren, Bell, Volinsky 2009, "Matrix Factorization Techniques for Recommender Systems"; the rate falls by `decay`
//! each epoch. Users come in a new random order each epoch, their ratings one after the other: two cache lines less per
//! step than in random order, and the same result. Cost: ratings × factors × epochs, on one thread.
//! Someone new is folded in by ridge regression on the item factors.

use crate::baseline::{BaselineConfig, Biases};
use crate::registry::{check, parse};
use crate::time::{TimeConfig, Timing};
use crate::{RatingModel, RatingTrainer, Ratings, RatingsError};
use numeric::{Cholesky, SeededStream, axpy, dot, syrk_add};
use serde::{Deserialize, Serialize};

pub(crate) const NAME: &str = "svd";

/// Configuration of the factorisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SvdConfig {
    /// Length of a factor. Default 64.
    pub factors: usize,
    /// Passes. Default 40.
    pub epochs: usize,
    /// First rate of learning. Default 0.01.
    pub rate: f32,
    /// The rate is multiplied by this after each pass. Default 0.96.
    pub decay: f32,
    /// Regularisation of factors. Default 0.08.
    pub reg: f32,
    /// Regularisation of biases. Default 0.02.
    pub reg_bias: f32,
    /// What the moment of a rating adds, fitted in turn with the rest; null for nothing. Default null.
    pub time: Option<TimeConfig>,
}

impl Default for SvdConfig {
    fn default() -> Self {
        SvdConfig {
            factors: 64,
            epochs: 40,
            rate: 0.01,
            decay: 0.96,
            reg: 0.08,
            reg_bias: 0.02,
            time: None,
        }
    }
}

impl SvdConfig {
    pub(crate) fn check(&self, model: &str) -> Result<(), RatingsError> {
        check(model, "factors", self.factors as f64, 1.0, 4096.0)?;
        check(model, "epochs", self.epochs as f64, 1.0, 1e4)?;
        check(model, "rate", f64::from(self.rate), 1e-6, 1.0)?;
        check(model, "decay", f64::from(self.decay), 0.1, 1.0)?;
        check(model, "reg", f64::from(self.reg), 0.0, 10.0)?;
        check(model, "reg_bias", f64::from(self.reg_bias), 0.0, 10.0)?;
        self.time.iter().try_for_each(|time| time.check(model))
    }
}

struct SvdTrainer(SvdConfig);

pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn RatingTrainer>, RatingsError> {
    let config: SvdConfig = parse(NAME, config)?;
    config.check(NAME)?;
    Ok(Box::new(SvdTrainer(config)))
}

/// Biases and factors of both sides, row-major.
pub(crate) struct Factors {
    pub(crate) d: usize,
    pub(crate) biases: Biases,
    pub(crate) users: Vec<f32>,
    pub(crate) items: Vec<f32>,
    pub(crate) reg: f32,
}

/// Passes after which what time adds is fitted anew, to what the factors leave.
pub(crate) const TIME_EVERY: usize = 5;

/// Ratings without what their moments add, in the order of the data.
pub(crate) fn untimed(data: &Ratings, timing: Option<&Timing<'_>>) -> Vec<f32> {
    let added = |at: usize, user: u32| timing.map_or(0.0, |timing| timing.of(at, user));
    let rows = data.rows.iter().enumerate();
    rows.map(|(at, row)| row.value - added(at, row.user)).collect()
}

/// The baseline that factorisations start from.
pub(crate) fn start(time: Option<&TimeConfig>) -> BaselineConfig {
    BaselineConfig {
        time: time.cloned(),
        ..BaselineConfig::default()
    }
}

/// Small random factors.
pub(crate) fn random(n: usize, d: usize, stream: &mut SeededStream) -> Vec<f32> {
    let deviation = 0.1 / (d as f64 / 20.0).sqrt();
    (0..n * d).map(|_| (stream.normal() * deviation) as f32).collect()
}

impl Factors {
    /// With the biases of this baseline, and what time adds in the making.
    pub(crate) fn new<'a>(
        data: &Ratings,
        d: usize,
        reg: f32,
        baseline: &'a BaselineConfig,
        stream: &mut SeededStream,
    ) -> (Factors, Option<Timing<'a>>) {
        let (biases, timing) = Biases::fit_with(data, baseline);
        let factors = Factors {
            d,
            biases,
            users: random(data.n_users, d, stream),
            items: random(data.n_items, d, stream),
            reg,
        };
        (factors, timing)
    }

    pub(crate) fn item(&self, item: u32) -> Option<&[f32]> {
        self.items
            .get(item as usize * self.d..(item as usize + 1) * self.d)
    }

    /// Bias and factor that fit these ratings best, given those of the items; `offset` is added to the factor
    /// beforehand. The weight of the regularisation is that of training: once per rating.
    pub(crate) fn fold_in(&self, history: &[(u32, f32)], offset: &[f32]) -> (f32, Vec<f32>) {
        let d = self.d;
        let known = || {
            history
                .iter()
                .filter_map(|(item, value)| Some((*item, *value, self.item(*item)?)))
        };
        let own = self
            .biases
            .of_history(known().map(|(item, value, _)| (item, value)));
        let n = known().count();
        let (mut matrix, mut right) = (vec![0f32; d * d], vec![0f32; d]);
        for (item, value, factor) in known() {
            syrk_add(&mut matrix, d, factor, &[1.0]);
            let rest = value - self.biases.mean - own - self.biases.of_item(item) - dot(factor, offset);
            axpy(rest, factor, &mut right);
        }
        (0..d).for_each(|i| matrix[i * d + i] += (self.reg * n as f32).max(1e-3));
        let mut cholesky = Cholesky::default();
        if n == 0 || cholesky.factor(&matrix, d).is_err() {
            return (own, offset.to_vec());
        }
        cholesky.solve(&mut right);
        axpy(1.0, offset, &mut right);
        (own, right)
    }

    /// μ + `own` + bᵢ and the product of factors, within the scale.
    pub(crate) fn predicted(&self, own: f32, user: Option<&[f32]>, item: u32) -> f32 {
        let both = user.zip(self.item(item));
        let product = both.map_or(0.0, |(user, item)| dot(user, item));
        self.biases
            .clamped(self.biases.mean + own + self.biases.of_item(item) + product)
    }
}

impl RatingTrainer for SvdTrainer {
    fn fit(&self, data: &Ratings, seed: u64) -> Result<Box<dyn RatingModel>, RatingsError> {
        let config = &self.0;
        let d = config.factors;
        let mut stream = SeededStream::new(seed, 0);
        let baseline = start(config.time.as_ref());
        let (mut f, mut timing) = Factors::new(data, d, config.reg, &baseline, &mut stream);
        let mut values = untimed(data, timing.as_ref());
        let mut order: Vec<u32> = (0..data.n_users as u32).collect();
        let mut rate = config.rate;
        let mut turn: Vec<usize> = Vec::new();
        for epoch in 1..=config.epochs {
            stream.shuffle(&mut order);
            for user in &order {
                let rows = data.of_user(*user as usize);
                let values = &values[data.offsets[*user as usize]..];
                let p = &mut f.users[*user as usize * d..(*user as usize + 1) * d];
                let own = &mut f.biases.user[*user as usize];
                turn.clear();
                turn.extend(0..rows.len());
                stream.shuffle(&mut turn);
                for at in &turn {
                    let item = rows[*at].item as usize;
                    let q = &mut f.items[item * d..(item + 1) * d];
                    let bias = &mut f.biases.item[item];
                    let error = values[*at] - (f.biases.mean + *own + *bias + dot(p, q));
                    *own += rate * (error - config.reg_bias * *own);
                    *bias += rate * (error - config.reg_bias * *bias);
                    step(p, q, rate * error, 1.0 - rate * config.reg);
                }
            }
            rate *= config.decay;
            if let Some(timing) = timing.as_mut().filter(|_| epoch % TIME_EVERY == 0) {
                timing.refit(data, |row| {
                    let (p, q) = (row.user as usize * d, row.item as usize * d);
                    let product = dot(&f.users[p..p + d], &f.items[q..q + d]);
                    row.value - f.biases.of(row.user, row.item) - product
                });
                values = untimed(data, Some(timing));
            }
        }
        f.biases.timed = timing.map(Timing::finish);
        Ok(Box::new(f))
    }
}

/// p ← kp + eq, q ← kq + ep, both from the old values.
#[inline]
pub(crate) fn step(p: &mut [f32], q: &mut [f32], e: f32, keep: f32) {
    for (p, q) in p.iter_mut().zip(q) {
        let (old_p, old_q) = (*p, *q);
        *p = keep * old_p + e * old_q;
        *q = keep * old_q + e * old_p;
    }
}

impl RatingModel for Factors {
    fn predict(&self, user: u32, item: u32) -> f32 {
        let factor = self
            .users
            .get(user as usize * self.d..(user as usize + 1) * self.d);
        self.predicted(self.biases.of_user(user), factor, item)
    }

    fn predict_at(&self, user: u32, item: u32, at_s: Option<i64>) -> f32 {
        let factor = self
            .users
            .get(user as usize * self.d..(user as usize + 1) * self.d);
        let own = self.biases.of_user(user) + self.biases.of_time(user, item, at_s);
        self.predicted(own, factor, item)
    }

    fn predict_for(&self, history: &[(u32, f32)], items: &[u32]) -> Vec<f32> {
        let (own, factor) = self.fold_in(history, &vec![0.0; self.d]);
        items
            .iter()
            .map(|item| self.predicted(own, Some(&factor), *item))
            .collect()
    }
}
