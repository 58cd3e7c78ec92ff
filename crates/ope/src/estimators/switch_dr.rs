//! Switch-DR: doubly robust where the weight is moderate, the reward model alone where it is not.
//!
//! `mean(Σ_a target(a) q(a) + w [w ≤ threshold] (r − q(logged)))`. Wang, Agarwal and Dudík, 2017 (the switch on the residual, as the
//! Open Bandit Pipeline has it). One pass over rounds × actions.

use crate::contributions::{Change, corrected};
use crate::estimators::thresholds;
use crate::{Contributions, Entry, Estimator, Log, Needs, Parameter, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "switch_dr",
    summary: "doubly robust up to a weight, the reward model beyond",
    source: "Wang, Agarwal and Dudík, 2017",
    needs: Needs {
        model: true,
        support: SupportOf::Actions,
    },
    parameter: Some(Parameter {
        name: "threshold",
        meaning: "residuals with a larger weight are left out",
        range: (0.0, f64::MAX),
        grid: thresholds,
    }),
    unbiased: Some("dr"),
    build: |threshold| Box::new(SwitchDrEstimator { threshold }),
};

#[derive(Debug)]
struct SwitchDrEstimator {
    threshold: f64,
}

impl Estimator for SwitchDrEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        let threshold = self.threshold;
        let change = Change {
            of: |w: f64| if w <= threshold { w } else { 0.0 },
            bound: threshold,
        };
        corrected(log, &change, false)
    }
}
