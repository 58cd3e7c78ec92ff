//! User state: what a person did lately, as a fold over events.
//!
//! Per user the [`UserStates`] keep the latest events by event time as records of 24 bytes: the
//! `history_events_max` that decisions see, and a few more, so that the state before the latest few can be told. Nothing derived is stored: strengths, decay and
//! the list of seen items are worked out when read, so that a changed [`EventTypes`] takes effect
//! at once and nothing is imported again. Events of unknown types are kept and count as nothing
//! until their type is configured.
//!
//! The fold does not depend on the order in which events are applied: what is kept is the latest
//! `history_events_max` events by (time, item, type, value), whatever the order or the batches.
//! Applying the same event twice counts it twice; the log gives every event once.
//!
//! Cost: applying is O(log k) for an event later than the others, O(k) otherwise; reading is
//! O(k log k); memory is 24 bytes per event and about 100 per user. Limit: an item whose events
//! have all left the window is no longer known as seen.

use crate::EventTypes;
use domain::{Event, EventType, HistoryEvent, Sequence, Timestamp, UserId};
use hashbrown::HashMap;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering as AtomicOrdering};
use std::sync::{PoisonError, RwLock};

/// Events kept per user unless configured otherwise.
pub const HISTORY_EVENTS_MAX: usize = 1000;

/// One kept event. The value is NaN for none: a given value is finite.
#[derive(Debug, Clone, Copy)]
struct Record {
    timestamp: i64,
    value: f64,
    item: u32,
    kind: u16,
}

#[derive(Debug, Default)]
struct UserRecord {
    /// In the order of [`order`].
    records: Vec<Record>,
    sequence: Sequence,
}

/// Names of event types by number, in the order of first sight.
#[derive(Debug, Default)]
struct Kinds {
    names: Vec<EventType>,
    numbers: HashMap<EventType, u16>,
}

impl Kinds {
    /// Number of a name, new if it has none yet; `None` once all numbers are taken.
    fn intern(&mut self, name: &EventType) -> Option<u16> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = u16::try_from(self.names.len()).ok()?;
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        Some(number)
    }
}

/// Total order of events: time, item, name of the type, value. Numbers of types take no part, since they
/// depend on the order of arrival.
fn order(names: &[EventType], a: &Record, b: &Record) -> Ordering {
    a.timestamp
        .cmp(&b.timestamp)
        .then(a.item.cmp(&b.item))
        .then_with(|| {
            if a.kind == b.kind {
                Ordering::Equal
            } else {
                names[usize::from(a.kind)].cmp(&names[usize::from(b.kind)])
            }
        })
        .then_with(|| a.value.total_cmp(&b.value))
}

/// Place of a user in the order of [`UserStates::sample`].
fn sample_key(id: &UserId) -> [u8; 32] {
    *blake3::hash(id.as_str().as_bytes()).as_bytes()
}

/// What a decision needs of a person's past.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserView {
    /// One entry per item, strengths of its events added and decayed to `now`, ordered by the moment
    /// of the item's last event, oldest first (ties by position); items whose strengths add to zero are left out.
    pub history: Vec<HistoryEvent>,
    /// Items with an event that counts and whose type marks as seen, ascending.
    pub seen: Vec<u32>,
    /// Events kept that happened up to `now`, of known types or not.
    pub events: usize,
    /// Last of this user's events that was folded in; zero if there are none.
    pub sequence: Sequence,
}

/// A kept event as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct RecentEvent {
    /// Position of the item.
    pub item: u32,
    /// Its type.
    pub event_type: EventType,
    /// When.
    pub timestamp: Timestamp,
    /// How much.
    pub value: Option<f64>,
}

impl RecentEvent {
    /// The order in which events are kept: time, item, name of the type, value.
    pub fn order(&self, other: &RecentEvent) -> Ordering {
        let value = |event: &RecentEvent| event.value.unwrap_or(f64::NAN);
        self.timestamp
            .cmp(&other.timestamp)
            .then(self.item.cmp(&other.item))
            .then_with(|| self.event_type.cmp(&other.event_type))
            .then_with(|| value(self).total_cmp(&value(other)))
    }
}

