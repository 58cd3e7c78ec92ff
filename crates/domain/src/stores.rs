//! Contracts of the event log and the catalogue. `testkit::stores` holds the suites that every
//! implementation passes.

use crate::{
    AttributeKind, EntityKind, Event, EventKey, Item, ItemId, NewEvent, Schema, Sequence, StoredEvent, User,
    UserId,
};

/// Why a store did not do what was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The caller asked for something that cannot be; nothing was changed.
    #[error("{field}: got {got}, expected {expected}")]
    Input {
        /// The field at fault.
        field: String,
        /// What was there.
        got: String,
        /// What should have been.
        expected: String,
    },
    /// What is stored is not what was written; an operator must act.
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// File.
        path: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// Another process holds the store.
    #[error("{path} is in use by another process")]
    InUse {
        /// The folder.
        path: String,
    },
    /// The disk or the database refused.
    #[error("{action} {path}: {reason}")]
    Io {
        /// What was tried, as a gerund.
        action: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// What became of one event of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// New; it stands at this place.
    Accepted(Sequence),
    /// Already there (in the log, or earlier in the same batch).
    Duplicate,
}

/// What became of a batch, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppendOutcome {
    /// One entry per event.
    pub receipts: Vec<Receipt>,
}

/// What an erasure removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erasure {
    /// Events removed.
    pub events: u64,
    /// Segments rewritten.
    pub segments: u64,
}

/// Writing to the event log.
///
/// Promises: an append that returned `Ok` is on stable storage; a batch is stored whole or not at
/// all; an event whose key (or alias) is known is a duplicate and is not stored again; sequence
/// numbers rise by one per accepted event, in batch order, and batches do not interleave.
/// Concurrent callers share one flush (group commit).
pub trait EventLog: EventRead {
    /// Appends a batch, in order.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it could not be made durable; then nothing of it is in the log.
    fn append(&self, batch: Vec<NewEvent>) -> Result<AppendOutcome, StoreError>;

    /// Removes every event of `user`, from sealed segments too; durable on return. Erased events
    /// cease to be duplicates, their sequence numbers stay unused, other numbers do not change.
    fn erase_user(&self, user: &UserId) -> Result<Erasure, StoreError>;

    /// Closes the active segment and rewrites it as Parquet; a no-op if it is empty.
    fn seal(&self) -> Result<(), StoreError>;
}

/// Events in sequence order, a batch at a time.
pub type EventBatches<'a> = Box<dyn Iterator<Item = Result<Vec<StoredEvent>, StoreError>> + Send + 'a>;

/// Reading from the event log.
pub trait EventRead: Send + Sync {
    /// Number of the last accepted event, zero if none.
    fn head(&self) -> Sequence;

    /// Number of events stored.
    fn len(&self) -> u64;

    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if an event with this key is stored.
    fn contains(&self, key: EventKey) -> bool;

    /// Events from `from` to `to`, both included, in order, as they were when `scan` was called:
    /// later appends, seals and erasures do not show.
    fn scan(&self, from: Sequence, to: Sequence) -> Result<EventBatches<'_>, StoreError>;

    /// The last `n` events of one user, oldest first. The default scans everything.
    fn last_of_user(&self, user: &UserId, n: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let mut kept: std::collections::VecDeque<StoredEvent> = std::collections::VecDeque::new();
        for batch in self.scan(Sequence(1), self.head())? {
            for stored in batch?.into_iter().filter(|s| s.event.user_id == *user) {
                kept.push_back(stored);
                if kept.len() > n {
                    kept.pop_front();
                }
            }
        }
        Ok(kept.into())
    }

    /// Visits every event in order.
    fn for_each(&self, visit: &mut dyn FnMut(Sequence, Event)) -> Result<(), StoreError> {
        for batch in self.scan(Sequence(1), self.head())? {
            for stored in batch? {
                visit(stored.sequence, stored.event);
            }
        }
        Ok(())
    }
}

