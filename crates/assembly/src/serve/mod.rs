//! Answers: slates, similar items, given items in order, and past decisions.

mod setting;
mod words;

pub(crate) use setting::{Person, Plan, Setting, as_recommend, filter, raw_moment};

use setting::{N_MAX, known_user, looks_back, within};

use crate::reasons::title_of;
use crate::rules::exposures_of;
use crate::slates::{Made, SlateKey};
use crate::snapshot::{Placement, Snapshot, chaos};
use crate::wire::{
    KeptDecision, RankRequest, RecommendRequest, RecommendResponse, Recommended, SimilarRequest,
    SimilarResponse,
};
use crate::{Clock, Faults, PlacementConfig, Service, ServiceError};
use domain::{
    Attributes, DecisionId, Degradation, Event, Query, Sequence, StoreError, Timestamp, UserId, Verdict,
};
use engine::Decided;
use feedback::StoredDecision;
use serde::{Deserialize, Serialize};
use signals::UserView;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The service's clock as the engine asks for it.
pub(crate) struct Elapsed<'a>(pub(crate) &'a dyn Clock);

impl engine::Clock for Elapsed<'_> {
    fn micros(&self) -> u64 {
        self.0.micros()
    }
}

/// Under which key the slate is kept; `None` if it is not, since it depends on more than the person, or on chance.
fn slate_key(placement: &Placement, request: &RecommendRequest) -> Option<SlateKey> {
    let PlacementConfig {
        slate_cache_ms,
        policy,
        bandit,
        n,
        ..
    } = &placement.config;
    if *slate_cache_ms == 0 || !policy.is_certain() || bandit.is_some() {
        return None;
    }
    let user = UserId::new(request.user_id.as_deref()?).ok()?;
    let plain = RecommendRequest {
        placement: request.placement.clone(),
        user_id: request.user_id.clone(),
        n: request.n,
        explain: request.explain,
        seed: request.seed,
        ..RecommendRequest::default()
    };
    (*request == plain).then(|| SlateKey {
        placement: request.placement.clone(),
        user,
        n: request.n.unwrap_or(*n),
        explain: request.explain,
    })
}

/// A request as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AskedFor {
    /// A slate.
    Recommend(RecommendRequest),
    /// An order.
    Rank(RankRequest),
}

impl Service {
    pub(crate) fn known(&self, snapshot: &Snapshot, item: &str) -> Option<u32> {
        self.setting(snapshot, Timestamp(0)).known(item)
    }

    pub(crate) fn setting<'a>(&'a self, snapshot: &'a Snapshot, now: Timestamp) -> Setting<'a> {
        Setting {
            snapshot,
            positions: &self.live.positions,
            types: &self.config.event_types,
            config: &self.config,
            now,
        }
    }

    /// The person of a request, as known now.
    pub(crate) fn person(
        &self,
        setting: &Setting<'_>,
        request: &RecommendRequest,
    ) -> Result<Person, ServiceError> {
        let user = known_user(request.user_id.as_deref()).map_err(ServiceError::Input)?;
        let session = setting.session(&request.session).map_err(ServiceError::Input)?;
        let (view, sequence) = self.view(user.as_ref(), &session, setting.now);
        // A page asks for a person without a placement of its own; one that nobody knows is refused where the slate is made.
        let placement = setting.snapshot.placements.get(&request.placement);
        let mut before = Vec::new();
        let mut exposures = Vec::new();
        if let Some(user) = &user {
            if placement.is_some_and(|placement| looks_back(&placement.config)) {
                before = self.live.states.recent(user, usize::MAX);
            }
            if setting.snapshot.catalogue.rules.counts_exposures() {
                let recent = self.live.states.recent(user, usize::MAX);
                exposures = exposures_of(recent, setting.types, setting.now);
            }
        }
        Ok(Person {
            view,
            sequence,
            attributes: request.attributes.clone(),
            before,
            exposures,
        })
    }

