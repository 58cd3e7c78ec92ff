//! Answers that depend on the item alone, worked out once for each item of a catalogue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const TRUE: u16 = 1;
const FALSE: u16 = 2;
const ABSENT: u16 = 3;
/// Bits of an answer, and all of them.
const BITS: usize = 2;
const ANSWER: u16 = (1 << BITS) - 1;
/// Slots whose answers about an item lie together, so that what several rules say of it comes with one line of the cache.
const SLOTS: usize = u16::BITS as usize / BITS;

/// Memory: two bytes per item for every eight slots of which one is asked for at least once, and four for each attribute that a quota counts by.
#[derive(Debug, Default)]
pub struct Memos {
    n_items: usize,
    n_slots: usize,
    /// Answers by item, eight slots in each list.
    answers: Vec<OnceLock<Vec<AtomicU16>>>,
    kinds: Mutex<BTreeMap<String, Arc<Kinds>>>,
}

/// Items by all they have of one attribute: those of one kind have the same values.
#[derive(Debug)]
pub(crate) struct Kinds {
    /// Number of the kind by item, 0 where nobody has asked yet.
    by_item: Vec<AtomicU32>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    numbers: BTreeMap<Vec<String>, u32>,
    /// By number less one.
    values: Vec<Arc<[String]>>,
}

impl Kinds {
    fn new(n_items: usize) -> Kinds {
        Kinds {
            by_item: (0..n_items).map(|_| AtomicU32::new(0)).collect(),
            known: Mutex::default(),
        }
    }

    /// The number of an item's kind, `values` being what it has; `None` for an item beyond those that there were.
    pub(crate) fn of<'a>(&self, item: u32, values: impl FnOnce() -> Vec<&'a str>) -> Option<u32> {
        let cell = self.by_item.get(item as usize)?;
        match cell.load(Ordering::Relaxed) {
            0 => {
                let values: Vec<String> = values().into_iter().map(str::to_owned).collect();
                let known = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner);
                let next = known.values.len() as u32 + 1;
                let number = *known.numbers.entry(values.clone()).or_insert(next);
                if number == next {
                    known.values.push(values.into());
                }
                cell.store(number, Ordering::Relaxed);
                Some(number)
            }
            number => Some(number),
        }
    }

    /// What the items of these kinds have.
    pub(crate) fn values(&self, kinds: impl Iterator<Item = u32>) -> Vec<Arc<[String]>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        kinds
            .map(|kind| known.values[kind as usize - 1].clone())
            .collect()
    }
}

impl Memos {
    /// Empty, for a catalogue of so many items.
    pub fn new(n_slots: usize, n_items: usize) -> Memos {
        Memos {
            n_items,
            n_slots,
            answers: (0..n_slots.div_ceil(SLOTS)).map(|_| OnceLock::new()).collect(),
            kinds: Mutex::default(),
        }
    }

    /// Items by what they have of an attribute.
    pub(crate) fn kinds(&self, attribute: &str) -> Arc<Kinds> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get(attribute) {
            Some(known) => known.clone(),
            None => {
                let new = Arc::new(Kinds::new(self.n_items));
                kinds.insert(attribute.to_owned(), new.clone());
                new
            }
        }
    }

    /// The remembered answer, or that of `work`, which is then remembered.
    pub(crate) fn get(&self, slot: usize, item: u32, work: impl FnOnce() -> Option<bool>) -> Option<bool> {
        let list = self.answers.get(slot / SLOTS).filter(|_| slot < self.n_slots);
        let cell = list.and_then(|list| {
            let all = list.get_or_init(|| (0..self.n_items).map(|_| AtomicU16::new(0)).collect());
            all.get(item as usize)
        });
        let Some(cell) = cell else {
            return work();
        };
        let shift = slot % SLOTS * BITS;
        match (cell.load(Ordering::Relaxed) >> shift) & ANSWER {
            TRUE => Some(true),
            FALSE => Some(false),
            ABSENT => None,
            _ => {
                let answer = work();
                let known = match answer {
                    Some(true) => TRUE,
                    Some(false) => FALSE,
                    None => ABSENT,
                };
                // Whoever else works it out comes to the same, so that bits are only ever added.
                cell.fetch_or(known << shift, Ordering::Relaxed);
                answer
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_remembered_apart() {
        let n_slots = 2 * SLOTS + 3;
        let memos = Memos::new(n_slots, 5);
        let of = |slot: usize, item: u32| [Some(true), Some(false), None][(slot * 7 + item as usize * 5) % 3];
        let all = || (0..n_slots).flat_map(|slot| (0..5u32).map(move |item| (slot, item)));
        // In an order in which neighbours come apart from each other.
        let mut order: Vec<(usize, u32)> = all().collect();
        numeric::SeededStream::new(1, 1).shuffle(&mut order);
        for (slot, item) in order {
            assert_eq!(memos.get(slot, item, || of(slot, item)), of(slot, item));
        }
        for (slot, item) in all() {
            assert_eq!(
                memos.get(slot, item, || unreachable!()),
                of(slot, item),
                "{slot} {item}"
            );
        }
        for (slot, item) in [(n_slots, 0), (3 * SLOTS, 0), (0, 5)] {
            for answer in [Some(true), None] {
                assert_eq!(memos.get(slot, item, || answer), answer, "beyond what there is");
            }
        }
    }

    #[test]
    fn items_are_of_one_kind_that_have_the_same_values() {
        let memos = Memos::new(0, 4);
        let kinds = memos.kinds("genres");
        let of: [&[&str]; 4] = [&["war", "drama"], &[], &["war"], &["war", "drama"]];
        let ask = |item: u32| {
            kinds
                .of(item, || of[item as usize].to_vec())
                .expect("it is one of four")
        };
        let first: Vec<u32> = (0..4).map(ask).collect();
        assert_eq!(first, [1, 2, 3, 1]);
        // Nobody is asked a second time, by whatever handle.
        let again = memos.kinds("genres");
        let known: Vec<Option<u32>> = (0..4).map(|item| again.of(item, || unreachable!())).collect();
        assert_eq!(known, [1, 2, 3, 1].map(Some));
        let values = again.values([3, 1, 2].into_iter());
        let values: Vec<Vec<&str>> = values
            .iter()
            .map(|list| list.iter().map(String::as_str).collect())
            .collect();
        assert_eq!(values, [vec!["war"], vec!["war", "drama"], vec![]]);
        assert_eq!(kinds.of(4, || vec!["war"]), None, "it came later");
        assert_eq!(memos.kinds("maker").of(2, || vec!["a"]), Some(1));
    }
}
