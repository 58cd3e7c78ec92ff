//! The feature catalogue: what rankers know of a candidate, defined once for training and serving.
//!
//! A feature has a name, `family` or `family:argument`, and the name is all there is to its definition: whoever knows the name computes the same number. Each
//! family says in one place ([`FAMILIES`]) which state it keeps, how an event updates that and how it is read.

mod counts;
mod facts;
mod families;

pub use counts::{DAYS_KEPT, ItemCounts};
pub use facts::{FactsSource, ItemFacts};
pub use families::{CONTEXT_FAMILIES, FAMILIES, Family};

use counts::Tallies;
use domain::{Candidate, Query};
use std::cell::OnceCell;
use std::ops::Deref;
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

/// A moment while its features are read, with what several of them share.
pub(crate) struct Reading<'a> {
    moment: &'a Moment<'a>,
    tallies: OnceCell<Tallies>,
}

impl<'a> Deref for Reading<'a> {
    type Target = Moment<'a>;

    fn deref(&self) -> &Moment<'a> {
        self.moment
    }
}

impl Reading<'_> {
    /// Events of a type about each candidate on the latest `days` days.
    pub(crate) fn counts_of<'s>(
        &'s self,
        candidates: &'s [Candidate],
        kind: u16,
        days: i32,
    ) -> impl Iterator<Item = u64> + 's {
        let now = self.query.now;
        let tallies = self.tallies.get_or_init(|| {
            self.counts
                .tallies(candidates.iter().map(|candidate| candidate.item), now)
        });
        candidates.iter().enumerate().map(move |(row, candidate)| {
            let tallied = tallies.get(row, kind, days);
            tallied.unwrap_or_else(|| self.counts.of_item(candidate.item, kind, now, days))
        })
    }
}

/// What a feature does with a batch of candidates: one number each, NaN for missing.
pub(crate) type Read = Box<dyn Fn(&Reading<'_>, &[Candidate], &mut dyn FnMut(usize, f32)) + Send + Sync>;

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
        let width = self.reads.len();
        let reading = Reading {
            moment,
            tallies: OnceCell::new(),
        };
        let mut values = vec![f32::NAN; width * candidates.len()];
        for (column, read) in self.reads.iter().enumerate() {
            read(&reading, candidates, &mut |row, value| {
                values[row * width + column] = if value.is_infinite() { f32::NAN } else { value };
            });
        }
        values
    }
}
