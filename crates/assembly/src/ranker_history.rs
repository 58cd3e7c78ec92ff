//! Rows to learn a first ranker from where nothing has been shown yet: the event log, cut in time.
//!
//! Models are learnt on the earlier events alone, so that their scores know as little of the later ones as they will when they serve. Each person of the later part is
//! then asked for candidates at the moment just before the first later event, with the history, the counts and the catalogue of that moment; what
//! the person did afterwards are the outcomes.

use crate::bound::Bound;
use crate::catalogue::LiveCatalogue;
use crate::learn::Extract;
use crate::learned::{count, feature_set, no_counts};
use crate::segments::Segments;
use crate::service::bind;
use crate::snapshot::{Models, placement_sources};
use crate::{Config, PlacementConfig, Service, ServiceError};
use domain::{Attributes, Candidate, Event, Query, Schema, Sequence, SourceHit, Timestamp, UserId};
use engine::Source;
use hashbrown::HashMap;
use models::Someone;
use numeric::{SeededStream, hash_bytes, mix};
use ranking::features::{FeatureSet, ItemCounts, Moment};
use ranking::{HeadWeight, RankRows};
use signals::UserStates;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Share of the events that models are learnt on.
pub(crate) const EARLIER_SHARE: f64 = 0.9;
/// People of the later part that are asked at most.
const USERS_MAX: usize = 3000;
/// Candidates without an outcome that are kept of each; they stand for the others.
const IDLE_MAX: usize = 60;
/// People whose moments share one state of the counts, that of the first of them.
const BATCH: usize = 64;

/// How a placement of the past is made: as configured, or with a part taken out.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// What events are worth, and learners; what marks an item as seen is always what the service says.
    pub(crate) config: Config,
    pub(crate) placement: PlacementConfig,
    /// What each outcome is worth to the ranker.
    pub(crate) weights: BTreeMap<String, HeadWeight>,
    /// Whether models and ranker are told the attributes of items.
    pub(crate) describes_items: bool,
    /// The one model, of all, that judges.
    pub(crate) only: Option<String>,
}

/// One person's rows.
#[derive(Default)]
struct Asked {
    values: Vec<f32>,
    weights: Vec<f32>,
    outcomes: Vec<Vec<f32>>,
    n: u32,
}

/// A later person: the moment of the question, and what came after it.
pub(crate) struct Later {
    user: UserId,
    now: Timestamp,
    /// Circumstances of the first event after it, which are those of the question.
    context: Attributes,
    /// Item and type, by number of the outcome.
    pub(crate) did: Vec<(u32, usize)>,
}

/// Events that count, by moment.
pub(crate) type Past = [(Timestamp, Sequence, u32, Event)];

fn nothing() -> ServiceError {
    ServiceError::TooLittle("there is too little to learn from: no events".to_owned())
}

/// The moment before which this share of the events lies.
pub(crate) fn moment_at(events: &Past, share: f64) -> Result<Timestamp, ServiceError> {
    let at = (events.len() as f64 * share) as usize;
    events.get(at).map(|(at, ..)| *at).ok_or_else(nothing)
}

impl Service {
    /// A placement as it is configured.
    pub(crate) fn setup(&self, placement: &str) -> Setup {
        Setup {
            config: self.config.clone(),
            placement: self.config.placements[placement].clone(),
            weights: self.head_weights(placement),
            describes_items: true,
            only: None,
        }
    }

    /// All events that count, by moment.
    pub(crate) fn past(&self) -> Result<Vec<(Timestamp, Sequence, u32, Event)>, ServiceError> {
        let mut events = Vec::new();
        for batch in self.stores.log.scan(Sequence(1), self.stores.log.head())? {
            for stored in batch? {
                let weight = self.config.event_types.strength(&stored.event);
                if weight.is_some_and(|weight| weight != 0.0) {
                    let item = self.live.positions.insert(&stored.event.item_id);
                    events.push((stored.event.timestamp, stored.sequence, item, stored.event));
                }
            }
        }
        events.sort_by_key(|(at, sequence, ..)| (*at, *sequence));
        Ok(events)
    }

