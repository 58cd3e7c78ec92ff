//! Rerankers of the table: the suite of the trait, hand-worked cases, and the obvious slow versions.

mod exposure;

use domain::{Candidate, HistoryEvent, Query, Reranked, Reranker, Timestamp};
use numeric::SeededStream;
use rerank::{Arrivals, AttributeSource, AttributeValue, ExposurePrices, Ground, Names, reranker, rerankers};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A test of a slate by positions.
type Test<'a> = &'a dyn Fn(&[u32]) -> bool;

const DAY_MS: i64 = 86_400_000;

/// Items by position: genres and a maker.
#[derive(Default)]
struct Items {
    genres: Vec<Vec<String>>,
    makers: Vec<String>,
    added_days_ago: Vec<i64>,
}

impl AttributeSource for Items {
    fn value(&self, item: u32, attribute: &str) -> Option<AttributeValue<'_>> {
        match attribute {
            "genres" => self
                .genres
                .get(item as usize)
                .map(|list| AttributeValue::Texts(list)),
            "maker" => (self.makers.get(item as usize))
                .filter(|maker| !maker.is_empty())
                .map(|maker| AttributeValue::Text(maker)),
            _ => None,
        }
    }
}

const NOW: Timestamp = Timestamp(1_700_000_000_000);

impl Arrivals for Items {
    fn added_at(&self, item: u32) -> Option<Timestamp> {
        let days = self.added_days_ago.get(item as usize)?;
        Some(Timestamp(NOW.0 - days * DAY_MS))
    }
}

/// Items are named by their positions.
struct Numbers(Vec<String>);

impl Numbers {
    fn below(n: usize) -> Arc<Numbers> {
        Arc::new(Numbers((0..n).map(|at| at.to_string()).collect()))
    }
}

impl Names for Numbers {
    fn name(&self, item: u32) -> Option<&str> {
        self.0.get(item as usize).map(String::as_str)
    }
}

fn ground(items: &Arc<Items>, prices: ExposurePrices) -> Ground {
    Ground {
        attributes: items.clone(),
        arrivals: items.clone(),
        names: Numbers::below(100),
        prices: Arc::new(prices),
        tie_keys: Default::default(),
    }
}

fn random_items(stream: &mut SeededStream, n: usize) -> Arc<Items> {
    let mut draw = |bound: u64| stream.next_u64() % bound;
    let mut items = Items::default();
    for _ in 0..n {
        let mut genres: Vec<String> = (0..draw(4)).map(|_| format!("g{}", draw(5))).collect();
        genres.sort();
        genres.dedup();
        items.genres.push(genres);
        items
            .makers
            .push(["a", "b", "c", ""][draw(4) as usize].to_owned());
        items.added_days_ago.push(draw(20) as i64);
    }
    Arc::new(items)
}

