//! What callers write: events, items and users, checked row by row.

use crate::absorb::described as described_models;
use crate::catalogue::{Entry, LiveCatalogue};
use crate::lineage::Step;
use crate::rules::stored_rules;
use crate::service::{lock, whole_catalogue};
use crate::wire::{
    EventInput, EventReceipt, IngestReport, ItemInput, Moment, RowProblem, RowStatus, UserInput, WriteReport,
};
use crate::{Problem, Service, ServiceError};
use domain::{
    AttributeKind, Attributes, DecisionId, EntityKind, Event, EventId, EventType, IdError, Item, ItemId,
    NewEvent, PutOutcome, RawAttribute, Receipt, Schema, SessionId, Timestamp, User, UserId,
};
use models::ItemFeatures;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How far ahead of this machine's clock a caller's may be, milliseconds.
const AHEAD_MAX_MS: i64 = 86_400_000;
/// Batches above this get no receipt per row.
const RECEIPTS_MAX: usize = 1000;
const ATTRIBUTES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 128;
const TEXT_BYTES_MAX: usize = 65_536;
const LIST_MAX: usize = 8192;

fn id_problem(error: &IdError, got: &str) -> Problem {
    match error {
        IdError::Empty { field } => Problem::new(*field, "an empty string", "an id of 1 to 256 bytes"),
        IdError::TooLong { field, bytes } => {
            Problem::new(*field, format!("{bytes} bytes: {got}"), "an id of 1 to 256 bytes")
        }
        IdError::Control { field, .. } => Problem::new(*field, format!("{got:?}"), "no control characters"),
    }
}

/// Reads an id and says what is wrong with it.
pub(crate) fn id<'a, T>(make: impl Fn(&'a str) -> Result<T, IdError>, text: &'a str) -> Result<T, Problem> {
    make(text).map_err(|e| id_problem(&e, text))
}

/// Reads a moment as sent.
pub(crate) fn moment(field: &str, sent: &Moment) -> Result<Timestamp, Problem> {
    let (read, got) = match sent {
        Moment::Number(number) => (signals::timestamp_from_number(*number), number.to_string()),
        Moment::Text(text) => (signals::parse_timestamp(text), text.clone()),
    };
    let expected = "Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31";
    read.map_err(|_| Problem::new(field, got, expected))
}

/// Checks attributes as sent: names, numbers, sizes.
pub(crate) fn attributes(field: &str, sent: &Attributes) -> Result<(), Problem> {
    if sent.len() > ATTRIBUTES_MAX {
        let got = format!("{} entries", sent.len());
        return Err(Problem::new(field, got, format!("at most {ATTRIBUTES_MAX}")));
    }
    for (name, value) in sent {
        let at = format!("{field}.{name}");
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let expected = format!("a name of 1 to {NAME_BYTES_MAX} bytes without control characters");
            return Err(Problem::new(field, format!("the name {name:?}"), expected));
        }
        let text = |text: &str| text.len() <= TEXT_BYTES_MAX;
        let right = match value {
            RawAttribute::Flag(_) => true,
            RawAttribute::Number(number) => number.is_finite(),
            RawAttribute::Text(value) => text(value),
            RawAttribute::Geo { lat, lon } => lat.abs() <= 90.0 && lon.abs() <= 180.0,
            RawAttribute::Numbers(numbers) => {
                numbers.len() <= LIST_MAX && numbers.iter().all(|n| n.is_finite())
            }
            RawAttribute::Texts(texts) => texts.len() <= LIST_MAX && texts.iter().all(|t| text(t)),
        };
        if !right {
            let expected = format!(
                "a finite number, text of up to {TEXT_BYTES_MAX} bytes, a point in degrees, or a list of up to {LIST_MAX}"
            );
            return Err(Problem::new(at, format!("{value:?}"), expected));
        }
    }
    Ok(())
}

/// Reads an event as sent.
pub(crate) fn event(sent: &EventInput, now: Timestamp) -> Result<NewEvent, Problem> {
    let timestamp = sent
        .timestamp
        .as_ref()
        .map(|sent| moment("timestamp", sent))
        .transpose()?;
    if let Some(at) = timestamp.filter(|at| at.0 > now.0.saturating_add(AHEAD_MAX_MS)) {
        let got = format!("{} ({} ms since 1970)", shown(sent.timestamp.as_ref()), at.0);
        return Err(Problem::new(
            "timestamp",
            got,
            "at most a day ahead of the server's clock",
        ));
    }
    if let Some(value) = sent.value.filter(|value| !value.is_finite()) {
        return Err(Problem::new("value", value.to_string(), "a finite number"));
    }
    attributes("context", &sent.context)?;
    let event = Event {
        event_id: sent
            .event_id
            .as_deref()
            .map(|text| id(EventId::new, text))
            .transpose()?,
        user_id: id(UserId::new, &sent.user_id)?,
        item_id: id(ItemId::new, &sent.item_id)?,
        event_type: id(EventType::new, &sent.event_type)?,
        timestamp: timestamp.unwrap_or(now),
        value: sent.value,
        session_id: sent
            .session_id
            .as_deref()
            .map(|text| id(SessionId::new, text))
            .transpose()?,
        decision_id: sent
            .decision_id
            .as_deref()
            .map(|text| id(DecisionId::new, text))
            .transpose()?,
        context: sent.context.clone(),
    };
    Ok(signals::new_event(event, timestamp.is_some()))
}

