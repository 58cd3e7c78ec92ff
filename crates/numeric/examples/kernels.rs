//! How much of the machine's peak the kernels of training reach.
//!
//! ```text
//! cargo run --release -p numeric --example kernels
//! ```
//! The peak is measured: sixteen independent chains of fused multiply-adds in registers, as wide as the machine has
//! them, on one thread and on two. Kernels run on one thread, on tables that fit the second-level cache and on rows
//! drawn from a table of 64 MB. A multiply-add counts as two operations.
//!
//! Below the table: the inverse of a symmetric matrix (n³ operations), and the product of a sparse matrix with a panel of vectors, of which a decomposition
//! consists: 30,000 rows of 27 entries, columns drawn by the square of a uniform number, as some items are taken often.

use numeric::{
    ApproachRoom, Cholesky, Csr, PANEL, PanelTerms, SeededStream, WeightedRows, approach, dot_rows, gram,
    invert_symmetric, multiply_add, multiply_panel, on_threads, syrk_add_at,
};
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let (one, two) = (peak(1), peak(2));
    println!("peak on one thread {one:.1} GFLOP/s, on two {two:.1}");
    println!("{:<34}{:>6}{:>12}{:>10}", "kernel", "d", "GFLOP/s", "of peak");
    let tell = |name: &str, d: usize, rate: f64| {
        println!("{name:<34}{d:>6}{rate:>12.1}{:>9.0} %", 100.0 * rate / one);
    };
    for d in [32, 64, 128, 256] {
        for (name, rows) in [
            ("syrk, table in cache", 256),
            ("syrk, table of 64 MB", (16 << 20) / d),
        ] {
            let table = random(rows * d);
            let mut stream = SeededStream::new(2, 0);
            let starts: Vec<usize> = (0..4096)
                .map(|_| (stream.uniform() * rows as f64) as usize * d)
                .collect();
            let weights = vec![0.5f32; starts.len()];
            let mut a = vec![0f32; d * d];
            let operations = (starts.len() * d * (d + 1)) as f64;
            let rate = measured(operations, || {
                syrk_add_at(black_box(&mut a), d, &table, &starts, &weights)
            });
            tell(name, d, rate);
        }
        let table = random((16 << 20) / d * d);
        let mut stream = SeededStream::new(4, 0);
        let starts: Vec<usize> = (0..27 * 512)
            .map(|_| (stream.uniform() * (table.len() / d) as f64) as usize * d)
            .collect();
        let (x, diagonal, constant) = (random(d), vec![1f32; d], random(d));
        let (pulls, weights) = (vec![1f32; 27], vec![0.01f32; 27]);
        let mut room = ApproachRoom::default();
        let rate = measured((512 * 3 * 27 * 4 * d) as f64, || {
            for at in (0..starts.len()).step_by(27) {
                let rows = WeightedRows {
                    table: &table,
                    // Those of the next ones too: they are fetched ahead of time.
                    starts: &starts[at..],
                    pulls: &pulls,
                    weights: &weights,
                };
                let mut x = x.clone();
                approach(black_box(&mut x), &diagonal, &constant, rows, 2, &mut room);
            }
        });
        tell("2 conjugate gradients, 27 rows", d, rate);
        let table = random(512 * d);
        let mut matrix = gram(&table, d);
        (0..d).for_each(|i| matrix[i * d + i] += 1.0);
        let mut cholesky = Cholesky::default();
        let rate = measured((d * d * d) as f64 / 3.0, || {
            assert!(cholesky.factor(black_box(&matrix), d).is_ok());
        });
        tell("Cholesky", d, rate);
        let items = random((16 << 20) / d * d);
        let n_items = items.len() / d;
        let (x, mut out) = (random(d), vec![0f32; n_items]);
        let rate = measured((2 * n_items * d) as f64, || {
            dot_rows(&items, black_box(&x), &mut out)
        });
        tell("scores of a table of 64 MB", d, rate);
        let (tall, square, mut product) = (random(8192 * d), random(d * d), vec![0f32; 8192 * d]);
        let rate = measured((2 * 8192 * d * d) as f64, || {
            multiply_add(1.0, &tall, black_box(&square), (8192, d, d), &mut product)
        });
        tell("product of 8,192 rows and a square", d, rate);
    }
    for n in [1000, 2000, 4000] {
        let mut matrix = random(n * n);
        (0..n).for_each(|i| matrix[i * n + i] = n as f32);
        let mut own = matrix.clone();
        let rate = on_threads(1, || {
            measured((n * n * n) as f64, || {
                own.copy_from_slice(&matrix);
                assert!(invert_symmetric(black_box(&mut own), n).is_ok());
            })
        });
        tell("inverse", n, rate);
    }
    let sparse = taken(30_000, 40_000, 27);
    let table = random(sparse.n_columns() * PANEL);
    let mut out = vec![0f32; sparse.n_rows() * PANEL];
    let rate = measured((2 * sparse.n_cells() * PANEL) as f64, || {
        multiply_panel(&sparse, black_box(&table), PanelTerms::PLAIN, &[], &mut out)
    });
    tell("sparse times a panel", PANEL, rate);
}

