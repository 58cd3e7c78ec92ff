//! Rows into what a learner may see and what it is judged by.

use crate::{EvaluateError, Labels, Row};
use dataset::{Interactions, InteractionsBuilder, Vocabulary};
use domain::{HistoryEvent, ItemId, Timestamp, UserId};
use models::{ItemFeatures, Someone, TrainingData, UserFeatures};
use numeric::{hash_bytes, mix};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is given to an evaluation.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Rows to learn from.
    pub train: Vec<Row>,
    /// Rows that a learner was or will be tuned on: they join the histories, and their items are
    /// not ranked again, but nothing is learnt from them.
    pub valid: Vec<Row>,
    /// Rows to judge by.
    pub test: Vec<Row>,
    /// Attributes by item.
    pub features: BTreeMap<ItemId, ItemFeatures>,
    /// Attributes by user, of those who are judged too.
    pub user_features: BTreeMap<UserId, UserFeatures>,
    /// Items that have attributes are ranked even if no training row has them.
    pub rank_described: bool,
    /// If given, only rows with at least this value count; an item of a training row below it is
    /// learnt nothing from, but is not ranked for that user again.
    pub positive_min: Option<f64>,
    /// If given, of what each user took in the test only so many items are relevant: those taken first, equal moments in
    /// an order drawn by hash. What they took after that is ranked and not relevant.
    pub next: Option<usize>,
    /// Leaves test pairs that are also in train or valid out of the judgement instead of refusing.
    pub allow_overlap: bool,
    /// Rows that are neither learnt from nor part of a history, whose items are not ranked for their users.
    pub hidden: Vec<Row>,
    /// Items that are ranked even if no training row has them.
    pub listed: Vec<ItemId>,
    /// If given, only these items are ranked.
    pub ranked_only: Option<BTreeSet<ItemId>>,
    /// Attribute whose mix lists should keep; chosen by coverage if absent.
    pub calibrate_by: Option<String>,
}

impl Inputs {
    /// Whether a row counts.
    pub(crate) fn is_positive(&self, row: &Row) -> bool {
        match (self.positive_min, row.value) {
            (Some(least), Some(value)) => value >= least,
            _ => true,
        }
    }
}

/// Someone to rank for.
#[derive(Debug, Clone, PartialEq)]
pub struct TestUser {
    /// Who.
    pub user: UserId,
    /// What they did, oldest first, one entry per item; empty for someone not seen in training.
    pub history: Vec<HistoryEvent>,
    /// What is known of them besides.
    pub attributes: UserFeatures,
    /// Items that are not ranked for them, ascending.
    pub seen: Vec<u32>,
    /// Relevant items that could be listed, ascending.
    pub relevant: Vec<u32>,
    /// Number of relevant items, those counted that no list can hold.
    pub n_relevant: usize,
    /// How many of `relevant`, and of those that no list can hold, happened before the last row learnt from.
    pub early: [usize; 2],
    /// Items that they took in the test beyond those that come next, if only these are relevant.
    pub later: usize,
}

impl TestUser {
    /// What a model is told of them.
    pub fn someone(&self) -> Someone<'_> {
        Someone {
            history: &self.history,
            attributes: &self.attributes,
        }
    }
}

/// What the data was, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DataSummary {
    /// Rows learnt from.
    pub train_rows: usize,
    /// Users with rows learnt from.
    pub train_users: usize,
    /// Items with rows learnt from.
    pub train_items: usize,
    /// Items that are ranked.
    pub catalogue_items: usize,
    /// Of the items known, how many have attributes.
    pub catalogue_items_described: usize,
    /// Of the users learnt from and judged by, how many have attributes.
    pub users_described: usize,
    /// Rows that only join the histories.
    pub valid_rows: usize,
    /// Rows judged by, each user-item pair once.
    pub test_rows: usize,
    /// Users judged by.
    pub test_users: usize,
    /// Of these, how many have no history: they are answered as anyone unknown.
    pub unseen_users: usize,
    /// Items of the test that are not ranked, so that no list can hold them.
    pub unseen_items: usize,
    /// Test rows with such items: they count as relevant and are never hit.
    pub test_rows_of_unseen_items: usize,
    /// Test rows left out because the pair is also in train or valid.
    pub overlap_left_out: usize,
    /// Test rows left out because their user took enough others before.
    pub later_left_out: usize,
    /// Rows of all files below the least positive value.
    pub rows_below_positive_min: usize,
    /// Test rows that happened before the last row learnt from; above zero, the figures are no
    /// forecast.
    pub test_rows_before_train_end: usize,
}

