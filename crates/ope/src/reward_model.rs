//! Reward models learnt from the log itself, each round's guesses from other rounds (cross-fitting).
//!
//! Two levels. A shared linear model of the features tells what rounds are worth; each action has a linear model of its own on top, drawn
//! towards zero by a ridge penalty, so that an action with few rounds stays with the shared guess. Ridge regression fits squares, logistic
//! regression the likelihood of rewards within 0 and 1 (Newton's method, halved steps). Without features that is a mean per action, shrunk to the mean
//! of all. Cross-fitting keeps doubly robust estimates unbiased (Chernozhukov and others, 2018). Cost per fold: rounds × features², plus actions × features³.

use crate::Log;
use crate::log::{LogError, wrong};
use crate::solve::solve_positive;
use numeric::SeededStream;
use serde::{Deserialize, Serialize};

/// What is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardKind {
    /// Least squares.
    Ridge,
    /// Likelihood of rewards within 0 and 1.
    Logistic,
}

/// How a reward model is learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardModelConfig {
    /// What is fitted.
    pub kind: RewardKind,
    /// Parts of the log; each is guessed from the others.
    pub folds: usize,
    /// Ridge penalty of the features in the shared model.
    pub reg: f64,
    /// Ridge penalty of an action's own model, in rounds: an action with as many rounds is drawn half-way.
    pub reg_action: f64,
    /// Seed of the parts.
    pub seed: u64,
}

impl Default for RewardModelConfig {
    fn default() -> RewardModelConfig {
        RewardModelConfig {
            kind: RewardKind::Ridge,
            folds: 5,
            reg: 1.0,
            reg_action: 5.0,
            seed: 0,
        }
    }
}

impl RewardModelConfig {
    /// What it is, for reports.
    pub(crate) fn told(&self) -> String {
        let kind = match self.kind {
            RewardKind::Ridge => "ridge",
            RewardKind::Logistic => "logistic",
        };
        format!("{kind} regression, cross-fitted in {} parts", self.folds)
    }
}

/// Coefficients of one fold: shared, and those of each action.
struct Fitted {
    shared: Vec<f64>,
    own: Vec<Vec<f64>>,
}

/// Guesses of the reward of each action in each round, rounds × actions.
///
/// # Errors
/// Names what cannot be: fewer rounds than folds, fewer than two folds, a penalty that is not above zero, rewards outside 0 and 1 for logistic regression.
pub fn cross_fit(log: &Log, config: &RewardModelConfig) -> Result<Vec<f64>, LogError> {
    let n = log.n_rounds();
    if config.folds < 2 || config.folds > n {
        return Err(wrong(
            "folds",
            None,
            config.folds,
            "from 2 to the number of rounds",
        ));
    }
    for (name, reg) in [("reg", config.reg), ("reg_action", config.reg_action)] {
        if !(reg > 0.0 && reg.is_finite()) {
            return Err(wrong(name, None, reg, "a finite number above 0"));
        }
    }
    let outside = log
        .rewards()
        .iter()
        .position(|reward| !(0.0..=1.0).contains(reward));
    if let (RewardKind::Logistic, Some(row)) = (config.kind, outside) {
        return Err(wrong(
            "reward",
            Some(row),
            log.rewards()[row],
            "a number from 0 to 1 for logistic regression",
        ));
    }
    let mut order: Vec<usize> = (0..n).collect();
    SeededStream::new(config.seed, 0).shuffle(&mut order);
    let mut fold = vec![0; n];
    order
        .iter()
        .enumerate()
        .for_each(|(at, row)| fold[*row] = at % config.folds);
    let fitted = numeric::parallel_chunks(config.folds, 1, |range| {
        let rows: Vec<usize> = (0..n).filter(|row| fold[*row] != range.start).collect();
        fit(log, config, &rows)
    });
    let mut out = Vec::with_capacity(n * log.n_actions());
    for (row, fold) in fold.iter().enumerate() {
        let fitted = &fitted[*fold];
        let x = features(log, row);
        let shared = dot(&fitted.shared, &x);
        out.extend(
            fitted
                .own
                .iter()
                .map(|own| link(config.kind, shared + dot(own, &x)).0),
        );
    }
    Ok(out)
}

