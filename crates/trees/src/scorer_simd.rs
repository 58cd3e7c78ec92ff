//! The scorer's two loops by hand: sixteen rows in one register, or eight in each of two. Comparisons, masks and sums are those of the plain
//! loops in `scorer`, so the scores are the same to the last bit.

use crate::scorer::{LANES, Layout, List, STEP};
use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512d, __m512i, _CMP_GT_OQ, _CMP_NLE_UQ, _mm256_add_pd, _mm256_and_si256,
    _mm256_andnot_si256, _mm256_castpd_ps, _mm256_castps_si256, _mm256_castps256_ps128, _mm256_cmp_ps,
    _mm256_cvtepi32_ps, _mm256_cvtps_pd, _mm256_extractf128_ps, _mm256_i32gather_ps, _mm256_loadu_pd,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_or_si256, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_si256, _mm256_srli_epi32, _mm256_storeu_pd, _mm256_storeu_si256,
    _mm256_sub_epi32, _mm512_add_pd, _mm512_and_si512, _mm512_castps_pd, _mm512_castps512_ps256,
    _mm512_cmp_ps_mask, _mm512_cvtps_pd, _mm512_extractf64x4_pd, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_lzcnt_epi32, _mm512_mask_and_epi32, _mm512_permutex2var_ps, _mm512_set1_epi32, _mm512_set1_pd,
    _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_pd, _mm512_storeu_si512, _mm512_sub_epi32,
};

