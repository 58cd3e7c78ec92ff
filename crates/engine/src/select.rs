//! Ranking, ordering and choice, each held to its promises.

use crate::decide::Trace;
use crate::guard::guarded;
use crate::limits::{hold, in_order};
use crate::{CatalogueView, GreedyPolicy, Pipeline};
use domain::{
    Candidate, Choice, ConstraintRecord, Limit, Outcome, Policy, PolicyRecord, Query, Ranker, Reranked,
    SourceHit, StageError,
};
use std::cmp::Ordering;

/// Best first; equal scores by item id.
pub(crate) fn best_first(a: &Candidate, b: &Candidate, catalogue: &dyn CatalogueView) -> Ordering {
    b.score
        .total_cmp(&a.score)
        .then_with(|| catalogue.item_id(a.item).cmp(catalogue.item_id(b.item)))
}

/// What ranking gives.
pub(crate) struct Ranked<'a> {
    /// Scored, best first.
    pub(crate) candidates: Vec<Candidate>,
    /// Items without a score, and why.
    pub(crate) unscorable: Vec<(u32, String)>,
    /// Who scored them, if anybody did.
    pub(crate) by: Option<&'a dyn Ranker>,
}

fn outcomes(
    ranker: &dyn Ranker,
    query: &Query,
    candidates: &[Candidate],
) -> Result<Vec<Outcome>, StageError> {
    let outcomes = guarded(|| ranker.rank(query, candidates))?;
    if outcomes.len() != candidates.len() {
        let (got, expected) = (outcomes.len(), candidates.len());
        return Err(StageError::Failed(format!(
            "gave {got} outcomes for {expected} candidates"
        )));
    }
    Ok(outcomes)
}

/// Scores by the ranker, else by the fallback ranker, else everybody stays at 0 in the order of retrieval.
pub(crate) fn rank<'a>(
    pipeline: &'a Pipeline,
    query: &Query,
    mut candidates: Vec<Candidate>,
    catalogue: &dyn CatalogueView,
    trace: &mut Trace<'_>,
) -> Ranked<'a> {
    let input = candidates.len() as u32;
    let mut unscorable = Vec::new();
    let attempts = [
        (pipeline.ranker.as_ref(), true),
        (pipeline.fallback_ranker.as_ref(), false),
    ];
    for (ranker, main) in attempts {
        let stage = format!("rank/{}", ranker.name());
        if candidates.is_empty() || (main && trace.later_than(pipeline.budgets.rank_us, &stage)) {
            continue;
        }
        let answer = outcomes(ranker, query, &candidates);
        trace.timed(&stage);
        match answer {
            Ok(outcomes) => {
                let mut scored = Vec::with_capacity(candidates.len());
                for (mut candidate, outcome) in candidates.into_iter().zip(outcomes) {
                    match outcome {
                        Outcome::Score(score) if score.is_finite() => {
                            candidate.score = score;
                            scored.push(candidate);
                        }
                        Outcome::Score(score) => unscorable.push((candidate.item, format!("score {score}"))),
                        Outcome::Unscorable(reason) => unscorable.push((candidate.item, reason)),
                    }
                }
                scored.sort_by(|a, b| best_first(a, b, catalogue));
                trace.report(&stage, input, scored.len() as u32, None);
                return Ranked {
                    candidates: scored,
                    unscorable,
                    by: Some(ranker),
                };
            }
            Err(error) => {
                trace.degrade(&stage, &error.to_string());
                trace.report(&stage, input, 0, Some(error.to_string()));
            }
        }
    }
    for candidate in &mut candidates {
        candidate.score = 0.0;
    }
    Ranked {
        candidates,
        unscorable,
        by: None,
    }
}

/// What a stage was handed, so that its answer can be held against it without a copy of every candidate.
struct Handed {
    /// Item, score and number of hits, ascending by item.
    entries: Vec<(u32, f32, u32)>,
    /// Place of each entry in the order handed over, and where its hits begin.
    places: Vec<(u32, u32)>,
    hits: Vec<SourceHit>,
}

