//! Fitting a blend: scales, weights by history length, and what a model alone is worth.
//!
//! The last events of a sample of people are held out (a fifth, at least one, at most ten; equal moments in
//! an order drawn by hash), the parts are trained on the rest, and for each range of history length the
//! histories are cut to it and the weights are searched one by one on a small grid for the best mean NDCG@20 of
//! the held-out items, all other items of the catalogue competing that are among a part's best hundred.
//! With fewer than [`CASES_MIN`] people in a range its default weights stay.

use crate::TrainingData;
use crate::blend::{Blend, LENGTHS, Weights};
use crate::common::summed;
use dataset::Interactions;
use domain::HistoryEvent;
use numeric::{hash_bytes, mix, parallel_chunks};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// People in a range below which its default weights stay.
const CASES_MIN: usize = 40;
/// Items taken from each part.
const DEPTH: usize = 100;
/// Length of the list that is judged.
const K: usize = 20;
/// Weights tried.
const GRID: [f32; 9] = [0.0, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0];

/// Someone's history with what they took after it.
pub(crate) struct Case {
    history: Vec<HistoryEvent>,
    later: Vec<u32>,
}

/// Data without the held-out events, and those.
pub(crate) struct HeldOut {
    pub(crate) data: TrainingData,
    pub(crate) cases: Vec<Case>,
}

/// Users in an order drawn by hash of their ids.
fn sampled(data: &Interactions, most: usize, seed: u64, least: usize) -> Vec<usize> {
    let mut users: Vec<(u64, usize)> = (0..data.n_users())
        .filter(|u| data.of_user(*u).len() >= least)
        .map(|u| (mix(hash_bytes(data.users[u].as_str().as_bytes()) ^ seed), u))
        .collect();
    users.sort_unstable();
    users.truncate(most);
    users.sort_unstable_by_key(|entry| entry.1);
    users.into_iter().map(|entry| entry.1).collect()
}

fn history_of(list: &[(u32, f32)]) -> Vec<HistoryEvent> {
    let event = |(item, weight): &(u32, f32)| HistoryEvent {
        item: *item,
        weight: *weight,
        age_days: 0.0,
    };
    list.iter().map(event).collect()
}

/// Complete histories of a sample, nothing held out.
pub(crate) fn whole_histories(data: &TrainingData, most: usize, seed: u64) -> Vec<Case> {
    let data = &data.interactions;
    let case = |user| Case {
        history: history_of(&summed(data, user)),
        later: Vec::new(),
    };
    sampled(data, most, seed, 1).into_iter().map(case).collect()
}

/// Holds out the last events of a sample; `None` if there are too few people.
pub(crate) fn hold_out(data: &TrainingData, most: usize, seed: u64) -> Option<HeldOut> {
    let all = &data.interactions;
    let mut cases = Vec::new();
    let mut held: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for user in sampled(all, most, seed, 2) {
        let mut items: Vec<(i64, u64, u32)> = summed(all, user)
            .into_iter()
            .filter(|(_, sum)| *sum > 0.0)
            .map(|(item, _)| {
                let rows = all.of_user(user).iter().filter(|r| r.item == item);
                let last = rows.map(|r| r.timestamp.0).max().unwrap_or(0);
                let id = all.items.id(item).as_str();
                (
                    last,
                    mix(hash_bytes(id.as_bytes()) ^ mix(seed ^ user as u64)),
                    item,
                )
            })
            .collect();
        items.sort_unstable();
        if items.len() < 2 {
            continue;
        }
        let n = (items.len() / 5).clamp(1, 10);
        let later: Vec<u32> = items[items.len() - n..].iter().map(|e| e.2).collect();
        let kept: BTreeSet<u32> = items[..items.len() - n].iter().map(|e| e.2).collect();
        let strengths: BTreeMap<u32, f32> = summed(all, user).into_iter().collect();
        let order = items.iter().map(|e| e.2).filter(|item| kept.contains(item));
        let list: Vec<(u32, f32)> = order.map(|item| (item, strengths[&item])).collect();
        cases.push(Case {
            history: history_of(&list),
            later: later.clone(),
        });
        held.insert(user as u32, later.into_iter().collect());
    }
    if cases.len() < CASES_MIN {
        return None;
    }
    let out = |user: u32, item: u32| held.get(&user).is_some_and(|items| items.contains(&item));
    let rows: Vec<_> = all
        .rows
        .iter()
        .filter(|r| !out(r.user, r.item))
        .copied()
        .collect();
    let mut offsets = vec![0usize; all.n_users() + 1];
    rows.iter().for_each(|r| offsets[r.user as usize + 1] += 1);
    (0..all.n_users()).for_each(|u| offsets[u + 1] += offsets[u]);
    let interactions = Interactions {
        items: Arc::clone(&all.items),
        users: all.users.clone(),
        offsets,
        rows,
    };
    let data = TrainingData {
        interactions: Arc::new(interactions),
        features: Arc::clone(&data.features),
        now: data.now,
    };
    Some(HeldOut { data, cases })
}

