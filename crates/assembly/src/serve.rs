//! Answers: slates, similar items, given items in order, and past decisions.

use crate::again::{self, AGAIN, CONTINUE};
use crate::catalogue::{LiveCatalogue, Positions};
use crate::intake::{attributes, id, moment};
use crate::reasons::title_of;
use crate::rules::{bind, exposures_of};
use crate::slates::{Made, SlateKey};
use crate::snapshot::{Placement, Snapshot, chaos, placement_sources};
use crate::wire::{
    KeptDecision, Part, ProposedItem, RankRequest, RecommendRequest, RecommendResponse, Recommended,
    SessionEvent, SimilarRequest, SimilarResponse,
};
use crate::{AgainConfig, Clock, Config, Faults, PlacementConfig, Problem, Service, ServiceError};
use domain::{
    Attributes, Contribution, ContributionSource, DecisionId, Degradation, Event, EventType, ItemId, Query,
    RawAttribute, Retriever, Rule, Sequence, Shown, StageError, Steering, StoreError, Timestamp, UserId,
    Verdict,
};
use engine::{DecideRequest, Decided, GreedyPolicy, Pipeline, Source};
use feedback::StoredDecision;
use rerank::{Filter, FilterForm};
use retrieval::{ItemSet, ListRetriever};
use rules::{Bound, Exposure};
use serde::{Deserialize, Serialize};
use signals::{EventTypes, RecentEvent, UserView};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most items of an answer.
const N_MAX: usize = 1000;
/// Most events of a session in a request.
const SESSION_MAX: usize = 1000;
/// Most items excluded, or given to choose from.
const LIST_MAX: usize = 10_000;
/// Makes a list out of what someone did before.
type Before = fn(&[RecentEvent], &AgainConfig, Timestamp) -> Vec<(u32, f32)>;

/// Sources out of what someone did before.
const BEFORE: [(&str, Before); 2] = [(CONTINUE, again::begun), (AGAIN, again::due)];

/// Name of the source of what the caller proposes.
const PROPOSED: &str = "proposed";

/// Items that satisfy a filter up to which all of them are candidates.
const FEW: u64 = 2000;
/// Type of an event of a session that does not say.
const SESSION_TYPE: &str = "click";

/// The service's clock as the engine asks for it.
pub(crate) struct Elapsed<'a>(pub(crate) &'a dyn Clock);

impl engine::Clock for Elapsed<'_> {
    fn micros(&self) -> u64 {
        self.0.micros()
    }
}

/// Proposes exactly the items that the request gives.
struct Given;

impl Retriever for Given {
    fn name(&self) -> &'static str {
        "request"
    }

    fn retrieve(
        &self,
        query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        let given = query.only.iter().flatten().copied().filter(|item| allowed(*item));
        Ok(given.take(budget).map(|item| (item, 0.0)).collect())
    }
}

fn within(field: &str, n: usize, low: usize, high: usize) -> Result<usize, Problem> {
    if (low..=high).contains(&n) {
        Ok(n)
    } else {
        Err(Problem::new(field, n.to_string(), format!("{low} to {high}")))
    }
}

pub(crate) fn raw_moment(value: &RawAttribute) -> Option<Timestamp> {
    match value {
        RawAttribute::Number(number) => signals::timestamp_from_number(*number).ok(),
        RawAttribute::Text(text) => signals::parse_timestamp(text).ok(),
        _ => None,
    }
}

/// Items that satisfy the filter of a request, as a rule.
struct SetRule(Arc<ItemSet>);

impl Rule for SetRule {
    fn name(&self) -> &'static str {
        "filter"
    }

    fn check(&self, _query: &Query, item: u32) -> Verdict {
        if self.0.contains(item) {
            Verdict::Keep
        } else {
            Verdict::Drop("filter")
        }
    }
}

/// The filter of a request, checked.
pub(crate) fn filter(
    sent: Option<&serde_json::Value>,
    catalogue: &LiveCatalogue,
) -> Result<Option<Filter>, Problem> {
    let Some(sent) = sent else {
        return Ok(None);
    };
    let form: FilterForm = serde_json::from_value(sent.clone()).map_err(|e| {
        let expected = format!("a filter such as {{\"attribute\": \"genres\", \"any\": [\"Comedy\"]}}: {e}");
        Problem::new("filter", sent.to_string(), expected)
    })?;
    let filter = Filter::check(&form, &catalogue.schema, &raw_moment);
    filter
        .map(Some)
        .map_err(|e| Problem::new(e.field, e.got, e.expected))
}

