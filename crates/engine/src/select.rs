//! Ranking, ordering and choice, each held to its promises.

use crate::decide::Trace;
use crate::guard::guarded;
use crate::limits::{hold, in_order};
use crate::positions::PositionMap;
use crate::{CatalogueView, GreedyPolicy, Pipeline};
use domain::{
    Candidate, Choice, ConstraintRecord, Limit, Outcome, Policy, PolicyRecord, Query, Ranker, Reranked,
    SourceHit, StageError,
};
use std::sync::Arc;

/// Best first; equal scores by item id.
#[cfg(test)]
fn best_first(a: &Candidate, b: &Candidate, catalogue: &dyn CatalogueView) -> std::cmp::Ordering {
    b.score
        .total_cmp(&a.score)
        .then_with(|| catalogue.item_id(a.item).cmp(catalogue.item_id(b.item)))
}

/// A number that falls as a score rises, in the order of all floats.
fn falling(score: f32) -> u32 {
    let bits = score.to_bits();
    let rising = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !rising
}

/// Sorts by [`best_first`]: numbers are moved about, and each candidate once.
pub(crate) fn sort_best_first(candidates: &mut Vec<Candidate>, catalogue: &dyn CatalogueView) {
    let key = |(at, candidate): (u64, &Candidate)| u64::from(falling(candidate.score)) << 32 | at;
    let mut keys: Vec<u64> = (0u64..).zip(&*candidates).map(key).collect();
    if keys.is_sorted_by(|a, b| a >> 32 < b >> 32) {
        return;
    }
    keys.sort_unstable();
    let item = |key: u64| candidates[(key & u64::from(u32::MAX)) as usize].item;
    for alike in keys
        .chunk_by_mut(|a, b| a >> 32 == b >> 32)
        .filter(|alike| alike.len() > 1)
    {
        alike.sort_by(|a, b| catalogue.item_id(item(*a)).cmp(catalogue.item_id(item(*b))));
    }
    let mut left: Vec<Option<Candidate>> = std::mem::take(candidates).into_iter().map(Some).collect();
    candidates.extend(
        keys.iter()
            .filter_map(|key| left[(key & u64::from(u32::MAX)) as usize].take()),
    );
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
                sort_best_first(&mut scored, catalogue);
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

/// What stages are handed, so that their answers can be held against it without a copy of every candidate.
#[derive(Default)]
pub(crate) struct Handed {
    /// Item, score and where its hits begin, in the order handed over first.
    entries: Vec<(u32, f32, u32)>,
    /// Places in `entries` by item.
    places: PositionMap<u32>,
    hits: Vec<SourceHit>,
}

/// What has been seen of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    NotAsked,
    Asked,
    Answered,
}

impl Handed {
    fn new(candidates: &[Candidate]) -> Handed {
        let mut handed = Handed {
            entries: Vec::with_capacity(candidates.len()),
            places: PositionMap::with_capacity_and_hasher(candidates.len(), Default::default()),
            hits: Vec::with_capacity(2 * candidates.len()),
        };
        for (at, candidate) in (0u32..).zip(candidates) {
            let first = handed.hits.len() as u32;
            handed.hits.extend_from_slice(&candidate.hits);
            handed.entries.push((candidate.item, candidate.score, first));
            handed.places.insert(candidate.item, at);
        }
        handed
    }

    fn hits_of(&self, at: usize) -> &[SourceHit] {
        let end = self
            .entries
            .get(at + 1)
            .map_or(self.hits.len(), |next| next.2 as usize);
        &self.hits[self.entries[at].2 as usize..end]
    }

    /// All items, in the order handed over.
    fn items(&self) -> impl ExactSizeIterator<Item = u32> {
        self.entries.iter().map(|entry| entry.0)
    }

    /// Puts scores and sources back as they were, whatever the stage made of them. False unless those answered are those asked about, each once.
    fn restore<'a>(
        &self,
        asked: impl ExactSizeIterator<Item = u32>,
        answered: impl Iterator<Item = &'a mut Candidate>,
    ) -> bool {
        let mut seen = vec![Seen::NotAsked; self.entries.len()];
        let mut open = asked.len();
        for item in asked {
            let Some(at) = self.places.get(&item) else {
                return false;
            };
            seen[*at as usize] = Seen::Asked;
        }
        for candidate in answered {
            let Some(at) = self.places.get(&candidate.item).map(|at| *at as usize) else {
                return false;
            };
            if std::mem::replace(&mut seen[at], Seen::Answered) != Seen::Asked {
                return false;
            }
            open -= 1;
            candidate.score = self.entries[at].1;
            if !is_same(&candidate.hits, self.hits_of(at)) {
                candidate.hits = self.hits_of(at).to_vec();
            }
        }
        open == 0
    }

    /// These as they were handed over.
    fn all(&self, items: impl Iterator<Item = u32>) -> Vec<Candidate> {
        let known = items.filter_map(|item| self.places.get(&item));
        let whole = known.map(|at| Candidate {
            item: self.entries[*at as usize].0,
            score: self.entries[*at as usize].1,
            hits: self.hits_of(*at as usize).to_vec(),
        });
        whole.collect()
    }
}

