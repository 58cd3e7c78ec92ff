//! One suite for every learner.

use crate::world::*;
use domain::{ContributionSource, HistoryEvent};
use models::{Model, ModelError, Run, TrainerEntry, trainers};
use serde_json::Value;

const PERSONAL: [&str; 10] = [
    "item-cosine",
    "item-bm25",
    "swing",
    "rp3beta",
    "user-knn",
    "als",
    "ease",
    "spectral",
    "content",
    "blend",
];

fn entries() -> impl Iterator<Item = &'static TrainerEntry> {
    trainers().iter()
}

/// Histories worth trying: none, one, many, with dislikes, with unknown items, absurdly strong.
fn histories(world: &World) -> Vec<Vec<HistoryEvent>> {
    let data = &world.data.interactions;
    let event = |item, weight| HistoryEvent {
        item,
        weight,
        age_days: 0.5,
    };
    let mut mixed = history(data, 3);
    mixed.iter_mut().step_by(2).for_each(|h| h.weight = -0.5);
    vec![
        vec![],
        vec![event(4, 1.0)],
        history(data, 0),
        history(data, 1),
        mixed,
        vec![event(u32::MAX, 1.0), event(7, 0.4), event(1_000_000, -1.0)],
        vec![event(2, 1e38), event(5, -1e38), event(6, 1e-38), event(8, 3e38)],
        vec![event(3, -1.0)],
    ]
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<&str> = entries().map(|e| e.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), trainers().len());
    for entry in entries() {
        let trainer = (entry.build)(&Value::Null).unwrap();
        assert_eq!(trainer.name(), entry.name);
        let again = (entry.build)(&trainer.config()).unwrap();
        assert_eq!(again.config(), trainer.config(), "{}", entry.name);
        let refused = (entry.build)(&serde_json::json!({"no_such_key": 1}));
        assert!(
            matches!(refused, Err(ModelError::Config { .. })),
            "{}",
            entry.name
        );
        assert!(!entry.summary.is_empty() && !entry.source.is_empty());
    }
}

#[test]
fn the_same_bytes_at_any_thread_count_and_the_same_scores_once_loaded() {
    let world = world(120, 60, 14);
    for entry in entries() {
        let model = fit(entry.name, &Value::Null, &world.data, 1);
        let bytes = saved(&*model);
        for threads in [2, 8] {
            let other = fit(entry.name, &Value::Null, &world.data, threads);
            assert!(
                saved(&*other) == bytes,
                "{} differs at {threads} threads",
                entry.name
            );
        }
        let loaded = models::load(&bytes).unwrap();
        assert!(saved(&*loaded) == bytes, "{}", entry.name);
        assert_eq!(
            (loaded.name(), loaded.guarantee()),
            (entry.name, model.guarantee())
        );
        let items: Vec<u32> = (0..70).collect();
        for history in histories(&world) {
            let bits = |m: &dyn Model| {
                scores(m, &history, &items)
                    .into_iter()
                    .map(f32::to_bits)
                    .collect::<Vec<_>>()
            };
            assert_eq!(bits(&*model), bits(&*loaded), "{}", entry.name);
        }
    }
}

#[test]
fn scores_are_finite_and_depend_on_nothing_but_history_and_item() {
    let world = world(120, 60, 14);
    for entry in entries() {
        let model = fit(entry.name, &Value::Null, &world.data, 2);
        let items: Vec<u32> = (0..60).chain([1_000, u32::MAX]).collect();
        for history in histories(&world) {
            let all = scores(&*model, &history, &items);
            assert!(all.iter().all(|s| s.is_finite()), "{}: {all:?}", entry.name);
            assert_eq!(&all[60..], [0.0, 0.0], "{}", entry.name);
            assert!(!model.knows(1_000) && !model.knows(u32::MAX));
            let some = [3, 1_000, 0, 59, u32::MAX, 3];
            assert_eq!(model.knows_each(&some), some.map(|item| model.knows(item)));
            let reversed: Vec<u32> = items.iter().rev().copied().collect();
            let mut turned = scores(&*model, &history, &reversed);
            turned.reverse();
            assert_eq!(all, turned, "{}", entry.name);
            for (item, score) in items.iter().zip(&all) {
                assert_eq!(scores(&*model, &history, &[*item]), [*score], "{}", entry.name);
            }
        }
    }
}