fn shown(sent: Option<&Moment>) -> String {
    match sent {
        Some(Moment::Number(number)) => number.to_string(),
        Some(Moment::Text(text)) => text.clone(),
        None => String::new(),
    }
}

fn kinds(schema: &Schema) -> BTreeMap<&str, AttributeKind> {
    schema
        .iter()
        .map(|(name, entry)| (name.as_str(), entry.kind))
        .collect()
}

/// Keeps what can be read, and says what is wrong with the rest.
fn read_rows<S, T>(
    rows: Vec<Result<S, Problem>>,
    mut read: impl FnMut(S) -> Result<T, Problem>,
) -> (Vec<T>, Vec<bool>, Vec<RowProblem>) {
    let (mut good, mut is_good, mut rejected) = (Vec::new(), Vec::with_capacity(rows.len()), Vec::new());
    for (row, sent) in rows.into_iter().enumerate() {
        match sent.and_then(&mut read) {
            Ok(read) => good.push(read),
            Err(problem) => rejected.push(RowProblem { row, problem }),
        }
        is_good.push(rejected.last().is_none_or(|last| last.row != row));
    }
    (good, is_good, rejected)
}

impl Service {
    /// Takes in a batch of events. Rows that cannot be are refused one by one; the others are stored
    /// together, durable on return, and the next request sees them.
    ///
    /// # Errors
    /// The log's; then nothing was stored.
    pub fn ingest(&self, rows: Vec<Result<EventInput, Problem>>) -> Result<IngestReport, ServiceError> {
        let now = self.clock.now();
        let (batch, is_good, rejected) = read_rows(rows, |sent| event(&sent, now));
        let outcome = if batch.is_empty() {
            domain::AppendOutcome::default()
        } else {
            self.append_events(batch)?
        };
        let accepted = outcome
            .receipts
            .iter()
            .filter(|r| matches!(r, Receipt::Accepted(_)))
            .count();
        let mut receipts = Vec::new();
        if is_good.len() <= RECEIPTS_MAX {
            let mut stored = outcome.receipts.iter();
            receipts.extend(
                is_good
                    .iter()
                    .map(|good| match if *good { stored.next() } else { None } {
                        Some(Receipt::Accepted(sequence)) => EventReceipt {
                            status: RowStatus::Accepted,
                            sequence: Some(sequence.0),
                        },
                        Some(Receipt::Duplicate) => EventReceipt {
                            status: RowStatus::Duplicate,
                            sequence: None,
                        },
                        None => EventReceipt {
                            status: RowStatus::Rejected,
                            sequence: None,
                        },
                    }),
            );
        }
        let last = outcome.receipts.iter().rev().find_map(|receipt| match receipt {
            Receipt::Accepted(sequence) => Some(*sequence),
            Receipt::Duplicate => None,
        });
        Ok(IngestReport {
            accepted,
            duplicate: outcome.receipts.len() - accepted,
            rejected,
            sequence: last.unwrap_or_else(|| self.live.states.as_of()).0,
            receipts,
        })
    }

    /// Takes in a batch of items; the next request sees them. A put replaces the item.
    ///
    /// # Errors
    /// The catalogue's; then nothing was stored.
    pub fn put_items(&self, rows: Vec<Result<ItemInput, Problem>>) -> Result<WriteReport, ServiceError> {
        let now = self.clock.now();
        let catalogue = self.snapshot.load().catalogue.clone();
        let (items, _, rejected) = read_rows(rows, |sent| {
            let item_id = id(ItemId::new, &sent.item_id)?;
            attributes("attributes", &sent.attributes)?;
            let added_at = match &sent.added_at {
                Some(sent) => moment("added_at", sent)?,
                None => {
                    let known = self.live.positions.get(item_id.as_str());
                    let known = known.and_then(|position| catalogue.get(position)?.added_at);
                    known.unwrap_or(now)
                }
            };
            Ok(Item {
                item_id,
                attributes: sent.attributes,
                hidden: sent.hidden,
                added_at: Some(added_at),
            })
        });
        let outcome = self.import_items(&items)?;
        Ok(WriteReport {
            created: outcome.created,
            updated: outcome.updated,
            unchanged: outcome.unchanged,
            rejected,
        })
    }

    /// Stores items as they are.
    ///
    /// # Errors
    /// The catalogue's; then nothing was stored.
    pub fn import_items(&self, items: &[Item]) -> Result<PutOutcome, ServiceError> {
        if items.is_empty() {
            return Ok(PutOutcome::default());
        }
        let _swap = lock(&self.swap);
        let outcome = self.stores.catalogue.put_items(items)?;
        if outcome.created + outcome.updated > 0 {
            self.refresh(items)?;
        }
        Ok(outcome)
    }

