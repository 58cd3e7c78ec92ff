//! Decisions made again, exactly, or as they would have been.
//!
//! A decision is a function of its snapshot, the request, what was known of the person, and its seed. The record names all of them: the snapshot by the step of its
//! lineage, the person's state by a sequence number. Here they are made again from what is kept: the bundle of models, the events and changes of the catalogue
//! that the models took in since, step by step, the configuration of then. Stages that were skipped for want of time are skipped again, since the clock
//! tells the recorded times.
//!
//! Cost: one pass over the log up to the decision, one more if the models took in events, and as much work as taking them in was. Many decisions
//! share the passes.

use crate::absorb::{FromLog, described, updated};
use crate::bandit::Beliefs;
use crate::catalogue::LiveCatalogue;
use crate::exposures::Prices;
use crate::learned::{InService, Learned};
use crate::lineage::{Entry, Step, segment_of};
use crate::past::PastCatalogue;
use crate::rules::{exposures_of, stored_rules};
use crate::segments::Segments;
use crate::serve::{AskedFor, Person, Plan, Setting, as_recommend};
use crate::service::{CONFIGURATIONS_DIR, bind, models_dir};
use crate::snapshot::{Models, Snapshot};
use crate::{Config, Service, ServiceError, bundle};
use domain::{Decision, DecisionId, Sequence, UserId};
use feedback::StoredDecision;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use signals::UserStates;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most differences that are told of one decision.
const DIFFERENCES_MAX: usize = 50;

/// What to make again, and what otherwise.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Keys of the placement's configuration to put in place of those of then, as a merge patch: `{"policy": {"name": "softmax"}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Value>,
    /// Whether today's models, catalogue and configuration answer in place of those of then.
    #[serde(default)]
    pub today: bool,
    /// The stored rules of this version in place of those of then; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u64>,
    /// Another seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl ReplayRequest {
    fn is_exact(&self) -> bool {
        *self == ReplayRequest::default()
    }
}

/// A part of the record, and whether it came out the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// `person`, `stages`, `candidates`, `removals`, `choice`, `slate` or `rest`.
    pub part: &'static str,
    /// Whether it is the same to the last bit.
    pub same: bool,
}

/// A value that came out otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Path in the record, as `/shown/0/score`.
    pub at: String,
    /// What the record has.
    pub recorded: Value,
    /// What came out.
    pub replayed: Value,
}

/// An item in two slates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlateChange {
    /// Which.
    pub item_id: String,
    /// Place in the recorded slate.
    pub rank_before: Option<u32>,
    /// Place in the other slate.
    pub rank_after: Option<u32>,
    /// Score recorded.
    pub score_before: Option<f32>,
    /// Score in the other slate.
    pub score_after: Option<f32>,
    /// Recorded probability of its place, given those before it.
    pub propensity_before: Option<f64>,
    /// That in the other slate.
    pub propensity_after: Option<f64>,
}

/// How the slate would have been.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIfReport {
    /// Items of both slates, in the order of the other one, then those that it lacks.
    pub slate: Vec<SlateChange>,
    /// Items of the other slate that the recorded one lacks.
    pub entered: u32,
    /// Items that it lacks.
    pub left: u32,
    /// Items in both, at another place.
    pub moved: u32,
}

/// A decision made again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayReport {
    /// Which.
    pub decision_id: String,
    /// Whether the record came out the same to the last bit; always false if something was asked to be otherwise and it mattered.
    pub identical: bool,
    /// Part by part.
    pub parts: Vec<Part>,
    /// What differs, the first 50 values; empty in answer to "what if", which has `what_if`.
    pub differences: Vec<Difference>,
    /// Version of the program that decided.
    pub code_then: String,
    /// Version of this program.
    pub code_now: String,
    /// How the slate would have been; absent for an exact replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what_if: Option<WhatIfReport>,
    /// The record as it came out.
    pub decision: Decision,
}

/// A decision of a sample that did not come out the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unlike {
    /// Which.
    pub decision_id: String,
    /// Where it differs first, or which input is gone.
    pub reason: String,
}

