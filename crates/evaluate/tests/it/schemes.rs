//! Who is learnt from, who is judged, and what competes, under each protocol: on rows small enough to check by hand.

use domain::{ItemId, Timestamp, UserId};
use evaluate::{Among, Case, EvaluateError, Inputs, Row, Scheme};
use std::collections::BTreeSet;

/// Users u0 … u19 take items (u, u+1, … u+5) mod 12 on days 0 to 5, the last of them in the test.
fn inputs() -> Inputs {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for user in 0..20 {
        for step in 0..6 {
            let row = Row {
                user: UserId::new(format!("u{user}")).expect("an id"),
                item: ItemId::new(format!("i{:02}", (user + step) % 12)).expect("an id"),
                value: None,
                timestamp: Timestamp(i64::from(step) * 86_400_000),
            };
            if step == 5 { &mut test } else { &mut train }.push(row);
        }
    }
    Inputs {
        train,
        test,
        ..Inputs::default()
    }
}

fn cases(scheme: Scheme) -> Vec<Case> {
    scheme.cases(inputs(), 4).expect("a sound protocol")
}

/// Ids of the users and items that training knows rows of.
fn learnt(case: &Case) -> (BTreeSet<String>, BTreeSet<String>) {
    let data = &case.prepared.training.interactions;
    let item = |row: &dataset::Interaction| data.items.id(row.item).to_string();
    (
        data.users.iter().map(ToString::to_string).collect(),
        data.rows.iter().map(item).collect(),
    )
}

fn names(case: &Case, items: &[u32]) -> Vec<String> {
    let ids = &case.prepared.training.interactions.items;
    items.iter().map(|item| ids.id(*item).to_string()).collect()
}

#[test]
fn unseen_users_are_not_learnt_from_and_keep_their_history() {
    let case = &cases(Scheme::UnseenUser {
        share: 0.4,
        history: 1.0,
        beside: false,
    })[0];
    let (users, _) = learnt(case);
    assert!(
        (3..=14).contains(&case.prepared.users.len()),
        "{}",
        case.prepared.users.len()
    );
    assert_eq!(users.len() + case.prepared.users.len(), 20);
    for user in &case.prepared.users {
        assert!(!users.contains(user.user.as_str()));
        assert_eq!((user.history.len(), user.seen.len(), user.n_relevant), (5, 5, 1));
    }
    let half = &cases(Scheme::UnseenUser {
        share: 0.4,
        history: 0.5,
        beside: false,
    })[0];
    for (user, whole) in half.prepared.users.iter().zip(&case.prepared.users) {
        // Two and a half of five, rounded; the earliest; the others are still not ranked.
        assert_eq!(user.history, whole.history[..3]);
        assert_eq!(user.seen, whole.seen);
    }
}

#[test]
fn few_shots_of_a_user_are_their_first_items_for_the_same_users() {
    let cases = cases(Scheme::FewShotUser {
        share: 0.4,
        shots: vec![3, 0, 1],
        following: false,
    });
    let labels: Vec<&str> = cases.iter().map(|case| case.label.as_str()).collect();
    assert_eq!(labels, ["0 items", "1 items", "3 items"]);
    for (case, length) in cases.iter().zip([0, 1, 3]) {
        assert!(std::sync::Arc::ptr_eq(
            &case.prepared.training.interactions,
            &cases[0].prepared.training.interactions
        ));
        assert_eq!(case.prepared.summary.unseen_users > 0, length == 0);
        for (user, other) in case.prepared.users.iter().zip(&cases[0].prepared.users) {
            assert_eq!(
                (&user.user, &user.seen, &user.relevant),
                (&other.user, &other.seen, &other.relevant)
            );
            let number: usize = user.user.as_str()[1..].parse().expect("a number");
            let items: Vec<u32> = user.history.iter().map(|event| event.item).collect();
            let first: Vec<String> = (0..length)
                .map(|step| format!("i{:02}", (number + step) % 12))
                .collect();
            assert_eq!(names(case, &items), first);
        }
    }
}

