//! How known items are: what novelty and serendipity are measured by.

use dataset::Interactions;

/// Popularity of items in the training rows. Positions past the training items are items that
/// were never seen.
///
/// Definitions are those of RecTools (<https://github.com/MobileTeleSystems/RecTools>), which takes
/// mean inverse user frequency (self-information in bits) from Castells, Hurley and Vargas
/// (2015) and serendipity from Ge, Delgado-Battenfeld and Jannach (2010).
#[derive(Debug, Clone)]
pub struct Popularity {
    /// Distinct users by item.
    users: Vec<u32>,
    /// Rows by item.
    rows: Vec<u32>,
    /// Dense rank by number of rows, from 1 for the most popular; 0 for an item without rows.
    rank: Vec<u32>,
    n_users: usize,
    n_catalogue: usize,
}

impl Popularity {
    /// Counts interactions; `n_catalogue` is the number of items that could have been listed.
    pub fn new(train: &Interactions, n_catalogue: usize) -> Popularity {
        let n_items = train.n_items();
        let mut users = vec![0u32; n_items];
        let mut rows = vec![0u32; n_items];
        let mut counted_for = vec![u32::MAX; n_items];
        for row in &train.rows {
            let item = row.item as usize;
            rows[item] += 1;
            if counted_for[item] != row.user {
                counted_for[item] = row.user;
                users[item] += 1;
            }
        }
        let mut levels: Vec<u32> = rows.iter().copied().filter(|n| *n > 0).collect();
        levels.sort_unstable_by(|a, b| b.cmp(a));
        levels.dedup();
        let rank = rows
            .iter()
            .map(|n| match levels.binary_search_by(|level| n.cmp(level)) {
                Ok(at) if *n > 0 => at as u32 + 1,
                _ => 0,
            })
            .collect();
        Popularity {
            users,
            rows,
            rank,
            n_users: train.n_users(),
            n_catalogue,
        }
    }

    /// Items that could have been listed.
    pub fn n_catalogue(&self) -> usize {
        self.n_catalogue
    }

    /// Mean of −log₂(users who took the item / all users) over the first `k`; an item that nobody
    /// took counts as taken by one. Not a number for an empty list.
    pub fn mean_inverse_user_frequency(&self, list: &[u32], k: usize) -> f64 {
        mean_over(list, k, |_, item| {
            let users = self.users.get(item as usize).copied().unwrap_or(0).max(1);
            -(f64::from(users) / self.n_users as f64).log2()
        })
    }

    /// Mean number of training rows of the first `k`. Not a number for an empty list.
    pub fn mean_popularity(&self, list: &[u32], k: usize) -> f64 {
        mean_over(list, k, |_, item| {
            f64::from(self.rows.get(item as usize).copied().unwrap_or(0))
        })
    }

    /// Mean over the first `k` of max(p − pᵤ, 0) · relevant, with p = (N + 1 − place) / N and
    /// pᵤ = (N + 1 − popularity rank) / N, zero for an item never seen: being right higher up
    /// than popularity would have been. Not a number for an empty list.
    pub fn serendipity(&self, list: &[u32], gains: &[f64], k: usize) -> f64 {
        let n = self.n_catalogue as f64;
        mean_over(list, k, |at, item| {
            if gains[at] <= 0.0 {
                return 0.0;
            }
            let expected = match self.rank.get(item as usize).copied().unwrap_or(0) {
                0 => 0.0,
                rank => (n + 1.0 - f64::from(rank)) / n,
            };
            ((n - at as f64) / n - expected).max(0.0)
        })
    }
}

fn mean_over(list: &[u32], k: usize, value: impl Fn(usize, u32) -> f64) -> f64 {
    let first = &list[..list.len().min(k)];
    let sum: f64 = first.iter().enumerate().map(|(at, item)| value(at, *item)).sum();
    sum / first.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::InteractionsBuilder;
    use domain::{ItemId, Timestamp, UserId};

    /// a: 3 rows of 2 users, b and c: 1 row each; 4 users.
    #[test]
    fn by_hand() {
        let mut builder = InteractionsBuilder::default();
        for (user, item) in [("1", "a"), ("2", "a"), ("2", "a"), ("3", "b"), ("4", "c")] {
            let user = UserId::new(user).expect("an id");
            builder.push(&user, &ItemId::new(item).expect("an id"), 1.0, Timestamp(0));
        }
        let popularity = Popularity::new(&builder.build(), 10);
        let list = [0, 1, 9];
        let frequency = popularity.mean_inverse_user_frequency(&list, 3);
        assert!((frequency - (1.0 + 2.0 + 2.0) / 3.0).abs() < 1e-12, "{frequency}");
        assert!((popularity.mean_popularity(&list, 2) - 2.0).abs() < 1e-12);
        // Places 1 to 3: p = 1, 0.9, 0.8; pᵤ = 1 (rank 1), 0.9 (rank 2), 0 (never seen).
        let serendipity = popularity.serendipity(&list, &[1.0, 1.0, 1.0], 3);
        assert!((serendipity - 0.8 / 3.0).abs() < 1e-12, "{serendipity}");
        assert!(popularity.mean_popularity(&[], 2).is_nan());
    }
}
