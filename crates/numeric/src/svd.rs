//! The largest singular values of a sparse matrix with their right vectors.
//!
//! Subspace iteration with Chebyshev filters (Saad 1984, "Chebyshev acceleration techniques for solving nonsymmetric
//! eigenvalue problems"; Zhou, Saad, Tiago and Chelikowsky 2006, "Self-consistent-field calculations using
//! Chebyshev-filtered subspace iteration", J. Comput. Phys. 219) on AᵀA or AAᵀ, whichever is smaller: a block of a
//! quarter more vectors than are wanted goes through a polynomial that is at most 1 between zero and the least
//! eigenvalue that the block has found, and grows beyond; then it is made orthonormal by the Cholesky factor of its
//! products and turned into the best approximations within (Rayleigh and Ritz). The degree rises as far as single
//! precision bears. Filters are applied to panels of columns that stay in the second-level cache.
//!
//! It stops when no wanted singular value has changed by more than one part in two thousand, or after
//! `PASSES_MAX` passes. What is promised, and tested against an exact decomposition: values within 2e-3 of the largest,
//! vectors orthogonal to 5e-4. Vectors whose values are close to those that are left out may be mixed with them.
//!
//! Cost: with w vectors in the block, about 30·w·cells multiplications for the products, and 3·n·w² a pass.
//! Memory: about 12·(rows + columns)·w bytes. The same result at any number of threads.

use crate::kernels::{axpy, dot, norm, syrk_add};
use crate::panel::{PANEL, PanelTerms, multiply_panel};
use crate::parallel::parallel_chunks;
use crate::{Csr, SeededStream, multiply_add};
use faer::diag::Diag;
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, Par};
use rayon::prelude::*;

/// Rows that are treated at a time; sums run over these in order.
const ROWS: usize = 512;
/// Passes at most.
const PASSES_MAX: usize = 10;
/// Relative change of a singular value below which it counts as found.
const SETTLED: f64 = 5e-4;
/// What a filter may grow the largest direction by, pass after pass: rounding may not bury the wanted ones.
const GROWTH: [f64; 3] = [2e3, 1e5, 1e6];
/// Degree at most.
const DEGREE_MAX: usize = 12;
/// Share of a vector's squared length that must be new for it to count as a direction of its own.
const FRESH: f64 = 1e-5;

/// The eigenvalues of the small matrix did not converge: there was something other than a number in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("singular values do not converge: the matrix has entries that are not finite")]
pub struct NotConverged;

/// Singular values, largest first, and their right vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct TruncatedSvd {
    /// One per vector.
    pub values: Vec<f32>,
    /// Row-major: a row per column of the matrix, a column per value.
    pub right: Vec<f32>,
}

/// The `rank` largest singular values of `matrix` (fewer if it has fewer columns). On the threads of the current pool.
///
/// # Errors
/// [`NotConverged`].
pub fn truncated_svd(matrix: &Csr, rank: usize, seed: u64) -> Result<TruncatedSvd, NotConverged> {
    let rank = rank.min(matrix.n_columns());
    if rank == 0 {
        return Ok(TruncatedSvd {
            values: Vec::new(),
            right: Vec::new(),
        });
    }
    let (_, _, cells) = matrix.parts();
    if cells.iter().any(|value| !value.is_finite()) {
        return Err(NotConverged);
    }
    let across = matrix.transpose();
    let by_rows = matrix.n_rows() < matrix.n_columns();
    let (there, back) = if by_rows {
        (&across, matrix)
    } else {
        (matrix, &across)
    };
    let mut block = Block::start(there, back, rank, seed);
    block.settle(rank)?;
    Ok(block.right(by_rows, rank, seed))
}

/// Orthonormal vectors that draw near the leading eigenvectors of `back` × `there`.
struct Block<'a> {
    there: &'a Csr,
    back: &'a Csr,
    /// Length of a vector.
    n: usize,
    /// Vectors, a whole number of panels; the last ones may be zero.
    width: usize,
    /// Row-major, `n × width`.
    rows: Vec<f32>,
    /// Eigenvalues, largest first, zero for vectors that are not there.
    values: Vec<f64>,
    /// The block is everything there is: nothing is left out, so nothing needs to be filtered.
    whole: bool,
}

