//! Values cut into at most 256 bins per feature. Bin 0 is for what is missing.

use crate::{CATEGORY_MAX, Feature, FeatureKind, Rows};
use std::collections::BTreeMap;

/// Features side by side in one block; a block of histograms fits the first-level cache.
pub(crate) const BLOCK: usize = 16;
/// Rows that boundaries are taken from at most, evenly spaced.
const SAMPLE_ROWS: usize = 200_000;
/// Rows in a bin at least.
const BIN_ROWS_MIN: usize = 3;

/// How one feature is cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cuts {
    /// Upper bounds of bins 1, 2, … ; what is above the last is in the bin after it.
    Number(Vec<f32>),
    /// Categories of bins 1, 2, … ; others are in bin 0.
    Category {
        codes: Vec<u32>,
        bins: BTreeMap<u32, u8>,
    },
}

impl Cuts {
    pub(crate) fn n_bins(&self) -> usize {
        match self {
            Cuts::Number(bounds) => bounds.len() + 2,
            Cuts::Category { codes, .. } => codes.len() + 1,
        }
    }

    fn bin(&self, value: f32) -> u8 {
        match self {
            _ if value.is_nan() => 0,
            Cuts::Number(bounds) => (bounds.partition_point(|b| value > *b) + 1) as u8,
            Cuts::Category { bins, .. } => category(value)
                .and_then(|code| bins.get(&code))
                .copied()
                .unwrap_or(0),
        }
    }
}

/// The category that a value stands for.
#[inline]
pub(crate) fn category(value: f32) -> Option<u32> {
    let code = value as u32;
    (value >= 0.0 && code <= CATEGORY_MAX && code as f32 == value).then_some(code)
}

/// All rows in bins.
#[derive(Debug)]
pub(crate) struct Binned {
    pub(crate) cuts: Vec<Cuts>,
    /// By block of features: per row the bins of its features; what is left over is 0.
    pub(crate) blocks: Vec<Vec<[u8; BLOCK]>>,
    /// Whether rows exist that miss this feature.
    pub(crate) missing: Vec<bool>,
}

impl Binned {
    /// Cuts all features; in parallel on the current pool.
    pub(crate) fn new(rows: &Rows<'_>, bins_max: usize) -> Binned {
        let n = rows.len();
        let width = rows.features.len();
        let cuts = numeric::parallel_chunks(width, 1, |range| cut(rows, range.start, bins_max));
        let filled = numeric::parallel_chunks(width, BLOCK, |range| {
            let mut block = vec![[0u8; BLOCK]; n];
            let mut missing = vec![false; range.len()];
            for (row, bins) in block.iter_mut().enumerate() {
                let values = &rows.row(row)[range.clone()];
                for (((bin, value), cuts), missing) in bins
                    .iter_mut()
                    .zip(values)
                    .zip(&cuts[range.clone()])
                    .zip(&mut missing)
                {
                    *bin = cuts.bin(*value);
                    *missing |= *bin == 0;
                }
            }
            (block, missing)
        });
        let (blocks, missing): (Vec<_>, Vec<_>) = filled.into_iter().unzip();
        Binned {
            cuts,
            blocks,
            missing: missing.concat(),
        }
    }

    #[inline]
    pub(crate) fn bin(&self, feature: usize, row: usize) -> u8 {
        self.blocks[feature / BLOCK][row][feature % BLOCK]
    }
}

