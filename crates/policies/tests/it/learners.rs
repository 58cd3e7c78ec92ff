//! Linear bandits against the obvious regression, and against each other where the truth is known.

use numeric::SeededStream;
use policies::learners::{Context, DiversityOptions, LinearBandit, LinearBanditConfig, diversity};
use policies::{Arms, EnsembleThompson, GaussianThompson, SlatePolicy};
use proptest::prelude::*;

/// Solves A x = b by elimination with pivoting, for several right-hand sides in the columns of `b`.
#[allow(
    clippy::needless_range_loop,
    reason = "an oracle is written as textbooks write it"
)]
fn eliminate(mut a: Vec<Vec<f64>>, mut b: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    for i in 0..n {
        let pivot = (i..n)
            .max_by(|p, q| a[*p][i].abs().total_cmp(&a[*q][i].abs()))
            .expect("rows are left");
        a.swap(i, pivot);
        b.swap(i, pivot);
        for r in (0..n).filter(|r| *r != i) {
            let factor = a[r][i] / a[i][i];
            for c in 0..n {
                a[r][c] -= factor * a[i][c];
            }
            for c in 0..b[0].len() {
                b[r][c] -= factor * b[i][c];
            }
        }
    }
    for i in 0..n {
        b[i].iter_mut().for_each(|x| *x /= a[i][i]);
    }
    b
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    /// Blocks, Sherman–Morrison, fading sums and warm starts equal one ridge regression over all weights.
    #[test]
    fn the_posterior_is_that_of_one_regression(d in 1usize..4, k in 0usize..4, rounds in 0usize..40, seed in 0u64..500, fades: bool) {
        let (m, reg) = (3, 0.7);
        let discount = if fades { 0.9 } else { 1.0 };
        let mut stream = SeededStream::new(seed, 1);
        let draw = |n: usize, stream: &mut SeededStream| (0..n).map(|_| stream.normal()).collect::<Vec<f64>>();
        let (own, shared) = (draw(d, &mut stream), draw(k, &mut stream));
        let config = LinearBanditConfig { features: d, shared: k, reg, discount };
        let bandit = LinearBandit::new(config).expect("fine");
        let mut bandit = bandit.with_prior(own.clone(), shared.clone()).expect("as many as features");
        let size = k + m * d;
        let prior: Vec<f64> = shared.iter().copied().chain((0..m).flat_map(|_| own.clone())).collect();
        let mut precision = vec![vec![0.0; size]; size];
        let mut moment = vec![0.0; size];
        let spread = |action: usize, x: &[f64], z: &[f64]| {
            let mut row = vec![0.0; size];
            row[..k].copy_from_slice(z);
            row[k + action * d..][..d].copy_from_slice(x);
            row
        };
        for _ in 0..rounds {
            let (action, x, z) = (stream.below(m as u64) as usize, draw(d, &mut stream), draw(k, &mut stream));
            let reward = stream.normal();
            bandit.update(&Context { action, own: &x, shared: &z }, reward);
            let row = spread(action, &x, &z);
            let rest = reward - row.iter().zip(&prior).map(|(a, b)| a * b).sum::<f64>();
            for i in 0..size {
                moment[i] = discount * moment[i] + rest * row[i];
                for j in 0..size {
                    precision[i][j] = discount * precision[i][j] + row[i] * row[j];
                }
            }
        }
        (0..size).for_each(|i| precision[i][i] += reg);
        let posterior = bandit.posterior();
        let mut seen = Vec::new();
        for action in 0..m {
            let (x, z) = (draw(d, &mut stream), draw(k, &mut stream));
            let row = spread(action, &x, &z);
            let both: Vec<Vec<f64>> = (0..size).map(|i| vec![moment[i], row[i]]).collect();
            let solved = eliminate(precision.clone(), both);
            let mean: f64 = (0..size).map(|i| row[i] * (prior[i] + solved[i][0])).sum();
            let variance: f64 = (0..size).map(|i| row[i] * solved[i][1]).sum();
            let got = posterior.predict(&Context { action, own: &x, shared: &z });
            prop_assert!((got.0 - mean).abs() < 1e-8 && (got.1 - variance).abs() < 1e-8, "{:?} {} {}", got, mean, variance);
            seen.push((x, z));
        }
        // Draws have the variances and, through the shared weights, the covariances of the posterior.
        let contexts: Vec<Context<'_>> = seen.iter().enumerate().map(|(action, (own, shared))| Context { action, own, shared }).collect();
        let samples = posterior.samples(&contexts, 1.0, 4_000, seed);
        let rows: Vec<Vec<f64>> = contexts.iter().map(|c| spread(c.action, c.own, c.shared)).collect();
        let solved = eliminate(precision, (0..size).map(|i| rows.iter().map(|row| row[i]).collect()).collect());
        let covariance = |a: usize, b: usize| (0..size).map(|i| rows[a][i] * solved[i][b]).sum::<f64>();
        for (a, b) in [(0, 0), (0, 1), (1, 2)] {
            let (mean_a, mean_b) = (posterior.predict(&contexts[a]).0, posterior.predict(&contexts[b]).0);
            let got = samples.draws().map(|s| (s[a] - mean_a) * (s[b] - mean_b)).sum::<f64>() / samples.n_draws() as f64;
            let scale = (covariance(a, a) * covariance(b, b)).sqrt();
            // The standard error is at most 1.42 / √4000 of the scale: six of them.
            prop_assert!((got - covariance(a, b)).abs() < 0.14 * scale, "{} {}", got, covariance(a, b));
        }
    }
}

