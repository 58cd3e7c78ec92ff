//! Learning: new events taken into the models in service, and training anew.

use crate::absorb::{Absorbable, FromLog, described, updated};
use crate::bundle::{self, BundleInfo};
use crate::catalogue::{LiveCatalogue, features};
use crate::learned::{self, Learned};
use crate::lineage::Step;
use crate::live::{Pending, counting};
use crate::segments::Segments;
use crate::service::{TrainingState, bind, lock, models_dir, sizes};
use crate::snapshot::{Models, Snapshot};
use crate::{Service, ServiceError};
use dataset::InteractionsBuilder;
use domain::{EntityKind, Sequence, Timestamp, UserId};
use hashbrown::HashMap;
use models::{ItemFeatures, Model, ModelError, Run, Staleness, TrainerEntry, TrainingData, UserFeatures};
use serde::Serialize;
use signals::EventTypes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Events taken into the models at a time.
const ABSORB_MAX: usize = 20_000;
/// How long the schedule waits after a training that failed.
const RETRY_MS: i64 = 300_000;

/// What a training made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainReport {
    /// Number of the published bundle.
    pub bundle: u64,
    /// The models in it, the ranking one first.
    pub models: Vec<TrainedModel>,
    /// Events that counted.
    pub events: u64,
    /// Users with such events.
    pub users: u64,
    /// Items, those without events included.
    pub items: u64,
    /// How long it took, publishing included.
    pub seconds: f64,
}

/// One trained model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainedModel {
    /// Name of the learner.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Bytes it holds.
    pub bytes: u64,
}

/// What of log and catalogue learners are told.
pub(crate) struct Extract<'a> {
    /// What events are worth.
    pub(crate) event_types: &'a EventTypes,
    /// Whether attributes of items are told.
    pub(crate) describes_items: bool,
    /// The last event.
    pub(crate) head: Sequence,
    /// The moment that ages are counted to.
    pub(crate) now: Timestamp,
    /// If given, only events before it.
    pub(crate) before: Option<Timestamp>,
}

/// A model just trained, and how long it took.
pub(crate) type Trained = (Box<dyn Model>, f64);

/// Ends a training whatever comes of it.
pub(crate) struct Under<'a>(pub(crate) &'a Service);

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.0.is_training.store(false, Ordering::SeqCst);
        let mut training = lock(&self.0.training);
        training.has_read = false;
        training.gone.clear();
        training.replay.clear();
        training.items.clear();
    }
}

impl Service {
    /// Works out what the models in service would otherwise work out when first asked. For the background, once after
    /// opening; models that are trained later come warm.
    pub fn warm(&self) {
        if let Some(models) = &self.snapshot.load_full().models {
            models.all().for_each(|bound| bound.model.warm());
        }
    }

    /// Writes down how a snapshot comes about, makes it and puts it in place. Call with `swap` held.
    pub(crate) fn put_in_place(
        &self,
        did: Step,
        catalogue: LiveCatalogue,
        models: Option<Models>,
        bundle: u64,
        absorbed: Sequence,
        learned: Learned,
    ) {
        self.live.positions.save(false);
        let step = self.lineage.note(did, &catalogue, absorbed, &learned);
        let (config, catalogue) = (&self.config, Arc::new(catalogue));
        let beliefs = self.bandits.beliefs();
        let next = Snapshot::new(
            config, catalogue, models, bundle, absorbed, step, &beliefs, learned,
        );
        self.snapshot.store(Arc::new(next));
    }

    /// What there is to absorb of events that were handed out, in order. Call with `swap` held.
    fn absorbables(&self, pending: &[Pending]) -> Result<Vec<Absorbable>, ServiceError> {
        let types = &self.config.event_types;
        let (mut found, unclear) = self.live.absorbables(pending, types);
        let counts: Vec<Sequence> = pending
            .iter()
            .filter(|p| p.weight != 0.0)
            .map(|p| p.sequence)
            .collect();
        if let (false, Some(first), Some(last)) = (unclear.is_empty(), counts.first(), counts.last()) {
            let (log, positions, max) = (
                &*self.stores.log,
                &self.live.positions,
                self.config.history_events_max,
            );
            let mut read = FromLog::new(log, positions, types, max, (*first, *last), Some(unclear))?;
            found.extend(read.range(*first, *last)?);
            // Of what was left out of the queue nothing is asked.
            found.retain(|absorbable| counts.binary_search(&absorbable.sequence).is_ok());
            found.sort_unstable_by_key(|absorbable| absorbable.sequence);
        }
        Ok(found)
    }

