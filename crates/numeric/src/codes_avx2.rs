//! The loop of `codes` for machines that have AVX2 and no VNNI.
//!
//! The instruction that multiplies bytes in pairs takes one side without sign and adds two products within sixteen bits, where 2·255·127 does not fit. So the sign of the
//! probe's code goes to the vector's: |q|·(±c) with |q| ≤ 127 and |c| ≤ 127 comes to 32,258 at most, and products are exact as in the plain body. A place without a vector may hold −128,
//! whose sign cannot be turned; its step is not a number, so it is no hit whatever comes out.

use crate::codes::{BLOCK, GROUP, Hit, Probe};
use std::arch::x86_64::{
    __m256i, _CMP_GE_OQ, _mm256_abs_epi8, _mm256_add_epi32, _mm256_add_ps, _mm256_cmp_ps, _mm256_cvtepi32_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_movemask_ps,
    _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_si256, _mm256_sign_epi8, _mm256_storeu_ps, _mm256_xor_si256,
};

/// Vectors of a register.
const EIGHT: usize = 8;
/// Registers that a group of a block takes.
const HALVES: usize = BLOCK / EIGHT;

/// True if the machine has what the functions here are compiled for.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("avx2")
}

/// See `codes::scan`, whose checks of lengths it needs.
#[target_feature(enable = "avx2")]
pub(crate) fn scan(blocks: &[u8], steps: &[f32], groups: usize, probes: &[Probe<'_>], hits: &mut [Vec<Hit>]) {
    for (probes, hits) in probes.chunks(4).zip(hits.chunks_mut(4)) {
        match probes.len() {
            4 => several::<4>(blocks, steps, groups, probes, hits),
            3 => several::<3>(blocks, steps, groups, probes, hits),
            2 => several::<2>(blocks, steps, groups, probes, hits),
            _ => several::<1>(blocks, steps, groups, probes, hits),
        }
    }
}

/// P probes with one block after the other.
#[inline]
#[target_feature(enable = "avx2")]
fn several<const P: usize>(
    blocks: &[u8],
    steps: &[f32],
    groups: usize,
    probes: &[Probe<'_>],
    hits: &mut [Vec<Hit>],
) {
    debug_assert!(probes.len() == P && hits.len() == P);
    let size = groups * BLOCK * GROUP;
    let (high, ones) = (_mm256_set1_epi8(i8::MIN), _mm256_set1_epi16(1));
    for block in 0..steps.len() / BLOCK {
        let mut sums: [[__m256i; HALVES]; P] = [[_mm256_setzero_si256(); HALVES]; P];
        for group in 0..groups {
            let start = block * size + group * BLOCK * GROUP;
            let own: [__m256i; HALVES] = std::array::from_fn(|half| {
                // SAFETY: `blocks` holds `size` bytes for each block, of which this reads half of the group's 64.
                let stored =
                    unsafe { _mm256_loadu_si256(blocks.as_ptr().add(start + half * EIGHT * GROUP).cast()) };
                _mm256_xor_si256(stored, high)
            });
            for (sums, probe) in sums.iter_mut().zip(probes) {
                // SAFETY: a probe holds four codes per group.
                let four = unsafe {
                    probe
                        .codes
                        .as_ptr()
                        .add(group * GROUP)
                        .cast::<i32>()
                        .read_unaligned()
                };
                let four = _mm256_set1_epi32(four);
                let sizes = _mm256_abs_epi8(four);
                for (sum, own) in sums.iter_mut().zip(own) {
                    let pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(own, four));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        for ((sums, probe), hits) in sums.iter().zip(probes).zip(hits.iter_mut()) {
            for (half, sum) in sums.iter().enumerate() {
                let first = block * BLOCK + half * EIGHT;
                // SAFETY: there is a step for each of the sixteen vectors of a block.
                let step = unsafe { _mm256_loadu_ps(steps.as_ptr().add(first)) };
                let product = _mm256_mul_ps(_mm256_cvtepi32_ps(*sum), _mm256_set1_ps(probe.step));
                let bound = _mm256_mul_ps(_mm256_add_ps(product, _mm256_set1_ps(probe.slack)), step);
                let above = _mm256_cmp_ps::<_CMP_GE_OQ>(bound, _mm256_set1_ps(probe.floor));
                let mut mask = _mm256_movemask_ps(above);
                if mask == 0 {
                    continue;
                }
                let mut products = [0f32; EIGHT];
                // SAFETY: eight numbers fit.
                unsafe { _mm256_storeu_ps(products.as_mut_ptr(), _mm256_mul_ps(product, step)) };
                while mask != 0 {
                    let lane = mask.trailing_zeros() as usize;
                    hits.push(Hit {
                        at: (first + lane) as u32,
                        product: products[lane],
                    });
                    mask &= mask - 1;
                }
            }
        }
    }
}