impl<'a> Block<'a> {
    fn start(there: &'a Csr, back: &'a Csr, rank: usize, seed: u64) -> Block<'a> {
        let n = back.n_rows();
        let wanted = rank.min(n);
        let width = (wanted + (wanted / 4).max(24)).next_multiple_of(PANEL);
        let whole = width >= n;
        let width = if whole { n.next_multiple_of(PANEL) } else { width };
        let mut stream = SeededStream::new(seed, 0x5bd);
        let rows = if whole {
            let mut rows = vec![0f32; n * width];
            (0..n).for_each(|i| rows[i * width + i] = 1.0);
            rows
        } else {
            (0..n * width).map(|_| stream.normal() as f32).collect()
        };
        Block {
            there,
            back,
            n,
            width,
            rows,
            values: vec![0.0; width],
            whole,
        }
    }

    /// Passes until the first `rank` values stay.
    fn settle(&mut self, rank: usize) -> Result<(), NotConverged> {
        if self.whole {
            return self.pass(&Filter::None);
        }
        // Once round: what is random leans towards the large.
        self.pass(&Filter::Power)?;
        for pass in 0..PASSES_MAX {
            let before = self.values.clone();
            // The least that the block has; some vectors may have come to nothing.
            let there = self
                .values
                .iter()
                .rposition(|value| *value > 1e-9 * self.values[0]);
            let Some(cut) = there.map(|at| self.values[at]) else {
                break;
            };
            let growth = GROWTH[pass.min(GROWTH.len() - 1)];
            self.pass(&Filter::Chebyshev {
                cut,
                degree: degree(self.values[0] / cut, growth),
            })?;
            let moved = |(old, new): (&f64, &f64)| (old.sqrt() - new.sqrt()).abs() > SETTLED * new.sqrt();
            if !before.iter().zip(&self.values).take(rank).any(moved) {
                break;
            }
        }
        Ok(())
    }

    /// Filters, then turns what comes out into the best approximations within.
    fn pass(&mut self, filter: &Filter) -> Result<(), NotConverged> {
        let panels: Vec<(Vec<f32>, Vec<f32>)> = (0..self.width / PANEL)
            .into_par_iter()
            .map(|at| self.filtered(filter, at))
            .collect();
        let (own, images): (Vec<_>, Vec<_>) = panels.into_iter().unzip();
        self.rows = joined(&own, self.n);
        let image = joined(&images, self.there.n_rows());
        let size = products(&self.rows, self.width);
        let form = products(&image, self.width);
        let turn = Turn::of(&size, Some(&form), self.width)?;
        turn.apply(&mut self.rows, self.width);
        self.values = turn.values;
        Ok(())
    }

    /// Panel `at` after the filter, and `there` times that.
    fn filtered(&self, filter: &Filter, at: usize) -> (Vec<f32>, Vec<f32>) {
        let mut now = Vec::with_capacity(self.n * PANEL);
        for row in self.rows.chunks_exact(self.width) {
            now.extend_from_slice(&row[at * PANEL..(at + 1) * PANEL]);
        }
        let mut between = vec![0f32; self.there.n_rows() * PANEL];
        let mut smooth = |from: &[f32], terms: PanelTerms, out: &mut [f32]| {
            multiply_panel(self.there, from, PanelTerms::PLAIN, &[], &mut between);
            multiply_panel(self.back, &between, terms, from, out);
        };
        match *filter {
            Filter::None => {}
            Filter::Power => {
                let mut next = vec![0f32; now.len()];
                smooth(&now, PanelTerms::PLAIN, &mut next);
                now = next;
            }
            Filter::Chebyshev { cut, degree } => {
                let scale = (2.0 / cut) as f32;
                let mut before = now;
                now = vec![0f32; before.len()];
                // T₁ = t, then Tₖ₊₁ = 2t·Tₖ − Tₖ₋₁ with t = 2/cut·P − 1.
                smooth(
                    &before,
                    PanelTerms {
                        product: scale,
                        from: -1.0,
                        own: 0.0,
                    },
                    &mut now,
                );
                for _ in 1..degree {
                    smooth(
                        &now,
                        PanelTerms {
                            product: 2.0 * scale,
                            from: -2.0,
                            own: -1.0,
                        },
                        &mut before,
                    );
                    std::mem::swap(&mut before, &mut now);
                }
            }
        }
        multiply_panel(self.there, &now, PanelTerms::PLAIN, &[], &mut between);
        (now, between)
    }

    /// What was found, as right vectors of the matrix.
    fn right(self, by_rows: bool, rank: usize, seed: u64) -> TruncatedSvd {
        let (width, values) = (self.width, self.values);
        let (n, mut rows) = if by_rows {
            // Vᵢ = AᵀUᵢ / σᵢ, up to the length.
            let panels: Vec<Vec<f32>> = (0..width / PANEL)
                .into_par_iter()
                .map(|at| {
                    let mut own = Vec::with_capacity(self.n * PANEL);
                    for row in self.rows.chunks_exact(width) {
                        own.extend_from_slice(&row[at * PANEL..(at + 1) * PANEL]);
                    }
                    let mut image = vec![0f32; self.there.n_rows() * PANEL];
                    multiply_panel(self.there, &own, PanelTerms::PLAIN, &[], &mut image);
                    image
                })
                .collect();
            (self.there.n_rows(), joined(&panels, self.there.n_rows()))
        } else {
            (self.n, self.rows)
        };
        // Once more orthonormal among themselves, the leading ones first; what has no length falls out.
        let turn = Turn::orthonormal(&products(&rows, width), width);
        turn.apply(&mut rows, width);
        let mut vectors: Vec<Vec<f32>> = (0..turn.kept.len().min(rank))
            .map(|at| rows.chunks_exact(width).map(|row| row[at]).collect())
            .collect();
        let mut values: Vec<f32> = turn
            .kept
            .iter()
            .take(rank)
            .map(|at| values[*at].max(0.0).sqrt() as f32)
            .collect();
        values.resize(rank, 0.0);
        let mut stream = SeededStream::new(seed, 0x5be);
        while vectors.len() < rank {
            vectors.push(another(&vectors, n, &mut stream));
        }
        let mut right = vec![0f32; n * rank];
        for (at, vector) in vectors.iter().enumerate() {
            let cells = right.iter_mut().skip(at).step_by(rank);
            cells.zip(vector).for_each(|(to, from)| *to = *from);
        }
        TruncatedSvd { values, right }
    }
}

