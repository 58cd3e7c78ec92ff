//! How stale models are, and what that sets off.

use crate::world::{World, event};
use assembly::{EventInput, Moment};

const HOUR_MS: i64 = 3_600_000;

/// One purchase at the clock's moment plus `n` milliseconds: each is an event of its own.
fn at(world: &World, n: i64, user: &str, item: &str) -> EventInput {
    use assembly::Clock;
    EventInput {
        timestamp: Some(Moment::Number((world.clock.now().0 + n) as f64)),
        ..event(user, item, "purchase")
    }
}

fn take_in(world: &World, events: Vec<EventInput>) {
    let n = events.len() as i64;
    world.later(n);
    let events = events.into_iter().map(Ok).collect();
    let report = world.service.ingest(events).unwrap();
    assert_eq!((report.accepted, report.rejected), (n as usize, vec![]));
    world.service.absorb().unwrap();
}

fn staleness(world: &World, model: &str) -> f64 {
    let all = world.service.status().staleness;
    all.iter()
        .find(|(name, _)| name == model)
        .unwrap_or_else(|| panic!("no {model} in {all:?}"))
        .1
}

#[test]
fn a_training_is_due_by_what_changed_and_not_by_how_much_came() {
    let world = World::trained();
    let bound = world.service.status().staleness_max;
    assert!(
        world
            .service
            .status()
            .staleness
            .iter()
            .all(|(_, share)| *share == 0.0)
    );
    world.later(2 * HOUR_MS);
    let known = world.service.recent_events("user-0004", 1).unwrap()[0]
        .item_id
        .clone();
    // The same again, five hundred times.
    let again = (0..500).map(|n| at(&world, n - 500, "user-0004", known.as_str()));
    take_in(&world, again.collect());
    assert!(
        !world.service.training_due(),
        "{:?}",
        world.service.status().staleness
    );
    // A hundred and fifty people who are new, with a thing each.
    let novel = (0..150).map(|n| {
        at(
            &world,
            n - 150,
            &format!("new-{n}"),
            &format!("item-{:04}", n % 40),
        )
    });
    take_in(&world, novel.collect());
    assert!(
        staleness(&world, "blend") > bound,
        "{:?}",
        world.service.status().staleness
    );
    assert!(staleness(&world, "als") > staleness(&world, "item-bm25"));
    assert_eq!(
        (staleness(&world, "popular"), staleness(&world, "trending")),
        (0.0, 0.0)
    );
    assert!(world.service.training_due());
    world.service.train(&|_| {}).unwrap();
    assert!(
        world
            .service
            .status()
            .staleness
            .iter()
            .all(|(_, share)| *share == 0.0)
    );
    assert!(!world.service.training_due(), "just trained");
}

#[test]
fn erased_people_leave_the_models_and_a_restart_knows_of_them() {
    let world = World::trained();
    let popularity = |world: &World, id: &str| {
        let answer = world.service.recommend(&assembly::RecommendRequest {
            placement: "home".into(),
            user_id: None,
            n: Some(50),
            ..Default::default()
        });
        answer
            .unwrap()
            .items
            .iter()
            .find(|item| item.item_id == id)
            .map(|item| item.score)
    };
    take_in(
        &world,
        vec![
            at(&world, -2, "only", "bought-once"),
            at(&world, -1, "only", "item-0003"),
        ],
    );
    assert!(popularity(&world, "bought-once").is_some());
    world.service.train(&|_| {}).unwrap();
    let trained = popularity(&world, "item-0003").unwrap();
    for n in 0..3 {
        world.service.erase_user(&format!("user-000{n}")).unwrap();
    }
    world.service.erase_user("only").unwrap();
    assert!(popularity(&world, "item-0003").unwrap() < trained);
    assert!(staleness(&world, "als") > 0.0 && staleness(&world, "blend") > 0.0);
    assert_eq!(staleness(&world, "popular"), 0.0, "taken out");
    let stale = staleness(&world, "als");
    let (world, _) = world.reopened();
    assert!(
        (staleness(&world, "als") - stale).abs() < 0.02,
        "{} {stale}",
        staleness(&world, "als")
    );
    assert!(
        staleness(&world, "popular") > 0.0,
        "the bundle on disk still has them"
    );
    world.service.train(&|_| {}).unwrap();
    assert_eq!(staleness(&world, "popular"), 0.0);
    let (world, _) = world.reopened();
    assert_eq!(
        staleness(&world, "popular"),
        0.0,
        "the note is of the bundle before"
    );
}
