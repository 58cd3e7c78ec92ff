//! Answers that depend on the item alone, worked out once for each item of a catalogue.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const ABSENT: u8 = 3;

/// Memory: one byte per item for each slot that is asked for at least once.
#[derive(Debug, Default)]
pub struct Memos {
    n_items: usize,
    slots: Vec<OnceLock<Vec<AtomicU8>>>,
}

impl Memos {
    /// Empty, for a catalogue of so many items.
    pub fn new(n_slots: usize, n_items: usize) -> Memos {
        Memos {
            n_items,
            slots: (0..n_slots).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The remembered answer, or that of `work`, which is then remembered.
    pub(crate) fn get(&self, slot: usize, item: u32, work: impl FnOnce() -> Option<bool>) -> Option<bool> {
        let cell = self.slots.get(slot).and_then(|slot| {
            let all = slot.get_or_init(|| (0..self.n_items).map(|_| AtomicU8::new(0)).collect());
            all.get(item as usize)
        });
        let Some(cell) = cell else {
            return work();
        };
        match cell.load(Ordering::Relaxed) {
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
                cell.store(known, Ordering::Relaxed);
                answer
            }
        }
    }
}
