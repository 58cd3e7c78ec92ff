//! C ← C + αAB for large matrices, in blocks that stay in the caches.
//!
//! Goto and van de Geijn (2008), "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3): parts of A and B are copied into slivers as the innermost
//! loop reads them, and 48 × 8 numbers of C are summed in registers (by hand for AVX-512, `simd`). B is copied once for all; C is cut into parts that go to the threads
//! of the current pool, each with the part of A that it needs. An element's terms are added in an order that depends on their number only, so the result does not
//! depend on the number of threads. Without AVX-512 the products are faer's.

#[cfg(target_arch = "x86_64")]
use crate::simd;
use faer::linalg::matmul::matmul;
use faer::reborrow::ReborrowMut;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use std::cell::Cell;

/// Rows and columns of the part of C that stays in registers.
pub(crate) const TALL: usize = 48;
pub(crate) const WIDE: usize = 8;
/// Columns of A, and rows of B, taken at a time.
const DEEP: usize = 256;
/// Rows of B copied at a time.
const FAR: usize = 4 * DEEP;
/// Columns of B that one thread copies at a time.
const COPIED: usize = 256;
/// Rows of A copied at a time: with `DEEP` columns a quarter of the second-level cache.
const ROWS: usize = 10 * TALL;
/// Rows and columns of C that go to one thread, at most and at least.
const TASK_MAX: (usize, usize) = (ROWS, 1024);
const TASK_MIN: (usize, usize) = (4 * TALL, 256);

thread_local! {
    /// Room for slivers of A and of B: the system takes as long to give new room as copying takes.
    static OF_A: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static OF_B: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Slivers of B.
#[derive(Clone, Copy)]
struct Copied<'a> {
    slivers: &'a [f32],
    /// Rows of B.
    depth: usize,
    /// Columns of the whole of B, the missing ones of the last sliver included.
    columns: usize,
    /// The first column that is meant.
    first: usize,
}

/// C ← C + αAB; C's columns are contiguous. With `lower` nothing is promised of what is above C's diagonal.
pub(crate) fn add_product(
    mut c: MatMut<'_, f32>,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    alpha: f32,
    lower: bool,
) {
    assert!(
        a.nrows() == c.nrows() && b.ncols() == c.ncols() && a.ncols() == b.nrows(),
        "shapes"
    );
    let below = if lower { Some(0) } else { None };
    if !by_hand(&c) {
        cut(c, a, (b, None), alpha, below);
        return;
    }
    let mut room = OF_B.take();
    for from in (0..a.ncols()).step_by(FAR) {
        let depth = FAR.min(a.ncols() - from);
        let (a, b) = (a.subcols(from, depth), b.subrows(from, depth));
        let copied = copy(b, &mut room);
        cut(c.rb_mut(), a, (b, Some(copied)), alpha, below);
    }
    OF_B.set(room);
}

/// Whether `simd` can be used.
fn by_hand(c: &MatMut<'_, f32>) -> bool {
    let available = {
        #[cfg(target_arch = "x86_64")]
        {
            simd::available()
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            false
        }
    };
    available && c.row_stride() == 1
}

/// Copies B. In parallel.
fn copy<'a>(b: MatRef<'_, f32>, into: &'a mut Vec<f32>) -> Copied<'a> {
    let (depth, columns) = (b.nrows(), b.ncols().next_multiple_of(WIDE));
    into.resize(columns * depth, 0.0);
    for (from, into) in (0..depth).step_by(DEEP).zip(into.chunks_mut(DEEP * columns)) {
        let deep = DEEP.min(depth - from);
        let b = b.subrows(from, deep);
        into.par_chunks_mut(COPIED * deep)
            .enumerate()
            .for_each(|(at, into)| {
                let width = COPIED.min(b.ncols() - at * COPIED);
                copy_wide(b.subcols(at * COPIED, width), into);
            });
    }
    Copied {
        slivers: into,
        depth,
        columns,
        first: 0,
    }
}

/// Where to cut so many rows or columns of which at most `task` go together.
fn half(of: usize, task: usize) -> usize {
    of.div_ceil(task) / 2 * task
}

/// `below`: how far the first row of C is below its first column, if only what is on and below the diagonal is wanted.
fn cut(
    c: MatMut<'_, f32>,
    a: MatRef<'_, f32>,
    b: (MatRef<'_, f32>, Option<Copied<'_>>),
    alpha: f32,
    below: Option<isize>,
) {
    let part = |of: usize, least: usize, most: usize, unit: usize| {
        (of / 4).clamp(least, most).next_multiple_of(unit)
    };
    let task = (
        part(c.nrows(), TASK_MIN.0, TASK_MAX.0, TALL),
        part(c.ncols(), TASK_MIN.1, TASK_MAX.1, WIDE),
    );
    cut_by(task, c, a, b, alpha, below);
}

fn cut_by(
    task: (usize, usize),
    c: MatMut<'_, f32>,
    a: MatRef<'_, f32>,
    (b, copied): (MatRef<'_, f32>, Option<Copied<'_>>),
    alpha: f32,
    below: Option<isize>,
) {
    let (m, n) = (c.nrows(), c.ncols());
    if m == 0 || n == 0 || below.is_some_and(|below| below + (m as isize) <= 0) {
        return;
    }
    if m > task.0 && m * task.1 >= n * task.0 {
        let half = half(m, task.0);
        let (top, bottom) = c.split_at_row_mut(half);
        let (a_top, a_bottom) = a.split_at_row(half);
        let lower = below.map(|below| below + half as isize);
        rayon::join(
            || cut_by(task, top, a_top, (b, copied), alpha, below),
            || cut_by(task, bottom, a_bottom, (b, copied), alpha, lower),
        );
    } else if n > task.1 {
        let half = half(n, task.1);
        let (left, right) = c.split_at_col_mut(half);
        let (b_left, b_right) = b.split_at_col(half);
        let farther = below.map(|below| below - half as isize);
        let copied_right = copied.map(|copied| Copied {
            first: copied.first + half,
            ..copied
        });
        rayon::join(
            || cut_by(task, left, a, (b_left, copied), alpha, below),
            || cut_by(task, right, a, (b_right, copied_right), alpha, farther),
        );
    } else {
        match copied {
            #[cfg(target_arch = "x86_64")]
            Some(copied) => one(c, a, copied, alpha, below),
            _ => matmul(c, Accum::Add, a, b, alpha, Par::Seq),
        }
    }
}

/// On the thread at hand.
#[cfg(target_arch = "x86_64")]
fn one(mut c: MatMut<'_, f32>, a: MatRef<'_, f32>, b: Copied<'_>, alpha: f32, below: Option<isize>) {
    let mut room = OF_A.take();
    for (from, b_deep) in (0..b.depth).step_by(DEEP).zip(b.slivers.chunks(DEEP * b.columns)) {
        let deep = DEEP.min(b.depth - from);
        let b_deep = &b_deep[b.first * deep..];
        for row in (0..c.nrows()).step_by(ROWS) {
            let rows = ROWS.min(c.nrows() - row);
            let below = below.map(|below| below + row as isize);
            if below.is_some_and(|below| below + (rows as isize) <= 0) {
                continue;
            }
            copy_tall(a.submatrix(row, from, rows, deep), &mut room);
            let part = c.rb_mut().subrows_mut(row, rows);
            all_tiles(part, (&room, b_deep), deep, alpha, below);
        }
    }
    OF_A.set(room);
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
fn copy_wide(b: MatRef<'_, f32>, into: &mut [f32]) {
    let (deep, columns) = (b.nrows(), b.ncols());
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
            (1000, 261, 1030),
            (50, 2100, 1100),
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