/// What an answer depends on besides the request and the person: all of it can be had again later.
pub(crate) struct Setting<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) positions: &'a Positions,
    pub(crate) types: &'a EventTypes,
    pub(crate) config: &'a Config,
    pub(crate) now: Timestamp,
}

/// The person that an answer is for.
pub(crate) struct Person {
    pub(crate) view: UserView,
    /// Last event that the view includes.
    pub(crate) sequence: Sequence,
    /// Stored attributes and those of the request.
    pub(crate) attributes: Attributes,
    /// What the person did, latest first, for the sources out of that; may be empty if the placement has none of them.
    pub(crate) before: Vec<RecentEvent>,
    /// What the person was shown lately, if a rule asks.
    pub(crate) exposures: Vec<Exposure>,
}

/// True if a placement has sources out of what someone did before.
fn looks_back(placement: &PlacementConfig) -> bool {
    let is_named = |name: &str| placement.sources.iter().any(|source| source == name);
    BEFORE.iter().any(|(name, _)| is_named(name))
}

/// A decision about to be made.
pub(crate) struct Plan<'a> {
    pub(crate) pipeline: Cow<'a, Pipeline>,
    pub(crate) request: DecideRequest,
}

impl<'a> Setting<'a> {
    fn known(&self, item: &str) -> Option<u32> {
        let position = self.positions.get(item)?;
        ((position as usize) < self.snapshot.catalogue.len()).then_some(position)
    }

    pub(crate) fn session(&self, sent: &[SessionEvent]) -> Result<Vec<(Event, u32)>, Problem> {
        let now = self.now;
        within("session.length", sent.len(), 0, SESSION_MAX)?;
        let mut events = Vec::with_capacity(sent.len());
        for (at, sent) in sent.iter().enumerate() {
            let inside = |problem: Problem| Problem {
                field: format!("session[{at}].{}", problem.field),
                ..problem
            };
            let event_type = sent.event_type.as_deref().unwrap_or(SESSION_TYPE);
            if self.types.get(event_type).is_none() {
                let known: Vec<_> = self.types.0.keys().map(String::as_str).collect();
                return Err(inside(Problem::new(
                    "event_type",
                    event_type,
                    format!("one of {}", known.join(", ")),
                )));
            }
            if let Some(value) = sent.value.filter(|value| !value.is_finite()) {
                return Err(inside(Problem::new(
                    "value",
                    value.to_string(),
                    "a finite number",
                )));
            }
            let timestamp = sent
                .timestamp
                .as_ref()
                .map(|sent| moment("timestamp", sent))
                .transpose();
            let item_id = id(ItemId::new, &sent.item_id).map_err(inside)?;
            // Something never heard of says nothing yet.
            let Some(position) = self.known(item_id.as_str()) else {
                continue;
            };
            let event = Event {
                event_id: None,
                user_id: UserId::new("session").expect("the literal is an id"),
                item_id,
                event_type: id(EventType::new, event_type).map_err(inside)?,
                timestamp: timestamp.map_err(inside)?.unwrap_or(now).min(now),
                value: sent.value,
                session_id: None,
                decision_id: None,
                context: domain::Attributes::new(),
            };
            events.push((event, position));
        }
        Ok(events)
    }

    fn positions_of(&self, ids: &[String]) -> Vec<u32> {
        let mut positions: Vec<u32> = ids.iter().filter_map(|id| self.known(id)).collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    fn given(&self, ids: &[String]) -> Result<Vec<u32>, Problem> {
        within("candidates.length", ids.len(), 1, LIST_MAX)?;
        for (at, id) in ids.iter().enumerate() {
            if self.known(id).is_none() {
                let field = format!("candidates[{at}]");
                return Err(Problem::new(
                    field,
                    id.as_str(),
                    "the id of an item in the catalogue",
                ));
            }
        }
        Ok(self.positions_of(ids))
    }

    /// What the caller proposes, by position, best first.
    fn proposed(&self, sent: &[ProposedItem]) -> Result<Vec<(u32, f32)>, Problem> {
        within("proposed.length", sent.len(), 0, LIST_MAX)?;
        let is_scored = |item: &ProposedItem| matches!(item, ProposedItem::Scored(_));
        let mut found = Vec::with_capacity(sent.len());
        for (at, one) in sent.iter().enumerate() {
            let (id, score) = match one {
                ProposedItem::Id(id) => (id, 0.0),
                ProposedItem::Scored(scored) => (&scored.item_id, scored.score),
            };
            if is_scored(one) != is_scored(&sent[0]) {
                let expected = "scores for all items or for none";
                return Err(Problem::new(format!("proposed[{at}]"), id.as_str(), expected));
            }
            if !score.is_finite() {
                let field = format!("proposed[{at}].score");
                return Err(Problem::new(
                    field,
                    score.to_string(),
                    "a finite number in single precision",
                ));
            }
            let Some(position) = self.known(id) else {
                let expected = "the id of an item in the catalogue";
                return Err(Problem::new(format!("proposed[{at}]"), id.as_str(), expected));
            };
            found.push((position, score));
        }
        Ok(found)
    }

    fn placement(&self, name: &str) -> Result<&'a Placement, Problem> {
        let placements = &self.snapshot.placements;
        placements.get(name).ok_or_else(|| {
            let known: Vec<_> = placements.keys().map(String::as_str).collect();
            Problem::new("placement", name, format!("one of {}", known.join(", ")))
        })
    }

