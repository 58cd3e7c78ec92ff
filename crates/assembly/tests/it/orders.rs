//! Rerankers of placements: what holds on the slate as shown, by chance or not.

use crate::world::{START, World, ask, ids, item};
use assembly::{CONFIG_FILE, FixedClock, ItemInput, Moment, RecommendRequest, Service};
use domain::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

const CONSTRAINTS: &str = r#"
constraints = [
  { kind = "max_share", per = "kind", share = 0.5 },
  { kind = "min_new", count = 1, days = 5.0 },
  { kind = "min_new", count = 9, days = 5.0 },
]
"#;

fn world() -> World {
    let dir = tempfile::TempDir::new().unwrap();
    let mut text = String::from(
        "[placements.home.rerank]\nname = \"mmr\"\nattributes = [\"kind\"]\ndiversity = 0.9\n\
         [placements.plain]\n[placements.mixed.rerank]\nname = \"calibrated\"\nattributes = [\"kind\"]\n",
    );
    for (name, policy) in [
        ("bound", "name = \"greedy\""),
        ("half", "name = \"epsilon-greedy\"\nepsilon = 0.5"),
        ("soft", "name = \"softmax\"\ntemperature = 0.4\npool = 12"),
    ] {
        text += &format!("[placements.{name}.rerank]\nname = \"constrained\"\n{CONSTRAINTS}");
        text += &format!("[placements.{name}.policy]\n{policy}\n");
    }
    std::fs::write(dir.path().join(CONFIG_FILE), text).unwrap();
    let clock = Arc::new(FixedClock::at(Timestamp(START.0 + 30 * 86_400_000)));
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    let world = World { dir, clock, service };
    world.fill();
    let young = |id: &str, kind: &str| ItemInput {
        added_at: Some(Moment::Number((START.0 + 29 * 86_400_000) as f64)),
        ..item(id, kind)
    };
    world
        .service
        .put_items(vec![
            Ok(young("item-0090", "even")),
            Ok(young("item-0091", "odd")),
        ])
        .unwrap();
    world.service.train(&|_| {}).unwrap();
    world
}

fn is_odd(id: &str) -> bool {
    id.ends_with(['1', '3', '5', '7', '9'])
}

#[test]
fn constraints_hold_on_what_is_shown_and_say_what_they_cost() {
    let world = world();
    let mut slates: BTreeMap<&str, usize> = BTreeMap::new();
    for placement in ["bound", "half", "soft"] {
        let mut distinct = std::collections::BTreeSet::new();
        for seed in 0..60 {
            let request = RecommendRequest {
                placement: placement.into(),
                n: Some(6),
                seed: Some(seed),
                ..ask("user-0001")
            };
            let slate = world.service.recommend(&request).unwrap();
            let ids = ids(&slate);
            let odd = ids.iter().filter(|id| is_odd(id)).count();
            assert_eq!(odd, 3, "{placement}: at most half of each kind: {ids:?}");
            assert!(
                ids.iter().any(|id| id == "item-0090" || id == "item-0091"),
                "{placement}: {ids:?}"
            );
            let told: Vec<_> = slate.degraded.iter().map(|d| d.reason.as_str()).collect();
            assert_eq!(told, ["relaxed min_new 9 within 5 days"], "{placement}");
            let kept = world.service.decision(&slate.decision_id).unwrap().decision;
            let states: Vec<_> = kept.constraints.iter().map(|c| (c.feasible, c.kept)).collect();
            assert_eq!(
                states,
                [(true, true), (true, true), (false, false)],
                "{placement}"
            );
            assert!(
                kept.constraints[0].given_up > 0.0,
                "somebody with one taste gives something up"
            );
            let product: f64 = slate.items.iter().map(|item| item.propensity).product();
            assert!((kept.policy.unwrap().slate_propensity - product).abs() < 1e-12);
            assert!(placement == "bound" || slate.items.iter().any(|item| item.propensity < 1.0));
            distinct.insert(ids);
        }
        slates.insert(placement, distinct.len());
    }
    assert_eq!(slates["bound"], 1);
    assert!(slates["half"] > 10 && slates["soft"] > 10, "{slates:?}");
}

#[test]
fn diversity_diversifies_and_calibration_follows_tastes() {
    let world = world();
    let slate = |placement: &str| {
        let request = RecommendRequest {
            placement: placement.into(),
            n: Some(8),
            ..ask("user-0001")
        };
        ids(&world.service.recommend(&request).unwrap())
    };
    let odd = |placement: &str| slate(placement).iter().filter(|id| is_odd(id)).count();
    let diverse = slate("home");
    assert_ne!(
        is_odd(&diverse[0]),
        is_odd(&diverse[1]),
        "what stands first is not repeated: {diverse:?}"
    );
    assert!(odd("home") <= odd("plain"));
    assert!(odd("mixed") >= 6, "somebody of one taste");
    assert_eq!(world.service.status().warnings, Vec::<String>::new());
}
