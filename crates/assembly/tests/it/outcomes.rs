//! Decisions joined with what came of them.

use crate::world::{World, ask, event, ids};
use assembly::{EventInput, JoinReport, JoinRequest, RecommendRequest, ServiceError};

fn join(window_hours: f64) -> JoinRequest {
    JoinRequest {
        placement: "home".into(),
        rewards: [("click".to_owned(), 1.0), ("purchase".to_owned(), 10.0)].into(),
        window_hours: Some(window_hours),
    }
}

#[test]
fn events_count_once_by_item_and_type_within_the_window() {
    let world = World::trained();
    let slate = world
        .service
        .recommend(&RecommendRequest {
            n: Some(3),
            ..ask("user-0000")
        })
        .unwrap();
    let shown = ids(&slate);
    let tell = |key: &str, item: &str, event_type: &str, decision: &str| {
        let told = EventInput {
            event_id: Some(key.into()),
            decision_id: Some(decision.into()),
            ..event("user-0000", item, event_type)
        };
        assert_eq!(world.service.ingest(vec![Ok(told)]).unwrap().accepted, 1);
    };
    let id = slate.decision_id.as_str();
    tell("a", &shown[0], "click", id);
    tell("b", &shown[0], "click", id);
    tell("c", &shown[0], "purchase", id);
    tell("d", &shown[2], "click", id);
    tell("e", &shown[2], "like", id);
    tell("f", "something-else", "click", id);
    tell("g", &shown[1], "click", "another");
    // The window is open: nothing is said of it yet.
    let (slates, report) = world.service.joined(&join(1.0)).unwrap();
    assert_eq!((slates.len(), report.open, report.of_others), (0, 1, 6));
    world.later(3_600_001);
    tell("h", &shown[1], "click", id);
    let (slates, report) = world.service.joined(&join(1.0)).unwrap();
    let expected = JoinReport {
        decisions: 1,
        with_outcome: 1,
        events: 3,
        outside_window: 1,
        not_shown: 1,
        of_others: 1,
        ..JoinReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(slates[0].rewards, [11.0, 0.0, 1.0]);
    assert_eq!(slates[0].propensities, [1.0; 3]);
    assert!(
        slates[0]
            .shown
            .iter()
            .all(|at| (*at as usize) < slates[0].scores.len())
    );
    // A wider window has the late click, once it is over.
    assert_eq!(world.service.joined(&join(2.0)).unwrap().1.open, 1);
    world.later(3_600_000);
    assert_eq!(
        world.service.joined(&join(2.0)).unwrap().0[0].rewards,
        [11.0, 1.0, 1.0]
    );
    for (request, named) in [
        (
            JoinRequest {
                placement: "nowhere".into(),
                ..join(1.0)
            },
            "placement",
        ),
        (
            JoinRequest {
                rewards: Default::default(),
                ..join(1.0)
            },
            "rewards",
        ),
        (join(0.0), "window_hours"),
    ] {
        match world.service.joined(&request) {
            Err(ServiceError::Input(problem)) => assert_eq!(problem.field, named),
            other => panic!("{named}: {other:?}"),
        }
    }
}
