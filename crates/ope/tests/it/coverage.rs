//! Intervals hold the truth as often as they say. The long version is `examples/coverage.rs`.

use crate::worlds::{SlateWorld, Tells, World, fared};
use ope::{Options, Range, Report, judge, judge_slates};

const LOGS: u64 = 400;

fn options(seed: u64) -> Options {
    Options {
        bootstrap_rounds: 200,
        seed,
        reward_range: Some(Range { low: 0.0, high: 1.0 }),
        ..Options::default()
    }
}

/// Coverage within four standard errors of 95 in 100: many estimators are looked at, and 400 logs have a standard error of 1.1 points.
fn check(reports: &[Report], names: &[&str], truth: f64) {
    let logs = reports.len() as f64;
    let slack = 4.0 * (0.95 * 0.05 / logs).sqrt();
    for (name, fared) in names.iter().zip(fared(reports, names, truth)) {
        assert_eq!(fared.answered, reports.len(), "{name}");
        let [bootstrap, normal, bernstein] = fared.covered;
        assert!((bootstrap - 0.95).abs() <= slack, "{name}: bootstrap {bootstrap}");
        assert!((normal - 0.95).abs() <= slack, "{name}: normal {normal}");
        assert!(bernstein >= 0.95, "{name}: Bernstein {bernstein}");
        let off = 4.0 * fared.rmse / logs.sqrt();
        assert!(fared.bias.abs() < off, "{name}: bias {}", fared.bias);
    }
}

#[test]
fn intervals_of_estimators_without_bias_cover() {
    let names = ["ips", "snips", "dr", "sndr"];
    let world = World::new(1, false, 0);
    let report = |seed| {
        judge(
            &world.log(800, seed, Tells::Distributions),
            &names,
            &options(seed),
        )
    };
    let reports: Vec<Report> = (0..3 * LOGS)
        .map(|seed| report(seed).expect("a right request"))
        .collect();
    check(&reports, &names, world.truth());
    assert!(
        reports
            .iter()
            .all(|r| r.estimates[0].intervals.bernstein.guaranteed)
    );
}

/// Their own sampling error says too little; the interval told for them does not.
#[test]
fn intervals_of_biased_estimators_hold_the_truth() {
    let names = [
        "ips_clip:2",
        "subgaussian_ips",
        "dm",
        "switch_dr:2",
        "dros",
        "subgaussian_dr",
    ];
    let world = World::new(1, false, 0);
    let report = |seed| {
        judge(
            &world.log(800, seed, Tells::Distributions),
            &names,
            &options(seed),
        )
    };
    let reports: Vec<Report> = (0..LOGS)
        .map(|seed| report(seed).expect("a right request"))
        .collect();
    let slack = 4.0 * (0.95 * 0.05 / LOGS as f64).sqrt();
    for (name, fared) in names.iter().zip(fared(&reports, &names, world.truth())) {
        let [bootstrap, normal, _] = fared.covered;
        assert!((bootstrap - 0.95).abs() <= slack, "{name}: bootstrap {bootstrap}");
        assert!((normal - 0.95).abs() <= slack, "{name}: normal {normal}");
        if ["ips_clip:2", "dm", "dros"].contains(name) {
            assert!(fared.sampling < 0.9, "{name}: {}", fared.sampling);
        }
    }
}

#[test]
fn intervals_of_marginalised_weights_cover_where_categories_tell_all() {
    let names = ["mips"];
    let world = World::new(2, true, 0);
    let report = |seed| {
        judge(
            &world.log(800, seed, Tells::Distributions),
            &names,
            &options(seed),
        )
    };
    let reports: Vec<Report> = (0..LOGS)
        .map(|seed| report(seed).expect("a right request"))
        .collect();
    check(&reports, &names, world.truth());
}

#[test]
fn intervals_of_slate_estimators_cover() {
    let names = [
        "standard_ips",
        "independent_ips",
        "reward_interaction_ips",
        "cascade_dr",
        "pseudo_inverse",
        "sn_standard_ips",
        "sn_independent_ips",
        "sn_reward_interaction_ips",
        "sn_cascade_dr",
        "sn_pseudo_inverse",
    ];
    let world = SlateWorld::new(3);
    let report = |seed| judge_slates(&world.log(800, seed), &names, &options(seed));
    let reports: Vec<Report> = (0..LOGS)
        .map(|seed| report(seed).expect("a right request"))
        .collect();
    check(&reports, &names, world.truth());
}
