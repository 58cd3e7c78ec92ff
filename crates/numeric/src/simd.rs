//! The two loops that training and scoring are made of, by hand for AVX-512: tiles of the result stay in registers
//! while many rows are added, which the compiler does not find from plain loops.
//!
//! Every sum is taken in the order of the plain bodies in `kernels`, with the same fused operations, so results agree
//! with those to the last bit. Rows are named by where they start in a table, so that nothing is copied together.

use crate::Csr;
use crate::panel::{PANEL, PanelTerms, add_up};
use std::arch::x86_64::{
    __m512, __mmask16, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps, _mm512_add_ps, _mm512_castps512_ps256,
    _mm512_extractf32x8_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_set1_ps, _mm512_setzero_ps,
};

/// Rows added per pass: with 512 bytes each they fill the first-level cache.
const PASS: usize = 64;
/// Rows of a tile.
const TALL: usize = 8;
const LANES: usize = 16;

/// True if the machine has what the functions here are compiled for.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq")
}

/// Where a square matrix lies in memory: row i starts at `start + i * stride` and `d` columns are in use.
#[derive(Clone, Copy)]
pub(crate) struct Square {
    pub(crate) start: usize,
    pub(crate) stride: usize,
    pub(crate) d: usize,
}

/// Adds Σₖ wₖ rₖrₖᵀ to the lower triangle, rₖ being the `d` numbers of `table` from `starts[k]`; the rest of the tiles
/// on the diagonal is overwritten.
///
/// # Panics
/// If a row or the matrix is out of bounds.
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn syrk(a: &mut [f32], at: Square, table: &[f32], starts: &[usize], weights: &[f32]) {
    let d = at.d;
    if d == 0 {
        return;
    }
    assert!(at.start + (d - 1) * at.stride + d <= a.len(), "matrix bounds");
    assert!(starts.len() == weights.len(), "a weight per row");
    assert!(d <= table.len() || starts.is_empty(), "row bounds");
    assert!(starts.iter().all(|s| *s <= table.len() - d), "row bounds");
    for (starts, weights) in starts.chunks(PASS).zip(weights.chunks(PASS)) {
        let mut i = 0;
        while i + TALL <= d {
            band::<TALL>(a, at, table, (starts, weights), i);
            i += TALL;
        }
        while i < d {
            band::<1>(a, at, table, (starts, weights), i);
            i += 1;
        }
    }
}

/// Rows i … i + R of the result, from the first column to the diagonal.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn band<const R: usize>(
    a: &mut [f32],
    at: Square,
    table: &[f32],
    (starts, weights): (&[usize], &[f32]),
    i: usize,
) {
    let mut factors = [[0f32; R]; PASS];
    for ((factors, start), weight) in factors.iter_mut().zip(starts).zip(weights) {
        let own = &table[start + i..start + i + R];
        factors.iter_mut().zip(own).for_each(|(f, x)| *f = weight * x);
    }
    let factors = &factors[..starts.len()];
    let end = (i + R).next_multiple_of(LANES).min(at.d);
    let mut j = 0;
    while j < end {
        let left = end - j;
        let place = (at.start + i * at.stride + j, at.stride);
        if left > LANES {
            tile::<R, 2>(a, place, table, starts, factors, (j, (left - LANES).min(LANES)));
            j += 2 * LANES;
        } else {
            tile::<R, 1>(a, place, table, starts, factors, (j, left));
            j += LANES;
        }
    }
}

/// R × (16·V) numbers of the result; of the last sixteen columns only `last` are there.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn tile<const R: usize, const V: usize>(
    a: &mut [f32],
    (place, stride): (usize, usize),
    table: &[f32],
    starts: &[usize],
    factors: &[[f32; R]],
    (j, last): (usize, usize),
) {
    let width = (V - 1) * LANES + last;
    debug_assert!(place + (R - 1) * stride + width <= a.len());
    let mask: [__mmask16; V] = std::array::from_fn(|v| {
        if v + 1 == V {
            ((1u32 << last) - 1) as __mmask16
        } else {
            !0
        }
    });
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    for (r, sums) in sums.iter_mut().enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's bounds hold R rows of `width` columns; what is masked out is not read.
            *sum = unsafe { _mm512_maskz_loadu_ps(mask[v], a.as_ptr().add(place + r * stride + v * LANES)) };
        }
    }
    for (start, factors) in starts.iter().zip(factors) {
        let mut x = [_mm512_setzero_ps(); V];
        for (v, x) in x.iter_mut().enumerate() {
            // SAFETY: `start + d` is within the table and `j + width` within d; what is masked out is not read.
            *x = unsafe { _mm512_maskz_loadu_ps(mask[v], table.as_ptr().add(start + j + v * LANES)) };
        }
        for (sums, factor) in sums.iter_mut().zip(factors) {
            let factor = _mm512_set1_ps(*factor);
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = _mm512_fmadd_ps(factor, x, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: as for reading.
            unsafe {
                _mm512_mask_storeu_ps(a.as_mut_ptr().add(place + r * stride + v * LANES), mask[v], *sum)
            };
        }
    }
}