const ACTIONS: usize = 10;
const FEATURES: usize = 6;
const ROUNDS: usize = 4_000;

/// Who chooses in the news scenario.
#[derive(Clone, Copy)]
enum Chooser {
    Epsilon(f64),
    Ucb(f64),
    Thompson(f64),
    HybridThompson(f64),
}

/// Articles with hidden weights, visitors with features (the first one constant), clicks. Gives the regret at half time and at the end.
fn news(chooser: Chooser, seed: u64, drift: bool, discount: f64) -> (f64, f64) {
    let mut stream = SeededStream::new(seed, 11);
    let weights = |stream: &mut SeededStream| -> Vec<Vec<f64>> {
        (0..ACTIONS)
            .map(|_| {
                (0..FEATURES)
                    .map(|at| if at == 0 { 0.3 } else { 0.12 * stream.normal() })
                    .collect()
            })
            .collect()
    };
    let mut truth = weights(&mut stream);
    let hybrid = matches!(chooser, Chooser::HybridThompson(_));
    let config = LinearBanditConfig {
        features: FEATURES,
        shared: if hybrid { FEATURES } else { 0 },
        reg: 1.0,
        discount,
    };
    let mut bandit = LinearBandit::new(config).expect("fine");
    let mut own = SeededStream::new(seed, 12);
    let (mut regret, mut half) = (0.0, 0.0);
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            half = regret;
            if drift {
                truth = weights(&mut stream);
            }
        }
        let mut x: Vec<f64> = (0..FEATURES).map(|_| stream.normal().clamp(-2.0, 2.0)).collect();
        x[0] = 1.0;
        let clicks: Vec<f64> = truth
            .iter()
            .map(|w| w.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>().clamp(0.0, 1.0))
            .collect();
        let best = clicks.iter().copied().fold(0.0, f64::max);
        let click = stream.uniform();
        let shared: &[f64] = if hybrid { &x } else { &[] };
        let contexts: Vec<Context<'_>> = (0..ACTIONS)
            .map(|action| Context {
                action,
                own: &x,
                shared,
            })
            .collect();
        let posterior = bandit.posterior();
        let arms = |alpha: f64| Arms::new(posterior.upper_bounds(&contexts, alpha)).expect("finite");
        let by_score = GaussianThompson { scale: 0.0 };
        let action = match chooser {
            Chooser::Epsilon(epsilon) if own.uniform() < epsilon => own.below(ACTIONS as u64) as usize,
            Chooser::Epsilon(_) => by_score.chances(&arms(0.0)).draw_next(&[], &mut own),
            Chooser::Ucb(alpha) => by_score.chances(&arms(alpha)).draw_next(&[], &mut own),
            Chooser::Thompson(deviation) => {
                let arms = Arms::new(posterior.arms(&contexts, deviation)).expect("finite");
                GaussianThompson::default()
                    .chances(&arms)
                    .draw_next(&[], &mut own)
            }
            Chooser::HybridThompson(deviation) => {
                let ensemble =
                    EnsembleThompson::new(posterior.samples(&contexts, deviation, 8, own.next_u64()));
                ensemble.chances(&arms(0.0)).draw_next(&[], &mut own)
            }
        };
        regret += best - clicks[action];
        bandit.update(&contexts[action], f64::from(u8::from(click < clicks[action])));
    }
    (half, regret)
}

