//! What implicit ALS promises, against dense algebra in double precision.

use crate::als::Als;
use crate::als_config::AlsConfig;
use crate::als_fold::{is_marked, mark};
use crate::als_step::{Entries, State};
use crate::als_train::AlsTrainer;
use crate::{ItemFeatures, Model, Run, Someone, TrainingData, UserFeatures};
use dataset::{Interaction, InteractionsBuilder};
use domain::{HistoryEvent, ItemId, Timestamp, UserId};
use numeric::SeededStream;
use signals::TypedValue;
use std::sync::Arc;

const USERS: usize = 60;
const ITEMS: usize = 30;

fn kind(of: usize) -> ItemFeatures {
    let name = if of.is_multiple_of(2) { "even" } else { "odd" };
    ItemFeatures::from([("kind".to_owned(), TypedValue::Category(name.to_owned()))])
}

fn item_id(item: usize) -> ItemId {
    ItemId::new(format!("i{item:03}")).unwrap()
}

/// People take things of their own parity; item `i` is taken by about a share of them that falls with i. With attributes, two items
/// more that nobody took.
fn world(described: bool) -> TrainingData {
    let mut stream = SeededStream::new(7, 0);
    let mut builder = InteractionsBuilder::default();
    for user in 0..USERS {
        for item in 0..ITEMS {
            let share = if user % 2 == item % 2 { 0.7 } else { 0.05 } / (1.0 + item as f64 / 10.0);
            if stream.uniform() < share {
                let id = UserId::new(format!("u{user:03}")).unwrap();
                builder.push(&id, &item_id(item), 1.0, Timestamp(0));
            }
        }
    }
    let (mut features, mut user_features) = (Vec::new(), Vec::new());
    if described {
        (ITEMS..ITEMS + 2).for_each(|item| builder.item(&item_id(item)));
        features = (0..ITEMS + 2).map(kind).collect();
        user_features = (0..USERS).map(kind).collect();
    }
    let interactions = builder.build();
    assert_eq!(interactions.n_users(), USERS);
    TrainingData {
        interactions: Arc::new(interactions),
        features: Arc::new(features),
        user_features: Arc::new(user_features),
        now: Timestamp(0),
    }
}

fn config(factors: usize) -> AlsConfig {
    AlsConfig {
        factors,
        epochs: 8,
        reg: Some(0.01),
        unobserved_weight: Some(0.2),
        ..AlsConfig::default()
    }
}

fn fit(config: &AlsConfig, data: &TrainingData) -> Als {
    let trainer = AlsTrainer::new(config.clone()).unwrap();
    trainer.train(data, &Run::new(3, 1)).unwrap()
}

fn history(items: &[u32]) -> Vec<HistoryEvent> {
    let event = |item: &u32| HistoryEvent {
        item: *item,
        weight: 1.0,
        age_days: 0.0,
    };
    items.iter().map(event).collect()
}

/// x with Ax = b by elimination with pivots, in double precision.
fn solved(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for k in 0..n {
        let pivot = (k..n)
            .max_by(|i, j| a[*i][k].abs().total_cmp(&a[*j][k].abs()))
            .unwrap();
        a.swap(k, pivot);
        b.swap(k, pivot);
        let (own, right) = (a[k].clone(), b[k]);
        for (i, row) in a.iter_mut().enumerate().filter(|(i, _)| *i != k) {
            let factor = row[k] / own[k];
            row.iter_mut().zip(&own).for_each(|(x, own)| *x -= factor * own);
            b[i] -= factor * right;
        }
    }
    (0..n).map(|i| b[i] / a[i][i]).collect()
}

fn product(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum()
}

/// α₀G + Σ w r rᵀ + λI.
fn normal_matrix(gram: &[f32], rows: &[(f32, Vec<f32>)], alpha: f64, lambda: f64, d: usize) -> Vec<Vec<f64>> {
    let mut a = vec![vec![0f64; d]; d];
    for i in 0..d {
        for j in 0..d {
            a[i][j] = alpha * f64::from(gram[i * d + j]);
            for (w, row) in rows {
                a[i][j] += f64::from(*w) * f64::from(row[i]) * f64::from(row[j]);
            }
        }
        a[i][i] += lambda;
    }
    a
}

/// λ of Rendle et al. (2021), eq. 4: λ(|entries| + α₀|other side|)^ν.
fn lambda(config: &AlsConfig, entries: usize, other: usize) -> f64 {
    let frequency = entries as f64 + f64::from(config.unobserved_weight()) * other as f64;
    f64::from(config.reg()) * frequency.powf(f64::from(config.reg_exponent))
}

