//! Inverse propensity score: each reward counts as often as the target is likelier to earn it than the logging policy was.
//!
//! `mean(w r)`, `w = target / propensity`. Unbiased where support holds; the variance grows with the square of the weights. Horvitz and
//! Thompson, 1952; Strehl and others, 2010. One pass over the rounds.

use crate::contributions::{unchanged, weighted};
use crate::{Contributions, Entry, Estimator, Log, Needs, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "ips",
    summary: "inverse propensity score",
    source: "Horvitz and Thompson, 1952",
    needs: Needs {
        model: false,
        support: SupportOf::Actions,
    },
    parameter: None,
    unbiased: None,
    build: |_| Box::new(IpsEstimator),
};

#[derive(Debug)]
struct IpsEstimator;

impl Estimator for IpsEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        weighted(log, &unchanged(), false)
    }
}
