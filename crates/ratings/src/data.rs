//! Ratings by user and by item.

/// One rating, by position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    /// Who, below the number of users.
    pub user: u32,
    /// What, below the number of items.
    pub item: u32,
    /// How high; finite.
    pub value: f32,
    /// When, seconds of any one clock, if that is known.
    pub at_s: Option<i64>,
}

/// Why there is no model, or no figure.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RatingsError {
    /// There is nothing to learn from.
    #[error("no ratings to learn from")]
    Empty,
    /// A rating cannot be.
    #[error(
        "rating {at}: got user {user}, item {item}, value {value}; expected positions below {users} and {items} and a finite value"
    )]
    Row {
        /// Its number, from 0.
        at: usize,
        /// Position.
        user: u32,
        /// Position.
        item: u32,
        /// Value.
        value: f32,
        /// Number of users.
        users: usize,
        /// Number of items.
        items: usize,
    },
    /// A parameter cannot be.
    #[error("{model}.{field}: got {got}, expected {expected}")]
    Config {
        /// Which model.
        model: String,
        /// Which key.
        field: String,
        /// What was there.
        got: String,
        /// What should have been.
        expected: String,
    },
    /// Order in time was asked for.
    #[error("rating {at}: got no moment, expected one in each for folds by time")]
    Untimed {
        /// Its number, from 0.
        at: usize,
    },
    /// Too few for so many folds.
    #[error("folds: got {folds} for {ratings} ratings, expected 2 to the number of ratings")]
    Folds {
        /// Folds asked for.
        folds: usize,
        /// Ratings there are.
        ratings: usize,
    },
}

/// Ratings sorted by user, then item. Several of one pair all count.
#[derive(Debug, Clone)]
pub struct Ratings {
    /// Number of users.
    pub n_users: usize,
    /// Number of items.
    pub n_items: usize,
    /// All, by user, then item.
    pub rows: Vec<Rating>,
    /// Start of each user's run in `rows`.
    pub offsets: Vec<usize>,
    /// Mean.
    pub mean: f32,
    /// Least value.
    pub low: f32,
    /// Greatest value.
    pub high: f32,
}

impl Ratings {
    /// Checks and sorts.
    ///
    /// # Errors
    /// [`RatingsError::Empty`] and [`RatingsError::Row`].
    pub fn new(n_users: usize, n_items: usize, mut rows: Vec<Rating>) -> Result<Ratings, RatingsError> {
        if rows.is_empty() {
            return Err(RatingsError::Empty);
        }
        let sane =
            |r: &Rating| (r.user as usize) < n_users && (r.item as usize) < n_items && r.value.is_finite();
        if let Some((at, row)) = rows.iter().enumerate().find(|(_, row)| !sane(row)) {
            return Err(RatingsError::Row {
                at,
                user: row.user,
                item: row.item,
                value: row.value,
                users: n_users,
                items: n_items,
            });
        }
        rows.sort_by(|a, b| {
            (a.user, a.item)
                .cmp(&(b.user, b.item))
                .then(a.value.total_cmp(&b.value))
        });
        let mut offsets = vec![0usize; n_users + 1];
        rows.iter().for_each(|row| offsets[row.user as usize + 1] += 1);
        for user in 0..n_users {
            offsets[user + 1] += offsets[user];
        }
        let total: f64 = rows.iter().map(|row| f64::from(row.value)).sum();
        let values = || rows.iter().map(|row| row.value);
        Ok(Ratings {
            n_users,
            n_items,
            mean: (total / rows.len() as f64) as f32,
            low: values().fold(f32::INFINITY, f32::min),
            high: values().fold(f32::NEG_INFINITY, f32::max),
            offsets,
            rows,
        })
    }

    /// What one user rated, by item.
    pub fn of_user(&self, user: usize) -> &[Rating] {
        &self.rows[self.offsets[user]..self.offsets[user + 1]]
    }

    /// By item: (user, value), users ascending.
    pub(crate) fn by_item(&self) -> Vec<Vec<(u32, f32)>> {
        let mut lists = vec![Vec::new(); self.n_items];
        for row in &self.rows {
            lists[row.item as usize].push((row.user, row.value));
        }
        lists
    }

    /// Within the scale seen in training.
    pub(crate) fn clamp(&self) -> (f32, f32) {
        (self.low, self.high)
    }
}
