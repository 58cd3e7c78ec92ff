//! Looking for past decisions, and how many of them something came of.

use crate::intake::{id, moment};
use crate::service::lock;
use crate::{Moment, Problem, Service, ServiceError};
use domain::{DecisionId, Event, EventType, ItemId, Receipt, Timestamp, UserId};
use feedback::{DecisionFilter, StoredDecision};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Most decisions of an answer.
const LIMIT_MAX: usize = 1000;
/// Decisions of an answer that does not say.
const LIMIT: usize = 100;
/// Most decisions whose outcomes are remembered for the join rate.
const REMEMBERED_MAX: usize = 1_000_000;
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: f64 = 3_600_000.0;

/// Which decisions are asked for; what is not given does not matter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionQuery {
    /// Earliest moment, itself included.
    pub from: Option<Moment>,
    /// Latest moment, itself not included.
    pub to: Option<Moment>,
    /// For whom.
    pub user_id: Option<String>,
    /// That showed this item.
    pub item_id: Option<String>,
    /// Of this placement.
    pub placement: Option<String>,
    /// Chosen by the policy of this name.
    pub policy: Option<String>,
    /// Decisions wanted, 1 to 1,000; 100 if absent.
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// A decision in a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionSummary {
    /// Which.
    pub decision_id: String,
    /// When, milliseconds since 1970.
    pub now: i64,
    /// Placement that was asked.
    pub placement: String,
    /// For whom, if known.
    pub user_id: Option<String>,
    /// Name of the policy that chose.
    pub policy: Option<String>,
    /// Probability of the slate.
    pub slate_propensity: Option<f64>,
    /// Items shown, from the top.
    pub shown: Vec<String>,
    /// Whether anything did not go as configured.
    pub degraded: bool,
}

/// Decisions, the latest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionPage {
    /// The latest first.
    pub decisions: Vec<DecisionSummary>,
    /// For `after` of the next page; absent if this is the last.
    pub next: Option<String>,
}

/// How many decisions something came of, since the start of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct JoinRate {
    /// Decisions made.
    pub decisions: u64,
    /// Of those, with at least one event that carries their id and came within the window of its type.
    pub with_outcome: u64,
    /// Events that carry the id of a decision.
    pub events: u64,
    /// Of those, within the window of a decision that is kept.
    pub joined: u64,
    /// Of those that carry an id, after the window or before the decision.
    pub outside_window: u64,
    /// Of those that carry an id, that of no decision that is kept.
    pub unknown: u64,
}

/// What the rate is counted from.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    rate: JoinRate,
    with_outcome: HashSet<DecisionId>,
    /// When the log was last looked through for decisions that are too old.
    retired_at: Timestamp,
}

/// A decision on its way into a file, with the counts of what came of each item shown.
pub type WithOutcomes = (domain::Decision, Vec<BTreeMap<String, u64>>);

impl DecisionQuery {
    fn filter(&self) -> Result<DecisionFilter, Problem> {
        let at =
            |field: &str, sent: &Option<Moment>| sent.as_ref().map(|sent| moment(field, sent)).transpose();
        let before = self.after.as_deref().map(|after| {
            let read = after
                .split_once('-')
                .and_then(|(now, id)| Some((Timestamp(now.parse().ok()?), DecisionId::new(id).ok()?)));
            read.ok_or_else(|| Problem::new("after", after, "`next` of the page before"))
        });
        Ok(DecisionFilter {
            from: at("from", &self.from)?,
            to: at("to", &self.to)?,
            user_id: self
                .user_id
                .as_deref()
                .map(|text| id(UserId::new, text))
                .transpose()?,
            item_id: self
                .item_id
                .as_deref()
                .map(|text| id(ItemId::new, text))
                .transpose()?,
            placement: self.placement.clone(),
            policy: self.policy.clone(),
            before: before.transpose()?,
        })
    }
}

fn summary(stored: StoredDecision) -> DecisionSummary {
    let decision = stored.decision;
    DecisionSummary {
        decision_id: decision.decision_id.to_string(),
        now: decision.now.0,
        placement: decision.placement,
        user_id: decision.user_id.map(|user| user.to_string()),
        slate_propensity: decision.policy.as_ref().map(|policy| policy.slate_propensity),
        policy: decision.policy.map(|policy| policy.name),
        shown: decision
            .shown
            .iter()
            .map(|shown| shown.item_id.to_string())
            .collect(),
        degraded: !decision.degraded.is_empty(),
    }
}

