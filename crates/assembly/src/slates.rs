//! Slates made a moment ago, for people who ask again before anything has changed.
//!
//! A kept slate is shown as a new decision with an id of its own, made for the moment of the first: with the same snapshot, state and
//! moment, deciding anew would give the same, so the record says nothing that is not so. That holds only where nothing is left to chance,
//! and so only such placements keep slates. An event of the person, a new snapshot or other attributes end it at once, and
//! `slate_cache_ms` in any case.
//!
//! Requests for the same slate that come while it is being made wait for it, instead of making it once more.

use domain::{Sequence, UserId};
use engine::Decided;
use hashbrown::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Parts with a lock each.
const PARTS: usize = 16;
/// Slates kept by each.
const PART_MAX: usize = 512;
/// How long a request waits for the slate that another one makes.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Which slate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SlateKey {
    pub(crate) placement: String,
    pub(crate) user: UserId,
    pub(crate) n: usize,
    pub(crate) explain: bool,
}

/// What it was made of: as long as all of this is the same, so is the slate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    /// Place of the snapshot in memory; whoever asks holds it, and the kept slate's is compared while its own is held too.
    pub(crate) snapshot: usize,
    pub(crate) sequence: Sequence,
    /// Version of what is stored of the person.
    pub(crate) person: u64,
}

struct Kept<S> {
    made: Made,
    at_us: u64,
    decided: Arc<Decided>,
    /// Held, so that nothing else can be at its place in memory.
    _snapshot: Arc<S>,
}

enum Slot<S> {
    Making,
    Ready(Kept<S>),
}

struct Part<S>(HashMap<SlateKey, Slot<S>>);

/// See the head of the module. `S` is the snapshot.
pub(crate) struct Slates<S> {
    parts: [(Mutex<Part<S>>, Condvar); PARTS],
}

impl<S> Default for Slates<S> {
    fn default() -> Self {
        Slates {
            parts: std::array::from_fn(|_| (Mutex::new(Part(HashMap::new())), Condvar::new())),
        }
    }
}

/// Takes the mark away if the slate was not made after all.
struct Making<'a, S> {
    slates: &'a Slates<S>,
    key: &'a SlateKey,
    is_done: bool,
}

impl<S> Drop for Making<'_, S> {
    fn drop(&mut self) {
        if !self.is_done {
            let (mut part, changed) = self.slates.part(self.key);
            part.0.remove(self.key);
            changed.notify_all();
        }
    }
}

impl<S> Slates<S> {
    fn part(&self, key: &SlateKey) -> (MutexGuard<'_, Part<S>>, &Condvar) {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let (part, changed) = &self.parts[hasher.finish() as usize % PARTS];
        (part.lock().unwrap_or_else(PoisonError::into_inner), changed)
    }

    /// The slate, kept or made; the second value is true if it was kept, or made for another request.
    pub(crate) fn of<E>(
        &self,
        key: &SlateKey,
        snapshot: &Arc<S>,
        made: Made,
        now_us: u64,
        age_max_us: u64,
        make: impl FnOnce() -> Result<Decided, E>,
    ) -> Result<(Arc<Decided>, bool), E> {
        let (mut part, changed) = self.part(key);
        let is_making = |part: &mut Part<S>| matches!(part.0.get(key), Some(Slot::Making));
        if is_making(&mut part) {
            let waited = changed.wait_timeout_while(part, WAIT_MAX, is_making);
            part = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        match part.0.get(key) {
            Some(Slot::Ready(kept))
                if kept.made == made && now_us.saturating_sub(kept.at_us) < age_max_us =>
            {
                return Ok((kept.decided.clone(), true));
            }
            // It takes longer than it may: everybody for himself.
            Some(Slot::Making) => {
                drop(part);
                return Ok((Arc::new(make()?), false));
            }
            _ => {}
        }
        if part.0.len() >= PART_MAX {
            part.0.retain(|_, slot| matches!(slot, Slot::Making));
        }
        part.0.insert(key.clone(), Slot::Making);
        drop(part);
        let mut making = Making {
            slates: self,
            key,
            is_done: false,
        };
        let decided = Arc::new(make()?);
        if !decided.decision.degraded.is_empty() {
            // The next one may go as configured.
            return Ok((decided, false));
        }
        let (mut part, changed) = self.part(key);
        let kept = Kept {
            made,
            at_us: now_us,
            decided: decided.clone(),
            _snapshot: snapshot.clone(),
        };
        part.0.insert(key.clone(), Slot::Ready(kept));
        making.is_done = true;
        changed.notify_all();
        Ok((decided, false))
    }

    /// Drops everything of someone.
    pub(crate) fn forget(&self, user: &UserId) {
        for (part, _) in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.0
                .retain(|key, slot| key.user != *user || matches!(slot, Slot::Making));
        }
    }
}
