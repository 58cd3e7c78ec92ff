//! What is popular where: sources of segments, from events of the log to slates and replays.

use crate::world::{World, ask, event, item};
use assembly::{
    CONFIG_FILE, Clock, Config, EventInput, RecommendRequest, ReplayRequest, ServiceError, UserInput,
};
use domain::RawAttribute;

const CONFIG: &str = r#"
[training]
model = "popular"
fallbacks = ["trending"]
[segments.country]
of = "person"
shrinkage = 5.0
[segments.age]
of = "person"
bounds = [18.0, 30.0]
[segments.device]
of = "context"
shrinkage = 5.0
[placements.home]
n = 3
sources = ["popular-in-country", "trending-in-country", "popular"]
exclude_seen = false
[placements.home.quotas]
popular-in-country = 4
[placements.home.ranker]
kind = "source_ranks"
[placements.page]
n = 3
sources = ["popular-in-device", "popular-in-age"]
exclude_seen = false
[placements.page.ranker]
kind = "source_ranks"
"#;

fn text(value: &str) -> RawAttribute {
    RawAttribute::Text(value.to_owned())
}

fn user(id: &str, country: &str, age: f64) -> UserInput {
    UserInput {
        user_id: id.into(),
        attributes: [
            ("country".to_owned(), text(country)),
            ("age".to_owned(), RawAttribute::Number(age)),
        ]
        .into(),
    }
}

fn click(user: &str, item: &str, device: &str) -> EventInput {
    EventInput {
        context: [("device".to_owned(), text(device))].into(),
        ..event(user, item, "purchase")
    }
}

/// Events one after the other, each with an id, since the same act may come twice.
fn put(world: &World, events: Vec<EventInput>) {
    for (at, one) in events.into_iter().enumerate() {
        world.later(1000);
        let one = EventInput {
            event_id: Some(format!("{}-{at}", world.clock.now().0)),
            ..one
        };
        assert_eq!(world.service.ingest(vec![Ok(one)]).unwrap().accepted, 1);
    }
}

/// Everybody likes `all`; people of `de` like `berlin` besides, on the phone they take `short`.
fn world() -> World {
    let world = World::empty();
    std::fs::write(world.dir.path().join(CONFIG_FILE), CONFIG).unwrap();
    let world = world.reopened().0;
    let items = ["all", "berlin", "paris", "short", "other"];
    world
        .service
        .put_items(items.iter().map(|id| Ok(item(id, "odd"))).collect())
        .unwrap();
    let mut users = Vec::new();
    let mut events = Vec::new();
    for at in 0..40 {
        let (id, country) = (format!("u{at}"), ["de", "fr"][at % 2]);
        users.push(Ok(user(&id, country, if at < 20 { 16.0 } else { 50.0 })));
        events.push(click(&id, "all", "desk"));
        events.push(click(&id, ["berlin", "paris"][at % 2], "desk"));
        events.push(click(&id, ["berlin", "paris"][at % 2], "desk"));
        events.push(click(&id, "other", if at < 20 { "phone" } else { "desk" }));
        events.push(click(&id, if at < 20 { "short" } else { "all" }, "phone"));
    }
    world.service.put_users(users).unwrap();
    put(&world, events);
    world.service.train(&|_| {}).unwrap();
    world
}

/// What a source proposed, best first, as the record has it.
fn proposed(world: &World, request: &RecommendRequest, source: &str) -> (Vec<String>, String) {
    let slate = world.service.recommend(request).unwrap();
    let decision = world.service.decision(&slate.decision_id).unwrap().decision;
    let mut found: Vec<(u32, String)> = Vec::new();
    for item in &decision.considered {
        found.extend(
            item.sources
                .iter()
                .filter(|hit| &*hit.source == source)
                .map(|hit| (hit.rank, item.item_id.to_string())),
        );
    }
    found.sort();
    (found.into_iter().map(|(_, id)| id).collect(), slate.decision_id)
}