/// Everything that is kept of a user, a few events more than decisions see.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeptEvents {
    /// In their order, oldest first.
    pub events: Vec<RecentEvent>,
    /// Whether nothing was ever left out for want of room.
    pub is_whole: bool,
    /// Last of the user's events that was folded in.
    pub sequence: Sequence,
}

/// Events kept beyond those that decisions see, so that the state before the latest few events can still be told.
const SPARE: usize = 64;

/// The latest events of every user. See the module's head.
#[derive(Debug)]
pub struct UserStates {
    /// Events that decisions see of each.
    history_events_max: usize,
    users: HashMap<UserId, UserRecord>,
    kinds: Kinds,
    as_of: Sequence,
}

impl Default for UserStates {
    fn default() -> Self {
        UserStates::new(HISTORY_EVENTS_MAX)
    }
}

impl UserStates {
    /// No users yet; at most `history_events_max` (at least 1) events will be kept of each.
    pub fn new(history_events_max: usize) -> UserStates {
        UserStates {
            history_events_max: history_events_max.max(1),
            users: HashMap::new(),
            kinds: Kinds::default(),
            as_of: Sequence::ZERO,
        }
    }

    /// Folds in one event with the position of its item. After 65,536 distinct types, events of
    /// further types move only the sequence number.
    pub fn apply(&mut self, sequence: Sequence, event: &Event, item_position: u32) {
        self.as_of = self.as_of.max(sequence);
        let user = self.users.entry_ref(&event.user_id).or_default();
        user.sequence = user.sequence.max(sequence);
        if let Some(kind) = self.kinds.intern(&event.event_type) {
            let record = Record {
                timestamp: event.timestamp.0,
                value: event.value.unwrap_or(f64::NAN),
                item: item_position,
                kind,
            };
            keep(
                &mut user.records,
                record,
                &self.kinds.names,
                self.history_events_max + SPARE,
            );
        }
    }

    /// The records that decisions see.
    fn visible<'a>(&self, records: &'a [Record]) -> &'a [Record] {
        &records[records.len().saturating_sub(self.history_events_max)..]
    }

    fn event(&self, record: &Record) -> RecentEvent {
        RecentEvent {
            item: record.item,
            event_type: self.kinds.names[usize::from(record.kind)].clone(),
            timestamp: Timestamp(record.timestamp),
            value: (!record.value.is_nan()).then_some(record.value),
        }
    }

    /// The same of one user alone.
    pub fn only(&self, user: &UserId) -> UserStates {
        let mut only = UserStates::new(self.history_events_max);
        for name in &self.kinds.names {
            only.kinds.intern(name);
        }
        if let Some(known) = self.users.get(user) {
            let copy = UserRecord {
                records: known.records.clone(),
                sequence: known.sequence,
            };
            only.users.insert(user.clone(), copy);
        }
        only.as_of = self.as_of;
        only
    }

    /// Everything kept of a user; see [`KeptEvents`].
    pub fn kept(&self, user: &UserId) -> KeptEvents {
        let Some(user) = self.users.get(user) else {
            return KeptEvents {
                is_whole: true,
                ..KeptEvents::default()
            };
        };
        KeptEvents {
            events: user.records.iter().map(|record| self.event(record)).collect(),
            is_whole: user.records.len() < self.history_events_max + SPARE,
            sequence: user.sequence,
        }
    }

    /// What is known of a user at `now`; later events are passed over. Empty for an unknown user.
    pub fn history(&self, user: &UserId, now: Timestamp, types: &EventTypes) -> UserView {
        self.history_with(user, std::iter::empty(), now, types)
    }

    /// The same, with the events of a session that have not been accepted into the log added.
    pub fn history_with<'a>(
        &self,
        user: &UserId,
        session: impl IntoIterator<Item = (&'a Event, u32)>,
        now: Timestamp,
        types: &EventTypes,
    ) -> UserView {
        let empty = UserRecord::default();
        let user = self.users.get(user).unwrap_or(&empty);
        let configs: Vec<_> = self
            .kinds
            .names
            .iter()
            .map(|name| types.get(name.as_str()))
            .collect();
        let mut parts = Parts::default();
        for record in self.visible(&user.records) {
            let value = (!record.value.is_nan()).then_some(record.value);
            parts.add(
                record.item,
                record.timestamp,
                value,
                configs[usize::from(record.kind)],
                now,
            );
        }
        parts.add_session(session, now, types);
        parts.view(now, user.sequence)
    }

    /// The latest `n` events of a user by event time, newest first.
    pub fn recent(&self, user: &UserId, n: usize) -> Vec<RecentEvent> {
        let records = self.users.get(user).map_or(&[][..], |u| self.visible(&u.records));
        records
            .iter()
            .rev()
            .take(n)
            .map(|record| self.event(record))
            .collect()
    }

    /// Ids and numbers of kept events of `n` users, always the same ones of the same population:
    /// those whose ids have the lowest checksums. Looks at every user.
    pub fn sample(&self, n: usize) -> Vec<(UserId, usize)> {
        let mut all: Vec<_> = self
            .users
            .iter()
            .map(|(id, user)| (sample_key(id), id, self.visible(&user.records).len()))
            .collect();
        all.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        all.truncate(n);
        all.into_iter()
            .map(|(_, id, events)| (id.clone(), events))
            .collect()
    }

    /// Forgets a user; true if there was something to forget.
    pub fn erase(&mut self, user: &UserId) -> bool {
        self.users.remove(user).is_some()
    }

    /// Highest sequence number folded in.
    pub fn as_of(&self) -> Sequence {
        self.as_of
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Bytes held, ids counted with their mean allocation.
    pub fn memory_bytes(&self) -> usize {
        let slot = size_of::<(UserId, UserRecord)>() + 1;
        let of_users: usize = self
            .users
            .iter()
            .map(|(id, user)| id.as_str().len() + 16 + user.records.capacity() * size_of::<Record>())
            .sum();
        self.users.capacity() * slot + of_users
    }
}

