//! Swing similarity: pairs of users who share an item vouch for the other items they share, the more
//! the fewer those are.
//!
//! Source: Yang, Zhou, Chen, Huang (2020), "Large Scale Product Graph Construction for
//! Recommendation in E-commerce", arXiv:2010.05525:
//! s(i, j) = Σ over pairs u, v of users of both i and j of wᵤwᵥ / (α + |Iᵤ ∩ Iᵥ|), wᵤ = 1/√|Iᵤ|.
//!
//! Cost: Σ over items of min(users, `users_max`)² / 2 × list length, in parallel over items.
//! Of an item with more users than `users_max`, that many are taken at even steps in user order, and
//! only the last `history_max` items of a user are looked at. Nothing is random.

use crate::companions::{Row, UserLists};
use numeric::{Sums, parallel_chunks_with};

/// Rows of Swing similarities.
pub(crate) fn similarities(
    lists: &UserLists,
    n_items: usize,
    alpha: f32,
    users_max: usize,
    neighbours: usize,
) -> Vec<Row> {
    let (offsets, places) = lists.places(n_items);
    let scratch = || (Sums::new(n_items), vec![false; n_items], Vec::new());
    let parts = parallel_chunks_with(n_items, 16, scratch, |(sums, marks, shared), range| {
        let rows = range.map(|item| {
            let users = sample(&places[offsets[item]..offsets[item + 1]], users_max);
            for (n, user) in users.iter().enumerate() {
                let own = &lists.items[lists.range(*user)];
                own.iter().for_each(|i| marks[*i as usize] = true);
                marks[item] = false;
                for other in &users[n + 1..] {
                    pair(lists, *user, *other, alpha, marks, shared, sums);
                }
                own.iter().for_each(|i| marks[*i as usize] = false);
            }
            let mut row = Row::default();
            row.take(sums);
            row.trim(neighbours);
            row
        });
        rows.collect::<Vec<_>>()
    });
    parts.into_iter().flatten().collect()
}

/// At most `most` users, at even steps.
fn sample(places: &[(u32, usize)], most: usize) -> Vec<usize> {
    let n = places.len().min(most);
    (0..n).map(|k| places[k * places.len() / n].0 as usize).collect()
}

/// What one pair of users adds to the row of the item that they share.
fn pair(
    lists: &UserLists,
    user: usize,
    other: usize,
    alpha: f32,
    marks: &[bool],
    shared: &mut Vec<u32>,
    sums: &mut Sums,
) {
    shared.clear();
    shared.extend(
        lists.items[lists.range(other)]
            .iter()
            .filter(|i| marks[**i as usize]),
    );
    if shared.is_empty() {
        return;
    }
    let weight = |user: usize| 1.0 / (lists.range(user).len() as f32).sqrt();
    // The item itself is shared too, and was unmarked.
    let value = weight(user) * weight(other) / (alpha + shared.len() as f32 + 1.0);
    shared.iter().for_each(|i| sums.add(*i, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_users_by_hand() {
        // Users {0,1}, {0,1}, {0,2,1}: pairs (0,1), (0,2), (1,2) all share items 0 and 1.
        let lists = UserLists {
            offsets: vec![0, 2, 4, 7],
            items: vec![0, 1, 0, 1, 0, 2, 1],
            values: vec![1.0; 7],
        };
        let rows = similarities(&lists, 3, 1.0, 10, 10);
        let expected = 1.0 / 2.0 / 3.0 + 2.0 / (2f32 * 3.0).sqrt() / 3.0;
        assert_eq!(rows[0].items, [1]);
        assert!((rows[0].sums[0] - expected).abs() < 1e-6);
        assert_eq!(rows[0].sums, rows[1].sums);
        assert!(rows[2].items.is_empty());
    }
}
