//! Learning: new events taken into the models in service, and training anew.

use crate::bundle::{self, BundleInfo};
use crate::catalogue::features;
use crate::live::{Absorbable, Pending};
use crate::service::{TrainingState, bind, lock, models_dir, sizes};
use crate::snapshot::{Models, Snapshot};
use crate::{Service, ServiceError};
use dataset::{Interaction, InteractionsBuilder};
use domain::{EntityKind, HistoryEvent, Sequence, Timestamp};
use hashbrown::HashMap;
use models::{ItemFeatures, Model, Run, TrainerEntry, TrainingData};
use serde::Serialize;
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

/// A model just trained, and how long it took.
type Trained = (Box<dyn Model>, f64);

/// Ends a training whatever comes of it.
struct Under<'a>(&'a Service);

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.0.is_training.store(false, Ordering::SeqCst);
        let mut training = lock(&self.0.training);
        training.replay.clear();
        training.items.clear();
    }
}

/// One model with interactions taken in. Items that it has not met are given to it, in order of position.
fn updated(service: &Service, models: &Models, absorbables: &[Absorbable]) -> Models {
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
                if known == crate::catalogue::NOWHERE {
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
        let new_items = service.live.positions.ids_of(&fresh);
        model.update(&new_items, &interactions, &histories);
        Arc::new(bound.grown(Arc::from(model), &service.live.positions))
    })
}

impl Service {
    /// Works out what the models in service would otherwise work out when first asked. For the background, once after
    /// opening; models that are trained later come warm.
    pub fn warm(&self) {
        if let Some(models) = &self.snapshot.load_full().models {
            models.all().for_each(|bound| bound.model.warm());
        }
    }

    /// Takes events that are waiting into the models in service and puts the result in place; the
    /// number taken. Call it every `absorb_interval_ms`; cheap if nothing is waiting.
    ///
    /// # Errors
    /// None today; stores may have to be asked one day.
    pub fn absorb(&self) -> Result<usize, ServiceError> {
        let _swap = lock(&self.swap);
        let learnt = self.learn();
        let mut total = 0;
        loop {
            let pending = self.live.drain(ABSORB_MAX);
            if pending.is_empty() {
                break;
            }
            total += pending.len();
            self.take_in(&pending);
            if self.is_training.load(Ordering::SeqCst) {
                lock(&self.training).replay.extend(pending);
            }
            if total >= ABSORB_MAX * 10 {
                break;
            }
        }
        self.see_new_items(learnt);
        Ok(total)
    }

    /// Call with `swap` held.
    fn take_in(&self, pending: &[Pending]) {
        let before = self.snapshot.load_full();
        let Some(models) = &before.models else {
            return;
        };
        let absorbables = self.live.histories(pending, &self.config.event_types);
        let models = updated(self, models, &absorbables);
        let catalogue = Arc::new(before.catalogue.with(&self.live.positions, Vec::new()));
        let absorbed = pending
            .last()
            .map_or(before.version.absorbed, |last| last.sequence);
        let next = Snapshot::new(
            &self.config,
            catalogue,
            Some(models),
            before.version.models,
            absorbed,
            &self.bandits.beliefs(),
        );
        self.snapshot.store(Arc::new(next));
    }

    /// Items known from events alone enter the catalogue of the next snapshot, and what placements have learnt is believed by it. Call with `swap` held.
    fn see_new_items(&self, learnt: bool) {
        let before = self.snapshot.load_full();
        if !learnt && before.catalogue.len() == self.live.positions.len() {
            return;
        }
        let catalogue = Arc::new(before.catalogue.with(&self.live.positions, Vec::new()));
        let version = before.version;
        let next = Snapshot::new(
            &self.config,
            catalogue,
            before.models.clone(),
            version.models,
            version.absorbed,
            &self.bandits.beliefs(),
        );
        self.snapshot.store(Arc::new(next));
    }

    /// Events that wait to be taken into the models.
    pub fn waiting(&self) -> usize {
        self.live.waiting()
    }

    /// True if the schedule wants a training now: enough new events, long enough since the last one.
    pub fn training_due(&self) -> bool {
        let config = &self.config.training;
        if self.is_training.load(Ordering::SeqCst) || config.every_minutes == 0 {
            return false;
        }
        let events = self.stores.log.len();
        let training = lock(&self.training);
        let now = self.clock.now();
        if training.failed_at.is_some_and(|at| now.0 < at.0 + RETRY_MS) {
            return false;
        }
        let Some(trained_at) = training.trained_at else {
            return events > 0;
        };
        let age_ms = now.0.saturating_sub(trained_at.0);
        let enough = events.saturating_sub(training.trained_events) >= config.new_events_min.max(1);
        enough && age_ms >= i64::from(config.every_minutes) * 60_000
    }

    /// Trains on everything in log and catalogue, publishes the models as a bundle and puts them in
    /// service. Blocks until done; requests are answered meanwhile by the previous models. `progress` is told what
    /// is being done.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] if a training is under way; otherwise what failed, and the previous models stay.
    pub fn train(&self, progress: &dyn Fn(&str)) -> Result<TrainReport, ServiceError> {
        if self.is_training.swap(true, Ordering::SeqCst) {
            return Err(ServiceError::Busy("a training is under way".into()));
        }
        let _under = Under(self);
        let cancel = Arc::new(AtomicBool::new(false));
        lock(&self.training).cancel = cancel.clone();
        let result = self.train_now(progress, cancel);
        let mut training = lock(&self.training);
        training.last_error = result.as_ref().err().map(ToString::to_string);
        training.failed_at = result.as_ref().err().map(|_| self.clock.now());
        result
    }

