//! Gradient-boosted regression trees: learnt from histograms, grown leaf by leaf, for ranking (LambdaMART and plain
//! pairs), for probabilities and for numbers.
//!
//! [`train`] takes rows of features with labels, and for ranking the sizes of the groups they belong to, and gives a
//! [`Forest`]. A forest scores rows one by one, takes a score apart exactly ([`Forest::contributions`]), and is written to and
//! read from bytes with a checksum. A [`Scorer`] is the same forest laid out for speed: the same scores to the last bit.
//!
//! The same rows, configuration and seed give the same bytes at any number of threads: gradients are rounded to whole numbers before they are
//! summed into histograms, so that no sum depends on its order.
//!
//! What this crate does not know: items, users, what a feature means, files.

mod artefact;
mod bins;
mod config;
mod contributions;
mod error;
mod exponential;
mod forest;
mod grow;
mod histogram;
mod metric;
mod objective;
mod scorer;
#[cfg(target_arch = "x86_64")]
mod scorer_simd;
mod split;
mod table;
mod train;

pub use config::{Objective, TreesConfig};
pub use error::TreesError;
pub use forest::{Forest, Node, Place, Test, Tree};
pub use metric::{log_loss, ndcg};
pub use scorer::{Kernel, Scorer};
pub use table::{CATEGORY_MAX, Feature, FeatureKind, Monotone, Rows};
pub use train::{Trained, train};
