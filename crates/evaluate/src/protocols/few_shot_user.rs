//! How few events it takes to know someone: held-out users ranked for from their first n items.
//!
//! The users, their candidates and their relevant items are the same for every n, so the cases make a curve. Users with
//! fewer items than the largest n are not judged. Training happens once.
//!
//! Relevant are the rows of the test, or what follows the first N items, N being the largest n: the end of a long history says little of what its
//! beginning should have been answered by.

use super::{Case, order_of, unseen_user};
use crate::{EvaluateError, Inputs, Row};
use domain::{ItemId, UserId};
use numeric::{hash_bytes, mix};
use std::collections::{BTreeMap, BTreeSet};

/// A case for each length, ascending.
pub(super) fn cut(
    mut inputs: Inputs,
    share: f64,
    shots: &[usize],
    following: bool,
    seed: u64,
) -> Result<Vec<Case>, EvaluateError> {
    let mut lengths = shots.to_vec();
    lengths.sort_unstable();
    lengths.dedup();
    let longest = lengths.last().copied().unwrap_or(0);
    if following {
        follow(&mut inputs, longest, share, seed);
    }
    let mut whole = unseen_user::cut(inputs, share, seed)?;
    whole.retain_users(|user| user.history.len() >= longest);
    let case = |length: usize| {
        let mut prepared = whole.clone();
        unseen_user::shorten(&mut prepared, |_| length, seed);
        prepared.count_users();
        Case {
            label: format!("{length} items"),
            prepared,
        }
    };
    Ok(lengths.into_iter().map(case).collect())
}

/// Of everyone who will be held out, puts all rows after their first so many items into the test, and all before into their history, which nothing is learnt from. Equal moments stand in an
/// order drawn by hash; items that are among the first are not asked for again.
fn follow(inputs: &mut Inputs, longest: usize, share: f64, seed: u64) {
    let held = unseen_user::held_out(inputs, share, seed);
    let mut people: BTreeMap<UserId, Vec<Row>> = BTreeMap::new();
    for rows in [&mut inputs.train, &mut inputs.valid, &mut inputs.test] {
        for row in rows.extract_if(.., |row| held.contains(&row.user)) {
            people.entry(row.user.clone()).or_default().push(row);
        }
    }
    for (user, mut rows) in people {
        let own = order_of(user.as_str(), seed);
        rows.sort_by_key(|row| (row.timestamp, mix(own ^ hash_bytes(row.item.as_str().as_bytes()))));
        let mut first: BTreeSet<ItemId> = BTreeSet::new();
        for row in rows {
            if first.len() < longest {
                if inputs.is_positive(&row) {
                    first.insert(row.item.clone());
                }
                inputs.valid.push(row);
            } else if !first.contains(&row.item) {
                inputs.test.push(row);
            }
        }
    }
}
