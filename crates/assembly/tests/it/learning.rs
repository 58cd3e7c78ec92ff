//! Absorbing, training, publishing, and what survives.

use crate::world::{World, ask, event, ids};
use assembly::{Problem, ServiceError};
use std::sync::atomic::{AtomicBool, Ordering};

fn slate(world: &World, user: &str) -> Vec<(String, f32)> {
    let answer = world.service.recommend(&ask(user)).unwrap();
    answer
        .items
        .into_iter()
        .map(|item| (item.item_id, item.score))
        .collect()
}

#[test]
fn before_the_first_training_there_is_a_slate_too() {
    let world = World::empty();
    let none = world.service.recommend(&ask("anyone")).unwrap();
    assert!(none.items.is_empty());
    world.fill();
    let answer = world.service.recommend(&ask("anyone")).unwrap();
    assert_eq!(answer.items.len(), 10);
    assert!(world.service.training_due());
    let nothing = World::empty();
    assert!(matches!(
        nothing.service.train(&|_| {}),
        Err(ServiceError::TooLittle(_))
    ));
    assert!(nothing.service.status().last_training_error.is_some());
    assert!(!nothing.service.training_due(), "there is nothing to learn from");
}

#[test]
fn a_restart_answers_as_before() {
    let world = World::trained();
    let before = (slate(&world, "user-0004"), world.service.status());
    let (world, report) = world.reopened();
    assert_eq!(report.events, before.1.events);
    assert_eq!(report.warnings, Vec::<String>::new());
    assert_eq!(slate(&world, "user-0004"), before.0);
    let after = world.service.status();
    assert_eq!(after.snapshot, before.1.snapshot);
    assert_eq!((after.users, after.items), (before.1.users, before.1.items));
}

#[test]
fn a_damaged_bundle_is_passed_over_by_name_and_the_previous_one_serves() {
    let world = World::trained();
    let before = slate(&world, "user-0004");
    world.service.train(&|_| {}).unwrap();
    let newest = world.dir.path().join("models/bundle-00000002.cncg");
    let whole = std::fs::read(&newest).unwrap();
    for flip in [9, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[flip] ^= 4;
        std::fs::write(&newest, bytes).unwrap();
        let (again, report) = {
            let copy = tempfile::TempDir::new().unwrap();
            world.service.backup(copy.path()).unwrap();
            let clock = world.clock.clone();
            let opened = assembly::Service::open(copy.path(), clock.clone()).unwrap();
            (
                World {
                    dir: copy,
                    clock,
                    service: opened.0,
                },
                opened.1,
            )
        };
        assert!(
            report.warnings[0].contains("bundle-00000002"),
            "{:?}",
            report.warnings
        );
        assert!(again.service.status().snapshot.starts_with("m1-"));
        assert_eq!(slate(&again, "user-0004"), before);
    }
}

#[test]
fn absorbed_events_change_what_others_see_and_survive_a_restart() {
    let world = World::trained();
    let fans: Vec<_> = (0..30)
        .map(|n| Ok(event(&format!("fan-{n}"), "item-0038", "purchase")))
        .collect();
    let more: Vec<_> = (0..30)
        .map(|n| Ok(event(&format!("fan-{n}"), "late-arrival", "purchase")))
        .collect();
    world.service.ingest(fans).unwrap();
    world.service.ingest(more).unwrap();
    assert_eq!(world.service.absorb().unwrap(), 60);
    assert_eq!(world.service.waiting(), 0);
    let status = world.service.status();
    assert_eq!(status.absorbed_sequence, status.sequence);
    // Never described, known from events alone, and yet a companion of item-0038 now.
    world
        .service
        .ingest(vec![Ok(event("one", "item-0038", "purchase"))])
        .unwrap();
    let of_one = slate(&world, "one");
    assert!(
        of_one.iter().take(3).any(|(id, _)| id == "late-arrival"),
        "{of_one:?}"
    );
    let (world, _) = world.reopened();
    let again = slate(&world, "one");
    assert!(
        again.iter().take(3).any(|(id, _)| id == "late-arrival"),
        "{again:?}"
    );
}

