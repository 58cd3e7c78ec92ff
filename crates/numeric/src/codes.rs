//! Vectors as small whole numbers, and the loop that compares many of them with a few others.
//!
//! A vector y is kept as codes cᵢ in −127 … 127 with one step s, so that y ≈ s·c. Sixteen vectors form a *block*, stored by
//! groups of four coordinates: `[group][vector][coordinate]`, sixteen times four bytes, which is what one instruction
//! multiplies and adds (VNNI). Codes are stored plus 128, since that instruction takes one side without sign; the surplus
//! is a constant of the other side and taken off it.
//!
//! [`scan`] hands back every vector that could lie above a floor: (a·(c·q) + k)·s ≥ floor, where c·q is the whole-number
//! product, a the step of the other side and k a bound on what rounding may have cost, in steps of the vector. Whole-number
//! products are exact, so every way of computing them gives the same. Several others share one pass over the blocks.
//!
//! Ways: AVX-512 with VNNI by hand; AVX2 by hand (`codes_avx2.rs`); a plain body otherwise.

#[cfg(target_arch = "x86_64")]
use crate::codes_avx2;
use crate::wide::wide;

/// Vectors in a block.
pub const BLOCK: usize = 16;
/// Coordinates in a group.
pub const GROUP: usize = 4;
/// Greatest code.
const CODE_MAX: f32 = 127.0;
/// What is added to a stored code.
const SHIFT: i32 = 128;

/// Groups that vectors of this many coordinates take.
pub fn groups_of(dims: usize) -> usize {
    dims.div_ceil(GROUP)
}

/// What rounding did to one vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounded {
    /// Size of a step; zero for a vector of zeros.
    pub step: f32,
    /// Length of what is lost: ‖y − s·c‖.
    pub lost: f32,
    /// Length of the codes: ‖c‖.
    pub code_length: f32,
}

/// Rounds a vector to codes; what `codes` has beyond the vector is set to zero.
///
/// # Panics
/// If `codes` is shorter than the vector.
pub fn round(vector: &[f32], codes: &mut [i8]) -> Rounded {
    assert!(codes.len() >= vector.len(), "room for every coordinate");
    codes.fill(0);
    let most = vector.iter().fold(0f32, |most, x| most.max(x.abs()));
    if most <= f32::MIN_POSITIVE {
        return Rounded {
            step: 0.0,
            lost: most * (vector.len() as f32).sqrt(),
            code_length: 0.0,
        };
    }
    let step = most / CODE_MAX;
    let (mut lost, mut squares) = (0f64, 0i64);
    for (x, code) in vector.iter().zip(codes.iter_mut()) {
        let rounded = (x / step).round().clamp(-CODE_MAX, CODE_MAX);
        *code = rounded as i8;
        squares += i64::from(*code) * i64::from(*code);
        let left = f64::from(*x) - f64::from(rounded) * f64::from(step);
        lost += left * left;
    }
    Rounded {
        step,
        lost: lost.sqrt() as f32,
        code_length: (squares as f64).sqrt() as f32,
    }
}

/// Puts the codes of one vector at its place among the blocks.
///
/// # Panics
/// If the place is outside of the blocks, or there are not four codes per group.
pub fn place(blocks: &mut [u8], groups: usize, at: usize, codes: &[i8]) {
    assert_eq!(codes.len(), groups * GROUP, "codes of whole groups");
    let block = at / BLOCK * groups * BLOCK * GROUP;
    for (group, four) in codes.chunks_exact(GROUP).enumerate() {
        let start = block + (group * BLOCK + at % BLOCK) * GROUP;
        for (stored, code) in blocks[start..start + GROUP].iter_mut().zip(four) {
            *stored = (i32::from(*code) + SHIFT) as u8;
        }
    }
}

/// What blocks are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    pub(crate) codes: &'a [i8],
    pub(crate) step: f32,
    /// What its products have too much because codes are stored plus 128.
    surplus: i32,
    /// Added to each product before it is multiplied by the vector's step (k).
    pub slack: f32,
    /// Products below are passed over.
    pub floor: f32,
}

