//! Placements that explore: what is recorded, what is replayed, what is never shown.

use crate::world::{START, World, ask, ids};
use assembly::{CONFIG_FILE, Config, FixedClock, Service};
use domain::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const POLICIES: &str = r#"
[placements.home]
exclude_seen = false

[placements.half.policy]
name = "epsilon-greedy"
epsilon = 0.5

[placements.soft.policy]
name = "softmax"
temperature = 0.4
pool = 20

[placements.drawn.policy]
name = "thompson"

[placements.sure.policy]
name = "thompson"
uncertainty = "posterior"

[placements.swapped.policy]
name = "swaps"
kind = "adjacent"

[placements.young.policy]
name = "greedy"

[placements.young.policy.new_items]
share = 0.5
days = 60.0
"#;

fn world() -> World {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join(CONFIG_FILE), POLICIES).unwrap();
    let clock = Arc::new(FixedClock::at(Timestamp(START.0 + 30 * 86_400_000)));
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    let world = World { dir, clock, service };
    world.fill();
    world.service.train(&|_| {}).unwrap();
    world
}

#[test]
fn propensities_are_recorded_and_seeds_replay() {
    let world = world();
    for placement in ["half", "soft", "drawn", "sure", "swapped", "young"] {
        let mut first: BTreeMap<String, u32> = BTreeMap::new();
        let mut said: BTreeMap<String, f64> = BTreeMap::new();
        let trials = 2_000;
        for seed in 0..trials {
            let mut request = ask("user-0000");
            request.placement = placement.into();
            request.seed = Some(seed);
            request.n = Some(4);
            request.exclude = vec!["item-0003".into()];
            let answer = world.service.recommend(&request).unwrap();
            assert!(!ids(&answer).contains(&"item-0003".to_owned()), "{placement}");
            let policy = answer.policy.as_ref().unwrap();
            let product: f64 = answer.items.iter().map(|item| item.propensity).product();
            assert!((policy.slate_propensity - product).abs() < 1e-12, "{placement}");
            assert!(answer.degraded.is_empty(), "{placement}: {:?}", answer.degraded);
            if seed < 20 {
                let again = world.service.recommend(&request).unwrap();
                assert_eq!(again.items, answer.items, "{placement}: the same seed");
                let kept = world.service.decision(&answer.decision_id).unwrap().decision;
                assert_eq!(kept.policy.as_ref(), Some(policy), "{placement}");
                assert_eq!(kept.seed, seed);
                assert_eq!(kept.shown[0].propensity, answer.items[0].propensity);
                let closed = ["half", "soft", "swapped"].contains(&placement);
                assert_eq!(
                    kept.shown[3].position_propensity.is_some() || placement == "young",
                    closed || placement == "young"
                );
            }
            *first.entry(answer.items[0].item_id.clone()).or_default() += 1;
            said.insert(answer.items[0].item_id.clone(), answer.items[0].propensity);
        }
        for (item, count) in first {
            let expected = trials as f64 * said[&item];
            let deviation = (expected * (1.0 - said[&item])).sqrt().max(1.0);
            assert!(
                (f64::from(count) - expected).abs() < 5.0 * deviation,
                "{placement}: {item} {count} of {expected}"
            );
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let refused = |text: &str, words: &str| {
        let text = format!("[placements.home.policy]\n{text}");
        let error = Config::parse(&text, Path::new("c.toml")).unwrap_err();
        assert!(error.reason.contains(words), "{}", error.reason);
    };
    refused(
        "name = \"luck\"",
        "placements.home.policy.name: got \"luck\", expected one of greedy, epsilon-greedy",
    );
    refused(
        "name = \"epsilon-greedy\"\nepsilon = 2.0",
        "placements.home.policy.epsilon: got 2, expected 0 to 1",
    );
    refused(
        "name = \"softmax\"\nepsilon = 0.2",
        "placements.home.policy.epsilon: got 0.2",
    );
    refused(
        "pool = 0",
        "placements.home.policy.pool: got 0, expected 1 to 10000",
    );
    refused(
        "new_items = { share = 1.5 }",
        "placements.home.policy.new_items.share: got 1.5",
    );
    refused("name = \"beta-thompson\"", "placements.home.policy.name");
    let read = Config::parse(POLICIES, Path::new("c.toml")).unwrap();
    assert_eq!(Config::parse(&read.to_toml(), Path::new("d.toml")).unwrap(), read);
}
