//! Linear bandits: the reward of an action is linear in features of the action in its context, with weights of its own and, for hybrids, weights that all share.
//!
//! `r = z·β + x·θₐ + noise`, with β ~ N(β₀, I/reg) and θₐ ~ N(θ₀ₐ, I/reg). Without shared features (`shared` 0) it is the disjoint model. β₀ and θ₀ are the warm start:
//! weights of a model that was fitted offline; data overrule them as it comes. The posterior is that of ridge regression over all weights, worked out by blocks:
//! - own block of an action: `Aₐ = reg·I + Σ x xᵀ`, `Bₐ = Σ x zᵀ`, `bₐ = Σ x r`;
//! - shared block after the own ones are eliminated: `S = reg·I + Σ z zᵀ − Σₐ Bₐᵀ Aₐ⁻¹ Bₐ`;
//! - mean `z·β̂ + x·θ̂ₐ`; variance `xᵀAₐ⁻¹x + uᵀS⁻¹u` with `u = z − Bₐᵀ Aₐ⁻¹ x`, in units of the noise's variance.
//!
//! **LinUCB** shows the action with the highest `mean + alpha·deviation`; **LinTS** draws from the posterior, by [`GaussianThompson`](crate::GaussianThompson) where actions are
//! independent (disjoint) and by [`EnsembleThompson`](crate::EnsembleThompson) where they share weights. Both come as arms or draws, so any policy can choose from them.
//!
//! **Discounting**: at each reward everything learnt before counts `discount` times as much; the prior does not fade. With discount γ the memory is about 1/(1 − γ) rewards.
//!
//! Cost: an update d² + dk + k² (Sherman–Morrison for Aₐ⁻¹ without discounting); a posterior `actions·(d²k + dk²) + k³`, and `actions·d³` more with discounting.
//! Sources: Li, Chu, Langford and Schapire (2010), WWW, algorithms 1 and 2; Agrawal and Goyal (2013), ICML; Russac, Vernade and Cappé (2019), NeurIPS 32 (discounting).

use super::spd::{add_outer, cholesky, dot, inverse, sherman_morrison, times};
use crate::settings::within;
use crate::{Arm, PolicyError, Samples};
use numeric::SeededStream;
use serde::{Deserialize, Serialize};

/// Shape of a linear bandit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearBanditConfig {
    /// Features with weights of each action's own (d), 1 to 500.
    pub features: usize,
    /// Features with weights that all actions share (k), 0 to 500.
    #[serde(default)]
    pub shared: usize,
    /// Precision of the prior (λ), above 0.
    pub reg: f64,
    /// What all that was learnt counts for after another reward (γ), above 0, at most 1.
    pub discount: f64,
}

/// Features of one action in one context.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Context<'a> {
    /// Which action.
    pub action: usize,
    /// As many as `features`.
    pub own: &'a [f64],
    /// As many as `shared`.
    pub shared: &'a [f64],
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Action {
    prior: Vec<f64>,
    gram: Vec<f64>,
    cross: Vec<f64>,
    moment: Vec<f64>,
    /// (reg·I + gram)⁻¹, kept without discounting.
    inverse: Vec<f64>,
    /// Rewards of all actions when the sums were last brought up to date.
    at: u64,
}

/// A linear bandit: what was learnt so far. Grows by an action when one is met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearBandit {
    config: LinearBanditConfig,
    prior_own: Vec<f64>,
    prior_shared: Vec<f64>,
    actions: Vec<Action>,
    gram: Vec<f64>,
    moment: Vec<f64>,
    rewards: u64,
}

fn diagonal(n: usize, value: f64) -> Vec<f64> {
    (0..n * n)
        .map(|at| if at / n == at % n { value } else { 0.0 })
        .collect()
}