fn made(name: &str, settings: Value, items: &Arc<Items>) -> Arc<dyn Reranker> {
    let ground = ground(items, ExposurePrices::new());
    (reranker(name).expect("an entry").build)(&settings, &ground).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn scored(stream: &mut SeededStream, n: usize) -> Vec<Candidate> {
    let mut scores: Vec<f32> = (0..n).map(|_| stream.uniform() as f32).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    let one = |(at, score): (usize, f32)| Candidate {
        item: at as u32,
        score,
        ..Candidate::default()
    };
    scores.into_iter().enumerate().map(one).collect()
}

fn query(n: usize) -> Query {
    Query {
        now: NOW,
        n,
        ..Query::default()
    }
}

fn items_of(out: &Reranked, n: usize) -> Vec<u32> {
    out.chosen.iter().take(n).map(|c| c.item).collect()
}

fn settings(name: &str) -> Vec<Value> {
    match name {
        "top" => vec![json!({})],
        "window" => vec![
            json!({"attributes": ["genres"], "window": 3, "max": 1}),
            json!({"attributes": ["maker"], "window": 4, "max": 2}),
        ],
        "constrained" => vec![
            json!({"constraints": [{"kind": "max_share", "per": "maker", "share": 0.3}]}),
            json!({"pool": 30, "constraints": [
                {"kind": "min_new", "count": 2, "days": 5.0},
                {"kind": "max_share", "per": "genres", "share": 0.4},
                {"kind": "min_values", "per": "maker", "count": 3},
                {"kind": "min_new", "count": 9, "days": 1.0},
            ]}),
            json!({"window_hours": 1.0, "step": 2.0, "constraints": [
                {"kind": "max_exposure", "share": 0.1},
                {"kind": "max_exposure", "per": "maker", "share": 0.1},
                {"kind": "min_exposure", "per": "genres", "value": "g1", "share": 0.9},
                {"kind": "max_share", "per": "genres", "share": 0.6},
            ]}),
        ],
        _ => vec![
            json!({"attributes": ["genres"]}),
            json!({"attributes": ["genres", "maker"], "pool": 10, "depth": 30}),
        ],
    }
}

#[test]
fn every_entry_keeps_the_promises() {
    let items = random_items(&mut SeededStream::new(3, 1), 40);
    for entry in rerankers() {
        for settings in settings(entry.name) {
            let made = made(entry.name, settings, &items);
            assert_eq!(made.name(), entry.name);
            testkit::stages::reranker(&*made, 40);
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let items = Arc::new(Items::default());
    let ground = ground(&items, ExposurePrices::new());
    let table = [
        ("top", json!({"pool": 3}), "settings", "unknown field `pool`"),
        ("mmr", json!({"attributes": []}), "attributes", "0 of them"),
        (
            "mmr",
            json!({"attributes": ["x"], "diversity": 1.5}),
            "diversity",
            "1.5",
        ),
        (
            "dpp",
            json!({"attributes": ["x"], "weight": -1.0}),
            "weight",
            "-1",
        ),
        ("calibrated", json!({"attributes": ["x"], "pool": 0}), "pool", "0"),
        (
            "window",
            json!({"attributes": ["x"], "window": 3, "max": 3}),
            "max",
            "3",
        ),
        (
            "constrained",
            json!({"constraints": []}),
            "constraints",
            "0 of them",
        ),
        (
            "constrained",
            json!({"constraints": [{"kind": "max_share", "per": "x", "share": 0.0}]}),
            "constraints[0].share",
            "0",
        ),
        (
            "constrained",
            json!({"constraints": [{"kind": "max_exposure", "share": 1.5}]}),
            "constraints[0].share",
            "1.5",
        ),
        (
            "constrained",
            json!({"constraints": [{"kind": "min_exposure", "per": "x", "share": 0.5}]}),
            "settings",
            "missing field `value`",
        ),
        (
            "constrained",
            json!({"step": 1.0, "constraints": [{"kind": "max_share", "per": "x", "share": 0.5}]}),
            "step",
            "1",
        ),
        (
            "constrained",
            json!({"window_hours": 0.0, "constraints": [{"kind": "max_exposure", "share": 0.5}]}),
            "window_hours",
            "0",
        ),
    ];
    for (name, settings, field, got) in table {
        let build = reranker(name).expect("an entry").build;
        let error = build(&settings, &ground).err().expect(name);
        assert!(error.field == field && error.got.contains(got), "{name}: {error}");
    }
}

/// Likeness as the heads of the modules say.
fn cosine(a: &[String], b: &[String]) -> f64 {
    let shared = a.iter().filter(|label| b.contains(label)).count() as f64;
    match a.is_empty() || b.is_empty() {
        true => 0.0,
        false => shared / ((a.len() * b.len()) as f64).sqrt(),
    }
}

fn relevance(candidates: &[Candidate]) -> Vec<f64> {
    let (high, low) = (
        f64::from(candidates[0].score),
        f64::from(candidates[candidates.len() - 1].score),
    );
    candidates
        .iter()
        .map(|c| (f64::from(c.score) - low) / (high - low))
        .collect()
}

/// Grows a slate by whatever a measure of the whole prefix likes most, ties to the first.
fn greedily(n: usize, m: usize, measure: &dyn Fn(&[usize]) -> f64) -> Vec<u32> {
    let mut slate: Vec<usize> = Vec::new();
    while slate.len() < n.min(m) {
        let mut best: Option<(f64, usize)> = None;
        for at in 0..m {
            if slate.contains(&at) {
                continue;
            }
            slate.push(at);
            let value = measure(&slate);
            slate.pop();
            if best.is_none_or(|(most, _)| value > most + 1e-12) {
                best = Some((value, at));
            }
        }
        slate.push(best.expect("somebody is left").1);
    }
    slate.into_iter().map(|at| at as u32).collect()
}

#[test]
fn mmr_is_the_formula() {
    let mut stream = SeededStream::new(5, 2);
    for round in 0..40 {
        let items = random_items(&mut stream, 12);
        let candidates = scored(&mut stream, 12);
        let relevance = relevance(&candidates);
        let d = [0.0, 0.3, 0.7, 1.0][round % 4];
        let expected = greedily(6, 12, &|slate: &[usize]| {
            let (next, before) = slate.split_last().expect("not empty");
            let alike = before
                .iter()
                .map(|other| cosine(&items.genres[*next], &items.genres[*other]));
            (1.0 - d) * relevance[*next] - d * alike.fold(0.0, f64::max)
        });
        let mmr = made("mmr", json!({"attributes": ["genres"], "diversity": d}), &items);
        assert_eq!(
            items_of(&mmr.rerank(&query(6), candidates), 6),
            expected,
            "round {round}"
        );
    }
}

/// Determinant by elimination.
fn determinant(mut matrix: Vec<Vec<f64>>) -> f64 {
    let n = matrix.len();
    let mut out = 1.0;
    for at in 0..n {
        let pivot = matrix[at][at];
        out *= pivot;
        if pivot.abs() < 1e-300 {
            return 0.0;
        }
        let (above, below) = matrix.split_at_mut(at + 1);
        for row in &mut below[..n - at - 1] {
            let factor = row[at] / pivot;
            for (value, over) in row[at..n].iter_mut().zip(&above[at][at..n]) {
                *value -= factor * over;
            }
        }
    }
    out
}

#[test]
fn dpp_grows_the_largest_determinant() {
    let mut stream = SeededStream::new(6, 3);
    for round in 0..40 {
        let items = random_items(&mut stream, 12);
        let candidates = scored(&mut stream, 12);
        let weight = [0.5, 2.0, 8.0][round % 3];
        let relevance = relevance(&candidates);
        let quality: Vec<f64> = relevance.iter().map(|r| (weight * r / 2.0).exp()).collect();
        let expected = greedily(6, 12, &|slate: &[usize]| {
            let entry = |i: usize, j: usize| {
                let likeness = if i == j {
                    1.01
                } else {
                    cosine(&items.genres[i], &items.genres[j])
                };
                quality[i] * likeness * quality[j]
            };
            let row = |i: &usize| slate.iter().map(|j| entry(*i, *j)).collect();
            determinant(slate.iter().map(row).collect())
        });
        let dpp = made("dpp", json!({"attributes": ["genres"], "weight": weight}), &items);
        assert_eq!(
            items_of(&dpp.rerank(&query(6), candidates), 6),
            expected,
            "round {round}"
        );
    }
}

/// Shares of genres, each item's mass spread evenly over its own.
fn mix(items: &Items, weighted: &[(usize, f64)]) -> BTreeMap<String, f64> {
    let mut out: BTreeMap<String, f64> = BTreeMap::new();
    let total: f64 = weighted
        .iter()
        .filter(|(at, _)| !items.genres[*at].is_empty())
        .map(|(_, w)| w)
        .sum();
    for (at, weight) in weighted {
        for genre in &items.genres[*at] {
            *out.entry(genre.clone()).or_default() += weight / items.genres[*at].len() as f64 / total;
        }
    }
    out
}

#[test]
fn calibration_is_the_formula_and_follows_the_history() {
    let mut stream = SeededStream::new(7, 4);
    for round in 0..40 {
        let items = random_items(&mut stream, 14);
        let candidates = scored(&mut stream, 12);
        let history: Vec<(usize, f64)> = vec![(12, 2.0), (13, 1.0), (3, 0.5)];
        let p = mix(&items, &history);
        let w = [0.0, 0.5, 0.9][round % 3];
        let relevance = relevance(&candidates);
        let mut query = query(5);
        let event = |(item, weight): &(usize, f64)| HistoryEvent {
            item: *item as u32,
            weight: *weight as f32,
            age_days: 0.0,
        };
        query.history = history.iter().map(event).collect();
        let calibrated = made(
            "calibrated",
            json!({"attributes": ["genres"], "weight": w}),
            &items,
        );
        let out = items_of(&calibrated.rerank(&query, candidates), 5);
        if p.is_empty() {
            assert_eq!(out, [0, 1, 2, 3, 4]);
            continue;
        }
        let divergence = |slate: &[usize]| -> f64 {
            let q: BTreeMap<String, f64> = {
                let mut q: BTreeMap<String, f64> = BTreeMap::new();
                for at in slate {
                    for genre in &items.genres[*at] {
                        *q.entry(genre.clone()).or_default() +=
                            1.0 / items.genres[*at].len() as f64 / slate.len() as f64;
                    }
                }
                q
            };
            p.iter()
                .map(|(g, p)| p * (p / (0.99 * q.get(g).unwrap_or(&0.0) + 0.01 * p)).ln())
                .sum()
        };
        // The sum of relevance before the last place is the same for all who might stand there.
        let expected = greedily(5, 12, &|slate: &[usize]| {
            (1.0 - w) * relevance[*slate.last().expect("not empty")] - w * divergence(slate)
        });
        assert_eq!(out, expected, "round {round}");
    }
    let genres = |list: &[&str]| list.iter().map(|g| vec![(*g).to_owned()]).collect();
    let items = Arc::new(Items {
        genres: genres(&["a", "a", "a", "a", "b", "b", "a", "b"]),
        ..Items::default()
    });
    let mut query = query(4);
    query.history = [(6, 3.0), (7, 1.0)]
        .map(|(item, weight)| HistoryEvent {
            item,
            weight,
            age_days: 0.0,
        })
        .into();
    let calibrated = made(
        "calibrated",
        json!({"attributes": ["genres"], "weight": 0.9}),
        &items,
    );
    let mut slate = items_of(&calibrated.rerank(&query, scored(&mut stream, 6)), 4);
    slate.sort_unstable();
    assert_eq!(slate, [0, 1, 2, 4], "three of a and one of b, as in the history");
}

#[test]
fn windows_hold_or_are_named() {
    let mut stream = SeededStream::new(8, 5);
    let (mut held, mut relaxed) = (0, 0);
    for round in 0..100 {
        let items = random_items(&mut stream, 9);
        let (window, max) = [(2, 1), (3, 1), (4, 2)][round % 3];
        let made = made(
            "window",
            json!({"attributes": ["maker"], "window": window, "max": max}),
            &items,
        );
        let out = made.rerank(&query(8), scored(&mut stream, 9));
        let slate = items_of(&out, 8);
        let is_kept = slate.windows(window).all(|run| {
            ["a", "b", "c"].iter().all(|maker| {
                run.iter()
                    .filter(|i| items.makers[**i as usize] == *maker)
                    .count()
                    <= max
            })
        });
        assert_eq!(out.relaxed.is_empty(), is_kept, "round {round}: {slate:?}");
        held += usize::from(is_kept);
        relaxed += usize::from(!is_kept);
    }
    assert!(held > 30 && relaxed > 1, "{held} {relaxed}");
}

/// The best sum of scores of any `n` of the items that a test lets pass.
fn best(candidates: &[Candidate], n: usize, passes: &dyn Fn(&[u32]) -> bool) -> Option<f64> {
    let m = candidates.len();
    let mut best: Option<f64> = None;
    for set in (0u32..1 << m).filter(|set| set.count_ones() as usize == n) {
        let slate: Vec<u32> = (0..m as u32).filter(|at| set & (1 << at) != 0).collect();
        if passes(&slate) {
            let sum: f64 = slate
                .iter()
                .map(|at| f64::from(candidates[*at as usize].score))
                .sum();
            best = Some(best.map_or(sum, |known| known.max(sum)));
        }
    }
    best
}

#[test]
fn constrained_slates_are_the_best_of_all_and_costs_are_exact() {
    let mut stream = SeededStream::new(9, 6);
    let (mut kept_count, mut given_way) = (0, 0);
    for round in 0..60 {
        let items = random_items(&mut stream, 11);
        let candidates = scored(&mut stream, 11);
        let n = 2 + (stream.next_u64() % 5) as usize;
        let share = [0.2, 0.34, 0.5][round % 3];
        let count = 1 + (stream.next_u64() % 3) as usize;
        let settings = json!({"constraints": [
            {"kind": "max_share", "per": "genres", "share": share},
            {"kind": "min_new", "count": count, "days": 4.0},
            {"kind": "max_share", "per": "maker", "share": 0.5},
        ]});
        let out = made("constrained", settings, &items).rerank(&query(n), candidates.clone());
        let cap = |share: f64| ((share * n as f64).ceil() as usize).max(1);
        let genres = |slate: &[u32]| {
            (0..5).all(|g| {
                let genre = format!("g{g}");
                slate
                    .iter()
                    .filter(|i| items.genres[**i as usize].contains(&genre))
                    .count()
                    <= cap(share)
            })
        };
        let new = |slate: &[u32]| {
            slate
                .iter()
                .filter(|i| items.added_days_ago[**i as usize] <= 4)
                .count()
                >= count
        };
        let makers = |slate: &[u32]| {
            ["a", "b", "c"].iter().all(|maker| {
                slate
                    .iter()
                    .filter(|i| items.makers[**i as usize] == *maker)
                    .count()
                    <= cap(0.5)
            })
        };
        let all: [Test<'_>; 3] = [&genres, &new, &makers];
        let mut kept: Vec<Test<'_>> = Vec::new();
        let mut sum = best(&candidates, n, &|_| true).expect("no constraint");
        for (test, record) in all.into_iter().zip(&out.constraints) {
            let tried = best(&candidates, n, &|slate: &[u32]| {
                kept.iter().all(|kept| kept(slate)) && test(slate)
            });
            assert_eq!(record.feasible, tried.is_some(), "round {round}: {record:?}");
            assert_eq!(record.kept, tried.is_some(), "round {round}: {record:?}");
            let cost = tried.map_or(0.0, |tried| sum - tried);
            assert!(
                (f64::from(record.given_up) - cost).abs() < 1e-5,
                "round {round}: {record:?}, not {cost}"
            );
            if let Some(tried) = tried {
                kept.push(test);
                sum = tried;
                kept_count += 1;
            } else {
                given_way += 1;
            }
        }
        let slate = items_of(&out, n);
        assert!(kept.iter().all(|kept| kept(&slate)), "round {round}");
        let reached: f64 = slate
            .iter()
            .map(|at| f64::from(candidates[*at as usize].score))
            .sum();
        assert!((reached - sum).abs() < 1e-5, "round {round}: {reached} of {sum}");
    }
    assert!(kept_count > 60 && given_way > 5, "{kept_count} {given_way}");
}

#[test]
fn a_minimum_of_values_is_kept_by_evenness() {
    let mut stream = SeededStream::new(10, 7);
    let mut kept = 0;
    for round in 0..60 {
        let items = random_items(&mut stream, 14);
        let count = 2 + round % 2;
        let settings = json!({"constraints": [{"kind": "min_values", "per": "maker", "count": count}]});
        let out = made("constrained", settings, &items).rerank(&query(6), scored(&mut stream, 14));
        if out.constraints[0].kept {
            let mut makers: Vec<_> = items_of(&out, 6)
                .iter()
                .map(|i| items.makers[*i as usize].clone())
                .collect();
            makers.sort();
            makers.dedup();
            assert!(makers.len() >= count, "round {round}: {makers:?}");
            kept += 1;
        }
    }
    assert!(kept > 30, "{kept}");
}
