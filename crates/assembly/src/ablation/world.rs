//! Lists of a placement of the past: by its sources, its model, a ranker, with or without a reranker.

use super::figures::ndcg;
use crate::ranker_history::{Later, Past, Setup, World};
use crate::snapshot::Models;
use crate::{Service, ServiceError};
use domain::{Candidate, Outcome, Query, Ranker, Reranker, Timestamp};
use ranking::features::FactsSource;
use ranking::{OutcomeModel, SourceScoreRanker};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Someone who was asked, and what they did later.
pub(super) struct Person {
    /// Items that could be shown, with the weight of the best that the person did with them.
    pub(super) truth: BTreeMap<u32, f64>,
    /// Whether nothing was known of what they did before.
    pub(super) is_newcomer: bool,
}

/// Who gives the scores.
#[derive(Clone, Copy)]
pub(super) enum Scores<'a> {
    /// The ranks that sources gave, without the list of the model as a whole where its parts are sources too.
    Sources,
    Model,
    Ranker(&'a OutcomeModel),
}

/// One way to put candidates in order.
pub(super) struct Order<'a> {
    pub(super) scores: Scores<'a>,
    pub(super) reranker: Arc<dyn Reranker>,
}

impl<'a> Order<'a> {
    pub(super) fn new(scores: Scores<'a>, reranker: &Arc<dyn Reranker>) -> Order<'a> {
        let reranker = reranker.clone();
        Order { scores, reranker }
    }
}

/// The people who are asked, the same whatever is taken out.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) events: &'a Past,
    pub(super) cut: Timestamp,
    /// Types of events that are liked, with their weights.
    pub(super) liked: &'a [(String, f64)],
    pub(super) users_max: usize,
    pub(super) k: usize,
}

impl Asking<'_> {
    /// What was before the moment of asking.
    fn earlier(&self) -> &Past {
        &self.events[..self.events.partition_point(|(at, ..)| *at < self.cut)]
    }

    fn names(&self) -> Vec<String> {
        self.liked.iter().map(|(name, _)| name.clone()).collect()
    }

    fn person(&self, world: &World<'_>, query: &Query, later: &Later) -> Person {
        let mut truth: BTreeMap<u32, f64> = BTreeMap::new();
        // What may not be shown cannot be found.
        for (item, outcome) in later.did.iter().filter(|(item, _)| world.allows(query, *item)) {
            let gain = truth.entry(*item).or_default();
            *gain = gain.max(self.liked[*outcome].1);
        }
        Person {
            truth,
            is_newcomer: query.history.is_empty(),
        }
    }
}

/// Everyone asked, with a list by each order.
pub(super) struct Answers {
    pub(super) people: Vec<Person>,
    /// By order, then by person.
    pub(super) lists: Vec<Vec<Vec<u32>>>,
}

impl Answers {
    /// Without people for whom there was nothing to find.
    pub(super) fn with_something_to_find(self) -> Answers {
        let found: Vec<bool> = self.people.iter().map(|p| !p.truth.is_empty()).collect();
        fn kept<T>(all: Vec<T>, found: &[bool]) -> Vec<T> {
            let both = all.into_iter().zip(found);
            both.filter(|(_, found)| **found).map(|(one, _)| one).collect()
        }
        Answers {
            people: kept(self.people, &found),
            lists: self.lists.into_iter().map(|lists| kept(lists, &found)).collect(),
        }
    }
}