    /// Takes events that are waiting into the models in service and puts the result in place; the
    /// number taken that count. Call it every `absorb_interval_ms`; cheap if nothing is waiting.
    ///
    /// # Errors
    /// The log's, which is asked about people with more waiting than is kept of them.
    pub fn absorb(&self) -> Result<usize, ServiceError> {
        let _swap = lock(&self.swap);
        let learnt = self.learn();
        let (mut total, mut drained) = (0, 0);
        loop {
            let pending = self.live.drain(ABSORB_MAX);
            if pending.is_empty() {
                break;
            }
            drained += pending.len();
            total += counting(&pending);
            if let Err(error) = self.take_in(&pending) {
                self.live.skip(counting(&pending));
                return Err(error);
            }
            if self.is_training.load(Ordering::SeqCst) {
                lock(&self.training).replay.extend(pending);
            }
            if drained >= ABSORB_MAX * 10 {
                break;
            }
        }
        self.see_new_items(learnt);
        self.live.positions.save(true);
        self.lineage.sync();
        if let Err(error) = self.bandits.sync() {
            tracing::warn!("what placements learnt is not on the disk yet: {error}");
        }
        self.retire_decisions();
        Ok(total)
    }

    /// Call with `swap` held.
    fn take_in(&self, pending: &[Pending]) -> Result<(), ServiceError> {
        let before = self.snapshot.load_full();
        let Some(models) = &before.models else {
            return Ok(());
        };
        let absorbables = self.absorbables(pending)?;
        let Some(did) = absorbing(&absorbables) else {
            return Ok(());
        };
        let models = updated(models, &self.live.positions, &absorbables);
        let catalogue = before.catalogue.with(&self.live.positions, Vec::new());
        let absorbed = absorbables
            .last()
            .map_or(before.version.absorbed, |last| last.sequence);
        let learned = self.counted(&before.learned, pending)?;
        self.put_in_place(
            did,
            catalogue,
            Some(models),
            before.version.models,
            absorbed,
            learned,
        );
        Ok(())
    }

    /// Items known from events alone enter the catalogue of the next snapshot, what placements have learnt is believed by it, and it goes by the prices of what
    /// was shown. Call with `swap` held.
    pub(crate) fn see_new_items(&self, learnt: bool) {
        let before = self.snapshot.load_full();
        self.exposures.settle(self.clock.now(), &before.catalogue);
        let mut learned = before.learned.clone();
        learned.prices = self.exposures.prices(&before.learned.prices);
        let is_priced_anew = !Arc::ptr_eq(&learned.prices, &before.learned.prices);
        if !learnt && !is_priced_anew && before.catalogue.len() == self.live.positions.len() {
            return;
        }
        let catalogue = before.catalogue.with(&self.live.positions, Vec::new());
        let version = before.version;
        self.put_in_place(
            Step::See,
            catalogue,
            before.models.clone(),
            version.models,
            version.absorbed,
            learned,
        );
    }

    /// Events that wait to be taken into the models.
    pub fn waiting(&self) -> usize {
        self.live.waiting()
    }

    /// True if the schedule wants a training now: a model in service is staler than `staleness_max`, and the last training
    /// is long enough ago. Before the first training any event will do.
    pub fn training_due(&self) -> bool {
        let config = &self.config.training;
        if self.is_training.load(Ordering::SeqCst) || config.every_minutes == 0 {
            return false;
        }
        let training = lock(&self.training);
        let now = self.clock.now();
        if training.failed_at.is_some_and(|at| now.0 < at.0 + RETRY_MS) {
            return false;
        }
        let Some(trained_at) = training.trained_at else {
            return !self.stores.log.is_empty();
        };
        drop(training);
        let age_ms = now.0.saturating_sub(trained_at.0);
        let stalest = self
            .staleness()
            .iter()
            .map(|(_, share)| *share)
            .fold(0.0, f64::max);
        stalest > config.staleness_max && age_ms >= i64::from(config.every_minutes) * 60_000
    }

    /// How stale each model in service is, those that the ranking one is made of after it: the share of what it would be
    /// trained on now that it does not reflect. Events that could not be taken in for want of room count fully.
    pub fn staleness(&self) -> Vec<(String, f64)> {
        let snapshot = self.snapshot.load_full();
        let skipped = self.live.skipped(false) as f64;
        let share = |staleness: &Staleness| {
            let mut staleness = *staleness;
            staleness.moved += skipped;
            staleness.share()
        };
        let Some(models) = &snapshot.models else {
            return Vec::new();
        };
        let main = &models.main;
        let whole = models
            .all()
            .map(|bound| (bound.model.name(), share(&bound.staleness)));
        let parts = main
            .model
            .parts()
            .into_iter()
            .map(|part| part.name())
            .zip(main.parts.iter().map(share));
        whole
            .chain(parts)
            .map(|(name, share)| (name.to_owned(), share))
            .collect()
    }

