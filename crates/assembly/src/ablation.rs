//! What each step of a placement adds, measured on the past: models and ranker learn from the earlier part of the log, people of the later part are asked at the moment before
//! their first later event, and what they did afterwards is the truth.

use crate::ranker_history::{World, moment_at};
use crate::{Service, ServiceError};
use domain::Candidate;
use numeric::SeededStream;
use ranking::{RankerKind, learn};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationRequest {
    /// Whose sources and rules.
    pub placement: String,
    /// Length of the lists.
    pub k: usize,
    /// People asked at most.
    pub users_max: usize,
    /// Share of the events that are the earlier part.
    pub earlier_share: f64,
    /// Weight of relevance against likeness in the step for diversity, 0 to 1.
    pub relevance: f64,
}

/// A mean with its 95 % interval by bootstrap over people.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean, or the figure itself where there is one for all people together.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationStep {
    /// Which.
    pub step: &'static str,
    /// Share of what a person did later that is in the list, out of at most k.
    pub recall: Estimate,
    /// NDCG at k.
    pub ndcg: Estimate,
    /// Share of the catalogue that is in anybody's list.
    pub coverage: Estimate,
    /// Gini coefficient of how often each item of the catalogue is in a list; 1 where all lists are one item.
    pub gini: Estimate,
    /// Mean distance (1 − Jaccard) of the tags and categories of two items of a list.
    pub intra_list_diversity: Estimate,
}

/// All steps on the same people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationReport {
    /// What was asked.
    pub request: AblationRequest,
    /// People asked.
    pub users: u64,
    /// Items in the catalogue.
    pub items: u64,
    /// Rows that the ranker was learnt from.
    pub ranker_rows: u64,
    /// Steps in order.
    pub steps: Vec<AblationStep>,
}

const STEPS: [&str; 4] = [
    "retrieval: ranks of all sources",
    "+ model",
    "+ learned ranker",
    "+ diversity (MMR)",
];
const ROUNDS: usize = 200;

/// One person's lists by step, and what came after.
struct Answer {
    lists: Vec<Vec<u32>>,
    truth: BTreeSet<u32>,
}

