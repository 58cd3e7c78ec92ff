//! Fitting a blend: scales, trust by history length and item age, and what a model alone is worth.
//!
//! The last events of a sample of people are held out (a fifth, at least one, at most ten; equal moments in
//! an order drawn by hash), and the parts are trained on the rest. For each range of history length the
//! histories are cut to it and the weights are searched one by one on a small grid, then in finer steps, for the best mean
//! NDCG@20 of the held-out items, all other items of the catalogue competing that are among a part's best hundred. The
//! search starts from the default weights and from each model alone, so no model alone is better on these people; weights found
//! on one half of the people that do worse on the other half than the best model alone are given up for that model.
//! Factors by item age are searched the same way after the weights, on whole histories.
//! All that is done for each way to measure scores (`blend_unit.rs`), unless one is asked for; another than the usual one must be better by more than chance, since it costs.
//! How the events of a history count by their place (`recall.rs`) is searched before that, part by part, for the best mean NDCG@20 of the part's own
//! list on whole histories, where a configuration leaves it open. People go on with what they are at or come back after a while, and what tells best of one tells
//! worse of the other: so of every second person who came back in the later half of their history, all since they last did is held out, and the first ten of that are
//! what is looked for.
//! With fewer than [`CASES_MIN`] people in a range its default weights stay.

use crate::blend::{Blend, GROWTH_MAX, GROWTH_MIN, LENGTHS, Recalls, Trusts, WEIGHT_FLOOR};
use crate::blend_part::Part;
use crate::blend_unit::{KINDS, Normalise, OWN, own_list, unseen};
use crate::common::summed;
use crate::{Model, ModelError, Recall, Run, Someone, TopItems, TrainingData, UserFeatures};
use dataset::Interactions;
use domain::HistoryEvent;
use numeric::{hash_bytes, mean, mix, parallel_chunks, variance};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// People in a range below which its default weights stay.
const CASES_MIN: usize = 40;
/// Items taken from each part.
const DEPTH: usize = OWN;
/// Length of the list that is judged.
const K: usize = 20;
/// Weights tried.
const GRID: [f32; 9] = [0.0, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0];
/// Steps tried around the best of the grid.
const STEPS: [f32; 4] = [0.7, 0.85, 1.2, 1.4];
/// Factors by item age tried.
const AGE_GRID: [f32; 7] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0];
/// Half-lives and floors tried of how events fade. Floors below the usual one do better by those who go on, who are most of the cases, and worse by as much by
/// those who come back.
const HALF_LIVES: [f32; 4] = [2.0, 4.0, 8.0, 16.0];
const FLOORS: [f32; 3] = [0.1, 0.2, 0.4];
/// People by whom they are judged.
const RECALL_CASES: usize = 500;
/// A pause after which somebody comes back, milliseconds: half an hour, as sessions are commonly cut.
const PAUSE_MS: i64 = 30 * 60 * 1000;
/// Gain in mean NDCG, and in standard errors of it, that units of a person's own must bring.
const OWN_GAIN_MIN: f64 = 1e-3;
const OWN_ERRORS_MIN: f64 = 2.0;
/// A gain below this is noise, and a change for it would be too.
const GAIN_MIN: f64 = 3e-4;

/// Most events that are looked for.
const LATER_MAX: usize = 10;

