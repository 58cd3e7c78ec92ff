//! Fitting a blend: scales, trust by history length and item age, and what a model alone is worth.
//!
//! Some events of a sample of people are held out (`blend_held.rs`), and the parts are trained on the rest. For each range of history length the
//! histories are cut to it (up to nine events: of newcomers from the first on, beyond and where there are no newcomers the latest) and the weights are searched one
//! by one on a small grid, then in finer steps, for the best mean
//! NDCG@20 of the held-out items, all other items of the catalogue competing that are among a part's best hundred. The
//! search starts from the default weights and from each model alone, so no model alone is better on these people; weights found
//! on one half of the people that do worse on the other half than the best model alone are given up for that model.
//! Factors by item age are searched the same way after the weights, on whole histories.
//! All that is done for each way to measure scores (`blend_unit.rs`), unless one is asked for; another than the usual one must be better by more than chance, since it costs.
//! How the events of a history count by their place (`recall.rs`) is searched before that, part by part, for the best mean NDCG@20 of the part's own
//! list on whole histories, where a configuration leaves it open.
//! With fewer than [`CASES_MIN`] people in a range its default weights stay.

use crate::blend::{Blend, GROWTH_MAX, GROWTH_MIN, LENGTHS, Recalls, Trusts, WEIGHT_FLOOR};
use crate::blend_held::{CASES_MIN, Case, HeldOut, cut};
use crate::blend_part::Part;
use crate::blend_unit::{KINDS, Normalise, OWN, own_list, unseen};
use crate::{Model, ModelError, Recall, Run, Someone, TopItems};
use domain::HistoryEvent;
use numeric::{mean, parallel_chunks, variance};
use std::collections::BTreeSet;

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
/// Gain in mean NDCG, and in standard errors of it, that units of a person's own must bring.
const OWN_GAIN_MIN: f64 = 1e-3;
const OWN_ERRORS_MIN: f64 = 2.0;
/// A gain below this is noise, and a change for it would be too.
const GAIN_MIN: f64 = 3e-4;

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
    held: &HeldOut,
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
        let trust = fit_trust(blend, held, run)?;
        let gains = gains(blend, &held.cases);
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

/// Whether there is something to weigh without a history: only where attributes speak of somebody.
fn told(blend: &Blend, case: &Case) -> bool {
    let mut parts = blend.parts.iter();
    parts.any(|part| !part.root && part.model.personal_to(case.with(&[])))
}

/// Searches weights for each range of length, then factors for each age of items; sets them, and gives them by name.
fn fit_trust(blend: &mut Blend, held: &HeldOut, run: &Run) -> Result<Trusts, ModelError> {
    for range in 0..LENGTHS.len() {
        run.check()?;
        let mut cases = held.starts(range);
        cases.retain(|case| range > 0 || told(blend, case));
        let judged = if cases.len() < CASES_MIN {
            let usual = |at: usize| cut(&held.cases[at], range);
            judge_all(blend, &held.cases, |at| {
                usual(at).filter(|_| range > 0 || told(blend, &held.cases[at]))
            })
        } else {
            judge_all(blend, &cases, |at| Some(&cases[at].history))
        };
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
    fit_ages(blend, &held.cases, run)?;
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