/// What the block goes through.
enum Filter {
    None,
    /// P itself.
    Power,
    /// T of this degree over 0 … `cut`.
    Chebyshev {
        cut: f64,
        degree: usize,
    },
}

/// The degree at which the direction of `ratio` times the cut grows by no more than `growth`; 2 at least.
fn degree(ratio: f64, growth: f64) -> usize {
    let rate = (2.0 * ratio - 1.0).max(1.0 + 1e-9).acosh();
    (((2.0 * growth).ln() / rate) as usize).clamp(2, DEGREE_MAX)
}

/// Panels side by side as rows.
fn joined(panels: &[Vec<f32>], n: usize) -> Vec<f32> {
    let width = panels.len() * PANEL;
    let mut rows = vec![0f32; n * width];
    rows.par_chunks_mut(ROWS * width)
        .enumerate()
        .for_each(|(chunk, rows)| {
            for (offset, row) in rows.chunks_exact_mut(width).enumerate() {
                let start = (chunk * ROWS + offset) * PANEL;
                for (to, panel) in row.chunks_exact_mut(PANEL).zip(panels) {
                    to.copy_from_slice(&panel[start..start + PANEL]);
                }
            }
        });
    rows
}

/// XᵀX of the row-major `x`, `width` wide, in `f64`; the lower triangle is filled.
fn products(x: &[f32], width: usize) -> Vec<f64> {
    let parts = parallel_chunks(x.len() / width, ROWS, |range| {
        let mut part = vec![0f32; width * width];
        let ones = vec![1f32; range.len()];
        syrk_add(
            &mut part,
            width,
            &x[range.start * width..range.end * width],
            &ones,
        );
        part
    });
    let mut total = vec![0f64; width * width];
    for part in parts {
        for (row, (total, part)) in total
            .chunks_exact_mut(width)
            .zip(part.chunks_exact(width))
            .enumerate()
        {
            let pairs = total.iter_mut().zip(part).take(row + 1);
            pairs.for_each(|(total, part)| *total += f64::from(*part));
        }
    }
    total
}

/// What makes a block orthonormal, and turns it.
struct Turn {
    /// Row-major, `width × width`: the block is multiplied by it. Columns past `kept` are zero.
    matrix: Vec<f32>,
    /// Which vectors had a direction of their own.
    kept: Vec<usize>,
    values: Vec<f64>,
}

impl Turn {
    /// Orthonormal, one vector after the other, for a block with these products.
    fn orthonormal(size: &[f64], width: usize) -> Turn {
        let (kept, inverse) = whitening(size, width);
        let mut matrix = vec![0f32; width * width];
        for (at, place) in kept.iter().enumerate() {
            for (column, row) in inverse.iter().enumerate().skip(at) {
                matrix[place * width + column] = row[at] as f32;
            }
        }
        Turn {
            matrix,
            kept,
            values: Vec::new(),
        }
    }

