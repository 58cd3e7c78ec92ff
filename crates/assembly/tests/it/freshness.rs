//! What just happened counts in the next answer, without training.

use crate::world::{World, ask, event, ids, item};
use assembly::{RecommendRequest, SessionEvent};

#[test]
fn a_brand_new_user_with_one_event_gets_a_personal_list() {
    let world = World::trained();
    let nobody = world.service.recommend(&ask("new")).unwrap();
    assert_eq!(nobody.items.len(), 10);
    for (taken, kind) in [("item-0006", "even"), ("item-0007", "odd")] {
        let user = format!("new-{kind}");
        let report = world
            .service
            .ingest(vec![Ok(event(&user, taken, "purchase"))])
            .unwrap();
        let answer = world.service.recommend(&ask(&user)).unwrap();
        assert!(answer.sequence >= report.sequence);
        assert!(
            !ids(&answer).contains(&taken.to_owned()),
            "what was bought is not shown again"
        );
        let right = world.of_kind(&answer, kind);
        assert!(right >= 8, "{right} of 10 are {kind}: {:?}", ids(&answer));
        let reasons = &answer.items[0].reasons;
        assert!(reasons[0].contains(&format!("The {taken}")), "{reasons:?}");
    }
}

#[test]
fn an_event_changes_the_next_answer_before_anything_is_absorbed() {
    let world = World::trained();
    let before = world.service.recommend(&ask("user-0000")).unwrap();
    let top = before.items[0].item_id.clone();
    world
        .service
        .ingest(vec![Ok(event("user-0000", &top, "purchase"))])
        .unwrap();
    let after = world.service.recommend(&ask("user-0000")).unwrap();
    assert!(!ids(&after).contains(&top));
    assert_eq!(before.snapshot, after.snapshot);
    assert!(after.sequence > before.sequence);
}

#[test]
fn an_anonymous_session_is_enough_and_leaves_no_trace() {
    let world = World::trained();
    let session = ["item-0003", "item-0009"].map(|item| SessionEvent {
        item_id: item.into(),
        event_type: None,
        timestamp: None,
        value: None,
    });
    let request = RecommendRequest {
        placement: "home".into(),
        session: session.to_vec(),
        ..RecommendRequest::default()
    };
    let answer = world.service.recommend(&request).unwrap();
    assert!(world.of_kind(&answer, "odd") >= 8, "{:?}", ids(&answer));
    assert_eq!(world.service.status().users, 60);
}

#[test]
fn a_new_item_reaches_the_right_people_at_once() {
    let world = World::trained();
    world
        .service
        .put_items(vec![Ok(item("brand-new", "odd"))])
        .unwrap();
    let place = |user: &str| {
        let request = RecommendRequest {
            n: Some(40),
            ..ask(user)
        };
        let answer = world.service.recommend(&request).unwrap();
        let place = ids(&answer).iter().position(|id| id == "brand-new");
        let sources = place
            .map(|at| answer.items[at].sources.clone())
            .unwrap_or_default();
        (place.unwrap_or(usize::MAX), sources)
    };
    // Users with odd numbers like odd things.
    for pair in 0..10 {
        let (right, sources) = place(&format!("user-{:04}", 2 * pair + 1));
        let (wrong, _) = place(&format!("user-{:04}", 2 * pair));
        assert!(right < 20 && right < wrong, "pair {pair}: {right} and {wrong}");
        assert!(sources.contains(&"content".to_owned()), "{sources:?}");
    }
}

#[test]
fn hiding_takes_effect_with_the_next_request_and_showing_too() {
    let world = World::trained();
    let top = ids(&world.service.recommend(&ask("user-0001")).unwrap())[0].clone();
    let put = |hidden: bool| {
        let mut changed = item(&top, "odd");
        changed.hidden = hidden;
        world.service.put_items(vec![Ok(changed)]).unwrap();
    };
    put(true);
    let hidden = world.service.recommend(&ask("user-0001")).unwrap();
    assert!(!ids(&hidden).contains(&top));
    let kept = world.service.decision(&hidden.decision_id).unwrap();
    assert!(
        kept.decision
            .removals
            .iter()
            .any(|r| r.item_id.as_str() == top && r.reason == "hidden")
    );
    put(false);
    assert!(ids(&world.service.recommend(&ask("user-0001")).unwrap()).contains(&top));
}

#[test]
fn an_event_of_the_future_happens_now_and_a_retry_is_a_duplicate() {
    let world = World::trained();
    let ahead = assembly::EventInput {
        timestamp: Some(assembly::Moment::Number((world::now(&world) + 60_000) as f64)),
        ..event("ahead", "item-0005", "purchase")
    };
    let first = world.service.ingest(vec![Ok(ahead.clone())]).unwrap();
    assert_eq!((first.accepted, first.duplicate), (1, 0));
    let answer = world.service.recommend(&ask("ahead")).unwrap();
    assert!(!ids(&answer).contains(&"item-0005".to_owned()));
    world.later(10);
    let again = world.service.ingest(vec![Ok(ahead)]).unwrap();
    assert_eq!((again.accepted, again.duplicate), (0, 1));
    let far = assembly::EventInput {
        timestamp: Some(assembly::Moment::Number(
            (world::now(&world) + 2 * 86_400_000) as f64,
        )),
        ..event("ahead", "item-0006", "purchase")
    };
    let refused = world.service.ingest(vec![Ok(far)]).unwrap();
    assert_eq!(refused.rejected[0].problem.field, "timestamp");
}

mod world {
    use assembly::Clock;

    pub(super) fn now(world: &crate::world::World) -> i64 {
        world.clock.now().0
    }
}
