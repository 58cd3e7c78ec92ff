//! Estimators for one action per round, one file each.

pub(crate) mod dm;
pub(crate) mod dr;
pub(crate) mod dros;
pub(crate) mod ips;
pub(crate) mod ips_clip;
pub(crate) mod mips;
pub(crate) mod sndr;
pub(crate) mod snips;
pub(crate) mod subgaussian_dr;
pub(crate) mod subgaussian_ips;
pub(crate) mod switch_dr;

/// Largest weight, at least one.
pub(crate) fn largest(weights: &[f64]) -> f64 {
    weights.iter().copied().fold(1.0, f64::max)
}

/// Thresholds on weights: from the largest weight, which changes nothing, down to one.
pub(crate) fn thresholds(weights: &[f64]) -> Vec<f64> {
    let mut out = vec![largest(weights)];
    for _ in 0..30 {
        let next = out[out.len() - 1] * 0.7;
        if next <= 1.0 {
            break;
        }
        out.push(next);
    }
    out.push(1.0);
    out
}

/// Zero, which changes nothing, and powers of two up to one.
pub(crate) fn unit_grid(_: &[f64]) -> Vec<f64> {
    let powers = (0..13).rev().map(|k| 0.5f64.powi(k));
    std::iter::once(0.0).chain(powers).collect()
}
