//! A placement that ranks by trees: what is noted, what is learnt from it, and which version serves.

use crate::world::{World, ask, event};
use assembly::{Config, EventInput, ReplayRequest, Service, ServiceError};
use domain::Sequence;
use ranking::{PositionMode, RankerConfig, RankerKind};

/// The small shop with a learnt ranker at `home`.
pub(crate) fn world() -> World {
    world_with(|_| {})
}

/// The same, its ranker configured further.
fn world_with(further: impl Fn(&mut RankerConfig)) -> World {
    let mut config = Config::default();
    if let Some(home) = config.placements.get_mut("home") {
        home.ranker.kind = RankerKind::Trees;
        home.ranker.decisions_min = 100;
        home.ranker.outcomes_min = 10;
        home.ranker.window_hours = 1.0;
        home.ranker.trees = 30;
        further(&mut home.ranker);
    }
    let world = World::empty();
    world.service.close().unwrap();
    let World { dir, clock, service } = world;
    drop(service);
    std::fs::write(dir.path().join(assembly::CONFIG_FILE), config.to_toml()).unwrap();
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    let world = World { dir, clock, service };
    world.fill();
    world.service.train(&|_| {}).unwrap();
    world
}

/// Asks for everybody a few times; people of both kinds click on what has certain numbers, which no model of theirs would say.
pub(crate) fn live(world: &World, rounds: usize) {
    for _ in 0..rounds {
        for user in 0..60 {
            let name = format!("user-{user:04}");
            let slate = world.service.recommend(&ask(&name)).unwrap();
            let likes = |id: &String| id.bytes().last().is_some_and(|digit| digit % 4 < 2);
            let liked = slate
                .items
                .iter()
                .map(|item| item.item_id.clone())
                .filter(likes)
                .take(1);
            let clicks = liked.map(|id| {
                Ok(EventInput {
                    event_id: Some(format!("{}-{id}", slate.decision_id)),
                    decision_id: Some(slate.decision_id.clone()),
                    ..event(&name, &id, "click")
                })
            });
            world.service.ingest(clicks.collect()).unwrap();
            world.later(60_000);
        }
        world.service.absorb().unwrap();
    }
    world.later(3_600_001);
}

fn ranked_by(world: &World) -> (String, assembly::RecommendResponse) {
    let request = assembly::RecommendRequest {
        explain: true,
        ..ask("user-0001")
    };
    let answer = world.service.recommend(&request).unwrap();
    world.service.close().unwrap();
    let kept = world.service.decision(&answer.decision_id).unwrap();
    let stage = kept
        .decision
        .stages
        .iter()
        .find(|stage| stage.stage.starts_with("rank/"))
        .unwrap();
    (stage.stage.clone(), answer)
}

#[test]
fn what_was_noted_is_read_again_from_the_log_to_the_last_bit() {
    let world = world();
    live(&world, 3);
    let check = world.service.check_features(1000).unwrap();
    assert!(check.checked >= 180, "{check:?}");
    assert_eq!((check.different, check.passed_over), (Vec::new(), 0));
    // A leak is seen: counts that include what came after the decision are others.
    let first = world.service.recommend(&ask("user-0003")).unwrap();
    live(&world, 1);
    let (noted, again) = world
        .service
        .features_again(&first.decision_id, None)
        .unwrap()
        .unwrap();
    assert_eq!(noted, again);
    let (noted, leaked) = world
        .service
        .features_again(&first.decision_id, Some(Sequence(u64::MAX)))
        .unwrap()
        .unwrap();
    assert_ne!(noted, leaked);
    assert!(matches!(
        world.service.features_again("none", None),
        Err(ServiceError::NotFound { .. })
    ));
}

#[test]
fn a_ranker_is_learnt_from_decisions_promoted_and_rolled_back() {
    let world = world();
    let (before, _) = ranked_by(&world);
    assert_eq!(before, "rank/blend");
    live(&world, 6);
    let report = world.service.train_ranker("home", &|_| {}).unwrap();
    assert_eq!((report.from, report.version), ("decisions", 1));
    assert_eq!(report.rows.decisions, 361);
    assert!(report.rows.events > 300, "{report:?}");
    let comparison = report.comparison.as_ref().unwrap();
    assert_eq!(comparison.champion_name, "blend");
    assert_eq!(report.promoted, comparison.difference >= 0.0);
    assert!(
        comparison.difference > 0.0,
        "clicks that the model knows nothing of: {comparison:?}"
    );
    let (after, answer) = ranked_by(&world);
    assert_eq!(after, "rank/trees@1");
    for item in &answer.items {
        let parts = item.explanation.as_ref().unwrap();
        let sum: f32 = parts.iter().map(|part| part.value).sum();
        assert!((sum - item.score).abs() < 1e-4, "{sum} {}", item.score);
    }
    assert_eq!(world.service.roll_back_ranker("home").unwrap(), 0);
    assert_eq!(ranked_by(&world).0, "rank/blend");
    assert!(matches!(
        world.service.roll_back_ranker("home"),
        Err(ServiceError::NotFound { .. })
    ));
    world.service.promote_ranker("home", 1).unwrap();
    assert!(matches!(
        world.service.promote_ranker("home", 9),
        Err(ServiceError::NotFound { .. })
    ));
    let list = world.service.rankers().unwrap();
    assert_eq!((list.len(), list[0].version, list[0].in_service), (1, 1, true));
    // It survives a restart, and damage is passed over by name.
    let (world, opened) = world.reopened();
    assert_eq!(
        (ranked_by(&world).0.as_str(), opened.warnings),
        ("rank/trees@1", Vec::new())
    );
    assert!(world.service.check_features(500).unwrap().different.is_empty());
    let rankers = world.dir.path().join("models/rankers");
    let folder = std::fs::read_dir(&rankers)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let file = folder.join("ranker-00000001.cncr");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(world.service.promote_ranker("home", 1).is_err());
    let (world, opened) = world.reopened();
    assert!(
        opened.warnings[0].contains("ranker 1 of home"),
        "{:?}",
        opened.warnings
    );
    assert_eq!(ranked_by(&world).0, "rank/blend");
}