    /// Trains on everything in log and catalogue, publishes the models as a bundle and puts them in
    /// service. Blocks until done; requests are answered meanwhile by the previous models. `progress` is told what
    /// is being done.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] if a training is under way; otherwise what failed, and the previous models stay.
    pub fn train(&self, progress: &dyn Fn(&str)) -> Result<TrainReport, ServiceError> {
        // What is put into the catalogue from here on is given to the new models afterwards.
        let swap = lock(&self.swap);
        if self.is_training.swap(true, Ordering::SeqCst) {
            return Err(ServiceError::Busy("a training is under way".into()));
        }
        let _under = Under(self);
        let revision = self.snapshot.load().catalogue.revision;
        drop(swap);
        let cancel = Arc::new(AtomicBool::new(false));
        lock(&self.training).cancel = cancel.clone();
        let result = self.train_now(progress, cancel, revision);
        let mut training = lock(&self.training);
        training.last_error = result.as_ref().err().map(ToString::to_string);
        training.failed_at = result.as_ref().err().map(|_| self.clock.now());
        result
    }

    fn train_now(
        &self,
        progress: &dyn Fn(&str),
        cancel: Arc<AtomicBool>,
        revision: u64,
    ) -> Result<TrainReport, ServiceError> {
        let start = self.clock.micros();
        let now = self.clock.now();
        let head = self.stores.log.head();
        progress("reading events");
        let events = self.stores.log.len();
        let data = self.training_data(&Extract {
            event_types: &self.config.event_types,
            describes_items: true,
            head,
            now,
            before: None,
        })?;
        let mut trained = self.fit_all(&data, progress, cancel)?;
        progress("publishing");
        let seconds = |since: u64| self.clock.micros().saturating_sub(since) as f64 / 1e6;
        let mut report = TrainReport {
            bundle: 0,
            models: trained
                .iter()
                .map(|(model, seconds)| TrainedModel {
                    name: model.name().to_owned(),
                    seconds: *seconds,
                    bytes: model.memory_bytes() as u64,
                })
                .collect(),
            events: data.interactions.rows.len() as u64,
            users: data.interactions.n_users() as u64,
            items: data.interactions.n_items() as u64,
            seconds: 0.0,
        };
        let staleness = Staleness::fresh(&data.interactions);
        drop(data);
        let dir = models_dir(&self.dir);
        let last = bundle::numbers(&dir)?.last().copied().unwrap_or(0);
        let info = BundleInfo {
            number: last.max(lock(&self.training).bundle) + 1,
            absorbed: head,
            trained_at: now,
            events,
            catalogue: Some(revision),
            entries: staleness.trained,
            config: serde_json::to_value(&self.config.training).unwrap_or_default(),
        };
        let saved: Vec<&dyn Model> = trained.iter().map(|(model, _)| &**model).collect();
        let keep_bytes = self.config.training.keep_mb << 20;
        bundle::publish(&dir, &info, &saved, self.config.training.keep, keep_bytes)?;
        report.bundle = info.number;
        drop(saved);
        trained.clear();
        // What serves is what was published: a decision replayed from the bundle starts from the same bytes.
        let path = bundle::path(&dir, info.number);
        let (_, models) = bundle::read(&path).map_err(|e| ServiceError::io("reading", &path, e))?;
        models.iter().for_each(|model| model.warm());
        self.put_in_service(models, &info, revision)?;
        self.prune_lineage()?;
        report.seconds = seconds(start);
        Ok(report)
    }

