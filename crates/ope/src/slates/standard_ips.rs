//! Slate inverse propensity score: one weight for the whole slate.
//!
//! `mean(w Σ_l r_l)`, `w` = the probability of the slate under the target by that under the logging policy. Assumes nothing about how items act on each other; the
//! weights grow with the power of the number of positions. The self-normalised kind divides by the mean weight. Precup, Sutton and Singh, 2000.

use crate::slates::by_slate;
use crate::{Contributions, Refusal, SlateEntry, SlateEstimator, SlateLog};

/// The line of the table.
pub(crate) const ENTRY: SlateEntry = SlateEntry {
    name: "standard_ips",
    summary: "one weight for the whole slate",
    source: "Precup, Sutton and Singh, 2000",
    propensities: |log| log.logged(&log.slate),
    build: || Box::new(StandardIpsEstimator { normalised: false }),
};

/// The line of the self-normalised kind.
pub(crate) const SELF_NORMALISED: SlateEntry = SlateEntry {
    name: "sn_standard_ips",
    summary: "one weight for the whole slate, self-normalised",
    source: "Precup, Sutton and Singh, 2000",
    propensities: |log| log.logged(&log.slate),
    build: || Box::new(StandardIpsEstimator { normalised: true }),
};

#[derive(Debug)]
struct StandardIpsEstimator {
    normalised: bool,
}

impl SlateEstimator for StandardIpsEstimator {
    fn contributions(&self, log: &SlateLog) -> Result<Contributions, Refusal> {
        let pair = log
            .slate
            .as_ref()
            .ok_or_else(|| Refusal::lacks("the probabilities of whole slates under both policies"))?;
        Ok(by_slate(log, pair.weights(), self.normalised))
    }
}
