//! The largest singular values of a sparse matrix with their right vectors.
//!
//! Block Krylov iteration (Golub and Underwood 1977, "The block Lanczos method"; randomised start and analysis: Musco
//! and Musco 2015, "Randomized block Krylov methods for stronger and faster approximate singular value decomposition",
//! NeurIPS): from a random block Q₀, each next block is AᵀAQₛ freed of all blocks before it, twice; the projections
//! are the blocks of T = QᵀAᵀAQ, whose eigenvectors turn Q into the singular vectors.
//!
//! Cost: with K the width of all blocks together, 2·K·cells multiplications for the products, 4·n·K² for the
//! projections, and about 10·K³ for T. Memory: n·K·4 bytes. The same result at any number of threads. In single
//! precision: vectors are orthogonal to about 1e-4.

use crate::kernels::{add_rows, axpy, dot, norm};
use crate::parallel::{parallel_chunks, parallel_rows_with};
use crate::{Csr, SeededStream};
use faer::diag::Diag;
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// Rows of the basis that are treated at a time; sums run over these in order.
const ROWS: usize = 2048;

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
    let n = matrix.n_columns();
    let rank = rank.min(n);
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
    let width = (rank / 8).next_multiple_of(16).clamp(16, 64);
    // Three times the rank, eight blocks at least, and one more: the gap to what is left out makes the wanted ones accurate.
    let total = ((3 * rank).max(8 * width) + width).min(n);
    let mut basis = Basis::start(matrix, width.min(total), total, seed);
    while basis.extend() {}
    basis.ritz(rank)
}

/// The Krylov space so far.
struct Basis<'a> {
    matrix: &'a Csr,
    transposed: Csr,
    n: usize,
    total: usize,
    /// Orthonormal vectors, one after the other.
    vectors: Vec<f32>,
    /// First vector and width of the block that the next is made from.
    last: (usize, usize),
    /// T by columns, each `total` long; the part above the diagonal of blocks is filled.
    projected: Vec<f32>,
    stream: SeededStream,
}

