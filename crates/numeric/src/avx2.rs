//! The loops of `simd` for machines that have AVX2 with FMA and no AVX-512.
//!
//! Compiled from the plain bodies, sixteen partial sums end up in pairs, a quarter of a register each. Sums are taken in the order of the plain
//! bodies in `kernels`, so results agree with those to the last bit.

use crate::approach::WeightedRows;
use crate::simd::Square;
use std::arch::x86_64::{
    __m128, __m256, __m256i, _MM_HINT_T0, _mm_add_ps, _mm_prefetch, _mm_setzero_ps, _mm_shuffle_ps,
    _mm_storeu_ps, _mm256_add_ps, _mm256_broadcast_ss, _mm256_castps256_ps128, _mm256_cmpgt_epi32,
    _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_maskload_ps, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps, _mm256_storeu_ps,
};

/// Numbers of a register.
const EIGHT: usize = 8;
/// Partial sums of a product.
const LANES: usize = 2 * EIGHT;
/// Rows added per pass, as in `simd`.
const PASS: usize = 64;
/// Rows of a tile: with sixteen columns, all registers but those of a row and a factor.
const TALL: usize = 6;
/// Rows gone through at once.
const ROWS: usize = 4;
/// Rows that are asked for before they are needed: how many places ahead.
const AHEAD: usize = 16;

/// True if the machine has what the functions here are compiled for.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// See `simd::syrk`.
///
/// # Panics
/// If a row or the matrix is out of bounds.
#[target_feature(enable = "avx2,fma")]
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
        let rows = (starts, weights);
        let mut i = 0;
        while i + TALL <= d {
            band::<TALL>(a, at, table, rows, i);
            i += TALL;
        }
        match d - i {
            1 => band::<1>(a, at, table, rows, i),
            2 => band::<2>(a, at, table, rows, i),
            3 => band::<3>(a, at, table, rows, i),
            4 => band::<4>(a, at, table, rows, i),
            5 => band::<5>(a, at, table, rows, i),
            _ => {}
        }
    }
}

/// Rows i … i + R of the result, from the first column to the diagonal.
#[inline]
#[target_feature(enable = "avx2,fma")]
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
        for (factor, x) in factors.iter_mut().zip(own) {
            *factor = weight * x;
        }
    }
    let factors = &factors[..starts.len()];
    let end = (i + R).next_multiple_of(LANES).min(at.d);
    for j in (0..end).step_by(LANES) {
        let place = (at.start + i * at.stride + j, at.stride);
        let width = (end - j).min(LANES);
        if width == LANES {
            tile::<R, true>(a, place, table, starts, factors, (j, width));
        } else {
            tile::<R, false>(a, place, table, starts, factors, (j, width));
        }
    }
}

/// R × `width` numbers of the result; 16 if `WHOLE`, else fewer.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn tile<const R: usize, const WHOLE: bool>(
    a: &mut [f32],
    (place, stride): (usize, usize),
    table: &[f32],
    starts: &[usize],
    factors: &[[f32; R]],
    (j, width): (usize, usize),
) {
    assert!(place + (R - 1) * stride + width <= a.len(), "matrix bounds");
    let masks = [mask(width), mask(width.saturating_sub(EIGHT))];
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    for (r, sums) in sums.iter_mut().enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: R rows of `width` columns are there, as just checked; what is masked out is not read.
            *sum =
                unsafe { load::<WHOLE>(a.as_ptr().wrapping_add(place + r * stride + v * EIGHT), masks[v]) };
        }
    }
    for (start, factors) in starts.iter().zip(factors) {
        let row = table.as_ptr().wrapping_add(start + j);
        // SAFETY: `start + d` is within the table and `j + width` within d; what is masked out is not read.
        let x = unsafe {
            [
                load::<WHOLE>(row, masks[0]),
                load::<WHOLE>(row.wrapping_add(EIGHT), masks[1]),
            ]
        };
        for r in 0..R {
            let factor = _mm256_broadcast_ss(&factors[r]);
            sums[r][0] = _mm256_fmadd_ps(factor, x[0], sums[r][0]);
            sums[r][1] = _mm256_fmadd_ps(factor, x[1], sums[r][1]);
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let start = place + r * stride;
        let out = &mut a[start..start + width];
        if let Some(out) = out.first_chunk_mut::<LANES>() {
            store(sums, out);
        } else {
            let mut whole = [0f32; LANES];
            store(sums, &mut whole);
            out.copy_from_slice(&whole[..width]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(sums: [__m256; 2], out: &mut [f32; LANES]) {
    // SAFETY: sixteen numbers have room.
    unsafe {
        _mm256_storeu_ps(out.as_mut_ptr(), sums[0]);
        _mm256_storeu_ps(out.as_mut_ptr().add(EIGHT), sums[1]);
    }
}

/// The first `n` of eight numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn mask(n: usize) -> __m256i {
    let places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n.min(EIGHT) as i32), places)
}

/// # Safety
/// Eight numbers are there, or as many as the mask has if they are not `WHOLE`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load<const WHOLE: bool>(from: *const f32, mask: __m256i) -> __m256 {
    if WHOLE {
        // SAFETY: as the caller promises.
        unsafe { _mm256_loadu_ps(from) }
    } else {
        // SAFETY: what is masked out is not read.
        unsafe { _mm256_maskload_ps(from, mask) }
    }
}

