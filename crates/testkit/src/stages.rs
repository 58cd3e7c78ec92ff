//! What every implementation of a stage trait promises, as suites.
//!
//! Each panics with the name of the component and the broken promise. Worlds are seeded.

use domain::{Candidate, HistoryEvent, Outcome, Policy, Query, Ranker, Reranker, Retriever, Rule, SourceHit};
use domain::{Timestamp, Verdict};
use numeric::SeededStream;
use std::collections::{BTreeSet, HashMap};

/// Varied queries over items `0..n_items`: the empty one, then ones with histories, seen and excluded items, anchors and
/// candidate lists.
pub fn queries(n_items: u32, seed: u64) -> Vec<Query> {
    let mut stream = SeededStream::new(seed, 0x9e7);
    let mut draw = |bound: u32| stream.next_u64() as u32 % bound.max(1);
    let mut queries = vec![Query {
        n: 10,
        ..Query::default()
    }];
    for place in 0..12u32 {
        let some = |count: u32, draw: &mut dyn FnMut(u32) -> u32| -> Vec<u32> {
            if n_items == 0 {
                return Vec::new();
            }
            let set: BTreeSet<u32> = (0..count).map(|_| draw(n_items)).collect();
            set.into_iter().collect()
        };
        let history = some(place, &mut draw)
            .into_iter()
            .map(|item| HistoryEvent {
                item,
                weight: if item % 5 == 4 {
                    -0.5
                } else {
                    0.1 + (item % 7) as f32
                },
                age_days: (place + item % 9) as f32,
            })
            .collect();
        queries.push(Query {
            now: Timestamp(i64::from(place) * 86_400_000),
            history,
            seen: some(place, &mut draw),
            excluded: some(place / 2, &mut draw),
            anchor: (place % 3 == 0 && n_items > 0).then(|| draw(n_items)),
            only: (place % 4 == 3).then(|| some(8, &mut draw)),
            n: 1 + draw(12) as usize,
            seed: u64::from(draw(u32::MAX)),
            ..Query::default()
        });
    }
    queries
}

/// Candidates for `0..n_items` in a seeded order with hits of one to three sources and scores with ties.
pub fn candidates(n_items: u32, seed: u64) -> Vec<Candidate> {
    let mut stream = SeededStream::new(seed, 0xca9d);
    let mut keyed: Vec<(u64, u32)> = (0..n_items).map(|item| (stream.next_u64(), item)).collect();
    keyed.sort_unstable();
    let sources = ["popular", "item-knn", "als"];
    keyed
        .into_iter()
        .map(|(key, item)| Candidate {
            item,
            score: (key % 7) as f32 / 7.0,
            hits: (0..=(key as usize >> 8) % 3)
                .map(|source| SourceHit {
                    source: sources[source].into(),
                    rank: 1 + (key >> (8 * source)) as u32 % 50,
                    score: (key % 11) as f32,
                })
                .collect(),
        })
        .collect()
}

/// A retriever stays within its budget, proposes nothing twice, nothing that is not allowed, nothing past the catalogue, scores
/// finitely and best first, and says the same twice.
pub fn retriever(retriever: &dyn Retriever, n_items: u32) {
    let name = retriever.name().to_owned();
    assert!(!name.is_empty(), "a retriever has a name");
    for query in queries(n_items, 11) {
        for budget in [0usize, 1, 3, n_items as usize + 5] {
            for modulus in [1u32, 2, 3, u32::MAX] {
                let allowed = |item: u32| item.is_multiple_of(modulus);
                let Ok(list) = retriever.retrieve(&query, budget, &allowed) else {
                    continue;
                };
                assert!(
                    list.len() <= budget,
                    "{name}: {} for a budget of {budget}",
                    list.len()
                );
                let distinct: BTreeSet<u32> = list.iter().map(|(item, _)| *item).collect();
                assert_eq!(distinct.len(), list.len(), "{name}: an item twice");
                for (item, score) in &list {
                    assert!(allowed(*item), "{name}: item {item} is not allowed");
                    assert!(*item < n_items, "{name}: item {item} does not exist");
                    assert!(score.is_finite(), "{name}: item {item} has score {score}");
                }
                assert!(list.is_sorted_by(|a, b| a.1 >= b.1), "{name}: not best first");
                assert_eq!(
                    retriever.retrieve(&query, budget, &allowed).ok(),
                    Some(list),
                    "{name}: not the same"
                );
            }
        }
    }
}

