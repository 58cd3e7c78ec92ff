//! Products of dense row-major matrices, on the thread that asks.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// out ← out + αAB with A `rows × inner` and B `inner × columns`.
///
/// # Panics
/// If lengths do not fit.
pub fn multiply_add(
    alpha: f32,
    a: &[f32],
    b: &[f32],
    (rows, inner, columns): (usize, usize, usize),
    out: &mut [f32],
) {
    let a = MatRef::from_row_major_slice(a, rows, inner);
    let b = MatRef::from_row_major_slice(b, inner, columns);
    let out = MatMut::from_row_major_slice_mut(out, rows, columns);
    matmul(out, Accum::Add, a, b, alpha, Par::Seq);
}

/// out ← AᵀB with A `rows × inner` and B `rows × columns`; out is `inner × columns`.
///
/// # Panics
/// If lengths do not fit.
pub fn multiply_transposed(
    a: &[f32],
    b: &[f32],
    (rows, inner, columns): (usize, usize, usize),
    out: &mut [f32],
) {
    let a = MatRef::from_row_major_slice(a, rows, inner);
    let b = MatRef::from_row_major_slice(b, rows, columns);
    let out = MatMut::from_row_major_slice_mut(out, inner, columns);
    matmul(out, Accum::Replace, a.transpose(), b, 1.0, Par::Seq);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_by_hand() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut out = [1.0; 4];
        multiply_add(2.0, &a, &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], (2, 3, 2), &mut out);
        assert_eq!(out, [9.0, 11.0, 21.0, 23.0]);
        let mut out = [0.0; 3];
        multiply_transposed(&a, &[1.0, -1.0], (2, 3, 1), &mut out);
        assert_eq!(out, [-3.0, -3.0, -3.0]);
    }
}