/// Rows of so many entries.
fn taken(rows: u32, columns: u32, each: usize) -> Csr {
    let mut stream = SeededStream::new(3, 0);
    let mut cells: Vec<(u32, u32)> = (0..rows)
        .flat_map(|row| std::iter::repeat_n(row, each))
        .map(|row| (row, (stream.uniform().powi(2) * f64::from(columns)) as u32))
        .collect();
    cells.sort_unstable();
    cells.dedup();
    let cells: Vec<(u32, u32, f32)> = cells
        .into_iter()
        .map(|(row, column)| (row, column, 0.1))
        .collect();
    Csr::from_triplets(rows as usize, columns as usize, &cells)
}

fn random(n: usize) -> Vec<f32> {
    let mut stream = SeededStream::new(1, 0);
    (0..n).map(|_| stream.normal() as f32 * 0.1).collect()
}

/// Billions of operations a second, the best of three runs of a fifth of a second.
fn measured(operations: f64, mut work: impl FnMut()) -> f64 {
    let mut best = 0f64;
    for _ in 0..3 {
        let started = Instant::now();
        let mut times = 0u32;
        while started.elapsed().as_secs_f64() < 0.2 {
            work();
            times += 1;
        }
        best = best.max(operations * f64::from(times) / started.elapsed().as_secs_f64() / 1e9);
    }
    best
}

const STEPS: usize = 20_000_000;

/// Peak of this many threads at once.
fn peak(threads: usize) -> f64 {
    on_threads(threads, || {
        let mut best = 0f64;
        for _ in 0..3 {
            let started = Instant::now();
            let lanes = numeric::parallel_chunks(threads, 1, |_| chains(STEPS));
            let seconds = started.elapsed().as_secs_f64();
            let operations = 2.0 * STEPS as f64 * lanes.iter().sum::<usize>() as f64;
            best = best.max(operations / seconds / 1e9);
        }
        best
    })
}

/// Runs the chains and says how many numbers a step advances.
fn chains(steps: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has the feature, which is all that the call asks for.
            return unsafe { chains_of_512(steps) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the machine has the features, which is all that the call asks for.
            return unsafe { chains_of_256(steps) };
        }
    }
    let mut chains = [[1.0f32; 8]; 16];
    for _ in 0..steps {
        for x in chains.iter_mut().flatten() {
            *x = x.mul_add(0.999, 0.001);
        }
    }
    black_box(chains).len() * 8
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn chains_of_512(steps: usize) -> usize {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    let (factor, step) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
    let mut chains = [_mm512_set1_ps(1.0); 16];
    for _ in 0..steps {
        for x in &mut chains {
            *x = _mm512_fmadd_ps(*x, factor, step);
        }
    }
    black_box(chains.map(|x| _mm512_reduce_add_ps(x)));
    16 * 16
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn chains_of_256(steps: usize) -> usize {
    use std::arch::x86_64::{_mm_cvtss_f32, _mm256_castps256_ps128, _mm256_fmadd_ps, _mm256_set1_ps};
    let (factor, step) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
    let mut chains = [_mm256_set1_ps(1.0); 12];
    for _ in 0..steps {
        for x in &mut chains {
            *x = _mm256_fmadd_ps(*x, factor, step);
        }
    }
    black_box(chains.map(|x| _mm_cvtss_f32(_mm256_castps256_ps128(x))));
    12 * 8
}