/// Many decisions made again.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct SampleReport {
    /// Decisions kept.
    pub kept: u64,
    /// Decisions made again.
    pub replayed: u64,
    /// Of those, the same to the last bit.
    pub identical: u64,
    /// Of those, not the same: the first 20.
    pub different: Vec<Unlike>,
    /// Decisions that could not be made again, by the input that is gone.
    pub gone: BTreeMap<String, u64>,
    /// Examples of those: the first 20.
    pub gone_examples: Vec<Unlike>,
    /// Snapshots that were made again.
    pub snapshots: u64,
    /// How long it took.
    pub seconds: f64,
}

/// A clock that tells the recorded times, so that what was late then is late again.
struct Recorded {
    times: Vec<u64>,
    asked: AtomicUsize,
}

impl Recorded {
    fn of(timings_us: &[(String, u64)]) -> Recorded {
        let mut times = vec![0];
        for (_, taken) in timings_us.iter().filter(|(stage, _)| stage != "total") {
            times.push(times.last().copied().unwrap_or(0) + taken);
        }
        Recorded {
            times,
            asked: AtomicUsize::new(0),
        }
    }
}

impl engine::Clock for Recorded {
    fn micros(&self) -> u64 {
        let at = self.asked.fetch_add(1, Ordering::Relaxed);
        self.times[at.min(self.times.len() - 1)]
    }
}

/// A clock that stands still.
struct Still;

impl engine::Clock for Still {
    fn micros(&self) -> u64 {
        0
    }
}

/// A decision to be made again.
struct Task {
    at: usize,
    stored: StoredDecision,
    asked: AskedFor,
    /// What was known of the person, of whom alone.
    person: Option<UserStates>,
}

impl Task {
    fn user(&self) -> Option<UserId> {
        let sent = match &self.asked {
            AskedFor::Recommend(request) => &request.user_id,
            AskedFor::Rank(request) => &request.user_id,
        };
        sent.as_deref().and_then(|sent| UserId::new(sent).ok())
    }
}

/// A run of snapshots from one bundle, as far as the tasks need it.
struct Segment {
    entries: Vec<Entry>,
    config: Config,
    bundle: Option<u64>,
    code: String,
    tasks: Vec<Task>,
}

/// What came out of a decision that was made again.
pub(crate) struct Again<T> {
    pub(crate) stored: StoredDecision,
    pub(crate) made: T,
    code: String,
}

