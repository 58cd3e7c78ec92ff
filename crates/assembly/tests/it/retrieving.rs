//! Filters at any share of the catalogue, and sources out of what a person did before.

use crate::world::{World, ask, event, ids};
use assembly::{
    Clock, EventInput, FixedClock, ItemInput, Moment, ProposedItem, RankRequest, RecommendRequest,
    ReplayRequest, ScoredItem, Service, ServiceError,
};
use dataset::Synthetic;
use domain::{RawAttribute, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

const ITEMS: usize = 6000;

/// A shop of thousands of items with a number each; shelf 0 has one of them, shelf 1 sixty, shelf 2 the other half of 6,000, shelf 3
/// the rest.
fn shop() -> (tempfile::TempDir, Arc<Service>) {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(
        dir.path().join(assembly::CONFIG_FILE),
        "[training]\nmodel = \"als\"\n[training.model_config]\nfactors = 16\nepochs = 3\n",
    )
    .unwrap();
    let made = Synthetic {
        users: 400,
        items: ITEMS as u32,
        events: 40_000,
        exponent: 0.6,
        ..Synthetic::default()
    };
    let clock = FixedClock::at(Timestamp(made.start.0 + 100 * 86_400_000));
    let (service, _) = Service::open(dir.path(), Arc::new(clock)).unwrap();
    let shelf = |n: usize| match n {
        77 => 0,
        _ if n % 100 == 3 => 1,
        _ if n.is_multiple_of(2) => 2,
        _ => 3,
    };
    let items = made.items().enumerate().map(|(n, item)| {
        Ok(ItemInput {
            item_id: item.item_id.as_str().to_owned(),
            attributes: [("shelf".to_owned(), RawAttribute::Number(f64::from(shelf(n))))].into(),
            hidden: n % 500 == 103,
            added_at: None,
        })
    });
    assert_eq!(service.put_items(items.collect()).unwrap().created, ITEMS as u64);
    let events = made.events().map(|made| {
        Ok(EventInput {
            timestamp: Some(Moment::Number(made.timestamp.0 as f64)),
            ..event(made.user_id.as_str(), made.item_id.as_str(), "purchase")
        })
    });
    service.ingest(events.collect()).unwrap();
    service.train(&|_| {}).unwrap();
    (dir, service)
}

fn on(shelf: u32) -> Value {
    json!({"attribute": "shelf", "equals": shelf})
}

/// What the ranker says of everything on a shelf that may be shown, best first: the obvious way.
fn everything_on(service: &Service, user: &str, shelf: u32) -> Vec<(String, f32)> {
    let all: Vec<String> = (0..ITEMS).map(|n| format!("i{n:06}")).collect();
    let stored = |id: &String| service.item(id).unwrap();
    let on_shelf =
        |id: &String| stored(id).attributes.get("shelf") == Some(&RawAttribute::Number(f64::from(shelf)));
    let candidates = all.into_iter().filter(on_shelf).collect();
    let ranked = service.rank(&RankRequest {
        candidates,
        placement: None,
        user_id: Some(user.to_owned()),
        session: Vec::new(),
        explain: false,
    });
    let seen: Vec<String> = service
        .recent_events(user, usize::MAX)
        .unwrap()
        .into_iter()
        .map(|e| e.item_id.as_str().to_owned())
        .collect();
    let items = ranked
        .unwrap()
        .items
        .into_iter()
        .filter(|item| !seen.contains(&item.item_id));
    items.map(|item| (item.item_id, item.score)).collect()
}

#[test]
fn filters_find_the_best_at_any_share() {
    let (_dir, service) = shop();
    for user in ["u0000003", "u0000200"] {
        for (shelf, n) in [(0, 10), (1, 40), (1, 100), (2, 50), (3, 50)] {
            let request = RecommendRequest {
                filter: Some(on(shelf)),
                n: Some(n),
                ..ask(user)
            };
            let answer = service.recommend(&request).unwrap();
            let all = everything_on(&service, user, shelf);
            let expected: Vec<String> = all.iter().take(n).map(|(id, _)| id.clone()).collect();
            assert_eq!(ids(&answer), expected, "{user} shelf {shelf} n {n}");
        }
        // And beside other conditions.
        let both = json!({"all": [{"not": on(2)}, {"attribute": "shelf", "max": 1}]});
        let answer = service
            .recommend(&RecommendRequest {
                filter: Some(both),
                n: Some(100),
                ..ask(user)
            })
            .unwrap();
        let mut expected = everything_on(&service, user, 0);
        expected.extend(everything_on(&service, user, 1));
        assert_eq!(answer.items.len(), expected.len());
    }
    // An item moves to another shelf: the next request knows.
    let moved = ItemInput {
        item_id: "i000002".into(),
        attributes: [("shelf".to_owned(), RawAttribute::Number(0.0))].into(),
        hidden: false,
        added_at: None,
    };
    service.put_items(vec![Ok(moved)]).unwrap();
    let answer = service
        .recommend(&RecommendRequest {
            filter: Some(on(0)),
            ..ask("nobody")
        })
        .unwrap();
    let mut found = ids(&answer);
    found.sort();
    assert_eq!(found, ["i000002", "i000077"]);
}

#[test]
fn what_is_due_and_what_was_begun() {
    let world = World::trained();
    let World { dir, clock, service } = world;
    service.close().unwrap();
    drop(service);
    let placements = "[placements.home]\n[placements.mine]\nsources = [\"continue\", \"again\", \"popular\"]\nexclude_seen = false\n[placements.mine.quotas]\npopular = 3\n";
    let types = "[event_types.progress]\nweight = 0.1\nrole = \"outcome\"\nmarks_seen = false\n[event_types.purchase]\nweight = 1.0\nrole = \"outcome\"\nmarks_seen = true\n";
    std::fs::write(
        dir.path().join(assembly::CONFIG_FILE),
        format!("{placements}{types}"),
    )
    .unwrap();
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    let now = clock.now().0;
    let act = |item: &str, event_type: &str, days: i64, value: Option<f64>| {
        Ok(EventInput {
            timestamp: Some(Moment::Number((now - days * 86_400_000) as f64)),
            value,
            ..event("someone", item, event_type)
        })
    };
    let report = service.ingest(vec![
        act("item-0001", "purchase", 20, None),
        act("item-0001", "purchase", 10, None),
        act("item-0002", "purchase", 0, None),
        act("item-0003", "progress", 1, Some(0.5)),
        act("item-0004", "progress", 1, Some(0.99)),
    ]);
    assert_eq!(report.unwrap().rejected, []);
    let request = RecommendRequest {
        placement: "mine".into(),
        n: Some(40),
        ..ask("someone")
    };
    let answer = service.recommend(&request).unwrap();
    let by = |source: &str| -> Vec<String> {
        let of = answer
            .items
            .iter()
            .filter(|item| item.sources.iter().any(|s| s == source));
        let mut ids: Vec<String> = of.map(|item| item.item_id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(by("continue"), ["item-0003"]);
    assert_eq!(by("again"), ["item-0001", "item-0002"]);
    let decision = service.decision(&answer.decision_id).unwrap().decision;
    let proposed = |stage: &str| {
        decision
            .stages
            .iter()
            .find(|s| s.stage == stage)
            .map(|s| (s.input, s.output))
    };
    assert_eq!(
        proposed("retrieve/continue"),
        Some((100, 1)),
        "as many as from any source may come"
    );
    let few = service
        .recommend(&RecommendRequest {
            n: Some(1),
            ..request
        })
        .unwrap();
    let decision = service.decision(&few.decision_id).unwrap().decision;
    let popular = decision.stages.iter().find(|s| s.stage == "retrieve/popular");
    assert_eq!(popular.map(|s| (s.input, s.output)), Some((3, 3)));
    let wrong = "[placements.home]\nsources = [\"again\"]\n";
    let said = assembly::Config::parse(wrong, std::path::Path::new("x")).expect_err("seen is left out");
    assert!(said.to_string().contains("exclude_seen: got true"), "{said}");
}

/// A slate is shown again until something is new, each time as a decision of its own.
#[test]
fn a_slate_is_shown_again_until_something_is_new() {
    let world = World::trained();
    let World { dir, clock, service } = world;
    service.close().unwrap();
    drop(service);
    std::fs::write(
        dir.path().join(assembly::CONFIG_FILE),
        "[placements.home]\nslate_cache_ms = 1000\n",
    )
    .unwrap();
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    let slate = || service.recommend(&ask("user-0003")).unwrap();
    let kept = |answer: &assembly::RecommendResponse| answer.timings_us.contains_key("cache");
    let (first, second) = (slate(), slate());
    assert_eq!((kept(&first), kept(&second)), (false, true));
    assert_eq!(first.items, second.items);
    assert_ne!(first.decision_id, second.decision_id);
    let record =
        |answer: &assembly::RecommendResponse| service.decision(&answer.decision_id).unwrap().decision;
    let (one, two) = (record(&first), record(&second));
    assert_eq!(two.seed, second.seed);
    assert_ne!(one.seed, two.seed);
    let same = domain::Decision {
        decision_id: one.decision_id.clone(),
        seed: one.seed,
        ..two
    };
    assert_eq!(same, one, "all else is the same");
    let other = RecommendRequest {
        exclude: vec![first.items[0].item_id.clone()],
        ..ask("user-0003")
    };
    assert!(
        !kept(&service.recommend(&other).unwrap()),
        "it depends on more than the person"
    );
    service
        .ingest(vec![Ok(event("user-0003", &first.items[0].item_id, "purchase"))])
        .unwrap();
    let after = slate();
    assert!(!kept(&after) && !ids(&after).contains(&first.items[0].item_id));
    assert!(kept(&slate()));
    service
        .put_users(vec![Ok(assembly::UserInput {
            user_id: "user-0003".into(),
            attributes: [("age".to_owned(), RawAttribute::Number(3.0))].into(),
        })])
        .unwrap();
    assert!(!kept(&slate()), "other attributes");
    assert!(kept(&slate()));
    let hidden = ItemInput {
        hidden: true,
        ..crate::world::item(&after.items[1].item_id, "x")
    };
    service.put_items(vec![Ok(hidden)]).unwrap();
    let hiding = slate();
    assert!(!kept(&hiding) && !ids(&hiding).contains(&after.items[1].item_id));
}

#[test]
fn what_the_caller_proposes_joins_the_others_and_restricts_nothing() {
    let world = World::trained();
    let plain = world.service.recommend(&ask("user-0001")).unwrap();
    let known = ids(&plain);
    let considered = |slate: &assembly::RecommendResponse| {
        let decision = world.service.decision(&slate.decision_id).unwrap().decision;
        let hits = |item: &domain::DecisionItem| {
            let hit = item
                .sources
                .iter()
                .find(|hit| &*hit.source == "proposed")
                .cloned();
            hit.map(|hit| (item.item_id.to_string(), hit.rank, hit.score))
        };
        let mut proposed: Vec<_> = decision.considered.iter().filter_map(hits).collect();
        proposed.sort_by_key(|(_, rank, _)| *rank);
        (proposed, decision.considered.len())
    };
    let scored = |id: &str, score: f32| {
        ProposedItem::Scored(ScoredItem {
            item_id: id.into(),
            score,
        })
    };
    let request = RecommendRequest {
        proposed: vec![
            ProposedItem::Id(known[3].clone()),
            ProposedItem::Id(known[1].clone()),
        ],
        ..ask("user-0001")
    };
    let slate = world.service.recommend(&request).unwrap();
    assert_eq!(ids(&slate), known, "the ranker decides, and nothing is left out");
    let (proposed, all) = considered(&slate);
    assert_eq!(proposed, [(known[3].clone(), 1, 0.0), (known[1].clone(), 2, 0.0)]);
    assert!(all > 2);
    assert!(slate.items[3].sources.iter().any(|source| source == "proposed"));
    let request = RecommendRequest {
        proposed: vec![
            scored(&known[3], 0.25),
            scored(&known[1], 7.5),
            scored(&known[3], 0.2),
        ],
        ..ask("user-0001")
    };
    let scored_slate = world.service.recommend(&request).unwrap();
    assert_eq!(
        considered(&scored_slate).0,
        [(known[1].clone(), 1, 7.5), (known[3].clone(), 2, 0.25)]
    );
    // Beside `candidates` only what is in both.
    let request = RecommendRequest {
        candidates: Some(vec![known[1].clone(), known[2].clone()]),
        ..request
    };
    let both = world.service.recommend(&request).unwrap();
    assert_eq!(both.items.len(), 2);
    assert_eq!(considered(&both).0, [(known[1].clone(), 1, 7.5)]);
    for slate in [&slate, &scored_slate, &both] {
        let again = world
            .service
            .replay(&slate.decision_id, &ReplayRequest::default())
            .unwrap();
        assert!(again.identical, "{:?}", again.differences);
    }
    let request = serde_json::to_value(&request).unwrap();
    assert_eq!(
        request["proposed"][1],
        serde_json::json!({"item_id": known[1], "score": 7.5})
    );

    for (proposed, field) in [
        (vec![ProposedItem::Id("nothing".into())], "proposed[0]"),
        (
            vec![ProposedItem::Id(known[0].clone()), scored(&known[1], 1.0)],
            "proposed[1]",
        ),
        (vec![scored(&known[0], f32::INFINITY)], "proposed[0].score"),
        (
            vec![ProposedItem::Id(known[0].clone()); 10_001],
            "proposed.length",
        ),
    ] {
        let request = RecommendRequest {
            proposed,
            ..ask("user-0001")
        };
        let refused = world.service.recommend(&request).unwrap_err();
        let ServiceError::Input(problem) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(problem.field, field);
    }
}

#[test]
fn the_quota_bounds_what_the_caller_proposes() {
    let mut world = World::trained();
    let text = "[placements.home]\nsources = [\"popular\"]\nexclude_seen = false\n[placements.home.quotas]\nproposed = 3\n";
    std::fs::write(world.dir.path().join(assembly::CONFIG_FILE), text).unwrap();
    world = world.reopened().0;
    let request = RecommendRequest {
        proposed: (0..20)
            .map(|at| ProposedItem::Id(format!("item-{at:04}")))
            .collect(),
        ..ask("user-0001")
    };
    let slate = world.service.recommend(&request).unwrap();
    let decision = world.service.decision(&slate.decision_id).unwrap().decision;
    let stage = decision
        .stages
        .iter()
        .find(|stage| stage.stage == "retrieve/proposed")
        .unwrap();
    assert_eq!((stage.input, stage.output), (3, 3));
}
