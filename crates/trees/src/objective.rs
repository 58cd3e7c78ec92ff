//! Gradients and hessians of what is to be small.

use crate::exponential::exp;
use crate::metric::{discount, gain, log_odds, probability};
use crate::{Objective, Rows, TreesConfig};

/// Rows or groups that one worker takes at a time.
const ROWS: usize = 1 << 13;
const GROUPS: usize = 16;
/// Numbers handled side by side.
const LANES: usize = 8;

/// Where scores start: the best constant, or 0 for objectives that rank.
pub(crate) fn base(rows: &Rows<'_>, config: &TreesConfig) -> f64 {
    let mean = || {
        let weighed = |row: usize| rows.weight(row) * f64::from(rows.labels[row]);
        let sum: f64 = (0..rows.len()).map(weighed).sum();
        sum / (0..rows.len()).map(|row| rows.weight(row)).sum::<f64>()
    };
    match config.objective {
        Objective::Lambdamart | Objective::Pairwise => 0.0,
        Objective::LogLoss => log_odds(mean()),
        Objective::SquaredError => mean(),
    }
}

/// What does not change from round to round.
pub(crate) struct Prepared {
    spans: Vec<(usize, usize)>,
    /// Per group, 1 / the best DCG, 0 if there is none.
    inverse: Vec<f64>,
    discounts: Vec<f64>,
}

impl Prepared {
    pub(crate) fn new(rows: &Rows<'_>, config: &TreesConfig) -> Prepared {
        if !config.objective.ranks() {
            return Prepared {
                spans: Vec::new(),
                inverse: Vec::new(),
                discounts: Vec::new(),
            };
        }
        let spans = rows.spans();
        let longest = spans.iter().map(|(start, end)| end - start).max().unwrap_or(0);
        let discounts: Vec<f64> = (0..longest).map(discount).collect();
        let inverse = |(start, end): &(usize, usize)| {
            let mut labels = rows.labels[*start..*end].to_vec();
            labels.sort_by(|a, b| b.total_cmp(a));
            let best = labels.iter().zip(&discounts).take(config.truncation);
            let best: f64 = best.map(|(label, discount)| gain(*label) * discount).sum();
            if best > 0.0 { 1.0 / best } else { 0.0 }
        };
        Prepared {
            inverse: spans.iter().map(inverse).collect(),
            spans,
            discounts,
        }
    }

    /// Gradient and hessian of every row at these scores; in parallel on the current pool.
    pub(crate) fn gradients(
        &self,
        rows: &Rows<'_>,
        config: &TreesConfig,
        scores: &[f64],
    ) -> (Vec<f64>, Vec<f64>) {
        let parts = match config.objective {
            Objective::LogLoss => numeric::parallel_chunks(rows.len(), ROWS, |range| {
                let one = |row: usize| {
                    let (p, weight) = (probability(scores[row]), rows.weight(row));
                    ((p - f64::from(rows.labels[row])) * weight, p * (1.0 - p) * weight)
                };
                range.map(one).unzip()
            }),
            Objective::SquaredError => numeric::parallel_chunks(rows.len(), ROWS, |range| {
                let one = |row: usize| {
                    let weight = rows.weight(row);
                    ((scores[row] - f64::from(rows.labels[row])) * weight, weight)
                };
                range.map(one).unzip()
            }),
            Objective::Lambdamart | Objective::Pairwise => {
                numeric::parallel_chunks(self.spans.len(), GROUPS, |range| {
                    let (first, last) = (self.spans[range.start].0, self.spans[range.end - 1].1);
                    let (mut g, mut h) = (vec![0.0; last - first], vec![0.0; last - first]);
                    for at in range {
                        let (start, end) = self.spans[at];
                        let (g, h) = (
                            &mut g[start - first..end - first],
                            &mut h[start - first..end - first],
                        );
                        self.group(rows, config, scores, at, g, h);
                    }
                    (g, h)
                })
            }
        };
        let (mut gradients, mut hessians) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (g, h) in parts {
            gradients.extend(g);
            hessians.extend(h);
        }
        (gradients, hessians)
    }