impl Service {
    /// Past decisions, the latest first.
    ///
    /// # Errors
    /// A field that cannot be; a log that cannot be read.
    pub fn find_decisions(&self, query: &DecisionQuery) -> Result<DecisionPage, ServiceError> {
        let limit = query.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(ServiceError::input(
                "limit",
                limit.to_string(),
                format!("1 to {LIMIT_MAX}"),
            ));
        }
        let filter = query.filter().map_err(ServiceError::Input)?;
        let mut found = self.found(&filter, limit + 1)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more);
        let next = last.map(|last| format!("{}-{}", last.decision.now.0, last.decision.decision_id));
        Ok(DecisionPage {
            decisions: found.into_iter().map(summary).collect(),
            next,
        })
    }

    fn found(&self, filter: &DecisionFilter, limit: usize) -> Result<Vec<StoredDecision>, ServiceError> {
        let found = self.decisions.find(filter, limit);
        found.map_err(|e| ServiceError::io("reading", &self.dir.join("decisions"), e))
    }

    /// Milliseconds after a decision in which events of a type count as its outcome.
    pub(crate) fn window_ms(&self, event_type: &str) -> i64 {
        let outcomes = &self.config().outcomes;
        let hours = outcomes.windows.get(event_type).unwrap_or(&outcomes.window_hours);
        (hours * HOUR_MS).ceil() as i64
    }

    /// Whether an event belongs to a decision that is kept, and came in time.
    fn belongs(&self, event: &Event) -> Option<Result<bool, ()>> {
        let id = event.decision_id.as_ref()?;
        if !self.decisions.contains(id) {
            return Some(Err(()));
        }
        // The id begins with the moment of the decision.
        let made = id
            .as_str()
            .get(1..12)
            .and_then(|text| i64::from_str_radix(text, 16).ok());
        let window = self.window_ms(event.event_type.as_str());
        Some(Ok(made.is_none_or(|made| {
            (made..=made.saturating_add(window)).contains(&event.timestamp.0)
        })))
    }

    /// Counts what came of decisions.
    pub(crate) fn count_outcomes(&self, events: &[Event], receipts: &[Receipt]) {
        let accepted = events
            .iter()
            .zip(receipts)
            .filter(|(_, receipt)| matches!(receipt, Receipt::Accepted(_)));
        for event in accepted.map(|(event, _)| event) {
            let Some(belongs) = self.belongs(event) else {
                continue;
            };
            let mut joining = lock(&self.joining);
            joining.rate.events += 1;
            match belongs {
                Err(()) => joining.rate.unknown += 1,
                Ok(false) => joining.rate.outside_window += 1,
                Ok(true) => {
                    joining.rate.joined += 1;
                    let id = event
                        .decision_id
                        .as_ref()
                        .filter(|_| joining.with_outcome.len() < REMEMBERED_MAX);
                    let is_first = id.is_some_and(|id| joining.with_outcome.insert(id.clone()));
                    joining.rate.with_outcome += u64::from(is_first);
                }
            }
        }
    }

    /// How many decisions something came of since the start.
    pub fn join_rate(&self) -> JoinRate {
        JoinRate {
            decisions: self.decisions.stats().recorded,
            ..lock(&self.joining).rate
        }
    }

    /// Removes files of decisions that are older than configured; at most once an hour.
    pub(crate) fn retire_decisions(&self) {
        let days = i64::from(self.config().decisions_retention_days);
        let now = self.now();
        let mut joining = lock(&self.joining);
        if now.0 < joining.retired_at.0 + HOUR_MS as i64 {
            return;
        }
        joining.retired_at = now;
        if days > 0 {
            self.decisions.retire_before(Timestamp(now.0 - days * DAY_MS));
        }
        // Room may have been made by the bound on bytes, too.
        if let Some(Err(error)) = self.decisions.oldest().map(|oldest| self.bandits.prune(oldest)) {
            tracing::warn!("what placements had learnt long ago is still kept: {error}");
        }
    }

    /// Hands over the decisions that a query asks for, the latest first, each with the number of events by type that came of each item shown within their windows. `limit` counts too, if given.
    ///
    /// # Errors
    /// A field that cannot be; a log that cannot be read.
    pub fn export_decisions(&self, query: &DecisionQuery) -> Result<Vec<WithOutcomes>, ServiceError> {
        let filter = query.filter().map_err(ServiceError::Input)?;
        let found = self.found(&filter, query.limit.unwrap_or(usize::MAX))?;
        let places: HashMap<&DecisionId, usize> = found
            .iter()
            .map(|stored| &stored.decision.decision_id)
            .zip(0..)
            .collect();
        let mut outcomes: Vec<Vec<BTreeMap<String, u64>>> = found
            .iter()
            .map(|stored| vec![BTreeMap::new(); stored.decision.shown.len()])
            .collect();
        let mut windows: HashMap<EventType, i64> = HashMap::new();
        let log = &self.stores.log;
        for batch in log.scan(domain::Sequence(1), log.head())? {
            for event in batch?.into_iter().map(|stored| stored.event) {
                let Some(at) = event.decision_id.as_ref().and_then(|id| places.get(id)) else {
                    continue;
                };
                let decision = &found[*at].decision;
                let window = *windows
                    .entry(event.event_type.clone())
                    .or_insert_with(|| self.window_ms(event.event_type.as_str()));
                let in_time = decision.now.0..=decision.now.0.saturating_add(window);
                let shown = decision
                    .shown
                    .iter()
                    .position(|shown| shown.item_id == event.item_id);
                if let Some(place) = shown.filter(|_| in_time.contains(&event.timestamp.0)) {
                    *outcomes[*at][place]
                        .entry(event.event_type.to_string())
                        .or_default() += 1;
                }
            }
        }
        let decisions = found.into_iter().map(|stored| stored.decision);
        Ok(decisions.zip(outcomes).collect())
    }
}
