//! Inverse propensity score with weights clipped from above.
//!
//! `mean(min(w, weight_max) r)`. Biased towards zero for rewards that are not negative, with a variance that is bounded. Ionides, 2008 (truncated importance
//! sampling); Bottou and others, 2013. One pass over the rounds.

use crate::contributions::{Change, weighted};
use crate::estimators::thresholds;
use crate::{Contributions, Entry, Estimator, Log, Needs, Parameter, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "ips_clip",
    summary: "inverse propensity score, weights clipped",
    source: "Ionides, 2008",
    needs: Needs {
        model: false,
        support: SupportOf::Actions,
    },
    parameter: Some(Parameter {
        name: "weight_max",
        meaning: "no weight counts for more",
        range: (0.0, f64::MAX),
        grid: thresholds,
    }),
    unbiased: Some("ips"),
    build: |weight_max| Box::new(ClippedIpsEstimator { weight_max }),
};

#[derive(Debug)]
struct ClippedIpsEstimator {
    weight_max: f64,
}

impl Estimator for ClippedIpsEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        let weight_max = self.weight_max;
        let change = Change {
            of: |w: f64| w.min(weight_max),
            bound: weight_max,
        };
        weighted(log, &change, false)
    }
}
