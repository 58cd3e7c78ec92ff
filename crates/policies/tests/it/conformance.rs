//! What every policy promises, checked for every line of the table, with and without the floor for new items, and for ensembles.

use numeric::SeededStream;
use policies::{
    Arm, Arms, Chances, EnsembleThompson, NewItemFloor, NewItems, Samples, SlatePolicy, enumerated_marginals,
    policies, simulated_marginals, slate_propensity,
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

/// Arms with scores (some equal), spreads, counts; every fourth closed, every third new.
fn arms(m: usize, seed: u64) -> Arms {
    let mut stream = SeededStream::new(seed, 1);
    let one = |at: usize| Arm {
        score: (stream.normal() * 4.0).round() / 4.0,
        variance: 0.05 + stream.uniform(),
        wins: stream.below(6) as f64,
        losses: stream.below(12) as f64,
        fresh: at % 3 == 1,
        open: at % 4 != 2,
    };
    Arms::new((0..m).map(one).collect()).expect("finite")
}

/// Every policy, with several settings, for these arms.
fn every(arms: &Arms) -> Vec<Box<dyn SlatePolicy>> {
    let settings = |name: &str| match name {
        "epsilon-greedy" => vec![json!({"epsilon": 0.3}), json!({"epsilon": 1.0})],
        "softmax" => vec![json!({"temperature": 0.5}), json!({"temperature": 5.0})],
        "thompson" => vec![json!({"scale": 1.5}), json!({"scale": 0.0})],
        "swaps" => ["pair", "adjacent", "shuffle"]
            .map(|kind| json!({"kind": kind, "depth": 4, "share": 0.4}))
            .into(),
        _ => vec![json!(null)],
    };
    let mut all: Vec<Box<dyn SlatePolicy>> = Vec::new();
    for entry in policies() {
        for settings in settings(entry.name) {
            let build = || (entry.build)(&settings).expect("settings of the suite");
            all.push(build());
            let new_items = NewItems {
                share: 0.2,
                per_slate: 1,
            };
            all.push(Box::new(NewItemFloor {
                new_items,
                base: build(),
            }));
        }
    }
    if !arms.is_empty() {
        let mut stream = SeededStream::new(3, 2);
        let values = (0..200).flat_map(|_| {
            arms.list()
                .iter()
                .map(|arm| arm.score + stream.normal())
                .collect::<Vec<_>>()
        });
        all.push(Box::new(EnsembleThompson::new(Samples::new(
            arms.len(),
            values.collect(),
        ))));
    }
    all
}

fn told(policy: &dyn SlatePolicy) -> String {
    format!("{} {}", policy.name(), policy.settings())
}

/// Distribution after a prefix; checks that it is one.
fn next(chances: &mut dyn Chances, arms: &Arms, prefix: &[usize], name: &str) -> Vec<f64> {
    let mut out = vec![f64::NAN; arms.len()];
    chances.next(prefix, &mut out);
    for (at, chance) in out.iter().enumerate() {
        assert!(
            (0.0..=1.0 + 1e-9).contains(chance),
            "{name}: {chance} after {prefix:?}"
        );
        if !arms.list()[at].open || prefix.contains(&at) {
            assert_eq!(*chance, 0.0, "{name}: arm {at} is closed or placed");
        }
    }
    let left = arms.n_open() - prefix.len();
    let total: f64 = out.iter().sum();
    assert!(
        (total - f64::from(u8::from(left > 0))).abs() < 1e-6,
        "{name}: sums to {total} after {prefix:?}"
    );
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn probabilities_are_probabilities_and_belong_to_the_draw(m in 0usize..14, n in 0usize..9, seed in 0u64..1000) {
        let arms = arms(m, seed);
        for policy in every(&arms) {
            let name = told(&*policy);
            let drawn = policy.draw(&arms, n, &mut SeededStream::new(seed, 9));
            prop_assert_eq!(&drawn, &policy.draw(&arms, n, &mut SeededStream::new(seed, 9)), "{}", name);
            prop_assert_eq!(drawn.slate.len(), n.min(arms.n_open()), "{}", name);
            let (same, marginals) = policy.draw_with_marginals(&arms, n, &mut SeededStream::new(seed, 9));
            let places: Vec<(usize, usize)> = drawn.slate.iter().copied().zip(0..).collect();
            prop_assert_eq!(&drawn, &same, "{}", name);
            prop_assert_eq!(marginals, policy.chances(&arms).marginals(n, &places), "{}", name);
            let mut chances = policy.chances(&arms);
            let mut again = policy.chances(&arms);
            for (at, (arm, chance)) in drawn.slate.iter().zip(&drawn.conditionals).enumerate() {
                let out = next(&mut *chances, &arms, &drawn.slate[..at], &name);
                prop_assert!(*chance > 0.0 && *chance <= 1.0 + 1e-12, "{}: {}", name, chance);
                prop_assert!((out[*arm] - chance).abs() < 1e-8 + 1e-6 * chance, "{}: {} {}", name, out[*arm], chance);
            }
            let later = again.conditionals(&drawn.slate);
            prop_assert_eq!(&later, &drawn.conditionals, "{}: as recorded", name);
        }
    }

    #[test]
    fn marginals_in_closed_form_equal_the_sum_over_prefixes(m in 1usize..8, n in 1usize..6, seed in 0u64..1000) {
        let arms = arms(m, seed);
        for policy in every(&arms) {
            let name = told(&*policy);
            let n = n.min(arms.n_open());
            let exact = enumerated_marginals(&*policy, &arms, n, 10_000).expect("few prefixes");
            let pairs: Vec<(usize, usize)> = (0..n).flat_map(|t| (0..m).map(move |arm| (arm, t))).collect();
            if let Some(closed) = policy.chances(&arms).marginals(n, &pairs) {
                for ((arm, t), closed) in pairs.iter().zip(closed) {
                    let exact = exact.at(*arm, *t);
                    prop_assert!((closed - exact).abs() < 1e-8, "{}: {} at {}: {} {}", name, arm, t, closed, exact);
                }
            }
            // Inclusions sum to the length of the slate; closed arms have none.
            let inclusions: Vec<f64> = (0..m).map(|arm| exact.inclusion(arm)).collect();
            prop_assert!((inclusions.iter().sum::<f64>() - n as f64).abs() < 1e-6, "{}", name);
            for (arm, inclusion) in inclusions.iter().enumerate() {
                prop_assert!(*inclusion <= 1.0 + 1e-6, "{}", name);
                prop_assert!(arms.list()[arm].open || *inclusion == 0.0, "{}", name);
            }
        }
    }

    /// Each new item has its share at the first position, whatever the policy below thinks of it; and never more than the budget is given.
    #[test]
    fn the_floor_is_kept_and_so_is_the_budget(m in 2usize..14, seed in 0u64..1000, share in 0.0f64..1.0, per_slate in 1usize..4) {
        let arms = arms(m, seed);
        let fresh: Vec<usize> = (0..m).filter(|at| arms.list()[*at].fresh && arms.list()[*at].open).collect();
        for entry in policies() {
            let build = || (entry.build)(&json!(null)).expect("defaults");
            let policy = NewItemFloor { new_items: NewItems { share, per_slate }, base: build() };
            let base = build();
            let (mut with, mut without) = (policy.chances(&arms), base.chances(&arms));
            let slate = policy.draw(&arms, m, &mut SeededStream::new(seed, 4)).slate;
            for at in 0..slate.len() {
                let out = next(&mut *with, &arms, &slate[..at], entry.name);
                let below = next(&mut *without, &arms, &slate[..at], entry.name);
                let shown = slate[..at].iter().filter(|arm| fresh.contains(arm)).count();
                let left: Vec<&usize> = fresh.iter().filter(|arm| !slate[..at].contains(arm)).collect();
                if shown < per_slate {
                    for arm in &left {
                        prop_assert!(out[**arm] >= share / left.len() as f64 - 1e-12, "{}", entry.name);
                    }
                } else {
                    prop_assert_eq!(out, below, "{}: the budget is spent", entry.name);
                }
            }
        }
    }
}

/// Slates and items at positions come up as often as is said: 100,000 seeded replays, each count within 5 standard deviations.
#[test]
fn replays_come_up_as_often_as_is_said() {
    let replays = 100_000u32;
    let arms = arms(6, 5);
    let n = 3;
    for policy in every(&arms) {
        let name = told(&*policy);
        let mut slates: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
        let mut chances = policy.chances(&arms);
        for seed in 0..replays {
            let mut stream = SeededStream::new(u64::from(seed), 77);
            let mut slate = Vec::new();
            while slate.len() < n {
                let next = chances.draw_next(&slate, &mut stream);
                slate.push(next);
            }
            *slates.entry(slate).or_default() += 1;
        }
        let total = f64::from(replays);
        let mut covered = 0.0;
        for (slate, count) in &slates {
            let said = slate_propensity(&chances.conditionals(slate));
            covered += said;
            let deviation = (total * said * (1.0 - said)).sqrt().max(1.0);
            let off = (f64::from(*count) - total * said).abs() / deviation;
            assert!(off < 5.0, "{name}: {slate:?} came {count} times, said {said}");
        }
        assert!(
            (1.0 - covered).abs() < 0.01,
            "{name}: what came up has a probability of {covered}"
        );
        let exact = enumerated_marginals(&*policy, &arms, n, 10_000).expect("few prefixes");
        for (position, arm) in (0..n).flat_map(|t| (0..arms.len()).map(move |arm| (t, arm))) {
            let count: u32 = slates
                .iter()
                .filter(|(slate, _)| slate[position] == arm)
                .map(|(_, count)| count)
                .sum();
            let said = exact.at(arm, position);
            let deviation = (total * said * (1.0 - said)).max(0.0).sqrt().max(1.0);
            assert!(
                (f64::from(count) - total * said).abs() < 5.0 * deviation,
                "{name}: {arm} at {position}"
            );
        }
    }
}

#[test]
fn simulated_marginals_are_within_their_errors() {
    let arms = arms(7, 8);
    for policy in every(&arms) {
        let exact = enumerated_marginals(&*policy, &arms, 3, 10_000).expect("few prefixes");
        let simulated = simulated_marginals(&*policy, &arms, 3, 2_000, 6);
        for ((a, b), error) in exact
            .by_position
            .iter()
            .zip(&simulated.by_position)
            .zip(&simulated.standard_errors)
        {
            assert!(
                (a - b).abs() < 5.0 * error + 1e-3,
                "{}: {a} {b} {error}",
                told(&*policy)
            );
        }
    }
}

/// By hand: Plackett–Luce with weights 3, 2, 1; ε-greedy with ε = 0.3 over three arms.
#[test]
fn slates_by_hand() {
    let list = [3.0f64, 2.0, 1.0].map(|weight| Arm::of_score(weight.ln()));
    let arms = Arms::new(list.to_vec()).expect("finite");
    let build = |name: &str, settings: serde_json::Value| {
        let entry = policies::policy(name).expect("in the table");
        (entry.build)(&settings).expect("settings")
    };
    let softmax = build("softmax", json!({"temperature": 1.0}));
    let slate = softmax.chances(&arms).conditionals(&[1, 2, 0]);
    assert!(
        (slate_propensity(&slate) - 2.0 / 6.0 * 1.0 / 4.0).abs() < 1e-12,
        "{slate:?}"
    );
    // Arm 2 second: after 0 it is 1/2 · 1/3, after 1 it is 1/3 · 1/4.
    let marginal = softmax
        .chances(&arms)
        .marginals(3, &[(2, 1)])
        .expect("closed form");
    assert!(
        (marginal[0] - (1.0 / 6.0 + 1.0 / 12.0)).abs() < 1e-9,
        "{marginal:?}"
    );
    let epsilon = build("epsilon-greedy", json!({"epsilon": 0.3}));
    let slate = epsilon.chances(&arms).conditionals(&[2, 0, 1]);
    assert!(
        (slate[0] - 0.1).abs() < 1e-12 && (slate[1] - 0.85).abs() < 1e-12 && slate[2] == 1.0,
        "{slate:?}"
    );
}

#[test]
fn settings_that_cannot_be_are_named() {
    for entry in policies() {
        let error = (entry.build)(&json!({"epsilom": 0.1})).expect_err("no such key");
        assert_eq!(
            (error.field.as_str(), error.got.as_str()),
            ("epsilom", "0.1"),
            "{}",
            entry.name
        );
        let policy = (entry.build)(&json!(null)).expect("defaults");
        let again = (entry.build)(&policy.settings()).expect("its own settings");
        assert_eq!(policy.settings(), again.settings(), "{}", entry.name);
        assert_eq!(policy.name(), entry.name);
    }
    let build = policies::policy("epsilon-greedy").expect("in the table").build;
    let error = build(&json!({"epsilon": 1.5})).expect_err("too much");
    assert_eq!(error.to_string(), "epsilon: got 1.5, expected 0 to 1");
    let error = build(&json!({"epsilon": "x"})).expect_err("no number");
    assert!(error.to_string().contains("invalid type"), "{error}");
}