/// Ready to fit and measure.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What a learner may see.
    pub training: TrainingData,
    /// Whom to rank for, by user id.
    pub users: Vec<TestUser>,
    /// In numbers.
    pub summary: DataSummary,
    /// Whether an item is ranked, by position; all are if absent.
    pub ranked: Option<Arc<Vec<bool>>>,
    /// What items are described by, if anything.
    pub labels: Option<Arc<Labels>>,
}

impl Prepared {
    /// Leaves out whom `keep` does not want.
    pub(crate) fn retain_users(&mut self, keep: impl FnMut(&TestUser) -> bool) {
        self.users.retain(keep);
        self.count_users();
    }

    /// Brings the numbers of users and rows up to date.
    pub(crate) fn count_users(&mut self) {
        let users = &self.users;
        self.summary.test_users = users.len();
        self.summary.test_rows = users.iter().map(|user| user.n_relevant).sum();
        let of_unseen = |user: &TestUser| user.n_relevant - user.relevant.len();
        self.summary.test_rows_of_unseen_items = users.iter().map(of_unseen).sum();
        let early = |user: &TestUser| user.early[0] + user.early[1].min(of_unseen(user));
        self.summary.test_rows_before_train_end = users.iter().map(early).sum();
        self.summary.unseen_users = users.iter().filter(|user| user.history.is_empty()).count();
        self.summary.later_left_out = users.iter().map(|user| user.later).sum();
    }
}

