//! One decision from start to end.

use crate::eligibility::Eligibility;
use crate::guard::guarded;
use crate::ladder::fill;
use crate::select::{Chosen, Ordered, choose, order, rank, sort_best_first};
use crate::sources::retrieve;
use crate::steer::Steered;
use crate::{CatalogueView, Clock, DecideRequest, Decided, Pipeline, Reasoner};
use domain::{
    Candidate, Contribution, ContributionSource, Decision, DecisionItem, Degradation, Evidence, Explanation,
    FeatureRecord, Limit, Query, Ranker, Removal, Shown, StageError, StageReport,
};
use std::borrow::Cow;
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

    let mut steered = Steered::new(request);
    let wanted = steered.wanted(&mut trace);
    let candidates = retrieve(pipeline, query, &eligibility, &wanted, &mut trace);
    let mut ranked = rank(pipeline, query, candidates, catalogue, &mut trace);
    if steered.adjust(&mut ranked.candidates, &mut trace) {
        sort_best_first(&mut ranked.candidates, catalogue);
    }
    let below = cut_below(request.relevance_min, &mut ranked.candidates);
    let (considered, considered_cut) = considered(&ranked.candidates, catalogue, pipeline.caps.considered);
    let Ordered {
        list: mut ordered,
        mut held_back,
        limits,
        mut constraints,
        handed,
    } = order(pipeline, query, ranked.candidates, &mut trace);
    let placed = steered.pinned(&mut ordered, &mut held_back, query.n, catalogue);
    let taken: Vec<u32> = placed.values().map(|candidate| candidate.item).collect();
    let quotas = match &request.steering {
        Some(_) => {
            // Those at fixed places count too; they are put behind the others for a moment.
            let open = ordered.len();
            ordered.extend(placed.values().cloned());
            let limits = steered.limits(&ordered, query.n, &mut trace);
            ordered.truncate(open);
            limits
        }
        None => Vec::new(),
    };
    let n_quotas = quotas.len();
    let limits: Vec<Limit> = quotas.into_iter().chain(limits).collect();
    let order_of: Vec<u32> = ordered.iter().map(|candidate| candidate.item).collect();
    let n = query.n - taken.len();
    let open = match taken.is_empty() {
        true => Cow::Borrowed(query),
        false => Cow::Owned(Query { n, ..query.clone() }),
    };
    let Chosen {
        mut slate,
        mut marginals,
        relaxed,
        by: policy,
    } = choose(
        pipeline,
        &open,
        ordered,
        (&handed, &order_of),
        &limits,
        &taken,
        &mut trace,
    );
    for constraint in &mut constraints {
        constraint.kept &= !relaxed.contains(&constraint.name);
    }
    let by_ranker: HashSet<u32> = slate
        .iter()
        .map(|(c, _)| c.item)
        .chain(taken.iter().copied())
        .collect();
    let chosen: Vec<u32> = slate.iter().map(|(c, _)| c.item).collect();
    steered.passed_over(&order_of, &chosen, &limits[..n_quotas], catalogue);
    if slate.len() < n && request.relevance_min.is_none() {
        fill(
            pipeline,
            n,
            query,
            catalogue,
            &eligibility,
            held_back,
            &steered,
            &taken,
            &mut slate,
            &mut trace,
        );
    }
    for (slot, candidate) in placed {
        if !marginals.is_empty() && slot <= marginals.len() {
            marginals.insert(slot, 1.0);
        }
        let slot = slot.min(slate.len());
        slate.insert(slot, (candidate, 1.0));
    }
    let by = ranked.by;
    let show_of = Showing {
        request,
        by_ranker: &by_ranker,
        order: &order_of,
        steered: &steered,
        ranker: by,
    };
    let mut shown = show(pipeline, catalogue, &slate, &show_of, &mut trace);
    for (shown, marginal) in shown.iter_mut().zip(marginals) {
        shown.position_propensity = Some(marginal);
    }
    let rules = steered.record(catalogue, pipeline.caps.removals);

    let is_ranked = |(candidate, _): &&(Candidate, f64)| by_ranker.contains(&candidate.item);
    let n_ranked = slate.iter().take_while(is_ranked).count();
    let features = features(query, &slate[..n_ranked], by, &mut trace);

    let (rule_reports, mut removals, mut removals_cut) = eligibility.report(catalogue);
    let rank_name = by.map_or("rank", Ranker::name);
    let room = pipeline.caps.removals - removals.len().min(pipeline.caps.removals);
    // An item without a score may have come back by the ladder; then it was not removed.
    let on_slate: HashSet<u32> = slate.iter().map(|(candidate, _)| candidate.item).collect();
    let unscorable = ranked.unscorable.into_iter();
    let unscorable = unscorable.map(|(item, reason)| (item, rank_name, format!("unscorable: {reason}")));
    let below = below
        .into_iter()
        .map(|item| (item, "relevance", "below_relevance".to_owned()));
    let gone = unscorable
        .chain(below)
        .filter(|(item, ..)| !on_slate.contains(item));
    let gone: Vec<_> = gone.collect();
    removals_cut += gone.len().saturating_sub(room) as u32;
    removals.extend(gone.into_iter().take(room).map(|(item, rule, reason)| Removal {
        item_id: catalogue.item_id(item).clone(),
        rule: rule.to_owned(),
        reason,
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
            rules,
            constraints,
            page: None,
            shown,
            features,
            degraded: trace.degraded,
            arms: request.arms.clone(),
        },
        timings_us: trace.timings_us,
    }
}