    /// What is known of a person now, and the number up to which: all of the person's events up to it
    /// are in the view, and none after it.
    fn view(&self, user: Option<&UserId>, session: &[(Event, u32)], now: Timestamp) -> (UserView, Sequence) {
        let as_of = self.live.states.as_of();
        let session = session.iter().map(|(event, item)| (event, *item));
        let types = &self.config.event_types;
        let view = match user {
            Some(user) => self.live.states.history_with(user, session, now, types),
            None => signals::session_view(session, now, types),
        };
        let sequence = as_of.max(view.sequence);
        (view, sequence)
    }

    pub(crate) fn new_decision_id(&self, now: Timestamp) -> DecisionId {
        let count = self.decision_counter.fetch_add(1, Ordering::Relaxed);
        let tail = numeric::mix(count) as u32;
        let text = format!("d{:011x}{:08x}{tail:08x}", now.0.max(0), count as u32);
        DecisionId::new(text).expect("hexadecimal is a valid id")
    }

    /// Answers with a slate for a placement, and records the decision.
    ///
    /// # Errors
    /// [`ServiceError::Input`] names the field at fault; [`ServiceError::NotFound`] an item that the
    /// placement should be about but nobody knows.
    pub fn recommend(&self, request: &RecommendRequest) -> Result<RecommendResponse, ServiceError> {
        if request.preview {
            return self.preview(request);
        }
        let (snapshot, decided) = self.decided(request)?;
        Ok(self.answer(&snapshot, decided, AskedFor::Recommend(request.clone())))
    }