#[test]
fn variances_are_those_of_a_dense_inverse() {
    let data = world(false);
    let config = AlsConfig {
        reg_exponent: 0.7,
        ..config(6)
    };
    let model = fit(&config, &data);
    let d = 6;
    let taken = [0u32, 3, 4, 9];
    let events = history(&taken);
    let someone = Someone::with_history(&events);
    let items: Vec<u32> = (0..ITEMS as u32).chain([999]).collect();
    let got = model.variances(someone, &items);
    let weight = model.scale.min(10.0);
    let rows: Vec<_> = taken
        .iter()
        .map(|i| (weight, model.factor(*i).unwrap().to_vec()))
        .collect();
    let own = normal_matrix(
        &model.gram,
        &rows,
        f64::from(config.unobserved_weight()),
        lambda(&config, 4, ITEMS),
        d,
    );
    let right: Vec<f64> = (0..d)
        .map(|i| rows.iter().map(|(w, r)| f64::from(w * r[i])).sum())
        .collect();
    let user = solved(own.clone(), right);
    for item in 0..ITEMS as u32 {
        let factor: Vec<f64> = model
            .factor(item)
            .unwrap()
            .iter()
            .map(|x| f64::from(*x))
            .collect();
        let of_person: f64 = product(model.factor(item).unwrap(), &solved(own.clone(), factor));
        let entries = model.entries_by_now(item);
        let believed = entries as f64 / (entries as f64 + f64::from(model.config.item_handover.unwrap()));
        let alpha = believed * f64::from(config.unobserved_weight()) + entries as f64 / USERS as f64;
        let theirs = normal_matrix(&model.users_gram, &[], alpha, lambda(&config, entries, USERS), d);
        let of_item: f64 = solved(theirs, user.clone())
            .iter()
            .zip(&user)
            .map(|(a, b)| a * b)
            .sum();
        let expected = f64::from(model.noise) * (of_person + of_item);
        let got = f64::from(got[item as usize].unwrap());
        assert!(
            (got - expected).abs() < 1e-3 * expected,
            "{item}: {got} {expected}"
        );
    }
    assert_eq!(got[ITEMS], None);
    // Who took more is known better.
    let more = history(&[0, 3, 4, 9, 1, 2, 5, 6, 7, 8]);
    let narrower = model.variances(Someone::with_history(&more), &[10])[0].unwrap();
    let wider = model.variances(Someone::with_history(&history(&[0])), &[10])[0].unwrap();
    assert!(narrower < wider, "{narrower} {wider}");
}

fn takes(model: &mut Als, id: &ItemId, histories: &[Vec<HistoryEvent>]) -> u32 {
    let known = model.vocabulary.position(id.as_str());
    let new_items: Vec<ItemId> = known.is_none().then(|| id.clone()).into_iter().collect();
    let item = known.unwrap_or(model.vocabulary.len() as u32);
    let event = Interaction {
        user: 0,
        item,
        weight: 1.0,
        timestamp: Timestamp(0),
    };
    let events = vec![event; histories.len()];
    let report = model.update(&new_items, &events, histories);
    assert_eq!(report.absorbed, histories.len());
    item
}

