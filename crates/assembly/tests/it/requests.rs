//! What a request may say, and what it is told when it cannot be.

use crate::world::{World, ask, event, ids};
use assembly::{RankRequest, RecommendRequest, ServiceError, SessionEvent, SimilarRequest};
use serde_json::json;

fn refused<T: std::fmt::Debug>(result: Result<T, ServiceError>, field: &str) -> String {
    match result {
        Err(ServiceError::Input(problem)) => {
            assert_eq!(problem.field, field);
            problem.expected
        }
        other => panic!("{field}: {other:?}"),
    }
}

#[test]
fn a_request_that_cannot_be_is_told_which_field() {
    let world = World::trained();
    let recommend = |change: &dyn Fn(&mut RecommendRequest)| {
        let mut request = ask("user-0000");
        change(&mut request);
        world.service.recommend(&request)
    };
    let expected = refused(recommend(&|r| r.placement = "cellar".into()), "placement");
    assert_eq!(expected, "one of home");
    refused(recommend(&|r| r.n = Some(0)), "n");
    refused(recommend(&|r| r.n = Some(1001)), "n");
    refused(recommend(&|r| r.user_id = Some(String::new())), "user_id");
    refused(recommend(&|r| r.candidates = Some(vec![])), "candidates.length");
    refused(
        recommend(&|r| r.candidates = Some(vec!["item-0001".into(), "x".into()])),
        "candidates[1]",
    );
    refused(
        recommend(&|r| r.filter = Some(json!({"attribute": "colour", "equals": "red"}))),
        "filter.attribute",
    );
    refused(
        recommend(&|r| r.filter = Some(json!({"atribute": "kind"}))),
        "filter",
    );
    let session = |event_type: &str| SessionEvent {
        item_id: "item-0001".into(),
        event_type: Some(event_type.into()),
        timestamp: None,
        value: None,
    };
    refused(
        recommend(&|r| r.session = vec![session("click"), session("klick")]),
        "session[1].event_type",
    );
    let missing = recommend(&|r| r.item_id = Some("nothing".into()));
    assert!(matches!(
        missing,
        Err(ServiceError::NotFound { what: "item", .. })
    ));
}

#[test]
fn filters_exclusions_candidates_and_anchors_hold() {
    let world = World::trained();
    let wide = |change: &dyn Fn(&mut RecommendRequest)| {
        let mut request = RecommendRequest {
            n: Some(40),
            ..ask("user-0000")
        };
        change(&mut request);
        world.service.recommend(&request).unwrap()
    };
    let odd = wide(&|r| r.filter = Some(json!({"attribute": "kind", "equals": "odd"})));
    assert!(odd.items.len() >= 15);
    assert_eq!(world.of_kind(&odd, "odd"), 10);
    let top = ids(&wide(&|_| {}))[0].clone();
    assert!(!ids(&wide(&|r| r.exclude = vec![top.clone(), "unheard-of".into()])).contains(&top));
    let three = ["item-0031", "item-0032", "item-0033"].map(String::from);
    let mut shown = ids(&wide(&|r| r.candidates = Some(three.to_vec())));
    shown.sort();
    assert_eq!(shown, three);
    let about = wide(&|r| {
        r.item_id = Some("item-0001".into());
        r.user_id = None;
    });
    assert!(!ids(&about).contains(&"item-0001".to_owned()));
    assert!(world.of_kind(&about, "odd") >= 8, "{:?}", ids(&about));
}

