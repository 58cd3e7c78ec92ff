//! Time of item graphs with the K best neighbours of every item, read off to the last.
//!
//! ```text
//! cargo run --release -p evaluate --example graph -- TRAIN.tsv K THREADS NAME ...
//! ```
//! The file is as for the example `split`. One line per learner: seconds to fit, and to read the K best of each item.

#[path = "common/rows.rs"]
mod rows;

use evaluate::{Inputs, Row, prepare};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [train, k, threads, learners @ ..] = args.as_slice() else {
        return Err("expected TRAIN K THREADS NAME ...".into());
    };
    let (k, threads): (usize, usize) = (k.parse()?, threads.parse()?);
    let rows = rows::rows(train)?;
    // Something to be judged by is asked for; nothing is judged here.
    let mut test: Vec<Row> = rows.iter().take(1).cloned().collect();
    for row in &mut test {
        row.item = domain::ItemId::new("none of these")?;
    }
    let prepared = prepare(Inputs {
        train: rows,
        test,
        allow_overlap: true,
        ..Inputs::default()
    })?;
    for learner in learners {
        let entry = models::trainer(learner).ok_or_else(|| format!("no learner {learner}"))?;
        let trainer = (entry.build)(&serde_json::json!({"neighbours": k}))?;
        let started = Instant::now();
        let model = trainer.fit(&prepared.training, &models::Run::new(0, threads))?;
        let fitted = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let n = model.vocabulary().len() as u32;
        let model = model.as_ref();
        let edges: usize = std::thread::scope(|scope| {
            let part = |at: u32| {
                let mine = (0..n).filter(move |item| item % threads as u32 == at);
                mine.map(|item| model.similar(item, k, &|_| true).len())
                    .sum::<usize>()
            };
            let workers: Vec<_> = (0..threads as u32)
                .map(|at| scope.spawn(move || part(at)))
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
        });
        let read = started.elapsed().as_secs_f64();
        println!("{learner}\tfit {fitted:.3} s\tread {read:.3} s\tedges {edges}");
    }
    Ok(())
}
