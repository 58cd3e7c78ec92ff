//! Features of a past decision, worked out anew from the log as of the numbers that the decision names.

use crate::learned::{count, feature_set, no_counts};
use crate::{Service, ServiceError};
use domain::{Candidate, Decision, DecisionId, FeatureRecord, Query, Sequence};
use ranking::features::{FeatureSet, Moment};
use serde::Serialize;
use signals::UserStates;

/// Features that depend on a trained model as it was, which the log alone does not give back.
const OF_THE_MODEL: &str = "model_score";

/// What became of one decision's features.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FeatureCheck {
    /// Decisions whose features were worked out anew.
    pub checked: u64,
    /// Decisions passed over: no features, or a history that the log does not give (a session sent with the request, or erased events).
    pub passed_over: u64,
    /// Decisions with a number that differs, with the features that do.
    pub different: Vec<(String, Vec<String>)>,
}

impl Service {
    /// The features of a decision's items from the log as of the decision: the person's events up to its sequence number, counts up to what its snapshot had
    /// absorbed; attributes are those of today. `counts_as_of` counts up to another number instead: what a leak would look like.
    /// Features of the trained model are left as noted. `None` if the decision has no features or the log no longer gives its history.
    ///
    /// # Errors
    /// A decision that is not there, or a log that cannot be read.
    pub fn features_again(
        &self,
        decision_id: &str,
        counts_as_of: Option<Sequence>,
    ) -> Result<Option<(FeatureRecord, FeatureRecord)>, ServiceError> {
        let not_found = || ServiceError::NotFound {
            what: "decision",
            id: decision_id.to_owned(),
        };
        let id = DecisionId::new(decision_id).map_err(|_| not_found())?;
        let stored = self
            .decisions
            .get(&id)
            .map_err(|e| ServiceError::io("reading", &self.dir.join("decisions"), e))?;
        let decision = stored.ok_or_else(not_found)?.decision;
        let Some(noted) = decision.features.clone() else {
            return Ok(None);
        };
        let Ok(set) = FeatureSet::new(&noted.names) else {
            return Ok(None);
        };
        let snapshot = self.snapshot.load_full();
        let types = &self.config.event_types;
        let mut counts = no_counts(types);
        let mut states = UserStates::new(self.config.history_events_max);
        let last_counted = counts_as_of
            .unwrap_or(decision.snapshot.absorbed)
            .min(self.stores.log.head());
        let last = last_counted.max(decision.sequence);
        if last > Sequence::ZERO {
            for batch in self.stores.log.scan(Sequence(1), last)? {
                for stored in batch? {
                    let item = self.live.positions.insert(&stored.event.item_id);
                    if stored.sequence <= last_counted {
                        count(&mut counts, types, item, &stored.event);
                    }
                    if stored.sequence <= decision.sequence
                        && Some(&stored.event.user_id) == decision.user_id.as_ref()
                    {
                        states.apply(stored.sequence, &stored.event, item);
                    }
                }
            }
        }
        let Some(query) = self.query_again(&decision, &states) else {
            return Ok(None);
        };
        let candidates: Vec<Candidate> = decision
            .shown
            .iter()
            .take(noted.rows.len())
            .map(|shown| self.candidate_again(&decision, &shown.item_id))
            .collect();
        let moment = Moment {
            query: &query,
            counts: &counts,
            facts: &*snapshot.catalogue,
            model_scores: &[],
            positions: &[],
        };
        let mut values = set.read(&moment, &candidates);
        if let Some(at) = noted.names.iter().position(|name| name == OF_THE_MODEL) {
            for (row, own) in values.chunks_mut(set.len()).enumerate() {
                own[at] = noted.row(row).map_or(f32::NAN, |noted| noted[at]);
            }
        }
        Ok(Some((noted.clone(), FeatureRecord::new(noted.names, &values))))
    }