impl LinearBandit {
    /// One that has learnt nothing yet.
    ///
    /// # Errors
    /// The field that cannot be.
    pub fn new(config: LinearBanditConfig) -> Result<LinearBandit, PolicyError> {
        within("features", config.features as f64, 1.0, 500.0)?;
        within("shared", config.shared as f64, 0.0, 500.0)?;
        within("reg", config.reg, 1e-9, 1e9)?;
        within("discount", config.discount, 0.5, 1.0)?;
        Ok(LinearBandit {
            config,
            prior_own: vec![0.0; config.features],
            prior_shared: vec![0.0; config.shared],
            actions: Vec::new(),
            gram: vec![0.0; config.shared * config.shared],
            moment: vec![0.0; config.shared],
            rewards: 0,
        })
    }

    /// Starts from weights learnt elsewhere: shared ones, and those of actions not met yet.
    ///
    /// # Errors
    /// If their numbers are not those of the features.
    pub fn with_prior(mut self, own: Vec<f64>, shared: Vec<f64>) -> Result<LinearBandit, PolicyError> {
        for (field, got, expected) in [
            ("own", own.len(), self.config.features),
            ("shared", shared.len(), self.config.shared),
        ] {
            if got != expected {
                return Err(PolicyError {
                    field: format!("prior.{field}"),
                    got: format!("{got} weights"),
                    expected: expected.to_string(),
                });
            }
        }
        (self.prior_own, self.prior_shared) = (own, shared);
        Ok(self)
    }

    /// Starts one action from weights of its own; what it had learnt is lost.
    ///
    /// # Panics
    /// If there are not as many weights as features.
    pub fn set_action(&mut self, action: usize, prior: Vec<f64>) {
        assert_eq!(prior.len(), self.config.features, "weights of an action");
        self.grow(action);
        self.actions[action] = self.fresh(prior);
    }

    fn fresh(&self, prior: Vec<f64>) -> Action {
        let (d, k) = (self.config.features, self.config.shared);
        Action {
            prior,
            gram: vec![0.0; d * d],
            cross: vec![0.0; d * k],
            moment: vec![0.0; d],
            inverse: diagonal(d, 1.0 / self.config.reg),
            at: self.rewards,
        }
    }

    fn grow(&mut self, action: usize) {
        while self.actions.len() <= action {
            let action = self.fresh(self.prior_own.clone());
            self.actions.push(action);
        }
    }

    /// How much an action's sums have faded since they were brought up to date.
    fn faded(&self, action: &Action) -> f64 {
        self.config.discount.powf((self.rewards - action.at) as f64)
    }

    /// Learns from a reward: a trial and what came of it at once.
    ///
    /// # Panics
    /// If the features are not as many as configured.
    pub fn update(&mut self, context: &Context<'_>, reward: f64) {
        let trial = self.observe(context);
        self.credit(context, trial, reward);
    }

    /// Takes in that an action was tried, and that nothing came of it so far; the number of the trial, for [`credit`](Self::credit).
    ///
    /// # Panics
    /// If the features are not as many as configured.
    pub fn observe(&mut self, context: &Context<'_>) -> u64 {
        let (x, z) = (context.own, context.shared);
        self.check(context);
        self.grow(context.action);
        self.rewards += 1;
        let discount = self.config.discount;
        let fade = self.faded(&self.actions[context.action]);
        let action = &mut self.actions[context.action];
        action.at = self.rewards;
        if discount < 1.0 {
            for sums in [&mut action.gram, &mut action.cross, &mut action.moment] {
                sums.iter_mut().for_each(|sum| *sum *= fade);
            }
            for sums in [&mut self.gram, &mut self.moment] {
                sums.iter_mut().for_each(|sum| *sum *= discount);
            }
        } else {
            sherman_morrison(&mut action.inverse, x);
        }
        add_outer(&mut action.gram, 1.0, x, x);
        add_outer(&mut action.cross, 1.0, x, z);
        add_outer(&mut self.gram, 1.0, z, z);
        let expected = dot(x, &action.prior) + dot(z, &self.prior_shared);
        self.credit(context, self.rewards, -expected);
        self.rewards
    }

