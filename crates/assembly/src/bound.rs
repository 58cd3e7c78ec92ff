//! A model bound to the live catalogue: positions are translated at this border and nowhere else.

use crate::catalogue::{NOWHERE, Positions};
use domain::{
    AttributeKind, Attributes, Candidate, Contribution, ContributionSource, Evidence, Explanation,
    HistoryEvent, Outcome, Query, Ranker, Retriever, StageError,
};
use models::{Model, Someone, UserFeatures};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A model and the two ways between its positions and the catalogue's.
pub(crate) struct Bound {
    pub(crate) model: Arc<dyn Model>,
    to_local: Arc<Vec<u32>>,
    to_global: Arc<Vec<u32>>,
    /// How the attributes of people are read that the model makes use of.
    user_kinds: BTreeMap<String, AttributeKind>,
}

impl Bound {
    /// Binds a model; items that the catalogue has not met yet are added to `positions`.
    /// Costs one look-up per item of the model.
    pub(crate) fn new(model: Arc<dyn Model>, positions: &Positions) -> Bound {
        let nothing = Bound {
            model: model.clone(),
            to_local: Arc::default(),
            to_global: Arc::default(),
            user_kinds: BTreeMap::new(),
        };
        nothing.grown(model, positions)
    }

    /// Binds a model that has the items of this one at the same places, and perhaps more.
    pub(crate) fn grown(&self, model: Arc<dyn Model>, positions: &Positions) -> Bound {
        let known = self.to_global.len();
        let fresh = positions.insert_all(&model.vocabulary().ids()[known..]);
        let (mut to_local, mut to_global) = (self.to_local.clone(), self.to_global.clone());
        if !fresh.is_empty() {
            let size = fresh.iter().max().map_or(0, |last| *last as usize + 1);
            let to_local = Arc::make_mut(&mut to_local);
            to_local.resize(size.max(to_local.len()), NOWHERE);
            for (at, global) in fresh.iter().enumerate() {
                to_local[*global as usize] = (known + at) as u32;
            }
            Arc::make_mut(&mut to_global).extend(fresh);
        }
        Bound {
            user_kinds: model.user_kinds(),
            model,
            to_local,
            to_global,
        }
    }

    /// The model's position of an item, or [`NOWHERE`].
    pub(crate) fn local(&self, global: u32) -> u32 {
        self.to_local.get(global as usize).copied().unwrap_or(NOWHERE)
    }

    /// The catalogue's position of one of the model's items.
    pub(crate) fn global(&self, local: u32) -> u32 {
        self.to_global[local as usize]
    }

    /// A history in the model's positions; what it does not know is left out.
    pub(crate) fn history(&self, history: &[HistoryEvent]) -> Vec<HistoryEvent> {
        let known = history.iter().map(|event| HistoryEvent {
            item: self.local(event.item),
            ..*event
        });
        known.filter(|event| event.item != NOWHERE).collect()
    }

    /// What the model makes use of in a person's attributes, read as it was in its training.
    pub(crate) fn attributes(&self, attributes: &Attributes) -> UserFeatures {
        let read = self.user_kinds.iter().filter_map(|(name, kind)| {
            let value = signals::typed(attributes.get(name)?, *kind).ok()?;
            Some((name.clone(), value))
        });
        read.collect()
    }

    /// A query's history in the model's positions, the anchor in it: it counts as much as everything that speaks for
    /// something in the person's history together, and at least as 1.
    pub(crate) fn told(&self, query: &Query) -> Vec<HistoryEvent> {
        let Some(anchor) = query.anchor else {
            return self.history(&query.history);
        };
        let mut history = query.history.clone();
        history.retain(|event| event.item != anchor);
        let total: f32 = history.iter().map(|event| event.weight.max(0.0)).sum();
        history.push(HistoryEvent {
            item: anchor,
            weight: total.max(1.0),
            age_days: 0.0,
        });
        self.history(&history)
    }

    /// Variance of the model's score of these items, as far as it can say.
    pub(crate) fn variances(&self, query: &Query, items: &[u32]) -> Vec<Option<f32>> {
        let someone = Someone {
            history: &self.told(query),
            attributes: &self.attributes(&query.user_attributes),
        };
        let local: Vec<u32> = items.iter().map(|item| self.local(*item)).collect();
        self.model.variances(someone, &local)
    }

    /// The model, or the part of it at `part`.
    pub(crate) fn part(&self, part: Option<usize>) -> Option<&dyn Model> {
        match part {
            None => Some(&*self.model),
            Some(part) => self.model.parts().get(part).copied(),
        }
    }

