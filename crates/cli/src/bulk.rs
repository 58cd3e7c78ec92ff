//! Loading into a data folder in bulk: straight into log and catalogue. Nothing derived is kept up to date
//! meanwhile, so memory does not grow with what is loaded; the next opening derives it.

use crate::folder;
use crate::progress;
use anyhow::Context;
use assembly::{CONFIG_FILE, Clock, Config, OpenReport, Stores, SystemClock};
use domain::{EventType, Item, NewEvent, Receipt, User};
use import::{Batch, Counts, Kind, Options, Plan, RowSource, Sink, Summary, TextOptions};
use signals::EventTypes;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// A file that was looked at.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) source: Box<dyn RowSource>,
    pub(crate) first: Vec<Batch>,
}

/// A file that was loaded.
pub(crate) struct Loaded {
    pub(crate) plan: Plan,
    pub(crate) summary: Summary,
    pub(crate) seconds: f64,
}

/// How much there is afterwards.
pub(crate) struct Held {
    pub(crate) events: u64,
    pub(crate) items: u64,
    pub(crate) users: u64,
    /// Events loaded of types that are not configured, by type.
    pub(crate) unknown_event_types: BTreeMap<String, u64>,
}

/// A data folder open for loading.
pub(crate) struct Bulk {
    stores: Stores,
    types: EventTypes,
    clock: SystemClock,
    by_type: HashMap<EventType, u64>,
}

impl Bulk {
    /// Opens a data folder, which has its configuration.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Bulk> {
        let path = folder::check(dir)?.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let config = Config::parse(&text, &path)?;
        let mut report = OpenReport::default();
        let stores = Stores::open(dir, &mut report)?;
        for note in &report.recovered {
            tracing::warn!(folder = %dir.display(), "recovered: {note}");
        }
        Ok(Bulk {
            stores,
            types: config.event_types,
            clock: SystemClock::default(),
            by_type: HashMap::new(),
        })
    }

    /// Loads one file.
    pub(crate) fn load(
        &mut self,
        planned: Planned,
        mut rejects: Option<&mut dyn Write>,
    ) -> anyhow::Result<Loaded> {
        let Planned { plan, source, first } = planned;
        let started = Instant::now();
        let bar = progress::import(&plan.name);
        let rejects = rejects.as_mut().map(|rejects| rejects as &mut dyn Write);
        let result = import::run(source, &plan, first, self, rejects, &mut |at| bar.show(at));
        bar.clear();
        let summary = result?;
        Ok(Loaded {
            plan,
            summary,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Loads bytes that this program carries.
    pub(crate) fn load_bytes(
        &mut self,
        kind: Kind,
        name: &str,
        bytes: &'static [u8],
    ) -> anyhow::Result<Loaded> {
        let total = Some(bytes.len() as u64);
        let mut source = import::open_text(Box::new(bytes), name, total, &TextOptions::default())?;
        let (plan, first) = import::plan(source.as_mut(), name, &Options::new(kind))?;
        self.load(Planned { plan, source, first }, None)
    }

    /// How much there is now.
    pub(crate) fn held(&self) -> anyhow::Result<Held> {
        let (items, users) = self.stores.catalogue.counts()?;
        let unknown = self
            .by_type
            .iter()
            .filter(|(name, _)| self.types.get(name.as_str()).is_none());
        Ok(Held {
            events: self.stores.log.len(),
            items,
            users,
            unknown_event_types: unknown
                .map(|(name, events)| (name.to_string(), *events))
                .collect(),
        })
    }
}

impl Sink for Bulk {
    fn events(&mut self, events: Vec<NewEvent>) -> Result<Counts, String> {
        for new in &events {
            match self.by_type.get_mut(&new.event.event_type) {
                Some(count) => *count += 1,
                None => {
                    self.by_type.insert(new.event.event_type.clone(), 1);
                }
            }
        }
        let outcome = self
            .stores
            .append(events, self.clock.now())
            .map_err(|e| e.to_string())?;
        let accepted = outcome
            .receipts
            .iter()
            .filter(|r| matches!(r, Receipt::Accepted(_)))
            .count() as u64;
        Ok(Counts {
            accepted,
            duplicate: outcome.receipts.len() as u64 - accepted,
        })
    }

    fn items(&mut self, items: Vec<Item>) -> Result<Counts, String> {
        let put = self
            .stores
            .catalogue
            .put_items(&items)
            .map_err(|e| e.to_string())?;
        Ok(Counts {
            accepted: put.created + put.updated,
            duplicate: put.unchanged,
        })
    }

    fn users(&mut self, users: Vec<User>) -> Result<Counts, String> {
        let put = self
            .stores
            .catalogue
            .put_users(&users)
            .map_err(|e| e.to_string())?;
        Ok(Counts {
            accepted: put.created + put.updated,
            duplicate: put.unchanged,
        })
    }
}