    /// Models learnt on what was before a moment.
    pub(crate) fn models_of(
        &self,
        setup: &Setup,
        cut: Timestamp,
        progress: &dyn Fn(&str),
        cancel: Arc<AtomicBool>,
    ) -> Result<Models, ServiceError> {
        let data = self.training_data(&Extract {
            event_types: &setup.config.event_types,
            describes_items: setup.describes_items,
            head: self.stores.log.head(),
            now: cut,
            before: Some(cut),
        })?;
        let trained = self.fit_all(&data, progress, cancel)?;
        let staleness = models::Staleness::fresh(&data.interactions);
        drop(data);
        let trained = trained.into_iter().map(|(model, _)| model).collect();
        let models = bind(trained, &self.live, staleness).ok_or_else(nothing)?;
        models.all().for_each(|bound| bound.model.warm());
        Ok(models)
    }

    /// Rows to learn a placement's ranker from, out of these events alone; see the head of the module. The oldest moment comes first.
    pub(crate) fn rows_from_events(
        &self,
        setup: &Setup,
        events: &Past,
        progress: &dyn Fn(&str),
        cancel: Arc<AtomicBool>,
    ) -> Result<RankRows, ServiceError> {
        let cut = moment_at(events, EARLIER_SHARE)?;
        let models = self.models_of(setup, cut, progress, cancel)?;
        progress("asking people of the past");
        self.rows_after(setup, models, events, cut)
    }

    /// The same where models are there that were learnt on what was before a moment.
    pub(crate) fn rows_after(
        &self,
        setup: &Setup,
        models: Models,
        events: &Past,
        cut: Timestamp,
    ) -> Result<RankRows, ServiceError> {
        let outcomes: Vec<String> = setup.weights.keys().cloned().collect();
        let earlier = &events[..events.partition_point(|(at, ..)| *at < cut)];
        let world = World::new(self, setup, models, earlier)?;
        let mut rows = RankRows {
            features: world.features.features().to_vec(),
            ..RankRows::default()
        };
        rows.outcomes = outcomes.iter().map(|name| (name.clone(), Vec::new())).collect();
        let asked = world.each(events, cut, &outcomes, USERS_MAX, |later, states, counts| {
            let (query, candidates) = world.candidates(later, states)?;
            Ok(world.rows(later, &query, candidates, counts, outcomes.len()))
        })?;
        for one in asked.into_iter().filter(|one| one.n > 0) {
            rows.values.extend(one.values);
            rows.weights.extend(one.weights);
            rows.groups.push(one.n);
            for (outcome, own) in rows.outcomes.values_mut().zip(one.outcomes) {
                outcome.extend(own);
            }
        }
        Ok(rows)
    }

    /// People with an outcome after the cut, by the moment of the first, always the same ones of the same events.
    fn later(&self, events: &Past, cut: Timestamp, outcomes: &[String], users_max: usize) -> Vec<Later> {
        let mut later: HashMap<&UserId, Later> = HashMap::new();
        for (at, _, item, event) in events.iter().filter(|(at, ..)| *at >= cut) {
            let one = later.entry(&event.user_id).or_insert_with(|| Later {
                user: event.user_id.clone(),
                now: *at,
                context: event.context.clone(),
                did: Vec::new(),
            });
            if let Some(outcome) = outcomes
                .iter()
                .position(|name| name.as_str() == event.event_type.as_str())
            {
                one.did.push((*item, outcome));
            }
        }
        let seed = self.config.training.seed;
        let lot = |later: &Later| mix(hash_bytes(later.user.as_str().as_bytes()) ^ seed);
        let mut later: Vec<Later> = later
            .into_values()
            .filter(|later| !later.did.is_empty())
            .collect();
        later.sort_by_cached_key(|later| (lot(later), later.user.clone()));
        later.truncate(users_max);
        later.sort_by(|a, b| (a.now, &a.user).cmp(&(b.now, &b.user)));
        later
    }
}

