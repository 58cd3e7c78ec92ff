//! Looking around: how things stand, who and what there is.

use crate::intake::id;
use crate::reasons::{title, title_of};
use crate::service::lock;
use crate::wire::Status;
use crate::{Service, ServiceError};
use domain::{Event, Item, ItemId, User, UserId};
use std::sync::atomic::Ordering;

impl Service {
    /// An item of the catalogue.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] if it is not there.
    pub fn item(&self, item_id: &str) -> Result<Item, ServiceError> {
        let not_found = || ServiceError::NotFound {
            what: "item",
            id: item_id.to_owned(),
        };
        let id = ItemId::new(item_id).map_err(|_| not_found())?;
        self.stores.catalogue.item(&id)?.ok_or_else(not_found)
    }

    /// What is known of a user: stored attributes, which are empty for a user known from events alone.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] if there are neither attributes nor events.
    pub fn user(&self, user_id: &str) -> Result<User, ServiceError> {
        let not_found = || ServiceError::NotFound {
            what: "user",
            id: user_id.to_owned(),
        };
        let id = UserId::new(user_id).map_err(|_| not_found())?;
        if let Some(user) = self.stores.catalogue.user(&id)? {
            return Ok(user);
        }
        if self.live.states.recent(&id, 1).is_empty() {
            return Err(not_found());
        }
        Ok(User {
            user_id: id,
            attributes: domain::Attributes::new(),
        })
    }

    /// The latest `n` events of a user by event time, newest first; at most as many as are kept for serving.
    ///
    /// # Errors
    /// An id that cannot be.
    pub fn recent_events(&self, user_id: &str, n: usize) -> Result<Vec<Event>, ServiceError> {
        let user = id(UserId::new, user_id).map_err(ServiceError::Input)?;
        let recent = self.live.states.recent(&user, n);
        let positions: Vec<u32> = recent.iter().map(|event| event.item).collect();
        let items = self.live.positions.ids_of(&positions);
        let events = recent.into_iter().zip(items).map(|(event, item_id)| Event {
            event_id: None,
            user_id: user.clone(),
            item_id,
            event_type: event.event_type,
            timestamp: event.timestamp,
            value: event.value,
            session_id: None,
            decision_id: None,
            context: domain::Attributes::new(),
        });
        Ok(events.collect())
    }

    /// Some users and how many events are kept of each; the same ones every time. Looks at every user.
    pub fn sample_users(&self, n: usize) -> Vec<(String, usize)> {
        let users = self.live.states.sample(n).into_iter();
        users
            .map(|(id, events)| (id.as_str().to_owned(), events))
            .collect()
    }

    /// Items that are not hidden and whose id begins with `text` or whose title contains all its
    /// words, in the order of the catalogue. Looks at every item.
    pub fn find_items(&self, text: &str, n: usize) -> Vec<Item> {
        let snapshot = self.snapshot.load_full();
        let text = text.trim().to_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() {
            return Vec::new();
        }
        let hidden = &snapshot.catalogue.hidden;
        let found = snapshot.catalogue.entries().enumerate().filter(|(at, entry)| {
            let title = title_of(entry).to_lowercase();
            !hidden.get(*at).copied().unwrap_or(true)
                && (entry.id.as_str().to_lowercase().starts_with(&text)
                    || words.iter().all(|w| title.contains(w)))
        });
        let items = found.take(n).map(|(_, entry)| Item {
            item_id: entry.id.clone(),
            attributes: entry.attributes.clone().unwrap_or_default(),
            hidden: false,
            added_at: entry.added_at,
        });
        items.collect()
    }

    /// The moment, by the clock of the service.
    pub fn now(&self) -> domain::Timestamp {
        self.clock.now()
    }

    /// What to call an item: its title-like attribute, or its id.
    pub fn title(&self, item: &Item) -> String {
        title(item.item_id.as_str(), Some(&item.attributes)).to_owned()
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        let snapshot = self.snapshot.load_full();
        let catalogue = &snapshot.catalogue;
        let decisions = self.decisions.stats();
        let staleness = self.staleness();
        let training = lock(&self.training);
        let mut warnings = lock(&self.warnings).clone();
        let skipped = self.live.skipped(false);
        if skipped > 0 {
            warnings.push(format!(
                "{skipped} events came faster than the models could take them in and wait for the next training"
            ));
        }
        let unwritten = [
            ("lineage of snapshots", self.lineage.error()),
            ("positions of items", self.live.positions.error()),
        ];
        for (what, error) in unwritten {
            if let Some(error) = error {
                warnings.push(format!(
                    "the {what} cannot be written, decisions from now on cannot be replayed: {error}"
                ));
            }
        }
        if decisions.dropped > 0 {
            let reason = decisions.last_error.as_deref().unwrap_or("its queue was full");
            warnings.push(format!(
                "{} decisions were not recorded: {reason}",
                decisions.dropped
            ));
        }
        warnings.extend(self.bandits.warning());
        for (name, placement) in &self.config.placements {
            warnings.extend(placement.rerank.warnings(name, &catalogue.schema));
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            snapshot: snapshot.version.to_string(),
            sequence: self.stores.log.head().0,
            state_sequence: self.live.states.as_of().0,
            absorbed_sequence: snapshot.version.absorbed.0,
            events: self.stores.log.len(),
            items: catalogue.len() as u64,
            users: self.live.states.len() as u64,
            hidden_items: catalogue.n_hidden as u64,
            models: training.models.clone(),
            staleness,
            staleness_max: self.config.training.staleness_max,
            trained_at: training.trained_at.map(|at| at.0),
            training: self.is_training.load(Ordering::SeqCst),
            last_training_error: training.last_error.clone(),
            unknown_event_types: self.live.unknown_types(),
            decisions: decisions.decisions,
            decision_bytes: decisions.bytes,
            outcomes: self.join_rate(),
            placements: self.config.placements.keys().cloned().collect(),
            bandits: self.bandits.status(),
            exposures: self.exposures.status(),
            warnings,
        }
    }
}

/// Learners that a configuration may name, each with what it does in a line.
pub fn learners() -> Vec<(&'static str, &'static str)> {
    models::trainers()
        .iter()
        .map(|entry| (entry.name, entry.summary))
        .collect()
}