impl Handed {
    fn new(candidates: &[Candidate]) -> Handed {
        let mut order: Vec<u32> = (0..candidates.len() as u32).collect();
        order.sort_unstable_by_key(|at| candidates[*at as usize].item);
        let mut hits = Vec::with_capacity(2 * candidates.len());
        let (mut entries, mut places) = (Vec::with_capacity(order.len()), Vec::with_capacity(order.len()));
        for at in order {
            let candidate = &candidates[at as usize];
            places.push((at, hits.len() as u32));
            hits.extend_from_slice(&candidate.hits);
            entries.push((candidate.item, candidate.score, candidate.hits.len() as u32));
        }
        Handed {
            entries,
            places,
            hits,
        }
    }

    fn hits_of(&self, at: usize) -> &[SourceHit] {
        let start = self.places[at].1 as usize;
        &self.hits[start..start + self.entries[at].2 as usize]
    }

    /// Puts scores and sources back as they were, whatever the stage made of them. False if an item is missing, new or there twice.
    fn restore<'a>(&self, answered: impl Iterator<Item = &'a mut Candidate>) -> bool {
        let mut met = vec![false; self.entries.len()];
        let mut count = 0;
        for candidate in answered {
            let Ok(at) = self
                .entries
                .binary_search_by_key(&candidate.item, |entry| entry.0)
            else {
                return false;
            };
            if std::mem::replace(&mut met[at], true) {
                return false;
            }
            count += 1;
            candidate.score = self.entries[at].1;
            if candidate.hits != self.hits_of(at) {
                candidate.hits = self.hits_of(at).to_vec();
            }
        }
        count == self.entries.len()
    }

    /// All candidates in the order handed over.
    fn all(&self) -> Vec<Candidate> {
        let mut all = vec![Candidate::default(); self.entries.len()];
        for (at, ((item, score, _), (place, _))) in self.entries.iter().zip(&self.places).enumerate() {
            all[*place as usize] = Candidate {
                item: *item,
                score: *score,
                hits: self.hits_of(at).to_vec(),
            };
        }
        all
    }
}

/// What ordering gives.
#[derive(Default)]
pub(crate) struct Ordered {
    pub(crate) list: Vec<Candidate>,
    pub(crate) held_back: Vec<Candidate>,
    /// Bounds that the choice keeps.
    pub(crate) limits: Vec<Limit>,
    /// What became of the constraints.
    pub(crate) constraints: Vec<ConstraintRecord>,
}

/// Orders by the reranker, else leaves the ranker's order.
pub(crate) fn order(
    pipeline: &Pipeline,
    query: &Query,
    ranked: Vec<Candidate>,
    trace: &mut Trace<'_>,
) -> Ordered {
    let stage = format!("rerank/{}", pipeline.reranker.name());
    let as_ranked = |list: Vec<Candidate>| Ordered {
        list,
        ..Ordered::default()
    };
    if ranked.is_empty() || trace.late(&stage) {
        return as_ranked(ranked);
    }
    let input = ranked.len() as u32;
    let handed = Handed::new(&ranked);
    let answer = guarded(|| {
        let mut out = pipeline.reranker.rerank(query, ranked);
        if handed.restore(out.chosen.iter_mut().chain(&mut out.held_back)) {
            Ok(out)
        } else {
            Err(StageError::Failed(
                "chosen and held back are not what went in".to_owned(),
            ))
        }
    });
    trace.timed(&stage);
    match answer {
        Ok(Reranked {
            chosen,
            held_back,
            relaxed,
            limits,
            constraints,
        }) => {
            for constraint in relaxed {
                trace.degrade(&stage, &format!("relaxed {constraint}"));
            }
            trace.report(&stage, input, chosen.len() as u32, None);
            Ordered {
                list: chosen,
                held_back,
                limits,
                constraints,
            }
        }
        Err(error) => {
            trace.degrade(&stage, &error.to_string());
            trace.report(&stage, input, input, Some(error.to_string()));
            as_ranked(handed.all())
        }
    }
}