#[test]
fn a_new_item_with_a_few_events_is_solved_as_training_would() {
    for (described, exponent) in [(false, 0.0), (true, 0.0), (false, 0.5), (true, 0.5)] {
        let data = world(described);
        let config = AlsConfig {
            unobserved_exponent: exponent,
            ..config(5)
        };
        let mut model = fit(&config, &data);
        // He et al. (2016): absence from what many take counts more.
        let entries: usize = (0..USERS).map(|user| data.interactions.of_user(user).len()).sum();
        let typical = entries as f64 / ITEMS as f64;
        let share = |entries: usize| (entries as f64 / typical).powf(f64::from(exponent));
        let config = AlsConfig {
            unobserved_weight: config.unobserved_weight.map(|weight| weight * share(3) as f32),
            ..config
        };
        let histories = [history(&[0, 2, 4]), history(&[2, 6]), history(&[1, 3])];
        let users: Vec<(f32, Vec<f32>)> = histories
            .iter()
            .map(|h| {
                (
                    model.scale.min(10.0),
                    model.fold_in(Someone::with_history(h)).state.factor().to_vec(),
                )
            })
            .collect();
        let id = item_id(777);
        if described {
            model.absorb_items(&[(id.clone(), kind(0))]);
        }
        let mean: Vec<f64> = match &model.item_map {
            Some(map) => map
                .mean(&kind(0))
                .unwrap()
                .iter()
                .map(|x| f64::from(*x))
                .collect(),
            None => vec![0.0; 5],
        };
        let item = takes(&mut model, &id, &histories);
        let alpha = f64::from(config.unobserved_weight());
        let h = f64::from(model.config.item_handover.unwrap());
        let absent = 1.0 - 9.0 / (9.0 + h * h);
        let pull = model.config.item_pull.map_or(0.0, f64::from);
        assert_eq!(pull > 1.0, described, "{pull}");
        let lambda = lambda(&config, 3, USERS) * (1.0 + pull * h / (3.0 + h));
        let matrix = normal_matrix(&model.users_gram, &users, alpha, lambda, 5);
        let right: Vec<f64> = (0..5)
            .map(|i| {
                let sums: f64 = users.iter().map(|(w, x)| f64::from(w * x[i])).sum();
                sums + lambda * mean[i]
                    + absent * alpha * product(&model.users_gram[i * 5..(i + 1) * 5], &mean)
            })
            .collect();
        for (got, expected) in model.factor(item).unwrap().iter().zip(solved(matrix, right)) {
            assert!((f64::from(*got) - expected).abs() < 1e-4, "{got} {expected}");
        }
        // YᵀY is that of the factors that count.
        let counting = (0..model.vocabulary.len() as u32).filter(|i| model.entries_by_now(*i) > 0);
        let weight = |i: u32| share(model.entries_by_now(i)) as f32;
        let rows: Vec<_> = counting
            .map(|i| (weight(i), model.factor(i).unwrap().to_vec()))
            .collect();
        let whole = normal_matrix(&model.gram, &rows, -1.0, 0.0, 5);
        assert!(whole.iter().flatten().all(|x| x.abs() < 1e-3), "{whole:?}");
        // And stays so if the model is put away and more comes.
        let mut bytes = Vec::new();
        model.save(&mut bytes);
        let mut kept = crate::registry::load(&bytes).expect("it was written so");
        let more = history(&[0, 8]);
        let event = Interaction {
            user: 0,
            item,
            weight: 1.0,
            timestamp: Timestamp(0),
        };
        for model in [&mut model as &mut dyn Model, kept.as_mut()] {
            assert_eq!(
                model.update(&[], &[event], std::slice::from_ref(&more)).absorbed,
                1
            );
        }
        let scores = |model: &dyn Model| {
            let mut scores = [0f32; 3];
            model.score(&histories[0], &[item, 2, 5], &mut scores);
            scores
        };
        assert_eq!(scores(&model), scores(kept.as_ref()));
    }
}

/// Training and folding in weigh absence alike: people folded in from what they took have the Gram matrix of those that training settled on.
#[test]
fn people_are_folded_in_as_they_were_trained_where_absence_counts_by_popularity() {
    let data = world(false);
    let config = AlsConfig {
        unobserved_exponent: 0.6,
        epochs: 150,
        ..config(5)
    };
    let model = fit(&config, &data);
    let mut gram = [0f64; 25];
    for user in 0..USERS {
        let items: Vec<u32> = data
            .interactions
            .of_user(user)
            .iter()
            .map(|row| row.item)
            .collect();
        let folded = model.fold_in(Someone::with_history(&history(&items)));
        let x = folded.state.factor();
        (0..25).for_each(|at| gram[at] += f64::from(x[at / 5]) * f64::from(x[at % 5]));
    }
    for (own, trained) in gram.iter().zip(model.users_gram.iter()) {
        assert!((own - f64::from(*trained)).abs() < 0.01, "{own} {trained}");
    }
}

/// λ(1 + κ(1 − c)) of the head of `als.rs`, for an item with attributes.
fn drawn_lambda(model: &Als, entries: usize) -> f64 {
    let h = f64::from(model.config.item_handover.unwrap());
    let absent = 1.0 - entries as f64 / (entries as f64 + h);
    lambda(&model.config, entries, USERS) * (1.0 + f64::from(model.config.item_pull.unwrap()) * absent)
}

