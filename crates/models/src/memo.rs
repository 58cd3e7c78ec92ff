//! What was worked out for a history a moment ago.
//!
//! One request asks a model about the same history several times: for candidates, for their scores, for the parts
//! of each score. Each thread keeps the last few results, by model instance and history, so that folding a history in
//! costs once per request. All threads together keep some more, so that it costs once per event for somebody who asks often.
//! A result depends on nothing but instance and history, so there is nothing to invalidate: another event is another history, and an
//! instance that changes takes a new number. Of an event, models read item and strength, not its age, which is another one at every
//! request: what fades has faded in the strength.

use crate::{Someone, UserFeatures};
use domain::HistoryEvent;
use hashbrown::HashMap;
use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Results kept per thread: a few models, and one history or two.
const KEPT: usize = 8;
/// Results kept by all threads together take about as much as this.
const SHARED_BYTES: usize = 64 << 20;
/// Parts of those, with a lock each.
const PARTS: usize = 16;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A result that can be kept.
pub(crate) trait Kept: Any + Send + Sync {
    /// About how much memory it takes.
    fn bytes(&self) -> usize;
}

#[derive(Clone)]
struct Entry {
    instance: u64,
    history: Arc<[HistoryEvent]>,
    attributes: Arc<UserFeatures>,
    result: Arc<dyn Any + Send + Sync>,
}

impl Entry {
    fn is_of(&self, instance: u64, someone: Someone<'_>) -> bool {
        self.instance == instance
            && is_same(&self.history, someone.history)
            && *self.attributes == *someone.attributes
    }
}

fn is_same(one: &[HistoryEvent], other: &[HistoryEvent]) -> bool {
    let of = |event: &HistoryEvent| (event.item, event.weight.to_bits());
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| of(a) == of(b))
}

/// Results of all threads, the oldest going first.
#[derive(Default)]
struct Part {
    by_key: HashMap<u64, (Entry, usize)>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl Part {
    fn insert(&mut self, key: u64, entry: Entry, bytes: usize) {
        self.bytes += bytes;
        match self.by_key.insert(key, (entry, bytes)) {
            Some((_, before)) => self.bytes -= before,
            None => self.order.push_back(key),
        }
        while self.bytes > SHARED_BYTES / PARTS {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.bytes -= self.by_key.remove(&oldest).map_or(0, |(_, bytes)| bytes);
        }
    }
}

static SHARED: LazyLock<[Mutex<Part>; PARTS]> = LazyLock::new(Default::default);

fn part(key: u64) -> std::sync::MutexGuard<'static, Part> {
    let part = &SHARED[(key >> 32) as usize % PARTS];
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that differs for nearly every instance and history.
fn key(instance: u64, history: &[HistoryEvent]) -> u64 {
    let mut key = instance;
    for event in history {
        let bits = u64::from(event.item) << 32 | u64::from(event.weight.to_bits());
        key = (key ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    numeric::mix(key)
}

thread_local! {
    static LATEST: RefCell<VecDeque<Entry>> = const { RefCell::new(VecDeque::new()) };
}

/// The number of one model instance in one state. A copy has the same one until either changes.
#[derive(Debug, Clone)]
pub(crate) struct Memo(u64);

impl Default for Memo {
    fn default() -> Memo {
        Memo(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Memo {
    /// Forgets: to be called whenever the instance has changed in what results depend on.
    pub(crate) fn renew(&mut self) {
        *self = Memo::default();
    }

    /// The result for a history, worked out if it is not at hand.
    pub(crate) fn of<T: Kept>(&self, history: &[HistoryEvent], work: impl FnOnce() -> T) -> Arc<T> {
        self.of_someone(Someone::with_history(history), work)
    }

    /// The result for someone, worked out if it is not at hand.
    pub(crate) fn of_someone<T: Kept>(&self, someone: Someone<'_>, work: impl FnOnce() -> T) -> Arc<T> {
        let Someone { history, attributes } = someone;
        let near = LATEST.with_borrow(|latest| {
            let found = latest.iter().find(|entry| entry.is_of(self.0, someone));
            found.map(|entry| Arc::clone(&entry.result))
        });
        if let Some(known) = near.and_then(|result| result.downcast::<T>().ok()) {
            return known;
        }
        let key = key(self.0, history);
        let shared = part(key).by_key.get(&key).map(|(entry, _)| entry.clone());
        if let Some(entry) = shared.filter(|entry| entry.is_of(self.0, someone))
            && let Ok(known) = Arc::clone(&entry.result).downcast::<T>()
        {
            remember(entry);
            return known;
        }
        // Nothing is borrowed or locked meanwhile: a blend's work may ask for that of its parts.
        let made = Arc::new(work());
        let entry = Entry {
            instance: self.0,
            history: history.into(),
            attributes: Arc::new(attributes.clone()),
            result: Arc::clone(&made) as Arc<dyn Any + Send + Sync>,
        };
        let bytes = made.bytes() + size_of_val(history) + size_of::<Entry>();
        part(key).insert(key, entry.clone(), bytes);
        remember(entry);
        made
    }
}

/// Keeps an entry at hand for this thread.
fn remember(entry: Entry) {
    LATEST.with_borrow_mut(|latest| {
        latest.truncate(KEPT - 1);
        latest.push_front(entry);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Number(u32, usize);

    impl Kept for Number {
        fn bytes(&self) -> usize {
            self.1
        }
    }

    #[test]
    fn results_are_kept_by_instance_and_history() {
        let history = |item: u32| {
            [HistoryEvent {
                item,
                weight: 1.0,
                age_days: 0.0,
            }]
        };
        let mut memo = Memo::default();
        let mut count = 0;
        let mut ask = |memo: &Memo, item: u32| {
            let made = memo.of(&history(item), || {
                count += 1;
                Number(count, SHARED_BYTES / PARTS / 4)
            });
            made.0
        };
        assert_eq!(
            (ask(&memo, 1), ask(&memo, 1), ask(&memo, 2), ask(&memo, 1)),
            (1, 1, 2, 1)
        );
        assert_eq!(
            ask(&memo.clone(), 1),
            1,
            "a copy is the same until one of them changes"
        );
        memo.renew();
        assert_eq!(ask(&memo, 1), 3);
        let elsewhere = memo.clone();
        let known = std::thread::spawn(move || elsewhere.of(&history(1), || Number(99, 1)).0);
        assert_eq!(known.join().ok(), Some(3), "other threads know it");
        // Each takes a quarter of a part.
        for item in 10..610 {
            ask(&memo, item);
        }
        assert_eq!(ask(&memo, 1), 604, "old results go");
    }
}
