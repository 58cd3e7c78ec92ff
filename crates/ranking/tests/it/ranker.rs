//! A learnt ranker keeps the promises of its stage.

use crate::features::{films, known};
use domain::{Candidate, ContributionSource, Query, Ranker, SourceHit};
use numeric::SeededStream;
use ranking::features::{FeatureSet, ItemCounts};
use ranking::{
    HeadWeight, LearnError, OutcomeModel, PositionMode, RankObjective, RankRows, RankerConfig,
    SourceScoreRanker, TreesRanker, learn,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use trees::Feature;

pub(crate) fn weights(all: &[(&str, f32)]) -> BTreeMap<String, HeadWeight> {
    let head = |(name, weight): &(&str, f32)| {
        (
            (*name).to_owned(),
            HeadWeight {
                weight: *weight,
                min: -10.0,
                max: 10.0,
            },
        )
    };
    all.iter().map(head).collect()
}

/// Random features; clicks follow the price and the rank of a source, purchases only the price.
fn rows(seed: u64) -> RankRows {
    let set = FeatureSet::all(&known());
    let names = set.names();
    let place = |name: &str| names.iter().position(|n| n == name).expect("a feature");
    let (price, rank) = (place("item_number:price"), place("source_rank:als"));
    let mut stream = SeededStream::new(seed, 0);
    let mut rows = RankRows {
        features: set.features().to_vec(),
        groups: vec![10; 200],
        ..RankRows::default()
    };
    for kind in ["click", "purchase"] {
        rows.outcomes.insert(kind.to_owned(), Vec::new());
    }
    for at in 0..2000 {
        let own: Vec<f32> = names.iter().map(|_| (stream.below(40) as f32) / 2.0).collect();
        let click = stream.uniform()
            < if own[price] > 10.0 { 0.6 } else { 0.1 } * if own[rank] < 10.0 { 1.0 } else { 0.4 };
        let purchase = stream.uniform() < if own[price] > 15.0 { 0.3 } else { 0.02 };
        rows.values.extend(own);
        rows.positions.push(at % 10 + 1);
        for (kind, did) in [("click", click), ("purchase", purchase)] {
            rows.outcomes
                .entry(kind.to_owned())
                .or_default()
                .push(f32::from(u8::from(did)));
        }
    }
    rows
}

fn learnt(objective: RankObjective) -> OutcomeModel {
    let config = RankerConfig {
        objective,
        position: PositionMode::None,
        trees: 60,
        ..RankerConfig::default()
    };
    let weights = weights(&[("click", 0.2), ("purchase", 1.0), ("return", -1.0)]);
    let (model, report) = learn(&rows(1), &weights, &config, &[], 7).expect("there is enough");
    assert_eq!((report.groups, report.rows), (200, 2000));
    if objective == RankObjective::Outcomes {
        assert_eq!(report.left_out.len(), 1, "nobody returned anything");
        for head in &report.heads {
            assert!(head.loss < head.loss_of_constant, "{head:?}");
            assert!(
                head.calibration_error.is_some_and(|error| error < 0.15),
                "{head:?}"
            );
            let top: Vec<&str> = head
                .top_features
                .iter()
                .take(2)
                .map(|(name, _)| name.as_str())
                .collect();
            assert!(top.contains(&"item_number:price"), "{head:?}");
        }
    }
    let (again, _) = learn(&rows(1), &weights, &config, &[], 7).expect("there is enough");
    assert_eq!(model.to_bytes(), again.to_bytes());
    model
}

fn ranker(model: Option<OutcomeModel>) -> TreesRanker {
    let model = model.map(|model| (3, Arc::new(model)));
    let counts = Arc::new(ItemCounts::new(["click", "purchase", "impression"]));
    let noted = Arc::new(FeatureSet::all(&known()));
    TreesRanker::new(
        model,
        noted,
        counts,
        Arc::new(films()),
        Arc::new(SourceScoreRanker::default()),
    )
    .expect("features are known")
}

#[test]
fn promises_are_kept() {
    for objective in [RankObjective::Outcomes, RankObjective::Order] {
        let ranker = ranker(Some(learnt(objective)));
        assert_eq!(ranker.name(), "trees@3");
        testkit::stages::ranker(&ranker, 8);
    }
    // Without a model it is the ranker that it stands on, by name and score.
    let without = ranker(None);
    testkit::stages::ranker(&without, 8);
    assert_eq!(without.name(), SourceScoreRanker::default().name());
}

#[test]
fn parts_sum_to_the_score_and_features_are_noted() {
    let model = learnt(RankObjective::Outcomes);
    let rows = rows(2);
    for row in rows.select(&model.features).chunks(model.features.len()).take(50) {
        let (parts, base) = model.contributions(row);
        let score = f64::from(model.scores(row)[0]);
        let sum = parts.iter().sum::<f64>() + base;
        assert!((sum - score).abs() < 1e-5 * score.abs().max(1.0), "{sum} {score}");
        assert!(
            (0.0..=1.2).contains(&score),
            "0.2 and 1.0 times a probability: {score}"
        );
    }
    let ranker = ranker(Some(model));
    let candidates = [
        Candidate {
            item: 1,
            ..Candidate::default()
        },
        Candidate {
            item: 4,
            ..Candidate::default()
        },
    ];
    let query = Query::default();
    let record = ranker
        .features(&query, &candidates.iter().collect::<Vec<_>>())
        .expect("they are noted");
    let values = ranker.noted(&query, &candidates).expect("they can be read");
    for (at, row) in values.chunks(record.names.len()).enumerate() {
        let bits = |row: &[f32]| row.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
        assert_eq!(record.row(at).map(|noted| bits(&noted)), Some(bits(row)));
    }
    assert_eq!(record.row(2), None);
}

#[test]
fn what_is_read_of_one_source_is_one_part() {
    let ranker = ranker(Some(learnt(RankObjective::Outcomes)));
    let hit = |source: &str, rank| SourceHit {
        source: source.into(),
        rank,
        score: 3.0,
    };
    let candidate = Candidate {
        item: 1,
        hits: vec![hit("als", 2), hit("popular", 9)],
        ..Candidate::default()
    };
    let query = Query::default();
    let told = ranker.explain_candidate(&query, &candidate);
    let outcome = ranker
        .rank(&query, std::slice::from_ref(&candidate))
        .expect("it is scored");
    let domain::Outcome::Score(score) = outcome[0] else {
        panic!("{outcome:?}");
    };
    assert!((told.total() - score).abs() < 1e-5, "{told:?} against {score}");
    let names = told.contributions.iter().map(|part| &part.source);
    let of_als = names
        .clone()
        .filter(|source| matches!(source, ContributionSource::Source { name } if name == "als"));
    assert_eq!(of_als.count(), 1, "clicks follow its rank");
    let loose = names.filter(|source| {
        matches!(source, ContributionSource::Feature { name } if name.starts_with("source_rank:") || name.starts_with("source_score:"))
    });
    assert_eq!(loose.count(), 0);
}

#[test]
fn bytes_come_back_and_damage_is_named() {
    let model = learnt(RankObjective::Outcomes);
    let bytes = model.to_bytes();
    let again = OutcomeModel::from_bytes(&bytes).expect("it was just written");
    assert_eq!(again.to_bytes(), bytes);
    for at in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(OutcomeModel::from_bytes(&damaged).is_err(), "byte {at}");
        assert!(OutcomeModel::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn too_little_is_said_so() {
    let weights = weights(&[("click", 0.2)]);
    let config = RankerConfig {
        outcomes_min: 100_000,
        ..RankerConfig::default()
    };
    for objective in [RankObjective::Outcomes, RankObjective::Order] {
        let config = RankerConfig {
            objective,
            ..config.clone()
        };
        assert!(matches!(
            learn(&rows(3), &weights, &config, &[], 1),
            Err(LearnError::TooLittle(_))
        ));
    }
    assert!(matches!(
        learn(&RankRows::default(), &weights, &config, &[], 1),
        Err(LearnError::TooLittle(_))
    ));
}

/// One feature says what comes of an item: 0 it is dismissed, 1 nothing, 2 nothing again and again, 3 it is clicked, each half of the time.
fn graded(seed: u64) -> RankRows {
    let mut stream = SeededStream::new(seed, 0);
    let mut rows = RankRows {
        features: vec![Feature::number("kind")],
        groups: vec![8; 1500],
        ..RankRows::default()
    };
    let (mut clicks, mut dismissals) = (Vec::new(), Vec::new());
    for at in 0..12_000 {
        let kind = stream.below(4);
        let comes = stream.uniform() < 0.5;
        rows.values.push(kind as f32);
        rows.positions.push(at % 8 + 1);
        rows.repeats.push(if kind == 2 { 4 } else { 0 });
        clicks.push(f32::from(u8::from(comes && kind == 3)));
        dismissals.push(f32::from(u8::from(comes && kind == 0)));
    }
    rows.outcomes.insert("click".to_owned(), clicks);
    rows.outcomes.insert("dismiss".to_owned(), dismissals);
    rows
}

#[test]
fn negatives_have_grades() {
    let weights = weights(&[("click", 1.0), ("dismiss", -0.5)]);
    let scores = |unclicked: f64, dismiss: bool| {
        let config = RankerConfig {
            objective: RankObjective::Order,
            position: PositionMode::None,
            unclicked,
            trees: 40,
            ..RankerConfig::default()
        };
        let mut weights = weights.clone();
        if !dismiss {
            weights.remove("dismiss");
        }
        let (model, _) = learn(&graded(3), &weights, &config, &[], 7).expect("there is enough");
        model.scores(&[0.0, 1.0, 2.0, 3.0])
    };
    // In units of what a click is above nothing.
    let grade = |scores: &[f32], kind: usize| (scores[kind] - scores[1]) / (scores[3] - scores[1]);
    // Where only clicks count, nothing is worse than nothing; then a dismissal is, and what was ignored for long, if that is to count.
    let plain = scores(0.0, false);
    assert!(
        grade(&plain, 0).abs() < 0.25 && grade(&plain, 2).abs() < 0.25,
        "{plain:?}"
    );
    let with = scores(0.0, true);
    assert!(grade(&with, 0) < -0.4 && grade(&with, 2).abs() < 0.25, "{with:?}");
    let both = scores(0.1, true);
    assert!(grade(&both, 0) < -0.4 && grade(&both, 2) < -0.4, "{both:?}");
}

#[test]
fn heads_believe_less_in_what_was_ignored_again_and_again() {
    let head = |unclicked: f64| {
        let mut rows = graded(4);
        // Clicked or not by chance, whatever it is, so that repeats alone make a difference.
        let mut stream = SeededStream::new(8, 0);
        let clicks: Vec<f32> = (0..rows.len())
            .map(|_| f32::from(u8::from(stream.uniform() < 0.3)))
            .collect();
        rows.outcomes = [("click".to_owned(), clicks)].into();
        let config = RankerConfig {
            position: PositionMode::None,
            unclicked,
            trees: 40,
            ..RankerConfig::default()
        };
        let (model, _) = learn(&rows, &weights(&[("click", 1.0)]), &config, &[], 7).expect("there is enough");
        model.scores(&[1.0, 2.0])
    };
    let (all_alike, graded) = (head(0.0), head(0.5));
    assert!((all_alike[0] - all_alike[1]).abs() < 0.05, "{all_alike:?}");
    // 0.3 of 0.3 + 0.7 x 3 is 0.125.
    assert!(
        (graded[1] - 0.125).abs() < 0.04 && (graded[0] - 0.3).abs() < 0.05,
        "{graded:?}"
    );
}