#[test]
fn recommending_equals_scoring_everything() {
    let world = world(120, 60, 14);
    for entry in entries() {
        let model = fit(entry.name, &Value::Null, &world.data, 2);
        let allowed = |item: u32| !item.is_multiple_of(7);
        for history in histories(&world) {
            let items: Vec<u32> = (0..60).filter(|i| allowed(*i) && model.knows(*i)).collect();
            let mut expected: Vec<(u32, f32)> = items
                .iter()
                .copied()
                .zip(scores(&*model, &history, &items))
                .collect();
            expected.retain(|entry| entry.1 != 0.0);
            expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            for n in [0, 1, 10, 1000] {
                let got = model.recommend(&history, n, &allowed);
                assert_eq!(got, expected[..n.min(expected.len())], "{} of {n}", entry.name);
            }
        }
    }
}

#[test]
fn explanations_sum_to_the_score() {
    let world = world(120, 60, 14);
    for entry in entries() {
        let model = fit(entry.name, &Value::Null, &world.data, 2);
        for history in histories(&world) {
            for item in (0..60).chain([1_000]) {
                let score = scores(&*model, &history, &[item])[0];
                let explanation = model.explain(&history, item);
                let size: f32 = explanation.contributions.iter().map(|c| c.value.abs()).sum();
                let error = (explanation.total() - score).abs();
                // Scores are of the order of one; the constant is the rounding of a solve in single precision.
                assert!(
                    error <= 1e-4 * size.max(score.abs()) + 1e-6,
                    "{} {item}: {error} of {score}",
                    entry.name
                );
                let evidence = model.evidence(&history, &[item, 0]).swap_remove(0);
                let (parts, rest) = (evidence.history, evidence.rest);
                let of = |wanted: u32| -> f32 {
                    let own = parts.iter().filter(|(item, _)| *item == wanted);
                    own.map(|(_, value)| value).sum()
                };
                let mut spoken = 0.0;
                for event in &history {
                    let explained = explanation.contributions.iter().filter(
                        |c| matches!(c.source, ContributionSource::History { item } if item == event.item),
                    );
                    let explained: f32 = explained.map(|c| c.value).sum();
                    spoken += explained;
                    assert!(
                        (of(event.item) - explained).abs() <= 1e-5 * size + 1e-7,
                        "{} {item}",
                        entry.name
                    );
                }
                let rest_explained = explanation.total() - spoken;
                assert!(
                    (rest - rest_explained).abs() <= 1e-4 * size + 1e-6,
                    "{} {item}",
                    entry.name
                );
            }
        }
    }
}

#[test]
fn likeness_leaves_the_item_itself_out() {
    let world = world(120, 60, 14);
    for entry in entries() {
        let model = fit(entry.name, &Value::Null, &world.data, 2);
        let list = model.similar(10, 5, &|item| item != 12);
        assert_eq!(list.is_empty(), !PERSONAL.contains(&entry.name), "{}", entry.name);
        assert!(
            list.iter().all(|(item, _)| ![10, 12].contains(item)),
            "{}",
            entry.name
        );
        assert!(
            list.iter().filter(|(item, _)| item % 2 == 0).count() * 2 >= list.len(),
            "{}",
            entry.name
        );
        assert!(model.similar(1_000, 5, &|_| true).is_empty());
    }
}

#[test]
fn no_data_is_a_named_error_and_so_is_a_cancelled_run() {
    let nothing = training(interactions(&[], &[]), &Default::default());
    let only_items = training(interactions(&["a", "b"], &[]), &Default::default());
    let world = world(120, 60, 14);
    for entry in entries() {
        let trainer = (entry.build)(&Value::Null).unwrap();
        for data in [&nothing, &only_items] {
            let result = trainer.fit(data, &Run::new(1, 2));
            assert!(matches!(result, Err(ModelError::Empty(_))), "{}", entry.name);
        }
        let run = Run::new(1, 2);
        run.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        let result = trainer.fit(&world.data, &run);
        assert!(matches!(result, Err(ModelError::Cancelled)), "{}", entry.name);
    }
}

