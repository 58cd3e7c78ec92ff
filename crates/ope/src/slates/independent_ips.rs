//! Independent inverse propensity score: one weight per position.
//!
//! `mean(Σ_l w_l r_l)`, `w_l` from the probabilities of the item at its position. Right if the reward at a position depends on the item there
//! alone. The self-normalised kind divides by the mean weight of the position. Li, Abbasi-Yadkori, Kveton and others, 2018.

use crate::slates::by_position;
use crate::{Contributions, Refusal, SlateEntry, SlateEstimator, SlateLog};

/// The line of the table.
pub(crate) const ENTRY: SlateEntry = SlateEntry {
    name: "independent_ips",
    summary: "one weight per position",
    source: "Li and others, 2018",
    propensities: |log| log.logged(&log.marginal),
    build: || Box::new(IndependentIpsEstimator { normalised: false }),
};

/// The line of the self-normalised kind.
pub(crate) const SELF_NORMALISED: SlateEntry = SlateEntry {
    name: "sn_independent_ips",
    summary: "one weight per position, self-normalised",
    source: "Li and others, 2018",
    propensities: |log| log.logged(&log.marginal),
    build: || Box::new(IndependentIpsEstimator { normalised: true }),
};

#[derive(Debug)]
struct IndependentIpsEstimator {
    normalised: bool,
}

impl SlateEstimator for IndependentIpsEstimator {
    fn contributions(&self, log: &SlateLog) -> Result<Contributions, Refusal> {
        let pair = log.marginal.as_ref().ok_or_else(|| log.lacks_marginals())?;
        Ok(by_position(log, pair.weights(), self.normalised))
    }
}
