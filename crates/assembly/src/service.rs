//! The running service: log, catalogue, live state, models and engine tied together.

use crate::absorb::described;
use crate::bandit::Bandits;
use crate::bound::Bound;
use crate::bundle;
use crate::catalogue::{Entry, LiveCatalogue, POSITIONS_FILE, Positions};
use crate::decisions::Joining;
use crate::exposures::Exposures;
use crate::learned::{self, Learned};
use crate::lineage::{Lineage, Step};
use crate::live::Live;
use crate::past::PastCatalogue;
use crate::people::People;
use crate::rules::stored_rules;
use crate::segments::Segments;
use crate::slates::Slates;
use crate::snapshot::{Models, Snapshot};
use crate::stores::{Stores, settled};
use crate::{CONFIG_FILE, Clock, Config, ConfigError, ServiceError};
use arc_swap::ArcSwap;
use domain::{AppendOutcome, EntityKind, NewEvent, Receipt, Sequence, UserId};
use feedback::{DecisionLog, DecisionLogOptions};
use models::Staleness;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct OpenReport {
    /// Whether the folder was made by this opening.
    pub created: bool,
    /// Events in the log.
    pub events: u64,
    /// Items in the catalogue.
    pub items: u64,
    /// What was mended.
    pub recovered: Vec<String>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// What is remembered of training between runs.
#[derive(Default)]
pub(crate) struct TrainingState {
    pub(crate) bundle: u64,
    pub(crate) trained_at: Option<domain::Timestamp>,
    /// Name and bytes of the models in service.
    pub(crate) models: Vec<(String, u64)>,
    /// Failure of the last training.
    pub(crate) last_error: Option<String>,
    /// When it failed.
    pub(crate) failed_at: Option<domain::Timestamp>,
    /// To stop the training under way.
    pub(crate) cancel: Arc<AtomicBool>,
    /// Items put while a training runs, for the models that come of it.
    pub(crate) items: Vec<(domain::ItemId, models::ItemFeatures)>,
    /// Last event that the bundle was trained on.
    pub(crate) trained_to: Sequence,
    /// Whether a training under way has begun to read, so that whoever is erased must be taken out of what comes of it.
    pub(crate) has_read: bool,
    /// Who was erased since.
    pub(crate) gone: Vec<Vec<crate::erasure::Gone>>,
    /// Pending events handed to the models in service while a training runs; the new ones need them too.
    pub(crate) replay: Vec<crate::live::Pending>,
    /// When each placement's ranker was last learnt, and the last event then.
    pub(crate) rankers_at: std::collections::BTreeMap<String, (domain::Timestamp, u64)>,
}

/// A data folder in service. Share it as `Arc<Service>`.
pub struct Service {
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stores: Stores,
    pub(crate) live: Live,
    pub(crate) people: People,
    pub(crate) slates: Slates<Snapshot>,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) decisions: DecisionLog,
    /// Placements that learn by themselves.
    pub(crate) bandits: Bandits,
    /// Placements with constraints on exposures.
    pub(crate) exposures: Exposures,
    pub(crate) joining: Mutex<Joining>,
    pub(crate) lineage: Lineage,
    /// Name under which the configuration is kept.
    pub(crate) config_name: String,
    /// Held while a new snapshot is made.
    pub(crate) swap: Mutex<()>,
    pub(crate) is_training: AtomicBool,
    pub(crate) training: Mutex<TrainingState>,
    pub(crate) warnings: Mutex<Vec<String>>,
    pub(crate) decision_counter: AtomicU64,
}

/// A lock whose holder cannot leave half-changed data behind, even by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Folder of published models.
pub(crate) fn models_dir(dir: &Path) -> PathBuf {
    dir.join("models")
}

/// Folder of every configuration that was in force, by name.
pub(crate) const CONFIGURATIONS_DIR: &str = "configurations";
/// Folder of the lineage of snapshots.
pub(crate) const LINEAGE_DIR: &str = "lineage";

/// Keeps a configuration under a name made from it.
fn keep_config(dir: &Path, config: &Config) -> Result<String, ServiceError> {
    let dir = dir.join(CONFIGURATIONS_DIR);
    std::fs::create_dir_all(&dir).map_err(|e| ServiceError::io("creating", &dir, e))?;
    let text = config.to_toml();
    let name = format!("{:016x}", numeric::hash_bytes(text.as_bytes()));
    let path = dir.join(format!("{name}.toml"));
    if std::fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
        std::fs::write(&path, text).map_err(|e| ServiceError::io("writing", &path, e))?;
    }
    Ok(name)
}