/// Share of people whose held-out item is among their ten best.
fn hit_rate(model: &dyn Model, world: &World) -> f64 {
    let data = &world.data.interactions;
    let mut hits = 0;
    for (user, (_, held)) in world.planted.held_out.iter().enumerate() {
        let history = history(data, user);
        let seen = |item: u32| history.iter().any(|h| h.item == item);
        let list = model.recommend(&history, 10, &|item| !seen(item));
        let wanted = data.items.position(held).unwrap();
        hits += usize::from(list.iter().any(|(item, _)| *item == wanted));
    }
    hits as f64 / world.planted.held_out.len() as f64
}

#[test]
fn personal_models_see_the_pattern_that_popularity_cannot() {
    let world = world(200, 80, 16);
    let floor = hit_rate(&*fit("popular", &Value::Null, &world.data, 2), &world);
    for name in PERSONAL {
        // As many factors as items would only remember.
        let config = if name == "als" {
            serde_json::json!({"factors": 8})
        } else {
            Value::Null
        };
        let rate = hit_rate(&*fit(name, &config, &world.data, 2), &world);
        // Content knows the kind only, and there are about 26 unseen items of it: 10 / 26.
        let factor = if name == "content" { 1.05 } else { 1.3 };
        assert!(rate > floor * factor, "{name}: {rate}, popularity {floor}");
    }
}

#[test]
fn new_items_with_attributes_are_recommended_at_once_to_the_right_people() {
    let world = world(200, 80, 16);
    for name in ["content", "blend"] {
        let mut model = fit(name, &Value::Null, &world.data, 2).fork();
        let id = item_id("brand-new");
        assert_eq!(
            model.absorb_items(&[(id.clone(), features("even", "item-0001"))]),
            1
        );
        let position = model.vocabulary().position("brand-new").unwrap();
        assert!(model.knows(position), "{name}");
        let data = &world.data.interactions;
        let (even, odd) = (history(data, 0), history(data, 1));
        let place = |h: &[HistoryEvent]| {
            let seen = |item: u32| h.iter().any(|e| e.item == item);
            model
                .recommend(h, 100, &|i| !seen(i))
                .iter()
                .position(|(i, _)| *i == position)
        };
        let (right, wrong) = (place(&even).unwrap_or(999), place(&odd).unwrap_or(999));
        assert!(right < 20 && right < wrong, "{name}: {right} {wrong}");
        // The new item alone is enough of a history.
        let fresh = [HistoryEvent {
            item: position,
            weight: 1.0,
            age_days: 0.0,
        }];
        assert!(model.personal(&fresh), "{name}");
        let list = model.recommend(&fresh, 5, &|i| i != position);
        assert!(list.iter().all(|(i, _)| i % 2 == 0), "{name}: {list:?}");
        assert!(
            model
                .features_shared(&even, position, 3)
                .iter()
                .any(|(f, _)| f == "kind=even"),
            "{name}"
        );
        let loaded = models::load(&saved(&*model)).unwrap();
        let items: Vec<u32> = (0..=80).collect();
        assert_eq!(
            scores(&*model, &even, &items),
            scores(&*loaded, &even, &items),
            "{name}"
        );
    }
}

#[test]
fn attributes_alone_are_enough() {
    let ids = ["a", "b", "c", "d"];
    let kinds = ids
        .iter()
        .zip(["even", "odd", "even", "odd"])
        .map(|(i, k)| (i.to_string(), k))
        .collect();
    let data = training(interactions(&ids, &[]), &kinds);
    for name in ["content", "blend"] {
        let model = fit(name, &Value::Null, &data, 1);
        let liked = [HistoryEvent {
            item: 0,
            weight: 1.0,
            age_days: 0.0,
        }];
        assert_eq!(model.recommend(&liked, 1, &|i| i != 0)[0].0, 2, "{name}");
        assert_eq!(model.similar(1, 1, &|_| true)[0].0, 3, "{name}");
    }
}

