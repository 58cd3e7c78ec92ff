//! Self-normalised doubly robust: the correction is a weighted mean of residuals.
//!
//! `mean(Σ_a target(a) q(a)) + Σ w (r − q(logged)) / Σ w`. Steadier than the plain one where weights are large. Thomas and Brunskill,
//! 2016. One pass over rounds × actions.

use crate::contributions::{corrected, unchanged};
use crate::{Contributions, Entry, Estimator, Log, Needs, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "sndr",
    summary: "self-normalised doubly robust",
    source: "Thomas and Brunskill, 2016",
    needs: Needs {
        model: true,
        support: SupportOf::Actions,
    },
    parameter: None,
    unbiased: None,
    build: |_| Box::new(SndrEstimator),
};

#[derive(Debug)]
struct SndrEstimator;

impl Estimator for SndrEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        corrected(log, &unchanged(), true)
    }
}
