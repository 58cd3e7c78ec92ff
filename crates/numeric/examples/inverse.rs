//! Time of the inverse of a random positive definite matrix of the order given, and what that is in operations. On Linux the
//! processor seconds of all threads, too: they say more where other work runs beside.
//!
//! ```text
//! cargo run --release -p numeric --example inverse -- 8000 [THREADS]
//! ```

use numeric::{SeededStream, invert_symmetric, large_zeros, on_threads};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let n: usize = arguments.next().map_or(Ok(4000), |text| text.parse())?;
    let threads: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let mut stream = SeededStream::new(0, 0);
    let mut matrix = large_zeros(n * n);
    for i in 0..n {
        for j in i..n {
            matrix[i * n + j] = if i == j { n as f32 } else { stream.normal() as f32 };
        }
    }
    let mut own = large_zeros(n * n);
    for _ in 0..3 {
        own.copy_from_slice(&matrix);
        let (seconds, busy) = on_threads(threads, || {
            let (start, busy) = (Instant::now(), processor_seconds());
            invert_symmetric(&mut own, n)?;
            let seconds = start.elapsed().as_secs_f64();
            Ok::<_, numeric::NotPositiveDefinite>((seconds, processor_seconds() - busy))
        })?;
        let operations = (n as f64).powi(3) / seconds / 1e9;
        println!("{n}: {seconds:.3} s, {operations:.1} GFLOP/s, {busy:.3} processor seconds");
    }
    Ok(())
}

/// Of the threads that are there; zero where the system does not say.
fn processor_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}
