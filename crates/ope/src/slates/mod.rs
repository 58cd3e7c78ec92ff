//! Estimators for slates, one file each. All give the mean over slates of the sum of rewards over positions.

use crate::{Contributions, Ratio, SlateLog};

pub(crate) mod cascade_dr;
pub(crate) mod independent_ips;
pub(crate) mod pseudo_inverse;
pub(crate) mod reward_interaction_ips;
pub(crate) mod standard_ips;

/// One weight per slate, for the sum of its rewards.
pub(crate) fn by_slate(log: &SlateLog, weights: Vec<f64>, normalised: bool) -> Contributions {
    let terms: Vec<f64> = weights.iter().zip(log.totals()).map(|(w, r)| w * r).collect();
    let none = vec![0.0; terms.len()];
    let (base, ratios) = if normalised {
        let ratio = Ratio {
            numerator: terms,
            weight: weights.clone(),
        };
        (none, vec![ratio])
    } else {
        (terms, Vec::new())
    };
    assembled(base, ratios, weights)
}

/// One weight per position, for the reward there; normalised by position.
pub(crate) fn by_position(log: &SlateLog, weights: Vec<f64>, normalised: bool) -> Contributions {
    let terms: Vec<f64> = weights.iter().zip(&log.rewards).map(|(w, r)| w * r).collect();
    let (base, ratios) = if normalised {
        let ratios = (0..log.n_positions).map(|position| ratio(log, position, &terms, &weights));
        (vec![0.0; log.n_slates()], ratios.collect())
    } else {
        let sums = terms.chunks_exact(log.n_positions).map(|own| own.iter().sum());
        (sums.collect(), Vec::new())
    };
    assembled(base, ratios, weights)
}

/// The column of a position as a self-normalised part.
pub(crate) fn ratio(log: &SlateLog, position: usize, terms: &[f64], weights: &[f64]) -> Ratio {
    let column = |of: &[f64]| {
        of.iter()
            .skip(position)
            .step_by(log.n_positions)
            .copied()
            .collect()
    };
    Ratio {
        numerator: column(terms),
        weight: column(weights),
    }
}

/// Contributions of which no bound is known.
pub(crate) fn assembled(base: Vec<f64>, ratios: Vec<Ratio>, weights: Vec<f64>) -> Contributions {
    Contributions {
        base,
        ratios,
        weights: Some(weights),
        weight_bound: None,
        model_range: (0.0, 0.0),
    }
}
