//! What a model was made for: users with a history, items with rows.

use crate::Prepared;

/// Leaves users out who have no history, and relevant items that have no training rows.
pub(super) fn cut(mut prepared: Prepared) -> Prepared {
    let interactions = &prepared.training.interactions;
    let mut known = vec![false; interactions.n_items()];
    interactions
        .rows
        .iter()
        .for_each(|row| known[row.item as usize] = true);
    for user in &mut prepared.users {
        user.relevant.retain(|item| known[*item as usize]);
        user.n_relevant = user.relevant.len();
    }
    prepared.retain_users(|user| !user.history.is_empty() && user.n_relevant > 0);
    prepared
}
