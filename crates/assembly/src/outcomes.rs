//! Decisions joined with what came of them.
//!
//! An event belongs to a decision if it carries its id, is about an item that was shown, and happened within the window after it. Each type of event counts once per shown
//! item, with the worth that the caller gives it. A decision whose window is still open is left out, since its outcomes may be yet to come. Everything
//! left out is counted. One pass over the decision log and one over the event log; memory grows with the decisions joined.

use crate::{Problem, Service, ServiceError};
use domain::{Decision, DecisionId, EventType, ItemId, Sequence};
use engine::SlateChances;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Decisions of which placement.
    pub placement: String,
    /// Worth by type of event; other types do not count.
    pub rewards: BTreeMap<String, f64>,
    /// Hours after a decision in which events count; if absent, those that the configuration says, by type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_hours: Option<f64>,
}

/// What was joined, and what was left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct JoinReport {
    /// Decisions joined.
    pub decisions: u64,
    /// Of those, with at least one event that counted.
    pub with_outcome: u64,
    /// Decisions left out because their window is still open.
    pub open: u64,
    /// Decisions left out because they showed what the record has no score of, as when a slate had to be filled up.
    pub filled: u64,
    /// Events that counted.
    pub events: u64,
    /// Events after the window, or before the decision.
    pub outside_window: u64,
    /// Events of a decision about an item that it did not show.
    pub not_shown: u64,
    /// Events of a counted type that carry the id of no decision joined.
    pub of_others: u64,
}

/// A decision with what came of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JoinedSlate {
    /// Scores of the candidates, best first.
    pub scores: Vec<f64>,
    /// Candidates that the record left out.
    pub unrecorded: u32,
    /// What was shown, by place among the candidates.
    pub shown: Vec<u32>,
    /// Probability of each, given those before it.
    pub propensities: Vec<f64>,
    /// Probability of each at its place, whatever stood elsewhere, where the record has it.
    pub position_propensities: Vec<Option<f64>>,
    /// Worth of what came of each.
    pub rewards: Vec<f64>,
    /// Which decision; absent only in what no decision stands behind.
    pub decision_id: Option<DecisionId>,
}

/// A slate with the probabilities that another configuration gives its items.
pub type SlateUnder = (JoinedSlate, SlateChances);

/// Slates under another configuration, the account of the join, and how many could not be made again, by the input that is gone.
pub type JoinedUnder = (Vec<SlateUnder>, JoinReport, BTreeMap<String, u64>);

/// Decisions whose probabilities are worked out together.
const CHUNK: usize = 5_000;

/// A decision while events are looked for.
struct Waiting {
    now: i64,
    shown: Vec<ItemId>,
    slate: JoinedSlate,
}

/// The slate of a decision; `None` if it showed what was no candidate.
fn slate_of(decision: &Decision) -> Option<JoinedSlate> {
    let places: HashMap<&ItemId, u32> = decision
        .considered
        .iter()
        .map(|item| &item.item_id)
        .zip(0..)
        .collect();
    let shown: Option<Vec<u32>> = decision
        .shown
        .iter()
        .map(|shown| places.get(&shown.item_id).copied())
        .collect();
    Some(JoinedSlate {
        scores: decision
            .considered
            .iter()
            .map(|item| f64::from(item.score))
            .collect(),
        unrecorded: decision.considered_cut,
        shown: shown?,
        propensities: decision.shown.iter().map(|shown| shown.propensity).collect(),
        position_propensities: (decision.shown.iter())
            .map(|shown| shown.position_propensity)
            .collect(),
        rewards: vec![0.0; decision.shown.len()],
        decision_id: Some(decision.decision_id.clone()),
    })
}

impl JoinRequest {
    fn check(&self, placements: &[&String]) -> Result<(), Problem> {
        if !placements.contains(&&self.placement) {
            let known: Vec<&str> = placements.iter().map(|name| name.as_str()).collect();
            return Err(Problem::new(
                "placement",
                self.placement.as_str(),
                format!("one of {}", known.join(", ")),
            ));
        }
        if self.rewards.is_empty() {
            return Err(Problem::new(
                "rewards",
                "nothing",
                "the worth of at least one type of event",
            ));
        }
        if let Some((name, worth)) = self.rewards.iter().find(|(_, worth)| !worth.is_finite()) {
            return Err(Problem::new(
                format!("rewards.{name}"),
                worth.to_string(),
                "a finite number",
            ));
        }
        match self.window_hours {
            Some(hours) if !(hours > 0.0 && hours <= 24.0 * 366.0) => Err(Problem::new(
                "window_hours",
                hours.to_string(),
                "above 0 and at most 8784",
            )),
            _ => Ok(()),
        }
    }
}

