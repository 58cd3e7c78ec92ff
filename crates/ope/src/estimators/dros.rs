//! Doubly robust with optimistic shrinkage: weights shrink the more, the larger they are.
//!
//! `mean(Σ_a target(a) q(a) + λ w / (w² + λ) (r − q(logged)))`; no weight is above √λ / 2. λ = 0 is the reward model alone, λ → ∞ is doubly robust.
//! Su, Dimakopoulou, Krishnamurthy and Dudík, 2020. One pass over rounds × actions.

use crate::contributions::{Change, corrected};
use crate::estimators::largest;
use crate::{Contributions, Entry, Estimator, Log, Needs, Parameter, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "dros",
    summary: "doubly robust with optimistic shrinkage",
    source: "Su and others, 2020",
    needs: Needs {
        model: true,
        support: SupportOf::Actions,
    },
    parameter: Some(Parameter {
        name: "lambda",
        meaning: "the smaller, the more weights shrink",
        range: (0.0, f64::MAX),
        grid,
    }),
    unbiased: Some("dr"),
    build: |lambda| Box::new(DrosEstimator { lambda }),
};

#[derive(Debug)]
struct DrosEstimator {
    lambda: f64,
}

impl Estimator for DrosEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        let lambda = self.lambda;
        let change = Change {
            of: |w: f64| {
                if lambda > 0.0 {
                    lambda * w / (w * w + lambda)
                } else {
                    0.0
                }
            },
            bound: 0.5 * lambda.sqrt(),
        };
        corrected(log, &change, false)
    }
}

/// From next to no shrinkage of the largest weight down to much for all.
fn grid(weights: &[f64]) -> Vec<f64> {
    let most = 1000.0 * largest(weights).powi(2);
    let steps = (0..40).map(|k| most * 0.25f64.powi(k));
    steps.take_while(|lambda| *lambda > 0.1).collect()
}
