//! Reward-interaction inverse propensity score: the weight of the prefix up to each position.
//!
//! `mean(Σ_l w_{1:l} r_l)`. Right if people go from top to bottom: the reward at a position depends on the items there and above. The self-normalised kind
//! divides by the mean weight of the position. McInerney, Brost, Chandar, Mehrotra and Carterette, 2020.

use crate::slates::by_position;
use crate::{Contributions, Refusal, SlateEntry, SlateEstimator, SlateLog};

/// The line of the table.
pub(crate) const ENTRY: SlateEntry = SlateEntry {
    name: "reward_interaction_ips",
    summary: "the weight of the prefix up to each position",
    source: "McInerney and others, 2020",
    propensities: |log| log.logged(&log.prefix),
    build: || Box::new(RewardInteractionIpsEstimator { normalised: false }),
};

/// The line of the self-normalised kind.
pub(crate) const SELF_NORMALISED: SlateEntry = SlateEntry {
    name: "sn_reward_interaction_ips",
    summary: "the weight of the prefix up to each position, self-normalised",
    source: "McInerney and others, 2020",
    propensities: |log| log.logged(&log.prefix),
    build: || Box::new(RewardInteractionIpsEstimator { normalised: true }),
};

#[derive(Debug)]
struct RewardInteractionIpsEstimator {
    normalised: bool,
}

impl SlateEstimator for RewardInteractionIpsEstimator {
    fn contributions(&self, log: &SlateLog) -> Result<Contributions, Refusal> {
        let pair = log
            .prefix
            .as_ref()
            .ok_or_else(|| Refusal::lacks("the probabilities of prefixes under both policies"))?;
        Ok(by_position(log, pair.weights(), self.normalised))
    }
}