/// Someone's history with what they took after it.
pub(crate) struct Case {
    history: Vec<HistoryEvent>,
    attributes: UserFeatures,
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

fn attributes_of(data: &TrainingData, user: usize) -> UserFeatures {
    data.user_features.get(user).cloned().unwrap_or_default()
}

impl Case {
    fn with<'a>(&'a self, history: &'a [HistoryEvent]) -> Someone<'a> {
        Someone {
            history,
            attributes: &self.attributes,
        }
    }
}

/// Complete histories of a sample, nothing held out.
pub(crate) fn whole_histories(data: &TrainingData, most: usize, seed: u64) -> Vec<Case> {
    let case = |user| Case {
        history: history_of(&summed(&data.interactions, user)),
        attributes: attributes_of(data, user),
        later: Vec::new(),
    };
    sampled(&data.interactions, most, seed, 1)
        .into_iter()
        .map(case)
        .collect()
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
        let usual = items.len() - (items.len() / 5).clamp(1, LATER_MAX);
        let moments: Vec<i64> = items.iter().map(|e| e.0).collect();
        let drawn = mix(hash_bytes(all.users[user].as_str().as_bytes()) ^ !seed) & 1 == 1;
        let at = Some(moments)
            .filter(|_| drawn)
            .and_then(|moments| came_back(&moments));
        let at = at.unwrap_or(usual);
        let out: BTreeSet<u32> = items[at..].iter().map(|e| e.2).collect();
        let later: Vec<u32> = items[at..].iter().take(LATER_MAX).map(|e| e.2).collect();
        let kept: BTreeSet<u32> = items[..at].iter().map(|e| e.2).collect();
        let strengths: BTreeMap<u32, f32> = summed(all, user).into_iter().collect();
        let order = items.iter().map(|e| e.2).filter(|item| kept.contains(item));
        let list: Vec<(u32, f32)> = order.map(|item| (item, strengths[&item])).collect();
        cases.push(Case {
            history: history_of(&list),
            attributes: attributes_of(data, user),
            later,
        });
        held.insert(user as u32, out);
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
        user_features: Arc::clone(&data.user_features),
        now: data.now,
    };
    Some(HeldOut { data, cases })
}

/// Where somebody last came back after a pause, in the later half of these moments, which ascend.
fn came_back(moments: &[i64]) -> Option<usize> {
    let half = moments.len().div_ceil(2).max(1);
    (half..moments.len())
        .rev()
        .find(|at| moments[*at].saturating_sub(moments[at - 1]) > PAUSE_MS)
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

/// Searches how events fade for those of these parts that let them: first the half-life, then the floor, then both again if
/// either changed. Sets what is found, and gives it by name.
pub(crate) fn fit_recalls(blend: &mut Blend, cases: &[Case], open: &BTreeSet<&'static str>) -> Recalls {
    let step = cases.len().div_ceil(RECALL_CASES).max(1);
    let cases: Vec<&Case> = cases.iter().step_by(step).collect();
    let mut found = Recalls::new();
    for part in blend
        .parts
        .iter_mut()
        .filter(|part| open.contains(part.model.name()))
    {
        let Some(start) = part.model.recall().filter(Recall::fades) else {
            continue;
        };
        let mut best = (own_gains(&*part.model, &cases), start);
        for _ in 0..2 {
            let before = best.1;
            let half_lives = HALF_LIVES.map(|half_life| Recall { half_life, ..best.1 });
            best = better_of(part, &cases, best, &half_lives);
            let floors = FLOORS.map(|floor| Recall { floor, ..best.1 });
            best = better_of(part, &cases, best, &floors);
            if best.1 == before {
                break;
            }
        }
        part.model.set_recall(best.1);
        found.insert(part.model.name(), best.1);
    }
    found
}

/// The best of these, if it is better than what there is by more than chance.
fn better_of(
    part: &mut Part,
    cases: &[&Case],
    mut best: (Vec<f64>, Recall),
    tried: &[Recall],
) -> (Vec<f64>, Recall) {
    let before = best.1;
    for recall in tried.iter().filter(|recall| **recall != before) {
        part.model.set_recall(*recall);
        let gains = own_gains(&*part.model, cases);
        if is_better(&gains, &best.0) {
            best = (gains, *recall);
        }
    }
    best
}

/// NDCG of the part's own list, by case.
fn own_gains(model: &dyn Model, cases: &[&Case]) -> Vec<f64> {
    let parts = parallel_chunks(cases.len(), 8, |chunk| {
        let one = |case: &&Case| {
            let list = model.recommend_for(case.with(&case.history), K, &unseen(&case.history));
            let places = (0..list.len()).filter(|place| case.later.contains(&list[*place].0));
            let ideal: f64 = (0..case.later.len().min(K)).map(discount).sum();
            places.map(discount).sum::<f64>() / ideal.max(1e-9)
        };
        cases[chunk].iter().map(one).collect::<Vec<f64>>()
    });
    parts.into_iter().flatten().collect()
}

/// What a hit at a place counts.
fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

/// Sets each part's scale and growth: a line through the logarithms of the mean of its best twenty and of the history's
/// length. Each history counts whole and cut to its last events, so that there are short ones.
pub(crate) fn fit_scales(blend: &mut Blend, cases: &[Case]) {
    let lengths = [2usize, 6, 20, usize::MAX];
    for at in 0..blend.parts.len() {
        let shared = &*blend;
        let part = &shared.parts[at];
        let points = parallel_chunks(cases.len(), 8, |range| {
            let mut points = Vec::new();
            for case in &cases[range] {
                let mut before = 0;
                for length in lengths {
                    let cut = length.min(case.history.len());
                    let history = &case.history[case.history.len() - cut..];
                    if cut == before && cut > 0 {
                        break;
                    }
                    before = cut;
                    let list = part.model.recommend_for(case.with(history), K, &unseen(history));
                    let sum: f64 = list.iter().map(|(_, s)| f64::from(part.rooted(*s))).sum();
                    let mean = sum / list.len().max(1) as f64;
                    let known = shared.person(case.with(history)).length.max(1);
                    if mean.is_finite() && mean > 1e-20 {
                        points.push(((known as f64).ln(), mean.ln()));
                    }
                }
            }
            points
        });
        let points: Vec<(f64, f64)> = points.into_iter().flatten().collect();
        if points.is_empty() {
            continue;
        }
        let root = part.root;
        let (level, slope) = line(&points);
        // Whoever is not personal says the same whatever the history.
        let slope = if root {
            0.0
        } else {
            slope.clamp(f64::from(GROWTH_MIN), f64::from(GROWTH_MAX))
        };
        let mean_x = points.iter().map(|p| p.0).sum::<f64>() / points.len() as f64;
        let scale = (level - slope * mean_x).exp() as f32;
        if scale.is_finite() && scale > 1e-20 {
            let part = &mut blend.parts[at];
            (part.scale, part.growth) = (scale, slope as f32);
        }
    }
}

/// Mean of y and slope of the least-squares line; no slope without spread.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let (mean_x, mean_y) = points
        .iter()
        .fold((0.0, 0.0), |m, p| (m.0 + p.0 / n, m.1 + p.1 / n));
    let (mut xx, mut xy) = (0.0, 0.0);
    for (x, y) in points {
        xx += (x - mean_x) * (x - mean_x);
        xy += (x - mean_x) * (y - mean_y);
    }
    (mean_y, if xx > 1e-9 { xy / xx } else { 0.0 })
}