/// What is made of a decision, once everything that it rests on is there.
type Make<'a, T> = &'a dyn Fn(&StoredDecision, &Snapshot, &Plan<'_>) -> T;

/// Takes what was made of each decision, with its place.
type Visit<'a, T> = &'a mut dyn FnMut(usize, Result<Again<T>, ServiceError>);

type Replayed = Again<Decision>;

/// The decision itself.
fn decided(exactly: bool) -> impl Fn(&StoredDecision, &Snapshot, &Plan<'_>) -> Decision {
    move |stored, snapshot, plan| {
        let clock: &dyn engine::Clock = if exactly {
            &Recorded::of(&stored.timings_us)
        } else {
            &Still
        };
        let made = engine::decide(&plan.pipeline, &*snapshot.catalogue, &plan.request, clock).decision;
        Decision {
            page: stored.decision.page.clone(),
            ..made
        }
    }
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
    /// Makes a past decision again, exactly or otherwise, and compares.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] if there is no such decision, [`ServiceError::Gone`] names the input that is not kept any more,
    /// [`ServiceError::Input`] a configuration that cannot be.
    pub fn replay(&self, decision_id: &str, request: &ReplayRequest) -> Result<ReplayReport, ServiceError> {
        let not_found = || ServiceError::NotFound {
            what: "decision",
            id: decision_id.to_owned(),
        };
        let id = DecisionId::new(decision_id).map_err(|_| not_found())?;
        let stored = self.stored(&id)?.ok_or_else(not_found)?;
        let mut outcome = None;
        let make = decided(request.is_exact());
        self.replay_all(vec![stored], request, &make, &mut |_, again| {
            outcome = Some(again)
        })?;
        let replayed = outcome.ok_or_else(not_found)??;
        Ok(report(replayed, request))
    }

    pub(crate) fn stored(&self, id: &DecisionId) -> Result<Option<StoredDecision>, ServiceError> {
        let kept = self.decisions.get(id);
        kept.map_err(|e| ServiceError::io("reading", &self.dir.join("decisions"), e))
    }

    /// Makes up to `n` of the decisions kept again, picked by `seed`, and counts how many come out the same. `progress` is told how many are done.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn replay_sample(
        &self,
        n: usize,
        seed: u64,
        progress: &dyn Fn(usize),
    ) -> Result<SampleReport, ServiceError> {
        let start = self.clock.micros();
        let mut ids = self.decisions.ids();
        let mut report = SampleReport {
            kept: ids.len() as u64,
            ..SampleReport::default()
        };
        ids.sort_by_cached_key(|id| {
            let hash = numeric::hash_bytes(id.as_str().as_bytes());
            (numeric::mix(hash ^ numeric::mix(seed)), id.clone())
        });
        ids.truncate(n);
        let mut stored = Vec::with_capacity(ids.len());
        for id in &ids {
            stored.extend(self.stored(id)?);
        }
        let names: Vec<DecisionId> = stored.iter().map(|s| s.decision.decision_id.clone()).collect();
        let (mut done, mut steps) = (0, HashSet::new());
        self.replay_all(
            stored,
            &ReplayRequest::default(),
            &decided(true),
            &mut |at, replayed| {
                done += 1;
                progress(done);
                let unlike = |reason: String| Unlike {
                    decision_id: names[at].to_string(),
                    reason,
                };
                match replayed {
                    Ok(replayed) => {
                        report.replayed += 1;
                        steps.insert(replayed.made.snapshot.step);
                        if is_same(&replayed) {
                            report.identical += 1;
                        } else if report.different.len() < 20 {
                            let told = differences(&replayed).into_iter().next();
                            let told = told.map_or_else(String::new, |d| {
                                format!("{}: {} became {}", d.at, d.recorded, d.replayed)
                            });
                            report.different.push(unlike(told));
                        }
                    }
                    Err(error) => {
                        let what = match &error {
                            ServiceError::Gone { what, .. } => (*what).to_owned(),
                            other => other.to_string(),
                        };
                        *report.gone.entry(what).or_default() += 1;
                        if report.gone_examples.len() < 20 {
                            report.gone_examples.push(unlike(error.to_string()));
                        }
                    }
                }
            },
        )?;
        report.snapshots = steps.len() as u64;
        report.seconds = self.clock.micros().saturating_sub(start) as f64 / 1e6;
        Ok(report)
    }

    /// Makes decisions again and hands each to `visit` with its place, in no particular order. An input that is gone is told of each decision that needs it.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(crate) fn replay_all<T>(
        &self,
        decisions: Vec<StoredDecision>,
        request: &ReplayRequest,
        make: Make<'_, T>,
        visit: Visit<'_, T>,
    ) -> Result<(), ServiceError> {
        let mut segments: BTreeMap<u64, Result<Segment, ServiceError>> = BTreeMap::new();
        for (at, stored) in decisions.into_iter().enumerate() {
            let asked = stored
                .request
                .clone()
                .and_then(|asked| serde_json::from_value(asked).ok());
            let Some(asked) = asked else {
                let detail = "its record is of a version that did not keep what was asked";
                visit(at, Err(ServiceError::gone("request", detail)));
                continue;
            };
            let number = segment_of(stored.decision.snapshot.step);
            let bundle = stored.decision.snapshot.models;
            let segment = segments
                .entry(number)
                .or_insert_with(|| self.segment(number, bundle));
            match segment {
                Ok(segment) => segment.tasks.push(Task {
                    at,
                    stored,
                    asked,
                    person: None,
                }),
                Err(error) => visit(at, Err(error.clone())),
            }
        }
        let mut segments: Vec<Segment> = segments.into_values().filter_map(Result::ok).collect();
        self.find_persons(&mut segments)?;
        for segment in segments {
            self.replay_segment(segment, request, make, visit)?;
        }
        Ok(())
    }

    /// What is kept of a segment.
    fn segment(&self, number: u64, models: u64) -> Result<Segment, ServiceError> {
        let bundle_gone = |bundle: u64| {
            let path = bundle::path(&models_dir(&self.dir), bundle);
            let detail = format!(
                "models {bundle} are not kept any more; training.keep and training.keep_mb say how many are"
            );
            (!path.exists()).then(|| ServiceError::gone("bundle", detail))
        };
        if number == 0 {
            let detail = "its record is of a version that did not keep how snapshots came about";
            return Err(ServiceError::gone("lineage", detail));
        }
        if let Some(gone) = Some(models).filter(|bundle| *bundle > 0).and_then(bundle_gone) {
            return Err(gone);
        }
        let entries = self.lineage.read(number)?.unwrap_or_default();
        let Some(Entry {
            did: Step::Open { bundle, config, code },
            ..
        }) = entries.first()
        else {
            let detail = format!("segment {number} of the lineage of snapshots is not kept any more");
            return Err(ServiceError::gone("lineage", detail));
        };
        let (bundle, code) = (*bundle, code.clone());
        let path = self.dir.join(CONFIGURATIONS_DIR).join(format!("{config}.toml"));
        let text = std::fs::read_to_string(&path)
            .map_err(|e| ServiceError::gone("configuration", format!("{}: {e}", path.display())))?;
        let config = Config::parse(&text, &path).map_err(|e| {
            let detail = format!(
                "this version, {}, cannot read that of {code}: {e}",
                env!("CARGO_PKG_VERSION")
            );
            ServiceError::gone("configuration", detail)
        })?;
        Ok(Segment {
            entries,
            config,
            bundle,
            code,
            tasks: Vec::new(),
        })
    }

    /// Folds the log once and keeps, for each task, what was known of its person.
    fn find_persons(&self, segments: &mut [Segment]) -> Result<(), ServiceError> {
        let mut waiting: Vec<(Sequence, usize, &mut Task)> = segments
            .iter_mut()
            .flat_map(|segment| {
                let max = segment.config.history_events_max;
                segment
                    .tasks
                    .iter_mut()
                    .map(move |task| (task.stored.decision.sequence, max, task))
            })
            .filter(|(_, _, task)| task.user().is_some())
            .collect();
        waiting.sort_by_key(|(sequence, ..)| *sequence);
        let users: HashSet<UserId> = waiting.iter().filter_map(|(_, _, task)| task.user()).collect();
        let mut states: HashMap<usize, UserStates> = waiting
            .iter()
            .map(|(_, max, _)| (*max, UserStates::new(*max)))
            .collect();
        let last = waiting.last().map_or(Sequence::ZERO, |(sequence, ..)| *sequence);
        let mut waiting = waiting.into_iter().peekable();
        let mut keep = |states: &HashMap<usize, UserStates>, before: Sequence| {
            while let Some((_, max, task)) = waiting.next_if(|(sequence, ..)| *sequence < before) {
                let user = task.user();
                task.person = user.and_then(|user| Some(states.get(&max)?.only(&user)));
            }
        };
        for batch in self.stores.log.scan(Sequence(1), last)? {
            for stored in batch? {
                keep(&states, stored.sequence);
                if users.contains(&stored.event.user_id)
                    && let Some(item) = self.live.positions.get(stored.event.item_id.as_str())
                {
                    for states in states.values_mut() {
                        states.apply(stored.sequence, &stored.event, item);
                    }
                }
            }
        }
        keep(&states, Sequence(u64::MAX));
        Ok(())
    }

    /// Walks a segment step by step and decides where there is something to decide.
    fn replay_segment<T>(
        &self,
        segment: Segment,
        request: &ReplayRequest,
        make: Make<'_, T>,
        visit: Visit<'_, T>,
    ) -> Result<(), ServiceError> {
        let Segment {
            entries,
            config,
            bundle,
            code,
            tasks,
        } = segment;
        let mut by_step: BTreeMap<u64, Vec<Task>> = BTreeMap::new();
        for task in tasks {
            by_step
                .entry(task.stored.decision.snapshot.step)
                .or_default()
                .push(task);
        }
        if request.today {
            let today = self.snapshot.load_full();
            for task in by_step.into_values().flatten() {
                let at = task.at;
                visit(
                    at,
                    self.make_again(task, &today, &self.config, request, &code, make),
                );
            }
            return Ok(());
        }
        let last = by_step.keys().next_back().copied().unwrap_or(0);
        let needed: Vec<&Entry> = entries.iter().take_while(|entry| entry.step <= last).collect();
        let mut walk = match Walk::begin(self, &needed, &config, bundle) {
            Ok(walk) => walk,
            Err(gone @ (ServiceError::Gone { .. } | ServiceError::Input(_))) => {
                for task in by_step.into_values().flatten() {
                    visit(task.at, Err(gone.clone()));
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut failed = None;
        for entry in needed {
            if failed.is_none() {
                failed = walk.go(self, entry).err();
            }
            let Some(tasks) = by_step.remove(&entry.step) else {
                continue;
            };
            let snapshot = match &failed {
                None => walk.snapshot(self, entry, &config, bundle),
                Some(error) => Err(error.clone()),
            };
            for task in tasks {
                let at = task.at;
                let decided = snapshot.as_ref().map_err(Clone::clone);
                visit(
                    at,
                    decided
                        .and_then(|snapshot| self.make_again(task, snapshot, &config, request, &code, make)),
                );
            }
        }
        for task in by_step.into_values().flatten() {
            let step = task.stored.decision.snapshot.step;
            let detail =
                format!("step {step} of the lineage of snapshots was lost with the machine that wrote it");
            visit(task.at, Err(ServiceError::gone("lineage", detail)));
        }
        Ok(())
    }

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

    fn make_again<T>(
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

    /// For each of these decisions, the probability with which another configuration would have put each item of the recorded slate where it stood, given those before it; or the input that is gone.
    /// In the order given.
    ///
    /// # Errors
    /// A store that cannot be read, a configuration that cannot be.
    pub(crate) fn conditionals_under(
        &self,
        decisions: Vec<StoredDecision>,
        request: &ReplayRequest,
    ) -> Result<Vec<Result<Vec<f64>, &'static str>>, ServiceError> {
        let mut told = vec![Err("policy"); decisions.len()];
        let mut refused = None;
        let make = |stored: &StoredDecision, snapshot: &Snapshot, plan: &Plan<'_>| {
            let position = |shown: &domain::Shown| self.live.positions.get(shown.item_id.as_str());
            let slate: Option<Vec<u32>> = stored.decision.shown.iter().map(position).collect();
            engine::conditionals(
                &plan.pipeline,
                &*snapshot.catalogue,
                &plan.request,
                &slate?,
                &Still,
            )
        };
        self.replay_all(decisions, request, &make, &mut |at, again| match again {
            Ok(Again {
                made: Some(chances), ..
            }) => told[at] = Ok(chances),
            Ok(_) => {}
            Err(ServiceError::Gone { what, .. }) => told[at] = Err(what),
            Err(error) => refused = Some(error),
        })?;
        refused.map_or(Ok(told), Err)
    }
}

/// A snapshot that is being led from step to step.
struct Walk<'a> {
    models: Option<Models>,
    past: PastCatalogue,
    log: Option<FromLog<'a>>,
    /// Revision at which the changes of the catalogue begin that models are told of.
    from: u64,
    /// Prices of exposure.
    prices: Arc<Prices>,
    /// What is popular in segments, and the event up to which that is counted.
    segments: (Segments, Sequence),
}