    /// The same without a record, as for a request with `preview`: a look at what would be shown, not to be shown to anyone, since nothing could be learnt from it.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub fn preview(&self, request: &RecommendRequest) -> Result<RecommendResponse, ServiceError> {
        let (snapshot, decided) = self.decided(request)?;
        Ok(RecommendResponse {
            decision_id: String::new(),
            ..self.response(&snapshot, &decided)
        })
    }

    /// A decision, made or, where that comes to the same, made a moment ago.
    fn decided(&self, request: &RecommendRequest) -> Result<(Arc<Snapshot>, Decided), ServiceError> {
        let snapshot = self.snapshot.load_full();
        let now = self.clock.now();
        let setting = self.setting(&snapshot, now);
        let placement = setting
            .placement(&request.placement)
            .map_err(ServiceError::Input)?;
        let make = || self.decided_anew(&setting, request);
        // What rules say may change with time alone.
        let is_timeless = !snapshot.catalogue.rules.goes_by_time();
        let Some(key) = slate_key(placement, request).filter(|_| is_timeless) else {
            let decided = make()?;
            return Ok((snapshot, decided));
        };
        let made = Made {
            snapshot: Arc::as_ptr(&snapshot) as usize,
            sequence: self.live.states.last(&key.user),
            person: self.people.version(&key.user),
        };
        let start = self.clock.micros();
        let age_max = placement.config.slate_cache_ms * 1000;
        let (decided, is_kept) = self.slates.of(&key, &snapshot, made, start, age_max, make)?;
        let mut decided = Arc::unwrap_or_clone(decided);
        if is_kept {
            // Another decision, though for the same moment and so with the same outcome.
            let id = self.new_decision_id(now);
            let drawn = || numeric::hash_bytes(id.as_str().as_bytes());
            decided.decision.seed = request.seed.unwrap_or_else(drawn);
            decided.decision.decision_id = id;
            let took = self.clock.micros().saturating_sub(start);
            decided.timings_us = ["cache", "total"].map(|stage| (stage.to_owned(), took)).into();
        }
        Ok((snapshot, decided))
    }

    pub(crate) fn decided_anew(
        &self,
        setting: &Setting<'_>,
        request: &RecommendRequest,
    ) -> Result<Decided, ServiceError> {
        let mut person = self.person(setting, request)?;
        // A slate without what is stored of the person is better than none.
        let mut degraded = None;
        if let Some(user) = known_user(request.user_id.as_deref()).map_err(ServiceError::Input)? {
            match self.stored_attributes(&user) {
                Ok(stored) if stored.is_empty() => {}
                Ok(stored) => {
                    let stored = Attributes::clone(&stored).into_iter();
                    person.attributes = stored.chain(person.attributes).collect();
                }
                Err(error) => {
                    tracing::warn!(%error, "a slate was made without the person's stored attributes");
                    degraded = Some(Degradation {
                        stage: "attributes".to_owned(),
                        reason: error.to_string(),
                    });
                }
            }
        }
        let decision_id = self.new_decision_id(setting.now);
        let plan = setting.recommending(request, person, decision_id, request.seed)?;
        let clock = Elapsed(&*self.clock);
        let catalogue = &*setting.snapshot.catalogue;
        let mut decided = engine::decide(&plan.pipeline, catalogue, &plan.request, &clock);
        decided.decision.degraded.extend(degraded);
        Ok(decided)
    }

    fn stored_attributes(&self, user: &UserId) -> Result<Arc<Attributes>, StoreError> {
        if let Some(chaos) = chaos(&self.config) {
            chaos.store()?;
        }
        self.kept_attributes(user)
    }

    /// What the catalogue keeps of a person, by way of what is remembered.
    pub(crate) fn kept_attributes(&self, user: &UserId) -> Result<Arc<Attributes>, StoreError> {
        self.people.stored(&*self.stores.catalogue, user)
    }

    /// Faults put in on purpose, as they are now.
    ///
    /// # Errors
    /// [`ServiceError::Input`] unless the configuration asks for chaos.
    pub fn faults(&self) -> Result<Faults, ServiceError> {
        let chaos = chaos(&self.config);
        let expected = "true, with the section chaos in the configuration";
        let chaos = chaos.ok_or_else(|| ServiceError::input("chaos.enabled", "false", expected))?;
        Ok(chaos.faults())
    }

    /// Changes the faults put in on purpose, from the next request on.
    ///
    /// # Errors
    /// [`ServiceError::Input`] unless the configuration asks for chaos, or for a number that cannot be.
    pub fn set_faults(&self, faults: &Faults) -> Result<Faults, ServiceError> {
        self.faults()?;
        faults
            .check()
            .map_err(|(field, got, expected)| ServiceError::input(field, got, expected))?;
        if let Some(chaos) = chaos(&self.config) {
            chaos.set(faults);
        }
        self.faults()
    }

    /// Records a decision and says it in the caller's words.
    pub(crate) fn answer(&self, snapshot: &Snapshot, decided: Decided, asked: AskedFor) -> RecommendResponse {
        let response = self.response(snapshot, &decided);
        self.bandits.made(&decided.decision, &mut |item| {
            let entry = self
                .known(snapshot, item.as_str())
                .and_then(|at| snapshot.catalogue.get(at));
            entry.and_then(|entry| entry.attributes.clone()).map(Arc::new)
        });
        if let AskedFor::Recommend(_) = &asked {
            self.exposures.made(&decided.decision, &self.live.positions);
        }
        let Decided { decision, timings_us } = decided;
        let request = serde_json::to_value(&asked).ok();
        let stored = StoredDecision {
            decision,
            timings_us,
            request,
        };
        if !self.decisions.record(stored) {
            tracing::warn!("a decision could not be recorded: the decision log is full or failing");
        } else if self.config.decisions_wait_for_disk
            && let Err(error) = self.decisions.flush()
        {
            tracing::warn!("a decision could not be brought to the disk: {error}");
        }
        response
    }

    /// Orders given items for someone, best first. Hidden items and those that a rule of the product removes are left
    /// out; nothing else is, what the person has seen included.
    ///
    /// # Errors
    /// [`ServiceError::Input`] names the field at fault.
    pub fn rank(&self, request: &RankRequest) -> Result<RecommendResponse, ServiceError> {
        let snapshot = self.snapshot.load_full();
        let setting = self.setting(&snapshot, self.clock.now());
        let as_recommend = as_recommend(request);
        setting
            .placement(&as_recommend.placement)
            .map_err(ServiceError::Input)?;
        let person = self.person(&setting, &as_recommend)?;
        let plan = setting.ranking(request, person, self.new_decision_id(setting.now))?;
        let clock = Elapsed(&*self.clock);
        let decided = engine::decide(&plan.pipeline, &*snapshot.catalogue, &plan.request, &clock);
        Ok(self.answer(&snapshot, decided, AskedFor::Rank(request.clone())))
    }

    /// Items like one item. Hidden ones are left out, and those removed by a rule that applies everywhere, to anybody.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for an item that nobody knows, [`ServiceError::Input`] for a model or a filter that
    /// cannot be, [`ServiceError::Busy`] before the first training.
    pub fn similar(&self, request: &SimilarRequest) -> Result<SimilarResponse, ServiceError> {
        let snapshot = self.snapshot.load_full();
        let n = within("n", request.n.unwrap_or(10), 1, N_MAX).map_err(ServiceError::Input)?;
        let Some(item) = self.known(&snapshot, &request.item_id) else {
            return Err(ServiceError::NotFound {
                what: "item",
                id: request.item_id.clone(),
            });
        };
        let Some(models) = &snapshot.models else {
            return Err(ServiceError::Busy("there are no models yet: train first".into()));
        };
        let (bound, part) = match &request.model {
            None => (&models.main, None),
            Some(name) => models.named(name).ok_or_else(|| {
                let expected = format!("one of {}", models.names().join(", "));
                ServiceError::input("model", name.as_str(), expected)
            })?,
        };
        let catalogue = &snapshot.catalogue;
        let filter = filter(request.filter.as_ref(), catalogue).map_err(ServiceError::Input)?;
        let within = filter.map(|filter| catalogue.satisfying(&filter));
        let setting = self.setting(&snapshot, self.clock.now());
        let nobody = Query {
            now: setting.now,
            ..Query::default()
        };
        let rules = setting.bound(None, &nobody, &[]).removing();
        let admits = |item: u32| {
            within.as_ref().is_none_or(|within| within.contains(item))
                && (rules.iter()).all(|rule| rule.check(&nobody, item) == Verdict::Keep)
        };
        let allowed = |item: u32| admits(item) && catalogue.is_visible(item);
        let found = bound.similar(part, item, n, &allowed);
        let like = catalogue.get(item).map_or(request.item_id.as_str(), title_of);
        let source = bound.part(part).map_or("", |model| model.name());
        let items = found.into_iter().enumerate().filter_map(|(at, (item, score))| {
            let entry = catalogue.get(item)?;
            Some(Recommended {
                item_id: entry.id.as_str().to_owned(),
                rank: at as u32 + 1,
                score,
                propensity: 1.0,
                position_propensity: None,
                sources: vec![source.to_owned()],
                reasons: vec![format!("Like {like}")],
                explanation: None,
                attributes: entry.attributes.clone().unwrap_or_default(),
            })
        });
        Ok(SimilarResponse {
            items: items.collect(),
            snapshot: snapshot.version.to_string(),
        })
    }

    /// A past decision.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] if there is none of this id, or no longer.
    pub fn decision(&self, decision_id: &str) -> Result<KeptDecision, ServiceError> {
        let not_found = || ServiceError::NotFound {
            what: "decision",
            id: decision_id.to_owned(),
        };
        let id = DecisionId::new(decision_id).map_err(|_| not_found())?;
        let path = self.dir.join("decisions");
        let kept = self
            .decisions
            .get(&id)
            .map_err(|e| ServiceError::io("reading", &path, e))?;
        let StoredDecision {
            decision,
            timings_us,
            request,
        } = kept.ok_or_else(not_found)?;
        Ok(KeptDecision {
            decision,
            timings_us: timings_us.into_iter().collect::<BTreeMap<_, _>>(),
            request,
        })
    }
}
