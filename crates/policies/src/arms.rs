//! What a policy chooses from.

use std::sync::Arc;

/// One item that may be chosen, with all that a policy may know of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arm {
    /// How good it is thought to be; finite. The mean of the posterior for Thompson sampling.
    pub score: f64,
    /// Variance of that belief, in squared units of the score; finite, not negative.
    pub variance: f64,
    /// Times that it was shown and something came of it; not negative.
    pub wins: f64,
    /// Times that it was shown and nothing came of it; not negative.
    pub losses: f64,
    /// True for an item that is new and is owed exposure.
    pub fresh: bool,
    /// False for an item that may not be shown: its probability is exactly 0.
    pub open: bool,
}

impl Arm {
    /// An arm that may be shown, of which nothing but the score is known.
    pub fn of_score(score: f64) -> Arm {
        Arm {
            score,
            variance: 0.0,
            wins: 0.0,
            losses: 0.0,
            fresh: false,
            open: true,
        }
    }
}

/// Draws of all scores from their joint posterior: draw by draw, arm by arm.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    n_arms: usize,
    values: Arc<Vec<f64>>,
}

impl Samples {
    /// `values` holds one run of `n_arms` scores for each draw.
    ///
    /// # Panics
    /// If `values` does not divide into such runs.
    pub fn new(n_arms: usize, values: Vec<f64>) -> Samples {
        assert!(
            n_arms > 0 && values.len().is_multiple_of(n_arms),
            "{} values for {n_arms} arms",
            values.len()
        );
        Samples {
            n_arms,
            values: Arc::new(values),
        }
    }

    /// Scores of all arms, for each draw.
    pub fn draws(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.n_arms.max(1))
    }

    /// How many draws.
    pub fn n_draws(&self) -> usize {
        self.values.len() / self.n_arms.max(1)
    }
}

/// What a policy chooses from: arms in order of preference, best first. Policies that go by the order take it as it is; those that go by
/// scores look at the scores. Equal scores go by the order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arms {
    list: Vec<Arm>,
}

impl Arms {
    /// These arms. Scores and variances that are not finite, and negative variances and counts, are refused.
    ///
    /// # Errors
    /// The place of the first arm that cannot be.
    pub fn new(list: Vec<Arm>) -> Result<Arms, usize> {
        let fine = |arm: &Arm| {
            let not_negative = [arm.variance, arm.wins, arm.losses];
            arm.score.is_finite() && not_negative.iter().all(|v| v.is_finite() && *v >= 0.0)
        };
        match list.iter().position(|arm| !fine(arm)) {
            Some(at) => Err(at),
            None => Ok(Arms { list }),
        }
    }

    /// All of them, in order.
    pub fn list(&self) -> &[Arm] {
        &self.list
    }

    /// How many, closed ones included.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many may be shown.
    pub fn n_open(&self) -> usize {
        self.list.iter().filter(|arm| arm.open).count()
    }

    /// Places of those that may be shown, in order.
    pub fn open(&self) -> Vec<usize> {
        (0..self.list.len()).filter(|at| self.list[*at].open).collect()
    }

    /// Which may still be placed after these.
    pub(crate) fn left(&self, prefix: &[usize]) -> Vec<bool> {
        let mut left: Vec<bool> = self.list.iter().map(|arm| arm.open).collect();
        for at in prefix {
            left[*at] = false;
        }
        left
    }
}
