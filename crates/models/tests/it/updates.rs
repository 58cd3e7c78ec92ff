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

/// A log with people who are erased: whom, and after how many rows.
#[derive(Debug, Clone)]
struct Log {
    rows: Vec<PlantedRow>,
    erased: Vec<(usize, String)>,
}

impl Log {
    /// Rows that are left in the end.
    fn left(&self) -> Vec<PlantedRow> {
        let gone = |at: usize, row: &PlantedRow| {
            self.erased
                .iter()
                .any(|(when, who)| *who == row.user && at < *when)
        };
        let rows = self.rows.iter().enumerate();
        rows.filter(|(at, row)| !gone(*at, row))
            .map(|(_, row)| row.clone())
            .collect()
    }

    /// Of the first `n` rows, those that nobody has erased by then.
    fn known(&self, n: usize) -> Vec<&PlantedRow> {
        let gone = |at: usize, row: &PlantedRow| {
            self.erased
                .iter()
                .any(|(when, who)| *who == row.user && at < *when && *when <= n)
        };
        let rows = self.rows[..n].iter().enumerate();
        rows.filter(|(at, row)| !gone(*at, row))
            .map(|(_, row)| row)
            .collect()
    }
}

/// Logs with up to three erasures, none of the last row: what is left then ends at the same moment.
fn logs() -> impl Strategy<Value = Log> {
    let erasures = prop::collection::vec((0.0f64..1.0, 0usize..6), 0..3);
    (planted(), erasures).prop_map(|(rows, erasures)| {
        let when = |share: f64| 1 + (share * (rows.len() - 2) as f64) as usize;
        let mut erased: Vec<(usize, String)> = erasures
            .into_iter()
            .map(|(share, user)| (when(share), format!("u{user}")))
            .collect();
        erased.sort();
        erased.dedup();
        Log { rows, erased }
    })
}

/// Trains on the first `split` rows and feeds the rest; trains on all that is left; all items are the same.
fn both(name: &str, config: &Value, log: &Log, split: usize, batch: usize) -> Option<[Box<dyn Model>; 2]> {
    let rows = &log.rows;
    let trainer = (models::trainer(name).unwrap().build)(config).unwrap();
    let run = models::Run::new(1, 1);
    let ids: Vec<&str> = rows.iter().map(|row| row.item.as_str()).collect();
    let first: Vec<PlantedRow> = log.known(split).into_iter().cloned().collect();
    let first = training(interactions(&[], &first), &Default::default());
    let all = training(interactions(&ids, &log.left()), &Default::default());
    let model = trainer.fit(&first, &run).ok()?;
    let whole = trainer.fit(&all, &run).ok()?;
    Some([fed(model, log, split, batch, true), whole])
}