    /// Log and catalogue as learners see them.
    pub(crate) fn training_data(&self, extract: &Extract<'_>) -> Result<TrainingData, ServiceError> {
        let Extract {
            event_types,
            describes_items,
            head,
            now,
            before,
        } = *extract;
        let mut builder = InteractionsBuilder::default();
        let schema = self.stores.catalogue.schema(EntityKind::Item)?;
        let mut described: HashMap<String, ItemFeatures> = HashMap::new();
        self.stores.catalogue.for_each_item(&mut |item| {
            builder.item(&item.item_id);
            if describes_items {
                described.insert(
                    item.item_id.as_str().to_owned(),
                    features(&item.attributes, &schema),
                );
            }
        })?;
        // Whoever is erased from here on is in what is read.
        let batches = {
            let mut training = lock(&self.training);
            training.has_read = true;
            self.stores.log.scan(Sequence(1), head)?
        };
        let labels = self.outcome_labels(extract)?;
        for batch in batches {
            for stored in batch? {
                let event = stored.event;
                let strength = event_types
                    .strength(&event)
                    .filter(|weight| *weight != 0.0)
                    .filter(|_| before.is_none_or(|before| event.timestamp < before));
                if let Some((strength, weight)) = strength.zip(labels.of(&event)) {
                    builder.push(
                        &event.user_id,
                        &event.item_id,
                        strength * weight,
                        event.timestamp.min(now),
                    );
                }
            }
        }
        for (user, item, strength, at) in &labels.rows {
            builder.push(user, item, *strength, (*at).min(now));
        }
        let interactions = builder.build();
        let user_features = self.user_features(&interactions.users)?;
        let ids = interactions.items.ids().iter();
        let features = ids
            .map(|id| described.remove(id.as_str()).unwrap_or_default())
            .collect();
        Ok(TrainingData {
            interactions: Arc::new(interactions),
            features: Arc::new(features),
            user_features: Arc::new(user_features),
            now,
        })
    }

    /// Attributes of these users in their order; nothing at all if nobody has any.
    fn user_features(&self, users: &[UserId]) -> Result<Vec<UserFeatures>, ServiceError> {
        let schema = self.stores.catalogue.schema(EntityKind::User)?;
        if schema.is_empty() {
            return Ok(Vec::new());
        }
        let of = |user| {
            let stored = self.stores.catalogue.user(user)?;
            Ok(stored.map_or_else(UserFeatures::new, |user| features(&user.attributes, &schema)))
        };
        users.iter().map(of).collect()
    }

    /// Threads that training may use.
    pub(crate) fn threads(&self) -> usize {
        match self.config.training.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    pub(crate) fn fit_all(
        &self,
        data: &TrainingData,
        progress: &dyn Fn(&str),
        cancel: Arc<AtomicBool>,
    ) -> Result<Vec<Trained>, ServiceError> {
        let config = &self.config.training;
        let mut run = Run::new(config.seed, self.threads());
        run.cancel = cancel;
        let fit = |name: &str, model_config: &serde_json::Value| {
            progress(&format!("training {name}"));
            let start = self.clock.micros();
            let entry: &TrainerEntry = models::trainer(name)
                .ok_or_else(|| ServiceError::Training(format!("no learner {name:?}")))?;
            let trainer = (entry.build)(model_config).map_err(|e| ServiceError::Training(e.to_string()))?;
            let model = trainer.fit(data, &run).map_err(|error| match error {
                ModelError::Empty(_) => ServiceError::TooLittle(error.to_string()),
                _ => ServiceError::Training(error.to_string()),
            })?;
            Ok::<Trained, ServiceError>((model, self.clock.micros().saturating_sub(start) as f64 / 1e6))
        };
        let nothing = serde_json::Value::Null;
        let mut trained = vec![fit(
            &config.model,
            config.model_config.as_ref().unwrap_or(&nothing),
        )?];
        for name in &config.fallbacks {
            let parts = trained[0].0.parts();
            if parts.iter().all(|part| part.name() != name) {
                trained.push(fit(name, &nothing)?);
            }
        }
        Ok(trained)
    }

    /// What rankers and segments read, with these events counted.
    fn counted(&self, learned: &Learned, pending: &[Pending]) -> Result<Learned, ServiceError> {
        let mut learned = learned.clone();
        if learned::wanted(&self.config) {
            let counts = Arc::make_mut(&mut learned.counts);
            for pending in pending {
                learned::count(counts, &self.config.event_types, pending.item, &pending.event);
            }
        }
        if !learned.segments.is_empty() {
            for pending in pending {
                let Pending {
                    sequence,
                    event,
                    item,
                    ..
                } = pending;
                let mut person = |user: &UserId| self.kept_attributes(user);
                learned
                    .segments
                    .count(&self.config, *sequence, *item, event, &mut person)?;
            }
            learned.segments.settle();
        }
        Ok(learned)
    }

    /// Counts events after `from` up to `last` in segments, from the log, by what people are now.
    ///
    /// # Errors
    /// A log or a catalogue that cannot be read.
    pub(crate) fn count_segments(
        &self,
        segments: &mut Segments,
        config: &crate::Config,
        (from, last): (Sequence, Sequence),
    ) -> Result<(), ServiceError> {
        if segments.is_empty() || last <= from {
            return Ok(());
        }
        for batch in self.stores.log.scan(from.next(), last)? {
            for stored in batch? {
                let item = self.live.positions.insert(&stored.event.item_id);
                let mut person = |user: &UserId| self.kept_attributes(user);
                segments.count(config, stored.sequence, item, &stored.event, &mut person)?;
            }
        }
        segments.settle();
        Ok(())
    }

    /// Events counted up to a sequence number, from the log alone.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub(crate) fn counts_up_to(
        &self,
        last: Sequence,
        config: &crate::Config,
    ) -> Result<ranking::features::ItemCounts, ServiceError> {
        let mut counts = learned::no_counts(&config.event_types);
        if learned::wanted(config) && last > Sequence::ZERO {
            for batch in self.stores.log.scan(Sequence(1), last)? {
                for stored in batch? {
                    let item = self.live.positions.insert(&stored.event.item_id);
                    learned::count(&mut counts, &config.event_types, item, &stored.event);
                }
            }
        }
        Ok(counts)
    }

