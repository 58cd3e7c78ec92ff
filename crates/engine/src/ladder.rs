//! The ladder: what fills a slate that the stages left short.

use crate::decide::Trace;
use crate::eligibility::Eligibility;
use crate::positions::PositionSet;
use crate::sources::ask;
use crate::{CatalogueView, Pipeline};
use domain::{Candidate, Query, SourceHit};
use std::sync::Arc;

/// A slate being filled.
struct Filling<'s> {
    slate: &'s mut Vec<(Candidate, f64)>,
    used: PositionSet,
    n: usize,
}

impl Filling<'_> {
    fn missing(&self) -> usize {
        self.n.saturating_sub(self.slate.len())
    }

    fn put(&mut self, source: &str, list: &[(u32, f32)], error: Option<String>, trace: &mut Trace<'_>) {
        let name: Arc<str> = source.into();
        for (place, (item, score)) in list.iter().enumerate() {
            self.used.insert(*item);
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
        let stage = format!("ladder/{source}");
        trace.timed(&stage);
        if let Some(error) = &error {
            trace.degrade(&stage, error);
        }
        if !list.is_empty() {
            trace.degrade(&stage, &format!("filled {} of {}", list.len(), self.n));
        }
        trace.report(&stage, self.n as u32, list.len() as u32, error);
    }
}

/// Fills up to `query.n`, whatever the time, since an answer must come of it: the pipeline's
/// fallbacks in order, then any eligible item by position. Items held back by the reranker come
/// back only if the slate would be empty otherwise.
pub(crate) fn fill(
    pipeline: &Pipeline,
    query: &Query,
    catalogue: &dyn CatalogueView,
    eligibility: &Eligibility<'_>,
    held_back: Vec<Candidate>,
    slate: &mut Vec<(Candidate, f64)>,
    trace: &mut Trace<'_>,
) {
    // What is held back counts as used.
    let used = slate
        .iter()
        .map(|(c, _)| c.item)
        .chain(held_back.iter().map(|c| c.item))
        .collect();
    let mut filling = Filling {
        slate,
        used,
        n: query.n,
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
        let open = |item: u32| !filling.used.contains(&item) && eligibility.allows(item);
        let answer = ask(retriever.as_ref(), query, filling.missing(), &open);
        let (list, error) = answer.unwrap_or_else(|error| (Vec::new(), Some(error.to_string())));
        filling.put(retriever.name(), &list, error, trace);
    }
    if filling.missing() > 0 {
        let open = |item: &u32| !filling.used.contains(item) && eligibility.allows(*item);
        let missing = filling.missing();
        let any: Vec<u32> = match &query.only {
            Some(only) => only.iter().copied().filter(open).take(missing).collect(),
            None => (0..catalogue.n_items()).filter(open).take(missing).collect(),
        };
        let any: Vec<(u32, f32)> = any.into_iter().map(|item| (item, 0.0)).collect();
        filling.put("any", &any, None, trace);
    }
    if filling.slate.is_empty() && !held_back.is_empty() {
        trace.degrade("slate", "shows items that the reranker held back");
        let back = held_back.into_iter().take(query.n);
        filling.slate.extend(back.map(|candidate| (candidate, 1.0)));
    }
}