#[test]
fn the_same_seed_and_state_give_the_same_slate_and_parts_sum_to_scores() {
    let world = World::trained();
    let request = RecommendRequest {
        seed: Some(7),
        explain: true,
        ..ask("user-0005")
    };
    let (a, b) = (
        world.service.recommend(&request).unwrap(),
        world.service.recommend(&request).unwrap(),
    );
    assert_eq!(a.items, b.items);
    assert_ne!(a.decision_id, b.decision_id);
    for item in &a.items {
        let parts = item.explanation.as_ref().unwrap();
        let sum: f64 = parts.iter().map(|part| f64::from(part.value)).sum();
        assert!((sum - f64::from(item.score)).abs() < 1e-3, "{sum} {}", item.score);
        assert!(!item.reasons.is_empty() && !item.sources.is_empty());
        assert_eq!(item.propensity, 1.0);
    }
    let (first, second) = (&a.decision_id, &b.decision_id);
    let kept = [first, second].map(|id| world.service.decision(id).unwrap().decision);
    assert_eq!(kept[0].seed, 7);
    assert_eq!(kept[0].shown, kept[1].shown);
    assert_eq!(kept[0].considered, kept[1].considered);
    assert_eq!(kept[0].removals, kept[1].removals);
    assert!(kept[0].considered.len() > 10);
    assert!(kept[0].stages.iter().any(|stage| stage.stage == "retrieve/als"));
}

#[test]
fn ranking_orders_what_is_given_and_similar_items_are_of_a_kind() {
    let world = World::trained();
    let given = [
        "item-0010",
        "item-0011",
        "item-0012",
        "item-0013",
        "item-0014",
        "item-0015",
    ];
    let request = RankRequest {
        candidates: given.map(String::from).to_vec(),
        placement: None,
        user_id: Some("user-0001".into()),
        session: vec![],
        explain: false,
    };
    let ranked = world.service.rank(&request).unwrap();
    assert_eq!(ranked.items.len(), 6);
    assert!(ranked.items.is_sorted_by(|a, b| a.score >= b.score));
    let evens = ids(&ranked)
        .iter()
        .take(3)
        .filter(|id| id.ends_with(['0', '2', '4']))
        .count();
    assert!(evens <= 1, "{:?}", ids(&ranked));
    for model in [None, Some("als"), Some("item-bm25"), Some("content")] {
        let request = SimilarRequest {
            item_id: "item-0001".into(),
            n: Some(5),
            model: model.map(String::from),
            filter: None,
        };
        let similar = world.service.similar(&request).unwrap();
        let odd = similar
            .items
            .iter()
            .filter(|i| i.item_id.ends_with(['1', '3', '5', '7', '9']))
            .count();
        assert!(similar.items.len() == 5 && odd >= 4, "{model:?}: {similar:?}");
        let bad = SimilarRequest {
            model: Some("oracle".into()),
            ..request
        };
        refused(world.service.similar(&bad), "model");
    }
}

#[test]
fn looking_around() {
    let world = World::trained();
    assert_eq!(world.service.sample_users(5), world.service.sample_users(5));
    assert_eq!(world.service.sample_users(100).len(), 60);
    let found = world.service.find_items("THE item-001", 20);
    assert_eq!(found.len(), 10);
    assert_eq!(world.service.title(&found[0]), "The item-0010");
    world.later(1000);
    world
        .service
        .ingest(vec![Ok(event("user-0000", "item-0020", "unheard-of"))])
        .unwrap();
    let recent = world.service.recent_events("user-0000", 1).unwrap();
    assert_eq!(recent[0].item_id.as_str(), "item-0020");
    assert_eq!(world.service.status().unknown_event_types["unheard-of"], 1);
    let report = world
        .service
        .ingest(vec![
            Ok(event("u", "i", "click")),
            Ok(event("", "i", "click")),
            Ok(event("u", "i", "click")),
        ])
        .unwrap();
    assert_eq!((report.accepted, report.duplicate), (1, 1));
    assert_eq!(
        (report.rejected[0].row, report.rejected[0].problem.field.as_str()),
        (1, "user_id")
    );
    let statuses: Vec<_> = report
        .receipts
        .iter()
        .map(|r| format!("{:?}", r.status))
        .collect();
    assert_eq!(statuses, ["Accepted", "Rejected", "Duplicate"]);
}