impl<'a> Walk<'a> {
    fn begin(
        service: &'a Service,
        entries: &[&Entry],
        config: &'a Config,
        bundle: Option<u64>,
    ) -> Result<Walk<'a>, ServiceError> {
        let first = entries.first().map_or(0, |entry| entry.catalogue);
        // After a bundle is bound, it may be told of changes that are older than the first snapshot.
        let from = match entries.get(1).map(|entry| &entry.did) {
            Some(Step::Items { from }) => first.min(*from),
            _ => first,
        };
        let past = PastCatalogue::at(&*service.stores.catalogue, from).map_err(|error| match error {
            ServiceError::Store(domain::StoreError::Input { expected, .. }) => ServiceError::gone(
                "catalogue",
                format!("changes back to revision {from} are not kept; kept are those from {expected}"),
            ),
            other => other,
        })?;
        let models = match bundle {
            None => None,
            Some(number) => {
                let path = bundle::path(&models_dir(&service.dir), number);
                let (info, loaded) = bundle::read(&path)
                    .map_err(|e| ServiceError::gone("bundle", format!("{}: {e}", path.display())))?;
                bind(loaded, &service.live, info.staleness())
            }
        };
        let ranges = entries.iter().filter_map(|entry| match entry.did {
            Step::Absorb { first, last, .. } => Some((first, last)),
            _ => None,
        });
        let ranges: Vec<(u64, u64)> = ranges.collect();
        let log = match (ranges.iter().map(|r| r.0).min(), ranges.iter().map(|r| r.1).max()) {
            (Some(first), Some(last)) => Some(FromLog::new(
                &*service.stores.log,
                &service.live.positions,
                &config.event_types,
                config.history_events_max,
                (Sequence(first), Sequence(last)),
                None,
            )?),
            _ => None,
        };
        Ok(Walk {
            models,
            past,
            log,
            from,
            prices: Arc::default(),
            segments: (Segments::new(config), Sequence::ZERO),
        })
    }

    /// Does again what a step did.
    fn go(&mut self, service: &Service, entry: &Entry) -> Result<(), ServiceError> {
        let positions = &service.live.positions;
        if let Some(prices) = &entry.prices {
            self.prices = Arc::new(prices.clone());
        }
        let is_open = matches!(entry.did, Step::Open { .. });
        // The first step may be followed by one that tells the models what happened before it.
        let told = if is_open && self.from < entry.catalogue {
            Vec::new()
        } else {
            self.past.advance(entry.catalogue, positions)
        };
        match entry.did {
            Step::Items { .. } => {
                self.models = self
                    .models
                    .as_ref()
                    .map(|models| described(models, positions, &told));
            }
            Step::Absorb { first, last, count } => {
                let Some(log) = &mut self.log else {
                    return Ok(());
                };
                let found = log.range(Sequence(first), Sequence(last))?;
                if found.len() as u64 != count {
                    let detail = format!(
                        "the models had taken in {count} events from {first} to {last}, the log has {} of them; the others were erased",
                        found.len()
                    );
                    return Err(ServiceError::gone("events", detail));
                }
                self.models = self
                    .models
                    .as_ref()
                    .map(|models| updated(models, positions, &found));
            }
            Step::Erase => {
                let detail = "somebody was taken out of the models, and what they did is not kept".to_owned();
                return Err(ServiceError::gone("events", detail));
            }
            Step::Open { .. } | Step::See => {}
        }
        Ok(())
    }

    fn snapshot(
        &mut self,
        service: &Service,
        entry: &Entry,
        config: &Config,
        bundle: Option<u64>,
    ) -> Result<Snapshot, ServiceError> {
        let positions = &service.live.positions;
        self.past.advance(entry.catalogue, positions);
        let catalogue = self
            .past
            .view(positions, usize::try_from(entry.items).unwrap_or(usize::MAX));
        if (catalogue.len() as u64, catalogue.digest) != (entry.items, entry.digest) {
            let detail = format!(
                "the positions of the first {} items are not those of then",
                entry.items
            );
            return Err(ServiceError::gone("positions", detail));
        }
        let absorbed = Sequence(entry.absorbed);
        let (segments, counted) = &mut self.segments;
        service.count_segments(segments, config, (*counted, absorbed))?;
        *counted = absorbed.max(*counted);
        if entry.segments.is_some_and(|digest| digest != segments.digest()) {
            let detail = "what was popular in segments cannot be counted as then: events were erased, or attributes of people have changed since";
            return Err(ServiceError::gone("segments", detail));
        }
        let segments = segments.clone();
        let models = self.models.clone();
        let learned = Learned {
            counts: Arc::new(service.counts_up_to(absorbed, config)?),
            users: Arc::new(service.stores.catalogue.schema(domain::EntityKind::User)?),
            prices: self.prices.clone(),
            segments,
            ..Learned::default()
        };
        Ok(Snapshot::new(
            config,
            Arc::new(catalogue),
            models,
            bundle.unwrap_or(0),
            absorbed,
            entry.step,
            &Beliefs::default(),
            learned,
        ))
    }
}

