//! How far EASE over the nearest items is from exact EASE: error of the weights, and what it costs in quality.
//!
//! ```text
//! cargo run --release -p evaluate --example kin -- TRAIN.tsv TEST.tsv 50 100 300 1000
//! ```
//! Files as for the example `split`; the numbers are neighbours. The first line is the exact form. The error is
//! ‖W − W*‖ over ‖W*‖, both in full (nothing is cut off), in Frobenius norm.

#[path = "common/rows.rs"]
mod rows;

use domain::HistoryEvent;
use evaluate::{Inputs, MetricSet, Protocol, measure, prepare};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, neighbours @ ..] = args.as_slice() else {
        return Err("expected TRAIN TEST NEIGHBOURS ...".into());
    };
    let prepared = prepare(Inputs {
        train: rows::rows(train)?,
        test: rows::rows(test)?,
        allow_overlap: true,
        ..Inputs::default()
    })?;
    let set = MetricSet::new(&[20], false)?;
    let trainer = models::trainer("ease").ok_or("no learner ease")?;
    let mut exact: Option<Vec<f32>> = None;
    for neighbours in std::iter::once("0").chain(neighbours.iter().map(String::as_str)) {
        let neighbours: usize = neighbours.parse()?;
        let config = serde_json::json!({"neighbours": neighbours, "keep": 1_000_000});
        let started = Instant::now();
        let model = (trainer.build)(&config)?.fit(&prepared.training, &models::Run::new(0, 2))?;
        let seconds = started.elapsed().as_secs_f64();
        let measured = measure(model.as_ref(), &prepared, &set, &Protocol::Full, 0, 2, &|_| {})?;
        let weights = weights(model.as_ref());
        let exact = exact.get_or_insert_with(|| weights.clone());
        let off: f64 = weights
            .iter()
            .zip(&*exact)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum();
        let size: f64 = exact.iter().map(|b| f64::from(*b).powi(2)).sum();
        println!(
            "{neighbours}\terror {:.4}\trecall@20 {:.4}\tndcg@20 {:.4}\tfit {seconds:.2} s",
            (off / size).sqrt(),
            measured.metrics["recall@20"].mean,
            measured.metrics["ndcg@20"].mean,
        );
    }
    Ok(())
}

/// All weights between items: the scores of a history of one.
fn weights(model: &dyn models::Model) -> Vec<f32> {
    let items: Vec<u32> = (0..model.vocabulary().len() as u32).collect();
    let mut all = Vec::with_capacity(items.len() * items.len());
    for item in &items {
        let event = HistoryEvent {
            item: *item,
            weight: 1e6,
            age_days: 0.0,
        };
        let mut scores = vec![0f32; items.len()];
        model.score(&[event], &items, &mut scores);
        all.extend(scores);
    }
    all
}