    pub(crate) fn recommend(
        &self,
        part: Option<usize>,
        query: &Query,
        n: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Vec<(u32, f32)> {
        let Some(model) = self.part(part) else {
            return Vec::new();
        };
        let someone = Someone {
            history: &self.history(&query.history),
            attributes: &self.attributes(&query.user_attributes),
        };
        let top = model.recommend_for(someone, n, &|local| allowed(self.global(local)));
        top.into_iter()
            .map(|(local, score)| (self.global(local), score))
            .collect()
    }

    pub(crate) fn similar(
        &self,
        part: Option<usize>,
        item: u32,
        n: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Vec<(u32, f32)> {
        let local = self.local(item);
        let Some(model) = self.part(part).filter(|_| local != NOWHERE) else {
            return Vec::new();
        };
        let top = model.similar(local, n, &|local| allowed(self.global(local)));
        top.into_iter()
            .map(|(local, score)| (self.global(local), score))
            .collect()
    }
}

/// A model, or one part of a blend, as a source of candidates.
pub(crate) struct ModelRetriever {
    pub(crate) name: String,
    pub(crate) bound: Arc<Bound>,
    pub(crate) part: Option<usize>,
}

impl Retriever for ModelRetriever {
    fn name(&self) -> &str {
        &self.name
    }

    fn retrieve(
        &self,
        query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        Ok(self.bound.recommend(self.part, query, budget, allowed))
    }
}

/// What goes with the item that the placement is about.
pub(crate) struct AnchorRetriever {
    pub(crate) bound: Arc<Bound>,
}

impl Retriever for AnchorRetriever {
    fn name(&self) -> &'static str {
        "similar"
    }

    fn retrieve(
        &self,
        query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        let found = query
            .anchor
            .map(|item| self.bound.similar(None, item, budget, allowed));
        Ok(found.unwrap_or_default())
    }
}

/// The model as the judge of candidates.
pub(crate) struct ModelRanker {
    pub(crate) bound: Arc<Bound>,
}

/// Parts summed by item, in the order of the history, without zeros. Each model gives its parts in that order, so a
/// finger that only goes forward finds nearly all.
fn summed(history: &[HistoryEvent], parts: &[(u32, f32)]) -> impl Iterator<Item = (u32, f32)> {
    let mut sums: Vec<(u32, f32)> = history.iter().map(|event| (event.item, 0.0)).collect();
    let mut finger = 0;
    for (item, value) in parts {
        let (behind, ahead) = sums.split_at(finger);
        let is_it = |entry: &(u32, f32)| entry.0 == *item;
        let found = match ahead.iter().position(is_it) {
            Some(at) => Some(finger + at),
            None => behind.iter().position(is_it),
        };
        if let Some(at) = found {
            sums[at].1 += value;
            finger = at + 1;
        }
    }
    sums.into_iter().filter(|(_, value)| *value != 0.0)
}

impl Ranker for ModelRanker {
    fn name(&self) -> &str {
        self.bound.model.name()
    }

    fn rank(&self, query: &Query, candidates: &[Candidate]) -> Result<Vec<Outcome>, StageError> {
        let someone = Someone {
            history: &self.bound.told(query),
            attributes: &self.bound.attributes(&query.user_attributes),
        };
        let local: Vec<u32> = candidates.iter().map(|c| self.bound.local(c.item)).collect();
        let mut scores = vec![0.0; local.len()];
        self.bound.model.score_for(someone, &local, &mut scores);
        Ok(scores.into_iter().map(Outcome::Score).collect())
    }

    fn evidence(&self, query: &Query, candidates: &[&Candidate]) -> Vec<Evidence> {
        let items: Vec<u32> = candidates.iter().map(|c| self.bound.local(c.item)).collect();
        let history = self.bound.told(query);
        let someone = Someone {
            history: &history,
            attributes: &self.bound.attributes(&query.user_attributes),
        };
        let evidence = self.bound.model.evidence_for(someone, &items);
        let summed = evidence.into_iter().map(|one| Evidence {
            history: summed(&history, &one.history)
                .map(|(item, value)| (self.bound.global(item), value))
                .collect(),
            rest: one.rest,
        });
        summed.collect()
    }

    fn explain(&self, query: &Query, item: u32) -> Explanation {
        let someone = Someone {
            history: &self.bound.told(query),
            attributes: &self.bound.attributes(&query.user_attributes),
        };
        let mut explanation = self.bound.model.explain_for(someone, self.bound.local(item));
        for Contribution { source, .. } in &mut explanation.contributions {
            if let ContributionSource::History { item } = source {
                *item = self.bound.global(*item);
            }
        }
        explanation
    }
}