/// Whether a decision came out as recorded. What the record went through on its way to the disk, the other goes through too.
fn is_same(replayed: &Replayed) -> bool {
    replayed.made == replayed.stored.decision || {
        let again = serde_json::to_vec(&replayed.made).ok();
        let again = again.and_then(|json| serde_json::from_slice::<Decision>(&json).ok());
        again.as_ref() == Some(&replayed.stored.decision)
    }
}

fn differences(replayed: &Replayed) -> Vec<Difference> {
    let value = |decision: &Decision| serde_json::to_value(decision).unwrap_or_default();
    let mut found = Vec::new();
    compare(
        "",
        &value(&replayed.stored.decision),
        &value(&replayed.made),
        &mut found,
    );
    found
}

fn compare(at: &str, recorded: &Value, replayed: &Value, found: &mut Vec<Difference>) {
    if recorded == replayed || found.len() >= DIFFERENCES_MAX {
        return;
    }
    match (recorded, replayed) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                compare(&format!("{at}/{key}"), &of(a), &of(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for place in 0..a.len().max(b.len()) {
                let of = |list: &[Value]| list.get(place).cloned().unwrap_or_default();
                compare(&format!("{at}/{place}"), &of(a), &of(b), found);
            }
        }
        _ => found.push(Difference {
            at: at.to_owned(),
            recorded: recorded.clone(),
            replayed: replayed.clone(),
        }),
    }
}

