//! What changes while the service runs: user states, and events that the models have yet to take in.

use crate::catalogue::Positions;
use domain::{Event, HistoryEvent, Sequence, Timestamp, UserId};
use signals::{EventTypes, ShardedUserStates};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Events that may wait for the models; beyond, the oldest are left to the next training.
const PENDING_MAX: usize = 1_000_000;
/// How long a batch waits for the batches before it. They are on their way: this is for a caller that died.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// An event that the models have yet to take in.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) sequence: Sequence,
    pub(crate) event: Event,
    pub(crate) item: u32,
    /// Strength when it happened.
    pub(crate) weight: f32,
}

/// One interaction with what its user had done before, by catalogue position.
#[derive(Debug, Clone)]
pub(crate) struct Absorbable {
    pub(crate) item: u32,
    pub(crate) weight: f32,
    pub(crate) timestamp: Timestamp,
    pub(crate) before: Vec<HistoryEvent>,
}

#[derive(Default)]
struct Queue {
    pending: VecDeque<Pending>,
    /// Events left to the next training.
    skipped: u64,
    /// Events of types that are not configured, by type.
    unknown: BTreeMap<String, u64>,
}

/// State derived from the log.
pub(crate) struct Live {
    pub(crate) positions: Positions,
    pub(crate) states: ShardedUserStates,
    queue: Mutex<Queue>,
    /// Last number applied, so that batches are applied in the order of the log.
    applied: Mutex<Sequence>,
    turn: Condvar,
}

impl Live {
    pub(crate) fn new(history_events_max: usize) -> Live {
        Live {
            positions: Positions::default(),
            states: ShardedUserStates::new(history_events_max),
            queue: Mutex::default(),
            applied: Mutex::default(),
            turn: Condvar::new(),
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that everything up to `sequence` has been applied.
    pub(crate) fn applied_to(&self, sequence: Sequence) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        *applied = (*applied).max(sequence);
        self.turn.notify_all();
    }

    /// The last number up to which everything has been applied.
    pub(crate) fn applied(&self) -> Sequence {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the accepted events of one batch, once those of all batches before it are in: the
    /// state of a user as of a number is then all of the user's events up to that number.
    pub(crate) fn apply_in_turn(&self, batch: Vec<(Sequence, Event)>, types: &EventTypes, queue: bool) {
        let (Some((first, _)), Some((last, _))) = (batch.first(), batch.last()) else {
            return;
        };
        let (first, last) = (*first, *last);
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .turn
            .wait_timeout_while(applied, TURN_WAIT, |applied| applied.next() < first);
        let (mut applied, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            tracing::warn!(
                first = first.0,
                "applied out of turn: an earlier batch did not come"
            );
        }
        for (sequence, event) in batch {
            self.apply(sequence, event, types, queue);
        }
        *applied = (*applied).max(last);
        drop(applied);
        self.turn.notify_all();
    }

    /// Takes in one accepted event. `queue` says whether there are models to take it in later.
    pub(crate) fn apply(&self, sequence: Sequence, event: Event, types: &EventTypes, queue: bool) {
        let item = self.positions.insert(&event.item_id);
        self.states.apply(sequence, &event, item);
        match types.strength(&event) {
            Some(weight) if queue && weight != 0.0 => {
                let pending = Pending {
                    sequence,
                    event,
                    item,
                    weight,
                };
                let mut queue = self.queue();
                queue.pending.push_back(pending);
                if queue.pending.len() > PENDING_MAX {
                    queue.pending.pop_front();
                    queue.skipped += 1;
                }
            }
            None if types.get(event.event_type.as_str()).is_none() => {
                *self
                    .queue()
                    .unknown
                    .entry(event.event_type.as_str().to_owned())
                    .or_default() += 1;
            }
            _ => {}
        }
    }

    pub(crate) fn unknown_types(&self) -> BTreeMap<String, u64> {
        self.queue().unknown.clone()
    }

    /// Hands out up to `n` of what is waiting, in order of sequence.
    pub(crate) fn drain(&self, n: usize) -> Vec<Pending> {
        let mut queue = self.queue();
        let n = n.min(queue.pending.len());
        queue.pending.drain(..n).collect()
    }

    /// Events waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.queue().pending.len()
    }

    /// Events left to the next training for want of room; `reset` once it has happened.
    pub(crate) fn skipped(&self, reset: bool) -> u64 {
        let mut queue = self.queue();
        if reset {
            std::mem::take(&mut queue.skipped)
        } else {
            queue.skipped
        }
    }

    /// Forgets what a user still has waiting.
    pub(crate) fn forget(&self, user: &UserId) {
        self.queue().pending.retain(|p| p.event.user_id != *user);
    }

    /// Gives each pending event, in order, the history that its user had before it. What is
    /// waiting is already in the states, so it is taken out and put back one by one.
    pub(crate) fn histories(&self, pending: &[Pending], types: &EventTypes) -> Vec<Absorbable> {
        let mut waiting: BTreeMap<&UserId, Vec<usize>> = BTreeMap::new();
        for (at, p) in pending.iter().enumerate() {
            waiting.entry(&p.event.user_id).or_default().push(at);
        }
        let mut out: Vec<Option<Absorbable>> = vec![None; pending.len()];
        for (user, mine) in waiting {
            let mut taken: BTreeMap<(i64, u32, domain::EventType), usize> = BTreeMap::new();
            for at in &mine {
                let p = &pending[*at];
                *taken
                    .entry((p.event.timestamp.0, p.item, p.event.event_type.clone()))
                    .or_default() += 1;
            }
            let mut before: Vec<HistoryEvent> = Vec::new();
            for recent in self.states.recent(user, usize::MAX).into_iter().rev() {
                let key = (recent.timestamp.0, recent.item, recent.event_type.clone());
                if let Some(count) = taken.get_mut(&key).filter(|count| **count > 0) {
                    *count -= 1;
                    continue;
                }
                let config = types.get(recent.event_type.as_str());
                if let Some(weight) = config.and_then(|config| config.strength(recent.value)) {
                    add(&mut before, recent.item, weight);
                }
            }
            for at in mine {
                let p = &pending[at];
                out[at] = Some(Absorbable {
                    item: p.item,
                    weight: p.weight,
                    timestamp: p.event.timestamp,
                    before: before.clone(),
                });
                add(&mut before, p.item, p.weight);
            }
        }
        out.into_iter().flatten().collect()
    }
}

/// Adds a strength to the entry of an item, which moves to the end.
fn add(history: &mut Vec<HistoryEvent>, item: u32, weight: f32) {
    let earlier = history.iter().position(|h| h.item == item);
    let weight = earlier.map_or(weight, |at| history.remove(at).weight + weight);
    history.push(HistoryEvent {
        item,
        weight,
        age_days: 0.0,
    });
}
