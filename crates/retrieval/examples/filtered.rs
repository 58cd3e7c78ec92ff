//! The best 100 of many vectors within sets of any share, alone and with sixteen requests in flight.
//!
//! `cargo run --release -p retrieval --example filtered -- [ITEMS] [DIMS]`
//!
//! Vectors are normal with log-normal lengths (σ = 0.5), seed 1. What is found is scored in single precision, as a model does, and
//! compared with looking at everything. Times are of this process: milliseconds of wall clock for the percentiles, of processor
//! for the cost of a request.

use numeric::{SeededStream, dot, top_k};
use retrieval::{ItemSet, Measure, SHARED_MAX, Shortlist, Together, VectorIndex, Wanted};
use std::sync::Arc;
use std::time::{Duration, Instant};

const N: usize = 100;
const SHARES: [f64; 5] = [0.0001, 0.01, 0.1, 0.5, 1.0];
const SECONDS: f64 = 3.0;
/// Queries compared with looking at everything, by share.
const COMPARED: usize = 10;

struct Table {
    dims: usize,
    numbers: Vec<f32>,
}

impl Table {
    fn row(&self, item: u32) -> &[f32] {
        let start = item as usize * self.dims;
        &self.numbers[start..start + self.dims]
    }

    fn best(&self, items: impl Iterator<Item = u32>, vector: &[f32]) -> Vec<(u32, f32)> {
        top_k(N, items.map(|item| (item, dot(self.row(item), vector))))
    }
}

/// Processor time of this process so far.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
    sorted[at - 1].as_secs_f64() * 1e3
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|n| n.parse().ok());
    let size: u32 = arguments.next().map_or(1_000_000, |n: usize| n as u32);
    let dims = arguments.next().unwrap_or(64);
    let mut stream = SeededStream::new(1, 0);
    let mut draw = |sigma: f64| -> Vec<f32> {
        let length = (sigma * stream.normal()).exp();
        (0..dims).map(|_| (stream.normal() * length) as f32).collect()
    };
    let mut table = Table {
        dims,
        numbers: Vec::with_capacity(size as usize * dims),
    };
    (0..size).for_each(|_| table.numbers.extend(draw(0.5)));
    let queries: Vec<Vec<f32>> = (0..512).map(|_| draw(0.0)).collect();
    let begun = Instant::now();
    let index = VectorIndex::of(dims, 0..size, |item| Some(table.row(item)));
    println!(
        "{size} vectors of {dims} numbers: index made in {:.2} s, {:.0} MB",
        begun.elapsed().as_secs_f64(),
        index.memory_bytes() as f64 / 1e6
    );
    println!(
        "share      alone p50   p99   processor   16 in flight p50   p99   processor   requests a pass   shortlist"
    );
    for share in SHARES {
        let mut stream = SeededStream::new(2, (share * 1e6) as u64);
        let set: Option<Arc<ItemSet>> =
            (share < 1.0).then(|| Arc::new((0..size).filter(|_| stream.uniform() < share).collect()));
        let wanted = |at: usize| Wanted {
            vector: &queries[at % queries.len()],
            n: N,
            within: set.as_deref(),
            measure: Measure::Product,
        };
        let score =
            |list: Shortlist, at: usize| table.best(list.items.into_iter(), &queries[at % queries.len()]);
        let mut listed = 0;
        for (at, query) in queries.iter().enumerate().take(COMPARED) {
            let list = index.shortlists(&[wanted(at)]).remove(0);
            listed += list.items.len();
            let all = (0..size).filter(|item| set.as_ref().is_none_or(|set| set.contains(*item)));
            assert_eq!(
                score(list, at),
                table.best(all, query),
                "differs from looking at everything"
            );
        }
        let (mut alone, from, begun) = (Vec::new(), processor(), Instant::now());
        while begun.elapsed().as_secs_f64() < SECONDS {
            let start = Instant::now();
            let found = score(index.shortlists(&[wanted(alone.len())]).remove(0), alone.len());
            assert!(found.len() <= N);
            alone.push(start.elapsed());
        }
        let alone_cost = (processor() - from).as_secs_f64() * 1e3 / alone.len() as f64;
        alone.sort_unstable();
        let together = Together::new(std::thread::available_parallelism().map_or(1, usize::from));
        let (from, begun) = (processor(), Instant::now());
        let mut shared: Vec<Duration> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..SHARED_MAX)
                .map(|thread| {
                    let (together, index, queries, set, score) = (&together, &index, &queries, &set, &score);
                    scope.spawn(move || {
                        let mut took = Vec::new();
                        while begun.elapsed().as_secs_f64() < SECONDS {
                            let at = took.len() * SHARED_MAX + thread;
                            let start = Instant::now();
                            let vector = queries[at % queries.len()].clone();
                            score(
                                together.shortlist(index, vector, N, set.clone(), Measure::Product),
                                at,
                            );
                            took.push(start.elapsed());
                        }
                        took
                    })
                })
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .flatten()
                .collect()
        });
        let shared_cost = (processor() - from).as_secs_f64() * 1e3 / shared.len() as f64;
        shared.sort_unstable();
        let (asked, passes) = together.counts();
        println!(
            "{:>7.2} % {:>9.3} {:>7.3} {:>9.3} {:>14.3} {:>9.3} {:>9.3} {:>13.1} {:>13}",
            share * 100.0,
            percentile(&alone, 0.5),
            percentile(&alone, 0.99),
            alone_cost,
            percentile(&shared, 0.5),
            percentile(&shared, 0.99),
            shared_cost,
            asked as f64 / passes as f64,
            listed / COMPARED,
        );
    }
}
