//! What `update` promises, against training anew on the same events.

use crate::world::*;
use dataset::Interaction;
use domain::{HistoryEvent, ItemId, Timestamp};
use models::{Model, UpdateGuarantee};
use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::worlds::PlantedRow;

/// Users, items and strengths small enough that everything meets everything; days ascending.
fn planted() -> impl Strategy<Value = Vec<PlantedRow>> {
    let weight = prop_oneof![4 => Just(1.0f32), 1 => Just(0.25f32), 1 => Just(-1.0f32)];
    prop::collection::vec((0usize..6, 0usize..9, weight), 8..60).prop_map(|events| {
        let row = |(day, (user, item, weight)): (usize, (usize, usize, f32))| PlantedRow {
            user: format!("u{user}"),
            item: format!("i{item}"),
            weight,
            day: day as i64,
        };
        events.into_iter().enumerate().map(row).collect()
    })
}

/// Trains on the first `split` rows and feeds the rest; trains on all; both see the same ids.
fn both(
    name: &str,
    config: &Value,
    rows: &[PlantedRow],
    split: usize,
    batch: usize,
) -> Option<[Box<dyn Model>; 2]> {
    let build = |rows: &[PlantedRow]| training(interactions(&[], rows), &Default::default());
    let trainer = (models::trainer(name).unwrap().build)(config).unwrap();
    let run = models::Run::new(1, 1);
    let (first, all) = (build(&rows[..split]), build(rows));
    let mut model = trainer.fit(&first, &run).ok()?;
    let whole = trainer.fit(&all, &run).ok()?;
    let mut done = split;
    for part in rows[split..].chunks(batch) {
        let mut vocabulary = (**model.vocabulary()).clone();
        let known = vocabulary.len();
        let positions: Vec<u32> = part
            .iter()
            .map(|r| vocabulary.insert(&item_id(&r.item)))
            .collect();
        let new_items: Vec<ItemId> = vocabulary.ids()[known..].to_vec();
        let (mut events, mut histories) = (Vec::new(), Vec::new());
        for (n, row) in part.iter().enumerate() {
            let before = rows[..done + n].iter().filter(|r| r.user == row.user);
            histories.push(fold(
                before.map(|r| (vocabulary.position(&r.item).unwrap(), r.weight)),
            ));
            events.push(Interaction {
                user: 0,
                item: positions[n],
                weight: row.weight,
                timestamp: Timestamp(row.day * DAY_MS),
            });
        }
        // Served before each update, so that whatever a model keeps ready is there to go stale.
        let everything = fold((0..model.vocabulary().len() as u32).map(|item| (item, 1.0)));
        model.recommend(&everything, 5, &|_| true);
        let mut next = model.fork();
        let report = next.update(&new_items, &events, &histories);
        assert_eq!(report.absorbed + report.ignored, events.len());
        model = next;
        done += part.len();
    }
    Some([model, whole])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_promised_exact_equals_training_anew(rows in planted(), at in 0.1f64..0.9, batch in 1usize..6) {
        let split = ((rows.len() as f64 * at) as usize).max(1);
        let cases = [
            ("popular", json!({"half_life_days": 5.0})),
            ("trending", Value::Null),
            ("item-cosine", Value::Null),
        ];
        for (name, config) in cases {
            let Some([updated, whole]) = both(name, &config, &rows, split, batch) else { continue };
            prop_assert_eq!(updated.guarantee(), UpdateGuarantee::Exact);
            let ids = whole.vocabulary().ids();
            prop_assert_eq!(updated.vocabulary().len(), ids.len());
            for liked in ids {
                let history = |m: &dyn Model| {
                    [HistoryEvent { item: m.vocabulary().position(liked.as_str()).unwrap(), weight: 1.0, age_days: 0.0 }]
                };
                for id in ids {
                    let score = |m: &dyn Model| {
                        scores(m, &history(m), &[m.vocabulary().position(id.as_str()).unwrap()])[0]
                    };
                    let (a, b) = (score(&*updated), score(&*whole));
                    prop_assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{} {} {}: {} {}", name, liked, id, a, b);
                }
            }
        }
    }
}

#[test]
fn events_on_new_items_teach_the_models_that_can_learn_them() {
    let world = world(120, 60, 14);
    let data = &world.data.interactions;
    for name in ["item-cosine", "item-bm25", "als", "blend"] {
        let mut model = fit(name, &Value::Null, &world.data, 2);
        let position = model.vocabulary().len() as u32;
        let evens: Vec<usize> = (0..60).step_by(2).collect();
        let event = |user: &usize| Interaction {
            user: *user as u32,
            item: position,
            weight: 1.0,
            timestamp: Timestamp(DAY_MS * 30),
        };
        let events: Vec<_> = evens.iter().map(event).collect();
        let histories: Vec<_> = evens.iter().map(|user| history(data, *user)).collect();
        let before = scores(&*model, &histories[0], &(0..60).collect::<Vec<_>>());
        let served = model.fork();
        let report = model.update(&[item_id("late")], &events, &histories);
        assert_eq!(report.absorbed, events.len(), "{name}");
        assert!(model.knows(position) && !served.knows(position), "{name}");
        assert_eq!(
            before,
            scores(&*served, &histories[0], &(0..60).collect::<Vec<_>>()),
            "{name}"
        );
        let mean = |parity: usize| {
            let users = (60..120).filter(|u| u % 2 == parity);
            users
                .map(|u| scores(&*model, &history(data, u), &[position])[0])
                .sum::<f32>()
        };
        assert!(mean(0) > 2.0 * mean(1), "{name}: {} {}", mean(0), mean(1));
        let loaded = models::load(&saved(&*model)).unwrap();
        for user in [0, 61] {
            let items: Vec<u32> = (0..=60).collect();
            let history = history(data, user);
            assert_eq!(
                scores(&*model, &history, &items),
                scores(&*loaded, &history, &items),
                "{name}"
            );
        }
    }
}