#[test]
fn few_shots_of_a_user_may_be_judged_by_what_follows_them() {
    let scheme = Scheme::FewShotUser {
        share: 0.4,
        shots: vec![1, 3],
        following: true,
    };
    let usual = cases(Scheme::FewShotUser {
        share: 0.4,
        shots: vec![3],
        following: false,
    });
    for next in [None, Some(2)] {
        let mut inputs = inputs();
        // Everyone takes their first item once more, when they have three.
        let again: Vec<Row> = inputs
            .train
            .iter()
            .filter(|row| row.timestamp.0 == 0)
            .cloned()
            .collect();
        inputs.train.extend(again.into_iter().map(|row| Row {
            timestamp: Timestamp(3 * 86_400_000),
            ..row
        }));
        inputs.next = next;
        let cases = scheme.cases(inputs, 4).expect("a sound protocol");
        for (case, length) in cases.iter().zip([1, 3]) {
            let (users, _) = learnt(case);
            let judged = |case: &Case| -> Vec<UserId> {
                case.prepared.users.iter().map(|user| user.user.clone()).collect()
            };
            assert_eq!(judged(case), judged(&usual[0]));
            for user in &case.prepared.users {
                assert!(!users.contains(user.user.as_str()));
                let number: usize = user.user.as_str()[1..].parse().expect("a number");
                let taken = |steps: std::ops::Range<usize>| -> Vec<String> {
                    steps
                        .map(|step| format!("i{:02}", (number + step) % 12))
                        .collect()
                };
                let sorted = |mut names: Vec<String>| {
                    names.sort();
                    names
                };
                let history: Vec<u32> = user.history.iter().map(|event| event.item).collect();
                assert_eq!(names(case, &history), taken(0..length));
                assert_eq!(sorted(names(case, &user.seen)), sorted(taken(0..3)));
                let end = 3 + next.unwrap_or(3);
                assert_eq!(sorted(names(case, &user.relevant)), sorted(taken(3..end)));
            }
        }
    }
}

#[test]
fn unseen_items_are_judged_alone_among_all_or_among_themselves() {
    let all = &cases(Scheme::UnseenItem {
        share: 0.3,
        among: Among::All,
    })[0];
    let (_, known) = learnt(all);
    let held: BTreeSet<String> = (0..12)
        .map(|i| format!("i{i:02}"))
        .filter(|i| !known.contains(i))
        .collect();
    assert!((1..=8).contains(&held.len()), "{held:?}");
    for user in &all.prepared.users {
        let number: usize = user.user.as_str()[1..].parse().expect("a number");
        let taken: BTreeSet<String> = (0..6)
            .map(|step| format!("i{:02}", (number + step) % 12))
            .collect();
        let relevant: BTreeSet<String> = names(all, &user.relevant).into_iter().collect();
        assert_eq!(relevant, taken.intersection(&held).cloned().collect());
        // The rest of what they took, that of the test too, is out of the way.
        let seen: BTreeSet<String> = names(all, &user.seen).into_iter().collect();
        assert_eq!(seen, taken.difference(&held).cloned().collect());
    }
    assert_eq!(
        (all.prepared.summary.catalogue_items, &all.prepared.ranked),
        (12, &None)
    );
    let alone = &cases(Scheme::UnseenItem {
        share: 0.3,
        among: Among::HeldOut,
    })[0];
    assert_eq!(alone.prepared.users, all.prepared.users);
    assert_eq!(alone.prepared.summary.catalogue_items, held.len());
    let refused = Scheme::UnseenItem {
        share: 0.0,
        among: Among::All,
    };
    // Every item of the test has training rows, so nothing is unseen.
    assert!(matches!(
        refused.cases(inputs(), 4),
        Err(EvaluateError::EmptyTest(_))
    ));
}

