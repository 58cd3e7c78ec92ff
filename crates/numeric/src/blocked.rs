//! C ← C + αAB for large matrices, in blocks that stay in the caches.
//!
//! Goto and van de Geijn (2008), "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3): parts of A and B are copied into slivers as the innermost
//! loop reads them, and 48 × 8 numbers of C are summed in registers (by hand for AVX-512, `simd`). C is cut in a way that depends on its size only and the parts go to the threads
//! of the current pool, so the result does not depend on their number. Without AVX-512 the products are faer's.

#[cfg(target_arch = "x86_64")]
use crate::simd;
use faer::linalg::matmul::matmul;
use faer::reborrow::ReborrowMut;
use faer::{Accum, MatMut, MatRef, Par};
use std::cell::RefCell;

thread_local! {
    /// Copied parts of A and of B: making room for them anew costs as much as copying.
    static SLIVERS: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Rows and columns of the part of C that stays in registers.
pub(crate) const TALL: usize = 48;
pub(crate) const WIDE: usize = 8;
/// Columns of A, and rows of B, taken at a time.
const DEEP: usize = 256;
/// Rows of A copied at a time: with `DEEP` columns a quarter of the second-level cache.
const ROWS: usize = 10 * TALL;
/// Rows and columns of C that go to one thread, at most and at least.
const TASK_MAX: (usize, usize) = (4 * ROWS, 1024);
const TASK_MIN: (usize, usize) = (5 * TALL, 256);

/// C ← C + αAB; C's columns are contiguous. With `lower` nothing is promised of what is above C's diagonal.
pub(crate) fn add_product(
    c: MatMut<'_, f32>,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    alpha: f32,
    lower: bool,
) {
    assert!(
        a.nrows() == c.nrows() && b.ncols() == c.ncols() && a.ncols() == b.nrows(),
        "shapes"
    );
    let task = (
        (c.nrows() / 2)
            .clamp(TASK_MIN.0, TASK_MAX.0)
            .next_multiple_of(TALL),
        (c.ncols() / 2)
            .clamp(TASK_MIN.1, TASK_MAX.1)
            .next_multiple_of(WIDE),
    );
    let below = if lower { Some(0) } else { None };
    cut(c, a, b, alpha, task, below);
}

/// `below`: how far the first row of C is below its first column, if only what is on and below the diagonal is wanted.
fn cut(
    c: MatMut<'_, f32>,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    alpha: f32,
    task: (usize, usize),
    below: Option<isize>,
) {
    let (m, n) = (c.nrows(), c.ncols());
    if m == 0 || n == 0 || below.is_some_and(|below| below + (m as isize) <= 0) {
        return;
    }
    if m > task.0 && m * task.1 >= n * task.0 {
        let half = (m / 2).next_multiple_of(TALL);
        let (top, bottom) = c.split_at_row_mut(half);
        let (a_top, a_bottom) = a.split_at_row(half);
        rayon::join(
            || cut(top, a_top, b, alpha, task, below),
            || {
                cut(
                    bottom,
                    a_bottom,
                    b,
                    alpha,
                    task,
                    below.map(|below| below + half as isize),
                )
            },
        );
    } else if n > task.1 {
        let half = (n / 2).next_multiple_of(WIDE);
        let (left, right) = c.split_at_col_mut(half);
        let (b_left, b_right) = b.split_at_col(half);
        rayon::join(
            || cut(left, a, b_left, alpha, task, below),
            || {
                cut(
                    right,
                    a,
                    b_right,
                    alpha,
                    task,
                    below.map(|below| below - half as isize),
                )
            },
        );
    } else {
        one(c, a, b, alpha, below);
    }
}

/// On the thread at hand.
fn one(mut c: MatMut<'_, f32>, a: MatRef<'_, f32>, b: MatRef<'_, f32>, alpha: f32, below: Option<isize>) {
    #[cfg(target_arch = "x86_64")]
    if simd::available() && c.row_stride() == 1 {
        SLIVERS.with_borrow_mut(|slivers| {
            for from in (0..a.ncols()).step_by(DEEP) {
                let deep = DEEP.min(a.ncols() - from);
                copy_wide(b.subrows(from, deep), &mut slivers.1);
                for row in (0..c.nrows()).step_by(ROWS) {
                    let rows = ROWS.min(c.nrows() - row);
                    let below = below.map(|below| below + row as isize);
                    if below.is_some_and(|below| below + (rows as isize) <= 0) {
                        continue;
                    }
                    copy_tall(a.submatrix(row, from, rows, deep), &mut slivers.0);
                    let part = c.rb_mut().subrows_mut(row, rows);
                    all_tiles(part, (&slivers.0, &slivers.1), deep, alpha, below);
                }
            }
        });
        return;
    }
    let _ = below;
    matmul(c.rb_mut(), Accum::Add, a, b, alpha, Par::Seq);
}

#[cfg(target_arch = "x86_64")]
fn all_tiles(
    mut c: MatMut<'_, f32>,
    (a, b): (&[f32], &[f32]),
    deep: usize,
    alpha: f32,
    below: Option<isize>,
) {
    let (rows, columns) = (c.nrows(), c.ncols());
    for (column, b) in (0..columns).step_by(WIDE).zip(b.chunks_exact(WIDE * deep)) {
        for (row, a) in (0..rows).step_by(TALL).zip(a.chunks_exact(TALL * deep)) {
            if below.is_some_and(|below| below + ((row + TALL) as isize) <= column as isize) {
                continue;
            }
            let height = TALL.min(rows - row);
            let tile = c
                .rb_mut()
                .submatrix_mut(row, column, height, WIDE.min(columns - column));
            let mut own: [&mut [f32]; WIDE] = Default::default();
            let by_column = tile
                .try_as_col_major_mut()
                .expect("contiguous columns")
                .col_iter_mut();
            own.iter_mut()
                .zip(by_column)
                .for_each(|(own, column)| *own = column.as_slice_mut());
            // SAFETY: the machine has the features, which the caller has asked.
            unsafe { simd::add_tile(a, b, alpha, own) };
        }
    }
}

/// Copies A, a column of 48 rows after the other; what is missing of the last 48 is zero.
fn copy_tall(a: MatRef<'_, f32>, into: &mut Vec<f32>) {
    let (rows, deep) = (a.nrows(), a.ncols());
    into.resize(rows.next_multiple_of(TALL) * deep, 0.0);
    for (start, sliver) in (0..rows).step_by(TALL).zip(into.chunks_exact_mut(TALL * deep)) {
        let height = TALL.min(rows - start);
        if height < TALL {
            sliver.fill(0.0);
        }
        interleave::<TALL>(a.subrows(start, height).transpose(), sliver);
    }
}

/// Copies B, a row of 8 columns after the other.
fn copy_wide(b: MatRef<'_, f32>, into: &mut Vec<f32>) {
    let (deep, columns) = (b.nrows(), b.ncols());
    into.resize(columns.next_multiple_of(WIDE) * deep, 0.0);
    for (start, sliver) in (0..columns).step_by(WIDE).zip(into.chunks_exact_mut(WIDE * deep)) {
        let width = WIDE.min(columns - start);
        if width < WIDE {
            sliver.fill(0.0);
        }
        interleave::<WIDE>(b.subcols(start, width), sliver);
    }
}

/// Copies the rows of a matrix of up to `W` columns one after the other, `W` apart.
fn interleave<const W: usize>(of: MatRef<'_, f32>, into: &mut [f32]) {
    const RUN: usize = 16;
    let (into, _) = into.as_chunks_mut::<W>();
    if let Some(of) = of.try_as_row_major() {
        for (row, into) in of.row_iter().zip(into) {
            let row = row.as_slice();
            match <&[f32; W]>::try_from(row) {
                Ok(row) => *into = *row,
                Err(_) => into[..row.len()].copy_from_slice(row),
            }
        }
        return;
    }
    let Some(by_column) = of.try_as_col_major() else {
        for (i, into) in into.iter_mut().enumerate() {
            (0..of.ncols()).for_each(|j| into[j] = of[(i, j)]);
        }
        return;
    };
    // Runs of rows, so that what is written stays in the first-level cache.
    for (start, into) in (0..of.nrows()).step_by(RUN).zip(into.chunks_mut(RUN)) {
        for (j, column) in by_column.col_iter().enumerate() {
            let column = &column.as_slice()[start..start + into.len()];
            for (row, value) in into.iter_mut().zip(column) {
                row[j] = *value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SeededStream, on_threads};
    use faer::Mat;

    fn drawn(m: usize, n: usize, seed: u64) -> Mat<f32> {
        let mut stream = SeededStream::new(seed, 3);
        Mat::from_fn(m, n, |_, _| stream.normal() as f32)
    }

    #[test]
    fn the_same_as_plain_sums_for_any_shape_and_order() {
        for (m, n, k) in [
            (1, 1, 1),
            (48, 8, 256),
            (49, 9, 257),
            (700, 300, 70),
            (530, 1100, 300),
            (3, 900, 5),
        ] {
            let (a, b, c) = (drawn(m, k, 1), drawn(k, n, 2), drawn(m, n, 3));
            let (a_turned, b_turned) = (a.transpose().to_owned(), b.transpose().to_owned());
            let mut expected = Mat::<f64>::from_fn(m, n, |i, j| f64::from(c[(i, j)]));
            let wide = |x: &Mat<f32>| Mat::<f64>::from_fn(x.nrows(), x.ncols(), |i, j| f64::from(x[(i, j)]));
            matmul(
                expected.as_mut(),
                Accum::Add,
                wide(&a).as_ref(),
                wide(&b).as_ref(),
                -2.0,
                Par::Seq,
            );
            let mut first: Option<Mat<f32>> = None;
            for (a, b) in [
                (a.as_ref(), b.as_ref()),
                (a_turned.transpose(), b.as_ref()),
                (a.as_ref(), b_turned.transpose()),
                (a_turned.transpose(), b_turned.transpose()),
            ] {
                for threads in [1, 3] {
                    let mut own = c.clone();
                    on_threads(threads, || add_product(own.as_mut(), a, b, -2.0, false));
                    let near = |i: usize, j: usize| (f64::from(own[(i, j)]) - expected[(i, j)]).abs() < 1e-3;
                    assert!((0..m).all(|i| (0..n).all(|j| near(i, j))), "{m} {n} {k}");
                    let first = first.get_or_insert_with(|| own.clone());
                    assert!(*first == own, "{m} {n} {k}: order or threads");
                }
            }
        }
    }

    #[test]
    fn below_the_diagonal_only() {
        for n in [5, 100, 700] {
            let (a, c) = (drawn(n, 90, 1), drawn(n, n, 2));
            let (mut whole, mut lower) = (c.clone(), c.clone());
            add_product(whole.as_mut(), a.as_ref(), a.transpose(), 1.0, false);
            add_product(lower.as_mut(), a.as_ref(), a.transpose(), 1.0, true);
            assert!(
                (0..n).all(|j| (j..n).all(|i| whole[(i, j)] == lower[(i, j)])),
                "{n}"
            );
        }
    }
}