    /// Binds new models, takes in what has come since they were begun, and swaps.
    fn put_in_service(
        &self,
        loaded: Vec<Box<dyn Model>>,
        info: &BundleInfo,
        revision: u64,
    ) -> Result<(), ServiceError> {
        let _swap = lock(&self.swap);
        let Some(models) = bind(loaded, &self.live, info.staleness()) else {
            return Ok(());
        };
        let mut steps = vec![(self.opening(Some(info.number)), info.absorbed)];
        let (mut models, has_gone) = self.without_gone(models, info.number, info.absorbed)?;
        if has_gone {
            steps.push((Step::Erase, info.absorbed));
        }
        let put = std::mem::take(&mut lock(&self.training).items);
        if !put.is_empty() {
            models = described(&models, &self.live.positions, &put);
            steps.push((Step::Items { from: revision }, info.absorbed));
        }
        let mut missed = std::mem::take(&mut lock(&self.training).replay);
        let before = self.snapshot.load_full();
        let mut learned = before.learned.clone();
        // What still waits goes in too.
        loop {
            let waiting = self.live.drain(ABSORB_MAX);
            if waiting.is_empty() {
                break;
            }
            learned = self.counted(&learned, &waiting)?;
            missed.extend(waiting);
        }
        missed.retain(|pending| pending.sequence > info.absorbed);
        missed.sort_by_key(|pending| pending.sequence);
        let absorbables = self.absorbables(&missed)?;
        let absorbed = absorbables.last().map_or(info.absorbed, |last| last.sequence);
        for part in absorbables.chunks(ABSORB_MAX) {
            models = updated(&models, &self.live.positions, part);
            if let Some(did) = absorbing(part) {
                steps.push((did, part.last().map_or(absorbed, |last| last.sequence)));
            }
        }
        // Without models nothing was counted on the way, and what was skipped never is.
        if self.live.skipped(true) > 0 || before.models.is_none() {
            match self.counts_up_to(absorbed, &self.config) {
                Ok(counts) => learned.counts = Arc::new(counts),
                Err(error) => tracing::error!(%error, "events could not be counted anew"),
            }
            let mut segments = Segments::new(&self.config);
            match self.count_segments(&mut segments, &self.config, (Sequence::ZERO, absorbed)) {
                Ok(()) => learned.segments = segments,
                Err(error) => tracing::error!(%error, "events could not be counted anew in segments"),
            }
        }
        if let Ok(users) = self.stores.catalogue.schema(EntityKind::User) {
            learned.users = Arc::new(users);
        }
        let sizes = sizes(&models);
        let catalogue = self
            .snapshot
            .load()
            .catalogue
            .with(&self.live.positions, Vec::new());
        self.live.positions.save(false);
        let mut step = 0;
        for (did, absorbed) in steps {
            step = self.lineage.note(did, &catalogue, absorbed, &learned);
        }
        let beliefs = self.bandits.beliefs();
        let next = Snapshot::new(
            &self.config,
            Arc::new(catalogue),
            Some(models),
            info.number,
            absorbed,
            step,
            &beliefs,
            learned,
        );
        self.snapshot.store(Arc::new(next));
        let training: &mut TrainingState = &mut lock(&self.training);
        training.bundle = info.number;
        training.trained_at = Some(info.trained_at);
        training.trained_to = info.absorbed;
        training.models = sizes;
        Ok(())
    }
}

/// The step of absorbing these, if there are any.
fn absorbing(absorbables: &[Absorbable]) -> Option<Step> {
    Some(Step::Absorb {
        first: absorbables.first()?.sequence.0,
        last: absorbables.last()?.sequence.0,
        count: absorbables.len() as u64,
    })
}
