//! Slates as a product records them, drawn from known policies over recorded scores, with rewards whose truth is a sum over all slates.

use crate::worlds::fared;
use numeric::SeededStream;
use ope::{
    JudgedSlate, Options, Range, RecordedSlate, Report, RewardModelConfig, ScorePolicy, judge, judge_slates,
    judged_log, recorded_log, slate_estimators,
};

const POSITIONS: usize = 3;

/// How rewards come about.
#[derive(Clone, Copy, PartialEq)]
enum Rewards {
    /// By the item at its position alone.
    Independent,
    /// From top to bottom, and no further once something was good.
    Cascade,
}

/// A few lists of candidates with scores, and how good each candidate is.
struct World {
    lists: Vec<(Vec<f64>, Vec<f64>)>,
    logging: ScorePolicy,
    rewards: Rewards,
}

/// Probability of each candidate that is left, written down anew: the tests' own idea of these policies.
fn chances(policy: ScorePolicy, scores: &[f64], above: &[u32]) -> Vec<f64> {
    let left: Vec<usize> = (0..scores.len())
        .filter(|at| !above.contains(&(*at as u32)))
        .collect();
    let mut best = left[0];
    left.iter()
        .for_each(|at| best = if scores[*at] > scores[best] { *at } else { best });
    let total = |t: f64| -> f64 { left.iter().map(|at| (scores[*at] / t).exp()).sum() };
    let mut out = vec![0.0; scores.len()];
    for at in &left {
        let (first, even) = (f64::from(u8::from(*at == best)), 1.0 / left.len() as f64);
        out[*at] = match policy {
            ScorePolicy::Greedy => first,
            ScorePolicy::Uniform => even,
            ScorePolicy::Epsilon(e) => (1.0 - e) * first + e * even,
            ScorePolicy::Softmax(t) => (scores[*at] / t).exp() / total(t),
        };
    }
    out
}

/// All slates with their probabilities by position.
fn all(policy: ScorePolicy, scores: &[f64], n: usize) -> Vec<(Vec<u32>, Vec<f64>)> {
    let mut slates = vec![(Vec::new(), Vec::new())];
    for _ in 0..n {
        let mut longer = Vec::new();
        for (slate, each) in &slates {
            let next = chances(policy, scores, slate);
            for (at, p) in next.iter().enumerate().filter(|(_, p)| **p > 0.0) {
                longer.push((
                    [slate.as_slice(), &[at as u32]].concat(),
                    [each.as_slice(), &[*p]].concat(),
                ));
            }
        }
        slates = longer;
    }
    slates
}

impl World {
    fn new(seed: u64, logging: ScorePolicy, rewards: Rewards) -> World {
        let mut stream = SeededStream::new(seed, 90);
        let list = |m: usize, stream: &mut SeededStream| {
            let mut scores: Vec<f64> = (0..m).map(|_| stream.normal()).collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            let good = scores
                .iter()
                .map(|s| 1.0 / (1.0 + (0.8 - 0.7 * s + 0.5 * stream.normal()).exp()));
            let good = good.collect();
            (scores, good)
        };
        World {
            lists: [4, 5, 6].into_iter().map(|m| list(m, &mut stream)).collect(),
            logging,
            rewards,
        }
    }

    /// Expected reward at each position.
    fn expected(&self, list: usize, slate: &[u32]) -> Vec<f64> {
        let good = |item: &u32| self.lists[list].1[*item as usize];
        let mut open = 1.0;
        let each = slate.iter().enumerate().map(|(at, item)| match self.rewards {
            Rewards::Independent => good(item) * [1.0, 0.7, 0.5][at],
            Rewards::Cascade => {
                let now = open * good(item);
                open *= 1.0 - good(item);
                now
            }
        });
        each.collect()
    }

    fn truth(&self, target: ScorePolicy) -> f64 {
        let of = |(list, (scores, _)): (usize, &(Vec<f64>, Vec<f64>))| -> f64 {
            let slates = all(target, scores, POSITIONS);
            let value = |slate: &[u32]| -> f64 { self.expected(list, slate).iter().sum() };
            slates
                .iter()
                .map(|(slate, each)| each.iter().product::<f64>() * value(slate))
                .sum()
        };
        self.lists.iter().enumerate().map(of).sum::<f64>() / self.lists.len() as f64
    }