fn report(replayed: Replayed, request: &ReplayRequest) -> ReplayReport {
    let (a, b) = (&replayed.stored.decision, &replayed.made);
    let identical = is_same(&replayed);
    let all: [(&'static str, bool); 6] = [
        (
            "person",
            (&a.history, a.sequence, &a.attributes) == (&b.history, b.sequence, &b.attributes),
        ),
        ("stages", (&a.stages, &a.degraded) == (&b.stages, &b.degraded)),
        (
            "candidates",
            (&a.considered, a.considered_cut) == (&b.considered, b.considered_cut),
        ),
        (
            "removals",
            (&a.removals, a.removals_cut) == (&b.removals, b.removals_cut),
        ),
        ("choice", (&a.policy, a.seed) == (&b.policy, b.seed)),
        ("slate", a.shown == b.shown),
    ];
    let rest = identical || all.iter().any(|(_, same)| !same);
    let parts = all.into_iter().chain([("rest", rest)]);
    let parts = parts.map(|(part, same)| Part {
        part,
        same: same || identical,
    });
    let what_if = (!request.is_exact()).then(|| what_if(a, b));
    ReplayReport {
        decision_id: a.decision_id.to_string(),
        identical,
        parts: parts.collect(),
        differences: if identical || what_if.is_some() {
            Vec::new()
        } else {
            differences(&replayed)
        },
        code_then: replayed.code.clone(),
        code_now: env!("CARGO_PKG_VERSION").to_owned(),
        what_if,
        decision: replayed.made,
    }
}

fn what_if(before: &Decision, after: &Decision) -> WhatIfReport {
    let find =
        |list: &Decision, id: &domain::ItemId| list.shown.iter().find(|shown| shown.item_id == *id).cloned();
    let left = before
        .shown
        .iter()
        .filter(|shown| find(after, &shown.item_id).is_none());
    let ids = after.shown.iter().chain(left).map(|shown| &shown.item_id);
    let slate: Vec<SlateChange> = ids
        .map(|id| {
            let (before, after) = (find(before, id), find(after, id));
            SlateChange {
                item_id: id.to_string(),
                rank_before: before.as_ref().map(|shown| shown.rank),
                rank_after: after.as_ref().map(|shown| shown.rank),
                score_before: before.as_ref().map(|shown| shown.score),
                score_after: after.as_ref().map(|shown| shown.score),
                propensity_before: before.as_ref().map(|shown| shown.propensity),
                propensity_after: after.as_ref().map(|shown| shown.propensity),
            }
        })
        .collect();
    let count = |of: &dyn Fn(&SlateChange) -> bool| slate.iter().filter(|change| of(change)).count() as u32;
    WhatIfReport {
        entered: count(&|change| change.rank_before.is_none()),
        left: count(&|change| change.rank_after.is_none()),
        moved: count(&|change| {
            change.rank_before.is_some()
                && change.rank_after.is_some()
                && change.rank_before != change.rank_after
        }),
        slate,
    }
}
