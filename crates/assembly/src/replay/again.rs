//! One decision made again, on its snapshot.

use super::{Again, Make, ReplayRequest, Task};
use crate::bandit::Beliefs;
use crate::catalogue::LiveCatalogue;
use crate::learned::InService;
use crate::rules::{exposures_of, stored_rules};
use crate::serve::{AskedFor, Person, Setting, as_recommend};
use crate::snapshot::Snapshot;
use crate::{Config, Service, ServiceError};
use serde_json::Value;
use std::sync::Arc;

/// Puts a merge patch over a value (RFC 7396).
fn patch(value: &mut Value, with: &Value) {
    let Value::Object(with) = with else {
        *value = with.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    let Value::Object(value) = value else { return };
    for (key, with) in with {
        if with.is_null() {
            value.remove(key);
        } else {
            patch(value.entry(key.clone()).or_insert(Value::Null), with);
        }
    }
}

/// The configuration with another one of a placement.
pub(crate) fn patched(config: &Config, placement: &str, with: &Value) -> Result<Config, ServiceError> {
    let refused = |e: String| ServiceError::input("placement", with.to_string(), e);
    let mut config = config.clone();
    let Some(known) = config.placements.get_mut(placement) else {
        return Err(refused(format!(
            "there is no placement {placement} in the configuration of then"
        )));
    };
    let mut value = serde_json::to_value(&*known).map_err(|e| refused(e.to_string()))?;
    // Settings belong to a policy: with another policy come others.
    let renamed = with.pointer("/policy/name").and_then(Value::as_str);
    if renamed.is_some_and(|name| name != known.policy.name)
        && let Some(policy) = value.get_mut("policy").and_then(Value::as_object_mut)
    {
        known
            .policy
            .settings
            .keys()
            .for_each(|key| drop(policy.remove(key)));
    }
    patch(&mut value, with);
    *known = serde_json::from_value(value)
        .map_err(|e| refused(format!("keys of a placement's configuration ({e})")))?;
    config.check().map_err(refused)?;
    Ok(config)
}

impl Service {
    /// A snapshot with the ranker that the decision's record names, or none if the model ranked.
    fn with_ranker_of(
        &self,
        recorded: &domain::Decision,
        snapshot: &Snapshot,
        config: &Config,
    ) -> Result<Snapshot, ServiceError> {
        let mut stages = recorded.stages.iter();
        let version = stages.find_map(|stage| stage.stage.strip_prefix("rank/trees@")?.parse().ok());
        let mut learned = snapshot.learned.clone();
        learned.rankers = Arc::default();
        if let Some(version) = version {
            let model = self.ranker_of(&recorded.placement, version);
            let model = model.map_err(|e| ServiceError::gone("ranker", e.to_string()))?;
            let one = InService {
                version,
                model: Arc::new(model),
            };
            learned.rankers = Arc::new([(recorded.placement.clone(), one)].into());
        }
        let of = snapshot.version;
        Ok(Snapshot::new(
            config,
            snapshot.catalogue.clone(),
            snapshot.models.clone(),
            of.models,
            of.absorbed,
            of.step,
            &Beliefs::default(),
            learned,
        ))
    }

    pub(super) fn make_again<T>(
        &self,
        task: Task,
        snapshot: &Snapshot,
        config: &Config,
        request: &ReplayRequest,
        code: &str,
        make: Make<'_, T>,
    ) -> Result<Again<T>, ServiceError> {
        let Task {
            stored,
            asked,
            person,
            ..
        } = task;
        let recorded = &stored.decision;
        let ranks = |placement: &crate::PlacementConfig| placement.ranker.kind == ranking::RankerKind::Trees;
        let is_ranked = config.placements.get(&recorded.placement).is_some_and(ranks);
        // The lineage says which models served; which ranker did, the decision says.
        let then = match is_ranked && !request.today {
            true => Some(self.with_ranker_of(recorded, snapshot, config)?),
            false => None,
        };
        let snapshot = then.as_ref().unwrap_or(snapshot);
        let other = match &request.placement {
            None => None,
            Some(with) => {
                let config = patched(config, &recorded.placement, with)?;
                let (catalogue, models) = (snapshot.catalogue.clone(), snapshot.models.clone());
                let version = snapshot.version;
                let made = Snapshot::new(
                    &config,
                    catalogue,
                    models,
                    version.models,
                    version.absorbed,
                    version.step,
                    &Beliefs::default(),
                    snapshot.learned.clone(),
                );
                Some((made, config))
            }
        };
        let (snapshot, config) = other
            .as_ref()
            .map_or((snapshot, config), |(made, config)| (made, config));
        // Those asked for, those of today, or those of then, by the version that the decision names.
        let version = match (request.rules, request.today) {
            (Some(version), _) => version,
            (None, true) => snapshot.catalogue.rules.version(),
            (None, false) => recorded.rules.as_ref().map_or(0, |rules| rules.version),
        };
        let ruled = match version == snapshot.catalogue.rules.version() {
            true => None,
            false => {
                let mut catalogue = LiveCatalogue::clone(&snapshot.catalogue);
                let rules = stored_rules(&self.stores, config, &catalogue.schema, Some(version))?;
                catalogue.set_rules(rules);
                let known = snapshot.version;
                Some(Snapshot::new(
                    config,
                    Arc::new(catalogue),
                    snapshot.models.clone(),
                    known.models,
                    known.absorbed,
                    known.step,
                    &Beliefs::default(),
                    snapshot.learned.clone(),
                ))
            }
        };
        let snapshot = ruled.as_ref().unwrap_or(snapshot);
        let learns = |placement: &crate::PlacementConfig| placement.bandit.is_some();
        if config.placements.get(&recorded.placement).is_some_and(learns) {
            let detail = "what a placement had learnt from rewards by then is not kept";
            return Err(ServiceError::gone("learner", detail));
        }
        if self.stores.log.head() < recorded.sequence {
            let detail = format!(
                "the log ends at {}, the decision knew {}",
                self.stores.log.head(),
                recorded.sequence
            );
            return Err(ServiceError::gone("events", detail));
        }
        let setting = Setting {
            snapshot,
            positions: &self.live.positions,
            types: &config.event_types,
            config,
            now: recorded.now,
        };
        let sent = match &asked {
            AskedFor::Recommend(request) => request.session.clone(),
            AskedFor::Rank(request) => as_recommend(request).session,
        };
        let session = setting.session(&sent).map_err(ServiceError::Input)?;
        let session = session.iter().map(|(event, item)| (event, *item));
        let user = recorded.user_id.as_ref();
        let view = match (user, &person) {
            (Some(user), Some(states)) => states.history_with(user, session, recorded.now, setting.types),
            _ => signals::session_view(session, recorded.now, setting.types),
        };
        let person = Person {
            view,
            sequence: recorded.sequence,
            attributes: recorded.attributes.clone(),
            before: match (user, &person) {
                (Some(user), Some(states)) => states.recent(user, usize::MAX),
                _ => Vec::new(),
            },
            exposures: match (user, &person) {
                (Some(user), Some(states)) => {
                    exposures_of(states.recent(user, usize::MAX), setting.types, recorded.now)
                }
                _ => Vec::new(),
            },
        };
        let id = recorded.decision_id.clone();
        let mut plan = match &asked {
            AskedFor::Recommend(asked) => {
                setting.recommending(asked, person, id, Some(request.seed.unwrap_or(recorded.seed)))?
            }
            AskedFor::Rank(asked) => setting.ranking(asked, person, id)?,
        };
        plan.request.arms.clone_from(&recorded.arms);
        Ok(Again {
            made: make(&stored, snapshot, &plan),
            stored,
            code: code.to_owned(),
        })
    }
}
