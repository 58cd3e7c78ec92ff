//! Candidate generation: every source asked, lists checked and joined with their provenance.

use crate::decide::Trace;
use crate::eligibility::Eligibility;
use crate::guard::guarded;
use crate::positions::{PositionMap, PositionSet};
use crate::{Pipeline, Source};
use domain::{Candidate, Query, Retriever, SourceHit, StageError};
use std::sync::Arc;

/// Source of items that a rule wants at a place.
const PINNED: &str = "pinned";
/// Candidates for which there is room from the start, at most.
const ROOM_MAX: usize = 1024;
/// Most candidates that a request may bring itself into ranking.
const REQUESTED_MAX: usize = 10_000;

/// Candidates in the order of their first proposal: by source, then by rank.
#[derive(Default)]
pub(crate) struct Union {
    pub(crate) candidates: Vec<Candidate>,
    places: PositionMap<usize>,
}

impl Union {
    /// With room for so many.
    fn of(size: usize) -> Union {
        Union {
            candidates: Vec::with_capacity(size),
            places: PositionMap::with_capacity_and_hasher(size, Default::default()),
        }
    }

    pub(crate) fn add(&mut self, source: &str, list: &[(u32, f32)]) {
        let source: Arc<str> = source.into();
        for (place, (item, score)) in list.iter().enumerate() {
            let hit = SourceHit {
                source: source.clone(),
                rank: place as u32 + 1,
                score: *score,
            };
            let at = *self.places.entry(*item).or_insert_with(|| {
                self.candidates.push(Candidate {
                    item: *item,
                    score: 0.0,
                    // Few are proposed by more than two sources.
                    hits: Vec::with_capacity(2),
                });
                self.candidates.len() - 1
            });
            self.candidates[at].hits.push(hit);
        }
    }
}

/// What a retriever proposed within its promises, and a complaint if there was more.
pub(crate) type Checked = (Vec<(u32, f32)>, Option<String>);

/// Asks one retriever and holds it to its promises: what it should not have proposed is left out
/// and spoken of in the second value.
pub(crate) fn ask(
    retriever: &dyn Retriever,
    query: &Query,
    budget: usize,
    allowed: &dyn Fn(u32) -> bool,
) -> Result<Checked, StageError> {
    let list = guarded(|| retriever.retrieve(query, budget, allowed))?;
    let proposed = list.len();
    let mut met = PositionSet::with_capacity_and_hasher(list.len(), Default::default());
    let mut kept: Vec<(u32, f32)> = list
        .into_iter()
        .filter(|(item, score)| score.is_finite() && allowed(*item) && met.insert(*item))
        .collect();
    let over = kept.len().saturating_sub(budget);
    kept.truncate(budget);
    let bad = proposed - kept.len() - over;
    let complaint = (bad + over > 0).then(|| {
        format!(
            "proposed {bad} items not allowed, repeated or without a finite score, and {over} over its budget"
        )
    });
    Ok((kept, complaint))
}

/// Asks every source of the pipeline that the deadline leaves time for.
pub(crate) fn retrieve(
    pipeline: &Pipeline,
    query: &Query,
    eligibility: &Eligibility<'_>,
    wanted: &[u32],
    trace: &mut Trace<'_>,
) -> Vec<Candidate> {
    let allowed = |item: u32| eligibility.allows(item);
    let room: usize = pipeline
        .sources
        .iter()
        .map(|source| source.quota.min(ROOM_MAX))
        .sum();
    let mut union = Union::of(room.min(ROOM_MAX));
    if !wanted.is_empty() {
        let list: Vec<(u32, f32)> = wanted
            .iter()
            .filter(|item| allowed(**item))
            .map(|item| (*item, 0.0))
            .collect();
        union.add(PINNED, &list);
        trace.report("retrieve/pinned", wanted.len() as u32, list.len() as u32, None);
    }
    if let Some(only) = &query.only {
        let all = only.len() as u32;
        let list: Vec<(u32, f32)> = only
            .iter()
            .filter(|item| allowed(**item))
            .take(REQUESTED_MAX)
            .map(|item| (*item, 0.0))
            .collect();
        let output = list.len() as u32;
        for (item, score) in list {
            union.add("request", &[(item, score)]);
        }
        trace.report("retrieve/request", all, output, None);
    }
    for Source { retriever, quota } in &pipeline.sources {
        let stage = format!("retrieve/{}", retriever.name());
        if trace.later_than(pipeline.budgets.retrieve_us, &stage) {
            continue;
        }
        let answer = ask(retriever.as_ref(), query, *quota, &allowed);
        trace.timed(&stage);
        match answer {
            Ok((list, complaint)) => {
                union.add(retriever.name(), &list);
                if let Some(complaint) = &complaint {
                    trace.degrade(&stage, complaint);
                }
                trace.report(&stage, *quota as u32, list.len() as u32, complaint);
            }
            Err(error) => {
                trace.degrade(&stage, &error.to_string());
                trace.report(&stage, *quota as u32, 0, Some(error.to_string()));
            }
        }
    }
    union.candidates
}
