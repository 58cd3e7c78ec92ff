//! Inverse of a large symmetric positive definite matrix, in place.
//!
//! A = LLᵀ, then L⁻¹ over L, then (L⁻¹)ᵀL⁻¹ over that (Golub and Van Loan, *Matrix Computations*, §4.2; LAPACK's
//! potrf, trtri, lauum): n³ multiplications and one n × n matrix in memory, with strips of 1,024
//! columns beside it, one of its own and one that `blocked` copies. The halving that keeps all in place is here, the
//! products are of `blocked`, and small triangles are left to faer.

use crate::NotPositiveDefinite;
use crate::blocked::add_product;
use faer::linalg::cholesky::llt::factor as llt;
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Order up to which triangles are treated element by element.
const BASE: usize = 64;
/// Order up to which faer takes triangles apart, and solves and multiplies with them, on one thread.
const FACTORED: usize = 256;
const SOLVED: usize = 128;
/// Rows that are solved for at a time.
const RUN: usize = 256;
/// Columns that are copied at a time.
const STRIP: usize = 1024;
/// Rows that are mirrored at a time, and of one tile of them.
const MIRROR: usize = 256;
const TILE: usize = 32;

/// Replaces the row-major `n × n` matrix by its inverse. Of each row i only the columns from i on are read; all are
/// written. On the threads of the current pool; the result does not depend on their number.
///
/// # Errors
/// [`NotPositiveDefinite`]; the matrix is then spoilt.
///
/// # Panics
/// If `matrix` is not `n · n` long.
pub fn invert_symmetric(matrix: &mut [f32], n: usize) -> Result<(), NotPositiveDefinite> {
    assert_eq!(matrix.len(), n * n, "matrix length");
    if n == 0 {
        return Ok(());
    }
    // Seen by columns, the upper triangle of the rows is the lower one.
    let mut a = MatMut::from_column_major_slice_mut(matrix, n, n);
    factor(a.rb_mut(), 0)?;
    invert_lower(a.rb_mut());
    multiply_transposed(a);
    mirror(matrix, n);
    Ok(())
}

/// Where a triangle is cut in two.
fn half(n: usize) -> usize {
    (n / 2).next_multiple_of(BASE).min(n - 1)
}

/// A ← L for the lower triangle.
fn factor(mut a: MatMut<'_, f32>, first: usize) -> Result<(), NotPositiveDefinite> {
    let n = a.nrows();
    if n <= FACTORED {
        let scratch = llt::cholesky_in_place_scratch::<f32>(n, Par::Seq, Default::default());
        let mut memory = faer::dyn_stack::MemBuffer::new(scratch);
        let stack = faer::dyn_stack::MemStack::new(&mut memory);
        let done = llt::cholesky_in_place(
            a.rb_mut(),
            Default::default(),
            Par::Seq,
            stack,
            Default::default(),
        );
        return match done {
            Ok(_) => match (0..n).find(|i| !a[(*i, *i)].is_finite()) {
                Some(i) => Err(NotPositiveDefinite { pivot: first + i }),
                None => Ok(()),
            },
            Err(llt::LltError::NonPositivePivot { index }) => {
                Err(NotPositiveDefinite { pivot: first + index })
            }
        };
    }
    let h = half(n);
    let (mut top, _, mut below, mut bottom) = a.split_at_mut(h, h);
    factor(top.rb_mut(), first)?;
    solve_beside_transposed(top.rb(), below.rb_mut());
    add_product(bottom.rb_mut(), below.rb(), below.rb().transpose(), -1.0, true);
    factor(bottom, first + h)
}

/// X ← XL⁻ᵀ.
fn solve_beside_transposed(l: MatRef<'_, f32>, x: MatMut<'_, f32>) {
    let n = l.nrows();
    if n <= SOLVED {
        in_runs(x, |run| {
            solve_lower_triangular_in_place(l, run.transpose_mut(), Par::Seq)
        });
        return;
    }
    let h = half(n);
    let (top, _, below, bottom) = l.split_at(h, h);
    let (mut left, mut right) = x.split_at_col_mut(h);
    solve_beside_transposed(top, left.rb_mut());
    add_product(right.rb_mut(), left.rb(), below.transpose(), -1.0, false);
    solve_beside_transposed(bottom, right);
}