    /// A log as it would be recorded; all that is needed is worked out by listing slates.
    fn log(&self, n: usize, seed: u64) -> Vec<RecordedSlate> {
        let mut stream = SeededStream::new(seed, 91);
        let lists: Vec<_> = (self.lists.iter())
            .map(|(scores, _)| all(self.logging, scores, POSITIONS))
            .collect();
        let one = |_| {
            let list = stream.below(self.lists.len() as u64) as usize;
            let slates = &lists[list];
            let mut rest = stream.uniform();
            let drawn = slates.iter().find(|(_, each)| {
                rest -= each.iter().product::<f64>();
                rest < 0.0
            });
            let (shown, propensities) = drawn.unwrap_or(&slates[0]).clone();
            let here = |at: usize| {
                let alike = slates.iter().filter(|(slate, _)| slate[at] == shown[at]);
                alike.map(|(_, each)| each.iter().product::<f64>()).sum::<f64>()
            };
            let mut open = true;
            let good = |item: &u32| self.lists[list].1[*item as usize];
            let rewards = shown.iter().enumerate().map(|(at, item)| {
                let chance = match self.rewards {
                    Rewards::Independent => good(item) * [1.0, 0.7, 0.5][at],
                    Rewards::Cascade => good(item),
                };
                let is_good = open && stream.uniform() < chance;
                open &= !(is_good && self.rewards == Rewards::Cascade);
                f64::from(u8::from(is_good))
            });
            RecordedSlate {
                scores: self.lists[list].0.clone(),
                unrecorded: 0,
                position_propensities: (0..POSITIONS).map(|at| Some(here(at).min(1.0))).collect(),
                rewards: rewards.collect(),
                shown,
                propensities,
            }
        };
        (0..n).map(one).collect()
    }
}

fn policy(text: &str) -> ScorePolicy {
    ScorePolicy::parse(text).expect("a policy")
}

fn options(seed: u64) -> Options {
    Options {
        bootstrap_rounds: 200,
        seed,
        reward_range: Some(Range { low: 0.0, high: 1.0 }),
        ..Options::default()
    }
}

fn reports(world: &World, target: &str, names: &[&str], logs: u64) -> Vec<Report> {
    let one = |seed| {
        let (slates, options) = (world.log(500, seed), options(seed));
        let log = recorded_log(&slates, POSITIONS, policy(target), Some(&options.reward_model));
        judge_slates(&log.expect("the slates are right"), names, &options).expect("a right request")
    };
    numeric::parallel_chunks(logs as usize, 1, |range| one(range.start as u64))
}

/// Means over 200 logs within four standard errors of the truth, and intervals that cover within four of 95 in 100 (1.5 points each).
fn check(world: &World, target: &str, names: &[&str]) {
    const LOGS: u64 = 200;
    let truth = world.truth(policy(target));
    let reports = reports(world, target, names, LOGS);
    let slack = 4.0 * (0.95 * 0.05 / LOGS as f64).sqrt();
    for (name, fared) in names.iter().zip(fared(&reports, names, truth)) {
        assert_eq!(fared.answered, reports.len(), "{name}: {:?}", reports[0].refused);
        let [bootstrap, normal, bernstein] = fared.covered;
        println!(
            "{target} {name}: {:+.4} {:.4} {bootstrap} {normal}",
            fared.bias, fared.rmse
        );
        let off = 4.0 * fared.rmse / (LOGS as f64).sqrt();
        assert!(fared.bias.abs() < off, "{target}, {name}: bias {}", fared.bias);
        for covered in [bootstrap, normal] {
            assert!((covered - 0.95).abs() <= slack, "{target}, {name}: {covered}");
        }
        assert!(bernstein >= 0.95, "{target}, {name}: Bernstein {bernstein}");
    }
}

const TOP_DOWN: [&str; 6] = [
    "standard_ips",
    "sn_standard_ips",
    "reward_interaction_ips",
    "sn_reward_interaction_ips",
    "cascade_dr",
    "sn_cascade_dr",
];

#[test]
fn rewards_by_position_are_found_by_all_estimators() {
    let names = [TOP_DOWN.as_slice(), &["independent_ips", "sn_independent_ips"]].concat();
    for (seed, logging, target) in [(1, "epsilon:0.7", "softmax:1.5"), (2, "softmax:1", "epsilon:0.5")] {
        let world = World::new(seed, policy(logging), Rewards::Independent);
        check(&world, target, &names);
    }
    // Of slates that were drawn evenly more is known. Greed gives whole slates weights up to 120, too much for intervals of 500 slates.
    let names: Vec<&str> = slate_estimators().iter().map(|entry| entry.name).collect();
    let world = World::new(3, policy("uniform"), Rewards::Independent);
    check(&world, "epsilon:0.8", &names);
    check(
        &world,
        "greedy",
        &["independent_ips", "pseudo_inverse", "sn_independent_ips"],
    );
}

