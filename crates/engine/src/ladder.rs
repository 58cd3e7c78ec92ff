//! The ladder: what fills a slate that the stages left short.

use crate::decide::Trace;
use crate::eligibility::Eligibility;
use crate::positions::PositionSet;
use crate::sources::{Checked, ask};
use crate::steer::Steered;
use crate::{CatalogueView, Pipeline};
use domain::{Candidate, Query, SourceHit};
use std::cell::Cell;
use std::sync::Arc;

/// A slate being filled.
struct Filling<'s> {
    slate: &'s mut Vec<(Candidate, f64)>,
    used: PositionSet,
    n: usize,
    steered: &'s Steered<'s>,
    /// Items that stand elsewhere on the slate.
    taken: &'s [u32],
}

impl Filling<'_> {
    fn missing(&self) -> usize {
        self.n.saturating_sub(self.slate.len())
    }

    /// Puts those of the list that the bounds of the rules let in. The number of them.
    fn put(&mut self, name: &Arc<str>, list: &[(u32, f32)]) -> usize {
        let before = self.slate.len();
        for (place, (item, score)) in list.iter().enumerate() {
            self.used.insert(*item);
            let on_slate: Vec<u32> = self
                .slate
                .iter()
                .map(|(c, _)| c.item)
                .chain(self.taken.iter().copied())
                .collect();
            if self.missing() == 0 || !self.steered.admits(&on_slate, *item) {
                continue;
            }
            let hit = SourceHit {
                source: name.clone(),
                rank: place as u32 + 1,
                score: *score,
            };
            let candidate = Candidate {
                item: *item,
                score: 0.0,
                hits: vec![hit],
            };
            self.slate.push((candidate, 1.0));
        }
        self.slate.len() - before
    }

    /// Puts what one rung proposes; asked again while its proposals do not fit and there are more.
    fn climb(&mut self, source: &str, ask: &dyn Fn(&Filling<'_>) -> Checked, trace: &mut Trace<'_>) {
        let name: Arc<str> = source.into();
        let mut put = 0;
        let error = loop {
            let (list, error) = ask(self);
            put += self.put(&name, &list);
            if error.is_some() || list.is_empty() || self.missing() == 0 {
                break error;
            }
        };
        let stage = format!("ladder/{source}");
        trace.timed(&stage);
        if let Some(error) = &error {
            trace.degrade(&stage, error);
        }
        if put > 0 {
            trace.degrade(&stage, &format!("filled {put} of {}", self.n));
        }
        trace.report(&stage, self.n as u32, put as u32, error);
    }
}

/// Fills up to `query.n`, whatever the time, since an answer must come of it: the pipeline's
/// fallbacks in order, then any eligible item by position. Items held back by the reranker come
/// back only if the slate would be empty otherwise. Hard rules and the hard bounds of quotas hold here too.
#[expect(clippy::too_many_arguments, reason = "all of a running decision")]
pub(crate) fn fill(
    pipeline: &Pipeline,
    n: usize,
    query: &Query,
    catalogue: &dyn CatalogueView,
    eligibility: &Eligibility<'_>,
    held_back: Vec<Candidate>,
    steered: &Steered<'_>,
    taken: &[u32],
    slate: &mut Vec<(Candidate, f64)>,
    trace: &mut Trace<'_>,
) {
    // What is held back counts as used.
    let used = slate
        .iter()
        .map(|(c, _)| c.item)
        .chain(held_back.iter().map(|c| c.item))
        .chain(taken.iter().copied())
        .collect();
    let mut filling = Filling {
        slate,
        used,
        n,
        steered,
        taken,
    };
    // Where the request says which items there are, no list has others.
    let ladder = if query.only.is_some() {
        &[][..]
    } else {
        &pipeline.ladder
    };
    for retriever in ladder {
        if filling.missing() == 0 {
            return;
        }
        let rung = |filling: &Filling<'_>| {
            let open = |item: u32| !filling.used.contains(&item) && eligibility.allows(item);
            let answer = ask(retriever.as_ref(), query, filling.missing(), &open);
            answer.unwrap_or_else(|error| (Vec::new(), Some(error.to_string())))
        };
        filling.climb(retriever.name(), &rung, trace);
    }
    if filling.missing() > 0 {
        // From where on it is still to be looked, among the items of the request or all.
        let next = Cell::new(0u32);
        let any = |filling: &Filling<'_>| {
            let open = |item: &u32| !filling.used.contains(item) && eligibility.allows(*item);
            let missing = filling.missing();
            let any: Vec<u32> = match &query.only {
                Some(only) => only.iter().copied().filter(open).take(missing).collect(),
                None => {
                    let fit = (next.get()..catalogue.n_items()).filter(open);
                    let any: Vec<u32> = fit.take(missing).collect();
                    next.set(any.last().map_or(catalogue.n_items(), |item| item + 1));
                    any
                }
            };
            (any.into_iter().map(|item| (item, 0.0)).collect(), None)
        };
        filling.climb("any", &any, trace);
    }
    if filling.slate.is_empty() && taken.is_empty() && !held_back.is_empty() {
        trace.degrade("slate", "shows items that the reranker held back");
        for candidate in held_back {
            let on_slate: Vec<u32> = filling.slate.iter().map(|(c, _)| c.item).collect();
            if filling.missing() > 0 && steered.admits(&on_slate, candidate.item) {
                filling.slate.push((candidate, 1.0));
            }
        }
    }
}