#[test]
fn people_are_shown_what_is_taken_where_they_are() {
    let world = world();
    let first = |who: &str, source: &str| proposed(&world, &ask(who), source).0;
    assert_eq!(first("u0", "popular-in-country")[0], "berlin");
    assert_eq!(first("u1", "popular-in-country")[0], "paris");
    assert_eq!(
        first("nobody", "popular-in-country")[0],
        "all",
        "of whom nothing is known gets what everybody takes"
    );
    assert_eq!(first("u0", "popular-in-country").len(), 4, "the quota");
    // Attributes and circumstances of the request count.
    let mut request = ask("nobody");
    request.attributes.insert("country".into(), text("fr"));
    assert_eq!(proposed(&world, &request, "popular-in-country").0[0], "paris");
    let mut request = RecommendRequest {
        placement: "page".into(),
        ..ask("nobody")
    };
    assert_eq!(proposed(&world, &request, "popular-in-device").0[0], "all");
    request.context.insert("device".into(), text("phone"));
    assert_ne!(proposed(&world, &request, "popular-in-device").0[0], "berlin");
    let mut short = |age: f64| {
        request.attributes.insert("age".into(), RawAttribute::Number(age));
        let slate = world.service.recommend(&request).unwrap();
        let decision = world.service.decision(&slate.decision_id).unwrap().decision;
        let short = decision
            .considered
            .iter()
            .find(|item| item.item_id.as_str() == "short")
            .unwrap();
        let hit = short.sources.iter().find(|hit| &*hit.source == "popular-in-age");
        hit.unwrap().score
    };
    // Only the young took it; nobody is between 18 and 30, who are taken for everybody.
    let (young, between, old) = (short(17.0), short(18.5), short(30.0));
    assert!(young > between && between > old && young == short(2.0) && old == short(99.0));

    // New events count with the next update, in their segment; a restart counts the same.
    put(
        &world,
        (0..30)
            .map(|at| click(&format!("u{}", 2 * (at % 20)), "short", "desk"))
            .collect(),
    );
    world.service.absorb().unwrap();
    let (before, id) = proposed(&world, &ask("u0"), "popular-in-country");
    assert!(before.iter().position(|id| id == "short") < Some(3), "{before:?}");
    let (trend, _) = proposed(&world, &ask("u0"), "trending-in-country");
    assert!(!trend.is_empty());
    let (world, _) = world.reopened();
    let (after, _) = proposed(&world, &ask("u0"), "popular-in-country");
    assert_eq!(before, after);
    let report = world.service.replay_sample(usize::MAX, 1, &|_| {}).unwrap();
    assert_eq!(
        (report.identical, report.gone.len()),
        (report.kept, 0),
        "{report:?}"
    );

    // Somebody moves: how it was counted then cannot be known any more, and the replay says so.
    world.service.put_users(vec![Ok(user("u0", "fr", 16.0))]).unwrap();
    let gone = world.service.replay(&id, &ReplayRequest::default());
    assert!(
        matches!(gone, Err(ServiceError::Gone { what: "segments", .. })),
        "{gone:?}"
    );
    world.service.put_users(vec![Ok(user("u0", "de", 16.0))]).unwrap();
    assert!(
        world
            .service
            .replay(&id, &ReplayRequest::default())
            .unwrap()
            .identical
    );
    // Somebody is erased: of what they did nothing is counted from then on.
    world.service.erase_user("u2").unwrap();
    let gone = world.service.replay(&id, &ReplayRequest::default());
    assert!(matches!(gone, Err(ServiceError::Gone { .. })), "{gone:?}");
    assert_eq!(proposed(&world, &ask("u0"), "popular-in-country").0[0], "berlin");
}

#[test]
fn segments_that_cannot_be_are_refused() {
    for (text, expected) in [
        (
            "[segments.x]\nof = \"person\"\nshort_days = 40.0\n",
            "segments.x.half_life_days: got 30, expected above short_days",
        ),
        (
            "[segments.x]\nof = \"person\"\nbounds = [2.0, 1.0]\n",
            "segments.x.bounds: got [2.0, 1.0], expected",
        ),
        (
            "[segments.x]\nof = \"person\"\nshrinkage = 0.0\n",
            "segments.x.shrinkage: got 0, expected above 0",
        ),
        ("[segments.x]\nof = \"item\"\n", "unknown variant `item`"),
        (
            "[segments.x]\nof = \"person\"\n[placements.home]\nsources = [\"popular-in-y\"]\n",
            "placements.home.sources: got \"popular-in-y\", expected a section of segments after -in-, of which there are: x",
        ),
    ] {
        let error = Config::parse(text, "x".as_ref()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn configurations_of_the_guide_are_read() {
    let guide = std::fs::read_to_string("../../docs/guides/sources.md").unwrap();
    let blocks: Vec<&str> = guide.split("```toml config\n").skip(1).collect();
    assert!(blocks.len() >= 2);
    for block in blocks {
        let text = block.split("```").next().unwrap();
        Config::parse(text, "guide".as_ref()).unwrap_or_else(|e| panic!("{text}\n{e}"));
    }
}
