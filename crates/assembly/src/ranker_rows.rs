//! Rows to learn a ranker from: what was shown, as it was known then, and what came of it.

use crate::{Service, ServiceError};
use domain::{EventType, ItemId, Sequence, Timestamp, UserId};
use ranking::features::FeatureSet;
use ranking::{HeadWeight, Impression, RankRows, RankerConfig, by_expectation, by_interventions};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Latest decisions that are learnt from at most.
const DECISIONS_MAX: usize = 50_000;
/// Rounds of estimating examination.
const EXAMINATION_ROUNDS: usize = 200;

/// What was joined, and what was left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RowsReport {
    /// Decisions with features.
    pub decisions: u64,
    /// Decisions left out because their window is still open.
    pub open: u64,
    /// Decisions left out because they carry no features.
    pub without_features: u64,
    /// Older decisions left out because there are enough later ones.
    pub older: u64,
    /// Events joined.
    pub events: u64,
}

impl RowsReport {
    /// True if there is enough for a ranker to be learnt from decisions.
    pub(crate) fn is_enough(&self, config: &RankerConfig) -> bool {
        self.decisions >= config.decisions_min as u64 && self.events >= config.outcomes_min as u64
    }
}

/// Joined decisions.
pub(crate) struct Joined {
    pub(crate) rows: RankRows,
    pub(crate) impressions: Vec<Impression>,
    /// Whether what stood where was partly left to chance.
    pub(crate) is_random: bool,
    pub(crate) report: RowsReport,
}

impl Joined {
    /// Examination by place, for rankers that weigh by it and for comparing rankers.
    pub(crate) fn examination(&self) -> Vec<f64> {
        let drawn = self
            .is_random
            .then(|| by_interventions(&self.impressions))
            .flatten();
        drawn
            .or_else(|| by_expectation(&self.impressions, EXAMINATION_ROUNDS))
            .unwrap_or_default()
    }
}

struct Waiting {
    now: i64,
    user: Option<UserId>,
    shown: Vec<ItemId>,
    /// Place of each shown item in the order of the scores, from 1.
    ranks: Vec<u32>,
    names: Vec<String>,
    values: Vec<Vec<f32>>,
    is_random: bool,
}

impl Service {
    /// Decisions of a placement whose window has closed by `until`, with the features that they noted, joined with the events that carry their id.
    pub(crate) fn rows_from_decisions(
        &self,
        placement: &str,
        config: &RankerConfig,
        weights: &BTreeMap<String, HeadWeight>,
        until: Timestamp,
    ) -> Result<Joined, ServiceError> {
        self.flush_decisions()?;
        let window = (config.window_hours * 3_600_000.0).ceil() as i64;
        let closed = until.0.saturating_sub(window);
        let mut report = RowsReport::default();
        let mut waiting: Vec<(domain::DecisionId, Waiting)> = Vec::new();
        let read = self.decisions.each(|stored| {
            let decision = stored.decision;
            if decision.placement != placement || decision.shown.is_empty() {
                return;
            }
            if decision.now.0 > closed {
                report.open += 1;
                return;
            }
            let Some(features) = &decision.features else {
                report.without_features += 1;
                return;
            };
            let values: Option<Vec<Vec<f32>>> = (0..features.rows.len()).map(|at| features.row(at)).collect();
            let Some(values) = values.filter(|values| values.len() <= decision.shown.len()) else {
                report.without_features += 1;
                return;
            };
            let rank = |item: &ItemId| {
                let found = decision
                    .considered
                    .iter()
                    .position(|considered| considered.item_id == *item);
                found.map_or(0, |at| at as u32 + 1)
            };
            let shown: Vec<ItemId> = decision
                .shown
                .iter()
                .take(values.len())
                .map(|shown| shown.item_id.clone())
                .collect();
            let one = Waiting {
                now: decision.now.0,
                user: decision.user_id.clone(),
                ranks: shown.iter().map(rank).collect(),
                shown,
                names: features.names.clone(),
                values,
                is_random: decision.shown.iter().any(|shown| shown.propensity < 0.999),
            };
            waiting.push((decision.decision_id, one));
        });
        read.map_err(|e| ServiceError::io("reading", &self.dir.join("decisions"), e))?;
        waiting.sort_by(|a, b| (a.1.now, &a.0).cmp(&(b.1.now, &b.0)));
        report.older = waiting.len().saturating_sub(DECISIONS_MAX) as u64;
        waiting.drain(..waiting.len().saturating_sub(DECISIONS_MAX));
        report.decisions = waiting.len() as u64;
        let joined = self.joined_events(&waiting, weights, window, &mut report)?;
        Ok(together(waiting, weights, &joined, report))
    }