    /// Orthonormal, and such that the quadratic form with these values among the vectors becomes diagonal, largest first.
    fn of(size: &[f64], form: Option<&[f64]>, width: usize) -> Result<Turn, NotConverged> {
        let mut turn = Turn::orthonormal(size, width);
        turn.values = vec![0.0; width];
        let k = turn.kept.len();
        let Some(form) = form.filter(|_| k > 0) else {
            return Ok(turn);
        };
        let whiten = Mat::<f64>::from_fn(width, k, |i, j| f64::from(turn.matrix[i * width + j]));
        let form = Mat::<f64>::from_fn(width, width, |i, j| form[i.max(j) * width + i.min(j)]);
        let inner = whiten.transpose() * (&form * &whiten);
        if (0..k).any(|i| !inner[(i, i)].is_finite()) {
            return Err(NotConverged);
        }
        let scratch =
            self_adjoint_evd_scratch::<f64>(k, ComputeEigenvectors::Yes, Par::Seq, Default::default());
        let mut memory = faer::dyn_stack::MemBuffer::new(scratch);
        let mut values = Diag::<f64>::zeros(k);
        let mut vectors = Mat::<f64>::zeros(k, k);
        self_adjoint_evd(
            inner.as_ref(),
            values.as_mut(),
            Some(vectors.as_mut()),
            Par::Seq,
            faer::dyn_stack::MemStack::new(&mut memory),
            Default::default(),
        )
        .map_err(|_| NotConverged)?;
        let whole = &whiten * &vectors;
        turn.matrix.fill(0.0);
        // They come in ascending order.
        for j in 0..k {
            turn.values[j] = values.column_vector()[k - 1 - j].max(0.0);
            (0..width).for_each(|i| turn.matrix[i * width + j] = whole[(i, k - 1 - j)] as f32);
        }
        Ok(turn)
    }

    /// Multiplies the rows, in place.
    fn apply(&self, rows: &mut [f32], width: usize) {
        rows.par_chunks_mut(ROWS * width).for_each(|rows| {
            let own = rows.to_vec();
            rows.fill(0.0);
            multiply_add(1.0, &own, &self.matrix, (own.len() / width, width, width), rows);
        });
    }
}

/// L⁻¹ by rows for the products of those vectors that have a direction of their own beside the ones before them, and
/// which these are.
fn whitening(size: &[f64], width: usize) -> (Vec<usize>, Vec<Vec<f64>>) {
    let mut kept: Vec<usize> = Vec::new();
    let mut lower: Vec<Vec<f64>> = Vec::new();
    let largest = (0..width).map(|i| size[i * width + i]).fold(0.0, f64::max);
    for at in 0..width {
        let own = size[at * width + at];
        let mut row: Vec<f64> = Vec::with_capacity(kept.len() + 1);
        for (place, other) in kept.iter().zip(&lower) {
            let sum: f64 = row.iter().zip(other).map(|(x, y)| x * y).sum();
            row.push((size[at * width + place] - sum) / other[row.len()]);
        }
        let left = own - row.iter().map(|x| x * x).sum::<f64>();
        if left > FRESH * own && own > 1e-20 * largest && left > 1e-60 {
            row.push(left.sqrt());
            kept.push(at);
            lower.push(row);
        }
    }
    let mut inverse: Vec<Vec<f64>> = Vec::with_capacity(lower.len());
    for row in &lower {
        // Row i of L⁻¹ from the rows before it.
        let (pivot, others) = row.split_last().expect("a row has its pivot");
        let mut sums = vec![0f64; row.len()];
        for (factor, other) in others.iter().zip(&inverse) {
            sums.iter_mut().zip(other).for_each(|(sum, x)| *sum -= factor * x);
        }
        sums[others.len()] = 1.0;
        sums.iter_mut().for_each(|x| *x /= pivot);
        inverse.push(sums);
    }
    (kept, inverse)
}