impl Service {
    /// Measures the steps of a placement; see the head of the module. Blocks; nothing is published.
    ///
    /// # Errors
    /// A request that cannot be, another training under way, or too little to learn from.
    pub fn ablation(
        &self,
        request: &AblationRequest,
        progress: &dyn Fn(&str),
    ) -> Result<AblationReport, ServiceError> {
        let Some(placement) = self.config.placements.get(&request.placement) else {
            let known: Vec<&str> = self.config.placements.keys().map(String::as_str).collect();
            return Err(ServiceError::input(
                "placement",
                request.placement.as_str(),
                format!("one of {}", known.join(", ")),
            ));
        };
        if !(1..=1000).contains(&request.k)
            || !(0.2..=0.95).contains(&request.earlier_share)
            || !(0.0..=1.0).contains(&request.relevance)
        {
            let got = format!("{request:?}");
            return Err(ServiceError::input(
                "request",
                got,
                "k from 1 to 1000, earlier_share from 0.2 to 0.95, relevance from 0 to 1",
            ));
        }
        if self.is_training.swap(true, Ordering::SeqCst) {
            return Err(ServiceError::Busy("a training is under way".into()));
        }
        let _under = crate::learn::Under(self);
        let cancel = Arc::new(AtomicBool::new(false));
        crate::service::lock(&self.training).cancel = cancel.clone();
        let mut placement = placement.clone();
        placement.ranker.kind = RankerKind::Trees;
        let weights = self.head_weights(&request.placement);
        progress("reading events");
        let events = self.past()?;
        let cut = moment_at(&events, request.earlier_share)?;
        let earlier = &events[..events.partition_point(|(at, ..)| *at < cut)];
        let rows = self.rows_from_events(earlier, &placement, &weights, progress, cancel.clone())?;
        progress("learning the ranker");
        let seed = self.config.training.seed;
        let learnt = numeric::on_threads(self.threads(), || {
            learn(&rows, &weights, &placement.ranker, &[], seed)
        });
        let (ranker, _) = learnt.map_err(|e| ServiceError::Training(e.to_string()))?;
        let models = self.models_of(cut, progress, cancel)?;
        progress("asking people");
        let world = World::new(self, &placement, models, earlier)?;
        let liked: Vec<String> = weights
            .iter()
            .filter(|(_, head)| head.weight > 0.0)
            .map(|(name, _)| name.clone())
            .collect();
        let answers = world.each(
            &events,
            cut,
            &liked,
            request.users_max,
            |later, states, counts| {
                let (query, candidates) = world.candidates(later, states)?;
                let (model_scores, values) = world.read(&query, &candidates, counts)?;
                let columns: Vec<usize> = ranker
                    .features
                    .iter()
                    .filter_map(|feature| {
                        world
                            .features
                            .features()
                            .iter()
                            .position(|own| own.name == feature.name)
                    })
                    .collect();
                let width = world.features.len();
                let rows: Vec<f32> = values
                    .chunks(width)
                    .flat_map(|row| columns.iter().map(|at| row[*at]))
                    .collect();
                let ranked = ranker.scores(&rows);
                let fused: Vec<f32> = candidates
                    .iter()
                    .map(|c| c.hits.iter().map(|hit| 1.0 / (60.0 + hit.rank as f32)).sum())
                    .collect();
                let by = |scores: &[f32]| self.top(&candidates, scores, request.k);
                let spread = diverse(&world, &candidates, &ranked, request);
                // What may not be shown again cannot be found again.
                let may = |item: &u32| !(placement.exclude_seen && query.seen.binary_search(item).is_ok());
                let truth = later.did.iter().map(|(item, _)| *item).filter(may);
                Ok(Answer {
                    lists: vec![by(&fused), by(&model_scores), by(&ranked), spread],
                    truth: truth.collect(),
                })
            },
        )?;
        let answers: Vec<Answer> = answers
            .into_iter()
            .filter(|answer| !answer.truth.is_empty())
            .collect();
        if answers.is_empty() {
            return Err(ServiceError::Training(
                "nobody did anything new in the later part".to_owned(),
            ));
        }
        let n_items = world.catalogue.len();
        let step =
            |(at, step): (usize, &&'static str)| self.step(&world, &answers, at, step, request.k, n_items);
        Ok(AblationReport {
            users: answers.len() as u64,
            items: n_items as u64,
            ranker_rows: rows.len() as u64,
            steps: STEPS.iter().enumerate().map(step).collect(),
            request: request.clone(),
        })
    }

    /// The best k, equal ones by position.
    fn top(&self, candidates: &[Candidate], scores: &[f32], k: usize) -> Vec<u32> {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        let score = |at: usize| {
            if scores[at].is_nan() {
                f32::NEG_INFINITY
            } else {
                scores[at]
            }
        };
        order.sort_by(|a, b| {
            score(*b)
                .total_cmp(&score(*a))
                .then(candidates[*a].item.cmp(&candidates[*b].item))
        });
        order.into_iter().take(k).map(|at| candidates[at].item).collect()
    }

    fn step(
        &self,
        world: &World<'_>,
        answers: &[Answer],
        at: usize,
        step: &'static str,
        k: usize,
        n_items: usize,
    ) -> AblationStep {
        let seed = self.config.training.seed;
        let by_user = |value: &dyn Fn(&Answer) -> f64| {
            let values: Vec<f64> = answers.iter().map(value).collect();
            let interval = numeric::bootstrap_mean(&values, 1000, 0.95, seed);
            Estimate {
                mean: interval.mean,
                low: interval.low,
                high: interval.high,
            }
        };
        let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
        let overall = |value: &(dyn Fn(&[&Answer]) -> f64 + Sync)| {
            let all: Vec<&Answer> = answers.iter().collect();
            let mut drawn: Vec<f64> = (0..ROUNDS)
                .map(|round| {
                    let mut stream = SeededStream::new(seed, round as u64);
                    let sample: Vec<&Answer> = all
                        .iter()
                        .map(|_| all[stream.below(all.len() as u64) as usize])
                        .collect();
                    value(&sample)
                })
                .collect();
            drawn.sort_by(f64::total_cmp);
            Estimate {
                mean: value(&all),
                low: drawn[ROUNDS * 25 / 1000],
                high: drawn[ROUNDS - 1 - ROUNDS * 25 / 1000],
            }
        };
        AblationStep {
            step,
            recall: by_user(&|answer| {
                let hits = answer.lists[at]
                    .iter()
                    .filter(|item| answer.truth.contains(item))
                    .count();
                hits as f64 / answer.truth.len().min(k) as f64
            }),
            ndcg: by_user(&|answer| {
                let hits = answer.lists[at]
                    .iter()
                    .enumerate()
                    .filter(|(_, item)| answer.truth.contains(item));
                let value: f64 = hits.map(|(rank, _)| discount(rank)).sum();
                value / (0..answer.truth.len().min(k)).map(discount).sum::<f64>()
            }),
            coverage: overall(&|sample| {
                let all: BTreeSet<u32> = sample
                    .iter()
                    .flat_map(|answer| answer.lists[at].iter().copied())
                    .collect();
                all.len() as f64 / n_items as f64
            }),
            gini: overall(&|sample| gini(sample, at, n_items)),
            intra_list_diversity: by_user(&|answer| {
                let list = &answer.lists[at];
                let pairs = list
                    .iter()
                    .enumerate()
                    .flat_map(|(i, a)| list[i + 1..].iter().map(move |b| (*a, *b)));
                let distances: Vec<f64> = pairs.map(|(a, b)| 1.0 - world.likeness(a, b)).collect();
                numeric::mean(&distances)
            }),
        }
    }
}

/// Gini coefficient of exposure over the catalogue.
fn gini(sample: &[&Answer], at: usize, n_items: usize) -> f64 {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    sample
        .iter()
        .flat_map(|answer| &answer.lists[at])
        .for_each(|item| *counts.entry(*item).or_default() += 1);
    let mut counts: Vec<u64> = counts.into_values().collect();
    counts.sort_unstable();
    let total: u64 = counts.iter().sum();
    if total == 0 || n_items < 2 {
        return 0.0;
    }
    // Items in no list come first, with 0 each.
    let unseen = n_items - counts.len();
    let weighted: f64 = counts
        .iter()
        .enumerate()
        .map(|(i, c)| (2.0 * (unseen + i + 1) as f64 - n_items as f64 - 1.0) * *c as f64)
        .sum();
    weighted / (n_items as f64 * total as f64)
}

/// Maximal marginal relevance over the best 5 k (J. Carbonell and J. Goldstein, 1998), scores brought to 0 … 1.
fn diverse(
    world: &World<'_>,
    candidates: &[Candidate],
    scores: &[f32],
    request: &AblationRequest,
) -> Vec<u32> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|a, b| {
        scores[*b]
            .total_cmp(&scores[*a])
            .then(candidates[*a].item.cmp(&candidates[*b].item))
    });
    order.truncate(request.k * 5);
    let (high, low) = (
        order.first().map_or(0.0, |at| scores[*at]),
        order.last().map_or(0.0, |at| scores[*at]),
    );
    let spread = f64::from(high - low).max(1e-12);
    let mut pool: Vec<(u32, f64, f64)> = order
        .iter()
        .map(|at| (candidates[*at].item, f64::from(scores[*at] - low) / spread, 0.0))
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < request.k && !pool.is_empty() {
        let value = |(_, relevance, likeness): &(u32, f64, f64)| {
            request.relevance * relevance - (1.0 - request.relevance) * likeness
        };
        let best = (0..pool.len()).reduce(|a, b| if value(&pool[b]) > value(&pool[a]) { b } else { a });
        let Some(best) = best else { break };
        let (item, ..) = pool.remove(best);
        chosen.push(item);
        for other in &mut pool {
            other.2 = other.2.max(world.likeness(item, other.0));
        }
    }
    chosen
}

impl World<'_> {
    /// Jaccard likeness of what two items are tagged with.
    fn likeness(&self, a: u32, b: u32) -> f64 {
        let facts = |item| ranking::features::FactsSource::facts(&*self.catalogue, item);
        match (facts(a), facts(b)) {
            (Some(a), Some(b)) => a.likeness(b),
            _ => 0.0,
        }
    }
}
