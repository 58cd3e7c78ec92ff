//! What is refused, what is ranked, and that figures are right on data with a known answer.

use domain::{ItemId, Timestamp, UserId};
use evaluate::{EvaluateError, Inputs, MetricSet, Prepared, Protocol, Row, measure, prepare};
use models::Run;
use std::collections::HashMap;

fn row(user: &str, item: &str, value: f64, day: i64) -> Row {
    Row {
        user: UserId::new(user).expect("an id"),
        item: ItemId::new(item).expect("an id"),
        value: Some(value),
        timestamp: Timestamp(day * 86_400_000),
    }
}

/// Items a, b, c taken by 3, 2 and 1 people; d was disliked.
fn inputs() -> Inputs {
    let train = [
        ("u", "a"),
        ("v", "a"),
        ("w", "a"),
        ("u", "b"),
        ("v", "b"),
        ("w", "c"),
    ];
    let mut train: Vec<Row> = train.iter().map(|(user, item)| row(user, item, 5.0, 1)).collect();
    train.push(row("w", "d", 1.0, 2));
    Inputs {
        train,
        test: vec![
            row("u", "c", 5.0, 3),
            row("w", "b", 4.0, 3),
            row("w", "new", 4.0, 3),
            row("stranger", "b", 4.0, 1),
            row("stranger", "d", 1.0, 3),
        ],
        positive_min: Some(4.0),
        ..Inputs::default()
    }
}

fn popularity(prepared: &Prepared, protocol: &Protocol, threads: usize) -> evaluate::Measured {
    let entry = models::trainer("popular").expect("registered");
    let trainer = (entry.build)(&serde_json::Value::Null).expect("the default builds");
    let model = trainer
        .fit(&prepared.training, &Run::new(1, threads))
        .expect("there is data");
    let set = MetricSet::new(&[1, 2], false).expect("lengths");
    measure(model.as_ref(), prepared, &set, protocol, 5, threads, &|_| ()).expect("sound input")
}

#[test]
fn the_data_is_told_in_numbers() {
    let prepared = prepare(inputs()).expect("sound input");
    let summary = &prepared.summary;
    assert_eq!(
        (summary.train_rows, summary.train_items, summary.catalogue_items),
        (6, 3, 4)
    );
    assert_eq!(
        (summary.test_users, summary.test_rows, summary.unseen_users),
        (3, 4, 1)
    );
    assert_eq!((summary.unseen_items, summary.test_rows_of_unseen_items), (1, 1));
    assert_eq!(
        (
            summary.rows_below_positive_min,
            summary.test_rows_before_train_end
        ),
        (2, 0)
    );
    // w disliked d: it is not learnt from and not ranked again.
    let w = &prepared.users[2];
    assert_eq!(
        (w.user.as_str(), w.history.len(), w.seen.len(), w.n_relevant),
        ("w", 2, 3, 2)
    );
}

/// Popularity lists c for u, b for w, and a, b for the stranger.
#[test]
fn full_ranking_by_hand() {
    let measured = popularity(&prepare(inputs()).expect("sound input"), &Protocol::Full, 1);
    let is = |name: &str, expected: f64| {
        let value = measured.metrics[name].mean;
        assert!(
            (value - expected).abs() < 1e-12,
            "{name}: {value} is not {expected}"
        );
    };
    is("recall@1", (1.0 + 0.5 + 0.0) / 3.0);
    is("recall@2", (1.0 + 0.5 + 1.0) / 3.0);
    is("mrr", (1.0 + 1.0 + 0.5) / 3.0);
    is("catalog_coverage@1", 3.0 / 4.0);
    assert_eq!(measured.segments["unseen"].users, 1);
    assert_eq!(measured.segments["few_shot"].users, 2);
    assert!(!measured.segments.contains_key("warm"));
}

/// Against a, the most popular, the stranger's b is second; nobody else's candidates beat theirs.
#[test]
fn sampled_ranking_by_hand() {
    let of = |user: &str, items: &[&str]| {
        let items = items
            .iter()
            .map(|item| ItemId::new(item).expect("an id"))
            .collect();
        (UserId::new(user).expect("an id"), items)
    };
    let negatives: HashMap<UserId, Vec<ItemId>> = HashMap::from([
        of("u", &["d"]),
        of("w", &["b", "d"]),
        of("stranger", &["a", "unknown"]),
    ]);
    let prepared = prepare(inputs()).expect("sound input");
    let measured = popularity(&prepared, &Protocol::Negatives(negatives.clone()), 1);
    assert!((measured.metrics["hit_rate@1"].mean - 2.0 / 3.0).abs() < 1e-12);
    assert!((measured.metrics["hit_rate@2"].mean - 1.0).abs() < 1e-12);
    assert!(!measured.metrics.contains_key("catalog_coverage@1"));
    let mut negatives = negatives;
    negatives.remove("w");
    let set = MetricSet::new(&[1], false).expect("a length");
    let entry = models::trainer("popular").expect("registered");
    let trainer = (entry.build)(&serde_json::Value::Null).expect("the default builds");
    let model = trainer
        .fit(&prepared.training, &Run::new(1, 1))
        .expect("there is data");
    let refused = measure(
        model.as_ref(),
        &prepared,
        &set,
        &Protocol::Negatives(negatives),
        5,
        1,
        &|_| (),
    );
    assert_eq!(
        refused.err(),
        Some(EvaluateError::NoNegatives {
            user: "w".to_owned(),
            missing: 1
        })
    );
}

