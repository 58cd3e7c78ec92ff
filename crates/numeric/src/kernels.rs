//! Loops over `f32` slices, written so that the compiler turns them into vector instructions.
//!
//! Each has one fixed order of summation, so results do not depend on threads or alignment.

const LANES: usize = 16;

/// Σ aᵢbᵢ over the shorter length, in sixteen partial sums.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    if a_rest.is_empty() || a_blocks.len() != b_blocks.len() {
        let start = a_blocks.len().min(b_blocks.len()) * LANES;
        return a[start..]
            .iter()
            .zip(&b[start..])
            .fold(sums[0], |s, (x, y)| s + x * y);
    }
    a_rest.iter().zip(b_rest).fold(sums[0], |s, (x, y)| s + x * y)
}

/// y ← y + αx over the shorter length.
#[inline]
pub fn axpy(alpha: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += alpha * x;
    }
}

/// Euclidean length, summed in `f64`.
pub fn norm(x: &[f32]) -> f32 {
    x.iter()
        .map(|v| f64::from(*v) * f64::from(*v))
        .sum::<f64>()
        .sqrt() as f32
}

/// Adds Σₖ wₖ rₖrₖᵀ to the lower triangle of the `d × d` row-major matrix `a`.
///
/// `rows` holds the rₖ one after the other, `weights` the wₖ. Four rows are taken per pass over
/// `a`, which then stays in the first-level cache up to d = 90.
///
/// # Panics
/// If lengths do not fit: `a` is `d·d`, `rows` is `d·weights.len()`.
pub fn syrk_add(a: &mut [f32], d: usize, rows: &[f32], weights: &[f32]) {
    assert_eq!(a.len(), d * d, "matrix length");
    assert_eq!(rows.len(), d * weights.len(), "rows length");
    if d == 0 {
        return;
    }
    let (quads, rest) = weights.as_chunks::<4>();
    let mut blocks = rows.chunks_exact(4 * d);
    for (w, block) in quads.iter().zip(&mut blocks) {
        let (r0, tail) = block.split_at(d);
        let (r1, tail) = tail.split_at(d);
        let (r2, r3) = tail.split_at(d);
        for i in 0..d {
            let (c0, c1, c2, c3) = (w[0] * r0[i], w[1] * r1[i], w[2] * r2[i], w[3] * r3[i]);
            // Whole lanes are computed past the diagonal: cheaper than ragged ends, and unread.
            let end = ((i + LANES) / LANES * LANES).min(d);
            let row = &mut a[i * d..i * d + end];
            let (x0, x1, x2, x3) = (&r0[..end], &r1[..end], &r2[..end], &r3[..end]);
            for j in 0..end {
                row[j] += (c0 * x0[j] + c1 * x1[j]) + (c2 * x2[j] + c3 * x3[j]);
            }
        }
    }
    for (w, r) in rest.iter().zip(blocks.remainder().chunks_exact(d)) {
        for i in 0..d {
            axpy(w * r[i], &r[..=i], &mut a[i * d..i * d + i + 1]);
        }
    }
}

/// XᵀX of the row-major `n × d` matrix `x`, both triangles. In parallel on the current pool;
/// blocks of rows are summed in order.
pub fn gram(x: &[f32], d: usize) -> Vec<f32> {
    let n = x.len().checked_div(d).unwrap_or(0);
    let parts = crate::parallel_chunks(n, 1024, |range| {
        let mut part = vec![0f32; d * d];
        let weights = vec![1f32; range.len()];
        syrk_add(&mut part, d, &x[range.start * d..range.end * d], &weights);
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

    proptest! {
        #[test]
        fn dot_is_the_plain_sum(a in prop::collection::vec(-9f32..9.0, 0..90), b in prop::collection::vec(-9f32..9.0, 0..90)) {
            let plain: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            prop_assert!((f64::from(dot(&a, &b)) - plain).abs() < 1e-3);
        }

        #[test]
        fn rank_update_is_the_plain_sum(d in 1usize..40, k in 0usize..11, seed in 0u64..100) {
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