    /// The query as it was; `None` if the history is another.
    fn query_again(&self, decision: &Decision, states: &UserStates) -> Option<Query> {
        let view = match &decision.user_id {
            Some(user) => states.history(user, decision.now, &self.config.event_types),
            None => signals::session_view(std::iter::empty(), decision.now, &self.config.event_types),
        };
        let positions: Vec<u32> = view.history.iter().map(|event| event.item).collect();
        let ids = self.live.positions.ids_of(&positions);
        let same =
            ids.len() == decision.history.len()
                && ids.iter().zip(&view.history).zip(&decision.history).all(
                    |((id, own), (noted, weight))| id == noted && own.weight.to_bits() == weight.to_bits(),
                );
        same.then(|| Query {
            now: decision.now,
            history: view.history,
            seen: view.seen,
            user_attributes: decision.attributes.clone(),
            context: decision.context.clone(),
            anchor: decision
                .item_id
                .as_ref()
                .and_then(|item| self.live.positions.get(item.as_str())),
            n: decision.n as usize,
            seed: decision.seed,
            ..Query::default()
        })
    }

    fn candidate_again(&self, decision: &Decision, item: &domain::ItemId) -> Candidate {
        let considered = decision
            .considered
            .iter()
            .find(|considered| considered.item_id == *item);
        Candidate {
            item: self.live.positions.insert(item),
            hits: considered
                .map(|considered| considered.sources.clone())
                .unwrap_or_default(),
            score: 0.0,
        }
    }

    /// Works out the features of the latest `n` decisions anew and says where a number differs from the one noted, in any bit.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn check_features(&self, n: usize) -> Result<FeatureCheck, ServiceError> {
        self.flush_decisions()?;
        let mut ids: Vec<(i64, String)> = Vec::new();
        let mut check = FeatureCheck::default();
        let read = self.decisions.each(|stored| {
            if stored.decision.features.is_some() {
                ids.push((
                    stored.decision.now.0,
                    stored.decision.decision_id.as_str().to_owned(),
                ));
            }
        });
        read.map_err(|e| ServiceError::io("reading", &self.dir.join("decisions"), e))?;
        ids.sort();
        for (_, id) in ids.iter().rev().take(n) {
            match self.features_again(id, None)? {
                None => check.passed_over += 1,
                Some((noted, again)) => {
                    check.checked += 1;
                    let names = different(&noted, &again);
                    if !names.is_empty() {
                        check.different.push((id.clone(), names));
                    }
                }
            }
        }
        Ok(check)
    }

    /// The features that a placement's ranker reads, with how each family is meant: name, summary, state.
    ///
    /// # Errors
    /// A placement that is not configured.
    pub fn features_of(
        &self,
        placement: &str,
    ) -> Result<Vec<(String, &'static str, &'static str)>, ServiceError> {
        let snapshot = self.snapshot.load_full();
        let Some(found) = snapshot.placements.get(placement) else {
            return Err(ServiceError::NotFound {
                what: "placement",
                id: placement.to_owned(),
            });
        };
        let sources = found
            .pipeline
            .sources
            .iter()
            .map(|source| source.retriever.name().to_owned())
            .collect();
        let set = feature_set(
            &self.config,
            sources,
            &snapshot.catalogue.schema,
            &snapshot.learned.users,
        );
        let described = set.names().into_iter().filter_map(|name| {
            let family = name.split(':').next().unwrap_or_default();
            let family = ranking::features::FAMILIES.iter().find(|f| f.name == family)?;
            Some((name.clone(), family.summary, family.state))
        });
        Ok(described.collect())
    }
}

/// Names of the features that differ somewhere.
fn different(noted: &FeatureRecord, again: &FeatureRecord) -> Vec<String> {
    let mut names = Vec::new();
    for at in 0..noted.rows.len().max(again.rows.len()) {
        let (Some(noted_row), Some(again_row)) = (noted.row(at), again.row(at)) else {
            return vec!["all".to_owned()];
        };
        for ((name, a), b) in noted.names.iter().zip(noted_row).zip(again_row) {
            let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            if !same && !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}