/// Inserts in order and drops the first if there are too many. Grows by half, not by double.
fn keep(records: &mut Vec<Record>, record: Record, names: &[EventType], records_max: usize) {
    let after = |r: &Record| order(names, r, &record) != Ordering::Greater;
    let place = if records.last().is_none_or(after) {
        records.len()
    } else {
        records.partition_point(after)
    };
    if records.len() < records_max {
        if records.len() == records.capacity() {
            let more = (records.len() / 2).max(2).min(records_max - records.len());
            records.reserve_exact(more);
        }
        records.insert(place, record);
    } else if place > 0 {
        records.copy_within(1..place, 0);
        records[place - 1] = record;
    }
}

/// Strength on one item, gathered event by event.
#[derive(Debug, Default)]
struct Parts {
    /// Item, moment, strength at `now`.
    strengths: Vec<(u32, i64, f32)>,
    seen: Vec<u32>,
    events: usize,
}

impl Parts {
    fn add(
        &mut self,
        item: u32,
        timestamp: i64,
        value: Option<f64>,
        config: Option<&crate::EventTypeConfig>,
        now: Timestamp,
    ) {
        if timestamp > now.0 {
            return;
        }
        self.events += 1;
        let Some(config) = config else { return };
        let Some(strength) = config.strength(value) else {
            return;
        };
        let strength = strength * config.decay(now.days_since(Timestamp(timestamp)));
        if strength.is_finite() {
            self.strengths.push((item, timestamp, strength));
        }
        if config.marks_seen {
            self.seen.push(item);
        }
    }

    fn add_session<'a>(
        &mut self,
        session: impl IntoIterator<Item = (&'a Event, u32)>,
        now: Timestamp,
        types: &EventTypes,
    ) {
        for (event, item) in session {
            let config = types.get(event.event_type.as_str());
            self.add(item, event.timestamp.0, event.value, config, now);
        }
    }