fn fit(log: &Log, config: &RewardModelConfig, rows: &[usize]) -> Fitted {
    let size = log.contexts().0 + 1;
    let mut penalty = vec![config.reg; size];
    // Next to none on the mean.
    penalty[0] = 1e-6;
    let shared = newton(log, config.kind, rows, &vec![0.0; rows.len()], &penalty);
    let mut by_action = vec![Vec::new(); log.n_actions()];
    for row in rows {
        by_action[log.actions()[*row] as usize].push(*row);
    }
    let penalty = vec![config.reg_action; size];
    let own = by_action.iter().map(|rows| {
        let offsets: Vec<f64> = rows
            .iter()
            .map(|row| dot(&shared, &features(log, *row)))
            .collect();
        newton(log, config.kind, rows, &offsets, &penalty)
    });
    Fitted {
        own: own.collect(),
        shared,
    }
}

/// Coefficients on top of offsets that minimise the penalised loss.
fn newton(log: &Log, kind: RewardKind, rows: &[usize], offsets: &[f64], penalty: &[f64]) -> Vec<f64> {
    let size = penalty.len();
    let mut at = vec![0.0; size];
    if rows.is_empty() {
        return at;
    }
    let mut loss = loss_at(log, kind, rows, offsets, penalty, &at);
    for _ in 0..50 {
        let mut hessian = vec![0.0; size * size];
        let mut step = vec![0.0; size];
        for (row, offset) in rows.iter().zip(offsets) {
            let x = features(log, *row);
            let (mean, slope) = link(kind, offset + dot(&at, &x));
            let missed = log.rewards()[*row] - mean;
            for i in 0..size {
                step[i] += missed * x[i];
                for j in 0..=i {
                    hessian[i * size + j] += slope * x[i] * x[j];
                }
            }
        }
        for i in 0..size {
            step[i] -= penalty[i] * at[i];
            hessian[i * size + i] += penalty[i];
        }
        if !solve_positive(&mut hessian, &mut step) {
            break;
        }
        let mut length = 1.0;
        let (mut next, mut next_loss) = (at.clone(), loss);
        while length > 1e-4 {
            next = at
                .iter()
                .zip(&step)
                .map(|(at, step)| at + length * step)
                .collect();
            next_loss = loss_at(log, kind, rows, offsets, penalty, &next);
            if next_loss <= loss {
                break;
            }
            length *= 0.5;
        }
        let gain = loss - next_loss;
        if gain.is_nan() || gain < 0.0 {
            break;
        }
        (at, loss) = (next, next_loss);
        if kind == RewardKind::Ridge || gain <= 1e-10 * (1.0 + loss.abs()) {
            break;
        }
    }
    at
}

fn loss_at(log: &Log, kind: RewardKind, rows: &[usize], offsets: &[f64], penalty: &[f64], at: &[f64]) -> f64 {
    let fixed: f64 = penalty
        .iter()
        .zip(at)
        .map(|(penalty, at)| 0.5 * penalty * at * at)
        .sum();
    let each = rows.iter().zip(offsets).map(|(row, offset)| {
        let (z, reward) = (offset + dot(at, &features(log, *row)), log.rewards()[*row]);
        match kind {
            RewardKind::Ridge => 0.5 * (reward - z).powi(2),
            // ln(1 + e^z) − reward z, without overflow.
            RewardKind::Logistic => z.max(0.0) + (-z.abs()).exp().ln_1p() - reward * z,
        }
    });
    fixed + each.sum::<f64>()
}

