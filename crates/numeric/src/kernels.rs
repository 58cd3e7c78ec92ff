//! Loops over `f32` slices that models and solvers spend their time in.
//!
//! Each has one body, compiled for the baseline of the target; simple ones are compiled again for AVX2 with FMA, chosen when it runs, and those that
//! matter most have a form by hand for AVX2 (`avx2`) and another for AVX-512 (`simd`). All use fused multiply-adds in one fixed order,
//! so the result is the same to the last bit on any way, at any number of threads and alignment. Without fused
//! instructions (x86 before 2013) the baseline is right but slow.

use crate::wide::wide;
#[cfg(target_arch = "x86_64")]
use crate::{avx2, simd, simd::Square};

const LANES: usize = 16;

/// Σ aᵢbᵢ over the shorter length, in sixteen partial sums.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if avx2::available() {
        let n = a.len().min(b.len());
        // SAFETY: the machine has the features, which is all that the call asks for.
        return unsafe { avx2::dot(&a[..n], &b[..n]) };
    }
    dot_body(a, b)
}

wide! {
    /// y ← y + αx over the shorter length.
    pub fn axpy(alpha: f32, x: &[f32], y: &mut [f32]) {
        axpy_body(alpha, x, y);
    }

    /// out ← out + Σₖ cₖ rₖ, rₖ being the numbers of `table` from `starts[k]` on.
    ///
    /// # Panics
    /// If a row is out of bounds.
    pub fn add_rows(table: &[f32], starts: &[usize], coefficients: &[f32], out: &mut [f32]) {
        let d = out.len();
        for (start, c) in starts.iter().zip(coefficients) {
            axpy_body(*c, &table[*start..start + d], out);
        }
    }
}

/// The products of a vector with each row of the row-major matrix `rows`, into `out`.
///
/// # Panics
/// If `rows` is not `out.len() * x.len()` long.
pub fn dot_rows(rows: &[f32], x: &[f32], out: &mut [f32]) {
    assert_eq!(rows.len(), out.len() * x.len(), "matrix length");
    if x.is_empty() {
        out.fill(0.0);
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if simd::available() {
        // SAFETY: the machine has the features, which is all that the call asks for.
        return unsafe { simd::dots(rows, |k| k * x.len(), x, out) };
    }
    #[cfg(target_arch = "x86_64")]
    if avx2::available() {
        // SAFETY: as above.
        return unsafe { avx2::dots(rows, |k| k * x.len(), x, out) };
    }
    for (row, out) in rows.chunks_exact(x.len()).zip(out) {
        *out = dot_body(row, x);
    }
}

/// The products of a vector with the rows of `table` that begin at `starts`, into `out`.
///
/// # Panics
/// If a row is out of bounds, or `out` is not as long as `starts`.
pub fn dots_at(table: &[f32], starts: &[usize], x: &[f32], out: &mut [f32]) {
    assert_eq!(starts.len(), out.len(), "a product per row");
    #[cfg(target_arch = "x86_64")]
    if simd::available() {
        // SAFETY: the machine has the features, which is all that the call asks for.
        return unsafe { simd::dots(table, |k| starts[k], x, out) };
    }
    #[cfg(target_arch = "x86_64")]
    if avx2::available() {
        // SAFETY: as above.
        return unsafe { avx2::dots(table, |k| starts[k], x, out) };
    }
    for (start, out) in starts.iter().zip(out) {
        *out = dot_body(&table[*start..start + x.len()], x);
    }
}

/// Adds Σₖ wₖ rₖrₖᵀ to the lower triangle of the `d × d` row-major matrix `a`; what is above the diagonal is left in
/// no particular state. `rows` holds the rₖ one after the other, `weights` the wₖ.
///
/// # Panics
/// If lengths do not fit: `a` is `d·d`, `rows` is `d·weights.len()`.
pub fn syrk_add(a: &mut [f32], d: usize, rows: &[f32], weights: &[f32]) {
    assert_eq!(rows.len(), d * weights.len(), "rows length");
    let starts: Vec<usize> = (0..weights.len()).map(|k| k * d).collect();
    syrk_add_at(a, d, rows, &starts, weights);
}

/// [`syrk_add`] for rows that begin at `starts` in `table`: nothing needs to be copied together.
///
/// # Panics
/// If a row is out of bounds, or lengths do not fit.
pub fn syrk_add_at(a: &mut [f32], d: usize, table: &[f32], starts: &[usize], weights: &[f32]) {
    assert_eq!(a.len(), d * d, "matrix length");
    assert_eq!(starts.len(), weights.len(), "a weight per row");
    #[cfg(target_arch = "x86_64")]
    {
        let at = Square {
            start: 0,
            stride: d,
            d,
        };
        if syrk_by_hand(a, at, table, starts, weights) {
            return;
        }
    }
    syrk_body(a, d, table, starts, weights);
}

/// The same within a larger matrix, if there is a form by hand for this machine; says whether there is.
#[cfg(target_arch = "x86_64")]
pub(crate) fn syrk_by_hand(
    a: &mut [f32],
    at: Square,
    table: &[f32],
    starts: &[usize],
    weights: &[f32],
) -> bool {
    if simd::available() {
        // SAFETY: the machine has the features, which is all that the call asks for.
        unsafe { simd::syrk(a, at, table, starts, weights) };
        return true;
    }
    if avx2::available() {
        // SAFETY: as above.
        unsafe { avx2::syrk(a, at, table, starts, weights) };
        return true;
    }
    false
}

#[inline(always)]
pub(crate) fn dot_body(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let mut sums = [0f32; LANES];
    let (a_blocks, a_rest) = a[..n].as_chunks::<LANES>();
    let (b_blocks, b_rest) = b[..n].as_chunks::<LANES>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] = x[lane].mul_add(y[lane], sums[lane]);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    // A loop: a closure may end up in a function of its own, compiled without fused instructions.
    let mut sum = sums[0];
    for (x, y) in a_rest.iter().zip(b_rest) {
        sum = x.mul_add(*y, sum);
    }
    sum
}