/// A ranker gives one finite outcome per candidate, the same in any order and alone, and its explanations sum to its scores.
pub fn ranker(ranker: &dyn Ranker, n_items: u32) {
    let name = ranker.name().to_owned();
    assert!(!name.is_empty(), "a ranker has a name");
    for query in queries(n_items, 12) {
        assert_eq!(
            ranker.rank(&query, &[]).map(|o| o.len()),
            Ok(0),
            "{name}: outcomes for nobody"
        );
        let candidates = candidates(n_items, query.seed);
        let Ok(outcomes) = ranker.rank(&query, &candidates) else {
            continue;
        };
        assert_eq!(
            outcomes.len(),
            candidates.len(),
            "{name}: one outcome per candidate"
        );
        let reversed: Vec<Candidate> = candidates.iter().rev().cloned().collect();
        let mut backwards = ranker
            .rank(&query, &reversed)
            .expect("ranked before, so ranks again");
        backwards.reverse();
        assert_eq!(outcomes, backwards, "{name}: the order of the candidates shows");
        for (candidate, outcome) in candidates.iter().zip(&outcomes) {
            let alone = ranker.rank(&query, std::slice::from_ref(candidate));
            assert_eq!(
                alone.as_deref(),
                Ok(std::slice::from_ref(outcome)),
                "{name}: alone is not as in a batch"
            );
            if let Outcome::Score(score) = outcome {
                assert!(
                    score.is_finite(),
                    "{name}: item {} has score {score}",
                    candidate.item
                );
                let total = ranker.explain_candidate(&query, candidate).total();
                assert!(
                    (total - score).abs() <= 1e-4 * score.abs().max(1.0),
                    "{name}: the explanation of item {} sums to {total}, its score is {score}",
                    candidate.item
                );
            }
        }
    }
}

/// A rule says the same twice, takes any position, and its reason is one word in lower case (with underscores).
pub fn rule(rule: &dyn Rule, n_items: u32) {
    let name = rule.name().to_owned();
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    assert!(word(&name), "a rule is named by one word, not {name:?}");
    for query in queries(n_items, 13) {
        for item in (0..n_items).chain([n_items, u32::MAX]) {
            let verdict = rule.check(&query, item);
            assert_eq!(verdict, rule.check(&query, item), "{name}: not the same twice");
            if let Verdict::Drop(reason) = verdict {
                assert!(word(reason), "{name}: the reason is {reason:?}");
            }
        }
    }
}

fn sorted(candidates: impl Iterator<Item = Candidate>) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = candidates.collect();
    all.sort_by_key(|c| c.item);
    all
}

fn best_first(n_items: u32, seed: u64) -> Vec<Candidate> {
    let mut all = candidates(n_items, seed);
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
    all
}

/// A reranker invents and loses nothing, changes no candidate, and says the same twice. The limits that it hands on hold among the first
/// `n`, every constraint is named once, and those that do not hold are named as relaxed.
pub fn reranker(reranker: &dyn Reranker, n_items: u32) {
    let name = reranker.name().to_owned();
    for query in queries(n_items, 14) {
        for input in [Vec::new(), best_first(n_items, query.seed)] {
            let out = reranker.rerank(&query, input.clone());
            assert_eq!(
                out,
                reranker.rerank(&query, input.clone()),
                "{name}: not the same twice"
            );
            let first: Vec<u32> = out.chosen.iter().take(query.n).map(|c| c.item).collect();
            for limit in &out.limits {
                let count = first.iter().filter(|item| limit.counts(**item)).count();
                assert!(
                    (limit.min..=limit.max).contains(&count),
                    "{name}: {count} of {limit:?} among the first {}",
                    query.n
                );
                assert!(
                    limit.members.is_sorted(),
                    "{name}: members of {} are in disorder",
                    limit.name
                );
            }
            for constraint in &out.constraints {
                assert_eq!(
                    out.relaxed.contains(&constraint.name),
                    !constraint.kept,
                    "{name}: {constraint:?}, relaxed {:?}",
                    out.relaxed
                );
                assert!(
                    constraint.given_up >= 0.0 && constraint.given_up.is_finite(),
                    "{name}: {constraint:?}"
                );
            }
            let names: BTreeSet<&String> = out
                .constraints
                .iter()
                .map(|constraint| &constraint.name)
                .collect();
            assert_eq!(names.len(), out.constraints.len(), "{name}: a constraint twice");
            let all = sorted(out.chosen.into_iter().chain(out.held_back));
            assert_eq!(
                all,
                sorted(input.into_iter()),
                "{name}: chosen and held back are not the input"
            );
        }
    }
}

