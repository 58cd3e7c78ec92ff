//! Where the truth is kept: opening, and the last touch before events go in.

use crate::{OpenReport, ServiceError};
use domain::{AppendOutcome, Catalogue, EventId, EventLog, NewEvent, Timestamp};
use std::path::Path;
use std::sync::Arc;
use store_file::{FileEventLog, LogOptions};
use store_sqlite::SqliteCatalogue;

/// Folder of the event log in a data folder.
pub(crate) const EVENTS_DIR: &str = "events";
/// The catalogue in a data folder.
pub(crate) const CATALOGUE_FILE: &str = "catalogue.sqlite";

/// Stores on disk by their own types, for what only they can do.
#[derive(Clone)]
pub(crate) struct OnDisk {
    pub(crate) log: Arc<FileEventLog>,
    pub(crate) catalogue: Arc<SqliteCatalogue>,
}

/// Where the truth is kept.
#[derive(Clone)]
pub struct Stores {
    /// Events.
    pub log: Arc<dyn EventLog>,
    /// Items and users.
    pub catalogue: Arc<dyn Catalogue>,
    pub(crate) disk: Option<OnDisk>,
}

impl Stores {
    /// Any two stores; backups are not made of them.
    pub fn of(log: Arc<dyn EventLog>, catalogue: Arc<dyn Catalogue>) -> Stores {
        Stores {
            log,
            catalogue,
            disk: None,
        }
    }

    /// Opens those of a data folder, making them if they are not there. The folder is this process's
    /// until they are dropped. What was mended goes into `report.recovered`.
    ///
    /// # Errors
    /// A store that is damaged, in use by another process, or cannot be read.
    pub fn open(dir: &Path, report: &mut OpenReport) -> Result<Stores, ServiceError> {
        report.created = !dir.join(CATALOGUE_FILE).exists();
        std::fs::create_dir_all(dir).map_err(|e| ServiceError::io("creating", dir, e))?;
        let (log, recovery) = FileEventLog::open(&dir.join(EVENTS_DIR), LogOptions::default())?;
        report.recovered.extend(recovery.lines());
        let catalogue = Arc::new(SqliteCatalogue::open(&dir.join(CATALOGUE_FILE))?);
        let log = Arc::new(log);
        report.events = domain::EventRead::len(&*log);
        report.items = catalogue.counts()?.0;
        Ok(Stores {
            log: log.clone(),
            catalogue: catalogue.clone(),
            disk: Some(OnDisk { log, catalogue }),
        })
    }

    /// Appends events without taking them into any state: for loading in bulk.
    ///
    /// # Errors
    /// The log's; then nothing was stored.
    pub fn append(&self, batch: Vec<NewEvent>, now: Timestamp) -> Result<AppendOutcome, ServiceError> {
        Ok(self.log.append(settled(batch, now))?)
    }
}

/// Events of the future happen now: a person's next answer would not include them otherwise, and
/// everything else would look old beside them. The key stays that of the event as sent, so that a retry is
/// still a duplicate.
pub(crate) fn settled(mut batch: Vec<NewEvent>, now: Timestamp) -> Vec<NewEvent> {
    for new in batch.iter_mut().filter(|new| new.event.timestamp > now) {
        if new.event.event_id.is_none() {
            let id = EventId::new(format!("~{:032x}", new.key.0));
            new.event.event_id = Some(id.expect("hexadecimal is a valid id"));
        }
        new.event.timestamp = now;
        new.key = signals::event_key(&new.event);
    }
    batch
}
