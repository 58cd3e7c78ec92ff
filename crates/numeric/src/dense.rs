//! Inverse of a large symmetric positive definite matrix, in place.
//!
//! A = LLᵀ, then L⁻¹ over L, then (L⁻¹)ᵀL⁻¹ over that (Golub and Van Loan, *Matrix Computations*, §4.2; LAPACK's
//! potrf, trtri, lauum): n³ multiplications and one n × n matrix in memory, with a strip of 256 columns beside it. The
//! factorisation, the solves and the products are faer's; the halving that keeps them in place is here.

use crate::NotPositiveDefinite;
use faer::linalg::cholesky::llt::factor as llt;
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Accum, Mat, MatMut, Par};
use rayon::prelude::*;

/// Order up to which triangles are treated element by element.
const BASE: usize = 64;
/// Columns that are copied at a time.
const STRIP: usize = 256;
/// Rows that are mirrored at a time.
const MIRROR: usize = 256;

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
    let par = Par::rayon(0);
    // Seen by columns, the upper triangle of the rows is the lower one.
    let mut a = MatMut::from_column_major_slice_mut(matrix, n, n);
    let scratch = llt::cholesky_in_place_scratch::<f32>(n, par, Default::default());
    let mut memory = faer::dyn_stack::MemBuffer::new(scratch);
    let stack = faer::dyn_stack::MemStack::new(&mut memory);
    llt::cholesky_in_place(a.rb_mut(), Default::default(), par, stack, Default::default())
        .map_err(|llt::LltError::NonPositivePivot { index }| NotPositiveDefinite { pivot: index })?;
    if let Some(pivot) = (0..n).find(|i| !a[(*i, *i)].is_finite()) {
        return Err(NotPositiveDefinite { pivot });
    }
    invert_lower(a.rb_mut(), par);
    multiply_transposed(a, par);
    mirror(matrix, n);
    Ok(())
}

/// Where a triangle is cut in two.
fn half(n: usize) -> usize {
    (n / 2).next_multiple_of(BASE).min(n - 1)
}

/// L ← L⁻¹ for the lower triangle.
fn invert_lower(mut l: MatMut<'_, f32>, par: Par) {
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
    let (mut top, _, mut below, mut bottom) = l.split_at_mut(h, h);
    solve_lower_triangular_in_place(bottom.rb(), below.rb_mut(), par);
    solve_upper_triangular_in_place(top.rb().transpose(), below.rb_mut().transpose_mut(), par);
    for j in 0..below.ncols() {
        below.rb_mut().col_mut(j).iter_mut().for_each(|x| *x = -*x);
    }
    invert_lower(top.rb_mut(), par);
    invert_lower(bottom.rb_mut(), par);
}

/// The lower triangle of MᵀM over the lower triangular M.
fn multiply_transposed(mut m: MatMut<'_, f32>, par: Par) {
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
    multiply_transposed(top.rb_mut(), par);
    let all = BlockStructure::Rectangular;
    matmul(
        top,
        BlockStructure::TriangularLower,
        Accum::Add,
        below.rb().transpose(),
        all,
        below.rb(),
        all,
        1.0,
        par,
    );
    for start in (0..h).step_by(STRIP) {
        let width = STRIP.min(h - start);
        let mut strip = below.rb_mut().subcols_mut(start, width);
        let copy: Mat<f32> = strip.rb().to_owned();
        matmul(
            strip.rb_mut(),
            all,
            Accum::Replace,
            bottom.rb().transpose(),
            BlockStructure::TriangularUpper,
            copy.as_ref(),
            all,
            1.0,
            par,
        );
    }
    multiply_transposed(bottom, par);
}

/// Copies the upper triangle of the row-major matrix to the lower one.
fn mirror(matrix: &mut [f32], n: usize) {
    for start in (0..n).step_by(MIRROR) {
        let end = (start + MIRROR).min(n);
        let (above, from) = matrix.split_at_mut(start * n);
        let (rows, _) = from.split_at_mut((end - start) * n);
        rows.par_chunks_exact_mut(n).enumerate().for_each(|(at, row)| {
            let column = start + at;
            for (j, value) in row[..start].iter_mut().enumerate() {
                *value = above[j * n + column];
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
