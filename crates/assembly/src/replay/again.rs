//! One decision made again, on its snapshot.

use super::{Again, ReplayRequest, Task, Wanted};
use crate::bandit::{ActionCache, Beliefs, PastLearners, belief_of};
use crate::catalogue::LiveCatalogue;
use crate::learned::{self, InService};
use crate::rules::{exposures_of, stored_rules};
use crate::serve::{AskedFor, Person, Setting, as_recommend};
use crate::snapshot::Snapshot;
use crate::{Config, Service, ServiceError};
use domain::Sequence;
use ranking::features::ItemCounts;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What placements that learn had learnt, and their actions under one configuration.
pub(super) struct Past<'a> {
    pub(super) learners: PastLearners<'a>,
    pub(super) actions: Arc<ActionCache>,
    /// Events counted up to a number, for configurations that ask for them where that of then did not.
    pub(super) counts: Option<(Sequence, Arc<ItemCounts>)>,
}

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
    /// The ranker by trees that the decision's record names, or none if the model ranked. The lineage says which models served; which ranker did, the decision says.
    fn ranker_then(&self, recorded: &domain::Decision) -> Result<BTreeMap<String, InService>, ServiceError> {
        let mut stages = recorded.stages.iter();
        let version = stages.find_map(|stage| stage.stage.strip_prefix("rank/trees@")?.parse().ok());
        let Some(version) = version else {
            return Ok(BTreeMap::new());
        };
        let model = self.ranker_of(&recorded.placement, version);
        let model = Arc::new(model.map_err(|e| ServiceError::gone("ranker", e.to_string()))?);
        Ok([(recorded.placement.clone(), InService { version, model })].into())
    }

    /// The ranker for another configuration of the decision's placement: the one of then or, if the model ranked then, the one that serves now; with the weights that were asked for.
    fn ranker_asked_for(
        &self,
        recorded: &domain::Decision,
        (then, asked): (BTreeMap<String, InService>, &Config),
        with: &Value,
    ) -> Result<BTreeMap<String, InService>, ServiceError> {
        let name = &recorded.placement;
        let ranker = asked.placements.get(name).map(|placement| &placement.ranker);
        let is_trees = ranker.is_some_and(|ranker| ranker.kind == ranking::RankerKind::Trees);
        let weights = with.pointer("/ranker/weights").and_then(Value::as_object);
        let refused = |expected: String| ServiceError::input("placement.ranker", with.to_string(), expected);
        if !is_trees {
            return match weights {
                Some(_) => Err(refused(
                    "weights for a ranker of kind \"trees\": this placement has none to weigh".to_owned(),
                )),
                None => Ok(then),
            };
        }
        let mut rankers = then;
        if !rankers.contains_key(name) && with.pointer("/ranker").is_some() {
            let version = self.ranker_in_service(name)?.ok_or_else(|| {
                refused(format!(
                    "a placement with a published ranker: {name} has none, train one with `concierge train --ranker`"
                ))
            })?;
            let model = Arc::new(self.ranker_of(name, version)?);
            rankers.insert(name.clone(), InService { version, model });
        }
        if let (Some(weights), Some(known)) = (weights, rankers.get_mut(name)) {
            let of = |outcome: &String| ranker.and_then(|ranker| ranker.weights.get(outcome)).copied();
            // What was taken away is worth nothing.
            let nothing = ranking::HeadWeight {
                weight: 0.0,
                min: 0.0,
                max: 0.0,
            };
            let weights = weights
                .keys()
                .map(|outcome| (outcome.clone(), of(outcome).unwrap_or(nothing)));
            let model = ranking::OutcomeModel::clone(&known.model);
            known.model = Arc::new(model.with_weights(weights).map_err(refused)?);
        }
        Ok(rankers)
    }

    /// What the decision's placement had learnt by then, if it is one that learns.
    fn beliefs_then(
        &self,
        (recorded, asked): (&domain::Decision, &AskedFor),
        (then, now): (&Config, &Config),
        request: &ReplayRequest,
        past: &mut Past<'_>,
    ) -> Result<Option<Arc<Beliefs>>, ServiceError> {
        let name = &recorded.placement;
        let of = |config: &Config| config.placements.get(name).and_then(|known| known.bandit.clone());
        let Some(bandit) = of(now) else {
            return Ok(None);
        };
        if of(then).is_none_or(|then| then != bandit) {
            let got = serde_json::to_string(&bandit).unwrap_or_default();
            let expected = "what is learnt, and how, as it was then: what would have been learnt otherwise is not known; policy and actions can be others";
            return Err(ServiceError::input("placement.bandit", got, expected));
        }
        if request.today {
            return Ok(Some(self.bandits.beliefs()));
        }
        // Who asks for the order of given items gets it by their scores, whatever was learnt.
        if let AskedFor::Rank(_) = asked {
            return Ok(None);
        }
        let gone = |detail: String| ServiceError::gone("learner", detail);
        let number = recorded
            .policy
            .as_ref()
            .and_then(|policy| belief_of(&policy.version));
        let number = number.ok_or_else(|| {
            gone("its record does not name what the placement had learnt, which could not be written then, or not by that version".to_owned())
        })?;
        let belief = past.learners.belief(name, number).map_err(gone)?;
        Ok(Some(Arc::new(Beliefs {
            of: [(name.clone(), belief)].into(),
            // Other actions may be asked for now.
            actions: match request.placement {
                Some(_) => Arc::default(),
                None => past.actions.clone(),
            },
        })))
    }

    pub(super) fn make_again<T>(
        &self,
        task: Task,
        snapshot: &Snapshot,
        wanted: &Wanted<'_, T>,
        past: &mut Past<'_>,
    ) -> Result<Again<T>, ServiceError> {
        let Wanted {
            config,
            request,
            code,
            make,
        } = *wanted;
        let Task {
            stored,
            asked,
            person,
            ..
        } = task;
        let recorded = &stored.decision;
        let ranks = |placement: &crate::PlacementConfig| placement.ranker.kind == ranking::RankerKind::Trees;
        let is_ranked = config.placements.get(&recorded.placement).is_some_and(ranks);
        let mut rankers = match (is_ranked, request.today) {
            (true, false) => Some(self.ranker_then(recorded)?),
            _ => None,
        };
        let then = config;
        let other = request.placement.as_ref();
        let other = other
            .map(|with| patched(config, &recorded.placement, with))
            .transpose()?;
        let config = other.as_ref().unwrap_or(config);
        if let Some(with) = request
            .placement
            .as_ref()
            .filter(|with| with.get("ranker").is_some())
        {
            let of_then = rankers.take();
            let of_then = of_then.unwrap_or_else(|| (*snapshot.learned.rankers).clone());
            rankers = Some(self.ranker_asked_for(recorded, (of_then, config), with)?);
        }
        if learned::wanted(config) && !learned::wanted(then) && !request.today {
            let to = snapshot.version.absorbed;
            if past.counts.as_ref().is_none_or(|(counted, _)| *counted != to) {
                past.counts = Some((to, Arc::new(self.counts_up_to(to, config)?)));
            }
        }
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
                catalogue.set_rules(stored_rules(
                    &self.stores,
                    config,
                    &catalogue.schema,
                    Some(version),
                )?);
                Some(Arc::new(catalogue))
            }
        };
        let beliefs = self.beliefs_then((recorded, &asked), (then, config), request, past)?;
        let is_as_it_stands = rankers.is_none() && other.is_none() && ruled.is_none() && beliefs.is_none();
        let made = (!is_as_it_stands).then(|| {
            let mut learned = snapshot.learned.clone();
            if let Some(rankers) = rankers {
                learned.rankers = Arc::new(rankers);
            }
            if let Some((_, counts)) = &past.counts {
                learned.counts = counts.clone();
            }
            let of = snapshot.version;
            Snapshot::new(
                config,
                ruled.unwrap_or_else(|| snapshot.catalogue.clone()),
                snapshot.models.clone(),
                of.models,
                of.absorbed,
                of.step,
                &beliefs.unwrap_or_default(),
                learned,
            )
        });
        let snapshot = made.as_ref().unwrap_or(snapshot);
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