/// Mean with its 95 % interval by Student's t with 9 degrees of freedom.
fn interval(values: &[f64]) -> (f64, f64, f64) {
    let (mean, n) = (numeric::mean(values), values.len() as f64);
    let deviation = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
    let half = 2.262 * (deviation / n).sqrt();
    (mean, mean - half, mean + half)
}

#[test]
fn regret_grows_slower_than_time_and_stays_below_epsilon_greedy() {
    let run = |chooser: Chooser| -> Vec<(f64, f64)> {
        (0..10).map(|seed| news(chooser, seed, false, 1.0)).collect()
    };
    let epsilon = run(Chooser::Epsilon(0.1));
    for (name, chooser) in [
        ("linucb", Chooser::Ucb(0.5)),
        ("lints", Chooser::Thompson(0.3)),
        ("hybrid lints", Chooser::HybridThompson(0.3)),
    ] {
        let runs = run(chooser);
        let saved: Vec<f64> = epsilon.iter().zip(&runs).map(|(e, r)| e.1 - r.1).collect();
        let (mean, low, high) = interval(&saved);
        let ends: Vec<f64> = runs.iter().map(|r| r.1).collect();
        println!(
            "{name}: regret {:?}, below epsilon-greedy by {mean:.1} ({low:.1} to {high:.1})",
            interval(&ends)
        );
        assert!(low > 0.0, "{name}: saves {mean} ({low} to {high})");
        // Linear regret would double from half time to the end.
        let growth: Vec<f64> = runs.iter().map(|(half, end)| end / half).collect();
        let (mean, low, high) = interval(&growth);
        println!("{name}: from half time to the end times {mean:.2} ({low:.2} to {high:.2})");
        assert!(high < 1.7, "{name}: grows by {mean} ({low} to {high})");
    }
}

#[test]
fn discounting_pays_when_tastes_change_midway() {
    let late = |discount: f64| -> Vec<f64> {
        (0..10)
            .map(|seed| news(Chooser::Ucb(0.5), seed, true, discount))
            .map(|(half, end)| end - half)
            .collect()
    };
    let saved: Vec<f64> = late(1.0)
        .iter()
        .zip(late(0.998))
        .map(|(never, fading)| never - fading)
        .collect();
    let (mean, low, high) = interval(&saved);
    assert!(low > 0.0, "saves {mean} ({low} to {high})");
}

#[test]
fn a_warm_start_saves_regret_and_wrong_shapes_are_refused() {
    let config = LinearBanditConfig {
        features: 2,
        shared: 0,
        reg: 1.0,
        discount: 1.0,
    };
    let bandit = LinearBandit::new(config)
        .expect("fine")
        .with_prior(vec![0.5, -1.0], vec![])
        .expect("two weights");
    let context = Context {
        action: 4,
        own: &[2.0, 1.0],
        shared: &[],
    };
    // The prior's mean and variance by hand: 2·0.5 − 1, and (4 + 1) / reg.
    assert_eq!(bandit.posterior().predict(&context), (0.0, 5.0));
    let error = LinearBandit::new(config)
        .expect("fine")
        .with_prior(vec![1.0], vec![])
        .expect_err("one weight");
    assert_eq!(error.to_string(), "prior.own: got 1 weights, expected 2");
    assert!(LinearBandit::new(LinearBanditConfig { reg: -1.0, ..config }).is_err());
}