impl Service {
    /// Lists for everybody by each of these orders.
    pub(super) fn answers(
        &self,
        setup: &Setup,
        models: Models,
        asking: &Asking<'_>,
        orders: &[Order<'_>],
    ) -> Result<Answers, ServiceError> {
        let world = World::new(self, setup, models, asking.earlier())?;
        let (events, cut, names) = (asking.events, asking.cut, asking.names());
        let asked = world.each(events, cut, &names, asking.users_max, |later, states, counts| {
            let (query, candidates) = world.candidates(later, states)?;
            let (model_scores, values) = world.read(&query, &candidates, counts);
            let lists: Vec<Vec<u32>> = orders
                .iter()
                .map(|order| {
                    let scores = match order.scores {
                        Scores::Sources => source_scores(&world, &query, &candidates)?,
                        Scores::Model => model_scores.clone(),
                        Scores::Ranker(model) => model.scores(&world.columns(model, &values)),
                    };
                    Ok(world.list(&query, &candidates, &scores, &*order.reranker, asking.k))
                })
                .collect::<Result<_, ServiceError>>()?;
            Ok((asking.person(&world, &query, later), lists))
        })?;
        let (mut people, mut lists) = (Vec::new(), vec![Vec::new(); orders.len()]);
        for (person, own) in asked {
            people.push(person);
            lists.iter_mut().zip(own).for_each(|(all, list)| all.push(list));
        }
        Ok(Answers { people, lists })
    }

    /// The model whose own list has the best mean NDCG at k, of those that propose; with that.
    pub(super) fn best_single(
        &self,
        setup: &Setup,
        models: &Models,
        asking: &Asking<'_>,
        names: &[&str],
    ) -> Result<Option<(String, f64)>, ServiceError> {
        let world = World::new(self, setup, models.clone(), asking.earlier())?;
        let (events, cut, types) = (asking.events, asking.cut, asking.names());
        let asked = world.each(events, cut, &types, asking.users_max, |later, states, _| {
            let query = world.query(later, states)?;
            let person = asking.person(&world, &query, later);
            let allowed = |item: u32| world.allows(&query, item);
            let own = |name: &&str| {
                let (bound, part) = models.named(name)?;
                let list = bound.recommend(part, &query, asking.k, None, &allowed);
                let list: Vec<u32> = list.into_iter().map(|(item, _)| item).collect();
                Some(ndcg(&list, &person.truth, asking.k))
            };
            let values: Vec<f64> = names.iter().map(|name| own(name).unwrap_or(0.0)).collect();
            Ok((!person.truth.is_empty()).then_some(values))
        })?;
        let asked: Vec<Vec<f64>> = asked.into_iter().flatten().collect();
        let mean = |at: usize| numeric::mean(&asked.iter().map(|values| values[at]).collect::<Vec<f64>>());
        let best = (0..names.len()).map(|at| (at, mean(at)));
        let best = best.reduce(|best, next| if next.1 > best.1 { next } else { best });
        Ok(best
            .filter(|_| !asked.is_empty())
            .map(|(at, mean)| (names[at].to_owned(), mean)))
    }
}

fn source_scores(
    world: &World<'_>,
    query: &Query,
    candidates: &[Candidate],
) -> Result<Vec<f32>, ServiceError> {
    let model = &world.models.main.model;
    let whole = (!model.parts().is_empty()).then(|| model.name());
    let without = |candidate: &Candidate| {
        let mut candidate = candidate.clone();
        candidate.hits.retain(|hit| Some(&*hit.source) != whole);
        candidate
    };
    let candidates: Vec<Candidate> = candidates.iter().map(without).collect();
    let outcomes = SourceScoreRanker::default().rank(query, &candidates);
    let outcomes = outcomes.map_err(|e| ServiceError::Training(e.to_string()))?;
    let score = |outcome: Outcome| match outcome {
        Outcome::Score(score) => score,
        Outcome::Unscorable(_) => f32::NAN,
    };
    Ok(outcomes.into_iter().map(score).collect())
}

impl World<'_> {
    /// The columns that a ranker asks for; those that are not there are missing throughout.
    fn columns(&self, model: &OutcomeModel, values: &[f32]) -> Vec<f32> {
        let own = self.features.features();
        let place = |name: &str| own.iter().position(|feature| feature.name == name);
        let places: Vec<Option<usize>> = model.features.iter().map(|f| place(&f.name)).collect();
        let rows = values.chunks(own.len().max(1));
        rows.flat_map(|row| places.iter().map(|place| place.map_or(f32::NAN, |at| row[at])))
            .collect()
    }

    /// The best k as a placement shows them: by score, equal ones by item id, then as the reranker has them.
    fn list(
        &self,
        query: &Query,
        candidates: &[Candidate],
        scores: &[f32],
        reranker: &dyn Reranker,
        k: usize,
    ) -> Vec<u32> {
        let scored = candidates
            .iter()
            .zip(scores)
            .filter(|(_, score)| score.is_finite());
        let ranked: Vec<Candidate> = scored
            .map(|(candidate, score)| Candidate {
                score: *score,
                ..candidate.clone()
            })
            .collect();
        let ranked = rerank::TopReranker::new(self.catalogue.tie_keys.clone()).rerank(query, ranked);
        let shown = reranker.rerank(query, ranked.chosen).chosen.into_iter();
        shown.take(k).map(|candidate| candidate.item).collect()
    }

    /// Jaccard likeness of what two items are tagged with.
    pub(super) fn likeness(catalogue: &dyn FactsSource, a: u32, b: u32) -> f64 {
        match (catalogue.facts(a), catalogue.facts(b)) {
            (Some(a), Some(b)) => a.likeness(b),
            _ => 0.0,
        }
    }
}
