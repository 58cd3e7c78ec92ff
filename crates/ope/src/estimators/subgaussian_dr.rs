//! Sub-Gaussian doubly robust: the weights of the residuals are bent so that the tails are those of a Gaussian.
//!
//! `mean(Σ_a target(a) q(a) + w / (1 − λ + λ w) (r − q(logged)))`. Metelli, Russo and Restelli, 2021. One pass over rounds × actions.

use crate::contributions::{Change, corrected};
use crate::estimators::{subgaussian_ips::bent, unit_grid};
use crate::{Contributions, Entry, Estimator, Log, Needs, Parameter, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "subgaussian_dr",
    summary: "doubly robust with bent weights",
    source: "Metelli, Russo and Restelli, 2021",
    needs: Needs {
        model: true,
        support: SupportOf::Actions,
    },
    parameter: Some(Parameter {
        name: "lambda",
        meaning: "0 leaves weights as they are, 1 makes all of them 1",
        range: (0.0, 1.0),
        grid: unit_grid,
    }),
    unbiased: Some("dr"),
    build: |lambda| Box::new(SubgaussianDrEstimator { lambda }),
};

#[derive(Debug)]
struct SubgaussianDrEstimator {
    lambda: f64,
}

impl Estimator for SubgaussianDrEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        let lambda = self.lambda;
        let change = Change {
            of: |w: f64| bent(w, lambda),
            bound: 1.0 / lambda,
        };
        corrected(log, &change, false)
    }
}
