//! Cascade doubly robust: prefix weights, with a reward model by position.
//!
//! `mean(Σ_l w_{1:l−1} q_l(target) + w_{1:l} (r_l − q_l(logged)))`, `q_l(target)` the model's mean over the target's choice at l after the logged items above. Right if
//! people go from top to bottom, whatever the model. The self-normalised kind divides each weight by its mean at the position. Kiyohara,
//! Saito, Matsuhiro and others, 2022, with a model of the reward at the position itself.

use crate::slates::{assembled, ratio};
use crate::{Contributions, Refusal, SlateEntry, SlateEstimator, SlateLog};

/// The line of the table.
pub(crate) const ENTRY: SlateEntry = SlateEntry {
    name: "cascade_dr",
    summary: "prefix weights with a reward model",
    source: "Kiyohara and others, 2022",
    propensities: |log| log.logged(&log.prefix),
    build: || Box::new(CascadeDrEstimator { normalised: false }),
};

/// The line of the self-normalised kind.
pub(crate) const SELF_NORMALISED: SlateEntry = SlateEntry {
    name: "sn_cascade_dr",
    summary: "prefix weights with a reward model, self-normalised",
    source: "Kiyohara and others, 2022",
    propensities: |log| log.logged(&log.prefix),
    build: || Box::new(CascadeDrEstimator { normalised: true }),
};

#[derive(Debug)]
struct CascadeDrEstimator {
    normalised: bool,
}

impl SlateEstimator for CascadeDrEstimator {
    fn contributions(&self, log: &SlateLog) -> Result<Contributions, Refusal> {
        let pair = log.prefix.as_ref();
        let pair = pair.ok_or_else(|| Refusal::lacks("the probabilities of prefixes under both policies"))?;
        let model = log.model.as_ref();
        let (logged, target) = model.ok_or_else(|| log.absent.model("a reward model by position"))?;
        let weights = pair.weights();
        let positions = log.n_positions;
        // Weight of what is above each position.
        let above: Vec<f64> = (0..weights.len())
            .map(|row| {
                if row % positions == 0 {
                    1.0
                } else {
                    weights[row - 1]
                }
            })
            .collect();
        let promised: Vec<f64> = above.iter().zip(target).map(|(w, q)| w * q).collect();
        let missed = weights.iter().zip(log.rewards.iter().zip(logged));
        let missed: Vec<f64> = missed.map(|(w, (r, q))| w * (r - q)).collect();
        if !self.normalised {
            let base = promised
                .chunks_exact(positions)
                .zip(missed.chunks_exact(positions));
            let base = base.map(|(promised, missed)| promised.iter().chain(missed).sum());
            return Ok(assembled(base.collect(), Vec::new(), weights));
        }
        let base = promised.iter().step_by(positions).copied().collect();
        let ratios = (1..positions).map(|at| ratio(log, at, &promised, &above));
        let ratios = ratios.chain((0..positions).map(|at| ratio(log, at, &missed, &weights)));
        Ok(assembled(base, ratios.collect(), weights))
    }
}