impl<'a> Basis<'a> {
    fn start(matrix: &'a Csr, width: usize, total: usize, seed: u64) -> Basis<'a> {
        let n = matrix.n_columns();
        let mut basis = Basis {
            matrix,
            transposed: matrix.transpose(),
            n,
            total,
            vectors: Vec::with_capacity(n * total),
            last: (0, width),
            projected: Vec::with_capacity(total * total),
            stream: SeededStream::new(seed, 0x5bd),
        };
        let block = (0..n * width).map(|_| basis.stream.normal() as f32).collect();
        basis.push(block, width);
        basis
    }

    fn count(&self) -> usize {
        self.vectors.len() / self.n
    }

    /// Adds the block AᵀA × (last block) freed of what is there; false once the space is full.
    fn extend(&mut self) -> bool {
        let (first, width) = self.last;
        let mut block = self.image(first, width);
        let coefficients = self.project(&mut block, width);
        let count = self.count();
        for column in coefficients.chunks_exact(count) {
            self.projected.extend_from_slice(column);
            self.projected
                .resize(self.projected.len() + self.total - count, 0.0);
        }
        let next = width.min(self.total - count);
        if next == 0 {
            return false;
        }
        block.truncate(next * self.n);
        // What rounding left of the old directions.
        self.project(&mut block, next);
        self.last = (count, next);
        self.push(block, next);
        true
    }

    /// AᵀA times the vectors from `first` on.
    fn image(&self, first: usize, width: usize) -> Vec<f32> {
        let n = self.n;
        let own = &self.vectors[first * n..(first + width) * n];
        let mut rows = vec![0f32; n * width];
        transpose(own, n, &mut rows);
        let mut between = vec![0f32; self.matrix.n_rows() * width];
        product(self.matrix, &rows, width, &mut between);
        rows.fill(0.0);
        product(&self.transposed, &between, width, &mut rows);
        let mut image = vec![0f32; n * width];
        transpose(&rows, width, &mut image);
        image
    }

    /// Takes the part within the space off each vector of the block; the coefficients by column.
    fn project(&self, block: &mut [f32], width: usize) -> Vec<f32> {
        let (n, count) = (self.n, self.count());
        let vectors = MatRef::from_column_major_slice(&self.vectors, n, count);
        let parts = parallel_chunks(n, ROWS, |range| {
            let mut part = Mat::<f32>::zeros(count, width);
            let block = MatRef::from_column_major_slice(&*block, n, width);
            let own = vectors.subrows(range.start, range.len());
            let block = block.subrows(range.start, range.len());
            matmul(
                part.as_mut(),
                Accum::Replace,
                own.transpose(),
                block,
                1.0,
                Par::Seq,
            );
            part
        });
        let mut sums = Mat::<f32>::zeros(count, width);
        for part in parts {
            sums += part;
        }
        let rests = parallel_chunks(n, ROWS, |range| {
            let block = MatRef::from_column_major_slice(&*block, n, width);
            let mut rest = block.subrows(range.start, range.len()).to_owned();
            let own = vectors.subrows(range.start, range.len());
            matmul(rest.as_mut(), Accum::Add, own, sums.as_ref(), -1.0, Par::Seq);
            rest
        });
        let mut start = 0;
        for rest in rests {
            for column in 0..width {
                let to = &mut block[column * n + start..column * n + start + rest.nrows()];
                to.iter_mut()
                    .zip(rest.col(column).iter())
                    .for_each(|(to, from)| *to = *from);
            }
            start += rest.nrows();
        }
        (0..width)
            .flat_map(|column| sums.col(column).iter().copied().collect::<Vec<_>>())
            .collect()
    }

    /// Appends the vectors of a block that is free of the space, made orthonormal among themselves.
    fn push(&mut self, block: Vec<f32>, width: usize) {
        let (n, before) = (self.n, self.count());
        for at in 0..width {
            let mut vector = block[at * n..(at + 1) * n].to_vec();
            let mut fresh = false;
            loop {
                let size = norm(&vector);
                // Within the block; all of the space for one that was drawn anew, or of which little is left.
                for from in if fresh { [0, 0] } else { [before, before] } {
                    self.clear(from, &mut vector);
                }
                if norm(&vector) < 0.1 * size {
                    self.clear(0, &mut vector);
                    self.clear(0, &mut vector);
                }
                let left = norm(&vector);
                if left > 1e-5 * size && left > 1e-30 {
                    vector.iter_mut().for_each(|x| *x /= left);
                    break;
                }
                // Nothing new in this direction: any other serves as well.
                vector = (0..n).map(|_| self.stream.normal() as f32).collect();
                fresh = true;
            }
            self.vectors.extend_from_slice(&vector);
        }
    }

    /// Takes the parts along the vectors from `from` on off one more.
    fn clear(&self, from: usize, vector: &mut [f32]) {
        for other in self.vectors[from * self.n..].chunks_exact(self.n) {
            axpy(-dot(other, vector), other, vector);
        }
    }

    /// The best approximations within the space.
    fn ritz(&self, rank: usize) -> Result<TruncatedSvd, NotConverged> {
        let (n, k) = (self.n, self.count());
        // The upper triangle, mirrored.
        let entry = |i: usize, j: usize| f64::from(self.projected[i.max(j) * self.total + i.min(j)]);
        let small = Mat::<f64>::from_fn(k, k, entry);
        let scratch =
            self_adjoint_evd_scratch::<f64>(k, ComputeEigenvectors::Yes, Par::Seq, Default::default());
        let mut memory = faer::dyn_stack::MemBuffer::new(scratch);
        let mut values = Diag::<f64>::zeros(k);
        let mut turns = Mat::<f64>::zeros(k, k);
        self_adjoint_evd(
            small.as_ref(),
            values.as_mut(),
            Some(turns.as_mut()),
            Par::Seq,
            faer::dyn_stack::MemStack::new(&mut memory),
            Default::default(),
        )
        .map_err(|_| NotConverged)?;
        // Ascending order.
        let turn = Mat::<f32>::from_fn(k, rank, |i, j| turns[(i, k - 1 - j)] as f32);
        let values = (0..rank).map(|j| values.column_vector()[k - 1 - j].max(0.0).sqrt() as f32);
        let values = values.collect();
        let vectors = MatRef::from_column_major_slice(&self.vectors, n, k);
        let rows = parallel_chunks(n, ROWS, |range| {
            let mut rows = vec![0f32; range.len() * rank];
            let own = vectors.subrows(range.start, range.len());
            let to = MatMut::from_row_major_slice_mut(&mut rows, range.len(), rank);
            matmul(to, Accum::Replace, own, turn.as_ref(), 1.0, Par::Seq);
            rows
        });
        Ok(TruncatedSvd {
            values,
            right: rows.concat(),
        })
    }
}

/// Vectors of `length` one after the other to rows across them.
fn transpose(from: &[f32], length: usize, to: &mut [f32]) {
    let width = from.len() / length.max(1);
    for (column, vector) in from.chunks_exact(length).enumerate() {
        for (row, x) in vector.iter().enumerate() {
            to[row * width + column] = *x;
        }
    }
}

/// out ← out + matrix × dense, both row-major and `width` wide.
fn product(matrix: &Csr, dense: &[f32], width: usize, out: &mut [f32]) {
    parallel_rows_with(out, width, 64, Vec::<usize>::new, |starts, row, out| {
        let (columns, values) = matrix.row(row);
        starts.clear();
        starts.extend(columns.iter().map(|column| *column as usize * width));
        add_rows(dense, starts, values, out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on_threads;

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
        let largest = expected[0].sqrt();
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
