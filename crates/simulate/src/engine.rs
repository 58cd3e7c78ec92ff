//! The real engine in this process, with a clock that stands still until it is moved.

use crate::setup::Setup;
use crate::target::{Shown, Target, Visit};
use crate::{DAY_MS, SimulateError};
use assembly::{EventInput, FixedClock, ItemInput, RecommendRequest, Service, ServiceError, Stores};
use domain::Timestamp;
use std::path::Path;
use std::sync::Arc;
use store_memory::{MemoryCatalogue, MemoryEventLog};

/// The moment of the first day: a Monday, so that weeks begin with the days.
pub(crate) const START: Timestamp = Timestamp(1_704_067_200_000);
/// Visits that one worker takes at a time.
const CHUNK: usize = 32;

/// A service of its own for one run.
pub struct Engine {
    service: Arc<Service>,
    clock: Arc<FixedClock>,
}

fn failed(doing: &'static str) -> impl Fn(ServiceError) -> SimulateError {
    move |error| SimulateError::Target {
        doing,
        reason: error.to_string(),
    }
}

impl Engine {
    /// Puts a service with this configuration into an empty folder. Events and items are kept in memory unless `on_disk`; models and the decision log are in the folder either way.
    ///
    /// # Errors
    /// A folder that cannot be written, or a configuration that cannot be.
    pub fn open(dir: &Path, setup: &Setup, on_disk: bool) -> Result<Engine, SimulateError> {
        let scenario = |reason: String| SimulateError::Scenario {
            file: dir.display().to_string(),
            reason,
        };
        let text = setup.service_toml().map_err(scenario)?;
        std::fs::create_dir_all(dir)
            .and_then(|()| std::fs::write(dir.join(assembly::CONFIG_FILE), text))
            .map_err(|e| scenario(e.to_string()))?;
        let days = setup.history.days.ceil();
        let clock = Arc::new(FixedClock::at(Timestamp(START.0 - (days * DAY_MS) as i64)));
        let opened = if on_disk {
            Service::open(dir, clock.clone())
        } else {
            let stores = Stores::of(Arc::new(MemoryEventLog::new()), Arc::new(MemoryCatalogue::new()));
            Service::with_stores(dir, stores, clock.clone())
        };
        let (service, _) = opened.map_err(failed("opening"))?;
        Ok(Engine { service, clock })
    }

    /// The service, to look around in.
    pub fn service(&self) -> &Service {
        &self.service
    }
}

impl Target for Engine {
    fn set_clock(&self, now: Timestamp) -> bool {
        self.clock.set(now);
        true
    }

    fn put_items(&self, items: Vec<ItemInput>) -> Result<(), SimulateError> {
        let report = self
            .service
            .put_items(items.into_iter().map(Ok).collect())
            .map_err(failed("putting items"))?;
        match report.rejected.first() {
            None => Ok(()),
            Some(row) => Err(SimulateError::Target {
                doing: "putting items",
                reason: ServiceError::Input(row.problem.clone()).to_string(),
            }),
        }
    }

    fn tell(&self, events: Vec<EventInput>) -> Result<(), SimulateError> {
        let report = self
            .service
            .ingest(events.into_iter().map(Ok).collect())
            .map_err(failed("telling events"))?;
        if let Some(row) = report.rejected.first() {
            return Err(SimulateError::Target {
                doing: "telling events",
                reason: ServiceError::Input(row.problem.clone()).to_string(),
            });
        }
        self.service.absorb().map_err(failed("absorbing"))?;
        Ok(())
    }

    fn show(&self, placement: &str, n: usize, visits: &[Visit]) -> Result<Vec<Shown>, SimulateError> {
        let one = |visit: &Visit| {
            let request = RecommendRequest {
                placement: placement.to_owned(),
                user_id: Some(visit.user_id.clone()),
                attributes: visit.attributes.clone(),
                n: Some(n),
                seed: Some(visit.seed),
                ..RecommendRequest::default()
            };
            let answer = self.service.recommend(&request)?;
            Ok(Shown {
                decision_id: answer.decision_id,
                items: answer.items.into_iter().map(|item| item.item_id).collect(),
            })
        };
        let chunks = numeric::parallel_chunks(visits.len(), CHUNK, |range| {
            visits[range]
                .iter()
                .map(one)
                .collect::<Result<Vec<Shown>, ServiceError>>()
        });
        let mut shown = Vec::with_capacity(visits.len());
        for chunk in chunks {
            shown.extend(chunk.map_err(failed("asking for a slate"))?);
        }
        Ok(shown)
    }

    fn train(&self) -> Result<(), SimulateError> {
        self.service.train(&|_| {}).map_err(failed("training"))?;
        for placement in self.service.ranked_placements() {
            match self.service.train_ranker(&placement, &|_| {}) {
                // As in a server, what ranked before goes on until there is enough.
                Ok(_) | Err(ServiceError::TooLittle(_)) => {}
                Err(error) => return Err(failed("training a ranker")(error)),
            }
        }
        Ok(())
    }
}