    /// All pairs of one group.
    fn group(
        &self,
        rows: &Rows<'_>,
        config: &TreesConfig,
        scores: &[f64],
        at: usize,
        g: &mut [f64],
        h: &mut [f64],
    ) {
        let (start, end) = self.spans[at];
        let n = end - start;
        let is_lambda = config.objective == Objective::Lambdamart;
        if n < 2 || (is_lambda && self.inverse[at] == 0.0) {
            return;
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| scores[start + b].total_cmp(&scores[start + a]).then(a.cmp(b)));
        let padded = n.next_multiple_of(LANES);
        let column = |of: &dyn Fn(usize, usize) -> f64| {
            let mut column: Vec<f64> = order
                .iter()
                .enumerate()
                .map(|(rank, row)| of(rank, start + row))
                .collect();
            column.resize(padded, 0.0);
            column
        };
        let mut group = Group {
            scores: column(&|_, row| scores[row]),
            labels: column(&|_, row| f64::from(rows.labels[row])),
            gains: column(&|_, row| gain(rows.labels[row])),
            weights: column(&|_, row| rows.weight(row)),
            discounts: column(&|rank, _| self.discounts[rank]),
            g: vec![0.0; padded],
            h: vec![0.0; padded],
            n,
        };
        let spread = group.scores[0] != group.scores[n - 1];
        let rule = Rule {
            sigma: config.sigma,
            inverse: self.inverse[at],
            by_distance: is_lambda && config.normalise && spread,
            is_lambda,
        };
        let total = pairs(&mut group, &rule, config.truncation.min(n - 1));
        let factor = if is_lambda && config.normalise && total > 0.0 {
            (1.0 + total).log2() / total
        } else {
            1.0
        };
        for (rank, row) in order.iter().enumerate() {
            g[*row] = group.g[rank] * factor;
            h[*row] = group.h[rank] * factor;
        }
    }
}

/// One group in the order of its scores; columns are filled up with zeros to whole lanes.
struct Group {
    scores: Vec<f64>,
    labels: Vec<f64>,
    gains: Vec<f64>,
    weights: Vec<f64>,
    discounts: Vec<f64>,
    g: Vec<f64>,
    h: Vec<f64>,
    n: usize,
}

#[derive(Clone, Copy)]
struct Rule {
    sigma: f64,
    inverse: f64,
    by_distance: bool,
    is_lambda: bool,
}