/// How probable a pipeline would have made a slate, by position.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SlateChances {
    /// Probability of each item to stand there, given those before it.
    pub conditionals: Vec<f64>,
    /// The same, whatever stands elsewhere; `None` where there is no closed form.
    pub marginals: Option<Vec<f64>>,
}

/// The probabilities with which a pipeline would put the items of a slate where they stand: candidates, scores and order are
/// made anew, then the policy is asked. `None` if it cannot tell, as where items are pinned or bounds are kept by the choice.
pub fn slate_chances(
    pipeline: &Pipeline,
    catalogue: &dyn CatalogueView,
    request: &DecideRequest,
    slate: &[u32],
    clock: &dyn Clock,
) -> Option<SlateChances> {
    let query = &request.query;
    let mut trace = Trace::new(clock, pipeline.deadline_us);
    let rules = pipeline.rules.iter().chain(&request.rules).collect();
    let eligibility = Eligibility::new(query, rules, catalogue.n_items(), pipeline.caps.removals);
    let mut steered = Steered::new(request);
    if !steered.wanted(&mut trace).is_empty() {
        return None;
    }
    let candidates = retrieve(pipeline, query, &eligibility, &[], &mut trace);
    let mut ranked = rank(pipeline, query, candidates, catalogue, &mut trace);
    if steered.adjust(&mut ranked.candidates, &mut trace) {
        sort_best_first(&mut ranked.candidates, catalogue);
    }
    cut_below(request.relevance_min, &mut ranked.candidates);
    let ordered = order(pipeline, query, ranked.candidates, &mut trace);
    if !ordered.limits.is_empty() || !steered.limits(&ordered.list, query.n, &mut trace).is_empty() {
        return None;
    }
    let ordered = ordered.list;
    let policy = &pipeline.policy;
    let are_right = |chances: &Vec<f64>| {
        chances.len() == slate.len() && chances.iter().all(|chance| (0.0..=1.0).contains(chance))
    };
    let told = guarded(|| {
        let conditionals = policy.conditionals(query, &ordered, slate);
        Ok(conditionals.map(|conditionals| SlateChances {
            conditionals,
            marginals: policy.marginals(query, &ordered, slate).filter(are_right),
        }))
    });
    told.ok().flatten().filter(|told| are_right(&told.conditionals))
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

/// Takes out candidates that score less than a share of the way from the weakest to the best. Those taken out.
fn cut_below(share: Option<f32>, ranked: &mut Vec<Candidate>) -> Vec<u32> {
    let (Some(share), Some(best), Some(weakest)) = (share, ranked.first(), ranked.last()) else {
        return Vec::new();
    };
    let floor = weakest.score + share * (best.score - weakest.score);
    let keep = ranked.partition_point(|candidate| candidate.score >= floor);
    ranked.drain(keep..).map(|candidate| candidate.item).collect()
}

/// What showing needs besides the slate.
struct Showing<'a> {
    request: &'a DecideRequest,
    /// Items whose score is the ranker's; what the ladder put in was scored by nobody, its score of 0 has no parts.
    by_ranker: &'a HashSet<u32>,
    /// Items in the order before the choice, those at fixed places left out.
    order: &'a [u32],
    steered: &'a Steered<'a>,
    ranker: Option<&'a dyn Ranker>,
}

