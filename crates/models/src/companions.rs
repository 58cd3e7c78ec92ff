//! How often two items are taken by the same people, counted in bulk.
//!
//! Row by row with a dense accumulator (Gustavson, 1978, "Two fast algorithms for sparse
//! matrices"): the row of item i is the weighted sum of the lists of i's users. Rows are independent,
//! so they run in parallel and come out the same at any thread count. Cost: Σ over users of list
//! length squared, lists longer than `window` counting length × 2·window.

use hashbrown::HashMap;
use numeric::{Sums, parallel_chunks_with};
use std::sync::Arc;

/// Items of each user in the order they came, with a value each.
#[derive(Debug, Default)]
pub(crate) struct UserLists {
    pub(crate) offsets: Vec<usize>,
    pub(crate) items: Vec<u32>,
    pub(crate) values: Vec<f32>,
}

impl UserLists {
    pub(crate) fn n_users(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub(crate) fn range(&self, user: usize) -> std::ops::Range<usize> {
        self.offsets[user]..self.offsets[user + 1]
    }

    /// For each item, where it stands: (user, place in `items`), users ascending.
    pub(crate) fn places(&self, n_items: usize) -> (Vec<usize>, Vec<(u32, usize)>) {
        let mut offsets = vec![0usize; n_items + 1];
        for item in &self.items {
            offsets[*item as usize + 1] += 1;
        }
        for item in 0..n_items {
            offsets[item + 1] += offsets[item];
        }
        let mut next = offsets.clone();
        let mut places = vec![(0u32, 0usize); self.items.len()];
        for user in 0..self.n_users() {
            for at in self.range(user) {
                let slot = &mut next[self.items[at] as usize];
                places[*slot] = (user as u32, at);
                *slot += 1;
            }
        }
        (offsets, places)
    }
}

/// A sparse row: items ascending.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) items: Vec<u32>,
    pub(crate) sums: Vec<f32>,
}

impl Row {
    /// Leaves out entries below this.
    pub(crate) fn drop_below(&mut self, least: f32) {
        if self.sums.iter().all(|sum| *sum >= least) {
            return;
        }
        let mut sums = self.sums.iter();
        self.items
            .retain(|_| sums.next().is_some_and(|sum| *sum >= least));
        self.sums.retain(|sum| *sum >= least);
    }

    /// Becomes what was gathered.
    pub(crate) fn take(&mut self, from: &mut Sums) {
        self.items.clear();
        self.sums.clear();
        from.drain(&mut self.items, &mut self.sums);
    }

    /// The `most` largest; of equal ones the first items.
    pub(crate) fn largest(&self, most: usize) -> Row {
        if self.items.len() <= most {
            return self.clone();
        }
        let mut kept = Row {
            items: Vec::with_capacity(most),
            sums: Vec::with_capacity(most),
        };
        let mut stays = self.stays(most);
        for (item, sum) in self.items.iter().zip(&self.sums) {
            if stays(*sum) {
                kept.items.push(*item);
                kept.sums.push(*sum);
            }
        }
        kept
    }

    /// Keeps the `most` largest; those that had to go.
    pub(crate) fn trim(&mut self, most: usize) -> Vec<u32> {
        if self.items.len() <= most {
            return Vec::new();
        }
        let kept = self.largest(most);
        let mut gone = std::mem::replace(self, kept).items;
        let mut own = self.items.iter().peekable();
        gone.retain(|item| own.next_if(|kept| *kept == item).is_none());
        gone
    }

    /// Says of one sum after the other whether it is among the `most` largest, of which there are more.
    fn stays(&self, most: usize) -> impl FnMut(f32) -> bool + use<> {
        // The least sum that stays, in part: of those that equal it, the first.
        let mut order: Vec<u32> = self.sums.iter().map(|sum| whole(*sum)).collect();
        let place = order.len() - most;
        let least = back(*order.select_nth_unstable(place).1);
        let above = self.sums.iter().filter(|sum| **sum > least).count();
        let mut equal = most - above;
        move |sum| {
            let is_equal = sum == least && equal > 0;
            equal -= usize::from(is_equal);
            sum > least || is_equal
        }
    }
}

