//! How often slates come up in seeded replays, against what is said of them: `cargo run --release -p policies --example replays -- 1000000`.
//!
//! Prints for each policy of the table the largest deviation of a slate's count, in standard deviations, and Pearson's statistic by degrees of freedom (about 1 where the
//! probabilities are right).

use numeric::SeededStream;
use policies::{Arm, Arms, policies, slate_propensity};
use std::collections::BTreeMap;

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
    let arms = Arms::new((0..7).map(arm).collect()).expect("finite");
    for entry in policies() {
        let policy = (entry.build)(&serde_json::Value::Null).expect("defaults");
        let mut counts: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
        let mut chances = policy.chances(&arms);
        for seed in 0..replays {
            let mut stream = SeededStream::new(u64::from(seed), 3);
            let mut slate = Vec::with_capacity(3);
            while slate.len() < 3 {
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
            "{:16} {} slates, largest deviation {worst:.2}, chi-square / freedom {:.3}, not seen {:.1e}",
            entry.name,
            counts.len(),
            statistic / freedom,
            1.0 - said_total
        );
    }
}
