//! A model bound to the live catalogue: positions are translated at this border and nowhere else.

use crate::catalogue::{NOWHERE, Positions};
use domain::{
    AttributeKind, Attributes, Candidate, Contribution, ContributionSource, Evidence, Explanation,
    HistoryEvent, Outcome, Query, Ranker, Retriever, StageError,
};
use models::{Model, Someone, Staleness, UserFeatures, VectorSpace};
use numeric::TopK;
use retrieval::{ItemSet, Measure, Together, VectorIndex};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Items of a space from which on it has an index; fewer are scored one and all.
const INDEX_MIN: usize = 512;
/// Items that a search asks for beyond those wanted and those of the history, since rules may remove some.
const SPARE: usize = 32;
/// Items that a set may hold at least to be scored one by one, and its share of all (as the inverse) beyond that.
const FEW: u64 = 2000;
const FEW_SHARE: u64 = 64;

/// The index of a model's vectors, by position of the catalogue, and where requests to it meet.
struct Space {
    index: VectorIndex,
    meeting: Together,
}

impl Space {
    fn new(index: VectorIndex) -> Space {
        let passes = std::thread::available_parallelism().map_or(1, usize::from);
        Space {
            index,
            meeting: Together::new(passes),
        }
    }
}

/// A model and the two ways between its positions and the catalogue's.
pub(crate) struct Bound {
    pub(crate) model: Arc<dyn Model>,
    to_local: Arc<Vec<u32>>,
    to_global: Arc<Vec<u32>>,
    /// How the attributes of people are read that the model makes use of.
    user_kinds: BTreeMap<String, AttributeKind>,
    /// Of the model itself, then of its parts.
    spaces: Vec<Option<Arc<Space>>>,
    /// How far content has moved that the model does not reflect.
    pub(crate) staleness: Staleness,
    /// The same of each part, in their order.
    pub(crate) parts: Vec<Staleness>,
}

