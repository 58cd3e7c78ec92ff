//! The two loops that training and scoring are made of, by hand for AVX-512: tiles of the result stay in registers
//! while many rows are added, which the compiler does not find from plain loops.
//!
//! Every sum is taken in the order of the plain bodies in `kernels`, with the same fused operations, so results agree
//! with those to the last bit. Rows are named by where they start in a table, so that nothing is copied together.

use crate::Csr;
use crate::approach::WeightedRows;
use crate::blocked::{TALL as TALL_OF_C, WIDE as WIDE_OF_C};
use crate::gather::{BLOCK, each_marked};
use crate::panel::{PANEL, PanelTerms, add_up};
use std::arch::x86_64::{
    __m512, __mmask16, _CMP_NEQ_UQ, _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps,
    _mm_prefetch, _mm_shuffle_ps, _mm256_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps,
    _mm512_add_epi32, _mm512_add_ps, _mm512_castps512_ps256, _mm512_cmp_ps_mask, _mm512_extractf32x8_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_maskz_compress_epi32,
    _mm512_maskz_compress_ps, _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi32,
    _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps, _mm512_storeu_epi32, _mm512_storeu_ps,
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
        let mut rows: [&[f32]; ROWS] = [x; ROWS];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = &table[start(k + r)..start(k + r) + x.len()];
        }
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
    // A loop: a closure may end up in a function of its own, compiled without the features.
    let mut found = [0.0; R];
    for ((found, row), sum) in found.iter_mut().zip(rows).zip(sums) {
        let rest = row[whole..].iter().zip(&x[whole..]);
        *found = rest.fold(folded(sum), |sum, (a, b)| a.mul_add(*b, sum));
    }
    found
}

/// Columns of A that are asked for before they are needed.
const AHEAD_OF_A: usize = 8;

/// Adds α times the products of 48 rows of A with 8 columns of B, both as `blocked` copies them, to 8 columns of up to 48 numbers.
///
/// # Panics
/// If A and B are not of the same depth.
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn add_tile(a: &[f32], b: &[f32], alpha: f32, columns: [&mut [f32]; WIDE_OF_C]) {
    const V: usize = TALL_OF_C / LANES;
    let (a, b) = (a.as_chunks::<TALL_OF_C>().0, b.as_chunks::<WIDE_OF_C>().0);
    assert!(a.len() == b.len(), "depth");
    for column in &columns {
        for line in (0..column.len()).step_by(LANES) {
            // What is asked for ahead of time is not read.
            _mm_prefetch::<_MM_HINT_T0>(column.as_ptr().wrapping_add(line).cast());
        }
    }
    let mut sums = [[_mm512_setzero_ps(); V]; WIDE_OF_C];
    for (a, b) in a.iter().zip(b) {
        for v in 0..V {
            _mm_prefetch::<_MM_HINT_T0>(a.as_ptr().wrapping_add(AHEAD_OF_A * TALL_OF_C + v * LANES).cast());
        }
        let mut own = [_mm512_setzero_ps(); V];
        for (v, own) in own.iter_mut().enumerate() {
            // SAFETY: three times sixteen numbers are there.
            *own = unsafe { _mm512_loadu_ps(a.as_ptr().add(v * LANES)) };
        }
        for j in 0..WIDE_OF_C {
            let factor = _mm512_set1_ps(b[j]);
            for v in 0..V {
                sums[j][v] = _mm512_fmadd_ps(own[v], factor, sums[j][v]);
            }
        }
    }
    let alpha = _mm512_set1_ps(alpha);
    for (column, sums) in columns.into_iter().zip(sums) {
        for (v, sum) in sums.into_iter().enumerate() {
            let left = column.len().saturating_sub(v * LANES).min(LANES);
            let mask = ((1u32 << left) - 1) as __mmask16;
            // SAFETY: what is not masked out is within the column.
            unsafe {
                let place = column.as_mut_ptr().wrapping_add(v * LANES);
                let own = _mm512_maskz_loadu_ps(mask, place);
                _mm512_mask_storeu_ps(place, mask, _mm512_fmadd_ps(alpha, sum, own));
            }
        }
    }
}

/// See `gather::drain_plain`.
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn drain(blocks: &mut [[f32; BLOCK]], marks: &mut [u8], keys: &mut Vec<u32>, sums: &mut Vec<f32>) {
    let places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    each_marked(marks, |at| {
        let block = &mut blocks[at];
        let names = _mm512_add_epi32(_mm512_set1_epi32((at * BLOCK) as i32), places);
        keys.reserve(BLOCK);
        sums.reserve(BLOCK);
        let (n_keys, n_sums) = (keys.len(), sums.len());
        // SAFETY: a block has sixteen numbers, and both lists have room for sixteen more, of which the first so many are kept.
        unsafe {
            let own = _mm512_loadu_ps(block.as_ptr());
            _mm512_storeu_ps(block.as_mut_ptr(), _mm512_setzero_ps());
            let mask = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(own, _mm512_setzero_ps());
            _mm512_storeu_ps(sums.as_mut_ptr().add(n_sums), _mm512_maskz_compress_ps(mask, own));
            _mm512_storeu_epi32(
                keys.as_mut_ptr().add(n_keys).cast(),
                _mm512_maskz_compress_epi32(mask, names),
            );
            keys.set_len(n_keys + mask.count_ones() as usize);
            sums.set_len(n_sums + mask.count_ones() as usize);
        }
    });
}