#[test]
fn what_the_learner_would_see_is_refused_or_left_out() {
    let mut leaky = inputs();
    leaky.test.push(row("u", "a", 5.0, 9));
    let refused = prepare(leaky.clone()).expect_err("a leak");
    assert!(
        refused
            .to_string()
            .contains("1 of 5 user-item pairs also occur in train, for example user u with item a")
    );
    leaky.allow_overlap = true;
    let prepared = prepare(leaky).expect("allowed");
    assert_eq!(
        (prepared.summary.overlap_left_out, prepared.summary.test_rows),
        (1, 4)
    );
    let mut validated = inputs();
    validated.valid.push(row("u", "c", 5.0, 2));
    assert!(matches!(
        prepare(validated),
        Err(EvaluateError::Overlap {
            given: "train or valid",
            ..
        })
    ));
    let nothing = Inputs {
        positive_min: Some(9.0),
        ..inputs()
    };
    assert_eq!(
        prepare(nothing).expect_err("nothing").to_string(),
        "train: no rows with a value of at least 9"
    );
}

#[test]
fn validation_rows_join_the_history_and_are_not_learnt_from() {
    let mut given = inputs();
    given.valid = vec![row("stranger", "a", 5.0, 2)];
    let prepared = prepare(given).expect("sound input");
    assert_eq!(
        (prepared.summary.train_rows, prepared.summary.unseen_users),
        (6, 0)
    );
    let stranger = &prepared.users[0];
    assert_eq!((stranger.history.len(), stranger.seen.len()), (1, 1));
}

#[test]
fn the_same_at_any_thread_count() {
    let mut rows = Vec::new();
    for user in 0..60i64 {
        for step in 0..8 {
            rows.push(row(
                &format!("u{user}"),
                &format!("i{}", (user * 3 + step * step) % 40),
                1.0,
                step,
            ));
        }
    }
    let (train, test) =
        evaluate::split(rows, "temporal:0.7".parse().expect("a split"), 0).expect("days differ");
    let prepared = prepare(Inputs {
        train,
        test,
        allow_overlap: true,
        ..Inputs::default()
    })
    .expect("rows");
    let on = |threads| {
        let measured = popularity(&prepared, &Protocol::Full, threads);
        let told = serde_json::to_string(&measured).expect("plain data");
        let bits = |value: &f64| value.to_bits();
        let column = measured.per_user("head_recall@2").expect("taken by user");
        (told, column.iter().map(bits).collect::<Vec<_>>())
    };
    assert_eq!(on(1), on(4));
}

/// What comes next alone is relevant; what is in training already takes no place of it, and what came later is ranked all the same.
#[test]
fn what_comes_next() {
    let train = [("u", "a"), ("v", "b"), ("v", "c"), ("w", "d"), ("w", "e")];
    let mut test = vec![
        row("u", "d", 5.0, 9),
        row("u", "a", 5.0, 5),
        row("u", "b", 1.0, 6),
        row("u", "e", 5.0, 8),
        row("u", "c", 5.0, 7),
        row("u", "c", 5.0, 30),
        row("v", "a", 5.0, 40),
    ];
    test.extend((0..40).map(|at| row("w", &format!("at-once-{at}"), 5.0, 9)));
    let inputs = Inputs {
        train: train.map(|(user, item)| row(user, item, 5.0, 1)).to_vec(),
        test,
        positive_min: Some(4.0),
        allow_overlap: true,
        next: Some(2),
        ..Inputs::default()
    };
    let prepared = prepare(inputs.clone()).expect("sound input");
    let ids = |items: &[u32]| -> Vec<&str> {
        let vocabulary = &prepared.training.interactions.items;
        items.iter().map(|item| vocabulary.id(*item).as_str()).collect()
    };
    let users = &prepared.users;
    assert_eq!(
        (ids(&users[0].relevant), users[0].n_relevant),
        (vec!["c", "e"], 2)
    );
    assert_eq!((ids(&users[1].relevant), users[1].n_relevant), (vec!["a"], 1));
    assert_eq!(users[2].n_relevant, 2);
    assert_eq!(ids(&users[0].seen), ["a"]);
    let summary = &prepared.summary;
    assert_eq!((summary.later_left_out, summary.test_rows), (1 + 38, 5));
    // Without it all count.
    let all = prepare(Inputs { next: None, ..inputs })
        .expect("sound input")
        .summary;
    assert_eq!((all.later_left_out, all.test_rows), (0, 3 + 1 + 40));
}
