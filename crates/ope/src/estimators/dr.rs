//! Doubly robust: the reward model's value of the target, corrected by the weighted residuals of the logged actions.
//!
//! `mean(Σ_a target(a) q(a) + w (r − q(logged)))`. Unbiased where propensities and support hold, whatever the model; the better the
//! model, the smaller the variance. Dudík, Langford and Li, 2011. One pass over rounds × actions.

use crate::contributions::{corrected, unchanged};
use crate::{Contributions, Entry, Estimator, Log, Needs, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "dr",
    summary: "doubly robust",
    source: "Dudík, Langford and Li, 2011",
    needs: Needs {
        model: true,
        support: SupportOf::Actions,
    },
    parameter: None,
    unbiased: None,
    build: |_| Box::new(DrEstimator),
};

#[derive(Debug)]
struct DrEstimator;

impl Estimator for DrEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        corrected(log, &unchanged(), false)
    }
}
