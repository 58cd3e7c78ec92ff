//! What holds for all estimators, whatever the log.

use crate::worlds::{SlateWorld, Tells, World};
use ope::{
    Contributions, Log, Options, Refusal, SlateLog, estimator, estimators, judge, judge_slates,
    slate_estimators,
};
use proptest::prelude::*;

fn contributions(log: &Log, name: &str) -> Contributions {
    let (entry, given) = estimator(name).expect("the name is known");
    (entry.build)(given.unwrap_or(0.0))
        .contributions(log)
        .expect("the log has all")
}

fn value(log: &Log, name: &str) -> f64 {
    contributions(log, name).value().expect("there is weight")
}

/// A small log with full support, a model and rewards from −1 to 3.
fn log() -> impl Strategy<Value = (Log, Vec<f64>, Vec<f64>)> {
    let row = (
        -1.0..3.0f64,
        0..3u32,
        proptest::array::uniform3(0.05..1.0f64),
        proptest::array::uniform3(0.05..1.0f64),
        proptest::array::uniform3(-1.0..3.0f64),
    );
    proptest::collection::vec(row, 2..40).prop_map(|rows| {
        let share = |p: &[f64; 3]| p.map(|x| x / p.iter().sum::<f64>());
        let rewards: Vec<f64> = rows.iter().map(|r| r.0).collect();
        let actions = rows.iter().map(|r| r.1).collect();
        let target: Vec<f64> = rows.iter().flat_map(|r| share(&r.2)).collect();
        let logging = rows.iter().flat_map(|r| share(&r.3)).collect();
        let model: Vec<f64> = rows.iter().flat_map(|r| r.4).collect();
        let log = Log::new(3, rewards.clone(), actions, target)
            .and_then(|log| log.with_logging(logging))
            .and_then(|log| log.with_categories(vec![0, 1, 2]))
            .and_then(|log| log.with_model(model.clone()))
            .expect("the log is right");
        (log, rewards, model)
    })
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn limits_of_parameters_are_other_estimators((log, rewards, model) in log()) {
        for (a, b) in [
            ("ips_clip:1e9", "ips"),
            ("subgaussian_ips:0", "ips"),
            ("switch_dr:1e9", "dr"),
            ("subgaussian_dr:0", "dr"),
            ("switch_dr:0", "dm"),
            ("dros:0", "dm"),
            // Each action a category of its own.
            ("mips", "ips"),
        ] {
            prop_assert!(close(value(&log, a), value(&log, b)), "{a} {b}");
        }
        prop_assert!((value(&log, "dros:1e12") - value(&log, "dr")).abs() < 1e-6);
        // A model of zeros leaves plain weights; one that knows the rewards leaves itself.
        let blank = log.clone().with_model(vec![0.0; model.len()]).expect("the log is right");
        prop_assert!(close(value(&blank, "dr"), value(&log, "ips")));
        prop_assert!(close(value(&blank, "sndr"), value(&log, "snips")));
        let mut knows = model;
        for (row, reward) in rewards.iter().enumerate() {
            knows[row * 3 + log.actions()[row] as usize] = *reward;
        }
        let knowing = log.clone().with_model(knows).expect("the log is right");
        for name in ["dr", "sndr", "switch_dr:2", "dros:3", "subgaussian_dr:0.4"] {
            prop_assert!(close(value(&knowing, name), value(&knowing, "dm")), "{name}");
        }
        // A weighted mean stays within the rewards.
        let (low, high) = rewards.iter().fold((9.0f64, -9.0f64), |(l, h), r| (l.min(*r), h.max(*r)));
        let snips = value(&log, "snips");
        prop_assert!(low - 1e-9 <= snips && snips <= high + 1e-9);
    }

    #[test]
    fn linearised_contributions_have_the_estimate_as_mean((log, _, _) in log()) {
        for entry in estimators() {
            let found = contributions(&log, entry.name);
            let mean = numeric::mean(&found.linearised().expect("there is weight"));
            prop_assert!(close(mean, found.value().expect("there is weight")), "{}", entry.name);
            // No weight beyond its bound.
            if let (Some(bound), Some(weights)) = (found.weight_bound, &found.weights) {
                prop_assert!(weights.iter().all(|w| *w <= bound * (1.0 + 1e-9)), "{}", entry.name);
            }
        }
        for name in ["ips_clip:1.5", "switch_dr:1.5", "dros:2", "subgaussian_dr:0.3", "subgaussian_ips:1"] {
            let found = contributions(&log, name);
            let (bound, weights) = (found.weight_bound.expect("bounded"), found.weights.expect("weights"));
            prop_assert!(weights.iter().all(|w| *w <= bound * (1.0 + 1e-9)), "{name}");
        }
    }
}