    /// By outcome, per decision and place, whether an event came of it.
    fn joined_events(
        &self,
        waiting: &[(domain::DecisionId, Waiting)],
        weights: &BTreeMap<String, HeadWeight>,
        window: i64,
        report: &mut RowsReport,
    ) -> Result<HashMap<(usize, usize), Vec<EventType>>, ServiceError> {
        let places: HashMap<&domain::DecisionId, usize> = waiting.iter().map(|(id, _)| id).zip(0..).collect();
        let mut joined: HashMap<(usize, usize), Vec<EventType>> = HashMap::new();
        let log = &self.stores.log;
        for batch in log.scan(Sequence(1), log.head())? {
            for event in batch?.into_iter().map(|stored| stored.event) {
                let Some(at) = event.decision_id.as_ref().and_then(|id| places.get(id)).copied() else {
                    continue;
                };
                let counts = self
                    .config
                    .event_types
                    .strength(&event)
                    .is_some_and(|weight| weight != 0.0);
                let of = &waiting[at].1;
                let inside = (of.now..=of.now.saturating_add(window)).contains(&event.timestamp.0);
                if !counts || !inside || !weights.contains_key(event.event_type.as_str()) {
                    continue;
                }
                let Some(place) = of.shown.iter().position(|item| *item == event.item_id) else {
                    continue;
                };
                let types = joined.entry((at, place)).or_default();
                if !types.contains(&event.event_type) {
                    types.push(event.event_type);
                    report.events += 1;
                }
            }
        }
        Ok(joined)
    }
}

fn together(
    waiting: Vec<(domain::DecisionId, Waiting)>,
    weights: &BTreeMap<String, HeadWeight>,
    joined: &HashMap<(usize, usize), Vec<EventType>>,
    report: RowsReport,
) -> Joined {
    // The latest decision says which features there are; a name that this version does not know is left out.
    let names = waiting.last().map(|(_, w)| w.names.clone()).unwrap_or_default();
    let known: Vec<String> = names
        .into_iter()
        .filter(|name| FeatureSet::new(&[name]).is_ok())
        .collect();
    let features = FeatureSet::new(&known)
        .map(|set| set.features().to_vec())
        .unwrap_or_default();
    let mut rows = RankRows {
        features,
        ..RankRows::default()
    };
    rows.outcomes = weights.keys().map(|name| (name.clone(), Vec::new())).collect();
    let (mut impressions, mut is_random) = (Vec::new(), false);
    // By person and item, how often in a row it has been shown and nothing came of it.
    let mut in_a_row: HashMap<(UserId, ItemId), u32> = HashMap::new();
    let mut places: Option<(Vec<String>, Vec<Option<usize>>)> = None;
    for (at, (_, one)) in waiting.into_iter().enumerate() {
        if places.as_ref().is_none_or(|(names, _)| *names != one.names) {
            let found = known
                .iter()
                .map(|name| one.names.iter().position(|own| own == name))
                .collect();
            places = Some((one.names.clone(), found));
        }
        let columns = places
            .as_ref()
            .map(|(_, columns)| columns.as_slice())
            .unwrap_or_default();
        is_random |= one.is_random;
        rows.groups.push(one.shown.len() as u32);
        for (place, item) in one.shown.iter().enumerate() {
            let position = place as u32 + 1;
            for (name, column) in known.iter().zip(columns) {
                let value = column.map_or(f32::NAN, |column| one.values[place][column]);
                rows.values.push(if name == "position" {
                    position as f32
                } else {
                    value
                });
            }
            rows.positions.push(position);
            rows.repeats.push(match &one.user {
                Some(user) => *in_a_row.entry((user.clone(), item.clone())).or_default(),
                None => 0,
            });
            let types = joined.get(&(at, place)).map(Vec::as_slice).unwrap_or_default();
            if let Some(user) = &one.user {
                let times = in_a_row.entry((user.clone(), item.clone())).or_default();
                *times = if types.is_empty() { *times + 1 } else { 0 };
            }
            for (name, outcomes) in &mut rows.outcomes {
                outcomes.push(f32::from(
                    types.iter().any(|event_type| event_type.as_str() == name),
                ));
            }
            let liked = |t: &EventType| weights.get(t.as_str()).is_some_and(|head| head.weight > 0.0);
            // Drawn places are drawn for an item at a rank; without chance the item alone has to do.
            let rank = if one.is_random { one.ranks[place] } else { 0 };
            let key = numeric::mix(numeric::hash_bytes(item.as_str().as_bytes()) ^ u64::from(rank));
            impressions.push(Impression {
                key,
                place: position,
                acted: types.iter().any(liked),
            });
        }
    }
    Joined {
        rows,
        impressions,
        is_random,
        report,
    }
}