/// (A₀ + λ'(n)I)y = A₀y₀ + λ'(k)(y₀ − m) + λ'(n)m + Σ w x, with λ' what attributes hold beyond λ and A₀ without it.
#[test]
fn an_item_of_the_training_is_held_less_by_attributes_with_each_event() {
    let config = AlsConfig {
        item_handover: Some(3.0),
        ..config(5)
    };
    let mut model = fit(&config, &world(true));
    let item = (0..ITEMS as u32)
        .find(|item| (3..20).contains(&model.entries_of(*item)))
        .unwrap();
    let before = model.entries_of(item) as usize;
    let list: Vec<Vec<HistoryEvent>> = (0..4)
        .map(|n| history(&[(item + 1) % 30, (item + 2 + n) % 30, (item + 8) % 30]))
        .collect();
    let weight = model.scale.min(10.0);
    let users: Vec<(f32, Vec<f32>)> = list
        .iter()
        .map(|h| {
            let folded = model.fold_in(Someone::with_history(h));
            (weight, folded.state.factor().to_vec())
        })
        .collect();
    let start: Vec<f64> = model
        .factor(item)
        .unwrap()
        .iter()
        .map(|x| f64::from(*x))
        .collect();
    let mean = model.mean_of(item).to_vec();
    assert_eq!(takes(&mut model, &item_id(item as usize), &list), item);
    let like_all = before as f64 / USERS as f64;
    let alpha = f64::from(model.config.unobserved_weight()) + like_all;
    let plain = |n: usize| lambda(&model.config, n, USERS);
    let more = |n: usize| drawn_lambda(&model, n) - plain(n);
    let known = normal_matrix(&model.users_gram, &[], alpha, plain(before), 5);
    let now = before + 4;
    assert!(more(now) < more(before), "{} {}", more(now), more(before));
    let right: Vec<f64> = (0..5)
        .map(|i| {
            let m = f64::from(mean[i]);
            let told: f64 = users.iter().map(|(w, x)| f64::from(w * x[i])).sum();
            let was: f64 = known[i].iter().zip(&start).map(|(a, b)| a * b).sum();
            was + more(before) * (start[i] - m) + more(now) * m + told
        })
        .collect();
    let matrix = normal_matrix(&model.users_gram, &users, alpha, plain(now) + more(now), 5);
    for (got, expected) in model.factor(item).unwrap().iter().zip(solved(matrix, right)) {
        assert!((f64::from(*got) - expected).abs() < 1e-4, "{got} {expected}");
    }
}

#[test]
fn what_attributes_hold_is_known_better() {
    let model = fit(&config(5), &world(true));
    let events = history(&[0, 3, 4, 9]);
    let someone = Someone::with_history(&events);
    let folded = model.fold_in(someone);
    let user: Vec<f64> = folded.state.factor().iter().map(|x| f64::from(*x)).collect();
    let items: Vec<u32> = (0..ITEMS as u32 + 2).collect();
    for (item, got) in items.iter().zip(model.variances(someone, &items)) {
        let entries = model.entries_by_now(*item);
        let believed = entries as f64 / (entries as f64 + f64::from(model.config.item_handover.unwrap()));
        let alpha = believed * f64::from(model.config.unobserved_weight()) + entries as f64 / USERS as f64;
        let theirs = normal_matrix(&model.users_gram, &[], alpha, drawn_lambda(&model, entries), 5);
        let right = solved(theirs, user.clone());
        let of_item: f64 = right.iter().zip(&user).map(|(a, b)| a * b).sum();
        let of_person = f64::from(folded.state.variance(model.factor(*item).unwrap()));
        let expected = f64::from(model.noise) * (of_person + of_item);
        let got = f64::from(got.unwrap());
        assert!(
            (got - expected).abs() < 1e-3 * expected,
            "{item}: {got} {expected}"
        );
    }
}

#[test]
fn how_much_attributes_hold_items_follows_from_the_data_unless_told() {
    let free = config(5);
    assert_eq!(free.pull(0.03, 75.0, 0.1), 20.0);
    assert_eq!(free.pull(0.5, 2.0, 1.0), 20.0);
    assert!((free.pull(0.0175, 9.0, 1.0) - 10.0).abs() < 1e-4);
    assert!((free.pull(0.0175, 9.0, 0.05) - 5.0).abs() < 1e-4);
    assert!((free.pull(0.5, 112.5, 1.0) - 10.0).abs() < 1e-4);
    let none = [(0.005, 9.0, 1.0), (0.1, 9.0, 0.0), (0.1, 150.0, 1.0)];
    assert!(
        none.iter()
            .all(|(density, entries, explained)| free.pull(*density, *entries, *explained) == 0.0)
    );
    let told = AlsConfig {
        item_pull: Some(3.0),
        ..config(5)
    };
    assert_eq!(told.pull(0.001, 900.0, 0.0), 3.0);
    let refused = AlsTrainer::new(AlsConfig {
        item_pull: Some(-1.0),
        ..config(5)
    })
    .unwrap_err()
    .to_string();
    assert!(
        refused.contains("item_pull") && refused.contains('0'),
        "{refused}"
    );
    // Artefacts of before do not name it, and have none.
    let old: AlsConfig = serde_json::from_value(serde_json::json!({"item_handover": 7.0})).unwrap();
    assert_eq!((old.item_side(1, 1.0).pull, old.user_side(1).pull), (0.0, 0.0));
    let (plain, described) = (world(false), world(true));
    assert_eq!(fit(&told, &described).config.item_pull, Some(3.0));
    assert_eq!(fit(&free, &described).config.item_pull, Some(20.0));
    // Attributes that say nothing hold nothing: all alike, up to the place in a list.
    let mut silent = world(true);
    silent.features = Arc::new((0..ITEMS + 2).map(|item| kind(item / 2)).collect());
    let pull = fit(&free, &silent).config.item_pull.unwrap();
    assert!(pull < 10.0, "{pull}");
    // Without attributes there is nothing that it could change.
    let bare = fit(&told, &plain);
    assert_eq!(bare.config.item_pull, None);
    assert_eq!(bare.factors, fit(&free, &plain).factors);
    // What was saved is loaded.
    let model = fit(&free, &described);
    let (mut bytes, mut again) = (Vec::new(), Vec::new());
    model.save(&mut bytes);
    crate::load(&bytes).unwrap().save(&mut again);
    assert_eq!(bytes, again);
}

