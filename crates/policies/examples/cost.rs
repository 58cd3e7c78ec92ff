//! What a slate costs by policy: `cargo run --release -p policies --example cost -- 100 10 [POLICY]`, for so many arms and positions, in microseconds.
//!
//! A slate is drawn with its propensities, as serving does. Each figure is the median of 21 runs of some 20 ms.

use numeric::SeededStream;
use policies::{Arm, Arms, policies};
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let mut words = std::env::args().skip(1);
    let mut number = |otherwise: usize| {
        words
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let (m, n) = (number(100), number(10));
    let only = words.next();
    let mut stream = SeededStream::new(7, 1);
    let mut arm = |at: usize| Arm {
        score: 1.0 / (1.0 + at as f64).sqrt() + 0.02 * stream.normal(),
        variance: 0.05 * (0.2 + stream.uniform()).powi(2),
        wins: stream.below(9) as f64,
        losses: stream.below(200) as f64,
        fresh: at % 7 == 1,
        open: at % 11 != 4,
    };
    let arms = Arms::new((0..m).map(&mut arm).collect()).expect("finite");
    for entry in policies() {
        if only.as_ref().is_some_and(|only| only != entry.name) {
            continue;
        }
        let policy = (entry.build)(&serde_json::Value::Null).expect("defaults");
        let mut seed = 0;
        let mut run = |slates: u32| {
            let start = Instant::now();
            for _ in 0..slates {
                seed += 1;
                black_box(policy.draw_with_marginals(&arms, n, &mut SeededStream::new(seed, 3)));
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(slates)
        };
        let each = run(20);
        let slates = (20_000.0 / each).clamp(5.0, 20_000.0) as u32;
        let mut runs: Vec<f64> = (0..21).map(|_| run(slates)).collect();
        runs.sort_by(f64::total_cmp);
        println!("{:16} {:9.2}", entry.name, runs[10]);
    }
}
