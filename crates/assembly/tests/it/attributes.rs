//! People and items of whom nothing but attributes is known.

use crate::world::{World, ask, event, ids, item};
use assembly::UserInput;
use domain::{Attributes, RawAttribute};

fn taste(of: &str) -> Attributes {
    [("taste".to_owned(), RawAttribute::Text(of.to_owned()))].into()
}

fn user(id: &str, of: &str) -> UserInput {
    UserInput {
        user_id: id.into(),
        attributes: taste(of),
    }
}

/// A world whose people have a taste that their events show, trained with the default blend.
fn world() -> World {
    let world = World::empty();
    world.fill();
    let kinds = ["even", "odd"];
    let people = (0..60).map(|n| Ok(user(&format!("user-{n:04}"), kinds[n % 2])));
    let report = world.service.put_users(people.collect()).unwrap();
    assert!(report.rejected.is_empty());
    world.service.train(&|_| {}).unwrap();
    world
}

#[test]
fn someone_with_attributes_and_no_events_gets_a_list_of_their_own() {
    let world = world();
    world.service.put_users(vec![Ok(user("stored", "odd"))]).unwrap();
    for kind in ["even", "odd"] {
        let mut request = ask("nobody");
        request.attributes = taste(kind);
        request.explain = true;
        let answer = world.service.recommend(&request).unwrap();
        assert!(world.of_kind(&answer, kind) >= 9, "{kind}: {:?}", ids(&answer));
        let reasons: Vec<_> = answer.items.iter().flat_map(|item| &item.reasons).collect();
        assert!(
            reasons
                .iter()
                .any(|reason| *reason == "Popular with people like you"),
            "{reasons:?}"
        );
        let kept = world.service.decision(&answer.decision_id).unwrap().decision;
        for shown in &kept.shown {
            let parts = &shown.explanation.as_ref().unwrap().contributions;
            let sum: f32 = parts.iter().map(|part| part.value).sum();
            assert!((sum - shown.score).abs() < 1e-3 * (1.0 + shown.score.abs()));
        }
    }
    let stored = world.service.recommend(&ask("stored")).unwrap();
    assert!(world.of_kind(&stored, "odd") >= 9, "{:?}", ids(&stored));
    // What they do says more than what they are.
    for n in (0..16).step_by(2) {
        let bought = event("stored", &format!("item-{n:04}"), "purchase");
        world.service.ingest(vec![Ok(bought)]).unwrap();
    }
    let turned = world.service.recommend(&ask("stored")).unwrap();
    assert!(world.of_kind(&turned, "even") >= 8, "{:?}", ids(&turned));
    let before = ids(&turned);
    let (world, _) = world.reopened();
    assert_eq!(ids(&world.service.recommend(&ask("stored")).unwrap()), before);
}

#[test]
fn an_item_put_after_the_training_stands_where_its_attributes_put_it() {
    let world = world();
    world.service.put_items(vec![Ok(item("fresh", "odd"))]).unwrap();
    let place = |user: &str| {
        let mut request = ask(user);
        request.n = Some(41);
        let list = ids(&world.service.recommend(&request).unwrap());
        let at = list.iter().position(|id| id == "fresh");
        at.unwrap_or(list.len()) as f64 / list.len() as f64
    };
    let mean = |parity: usize| {
        (0..10)
            .map(|n| place(&format!("user-{:04}", 2 * n + parity)))
            .sum::<f64>()
            / 10.0
    };
    let (evens, odds) = (mean(0), mean(1));
    assert!(odds + 0.2 < evens, "{odds} {evens}");
}