/// What a batch of puts did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutOutcome {
    /// New entities.
    pub created: u64,
    /// Entities whose content changed.
    pub updated: u64,
    /// Entities put again as they were.
    pub unchanged: u64,
}

/// One change of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemChange {
    /// Revision that the change made.
    pub revision: u64,
    /// Which item.
    pub item_id: ItemId,
    /// What it was before; `None` if it was not there.
    pub before: Option<Item>,
}

/// One change of the fixed kind of an attribute of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindChange {
    /// Revision that the change made.
    pub revision: u64,
    /// Which attribute.
    pub attribute: String,
    /// Its fixed kind before; `None` if it was inferred.
    pub before: Option<AttributeKind>,
}

/// What happened to the items of a catalogue after a revision, by which they can be led back to it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CatalogueHistory {
    /// By revision, then in the order of first put.
    pub items: Vec<ItemChange>,
    /// By revision.
    pub kinds: Vec<KindChange>,
}

/// A rule as stored: its name and, as text, the rest. The store does not look into it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleText {
    /// Its name.
    pub name: String,
    /// All of it, as JSON.
    pub body: String,
}

/// Items, users, their schema, and the rules over them.
///
/// Promises: a put batch is stored whole or not at all and is durable on return; a put replaces
/// the entity; within one batch the last put of an id wins; `revision` rises with every batch
/// that changed something, and only then; kinds fixed by an operator survive later puts.
pub trait Catalogue: Send + Sync {
    /// Stores items.
    fn put_items(&self, items: &[Item]) -> Result<PutOutcome, StoreError>;
    /// Stores users.
    fn put_users(&self, users: &[User]) -> Result<PutOutcome, StoreError>;
    /// One item.
    fn item(&self, id: &ItemId) -> Result<Option<Item>, StoreError>;
    /// One user.
    fn user(&self, id: &UserId) -> Result<Option<User>, StoreError>;
    /// Visits every item, in the order of first put.
    fn for_each_item(&self, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError>;
    /// Visits every user, in the order of first put.
    fn for_each_user(&self, visit: &mut dyn FnMut(User)) -> Result<(), StoreError>;
    /// Number of items and users.
    fn counts(&self) -> Result<(u64, u64), StoreError>;
    /// Attribute kinds: those fixed, and the rest inferred from what is stored.
    fn schema(&self, of: EntityKind) -> Result<Schema, StoreError>;
    /// Fixes the kind of an attribute, or hands it back to inference with `None`.
    ///
    /// # Errors
    /// [`StoreError::Input`] if a stored value cannot be read as `kind`; it names the entity.
    fn fix_kind(
        &self,
        of: EntityKind,
        attribute: &str,
        kind: Option<AttributeKind>,
    ) -> Result<(), StoreError>;
    /// Removes a user; true if there was one.
    fn erase_user(&self, user: &UserId) -> Result<bool, StoreError>;
    /// Count of batches that changed something.
    fn revision(&self) -> Result<u64, StoreError>;
    /// Changes of items and of their kinds after `revision`.
    ///
    /// # Errors
    /// [`StoreError::Input`] if the changes are not kept back to it; it says from where on they are.
    fn history(&self, revision: u64) -> Result<CatalogueHistory, StoreError>;
    /// Forgets the changes up to `revision`; what is stored now stays as it is.
    fn forget_history(&self, revision: u64) -> Result<(), StoreError>;
    /// Version of the rules, 0 before the first, and the rules of that version by name. Without a version those in
    /// force; `None` for a version that has not been.
    fn rules(&self, version: Option<u64>) -> Result<Option<(u64, Vec<RuleText>)>, StoreError>;
    /// Puts rules (a put replaces the rule of that name) and deletes others, all or nothing, durable on return. The
    /// version rises by one if anything changed, and `revision` with it; earlier versions stay. Returns the version in force.
    ///
    /// # Errors
    /// [`StoreError::Input`] for a name to delete that is not there.
    fn change_rules(&self, put: &[RuleText], delete: &[String]) -> Result<u64, StoreError>;
}