/// Somebody who takes two young items in one batch counts for both as they are before the second; others whose history merely begins alike
/// count as they are. A copy does not change what it was copied from.
#[test]
fn somebody_is_folded_in_once_a_batch() {
    let trained = fit(&config(5), &world(false));
    let young: Vec<ItemId> = (0..2).map(|n| item_id(800 + n)).collect();
    let first = trained.vocabulary.len() as u32;
    let (a, b) = (first, first + 1);
    let event = |item: u32| Interaction {
        user: 0,
        item,
        weight: 1.0,
        timestamp: Timestamp(0),
    };
    let events = [event(a), event(a), event(a), event(b), event(b)];
    let histories = [
        history(&[0, 2]),
        history(&[0]),
        history(&[]),
        history(&[0, 2, a]),
        history(&[0, 2, 4]),
    ];
    let factor = |items: &[u32]| {
        let events = history(items);
        let folded = trained.fold_in(Someone::with_history(&events));
        folded.state.factor().to_vec()
    };
    let mut model = trained.clone();
    let report = model.update(&young, &events, &histories);
    assert_eq!(
        (report.absorbed, report.ignored),
        (4, 1),
        "of nobody nothing is known"
    );
    let weight = trained.scale.min(10.0);
    let side = |item: u32| model.fresh[&item].sums.as_ref().unwrap().side.clone();
    let sum = |of: &[&[u32]]| -> Vec<f32> {
        let factors: Vec<Vec<f32>> = of.iter().map(|items| factor(items)).collect();
        (0..5)
            .map(|i| factors.iter().map(|x| weight * x[i]).sum())
            .collect()
    };
    let near = |got: &[f32], expected: &[f32]| {
        let miss = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
        assert!(miss.fold(0.0, f32::max) < 1e-5, "{got:?} {expected:?}");
    };
    // Nothing is known of item a while the batch is taken in, so it adds nothing to 0 and 2.
    near(&side(a), &sum(&[&[0, 2], &[0]]));
    near(&side(b), &sum(&[&[0, 2], &[0, 2, 4]]));
    // In a later batch it does, and the same person counts for another item as they are by then.
    let before = model.fork();
    let c = first + 2;
    let events = [event(c), event(b)];
    let own = [history(&[6, 8, a]), history(&[6, 8, a, c])];
    let by_then = model
        .fold_in(Someone::with_history(&own[0]))
        .state
        .factor()
        .to_vec();
    let b_before = side(b);
    model.update(&[item_id(802)], &events, &own);
    let moved: Vec<f32> = model.fresh[&b]
        .sums
        .as_ref()
        .unwrap()
        .side
        .iter()
        .zip(&b_before)
        .map(|(now, then)| now - then)
        .collect();
    near(&moved, &by_then.iter().map(|x| weight * x).collect::<Vec<_>>());
    // Trained items before and after one that is not: as from a table of their own.
    for items in [&[0, 2, a, 4][..], &[a, 0], &[0, 2, 4]] {
        let events = history(items);
        let folded = model.fold_in(Someone::with_history(&events));
        let (side, mut state) = (model.user_side(), State::new(&model.user_side()));
        let (mut table, mut list) = (Vec::new(), Entries::default());
        for item in items {
            list.push(table.len(), weight);
            table.extend_from_slice(model.factor(*item).unwrap());
        }
        state.solve(&side, &model.gram, &table, &list, None);
        assert_eq!(state.factor(), folded.state.factor(), "{items:?}");
    }
    let score = |model: &dyn Model, item: u32| {
        let mut score = [0f32];
        model.score(&history(&[0, 2]), &[item], &mut score);
        score[0]
    };
    assert_eq!(before.vocabulary().len() as u32, c);
    assert_ne!(score(before.as_ref(), b), score(&model, b));
    let mut twice = trained.clone();
    twice.update(
        &young,
        &[event(a), event(b)],
        &[history(&[0, 2]), history(&[0, 2, 4])],
    );
    let kept = score(&twice, b);
    let mut copy = twice.fork();
    copy.update(&[], &[event(b)], &[history(&[1, 3])]);
    assert_eq!(score(&twice, b), kept);
    assert_ne!(score(copy.as_ref(), b), kept);
}

