//! Shares of all exposures of a placement: kept while it serves, across restarts, and in replays.

use crate::world::{START, World, ask, ids};
use assembly::{
    CONFIG_FILE, ExposureStatus, FixedClock, RecommendRequest, ReplayRequest, Service, ServiceError,
};
use domain::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

const CONFIG: &str = r#"
[placements.plain]
n = 1
[placements.home]
n = 1
[placements.home.rerank]
name = "constrained"
step = 1.0
constraints = [
  { kind = "max_exposure", share = 0.1 },
  { kind = "min_exposure", per = "kind", value = "odd", share = 0.3 },
]
[placements.chance]
n = 3
[placements.chance.rerank]
name = "constrained"
constraints = [{ kind = "max_exposure", per = "kind", share = 0.6 }]
[placements.chance.policy]
name = "softmax"
over = "places"
"#;

fn opened(dir: tempfile::TempDir) -> World {
    let clock = Arc::new(FixedClock::at(Timestamp(START.0 + 30 * 86_400_000)));
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    World { dir, clock, service }
}

fn world() -> World {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join(CONFIG_FILE), CONFIG).unwrap();
    let world = opened(dir);
    world.fill();
    world.service.train(&|_| {}).unwrap();
    world
}

/// Someone new asks, 10 times a tick: all would be shown the same. Shares of what was shown, and the decisions.
fn served(world: &World, placement: &str, n: usize) -> (BTreeMap<String, f64>, Vec<String>) {
    let mut shown: BTreeMap<String, f64> = BTreeMap::new();
    let mut made = Vec::new();
    for at in 0..n {
        let request = RecommendRequest {
            placement: placement.into(),
            ..ask(&format!("nobody-{at}"))
        };
        let slate = world.service.recommend(&request).unwrap();
        let items = ids(&slate);
        for id in &items {
            *shown.entry(id.clone()).or_default() += 1.0 / (n * items.len()) as f64;
        }
        made.push(slate.decision_id);
        if at % 10 == 9 {
            world.later(10_000);
            world.service.absorb().unwrap();
        }
    }
    (shown, made)
}

fn status_of(world: &World, placement: &str) -> ExposureStatus {
    let all = world.service.status().exposures;
    let rounded = |mut status: ExposureStatus| {
        status
            .shares
            .iter_mut()
            .for_each(|one| one.price = (one.price * 1000.0).round() / 1000.0);
        status.shares.retain(|one| one.price > 0.0);
        status
    };
    all.into_iter()
        .find(|one| one.placement == placement)
        .map(rounded)
        .unwrap()
}