/// Candidates of one case: scaled scores by part and candidate, ages, and which were taken later.
struct Judged {
    /// Part after part, a score per candidate.
    scores: Vec<f32>,
    ages: Vec<u8>,
    /// Candidates that were taken later, ascending.
    hits: Vec<usize>,
    /// How many were taken later, among the candidates or not.
    later: usize,
}

fn judge(blend: &Blend, someone: Someone<'_>, later: &[u32]) -> Judged {
    let allowed = unseen(someone.history);
    let lists = blend
        .parts
        .iter()
        .map(|part| part.model.recommend_for(someone, DEPTH, &allowed));
    let lists: Vec<TopItems> = lists.collect();
    let union: BTreeSet<u32> = lists.iter().flatten().map(|(item, _)| *item).collect();
    let items: Vec<u32> = union.into_iter().collect();
    let person = blend.person(someone);
    let mut scores = Vec::with_capacity(items.len() * blend.parts.len());
    let mut raw = vec![0f32; items.len()];
    for ((part, list), active) in blend.parts.iter().zip(lists).zip(&person.active) {
        part.model.score_for(someone, &items, &mut raw);
        let kind = if *active {
            blend.normalise
        } else {
            Normalise::Typical
        };
        let unit = part.unit_for(kind, person.length, || list);
        scores.extend(raw.iter().map(|score| part.rooted(*score) / unit));
    }
    let taken = items.iter().enumerate().filter(|(_, item)| later.contains(item));
    Judged {
        scores,
        ages: items.iter().map(|item| blend.age_of(*item) as u8).collect(),
        hits: taken.map(|(at, _)| at).collect(),
        later: later.len(),
    }
}

impl Judged {
    /// `weights` by part, the same for all ages.
    fn ndcg(&self, weights: &[f32]) -> f64 {
        let mut sums = vec![0f32; self.ages.len()];
        for (weight, scores) in weights
            .iter()
            .zip(self.by_part())
            .filter(|(weight, _)| **weight != 0.0)
        {
            sums.iter_mut()
                .zip(scores)
                .for_each(|(sum, score)| *sum += weight * score);
        }
        self.gain(&sums)
    }