/// A placement as it would have been at a moment of the past.
pub(crate) struct World<'a> {
    service: &'a Service,
    setup: &'a Setup,
    sources: Vec<Source>,
    pub(crate) features: FeatureSet,
    pub(crate) catalogue: Arc<LiveCatalogue>,
    pub(crate) models: Models,
    /// The model, or part of one, that judges.
    judge: (Arc<Bound>, Option<usize>),
}

impl<'a> World<'a> {
    /// With models of these events, which are all before the moment.
    ///
    /// # Errors
    /// A catalogue that cannot be read.
    pub(crate) fn new(
        service: &'a Service,
        setup: &'a Setup,
        models: Models,
        earlier: &Past,
    ) -> Result<World<'a>, ServiceError> {
        let mut segments = Segments::new(&setup.config);
        if !segments.is_empty() {
            for (_, sequence, item, event) in earlier {
                let mut person = |user: &UserId| service.kept_attributes(user);
                segments.count(&setup.config, *sequence, *item, event, &mut person)?;
            }
            segments.settle();
        }
        let snapshot = service.snapshot.load();
        let catalogue = Arc::new(snapshot.catalogue.with(&service.live.positions, Vec::new()));
        let sources = placement_sources(
            &setup.config,
            &setup.placement,
            &catalogue,
            Some(&models),
            None,
            &segments,
        );
        let names = sources
            .iter()
            .map(|source| source.retriever.name().to_owned())
            .collect();
        let unknown = Schema::default();
        let items = match setup.describes_items {
            true => &*catalogue.schema,
            false => &unknown,
        };
        let features = feature_set(&setup.config, names, items, &snapshot.learned.users);
        let only = setup.only.as_deref().and_then(|name| models.named(name));
        let (bound, part) = only.unwrap_or((&models.main, None));
        Ok(World {
            service,
            setup,
            sources,
            features,
            judge: (bound.clone(), part),
            catalogue,
            models,
        })
    }

    /// Asks something of each person of the later part, with their state and the counts of the moment; in the order of the moments.
    pub(crate) fn each<T: Send>(
        &self,
        events: &Past,
        cut: Timestamp,
        outcomes: &[String],
        users_max: usize,
        ask: impl Fn(&Later, &UserStates, &ItemCounts) -> Result<T, ServiceError> + Sync,
    ) -> Result<Vec<T>, ServiceError> {
        let types = &self.setup.config.event_types;
        let later = self.service.later(events, cut, outcomes, users_max);
        let mut states = UserStates::new(self.service.config.history_events_max);
        let asked: hashbrown::HashSet<&UserId> = later.iter().map(|l| &l.user).collect();
        for (at, sequence, item, event) in events {
            if *at < cut && asked.contains(&event.user_id) {
                states.apply(*sequence, event, *item);
            }
        }
        let mut counts = no_counts(types);
        let (mut folded, mut answers) = (0, Vec::new());
        for batch in later.chunks(BATCH) {
            while let Some((_, _, item, event)) = events.get(folded).filter(|(at, ..)| *at < batch[0].now) {
                count(&mut counts, types, *item, event);
                folded += 1;
            }
            let parts = numeric::on_threads(self.service.threads(), || {
                numeric::parallel_chunks(batch.len(), 4, |range| {
                    range
                        .map(|at| ask(&batch[at], &states, &counts))
                        .collect::<Result<Vec<T>, ServiceError>>()
                })
            });
            for part in parts {
                answers.extend(part?);
            }
        }
        Ok(answers)
    }

    /// The request that a person would have made.
    pub(crate) fn query(&self, later: &Later, states: &UserStates) -> Result<Query, ServiceError> {
        let own = &self.service.config.event_types;
        let view = states.history(&later.user, later.now, own);
        // What may not be shown again is a matter of rules and stays the same whatever models are told.
        let history = match &self.setup.config.event_types {
            types if types == own => view.history,
            types => states.history(&later.user, later.now, types).history,
        };
        let attributes = self
            .service
            .stores
            .catalogue
            .user(&later.user)?
            .map(|user| user.attributes);
        Ok(Query {
            now: later.now,
            history,
            seen: view.seen,
            user_attributes: attributes.unwrap_or_default(),
            context: later.context.clone(),
            n: self.setup.placement.n,
            seed: hash_bytes(later.user.as_str().as_bytes()),
            ..Query::default()
        })
    }

    /// Whether an item may be shown.
    pub(crate) fn allows(&self, query: &Query, item: u32) -> bool {
        let hidden = self.catalogue.hidden.get(item as usize).copied().unwrap_or(true);
        !(hidden || self.setup.placement.exclude_seen && query.seen.binary_search(&item).is_ok())
    }

    /// What a person would have been asked about: the request, and what the sources propose, by position.
    pub(crate) fn candidates(
        &self,
        later: &Later,
        states: &UserStates,
    ) -> Result<(Query, Vec<Candidate>), ServiceError> {
        let query = self.query(later, states)?;
        let allowed = |item: u32| self.allows(&query, item);
        let mut found: BTreeMap<u32, Vec<SourceHit>> = BTreeMap::new();
        for source in &self.sources {
            let name: Arc<str> = source.retriever.name().into();
            let list = source
                .retriever
                .retrieve(&query, source.quota, &allowed)
                .map_err(failed)?;
            for (at, (item, score)) in list.into_iter().enumerate() {
                let hit = SourceHit {
                    source: name.clone(),
                    rank: at as u32 + 1,
                    score,
                };
                found.entry(item).or_default().push(hit);
            }
        }
        let candidates = found.into_iter().map(|(item, hits)| Candidate {
            item,
            hits,
            score: 0.0,
        });
        let candidates = candidates.collect();
        Ok((query, candidates))
    }

    /// Scores of the model, and features of candidates.
    pub(crate) fn read(
        &self,
        query: &Query,
        candidates: &[Candidate],
        counts: &ItemCounts,
    ) -> (Vec<f32>, Vec<f32>) {
        let (bound, part) = &self.judge;
        let someone = Someone {
            history: &bound.told(query),
            attributes: &bound.attributes(&query.user_attributes),
        };
        let scores = bound.scores(*part, someone, candidates);
        let moment = Moment {
            query,
            counts,
            facts: &*self.catalogue,
            model_scores: &scores,
            positions: &[],
        };
        let values = self.features.read(&moment, candidates);
        (scores, values)
    }

    /// Rows of one person: everything with an outcome, and some of the rest.
    fn rows(
        &self,
        later: &Later,
        query: &Query,
        candidates: Vec<Candidate>,
        counts: &ItemCounts,
        n_outcomes: usize,
    ) -> Asked {
        let did_any = |item: u32| later.did.iter().any(|(of, _)| *of == item);
        let (mut candidates, mut idle): (Vec<Candidate>, Vec<Candidate>) = candidates
            .into_iter()
            .partition(|candidate| did_any(candidate.item));
        let n_idle = idle.len();
        SeededStream::new(query.seed, self.service.config.training.seed).shuffle(&mut idle);
        idle.truncate(IDLE_MAX);
        let stands_for = n_idle as f32 / idle.len().max(1) as f32;
        let n_active = candidates.len();
        candidates.extend(idle);
        let (_, values) = self.read(query, &candidates, counts);
        let did = |item: u32, outcome: usize| later.did.contains(&(item, outcome));
        let outcome = |outcome: usize| {
            candidates
                .iter()
                .map(|c| f32::from(did(c.item, outcome)))
                .collect()
        };
        Asked {
            values,
            weights: (0..candidates.len())
                .map(|at| if at < n_active { 1.0 } else { stands_for })
                .collect(),
            outcomes: (0..n_outcomes).map(outcome).collect(),
            n: candidates.len() as u32,
        }
    }
}

fn failed(error: domain::StageError) -> ServiceError {
    ServiceError::Training(error.to_string())
}
