//! Time of the inverse of a random positive definite matrix of the order given, and what that is in operations.
//!
//! ```text
//! cargo run --release -p numeric --example inverse -- 8000 [THREADS]
//! ```

use numeric::{SeededStream, invert_symmetric, on_threads};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let n: usize = arguments.next().map_or(Ok(4000), |text| text.parse())?;
    let threads: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let mut stream = SeededStream::new(0, 0);
    let mut matrix = vec![0f32; n * n];
    for i in 0..n {
        for j in i..n {
            matrix[i * n + j] = if i == j { n as f32 } else { stream.normal() as f32 };
        }
    }
    for _ in 0..2 {
        let mut own = matrix.clone();
        let start = Instant::now();
        on_threads(threads, || invert_symmetric(&mut own, n))?;
        let seconds = start.elapsed().as_secs_f64();
        let operations = (n as f64).powi(3) / seconds / 1e9;
        println!("{n}: {seconds:.3} s, {operations:.1} GFLOP/s");
    }
    Ok(())
}