/// X ← XL⁻¹.
fn solve_beside(l: MatRef<'_, f32>, x: MatMut<'_, f32>) {
    let n = l.nrows();
    if n <= SOLVED {
        in_runs(x, |run| {
            solve_upper_triangular_in_place(l.transpose(), run.transpose_mut(), Par::Seq)
        });
        return;
    }
    let h = half(n);
    let (top, _, below, bottom) = l.split_at(h, h);
    let (mut left, mut right) = x.split_at_col_mut(h);
    solve_beside(bottom, right.rb_mut());
    add_product(left.rb_mut(), right.rb(), below, -1.0, false);
    solve_beside(top, left);
}

/// X ← L⁻¹X.
fn solve_below(l: MatRef<'_, f32>, x: MatMut<'_, f32>) {
    let n = l.nrows();
    if n <= SOLVED {
        in_runs(x.transpose_mut(), |run| {
            solve_lower_triangular_in_place(l, run.transpose_mut(), Par::Seq)
        });
        return;
    }
    let h = half(n);
    let (top, _, below, bottom) = l.split_at(h, h);
    let (mut above, mut under) = x.split_at_row_mut(h);
    solve_below(top, above.rb_mut());
    add_product(under.rb_mut(), below, above.rb(), -1.0, false);
    solve_below(bottom, under);
}

/// Does the same to runs of rows, which do not depend on each other. In parallel.
fn in_runs(x: MatMut<'_, f32>, work: impl Fn(MatMut<'_, f32>) + Sync + Send) {
    let n = x.nrows();
    x.par_row_chunks_mut(RUN.min(n.max(1))).for_each(work);
}

/// L ← L⁻¹ for the lower triangle.
fn invert_lower(mut l: MatMut<'_, f32>) {
    let n = l.nrows();
    if n <= BASE {
        for j in 0..n {
            l[(j, j)] = 1.0 / l[(j, j)];
            for i in j + 1..n {
                let sum: f32 = (j..i).map(|k| l[(i, k)] * l[(k, j)]).sum();
                l[(i, j)] = -sum / l[(i, i)];
            }
        }
        return;
    }
    let h = half(n);
    let (top, _, mut below, bottom) = l.split_at_mut(h, h);
    solve_below(bottom.rb(), below.rb_mut());
    solve_beside(top.rb(), below.rb_mut());
    for j in 0..below.ncols() {
        below.rb_mut().col_mut(j).iter_mut().for_each(|x| *x = -*x);
    }
    rayon::join(|| invert_lower(top), || invert_lower(bottom));
}

/// The lower triangle of MᵀM over the lower triangular M.
fn multiply_transposed(mut m: MatMut<'_, f32>) {
    let n = m.nrows();
    if n <= BASE {
        for j in 0..n {
            for i in j..n {
                m[(i, j)] = (i..n).map(|k| m[(k, i)] * m[(k, j)]).sum();
            }
        }
        return;
    }
    let h = half(n);
    let (mut top, _, mut below, bottom) = m.rb_mut().split_at_mut(h, h);
    multiply_transposed(top.rb_mut());
    add_product(top, below.rb().transpose(), below.rb(), 1.0, true);
    for start in (0..h).step_by(STRIP) {
        let width = STRIP.min(h - start);
        let strip = below.rb_mut().subcols_mut(start, width);
        let copy: Mat<f32> = strip.rb().to_owned();
        multiply_beside(bottom.rb(), copy.as_ref(), strip);
    }
    multiply_transposed(bottom);
}

