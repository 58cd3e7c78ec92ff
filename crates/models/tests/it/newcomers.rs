//! What a blend believes of people who have only just begun.

use crate::world::*;
use dataset::InteractionsBuilder;
use domain::{HistoryEvent, Timestamp, UserId};
use models::{Model, TrainingData};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

const GROUPS: usize = 6;

/// Everyone comes in by the door of their group, then takes a dozen of forty hits whichever the group, the first of them most often, and only then what the
/// group likes. So the door tells what somebody will like in the end, and not what they take next.
fn people(n: usize) -> TrainingData {
    let mut builder = InteractionsBuilder::default();
    let mut stream = numeric::SeededStream::new(11, 0);
    let mut below = |n: f64| (stream.uniform() * n) as usize;
    for user in 0..n {
        let group = user % GROUPS;
        let mut taken = vec![format!("door{group}")];
        let mut hits = BTreeSet::new();
        while hits.len() < 12 {
            let hit = below(40.0).min(below(40.0));
            if hits.insert(hit) {
                taken.push(format!("hit{hit}"));
            }
        }
        let mut liked = BTreeSet::new();
        while liked.len() < 16 {
            let one = below(20.0);
            if liked.insert(one) {
                taken.push(format!("liked{group}-{one}"));
            }
        }
        let user = UserId::new(format!("u{user}")).unwrap();
        for (at, item) in taken.iter().enumerate() {
            builder.push(&user, &item_id(item), 1.0, Timestamp(at as i64 * 60_000));
        }
    }
    TrainingData {
        interactions: Arc::new(builder.build()),
        features: Arc::default(),
        user_features: Arc::default(),
        now: Timestamp(40 * 60_000),
    }
}

/// How many of the ten best are of each sort, hits and what the first group likes, for someone who took these.
fn best(model: &dyn Model, taken: &[String]) -> [usize; 2] {
    let vocabulary = model.vocabulary();
    let event = |id: &String| HistoryEvent {
        item: vocabulary.position(id).unwrap(),
        weight: 1.0,
        age_days: 0.0,
    };
    let history: Vec<HistoryEvent> = taken.iter().map(event).collect();
    let unseen = |item: u32| history.iter().all(|event| event.item != item);
    let list = model.recommend(&history, 10, &unseen);
    let of = |sort: &str| {
        let is_of = |entry: &&(u32, f32)| vocabulary.id(entry.0).as_str().starts_with(sort);
        list.iter().filter(is_of).count()
    };
    [of("hit"), of("liked0")]
}

#[test]
fn newcomers_are_shown_what_newcomers_take() {
    let config = json!({"parts": [{"model": "item-cosine"}, {"model": "popular"}]});
    let model = fit("blend", &config, &people(600), 2);
    let door = ["door0".to_owned()];
    // The neighbours of the door are what its group likes.
    assert_eq!(best(model.parts()[0], &door), [0, 10]);
    assert_eq!(best(&*model, &door), [10, 0]);
    let mut later = door.to_vec();
    later.extend((0..12).map(|hit| format!("hit{hit}")));
    later.extend((0..4).map(|one| format!("liked0-{one}")));
    assert_eq!(best(&*model, &later)[1], 10, "who has been there for long");
    // Too few people to hold any out entirely: the latest events say that the group comes next.
    let few = fit("blend", &config, &people(300), 2);
    assert_eq!(best(&*few, &door), [0, 10]);
}
