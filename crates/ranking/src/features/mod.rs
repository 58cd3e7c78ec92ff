//! The feature catalogue: what rankers know of a candidate, defined once for training and serving.
//!
//! A feature has a name, `family` or `family:argument`, and the name is all there is to its definition: whoever knows the name computes the same number. Each
//! family says in one place ([`FAMILIES`]) which state it keeps, how an event updates that and how it is read.

mod counts;
mod facts;
mod families;
mod reading;

pub use counts::{DAYS_KEPT, ItemCounts};
pub use facts::{FactsSource, ItemFacts};
pub use families::{CONTEXT_FAMILIES, FAMILIES, Family};

use domain::{Candidate, Query};
use reading::Reading;
use trees::Feature;

/// All that features are read from, at one moment.
pub struct Moment<'a> {
    /// The request, with the person's history.
    pub query: &'a Query,
    /// Events counted, as of a sequence number.
    pub counts: &'a ItemCounts,
    /// What is known of items.
    pub facts: &'a dyn FactsSource,
    /// Scores of the model, one per candidate; empty if there is none.
    pub model_scores: &'a [f32],
    /// Places in the slate from 1, one per candidate; empty where they are yet to be given, which counts as the first place for all.
    pub positions: &'a [u32],
}

/// A name that stands for no feature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("feature {name:?}: expected {expected}")]
pub struct FeatureError {
    /// The name.
    pub name: String,
    /// What would have been one.
    pub expected: String,
}

/// What a feature does with a batch of candidates: a number for each in its column, which is filled with NaN, for missing, before.
pub(crate) type Read = Box<dyn Fn(&Reading<'_>, &mut [f32]) + Send + Sync>;

/// Features in a fixed order, ready to be read.
pub struct FeatureSet {
    features: Vec<Feature>,
    reads: Vec<Read>,
}

impl std::fmt::Debug for FeatureSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FeatureSet").field(&self.features).finish()
    }
}

/// What a set is made for: attributes by kind, sources and counted types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Names of the sources.
    pub sources: Vec<String>,
    /// Attributes of items that are numbers.
    pub item_numbers: Vec<String>,
    /// Attributes of items that are categories.
    pub item_categories: Vec<String>,
    /// Attributes of items that are tags or references.
    pub item_tags: Vec<String>,
    /// Attributes of users that are categories.
    pub user_categories: Vec<String>,
    /// Attributes of users that are numbers.
    pub user_numbers: Vec<String>,
    /// Types of events that are counted and are no exposures.
    pub outcomes: Vec<String>,
    /// Types of events that are exposures.
    pub exposures: Vec<String>,
}

impl FeatureSet {
    /// The features of these names, in their order.
    ///
    /// # Errors
    /// A name that stands for no feature, or one that comes twice.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Result<FeatureSet, FeatureError> {
        let mut set = FeatureSet {
            features: Vec::new(),
            reads: Vec::new(),
        };
        for name in names.iter().map(AsRef::as_ref) {
            if set.features.iter().any(|feature| feature.name == name) {
                return Err(FeatureError {
                    name: name.to_owned(),
                    expected: "each feature once".to_owned(),
                });
            }
            let (feature, read) = families::build(name)?;
            set.features.push(feature);
            set.reads.push(read);
        }
        Ok(set)
    }

    /// Every feature that can be read where this is known, at most 255, in the order of the families.
    pub fn all(known: &Known) -> FeatureSet {
        let mut names: Vec<String> = FAMILIES.iter().flat_map(|family| (family.names)(known)).collect();
        names.truncate(255);
        FeatureSet::new(&names).expect("families give names that they can read, each once")
    }

    /// The features, in order.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<String> {
        self.features.iter().map(|feature| feature.name.clone()).collect()
    }

    /// Number of features.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// The features of every candidate, row after row.
    ///
    /// Cost: a pass over the history per feature that looks at it, and a few operations per candidate and feature.
    pub fn read(&self, moment: &Moment<'_>, candidates: &[Candidate]) -> Vec<f32> {
        let mut columns = Vec::new();
        self.read_columns(moment, candidates, &mut columns);
        let (width, height) = (self.reads.len(), candidates.len());
        let mut values = vec![f32::NAN; columns.len()];
        for (at, column) in columns.chunks(height.max(1)).enumerate() {
            for (row, value) in column.iter().enumerate() {
                values[row * width + at] = *value;
            }
        }
        values
    }

    /// The same, feature after feature, in place of what `columns` held: a buffer that is used again spares the memory anew.
    pub fn read_columns(&self, moment: &Moment<'_>, candidates: &[Candidate], columns: &mut Vec<f32>) {
        let height = candidates.len();
        columns.clear();
        columns.resize(self.reads.len() * height, f32::NAN);
        let reading = Reading::new(moment, candidates);
        for (read, column) in self.reads.iter().zip(columns.chunks_mut(height.max(1))) {
            read(&reading, column);
            // Without a branch, several at a time.
            for value in column {
                *value = if value.is_infinite() { f32::NAN } else { *value };
            }
        }
    }
}
