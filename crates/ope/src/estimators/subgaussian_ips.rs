//! Sub-Gaussian inverse propensity score: weights are bent so that the tails of the estimate are those of a Gaussian.
//!
//! `mean(w / (1 − λ + λ w) r)`, the harmonic mean of 1 and w, weighted by λ; no weight is above 1/λ. Metelli, Russo and Restelli, 2021. One pass over the
//! rounds.

use crate::contributions::{Change, weighted};
use crate::estimators::unit_grid;
use crate::{Contributions, Entry, Estimator, Log, Needs, Parameter, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "subgaussian_ips",
    summary: "inverse propensity score with bent weights",
    source: "Metelli, Russo and Restelli, 2021",
    needs: Needs {
        model: false,
        support: SupportOf::Actions,
    },
    parameter: Some(Parameter {
        name: "lambda",
        meaning: "0 leaves weights as they are, 1 makes all of them 1",
        range: (0.0, 1.0),
        grid: unit_grid,
    }),
    unbiased: Some("ips"),
    build: |lambda| Box::new(SubgaussianIpsEstimator { lambda }),
};

#[derive(Debug)]
struct SubgaussianIpsEstimator {
    lambda: f64,
}

impl Estimator for SubgaussianIpsEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        let lambda = self.lambda;
        let change = Change {
            of: |w: f64| bent(w, lambda),
            bound: 1.0 / lambda,
        };
        weighted(log, &change, false)
    }
}

/// A bent weight; zero stays zero.
pub(crate) fn bent(w: f64, lambda: f64) -> f64 {
    let below = 1.0 - lambda + lambda * w;
    if below > 0.0 { w / below } else { 0.0 }
}