/// See `simd::dots`.
///
/// # Panics
/// If a row is out of bounds.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn dots(table: &[f32], start: impl Fn(usize) -> usize, x: &[f32], out: &mut [f32]) {
    let n = out.len();
    let mut k = 0;
    while k + ROWS <= n {
        let mut rows: [&[f32]; ROWS] = [x; ROWS];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = &table[start(k + r)..start(k + r) + x.len()];
        }
        out[k..k + ROWS].copy_from_slice(&products(rows, x));
        k += ROWS;
    }
    while k < n {
        out[k] = dot(&table[start(k)..start(k) + x.len()], x);
        k += 1;
    }
}

/// See `kernels::dot_body`.
///
/// # Panics
/// If one is longer than the other.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let [product] = products([a], b);
    product
}

/// The products of up to four rows with `x`, each as long.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn products<const R: usize>(rows: [&[f32]; R], x: &[f32]) -> [f32; R] {
    assert!(rows.iter().all(|row| row.len() == x.len()), "row length");
    let whole = x.len() / LANES * LANES;
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    for at in (0..whole).step_by(LANES) {
        // SAFETY: `at + 16` is within `x`, and rows are as long.
        let own = unsafe { both(x.as_ptr().add(at)) };
        for r in 0..R {
            // SAFETY: as above.
            let row = unsafe { both(rows[r].as_ptr().add(at)) };
            sums[r][0] = _mm256_fmadd_ps(row[0], own[0], sums[r][0]);
            sums[r][1] = _mm256_fmadd_ps(row[1], own[1], sums[r][1]);
        }
    }
    let mut found = folded(sums);
    // Plain loops: a closure may end up in a function of its own, compiled without the features.
    for r in 0..R {
        for at in whole..x.len() {
            found[r] = rows[r][at].mul_add(x[at], found[r]);
        }
    }
    found
}

/// # Safety
/// Sixteen numbers are there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn both(from: *const f32) -> [__m256; 2] {
    // SAFETY: as the caller promises.
    unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(EIGHT))] }
}

/// The sum of the sixteen lanes of each, halves onto halves.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn folded<const R: usize>(sums: [[__m256; 2]; R]) -> [f32; R] {
    let mut found = [0f32; R];
    for from in (0..R).step_by(ROWS) {
        let mut fours = [_mm_setzero_ps(); ROWS];
        for (r, four) in fours.iter_mut().enumerate().take(R - from) {
            let eight = _mm256_add_ps(sums[from + r][0], sums[from + r][1]);
            *four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        }
        let twos = [
            halves::<0x44, 0xEE>(fours[0], fours[1]),
            halves::<0x44, 0xEE>(fours[2], fours[3]),
        ];
        let ones = halves::<0x88, 0xDD>(twos[0], twos[1]);
        let mut all = [0f32; ROWS];
        // SAFETY: four numbers have room.
        unsafe { _mm_storeu_ps(all.as_mut_ptr(), ones) };
        let n = ROWS.min(R - from);
        found[from..from + n].copy_from_slice(&all[..n]);
    }
    found
}

/// Some numbers of two registers plus the others.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn halves<const SOME: i32, const OTHERS: i32>(a: __m128, b: __m128) -> __m128 {
    _mm_add_ps(_mm_shuffle_ps::<SOME>(a, b), _mm_shuffle_ps::<OTHERS>(a, b))
}