/// The case cut to a range of length: its last events; `None` if it is too short.
fn cut(case: &Case, range: usize) -> Option<&[HistoryEvent]> {
    let length = case.history.len();
    if length < LENGTHS[range] {
        return None;
    }
    let most = LENGTHS.get(range + 1).map_or(usize::MAX, |next| next - 1);
    Some(&case.history[length.saturating_sub(most)..])
}

fn unseen(history: &[HistoryEvent]) -> impl Fn(u32) -> bool {
    let seen: BTreeSet<u32> = history.iter().map(|h| h.item).collect();
    move |item| !seen.contains(&item)
}

/// Sets each part's scale to the mean of its best twenty.
pub(crate) fn fit_scales(blend: &mut Blend, cases: &[Case]) {
    for part in &mut blend.parts {
        part.scale = 1.0;
    }
    for at in 0..blend.parts.len() {
        let part = &blend.parts[at];
        let sums = parallel_chunks(cases.len(), 8, |range| {
            let (mut sum, mut n) = (0f64, 0u32);
            for case in &cases[range] {
                let list = part.model.recommend(&case.history, K, &unseen(&case.history));
                sum += list.iter().map(|(_, s)| f64::from(part.scaled(*s))).sum::<f64>();
                n += list.len() as u32;
            }
            (sum, n)
        });
        let (sum, n) = sums.iter().fold((0.0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let mean = (sum / f64::from(n.max(1))) as f32;
        if mean.is_finite() && mean > 1e-20 {
            blend.parts[at].scale = mean;
        }
    }
}

/// Candidates of one case: scaled scores by part, and whether it was taken later.
struct Judged {
    rows: Vec<(Vec<f32>, bool)>,
    later: usize,
}

fn judge(blend: &Blend, history: &[HistoryEvent], later: &[u32]) -> Judged {
    let allowed = unseen(history);
    let mut union = BTreeSet::new();
    for part in &blend.parts {
        let list = part.model.recommend(history, DEPTH, &allowed);
        union.extend(list.into_iter().map(|(item, _)| item));
    }
    let items: Vec<u32> = union.into_iter().collect();
    let mut rows: Vec<(Vec<f32>, bool)> = items
        .iter()
        .map(|item| (Vec::new(), later.contains(item)))
        .collect();
    let mut scores = vec![0f32; items.len()];
    for part in &blend.parts {
        part.model.score(history, &items, &mut scores);
        for (row, score) in rows.iter_mut().zip(&scores) {
            row.0.push(part.scaled(*score));
        }
    }
    Judged {
        rows,
        later: later.len(),
    }
}

impl Judged {
    fn ndcg(&self, weights: &[f32]) -> f64 {
        let score = |row: &[f32]| row.iter().zip(weights).map(|(s, w)| s * w).sum::<f32>();
        let scored = (0u32..).zip(&self.rows).map(|(at, row)| (at, score(&row.0)));
        let discount = |place: usize| 1.0 / (place as f64 + 2.0).log2();
        let list = numeric::top_k(K, scored);
        let hits = list
            .iter()
            .enumerate()
            .filter(|(_, (at, _))| self.rows[*at as usize].1);
        let ideal: f64 = (0..self.later.min(K)).map(discount).sum();
        hits.map(|(place, _)| discount(place)).sum::<f64>() / ideal.max(1e-9)
    }
}

fn mean_ndcg(judged: &[Judged], weights: &[f32]) -> f64 {
    let parts = parallel_chunks(judged.len(), 16, |range| {
        judged[range].iter().map(|j| j.ndcg(weights)).sum::<f64>()
    });
    parts.iter().sum::<f64>() / judged.len().max(1) as f64
}

/// Searches weights for each range of length.
pub(crate) fn fit_weights(blend: &Blend, cases: &[Case]) -> Weights {
    let mut weights: Weights = blend
        .parts
        .iter()
        .map(|part| (part.model.name(), part.weights))
        .collect();
    for range in 1..LENGTHS.len() {
        let cut_cases: Vec<(&[HistoryEvent], &[u32])> = cases
            .iter()
            .filter_map(|case| Some((cut(case, range)?, case.later.as_slice())))
            .collect();
        if cut_cases.len() < CASES_MIN {
            continue;
        }
        let judged = parallel_chunks(cut_cases.len(), 8, |range| {
            let cases = cut_cases[range].iter();
            cases
                .map(|(history, later)| judge(blend, history, later))
                .collect::<Vec<_>>()
        });
        let judged: Vec<Judged> = judged.into_iter().flatten().collect();
        let start: Vec<f32> = blend.parts.iter().map(|p| p.weights[range]).collect();
        let found = search(&judged, start);
        for (part, weight) in blend.parts.iter().zip(found) {
            if let Some(weights) = weights.get_mut(part.model.name()) {
                weights[range] = weight;
            }
        }
    }
    weights
}

/// One weight after the other over the grid until nothing gains, three rounds at most.
fn search(judged: &[Judged], start: Vec<f32>) -> Vec<f32> {
    let mut best = (mean_ndcg(judged, &start), start);
    for _ in 0..3 {
        let before = best.0;
        for at in 0..best.1.len() {
            for weight in GRID {
                let mut tried = best.1.clone();
                tried[at] = weight;
                let value = mean_ndcg(judged, &tried);
                // A gain below this is noise, and a change for it would be too.
                if value > best.0 + 5e-4 {
                    best = (value, tried);
                }
            }
        }
        if best.0 <= before {
            break;
        }
    }
    best.1
}

/// Sets each part's `alone`: the blend's score over the part's own, on items of the part's best twenty that all know.
pub(crate) fn fit_alone(blend: &mut Blend, cases: &[Case]) {
    for range in 0..LENGTHS.len() {
        for at in 0..blend.parts.len() {
            let shared = &*blend;
            let sums = parallel_chunks(cases.len(), 8, |chunk| {
                let (mut whole, mut own) = (0f64, 0f64);
                for history in cases[chunk].iter().filter_map(|case| cut(case, range)) {
                    add_alone(shared, at, history, &mut whole, &mut own);
                }
                (whole, own)
            });
            let (whole, own) = sums.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
            if own > 1e-9 && whole > 0.0 {
                blend.parts[at].alone[range] = ((whole / own) as f32).clamp(0.01, 1.0);
            }
        }
    }
}

fn add_alone(blend: &Blend, at: usize, history: &[HistoryEvent], whole: &mut f64, own: &mut f64) {
    let part = &blend.parts[at];
    let (_, active) = blend.active(history);
    if !active[at] {
        return;
    }
    let everyone = |item: u32| {
        let mut speaking = blend.parts.iter().zip(&active).filter(|(_, active)| **active);
        speaking.all(|(part, _)| part.model.knows(item))
    };
    let allowed = unseen(history);
    let list = part
        .model
        .recommend(history, K, &|item| allowed(item) && everyone(item));
    let items: Vec<u32> = list.iter().map(|(item, _)| *item).collect();
    let mut scores = vec![0f32; items.len()];
    blend.score_all(history, &items, &mut scores);
    *whole += scores.iter().map(|s| f64::from(*s)).sum::<f64>();
    *own += list.iter().map(|(_, s)| f64::from(part.scaled(*s))).sum::<f64>();
}
