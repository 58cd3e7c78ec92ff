//! What several learners share.

use crate::{ModelError, TopItems};
use dataset::{Interactions, Vocabulary};
use domain::{Contribution, ContributionSource, Evidence, Explanation, HistoryEvent, ItemId};
use numeric::TopK;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Reads a configuration; `null` is the default. Unknown keys are refused by the types.
pub(crate) fn parse<C: DeserializeOwned + Default>(
    model: &str,
    config: &serde_json::Value,
) -> Result<C, ModelError> {
    if config.is_null() {
        return Ok(C::default());
    }
    serde_json::from_value(config.clone()).map_err(|e| ModelError::Config {
        model: model.to_owned(),
        field: "config".to_owned(),
        got: e.to_string(),
        expected: "an object with the documented keys".to_owned(),
    })
}

/// A number within limits, or an error that says so.
pub(crate) fn within(model: &str, field: &str, value: f64, low: f64, high: f64) -> Result<(), ModelError> {
    if value.is_finite() && (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ModelError::Config {
        model: model.to_owned(),
        field: field.to_owned(),
        got: value.to_string(),
        expected: format!("{low} to {high}"),
    })
}

/// Effective configuration as JSON.
pub(crate) fn shown<C: serde::Serialize>(config: &C) -> serde_json::Value {
    serde_json::to_value(config).expect("a configuration is plain data")
}

/// What a whole configuration says of the keys that the default leaves open.
pub(crate) fn open_keys<C: serde::Serialize>(
    default: &C,
    whole: &C,
) -> serde_json::Map<String, serde_json::Value> {
    let default = shown(default);
    let serde_json::Value::Object(mut keys) = shown(whole) else {
        return serde_json::Map::new();
    };
    keys.retain(|key, value| default[key.as_str()].is_null() && !value.is_null());
    keys
}

/// Keeps the best `n`, ties by item id.
pub(crate) fn best(
    vocabulary: &Vocabulary,
    n: usize,
    scored: impl IntoIterator<Item = (u32, f32)>,
) -> TopItems {
    let mut top = TopK::new(n, |a, b| vocabulary.id(a).cmp(vocabulary.id(b)));
    for (item, score) in scored {
        if score != 0.0 {
            top.push(item, score);
        }
    }
    top.finish()
}

/// The same of those that `allowed` admits. It is asked only about items whose score would let them in, since
/// asking is dear.
pub(crate) fn best_allowed(
    vocabulary: &Vocabulary,
    n: usize,
    allowed: &dyn Fn(u32) -> bool,
    scored: impl IntoIterator<Item = (u32, f32)>,
) -> TopItems {
    let mut top = TopK::new(n, |a, b| vocabulary.id(a).cmp(vocabulary.id(b)));
    for (item, score) in scored {
        if score != 0.0 && top.admits(score) && allowed(item) {
            top.push(item, score);
        }
    }
    top.finish()
}

/// The same of all items from the first on, given by their scores.
pub(crate) fn best_of_all(
    vocabulary: &Vocabulary,
    n: usize,
    allowed: &dyn Fn(u32) -> bool,
    scores: &[f32],
) -> TopItems {
    let mut top = TopK::new(n, |a, b| vocabulary.id(a).cmp(vocabulary.id(b)));
    top.push_run(0, scores, |item, score| score != 0.0 && allowed(item));
    top.finish()
}

/// The first `n` that `allowed` admits of items in order.
pub(crate) fn first_allowed(order: &[(u32, f32)], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
    order
        .iter()
        .filter(|(item, _)| allowed(*item))
        .take(n)
        .copied()
        .collect()
}

/// History events that can be used: known position, finite weight other than zero, the last `most`.
pub(crate) fn usable(
    history: &[HistoryEvent],
    n_items: usize,
    most: usize,
) -> impl Iterator<Item = (u32, f32)> + Clone {
    let start = history.len().saturating_sub(most);
    history[start..]
        .iter()
        .filter(move |h| (h.item as usize) < n_items && h.weight.is_finite() && h.weight != 0.0)
        .map(|h| (h.item, h.weight))
}

/// Whether the data says when most people's events were.
pub(crate) fn is_timed(data: &Interactions) -> bool {
    let at_different_times = |user: usize| {
        let rows = data.of_user(user);
        let first = rows.first().map(|row| row.timestamp);
        rows.iter().any(|row| Some(row.timestamp) != first)
    };
    let longer: Vec<usize> = (0..data.n_users())
        .filter(|user| data.of_user(*user).len() > 1)
        .collect();
    let timed = longer.iter().filter(|user| at_different_times(**user)).count();
    2 * timed >= longer.len()
}

/// Items with their places, ascending.
pub(crate) fn ascending(items: &[u32]) -> Vec<(u32, usize)> {
    let mut order: Vec<(u32, usize)> = items.iter().copied().zip(0..).collect();
    order.sort_unstable();
    order
}

/// Appends items; a copy of the vocabulary is made only if there are any.
pub(crate) fn append(vocabulary: &mut Arc<Vocabulary>, new_items: &[ItemId]) {
    if new_items.is_empty() {
        return;
    }
    let vocabulary = Arc::make_mut(vocabulary);
    for id in new_items {
        vocabulary.insert(id);
    }
}

/// One user's summed strengths by item, in the order of each item's first appearance.
pub(crate) fn summed(data: &Interactions, user: usize) -> Vec<(u32, f32)> {
    let rows = data.of_user(user);
    let mut sums: Vec<(u32, f32)> = Vec::with_capacity(rows.len());
    let mut places: hashbrown::HashMap<u32, usize> = hashbrown::HashMap::with_capacity(rows.len());
    for row in rows {
        if !row.weight.is_finite() {
            continue;
        }
        let place = *places.entry(row.item).or_insert_with(|| {
            sums.push((row.item, 0.0));
            sums.len() - 1
        });
        sums[place].1 += row.weight;
    }
    sums
}

/// Evidence for one item as an explanation of a model that knows nothing but the history.
pub(crate) fn of_history(model: &'static str, evidence: Vec<Evidence>) -> Explanation {
    let parts = evidence.into_iter().flat_map(|evidence| evidence.history);
    let part = |(item, value)| Contribution {
        source: ContributionSource::History { item },
        model: model.into(),
        value,
    };
    Explanation {
        contributions: parts.map(part).collect(),
    }
}

/// An error for data without interactions.
pub(crate) fn require_rows(data: &Interactions) -> Result<(), ModelError> {
    if data.rows.is_empty() {
        return Err(ModelError::Empty("no interactions".to_owned()));
    }
    Ok(())
}
