//! Rows to learn from.

use crate::{TreesConfig, TreesError};
use serde::{Deserialize, Serialize};

/// Largest number of a category.
pub const CATEGORY_MAX: u32 = 65_535;
/// Largest number of rows: positions of rows are 32 bits wide, and sums of rounded gradients have to fit.
const ROWS_MAX: usize = 1 << 28;

/// How a feature is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// A number; NaN where it is missing.
    Number,
    /// A whole number from 0 to [`CATEGORY_MAX`] that stands for something without order; anything else counts as missing.
    Category,
}

/// Which way a score may go as a number rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monotone {
    /// Any.
    #[default]
    Free,
    /// The score never falls.
    Rising,
    /// The score never rises.
    Falling,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// How it is read.
    pub kind: FeatureKind,
    /// Which way the score may go with it.
    pub monotone: Monotone,
}

impl Feature {
    /// A number without constraint.
    pub fn number(name: impl Into<String>) -> Feature {
        Feature {
            name: name.into(),
            kind: FeatureKind::Number,
            monotone: Monotone::Free,
        }
    }

    /// A category.
    pub fn category(name: impl Into<String>) -> Feature {
        Feature {
            kind: FeatureKind::Category,
            ..Feature::number(name)
        }
    }
}

/// Labelled rows.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The columns.
    pub features: &'a [Feature],
    /// `n_rows × n_features`, row after row. Not infinite.
    pub values: &'a [f32],
    /// One per row; what they mean is said by the objective.
    pub labels: &'a [f32],
    /// One per row, above 0; empty for 1 each.
    pub weights: &'a [f32],
    /// Sizes of the groups in order, for objectives that rank; empty for none.
    pub groups: &'a [u32],
}

impl Rows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The values of a row.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        let width = self.features.len();
        &self.values[row * width..(row + 1) * width]
    }

    /// The weight of a row.
    pub(crate) fn weight(&self, row: usize) -> f64 {
        self.weights.get(row).map_or(1.0, |w| f64::from(*w))
    }

    /// First and last + 1 of each group.
    pub(crate) fn spans(&self) -> Vec<(usize, usize)> {
        let mut start = 0;
        let span = |size: &u32| {
            let begin = start;
            start += *size as usize;
            (begin, start)
        };
        self.groups.iter().map(span).collect()
    }

    pub(crate) fn check(&self, config: &TreesConfig) -> Result<(), TreesError> {
        let (rows, width) = (self.len(), self.features.len());
        if rows == 0 || rows > ROWS_MAX {
            return Err(TreesError::input("rows", rows, format!("1 to {ROWS_MAX}")));
        }
        if width == 0 || width > 65_535 {
            return Err(TreesError::input("features", width, "1 to 65535"));
        }
        if self.values.len() != rows * width {
            let expected = format!("{rows} rows of {width}: {}", rows * width);
            return Err(TreesError::input("values.length", self.values.len(), expected));
        }
        if let Some(at) = self.values.iter().position(|v| v.is_infinite()) {
            let field = format!("values of row {}, {}", at / width, self.features[at % width].name);
            return Err(TreesError::input(
                field,
                self.values[at],
                "a finite number or NaN",
            ));
        }
        if !self.weights.is_empty() && self.weights.len() != rows {
            return Err(TreesError::input(
                "weights.length",
                self.weights.len(),
                format!("0 or {rows}"),
            ));
        }
        if let Some(bad) = self.weights.iter().position(|w| !(w.is_finite() && *w > 0.0)) {
            return Err(TreesError::input(
                format!("weights[{bad}]"),
                self.weights[bad],
                "a number above 0",
            ));
        }
        let (low, high, words) = match config.objective {
            crate::Objective::Lambdamart | crate::Objective::Pairwise => (0.0, 31.0, "a grade from 0 to 31"),
            crate::Objective::LogLoss => (0.0, 1e6, "a number from 0"),
            crate::Objective::SquaredError => (f32::MIN, f32::MAX, "a finite number"),
        };
        if let Some(bad) = self.labels.iter().position(|l| !(low..=high).contains(l)) {
            return Err(TreesError::input(
                format!("labels[{bad}]"),
                self.labels[bad],
                words,
            ));
        }
        let grouped: usize = self.groups.iter().map(|g| *g as usize).sum();
        if (config.objective.ranks() || !self.groups.is_empty()) && grouped != rows {
            return Err(TreesError::input(
                "sum of groups",
                grouped,
                format!("{rows}, the number of rows"),
            ));
        }
        let constrained = |f: &&Feature| f.kind == FeatureKind::Category && f.monotone != Monotone::Free;
        if let Some(feature) = self.features.iter().find(constrained) {
            return Err(TreesError::input(
                format!("monotone of {}", feature.name),
                format!("{:?}", feature.monotone),
                "Free, since categories have no order",
            ));
        }
        Ok(())
    }
}
