//! People whom training never saw, ranked for from what they did.
//!
//! Of the users who have rows in train and in test, a share loses all its rows from training. Their training rows
//! become their history, their test rows are what they are judged by: the same lists' task as of a model that was
//! trained on them, so that both can be compared user by user.

use super::{is_held, order_of};
use crate::{EvaluateError, Inputs, Prepared, prepare};
use domain::UserId;
use numeric::mix;
use std::collections::BTreeSet;

/// Holds users out; whoever is left without history is not judged.
pub(super) fn cut(mut inputs: Inputs, share: f64, seed: u64) -> Result<Prepared, EvaluateError> {
    let held = held_out(&inputs, share, seed);
    let (theirs, train): (Vec<_>, Vec<_>) =
        inputs.train.into_iter().partition(|row| held.contains(&row.user));
    inputs.train = train;
    inputs.test.retain(|row| held.contains(&row.user));
    inputs.valid.retain(|row| held.contains(&row.user));
    inputs.valid.extend(theirs);
    let mut prepared = prepare(inputs)?;
    prepared.retain_users(|user| !user.history.is_empty());
    Ok(prepared)
}

/// Who of the test is held out.
pub(super) fn held_out(inputs: &Inputs, share: f64, seed: u64) -> BTreeSet<UserId> {
    let tested = inputs.test.iter().map(|row| &row.user);
    let held = tested.filter(|user| is_held(user.as_str(), share, seed));
    held.cloned().collect()
}

/// The same users trained on and held out, both ranked for among all items of the training rows, so that the two differ
/// in nothing but what was learnt.
pub(super) fn beside(mut inputs: Inputs, share: f64, seed: u64) -> Result<[Prepared; 2], EvaluateError> {
    let items: BTreeSet<_> = inputs.train.iter().map(|row| row.item.clone()).collect();
    inputs.listed.extend(items);
    let mut trained = prepare(inputs.clone())?;
    let unseen = cut(inputs, share, seed)?;
    let judged: BTreeSet<&UserId> = unseen.users.iter().map(|user| &user.user).collect();
    trained.retain_users(|user| judged.contains(&user.user));
    Ok([trained, unseen])
}

/// Cuts each history to its first `keep(length)` items, in order of time, equal moments in an order drawn by hash. What is
/// cut off is still not ranked, so that lists of all lengths have the same candidates.
pub(super) fn shorten(prepared: &mut Prepared, keep: impl Fn(usize) -> usize, seed: u64) {
    for user in &mut prepared.users {
        let own = order_of(user.user.as_str(), seed);
        user.history.sort_by(|a, b| {
            let drawn = |item: u32| mix(own ^ u64::from(item));
            b.age_days
                .total_cmp(&a.age_days)
                .then_with(|| drawn(a.item).cmp(&drawn(b.item)))
        });
        user.history.truncate(keep(user.history.len()));
    }
}
