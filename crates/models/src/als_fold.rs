//! Folding somebody in: from a history and attributes to a factor, and what that says of items.

use crate::als::Als;
use crate::als_step::{Entries, Side, State};
use crate::als_train::entry;
use crate::common::{best_of_all, usable};
use crate::memo::Kept;
use crate::{Someone, TopItems};
use numeric::dot;
use std::sync::Arc;

/// What a history and attributes come to.
pub(crate) struct Folded {
    /// Weighted entries that have a factor.
    pub(crate) entries: Vec<(u32, f32)>,
    pub(crate) state: State,
    /// Where the attributes draw to, if anywhere.
    pub(crate) mean: Option<Vec<f32>>,
}

impl Kept for Folded {
    fn bytes(&self) -> usize {
        self.entries.len() * 8 + self.state.bytes() + self.mean.as_ref().map_or(0, Vec::len) * 4
    }
}

/// Sets the bit of an item.
pub(crate) fn mark(marks: &mut Vec<u64>, item: u32) {
    let at = item as usize / 64;
    marks.resize(marks.len().max(at + 1), 0);
    marks[at] |= 1 << (item % 64);
}

/// Whether that of an item is set.
pub(crate) fn is_marked(marks: &[u64], item: u32) -> bool {
    marks
        .get(item as usize / 64)
        .is_some_and(|bits| (bits >> (item % 64)) & 1 == 1)
}

impl Als {
    pub(crate) fn factor(&self, item: u32) -> Option<&[f32]> {
        let fresh = is_marked(&self.marks, item)
            .then(|| self.fresh.get(&item))
            .flatten();
        self.known_factor(item, fresh.map(|fresh| fresh.factor.as_slice()))
    }

    /// The factor of an item, given what it is since the training if it is another; `None` if nothing is known of it.
    fn known_factor<'a>(&'a self, item: u32, fresh: Option<&'a [f32]>) -> Option<&'a [f32]> {
        if let Some(fresh) = fresh {
            return fresh.iter().any(|x| *x != 0.0).then_some(fresh);
        }
        let known = self.norms.get(item as usize).is_some_and(|n| *n > 0.0);
        let d = self.config.factors;
        known.then(|| &self.factors[item as usize * d..(item as usize + 1) * d])
    }

    /// Where someone's attributes draw to.
    fn mean(&self, someone: Someone<'_>) -> Option<Vec<f32>> {
        self.user_map.as_ref()?.mean(someone.attributes)
    }

    /// The history as weighted entries with a factor, and the solved state.
    pub(crate) fn fold_in(&self, someone: Someone<'_>) -> Folded {
        let used = usable(someone.history, self.vocabulary.len(), self.config.history_max);
        let side = self.user_side();
        let (mut entries, mut list) = (Vec::new(), Entries::default());
        // Factors are read where they lie; only once an item is a fresh one they are copied together.
        let mut copied: Option<Vec<f32>> = None;
        for (item, weight) in used.clone() {
            let fresh = is_marked(&self.marks, item)
                .then(|| self.fresh.get(&item))
                .flatten();
            let fresh = fresh.map(|fresh| fresh.factor.as_slice());
            let Some(factor) = self.known_factor(item, fresh) else {
                continue;
            };
            let weight = entry(weight, self.scale);
            if fresh.is_some() && copied.is_none() {
                let mut own = Vec::with_capacity(used.clone().count() * side.d);
                let rows = list
                    .starts
                    .iter()
                    .map(|start| &self.factors[*start..start + side.d]);
                rows.for_each(|row| own.extend_from_slice(row));
                copied = Some(own);
                let n = list.starts.len();
                list.starts.clear();
                list.starts.extend((0..n).map(|at| at * side.d));
            }
            match &mut copied {
                Some(copied) => {
                    list.push(copied.len(), weight);
                    copied.extend_from_slice(factor);
                }
                None => list.push(item as usize * side.d, weight),
            }
            entries.push((item, weight));
        }
        let table = copied.as_deref().unwrap_or(&self.factors);
        let mut state = State::new(&side);
        let mean = self.mean(someone);
        state.solve(&side, &self.gram, table, &list, mean.as_deref());
        Folded { entries, state, mean }
    }

    /// The constants of folding somebody in.
    pub(crate) fn user_side(&self) -> Side {
        self.config.user_side(self.norms.len())
    }

    /// The constants of solving for an item.
    pub(crate) fn item_side(&self) -> Side {
        self.config.item_side(self.n_users, self.typical)
    }

    /// The same, kept for the next question about this person.
    pub(crate) fn folded(&self, someone: Someone<'_>) -> Arc<Folded> {
        self.memo.of_someone(someone, || self.fold_in(someone))
    }

    /// The best by these scores of the trained items; those of fresh ones are worked out.
    pub(crate) fn best_of(
        &self,
        mut scores: Vec<f32>,
        user: &[f32],
        n: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> TopItems {
        scores.resize(self.vocabulary.len(), 0.0);
        for (item, fresh) in &self.fresh {
            scores[*item as usize] = dot(user, &fresh.factor);
        }
        // An item without a factor scores zero, and zeros are left out.
        best_of_all(&self.vocabulary, n, allowed, &scores)
    }

    pub(crate) fn scored(&self, user: &[f32], item: u32) -> f32 {
        self.factor(item).map_or(0.0, |factor| dot(user, factor))
    }

    /// What the product of a prior mean with an item's factor adds to its score, as a direction: the mean's part of the
    /// score is its product with this.
    pub(crate) fn pull(&self, folded: &Folded, factor: &[f32]) -> Vec<f32> {
        if !folded.state.is_solved() {
            return factor.to_vec(); // Nothing but the mean.
        }
        let mut turned = factor.to_vec();
        folded.state.apply_inverse(&mut turned);
        let mut pull = vec![0.0; turned.len()];
        let side = self.user_side();
        // The matrix is symmetric, so it may as well be applied to the other side of the product.
        side.draw(&self.gram, folded.entries.len(), &turned, &mut pull);
        pull
    }
}
