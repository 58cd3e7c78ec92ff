//! How few events it takes to know an item: held-out items with only their first n rows in training.
//!
//! Judged are the rows of these items after the first N, the largest n, of train and test, so that the judged rows are the
//! same for every n and the cases make a curve; rows between n and N are not learnt from and not ranked for
//! their users. Items with no more than N rows are not judged and stay in training. Every n is a training of its own.

use super::{Among, Case, is_held, order_of};
use crate::{EvaluateError, Inputs, Row, prepare};
use domain::{ItemId, UserId};
use numeric::mix;
use std::collections::{BTreeMap, BTreeSet};

/// A case for each n, ascending.
pub(super) fn cut(
    inputs: &Inputs,
    share: f64,
    shots: &[usize],
    among: Among,
    seed: u64,
) -> Result<Vec<Case>, EvaluateError> {
    let mut lengths = shots.to_vec();
    lengths.sort_unstable();
    lengths.dedup();
    let longest = lengths.last().copied().unwrap_or(0);
    let held = held(inputs, share, longest, seed);
    let aside = |row: &&Row| !held.contains_key(&row.item);
    let hidden: Vec<Row> = inputs
        .hidden
        .iter()
        .chain(inputs.test.iter().filter(aside))
        .cloned()
        .collect();
    let judged: Vec<Row> = held
        .values()
        .flat_map(|rows| &rows[longest..])
        .map(|row| (*row).clone())
        .collect();
    let known: BTreeSet<&UserId> = inputs.train.iter().filter(aside).map(|row| &row.user).collect();
    let case = |length: usize| {
        let mut train: Vec<Row> = inputs.train.iter().filter(aside).cloned().collect();
        let mut hidden = hidden.clone();
        for rows in held.values() {
            train.extend(rows[..length].iter().map(|row| (*row).clone()));
            hidden.extend(rows[length..longest].iter().map(|row| (*row).clone()));
        }
        let ids: BTreeSet<ItemId> = held.keys().map(|item| (*item).clone()).collect();
        let mut prepared = prepare(Inputs {
            train,
            test: judged.clone(),
            valid: inputs.valid.iter().filter(aside).cloned().collect(),
            hidden,
            listed: ids.iter().cloned().collect(),
            ranked_only: (among == Among::HeldOut).then_some(ids),
            // Who took an item early and again later is not judged by it.
            allow_overlap: true,
            features: inputs.features.clone(),
            user_features: inputs.user_features.clone(),
            calibrate_by: inputs.calibrate_by.clone(),
            rank_described: inputs.rank_described,
            positive_min: inputs.positive_min,
            next: inputs.next,
        })?;
        // The same users for every n: those with rows of other items.
        prepared.retain_users(|user| known.contains(&user.user));
        Ok(Case {
            label: format!("{length} rows"),
            prepared,
        })
    };
    lengths.into_iter().map(case).collect()
}

/// Rows of each held-out item, earliest first, equal moments in an order drawn by hash.
fn held(inputs: &Inputs, share: f64, longest: usize, seed: u64) -> BTreeMap<&ItemId, Vec<&Row>> {
    let mut held: BTreeMap<&ItemId, Vec<&Row>> = BTreeMap::new();
    for row in inputs.train.iter().chain(&inputs.test) {
        if is_held(row.item.as_str(), share, seed) {
            held.entry(&row.item).or_default().push(row);
        }
    }
    held.retain(|_, rows| rows.len() > longest);
    for (item, rows) in &mut held {
        let own = order_of(item.as_str(), seed);
        rows.sort_by_key(|row| (row.timestamp, mix(own ^ order_of(row.user.as_str(), seed))));
    }
    held
}