/// A policy chooses at most `n`, invents and loses nothing, gives probabilities above 0 and at most 1, and
/// says the same twice for the same seed.
pub fn policy(policy: &dyn Policy, n_items: u32) {
    let name = policy.name().to_owned();
    for query in queries(n_items, 15) {
        for input in [Vec::new(), best_first(n_items, query.seed)] {
            let choice = policy.choose(&query, input.clone());
            assert_eq!(
                choice,
                policy.choose(&query, input.clone()),
                "{name}: not the same twice"
            );
            let expected = query.n.min(input.len());
            assert_eq!(
                choice.slate.len(),
                expected,
                "{name}: a slate of the wrong length"
            );
            for (candidate, propensity) in &choice.slate {
                assert!(
                    *propensity > 0.0 && *propensity <= 1.0,
                    "{name}: item {} stands with probability {propensity}",
                    candidate.item
                );
            }
            let items: Vec<u32> = choice.slate.iter().map(|(candidate, _)| candidate.item).collect();
            if let Some(chances) = policy.conditionals(&query, &input, &items) {
                for ((candidate, said), chance) in choice.slate.iter().zip(chances) {
                    assert!(
                        (said - chance).abs() <= 1e-9,
                        "{name}: item {} stood with probability {said}, judged afterwards it is {chance}",
                        candidate.item
                    );
                }
            }
            let afterwards = policy.marginals(&query, &input, &items).unwrap_or_default();
            assert_eq!(
                choice.marginals.len(),
                afterwards.len(),
                "{name}: marginals are either said and judged afterwards, or neither"
            );
            for (said, chance) in choice.marginals.iter().zip(afterwards) {
                assert!(
                    (said - chance).abs() <= 1e-9,
                    "{name}: an item stood at its place with probability {said}, judged afterwards it is {chance}"
                );
            }
            let shown = choice.slate.into_iter().map(|(candidate, _)| candidate);
            assert_eq!(
                sorted(shown.chain(choice.held_back)),
                sorted(input.into_iter()),
                "{name}: shown and held back are not the input"
            );
        }
    }
    first_positions(policy, n_items);
}

/// What is said of the first position is the probability with which it comes about, for the same question with other seeds.
fn first_positions(policy: &dyn Policy, n_items: u32) {
    const SEEDS: u32 = 600;
    let name = policy.name().to_owned();
    let query = &queries(n_items, 1)[0];
    let input = best_first(n_items, query.seed);
    let mut counts: HashMap<u32, (f64, u32)> = HashMap::new();
    for seed in 0..SEEDS {
        let query = Query {
            seed: u64::from(seed),
            n: 1,
            ..query.clone()
        };
        for (candidate, propensity) in policy.choose(&query, input.clone()).slate {
            let (known, count) = counts.entry(candidate.item).or_insert((propensity, 0));
            assert!(
                (propensity - *known).abs() < 1e-6,
                "{name}: item {} stands first with probability {known}, with another seed {propensity}",
                candidate.item
            );
            *count += 1;
        }
    }
    for (item, (propensity, count)) in counts {
        let expected = f64::from(SEEDS) * propensity;
        // Rare ones that came up at all did so once or twice.
        let most = 5.0 * (expected * (1.0 - propensity)).sqrt() + 3.0;
        assert!(
            (f64::from(count) - expected).abs() <= most,
            "{name}: item {item} stood first {count} times of {SEEDS}, said to be {propensity}"
        );
    }
}