/// What is worked out for a history is kept by its items and strengths, so nothing else of it may count.
#[test]
fn ages_of_events_are_not_read() {
    let world = world(120, 60, 14);
    let all: Vec<u32> = (0..60).collect();
    for entry in entries() {
        let model = fit(entry.name, &Value::Null, &world.data, 2);
        // Another instance keeps nothing of this one's.
        let other = models::load(&saved(&*model)).unwrap();
        for young in histories(&world) {
            let mut old = young.clone();
            old.iter_mut()
                .enumerate()
                .for_each(|(at, event)| event.age_days = 400.0 - at as f32);
            let of = |model: &dyn Model, history: &[HistoryEvent]| {
                let list = model.recommend(history, 10, &|_| true);
                (
                    scores(model, history, &all),
                    list,
                    model.evidence(history, &[3, 4]),
                )
            };
            assert_eq!(
                format!("{:?}", of(&*model, &young)),
                format!("{:?}", of(&*other, &old)),
                "{}",
                entry.name
            );
        }
    }
}

/// Whatever a blend's scores are measured by: explanations sum to the score, a loaded one says the same to the bit, and a single part's own list has the unit
/// that it should have.
#[test]
fn a_blend_is_measured_by_what_it_says_and_explains_it() {
    let world = world(200, 140, 16);
    let items: Vec<u32> = (0..140).collect();
    for kind in ["typical", "best", "spread"] {
        let config = |parts: &[&str]| {
            let parts: Vec<Value> = parts
                .iter()
                .map(|part| serde_json::json!({"model": part}))
                .collect();
            serde_json::json!({"normalise": kind, "parts": parts})
        };
        let model = fit(
            "blend",
            &config(&["item-cosine", "als", "content", "popular"]),
            &world.data,
            2,
        );
        let loaded = models::load(&saved(&*model)).unwrap();
        let bits = |of: Vec<f32>| of.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
        for history in histories(&world) {
            let all = scores(&*model, &history, &items);
            assert_eq!(
                bits(all.clone()),
                bits(scores(&*loaded, &history, &items)),
                "{kind}"
            );
            let size = all.iter().fold(0f32, |most, s| most.max(s.abs()));
            let evidence = model.evidence(&history, &items);
            for ((item, score), evidence) in items.iter().zip(&all).zip(evidence) {
                let explained = model.explain(&history, *item).total();
                let told = evidence.rest + evidence.history.iter().map(|(_, value)| value).sum::<f32>();
                let near = |sum: f32| (sum - score).abs() <= 1e-4 * size + 1e-6;
                assert!(
                    near(explained) && near(told),
                    "{kind}: {score} {explained} {told}"
                );
            }
        }
        // Alone a part counts fully, so the score is the part's over the unit.
        let mut only = config(&["als"]);
        only["validation_users"] = serde_json::json!(0);
        let alone = fit("blend", &only, &world.data, 2);
        let part = fit("als", &Value::Null, &world.data, 2);
        let own = history(&world.data.interactions, 5);
        let list = |model: &dyn Model, n: usize| {
            let unseen = |item: u32| own.iter().all(|event| event.item != item);
            let list = model.recommend(&own, n, &unseen);
            list.into_iter()
                .map(|(_, score)| f64::from(score))
                .collect::<Vec<f64>>()
        };
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let (ours, theirs) = (list(&*alone, 100), list(&*part, 100));
        assert_eq!(ours.len(), 100);
        match kind {
            "best" => assert!((mean(&ours[..20]) - 1.0).abs() < 1e-4, "{}", mean(&ours[..20])),
            "spread" => {
                let middle = mean(&ours);
                let squares: Vec<f64> = ours.iter().map(|s| (s - middle).powi(2)).collect();
                assert!((mean(&squares) - 1.0).abs() < 1e-3, "{}", mean(&squares));
            }
            _ => assert!((mean(&ours[..20]) - 1.0).abs() > 1e-4),
        }
        // One division for all items.
        let factor = ours[0] / theirs[0];
        let same = |(ours, theirs): (&f64, &f64)| (ours - factor * theirs).abs() < 1e-4 * ours.abs() + 1e-6;
        assert!(ours.iter().zip(&theirs).all(same), "{kind}");
    }
    let wrong = (models::trainer("blend").unwrap().build)(&serde_json::json!({"normalise": "rank"}));
    let told = wrong.err().unwrap().to_string();
    assert!(told.contains("rank") && told.contains("spread"), "{told}");
}
