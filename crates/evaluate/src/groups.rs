//! Head, middle and tail of the catalogue: whether lists keep to what is popular anyway.
//!
//! The head are the fewest, most popular items that hold at least a third of the training rows, the middle those up to
//! two thirds, the tail all others, items without rows included. So lists drawn in proportion to what people take
//! have a third of their places in each. The setting is that of Abdollahpouri, Mansoury, Burke and Mobasher
//! (2019), "The unfairness of popularity bias in recommendation", arXiv:1907.13286, with thirds of the rows for their shares of
//! the items. Exposure as a whole is summed up by the Gini index (Gini 1912) over all items.

use dataset::Interactions;

/// Names of the groups, most popular first.
pub const GROUPS: [&str; 3] = ["head", "mid", "tail"];
const TAIL: u8 = 2;

/// Items by popularity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    by_item: Vec<u8>,
    sizes: [usize; 3],
}

impl Groups {
    /// Cuts the items; among equally popular ones the earlier position counts as the more popular.
    pub fn new(train: &Interactions) -> Groups {
        let mut rows = vec![0u64; train.n_items()];
        train.rows.iter().for_each(|row| rows[row.item as usize] += 1);
        let mut order: Vec<usize> = (0..rows.len()).filter(|item| rows[*item] > 0).collect();
        order.sort_unstable_by_key(|item| (u64::MAX - rows[*item], *item));
        let total = train.rows.len() as u64;
        let mut by_item = vec![TAIL; rows.len()];
        let mut before = 0;
        for item in order {
            // An item is where the rows before it end, so that the head is never empty.
            by_item[item] = ((3 * before) / total.max(1)).min(2) as u8;
            before += rows[item];
        }
        let mut sizes = [0; 3];
        by_item.iter().for_each(|group| sizes[usize::from(*group)] += 1);
        Groups { by_item, sizes }
    }

    /// Items of each group.
    pub fn sizes(&self) -> [usize; 3] {
        self.sizes
    }

    fn of(&self, item: u32) -> usize {
        usize::from(self.by_item.get(item as usize).copied().unwrap_or(TAIL))
    }

    /// Share of each group among the first `k` of a list; not a number for an empty list.
    pub fn shares(&self, list: &[u32], k: usize) -> [f64; 3] {
        let first = &list[..list.len().min(k)];
        let mut counts = [0f64; 3];
        first.iter().for_each(|item| counts[self.of(*item)] += 1.0);
        counts.map(|count| count / first.len() as f64)
    }

    /// How many relevant items are of each group, `beyond` of them that no list can hold counted as tail.
    pub fn count(&self, relevant: &[u32], beyond: usize) -> [usize; 3] {
        let mut counts = [0, 0, beyond];
        relevant.iter().for_each(|item| counts[self.of(*item)] += 1);
        counts
    }

    /// Recall among the relevant items of each group, of which there are `of`; not a number where there are none.
    /// `gains` runs along the list.
    pub fn recalls(&self, list: &[u32], gains: &[f64], k: usize, of: [usize; 3]) -> [f64; 3] {
        let mut hits = [0f64; 3];
        for (item, gain) in list.iter().zip(gains).take(k) {
            if *gain > 0.0 {
                hits[self.of(*item)] += 1.0;
            }
        }
        std::array::from_fn(|group| hits[group] / of[group] as f64)
    }
}

/// Gini index of how often items are listed, over `n_items` items of which `counts` are listed at all: 0 if all are
/// listed equally often, near 1 if few take all places. Zero for no places.
pub fn gini(mut counts: Vec<u32>, n_items: usize) -> f64 {
    counts.sort_unstable();
    let unlisted = n_items.saturating_sub(counts.len());
    let n = (unlisted + counts.len()) as f64;
    let (mut total, mut weighted) = (0f64, 0f64);
    for (at, count) in counts.iter().enumerate() {
        let place = (unlisted + at + 1) as f64;
        total += f64::from(*count);
        weighted += (2.0 * place - n - 1.0) * f64::from(*count);
    }
    if total > 0.0 { weighted / (n * total) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::InteractionsBuilder;
    use domain::{ItemId, Timestamp, UserId};

    /// Rows: a 4, b 3, c 2, d 0. Before a 0 of 9, before b 4 (4/9), before c 7 (7/9).
    #[test]
    fn by_hand() {
        let mut builder = InteractionsBuilder::default();
        for (item, rows) in [("a", 4), ("b", 3), ("c", 2), ("d", 0)] {
            let item = ItemId::new(item).expect("an id");
            builder.item(&item);
            for user in 0..rows {
                let user = UserId::new(format!("u{user}")).expect("an id");
                builder.push(&user, &item, 1.0, Timestamp(0));
            }
        }
        let groups = Groups::new(&builder.build());
        assert_eq!(groups.sizes(), [1, 1, 2]);
        assert_eq!(groups.shares(&[0, 3, 2, 1], 4), [0.25, 0.25, 0.5]);
        assert!(groups.shares(&[], 4)[0].is_nan());
        let of = groups.count(&[0, 3], 1);
        assert_eq!(of, [1, 0, 2]);
        let recalls = groups.recalls(&[3, 0, 1], &[1.0, 1.0, 0.0], 1, of);
        assert_eq!((recalls[0], recalls[2]), (0.0, 0.5));
        assert!(recalls[1].is_nan());
    }

    #[test]
    fn gini_by_hand() {
        assert_eq!(gini(vec![3, 3, 3], 3), 0.0);
        // Places 0, 0, 0, 8: Σ (2i − 5) x / (4 · 8) = 3 · 8 / 32.
        assert!((gini(vec![8], 4) - 0.75).abs() < 1e-12);
        assert!((gini(vec![3, 1], 2) - 0.25).abs() < 1e-12);
        assert_eq!(gini(vec![], 5), 0.0);
    }
}