#[test]
fn events_and_items_that_come_during_a_training_are_in_the_new_models() {
    let world = World::trained();
    let service = &world.service;
    let once = AtomicBool::new(false);
    service
        .train(&|step| {
            if step.starts_with("training") && !once.swap(true, Ordering::SeqCst) {
                let mut batch: Vec<Result<_, Problem>> = Vec::new();
                for n in 0..20 {
                    batch.push(Ok(event(&format!("fan-{n}"), "item-0039", "purchase")));
                    batch.push(Ok(event(&format!("fan-{n}"), "mid-training", "purchase")));
                }
                service.ingest(batch).unwrap();
                service.absorb().unwrap();
                service
                    .put_items(vec![Ok(crate::world::item("put-meanwhile", "even"))])
                    .unwrap();
                assert!(matches!(service.train(&|_| {}), Err(ServiceError::Busy(_))));
            }
        })
        .unwrap();
    let status = service.status();
    assert!(status.snapshot.starts_with("m2-"));
    assert_eq!(status.absorbed_sequence, status.sequence);
    service
        .ingest(vec![Ok(event("one", "item-0039", "purchase"))])
        .unwrap();
    assert!(
        slate(&world, "one")
            .iter()
            .take(3)
            .any(|(id, _)| id == "mid-training")
    );
    let similar = assembly::SimilarRequest {
        item_id: "put-meanwhile".into(),
        n: None,
        model: Some("content".into()),
        filter: None,
    };
    assert!(!service.similar(&similar).unwrap().items.is_empty());
}

#[test]
fn answers_are_whole_while_snapshots_are_swapped() {
    let world = World::trained();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..3)
            .map(|n| {
                let (service, stop) = (&world.service, &stop);
                scope.spawn(move || {
                    let mut asked = 0;
                    while !stop.load(Ordering::SeqCst) {
                        let answer = service.recommend(&ask(&format!("user-{n:04}"))).unwrap();
                        let mut shown = ids(&answer);
                        assert_eq!(shown.len(), 10);
                        assert!(
                            !shown.contains(&"item-0000".to_owned()) || !answer.snapshot.ends_with("-c3")
                        );
                        shown.sort();
                        shown.dedup();
                        assert_eq!(shown.len(), 10);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for round in 0..3 {
            world.service.train(&|_| {}).unwrap();
            let new = (0..20).map(|n| Ok(crate::world::item(&format!("new-{round}-{n}"), "odd")));
            world.service.put_items(new.collect()).unwrap();
            world
                .service
                .ingest(vec![Ok(event("someone", &format!("new-{round}-0"), "click"))])
                .unwrap();
            world.service.absorb().unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        let asked: usize = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
        assert!(asked > 10, "{asked} requests");
    });
    assert_eq!(world.service.status().items, 100);
}

#[test]
fn a_changed_weight_re_derives_without_another_import() {
    let world = World::trained();
    world
        .service
        .ingest(vec![
            Ok(event("u", "item-0002", "purchase")),
            Ok(event("u", "item-0003", "dismiss")),
        ])
        .unwrap();
    let before = slate(&world, "u");
    world.service.close().unwrap();
    let path = world.dir.path().join(assembly::CONFIG_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut config: toml::Table = text.parse().unwrap();
    config["event_types"]["purchase"]["weight"] = toml::Value::Float(-1.0);
    config["event_types"]["dismiss"]["weight"] = toml::Value::Float(1.0);
    std::fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
    let (world, _) = world.reopened();
    let after = slate(&world, "u");
    assert_ne!(before, after);
    let answer = world.service.recommend(&ask("u")).unwrap();
    assert!(world.of_kind(&answer, "odd") >= 6, "{after:?}");
}
