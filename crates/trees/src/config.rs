//! How trees are learnt.

use crate::TreesError;
use serde::{Deserialize, Serialize};

/// What is to be small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Pairs within a group, each weighed by how much NDCG would change if the two traded places. Labels are grades; the gain of a grade is
    /// 2^grade − 1. The weight of a pair is that of its better row. Source: C. Burges (2010), "From RankNet to LambdaRank to
    /// LambdaMART: an overview", MSR-TR-2010-82.
    Lambdamart,
    /// Pairs within a group, each counting the same (RankNet).
    Pairwise,
    /// Logistic loss; labels are 0 or 1. A label above 1 is a 1 that stands for several, as with inverse propensities: the gradient is σ(score) − label.
    LogLoss,
    /// Half the squared error; labels are any number.
    SquaredError,
}

impl Objective {
    /// True if rows are compared within groups.
    pub fn ranks(self) -> bool {
        matches!(self, Objective::Lambdamart | Objective::Pairwise)
    }
}

/// Configuration of [`train`](crate::train).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreesConfig {
    /// What is to be small.
    pub objective: Objective,
    /// Trees at most, 1 to 100,000.
    pub trees: usize,
    /// Leaves per tree at most, 2 to 4,096. Scoring is fastest up to 32.
    pub leaves: usize,
    /// Depth of a tree at most; 0 for no limit.
    pub depth_max: usize,
    /// What share of each tree's answer is taken, above 0 to 1.
    pub learning_rate: f64,
    /// Rows in a leaf at least (estimated from the hessians while splits are compared).
    pub leaf_rows_min: usize,
    /// Sum of hessians in a leaf at least.
    pub leaf_hessian_min: f64,
    /// Added to the sum of hessians (λ), at least 0.
    pub reg: f64,
    /// Gain below which a leaf is not split, at least 0.
    pub gain_min: f64,
    /// Histogram bins per feature, 2 to 255.
    pub bins_max: usize,
    /// Share of the rows that a tree sees, above 0 to 1. Groups are taken or left whole for objectives that rank.
    pub row_share: f64,
    /// Share of the features that a tree sees, above 0 to 1.
    pub feature_share: f64,
    /// Added to the hessian of a category when categories are put in order.
    pub category_smooth: f64,
    /// Added to λ for splits by category.
    pub category_reg: f64,
    /// Categories on one side of a split at most.
    pub category_values_max: usize,
    /// Ranks of a group that pairs must touch (LambdaMART and pairwise), and the depth of the NDCG that is improved.
    pub truncation: usize,
    /// Whether pairs and groups are brought to a like scale (LambdaMART).
    pub normalise: bool,
    /// Steepness of the logistic curve (σ), above 0.
    pub sigma: f64,
    /// Trees without improvement on the validation rows after which learning stops; 0 for never.
    pub stop_after: usize,
    /// Depth of the NDCG that validation looks at.
    pub metric_k: usize,
    /// Source of all randomness.
    pub seed: u64,
}

impl Default for TreesConfig {
    fn default() -> Self {
        TreesConfig {
            objective: Objective::Lambdamart,
            trees: 300,
            leaves: 31,
            depth_max: 0,
            learning_rate: 0.1,
            leaf_rows_min: 20,
            leaf_hessian_min: 1e-3,
            reg: 0.0,
            gain_min: 0.0,
            bins_max: 255,
            row_share: 1.0,
            feature_share: 1.0,
            category_smooth: 10.0,
            category_reg: 10.0,
            category_values_max: 32,
            truncation: 30,
            normalise: true,
            sigma: 1.0,
            stop_after: 0,
            metric_k: 10,
            seed: 1,
        }
    }
}

impl TreesConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// The first key that cannot be.
    pub fn check(&self) -> Result<(), TreesError> {
        let counts = [
            ("trees", self.trees, 1, 100_000),
            ("leaves", self.leaves, 2, 4096),
            ("leaf_rows_min", self.leaf_rows_min, 1, 1 << 30),
            ("bins_max", self.bins_max, 2, 255),
            ("category_values_max", self.category_values_max, 1, 255),
            ("truncation", self.truncation, 1, 1 << 20),
            ("metric_k", self.metric_k, 1, 1 << 20),
        ];
        for (field, value, low, high) in counts {
            if !(low..=high).contains(&value) {
                return Err(TreesError::input(field, value, format!("{low} to {high}")));
            }
        }
        for (field, share) in [
            ("learning_rate", self.learning_rate),
            ("row_share", self.row_share),
            ("feature_share", self.feature_share),
        ] {
            if !(share > 0.0 && share <= 1.0) {
                return Err(TreesError::input(field, share, "above 0 and at most 1"));
            }
        }
        for (field, value) in [
            ("leaf_hessian_min", self.leaf_hessian_min),
            ("reg", self.reg),
            ("gain_min", self.gain_min),
            ("category_smooth", self.category_smooth),
            ("category_reg", self.category_reg),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(TreesError::input(field, value, "a number of at least 0"));
            }
        }
        if !(self.sigma.is_finite() && self.sigma > 0.0) {
            return Err(TreesError::input("sigma", self.sigma, "a number above 0"));
        }
        Ok(())
    }
}
