//! The event log as a list.

use domain::{
    AppendOutcome, Erasure, EventBatches, EventKey, EventLog, EventRead, NewEvent, Receipt, Sequence,
    StoreError, StoredEvent, UserId,
};
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

#[derive(Debug, Default)]
struct List {
    events: Vec<StoredEvent>,
    keys: BTreeSet<EventKey>,
    head: u64,
}

/// An event log that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryEventLog(RwLock<List>);

impl MemoryEventLog {
    /// An empty log.
    pub fn new() -> MemoryEventLog {
        MemoryEventLog::default()
    }

    fn read<T>(&self, look: impl FnOnce(&List) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut List) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl EventRead for MemoryEventLog {
    fn head(&self) -> Sequence {
        self.read(|list| Sequence(list.head))
    }

    fn len(&self) -> u64 {
        self.read(|list| list.events.len() as u64)
    }

    fn contains(&self, key: EventKey) -> bool {
        self.read(|list| list.keys.contains(&key))
    }

    fn scan(&self, from: Sequence, to: Sequence) -> Result<EventBatches<'_>, StoreError> {
        let within = |stored: &&StoredEvent| stored.sequence >= from && stored.sequence <= to;
        let events: Vec<StoredEvent> = self.read(|list| list.events.iter().filter(within).cloned().collect());
        Ok(Box::new(
            std::iter::once(Ok(events)).filter(|batch| batch.as_ref().is_ok_and(|b| !b.is_empty())),
        ))
    }
}

impl EventLog for MemoryEventLog {
    fn append(&self, batch: Vec<NewEvent>) -> Result<AppendOutcome, StoreError> {
        Ok(self.write(|list| {
            let receipts = batch.into_iter().map(|new| {
                let is_known =
                    list.keys.contains(&new.key) || new.alias.is_some_and(|alias| list.keys.contains(&alias));
                if is_known {
                    return Receipt::Duplicate;
                }
                list.keys.insert(new.key);
                list.head += 1;
                let sequence = Sequence(list.head);
                list.events.push(StoredEvent {
                    sequence,
                    event: new.event,
                });
                Receipt::Accepted(sequence)
            });
            AppendOutcome {
                receipts: receipts.collect(),
            }
        }))
    }

    fn erase_user(&self, user: &UserId) -> Result<Erasure, StoreError> {
        Ok(self.write(|list| {
            let before = list.events.len();
            for stored in list.events.iter().filter(|stored| stored.event.user_id == *user) {
                list.keys.remove(&signals::event_key(&stored.event));
            }
            list.events.retain(|stored| stored.event.user_id != *user);
            Erasure {
                events: (before - list.events.len()) as u64,
                segments: 0,
            }
        }))
    }

    fn seal(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
