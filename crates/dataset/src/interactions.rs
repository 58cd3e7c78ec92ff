//! Interactions as a compressed sparse row matrix with moments.

use crate::Vocabulary;
use domain::{ItemId, Timestamp, UserId};
use hashbrown::HashMap;
use std::sync::Arc;

/// One interaction, by position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interaction {
    /// Position of the user.
    pub user: u32,
    /// Position of the item.
    pub item: u32,
    /// Strength when it happened; may be negative; finite.
    pub weight: f32,
    /// When.
    pub timestamp: Timestamp,
}

/// Interactions by user. Users and items are in ascending id order when built from rows, so that
/// the same rows in any order give the same matrix.
#[derive(Debug, Clone)]
pub struct Interactions {
    /// Item ids by position.
    pub items: Arc<Vocabulary>,
    /// User ids by position.
    pub users: Vec<UserId>,
    /// Start of each user's run in `rows`; `users.len() + 1` long.
    pub offsets: Vec<usize>,
    /// By user, then moment, then item.
    pub rows: Vec<Interaction>,
}

impl Interactions {
    /// One user's interactions, oldest first.
    pub fn of_user(&self, user: usize) -> &[Interaction] {
        &self.rows[self.offsets[user]..self.offsets[user + 1]]
    }

    /// Number of users.
    pub fn n_users(&self) -> usize {
        self.users.len()
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.items.len()
    }

    /// The last moment, or zero for no rows.
    pub fn last_moment(&self) -> Timestamp {
        self.rows.iter().map(|r| r.timestamp).max().unwrap_or_default()
    }
}

/// Collects rows, then sorts them into [`Interactions`].
#[derive(Debug, Default)]
pub struct InteractionsBuilder {
    items: Vocabulary,
    users: Vec<UserId>,
    user_positions: HashMap<UserId, u32>,
    rows: Vec<Interaction>,
}

impl InteractionsBuilder {
    /// Adds an item without interactions.
    pub fn item(&mut self, item: &ItemId) {
        self.items.insert(item);
    }

    /// Adds a row.
    pub fn push(&mut self, user: &UserId, item: &ItemId, weight: f32, timestamp: Timestamp) {
        debug_assert!(weight.is_finite(), "weight {weight} of {user} {item}");
        let user = match self.user_positions.get(user.as_str()) {
            Some(position) => *position,
            None => {
                let position = u32::try_from(self.users.len()).expect("fewer than 2^32 users");
                self.users.push(user.clone());
                self.user_positions.insert(user.clone(), position);
                position
            }
        };
        let item = self.items.insert(item);
        self.rows.push(Interaction {
            user,
            item,
            weight,
            timestamp,
        });
    }

    /// Number of rows so far.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Sorts ids and rows. Numeric ids sort as text; only the order's stability matters.
    pub fn build(self) -> Interactions {
        let (items, item_rank) = sort_ids(self.items.ids());
        let (users, user_rank) = sort_ids(&self.users);
        let mut rows = self.rows;
        for row in &mut rows {
            row.user = user_rank[row.user as usize];
            row.item = item_rank[row.item as usize];
        }
        rows.sort_unstable_by(|a, b| {
            (a.user, a.timestamp, a.item)
                .cmp(&(b.user, b.timestamp, b.item))
                .then(a.weight.total_cmp(&b.weight))
        });
        let mut offsets = vec![0usize; users.len() + 1];
        for row in &rows {
            offsets[row.user as usize + 1] += 1;
        }
        for user in 0..users.len() {
            offsets[user + 1] += offsets[user];
        }
        Interactions {
            items: Arc::new(items.into_iter().collect()),
            users,
            offsets,
            rows,
        }
    }
}

/// Ids in ascending order, and for each old position the new one.
fn sort_ids<T: Ord + Clone>(ids: &[T]) -> (Vec<T>, Vec<u32>) {
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_unstable_by(|a, b| ids[*a as usize].cmp(&ids[*b as usize]));
    let mut rank = vec![0u32; ids.len()];
    for (new, old) in order.iter().enumerate() {
        rank[*old as usize] = new as u32;
    }
    (order.iter().map(|old| ids[*old as usize].clone()).collect(), rank)
}
