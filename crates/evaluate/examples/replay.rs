//! What it takes models to take in the last tenth of the rows of a file through `update`, beside training anew, with nothing else linked in.
//!
//! ```text
//! cargo run --release -p evaluate --example replay -- TRAIN.tsv TEST.tsv NAME[:{json}] ...
//! ```
//! Files as for `split`, with moments. Batches of 5,000 rows, each taken in by a copy as in service. Prints one line per learner.

#[path = "common/learner.rs"]
mod learner;

use evaluate::{Inputs, MetricSet, Protocol, Replay, Row, measure, prepare};
use models::Model;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, learners @ ..] = args.as_slice() else {
        return Err("expected TRAIN TEST NAME[:{json}] ...".into());
    };
    let prepared = prepare(Inputs {
        train: rows(train)?,
        test: rows(test)?,
        allow_overlap: true,
        ..Inputs::default()
    })?;
    let replay = Replay::new(&prepared.training, 0.1, 5_000)?;
    let set = MetricSet::new(&[20], false)?;
    for learner in learners {
        let trainer = learner::learner(learner)?;
        let quality = |model: &dyn Model| {
            let measured = measure(model, &prepared, &set, &Protocol::Full, 0, 2, &|_| {});
            measured.map(|measured| measured.metrics["ndcg@20"].mean)
        };
        let mut model = trainer.fit(&replay.before, &models::Run::new(0, 2))?;
        let before = quality(model.as_ref())?;
        let started = processor_seconds();
        let anew = trainer.fit(&prepared.training, &models::Run::new(0, 2))?;
        let anew_seconds = processor_seconds() - started;
        let (mut seconds, mut absorbed, mut ignored) = (0.0, 0, 0);
        for batch in replay.batches() {
            let started = processor_seconds();
            let mut next = model.fork();
            let report = next.update(&[], &batch.interactions, &batch.histories);
            seconds += processor_seconds() - started;
            model = next;
            absorbed += report.absorbed;
            ignored += report.ignored;
        }
        let (first, again) = first_requests(model.as_ref(), &replay);
        println!(
            "{learner}\tfirst requests after the last update {first:.0} µs, later ones {again:.0} µs\tndcg@20 before {before:.4}, anew {:.4}, updated {:.4}\tanew {anew_seconds:.3} s, updates {seconds:.3} s\tabsorbed {absorbed}, ignored {ignored}",
            quality(anew.as_ref())?,
            quality(model.as_ref())?,
        );
    }
    Ok(())
}

/// Microseconds of a request, mean over the first [`REQUESTS`] after an update and over as many of the same people right after.
fn first_requests(model: &dyn Model, replay: &Replay) -> (f64, f64) {
    const REQUESTS: usize = 20;
    let last = replay.batches().last().unwrap_or_default();
    let histories = last.histories.iter().filter(|history| history.len() > 50);
    let asked: Vec<_> = histories
        .step_by(last.histories.len().div_ceil(2 * REQUESTS).max(1))
        .take(REQUESTS)
        .collect();
    // One event less the second time, so that nothing is answered from memory.
    let [first, again] = [0, 1].map(|less| {
        let started = std::time::Instant::now();
        for history in &asked {
            std::hint::black_box(model.recommend(&history[..history.len() - less], 100, &|_| true));
        }
        started.elapsed().as_secs_f64() * 1e6 / asked.len().max(1) as f64
    });
    (first, again)
}

/// Of all threads, those that ended included; zero where the system does not say.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn rows(path: &str) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path)?;
    let row = |(at, line): (usize, &str)| {
        let mut fields = line.split('\t');
        let (Some(user), Some(item), Some(seconds)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(format!(
                "{path}, line {}: expected user, item and seconds",
                at + 1
            ));
        };
        let wrong = |e: &dyn std::fmt::Display| format!("{path}, line {}: {e}", at + 1);
        let seconds: i64 = seconds.parse().map_err(|e| wrong(&e))?;
        Ok(Row {
            user: domain::UserId::new(user).map_err(|e| wrong(&e))?,
            item: domain::ItemId::new(item).map_err(|e| wrong(&e))?,
            value: None,
            timestamp: domain::Timestamp(seconds * 1_000),
        })
    };
    Ok(text.lines().enumerate().map(row).collect::<Result<_, _>>()?)
}
