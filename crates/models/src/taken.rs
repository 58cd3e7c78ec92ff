//! Who took what: the binary matrix that linear models over items are learnt from.

use crate::common::{require_rows, summed};
use crate::item_weights::ItemWeights;
use crate::memo::Memo;
use crate::recall::Recall;
use crate::{ModelError, TrainingData};
use numeric::Csr;
use std::sync::Arc;

/// What users took, of the items that anyone took; items are places in `items`.
pub(crate) struct Taken {
    /// By user: places ascending, each once.
    pub(crate) users: Vec<Vec<u32>>,
    /// Positions of the items that anyone took, ascending.
    pub(crate) items: Vec<u32>,
    /// Mean strength of an entry.
    pub(crate) mean_strength: f32,
}

impl Taken {
    /// Entries whose summed strength is above zero.
    pub(crate) fn of(data: &TrainingData) -> Result<Taken, ModelError> {
        let rows = &data.interactions;
        require_rows(rows)?;
        let (mut total, mut count) = (0f64, 0usize);
        let mut users = Vec::with_capacity(rows.n_users());
        let mut taken = vec![false; rows.n_items()];
        for user in 0..rows.n_users() {
            let mut items: Vec<u32> = Vec::new();
            for (item, strength) in summed(rows, user).into_iter().filter(|(_, sum)| *sum > 0.0) {
                taken[item as usize] = true;
                items.push(item);
                total += f64::from(strength);
                count += 1;
            }
            items.sort_unstable();
            users.push(items);
        }
        if count == 0 {
            return Err(ModelError::Empty("no interactions above zero".to_owned()));
        }
        let known = (0u32..).zip(&taken).filter(|(_, taken)| **taken);
        let items: Vec<u32> = known.map(|(item, _)| item).collect();
        let mut places = vec![0u32; taken.len()];
        for (place, item) in (0u32..).zip(&items) {
            places[*item as usize] = place;
        }
        for item in users.iter_mut().flatten() {
            *item = places[*item as usize];
        }
        Ok(Taken {
            users,
            items,
            mean_strength: (total / count as f64) as f32,
        })
    }

    /// Items that anyone took.
    pub(crate) fn n_items(&self) -> usize {
        self.items.len()
    }

    /// By item: its users, ascending.
    pub(crate) fn users_of(&self) -> Vec<Vec<u32>> {
        let mut users_of: Vec<Vec<u32>> = vec![Vec::new(); self.n_items()];
        for (user, items) in (0u32..).zip(&self.users) {
            items.iter().for_each(|item| users_of[*item as usize].push(user));
        }
        users_of
    }

    /// By item: how many took it.
    pub(crate) fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0u32; self.n_items()];
        let taken = self.users.iter().flatten();
        taken.for_each(|item| counts[*item as usize] += 1);
        counts
    }

    /// A model from weights between places.
    pub(crate) fn model(
        &self,
        name: &'static str,
        data: &TrainingData,
        weights: &Csr,
        recall: Recall,
    ) -> ItemWeights {
        let n_items = data.interactions.n_items();
        let mut known = vec![false; n_items];
        self.items.iter().for_each(|item| known[*item as usize] = true);
        ItemWeights {
            name,
            vocabulary: Arc::clone(&data.interactions.items),
            weights: Arc::new(self.spread(weights, n_items)),
            dense: None,
            known: Arc::new(known),
            mean_strength: self.mean_strength,
            recall,
            settled: serde_json::Map::new(),
            memo: Memo::default(),
        }
    }

    /// Rows of places over all items; zero for those that nobody took.
    pub(crate) fn spread_rows(&self, rows: &[f32], width: usize, n_items: usize) -> Vec<f32> {
        let mut spread = vec![0f32; n_items * width];
        for (row, item) in rows.chunks_exact(width).zip(&self.items) {
            spread[*item as usize * width..(*item as usize + 1) * width].copy_from_slice(row);
        }
        spread
    }

    /// The same matrix over all items.
    fn spread(&self, weights: &Csr, n_items: usize) -> Csr {
        let (_, columns, values) = weights.parts();
        let mut offsets = vec![0usize; n_items + 1];
        for (place, item) in self.items.iter().enumerate() {
            offsets[*item as usize + 1] = weights.row(place).0.len();
        }
        for item in 0..n_items {
            offsets[item + 1] += offsets[item];
        }
        let columns = columns.iter().map(|place| self.items[*place as usize]).collect();
        Csr::from_parts(n_items, offsets, columns, values.to_vec()).expect("places are in the order of items")
    }
}

/// Rows to a matrix of `n` columns; entries that are zero or not finite are left out.
pub(crate) fn of_rows(n: usize, rows: impl Iterator<Item = Vec<(u32, f32)>>) -> Csr {
    let (mut offsets, mut columns, mut values) = (vec![0usize], Vec::new(), Vec::new());
    for row in rows {
        for (column, value) in row {
            if value.is_finite() && value != 0.0 {
                columns.push(column);
                values.push(value);
            }
        }
        offsets.push(columns.len());
    }
    Csr::from_parts(n, offsets, columns, values).expect("rows were built in order")
}

/// The `keep` entries largest in size, ascending by place; ties go to the lower place.
pub(crate) fn largest(mut all: Vec<(u32, f32)>, keep: usize) -> Vec<(u32, f32)> {
    if all.len() > keep {
        let by_size = |a: &(u32, f32), b: &(u32, f32)| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0));
        all.select_nth_unstable_by(keep, by_size);
        all.truncate(keep);
    }
    // Thousands of these are held at a time.
    all.shrink_to_fit();
    all.sort_unstable_by_key(|(place, _)| *place);
    all
}
