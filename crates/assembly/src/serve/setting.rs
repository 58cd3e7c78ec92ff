//! From a request to a plan: what it names is found, its filters and lists become sources and rules of the pipeline.

use crate::again::{self, AGAIN, CONTINUE};
use crate::catalogue::{LiveCatalogue, Positions};
use crate::intake::{attributes, id, moment};
use crate::rules::bind;
use crate::snapshot::{Placement, Snapshot, placement_sources};
use crate::wire::{ProposedItem, RankRequest, RecommendRequest, SessionEvent};
use crate::{AgainConfig, Config, PlacementConfig, Problem, ServiceError};
use domain::{
    Attributes, DecisionId, Event, EventType, ItemId, Query, RawAttribute, Retriever, Rule, Sequence,
    StageError, Steering, Timestamp, UserId, Verdict,
};
use engine::{DecideRequest, GreedyPolicy, Pipeline, Source};
use rerank::{Filter, FilterForm};
use retrieval::{ItemSet, ListRetriever};
use rules::{Bound, Exposure};
use signals::{EventTypes, RecentEvent, UserView};
use std::borrow::Cow;
use std::sync::Arc;

/// Most items of an answer.
pub(super) const N_MAX: usize = 1000;
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

pub(super) fn within(field: &str, n: usize, low: usize, high: usize) -> Result<usize, Problem> {
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
pub(super) fn looks_back(placement: &PlacementConfig) -> bool {
    let is_named = |name: &str| placement.sources.iter().any(|source| source == name);
    BEFORE.iter().any(|(name, _)| is_named(name))
}

/// A decision about to be made.
pub(crate) struct Plan<'a> {
    pub(crate) pipeline: Cow<'a, Pipeline>,
    pub(crate) request: DecideRequest,
}

impl<'a> Setting<'a> {
    pub(super) fn known(&self, item: &str) -> Option<u32> {
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

    pub(super) fn placement(&self, name: &str) -> Result<&'a Placement, Problem> {
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

pub(super) fn known_user(sent: Option<&str>) -> Result<Option<UserId>, Problem> {
    sent.map(|text| id(UserId::new, text)).transpose()
}