/// Turns the slate into what is shown, with reasons, and with explanations if asked for.
fn show(
    pipeline: &Pipeline,
    catalogue: &dyn CatalogueView,
    slate: &[(Candidate, f64)],
    of: &Showing<'_>,
    trace: &mut Trace<'_>,
) -> Vec<Shown> {
    let request = of.request;
    let wanted = request.explain || pipeline.reasoner.is_some();
    let explains = wanted && !slate.is_empty() && !trace.late("explain");
    let reasons = match &pipeline.reasoner {
        Some(reasoner) if explains => reasons(&**reasoner, &request.query, slate, of, trace).into_iter(),
        _ => Vec::new().into_iter(),
    };
    let mut reasons = reasons.chain(std::iter::repeat(Vec::new()));
    let mut shown = Vec::with_capacity(slate.len());
    for (place, (candidate, propensity)) in slate.iter().enumerate() {
        let rank = place as u32 + 1;
        let explanation = (request.explain && explains)
            .then(|| explain(of, candidate, *propensity, rank, trace))
            .flatten();
        shown.push(Shown {
            item_id: catalogue.item_id(candidate.item).clone(),
            rank,
            score: candidate.score,
            propensity: *propensity,
            position_propensity: None,
            sources: candidate.hits.iter().map(|hit| hit.source.to_string()).collect(),
            reasons: reasons.next().unwrap_or_default(),
            explanation,
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
    of: &Showing<'_>,
    trace: &mut Trace<'_>,
) -> Vec<Vec<String>> {
    let is_ranked = |candidate: &Candidate| of.by_ranker.contains(&candidate.item);
    let ranked: Vec<&Candidate> = slate.iter().map(|(c, _)| c).filter(|c| is_ranked(c)).collect();
    let told = guarded(|| {
        let evidence = of
            .ranker
            .map_or_else(Vec::new, |ranker| ranker.evidence(query, &ranked));
        let values = evidence
            .iter()
            .flat_map(|one| one.history.iter().map(|(_, value)| value));
        if !values
            .chain(evidence.iter().map(|one| &one.rest))
            .all(|value| value.is_finite())
        {
            return Err(StageError::Failed(NOT_FINITE.to_owned()));
        }
        let mut evidence = evidence.into_iter();
        let both = slate.iter().map(|(candidate, _)| {
            let evidence = match is_ranked(candidate) {
                true => evidence.next().unwrap_or_default(),
                false => Evidence::default(),
            };
            reasoner.reasons(query, candidate, &evidence)
        });
        Ok(both.collect())
    });
    told.unwrap_or_else(|error| {
        trace.degrade("explain", &error.to_string());
        Vec::new()
    })
}

/// The parts of a score: those of the ranker, then what rules added; and a note where chance moved the item.
fn explain(
    of: &Showing<'_>,
    candidate: &Candidate,
    propensity: f64,
    rank: u32,
    trace: &mut Trace<'_>,
) -> Option<Explanation> {
    let Some(ranker) = of.ranker.filter(|_| of.by_ranker.contains(&candidate.item)) else {
        return Some(Explanation::default());
    };
    let mut explanation = match guarded(|| Ok(ranker.explain_candidate(&of.request.query, candidate))) {
        Ok(explanation) if explanation.contributions.iter().all(|c| c.value.is_finite()) => explanation,
        Ok(_) => {
            trace.degrade("explain", NOT_FINITE);
            return None;
        }
        Err(error) => {
            trace.degrade("explain", &error.to_string());
            return None;
        }
    };
    let part = |source: ContributionSource, model: &'static str, value: f32| Contribution {
        source,
        model: model.into(),
        value,
    };
    for (name, by) in of.steered.parts(candidate.item) {
        let name = name.to_owned();
        let source = ContributionSource::Rule { name };
        explanation.contributions.push(part(source, "rules", by));
    }
    let from = of.order.iter().position(|item| *item == candidate.item);
    if let Some(from) = from
        .map(|at| at as u32 + 1)
        .filter(|from| propensity < 1.0 && *from != rank)
    {
        let source = ContributionSource::Exploration { from };
        explanation.contributions.push(part(source, "choice", 0.0));
    }
    Some(explanation)
}