/// See `kernels::dot_body`; both are as long.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let [product] = dot_each([a], b);
    product
}

/// See `approach::project_body`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn project(rows: WeightedRows<'_>, first: bool, x: &[f32], out: &mut [f32]) {
    let n = rows.weights.len();
    let mut at = 0;
    while at + 8 <= n {
        project_some::<8>(rows, at, first, x, out);
        at += 8;
    }
    match n - at {
        1 => project_some::<1>(rows, at, first, x, out),
        2 => project_some::<2>(rows, at, first, x, out),
        3 => project_some::<3>(rows, at, first, x, out),
        4 => project_some::<4>(rows, at, first, x, out),
        5 => project_some::<5>(rows, at, first, x, out),
        6 => project_some::<6>(rows, at, first, x, out),
        7 => project_some::<7>(rows, at, first, x, out),
        _ => {}
    }
}

/// Rows that are asked for before they are needed: how many places ahead.
const AHEAD: usize = 16;

/// The same of rows `at` to `at + R`, R being at most 8.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn project_some<const R: usize>(rows: WeightedRows<'_>, at: usize, first: bool, x: &[f32], out: &mut [f32]) {
    let d = x.len();
    assert!(out.len() == d, "as long as x");
    let starts = rows.starts[at..].first_chunk::<R>().expect("a row per weight");
    let weights = rows.weights[at..]
        .first_chunk::<R>()
        .expect("rows that are there");
    let pulls = rows.pulls[at..].first_chunk::<R>().expect("a pull per weight");
    let mut own = [rows.table.as_ptr(); R];
    for r in 0..R {
        assert!(starts[r] + d <= rows.table.len(), "row bounds");
        // SAFETY: within the table, as just checked.
        own[r] = unsafe { own[r].add(starts[r]) };
    }
    if first && let Some(ahead) = rows.starts.get(at + AHEAD..at + AHEAD + R) {
        for start in ahead {
            for line in (0..d).step_by(LANES) {
                // What is asked for ahead of time may lie anywhere: nothing is read.
                _mm_prefetch::<_MM_HINT_T0>(rows.table.as_ptr().wrapping_add(start + line).cast());
            }
        }
    }
    let whole = d / LANES * LANES;
    let mut sums = [_mm512_setzero_ps(); 8];
    let mut column = 0;
    while column < whole {
        // SAFETY: `column + 16` is within `x`, and rows are as long.
        unsafe {
            let mine = _mm512_loadu_ps(x.as_ptr().add(column));
            for r in 0..R {
                sums[r] = _mm512_fmadd_ps(_mm512_loadu_ps(own[r].add(column)), mine, sums[r]);
            }
        }
        column += LANES;
    }
    let products = folded_each(sums);
    let mut factors = [_mm512_setzero_ps(); R];
    for r in 0..R {
        let mut product = products[r];
        for (k, x) in x.iter().enumerate().skip(whole) {
            // SAFETY: k is below d.
            product = unsafe { *own[r].add(k) }.mul_add(*x, product);
        }
        product *= weights[r];
        factors[r] = _mm512_set1_ps(if first { pulls[r] - product } else { product });
    }
    let mut column = 0;
    while column < whole {
        // SAFETY: `column + 16` is within `out`, and rows are as long.
        unsafe {
            let mut sum = _mm512_loadu_ps(out.as_ptr().add(column));
            for r in 0..R {
                sum = _mm512_fmadd_ps(factors[r], _mm512_loadu_ps(own[r].add(column)), sum);
            }
            _mm512_storeu_ps(out.as_mut_ptr().add(column), sum);
        }
        column += LANES;
    }
    if whole < d {
        let mask = ((1u32 << (d - whole)) - 1) as __mmask16;
        // SAFETY: what is not masked out is within `out` and the rows.
        unsafe {
            let mut sum = _mm512_maskz_loadu_ps(mask, out.as_ptr().add(whole));
            for r in 0..R {
                sum = _mm512_fmadd_ps(factors[r], _mm512_maskz_loadu_ps(mask, own[r].add(whole)), sum);
            }
            _mm512_mask_storeu_ps(out.as_mut_ptr().add(whole), mask, sum);
        }
    }
}

/// [`folded`] of eight at once, each sum taken in the same order.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn folded_each(v: [__m512; 8]) -> [f32; 8] {
    let mut eights = [_mm512_setzero_ps(); 4];
    for k in 0..4 {
        let (a, b) = (v[2 * k], v[2 * k + 1]);
        eights[k] = _mm512_add_ps(
            _mm512_shuffle_f32x4::<0x44>(a, b),
            _mm512_shuffle_f32x4::<0xEE>(a, b),
        );
    }
    let mut fours = [_mm512_setzero_ps(); 2];
    for k in 0..2 {
        let (a, b) = (eights[2 * k], eights[2 * k + 1]);
        fours[k] = _mm512_add_ps(
            _mm512_shuffle_f32x4::<0x88>(a, b),
            _mm512_shuffle_f32x4::<0xDD>(a, b),
        );
    }
    let [a, b] = fours;
    let twos = _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xEE>(a, b));
    let ones = _mm512_add_ps(twos, _mm512_shuffle_ps::<0xB1>(twos, twos));
    let mut all = [0f32; LANES];
    // SAFETY: sixteen numbers have room.
    unsafe { _mm512_storeu_ps(all.as_mut_ptr(), ones) };
    [all[0], all[4], all[8], all[12], all[2], all[6], all[10], all[14]]
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
