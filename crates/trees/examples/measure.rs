//! Learning and scoring, timed: `measure FILE CONFIG_JSON` on rows written by `scripts/trees_beside_lightgbm.py`, `measure speed` on made-up ones.
//!
//! The file: `n_features, n_train, n_train_groups, n_test, n_test_groups` as u32, then for both parts group sizes u32, labels f32, rows f32, little-endian.

use std::time::Instant;
use trees::{Feature, Forest, Kernel, Rows, Scorer, TreesConfig, ndcg, train};

struct Part {
    groups: Vec<u32>,
    labels: Vec<f32>,
    values: Vec<f32>,
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| u32::from_le_bytes(*b))
        .collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [word] if word == "speed" => speed(),
        [file, config] => measure(file, config),
        _ => panic!("expected FILE CONFIG_JSON, or the word speed"),
    }
}

fn measure(file: &str, config: &str) {
    let config: TreesConfig = serde_json::from_str(config).expect("a configuration in JSON");
    let all = words(&std::fs::read(file).expect("the file can be read"));
    let mut rest = &all[5..];
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at(n);
        rest = tail;
        head.to_vec()
    };
    let floats = |words: Vec<u32>| words.into_iter().map(f32::from_bits).collect::<Vec<f32>>();
    let width = all[0] as usize;
    let mut part = |rows: u32, groups: u32| Part {
        groups: take(groups as usize),
        labels: floats(take(rows as usize)),
        values: floats(take(rows as usize * width)),
    };
    let (learn, test) = (part(all[1], all[2]), part(all[3], all[4]));
    let features: Vec<Feature> = (0..width).map(|at| Feature::number(format!("f{at}"))).collect();
    let rows = Rows {
        features: &features,
        values: &learn.values,
        labels: &learn.labels,
        weights: &[],
        groups: &learn.groups,
    };
    let threads = std::env::var("THREADS")
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(1);
    let start = Instant::now();
    let forest = numeric::on_threads(threads, || {
        train(&rows, None, &config).expect("rows are fine").forest
    });
    let train_seconds = start.elapsed().as_secs_f64();
    let scorer = Scorer::from(forest);
    let mut scores = vec![0.0f32; test.labels.len()];
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        scorer.score(&test.values, &mut scores);
        best = best.min(start.elapsed().as_secs_f64());
    }
    let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
    let at = |k| ndcg(&scores, &test.labels, &[], &test.groups, k, true);
    println!(
        "{}",
        serde_json::json!({
            "train_seconds": train_seconds, "score_seconds": best, "trees": scorer.forest().trees().len(),
            "ndcg": {"1": at(1), "3": at(3), "5": at(5), "10": at(10)},
        })
    );
}

/// 500 rows, 60 features, 300 trees of 31 leaves.
fn speed() {
    let (n, width) = (500, 60);
    let mut stream = numeric::SeededStream::new(1, 0);
    let features: Vec<Feature> = (0..width).map(|at| Feature::number(format!("f{at}"))).collect();
    let rows_learnt = 20_000;
    let values: Vec<f32> = (0..rows_learnt * width).map(|_| stream.normal() as f32).collect();
    let labels: Vec<f32> = values
        .chunks(width)
        .map(|row| {
            row.iter()
                .enumerate()
                .map(|(at, v)| (v * (1.0 + at as f32 * 0.1)).sin())
                .sum::<f32>()
                + stream.normal() as f32
        })
        .collect();
    let rows = Rows {
        features: &features,
        values: &values,
        labels: &labels,
        weights: &[],
        groups: &[],
    };
    let config = TreesConfig {
        objective: trees::Objective::SquaredError,
        ..TreesConfig::default()
    };
    let start = Instant::now();
    let forest: Forest = train(&rows, None, &config).expect("rows are fine").forest;
    println!(
        "learnt {} trees from {rows_learnt} rows of {width} in {:.2} s",
        forest.trees().len(),
        start.elapsed().as_secs_f64()
    );
    let test: Vec<f32> = (0..n * width).map(|_| stream.normal() as f32).collect();
    let start = Instant::now();
    let walked: Vec<f32> = test.chunks(width).map(|row| forest.score(row)).collect();
    println!(
        "one row after the other: {:.3} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    let scorer = Scorer::from(forest);
    for kernel in [Kernel::Avx512, Kernel::Avx2, Kernel::Plain] {
        let mut scores = vec![0.0; n];
        let mut times: Vec<f64> = (0..200)
            .map(|_| {
                let start = Instant::now();
                scorer.score_with(kernel, &test, &mut scores);
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        assert_eq!(scores, walked, "{kernel:?}");
        println!(
            "{kernel:?}: {n} rows x {width} features x 300 trees: best {:.3} ms, median {:.3} ms",
            times[0], times[100]
        );
    }
}