/// True if these are the same hits; names that are shared need no look.
fn is_same(one: &[SourceHit], other: &[SourceHit]) -> bool {
    let same = |(a, b): (&SourceHit, &SourceHit)| {
        (Arc::ptr_eq(&a.source, &b.source) || a.source == b.source) && a.rank == b.rank && a.score == b.score
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
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
    /// All of them as they were handed over, which the choice is held to as well.
    pub(crate) handed: Handed,
}

/// Orders by the reranker, else leaves the ranker's order.
pub(crate) fn order(
    pipeline: &Pipeline,
    query: &Query,
    ranked: Vec<Candidate>,
    trace: &mut Trace<'_>,
) -> Ordered {
    let stage = format!("rerank/{}", pipeline.reranker.name());
    let handed = Handed::new(&ranked);
    if ranked.is_empty() || trace.late(&stage) {
        return Ordered {
            list: ranked,
            handed,
            ..Ordered::default()
        };
    }
    let input = ranked.len() as u32;
    let answer = guarded(|| {
        let mut out = pipeline.reranker.rerank(query, ranked);
        if handed.restore(handed.items(), out.chosen.iter_mut().chain(&mut out.held_back)) {
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
                handed,
            }
        }
        Err(error) => {
            trace.degrade(&stage, &error.to_string());
            trace.report(&stage, input, input, Some(error.to_string()));
            Ordered {
                list: handed.all(handed.items()),
                handed,
                ..Ordered::default()
            }
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
/// `items` are those of `ordered`.
pub(crate) fn choose(
    pipeline: &Pipeline,
    query: &Query,
    ordered: Vec<Candidate>,
    (handed, items): (&Handed, &[u32]),
    limits: &[Limit],
    taken: &[u32],
    trace: &mut Trace<'_>,
) -> Chosen {
    let stage = format!("choose/{}", pipeline.policy.name());
    let input = ordered.len() as u32;
    let policy = pipeline.policy.as_ref();
    let handed = (handed, items);
    let answer = guarded(|| {
        if limits.is_empty() {
            let mut choice = policy.choose(query, ordered);
            return fits(&mut choice, handed, query.n).map(|()| choice);
        }
        let Some(mut choice) = policy.choose_within(query, ordered, limits, taken) else {
            return Err(StageError::Failed("cannot choose within limits".into()));
        };
        fits(&mut choice, handed, query.n)?;
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
            let all = handed.0.all(items.iter().copied());
            let choice = in_order(all, limits, taken, query.n);
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

fn fits(choice: &mut Choice, (handed, items): (&Handed, &[u32]), n: usize) -> Result<(), StageError> {
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
    if !handed.restore(items.iter().copied(), shown.chain(&mut choice.held_back)) {
        return fail("shown and held back are not what went in".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ItemId;
    use proptest::prelude::*;

    struct Ids(Vec<ItemId>);

    impl CatalogueView for Ids {
        fn n_items(&self) -> u32 {
            self.0.len() as u32
        }

        fn item_id(&self, item: u32) -> &ItemId {
            &self.0[item as usize]
        }
    }

    proptest! {
        /// Against sorting by the comparison itself; with many equal scores, zeros of both signs and infinities.
        #[test]
        fn sorted_is_best_first(scores in proptest::collection::vec(-3i32..4, 0..60)) {
            let odd = [f32::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-30, 2.0, f32::INFINITY];
            // Ids run against positions.
            let ids = (0..60).map(|at| ItemId::new(format!("i{:02}", (at * 37) % 60)).expect("an id"));
            let ids = Ids(ids.collect());
            let mut candidates: Vec<Candidate> = (0u32..).zip(&scores).map(|(item, score)| Candidate {
                item,
                score: odd[(score + 3) as usize],
                ..Candidate::default()
            }).collect();
            let mut expected = candidates.clone();
            expected.sort_by(|a, b| best_first(a, b, &ids));
            sort_best_first(&mut candidates, &ids);
            prop_assert_eq!(&candidates, &expected);
            sort_best_first(&mut candidates, &ids);
            prop_assert_eq!(&candidates, &expected);
        }
    }
}