    /// `weights` by age and part.
    fn ndcg_by_age(&self, weights: &[Vec<f32>; 3]) -> f64 {
        let mut sums = vec![0f32; self.ages.len()];
        for (part, scores) in self.by_part().enumerate() {
            let of_age = [weights[0][part], weights[1][part], weights[2][part]];
            for ((sum, score), age) in sums.iter_mut().zip(scores).zip(&self.ages) {
                *sum += of_age[usize::from(*age)] * score;
            }
        }
        self.gain(&sums)
    }

    fn by_part(&self) -> impl Iterator<Item = &[f32]> {
        self.scores.chunks_exact(self.ages.len().max(1))
    }

    /// NDCG of the first places by these scores; of equal ones the candidate that comes first is first.
    fn gain(&self, sums: &[f32]) -> f64 {
        let place = |at: usize| {
            let own = sums[at];
            let before = sums[..at].iter().filter(|sum| **sum >= own).count();
            before + sums[at + 1..].iter().filter(|sum| **sum > own).count()
        };
        let places = self.hits.iter().map(|at| place(*at)).filter(|place| *place < K);
        let ideal: f64 = (0..self.later.min(K)).map(discount).sum();
        places.map(discount).sum::<f64>() / ideal.max(1e-9)
    }
}

/// Mean over some people.
fn mean_ndcg(judged: &[&Judged], weights: &[f32]) -> f64 {
    let parts = parallel_chunks(judged.len(), 16, |range| {
        judged[range].iter().map(|j| j.ndcg(weights)).sum::<f64>()
    });
    parts.iter().sum::<f64>() / judged.len().max(1) as f64
}

/// Searches weights for each way to measure scores, or for the one that is asked for; leaves the blend with the best, and gives it.
pub(crate) fn choose(
    blend: &mut Blend,
    cases: &[Case],
    asked: Option<Normalise>,
    run: &Run,
) -> Result<(Normalise, Trusts), ModelError> {
    let mut found: Option<(Vec<f64>, Normalise, Trusts)> = None;
    for kind in KINDS
        .into_iter()
        .filter(|kind| asked.is_none_or(|asked| asked == *kind))
    {
        blend.normalise = kind;
        blend.reset_trust();
        let trust = fit_trust(blend, cases, run)?;
        let gains = gains(blend, cases);
        if found.as_ref().is_none_or(|(best, ..)| is_better(&gains, best)) {
            found = Some((gains, kind, trust));
        }
    }
    let (_, kind, trust) = found.expect("there is at least one kind");
    blend.normalise = kind;
    for part in &mut blend.parts {
        part.trust = trust[part.model.name()];
    }
    Ok((kind, trust))
}

/// Whether one is better than the other by more than chance, case by case.
fn is_better(one: &[f64], other: &[f64]) -> bool {
    let gains: Vec<f64> = one.iter().zip(other).map(|(a, b)| a - b).collect();
    let gain = mean(&gains);
    let error = (variance(&gains) / gains.len().max(1) as f64).sqrt();
    gain > OWN_GAIN_MIN && gain > OWN_ERRORS_MIN * error
}

/// NDCG of each case with its whole history, by the weights as they are.
fn gains(blend: &Blend, cases: &[Case]) -> Vec<f64> {
    let judged = judge_all(blend, cases, |at| Some(&cases[at].history));
    let one = |(judged, case): (&Judged, &Case)| {
        let range = blend.person(case.with(&case.history)).range;
        judged.ndcg_by_age(&weights_of(blend, range))
    };
    judged.iter().zip(cases).map(one).collect()
}

/// Weights by age of the item and part.
fn weights_of(blend: &Blend, range: usize) -> [Vec<f32>; 3] {
    std::array::from_fn(|age| {
        let weights = blend
            .parts
            .iter()
            .map(|part| part.trust.weights[range] * part.trust.by_age[age]);
        weights.collect()
    })
}

