//! What changes while the service runs: user states, and events that the models have yet to take in.

use crate::catalogue::Positions;
use domain::{Event, HistoryEvent, Sequence, Timestamp, UserId};
use signals::{EventTypes, ShardedUserStates};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
    pending: Vec<Pending>,
    /// Events of types that are not configured, by type.
    unknown: BTreeMap<String, u64>,
}

/// State derived from the log.
pub(crate) struct Live {
    pub(crate) positions: Positions,
    pub(crate) states: ShardedUserStates,
    queue: Mutex<Queue>,
}

impl Live {
    pub(crate) fn new(history_events_max: usize) -> Live {
        Live {
            positions: Positions::default(),
            states: ShardedUserStates::new(history_events_max),
            queue: Mutex::default(),
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
                self.queue().pending.push(pending);
            }
            None if types.get(event.event_type.as_str()).is_none() => {
                *self.queue().unknown.entry(event.event_type.as_str().to_owned()).or_default() += 1;
            }
            _ => {}
        }
    }

    pub(crate) fn unknown_types(&self) -> BTreeMap<String, u64> {
        self.queue().unknown.clone()
    }

    /// Hands out what is waiting, in order of sequence.
    pub(crate) fn drain(&self) -> Vec<Pending> {
        let mut pending = std::mem::take(&mut self.queue().pending);
        pending.sort_by_key(|p| p.sequence);
        pending
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
            let mut taken: BTreeMap<(i64, u32, &str), usize> = BTreeMap::new();
            for at in &mine {
                let p = &pending[*at];
                *taken.entry((p.event.timestamp.0, p.item, p.event.event_type.as_str())).or_default() += 1;
            }
            let mut before: Vec<HistoryEvent> = Vec::new();
            for recent in self.states.recent(user, usize::MAX).into_iter().rev() {
                let key = (recent.timestamp.0, recent.item, recent.event_type.as_str());
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