/// out ← MᵀX for the lower triangular M.
fn multiply_beside(m: MatRef<'_, f32>, x: MatRef<'_, f32>, mut out: MatMut<'_, f32>) {
    let n = m.nrows();
    if n <= SOLVED {
        let all = BlockStructure::Rectangular;
        let turned = (m.transpose(), BlockStructure::TriangularUpper);
        matmul(
            out,
            all,
            Accum::Replace,
            turned.0,
            turned.1,
            x,
            all,
            1.0,
            Par::Seq,
        );
        return;
    }
    let h = half(n);
    let (top, _, below, bottom) = m.split_at(h, h);
    let (x_above, x_under) = x.split_at_row(h);
    let (mut above, under) = out.rb_mut().split_at_row_mut(h);
    rayon::join(
        || {
            multiply_beside(top, x_above, above.rb_mut());
            add_product(above.rb_mut(), below.transpose(), x_under, 1.0, false);
        },
        || multiply_beside(bottom, x_under, under),
    );
}

/// Copies the upper triangle of the row-major matrix to the lower one, by tiles: both sides of a tile stay in the first-level cache.
fn mirror(matrix: &mut [f32], n: usize) {
    for start in (0..n).step_by(MIRROR) {
        let end = (start + MIRROR).min(n);
        let (above, from) = matrix.split_at_mut(start * n);
        let (rows, _) = from.split_at_mut((end - start) * n);
        rows.par_chunks_mut(TILE * n).enumerate().for_each(|(at, rows)| {
            let column = start + at * TILE;
            let width = rows.len() / n;
            let mut tile = [[0f32; TILE]; TILE];
            for j in (0..start).step_by(TILE) {
                let height = TILE.min(start - j);
                for (k, above) in above[j * n..(j + height) * n].chunks_exact(n).enumerate() {
                    let own = tile.iter_mut().zip(&above[column..column + width]);
                    own.for_each(|(tile, value)| tile[k] = *value);
                }
                for (row, tile) in rows.chunks_exact_mut(n).zip(&tile) {
                    row[j..j + height].copy_from_slice(&tile[..height]);
                }
            }
        });
        for i in 0..end - start {
            for j in 0..i {
                rows[i * n + start + j] = rows[j * n + start + i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SeededStream, on_threads};

    fn made(n: usize) -> Vec<f32> {
        let mut stream = SeededStream::new(n as u64, 9);
        let rows: Vec<f32> = (0..n * n).map(|_| stream.normal() as f32).collect();
        let mut a = crate::gram(&rows, n);
        (0..n).for_each(|i| a[i * n + i] += n as f32);
        a
    }

    #[test]
    fn times_the_matrix_is_one_at_any_number_of_threads() {
        for n in [1, 2, 63, 64, 65, 200, 333, 700] {
            let a = made(n);
            let inverse = |threads: usize| {
                let mut b = a.clone();
                // What lies below the diagonal is not looked at.
                (0..n).for_each(|i| b[i * n..i * n + i].fill(f32::NAN));
                on_threads(threads, || invert_symmetric(&mut b, n)).unwrap();
                b
            };
            let b = inverse(2);
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert!(
                bits(&b) == bits(&inverse(1)) && bits(&b) == bits(&inverse(8)),
                "{n}: threads"
            );
            for i in (0..n).step_by(n / 17 + 1) {
                for j in (0..n).step_by(n / 19 + 1) {
                    let product: f64 = (0..n)
                        .map(|k| f64::from(a[i * n + k]) * f64::from(b[k * n + j]))
                        .sum();
                    let one = f64::from(u8::from(i == j));
                    assert!((product - one).abs() < 2e-4, "{n} {i} {j}: {product}");
                    assert_eq!(b[i * n + j].to_bits(), b[j * n + i].to_bits());
                }
            }
        }
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        let mut a = made(100);
        a[40 * 100 + 40] = -5.0;
        assert!(invert_symmetric(&mut a, 100).is_err());
        assert!(invert_symmetric(&mut [f32::NAN], 1).is_err());
        assert!(invert_symmetric(&mut [], 0).is_ok());
    }
}