    /// Adds to what came of an earlier trial, in the same context: rewards may come late and in parts. It counts as if it had been there when the trial was taken in.
    ///
    /// # Panics
    /// If the features are not as many as configured, or there was no such trial.
    pub fn credit(&mut self, context: &Context<'_>, trial: u64, reward: f64) {
        self.check(context);
        let action = &mut self.actions[context.action];
        assert!(
            trial <= action.at,
            "trial {trial} of action {} was not taken in",
            context.action
        );
        // Sums of an action are kept as of its last trial, the shared ones as of the last of all.
        let since = |now: u64| self.config.discount.powf((now - trial) as f64);
        let (own, shared) = (since(action.at) * reward, since(self.rewards) * reward);
        let add = |sums: &mut [f64], scale: f64, features: &[f64]| {
            sums.iter_mut()
                .zip(features)
                .for_each(|(sum, feature)| *sum += scale * feature);
        };
        add(&mut action.moment, own, context.own);
        add(&mut self.moment, shared, context.shared);
    }

    /// Trials taken in.
    pub fn trials(&self) -> u64 {
        self.rewards
    }

    fn check(&self, context: &Context<'_>) {
        assert_eq!(
            (context.own.len(), context.shared.len()),
            (self.config.features, self.config.shared),
            "features"
        );
    }

    /// What is believed now.
    pub fn posterior(&self) -> Posterior {
        let (d, k, reg) = (self.config.features, self.config.shared, self.config.reg);
        let mut schur = self.gram.clone();
        (0..k).for_each(|i| schur[i * k + i] += reg);
        let mut rest = self.moment.clone();
        let mut actions: Vec<Blocks> = Vec::with_capacity(self.actions.len());
        for action in &self.actions {
            let fade = self.faded(action);
            let own = if self.config.discount < 1.0 {
                let mut gram: Vec<f64> = action.gram.iter().map(|sum| sum * fade).collect();
                (0..d).for_each(|i| gram[i * d + i] += reg);
                let factor =
                    cholesky(&gram, d).expect("a Gram matrix plus a positive diagonal is positive definite");
                inverse(&factor, d)
            } else {
                action.inverse.clone()
            };
            let mut spill = vec![0.0; d * k];
            for i in 0..d {
                for j in 0..d {
                    let scale = own[i * d + j] * fade;
                    (0..k).for_each(|c| spill[i * k + c] += scale * action.cross[j * k + c]);
                }
            }
            for i in 0..d {
                let row = &spill[i * k..(i + 1) * k];
                add_outer(&mut schur, -fade, &action.cross[i * k..(i + 1) * k], row);
                rest.iter_mut()
                    .zip(row)
                    .for_each(|(sum, w)| *sum -= fade * action.moment[i] * w);
            }
            let moment: Vec<f64> = action.moment.iter().map(|sum| sum * fade).collect();
            actions.push((times(&own, &moment), own, spill));
        }
        let shared_factor = cholesky(&schur, k).unwrap_or_else(|| diagonal(k, reg.sqrt()));
        let shared_inverse = inverse(&shared_factor, k);
        let shared = times(&shared_inverse, &rest);
        let posterior_of = |(at, (free, own, spill)): (usize, Blocks)| {
            let prior = &self.actions[at].prior;
            let weight = |i: usize| prior[i] + free[i] - dot(&spill[i * k..(i + 1) * k], &shared);
            Own {
                weights: (0..d).map(weight).collect(),
                inverse: own,
                spill,
            }
        };
        let unknown = Own {
            weights: self.prior_own.clone(),
            inverse: diagonal(d, 1.0 / reg),
            spill: vec![0.0; d * k],
        };
        Posterior {
            shared: shared
                .iter()
                .zip(&self.prior_shared)
                .map(|(a, b)| a + b)
                .collect(),
            root: cholesky(&shared_inverse, k).unwrap_or_else(|| vec![0.0; k * k]),
            shared_inverse,
            actions: actions.into_iter().enumerate().map(posterior_of).collect(),
            unknown,
        }
    }
}

