//! Decisions made again, exactly, or as they would have been.
//!
//! A decision is a function of its snapshot, the request, what was known of the person, and its seed. The record names all of them: the snapshot by the step of its
//! lineage, the person's state by a sequence number. Here they are made again from what is kept: the bundle of models, the events and changes of the catalogue
//! that the models took in since, step by step, the configuration of then. Stages that were skipped for want of time are skipped again, since the clock
//! tells the recorded times.
//!
//! Cost: one pass over the log up to the decision, one more if the models took in events, and as much work as taking them in was. Many decisions
//! share the passes.

mod again;
mod report;
mod walk;

pub use report::{
    Difference, Part, ReplayReport, ReplayRequest, SampleReport, SlateChange, Unlike, WhatIfReport,
};

use crate::lineage::{Entry, Step, segment_of};
use crate::serve::{AskedFor, Plan};
use crate::service::{CONFIGURATIONS_DIR, models_dir};
use crate::snapshot::Snapshot;
use crate::{Config, Service, ServiceError, bundle};
use again::Past;
use domain::{Decision, DecisionId, Sequence, UserId};
use engine::SlateChances;
use feedback::StoredDecision;
use report::{differences, is_same, report};
use signals::UserStates;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use walk::Walk;

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

/// What is wanted of decisions made under one configuration.
struct Wanted<'a, T> {
    config: &'a Config,
    request: &'a ReplayRequest,
    /// Version of the program that decided.
    code: &'a str,
    make: Make<'a, T>,
}

/// Takes what was made of each decision, with its place.
type Visit<'a, T> = &'a mut dyn FnMut(usize, Result<Again<T>, ServiceError>);

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
        let mut past = Past {
            learners: self.bandits.past(),
            actions: Arc::default(),
            counts: None,
        };
        for segment in segments {
            // Each has a configuration of its own.
            past.actions = Arc::default();
            past.counts = None;
            self.replay_segment(segment, request, &mut past, make, visit)?;
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
        past: &mut Past<'_>,
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
        let wanted = Wanted {
            config: &config,
            request,
            code: &code,
            make,
        };
        let mut by_step: BTreeMap<u64, Vec<Task>> = BTreeMap::new();
        for task in tasks {
            by_step
                .entry(task.stored.decision.snapshot.step)
                .or_default()
                .push(task);
        }
        if request.today {
            let today = self.snapshot.load_full();
            let wanted = Wanted {
                config: &self.config,
                ..wanted
            };
            for task in by_step.into_values().flatten() {
                let at = task.at;
                visit(at, self.make_again(task, &today, &wanted, past));
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
                    decided.and_then(|snapshot| self.make_again(task, snapshot, &wanted, past)),
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

    /// For each of these decisions, the probabilities with which another configuration would have put the items of the recorded slate where they stood; or the input that is gone.
    /// In the order given.
    ///
    /// # Errors
    /// A store that cannot be read, a configuration that cannot be.
    pub(crate) fn chances_under(
        &self,
        decisions: Vec<StoredDecision>,
        request: &ReplayRequest,
    ) -> Result<Vec<Result<SlateChances, &'static str>>, ServiceError> {
        let mut told = vec![Err("policy"); decisions.len()];
        let mut refused = None;
        let make = |stored: &StoredDecision, snapshot: &Snapshot, plan: &Plan<'_>| {
            let position = |shown: &domain::Shown| self.live.positions.get(shown.item_id.as_str());
            let slate: Option<Vec<u32>> = stored.decision.shown.iter().map(position).collect();
            engine::slate_chances(
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