/// Mean and its slope at a linear predictor.
fn link(kind: RewardKind, z: f64) -> (f64, f64) {
    match kind {
        RewardKind::Ridge => (z, 1.0),
        RewardKind::Logistic => {
            let mean = 1.0 / (1.0 + (-z).exp());
            (mean, (mean * (1.0 - mean)).max(1e-9))
        }
    }
}

/// One, and the features of a round.
fn features(log: &Log, row: usize) -> Vec<f64> {
    let (dim, contexts) = log.contexts();
    let mut out = Vec::with_capacity(dim + 1);
    out.push(1.0);
    out.extend_from_slice(&contexts[row * dim..(row + 1) * dim]);
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_features_it_is_a_shrunk_mean_of_the_other_folds() {
        // Two folds; rows of action 0 have reward 1, of action 1 reward 0. Whatever the folds, a guess for action 0 in a fold is
        // m + k (1 - m) / (k + reg), m and k the mean and the number of rows of action 0 in the other fold.
        let actions: Vec<u32> = (0..40).map(|i| u32::from(i % 4 == 0)).collect();
        let rewards: Vec<f64> = actions.iter().map(|a| f64::from(1 - a)).collect();
        let log =
            Log::new(3, rewards, actions.clone(), [0.2, 0.3, 0.5].repeat(40)).expect("the log is right");
        let config = RewardModelConfig {
            folds: 2,
            ..RewardModelConfig::default()
        };
        let guesses = cross_fit(&log, &config).expect("the log can be fitted");
        let ones: Vec<f64> = (0..=10)
            .map(|ones| {
                let (m, k) = ((20 - ones) as f64 / 20.0, (20 - ones) as f64);
                m + k * (1.0 - m) / (k + 5.0)
            })
            .collect();
        for row in guesses.chunks_exact(3) {
            assert!(ones.iter().any(|one| (one - row[0]).abs() < 1e-6), "{row:?}");
            assert!(
                row[1] < row[2] && row[2] < row[0],
                "an unseen action gets the mean: {row:?}"
            );
        }
        assert_eq!(guesses, cross_fit(&log, &config).expect("the log can be fitted"));
    }

    #[test]
    fn logistic_regression_finds_the_planted_coefficients() {
        let mut stream = SeededStream::new(5, 0);
        let n = 20_000;
        let x: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let actions: Vec<u32> = (0..n).map(|_| stream.below(2) as u32).collect();
        let truth = |x: f64, a: u32| 1.0 / (1.0 + (-(0.5 * x - 1.0 + 1.5 * f64::from(a) * x)).exp());
        let rewards: Vec<f64> = (0..n)
            .map(|i| f64::from(u8::from(stream.uniform() < truth(x[i], actions[i]))))
            .collect();
        let log = Log::new(2, rewards, actions, [0.5, 0.5].repeat(n))
            .and_then(|log| log.with_contexts(1, x.clone()))
            .expect("the log is right");
        let config = RewardModelConfig {
            kind: RewardKind::Logistic,
            ..RewardModelConfig::default()
        };
        let guesses = cross_fit(&log, &config).expect("the log can be fitted");
        let off = |i: usize, a: u32| (guesses[i * 2 + a as usize] - truth(x[i], a)).abs();
        let mean = (0..n).map(|i| off(i, 0) + off(i, 1)).sum::<f64>() / (2 * n) as f64;
        assert!(mean < 0.01, "{mean}");
    }

    #[test]
    fn what_cannot_be_fitted_is_named() {
        let log = Log::new(1, vec![2.0, 3.0], vec![0, 0], vec![1.0, 1.0]).expect("the log is right");
        let config = |kind, folds| RewardModelConfig {
            kind,
            folds,
            ..RewardModelConfig::default()
        };
        let text = |config| cross_fit(&log, &config).expect_err("it cannot be").to_string();
        assert!(text(config(RewardKind::Logistic, 2)).starts_with("reward, round 0: got 2"));
        assert!(text(config(RewardKind::Ridge, 3)).starts_with("folds: got 3"));
    }
}