    fn view(mut self, now: Timestamp, sequence: Sequence) -> UserView {
        // Sums are taken in a fixed order, so that the order of arrival does not show in the last bit.
        self.strengths
            .sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2)));
        let mut latest: Vec<(i64, HistoryEvent)> = Vec::new();
        for group in self.strengths.chunk_by(|a, b| a.0 == b.0) {
            let sum: f64 = group.iter().map(|part| f64::from(part.2)).sum();
            let (item, last, _) = group[group.len() - 1];
            let weight = sum as f32;
            if weight != 0.0 {
                let age_days = now.days_since(Timestamp(last));
                latest.push((
                    last,
                    HistoryEvent {
                        item,
                        weight,
                        age_days,
                    },
                ));
            }
        }
        latest.sort_unstable_by_key(|(last, event)| (*last, event.item));
        self.seen.sort_unstable();
        self.seen.dedup();
        UserView {
            history: latest.into_iter().map(|(_, event)| event).collect(),
            seen: self.seen,
            events: self.events,
            sequence,
        }
    }
}

/// The view of someone of whom nothing is known but the events passed in a request.
pub fn session_view<'a>(
    session: impl IntoIterator<Item = (&'a Event, u32)>,
    now: Timestamp,
    types: &EventTypes,
) -> UserView {
    let mut parts = Parts::default();
    parts.add_session(session, now, types);
    parts.view(now, Sequence::ZERO)
}

/// [`UserStates`] cut by user into parts with a lock each, for many readers and writers at once.
#[derive(Debug)]
pub struct ShardedUserStates {
    history_events_max: usize,
    shards: Vec<RwLock<UserStates>>,
    as_of: AtomicU64,
}

/// Parts of a [`ShardedUserStates`].
const SHARDS: usize = 64;

impl Default for ShardedUserStates {
    fn default() -> Self {
        ShardedUserStates::new(HISTORY_EVENTS_MAX)
    }
}

impl ShardedUserStates {
    /// No users yet; at most `history_events_max` (at least 1) events will be kept of each.
    pub fn new(history_events_max: usize) -> ShardedUserStates {
        ShardedUserStates {
            history_events_max: history_events_max.max(1),
            shards: (0..SHARDS)
                .map(|_| RwLock::new(UserStates::new(history_events_max)))
                .collect(),
            as_of: AtomicU64::new(0),
        }
    }

    fn shard(&self, user: &UserId) -> &RwLock<UserStates> {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        &self.shards[hasher.finish() as usize % SHARDS]
    }

    fn read<T>(&self, user: &UserId, read: impl FnOnce(&UserStates) -> T) -> T {
        read(&self.shard(user).read().unwrap_or_else(PoisonError::into_inner))
    }

    /// [`UserStates::apply`]. Callers may apply from several threads in any order.
    pub fn apply(&self, sequence: Sequence, event: &Event, item_position: u32) {
        self.shard(&event.user_id)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(sequence, event, item_position);
        self.as_of.fetch_max(sequence.0, AtomicOrdering::AcqRel);
    }

    /// Last of a user's events that was folded in; zero if there are none.
    pub fn last(&self, user: &UserId) -> Sequence {
        self.read(user, |states| {
            states
                .users
                .get(user)
                .map_or(Sequence::ZERO, |user| user.sequence)
        })
    }

    /// [`UserStates::history`].
    pub fn history(&self, user: &UserId, now: Timestamp, types: &EventTypes) -> UserView {
        self.read(user, |states| states.history(user, now, types))
    }

    /// [`UserStates::history_with`].
    pub fn history_with<'a>(
        &self,
        user: &UserId,
        session: impl IntoIterator<Item = (&'a Event, u32)>,
        now: Timestamp,
        types: &EventTypes,
    ) -> UserView {
        self.read(user, |states| states.history_with(user, session, now, types))
    }

    /// [`UserStates::recent`].
    pub fn recent(&self, user: &UserId, n: usize) -> Vec<RecentEvent> {
        self.read(user, |states| states.recent(user, n))
    }

    /// Events that decisions see of each user.
    pub fn history_events_max(&self) -> usize {
        self.history_events_max
    }

    /// [`UserStates::kept`].
    pub fn kept(&self, user: &UserId) -> KeptEvents {
        self.read(user, |states| states.kept(user))
    }

    /// [`UserStates::sample`] over all parts.
    pub fn sample(&self, n: usize) -> Vec<(UserId, usize)> {
        let read =
            |shard: &RwLock<UserStates>| shard.read().unwrap_or_else(PoisonError::into_inner).sample(n);
        let mut all: Vec<_> = self.shards.iter().flat_map(read).collect();
        all.sort_by_cached_key(|(id, _)| (sample_key(id), id.clone()));
        all.truncate(n);
        all
    }

