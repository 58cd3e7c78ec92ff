//! Marginalised inverse propensity score: weights of categories instead of actions.
//!
//! `mean(w(c) r)`, `w(c) = Σ_{a in c} target(a) / Σ_{a in c} logging(a)` for the category c of the logged action. Unbiased if the reward depends on the action by its
//! category alone; support is needed by category. With many actions its variance is far below that of plain weights. Saito and
//! Joachims, 2022, with the category as embedding. One pass over rounds × actions; needs both distributions.

use crate::{Contributions, Entry, Estimator, Log, Needs, Refusal, SupportOf};

/// The line of the table.
pub(crate) const ENTRY: Entry = Entry {
    name: "mips",
    summary: "inverse propensity score of categories of actions",
    source: "Saito and Joachims, 2022",
    needs: Needs {
        model: false,
        support: SupportOf::Categories,
    },
    parameter: None,
    unbiased: None,
    build: |_| Box::new(MipsEstimator),
};

#[derive(Debug)]
struct MipsEstimator;

impl Estimator for MipsEstimator {
    fn contributions(&self, log: &Log) -> Result<Contributions, Refusal> {
        let masses = masses(log)?;
        let own = masses.iter().zip(log.actions());
        let weights: Vec<f64> = own
            .map(|(by_category, action)| {
                let (target, logging) = by_category[masses_at(log, *action)];
                target / logging
            })
            .collect();
        let bound = masses
            .iter()
            .flatten()
            .filter(|(_, logging)| *logging > 0.0)
            .fold(0.0, |bound: f64, (target, logging)| bound.max(target / logging));
        Ok(Contributions {
            base: weights.iter().zip(log.rewards()).map(|(w, r)| w * r).collect(),
            ratios: Vec::new(),
            weights: Some(weights),
            weight_bound: Some(bound),
            model_range: (0.0, 0.0),
        })
    }
}

fn masses_at(log: &Log, action: u32) -> usize {
    log.categories()
        .map_or(0, |categories| categories[action as usize] as usize)
}

/// The target's and the logging policy's mass of each category in each round.
pub(crate) fn masses(log: &Log) -> Result<Vec<Vec<(f64, f64)>>, Refusal> {
    let categories = log
        .categories()
        .ok_or_else(|| Refusal::lacks("categories of actions"))?;
    let target = log
        .target()
        .ok_or_else(|| Refusal::lacks("the target's probabilities of all actions"))?;
    let logging = log
        .logging()
        .ok_or_else(|| Refusal::lacks("the logging policy's probabilities of all actions"))?;
    let n_categories = categories.iter().max().map_or(0, |most| *most as usize + 1);
    let rows = target
        .chunks_exact(log.n_actions())
        .zip(logging.chunks_exact(log.n_actions()));
    Ok(rows
        .map(|(target, logging)| {
            let mut sums = vec![(0.0, 0.0); n_categories];
            for ((category, target), logging) in categories.iter().zip(target).zip(logging) {
                let sum = &mut sums[*category as usize];
                *sum = (sum.0 + target, sum.1 + logging);
            }
            sums
        })
        .collect())
}
