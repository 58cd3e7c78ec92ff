//! Training with inverse propensities, where it is known what would be clicked if all were shown alike.

use crate::world::{START, World, ask, event, item};
use assembly::{EventInput, FixedClock, RecommendRequest, Service};
use std::sync::Arc;
use tempfile::TempDir;

/// Two items that are clicked alike, one of them shown far more often; popularity from clicks.
fn popularity(weighed: &str) -> f64 {
    let dir = TempDir::new().unwrap();
    let config = format!(
        "[training]\nmodel = \"popular\"\nmodel_config = {{ half_life_days = 1000.0 }}\nfallbacks = []\n{weighed}\n\
         [placements.home]\nexclude_seen = false\n[placements.drawn]\nexclude_seen = false\nn = 1\n\
         policy = {{ name = \"epsilon-greedy\", epsilon = 0.2 }}\n"
    );
    std::fs::write(dir.path().join("concierge.toml"), config).unwrap();
    let clock = Arc::new(FixedClock::at(START));
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    let world = World { dir, clock, service };
    let items = ["mug", "pen"].map(|id| Ok(item(id, "thing")));
    world.service.put_items(items.into()).unwrap();
    for seed in 0..1000 {
        world.later(60_000);
        let request = RecommendRequest {
            placement: "drawn".into(),
            seed: Some(seed),
            ..ask(&format!("u{seed}"))
        };
        let answer = world.service.recommend(&request).unwrap();
        // Every second showing is clicked, of either.
        if numeric::mix(seed).is_multiple_of(2) {
            let click = EventInput {
                decision_id: Some(answer.decision_id.clone()),
                event_id: Some(format!("e{seed}")),
                ..event(&format!("u{seed}"), &answer.items[0].item_id, "click")
            };
            world.service.ingest(vec![Ok(click)]).unwrap();
        }
    }
    world.service.train(&|_| {}).unwrap();
    let answer = world.service.recommend(&ask("nobody")).unwrap();
    let score = |id: &str| answer.items.iter().find(|item| item.item_id == id).unwrap().score;
    f64::from(score("mug").max(score("pen")) / score("mug").min(score("pen")))
}

#[test]
fn clicks_are_weighed_by_how_improbable_they_were() {
    // Shown nine times as often, clicked nine times as often; 450 and 50 clicks have a standard error of a sixth.
    let naive = popularity("");
    assert!((6.0..13.0).contains(&naive), "{naive}");
    let weighed = popularity("inverse_propensity = { clip = 100.0 }");
    assert!((0.65..1.5).contains(&weighed), "{weighed}");
    // A clip below 1/0.1 leaves some of the bias.
    let clipped = popularity("inverse_propensity = { clip = 3.0 }");
    assert!(clipped > 1.5 && clipped < naive - 2.0, "{clipped}");
    // Doubly robust, it leaves little: what is cut off is made up by what an item is clicked per look.
    let robust = |clip: f64| popularity(&format!("doubly_robust = {{ clip = {clip:.1} }}"));
    for clip in [100.0, 3.0] {
        let robust = robust(clip);
        assert!((0.65..1.5).contains(&robust), "clip {clip}: {robust}");
    }
}

/// Orders that were asked for say nothing of what was shown: whatever stands in them, what is learnt stays the same.
#[test]
fn an_order_that_was_asked_for_is_no_showing() {
    let learnt = |orders: u32| {
        let dir = TempDir::new().unwrap();
        let config = "[training]\nmodel = \"popular\"\nfallbacks = []\ndoubly_robust = { clip = 1.0, examination = [1.0, 0.5] }\n[placements.home]\nexclude_seen = false\n";
        std::fs::write(dir.path().join("concierge.toml"), config).unwrap();
        let clock = Arc::new(FixedClock::at(START));
        let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
        let world = World { dir, clock, service };
        let items = ["mug", "pen"].map(|id| Ok(item(id, "thing")));
        world.service.put_items(items.into()).unwrap();
        for user in 0..6 {
            let answer = world.service.recommend(&ask(&format!("u{user}"))).unwrap();
            let click = EventInput {
                decision_id: Some(answer.decision_id.clone()),
                ..event(&format!("u{user}"), "mug", "click")
            };
            world.service.ingest(vec![Ok(click)]).unwrap();
        }
        for user in 0..orders {
            let asked = assembly::RankRequest {
                candidates: vec!["pen".into(), "mug".into()],
                placement: Some("home".into()),
                user_id: Some(format!("u{user}")),
                session: Vec::new(),
                explain: false,
            };
            world.service.rank(&asked).unwrap();
        }
        world.service.train(&|_| {}).unwrap();
        let answer = world.service.recommend(&ask("nobody")).unwrap();
        answer.items.iter().map(|item| item.score).collect::<Vec<_>>()
    };
    assert_eq!(learnt(0), learnt(6));
}

#[test]
fn one_way_to_weigh_is_taken_at_a_time() {
    let refused = |text: &str| {
        let text = format!("[training]\n{text}\n[placements.home]\n");
        let read = assembly::Config::parse(&text, std::path::Path::new("c.toml"));
        read.unwrap_err().to_string()
    };
    let both = refused("inverse_propensity = {}\ndoubly_robust = {}");
    assert!(both.contains("training.doubly_robust: got it beside"), "{both}");
    let drawn = refused("doubly_robust = { imputed = 2000 }");
    assert!(
        drawn.contains("training.doubly_robust.imputed: got 2000"),
        "{drawn}"
    );
    let look = refused("doubly_robust = { examination = [1.0, 0.0] }");
    assert!(
        look.contains("training.doubly_robust.examination: got 0"),
        "{look}"
    );
}