/// Builds the training data, and for each test user the history, the items not to rank and the
/// relevant ones. Every row weighs one: a rating's height is used only by `positive_min`. Ages
/// are counted to the last moment of train and valid.
///
/// # Errors
/// [`EvaluateError::EmptyTrain`] and [`EvaluateError::EmptyTest`] if nothing is left;
/// [`EvaluateError::Overlap`] if test pairs occur in train or valid and that is not allowed;
/// [`EvaluateError::Attribute`] if there is no such attribute to calibrate by.
pub fn prepare(inputs: Inputs) -> Result<Prepared, EvaluateError> {
    let positive = |row: &Row| inputs.is_positive(row);
    let mut summary = DataSummary {
        rows_below_positive_min: [&inputs.train, &inputs.valid, &inputs.test]
            .iter()
            .map(|rows| rows.iter().filter(|row| !positive(row)).count())
            .sum(),
        ..DataSummary::default()
    };
    let interactions = interactions(&inputs, &positive);
    if interactions.rows.is_empty() {
        return Err(EvaluateError::EmptyTrain(because(&inputs)));
    }
    let now = last_moment(&inputs);
    let train_end = interactions.last_moment();
    let past = past(&inputs, &interactions.items, &positive);
    let mut tests = tests(&inputs, &past, &interactions.items, &positive, &mut summary)?;
    let mut later: BTreeMap<&UserId, usize> = BTreeMap::new();
    if let Some(next) = inputs.next {
        for (user, rows) in &mut tests {
            later.insert(user, rows.len().saturating_sub(next));
            keep_first(user, rows, next);
        }
        tests.retain(|_, rows| !rows.is_empty());
    }
    summary.later_left_out = later.values().sum();
    if tests.is_empty() {
        return Err(EvaluateError::EmptyTest(because(&inputs)));
    }
    let items = &interactions.items;
    let mut unseen = BTreeSet::new();
    let mut users = Vec::with_capacity(tests.len());
    for (user, rows) in &tests {
        let mut relevant: Vec<u32> = Vec::with_capacity(rows.len());
        let mut early = [0; 2];
        for (item, moment) in rows {
            let position = items.position(item.as_str());
            early[usize::from(position.is_none())] += usize::from(*moment < train_end);
            match position {
                Some(position) => relevant.push(position),
                None => {
                    summary.test_rows_of_unseen_items += 1;
                    unseen.insert(*item);
                }
            }
        }
        summary.test_rows_before_train_end += early[0] + early[1];
        relevant.sort_unstable();
        let own = past.get(user);
        let history = own.map_or_else(Vec::new, |own| own.history(now));
        summary.unseen_users += usize::from(history.is_empty());
        summary.test_rows += rows.len();
        users.push(TestUser {
            user: (*user).clone(),
            history,
            attributes: inputs.user_features.get(*user).cloned().unwrap_or_default(),
            seen: own.map_or_else(Vec::new, |own| own.seen.iter().copied().collect()),
            relevant,
            n_relevant: rows.len(),
            early,
            later: later.get(user).copied().unwrap_or(0),
        });
    }
    summary.test_users = users.len();
    summary.unseen_items = unseen.len();
    let features: Vec<ItemFeatures> = items
        .ids()
        .iter()
        .map(|item| inputs.features.get(item).cloned().unwrap_or_default())
        .collect();
    let user_features = if inputs.user_features.is_empty() {
        Vec::new()
    } else {
        let of = |user| inputs.user_features.get(user).cloned().unwrap_or_default();
        interactions.users.iter().map(of).collect()
    };
    summary.train_rows = interactions.rows.len();
    summary.train_users = interactions.n_users();
    summary.train_items = interactions
        .rows
        .iter()
        .map(|row| row.item)
        .collect::<BTreeSet<_>>()
        .len();
    let ranked = inputs.ranked_only.as_ref().map(|only| {
        let ranked: Vec<bool> = items.ids().iter().map(|item| only.contains(item)).collect();
        Arc::new(ranked)
    });
    let labels = Labels::new(&features, inputs.calibrate_by.as_deref())?.map(Arc::new);
    summary.catalogue_items = match &ranked {
        Some(ranked) => ranked.iter().filter(|ranked| **ranked).count(),
        None => interactions.n_items(),
    };
    summary.catalogue_items_described = features.iter().filter(|features| !features.is_empty()).count();
    let people = interactions.users.iter().chain(tests.keys().copied());
    let people: BTreeSet<&UserId> = people
        .filter(|user| inputs.user_features.contains_key(*user))
        .collect();
    summary.users_described = people.len();
    summary.valid_rows = inputs.valid.iter().filter(|row| positive(row)).count();
    Ok(Prepared {
        training: TrainingData {
            interactions: Arc::new(interactions),
            features: Arc::new(features),
            user_features: Arc::new(user_features),
            now,
        },
        users,
        summary,
        ranked,
        labels,
    })
}

/// What is known of one user before the test.
#[derive(Default)]
struct Past {
    /// Position, moment; of positive rows.
    events: Vec<(Timestamp, u32)>,
    /// Positions of all rows.
    seen: BTreeSet<u32>,
    /// Items of rows that are not ranked at all: in valid or hidden only.
    elsewhere: BTreeSet<ItemId>,
}

impl Past {
    /// One entry per item at its last moment, strengths added, oldest first.
    fn history(&self, now: Timestamp) -> Vec<HistoryEvent> {
        let mut by_item: BTreeMap<u32, (Timestamp, f32)> = BTreeMap::new();
        for (moment, item) in &self.events {
            let entry = by_item.entry(*item).or_insert((*moment, 0.0));
            entry.0 = entry.0.max(*moment);
            entry.1 += 1.0;
        }
        let mut order: Vec<(Timestamp, u32, f32)> = by_item
            .into_iter()
            .map(|(item, (moment, weight))| (moment, item, weight))
            .collect();
        order.sort_unstable_by_key(|(moment, item, _)| (*moment, *item));
        order
            .into_iter()
            .map(|(moment, item, weight)| HistoryEvent {
                item,
                weight,
                age_days: now.days_since(moment),
            })
            .collect()
    }

    fn has(&self, item: &ItemId, position: Option<u32>) -> bool {
        position.is_some_and(|position| self.seen.contains(&position)) || self.elsewhere.contains(item)
    }
}