#[test]
fn how_far_absence_is_believed_follows_from_the_data_unless_told() {
    let handovers = |config: &AlsConfig, entries, people, items| {
        let settled = config.settled(entries, people, items);
        (settled.item_handover.unwrap(), settled.user_handover.unwrap())
    };
    let free = config(5);
    assert_eq!(handovers(&free, 6_000, 100, 50), (48.0, 24.0));
    assert_eq!(handovers(&free, 600, 100, 5), (48.0, 10.0), "10 at least");
    assert_eq!(
        handovers(&free, 1_000_000, 100, 50),
        (200.0, 200.0),
        "200 at most"
    );
    let told = AlsConfig {
        user_handover: Some(3.0),
        ..config(5)
    };
    assert_eq!(handovers(&told, 6_000, 100, 50), (48.0, 3.0));
    // One number for both, as artefacts had it.
    let old: AlsConfig = serde_json::from_value(serde_json::json!({"handover": 7.0})).unwrap();
    assert_eq!(
        (old.item_side(1, 1.0).handover, old.user_side(1).handover),
        (7.0, 10.0)
    );
    let data = world(true);
    let by_item = data.interactions.rows.len() as f32 / ITEMS as f32;
    let model = fit(&free, &data);
    assert_eq!(
        model.config.item_handover,
        Some((0.4 * by_item).clamp(10.0, 200.0))
    );
    let refused = AlsTrainer::new(AlsConfig {
        item_handover: Some(0.0),
        ..config(5)
    })
    .unwrap_err()
    .to_string();
    assert!(refused.contains("item_handover"), "{refused}");
}

#[test]
fn how_steeply_absence_is_believed_is_two_for_items_unless_told() {
    let told = |steepness| AlsConfig {
        item_handover: Some(8.0),
        item_steepness: Some(steepness),
        ..config(5)
    };
    // Worked out by hand: k²/(k² + 8²), and for the entries themselves k/(k + 8) whatever the steepness.
    let side = told(2.0).item_side(9, 1.0);
    for (entries, e, c) in [(0, 0.0, 0.0), (4, 0.2, 1.0 / 3.0), (8, 0.5, 0.5), (24, 0.9, 0.75)] {
        assert!((side.exposure(entries) - e).abs() < 1e-6, "{entries}");
        assert!((side.believed(entries) - c).abs() < 1e-6, "{entries}");
    }
    // It rises with entries, and stays a share at the bounds of what can be told.
    for (steepness, handover) in [(0.1, 1e-3), (1.0, 10.0), (2.0, 200.0), (3.0, 1e6), (3.0, 1e-3)] {
        let config = AlsConfig {
            item_handover: Some(handover),
            ..told(steepness)
        };
        config.check().unwrap();
        let entries = [0, 1, 2, 10, 1000, 1_000_000, u32::MAX as usize];
        let shares = entries.map(|entries| config.item_side(9, 1.0).exposure(entries));
        assert!(shares.is_sorted(), "{shares:?}");
        assert!(shares.iter().all(|e| (0.0..=1.0).contains(e)), "{shares:?}");
    }
    for steepness in [0.0, 3.5, f32::NAN] {
        let refused = AlsTrainer::new(told(steepness)).unwrap_err().to_string();
        assert!(
            refused.contains("item_steepness") && refused.contains('3'),
            "{refused}"
        );
    }
    // Artefacts of before do not name it: to the last bit as they were. People are as they were.
    let old: AlsConfig = serde_json::from_value(serde_json::json!({"item_handover": 7.0})).unwrap();
    for entries in 0..5000 {
        let before = entries as f32 / (entries as f32 + 7.0);
        assert_eq!(old.item_side(9, 1.0).exposure(entries), before);
    }
    let people = config(5).settled(6_000, 100, 50).user_side(9);
    assert_eq!(people.exposure(24), 0.5);
    assert_eq!(people.exposure(3), people.believed(3));
    // A training settles it, and what was settled is saved.
    let (plain, described) = (world(false), world(true));
    let model = fit(&config(5), &described);
    assert_eq!(model.config.item_steepness, Some(2.0));
    assert_eq!(fit(&told(1.5), &described).config.item_steepness, Some(1.5));
    let (mut bytes, mut again) = (Vec::new(), Vec::new());
    model.save(&mut bytes);
    crate::load(&bytes).unwrap().save(&mut again);
    assert_eq!(bytes, again);
    // Without attributes there is nothing that it could change.
    assert_eq!(fit(&told(1.0), &plain).factors, fit(&told(3.0), &plain).factors);
}