/// Scores sixteen rows; see [`Layout`].
#[target_feature(enable = "avx512f,avx512cd")]
pub(crate) fn avx512(
    layout: &Layout,
    columns: &[[f32; LANES]],
    alive: &mut [[u32; LANES]],
    sums: &mut [f64; LANES],
) {
    assert_eq!(columns.len(), layout.n_features, "a column per feature");
    assert_eq!(alive.len(), layout.leaves.len(), "a word per tree and row");
    alive.fill([u32::MAX; LANES]);
    for asked in &layout.asked {
        let column = &columns[asked.feature];
        // SAFETY: sixteen floats are there.
        let values = unsafe { _mm512_loadu_ps(column.as_ptr()) };
        strike512::<_CMP_GT_OQ>(&asked.missing_left, values, alive);
        strike512::<_CMP_NLE_UQ>(&asked.missing_right, values, alive);
        if !asked.sets.is_empty() {
            Layout::strike_sets(asked, column, alive);
        }
    }
    let mut low: __m512d = _mm512_set1_pd(layout.base);
    let mut high: __m512d = low;
    let last = _mm512_set1_epi32(31);
    for (alive, leaves) in alive.iter().zip(&layout.leaves) {
        // SAFETY: sixteen words and 32 floats are there.
        let (bits, first, second) = unsafe {
            (
                _mm512_loadu_si512(alive.as_ptr().cast()),
                _mm512_loadu_ps(leaves.as_ptr()),
                _mm512_loadu_ps(leaves.as_ptr().add(16)),
            )
        };
        // The lowest bit alone; its leading zeros counted from 31 are its number.
        let lowest = _mm512_and_si512(bits, _mm512_sub_epi32(_mm512_setzero_si512(), bits));
        let leaf = _mm512_sub_epi32(last, _mm512_lzcnt_epi32(lowest));
        let answers: __m512 = _mm512_permutex2var_ps(first, leaf, second);
        let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(answers)));
        low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(answers)));
        high = _mm512_add_pd(high, _mm512_cvtps_pd(upper));
    }
    // SAFETY: there is room for sixteen.
    unsafe {
        _mm512_storeu_pd(sums.as_mut_ptr(), low);
        _mm512_storeu_pd(sums.as_mut_ptr().add(8), high);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512cd")]
fn strike512<const TEST: i32>(list: &List, values: __m512, alive: &mut [[u32; LANES]]) {
    let (bounds, _) = list.bounds.as_chunks::<STEP>();
    let (keeps, _) = list.keeps.as_chunks::<STEP>();
    let (trees, _) = list.trees.as_chunks::<STEP>();
    for ((bounds, keeps), trees) in bounds.iter().zip(keeps).zip(trees) {
        // Bounds rise: if none fails the first, none fails the others.
        if _mm512_cmp_ps_mask::<TEST>(values, _mm512_set1_ps(bounds[0])) == 0 {
            return;
        }
        for at in 0..STEP {
            let fails = _mm512_cmp_ps_mask::<TEST>(values, _mm512_set1_ps(bounds[at]));
            let words = &mut alive[trees[at] as usize];
            // SAFETY: sixteen words are there.
            unsafe {
                let before: __m512i = _mm512_loadu_si512(words.as_ptr().cast());
                let after = _mm512_mask_and_epi32(before, fails, before, _mm512_set1_epi32(keeps[at] as i32));
                _mm512_storeu_si512(words.as_mut_ptr().cast(), after);
            }
        }
    }
}

/// The same with eight rows in each of two registers.
#[target_feature(enable = "avx2")]
pub(crate) fn avx2(
    layout: &Layout,
    columns: &[[f32; LANES]],
    alive: &mut [[u32; LANES]],
    sums: &mut [f64; LANES],
) {
    assert_eq!(columns.len(), layout.n_features, "a column per feature");
    assert_eq!(alive.len(), layout.leaves.len(), "a word per tree and row");
    alive.fill([u32::MAX; LANES]);
    for asked in &layout.asked {
        let column = &columns[asked.feature];
        // SAFETY: sixteen floats are there.
        let values = unsafe {
            [
                _mm256_loadu_ps(column.as_ptr()),
                _mm256_loadu_ps(column.as_ptr().add(8)),
            ]
        };
        strike256::<_CMP_GT_OQ>(&asked.missing_left, values, alive);
        strike256::<_CMP_NLE_UQ>(&asked.missing_right, values, alive);
        if !asked.sets.is_empty() {
            Layout::strike_sets(asked, column, alive);
        }
    }
    sums.fill(layout.base);
    let exponent = _mm256_set1_epi32(127);
    let mask = _mm256_set1_epi32(0xff);
    for (alive, leaves) in alive.iter().zip(&layout.leaves) {
        for half in 0..2 {
            // SAFETY: eight words and eight doubles are there from `half * 8` on; leaves are numbered below 32.
            unsafe {
                let bits = _mm256_loadu_si256(alive.as_ptr().add(half * 8).cast());
                let lowest = _mm256_and_si256(bits, _mm256_sub_epi32(_mm256_setzero_si256(), bits));
                // As a float, one bit is its own number in the exponent (the sign of bit 31 is masked off).
                let float = _mm256_castps_si256(_mm256_cvtepi32_ps(lowest));
                let raised = _mm256_and_si256(_mm256_srli_epi32::<23>(float), mask);
                let leaf = _mm256_sub_epi32(raised, exponent);
                let answers = _mm256_i32gather_ps::<4>(leaves.as_ptr(), leaf);
                let at = sums.as_mut_ptr().add(half * 8);
                let low = _mm256_cvtps_pd(_mm256_castps256_ps128(answers));
                let high = _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(answers));
                _mm256_storeu_pd(at, _mm256_add_pd(_mm256_loadu_pd(at), low));
                _mm256_storeu_pd(at.add(4), _mm256_add_pd(_mm256_loadu_pd(at.add(4)), high));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn strike256<const TEST: i32>(list: &List, values: [__m256; 2], alive: &mut [[u32; LANES]]) {
    for ((bound, keeps), tree) in list.bounds.iter().zip(&list.keeps).zip(&list.trees) {
        let bound = _mm256_set1_ps(*bound);
        let fails = values.map(|values| _mm256_cmp_ps::<TEST>(values, bound));
        if _mm256_movemask_ps(fails[0]) == 0 && _mm256_movemask_ps(fails[1]) == 0 {
            return;
        }
        let keeps = _mm256_set1_epi32(*keeps as i32);
        let words = &mut alive[*tree as usize];
        for (half, fails) in fails.into_iter().enumerate() {
            let fails: __m256i = _mm256_castps_si256(fails);
            let kept = _mm256_or_si256(keeps, _mm256_andnot_si256(fails, _mm256_set1_epi32(-1)));
            // SAFETY: eight words are there from `half * 8` on.
            unsafe {
                let at = words.as_mut_ptr().add(half * 8).cast::<__m256i>();
                _mm256_storeu_si256(at, _mm256_and_si256(_mm256_loadu_si256(at), kept));
            }
        }
    }
}