    /// A slate for a placement.
    ///
    /// # Errors
    /// As [`Service::recommend`].
    pub(crate) fn recommending(
        &self,
        request: &RecommendRequest,
        person: Person,
        decision_id: DecisionId,
        seed: Option<u64>,
    ) -> Result<Plan<'a>, ServiceError> {
        let placement = self.placement(&request.placement).map_err(ServiceError::Input)?;
        let n =
            within("n", request.n.unwrap_or(placement.config.n), 1, N_MAX).map_err(ServiceError::Input)?;
        let mut query = self.query(request, person.view, n).map_err(ServiceError::Input)?;
        if let Some(item) = &request.item_id {
            query.anchor = Some(self.known(item).ok_or_else(|| ServiceError::NotFound {
                what: "item",
                id: item.clone(),
            })?);
        }
        let filter =
            filter(request.filter.as_ref(), &self.snapshot.catalogue).map_err(ServiceError::Input)?;
        let within = filter.map(|filter| self.snapshot.catalogue.satisfying(&filter));
        query.seed = seed.unwrap_or_else(|| numeric::hash_bytes(decision_id.as_str().as_bytes()));
        query.user_attributes = person.attributes;
        let bound = self.bound(Some(&request.placement), &query, &person.exposures);
        let relevance_min = request.relevance_min;
        if let Some(share) = relevance_min.filter(|share| !(*share >= 0.0 && *share <= 1.0)) {
            return Err(ServiceError::input("relevance_min", share.to_string(), "0 to 1"));
        }
        let mut pipeline = self.pipeline(placement, &mut query, within.as_ref());
        if query.only.is_none() && !person.before.is_empty() && looks_back(&placement.config) {
            let before = self.before(&placement.config, &person.before);
            pipeline.to_mut().sources.splice(0..0, before);
        }
        let proposed = self.proposed(&request.proposed).map_err(ServiceError::Input)?;
        if !proposed.is_empty() {
            let source = Source {
                retriever: Arc::new(ListRetriever::new(PROPOSED, Arc::new(proposed))),
                quota: placement.config.quota(PROPOSED),
            };
            pipeline.to_mut().sources.insert(0, source);
        }
        let request = DecideRequest {
            decision_id,
            user_id: known_user(request.user_id.as_deref()).map_err(ServiceError::Input)?,
            snapshot: self.snapshot.version,
            sequence: person.sequence,
            config_hash: placement.config_hash.clone(),
            arms: Vec::new(),
            explain: request.explain,
            rules: within
                .into_iter()
                .map(|within| Arc::new(SetRule(within)) as Arc<dyn Rule>)
                .chain(bound.removing())
                .collect(),
            steering: steering(self.snapshot, bound),
            relevance_min,
            query,
        };
        Ok(Plan { pipeline, request })
    }

    /// The rules in force for one request; without a placement those that apply everywhere.
    pub(crate) fn bound(&self, placement: Option<&str>, query: &Query, exposures: &[Exposure]) -> Bound {
        let catalogue = &self.snapshot.catalogue;
        bind(
            &catalogue.rules,
            catalogue,
            self.positions,
            placement,
            query,
            exposures,
        )
    }

    /// The pipeline for this query, which may be told what its candidates are; only items of `within` may be shown, if that is given.
    fn pipeline(
        &self,
        placement: &'a Placement,
        query: &mut Query,
        within: Option<&Arc<ItemSet>>,
    ) -> Cow<'a, Pipeline> {
        let (snapshot, quota) = (self.snapshot, 2 * query.n);
        let Placement { config, pipeline, .. } = placement;
        match within {
            // So few satisfy the filter that all of them are candidates.
            Some(within)
                if query.only.is_none()
                    && snapshot.models.is_some()
                    && within.len() <= FEW.max(quota as u64) =>
            {
                let only: Vec<u32> = within.iter().collect();
                let pipeline = of_given(pipeline, only.len());
                query.only = Some(only);
                Cow::Owned(pipeline)
            }
            _ if query.only.is_some() => {
                Cow::Owned(of_given(pipeline, query.only.as_ref().map_or(0, Vec::len)))
            }
            // Actions are proposed one and all; the filter is a rule.
            Some(_) if config.actions.is_some() => Cow::Borrowed(pipeline),
            Some(within) => {
                let models = snapshot.models.as_ref();
                let (catalogue, segments) = (&snapshot.catalogue, &snapshot.learned.segments);
                let sources =
                    placement_sources(self.config, config, catalogue, models, Some(within), segments);
                let pipeline = Pipeline {
                    sources,
                    ..pipeline.clone()
                };
                Cow::Owned(with_quota(&pipeline, quota))
            }
            // Sources propose more than is shown, however much that is.
            None if quota > config.source_quota => Cow::Owned(with_quota(pipeline, quota)),
            None => Cow::Borrowed(pipeline),
        }
    }

    /// The sources out of what someone did before that a placement names.
    fn before(&self, placement: &PlacementConfig, events: &[RecentEvent]) -> Vec<Source> {
        let is_named = |name: &str| placement.sources.iter().any(|source| source == name);
        let named = BEFORE.into_iter().filter(|(name, _)| is_named(name));
        let source = |(name, list): (&str, Before)| Source {
            retriever: Arc::new(ListRetriever::new(
                name,
                Arc::new(list(events, &self.config.again, self.now)),
            )),
            quota: placement.quota(name),
        };
        named.map(source).collect()
    }

    /// Given items in order.
    ///
    /// # Errors
    /// As [`Service::rank`].
    pub(crate) fn ranking(
        &self,
        request: &RankRequest,
        person: Person,
        decision_id: DecisionId,
    ) -> Result<Plan<'a>, ServiceError> {
        let as_recommend = as_recommend(request);
        let placement = self
            .placement(&as_recommend.placement)
            .map_err(ServiceError::Input)?;
        let query = self.query(&as_recommend, person.view, 1);
        let mut query = query.map_err(ServiceError::Input)?;
        let len = query.only.as_ref().map_or(0, Vec::len);
        query.n = len;
        query.seen.clear();
        query.seed = numeric::hash_bytes(decision_id.as_str().as_bytes());
        query.user_attributes = person.attributes;
        // Places and bounds are for slates; here everything given is put in order.
        let bound = self
            .bound(Some(&as_recommend.placement), &query, &person.exposures)
            .of_scores();
        let request = DecideRequest {
            decision_id,
            user_id: known_user(request.user_id.as_deref()).map_err(ServiceError::Input)?,
            snapshot: self.snapshot.version,
            sequence: person.sequence,
            config_hash: placement.config_hash.clone(),
            arms: Vec::new(),
            explain: request.explain,
            rules: bound.removing(),
            steering: steering(self.snapshot, bound),
            relevance_min: None,
            query,
        };
        // An order that was asked for leaves nothing to chance.
        let pipeline = Pipeline {
            policy: Arc::new(GreedyPolicy),
            ..of_given(&placement.pipeline, len)
        };
        let pipeline = Cow::Owned(pipeline);
        Ok(Plan { pipeline, request })
    }

    /// The parts of a request that are about the person and the choice.
    pub(crate) fn query(
        &self,
        request: &RecommendRequest,
        view: UserView,
        n: usize,
    ) -> Result<Query, Problem> {
        attributes("attributes", &request.attributes)?;
        attributes("context", &request.context)?;
        within("exclude.length", request.exclude.len(), 0, LIST_MAX)?;
        let only = request
            .candidates
            .as_ref()
            .map(|ids| self.given(ids))
            .transpose()?;
        Ok(Query {
            now: self.now,
            history: view.history,
            seen: view.seen,
            user_attributes: request.attributes.clone(),
            context: request.context.clone(),
            anchor: None,
            excluded: self.positions_of(&request.exclude),
            only,
            n,
            seed: 0,
        })
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

fn known_user(sent: Option<&str>) -> Result<Option<UserId>, Problem> {
    sent.map(|text| id(UserId::new, text)).transpose()
}

/// The request for a slate that a request for an order amounts to.
pub(crate) fn as_recommend(request: &RankRequest) -> RecommendRequest {
    RecommendRequest {
        placement: request.placement.clone().unwrap_or_else(|| "home".to_owned()),
        user_id: request.user_id.clone(),
        session: request.session.clone(),
        candidates: Some(request.candidates.clone()),
        ..RecommendRequest::default()
    }
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
        let (snapshot, decided) = self.decided(request)?;
        Ok(self.answer(&snapshot, decided, AskedFor::Recommend(request.clone())))
    }

    /// The same without a record: a look at what would be shown, not to be shown to anyone, since nothing could be learnt from it.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub fn preview(&self, request: &RecommendRequest) -> Result<RecommendResponse, ServiceError> {
        let (snapshot, decided) = self.decided(request)?;
        Ok(self.response(&snapshot, &decided))
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

    /// A decision in the caller's words.
    fn response(&self, snapshot: &Snapshot, decided: &Decided) -> RecommendResponse {
        let decision = &decided.decision;
        let items = decision.shown.iter().map(|shown| self.shown(snapshot, shown));
        RecommendResponse {
            decision_id: decision.decision_id.as_str().to_owned(),
            items: items.collect(),
            snapshot: decision.snapshot.to_string(),
            sequence: decision.sequence.0,
            arms: decision.arms.iter().cloned().collect(),
            policy: decision.policy.clone(),
            seed: decision.seed,
            degraded: decision.degraded.clone(),
            timings_us: decided.timings_us.iter().cloned().collect(),
        }
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

    fn shown(&self, snapshot: &Snapshot, shown: &Shown) -> Recommended {
        let catalogue = &snapshot.catalogue;
        let entry = self
            .known(snapshot, shown.item_id.as_str())
            .and_then(|at| catalogue.get(at));
        let parts = shown.explanation.as_ref();
        let parts = parts.map(|parts| parts_of(catalogue, &parts.contributions));
        Recommended {
            item_id: shown.item_id.as_str().to_owned(),
            rank: shown.rank,
            score: shown.score,
            propensity: shown.propensity,
            position_propensity: shown.position_propensity,
            sources: shown.sources.clone(),
            reasons: shown.reasons.clone(),
            explanation: parts,
            attributes: entry
                .and_then(|entry| entry.attributes.clone())
                .unwrap_or_default(),
        }
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

/// The pipeline with at least this many items from each source.
fn with_quota(pipeline: &Pipeline, quota: usize) -> Pipeline {
    let mut wider = pipeline.clone();
    for source in &mut wider.sources {
        source.quota = source.quota.max(quota);
    }
    wider
}

/// The pipeline with the items of the request in place of its sources.
fn of_given(pipeline: &Pipeline, len: usize) -> Pipeline {
    Pipeline {
        sources: vec![Source {
            retriever: Arc::new(Given),
            quota: len.max(1),
        }],
        ..pipeline.clone()
    }
}

/// What rules do besides removing, once there have been rules.
fn steering(snapshot: &Snapshot, bound: Bound) -> Option<Arc<dyn Steering>> {
    (snapshot.catalogue.rules.version() > 0).then(|| Arc::new(bound) as Arc<dyn Steering>)
}

/// Parts of a score in the caller's words. Hidden items are never named: what they add comes as one part.
fn parts_of(catalogue: &LiveCatalogue, contributions: &[Contribution]) -> Vec<Part> {
    let is_hidden = |part: &&Contribution| match part.source {
        ContributionSource::History { item } => catalogue.hidden.get(item as usize).copied().unwrap_or(true),
        _ => false,
    };
    let (withheld, told): (Vec<&Contribution>, Vec<&Contribution>) =
        contributions.iter().partition(is_hidden);
    let mut parts: Vec<Part> = told.into_iter().map(|part| named(catalogue, part)).collect();
    if !withheld.is_empty() {
        parts.push(Part {
            model: "history".to_owned(),
            kind: "base",
            of: "withheld".to_owned(),
            value: withheld.iter().map(|part| part.value).sum(),
        });
    }
    parts
}

fn named(catalogue: &LiveCatalogue, part: &Contribution) -> Part {
    let (kind, of) = match &part.source {
        ContributionSource::History { item } => {
            let id = catalogue.get(*item).map_or("", |entry| entry.id.as_str());
            ("history", id.to_owned())
        }
        ContributionSource::Feature { name } => ("feature", name.clone()),
        ContributionSource::Base { name } => ("base", name.clone()),
        ContributionSource::Source { name } => ("source", name.clone()),
        ContributionSource::Rule { name } => ("rule", name.clone()),
        ContributionSource::Exploration { from } => ("exploration", format!("from place {from}")),
    };
    Part {
        model: part.model.to_string(),
        kind,
        of,
        value: part.value,
    }
}