impl Service {
    /// Decisions of a placement with what came of them, the oldest first.
    ///
    /// # Errors
    /// A request that cannot be; a log that cannot be read.
    pub fn joined(&self, request: &JoinRequest) -> Result<(Vec<JoinedSlate>, JoinReport), ServiceError> {
        let placements: Vec<&String> = self.config().placements.keys().collect();
        request.check(&placements).map_err(ServiceError::Input)?;
        let rewards = typed(&request.rewards)?;
        let window_of = |name: &EventType| match request.window_hours {
            Some(hours) => (hours * 3_600_000.0).ceil() as i64,
            None => self.window_ms(name.as_str()),
        };
        let windows: HashMap<&EventType, i64> = rewards.keys().map(|name| (name, window_of(name))).collect();
        // A decision is closed once the longest window is.
        let longest = windows.values().copied().max().unwrap_or(0);
        let closed = self.now().0.saturating_sub(longest);
        let mut report = JoinReport::default();
        let (mut places, mut waiting) = (HashMap::new(), Vec::new());
        let read = self.decisions.each(|stored| {
            let decision = stored.decision;
            if decision.placement != request.placement || decision.shown.is_empty() {
                return;
            }
            if decision.now.0 > closed {
                report.open += 1;
                return;
            }
            let Some(slate) = slate_of(&decision) else {
                report.filled += 1;
                return;
            };
            places.insert(decision.decision_id, waiting.len());
            waiting.push(Waiting {
                now: decision.now.0,
                shown: decision.shown.into_iter().map(|shown| shown.item_id).collect(),
                slate,
            });
        });
        read.map_err(|e| ServiceError::io("reading", &self.dir.join("decisions"), e))?;
        let mut counted: HashSet<(usize, usize, EventType)> = HashSet::new();
        let log = &self.stores.log;
        for batch in log.scan(Sequence(1), log.head())? {
            for event in batch?.into_iter().map(|stored| stored.event) {
                let (Some(worth), Some(id)) = (rewards.get(&event.event_type), &event.decision_id) else {
                    continue;
                };
                let Some((at, of)) = places.get(id).and_then(|at| Some((*at, waiting.get_mut(*at)?))) else {
                    report.of_others += 1;
                    continue;
                };
                let window = windows.get(&event.event_type).copied().unwrap_or(longest);
                if !(of.now..=of.now.saturating_add(window)).contains(&event.timestamp.0) {
                    report.outside_window += 1;
                    continue;
                }
                let Some(position) = of.shown.iter().position(|item| *item == event.item_id) else {
                    report.not_shown += 1;
                    continue;
                };
                if counted.insert((at, position, event.event_type)) {
                    of.slate.rewards[position] += worth;
                    report.events += 1;
                }
            }
        }
        report.decisions = waiting.len() as u64;
        let with: HashSet<usize> = counted.iter().map(|(at, _, _)| *at).collect();
        report.with_outcome = with.len() as u64;
        Ok((waiting.into_iter().map(|waiting| waiting.slate).collect(), report))
    }
}

impl Service {
    /// Decisions of a placement with what came of them and the probabilities that another configuration gives what was shown: each is made again up to the
    /// choice. Decisions that cannot be are left out and counted by the input that is gone; `policy` is that of a configuration whose policy cannot tell.
    ///
    /// # Errors
    /// A request or a configuration that cannot be; a log that cannot be read.
    pub fn joined_under(
        &self,
        request: &JoinRequest,
        under: &crate::ReplayRequest,
    ) -> Result<JoinedUnder, ServiceError> {
        let (joined, report) = self.joined(request)?;
        let (mut found, mut gone) = (Vec::with_capacity(joined.len()), BTreeMap::new());
        let mut joined = joined.into_iter().peekable();
        while joined.peek().is_some() {
            let (mut slates, mut decisions) = (Vec::new(), Vec::new());
            for slate in joined.by_ref().take(CHUNK) {
                let stored = slate.decision_id.as_ref().map(|id| self.stored(id)).transpose()?;
                match stored.flatten() {
                    Some(stored) => {
                        slates.push(slate);
                        decisions.push(stored);
                    }
                    // Retired since it was joined.
                    None => *gone.entry("decision".to_owned()).or_default() += 1,
                }
            }
            for (slate, told) in slates.into_iter().zip(self.chances_under(decisions, under)?) {
                match told {
                    Ok(chances) => found.push((slate, chances)),
                    Err(what) => *gone.entry(what.to_owned()).or_default() += 1,
                }
            }
        }
        Ok((found, report, gone))
    }
}

fn typed(rewards: &BTreeMap<String, f64>) -> Result<HashMap<EventType, f64>, ServiceError> {
    let one = |(name, worth): (&String, &f64)| {
        EventType::new(name.as_str())
            .map(|name| (name, *worth))
            .map_err(|e| ServiceError::input(format!("rewards.{name}"), name.as_str(), e.to_string()))
    };
    rewards.iter().map(one).collect()
}