fn because(inputs: &Inputs) -> String {
    match inputs.positive_min {
        Some(least) => format!(" with a value of at least {least}"),
        None => String::new(),
    }
}

fn last_moment(inputs: &Inputs) -> Timestamp {
    let rows = inputs.train.iter().chain(&inputs.valid);
    rows.map(|row| row.timestamp).max().unwrap_or_default()
}

fn interactions(inputs: &Inputs, positive: &impl Fn(&Row) -> bool) -> Interactions {
    let mut builder = InteractionsBuilder::default();
    for row in &inputs.train {
        if positive(row) {
            builder.push(&row.user, &row.item, 1.0, row.timestamp);
        } else {
            builder.item(&row.item);
        }
    }
    if inputs.rank_described {
        inputs.features.keys().for_each(|item| builder.item(item));
    }
    inputs.listed.iter().for_each(|item| builder.item(item));
    builder.build()
}

fn past<'a>(
    inputs: &'a Inputs,
    items: &Vocabulary,
    positive: &impl Fn(&Row) -> bool,
) -> BTreeMap<&'a UserId, Past> {
    let wanted: BTreeSet<&UserId> = inputs.test.iter().map(|row| &row.user).collect();
    let mut past: BTreeMap<&UserId, Past> = BTreeMap::new();
    let told = inputs.train.iter().chain(&inputs.valid).map(|row| (row, true));
    for (row, told) in told.chain(inputs.hidden.iter().map(|row| (row, false))) {
        if !wanted.contains(&row.user) {
            continue;
        }
        let own = past.entry(&row.user).or_default();
        match items.position(row.item.as_str()) {
            Some(position) => {
                own.seen.insert(position);
                if told && positive(row) {
                    own.events.push((row.timestamp, position));
                }
            }
            None => {
                own.elsewhere.insert(row.item.clone());
            }
        }
    }
    past
}

/// Keeps what was taken first.
fn keep_first(user: &UserId, rows: &mut BTreeMap<&ItemId, Timestamp>, n: usize) {
    let own = hash_bytes(user.as_str().as_bytes());
    let order = |item: &ItemId| mix(own ^ hash_bytes(item.as_str().as_bytes()));
    let mut by_time: Vec<(Timestamp, u64, &ItemId)> = rows
        .iter()
        .map(|(item, moment)| (*moment, order(item), *item))
        .collect();
    by_time.sort_unstable();
    for (_, _, item) in by_time.iter().skip(n) {
        rows.remove(item);
    }
}

type Tests<'a> = BTreeMap<&'a UserId, BTreeMap<&'a ItemId, Timestamp>>;

/// Positive test rows by user, each item once at its first moment, without the overlap.
fn tests<'a>(
    inputs: &'a Inputs,
    past: &BTreeMap<&UserId, Past>,
    items: &Vocabulary,
    positive: &impl Fn(&Row) -> bool,
    summary: &mut DataSummary,
) -> Result<Tests<'a>, EvaluateError> {
    let mut tests: Tests<'a> = BTreeMap::new();
    for row in inputs.test.iter().filter(|row| positive(row)) {
        let moment = tests
            .entry(&row.user)
            .or_default()
            .entry(&row.item)
            .or_insert(row.timestamp);
        *moment = (*moment).min(row.timestamp);
    }
    let of = tests.values().map(BTreeMap::len).sum();
    let mut example: Option<(String, String)> = None;
    let mut pairs = 0usize;
    for (user, rows) in &mut tests {
        let Some(own) = past.get(user) else { continue };
        let before = rows.len();
        rows.retain(|item, _| {
            let twice = own.has(item, items.position(item.as_str()));
            if twice && example.is_none() {
                example = Some((user.to_string(), item.to_string()));
            }
            !twice
        });
        pairs += before - rows.len();
    }
    tests.retain(|_, rows| !rows.is_empty());
    match example {
        Some((user, item)) if !inputs.allow_overlap => Err(EvaluateError::Overlap {
            pairs,
            of,
            given: if inputs.valid.is_empty() {
                "train"
            } else {
                "train or valid"
            },
            user,
            item,
        }),
        _ => {
            summary.overlap_left_out = pairs;
            Ok(tests)
        }
    }
}