/// The first step of a segment.
fn opening(bundle: Option<u64>, config: &str) -> Step {
    Step::Open {
        bundle,
        config: config.to_owned(),
        code: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Reads the configuration of a folder, writing the default one if there is none.
pub(crate) fn read_config(dir: &Path) -> Result<Config, ServiceError> {
    let path = dir.join(CONFIG_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Config::parse(&text, &path)?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let text = Config::default_toml();
            std::fs::write(&path, text).map_err(|e| ServiceError::io("writing", &path, e))?;
            Ok(Config::default())
        }
        Err(e) => Err(ConfigError {
            file: path.display().to_string(),
            reason: e.to_string(),
        }
        .into()),
    }
}

impl Service {
    /// Opens a data folder, making it if it is not there, and puts it in service.
    ///
    /// # Errors
    /// A store that is damaged or in use, or a configuration that cannot be.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<(Arc<Service>, OpenReport), ServiceError> {
        let mut opened = OpenReport::default();
        let stores = Stores::open(dir, &mut opened)?;
        let (service, report) = Service::with_stores(dir, stores, clock)?;
        let OpenReport {
            created, recovered, ..
        } = opened;
        Ok((
            service,
            OpenReport {
                created,
                recovered,
                ..report
            },
        ))
    }

    /// Puts a folder with these stores in service: folds the log into user states, loads the newest
    /// whole bundle of models, and makes the first snapshot.
    ///
    /// # Errors
    /// A store or a file that cannot be read, or a configuration that cannot be.
    pub fn with_stores(
        dir: &Path,
        stores: Stores,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Service>, OpenReport), ServiceError> {
        let start = clock.micros();
        let config = read_config(dir)?;
        let options = DecisionLogOptions {
            retention_bytes: config.decisions_retention_mb << 20,
            ..DecisionLogOptions::default()
        };
        let decisions_dir = dir.join("decisions");
        let decisions = DecisionLog::open(&decisions_dir, options)
            .map_err(|e| ServiceError::io("opening", &decisions_dir, e))?;
        let (loaded, mut warnings) = bundle::newest(&models_dir(dir))?;
        let config_name = keep_config(dir, &config)?;
        let positions_path = dir.join(POSITIONS_FILE);
        let positions =
            Positions::open(&positions_path).map_err(|e| ServiceError::io("reading", &positions_path, e))?;
        let live = Live::new(positions, config.history_events_max);
        let (rankers, passed_over) = Service::load_rankers(&config, dir)?;
        warnings.extend(passed_over);
        let unreadable = decisions.stats().unreadable_bytes;
        if unreadable > 0 {
            warnings.push(format!(
                "{unreadable} bytes of the decision log in {} could not be read; `concierge doctor` says more",
                decisions_dir.display()
            ));
        }
        let (counts_events, mut counts) = (learned::wanted(&config), learned::no_counts(&config.event_types));
        let absorbed = loaded.as_ref().map(|(info, _)| info.absorbed);
        let (mut segments, people) = (Segments::new(&config), People::default());
        let mut unread = None;
        stores.log.for_each(&mut |sequence, event| {
            let queue = absorbed.is_some_and(|absorbed| sequence > absorbed);
            if counts_events && absorbed.is_some_and(|absorbed| sequence <= absorbed) {
                let item = live.positions.insert(&event.item_id);
                learned::count(&mut counts, &config.event_types, item, &event);
            }
            if !segments.is_empty() && absorbed.is_some_and(|absorbed| sequence <= absorbed) {
                let item = live.positions.insert(&event.item_id);
                let mut person = |user: &UserId| people.stored(&*stores.catalogue, user);
                let counted = segments.count(&config, sequence, item, &event, &mut person);
                unread = unread.take().or(counted.err());
            }
            live.apply(sequence, event, &config.event_types, queue);
        })?;
        if let Some(error) = unread {
            return Err(error.into());
        }
        segments.settle();
        let mut training = TrainingState::default();
        live.applied_to(stores.log.head());
        let (mut models, mut taken_in) = (None, None);
        if let Some((info, loaded)) = loaded {
            training.bundle = info.number;
            training.trained_at = Some(info.trained_at);
            training.trained_to = info.absorbed;
            let mut staleness = info.staleness();
            staleness.moved = bundle::erased(&models_dir(dir), info.number);
            taken_in = info.catalogue;
            models = bind(loaded, &live, staleness);
        }
        let catalogue = whole_catalogue(&stores, &live, &config)?;
        let absorbed = absorbed.unwrap_or(Sequence::ZERO);
        let bandits = Bandits::open(dir, &config, &stores, &decisions, clock.now(), &mut warnings)?;
        let beliefs = bandits.beliefs();
        live.positions.save(false);
        let lineage = Lineage::open(&dir.join(LINEAGE_DIR))?;
        let last_prices = lineage.last_prices()?;
        let exposures = Exposures::open(
            &decisions_dir,
            &config,
            &last_prices,
            &decisions,
            &catalogue,
            &live.positions,
            clock.now(),
        )?;
        let prices = exposures.prices(&Arc::new(last_prices));
        let number = models.as_ref().map(|_| training.bundle);
        let learned = Learned {
            rankers: Arc::new(rankers),
            counts: Arc::new(counts),
            users: Arc::new(stores.catalogue.schema(EntityKind::User)?),
            prices,
            segments,
        };
        let mut step = lineage.note(opening(number, &config_name), &catalogue, absorbed, &learned);
        // What was put into the catalogue since the models were published is theirs too.
        if let (Some(bound), Some(from)) = (&models, taken_in.filter(|from| *from < catalogue.revision)) {
            match PastCatalogue::at(&*stores.catalogue, from) {
                Ok(mut past) => {
                    let put = past.advance(catalogue.revision, &live.positions);
                    models = Some(described(bound, &live.positions, &put));
                    step = lineage.note(Step::Items { from }, &catalogue, absorbed, &learned);
                }
                Err(error) => warnings.push(format!(
                    "items put since the models were trained wait for the next training: {error}"
                )),
            }
        }
        training.models = models.as_ref().map(sizes).unwrap_or_default();
        let (catalogue, bundle) = (Arc::new(catalogue), training.bundle);
        let snapshot = Snapshot::new(
            &config, catalogue, models, bundle, absorbed, step, &beliefs, learned,
        );
        check(&snapshot, dir)?;
        let report = OpenReport {
            events: stores.log.len(),
            items: stores.catalogue.counts()?.0,
            warnings: warnings.clone(),
            ..OpenReport::default()
        };
        let service = Service {
            dir: dir.to_owned(),
            config,
            stores,
            live,
            people,
            slates: Slates::default(),
            snapshot: ArcSwap::from_pointee(snapshot),
            decisions,
            bandits,
            exposures,
            joining: Mutex::default(),
            lineage,
            config_name,
            swap: Mutex::default(),
            is_training: AtomicBool::new(false),
            training: Mutex::new(training),
            warnings: Mutex::new(warnings),
            decision_counter: AtomicU64::new(clock.micros()),
            clock,
        };
        service.absorb()?;
        let mut report = report;
        report.seconds = service.clock.micros().saturating_sub(start) as f64 / 1e6;
        Ok((Arc::new(service), report))
    }

    /// The first step of a segment of the lineage.
    pub(crate) fn opening(&self, bundle: Option<u64>) -> Step {
        opening(bundle, &self.config_name)
    }

    /// Forgets how snapshots came about whose models are not kept any more, and the changes of the catalogue before the others.
    pub(crate) fn prune_lineage(&self) -> Result<(), ServiceError> {
        let dir = models_dir(&self.dir);
        let kept = bundle::numbers(&dir)?;
        let mut oldest = self.lineage.prune(&|number| kept.contains(&number))?;
        // Models that are published lately may still have to be told of changes.
        for number in kept {
            let info = bundle::info(&bundle::path(&dir, number))
                .ok()
                .and_then(|info| info.catalogue);
            oldest = oldest.into_iter().chain(info).min();
        }
        match oldest {
            Some(oldest) => Ok(self.stores.catalogue.forget_history(oldest)?),
            None => Ok(()),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Appends prepared events and takes them into the live state before it returns, so that the
    /// next request sees them.
    ///
    /// # Errors
    /// The log's; then nothing was stored.
    pub fn append_events(&self, batch: Vec<NewEvent>) -> Result<AppendOutcome, ServiceError> {
        let batch = settled(batch, self.clock.now());
        let events: Vec<_> = batch.iter().map(|new| new.event.clone()).collect();
        let outcome = self.stores.log.append(batch)?;
        self.count_outcomes(&events, &outcome.receipts);
        let queue = self.snapshot.load().models.is_some() || self.is_training.load(Ordering::SeqCst);
        let accepted = events.into_iter().zip(&outcome.receipts);
        let accepted = accepted.filter_map(|(event, receipt)| match receipt {
            Receipt::Accepted(sequence) => Some((*sequence, event)),
            Receipt::Duplicate => None,
        });
        let accepted: Vec<_> = accepted.collect();
        self.bandits
            .told(accepted.iter().map(|(sequence, event)| (*sequence, event)));
        self.live.apply_in_turn(accepted, &self.config.event_types, queue);
        Ok(outcome)
    }

    /// Stops a training under way and writes down everything that is still in memory. May be called
    /// more than once.
    ///
    /// # Errors
    /// The decision log's.
    pub fn close(&self) -> Result<(), ServiceError> {
        lock(&self.training).cancel.store(true, Ordering::SeqCst);
        self.learn();
        self.bandits.sync()?;
        self.live.positions.save(true);
        self.lineage.sync();
        self.flush_decisions()
    }

    /// Returns once every decision recorded before is on the disk.
    ///
    /// # Errors
    /// The decision log's.
    pub fn flush(&self) -> Result<(), ServiceError> {
        self.flush_decisions()
    }

    /// Takes decisions and events that are waiting into the placements that learn; true if there were any.
    pub(crate) fn learn(&self) -> bool {
        self.bandits.learn(self.live.applied(), self.clock.now())
    }

    pub(crate) fn flush_decisions(&self) -> Result<(), ServiceError> {
        let path = self.dir.join("decisions");
        self.decisions
            .flush()
            .map_err(|e| ServiceError::io("flushing", &path, e))
    }
}

/// Binds the models of a bundle, the ranking one first; `None` if there are none.
pub(crate) fn bind(loaded: Vec<Box<dyn models::Model>>, live: &Live, staleness: Staleness) -> Option<Models> {
    let bound = loaded
        .into_iter()
        .map(|model| Arc::new(Bound::new(Arc::from(model), &live.positions, staleness)));
    let mut bound = bound.collect::<Vec<_>>().into_iter();
    Some(Models {
        main: bound.next()?,
        fallbacks: bound.collect(),
    })
}

/// Names and bytes of the models, parts of the ranking one included.
pub(crate) fn sizes(models: &Models) -> Vec<(String, u64)> {
    let size = |model: &dyn models::Model| (model.name().to_owned(), model.memory_bytes() as u64);
    let parts = models.main.model.parts();
    let parts = parts.into_iter().map(size);
    models
        .all()
        .map(|bound| size(&*bound.model))
        .chain(parts)
        .collect()
}

/// Placements that name a source which is not there cannot be served as configured.
fn check(snapshot: &Snapshot, dir: &Path) -> Result<(), ServiceError> {
    for placement in snapshot.placements.values() {
        placement.pipeline.check().map_err(|e| ConfigError {
            file: dir.join(CONFIG_FILE).display().to_string(),
            reason: e.to_string(),
        })?;
    }
    Ok(())
}

/// What an erasure removed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ErasureReport {
    /// Whose.
    pub user_id: String,
    /// Events removed from the log.
    pub events: u64,
    /// Decision records removed.
    pub decisions: u64,
    /// Whether there were attributes.
    pub attributes: bool,
}

/// The catalogue as stored, by position.
pub(crate) fn whole_catalogue(
    stores: &Stores,
    live: &Live,
    config: &Config,
) -> Result<LiveCatalogue, ServiceError> {
    let schema = Arc::new(stores.catalogue.schema(EntityKind::Item)?);
    let revision = stores.catalogue.revision()?;
    let mut changes = Vec::new();
    stores.catalogue.for_each_item(&mut |item| {
        let position = live.positions.insert(&item.item_id);
        changes.push((position, Entry::of(&item, &schema), item.hidden));
    })?;
    let mut catalogue = LiveCatalogue::default().with(&live.positions, changes);
    catalogue.set_rules(stored_rules(stores, config, &schema, None)?);
    catalogue.schema = schema;
    catalogue.revision = revision;
    Ok(catalogue)
}