#[test]
fn rewards_from_top_to_bottom_are_found_by_those_that_assume_no_more() {
    let world = World::new(4, policy("epsilon:0.7"), Rewards::Cascade);
    check(&world, "softmax:1.5", &TOP_DOWN);
    // One weight per position does not know what stood above, which the test can see; and the reward model narrows the estimate.
    let names = ["independent_ips", "reward_interaction_ips", "cascade_dr"];
    let world = World::new(5, policy("uniform"), Rewards::Cascade);
    let reports = reports(&world, "greedy", &names, 100);
    let fared = fared(&reports, &names, world.truth(policy("greedy")));
    let noise = |at: usize| fared[at].rmse / 10.0;
    assert!(fared[0].bias.abs() > 6.0 * noise(0), "{}", fared[0].bias);
    assert!(fared[1].bias.abs() < 4.0 * noise(1) && fared[2].bias.abs() < 4.0 * noise(2));
    assert!(
        fared[2].rmse < 0.95 * fared[1].rmse,
        "{} {}",
        fared[2].rmse,
        fared[1].rmse
    );
}

#[test]
fn of_a_single_place_they_are_those_of_one_action() {
    let slates = World::new(6, policy("softmax:1"), Rewards::Independent).log(400, 1);
    for target in ["greedy", "epsilon:0.2", "softmax:0.5"] {
        let (target, options) = (policy(target), options(1));
        let log = recorded_log(&slates, 1, target, Some(&options.reward_model)).expect("right slates");
        let slate = judge_slates(&log, &["cascade_dr", "sn_cascade_dr", "pseudo_inverse"], &options);
        let single = ope::first_choices(&slates, target).expect("right slates");
        let single = judge(&single, &["dr", "sndr", "ips"], &options).expect("a right request");
        let slate = slate.expect("a right request");
        for (a, b) in slate.estimates.iter().zip(&single.estimates) {
            assert!((a.value - b.value).abs() < 1e-12, "{} {}", a.value, b.value);
            assert!((a.intervals.standard_error - b.intervals.standard_error).abs() < 1e-12);
        }
        assert_eq!(slate.estimates.len(), 3);
        assert_eq!(slate.reward_model, single.reward_model);
    }
}

/// Slates with these items, drawn evenly, with rewards.
fn evenly(m: usize, shown: &[u32], rewards: &[f64]) -> RecordedSlate {
    RecordedSlate {
        scores: (0..m).map(|at| -(at as f64)).collect(),
        unrecorded: 0,
        shown: shown.to_vec(),
        propensities: (0..shown.len()).map(|at| 1.0 / (m - at) as f64).collect(),
        position_propensities: vec![Some(1.0 / m as f64); shown.len()],
        rewards: rewards.to_vec(),
    }
}

#[test]
fn two_and_three_candidates_by_hand() {
    // Two candidates in either order, six of ten slates with the better one first; each place earns 3 whatever stands there, which the model learns. Greed
    // shows (0, 1): weights are 2 and 0.
    let slates: Vec<RecordedSlate> = (0..10)
        .map(|at| evenly(2, if at < 6 { &[0, 1] } else { &[1, 0] }, &[3.0, 3.0]))
        .collect();
    let config = RewardModelConfig::default();
    let log = recorded_log(&slates, 2, ScorePolicy::Greedy, Some(&config)).expect("right slates");
    let names: Vec<&str> = slate_estimators().iter().map(|entry| entry.name).collect();
    let report = judge_slates(&log, &names, &Options::default()).expect("a right request");
    assert_eq!(report.estimates.len(), names.len(), "{:?}", report.refused);
    assert_eq!(
        report.reward_model.as_deref(),
        Some("ridge regression, cross-fitted in 5 parts")
    );
    for estimate in &report.estimates {
        // The model promises 3 at the first place and w · 3 = 1.2 · 3 at the second, and has missed nothing.
        let by_hand = match estimate.estimator.as_str() {
            "cascade_dr" => 6.6,
            name if name.starts_with("sn_") => 6.0,
            _ => 7.2,
        };
        assert!((estimate.value - by_hand).abs() < 1e-5, "{estimate:?}");
    }
    // Three candidates, each slate of two once, a candidate earns 1, 10, 100 wherever it stands. Weights of pseudo_inverse for (0, 1): 5 for itself, 1 for slates
    // that share a place or both items, −1 for the others.
    let worth = [1.0, 10.0, 100.0];
    let shown: [[u32; 2]; 6] = [[0, 1], [1, 0], [0, 2], [2, 1], [1, 2], [2, 0]];
    let slates = shown.map(|shown| evenly(3, &shown, &shown.map(|item| worth[item as usize])));
    let log = recorded_log(&slates, 2, ScorePolicy::Greedy, None).expect("right slates");
    let names = ["pseudo_inverse", "independent_ips", "standard_ips", "cascade_dr"];
    let report = judge_slates(&log, &names, &Options::default()).expect("a right request");
    let values: Vec<f64> = report.estimates.iter().map(|e| e.value).collect();
    // 5 · 11 + 11 + 101 + 110 − 110 − 101 over six; 3 · 1 for two of them and 3 · 10 for two; 6 · 11 for one.
    assert!(
        values.iter().all(|value| (value - 11.0).abs() < 1e-9),
        "{report:?}"
    );
    let weights = report.estimates[0].weights.as_ref().expect("weights");
    assert_eq!(weights.max.round(), 5.0, "{weights:?}");
    assert_eq!(
        report.refused[0].reason,
        "the log lacks a reward model by position"
    );
}