/// See `panel::multiply_panel`.
///
/// # Panics
/// If `table` or `out` is shorter than the matrix asks for.
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn panel(
    matrix: &Csr,
    table: &[[f32; PANEL]],
    terms: PanelTerms,
    from: &[f32],
    out: &mut [[f32; PANEL]],
) {
    const V: usize = PANEL / LANES;
    let (from, _) = from.as_chunks::<PANEL>();
    let load = |row: &[f32; PANEL], v: usize| {
        // SAFETY: a row has `PANEL` numbers, and v is below `PANEL` over 16.
        unsafe { _mm512_loadu_ps(row.as_ptr().add(v * LANES)) }
    };
    for (at, out) in out.iter_mut().enumerate() {
        let (columns, values) = matrix.row(at);
        let mut even = [_mm512_setzero_ps(); V];
        let mut odd = [_mm512_setzero_ps(); V];
        let (column_pairs, column_rest) = columns.as_chunks::<2>();
        let (value_pairs, value_rest) = values.as_chunks::<2>();
        for (columns, values) in column_pairs.iter().zip(value_pairs) {
            let rows = [&table[columns[0] as usize], &table[columns[1] as usize]];
            let factors = [_mm512_set1_ps(values[0]), _mm512_set1_ps(values[1])];
            for (v, (even, odd)) in even.iter_mut().zip(&mut odd).enumerate() {
                *even = _mm512_fmadd_ps(factors[0], load(rows[0], v), *even);
                *odd = _mm512_fmadd_ps(factors[1], load(rows[1], v), *odd);
            }
        }
        for (column, value) in column_rest.iter().zip(value_rest) {
            let row = &table[*column as usize];
            for (v, even) in even.iter_mut().enumerate() {
                *even = _mm512_fmadd_ps(_mm512_set1_ps(*value), load(row, v), *even);
            }
        }
        let mut sums = [0f32; PANEL];
        for (v, (even, odd)) in even.into_iter().zip(odd).enumerate() {
            let sum = _mm512_add_ps(even, odd);
            // SAFETY: as for reading.
            unsafe { _mm512_mask_storeu_ps(sums.as_mut_ptr().add(v * LANES), !0, sum) };
        }
        let zeros = [0f32; PANEL];
        let from = from.get(at).unwrap_or(&zeros);
        for ((out, sum), from) in out.iter_mut().zip(sums).zip(from) {
            *out = add_up(terms, sum, *from, *out);
        }
    }
}

/// The products of `x` with the rows of `table` that begin at `start(0)`, `start(1)`, …
///
/// # Panics
/// If a row is out of bounds.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn dots(table: &[f32], start: impl Fn(usize) -> usize, x: &[f32], out: &mut [f32]) {
    const ROWS: usize = 4;
    let n = out.len();
    let mut k = 0;
    while k + ROWS <= n {
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| &table[start(k + r)..start(k + r) + x.len()]);
        let sums = dot_each(rows, x);
        out[k..k + ROWS].copy_from_slice(&sums);
        k += ROWS;
    }
    while k < n {
        [out[k]] = dot_each([&table[start(k)..start(k) + x.len()]], x);
        k += 1;
    }
}

/// Each row is as long as `x`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn dot_each<const R: usize>(rows: [&[f32]; R], x: &[f32]) -> [f32; R] {
    assert!(rows.iter().all(|row| row.len() == x.len()), "row length");
    let whole = x.len() / LANES * LANES;
    let mut sums = [_mm512_setzero_ps(); R];
    let mut at = 0;
    while at < whole {
        // SAFETY: `at + 16` is within `x`, and rows are as long.
        let own = unsafe { _mm512_loadu_ps(x.as_ptr().add(at)) };
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: as above.
            let row = unsafe { _mm512_loadu_ps(row.as_ptr().add(at)) };
            *sum = _mm512_fmadd_ps(row, own, *sum);
        }
        at += LANES;
    }
    std::array::from_fn(|r| {
        let rest = rows[r][whole..].iter().zip(&x[whole..]);
        rest.fold(folded(sums[r]), |sum, (a, b)| a.mul_add(*b, sum))
    })
}

/// The sum of the lanes, halves onto halves.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn folded(sums: __m512) -> f32 {
    let eight = _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps::<1>(sums));
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}
