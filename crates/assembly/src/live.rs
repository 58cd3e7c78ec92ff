//! What changes while the service runs: user states, and events that the models have yet to take in.

use crate::absorb::{Absorbable, history_of};
use crate::catalogue::Positions;
use domain::{Event, Sequence, UserId};
use hashbrown::{HashMap, HashSet};
use signals::{EventTypes, KeptEvents, RecentEvent, ShardedUserStates};
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Events that may wait for the models; beyond, the oldest are left to the next training.
const PENDING_MAX: usize = 1_000_000;
/// How long a batch waits for the batches before it. They are on their way: this is for a caller that died.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// An event that the models have yet to take in. Those that count for nothing wait with the others, since states have them.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) sequence: Sequence,
    pub(crate) event: Event,
    pub(crate) item: u32,
    /// Strength when it happened; zero if it counts for nothing.
    pub(crate) weight: f32,
}

impl Pending {
    fn kept(&self) -> RecentEvent {
        RecentEvent {
            item: self.item,
            event_type: self.event.event_type.clone(),
            timestamp: self.event.timestamp,
            value: self.event.value,
        }
    }
}

/// Events that count.
pub(crate) fn counting(pending: &[Pending]) -> usize {
    pending.iter().filter(|p| p.weight != 0.0).count()
}

#[derive(Default)]
struct Queue {
    pending: VecDeque<Pending>,
    /// Events left to the next training.
    skipped: u64,
    /// Whether some were left out since the queue was last empty.
    has_hole: bool,
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
    pub(crate) fn new(positions: Positions, history_events_max: usize) -> Live {
        Live {
            positions,
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
        self.positions.save(false);
        self.turn.notify_all();
    }

    /// Takes in one accepted event. `queue` says whether there are models to take it in later.
    pub(crate) fn apply(&self, sequence: Sequence, event: Event, types: &EventTypes, queue: bool) {
        let item = self.positions.insert(&event.item_id);
        let strength = types.strength(&event);
        if queue {
            let pending = Pending {
                sequence,
                event: event.clone(),
                item,
                weight: strength.unwrap_or(0.0),
            };
            let mut queue = self.queue();
            queue.pending.push_back(pending);
            if queue.pending.len() > PENDING_MAX {
                let gone = queue.pending.pop_front();
                queue.skipped += u64::from(gone.is_some_and(|gone| gone.weight != 0.0));
                queue.has_hole = true;
            }
        }
        if strength.is_none() && types.get(event.event_type.as_str()).is_none() {
            let name = event.event_type.as_str().to_owned();
            *self.queue().unknown.entry(name).or_default() += 1;
        }
        // After it waits: what a state has, and no model yet, is then always among what waits.
        self.states.apply(sequence, &event, item);
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

    /// Leaves events that were handed out to the next training.
    pub(crate) fn skip(&self, n: usize) {
        self.queue().skipped += n as u64;
    }

    /// Forgets what a user still has waiting.
    pub(crate) fn forget(&self, user: &UserId) {
        self.queue().pending.retain(|p| p.event.user_id != *user);
    }

    /// What there is to absorb of events handed out, in order, and users of whom that cannot be told from the states, since too much has come
    /// after: theirs must be read from the log. Call while nothing else hands out.
    pub(crate) fn absorbables(
        &self,
        pending: &[Pending],
        types: &EventTypes,
    ) -> (Vec<Absorbable>, HashSet<UserId>) {
        let mut later: HashMap<&UserId, Vec<(Sequence, RecentEvent, f32)>> = HashMap::new();
        for p in pending.iter().filter(|p| p.weight != 0.0) {
            later.entry(&p.event.user_id).or_default();
        }
        for p in pending {
            if let Some(mine) = later.get_mut(&p.event.user_id) {
                mine.push((p.sequence, p.kept(), p.weight));
            }
        }
        let n_mine: HashMap<&UserId, usize> = later.iter().map(|(user, mine)| (*user, mine.len())).collect();
        let has_hole = {
            let mut queue = self.queue();
            for p in &queue.pending {
                if let Some(mine) = later.get_mut(&p.event.user_id) {
                    mine.push((p.sequence, p.kept(), 0.0));
                }
            }
            let has_hole = queue.has_hole;
            queue.has_hole &= !queue.pending.is_empty();
            has_hole
        };
        let (mut found, mut unclear) = (Vec::with_capacity(pending.len()), HashSet::new());
        for (user, mut mine) in later {
            let mut kept = self.states.kept(user);
            // Events that came in since the queue was looked at.
            while mine.last().is_some_and(|(last, ..)| kept.sequence > *last) {
                let last = mine.last().map_or(Sequence::ZERO, |(last, ..)| *last);
                let queue = self.queue();
                let newer = queue
                    .pending
                    .iter()
                    .filter(|p| p.sequence > last && p.event.user_id == *user);
                let known = mine.len();
                mine.extend(newer.map(|p| (p.sequence, p.kept(), 0.0)));
                if mine.len() == known {
                    break;
                }
                drop(queue);
                kept = self.states.kept(user);
            }
            let to_absorb = n_mine[user];
            match before_each(kept, &mine, to_absorb, self.states.history_events_max(), types) {
                Some(told) if !has_hole => found.extend(told),
                _ => {
                    unclear.insert(user.clone());
                }
            }
        }
        found.sort_unstable_by_key(|absorbable| absorbable.sequence);
        (found, unclear)
    }
}

/// Absorbables of the first `to_absorb` of one user's `later` events: the state, led back to before all of them, takes them in one by one. `None` if it cannot be led back so far.
fn before_each(
    kept: KeptEvents,
    later: &[(Sequence, RecentEvent, f32)],
    to_absorb: usize,
    history_events_max: usize,
    types: &EventTypes,
) -> Option<Vec<Absorbable>> {
    let mut gone: Vec<&RecentEvent> = later
        .iter()
        .filter(|(at, ..)| *at <= kept.sequence)
        .map(|(_, e, _)| e)
        .collect();
    gone.sort_by(|a, b| a.order(b));
    let mut events = kept.events;
    let mut next = gone.into_iter().peekable();
    // Both are in order, so that one pass takes out what came later.
    events.retain(|event| {
        while next.next_if(|gone| gone.order(event) == Ordering::Less).is_some() {}
        next.next_if(|gone| gone.order(event) == Ordering::Equal)
            .is_none()
    });
    if !kept.is_whole && events.len() < history_events_max {
        return None;
    }
    let mut found = Vec::with_capacity(to_absorb);
    for (sequence, event, weight) in &later[..to_absorb] {
        if *weight != 0.0 {
            let visible = events.len().saturating_sub(history_events_max);
            found.push(Absorbable {
                sequence: *sequence,
                item: event.item,
                weight: *weight,
                timestamp: event.timestamp,
                before: history_of(events[visible..].iter(), types),
            });
        }
        let place = events.partition_point(|known| known.order(event) != Ordering::Greater);
        events.insert(place, event.clone());
    }
    Some(found)
}