#[test]
fn few_shots_of_an_item_leave_its_first_rows_in_training() {
    let cases = cases(Scheme::FewShotItem {
        share: 0.3,
        shots: vec![0, 2, 4],
        among: Among::All,
    });
    let rows = |case: &Case| case.prepared.training.interactions.rows.len();
    let of_held = |case: &Case| -> Vec<usize> {
        let data = &case.prepared.training.interactions;
        let (_, known) = learnt(&cases[0]);
        let held = (0..12u32).filter(|item| !known.contains(data.items.id(*item).as_str()));
        held.map(|item| data.rows.iter().filter(|row| row.item == item).count())
            .collect()
    };
    let n_held = of_held(&cases[0]).len();
    assert!(n_held > 0);
    for (case, n) in cases.iter().zip([0, 2, 4]) {
        assert_eq!(of_held(case), vec![n; n_held]);
        assert_eq!(rows(case), rows(&cases[0]) + n * n_held);
        let ids = |case: &Case| -> Vec<_> {
            let users = case.prepared.users.iter();
            users
                .map(|user| (user.user.clone(), user.relevant.clone()))
                .collect()
        };
        assert_eq!(ids(case), ids(&cases[0]));
    }
}

#[test]
fn warm_leaves_out_whoever_and_whatever_is_new() {
    let mut given = inputs();
    let row = |user: &str, item: &str| Row {
        user: UserId::new(user).expect("an id"),
        item: ItemId::new(item).expect("an id"),
        value: None,
        timestamp: Timestamp(9 * 86_400_000),
    };
    given
        .test
        .extend([row("stranger", "i00"), row("u0", "new"), row("u0", "i09")]);
    let case = &Scheme::Warm.cases(given, 0).expect("sound")[0];
    assert_eq!(case.prepared.users.len(), 20);
    assert_eq!(
        (
            case.prepared.users[0].n_relevant,
            case.prepared.users[0].relevant.len()
        ),
        (2, 2)
    );
    let summary = &case.prepared.summary;
    assert_eq!(summary.unseen_users, 0);
    // What is told of the rows is told of those that are left.
    let early: usize = case.prepared.users.iter().map(|user| user.early[0]).sum();
    assert_eq!(summary.test_rows_before_train_end, early);
    assert!(summary.test_rows_before_train_end <= summary.test_rows);
    assert_eq!(summary.test_rows_of_unseen_items, 0);
}

#[test]
fn no_scheme_tells_of_more_rows_than_it_judges_by() {
    let (share, shots, among) = (0.3, vec![1, 2], Among::All);
    for scheme in [
        Scheme::Everyone,
        Scheme::Warm,
        Scheme::UnseenUser {
            share,
            history: 0.5,
            beside: false,
        },
        Scheme::FewShotUser {
            share,
            shots: shots.clone(),
            following: true,
        },
        Scheme::UnseenItem { share, among },
        Scheme::FewShotItem { share, shots, among },
    ] {
        for case in scheme.cases(inputs(), 1).expect("sound") {
            let summary = &case.prepared.summary;
            assert!(
                summary.test_rows_before_train_end <= summary.test_rows
                    && summary.test_rows_of_unseen_items <= summary.test_rows,
                "{scheme:?}: {summary:?}"
            );
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |scheme: Scheme| scheme.cases(inputs(), 0).expect_err("refused").to_string();
    let share = |share| Scheme::UnseenUser {
        share,
        history: 1.0,
        beside: false,
    };
    assert!(refused(share(1.0)).contains("share: got 1"));
    assert!(refused(share(f64::NAN)).contains("share: got NaN"));
    assert!(
        refused(Scheme::UnseenUser {
            share: 0.1,
            history: 0.0,
            beside: false,
        })
        .contains("history-share: got 0")
    );
    let shots = |shots: &[usize]| Scheme::FewShotUser {
        share: 0.5,
        shots: shots.to_vec(),
        following: false,
    };
    assert!(refused(shots(&[])).contains("shots: got []"));
    assert!(refused(shots(&[50])).contains("nobody is left"));
}