/// Any unit vector at right angles to these.
fn another(vectors: &[Vec<f32>], n: usize, stream: &mut SeededStream) -> Vec<f32> {
    loop {
        let mut vector: Vec<f32> = (0..n).map(|_| stream.normal() as f32).collect();
        let size = norm(&vector);
        for other in vectors.iter().chain(vectors) {
            axpy(-dot(other, &vector), other, &mut vector);
        }
        let left = norm(&vector);
        if left > 1e-4 * size {
            vector.iter_mut().for_each(|x| *x /= left);
            return vector;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on_threads;
    use proptest::prelude::*;

    fn random(rows: usize, columns: usize, share: f64, seed: u64) -> Csr {
        let mut stream = SeededStream::new(seed, 1);
        let mut cells = Vec::new();
        for row in 0..rows {
            for column in 0..columns {
                if stream.uniform() < share {
                    cells.push((row as u32, column as u32, stream.normal() as f32));
                }
            }
        }
        Csr::from_triplets(rows, columns, &cells)
    }

    /// Eigenvalues of AᵀA by Jacobi rotations in `f64`, largest first.
    fn eigenvalues(matrix: &Csr) -> Vec<f64> {
        let n = matrix.n_columns();
        let mut a = vec![vec![0f64; n]; n];
        for row in 0..matrix.n_rows() {
            let (columns, values) = matrix.row(row);
            for (i, x) in columns.iter().zip(values) {
                for (j, y) in columns.iter().zip(values) {
                    a[*i as usize][*j as usize] += f64::from(*x) * f64::from(*y);
                }
            }
        }
        for _ in 0..60 {
            for p in 0..n {
                for q in p + 1..n {
                    if a[p][q].abs() < 1e-14 {
                        continue;
                    }
                    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                    let c = 1.0 / (t * t + 1.0).sqrt();
                    let s = t * c;
                    for row in &mut a {
                        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                    }
                    let (upper, lower) = a.split_at_mut(q);
                    for (x, y) in upper[p].iter_mut().zip(&mut lower[0]) {
                        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                    }
                }
            }
        }
        let mut values: Vec<f64> = (0..n).map(|i| a[i][i]).collect();
        values.sort_by(|x, y| y.total_cmp(x));
        values
    }

    fn check(matrix: &Csr, rank: usize, tolerance: f64) {
        let svd = truncated_svd(matrix, rank, 7).unwrap();
        let n = matrix.n_columns();
        let rank = rank.min(n);
        let expected = eigenvalues(matrix);
        let largest = expected[0].sqrt().max(1e-3);
        let vector = |j: usize| (0..n).map(|i| svd.right[i * rank + j]).collect::<Vec<f32>>();
        for (j, square) in expected.iter().enumerate().take(rank) {
            let value = f64::from(svd.values[j]);
            let true_value = square.max(0.0).sqrt();
            assert!(
                (value - true_value).abs() < tolerance * largest,
                "{j}: {value} {true_value}"
            );
            let size = f64::from(norm(&matrix.multiply(&vector(j))));
            assert!(
                (size - true_value).abs() < tolerance * largest,
                "{j}: {size} {true_value}"
            );
            for i in 0..=j {
                let product = f64::from(dot(&vector(i), &vector(j)));
                assert!(
                    (product - f64::from(u8::from(i == j))).abs() < 5e-4,
                    "{i} {j}: {product}"
                );
            }
        }
    }

    #[test]
    fn values_and_vectors_are_those_of_the_decomposition() {
        // All of it; a part; of low rank with empty columns; wider than high.
        check(&random(60, 24, 0.3, 1), 24, 1e-4);
        check(&random(200, 90, 0.1, 2), 12, 1e-3);
        check(&random(6, 40, 0.2, 3), 10, 1e-3);
        check(&random(30, 70, 0.1, 4), 100, 1e-3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Higher and wider ones, sparse and full, of full and of low rank, filtered (rank below 8 leaves room) or not.
        #[test]
        fn any_matrix(rows in 1usize..90, columns in 1usize..80, share in 0.02f64..0.6, rank in 1usize..12, seed in 0u64..1000) {
            check(&random(rows, columns, share, seed), rank, 2e-3);
        }
    }

    #[test]
    fn the_same_at_any_number_of_threads_and_nothing_for_nothing() {
        let matrix = random(3000, 2500, 0.004, 5);
        let at = |threads| on_threads(threads, || truncated_svd(&matrix, 20, 3).unwrap());
        let one = at(1);
        assert_eq!(one, at(2));
        assert_eq!(one, at(8));
        assert!(truncated_svd(&matrix, 0, 1).unwrap().values.is_empty());
        let empty = truncated_svd(&Csr::from_triplets(4, 3, &[]), 2, 1).unwrap();
        assert_eq!(empty.values, [0.0, 0.0]);
        let spoilt = Csr::from_triplets(1, 1, &[(0, 0, f32::NAN)]);
        assert_eq!(truncated_svd(&spoilt, 1, 1), Err(NotConverged));
    }
}