/// See `approach::project_body`.
///
/// # Panics
/// If a row is out of bounds or lengths do not fit.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn project(rows: WeightedRows<'_>, first: bool, x: &[f32], out: &mut [f32]) {
    let n = rows.weights.len();
    let mut at = 0;
    while at + ROWS <= n {
        project_some::<ROWS>(rows, at, first, x, out);
        at += ROWS;
    }
    match n - at {
        1 => project_some::<1>(rows, at, first, x, out),
        2 => project_some::<2>(rows, at, first, x, out),
        3 => project_some::<3>(rows, at, first, x, out),
        _ => {}
    }
}

/// The same of rows `at` to `at + R`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn project_some<const R: usize>(rows: WeightedRows<'_>, at: usize, first: bool, x: &[f32], out: &mut [f32]) {
    let d = x.len();
    assert!(out.len() == d, "as long as x");
    let mut own: [&[f32]; R] = [x; R];
    for (r, own) in own.iter_mut().enumerate() {
        let start = rows.starts[at + r];
        *own = &rows.table[start..start + d];
    }
    if first && let Some(ahead) = rows.starts.get(at + AHEAD..at + AHEAD + R) {
        for start in ahead {
            for line in (0..d).step_by(LANES) {
                // What is asked for ahead of time may lie anywhere: nothing is read.
                _mm_prefetch::<_MM_HINT_T0>(rows.table.as_ptr().wrapping_add(start + line).cast());
            }
        }
    }
    let mut factors = products(own, x);
    for (r, factor) in factors.iter_mut().enumerate() {
        let product = *factor * rows.weights[at + r];
        *factor = if first {
            rows.pulls[at + r] - product
        } else {
            product
        };
    }
    let mut wide = [_mm256_setzero_ps(); R];
    for r in 0..R {
        wide[r] = _mm256_set1_ps(factors[r]);
    }
    let whole = d / EIGHT * EIGHT;
    for column in (0..whole).step_by(EIGHT) {
        // SAFETY: `column + 8` is within `out`, and rows are as long.
        unsafe {
            let mut sum = _mm256_loadu_ps(out.as_ptr().add(column));
            for r in 0..R {
                sum = _mm256_fmadd_ps(wide[r], _mm256_loadu_ps(own[r].as_ptr().add(column)), sum);
            }
            _mm256_storeu_ps(out.as_mut_ptr().add(column), sum);
        }
    }
    for column in whole..d {
        for r in 0..R {
            out[column] = factors[r].mul_add(own[r][column], out[column]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{dot_body, syrk_body};
    use proptest::prelude::*;

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn by_hand_and_plain_agree_to_the_last_bit(d in 1usize..70, k in 0usize..140, seed in 0u64..1000) {
            prop_assume!(available());
            let mut stream = crate::SeededStream::new(seed, 1);
            let mut drawn = |n: usize| (0..n).map(|_| stream.normal() as f32).collect::<Vec<f32>>();
            let (table, x, weights) = (drawn(d * k), drawn(d), drawn(k));
            let starts: Vec<usize> = (0..k).map(|at| (at * 7 % k) * d).collect();
            let mut some = vec![0f32; k];
            // SAFETY: the machine has the features.
            unsafe { dots(&table, |at| starts[at], &x, &mut some) };
            let one_by_one: Vec<f32> = starts.iter().map(|s| dot_body(&table[*s..s + d], &x)).collect();
            prop_assert_eq!(bits(&some), bits(&one_by_one));
            // Within a larger matrix, of which the rest stays.
            let (stride, start) = (d + 3, 5);
            let mut wide = drawn(start + d * stride);
            let before = wide.clone();
            let mut plain: Vec<f32> = (0..d).flat_map(|i| wide[start + i * stride..start + i * stride + d].to_vec()).collect();
            // SAFETY: as above.
            unsafe { syrk(&mut wide, Square { start, stride, d }, &table, &starts, &weights) };
            syrk_body(&mut plain, d, &table, &starts, &weights);
            for i in 0..d {
                let at = start + i * stride;
                prop_assert_eq!(bits(&wide[at..=at + i]), bits(&plain[i * d..=i * d + i]));
                prop_assert_eq!(bits(&wide[at + d..at + stride]), bits(&before[at + d..at + stride]));
            }
        }
    }

    #[test]
    #[should_panic(expected = "row bounds")]
    fn a_row_beyond_the_table_is_refused() {
        assert!(available(), "row bounds: not to be seen here");
        let square = Square {
            start: 0,
            stride: 8,
            d: 8,
        };
        // SAFETY: the machine has the features.
        unsafe { syrk(&mut [0.0; 64], square, &[0.0; 20], &[13], &[1.0]) };
    }
}
