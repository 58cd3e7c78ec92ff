//! What holds in every world.

use crate::world::*;
use domain::Query;
use engine::{Caps, decide};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeSet;
use std::sync::Arc;

const N_ITEMS: u32 = 40;

fn mood() -> impl Strategy<Value = Mood> {
    prop::sample::select(MOODS.to_vec())
}

fn some(max: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::btree_set(0..N_ITEMS, 0..max).prop_map(|set| set.into_iter().collect())
}

fn quiet<T>(run: impl FnOnce() -> T) -> T {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            if !text.contains("a bug") {
                before(info);
            }
        }));
    });
    run()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_slate_whatever_happens(
        lists in prop::collection::vec((some(25), mood()), 0..4),
        rungs in prop::collection::vec((some(25), mood()), 0..3),
        drops in prop::collection::vec((some(30), mood()), 0..3),
        moods in (mood(), mood(), mood(), mood()),
        only in prop::option::of(some(20)),
        n in 0usize..15,
        clock in (0u64..40, 0u64..200),
        caps in (0usize..30, 0usize..30),
    ) {
        let names = ["a", "b", "c", "d"];
        let listed = |(place, (list, mood)): (usize, &(Vec<u32>, Mood))| Listed {
            name: names[place],
            list: list.iter().rev().copied().collect(),
            mood: *mood,
        };
        let rule = |(place, (drops, mood)): (usize, &(Vec<u32>, Mood))| ListRule {
            name: names[place],
            drops: drops.clone(),
            mood: *mood,
        };
        let mut pipeline = pipeline(
            lists.iter().enumerate().map(listed).collect(),
            rungs.iter().enumerate().map(listed).collect(),
            drops.iter().enumerate().map(rule).collect(),
        );
        pipeline.ranker = Arc::new(Hashed(moods.0));
        pipeline.fallback_ranker = Arc::new(Hashed(moods.1));
        pipeline.reranker = Arc::new(Reversing(moods.2));
        pipeline.policy = Arc::new(Moody(moods.3));
        pipeline.caps = Caps { considered: caps.0, removals: caps.1 };
        pipeline.deadline_us = clock.1;
        let catalogue = items(N_ITEMS);
        let request = request(Query { n, only, ..Query::default() });
        let run = || quiet(|| decide(&pipeline, &catalogue, &request, &ticking(clock.0)));
        let (one, two) = (run(), run());

        // Pure: the same inputs give the same bytes.
        let bytes = |decided: &engine::Decided| serde_json::to_vec(&decided.decision).expect("a record is JSON");
        prop_assert_eq!(bytes(&one), bytes(&two));
        prop_assert_eq!(&one.timings_us, &two.timings_us);
        let record = one.decision;
        let back: domain::Decision = serde_json::from_slice(&bytes(&two)).expect("a record reads back");
        prop_assert_eq!(&record, &back);

        // Nothing that a rule drops is shown, nothing twice, nothing that does not exist.
        let dropped = |item: u32| drops.iter().any(|(list, _)| list.contains(&item));
        let position = |id: &domain::ItemId| catalogue.0.iter().position(|i| i == id).expect("it exists") as u32;
        let shown: Vec<u32> = record.shown.iter().map(|s| position(&s.item_id)).collect();
        prop_assert!(shown.iter().all(|item| !dropped(*item)));
        prop_assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), shown.len());
        for removal in &record.removals {
            prop_assert!(!shown.contains(&position(&removal.item_id)));
        }

        // A slate as long as can be, short only of what the reranker holds back.
        let offered = |item: &u32| request.query.only.as_ref().is_none_or(|only| only.contains(item));
        let eligible: Vec<u32> = (0..N_ITEMS).filter(offered).filter(|item| !dropped(*item)).collect();
        let held_back_max = eligible.iter().filter(|item| *item % 5 == 4).count();
        prop_assert!(shown.len() <= n);
        prop_assert!(shown.len() >= n.min(eligible.len() - held_back_max));
        prop_assert!(n == 0 || eligible.is_empty() || !shown.is_empty());

        // Ranks, propensities, caps, and parts that sum to the score.
        for (place, one) in record.shown.iter().enumerate() {
            prop_assert_eq!(one.rank as usize, place + 1);
            prop_assert_eq!(one.propensity, 1.0);
            if let Some(explanation) = &one.explanation {
                prop_assert_eq!(explanation.total(), one.score);
            }
        }
        prop_assert!(record.considered.len() <= caps.0 && record.removals.len() <= caps.1);

        // Every rule's account adds up to the removals.
        let by_rules: u32 = record.stages.iter().filter(|s| s.stage.starts_with("rules/")).map(|s| s.input - s.output).sum();
        let listed = record.removals.len() as u32 + record.removals_cut;
        prop_assert!(listed >= by_rules);
        prop_assert!(record.considered.is_sorted_by(|a, b| a.score > b.score || (a.score == b.score && a.item_id < b.item_id)) || record.considered.iter().all(|c| c.score == 0.0));
    }
}