#[test]
fn diverse_contexts_are_told_from_others() {
    let mut stream = SeededStream::new(2, 3);
    let round: Vec<f64> = (0..3 * 20_000)
        .map(|_| stream.normal().clamp(-2.0, 2.0))
        .collect();
    let options = DiversityOptions::default();
    let found = diversity(&round, 3, &options);
    // Truncated normal: second moment 0.92 at ±2; a half-space has half of it in every direction.
    assert!(
        found.greedy_is_safe && (found.smallest_half - 0.46).abs() < 0.03,
        "{found:?}"
    );
    let flat: Vec<f64> = round
        .chunks_exact(3)
        .flat_map(|x| [x[0], x[1], x[0] + x[1]])
        .collect();
    let found = diversity(&flat, 3, &options);
    assert!(
        !found.greedy_is_safe && found.smallest.abs() < 1e-9 && found.reason.contains("explore"),
        "{found:?}"
    );
    let constant: Vec<f64> = round.chunks_exact(3).flat_map(|x| [1.0, x[1], x[2]]).collect();
    assert!(!diversity(&constant, 3, &options).greedy_is_safe);
    let few = diversity(&round[..90], 3, &options);
    assert!(!few.greedy_is_safe && few.reason.contains("too few"), "{few:?}");
}

#[test]
fn rewards_that_come_late_and_in_parts_count_as_if_they_had_come_at_once() {
    for discount in [1.0, 0.9] {
        let config = LinearBanditConfig {
            features: 2,
            shared: 2,
            reg: 0.7,
            discount,
        };
        let fresh = || {
            let bandit = LinearBandit::new(config).expect("a shape");
            bandit
                .with_prior(vec![0.3, -0.1], vec![0.2, 0.5])
                .expect("weights")
        };
        let (mut at_once, mut late) = (fresh(), fresh());
        let mut stream = numeric::SeededStream::new(5, 1);
        let mut rounds = Vec::new();
        for _ in 0..60 {
            let own = [1.0, stream.normal()];
            let shared = [stream.normal(), stream.normal()];
            rounds.push((stream.below(3) as usize, own, shared, stream.normal()));
        }
        let mut trials = Vec::new();
        for (at, (action, own, shared, reward)) in rounds.iter().enumerate() {
            let context = Context {
                action: *action,
                own,
                shared,
            };
            at_once.update(&context, *reward);
            trials.push(late.observe(&context));
            // A third comes with the trial, the rest seven trials later.
            late.credit(&context, trials[at], reward / 3.0);
            if let Some(earlier) = at.checked_sub(7) {
                let (action, own, shared, reward) = &rounds[earlier];
                let context = Context {
                    action: *action,
                    own,
                    shared,
                };
                late.credit(&context, trials[earlier], reward * 2.0 / 3.0);
            }
        }
        for ((action, own, shared, reward), trial) in rounds.iter().zip(&trials).skip(53) {
            let context = Context {
                action: *action,
                own,
                shared,
            };
            late.credit(&context, *trial, reward * 2.0 / 3.0);
        }
        let probe = Context {
            action: 1,
            own: &[1.0, 0.4],
            shared: &[-0.2, 0.9],
        };
        let (a, b) = (
            at_once.posterior().predict(&probe),
            late.posterior().predict(&probe),
        );
        assert!(
            (a.0 - b.0).abs() < 1e-9 && (a.1 - b.1).abs() < 1e-12,
            "{a:?} {b:?}"
        );
    }
}