/// With some entries each, below h, an item stays nearer to its attributes the steeper absence is believed; above h farther.
#[test]
fn steeper_is_nearer_to_attributes_below_the_handover_and_farther_above() {
    let d = 5;
    let side = |steepness| {
        AlsConfig {
            item_handover: Some(10.0),
            item_steepness: Some(steepness),
            item_pull: Some(0.0),
            ..config(d)
        }
        .item_side(USERS, 1.0)
    };
    let mut stream = numeric::SeededStream::new(5, 0);
    let table: Vec<f32> = (0..USERS * d).map(|_| stream.normal() as f32 * 0.3).collect();
    let gram = numeric::gram(&table, d);
    let mean: Vec<f32> = (0..d).map(|_| stream.normal() as f32).collect();
    // As if all that was told were whom it was not taken by.
    let gone = |steepness: f32, entries: usize| {
        let side = side(steepness);
        let mut state = State::new(&side);
        let nothing = (vec![0f32; d * d], vec![0f32; d]);
        state.solve_from(&side, &gram, (&nothing.0, &nothing.1), entries, Some(&mean));
        let miss: Vec<f32> = mean.iter().zip(state.factor()).map(|(m, x)| m - x).collect();
        numeric::norm(&miss)
    };
    for entries in [1, 3, 9] {
        assert!(gone(2.0, entries) < 0.95 * gone(1.0, entries), "{entries}");
        assert!(gone(3.0, entries) < gone(2.0, entries), "{entries}");
    }
    for entries in [12, 30, 100] {
        assert!(gone(2.0, entries) > gone(1.0, entries), "{entries}");
    }
    assert!((gone(2.0, 10) - gone(1.0, 10)).abs() < 1e-6);
}

#[test]
fn an_item_without_events_is_its_attributes_and_moves_with_them() {
    let data = world(true);
    let mut model = fit(&config(5), &data);
    let evens = history(&[0, 2, 4, 6]);
    let score = |model: &Als, item: u32| {
        let mut score = [0f32];
        model.score(&evens, &[item], &mut score);
        score[0]
    };
    let (even, odd) = (ITEMS as u32, ITEMS as u32 + 1);
    assert!(
        score(&model, even) > 3.0 * score(&model, odd).abs(),
        "{} {}",
        score(&model, even),
        score(&model, odd)
    );
    // One that came since, and one whose description was wrong.
    model.absorb_items(&[(item_id(900), kind(0)), (item_id(ITEMS + 1), kind(0))]);
    let new = model.vocabulary.position("i900").unwrap();
    assert!((score(&model, new) - score(&model, even)).abs() < 1e-6);
    assert!((score(&model, odd) - score(&model, even)).abs() < 1e-6);
    // A trained item moves towards its new mean, and back; the less the more is known of it.
    let moved = |model: &mut Als, item: usize| {
        let before = score(model, item as u32);
        model.absorb_items(&[(item_id(item), kind(1))]);
        let after = score(model, item as u32);
        model.absorb_items(&[(item_id(item), kind(0))]);
        assert!((score(model, item as u32) - before).abs() < 1e-4);
        before - after
    };
    let (known_well, known_less) = (moved(&mut model, 0), moved(&mut model, 28));
    assert!(
        known_well > 0.0 && known_less > 2.0 * known_well,
        "{known_well} {known_less}"
    );
    let mut bytes = Vec::new();
    model.save(&mut bytes);
    let loaded = crate::load(&bytes).unwrap();
    let items: Vec<u32> = (0..model.vocabulary.len() as u32).collect();
    let (mut a, mut b) = (vec![0f32; items.len()], vec![0f32; items.len()]);
    model.score(&evens, &items, &mut a);
    loaded.score(&evens, &items, &mut b);
    assert_eq!(a, b);
}

#[test]
fn someone_without_history_is_their_attributes() {
    let data = world(true);
    let model = fit(&config(5), &data);
    let even: UserFeatures = kind(0);
    assert_eq!(
        model.user_kinds(),
        [("kind".to_owned(), domain::AttributeKind::Category)].into()
    );
    for items in [vec![], vec![1u32], vec![1, 3, 5]] {
        let events = history(&items);
        let someone = Someone {
            history: &events,
            attributes: &even,
        };
        assert!(model.personal_to(someone));
        let all: Vec<u32> = (0..ITEMS as u32).collect();
        let mut scores = vec![0f32; ITEMS];
        model.score_for(someone, &all, &mut scores);
        let list = model.recommend_for(someone, 5, &|_| true);
        if items.is_empty() {
            assert!(list.iter().all(|(item, _)| item % 2 == 0), "{list:?}");
        }
        for (item, score) in all.iter().zip(&scores) {
            let total = model.explain_for(someone, *item).total();
            assert!((total - score).abs() < 1e-4, "{items:?} {item}: {total} {score}");
            let evidence = &model.evidence_for(someone, &[*item])[0];
            let sum: f32 = evidence.history.iter().map(|e| e.1).sum::<f32>() + evidence.rest;
            assert!((sum - score).abs() < 1e-4, "{items:?} {item}: {sum} {score}");
        }
        assert!(
            model
                .variances(someone, &all)
                .iter()
                .all(|v| v.is_some_and(|v| v > 0.0))
        );
    }
    assert!(!model.personal(&[]));
    assert!(model.recommend(&[], 5, &|_| true).is_empty());
}