fn cut(rows: &Rows<'_>, feature: usize, bins_max: usize) -> Cuts {
    let step = rows.len().div_ceil(SAMPLE_ROWS);
    let sampled = (0..rows.len()).step_by(step).map(|row| rows.row(row)[feature]);
    let Feature { kind, .. } = &rows.features[feature];
    match kind {
        FeatureKind::Number => {
            let mut values: Vec<f32> = sampled.filter(|v| !v.is_nan()).collect();
            // Zero has two signs that compare equal.
            values.iter_mut().filter(|v| **v == 0.0).for_each(|v| *v = 0.0);
            values.sort_unstable_by(f32::total_cmp);
            let distinct: Vec<(f32, usize)> = values
                .chunk_by(|a, b| a == b)
                .map(|run| (run[0], run.len()))
                .collect();
            Cuts::Number(bounds(&distinct, values.len(), bins_max))
        }
        FeatureKind::Category => {
            let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
            sampled
                .filter_map(category)
                .for_each(|code| *counts.entry(code).or_default() += 1);
            let mut by_count: Vec<(u32, usize)> = counts.into_iter().collect();
            by_count.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
            by_count.truncate(bins_max);
            let codes: Vec<u32> = by_count.into_iter().map(|(code, _)| code).collect();
            let bins = codes.iter().zip(1u8..).map(|(code, bin)| (*code, bin)).collect();
            Cuts::Category { codes, bins }
        }
    }
}

/// A number between two neighbours, the lower one included.
fn between(low: f32, high: f32) -> f32 {
    let middle = (f64::from(low) + f64::from(high)) * 0.5;
    let middle = middle as f32;
    if middle < high { middle } else { low }
}

/// Upper bounds such that bins hold about the same number of rows; a value with more than its share ends a bin.
fn bounds(distinct: &[(f32, usize)], total: usize, bins_max: usize) -> Vec<f32> {
    let mut bounds = Vec::new();
    let Some(last) = distinct.len().checked_sub(1) else {
        return bounds;
    };
    let mut held = 0;
    if distinct.len() <= bins_max {
        for pair in distinct.windows(2) {
            held += pair[0].1;
            if held >= BIN_ROWS_MIN {
                bounds.push(between(pair[0].0, pair[1].0));
                held = 0;
            }
        }
        return bounds;
    }
    let share = total as f64 / bins_max as f64;
    let is_large = |at: usize| distinct[at].1 as f64 >= share;
    let large = (0..distinct.len()).filter(|at| is_large(*at));
    let (n_large, rows_large) = large.fold((0, 0), |(n, rows), at| (n + 1, rows + distinct[at].1));
    let (mut bins_left, mut rows_left) = (bins_max - n_large, total - rows_large);
    let size = |rows: usize, bins: usize| rows as f64 / bins.max(1) as f64;
    let mut wanted = size(rows_left, bins_left).max(BIN_ROWS_MIN as f64);
    for at in 0..last {
        let large = is_large(at);
        if !large {
            rows_left -= distinct[at].1;
        }
        held += distinct[at].1;
        let full = held as f64 >= wanted;
        let before_large = is_large(at + 1) && held as f64 >= wanted * 0.5;
        if large || full || before_large {
            bounds.push(between(distinct[at].0, distinct[at + 1].0));
            if bounds.len() + 1 >= bins_max {
                break;
            }
            held = 0;
            if !large {
                bins_left = bins_left.saturating_sub(1);
                wanted = size(rows_left, bins_left).max(BIN_ROWS_MIN as f64);
            }
        }
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_lie_between_values_and_share_rows() {
        let distinct: Vec<(f32, usize)> = (0..1000)
            .map(|v| (v as f32, if v == 10 { 500 } else { 1 }))
            .collect();
        let cuts = bounds(&distinct, 1499, 20);
        assert!(cuts.len() < 20 && cuts.len() > 15, "{}", cuts.len());
        assert!(cuts.contains(&10.5), "{cuts:?}");
        assert!(cuts.is_sorted());
        assert_eq!(bounds(&[(1.0, 5), (2.0, 1), (3.0, 5)], 11, 10), [1.5]);
    }

    #[test]
    fn neighbours_are_told_apart() {
        let (low, high) = (1.0f32, 1.0f32.next_up());
        assert!(between(low, high) >= low && between(low, high) < high);
        assert_eq!(category(3.0), Some(3));
        assert_eq!(category(3.5), None);
        assert_eq!(category(-1.0), None);
        assert_eq!(category(f32::NAN), None);
        assert_eq!(category(65_536.0), None);
    }
}
