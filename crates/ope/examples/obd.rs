//! Open Bandit Data: what Bernoulli Thompson sampling would have earned, from the log of the random policy, beside what it did earn; and the other way round.
//!
//! The target's choice at a position is taken from how often its own log shows each item there; its clicks are used only for the comparison.
//!
//! `cargo run --release -p ope --example obd -- [all|women]`

#[path = "../tests/it/files.rs"]
mod files;

use files::{Columns, shared};
use ope::{Log, LogError, Options, Range, RewardKind, RewardModelConfig, judge};

const POSITIONS: usize = 3;

/// Rows of positions: how often each item is shown there.
fn shares(columns: &Columns, items: usize) -> Vec<f64> {
    let mut counts = vec![0.0; POSITIONS * items];
    for (position, item) in columns.whole("position").iter().zip(columns.whole("item_id")) {
        counts[(*position as usize - 1) * items + item as usize] += 1.0;
    }
    for row in counts.chunks_exact_mut(items) {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|count| *count /= sum);
    }
    counts
}

/// Position and the commoner values of the four user features, as zeros and ones.
fn features(columns: &Columns) -> (usize, Vec<f64>) {
    let mut parts: Vec<Vec<f64>> = Vec::new();
    for name in [
        "position",
        "user_feature_0",
        "user_feature_1",
        "user_feature_2",
        "user_feature_3",
    ] {
        let values = columns.get(name);
        let kinds = values.iter().fold(0.0, |most: f64, v| most.max(*v)) as u32;
        for kind in 1..=kinds {
            let column: Vec<f64> = values
                .iter()
                .map(|v| f64::from(u8::from(*v == f64::from(kind))))
                .collect();
            if column.iter().sum::<f64>() >= 500.0 {
                parts.push(column);
            }
        }
    }
    let n = columns.get("click").len();
    let rows = (0..n).flat_map(|row| parts.iter().map(move |part| part[row]));
    (parts.len(), rows.collect())
}

fn log(logged: &Columns, target: &Columns, items: usize) -> Result<Log, LogError> {
    let shares = shares(target, items);
    let positions = logged.whole("position");
    let target = positions
        .iter()
        .flat_map(|p| shares[(*p as usize - 1) * items..][..items].to_vec());
    let (dim, features) = features(logged);
    Log::new(
        items,
        logged.get("click"),
        logged.whole("item_id"),
        target.collect(),
    )?
    .with_propensities(logged.get("propensity_score"))?
    .with_contexts(dim, features)
}

fn main() {
    let campaign = std::env::args().nth(1).unwrap_or_else(|| "all".to_owned());
    let read = |policy: &str| Columns::read(&shared(&format!("obd/{campaign}/{policy}.parquet")));
    let (random, bts) = (read("random"), read("bts"));
    let both = random.whole("item_id").into_iter().chain(bts.whole("item_id"));
    let items = both.max().map_or(0, |most| most as usize + 1);
    let options = Options {
        bootstrap_rounds: 2000,
        reward_range: Some(Range { low: 0.0, high: 1.0 }),
        reward_model: RewardModelConfig {
            kind: RewardKind::Logistic,
            reg: 10.0,
            reg_action: 10.0,
            ..RewardModelConfig::default()
        },
        ..Options::default()
    };
    let names: Vec<&str> = ope::estimators()
        .iter()
        .map(|entry| entry.name)
        .filter(|name| *name != "mips")
        .collect();
    for (logged, target, from, to) in [(&random, &bts, "random", "bts"), (&bts, &random, "bts", "random")] {
        let clicks = target.get("click");
        let on_policy = numeric::bootstrap_mean(&clicks, 2000, 0.95, 0);
        let log = log(logged, target, items).expect("the data is right");
        let report = judge(&log, &names, &options).expect("a right request");
        println!(
            "{campaign}: {to} from the log of {from}, {} rounds, {items} items; on policy {:.5} ({:.5} to {:.5}); the log itself {:.5}",
            report.rounds, on_policy.mean, on_policy.low, on_policy.high, report.logged_value
        );
        println!(
            "| estimator | value | 95 % | interval of | effective sample size | parameter |\n|---|---:|---:|---|---:|---|"
        );
        for e in &report.estimates {
            let parameter = e
                .parameter
                .as_ref()
                .map_or(String::new(), |p| format!("{} = {:.3}", p.name, p.value));
            println!(
                "| `{}` | {:.5} | {:.5} to {:.5} | {} | {:.0} | {parameter} |",
                e.estimator,
                e.value,
                e.low,
                e.high,
                e.interval_of.unwrap_or("itself"),
                e.effective_sample_size
            );
            e.warnings
                .iter()
                .for_each(|warning| println!("warning: {}: {warning}", e.estimator));
        }
        report
            .refused
            .iter()
            .for_each(|r| println!("refused: {}: {}", r.estimator, r.reason));
        if let Some(support) = &report.support {
            println!("support: {support:?}\n");
        }
    }
}