    /// Takes in a batch of users. A put replaces the user's attributes.
    ///
    /// # Errors
    /// The catalogue's; then nothing was stored.
    pub fn put_users(&self, rows: Vec<Result<UserInput, Problem>>) -> Result<WriteReport, ServiceError> {
        let (users, _, rejected) = read_rows(rows, |sent| {
            attributes("attributes", &sent.attributes)?;
            Ok(User {
                user_id: id(UserId::new, &sent.user_id)?,
                attributes: sent.attributes,
            })
        });
        let outcome = self.import_users(&users)?;
        Ok(WriteReport {
            created: outcome.created,
            updated: outcome.updated,
            unchanged: outcome.unchanged,
            rejected,
        })
    }

    /// Stores users as they are.
    ///
    /// # Errors
    /// The catalogue's; then nothing was stored.
    pub fn import_users(&self, users: &[User]) -> Result<PutOutcome, ServiceError> {
        if users.is_empty() {
            return Ok(PutOutcome::default());
        }
        let outcome = self.stores.catalogue.put_users(users)?;
        users.iter().for_each(|user| self.people.changed(&user.user_id));
        Ok(outcome)
    }

    /// Attribute kinds of items or users.
    ///
    /// # Errors
    /// The catalogue's.
    pub fn schema(&self, of: EntityKind) -> Result<Schema, ServiceError> {
        Ok(self.stores.catalogue.schema(of)?)
    }

    /// Fixes how an attribute is read, or hands it back to inference; in force at once.
    ///
    /// # Errors
    /// An attribute that is not there, or a stored value that cannot be read so.
    pub fn fix_kind(
        &self,
        of: EntityKind,
        attribute: &str,
        kind: Option<AttributeKind>,
    ) -> Result<(), ServiceError> {
        let _swap = lock(&self.swap);
        self.check_no_rule_uses(of, attribute)?;
        self.stores.catalogue.fix_kind(of, attribute, kind)?;
        self.refresh(&[])
    }

    /// Makes a snapshot in which `items` are as given. Call with `swap` held.
    pub(crate) fn refresh(&self, items: &[Item]) -> Result<(), ServiceError> {
        let before = self.snapshot.load_full();
        let schema = self.stores.catalogue.schema(EntityKind::Item)?;
        let (catalogue, described) = if kinds(&schema) == kinds(&before.catalogue.schema) {
            self.changed(&before.catalogue, schema, items)?
        } else {
            let catalogue = whole_catalogue(&self.stores, &self.live, &self.config)?;
            let all = catalogue.entries().filter(|entry| entry.attributes.is_some());
            let all: Vec<_> = all
                .map(|entry| (entry.id.clone(), entry.features.clone()))
                .collect();
            (catalogue, all)
        };
        if self.is_training.load(Ordering::SeqCst) {
            lock(&self.training).items.extend(described.iter().cloned());
        }
        let models = before
            .models
            .as_ref()
            .map(|models| described_models(models, &self.live.positions, &described));
        let version = before.version;
        let from = before.catalogue.revision;
        self.put_in_place(
            Step::Items { from },
            catalogue,
            models,
            version.models,
            version.absorbed,
            before.learned.clone(),
        );
        Ok(())
    }

    /// The catalogue with some items changed, and those whose attributes did.
    fn changed(
        &self,
        before: &LiveCatalogue,
        schema: Schema,
        items: &[Item],
    ) -> Result<(LiveCatalogue, Vec<(ItemId, ItemFeatures)>), ServiceError> {
        let mut described = Vec::new();
        let last: BTreeMap<&ItemId, &Item> = items.iter().map(|item| (&item.item_id, item)).collect();
        let in_order = items
            .iter()
            .filter(|item| std::ptr::eq(*item, last[&item.item_id]));
        let changes = in_order.map(|item| {
            let position = self.live.positions.insert(&item.item_id);
            let entry = Entry::of(item, &schema);
            let known = before.get(position).and_then(|known| known.attributes.as_ref());
            if known != Some(&item.attributes) {
                described.push((position, item.item_id.clone(), entry.features.clone()));
            }
            (position, entry, item.hidden)
        });
        let changes = changes.collect();
        described.sort_unstable_by_key(|(position, ..)| *position);
        let described = described
            .into_iter()
            .map(|(_, id, features)| (id, features))
            .collect();
        let mut catalogue = before.with(&self.live.positions, changes);
        let schema = Arc::new(schema);
        if self
            .stores
            .catalogue
            .rules(None)?
            .map_or(0, |(version, _)| version)
            != catalogue.rules.version()
        {
            catalogue.set_rules(stored_rules(&self.stores, &self.config, &schema, None)?);
        }
        catalogue.schema = schema;
        catalogue.revision = self.stores.catalogue.revision()?;
        Ok((catalogue, described))
    }
}
