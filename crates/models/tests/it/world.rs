//! Planted data as training data.

use dataset::{Interactions, InteractionsBuilder};
use domain::{HistoryEvent, ItemId, Timestamp, UserId};
use models::{ItemFeatures, Model, Run, TrainingData};
use signals::TypedValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::worlds::{Checkerboard, PlantedRow, checkerboard};

pub(crate) const DAY_MS: i64 = 86_400_000;

pub(crate) fn item_id(id: &str) -> ItemId {
    ItemId::new(id).unwrap()
}

pub(crate) fn features(kind: &str, name: &str) -> ItemFeatures {
    BTreeMap::from([
        ("kind".to_owned(), TypedValue::Category(kind.to_owned())),
        (
            "tags".to_owned(),
            TypedValue::Tags(vec![kind.to_owned(), "all".to_owned()]),
        ),
        (
            "title".to_owned(),
            TypedValue::Text(format!("The {kind} story of {name}")),
        ),
        (
            "length".to_owned(),
            TypedValue::Number(name.len() as f64 + if kind == "odd" { 3.0 } else { 0.0 }),
        ),
        (
            "seen".to_owned(),
            TypedValue::Timestamp(Timestamp(DAY_MS * name.len() as i64)),
        ),
        (
            "where".to_owned(),
            TypedValue::Geo {
                lat: 10.0,
                lon: name.len() as f64,
            },
        ),
        (
            "vector".to_owned(),
            TypedValue::Embedding(vec![1.0, if kind == "odd" { -1.0 } else { 1.0 }]),
        ),
    ])
}

pub(crate) fn interactions(items: &[&str], rows: &[PlantedRow]) -> Interactions {
    let mut builder = InteractionsBuilder::default();
    items.iter().for_each(|id| builder.item(&item_id(id)));
    for row in rows {
        let user = UserId::new(&row.user).unwrap();
        builder.push(
            &user,
            &item_id(&row.item),
            row.weight,
            Timestamp(row.day * DAY_MS),
        );
    }
    builder.build()
}

pub(crate) fn training(interactions: Interactions, kinds: &BTreeMap<String, &str>) -> TrainingData {
    let of = |id: &ItemId| {
        kinds
            .get(id.as_str())
            .map_or_else(BTreeMap::new, |k| features(k, id.as_str()))
    };
    TrainingData {
        features: Arc::new(interactions.items.ids().iter().map(of).collect()),
        user_features: Arc::default(),
        now: Timestamp(interactions.last_moment().0 + DAY_MS),
        interactions: Arc::new(interactions),
    }
}

pub(crate) struct World {
    pub(crate) planted: Checkerboard,
    pub(crate) data: TrainingData,
}

pub(crate) fn world(users: usize, items: usize, per_user: usize) -> World {
    let planted = checkerboard(users, items, per_user, 11);
    let ids: Vec<&str> = planted.items.iter().map(|i| i.0.as_str()).collect();
    let kinds = planted.items.iter().map(|i| (i.0.clone(), i.1)).collect();
    let data = training(interactions(&ids, &planted.rows), &kinds);
    World { planted, data }
}

/// Trains the learner of this name with this configuration.
pub(crate) fn fit(
    name: &str,
    config: &serde_json::Value,
    data: &TrainingData,
    threads: usize,
) -> Box<dyn Model> {
    let trainer = (models::trainer(name).unwrap().build)(config).unwrap();
    trainer.fit(data, &Run::new(5, threads)).unwrap()
}

/// A user's history from the data: strengths added, by last moment.
pub(crate) fn history(data: &Interactions, user: usize) -> Vec<HistoryEvent> {
    fold(data.of_user(user).iter().map(|r| (r.item, r.weight)))
}

/// One entry per item, by last event.
pub(crate) fn fold(events: impl Iterator<Item = (u32, f32)>) -> Vec<HistoryEvent> {
    let mut history: Vec<HistoryEvent> = Vec::new();
    for (item, weight) in events {
        let before = history
            .iter()
            .position(|h| h.item == item)
            .map(|at| history.remove(at).weight);
        history.push(HistoryEvent {
            item,
            weight: weight + before.unwrap_or(0.0),
            age_days: 1.0,
        });
    }
    history
}

pub(crate) fn saved(model: &dyn Model) -> Vec<u8> {
    let mut bytes = Vec::new();
    model.save(&mut bytes);
    bytes
}

pub(crate) fn scores(model: &dyn Model, history: &[HistoryEvent], items: &[u32]) -> Vec<f32> {
    let mut scores = vec![f32::NAN; items.len()];
    model.score(history, items, &mut scores);
    scores
}