#[test]
fn all_estimators_give_the_mean_reward_if_the_target_is_the_logging_policy() {
    let world = World::new(7, false, 0).log(500, 1, Tells::Distributions);
    let logging = world.logging().expect("it is known").to_vec();
    let log = Log::new(
        6,
        world.rewards().to_vec(),
        world.actions().to_vec(),
        logging.clone(),
    )
    .and_then(|log| log.with_logging(logging))
    .expect("the log is right");
    let mean = numeric::mean(log.rewards());
    for name in ["ips", "ips_clip:1", "snips", "subgaussian_ips:0.5"] {
        assert!(close(value(&log, name), mean), "{name}");
    }
    let report = judge(&log, &["ips", "sndr"], &Options::default()).expect("a right request");
    assert!(
        report
            .estimates
            .iter()
            .all(|e| (e.effective_sample_size - 500.0).abs() < 1e-6)
    );
}

#[test]
fn reports_are_the_same_at_any_number_of_threads() {
    let log = World::new(8, false, 0).log(600, 1, Tells::Distributions);
    let slates = SlateWorld::new(8).log(200, 1);
    let names: Vec<&str> = estimators().iter().map(|e| e.name).collect();
    let slate_names: Vec<&str> = slate_estimators().iter().map(|e| e.name).collect();
    let text = |threads| {
        numeric::on_threads(threads, || {
            let one = judge(&log, &names, &Options::default()).expect("a right request");
            let two = judge_slates(&slates, &slate_names, &Options::default()).expect("a right request");
            assert!(
                one.refused.is_empty() && two.refused.is_empty(),
                "{:?} {:?}",
                one.refused,
                two.refused
            );
            serde_json::to_string(&(one, two)).expect("reports are JSON")
        })
    };
    assert_eq!(text(1), text(2));
    assert_eq!(text(1), text(8));
}

#[test]
fn names_are_unique_and_wrong_requests_are_named() {
    let mut names: Vec<&str> = estimators().iter().map(|e| e.name).collect();
    names.extend(slate_estimators().iter().map(|e| e.name));
    let n = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), n);
    for (text, part) in [
        ("ipz", "expected one of ips, ips_clip"),
        ("ips:3", "ips without a parameter"),
        ("dros:x", "lambda from 0"),
        ("subgaussian_ips:2", "lambda from 0 to 1"),
        ("switch_dr:NaN", "threshold from 0"),
    ] {
        let error = estimator(text).expect_err("it cannot be").to_string();
        assert!(error.contains(part), "{error}");
    }
    let log = World::new(9, false, 0).log(50, 1, Tells::Propensities);
    let wrong = |options: Options| judge(&log, &["ips"], &options).expect_err("it cannot be").field;
    let default = Options::default;
    assert_eq!(
        wrong(Options {
            level: 1.0,
            ..default()
        }),
        "level"
    );
    assert_eq!(
        wrong(Options {
            bootstrap_rounds: 0,
            ..default()
        }),
        "resamples"
    );
    let reward_range = Some(ope::Range { low: 0.0, high: 0.5 });
    assert_eq!(
        wrong(Options {
            reward_range,
            ..default()
        }),
        "reward_range"
    );
}

#[test]
fn logs_that_cannot_be_are_named() {
    let text = |log: Result<Log, ope::LogError>| log.expect_err("it cannot be").to_string();
    let log = || Log::new(2, vec![1.0, 0.0], vec![0, 1], vec![0.5; 4]).expect("the log is right");
    assert_eq!(
        text(Log::new(2, vec![1.0], vec![2], vec![0.5; 2])),
        "action, round 0: got 2, expected a number below that of actions"
    );
    assert!(text(Log::new(2, vec![1.0], vec![1], vec![0.5, 0.4])).contains("sum to 1"));
    assert!(text(Log::new(2, vec![f64::NAN], vec![1], vec![0.5; 2])).starts_with("reward, round 0"));
    assert!(text(log().with_propensities(vec![0.5, 0.0])).starts_with("propensity, round 1: got 0"));
    assert!(text(log().with_logging(vec![0.5, 0.5, 1.0, 0.0])).starts_with("logging, round 1"));
    let log = log().with_propensities(vec![0.5; 2]).expect("the log is right");
    assert!(text(log.with_logging(vec![0.4, 0.6, 0.5, 0.5])).contains("the propensity of the logged action"));
    assert!(SlateLog::new(2, vec![1.0; 3]).is_err());
    // Only the target's probability of the logged action: enough for plain weights.
    let thin = Log::of_logged(9, vec![1.0, 0.0], vec![0, 1], vec![0.3, 0.1])
        .and_then(|log| log.with_propensities(vec![0.1, 0.2]))
        .expect("the log is right");
    assert!(close(value(&thin, "ips"), 1.5));
    let (dr, _) = estimator("dr").expect("the name is known");
    let refused = (dr.build)(0.0).contributions(&thin);
    assert!(matches!(refused, Err(Refusal::MissingInput(_))));
}