#[test]
fn a_young_item_comes_close_to_training_anew() {
    // The last item is taken by fourteen of the evens; nine of them come after the training.
    let with = |takers: std::ops::Range<usize>| {
        let mut data = world(false);
        let mut builder = InteractionsBuilder::default();
        for row in &data.interactions.rows {
            let user = &data.interactions.users[row.user as usize];
            builder.push(user, data.interactions.items.id(row.item), 1.0, Timestamp(0));
        }
        for user in takers {
            builder.push(
                &data.interactions.users[2 * user].clone(),
                &item_id(500),
                1.0,
                Timestamp(0),
            );
        }
        data.interactions = Arc::new(builder.build());
        data
    };
    let (before, after) = (with(0..5), with(0..14));
    let mut model = fit(&config(5), &before);
    let anew = fit(&config(5), &after);
    let position = model.vocabulary.position("i500").unwrap();
    let own = |user: usize| -> Vec<HistoryEvent> {
        let rows = before.interactions.of_user(user).iter().map(|row| row.item);
        history(&rows.filter(|item| *item != position).collect::<Vec<_>>())
    };
    let score = |model: &Als, user: usize| {
        let mut score = [0f32];
        model.score(&own(user), &[position], &mut score);
        score[0]
    };
    let miss = |model: &Als| -> f32 {
        (28..USERS)
            .map(|user| (score(model, user) - score(&anew, user)).powi(2))
            .sum()
    };
    let stale = miss(&model);
    let histories: Vec<_> = (5..14).map(|user| own(2 * user)).collect();
    takes(&mut model, &item_id(500), &histories);
    let fresh = miss(&model);
    assert!(fresh < 0.1 * stale, "{stale} {fresh}");
}

#[test]
fn long_factors_fold_in_exactly_too() {
    let data = world(true);
    let config = AlsConfig {
        epochs: 3,
        reg: Some(0.1),
        ..config(512)
    };
    let model = fit(&config, &data);
    let taken = [0u32, 5, 8];
    let state = model.fold_in(Someone::with_history(&history(&taken))).state;
    let x: Vec<f64> = state.factor().iter().map(|x| f64::from(*x)).collect();
    let lambda = lambda(&config, 3, ITEMS + 2);
    let misses: Vec<(f64, &[f32])> = taken
        .iter()
        .map(|i| model.factor(*i).unwrap())
        .map(|y| (f64::from(model.scale.min(10.0)) * (product(y, &x) - 1.0), y))
        .collect();
    for i in 0..512 {
        let all = f64::from(config.unobserved_weight()) * product(&model.gram[i * 512..(i + 1) * 512], &x);
        let own: f64 = misses.iter().map(|(miss, y)| miss * f64::from(y[i])).sum();
        let gradient = lambda * x[i] + all + own;
        assert!(gradient.abs() < 1e-3, "{i}: {gradient}");
    }
    let mut score = [0f32];
    model.score(&history(&taken), &[2], &mut score);
    assert!(score[0] > 0.02, "{score:?}");
}

/// Steps of conjugate gradients, enough of them, come to what solving all at once does, at every length of a factor that is taken.
#[test]
fn short_and_long_factors_are_trained_to_the_exact_solution() {
    let data = world(false);
    for factors in [1, 16, 100, 512, 1024] {
        let trained = |gradients: usize| {
            let config = AlsConfig {
                epochs: 2,
                gradients: Some(gradients),
                ..config(factors)
            };
            fit(&config, &data)
        };
        let (exact, steps) = (trained(0), trained(60));
        assert_eq!(steps.factors.len(), ITEMS * factors);
        let size = exact.factors.iter().fold(0f32, |most, x| most.max(x.abs()));
        let miss = exact.factors.iter().zip(steps.factors.iter());
        let miss = miss.fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(size > 0.05 && miss < 2e-3 * size, "{factors}: {miss} of {size}");
    }
    let beyond = AlsTrainer::new(config(1025)).unwrap_err().to_string();
    assert!(
        beyond.contains("factors") && beyond.contains("1 to 1024"),
        "{beyond}"
    );
}

/// Each item has its own bit, and those never marked have none, whatever their position.
#[test]
fn marks_are_those_of_the_items_marked() {
    let (mut marks, some) = (Vec::new(), [700u32, 0, 63, 64, 129, 64]);
    assert!(!is_marked(&marks, 0));
    some.iter().for_each(|item| mark(&mut marks, *item));
    for item in (0..1000).chain([u32::MAX]) {
        assert_eq!(is_marked(&marks, item), some.contains(&item), "{item}");
    }
}
