//! How few events it takes to know someone: held-out users ranked for from their first n items.
//!
//! The users, their candidates and their relevant items are the same for every n, so the cases make a curve. Users with
//! fewer items than the largest n are not judged. Training happens once.

use super::{Case, unseen_user};
use crate::{EvaluateError, Inputs};

/// A case for each length, ascending.
pub(super) fn cut(
    inputs: Inputs,
    share: f64,
    shots: &[usize],
    seed: u64,
) -> Result<Vec<Case>, EvaluateError> {
    let mut lengths = shots.to_vec();
    lengths.sort_unstable();
    lengths.dedup();
    let longest = lengths.last().copied().unwrap_or(0);
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