#[inline(always)]
pub(crate) fn axpy_body(alpha: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = alpha.mul_add(*x, *y);
    }
}

/// Rows taken per pass.
const PASS: usize = 8;

#[inline(always)]
pub(crate) fn syrk_body(a: &mut [f32], d: usize, table: &[f32], starts: &[usize], weights: &[f32]) {
    if d == 0 {
        return;
    }
    let row = |start: &usize| &table[*start..start + d];
    let (passes, rest) = weights.as_chunks::<PASS>();
    let (blocks, rest_starts) = starts.as_chunks::<PASS>();
    for (w, block) in passes.iter().zip(blocks) {
        let r: [&[f32]; PASS] = std::array::from_fn(|k| row(&block[k]));
        for i in 0..d {
            let c: [f32; PASS] = std::array::from_fn(|k| w[k] * r[k][i]);
            // Whole lanes are computed past the diagonal: cheaper than ragged ends, and unread.
            let end = ((i + LANES) / LANES * LANES).min(d);
            let row = &mut a[i * d..i * d + end];
            let x: [&[f32]; PASS] = std::array::from_fn(|k| &r[k][..end]);
            for j in 0..end {
                let mut sum = row[j];
                for k in 0..PASS {
                    sum = c[k].mul_add(x[k][j], sum);
                }
                row[j] = sum;
            }
        }
    }
    for (w, start) in rest.iter().zip(rest_starts) {
        let r = row(start);
        for i in 0..d {
            axpy_body(w * r[i], &r[..=i], &mut a[i * d..i * d + i + 1]);
        }
    }
}

/// Euclidean length, summed in `f64`.
pub fn norm(x: &[f32]) -> f32 {
    x.iter()
        .map(|v| f64::from(*v) * f64::from(*v))
        .sum::<f64>()
        .sqrt() as f32
}

/// XᵀX of the row-major `n × d` matrix `x`, both triangles. In parallel on the current pool;
/// blocks of rows are summed in order.
pub fn gram(x: &[f32], d: usize) -> Vec<f32> {
    gram_of(x, d, |range, part| {
        let weights = vec![1f32; range.len()];
        syrk_add(part, d, &x[range.start * d..range.end * d], &weights);
    })
}

