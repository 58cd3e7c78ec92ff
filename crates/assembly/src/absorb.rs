//! Events taken into models. What a model learns from an event is the event and what its user had done before it. Both follow from the
//! log alone, so that the same events in the same batches give the same models again.

use crate::bound::Bound;
use crate::catalogue::{NOWHERE, Positions};
use crate::snapshot::Models;
use dataset::Interaction;
use domain::{
    EventBatches, EventRead, HistoryEvent, ItemId, Sequence, StoreError, StoredEvent, Timestamp, UserId,
};
use hashbrown::{HashMap, HashSet};
use models::{ItemFeatures, UpdateReport};
use signals::{EventTypes, RecentEvent, UserStates};
use std::collections::VecDeque;
use std::sync::Arc;

/// One interaction with what its user had done before, by catalogue position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Absorbable {
    pub(crate) sequence: Sequence,
    pub(crate) item: u32,
    pub(crate) weight: f32,
    pub(crate) timestamp: Timestamp,
    pub(crate) before: Vec<HistoryEvent>,
}

/// What the kept events of a user amount to: one entry per item, in the order of each item's last event.
pub(crate) fn history_of<'a>(
    events: impl Iterator<Item = &'a RecentEvent>,
    types: &EventTypes,
) -> Vec<HistoryEvent> {
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut entries: Vec<Option<HistoryEvent>> = Vec::new();
    for event in events {
        let config = types.get(event.event_type.as_str());
        let Some(weight) = config.and_then(|config| config.strength(event.value)) else {
            continue;
        };
        let place = places.insert(event.item, entries.len());
        let earlier = place.and_then(|at| entries[at].take());
        entries.push(Some(HistoryEvent {
            item: event.item,
            weight: earlier.map_or(weight, |earlier| earlier.weight + weight),
            age_days: 0.0,
        }));
    }
    entries.into_iter().flatten().collect()
}

/// Reads the log once from its start and tells, range after range, what there is to absorb.
pub(crate) struct FromLog<'a> {
    batches: EventBatches<'a>,
    read: VecDeque<StoredEvent>,
    states: UserStates,
    users: HashSet<UserId>,
    history_events_max: usize,
    positions: &'a Positions,
    types: &'a EventTypes,
}

impl<'a> FromLog<'a> {
    /// For ranges within `first` to `last`, of these users alone, if given.
    ///
    /// # Errors
    /// The log's.
    pub(crate) fn new(
        log: &'a dyn EventRead,
        positions: &'a Positions,
        types: &'a EventTypes,
        history_events_max: usize,
        (first, last): (Sequence, Sequence),
        only: Option<HashSet<UserId>>,
    ) -> Result<FromLog<'a>, StoreError> {
        let users = match only {
            Some(users) => users,
            None => {
                let mut users = HashSet::new();
                for batch in log.scan(first, last)? {
                    users.extend(batch?.into_iter().map(|stored| stored.event.user_id));
                }
                users
            }
        };
        Ok(FromLog {
            batches: log.scan(Sequence(1), last)?,
            read: VecDeque::new(),
            states: UserStates::new(history_events_max),
            users,
            history_events_max,
            positions,
            types,
        })
    }

    /// What there is to absorb from `first` to `last`, both included. Ranges are asked for in order.
    ///
    /// # Errors
    /// The log's.
    pub(crate) fn range(&mut self, first: Sequence, last: Sequence) -> Result<Vec<Absorbable>, StoreError> {
        let mut found = Vec::new();
        loop {
            let Some(next) = self.read.front() else {
                match self.batches.next() {
                    Some(batch) => self.read.extend(batch?),
                    None => return Ok(found),
                }
                continue;
            };
            if next.sequence > last {
                return Ok(found);
            }
            let Some(StoredEvent { sequence, event, .. }) = self.read.pop_front() else {
                continue;
            };
            if !self.users.contains(&event.user_id) {
                continue;
            }
            let Some(item) = self.positions.get(event.item_id.as_str()) else {
                continue;
            };
            let weight = self.types.strength(&event).filter(|weight| *weight != 0.0);
            if let Some(weight) = weight.filter(|_| sequence >= first) {
                let recent = self.states.recent(&event.user_id, self.history_events_max);
                found.push(Absorbable {
                    sequence,
                    item,
                    weight,
                    timestamp: event.timestamp,
                    before: history_of(recent.iter().rev(), self.types),
                });
            }
            self.states.apply(sequence, &event, item);
        }
    }
}

/// Models with interactions taken in. Items that they have not met are given to them, in order of position.
pub(crate) fn updated(models: &Models, positions: &Positions, absorbables: &[Absorbable]) -> Models {
    models.map(|bound| {
        let mut model = bound.model.fork();
        let mut local: HashMap<u32, u32> = HashMap::new();
        let mut fresh: Vec<u32> = Vec::new();
        let touched = absorbables
            .iter()
            .flat_map(|a| a.before.iter().map(|h| h.item).chain([a.item]));
        for item in touched {
            local.entry(item).or_insert_with(|| {
                let known = bound.local(item);
                if known == NOWHERE {
                    fresh.push(item);
                }
                known
            });
        }
        fresh.sort_unstable();
        let known = bound.model.vocabulary().len() as u32;
        for (at, item) in fresh.iter().enumerate() {
            local.insert(*item, known + at as u32);
        }
        let here = |h: &HistoryEvent| HistoryEvent {
            item: local[&h.item],
            ..*h
        };
        let interactions: Vec<Interaction> = absorbables
            .iter()
            .map(|a| Interaction {
                user: 0,
                item: local[&a.item],
                weight: a.weight,
                timestamp: a.timestamp,
            })
            .collect();
        let histories: Vec<Vec<HistoryEvent>> = absorbables
            .iter()
            .map(|a| a.before.iter().map(here).collect())
            .collect();
        let new_items = positions.ids_of(&fresh);
        let report = model.update(&new_items, &interactions, &histories);
        Arc::new(with_moved(bound.grown(Arc::from(model), positions), &report))
    })
}

/// A model with what an update or an erasure moved.
pub(crate) fn with_moved(mut bound: Bound, report: &UpdateReport) -> Bound {
    bound.staleness.moved += report.moved;
    for (part, moved) in bound.parts.iter_mut().zip(&report.parts) {
        part.moved += moved;
    }
    bound
}

/// Models with new or changed attributes taken in.
pub(crate) fn described(models: &Models, positions: &Positions, items: &[(ItemId, ItemFeatures)]) -> Models {
    if items.is_empty() {
        return models.clone();
    }
    models.map(|bound: &Arc<Bound>| {
        let mut model = bound.model.fork();
        model.absorb_items(items);
        Arc::new(bound.grown(Arc::from(model), positions))
    })
}