/// Weights without the shared ones, Aₐ⁻¹, and Aₐ⁻¹ Bₐ of an action.
type Blocks = (Vec<f64>, Vec<f64>, Vec<f64>);

#[derive(Debug, Clone)]
struct Own {
    weights: Vec<f64>,
    inverse: Vec<f64>,
    /// Aₐ⁻¹ Bₐ.
    spill: Vec<f64>,
}

/// What a bandit believes of its weights.
#[derive(Debug, Clone)]
pub struct Posterior {
    shared: Vec<f64>,
    shared_inverse: Vec<f64>,
    /// Lower factor of `shared_inverse`.
    root: Vec<f64>,
    actions: Vec<Own>,
    unknown: Own,
}

impl Posterior {
    fn own(&self, action: usize) -> &Own {
        self.actions.get(action).unwrap_or(&self.unknown)
    }

    /// Variance from the action's own weights, and the features whose shared weights do the rest.
    fn parts(&self, context: &Context<'_>) -> (f64, Vec<f64>) {
        let own = self.own(context.action);
        let variance = dot(context.own, &times(&own.inverse, context.own));
        let k = context.shared.len();
        let mut u = context.shared.to_vec();
        for (i, x) in context.own.iter().enumerate() {
            u.iter_mut()
                .zip(&own.spill[i * k..(i + 1) * k])
                .for_each(|(u, w)| *u -= x * w);
        }
        (variance, u)
    }

    /// Mean and variance of the expected reward; the variance in units of the noise's.
    pub fn predict(&self, context: &Context<'_>) -> (f64, f64) {
        let mean = dot(context.own, &self.own(context.action).weights) + dot(context.shared, &self.shared);
        let (variance, u) = self.parts(context);
        let shared = if u.is_empty() {
            0.0
        } else {
            dot(&u, &times(&self.shared_inverse, &u))
        };
        (mean, (variance + shared).max(0.0))
    }

    /// LinUCB: arms whose score is the upper bound `mean + alpha·deviation`, for greedy choice or anything on top of it. Best first is up to the caller's policy.
    pub fn upper_bounds(&self, contexts: &[Context<'_>], alpha: f64) -> Vec<Arm> {
        let one = |context: &Context<'_>| {
            let (mean, variance) = self.predict(context);
            Arm::of_score(mean + alpha * variance.sqrt())
        };
        contexts.iter().map(one).collect()
    }

    /// LinTS for disjoint bandits: arms with mean and variance; `deviation` is that of the noise, or a multiple for more exploration.
    pub fn arms(&self, contexts: &[Context<'_>], deviation: f64) -> Vec<Arm> {
        let one = |context: &Context<'_>| {
            let (mean, variance) = self.predict(context);
            Arm {
                variance: variance * deviation * deviation,
                ..Arm::of_score(mean)
            }
        };
        contexts.iter().map(one).collect()
    }

    /// LinTS for any linear bandit: draws from the joint posterior of the scores. Contexts of one action count as independent given the shared weights.
    ///
    /// # Panics
    /// If there are no contexts.
    pub fn samples(&self, contexts: &[Context<'_>], deviation: f64, draws: usize, seed: u64) -> Samples {
        let k = self.shared.len();
        let known: Vec<(f64, f64, Vec<f64>)> = (contexts.iter())
            .map(|context| {
                let (own, u) = self.parts(context);
                // Lᵀu, so that a draw needs one product per action.
                let along = (0..k).map(|j| (j..k).map(|i| self.root[i * k + j] * u[i]).sum());
                (self.predict(context).0, own.max(0.0).sqrt(), along.collect())
            })
            .collect();
        let mut stream = SeededStream::new(seed, 0x115);
        let mut values = Vec::with_capacity(draws * contexts.len());
        for _ in 0..draws {
            let noise: Vec<f64> = (0..k).map(|_| stream.normal()).collect();
            for (mean, own, along) in &known {
                values.push(mean + deviation * (own * stream.normal() + dot(along, &noise)));
            }
        }
        Samples::new(contexts.len(), values)
    }
}
