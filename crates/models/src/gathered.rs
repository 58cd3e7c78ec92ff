//! Scores added up item by item.

use crate::TopItems;
use crate::common::{best_allowed, best_of_all};
use crate::memo::Kept;
use dataset::Vocabulary;

/// Scores by item: a table if most are touched, else a list. Both add in the same order, and go through the items in an order that
/// depends on nothing but what was added, so that even how many of them were looked at is a function of the input.
pub(crate) enum Gathered {
    Dense(Vec<f32>),
    Sparse {
        /// Place in `entries` by item.
        places: hashbrown::HashMap<u32, u32>,
        /// In the order of their first addition.
        entries: Vec<(u32, f32)>,
    },
}

impl Kept for Gathered {
    fn bytes(&self) -> usize {
        match self {
            Gathered::Dense(table) => table.len() * 4,
            Gathered::Sparse { places, entries } => places.capacity() * 9 + entries.capacity() * 8,
        }
    }
}

impl Gathered {
    /// For this many items, when about `work` additions are to come.
    pub(crate) fn new(n_items: usize, work: usize) -> Gathered {
        if work.saturating_mul(16) >= n_items {
            Gathered::Dense(vec![0.0; n_items])
        } else {
            Gathered::Sparse {
                places: hashbrown::HashMap::with_capacity(work),
                entries: Vec::with_capacity(work),
            }
        }
    }

    /// Adds `by` times each value to its item.
    pub(crate) fn add_row(&mut self, by: f32, row: impl Iterator<Item = (u32, f32)>) {
        match self {
            Gathered::Dense(table) => {
                for (item, value) in row {
                    table[item as usize] += by * value;
                }
            }
            Gathered::Sparse { places, entries } => {
                for (item, value) in row {
                    let place = *places.entry(item).or_insert_with(|| {
                        entries.push((item, 0.0));
                        entries.len() as u32 - 1
                    });
                    entries[place as usize].1 += by * value;
                }
            }
        }
    }

    pub(crate) fn get(&self, item: u32) -> f32 {
        match self {
            Gathered::Dense(table) => table.get(item as usize).copied().unwrap_or(0.0),
            Gathered::Sparse { places, entries } => {
                let place = places.get(&item);
                place.map_or(0.0, |place| entries[*place as usize].1)
            }
        }
    }

    /// Adds these to the scores of the first items.
    pub(crate) fn add_to(&self, scores: &mut [f32]) {
        match self {
            Gathered::Dense(table) => scores
                .iter_mut()
                .zip(table)
                .for_each(|(score, own)| *score += own),
            Gathered::Sparse { entries, .. } => {
                for (item, own) in entries {
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
            Gathered::Dense(table) => best_of_all(vocabulary, n, allowed, table),
            Gathered::Sparse { entries, .. } => best_allowed(vocabulary, n, allowed, entries.iter().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn items_are_looked_at_in_an_order_that_follows_from_the_additions() {
        let mut vocabulary = Vocabulary::default();
        for item in 0..10_000 {
            vocabulary.insert(&domain::ItemId::new(format!("i{item}")).unwrap());
        }
        let looked_at = || {
            let mut gathered = Gathered::new(10_000, 100);
            gathered.add_row(
                1.0,
                (0..100u32).map(|n| (n * 7919 % 10_000, 1.0 + (n % 13) as f32)),
            );
            assert!(matches!(gathered, Gathered::Sparse { .. }));
            let asked = RefCell::new(Vec::new());
            gathered.best(&vocabulary, 5, &|item| {
                asked.borrow_mut().push(item);
                item % 3 > 0
            });
            asked.into_inner()
        };
        assert_eq!(looked_at(), looked_at());
    }
}