/// A model of the first `split` rows with the rest taken in, batch by batch; it is `served` in between or never.
fn fed(mut model: Box<dyn Model>, log: &Log, split: usize, batch: usize, served: bool) -> Box<dyn Model> {
    let rows = &log.rows;
    let mut done = split;
    while done < rows.len() {
        // Batches end where somebody goes.
        let next = log
            .erased
            .iter()
            .map(|(when, _)| *when)
            .filter(|when| *when > done)
            .min();
        let end = (done + batch).min(rows.len()).min(next.unwrap_or(rows.len()));
        let part = &rows[done..end];
        let mut vocabulary = (**model.vocabulary()).clone();
        let known = vocabulary.len();
        let positions: Vec<u32> = part
            .iter()
            .map(|r| vocabulary.insert(&item_id(&r.item)))
            .collect();
        let new_items: Vec<ItemId> = vocabulary.ids()[known..].to_vec();
        let (mut events, mut histories) = (Vec::new(), Vec::new());
        let event = |row: &PlantedRow, item: u32| Interaction {
            user: 0,
            item,
            weight: row.weight,
            timestamp: Timestamp(row.day * DAY_MS),
        };
        for (n, row) in part.iter().enumerate() {
            let before = log.known(done).into_iter().chain(&part[..n]);
            let before = before.filter(|r| r.user == row.user);
            histories.push(fold(
                before.map(|r| (vocabulary.position(&r.item).unwrap(), r.weight)),
            ));
            events.push(event(row, positions[n]));
        }
        // Served before each update, so that whatever a model keeps ready is there to go stale.
        let everything = fold((0..model.vocabulary().len() as u32).map(|item| (item, 1.0)));
        if served {
            model.recommend(&everything, 5, &|_| true);
        }
        let mut next = model.fork();
        let report = next.update(&new_items, &events, &histories);
        assert_eq!(report.absorbed + report.ignored, events.len());
        for (when, who) in log.erased.iter().filter(|(when, _)| *when == end) {
            let mut theirs: Vec<Interaction> = Vec::new();
            // What was erased before is not taken out twice.
            let earlier = log
                .erased
                .iter()
                .filter(|(w, u)| u == who && w < when)
                .map(|(w, _)| *w)
                .max()
                .unwrap_or(0);
            for row in rows[earlier..*when].iter().filter(|row| row.user == *who) {
                theirs.push(event(row, vocabulary.position(&row.item).unwrap()));
            }
            next.erase(&theirs);
        }
        model = next;
        done = end;
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_promised_exact_equals_training_anew(log in logs(), at in 0.1f64..0.9, batch in 1usize..6) {
        let split = ((log.rows.len() as f64 * at) as usize).max(1);
        let cases = [
            ("popular", json!({"half_life_days": 5.0})),
            ("trending", Value::Null),
            ("item-cosine", Value::Null),
        ];
        for (name, config) in cases {
            let Some([updated, whole]) = both(name, &config, &log, split, batch) else { continue };
            prop_assert_eq!(updated.guarantee(), UpdateGuarantee::Exact);
            let ids = updated.vocabulary().ids();
            for id in ids {
                let known = |m: &dyn Model| m.vocabulary().position(id.as_str()).is_some_and(|item| m.knows(item));
                prop_assert_eq!(known(&*updated), known(&*whole), "{} {}", name, id);
            }
            for liked in ids {
                let history = |m: &dyn Model| {
                    [HistoryEvent { item: m.vocabulary().position(liked.as_str()).unwrap(), weight: 1.0, age_days: 0.0 }]
                };
                for id in ids {
                    let score = |m: &dyn Model| {
                        scores(m, &history(m), &[m.vocabulary().position(id.as_str()).unwrap()])[0]
                    };
                    let (a, b) = (score(&*updated), score(&*whole));
                    prop_assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "{} {} {}: {} {}", name, liked, id, a, b);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// What a model keeps ready between requests must be what it would work out anew: else a decision could not be replayed.
    #[test]
    fn answers_do_not_depend_on_what_was_asked_before(log in logs(), at in 0.1f64..0.9, batch in 1usize..6) {
        let split = ((log.rows.len() as f64 * at) as usize).max(1);
        let tight = json!({"companions_max": 2, "neighbours": 2});
        let others = models::trainers().iter().filter(|entry| entry.name != "content").map(|entry| (entry.name, Value::Null));
        for (name, config) in others.chain([("item-cosine", tight.clone()), ("item-bm25", tight)]) {
            let trainer = (models::trainer(name).unwrap().build)(&config).unwrap();
            let rows: Vec<PlantedRow> = log.known(split).into_iter().cloned().collect();
            let Ok(model) = trainer.fit(&training(interactions(&[], &rows), &Default::default()), &models::Run::new(1, 1)) else {
                continue;
            };
            let [busy, idle] = [true, false].map(|served| fed(model.fork(), &log, split, batch, served));
            let all: Vec<u32> = (0..busy.vocabulary().len() as u32).collect();
            for liked in &all {
                let history = [HistoryEvent { item: *liked, weight: 1.0, age_days: 0.0 }];
                let bits = |m: &dyn Model| scores(m, &history, &all).into_iter().map(f32::to_bits).collect::<Vec<_>>();
                prop_assert_eq!(bits(&*busy), bits(&*idle), "{} {}", name, liked);
            }
        }
    }
}

/// What a model does not reflect is the content that moved: nothing for one that is exact, and for one that ignores events the
/// pairs that are new, but not what was done again.
#[test]
fn staleness_counts_content_that_is_not_reflected() {
    let world = world(120, 60, 14);
    let data = &world.data.interactions;
    let fresh = models::Staleness::fresh(data);
    let pairs: std::collections::BTreeSet<(u32, u32)> = data.rows.iter().map(|r| (r.user, r.item)).collect();
    assert!(fresh.trained > 0.0 && fresh.trained <= pairs.len() as f64);
    let (own, other) = (history(data, 0), history(data, 1));
    let event = |item: u32| Interaction {
        user: 0,
        item,
        weight: 1.0,
        timestamp: Timestamp(DAY_MS * 30),
    };
    let again = event(own[0].item);
    let novel = event(
        other
            .iter()
            .find(|h| own.iter().all(|o| o.item != h.item))
            .unwrap()
            .item,
    );
    for entry in models::trainers() {
        if matches!(entry.name, "content" | "blend") {
            continue;
        }
        let mut model = fit(entry.name, &Value::Null, &world.data, 2);
        let exact = matches!(entry.name, "popular" | "trending" | "item-cosine");
        let repeated = model.update(&[], &[again], std::slice::from_ref(&own)).moved;
        let added = model.update(&[], &[novel], std::slice::from_ref(&own)).moved;
        if exact {
            assert_eq!((repeated, added), (0.0, 0.0), "{}", entry.name);
        } else if entry.name == "item-bm25" {
            assert!(added > 0.0 && added < 1.0, "{added}");
        } else {
            assert!(
                repeated < 0.5 && added > 0.5,
                "{}: {repeated} {added}",
                entry.name
            );
        }
        let all: Vec<Interaction> = data.of_user(3).to_vec();
        let gone = model.erase(&all).moved;
        let taken_out = exact || entry.name == "item-bm25";
        assert_eq!(gone == 0.0, taken_out, "{}: {gone}", entry.name);
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
