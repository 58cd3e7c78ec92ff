//! Ranking for every test user with a fitted model, and what came of it.

use crate::bootstrap::{Estimate, ROUNDS, column_means};
use crate::groups::gini;
use crate::set::{Judge, Lens};
use crate::{EvaluateError, Groups, MetricSet, Popularity, Prepared, TestUser};
use domain::{ItemId, UserId};
use models::{Asked, Model};
use numeric::{TopK, on_threads, parallel_chunks_with};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Lists are at least this long, so that the reciprocal rank is not cut with the shortest lists.
pub const LIST_LENGTH_MIN: usize = 100;
/// Histories of 1 to this many items are reported as few-shot.
const FEW_SHOT_MAX: usize = 5;
/// Lengths at which the curve of recall is taken.
const CURVE: [usize; 10] = [1, 2, 3, 5, 10, 20, 30, 50, 75, 100];
/// Users per unit of parallel work.
const CHUNK: usize = 16;

/// What is ranked for a user.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// Every item of the catalogue but those that the user has seen.
    Full,
    /// The user's relevant items and these. Figures are not comparable with those of full ranking
    /// (Krichene and Rendle, 2020) and are for tables that were made so.
    Negatives(HashMap<UserId, Vec<ItemId>>),
}

/// Part of the users.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Segment {
    /// How many.
    pub users: usize,
    /// Their metrics.
    pub metrics: BTreeMap<String, Estimate>,
}

/// What came of one model.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// By name, as `ndcg@10`.
    pub metrics: BTreeMap<String, Estimate>,
    /// `unseen` (no history), `few_shot` (1 to 5 items), `warm`, where there are such users.
    pub segments: BTreeMap<&'static str, Segment>,
    /// Users for whom the model gave nothing.
    pub empty_lists: usize,
    /// Mean recall by length of the list.
    pub recall_curve: Vec<(usize, f64)>,
    /// Names of the columns of `rows`.
    #[serde(skip)]
    columns: Vec<String>,
    /// Metrics of each test user, row after row; not a number where one is not defined.
    #[serde(skip)]
    rows: Vec<f64>,
}

impl Measured {
    /// One metric of each test user, in their order; `None` if it is not taken by user.
    pub fn per_user(&self, metric: &str) -> Option<Vec<f64>> {
        let column = self.columns.iter().position(|name| name == metric)?;
        let rows = self.rows.chunks_exact(self.columns.len());
        Some(rows.map(|row| row[column]).collect())
    }

    /// Names of the metrics taken by user.
    pub fn names(&self) -> &[String] {
        &self.columns
    }
}

/// One user's list with its metrics.
struct Ranked {
    list: Vec<u32>,
    /// Places of relevant items.
    hits: Vec<u32>,
    row: Vec<f64>,
}

