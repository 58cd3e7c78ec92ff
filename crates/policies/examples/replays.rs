//! How often slates come up in seeded replays, against what is said of them: `cargo run --release -p policies --example replays -- 1000000`.
//!
//! Prints for each policy of the table, for a floor for new items over three of them, and for linear bandits (upper bounds and Thompson sampling, disjoint and hybrid) the
//! largest deviation of a slate's count, in standard deviations, Pearson's statistic by degrees of freedom (about 1 where the probabilities are right), and the
//! probability of the slates that never came up.

use numeric::SeededStream;
use policies::learners::{Context, LinearBandit, LinearBanditConfig};
use policies::{Arm, Arms, EnsembleThompson, GaussianThompson, NewItemFloor, NewItems, SlatePolicy};
use policies::{policies, policy, slate_propensity};
use serde_json::Value;
use std::collections::BTreeMap;

const ARMS: usize = 7;
const PLACES: usize = 3;

fn main() {
    let replays: u32 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let mut stream = SeededStream::new(7, 1);
    let arm = |at: usize| Arm {
        score: stream.normal(),
        variance: 0.2 + stream.uniform(),
        wins: stream.below(9) as f64,
        losses: stream.below(20) as f64,
        fresh: at % 3 == 1,
        open: at != 4,
    };
    let arms = Arms::new((0..ARMS).map(arm).collect()).expect("finite");
    let built = |name: &str| {
        let entry = policy(name).expect("in the table");
        (entry.build)(&Value::Null).expect("defaults")
    };
    for entry in policies() {
        replay(entry.name, built(entry.name).as_ref(), &arms, replays);
    }
    for name in ["greedy", "softmax", "thompson"] {
        let base = built(name);
        let new_items = NewItems {
            share: 0.3,
            per_slate: 1,
        };
        let floor = NewItemFloor { new_items, base };
        replay(&format!("{name}, floor"), &floor, &arms, replays);
    }
    linear_bandits(replays);
}

/// Bandits that have learnt from a thousand rewards, and choose for one context.
fn linear_bandits(replays: u32) {
    for (name, shared) in [("disjoint", 0), ("hybrid", 3)] {
        let mut stream = SeededStream::new(7, 2);
        let mut normals = |n: usize| (0..n).map(|_| stream.normal()).collect::<Vec<f64>>();
        let config = LinearBanditConfig {
            features: 3,
            shared,
            reg: 1.0,
            discount: 1.0,
        };
        let mut bandit = LinearBandit::new(config).expect("fine");
        for round in 0..1_000 {
            let (own, shared) = (normals(3), normals(shared));
            let context = Context {
                action: round % ARMS,
                own: &own,
                shared: &shared,
            };
            bandit.update(&context, own[0] * (round % ARMS) as f64 / 6.0 + normals(1)[0]);
        }
        let rows: Vec<_> = (0..ARMS).map(|_| (normals(3), normals(shared))).collect();
        let contexts: Vec<Context<'_>> = rows
            .iter()
            .enumerate()
            .map(|(action, (own, shared))| Context { action, own, shared })
            .collect();
        let posterior = bandit.posterior();
        let bounds = Arms::new(posterior.upper_bounds(&contexts, 1.0)).expect("finite");
        replay(
            &format!("lin-ucb, {name}"),
            &GaussianThompson { scale: 0.0 },
            &bounds,
            replays,
        );
        let means = Arms::new(posterior.arms(&contexts, 5.0)).expect("finite");
        if shared == 0 {
            replay("lin-ts, disjoint", &GaussianThompson::default(), &means, replays);
        } else {
            let drawn = EnsembleThompson::new(posterior.samples(&contexts, 5.0, 256, 9));
            replay("lin-ts, hybrid", &drawn, &means, replays);
        }
    }
}

/// Draws as many slates and prints how their counts stand to what is said of them.
fn replay(name: &str, policy: &dyn SlatePolicy, arms: &Arms, replays: u32) {
    let mut counts: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
    let mut chances = policy.chances(arms);
    for seed in 0..replays {
        let mut stream = SeededStream::new(u64::from(seed), 3);
        let mut slate = Vec::with_capacity(PLACES);
        while slate.len() < PLACES {
            let next = chances.draw_next(&slate, &mut stream);
            slate.push(next);
        }
        *counts.entry(slate).or_default() += 1;
    }
    let (mut worst, mut statistic, mut said_total, mut cells) = (0.0f64, 0.0, 0.0, 0u32);
    for (slate, count) in &counts {
        let said = slate_propensity(&chances.conditionals(slate));
        let expected = f64::from(replays) * said;
        said_total += said;
        let off = f64::from(*count) - expected;
        worst = worst.max(off.abs() / (expected * (1.0 - said)).sqrt().max(1.0));
        // Cells of few are left out: a count of 2 where 0.1 was expected says nothing of Pearson's statistic.
        if expected >= 10.0 {
            statistic += off * off / expected;
            cells += 1;
        }
    }
    let freedom = f64::from(cells.saturating_sub(1).max(1));
    println!(
        "{name:16} {} slates, largest deviation {worst:.2}, chi-square / freedom {:.3}, not seen {:.1e}",
        counts.len(),
        statistic / freedom,
        (1.0 - said_total).max(0.0)
    );
}
