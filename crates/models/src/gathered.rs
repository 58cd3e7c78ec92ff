//! Scores added up item by item.

use crate::TopItems;
use crate::common::best_allowed;
use crate::memo::Kept;
use dataset::Vocabulary;

/// Scores by item: a table if most are touched, else a map. Both add in the same order.
pub(crate) enum Gathered {
    Dense(Vec<f32>),
    Sparse(hashbrown::HashMap<u32, f32>),
}

impl Kept for Gathered {
    fn bytes(&self) -> usize {
        match self {
            Gathered::Dense(table) => table.len() * 4,
            Gathered::Sparse(map) => map.capacity() * 9,
        }
    }
}

impl Gathered {
    /// For this many items, when about `work` additions are to come.
    pub(crate) fn new(n_items: usize, work: usize) -> Gathered {
        if work.saturating_mul(16) >= n_items {
            Gathered::Dense(vec![0.0; n_items])
        } else {
            Gathered::Sparse(hashbrown::HashMap::with_capacity(work))
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, item: u32, value: f32) {
        match self {
            Gathered::Dense(table) => table[item as usize] += value,
            Gathered::Sparse(map) => *map.entry(item).or_insert(0.0) += value,
        }
    }

    pub(crate) fn get(&self, item: u32) -> f32 {
        match self {
            Gathered::Dense(table) => table.get(item as usize).copied().unwrap_or(0.0),
            Gathered::Sparse(map) => map.get(&item).copied().unwrap_or(0.0),
        }
    }

    /// Adds these to the scores of the first items.
    pub(crate) fn add_to(&self, scores: &mut [f32]) {
        match self {
            Gathered::Dense(table) => scores
                .iter_mut()
                .zip(table)
                .for_each(|(score, own)| *score += own),
            Gathered::Sparse(map) => {
                for (item, own) in map {
                    if let Some(score) = scores.get_mut(*item as usize) {
                        *score += own;
                    }
                }
            }
        }
    }

    /// The best `n` that `allowed` admits, without zeros.
    pub(crate) fn best(&self, vocabulary: &Vocabulary, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        match self {
            Gathered::Dense(table) => {
                let entries = (0u32..).zip(table.iter().copied());
                best_allowed(vocabulary, n, allowed, entries)
            }
            Gathered::Sparse(map) => {
                let entries = map.iter().map(|(item, score)| (*item, *score));
                best_allowed(vocabulary, n, allowed, entries)
            }
        }
    }
}
