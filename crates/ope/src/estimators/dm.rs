//! Direct method: what the reward model says about the target's choices.
//!
//! `mean(Σ_a target(a) q(a))`. No weights, little variance, and all of the model's bias. The model is best learnt on other rounds than those it
//! speaks about ([`cross_fit`](crate::cross_fit)). Its spread over rounds knows nothing of the model's error, so its interval is that of `dr`. Beygelzimer and
//! Langford, 2009. One pass over rounds × actions.

use crate::contributions::{modelled, range};
use crate::{Contributions, Entry, Estimator, Log, Needs, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "dm",
    summary: "direct method: the reward model alone",
    source: "Beygelzimer and Langford, 2009",
    needs: Needs {
        model: true,
        support: SupportOf::Nothing,
    },
    parameter: None,
    unbiased: Some("dr"),
    build: |_| Box::new(DmEstimator),
};

#[derive(Debug)]
struct DmEstimator;

impl Estimator for DmEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        let (base, model) = modelled(log)?;
        Ok(Contributions {
            base,
            ratios: Vec::new(),
            weights: None,
            weight_bound: Some(0.0),
            model_range: range(model),
        })
    }
}