impl<'a> Probe<'a> {
    /// A probe with these codes, four per group, and the size of its step (a).
    pub fn new(codes: &'a [i8], step: f32, slack: f32, floor: f32) -> Probe<'a> {
        Probe {
            codes,
            step,
            surplus: SHIFT * codes.iter().map(|code| i32::from(*code)).sum::<i32>(),
            slack,
            floor,
        }
    }
}

/// One vector that could lie above the floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its place within the blocks.
    pub at: u32,
    /// The product as computed, a·(c·q)·s.
    pub product: f32,
}

/// Compares `steps.len()` vectors with each probe and appends its hits, ascending by place. A step that is not a number marks
/// a place without a vector.
///
/// # Panics
/// If lengths do not fit: whole blocks, four codes per group, a list per probe.
pub fn scan(blocks: &[u8], steps: &[f32], groups: usize, probes: &[Probe<'_>], hits: &mut [Vec<Hit>]) {
    assert!(steps.len().is_multiple_of(BLOCK), "whole blocks");
    assert_eq!(
        blocks.len(),
        steps.len() * groups * GROUP,
        "blocks of all vectors"
    );
    assert_eq!(probes.len(), hits.len(), "a list per probe");
    assert!(
        probes.iter().all(|probe| probe.codes.len() == groups * GROUP),
        "codes of whole groups"
    );
    #[cfg(target_arch = "x86_64")]
    if vnni::available() {
        // SAFETY: the machine has the features, and the lengths have been checked.
        return unsafe { vnni::scan(blocks, steps, groups, probes, hits) };
    }
    #[cfg(target_arch = "x86_64")]
    if codes_avx2::available() {
        // SAFETY: as above.
        return unsafe { codes_avx2::scan(blocks, steps, groups, probes, hits) };
    }
    scan_plain(blocks, steps, groups, probes, hits);
}

wide! {
    fn scan_plain(blocks: &[u8], steps: &[f32], groups: usize, probes: &[Probe<'_>], hits: &mut [Vec<Hit>]) {
        for (block, steps) in steps.as_chunks::<BLOCK>().0.iter().enumerate() {
            let size = groups * BLOCK * GROUP;
            let codes = &blocks[block * size..(block + 1) * size];
            for (probe, hits) in probes.iter().zip(hits.iter_mut()) {
                let mut products = [-probe.surplus; BLOCK];
                add_products(codes, probe.codes, &mut products);
                for (lane, (product, step)) in products.iter().zip(steps).enumerate() {
                    let product = *product as f32 * probe.step;
                    if (product + probe.slack) * step >= probe.floor {
                        let at = (block * BLOCK + lane) as u32;
                        hits.push(Hit { at, product: product * step });
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add_products(codes: &[u8], probe: &[i8], products: &mut [i32; BLOCK]) {
    for (group, four) in codes
        .as_chunks::<{ BLOCK * GROUP }>()
        .0
        .iter()
        .zip(probe.as_chunks::<GROUP>().0)
    {
        for (lane, product) in products.iter_mut().enumerate() {
            let own = &group[lane * GROUP..(lane + 1) * GROUP];
            for (code, other) in own.iter().zip(four) {
                *product += i32::from(*code) * i32::from(*other);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use super::{BLOCK, GROUP, Hit, Probe};
    use std::arch::x86_64::{
        __m512i, _CMP_GE_OQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
        _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_storeu_ps,
    };

    /// True if the machine has what the functions here are compiled for.
    pub(super) fn available() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
    }

    /// As `scan`, whose checks of lengths it needs.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn scan(
        blocks: &[u8],
        steps: &[f32],
        groups: usize,
        probes: &[Probe<'_>],
        hits: &mut [Vec<Hit>],
    ) {
        let mut at = 0;
        while at < probes.len() {
            let left = probes.len() - at;
            if left >= 8 {
                several::<8, 1>(blocks, steps, groups, &probes[at..at + 8], &mut hits[at..at + 8]);
                at += 8;
            } else if left >= 4 {
                several::<4, 2>(blocks, steps, groups, &probes[at..at + 4], &mut hits[at..at + 4]);
                at += 4;
            } else if left >= 2 {
                several::<2, 4>(blocks, steps, groups, &probes[at..at + 2], &mut hits[at..at + 2]);
                at += 2;
            } else {
                several::<1, 4>(blocks, steps, groups, &probes[at..=at], &mut hits[at..=at]);
                at += 1;
            }
        }
    }

    /// P probes with B blocks at a time; blocks that are left over go one by one.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn several<const P: usize, const B: usize>(
        blocks: &[u8],
        steps: &[f32],
        groups: usize,
        probes: &[Probe<'_>],
        hits: &mut [Vec<Hit>],
    ) {
        let n_blocks = steps.len() / BLOCK;
        let mut block = 0;
        while block + B <= n_blocks {
            tile::<P, B>(blocks, steps, groups, probes, hits, block);
            block += B;
        }
        while block < n_blocks {
            tile::<P, 1>(blocks, steps, groups, probes, hits, block);
            block += 1;
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn tile<const P: usize, const B: usize>(
        blocks: &[u8],
        steps: &[f32],
        groups: usize,
        probes: &[Probe<'_>],
        hits: &mut [Vec<Hit>],
        block: usize,
    ) {
        debug_assert!((block + B) * BLOCK <= steps.len() && probes.len() == P);
        let size = groups * BLOCK * GROUP;
        let mut sums: [[__m512i; B]; P] = std::array::from_fn(|p| [_mm512_set1_epi32(-probes[p].surplus); B]);
        for group in 0..groups {
            let mut own = [_mm512_set1_epi32(0); B];
            for (b, own) in own.iter_mut().enumerate() {
                let start = (block + b) * size + group * BLOCK * GROUP;
                // SAFETY: `blocks` holds `size` bytes for each block, of which this reads the group's 64.
                *own = unsafe { _mm512_loadu_si512(blocks.as_ptr().add(start).cast()) };
            }
            for (p, sums) in sums.iter_mut().enumerate() {
                // SAFETY: a probe holds four codes per group.
                let four = unsafe {
                    probes[p]
                        .codes
                        .as_ptr()
                        .add(group * GROUP)
                        .cast::<i32>()
                        .read_unaligned()
                };
                let four = _mm512_set1_epi32(four);
                for (sum, own) in sums.iter_mut().zip(own) {
                    *sum = _mm512_dpbusd_epi32(*sum, own, four);
                }
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            let probe = &probes[p];
            for (b, sum) in sums.iter().enumerate() {
                let first = (block + b) * BLOCK;
                // SAFETY: there is a step for each of the sixteen vectors of a block.
                let step = unsafe { _mm512_loadu_ps(steps.as_ptr().add(first)) };
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(*sum), _mm512_set1_ps(probe.step));
                let bound = _mm512_mul_ps(_mm512_add_ps(product, _mm512_set1_ps(probe.slack)), step);
                let mut mask = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(bound, _mm512_set1_ps(probe.floor));
                if mask == 0 {
                    continue;
                }
                let mut products = [0f32; BLOCK];
                // SAFETY: sixteen numbers fit.
                unsafe { _mm512_storeu_ps(products.as_mut_ptr(), _mm512_mul_ps(product, step)) };
                while mask != 0 {
                    let lane = mask.trailing_zeros() as usize;
                    hits[p].push(Hit {
                        at: (first + lane) as u32,
                        product: products[lane],
                    });
                    mask &= mask - 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededStream;
    use proptest::prelude::*;

    fn bits(hits: &[Vec<Hit>]) -> Vec<Vec<(u32, u32)>> {
        let of = |hits: &Vec<Hit>| hits.iter().map(|hit| (hit.at, hit.product.to_bits())).collect();
        hits.iter().map(of).collect()
    }

    proptest! {
        /// All ways agree to the last bit, and no vector whose true product reaches the floor is passed over.
        #[test]
        fn nothing_above_the_floor_is_missed(
            dims in 1usize..70, n_blocks in 1usize..9, n_probes in 1usize..18, seed in 0u64..10_000,
        ) {
            let mut stream = SeededStream::new(seed, 5);
            let groups = groups_of(dims);
            let n = n_blocks * BLOCK;
            let mut draw = |scale: f64| -> Vec<f32> { (0..dims).map(|_| (stream.normal() * scale) as f32).collect() };
            let vectors: Vec<Vec<f32>> = (0..n).map(|at| draw(0.1 + at as f64)).collect();
            let others: Vec<Vec<f32>> = (0..n_probes).map(|_| draw(1.0)).collect();
            let mut blocks = vec![0u8; n * groups * GROUP];
            let mut steps = vec![f32::NAN; n];
            let (mut lost, mut length) = (0f32, 0f32);
            for (at, vector) in vectors.iter().enumerate().filter(|(at, _)| at % 7 != 3) {
                let mut codes = vec![0i8; groups * GROUP];
                let rounded = round(vector, &mut codes);
                place(&mut blocks, groups, at, &codes);
                steps[at] = rounded.step;
                lost = lost.max(rounded.lost / rounded.step);
                length = length.max(rounded.code_length);
            }
            let codes: Vec<(Vec<i8>, Rounded)> = others
                .iter()
                .map(|other| {
                    let mut codes = vec![0i8; groups * GROUP];
                    let rounded = round(other, &mut codes);
                    (codes, rounded)
                })
                .collect();
            let floor = (dims as f32).sqrt();
            let probes: Vec<Probe<'_>> = codes
                .iter()
                .zip(&others)
                .map(|((codes, rounded), other)| {
                    let slack = crate::norm(other) * (lost + 1e-5 * length) + rounded.lost * length;
                    Probe::new(codes, rounded.step, slack, floor)
                })
                .collect();
            let (mut fast, mut plain) = (vec![Vec::new(); n_probes], vec![Vec::new(); n_probes]);
            scan(&blocks, &steps, groups, &probes, &mut fast);
            scan_plain(&blocks, &steps, groups, &probes, &mut plain);
            prop_assert_eq!(bits(&fast), bits(&plain));
            #[cfg(target_arch = "x86_64")]
            if codes_avx2::available() {
                let mut by_hand = vec![Vec::new(); n_probes];
                // SAFETY: the machine has the features, and the lengths are those of above.
                unsafe { codes_avx2::scan(&blocks, &steps, groups, &probes, &mut by_hand) };
                prop_assert_eq!(bits(&by_hand), bits(&plain));
            }
            for (hits, other) in fast.iter().zip(&others) {
                for (at, vector) in vectors.iter().enumerate().filter(|(at, _)| at % 7 != 3) {
                    if crate::dot(vector, other) >= floor {
                        prop_assert!(hits.iter().any(|hit| hit.at == at as u32), "{at} is missing");
                    }
                }
            }
        }
    }

    /// Codes as large as they come, of both signs, whose products fill sixteen bits.
    #[test]
    fn the_largest_codes_do_not_overflow() {
        let groups = groups_of(64);
        let mut blocks = vec![0u8; BLOCK * groups * GROUP];
        for at in 0..BLOCK {
            place(
                &mut blocks,
                groups,
                at,
                &[if at % 2 == 0 { 127 } else { -127 }; 64],
            );
        }
        let probes = [[127i8; 64], [-127; 64]];
        let probes = probes
            .each_ref()
            .map(|codes| Probe::new(codes, 1.0, 0.0, f32::MIN));
        let mut hits = vec![Vec::new(); 2];
        scan(&blocks, &[1.0; BLOCK], groups, &probes, &mut hits);
        for (probe, hits) in hits.iter().enumerate() {
            assert_eq!(hits.len(), BLOCK);
            for hit in hits {
                let sign = if hit.at as usize % 2 == probe { 1.0 } else { -1.0 };
                assert_eq!(hit.product, sign * 64.0 * 127.0 * 127.0);
            }
        }
    }

    #[test]
    fn rounding_by_hand() {
        let mut codes = [9i8; 4];
        let rounded = round(&[1.27, -0.634, 0.0], &mut codes);
        assert_eq!(codes, [127, -63, 0, 0]);
        assert!(
            (rounded.step - 0.01).abs() < 1e-8 && (rounded.lost - 0.004).abs() < 1e-6,
            "{rounded:?}"
        );
        assert_eq!(rounded.code_length, (127f32 * 127.0 + 63.0 * 63.0).sqrt());
        assert_eq!(round(&[0.0; 3], &mut codes).step, 0.0);
    }
}