/// Searches weights for each range of length, then factors for each age of items; sets them, and gives them by name.
fn fit_trust(blend: &mut Blend, cases: &[Case], run: &Run) -> Result<Trusts, ModelError> {
    // Without a history there is something to weigh only where attributes speak of people.
    let told = |case: &Case| {
        blend
            .parts
            .iter()
            .any(|p| !p.root && p.model.personal_to(case.with(&[])))
    };
    let told: BTreeSet<usize> = (0..cases.len()).filter(|at| told(&cases[*at])).collect();
    for range in 0..LENGTHS.len() {
        run.check()?;
        let judged = judge_all(blend, cases, |at| {
            cut(&cases[at], range).filter(|_| range > 0 || told.contains(&at))
        });
        if judged.len() < CASES_MIN {
            continue;
        }
        let start: Vec<f32> = blend.parts.iter().map(|p| p.trust.weights[range]).collect();
        for (part, weight) in blend.parts.iter_mut().zip(find_weights(&judged, &start)) {
            // Whoever has neither history nor attributes is answered by those that are not personal.
            let least = if range == 0 && part.root {
                WEIGHT_FLOOR
            } else {
                0.0
            };
            part.trust.weights[range] = weight.max(least);
        }
    }
    fit_ages(blend, cases, run)?;
    let parts = blend.parts.iter();
    Ok(parts.map(|part| (part.model.name(), part.trust)).collect())
}

