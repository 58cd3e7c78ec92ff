//! Fits learners on one file of pairs and judges them by another, with nothing else linked in.
//!
//! ```text
//! cargo run --release -p evaluate --example split -- TRAIN.tsv TEST.tsv NAME[:{json}] ...
//! ```
//! Files have no header; a line is `user<TAB>item`, or `user<TAB>item<TAB>seconds`. Prints one line
//! per learner: Recall@20, NDCG@20, seconds to fit and to rank. `THREADS` and `SEED` are read from the environment.

#[path = "common/learner.rs"]
mod learner;
#[path = "common/rows.rs"]
mod rows;

use evaluate::{Inputs, MetricSet, Protocol, measure, prepare};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, learners @ ..] = args.as_slice() else {
        return Err("expected TRAIN TEST NAME[:{json}] ...".into());
    };
    let number = |name: &str, otherwise: usize| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let threads = number("THREADS", 2);
    let prepared = prepare(Inputs {
        train: rows::rows(train)?,
        test: rows::rows(test)?,
        allow_overlap: true,
        ..Inputs::default()
    })?;
    let set = MetricSet::new(&[20], false)?;
    for learner in learners {
        let trainer = learner::learner(learner)?;
        let seed = number("SEED", 0) as u64;
        let started = Instant::now();
        let model = trainer.fit(&prepared.training, &models::Run::new(seed, threads))?;
        let fitted = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let measured = measure(
            model.as_ref(),
            &prepared,
            &set,
            &Protocol::Full,
            seed,
            threads,
            &|_| {},
        )?;
        println!(
            "{learner}\trecall@20 {:.4}\tndcg@20 {:.4}\tfit {fitted:.2} s\trank {:.2} s",
            measured.metrics["recall@20"].mean,
            measured.metrics["ndcg@20"].mean,
            started.elapsed().as_secs_f64(),
        );
    }
    Ok(())
}