/// Σ w x xᵀ over the rows of `x` with their weights, row-major `d × d`. In parallel; the result does not depend on how many threads there are. Panics unless there is a weight for each row.
pub fn weighted_gram(x: &[f32], d: usize, weights: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), weights.len() * d, "a weight for each row");
    gram_of(x, d, |range, part| {
        syrk_add(part, d, &x[range.start * d..range.end * d], &weights[range]);
    })
}

fn gram_of(x: &[f32], d: usize, add: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync) -> Vec<f32> {
    let n = x.len().checked_div(d).unwrap_or(0);
    let parts = crate::parallel_chunks(n, 1024, |range| {
        let mut part = vec![0f32; d * d];
        add(range, &mut part);
        part
    });
    let mut total = vec![0f32; d * d];
    for part in parts {
        axpy(1.0, &part, &mut total);
    }
    for i in 0..d {
        for j in 0..i {
            total[j * d + i] = total[i * d + j];
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    proptest! {
        /// What runs is the wide form where the machine has it; the bodies called here are the baseline.
        #[test]
        fn wide_and_plain_agree_to_the_last_bit(d in 1usize..70, k in 0usize..90, seed in 0u64..1000) {
            let mut stream = crate::SeededStream::new(seed, 1);
            let rows: Vec<f32> = (0..d * k).map(|_| stream.normal() as f32).collect();
            let x: Vec<f32> = (0..d).map(|_| stream.normal() as f32).collect();
            let weights: Vec<f32> = (0..k).map(|_| stream.normal() as f32).collect();
            let (mut wide, mut plain) = (vec![0f32; d * d], vec![0f32; d * d]);
            // The rows in another order than in the table.
            let starts: Vec<usize> = (0..k).map(|at| (at * 7 % k.max(1)) * d).collect();
            syrk_add_at(&mut wide, d, &rows, &starts, &weights);
            syrk_body(&mut plain, d, &rows, &starts, &weights);
            for i in 0..d {
                prop_assert_eq!(bits(&wide[i * d..=i * d + i]), bits(&plain[i * d..=i * d + i]));
            }
            let mut some = vec![0f32; k];
            dots_at(&rows, &starts, &x, &mut some);
            let one_by_one: Vec<f32> = starts.iter().map(|s| dot_body(&rows[*s..s + d], &x)).collect();
            prop_assert_eq!(bits(&some), bits(&one_by_one));
            let mut products = vec![0f32; k];
            dot_rows(&rows, &x, &mut products);
            let one_by_one: Vec<f32> = rows.chunks_exact(d).map(|row| dot_body(row, &x)).collect();
            prop_assert_eq!(bits(&products), bits(&one_by_one));
            let (mut y, mut z) = (x.clone(), x.clone());
            axpy(0.3, &wide[..d], &mut y);
            axpy_body(0.3, &wide[..d], &mut z);
            prop_assert_eq!(bits(&y), bits(&z));
        }

        #[test]
        fn dot_is_the_plain_sum(a in prop::collection::vec(-9f32..9.0, 0..90), b in prop::collection::vec(-9f32..9.0, 0..90)) {
            let plain: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            prop_assert!((f64::from(dot(&a, &b)) - plain).abs() < 1e-3);
        }

        #[test]
        fn rank_update_is_the_plain_sum(d in 1usize..40, k in 0usize..19, seed in 0u64..100) {
            let mut stream = crate::SeededStream::new(seed, 0);
            let rows: Vec<f32> = (0..d * k).map(|_| stream.normal() as f32).collect();
            let weights: Vec<f32> = (0..k).map(|_| stream.uniform() as f32).collect();
            let mut a = vec![0f32; d * d];
            syrk_add(&mut a, d, &rows, &weights);
            for i in 0..d {
                for j in 0..=i {
                    let plain: f32 = (0..k).map(|r| weights[r] * rows[r * d + i] * rows[r * d + j]).sum();
                    prop_assert!((a[i * d + j] - plain).abs() < 1e-4);
                }
            }
        }
    }
}