    /// [`UserStates::erase`].
    pub fn erase(&self, user: &UserId) -> bool {
        self.shard(user)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .erase(user)
    }

    /// Highest sequence number applied. While several threads apply, lower ones may still be on their way.
    pub fn as_of(&self) -> Sequence {
        Sequence(self.as_of.load(AtomicOrdering::Acquire))
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.sum(UserStates::len)
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.sum(UserStates::memory_bytes)
    }

    fn sum(&self, of: impl Fn(&UserStates) -> usize) -> usize {
        self.shards
            .iter()
            .map(|shard| of(&shard.read().unwrap_or_else(PoisonError::into_inner)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::collections::BTreeMap;

    const DAY: i64 = 86_400_000;

    fn event(user: u8, item: u32, name: &str, timestamp: i64, value: Option<f64>) -> (Event, u32) {
        let event = Event {
            event_id: None,
            user_id: UserId::new(format!("u{user}")).expect("an id"),
            item_id: domain::ItemId::new(format!("i{item}")).expect("an id"),
            event_type: EventType::new(name).expect("an id"),
            timestamp: Timestamp(timestamp),
            value,
            session_id: None,
            decision_id: None,
            context: BTreeMap::new(),
        };
        (event, item)
    }

    fn folded(events: &[(Event, u32)], max: usize) -> UserStates {
        let mut states = UserStates::new(max);
        for (place, (event, item)) in events.iter().enumerate() {
            states.apply(Sequence(place as u64 + 1), event, *item);
        }
        states
    }

    /// The obvious version: sort everything, cut, add.
    fn obvious(
        events: &[(Event, u32)],
        user: &UserId,
        max: usize,
        now: Timestamp,
        types: &EventTypes,
    ) -> (BTreeMap<u32, (i64, f64)>, Vec<u32>) {
        let mut mine: Vec<_> = events.iter().filter(|(e, _)| e.user_id == *user).collect();
        mine.sort_by(|(a, i), (b, j)| {
            let value = |e: &Event| e.value.unwrap_or(f64::NAN);
            (a.timestamp, i, &a.event_type)
                .cmp(&(b.timestamp, j, &b.event_type))
                .then(value(a).total_cmp(&value(b)))
        });
        let start = mine.len().saturating_sub(max);
        let mut sums = BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for (event, item) in &mine[start..] {
            if event.timestamp > now {
                continue;
            }
            let (Some(config), Some(strength)) =
                (types.get(event.event_type.as_str()), types.strength(event))
            else {
                continue;
            };
            let entry = sums.entry(*item).or_insert((i64::MIN, 0.0));
            entry.0 = entry.0.max(event.timestamp.0);
            entry.1 += f64::from(strength * config.decay(now.days_since(event.timestamp)));
            if config.marks_seen {
                seen.insert(*item);
            }
        }
        (sums, seen.into_iter().collect())
    }

    fn types() -> EventTypes {
        let mut types = EventTypes::default();
        if let Some(click) = types.0.get_mut("click") {
            click.half_life_days = Some(2.0);
        }
        types
    }

    fn some_events() -> impl Strategy<Value = Vec<(Event, u32)>> {
        let names = prop::sample::select(vec![
            "click",
            "view",
            "purchase",
            "return",
            "impression",
            "unheard",
        ]);
        let value = prop::option::of(prop::sample::select(vec![0.0, 10.0, 29.9, 30.0, 4.1]));
        let one = (0u8..3, 0u32..6, names, 0i64..12, value)
            .prop_map(|(user, item, name, day, value)| event(user, item, name, day * DAY / 2, value));
        prop::collection::vec(one, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

        #[test]
        fn any_order_and_split_gives_the_obvious_view(
            events in some_events(),
            shuffled in Just(()).prop_perturb(|(), mut rng| rng.next_u64()),
            max in 1usize..12,
            day in 0i64..7,
        ) {
            let (types, now) = (types(), Timestamp(day * DAY));
            let states = folded(&events, max);
            let sharded = ShardedUserStates::new(max);
            let mut order: Vec<usize> = (0..events.len()).collect();
            order.sort_by_key(|i| (*i as u64 ^ shuffled).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for place in order {
                sharded.apply(Sequence(place as u64 + 1), &events[place].0, events[place].1);
            }
            prop_assert_eq!(states.as_of(), sharded.as_of());
            prop_assert_eq!(states.len(), sharded.len());
            for user in 0..3 {
                let user = UserId::new(format!("u{user}")).expect("an id");
                let view = states.history(&user, now, &types);
                prop_assert_eq!(&view, &sharded.history(&user, now, &types));
                prop_assert_eq!(states.recent(&user, 5), sharded.recent(&user, 5));
                prop_assert!(view.events <= max && states.recent(&user, 100).len() <= max);
                let (sums, seen) = obvious(&events, &user, max, now, &types);
                prop_assert_eq!(&view.seen, &seen);
                let mut expected: Vec<_> = sums.iter().filter(|(_, (_, w))| w.abs() > 1e-6).collect();
                expected.sort_by_key(|(item, (last, _))| (*last, **item));
                let got: Vec<_> = view.history.iter().filter(|h| h.weight.abs() > 1e-6).collect();
                prop_assert_eq!(expected.len(), got.len());
                for ((item, (last, weight)), got) in expected.into_iter().zip(got) {
                    prop_assert_eq!(*item, got.item);
                    prop_assert!((weight - f64::from(got.weight)).abs() < 1e-5);
                    prop_assert_eq!(got.age_days, now.days_since(Timestamp(*last)));
                }
            }
        }
    }

    #[test]
    fn by_hand() {
        let events = [
            event(1, 7, "purchase", 0, None),
            event(1, 8, "click", 0, None),
            event(1, 8, "click", 2 * DAY, None),
            event(1, 9, "view", 3 * DAY, Some(29.0)),
            event(1, 5, "purchase", 3 * DAY, None),
            event(1, 5, "return", 3 * DAY, None),
            event(1, 6, "impression", 4 * DAY, None),
            event(1, 4, "purchase", 9 * DAY, None),
        ];
        let states = folded(&events, 100);
        let user = &events[0].0.user_id;
        let view = states.history(user, Timestamp(4 * DAY), &types());
        let weights: Vec<_> = view
            .history
            .iter()
            .map(|h| (h.item, h.weight, h.age_days))
            .collect();
        // Clicks halve every two days: 0.2 / 4 + 0.2 / 2. The purchase and its return cancel.
        assert_eq!(weights, [(7, 1.0, 4.0), (8, 0.05 + 0.1, 2.0), (6, 0.05, 0.0)]);
        assert_eq!(
            view.seen,
            [5, 7, 8],
            "a short view and an impression do not mark as seen"
        );
        assert_eq!((view.events, view.sequence), (7, Sequence(8)));
        let session = session_view(events.iter().map(|(e, i)| (e, *i)), Timestamp(4 * DAY), &types());
        assert_eq!((session.history, session.seen), (view.history, view.seen));
    }

    #[test]
    fn a_changed_weight_shows_without_a_second_fold_and_erasure_forgets() {
        let events = [event(1, 7, "unheard", 0, None)];
        let mut states = folded(&events, 100);
        let user = events[0].0.user_id.clone();
        assert!(states.history(&user, Timestamp(0), &types()).history.is_empty());
        let mut types = types();
        let like = types.0["like"].clone();
        types.0.insert("unheard".into(), like);
        assert_eq!(states.history(&user, Timestamp(0), &types).seen, [7]);
        assert!(states.erase(&user) && !states.erase(&user));
        assert_eq!(states.history(&user, Timestamp(0), &types), UserView::default());
    }

    #[test]
    fn records_are_small() {
        assert_eq!(size_of::<Record>(), 24);
        let mut states = UserStates::default();
        for user in 0..100u8 {
            for place in 0..20 {
                let (event, item) = event(user, place, "click", i64::from(place), None);
                states.apply(Sequence(1), &event, item);
            }
        }
        assert!(
            states.memory_bytes() / 100 < 1000,
            "{}",
            states.memory_bytes() / 100
        );
    }
}
