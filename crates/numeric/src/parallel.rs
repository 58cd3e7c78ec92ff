//! Work spread over threads with results in a fixed order.

use rayon::prelude::*;
use std::ops::Range;

/// Runs `work` on a pool of its own with this many threads. If the system gives no threads, it
/// runs on the shared pool: results do not depend on it.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .build()
    {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

/// Cuts 0 … `n` − 1 into runs of `chunk` and maps each, in parallel on the current pool; the
/// results come in order. The cuts do not depend on the number of threads, so neither does any
/// sum taken over the results from first to last.
pub fn parallel_chunks<T: Send>(n: usize, chunk: usize, map: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    let chunk = chunk.max(1);
    (0..n.div_ceil(chunk))
        .into_par_iter()
        .map(|at| map(at * chunk..((at + 1) * chunk).min(n)))
        .collect()
}

/// [`parallel_chunks`] with scratch space that is made once per worker and handed from run to run;
/// `map` must leave it as it found it.
pub fn parallel_chunks_with<S, T: Send>(
    n: usize,
    chunk: usize,
    scratch: impl Fn() -> S + Sync + Send,
    map: impl Fn(&mut S, Range<usize>) -> T + Sync + Send,
) -> Vec<T> {
    let chunk = chunk.max(1);
    (0..n.div_ceil(chunk))
        .into_par_iter()
        .map_init(scratch, |scratch, at| {
            map(scratch, at * chunk..((at + 1) * chunk).min(n))
        })
        .collect()
}

/// Fills the rows of `out`, each `width` long, in parallel on the current pool: `fill` gets scratch space as in
/// [`parallel_chunks_with`], a row's number and the row. Runs of `chunk` rows go to one worker.
pub fn parallel_rows_with<S>(
    out: &mut [f32],
    width: usize,
    chunk: usize,
    scratch: impl Fn() -> S + Sync + Send,
    fill: impl Fn(&mut S, usize, &mut [f32]) + Sync + Send,
) {
    let (width, chunk) = (width.max(1), chunk.max(1));
    out.par_chunks_mut(width * chunk)
        .enumerate()
        .for_each_init(scratch, |scratch, (at, rows)| {
            for (offset, row) in rows.chunks_mut(width).enumerate() {
                fill(scratch, at * chunk + offset, row);
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sum_at_any_thread_count() {
        let values: Vec<f32> = (0..10_007).map(|i| ((i * 7919) % 1009) as f32 * 0.1).collect();
        let sum = |threads| {
            on_threads(threads, || {
                parallel_chunks(values.len(), 64, |range| values[range].iter().sum::<f32>())
                    .into_iter()
                    .sum::<f32>()
            })
        };
        assert_eq!(sum(1).to_bits(), sum(2).to_bits());
        assert_eq!(sum(1).to_bits(), sum(8).to_bits());
        assert_eq!(parallel_chunks(5, 2, |r| r), [0..2, 2..4, 4..5]);
        assert!(parallel_chunks(0, 2, |r| r).is_empty());
    }
}
