//! How the events of a history count by their place.

use crate::world::*;
use dataset::{Interactions, InteractionsBuilder};
use domain::{HistoryEvent, Timestamp, UserId};
use models::{Model, Recall, TrainingData};
use serde_json::{Value, json};
use std::sync::Arc;

const FADING: [&str; 6] = ["ease", "spectral", "rp3beta", "item-cosine", "item-bm25", "swing"];

fn scores(model: &dyn Model, history: &[HistoryEvent], n_items: u32) -> Vec<f32> {
    let items: Vec<u32> = (0..n_items).collect();
    let mut scores = vec![0.0; items.len()];
    model.score(history, &items, &mut scores);
    scores
}

/// A share for each event, oldest first, worked out here.
fn shares(n: usize, recall: Recall) -> Vec<f32> {
    let share = |at: usize| {
        let place = n - 1 - at;
        let faded = 0.5f32.powf(place as f32 / recall.half_life).max(recall.floor);
        if place < recall.most { faded } else { 0.0 }
    };
    (0..n).map(share).collect()
}

/// Scores are sums over the history, so each event says its share of what it says alone; neighbourhoods divide by the sum of the shares.
#[test]
fn every_event_says_its_share_of_what_it_says_alone() {
    let world = world(120, 60, 14);
    let history = history(&world.data.interactions, 1);
    assert!(history.len() > 8);
    for name in FADING {
        for (most, half_life, floor) in [(200, 4.0, 0.1), (7, 2.0, 0.3), (200, 1.5, 0.0)] {
            let recall = Recall {
                most,
                half_life,
                floor,
            };
            let config = json!({"history_max": most, "half_life_events": half_life, "floor": floor});
            let model = fit(name, &config, &world.data, 1);
            assert_eq!(model.recall(), Some(recall), "{name}");
            let whole = scores(&*model, &history, 60);
            let shares = shares(history.len(), recall);
            let is_mean = ["item-cosine", "item-bm25", "swing"].contains(&name);
            let strength = |(event, share): (&HistoryEvent, &f32)| event.weight * share;
            let total: f32 = history.iter().zip(&shares).map(strength).sum();
            let mut sums = [0f32; 60];
            for (event, share) in history.iter().zip(&shares) {
                let counts = if is_mean {
                    event.weight * share / total
                } else {
                    *share
                };
                let alone = scores(&*model, &[*event], 60);
                sums.iter_mut()
                    .zip(alone)
                    .for_each(|(sum, one)| *sum += counts * one);
            }
            // A share below a thousandth may be left out.
            for (item, (got, expected)) in whole.iter().zip(sums).enumerate() {
                assert!(
                    (got - expected).abs() < 3e-3 * (1.0 + expected.abs()),
                    "{name} {item}: {got} {expected}"
                );
            }
            for item in [2, 9] {
                let parts: f32 = model
                    .explain(&history, item)
                    .contributions
                    .iter()
                    .map(|c| c.value)
                    .sum();
                assert!((parts - whole[item as usize]).abs() < 1e-4, "{name}");
            }
            let mut saved = Vec::new();
            model.save(&mut saved);
            let loaded = models::load(&saved).unwrap();
            assert_eq!(loaded.recall(), Some(recall), "{name}");
            assert_eq!(scores(&*loaded, &history, 60), whole, "{name}");
        }
    }
}

/// A number of events alone is a window, as it always was: histories shorter than it are not touched by it, and models made so before are read as such.
#[test]
fn a_number_alone_is_a_window() {
    let world = world(120, 60, 14);
    let history = history(&world.data.interactions, 1);
    for name in FADING {
        let short = fit(name, &json!({"history_max": 50}), &world.data, 1);
        let long = fit(
            name,
            &json!({"history_max": 50, "half_life_events": 0, "floor": 0.7}),
            &world.data,
            1,
        );
        assert!(
            short
                .recall()
                .is_some_and(|recall| recall.half_life == 0.0 && recall.most == 50),
            "{name}"
        );
        assert_eq!(
            scores(&*short, &history, 60),
            scores(&*long, &history, 60),
            "{name}"
        );
        let mut same = fit(name, &Value::Null, &world.data, 1);
        assert_ne!(
            scores(&*same, &history, 60),
            scores(&*short, &history, 60),
            "{name}: fades by default"
        );
        same.set_recall(short.recall().unwrap());
        assert_eq!(
            scores(&*same, &history, 60),
            scores(&*short, &history, 60),
            "{name}"
        );
    }
}

/// Where the data does not say when events were, their order means nothing.
#[test]
fn without_moments_all_events_count_alike() {
    let timed = world(120, 60, 14);
    let mut rows = timed.data.interactions.rows.clone();
    rows.iter_mut().for_each(|row| row.timestamp = Timestamp(0));
    let untimed = Interactions {
        rows,
        ..(*timed.data.interactions).clone()
    };
    let data = TrainingData {
        interactions: Arc::new(untimed),
        ..timed.data.clone()
    };
    let mut names = FADING.to_vec();
    names.push("blend");
    for name in names {
        let model = fit(name, &Value::Null, &data, 1);
        let parts = model.parts();
        let all = std::iter::once(&*model).chain(parts.iter().copied());
        for recall in all.filter_map(Model::recall) {
            assert_eq!((recall.half_life, recall.most), (0.0, 1000), "{name}");
        }
    }
}

/// Six groups of 20 items. People go through groups thirteen items at a time (`moving`), or keep to one but for every other item.
fn people(moving: bool) -> TrainingData {
    let mut builder = InteractionsBuilder::default();
    let mut stream = numeric::SeededStream::new(7, 0);
    let mut below = |n: usize| (stream.uniform() * n as f64) as usize;
    for user in 0..400 {
        let own = below(6);
        let mut group = own;
        let mut taken = std::collections::BTreeSet::new();
        for at in 0..40i64 {
            if moving && at % 13 == 0 {
                group = below(6);
            }
            if !moving {
                group = if at % 2 == 0 { own } else { below(6) };
            }
            let item = group * 20 + below(20);
            if taken.insert(item) {
                let user = UserId::new(format!("u{user}")).unwrap();
                builder.push(&user, &item_id(&format!("i{item}")), 1.0, Timestamp(at * 60_000));
            }
        }
    }
    TrainingData {
        interactions: Arc::new(builder.build()),
        features: Arc::default(),
        user_features: Arc::default(),
        now: Timestamp(41 * 60_000),
    }
}

#[test]
fn a_blend_finds_how_events_fade() {
    let found = |moving: bool, config: Value| {
        let parts = json!([{"model": "item-cosine", "config": config}, {"model": "popular"}]);
        let model = fit("blend", &json!({"parts": parts}), &people(moving), 2);
        model.parts()[0].recall().unwrap()
    };
    // What the events of a history count in all, over the latest one.
    let weight = |recall: Recall| shares(30, recall).iter().sum::<f32>();
    let (moving, keeping) = (found(true, Value::Null), found(false, Value::Null));
    assert!(weight(moving) < weight(keeping), "{moving:?} {keeping:?}");
    // What was said is kept.
    let said = json!({"half_life_events": 3, "floor": 0.2});
    let kept = found(false, said);
    assert_eq!((kept.half_life, kept.floor, kept.most), (3.0, 0.2, 200));
}