#[test]
fn without_decisions_it_is_learnt_from_the_log() {
    let world = world();
    let report = world.service.train_ranker("home", &|_| {}).unwrap();
    assert_eq!((report.from, report.version), ("events", 1));
    assert!(
        report
            .learning
            .heads
            .iter()
            .any(|head| head.outcome == "purchase"),
        "{report:?}"
    );
    assert!(report.comparison.is_some());
    match world.service.train_ranker("nowhere", &|_| {}) {
        Err(ServiceError::Input(problem)) => assert_eq!(problem.field, "placement"),
        other => panic!("{other:?}"),
    }
    let plain = World::trained();
    match plain.service.train_ranker("home", &|_| {}) {
        Err(ServiceError::Input(problem)) => assert_eq!(problem.field, "placements.home.ranker.kind"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn decisions_by_trees_are_made_again_whichever_ranker_serves_now() {
    let world = world();
    live(&world, 6);
    world.service.train_ranker("home", &|_| {}).unwrap();
    world.service.promote_ranker("home", 1).unwrap();
    let (stage, by_trees) = ranked_by(&world);
    assert_eq!(stage, "rank/trees@1");
    live(&world, 1);
    world.service.roll_back_ranker("home").unwrap();
    assert_eq!(ranked_by(&world).0, "rank/blend");
    world.service.train(&|_| {}).unwrap();
    let again = world
        .service
        .replay(&by_trees.decision_id, &ReplayRequest::default());
    let again = again.unwrap();
    assert!(again.identical, "{:?}", again.differences);
    let sample = world.service.replay_sample(1000, 1, &|_| {}).unwrap();
    assert!(sample.kept > 400, "{sample:?}");
    assert_eq!(
        (sample.identical, sample.replayed),
        (sample.kept, sample.kept),
        "{sample:?}"
    );
}

#[test]
fn what_another_ranker_or_other_weights_would_have_shown() {
    let world = world();
    live(&world, 4);
    let (_, by_model) = ranked_by(&world);
    let ask_again = |id: &str, placement: serde_json::Value| {
        let request = ReplayRequest {
            placement: Some(placement),
            ..ReplayRequest::default()
        };
        world.service.replay(id, &request)
    };
    let trees = || serde_json::json!({"ranker": {"kind": "trees"}});
    let refused = |result: Result<assembly::ReplayReport, ServiceError>, with: &str| match result {
        Err(ServiceError::Input(problem)) => {
            assert_eq!(problem.field, "placement.ranker");
            assert!(problem.expected.contains(with), "{problem:?}");
        }
        other => panic!("{other:?}"),
    };
    // Nothing is published yet, so nothing can rank by it.
    refused(ask_again(&by_model.decision_id, trees()), "has none, train one");
    world.service.train_ranker("home", &|_| {}).unwrap();
    world.service.promote_ranker("home", 1).unwrap();
    let otherwise = ask_again(&by_model.decision_id, trees()).unwrap();
    let stages = |report: &assembly::ReplayReport| format!("{:?}", report.decision.stages);
    assert!(stages(&otherwise).contains("rank/trees@1"), "{otherwise:?}");

    let (stage, by_trees) = ranked_by(&world);
    assert_eq!(stage, "rank/trees@1");
    let weigh = |weights: serde_json::Value| serde_json::json!({"ranker": {"weights": weights}});
    let scores = |report: &assembly::ReplayReport| -> Vec<f32> {
        report.decision.shown.iter().map(|shown| shown.score).collect()
    };
    let as_it_was = world
        .service
        .replay(&by_trees.decision_id, &ReplayRequest::default())
        .unwrap();
    assert!(as_it_was.identical);
    // Twice the worth of the only outcome: the same order, twice the scores.
    let config = Config::default();
    let worth = config.event_types.0["click"].weight;
    let doubled = ask_again(
        &by_trees.decision_id,
        weigh(serde_json::json!({"click": {"weight": 2.0 * worth}})),
    )
    .unwrap();
    let before = scores(&as_it_was);
    assert!(before.iter().any(|score| *score != 0.0));
    for (then, now) in before.into_iter().zip(scores(&doubled)) {
        assert!((2.0 * then - now).abs() <= 1e-5 * now.abs(), "{then} {now}");
    }
    refused(
        ask_again(
            &by_trees.decision_id,
            weigh(serde_json::json!({"purchase": {"weight": 1.0}})),
        ),
        "there are \"click\"",
    );
    refused(
        ask_again(
            &by_trees.decision_id,
            serde_json::json!({"ranker": {"kind": "model", "weights": {"click": {"weight": 1.0}}}}),
        ),
        "none to weigh",
    );
}

#[test]
fn a_ranker_learns_with_doubly_robust_labels_and_graded_negatives() {
    let world = world_with(|ranker| {
        ranker.position = PositionMode::DoublyRobust;
        ranker.clip = 4.0;
        ranker.unclicked = 0.2;
    });
    live(&world, 6);
    let report = world.service.train_ranker("home", &|_| {}).unwrap();
    assert_eq!(report.from, "decisions");
    assert!(
        !report.learning.examination.is_empty(),
        "places are weighed: {report:?}"
    );
    let comparison = report.comparison.as_ref().unwrap();
    assert!(comparison.difference > 0.0, "{comparison:?}");
}
