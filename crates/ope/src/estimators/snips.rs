//! Self-normalised inverse propensity score: the weighted mean of rewards.
//!
//! `Σ w r / Σ w`. Consistent, stays within the range of rewards, does not change when all rewards are shifted; a bias of order 1/n.
//! Swaminathan and Joachims, 2015. One pass over the rounds.

use crate::contributions::{unchanged, weighted};
use crate::{Contributions, Entry, Estimator, Log, Needs, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "snips",
    summary: "self-normalised inverse propensity score",
    source: "Swaminathan and Joachims, 2015",
    needs: Needs {
        model: false,
        support: SupportOf::Actions,
    },
    parameter: None,
    unbiased: None,
    build: |_| Box::new(SnipsEstimator),
};

#[derive(Debug)]
struct SnipsEstimator;

impl Estimator for SnipsEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        weighted(log, &unchanged(), true)
    }
}