/// Whole numbers in the order of sums: they are picked from faster.
pub(crate) fn whole(sum: f32) -> u32 {
    let bits = sum.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

pub(crate) fn back(whole: u32) -> f32 {
    f32::from_bits(if whole >> 31 == 0 {
        !whole
    } else {
        whole & !(1 << 31)
    })
}

/// For each row of at least `full` entries, the items whose rows have it although it does not have them: rows are cut one by one.
pub(crate) fn one_sided(rows: &[Arc<Row>], full: usize) -> HashMap<u32, Arc<Vec<u32>>> {
    let cut: Vec<u32> = (0u32..)
        .zip(rows)
        .filter(|(_, row)| row.items.len() >= full)
        .map(|(item, _)| item)
        .collect();
    if cut.is_empty() {
        return HashMap::new();
    }
    // Who has them, holders ascending.
    let mut place = vec![u32::MAX; rows.len()];
    cut.iter()
        .zip(0u32..)
        .for_each(|(item, at)| place[*item as usize] = at);
    let mut holders: Vec<Vec<u32>> = vec![Vec::new(); cut.len()];
    for (holder, row) in (0u32..).zip(rows) {
        for item in &row.items {
            if let Some(holders) = holders.get_mut(place[*item as usize] as usize) {
                holders.push(holder);
            }
        }
    }
    let mut found = HashMap::new();
    for (item, mut holders) in cut.into_iter().zip(holders) {
        let mut own = rows[item as usize].items.iter().peekable();
        holders.retain(|holder| {
            while own.next_if(|other| *other < holder).is_some() {}
            own.peek() != Some(&holder)
        });
        if !holders.is_empty() {
            found.insert(item, Arc::new(holders));
        }
    }
    found
}

/// Rows of Σ over users of valueᵢ·valueⱼ for items at most `window` places apart, and the diagonal.
/// `most` bounds a row's length; the flag says whether a row was cut.
pub(crate) fn co_sums(
    lists: &UserLists,
    n_items: usize,
    window: usize,
    most: usize,
) -> (Vec<Row>, Vec<f32>, bool) {
    let (offsets, places) = lists.places(n_items);
    let parts = parallel_chunks_with(
        n_items,
        32,
        || (Sums::new(n_items), Row::default()),
        |(sums, gathered), range| {
            let rows = range.map(|item| {
                let mut square = 0f32;
                for (user, at) in &places[offsets[item]..offsets[item + 1]] {
                    let list = lists.range(*user as usize);
                    let low = list.start.max(at.saturating_sub(window));
                    let high = list.end.min(at + window + 1);
                    let value = lists.values[*at];
                    square += value * value;
                    for own in [low..*at, at + 1..high] {
                        let others = lists.items[own.clone()].iter().zip(&lists.values[own]);
                        others.for_each(|(other, own)| sums.add(*other, value * own));
                    }
                }
                gathered.take(sums);
                let cut = gathered.items.len() > most;
                (gathered.largest(most), square, cut)
            });
            rows.collect::<Vec<_>>()
        },
    );
    let mut rows = Vec::with_capacity(n_items);
    let mut squares = Vec::with_capacity(n_items);
    let mut any_cut = false;
    for (row, square, cut) in parts.into_iter().flatten() {
        rows.push(row);
        squares.push(square);
        any_cut |= cut;
    }
    (rows, squares, any_cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    #[test]
    fn the_largest_stay_and_of_equal_ones_the_first() {
        let mut stream = SeededStream::new(8, 0);
        for _ in 0..300 {
            let n = stream.below(40) as usize;
            let row = Row {
                items: (0..n as u32).map(|at| at * 3 + 1).collect(),
                sums: (0..n).map(|_| stream.below(6) as f32 - 1.5).collect(),
            };
            let most = 1 + stream.below(40) as usize;
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| row.sums[*b].total_cmp(&row.sums[*a]));
            let mut kept = order[..most.min(n)].to_vec();
            kept.sort_unstable();
            let expected: Vec<u32> = kept.iter().map(|at| row.items[*at]).collect();
            let mut trimmed = row.clone();
            let mut gone = trimmed.trim(most);
            assert_eq!(trimmed.items, expected);
            assert_eq!(trimmed, row.largest(most));
            gone.extend(&trimmed.items);
            gone.sort_unstable();
            assert_eq!(gone, row.items);
        }
    }
}
