//! Items that training never saw: they can only be ranked by what they are.
//!
//! A share of the items loses all rows in training and histories; every row with them, of train and test, is what is
//! judged. Items of the test without training rows are among them too. What a user took of the other items in the test
//! is neither judged nor a candidate, since it would stand where the judged items should, rightly. Users without
//! any other row are not judged. Ranked within the whole catalogue the task is hard; within the held-out items alone it
//! shows what the attributes say.

use super::{Among, is_held};
use crate::{EvaluateError, Inputs, Prepared, Row, prepare};
use domain::ItemId;
use std::collections::BTreeSet;

/// Holds items out.
pub(super) fn cut(inputs: Inputs, share: f64, among: Among, seed: u64) -> Result<Prepared, EvaluateError> {
    let trained: BTreeSet<&ItemId> = inputs.train.iter().map(|row| &row.item).collect();
    let everything = inputs.train.iter().chain(&inputs.test).map(|row| &row.item);
    let held: BTreeSet<ItemId> = everything
        .filter(|item| !trained.contains(item) || is_held(item.as_str(), share, seed))
        .cloned()
        .collect();
    let (mut judged, train): (Vec<Row>, Vec<Row>) =
        inputs.train.into_iter().partition(|row| held.contains(&row.item));
    let (test, beside): (Vec<Row>, Vec<Row>) =
        inputs.test.into_iter().partition(|row| held.contains(&row.item));
    judged.extend(test);
    let mut hidden = inputs.hidden;
    hidden.extend(beside);
    let mut prepared = prepare(Inputs {
        train,
        test: judged,
        valid: inputs
            .valid
            .into_iter()
            .filter(|row| !held.contains(&row.item))
            .collect(),
        hidden,
        listed: held.iter().cloned().collect(),
        ranked_only: (among == Among::HeldOut).then_some(held),
        ..inputs
    })?;
    prepared.retain_users(|user| !user.history.is_empty());
    Ok(prepared)
}