#[test]
fn caps_hold_over_many_slates_and_every_decision_can_be_replayed() {
    let world = world();
    let largest = |shown: &BTreeMap<String, f64>| shown.values().copied().fold(0.0, f64::max);
    let free = largest(&served(&world, "plain", 40).0);
    assert!(free > 0.999, "everybody gets the same: {free}");
    let (shown, made) = served(&world, "home", 1000);
    let last = made.last().unwrap().clone();
    // Everybody shifts at once here, which is as hard as it gets: between two moves of the prices 10 get the same.
    assert!(largest(&shown) < 0.135, "{shown:?}");
    let odd: f64 = shown
        .iter()
        .filter(|(id, _)| id.ends_with(['1', '3', '5', '7', '9']))
        .map(|(_, share)| share)
        .sum();
    assert!(odd >= 0.27, "{shown:?}");
    let kept = world.service.decision(&last).unwrap().decision;
    let names: Vec<&str> = kept.constraints.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(
        names,
        ["max_exposure of an item 0.1", "min_exposure kind odd 0.3"]
    );
    let capped = &kept.constraints[0];
    assert!(capped.kept && !capped.prices.is_empty() && capped.prices.iter().all(|one| one.price > 0.0));
    let given_up = made
        .iter()
        .map(|id| world.service.decision(id).unwrap().decision.constraints[0].given_up);
    assert!(
        given_up.filter(|given_up| *given_up > 0.0).count() > 400,
        "few get the best"
    );
    let before = status_of(&world, "home");
    assert_eq!(before.exposures, 1000);
    assert!(
        before
            .shares
            .iter()
            .any(|one| one.constraint == names[0] && one.share > 0.05)
    );

    let (shown, _) = served(&world, "chance", 200);
    let odd: f64 = shown
        .iter()
        .filter(|(id, _)| id.ends_with(['1', '3', '5', '7', '9']))
        .map(|(_, share)| share)
        .sum();
    assert!((0.3..=0.7).contains(&odd), "kinds have {odd} and the rest");

    // A restart goes on from the same prices and the same window.
    let (world, _) = world.reopened();
    assert_eq!(status_of(&world, "home"), before);
    let after = served(&world, "home", 30).1.pop().unwrap();
    let report = world.service.replay_sample(usize::MAX, 1, &|_| {}).unwrap();
    assert_eq!((report.identical, report.kept), (1270, 1270), "{report:?}");
    // A training begins a segment of the lineage, which begins with the prices.
    world.service.train(&|_| {}).unwrap();
    let newest = served(&world, "home", 30).1.pop().unwrap();
    for id in [&last, &after, &newest] {
        assert!(
            world
                .service
                .replay(id, &ReplayRequest::default())
                .unwrap()
                .identical
        );
    }
    // Under another configuration, too: without the constraint everybody gets the best.
    let without = ReplayRequest {
        placement: Some(serde_json::json!({"rerank": {"name": "top", "constraints": null, "step": null}})),
        ..ReplayRequest::default()
    };
    let other = world.service.replay(&last, &without).unwrap();
    assert!(other.decision.constraints.is_empty());
    // Without the lineage the prices are gone, and the replay says so.
    for file in std::fs::read_dir(world.dir.path().join("lineage")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let gone = world.service.replay(&last, &ReplayRequest::default());
    assert!(
        matches!(gone, Err(ServiceError::Gone { what: "lineage", .. })),
        "{gone:?}"
    );
}

#[test]
fn an_order_that_was_asked_for_is_no_exposure() {
    let world = world();
    let request = assembly::RankRequest {
        candidates: vec!["item-0001".into(), "item-0002".into()],
        placement: None,
        user_id: None,
        session: Vec::new(),
        explain: false,
    };
    world.service.rank(&request).unwrap();
    world.service.preview(&ask("somebody")).unwrap();
    let recorded = world.service.status().decisions;
    let look = assembly::RecommendRequest {
        preview: true,
        ..ask("somebody")
    };
    let look = world.service.recommend(&look).unwrap();
    assert!(look.decision_id.is_empty() && !look.items.is_empty());
    world.service.flush().unwrap();
    assert_eq!(world.service.status().decisions, recorded);
    world.service.absorb().unwrap();
    assert_eq!(status_of(&world, "home").exposures, 0);
    world.service.recommend(&ask("somebody")).unwrap();
    world.service.absorb().unwrap();
    assert_eq!(status_of(&world, "home").exposures, 1);
    // A day and an hour later it is forgotten.
    world.later(25 * 3_600_000);
    world.service.recommend(&ask("somebody")).unwrap();
    world.service.absorb().unwrap();
    assert_eq!(status_of(&world, "home").exposures, 1);
}

#[test]
fn what_cannot_keep_prices_is_refused() {
    let cap = "[placements.home.rerank]\nname = \"constrained\"\nconstraints = [{ kind = \"max_exposure\", share = 0.1 }]\n";
    for (more, expected) in [
        (
            "[placements.home.policy]\nname = \"softmax\"\n",
            "placements.home.rerank.constraints: got some on exposures beside policy \"softmax\"",
        ),
        (
            "[placements.home.policy]\nname = \"greedy\"\n[placements.home.bandit]\nlearner = \"counts\"\n",
            "placements.home.rerank.constraints: got some on exposures, expected none where the placement learns",
        ),
    ] {
        let error = assembly::Config::parse(&format!("{cap}{more}"), "x".as_ref())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}