/// Ranks for all test users on this many threads and aggregates. The reciprocal rank looks at
/// the first max(longest k, 100) places. Metrics of novelty are taken with full ranking only.
/// `progress` is told how many users are done since the last call. The same at any thread count.
///
/// # Errors
/// [`EvaluateError::NoNegatives`] if a test user has no negatives under that protocol.
///
/// # Panics
/// If `model` was not fitted on the training data of `prepared`.
pub fn measure(
    model: &dyn Model,
    prepared: &Prepared,
    set: &MetricSet,
    protocol: &Protocol,
    seed: u64,
    threads: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Measured, EvaluateError> {
    let items = &prepared.training.interactions.items;
    assert_eq!(
        model.vocabulary().ids(),
        items.ids(),
        "model {} was fitted on other items",
        model.name()
    );
    let candidates = candidates(prepared, protocol)?;
    let full_ranking = matches!(protocol, Protocol::Full);
    let train = &prepared.training.interactions;
    let popularity = full_ranking.then(|| Popularity::new(train, prepared.summary.catalogue_items));
    let groups = full_ranking.then(|| Groups::new(train));
    let lens = Lens {
        popularity: popularity.as_ref(),
        groups: groups.as_ref(),
        labels: prepared.labels.as_deref().filter(|_| full_ranking),
    };
    let length = set.longest().max(LIST_LENGTH_MIN);
    let users = &prepared.users;
    let hidden = not_ranked(prepared);
    on_threads(threads, || {
        let ranked: Vec<Ranked> = parallel_chunks_with(users.len(), CHUNK, Vec::new, |lists, range| {
            let done = range.len();
            match &candidates {
                None => full(model, &users[range.clone()], length, hidden.as_deref(), lists),
                Some(candidates) => {
                    let list = |at: usize| sampled(model, &users[at], &candidates[at], length);
                    lists.extend(range.clone().map(list));
                }
            }
            let ranked: Vec<Ranked> = lists
                .drain(..)
                .zip(&users[range])
                .map(|(list, user)| judged(list, user, set, lens))
                .collect();
            progress(done);
            ranked
        })
        .into_iter()
        .flatten()
        .collect();
        Ok(aggregate(ranked, prepared, set, lens, seed))
    })
}

/// Whether an item is left out for everyone, by position; `None` if none is.
fn not_ranked(prepared: &Prepared) -> Option<Vec<bool>> {
    let ranked = prepared.ranked.as_ref()?;
    Some(ranked.iter().map(|ranked| !ranked).collect())
}

fn candidates(prepared: &Prepared, protocol: &Protocol) -> Result<Option<Vec<Vec<u32>>>, EvaluateError> {
    let Protocol::Negatives(negatives) = protocol else {
        return Ok(None);
    };
    let mut without = prepared
        .users
        .iter()
        .filter(|user| !negatives.contains_key(&user.user));
    if let Some(example) = without.next() {
        return Err(EvaluateError::NoNegatives {
            user: example.user.to_string(),
            missing: 1 + without.count(),
        });
    }
    let items = &prepared.training.interactions.items;
    let of_user = |user: &TestUser| {
        let own = negatives.get(&user.user).map_or(&[][..], Vec::as_slice);
        let mut all: Vec<u32> = own
            .iter()
            .filter_map(|item| items.position(item.as_str()))
            .collect();
        all.extend(&user.relevant);
        all.sort_unstable();
        all.dedup();
        all
    };
    Ok(Some(prepared.users.iter().map(of_user).collect()))
}

/// Lists of all items but those seen or hidden, appended to `lists`.
fn full(
    model: &dyn Model,
    users: &[TestUser],
    length: usize,
    hidden: Option<&[bool]>,
    lists: &mut Vec<Vec<u32>>,
) {
    let seen = |user: &TestUser, item: u32| user.seen.binary_search(&item).is_ok();
    let shown = |item: u32| hidden.is_none_or(|hidden| !hidden[item as usize]);
    let allowed: Vec<_> = users
        .iter()
        .map(|user| move |item: u32| shown(item) && !seen(user, item))
        .collect();
    let asked: Vec<Asked<'_>> = users
        .iter()
        .zip(&allowed)
        .map(|(user, allowed)| Asked {
            someone: user.someone(),
            allowed,
        })
        .collect();
    let found = model.recommend_many(&asked, length).into_iter();
    lists.extend(found.map(|top| top.into_iter().map(|(item, _)| item).collect()));
}

/// Candidates that the model knows by score, ties by item id (positions are in id order), then
/// the others.
fn sampled(model: &dyn Model, user: &TestUser, candidates: &[u32], length: usize) -> Vec<u32> {
    let mut scores = vec![0.0; candidates.len()];
    model.score_for(user.someone(), candidates, &mut scores);
    let mut top = TopK::new(length, |a, b| a.cmp(&b));
    for (item, score) in candidates.iter().zip(scores) {
        top.push(
            *item,
            if model.knows(*item) {
                score
            } else {
                f32::NEG_INFINITY
            },
        );
    }
    top.finish().into_iter().map(|(item, _)| item).collect()
}

fn judged(list: Vec<u32>, user: &TestUser, set: &MetricSet, lens: Lens<'_>) -> Ranked {
    let gains: Vec<f64> = list
        .iter()
        .map(|item| f64::from(user.relevant.binary_search(item).is_ok()))
        .collect();
    let ideal = vec![1.0; user.n_relevant];
    let mut row = Vec::new();
    let judge = Judge {
        ideal: &ideal,
        relevant: &user.relevant,
        n_relevant: user.n_relevant,
        history: &user.history,
    };
    set.row(&list, &gains, judge, lens, &mut row);
    let hits = gains.iter().enumerate().filter(|(_, gain)| **gain > 0.0);
    Ranked {
        row,
        hits: hits.map(|(place, _)| place as u32).collect(),
        list,
    }
}

fn aggregate(
    ranked: Vec<Ranked>,
    prepared: &Prepared,
    set: &MetricSet,
    lens: Lens<'_>,
    seed: u64,
) -> Measured {
    let names = set.names(lens);
    let everyone = of_some(&names, &ranked, prepared, seed, &|_| true);
    let named = |of: &dyn Fn(&TestUser) -> bool| {
        if prepared.users.iter().all(of) {
            return everyone.clone();
        }
        of_some(&names, &ranked, prepared, seed, of)
    };
    let mut metrics = everyone.metrics.clone();
    if lens.popularity.is_some() {
        let lists = ranked.iter().map(|ranked| ranked.list.as_slice());
        let n_catalogue = prepared.summary.catalogue_items;
        metrics.extend(coverage(lists.clone(), set, n_catalogue));
        metrics.extend(exposure(lists, set, n_catalogue));
    }
    let n = |user: &TestUser| user.history.len();
    let segments = BTreeMap::from([
        ("unseen", named(&|user| n(user) == 0)),
        ("few_shot", named(&|user| (1..=FEW_SHOT_MAX).contains(&n(user)))),
        ("warm", named(&|user| n(user) > FEW_SHOT_MAX)),
    ]);
    Measured {
        metrics,
        segments: segments
            .into_iter()
            .filter(|(_, segment)| segment.users > 0)
            .collect(),
        empty_lists: ranked.iter().filter(|ranked| ranked.list.is_empty()).count(),
        recall_curve: recall_curve(&ranked, prepared, set.longest().max(LIST_LENGTH_MIN)),
        columns: names,
        rows: ranked.into_iter().flat_map(|ranked| ranked.row).collect(),
    }
}

/// Means over some users.
fn of_some(
    names: &[String],
    ranked: &[Ranked],
    prepared: &Prepared,
    seed: u64,
    of: &dyn Fn(&TestUser) -> bool,
) -> Segment {
    let rows = ranked.iter().zip(&prepared.users).filter(|(_, user)| of(user));
    let values: Vec<f64> = rows.flat_map(|(ranked, _)| ranked.row.iter().copied()).collect();
    let means = column_means(&values, names.len(), ROUNDS, seed);
    Segment {
        users: values.len() / names.len(),
        metrics: names.iter().cloned().zip(means).collect(),
    }
}

/// Mean recall at the lengths of [`CURVE`] that lists have.
fn recall_curve(ranked: &[Ranked], prepared: &Prepared, length: usize) -> Vec<(usize, f64)> {
    let at_length = |k: usize| {
        let recall = |(ranked, user): (&Ranked, &TestUser)| {
            let hits = ranked.hits.iter().filter(|place| (**place as usize) < k).count();
            hits as f64 / user.n_relevant.max(1) as f64
        };
        let total: f64 = ranked.iter().zip(&prepared.users).map(recall).sum();
        (k, total / ranked.len().max(1) as f64)
    };
    let lengths = CURVE.into_iter().filter(|k| *k <= length);
    lengths.map(at_length).collect()
}

/// How unevenly lists use the catalogue: the Gini index of how often each item is among the first k. No mean over
/// users either.
fn exposure<'a>(
    lists: impl Iterator<Item = &'a [u32]> + Clone,
    set: &MetricSet,
    n_catalogue: usize,
) -> Vec<(String, Estimate)> {
    let at_length = |k: usize| {
        let mut listed: Vec<u32> = lists
            .clone()
            .flat_map(|list| list.iter().take(k).copied())
            .collect();
        listed.sort_unstable();
        let counts = listed.chunk_by(|a, b| a == b).map(|run| run.len() as u32);
        let estimate = Estimate {
            mean: gini(counts.collect(), n_catalogue),
            low: None,
            high: None,
        };
        (format!("gini@{k}"), estimate)
    };
    set.lengths().iter().map(|k| at_length(*k)).collect()
}

/// Share of the catalogue that is in at least one list's first k places. It is no mean over
/// users, so it has no interval here.
pub(crate) fn coverage<'a>(
    lists: impl Iterator<Item = &'a [u32]> + Clone,
    set: &MetricSet,
    n_catalogue: usize,
) -> Vec<(String, Estimate)> {
    let at_length = |k: usize| {
        let mut listed: Vec<u32> = lists
            .clone()
            .flat_map(|list| list.iter().take(k).copied())
            .collect();
        listed.sort_unstable();
        listed.dedup();
        let mean = listed.len() as f64 / n_catalogue.max(1) as f64;
        (
            format!("catalog_coverage@{k}"),
            Estimate {
                mean,
                low: None,
                high: None,
            },
        )
    };
    set.lengths().iter().map(|k| at_length(*k)).collect()
}