#[test]
fn what_is_not_known_is_refused_with_the_reason() {
    let mut slates = World::new(7, policy("softmax:1"), Rewards::Independent).log(60, 1);
    let names = ["standard_ips", "independent_ips", "cascade_dr", "pseudo_inverse"];
    let config = RewardModelConfig::default();
    let refused = |slates: &[RecordedSlate], target: &str| {
        let log = recorded_log(slates, POSITIONS, policy(target), Some(&config)).expect("right slates");
        judge_slates(&log, &names, &options(1))
            .expect("a right request")
            .refused
    };
    let told = refused(&slates, "softmax:0.8");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].reason.contains("drawn evenly from all candidates") && told[0].reason.contains("60 of 60"),
        "{told:?}"
    );
    // A temperature so low that there is no integral over what stands third.
    let told = refused(&slates, "softmax:0.0001");
    let of = |told: &[ope::Refused], name: &str| {
        let found = told.iter().find(|refused| refused.estimator == name);
        found.map(|refused| refused.reason.clone()).unwrap_or_default()
    };
    assert!(
        of(&told, "independent_ips").contains("higher temperature"),
        "{told:?}"
    );
    slates[7].position_propensities[1] = None;
    slates[9].position_propensities.clear();
    let told = refused(&slates, "softmax:0.8");
    let reason = of(&told, "independent_ips");
    assert!(
        reason.contains("in 2 of 60 decisions: position_propensity"),
        "{reason}"
    );
    // Few slates have no parts to learn from, and answer all the same.
    let told = refused(&slates[..4], "softmax:0.8");
    assert!(
        of(&told, "cascade_dr").contains("4 slates are too few"),
        "{told:?}"
    );
    // What was certain from the top was certain at its place.
    slates.iter_mut().for_each(|slate| {
        slate.shown = vec![0, 1, 2];
        slate.propensities = vec![1.0; 3];
        slate.position_propensities = Vec::new();
    });
    assert_eq!(refused(&slates, "greedy").len(), 0);
    let told = refused(&slates, "uniform");
    assert!(
        of(&told, "independent_ips").starts_with("support is missing"),
        "{told:?}"
    );
    // Of another configuration only the shown is known.
    let judged = |at: Option<Vec<f64>>| JudgedSlate {
        propensities: vec![0.5, 0.5],
        target: vec![0.4, 0.6],
        position_propensities: vec![None, Some(0.25)],
        position_target: at,
        rewards: vec![1.0, 0.0],
    };
    let known = vec![judged(Some(vec![0.4, 0.3])); 30];
    let log = judged_log(&known, 2).expect("right slates");
    let report = judge_slates(&log, &names, &options(1)).expect("a right request");
    assert!((report.estimates[1].value - 0.8).abs() < 1e-12, "{report:?}");
    assert!(
        report
            .refused
            .iter()
            .all(|r| r.reason.contains("of another configuration")),
        "{report:?}"
    );
    let log = judged_log(&[known, vec![judged(None)]].concat(), 2).expect("right slates");
    let report = judge_slates(&log, &names, &options(1)).expect("a right request");
    assert!(
        of(&report.refused, "independent_ips").contains("(1 of 31 decisions)"),
        "{report:?}"
    );
}