impl Bound {
    /// Binds a model; items that the catalogue has not met yet are added to `positions`.
    /// Costs one look-up per item of the model.
    pub(crate) fn new(model: Arc<dyn Model>, positions: &Positions, staleness: Staleness) -> Bound {
        let nothing = Bound {
            to_local: Arc::default(),
            to_global: Arc::default(),
            user_kinds: BTreeMap::new(),
            spaces: Vec::new(),
            staleness,
            parts: vec![staleness; model.parts().len()],
            model: model.clone(),
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
        let mut grown = Bound {
            user_kinds: model.user_kinds(),
            model,
            to_local,
            to_global,
            staleness: self.staleness,
            parts: self.parts.clone(),
            spaces: Vec::new(),
        };
        let all = std::iter::once(None).chain((0..grown.model.parts().len()).map(Some));
        let spaces = all.enumerate().map(|(at, part)| {
            let before = self.spaces.get(at).and_then(Option::as_ref);
            grown.indexed(grown.part(part)?.space()?, before)
        });
        grown.spaces = spaces.collect();
        grown
    }

    /// The index of a space, made of what it was before and what has changed since.
    fn indexed(&self, space: &dyn VectorSpace, before: Option<&Arc<Space>>) -> Option<Arc<Space>> {
        if self.to_global.len() < INDEX_MIN {
            return None;
        }
        let Some(before) = before.filter(|before| before.index.dims() == space.dims()) else {
            let vector = |item: u32| space.item_vector(self.local(item));
            let index = VectorIndex::of(space.dims(), self.to_global.iter().copied(), vector);
            return Some(Arc::new(Space::new(index)));
        };
        let changed = space.items_changed();
        if changed.is_empty() {
            return Some(before.clone());
        }
        let mut index = before.index.clone();
        for local in changed {
            match space.item_vector(local) {
                Some(vector) => index.put(self.global(local), vector),
                None => {
                    index.remove(self.global(local));
                }
            }
        }
        Some(Arc::new(Space::new(index)))
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

    /// The best `n` that `allowed` admits, of those in `within` if that is given.
    pub(crate) fn recommend(
        &self,
        part: Option<usize>,
        query: &Query,
        n: usize,
        within: Option<&Arc<ItemSet>>,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Vec<(u32, f32)> {
        let Some(model) = self.part(part) else {
            return Vec::new();
        };
        let someone = Someone {
            history: &self.history(&query.history),
            attributes: &self.attributes(&query.user_attributes),
        };
        let space = self.spaces.get(part.map_or(0, |part| part + 1));
        if let Some(space) = space.and_then(Option::as_ref)
            && let Some(found) = self.nearest(model, space, someone, n, within, allowed)
        {
            return found;
        }
        if let Some(within) = within.filter(|within| self.is_small(within)) {
            let admitted = within.iter().filter(|item| allowed(*item));
            return self.best(model, someone, n, &admitted.collect::<Vec<_>>());
        }
        let admitted = |item: u32| within.is_none_or(|within| within.contains(item)) && allowed(item);
        let top = model.recommend_for(someone, n, &|local| admitted(self.global(local)));
        top.into_iter()
            .map(|(local, score)| (self.global(local), score))
            .collect()
    }

    /// True if a set holds so few items that all of them can be scored.
    pub(crate) fn is_small(&self, within: &ItemSet) -> bool {
        within.len() <= FEW.max(self.to_global.len() as u64 / FEW_SHARE)
    }

    /// The best `n` of these items, scored one and all; those at zero are left out, as a model does.
    fn best(&self, model: &dyn Model, someone: Someone<'_>, n: usize, items: &[u32]) -> Vec<(u32, f32)> {
        let known = items
            .iter()
            .map(|item| self.local(*item))
            .filter(|local| *local != NOWHERE);
        let locals: Vec<u32> = known.collect();
        let mut scores = vec![0f32; locals.len()];
        model.score_for(someone, &locals, &mut scores);
        let ids = model.vocabulary();
        let mut top = TopK::new(n, |a, b| ids.id(a).cmp(ids.id(b)));
        for (local, score) in locals.into_iter().zip(scores) {
            if score != 0.0 {
                top.push(local, score);
            }
        }
        let best = top.finish().into_iter();
        best.map(|(local, score)| (self.global(local), score)).collect()
    }

    /// The best `n` by the index of a space: the same as looking at every item. `None` if rules removed so many of what was
    /// found that it cannot say.
    fn nearest(
        &self,
        model: &dyn Model,
        space: &Space,
        someone: Someone<'_>,
        n: usize,
        within: Option<&Arc<ItemSet>>,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Option<Vec<(u32, f32)>> {
        let Some(vector) = model.space()?.vector_of(someone) else {
            return Some(Vec::new());
        };
        let reach = n + someone.history.len() + SPARE;
        let list = space
            .meeting
            .shortlist(&space.index, vector, reach, within.cloned(), Measure::Product);
        let mut found = self.best(model, someone, reach, &list.items);
        found.retain(|(item, _)| allowed(*item));
        found.truncate(n);
        (found.len() == n || list.is_whole).then_some(found)
    }

    /// What the model, or the part of it at `part`, says of these candidates to someone in its own positions; 0 where it has nothing to say.
    pub(crate) fn scores(
        &self,
        part: Option<usize>,
        someone: Someone<'_>,
        candidates: &[Candidate],
    ) -> Vec<f32> {
        let local: Vec<u32> = candidates.iter().map(|c| self.local(c.item)).collect();
        let mut scores = vec![0.0; local.len()];
        if let Some(model) = self.part(part) {
            model.score_for(someone, &local, &mut scores);
        }
        scores
    }

    /// The items most like one, by the indexes of the spaces that there are: the same as looking at every item.
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
        let admitted = |local: u32| allowed(self.global(local));
        let found = self.nearest_like(part, local, n, &admitted);
        // Only the model as a whole has parts, and their indexes.
        let nearest = |at: usize, n: usize| match part {
            None => self.nearest_like(Some(at), local, n, &admitted),
            Some(_) => None,
        };
        let top = found.unwrap_or_else(|| model.similar_by(local, n, &admitted, &nearest));
        top.into_iter()
            .map(|(local, score)| (self.global(local), score))
            .collect()
    }

    /// The `n` most like an item by the index of a space, in the model's positions. `None` if there is no index, or if rules removed so many of what
    /// was found that it cannot say.
    fn nearest_like(
        &self,
        part: Option<usize>,
        item: u32,
        n: usize,
        admitted: &dyn Fn(u32) -> bool,
    ) -> Option<Vec<(u32, f32)>> {
        let space = self.spaces.get(part.map_or(0, |part| part + 1))?.as_ref()?;
        let model = self.part(part)?;
        let vectors = model.space()?;
        let vector = vectors.item_vector(item)?.to_vec();
        // One more, since the item is its own nearest.
        let reach = n + 1 + SPARE;
        let list = space
            .meeting
            .shortlist(&space.index, vector, reach, None, Measure::Cosine);
        let ids = model.vocabulary();
        let mut top = TopK::new(reach, |a, b| ids.id(a).cmp(ids.id(b)));
        for other in list.items.into_iter().map(|global| self.local(global)) {
            if let Some(score) = vectors.likeness(item, other).filter(|score| *score != 0.0) {
                top.push(other, score);
            }
        }
        let mut found = top.finish();
        found.retain(|(other, _)| *other != item && admitted(*other));
        found.truncate(n);
        (found.len() == n || list.is_whole).then_some(found)
    }
}

/// A model, or one part of a blend, as a source of candidates.
pub(crate) struct ModelRetriever {
    pub(crate) name: String,
    pub(crate) bound: Arc<Bound>,
    pub(crate) part: Option<usize>,
    /// If given, it proposes only these.
    pub(crate) within: Option<Arc<ItemSet>>,
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
        let within = self.within.as_ref();
        Ok(self.bound.recommend(self.part, query, budget, within, allowed))
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
        let scores = self.bound.scores(None, someone, candidates);
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

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::{InteractionsBuilder, Synthetic};
    use domain::ItemId;
    use models::{Run, TrainingData};
    use numeric::SeededStream;

    fn trained(n_items: u32) -> Arc<dyn Model> {
        trained_by("als", &serde_json::json!({"factors": 12, "epochs": 2}), n_items)
    }

    fn trained_by(model: &str, config: &serde_json::Value, n_items: u32) -> Arc<dyn Model> {
        let made = Synthetic {
            users: 300,
            items: n_items,
            events: 20_000,
            exponent: 0.5,
            ..Synthetic::default()
        };
        let mut builder = InteractionsBuilder::default();
        made.events()
            .for_each(|event| builder.push(&event.user_id, &event.item_id, 1.0, event.timestamp));
        let data = TrainingData {
            interactions: Arc::new(builder.build()),
            features: Arc::default(),
            user_features: Arc::default(),
            now: made.start,
        };
        let entry = models::trainer(model).expect("registered");
        let trainer = (entry.build)(config).expect("it builds");
        Arc::from(trainer.fit(&data, &Run::new(1, 1)).expect("it fits"))
    }

    /// By the index, the same items with the same scores as by looking at everything; also after new items have come.
    #[test]
    fn a_space_is_searched_exactly() {
        let positions = Positions::default();
        // The catalogue knows other items first, so that positions differ.
        positions.insert_all(&["x", "y"].map(|id| ItemId::new(id).expect("an id")));
        let bound = Bound::new(trained(1500), &positions, Staleness::default());
        assert!(bound.spaces[0].is_some());
        let mut grown = bound.model.fork();
        let new: Vec<ItemId> = (0..5)
            .map(|n| ItemId::new(format!("new-{n}")).expect("an id"))
            .collect();
        let mut stream = SeededStream::new(3, 1);
        let history = |stream: &mut SeededStream, bound: &Bound| -> Vec<HistoryEvent> {
            let one = |item: u32| HistoryEvent {
                item,
                weight: 1.0,
                age_days: 0.0,
            };
            (0..10)
                .map(|_| one(bound.global((stream.uniform() * 1400.0) as u32)))
                .collect()
        };
        let first = bound.model.vocabulary().len() as u32;
        let rows: Vec<dataset::Interaction> = (0..25)
            .map(|n| dataset::Interaction {
                user: 0,
                item: first + n % 5,
                weight: 1.0,
                timestamp: domain::Timestamp(0),
            })
            .collect();
        let histories: Vec<Vec<HistoryEvent>> = rows
            .iter()
            .map(|_| bound.history(&history(&mut stream, &bound)))
            .collect();
        grown.update(&new, &rows, &histories);
        let grown = bound.grown(Arc::from(grown), &positions);
        for bound in [&bound, &grown] {
            for case in 0..30u32 {
                let history = history(&mut stream, bound);
                let query = Query {
                    history: history.clone(),
                    ..Query::default()
                };
                let admits = |item: u32| item.is_multiple_of(case % 7 + 1);
                let set: Arc<ItemSet> = Arc::new((0..1507).filter(|item| item % (case + 1) < 3).collect());
                let within = (case % 2 == 1).then_some(&set);
                let found = bound.recommend(None, &query, 40, within, &admits);
                let allowed = |item: u32| admits(item) && within.is_none_or(|within| within.contains(item));
                let all = bound.model.recommend(&bound.history(&history), 40, &|local| {
                    allowed(bound.global(local))
                });
                let all: Vec<(u32, f32)> = all
                    .into_iter()
                    .map(|(local, score)| (bound.global(local), score))
                    .collect();
                assert_eq!(found, all, "case {case}");
                let anchor = history[0].item;
                let like = bound.similar(None, anchor, 40, &admits);
                let all = bound
                    .model
                    .similar(bound.local(anchor), 40, &|local| admits(bound.global(local)));
                let all = all.into_iter().map(|(local, score)| (bound.global(local), score));
                assert_eq!(like, all.collect::<Vec<_>>(), "like {anchor}");
            }
        }
        let known = |bound: &Bound| bound.spaces[0].as_ref().map(|space| space.index.len());
        assert_eq!(known(&grown), known(&bound).map(|n| n + 5));
        // The index answers itself where rules leave most of what it finds.
        let first = bound.local(bound.global(7));
        assert!(
            bound
                .nearest_like(None, first, 40, &|_| true)
                .is_some_and(|found| found.len() == 40)
        );
        assert_eq!(
            bound.nearest_like(None, first, 40, &|local| local.is_multiple_of(50)),
            None
        );
    }

    /// A blend asks the index of its part, and says the same as asking the part itself.
    #[test]
    fn likeness_of_a_blend_by_the_index_of_its_part() {
        let config = serde_json::json!({
            "parts": [
                {"model": "als", "config": {"factors": 12, "epochs": 2}},
                {"model": "item-bm25", "config": {}},
            ],
            "validation_users": 0,
        });
        let bound = Bound::new(
            trained_by("blend", &config, 1500),
            &Positions::default(),
            Staleness::default(),
        );
        assert!(bound.spaces[0].is_none() && bound.spaces[1].is_some() && bound.spaces[2].is_none());
        for item in (0..300).step_by(10) {
            let admits = |other: u32| !other.is_multiple_of(5);
            let like = bound.similar(None, item, 30, &admits);
            let all = bound
                .model
                .similar(bound.local(item), 30, &|local| admits(bound.global(local)));
            let all = all.into_iter().map(|(local, score)| (bound.global(local), score));
            assert_eq!(like, all.collect::<Vec<_>>(), "like {item}");
        }
    }
}