    fn train_now(
        &self,
        progress: &dyn Fn(&str),
        cancel: Arc<AtomicBool>,
    ) -> Result<TrainReport, ServiceError> {
        let start = self.clock.micros();
        let now = self.clock.now();
        let head = self.stores.log.head();
        progress("reading events");
        let events = self.stores.log.len();
        let data = self.training_data(head, now)?;
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
        drop(data);
        let dir = models_dir(&self.dir);
        let last = bundle::numbers(&dir)?.last().copied().unwrap_or(0);
        let info = BundleInfo {
            number: last.max(lock(&self.training).bundle) + 1,
            absorbed: head,
            trained_at: now,
            events,
            config: serde_json::to_value(&self.config.training).unwrap_or_default(),
        };
        let saved: Vec<&dyn Model> = trained.iter().map(|(model, _)| &**model).collect();
        bundle::publish(&dir, &info, &saved, self.config.training.keep)?;
        report.bundle = info.number;
        trained.iter().for_each(|(model, _)| model.warm());
        let models = trained.drain(..).map(|(model, _)| model).collect();
        self.put_in_service(models, &info);
        report.seconds = seconds(start);
        Ok(report)
    }

    /// Everything in log and catalogue, as learners see it.
    fn training_data(&self, head: Sequence, now: Timestamp) -> Result<TrainingData, ServiceError> {
        let mut builder = InteractionsBuilder::default();
        let schema = self.stores.catalogue.schema(EntityKind::Item)?;
        let mut described: HashMap<String, ItemFeatures> = HashMap::new();
        self.stores.catalogue.for_each_item(&mut |item| {
            builder.item(&item.item_id);
            described.insert(
                item.item_id.as_str().to_owned(),
                features(&item.attributes, &schema),
            );
        })?;
        let weights = self.outcome_weights(head)?;
        for batch in self.stores.log.scan(Sequence(1), head)? {
            for stored in batch? {
                let event = stored.event;
                let strength = self
                    .config
                    .event_types
                    .strength(&event)
                    .filter(|weight| *weight != 0.0);
                if let Some(strength) = strength {
                    let weight = strength * weights.of(&event);
                    builder.push(&event.user_id, &event.item_id, weight, event.timestamp.min(now));
                }
            }
        }
        let interactions = builder.build();
        let ids = interactions.items.ids().iter();
        let features = ids
            .map(|id| described.remove(id.as_str()).unwrap_or_default())
            .collect();
        Ok(TrainingData {
            interactions: Arc::new(interactions),
            features: Arc::new(features),
            now,
        })
    }

    fn fit_all(
        &self,
        data: &TrainingData,
        progress: &dyn Fn(&str),
        cancel: Arc<AtomicBool>,
    ) -> Result<Vec<Trained>, ServiceError> {
        let config = &self.config.training;
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let mut run = Run::new(config.seed, threads);
        run.cancel = cancel;
        let fit = |name: &str, model_config: &serde_json::Value| {
            progress(&format!("training {name}"));
            let start = self.clock.micros();
            let entry: &TrainerEntry = models::trainer(name)
                .ok_or_else(|| ServiceError::Training(format!("no learner {name:?}")))?;
            let trainer = (entry.build)(model_config).map_err(|e| ServiceError::Training(e.to_string()))?;
            let model = trainer
                .fit(data, &run)
                .map_err(|e| ServiceError::Training(e.to_string()))?;
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

    /// Binds new models, takes in what has come since they were begun, and swaps.
    fn put_in_service(&self, loaded: Vec<Box<dyn Model>>, info: &BundleInfo) {
        let _swap = lock(&self.swap);
        let Some(mut models) = bind(loaded, &self.live) else {
            return;
        };
        let put = std::mem::take(&mut lock(&self.training).items);
        models = self.described(&models, &put);
        let mut missed = std::mem::take(&mut lock(&self.training).replay);
        missed.retain(|pending| pending.sequence > info.absorbed);
        // What still waits goes in too: it is taken out of the states together with the rest.
        loop {
            let waiting = self.live.drain(ABSORB_MAX);
            if waiting.is_empty() {
                break;
            }
            missed.extend(
                waiting
                    .into_iter()
                    .filter(|pending| pending.sequence > info.absorbed),
            );
        }
        missed.sort_by_key(|pending| pending.sequence);
        let absorbed = missed.last().map_or(info.absorbed, |last| last.sequence);
        let absorbables = self.live.histories(&missed, &self.config.event_types);
        for part in absorbables.chunks(ABSORB_MAX) {
            models = updated(self, &models, part);
        }
        self.live.skipped(true);
        let before = self.snapshot.load_full();
        let catalogue = Arc::new(before.catalogue.with(&self.live.positions, Vec::new()));
        let sizes = sizes(&models);
        let beliefs = self.bandits.beliefs();
        let next = Snapshot::new(
            &self.config,
            catalogue,
            Some(models),
            info.number,
            absorbed,
            &beliefs,
        );
        self.snapshot.store(Arc::new(next));
        let training: &mut TrainingState = &mut lock(&self.training);
        training.bundle = info.number;
        training.trained_at = Some(info.trained_at);
        training.trained_events = info.events;
        training.models = sizes;
    }
}
