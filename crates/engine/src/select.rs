//! Ranking, ordering and choice, each held to its promises.

use crate::decide::Trace;
use crate::guard::guarded;
use crate::{CatalogueView, GreedyPolicy, Pipeline};
use domain::{Candidate, Choice, Outcome, Policy, PolicyRecord, Query, Ranker, Reranked, StageError};
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
        if candidates.is_empty() || (main && trace.late(&stage)) {
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

fn items(candidates: &[Candidate]) -> Vec<u32> {
    let mut items: Vec<u32> = candidates.iter().map(|c| c.item).collect();
    items.sort_unstable();
    items
}

/// Replaces every candidate by the one that went in, so that no stage changes a score or a source.
fn restored(orders: [Vec<u32>; 2], input: Vec<Candidate>) -> [Vec<Candidate>; 2] {
    let mut by_item: std::collections::HashMap<u32, Candidate> =
        input.into_iter().map(|c| (c.item, c)).collect();
    orders.map(|order| {
        order
            .into_iter()
            .filter_map(|item| by_item.remove(&item))
            .collect()
    })
}

/// Orders by the reranker, else leaves the ranker's order. Second: those held back.
pub(crate) fn order(
    pipeline: &Pipeline,
    query: &Query,
    ranked: Vec<Candidate>,
    trace: &mut Trace<'_>,
) -> (Vec<Candidate>, Vec<Candidate>) {
    let stage = format!("rerank/{}", pipeline.reranker.name());
    if ranked.is_empty() || trace.late(&stage) {
        return (ranked, Vec::new());
    }
    let answer = guarded(|| {
        let out = pipeline.reranker.rerank(query, ranked.clone());
        let mut all = items(&out.chosen);
        all.extend(items(&out.held_back));
        all.sort_unstable();
        if all == items(&ranked) {
            Ok(out)
        } else {
            Err(StageError::Failed(
                "chosen and held back are not what went in".to_owned(),
            ))
        }
    });
    trace.timed(&stage);
    let input = ranked.len() as u32;
    match answer {
        Ok(Reranked {
            chosen,
            held_back,
            relaxed,
        }) => {
            for constraint in relaxed {
                trace.degrade(&stage, &format!("relaxed {constraint}"));
            }
            trace.report(&stage, input, chosen.len() as u32, None);
            let order = |list: Vec<Candidate>| list.into_iter().map(|c| c.item).collect();
            let [chosen, held_back] = restored([order(chosen), order(held_back)], ranked);
            (chosen, held_back)
        }
        Err(error) => {
            trace.degrade(&stage, &error.to_string());
            trace.report(&stage, input, input, Some(error.to_string()));
            (ranked, Vec::new())
        }
    }
}

/// What choice gives.
pub(crate) struct Chosen {
    /// The slate, with the probability of each given those before it.
    pub(crate) slate: Vec<(Candidate, f64)>,
    /// Probability of each at its position, whatever stands elsewhere; may be empty.
    pub(crate) marginals: Vec<f64>,
    /// Who chose.
    pub(crate) by: PolicyRecord,
}

/// Chooses by the policy, else greedily.
pub(crate) fn choose(
    pipeline: &Pipeline,
    query: &Query,
    ordered: Vec<Candidate>,
    trace: &mut Trace<'_>,
) -> Chosen {
    let stage = format!("choose/{}", pipeline.policy.name());
    let input = ordered.len() as u32;
    let answer = guarded(|| {
        let choice = pipeline.policy.choose(query, ordered.clone());
        fits(&choice, &ordered, query.n).map(|()| choice)
    });
    trace.timed(&stage);
    let (choice, by, error): (_, &dyn Policy, _) = match answer {
        Ok(choice) => (choice, pipeline.policy.as_ref(), None),
        Err(error) => {
            trace.degrade(&stage, &error.to_string());
            (
                GreedyPolicy.choose(query, ordered.clone()),
                &GreedyPolicy,
                Some(error.to_string()),
            )
        }
    };
    trace.report(&stage, input, choice.slate.len() as u32, error);
    let propensities: Vec<f64> = choice.slate.iter().map(|(_, p)| *p).collect();
    let shown = choice.slate.into_iter().map(|(c, _)| c.item).collect();
    let by = PolicyRecord {
        name: by.name().to_owned(),
        version: by.version().to_owned(),
        slate_propensity: propensities.iter().product(),
    };
    let [slate, _] = restored([shown, Vec::new()], ordered);
    Chosen {
        slate: slate.into_iter().zip(propensities).collect(),
        marginals: choice.marginals,
        by,
    }
}

fn fits(choice: &Choice, ordered: &[Candidate], n: usize) -> Result<(), StageError> {
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
    let mut all: Vec<u32> = choice.slate.iter().map(|(c, _)| c.item).collect();
    all.extend(choice.held_back.iter().map(|c| c.item));
    all.sort_unstable();
    if all != items(ordered) {
        return fail("shown and held back are not what went in".to_owned());
    }
    Ok(())
}
