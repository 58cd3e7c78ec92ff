//! Intervals hold the truth as often as they say. The long version is `examples/coverage.rs`.

use crate::worlds::{SlateWorld, Tells, World, fared};
use ope::{IntervalKind, Log, Options, Range, Report, judge, judge_slates};

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

/// Where few rounds are rewarded, the bootstrap knows no spread of those that are missing: the interval for few events is told, and covers.
#[test]
fn intervals_cover_where_rewards_are_rare() {
    let names = ["ips", "snips", "dr"];
    let world = World::new(1, false, 0);
    for (rate, least) in [(0.003, 0.93), (0.02, 0.93)] {
        let truth = rate * world.truth();
        let plain = |seed| Options {
            reward_range: None,
            ..options(seed)
        };
        let reports: Vec<Report> = (0..LOGS)
            .map(|seed| judge(&world.sparse_log(600, seed, rate), &names, &plain(seed)))
            .map(|report| report.expect("a right request"))
            .collect();
        for (at, name) in names.iter().enumerate() {
            let all: Vec<_> = reports.iter().filter_map(|r| r.estimates.get(at)).collect();
            assert_eq!(all.len(), LOGS as usize, "{name}");
            let covered = all.iter().filter(|e| e.low <= truth && truth <= e.high).count() as f64;
            assert!(covered / LOGS as f64 >= least, "{name} at {rate}: {covered}");
            for e in all {
                let few = e.intervals.few_events.expect("there are weights");
                assert_eq!(few.worth < 20.0, e.interval == IntervalKind::FewEvents);
                assert_eq!(
                    few.worth < 20.0,
                    e.warnings.iter().any(|w| w.contains("for few events"))
                );
                // Never wider than what a handful of the largest weights would bring.
                assert!(
                    e.high - e.low < 60.0 * few.largest / 600.0 + 0.05 * rate,
                    "{name}: {e:?}"
                );
            }
        }
    }
}

/// One click in 600 even rounds, by hand: the mid-p interval of a Poisson mean of one, and of none.
#[test]
fn a_click_or_none_in_an_even_log() {
    let log = |clicks: usize| {
        let rewards = (0..600).map(|at| f64::from(u8::from(at < clicks))).collect();
        let log = Log::new(2, rewards, vec![0; 600], [1.0, 0.0].repeat(600));
        log.and_then(|log| log.with_propensities(vec![1.0; 600]))
            .expect("the log is right")
    };
    let told = |clicks, options: Options| {
        judge(&log(clicks), &["ips"], &options)
            .expect("a right request")
            .estimates
            .remove(0)
    };
    let none = told(0, Options::default());
    assert!(
        (none.high - 20.0f64.ln() / 600.0).abs() < 1e-9 && none.low == 0.0,
        "{none:?}"
    );
    assert!(
        none.warnings[0].contains("declare their range"),
        "{:?}",
        none.warnings
    );
    let one = told(1, Options::default());
    assert!(one.low > 0.0 && (0.008..0.0085).contains(&one.high), "{one:?}");
    assert!(
        one.warnings[0].starts_with("a single round"),
        "{:?}",
        one.warnings
    );
    // Bernstein's reckons with a click that did not come, and no interval goes beyond what is possible.
    for interval in [
        IntervalKind::Bernstein,
        IntervalKind::FewEvents,
        IntervalKind::Normal,
    ] {
        let range = Some(Range { low: 0.0, high: 1.0 });
        let options = |reward_range| Options {
            interval,
            reward_range,
            ..Options::default()
        };
        assert!(told(0, options(None)).high > 0.004);
        let e = told(1, options(range));
        assert!(e.low >= 0.0 && e.high > 0.005 && e.high <= 1.0, "{e:?}");
    }
}
