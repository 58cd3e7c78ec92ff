//! Cases by hand.

use crate::world::*;
use domain::{Query, Rule};
use engine::{Decided, Pipeline, decide};
use std::sync::Arc;

fn listed(name: &'static str, list: &[u32], mood: Mood) -> Listed {
    Listed {
        name,
        list: list.to_vec(),
        mood,
    }
}

fn query(n: usize) -> Query {
    Query {
        n,
        ..Query::default()
    }
}

fn run(pipeline: &Pipeline, query: Query, step: u64) -> Decided {
    decide(pipeline, &items(20), &request(query), &ticking(step))
}

fn shown(decided: &Decided) -> Vec<u32> {
    let items = items(20);
    let at = |id| items.0.iter().position(|i| i == id).expect("it exists") as u32;
    decided.decision.shown.iter().map(|s| at(&s.item_id)).collect()
}

fn degraded(decided: &Decided) -> Vec<String> {
    let say = |d: &domain::Degradation| format!("{}: {}", d.stage, d.reason);
    decided.decision.degraded.iter().map(say).collect()
}

#[test]
fn two_sources_are_joined_with_their_ranks() {
    let mut pipeline = pipeline(
        vec![listed("a", &[2, 1], Mood::Good), listed("b", &[1, 3], Mood::Good)],
        vec![],
        vec![],
    );
    pipeline.policy = Arc::new(Moody(Mood::Good));
    let decided = run(&pipeline, query(3), 0);
    assert!(degraded(&decided).is_empty());
    let items = items(20);
    let one = decided
        .decision
        .considered
        .iter()
        .find(|c| c.item_id == items.0[1])
        .expect("considered");
    let hits: Vec<_> = one.sources.iter().map(|h| (h.source.as_ref(), h.rank)).collect();
    assert_eq!(hits, [("a", 2), ("b", 1)]);
    // Scores by hash: 1 has 9, 2 has 3, 3 has 13; the reranker reverses.
    assert_eq!([1, 2, 3].map(hashed), [9.0, 3.0, 13.0]);
    assert_eq!(shown(&decided), [2, 1, 3]);
    assert_eq!(decided.timings_us.last().map(|t| t.0.as_str()), Some("total"));
}

#[test]
fn the_ladder_fills_in_order_and_never_repeats() {
    let rules = vec![ListRule {
        name: "gone",
        drops: vec![5, 6, 0],
        mood: Mood::Good,
    }];
    let rungs = vec![
        listed("trending", &[2, 5, 10], Mood::Good),
        listed("popular", &[10, 11], Mood::Good),
    ];
    let pipeline = pipeline(vec![listed("a", &[2], Mood::Good)], rungs, rules);
    let decided = run(&pipeline, query(6), 0);
    assert_eq!(shown(&decided), [2, 10, 11, 1, 3, 4]);
    assert_eq!(
        degraded(&decided),
        [
            "ladder/trending: filled 1 of 6",
            "ladder/popular: filled 1 of 6",
            "ladder/any: filled 3 of 6"
        ]
    );
    let removed: Vec<_> = decided
        .decision
        .removals
        .iter()
        .map(|r| (r.rule.as_str(), r.reason.as_str()))
        .collect();
    assert_eq!(
        removed,
        [("gone", "listed"), ("gone", "listed")],
        "0 and 5 were asked about, 6 never"
    );
}

#[test]
fn a_panicking_source_and_ranker_are_replaced_and_named() {
    let mut pipeline = pipeline(
        vec![listed("a", &[1], Mood::Panics), listed("b", &[2, 3], Mood::Good)],
        vec![],
        vec![],
    );
    pipeline.ranker = Arc::new(Hashed(Mood::Panics));
    let decided = run(&pipeline, query(2), 0);
    assert_eq!(shown(&decided), [2, 3]);
    assert_eq!(
        degraded(&decided),
        [
            "retrieve/a: failed: panicked: a bug",
            "rank/hashed: failed: panicked: a bug"
        ]
    );
}

#[test]
fn after_the_deadline_only_what_must_runs() {
    let mut pipeline = pipeline(
        vec![listed("a", &[1, 2], Mood::Good), listed("b", &[3], Mood::Good)],
        vec![listed("popular", &[9], Mood::Good)],
        vec![],
    );
    pipeline.deadline_us = 50;
    let decided = run(&pipeline, query(3), 60);
    assert_eq!(
        degraded(&decided),
        [
            "retrieve/b: skipped: out of time",
            "rank/hashed: skipped: out of time",
            "rerank/reversing: skipped: out of time",
            "ladder/popular: filled 1 of 3",
            "explain: skipped: out of time",
        ]
    );
    assert_eq!(
        shown(&decided),
        [1, 2, 9],
        "the fallback ranker's order, then the ladder"
    );
    pipeline.deadline_us = 0;
    assert!(
        !degraded(&run(&pipeline, query(3), 60))
            .iter()
            .any(|d| d.contains("time"))
    );
    pipeline.budgets.retrieve_us = 50;
    let decided = run(&pipeline, query(3), 60);
    let spent = "skipped: the time for this stage is spent";
    assert_eq!(
        degraded(&decided),
        [
            format!("retrieve/b: {spent}"),
            "ladder/popular: filled 1 of 3".to_owned()
        ]
    );
    pipeline.budgets.rank_us = 50;
    assert!(degraded(&run(&pipeline, query(3), 60)).contains(&format!("rank/hashed: {spent}")));
}

#[test]
fn a_request_brings_its_own_candidates_and_rules() {
    let pipeline = pipeline(vec![], vec![listed("popular", &[9], Mood::Good)], vec![]);
    let outside: Arc<dyn Rule> = Arc::new(ListRule {
        name: "outside",
        drops: (0..20).filter(|i| ![1, 2, 3].contains(i)).collect(),
        mood: Mood::Good,
    });
    let mut request = request(Query {
        only: Some(vec![1, 2, 3]),
        ..query(10)
    });
    request.rules.push(outside);
    let decided = decide(&pipeline, &items(20), &request, &ticking(0));
    assert_eq!(
        shown(&decided),
        [2, 1, 3],
        "ranked, not filled in from the ladder"
    );
}

#[test]
fn held_back_items_come_back_only_instead_of_nothing() {
    let only_held_back = vec![ListRule {
        name: "gone",
        drops: (0..20).filter(|i| i % 5 != 4).collect(),
        mood: Mood::Good,
    }];
    let pipeline = pipeline(
        vec![listed("a", &[4, 9, 14, 19], Mood::Good)],
        vec![],
        only_held_back,
    );
    let decided = run(&pipeline, query(2), 0);
    assert_eq!(decided.decision.shown.len(), 2);
    assert!(degraded(&decided).iter().any(|d| d.contains("held back")));
}

#[test]
fn a_pipeline_is_checked() {
    let good = pipeline(vec![listed("a", &[], Mood::Good)], vec![], vec![]);
    assert_eq!(good.check(), Ok(()));
    let twice = pipeline(
        vec![listed("a", &[], Mood::Good), listed("a", &[], Mood::Good)],
        vec![],
        vec![],
    );
    let error = twice.check().expect_err("a name twice").to_string();
    assert_eq!(error, "placement home, sources: got a, expected each source once");
}
