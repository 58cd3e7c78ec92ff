//! What was worked out for a history a moment ago.
//!
//! One request asks a model about the same history several times: for candidates, for their scores, for the parts
//! of each score. Each thread keeps the last few results, by model instance and history, so that folding a history in
//! costs once per request. A result depends on nothing but instance and history; an instance that changes takes a new
//! number, and so does a copy.

use crate::{Someone, UserFeatures};
use domain::HistoryEvent;
use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Results kept per thread: a few models, and one history or two.
const KEPT: usize = 8;

static NEXT: AtomicU64 = AtomicU64::new(1);

struct Entry {
    instance: u64,
    history: Vec<HistoryEvent>,
    attributes: UserFeatures,
    result: Rc<dyn Any>,
}

thread_local! {
    static LATEST: RefCell<VecDeque<Entry>> = const { RefCell::new(VecDeque::new()) };
}

/// The number of one model instance in one state.
#[derive(Debug)]
pub(crate) struct Memo(u64);

impl Default for Memo {
    fn default() -> Memo {
        Memo(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Clone for Memo {
    /// A copy may go its own way, so it has a number of its own.
    fn clone(&self) -> Memo {
        Memo::default()
    }
}

impl Memo {
    /// Forgets: to be called whenever the instance has changed.
    pub(crate) fn renew(&mut self) {
        *self = Memo::default();
    }

    /// The result for a history, worked out if it is not at hand.
    pub(crate) fn of<T: 'static>(&self, history: &[HistoryEvent], work: impl FnOnce() -> T) -> Rc<T> {
        self.of_someone(Someone::with_history(history), work)
    }

    /// The result for someone, worked out if it is not at hand.
    pub(crate) fn of_someone<T: 'static>(&self, someone: Someone<'_>, work: impl FnOnce() -> T) -> Rc<T> {
        let Someone { history, attributes } = someone;
        let is_it = |entry: &Entry| {
            entry.instance == self.0 && entry.history == history && entry.attributes == *attributes
        };
        let known =
            LATEST.with_borrow(|latest| latest.iter().find(|e| is_it(e)).map(|e| Rc::clone(&e.result)));
        if let Some(known) = known.and_then(|result| result.downcast::<T>().ok()) {
            return known;
        }
        // Not borrowed meanwhile: a blend's work may ask for that of its parts.
        let made = Rc::new(work());
        LATEST.with_borrow_mut(|latest| {
            latest.truncate(KEPT - 1);
            latest.push_front(Entry {
                instance: self.0,
                history: history.to_vec(),
                attributes: attributes.clone(),
                result: Rc::clone(&made) as Rc<dyn Any>,
            });
        });
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            *memo.of(&history(item), || {
                count += 1;
                count
            })
        };
        assert_eq!(
            (ask(&memo, 1), ask(&memo, 1), ask(&memo, 2), ask(&memo, 1)),
            (1, 1, 2, 1)
        );
        assert_eq!(ask(&memo.clone(), 1), 3);
        memo.renew();
        assert_eq!(ask(&memo, 1), 4);
        for item in 10..30 {
            ask(&memo, item);
        }
        assert_eq!(ask(&memo, 1), 25, "old results go");
    }
}
