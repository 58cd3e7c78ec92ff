//! One decision from start to end.

use crate::eligibility::Eligibility;
use crate::guard::guarded;
use crate::ladder::fill;
use crate::select::{Chosen, choose, order, rank};
use crate::sources::retrieve;
use crate::{CatalogueView, Clock, DecideRequest, Decided, Pipeline, Reasoner};
use domain::{
    Candidate, Decision, DecisionItem, Degradation, Evidence, Explanation, FeatureRecord, Query, Ranker,
    Removal, Shown, StageError, StageReport,
};
use std::collections::HashSet;

/// Notes of a running decision: reports, degradations, timings, and the deadline.
pub(crate) struct Trace<'a> {
    clock: &'a dyn Clock,
    start: u64,
    last: u64,
    deadline_us: u64,
    stages: Vec<StageReport>,
    degraded: Vec<Degradation>,
    timings_us: Vec<(String, u64)>,
}

impl<'a> Trace<'a> {
    fn new(clock: &'a dyn Clock, deadline_us: u64) -> Trace<'a> {
        let start = clock.micros();
        Trace {
            clock,
            start,
            last: start,
            deadline_us,
            stages: Vec::new(),
            degraded: Vec::new(),
            timings_us: Vec::new(),
        }
    }

    pub(crate) fn report(&mut self, stage: &str, input: u32, output: u32, error: Option<String>) {
        self.stages.push(StageReport {
            stage: stage.to_owned(),
            input,
            output,
            error,
        });
    }

    /// Notes what did not go as configured, once.
    pub(crate) fn degrade(&mut self, stage: &str, reason: &str) {
        let note = Degradation {
            stage: stage.to_owned(),
            reason: reason.to_owned(),
        };
        if !self.degraded.contains(&note) {
            self.degraded.push(note);
        }
    }

    /// Books the time since the last booking on a stage.
    pub(crate) fn timed(&mut self, stage: &str) {
        let now = self.clock.micros();
        self.timings_us
            .push((stage.to_owned(), now.saturating_sub(self.last)));
        self.last = now;
    }

    /// True, and noted as degraded, if the time budget is spent before this stage has begun.
    pub(crate) fn late(&mut self, stage: &str) -> bool {
        self.later_than(0, stage)
    }

    /// The same for a stage with a budget of its own; zero for none.
    pub(crate) fn later_than(&mut self, budget_us: u64, stage: &str) -> bool {
        let spent = self.last.saturating_sub(self.start);
        let out_of = |limit: u64| limit > 0 && spent >= limit;
        let late = out_of(self.deadline_us);
        if late {
            self.degrade(stage, "skipped: out of time");
        } else if out_of(budget_us) {
            self.degrade(stage, "skipped: the time for this stage is spent");
        }
        late || out_of(budget_us)
    }
}

/// Makes a slate of up to `request.query.n` items that every rule keeps, none twice. See the head
/// of the crate.
///
/// Rules are asked through the `allowed` of the sources, so that sources spend their budgets on
/// items that may be shown; each item is asked about once and every removal is counted under its
/// rule. If fewer than `n` come through, the ladder fills up with score 0 and propensity 1, the
/// pipeline's fallbacks first, then any eligible item by position; items that the reranker held
/// back come back only if the slate would be empty otherwise.
pub fn decide(
    pipeline: &Pipeline,
    catalogue: &dyn CatalogueView,
    request: &DecideRequest,
    clock: &dyn Clock,
) -> Decided {
    let query = &request.query;
    let mut trace = Trace::new(clock, pipeline.deadline_us);
    let rules = pipeline.rules.iter().chain(&request.rules).collect();
    let eligibility = Eligibility::new(query, rules, catalogue.n_items(), pipeline.caps.removals);

    let candidates = retrieve(pipeline, query, &eligibility, &mut trace);
    let ranked = rank(pipeline, query, candidates, catalogue, &mut trace);
    let (considered, considered_cut) = considered(&ranked.candidates, catalogue, pipeline.caps.considered);
    let (ordered, held_back) = order(pipeline, query, ranked.candidates, &mut trace);
    let Chosen {
        mut slate,
        marginals,
        by: policy,
    } = choose(pipeline, query, ordered, &mut trace);
    let n_ranked = slate.len();
    if slate.len() < query.n {
        fill(
            pipeline,
            query,
            catalogue,
            &eligibility,
            held_back,
            &mut slate,
            &mut trace,
        );
    }
    let by = ranked.by;
    let mut shown = show(pipeline, request, catalogue, &slate, n_ranked, by, &mut trace);
    for (shown, marginal) in shown.iter_mut().zip(marginals) {
        shown.position_propensity = Some(marginal);
    }

    let features = features(query, &slate[..n_ranked], by, &mut trace);

    let (rule_reports, mut removals, mut removals_cut) = eligibility.report(catalogue);
    let rank_name = by.map_or("rank", Ranker::name);
    let room = pipeline.caps.removals - removals.len().min(pipeline.caps.removals);
    // An item without a score may have come back by the ladder; then it was not removed.
    let on_slate: HashSet<u32> = slate.iter().map(|(candidate, _)| candidate.item).collect();
    let mut gone = ranked.unscorable;
    gone.retain(|(item, _)| !on_slate.contains(item));
    removals_cut += gone.len().saturating_sub(room) as u32;
    removals.extend(gone.into_iter().take(room).map(|(item, reason)| Removal {
        item_id: catalogue.item_id(item).clone(),
        rule: rank_name.to_owned(),
        reason: format!("unscorable: {reason}"),
    }));
    for report in rule_reports.iter().filter(|report| report.error.is_some()) {
        trace.degrade(&report.stage, report.error.as_deref().unwrap_or_default());
    }
    trace.stages.extend(rule_reports);
    let total = clock.micros().saturating_sub(trace.start);
    trace.timings_us.push(("total".to_owned(), total));
    let known = |item: &u32| *item < catalogue.n_items();
    let history = query.history.iter().filter(|event| known(&event.item));
    Decided {
        decision: Decision {
            decision_id: request.decision_id.clone(),
            now: query.now,
            placement: pipeline.placement.clone(),
            user_id: request.user_id.clone(),
            snapshot: request.snapshot,
            sequence: request.sequence,
            seed: query.seed,
            config_hash: request.config_hash.clone(),
            n: u32::try_from(query.n).unwrap_or(u32::MAX),
            attributes: query.user_attributes.clone(),
            context: query.context.clone(),
            item_id: query
                .anchor
                .filter(known)
                .map(|item| catalogue.item_id(item).clone()),
            history: history
                .map(|e| (catalogue.item_id(e.item).clone(), e.weight))
                .collect(),
            stages: trace.stages,
            considered,
            considered_cut,
            removals,
            removals_cut,
            policy: Some(policy),
            shown,
            features,
            degraded: trace.degraded,
            arms: request.arms.clone(),
        },
        timings_us: trace.timings_us,
    }
}

/// For each item of a slate, the probability with which a pipeline would put it there, given those before it: candidates, scores and order are
/// made anew, then the policy is asked. `None` if it cannot tell.
pub fn conditionals(
    pipeline: &Pipeline,
    catalogue: &dyn CatalogueView,
    request: &DecideRequest,
    slate: &[u32],
    clock: &dyn Clock,
) -> Option<Vec<f64>> {
    let query = &request.query;
    let mut trace = Trace::new(clock, pipeline.deadline_us);
    let rules = pipeline.rules.iter().chain(&request.rules).collect();
    let eligibility = Eligibility::new(query, rules, catalogue.n_items(), pipeline.caps.removals);
    let candidates = retrieve(pipeline, query, &eligibility, &mut trace);
    let ranked = rank(pipeline, query, candidates, catalogue, &mut trace);
    let (ordered, _) = order(pipeline, query, ranked.candidates, &mut trace);
    let told = guarded(|| Ok(pipeline.policy.conditionals(query, &ordered, slate)));
    let is_right = |chances: &Vec<f64>| {
        chances.len() == slate.len() && chances.iter().all(|chance| (0.0..=1.0).contains(chance))
    };
    told.ok().flatten().filter(is_right)
}

fn considered(ranked: &[Candidate], catalogue: &dyn CatalogueView, cap: usize) -> (Vec<DecisionItem>, u32) {
    let record = |candidate: &Candidate| DecisionItem {
        item_id: catalogue.item_id(candidate.item).clone(),
        score: candidate.score,
        sources: candidate.hits.clone(),
    };
    let cut = ranked.len().saturating_sub(cap) as u32;
    (ranked.iter().take(cap).map(record).collect(), cut)
}

/// Turns the slate into what is shown, with reasons, and with explanations if asked for.
fn show(
    pipeline: &Pipeline,
    request: &DecideRequest,
    catalogue: &dyn CatalogueView,
    slate: &[(Candidate, f64)],
    n_ranked: usize,
    ranker: Option<&dyn Ranker>,
    trace: &mut Trace<'_>,
) -> Vec<Shown> {
    let wanted = request.explain || pipeline.reasoner.is_some();
    let explains = wanted && !slate.is_empty() && !trace.late("explain");
    let reasons = match &pipeline.reasoner {
        Some(reasoner) if explains => {
            reasons(&**reasoner, &request.query, slate, n_ranked, ranker, trace).into_iter()
        }
        _ => Vec::new().into_iter(),
    };
    let mut reasons = reasons.chain(std::iter::repeat(Vec::new()));
    let mut shown = Vec::with_capacity(slate.len());
    for (place, (candidate, propensity)) in slate.iter().enumerate() {
        // What the ladder put in was scored by nobody; its score of 0 has no parts.
        let ranker = ranker.filter(|_| place < n_ranked);
        shown.push(Shown {
            item_id: catalogue.item_id(candidate.item).clone(),
            rank: place as u32 + 1,
            score: candidate.score,
            propensity: *propensity,
            position_propensity: None,
            sources: candidate.hits.iter().map(|hit| hit.source.to_string()).collect(),
            reasons: reasons.next().unwrap_or_default(),
            explanation: (request.explain && explains)
                .then(|| explain(&request.query, candidate, ranker, trace))
                .flatten(),
        });
    }
    if explains {
        trace.timed("explain");
    }
    shown
}

/// What the ranker knew of what it put on the slate. It costs the record if it fails, not the answer.
fn features(
    query: &Query,
    slate: &[(Candidate, f64)],
    ranker: Option<&dyn Ranker>,
    trace: &mut Trace<'_>,
) -> Option<FeatureRecord> {
    let ranker = ranker.filter(|_| !slate.is_empty())?;
    let ranked: Vec<&Candidate> = slate.iter().map(|(candidate, _)| candidate).collect();
    match guarded(|| Ok(ranker.features(query, &ranked))) {
        Ok(features) => features.filter(|features| features.rows.len() == slate.len()),
        Err(error) => {
            trace.degrade("features", &error.to_string());
            None
        }
    }
}

const NOT_FINITE: &str = "a part of an explanation is not finite";

/// Reasons for each item of the slate; fewer if something failed.
fn reasons(
    reasoner: &dyn Reasoner,
    query: &Query,
    slate: &[(Candidate, f64)],
    n_ranked: usize,
    ranker: Option<&dyn Ranker>,
    trace: &mut Trace<'_>,
) -> Vec<Vec<String>> {
    let ranked: Vec<&Candidate> = slate.iter().take(n_ranked).map(|(c, _)| c).collect();
    let told = guarded(|| {
        let mut evidence = ranker.map_or_else(Vec::new, |ranker| ranker.evidence(query, &ranked));
        let values = evidence
            .iter()
            .flat_map(|one| one.history.iter().map(|(_, value)| value));
        if !values
            .chain(evidence.iter().map(|one| &one.rest))
            .all(|value| value.is_finite())
        {
            return Err(StageError::Failed(NOT_FINITE.to_owned()));
        }
        evidence.resize(slate.len(), Evidence::default());
        let both = slate.iter().zip(&evidence);
        Ok(both
            .map(|((candidate, _), evidence)| reasoner.reasons(query, candidate, evidence))
            .collect())
    });
    told.unwrap_or_else(|error| {
        trace.degrade("explain", &error.to_string());
        Vec::new()
    })
}

fn explain(
    query: &Query,
    candidate: &Candidate,
    ranker: Option<&dyn Ranker>,
    trace: &mut Trace<'_>,
) -> Option<Explanation> {
    let Some(ranker) = ranker else {
        return Some(Explanation::default());
    };
    match guarded(|| Ok(ranker.explain_candidate(query, candidate))) {
        Ok(explanation) if explanation.contributions.iter().all(|c| c.value.is_finite()) => Some(explanation),
        Ok(_) => {
            trace.degrade("explain", NOT_FINITE);
            None
        }
        Err(error) => {
            trace.degrade("explain", &error.to_string());
            None
        }
    }
}