fn pairs(group: &mut Group, rule: &Rule, truncation: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
    {
        // SAFETY: the machine has what the function is compiled for.
        return unsafe { pairs_wide(group, rule, truncation) };
    }
    pairs_body(group, rule, truncation)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn pairs_wide(group: &mut Group, rule: &Rule, truncation: usize) -> f64 {
    pairs_body(group, rule, truncation)
}

/// Adds up all pairs that touch the first `truncation` ranks; the sum of their pulls. Plain operations in a fixed order:
/// the same bits however wide the machine.
#[inline(always)]
fn pairs_body(group: &mut Group, rule: &Rule, truncation: usize) -> f64 {
    let Rule {
        sigma,
        inverse,
        by_distance,
        is_lambda,
    } = *rule;
    let padded = group.scores.len();
    let mut total = [0.0f64; LANES];
    for i in 0..truncation {
        let (score, label, gain_i) = (group.scores[i], group.labels[i], group.gains[i]);
        let (weight_i, discount_i) = (group.weights[i], group.discounts[i]);
        let (mut own_g, mut own_h) = ([0.0f64; LANES], [0.0f64; LANES]);
        let from = (i + 1) / LANES * LANES;
        let mut at = from;
        while at < padded {
            let lanes = |column: &[f64]| -> [f64; LANES] { std::array::from_fn(|l| column[at + l]) };
            let (scores, labels, gains) = (lanes(&group.scores), lanes(&group.labels), lanes(&group.gains));
            let (weights, discounts) = (lanes(&group.weights), lanes(&group.discounts));
            let (mut g, mut h) = (lanes(&group.g), lanes(&group.h));
            for l in 0..LANES {
                let counts = at + l > i && at + l < group.n && labels[l] != label;
                let is_first_better = label > labels[l];
                let sign = if is_first_better { 1.0 } else { -1.0 };
                let distance = (score - scores[l]) * sign;
                let mut importance = 1.0;
                if is_lambda {
                    importance = (gain_i - gains[l]).abs() * (discount_i - discounts[l]).abs() * inverse;
                    let divisor = if by_distance { 0.01 + distance.abs() } else { 1.0 };
                    importance /= divisor;
                }
                let weight = if is_first_better { weight_i } else { weights[l] };
                let p = 1.0 / (1.0 + exp(sigma * distance));
                let scale = if counts { importance * weight * sigma } else { 0.0 };
                let pull = scale * p;
                let bend = scale * sigma * p * (1.0 - p);
                g[l] += sign * pull;
                h[l] += bend;
                own_g[l] -= sign * pull;
                own_h[l] += bend;
                total[l] += 2.0 * pull;
            }
            group.g[at..at + LANES].copy_from_slice(&g);
            group.h[at..at + LANES].copy_from_slice(&h);
            at += LANES;
        }
        group.g[i] += own_g.iter().sum::<f64>();
        group.h[i] += own_h.iter().sum::<f64>();
    }
    total.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Feature;

    #[test]
    fn pairs_agree_with_the_plain_sum() {
        let mut stream = numeric::SeededStream::new(5, 0);
        let n = 37;
        let labels: Vec<f32> = (0..n).map(|_| stream.below(4) as f32).collect();
        let scores: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let weights: Vec<f32> = (0..n).map(|_| 0.5 + stream.uniform() as f32).collect();
        let values = vec![0.0; n];
        let features = [Feature::number("x")];
        let groups = [n as u32];
        let rows = Rows {
            features: &features,
            values: &values,
            labels: &labels,
            weights: &weights,
            groups: &groups,
        };
        for (objective, normalise) in [
            (Objective::Lambdamart, true),
            (Objective::Lambdamart, false),
            (Objective::Pairwise, false),
        ] {
            let config = TreesConfig {
                objective,
                normalise,
                truncation: 7,
                sigma: 1.3,
                ..TreesConfig::default()
            };
            let (g, h) = Prepared::new(&rows, &config).gradients(&rows, &config, &scores);
            let (mut eg, mut eh, mut total) = (vec![0.0; n], vec![0.0; n], 0.0);
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let mut best = labels.clone();
            best.sort_by(|a, b| b.total_cmp(a));
            let best: f64 = best
                .iter()
                .take(7)
                .enumerate()
                .map(|(r, l)| gain(*l) * discount(r))
                .sum();
            for (r, a) in order.iter().enumerate().take(7) {
                for (s, b) in order.iter().enumerate().skip(r + 1) {
                    if labels[*a] == labels[*b] {
                        continue;
                    }
                    let (high, low) = if labels[*a] > labels[*b] {
                        (*a, *b)
                    } else {
                        (*b, *a)
                    };
                    let distance = scores[high] - scores[low];
                    let mut change = 1.0;
                    if objective == Objective::Lambdamart {
                        change = (gain(labels[high]) - gain(labels[low])) * (discount(r) - discount(s)).abs()
                            / best;
                        if normalise {
                            change /= 0.01 + distance.abs();
                        }
                    }
                    let p = 1.0 / (1.0 + (1.3 * distance).exp());
                    let weight = change * f64::from(weights[high]);
                    eg[high] -= 1.3 * weight * p;
                    eg[low] += 1.3 * weight * p;
                    eh[high] += 1.69 * weight * p * (1.0 - p);
                    eh[low] += 1.69 * weight * p * (1.0 - p);
                    total += 2.0 * 1.3 * weight * p;
                }
            }
            let factor = if normalise {
                (1.0f64 + total).log2() / total
            } else {
                1.0
            };
            for at in 0..n {
                assert!(
                    (g[at] - eg[at] * factor).abs() < 1e-9,
                    "{objective:?} {at}: {} {}",
                    g[at],
                    eg[at] * factor
                );
                assert!((h[at] - eh[at] * factor).abs() < 1e-9);
            }
        }
    }
}