fn judge_all<'a>(
    blend: &Blend,
    cases: &'a [Case],
    history: impl Fn(usize) -> Option<&'a [HistoryEvent]>,
) -> Vec<Judged> {
    let cut_cases: Vec<(Someone<'_>, &[u32])> = cases
        .iter()
        .enumerate()
        .filter_map(|(at, case)| Some((case.with(history(at)?), case.later.as_slice())))
        .collect();
    let judged = parallel_chunks(cut_cases.len(), 8, |range| {
        let cases = cut_cases[range].iter();
        cases
            .map(|(someone, later)| judge(blend, *someone, later))
            .collect::<Vec<_>>()
    });
    judged.into_iter().flatten().collect()
}

/// The best weights, or one model alone if what is found on one half of the people does not hold on the other.
fn find_weights(judged: &[Judged], start: &[f32]) -> Vec<f32> {
    let n_parts = start.len();
    let alone =
        |at: usize| -> Vec<f32> { (0..n_parts).map(|part| f32::from(u8::from(part == at))).collect() };
    let all: Vec<&Judged> = judged.iter().collect();
    let half = |odd: usize| -> Vec<&Judged> { judged.iter().skip(odd).step_by(2).collect() };
    let best_alone = |of: &[&Judged]| {
        let scored = (0..n_parts).map(|at| (mean_ndcg(of, &alone(at)), at));
        scored
            .fold(
                (f64::NEG_INFINITY, 0),
                |best, one| if one.0 > best.0 { one } else { best },
            )
            .1
    };
    let (first, second) = (half(0), half(1));
    let held = |fit: &[&Judged], judge: &[&Judged]| {
        let single = alone(best_alone(fit));
        mean_ndcg(judge, &search(fit, &[start.to_vec(), single.clone()])) - mean_ndcg(judge, &single)
    };
    let single = alone(best_alone(&all));
    if held(&first, &second) + held(&second, &first) < 0.0 {
        return single;
    }
    search(&all, &[start.to_vec(), single])
}

/// One weight after the other over the grid until nothing gains, three rounds at most, from each start; then finer steps.
fn search(judged: &[&Judged], starts: &[Vec<f32>]) -> Vec<f32> {
    let mut found: Option<(f64, Vec<f32>)> = None;
    for start in starts {
        let mut best = (mean_ndcg(judged, start), start.clone());
        for round in 0..5 {
            let before = best.0;
            for at in 0..best.1.len() {
                let own = best.1[at];
                let tried: Vec<f32> = if round < 3 {
                    GRID.to_vec()
                } else {
                    STEPS.iter().map(|step| own * step).collect()
                };
                for weight in tried {
                    let mut weights = best.1.clone();
                    weights[at] = weight;
                    let value = mean_ndcg(judged, &weights);
                    if value > best.0 + GAIN_MIN {
                        best = (value, weights);
                    }
                }
            }
            if best.0 <= before && round >= 3 {
                break;
            }
        }
        if found.as_ref().is_none_or(|(value, _)| best.0 > *value) {
            found = Some(best);
        }
    }
    found.map(|(_, weights)| weights).unwrap_or_default()
}

/// Searches the factors of young items, part by part, with the weights that each person's range has.
fn fit_ages(blend: &mut Blend, cases: &[Case], run: &Run) -> Result<(), ModelError> {
    let judged = judge_all(blend, cases, |at| Some(&cases[at].history));
    if judged.len() < CASES_MIN {
        return Ok(());
    }
    let ranges: Vec<usize> = cases
        .iter()
        .map(|case| blend.person(case.with(&case.history)).range)
        .collect();
    let value = |blend: &Blend| {
        let by_range: Vec<[Vec<f32>; 3]> = (0..LENGTHS.len()).map(|range| weights_of(blend, range)).collect();
        let sums = parallel_chunks(judged.len(), 16, |chunk| {
            let pairs = judged[chunk.clone()].iter().zip(&ranges[chunk]);
            pairs
                .map(|(judged, range)| judged.ndcg_by_age(&by_range[*range]))
                .sum::<f64>()
        });
        sums.iter().sum::<f64>() / judged.len() as f64
    };
    let mut best = value(blend);
    for _ in 0..2 {
        for at in 0..blend.parts.len() {
            run.check()?;
            for age in 0..2 {
                let mut kept = blend.parts[at].trust.by_age[age];
                for factor in AGE_GRID {
                    blend.parts[at].trust.by_age[age] = factor;
                    let tried = value(blend);
                    if tried > best + GAIN_MIN {
                        (best, kept) = (tried, factor);
                    }
                }
                blend.parts[at].trust.by_age[age] = kept;
            }
        }
    }
    Ok(())
}

/// Sets each part's `alone`: the blend's score over the part's own, on items of the part's best twenty that all know.
pub(crate) fn fit_alone(blend: &mut Blend, cases: &[Case], run: &Run) -> Result<(), ModelError> {
    for range in 0..LENGTHS.len() {
        run.check()?;
        for at in 0..blend.parts.len() {
            let shared = &*blend;
            let sums = parallel_chunks(cases.len(), 8, |chunk| {
                let (mut whole, mut own) = (0f64, 0f64);
                for case in &cases[chunk] {
                    if let Some(history) = cut(case, range) {
                        add_alone(shared, at, case.with(history), &mut whole, &mut own);
                    }
                }
                (whole, own)
            });
            let (whole, own) = sums.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
            if own > 1e-9 && whole > 0.0 {
                blend.parts[at].alone[range] = ((whole / own) as f32).clamp(0.01, 1.0);
            }
        }
    }
    Ok(())
}

fn add_alone(blend: &Blend, at: usize, someone: Someone<'_>, whole: &mut f64, own: &mut f64) {
    let part = &blend.parts[at];
    let person = blend.person(someone);
    let active = &person.active;
    if !active[at] {
        return;
    }
    let unit = part.unit_for(blend.normalise, person.length, || own_list(&*part.model, someone));
    let everyone = |item: u32| {
        let mut speaking = blend.parts.iter().zip(active).filter(|(_, active)| **active);
        speaking.all(|(part, _)| part.model.knows(item))
    };
    let allowed = unseen(someone.history);
    let list = part
        .model
        .recommend_for(someone, K, &|item| allowed(item) && everyone(item));
    let items: Vec<u32> = list.iter().map(|(item, _)| *item).collect();
    let mut scores = vec![0f32; items.len()];
    blend.score_all(someone, &items, &mut scores);
    *whole += scores.iter().map(|s| f64::from(*s)).sum::<f64>();
    *own += list
        .iter()
        .map(|(_, s)| f64::from(part.rooted(*s) / unit))
        .sum::<f64>();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_back_and_when() {
        let minutes =
            |moments: &[i64]| -> Vec<i64> { moments.iter().map(|minute| minute * 60_000).collect() };
        // The last pause counts, of more than half an hour, in the later half.
        assert_eq!(came_back(&minutes(&[0, 1, 2, 40, 41, 100, 110])), Some(5));
        assert_eq!(came_back(&minutes(&[0, 1, 2, 40, 41, 42, 43])), None);
        assert_eq!(came_back(&minutes(&[0, 30])), None);
        assert_eq!(came_back(&minutes(&[0, 31])), Some(1));
        assert_eq!(came_back(&minutes(&[0])), None);
        assert_eq!(came_back(&[i64::MIN, i64::MAX]), Some(1));
        assert_eq!(came_back(&[]), None);
    }
}