/// What choice gives.
pub(crate) struct Chosen {
    /// The slate, with the probability of each given those before it.
    pub(crate) slate: Vec<(Candidate, f64)>,
    /// Probability of each at its position, whatever stands elsewhere; may be empty.
    pub(crate) marginals: Vec<f64>,
    /// Names of limits that gave way.
    pub(crate) relaxed: Vec<String>,
    /// Who chose.
    pub(crate) by: PolicyRecord,
}

/// Chooses by the policy, else greedily; within limits that count what is already taken elsewhere on the slate.
pub(crate) fn choose(
    pipeline: &Pipeline,
    query: &Query,
    ordered: Vec<Candidate>,
    limits: &[Limit],
    taken: &[u32],
    trace: &mut Trace<'_>,
) -> Chosen {
    let stage = format!("choose/{}", pipeline.policy.name());
    let input = ordered.len() as u32;
    let handed = Handed::new(&ordered);
    let policy = pipeline.policy.as_ref();
    let answer = guarded(|| {
        if limits.is_empty() {
            let mut choice = policy.choose(query, ordered);
            return fits(&mut choice, &handed, query.n).map(|()| choice);
        }
        let Some(mut choice) = policy.choose_within(query, &ordered, limits, taken) else {
            return Err(StageError::Failed("cannot choose within limits".into()));
        };
        fits(&mut choice, &handed, query.n)?;
        let on_slate: Vec<u32> = (choice.slate.iter().map(|(c, _)| c.item))
            .chain(taken.iter().copied())
            .collect();
        let broken = |limit: &&Limit| {
            let is_broken = !hold(std::slice::from_ref(*limit), &on_slate);
            is_broken
                && if limit.hard {
                    is_over(limit, &on_slate)
                } else {
                    !choice.relaxed.contains(&limit.name)
                }
        };
        match limits.iter().find(broken) {
            None => Ok(choice),
            Some(limit) => Err(StageError::Failed(format!("did not keep {}", limit.name))),
        }
    });
    trace.timed(&stage);
    let (choice, by, error): (_, &dyn Policy, _) = match answer {
        Ok(choice) => (choice, policy, None),
        Err(error) => {
            trace.degrade(&stage, &error.to_string());
            let choice = in_order(&handed.all(), limits, taken, query.n);
            (choice, &GreedyPolicy, Some(error.to_string()))
        }
    };
    for limit in &choice.relaxed {
        trace.degrade(&stage, &format!("relaxed {limit}"));
    }
    trace.report(&stage, input, choice.slate.len() as u32, error);
    let propensities: Vec<f64> = choice.slate.iter().map(|(_, p)| *p).collect();
    let by = PolicyRecord {
        name: by.name().to_owned(),
        version: by.version().to_owned(),
        slate_propensity: propensities.iter().product(),
    };
    Chosen {
        slate: choice.slate,
        marginals: choice.marginals,
        relaxed: choice.relaxed,
        by,
    }
}

fn is_over(limit: &Limit, items: &[u32]) -> bool {
    items.iter().filter(|item| limit.counts(**item)).count() > limit.max
}

fn fits(choice: &mut Choice, handed: &Handed, n: usize) -> Result<(), StageError> {
    let fail = |reason: String| Err(StageError::Failed(reason));
    if choice.slate.len() > n {
        return fail(format!("chose {} of {n}", choice.slate.len()));
    }
    if let Some((_, p)) = choice.slate.iter().find(|(_, p)| !(*p > 0.0 && *p <= 1.0)) {
        return fail(format!("gave a probability of {p}"));
    }
    if !choice.marginals.is_empty() && choice.marginals.len() != choice.slate.len() {
        return fail(format!(
            "gave {} marginals for {} items",
            choice.marginals.len(),
            choice.slate.len()
        ));
    }
    if let Some(p) = choice.marginals.iter().find(|p| !(**p > 0.0 && **p <= 1.0)) {
        return fail(format!("gave a marginal probability of {p}"));
    }
    let shown = choice.slate.iter_mut().map(|(candidate, _)| candidate);
    if !handed.restore(shown.chain(&mut choice.held_back)) {
        return fail("shown and held back are not what went in".to_owned());
    }
    Ok(())
}
