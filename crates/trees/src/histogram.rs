//! Sums of gradients by bin, in whole numbers.
//!
//! A row's gradient and hessian are rounded to whole numbers and packed into one 64-bit word, the gradient in the upper half, the hessian, which is not negative, in
//! the lower. One addition adds both; a subtraction takes both away; nothing depends on order. Scales are chosen such that
//! the sums of absolute values over all rows fit, so that no half overflows. Rounding is random (and seeded), so that sums are right on average.
//! Source of the idea: Y. Shi, G. Ke et al. (2022), "Quantized training of gradient boosting decision trees", NeurIPS; here with as many bits as fit.

use crate::bins::{BLOCK, Binned};

/// A gradient in the upper 32 bits, a hessian in the lower.
pub(crate) type Packed = i64;

/// Sums that both halves of a word can hold, with room for rounding up.
const GRADIENT_ROOM: f64 = 2_147_483_000.0;
const HESSIAN_ROOM: f64 = 4_294_967_000.0;

/// How whole numbers turn back into gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(crate) gradient: f64,
    pub(crate) hessian: f64,
}

impl Scale {
    /// Sum of gradients and of hessians.
    pub(crate) fn unpack(self, packed: Packed) -> (f64, f64) {
        let (g, h) = halves(packed);
        (g * self.gradient, h * self.hessian)
    }
}

/// Both halves as they are.
#[inline(always)]
pub(crate) fn halves(packed: Packed) -> (f64, f64) {
    ((packed >> 32) as f64, (packed & 0xffff_ffff) as f64)
}

/// Rounds all gradients; `None` if they are all zero, or if no row has a hessian.
pub(crate) fn pack(gradients: &[f64], hessians: &[f64], seed: u64) -> Option<(Vec<Packed>, Scale)> {
    const CHUNK: usize = 1 << 14;
    let n = gradients.len();
    let sums = numeric::parallel_chunks(n, CHUNK, |range| {
        let gradient: f64 = gradients[range.clone()].iter().map(|g| g.abs()).sum();
        (gradient, hessians[range].iter().sum::<f64>())
    });
    let (total_g, total_h) = sums.iter().fold((0.0, 0.0), |sum, (g, h)| (sum.0 + g, sum.1 + h));
    // Less than this share of the hessians is what rounding leaves of nothing.
    let is_noise = total_g <= total_h * 1e-12;
    if is_noise || !(total_h > 0.0 && total_g.is_finite() && total_h.is_finite()) {
        return None;
    }
    // A whole multiple, so that equal weights of 1 stay exact.
    let multiple = |room: f64, total: f64| {
        let multiple = (room - n as f64) / total;
        if multiple >= 1.0 {
            multiple.floor()
        } else {
            multiple
        }
    };
    let (by_g, by_h) = (multiple(GRADIENT_ROOM, total_g), multiple(HESSIAN_ROOM, total_h));
    let packed = numeric::parallel_chunks(n, CHUNK, |range| {
        let round = |row: usize| {
            let bits = numeric::mix(seed ^ (row as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
            let unit = 1.0 / f64::from(1u32 << 31) * 0.5;
            let (a, b) = (
                f64::from(bits as u32) * unit,
                f64::from((bits >> 32) as u32) * unit,
            );
            let g = (gradients[row] * by_g + a).floor() as i64;
            let h = (hessians[row] * by_h + b).floor() as i64;
            (g << 32) + h
        };
        range.map(round).collect::<Vec<Packed>>()
    });
    let scale = Scale {
        gradient: 1.0 / by_g,
        hessian: 1.0 / by_h,
    };
    Some((packed.concat(), scale))
}

/// Where each feature's bins lie in a histogram.
#[derive(Debug)]
pub(crate) struct Layout {
    /// First bin of each feature; one more at the end.
    pub(crate) starts: Vec<usize>,
}

impl Layout {
    pub(crate) fn new(binned: &Binned) -> Layout {
        let mut starts = vec![0];
        for cuts in &binned.cuts {
            starts.push(starts[starts.len() - 1] + cuts.n_bins());
        }
        Layout { starts }
    }

    pub(crate) fn of(&self, feature: usize) -> std::ops::Range<usize> {
        self.starts[feature]..self.starts[feature + 1]
    }
}

/// Sums over `rows` for the features of one block, appended bin by bin in the layout's order.
fn block_sums(
    block: &[[u8; BLOCK]],
    rows: &[u32],
    packed: &[Packed],
    sizes: &[usize],
    out: &mut Vec<Packed>,
) {
    let mut sums = [[0 as Packed; 256]; BLOCK];
    // Bins past the width of the last block are 0 and summed into what nobody reads.
    if rows.len() == block.len() {
        for (bins, value) in block.iter().zip(packed) {
            for (sums, bin) in sums.iter_mut().zip(bins) {
                sums[usize::from(*bin)] += value;
            }
        }
    } else {
        for (row, value) in rows.iter().zip(packed) {
            let bins = &block[*row as usize];
            for (sums, bin) in sums.iter_mut().zip(bins) {
                sums[usize::from(*bin)] += value;
            }
        }
    }
    for (sums, size) in sums.iter().zip(sizes) {
        out.extend_from_slice(&sums[..*size]);
    }
}

/// The histogram of the given rows; `packed` has their words in the same order. In parallel over blocks of features.
pub(crate) fn histogram(binned: &Binned, layout: &Layout, rows: &[u32], packed: &[Packed]) -> Vec<Packed> {
    let n_blocks = binned.blocks.len();
    // Small leaves are not worth waking another thread.
    let together = if rows.len() * n_blocks < 20_000 {
        n_blocks
    } else {
        1
    };
    let parts = numeric::parallel_chunks(n_blocks, together, |range| {
        let mut out = Vec::new();
        for at in range {
            let features = at * BLOCK..((at + 1) * BLOCK).min(binned.cuts.len());
            let sizes: Vec<usize> = features.map(|f| layout.of(f).len()).collect();
            block_sums(&binned.blocks[at], rows, packed, &sizes, &mut out);
        }
        out
    });
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_do_not_mix() {
        let mut stream = numeric::SeededStream::new(3, 0);
        let n = 5000;
        let gradients: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let hessians: Vec<f64> = (0..n).map(|_| stream.uniform()).collect();
        let (packed, scale) = pack(&gradients, &hessians, 9).expect("there are gradients");
        let total: Packed = packed.iter().sum();
        let (g, h) = scale.unpack(total);
        let (eg, eh): (f64, f64) = (gradients.iter().sum(), hessians.iter().sum());
        assert!(
            (g - eg).abs() < 1e-3 && (h - eh).abs() < 1e-3,
            "{g} {eg} {h} {eh}"
        );
        let part: Packed = packed[..1234].iter().sum();
        let (g, h) = scale.unpack(total - part);
        let (eg, eh): (f64, f64) = (gradients[1234..].iter().sum(), hessians[1234..].iter().sum());
        assert!((g - eg).abs() < 1e-3 && (h - eh).abs() < 1e-3);
        let (packed, scale) = pack(&[0.5, -0.5], &[1.0, 1.0], 1).expect("there are gradients");
        assert_eq!(packed.iter().map(|p| scale.unpack(*p).1).sum::<f64>(), 2.0);
        assert!(pack(&[0.0], &[1.0], 1).is_none());
    }
}
