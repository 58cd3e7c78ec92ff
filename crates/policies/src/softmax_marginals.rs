//! Probability of an item at a position under Plackett–Luce, whatever stands elsewhere.
//!
//! Plackett–Luce is a race: arm i arrives after an exponential time of rate wᵢ, and the slate is the order of arrival. So
//! `P(i at position p) = ∫ wᵢ e^(−wᵢt) · P(exactly p of the others have arrived by t) dt`, and the number of arrivals is Poisson-binomial. With t = eˣ the
//! integrand is analytic in |Im x| < π/2 and vanishes at both ends, where the trapezium rule converges exponentially: steps of 0.2 leave about 1e-10 for slates
//! of up to 64. The first two positions have sums of their own, which spares the long left tail.
//!
//! Cost: about 80 nodes × m × n operations for all items of one slate, against the m!/(m−n)! terms of the sum over prefixes.
//! Source: the race is Yellott (1977), J. Math. Psych. 15; trapezium rule: Trefethen and Weideman (2014), SIAM Review 56.

const STEP: f64 = 0.2;
/// With the sum of the weights at 1: below this, three arrivals have a probability under 1e-12.
const START: f64 = -9.5;
/// What the tail may leave out.
const TAIL: f64 = 1e-13;
const N_MAX: usize = 64;
const NODES_MAX: usize = 4096;

/// Marginals of (arm, position) in slates of `n`; an arm past the end has none. `None` if the slate is too long, or the weights span too wide a range.
pub(crate) fn softmax_marginals(logs: &[f64], n: usize, pairs: &[(usize, usize)]) -> Option<Vec<f64>> {
    let n = n.min(logs.len());
    if n > N_MAX {
        return None;
    }
    let best = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = logs.iter().map(|log| (log - best).exp()).sum::<f64>().ln() + best;
    let logs: Vec<f64> = logs.iter().map(|log| log - total).collect();
    let mut wanted: Vec<usize> = pairs
        .iter()
        .map(|(arm, _)| *arm)
        .filter(|arm| *arm < logs.len())
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let table = if n > 2 {
        Some(integrate(&logs, n, &wanted)?)
    } else {
        None
    };
    let one = |(arm, position): &(usize, usize)| match (wanted.binary_search(arm), position) {
        (Ok(_), 0) if n > 0 => logs[*arm].exp(),
        (Ok(_), 1) if n > 1 => second(&logs, *arm),
        (Ok(at), position) if *position < n => table.as_ref().map_or(0.0, |table| table[at * n + position]),
        _ => 0.0,
    };
    Some(pairs.iter().map(one).collect())
}

/// Σ over those that may stand first of their weight times the arm's share of the rest.
fn second(logs: &[f64], arm: usize) -> f64 {
    let own = logs[arm].exp();
    let first = logs.iter().enumerate().filter(|(at, _)| *at != arm);
    first
        .map(|(at, log)| {
            let weight = log.exp();
            let rest = if weight < 0.5 {
                1.0 - weight
            } else {
                // Near 1 the difference would lose its digits.
                logs.iter()
                    .enumerate()
                    .filter(|(other, _)| *other != at)
                    .map(|(_, log)| log.exp())
                    .sum()
            };
            if rest > 0.0 { weight * own / rest } else { 0.0 }
        })
        .sum()
}

/// Adds an independent event of this probability to the distribution of a count (truncated at its length).
fn add(counts: &mut [f64], chance: f64) {
    for at in (1..counts.len()).rev() {
        counts[at] += chance * (counts[at - 1] - counts[at]);
    }
    counts[0] *= 1.0 - chance;
}

/// For each wanted arm, the probability at each of `n` positions.
fn integrate(logs: &[f64], n: usize, wanted: &[usize]) -> Option<Vec<f64>> {
    let last = logs.iter().copied().fold(f64::INFINITY, f64::min);
    let mut table = vec![0.0; wanted.len() * n];
    let mut arrived = vec![0.0; logs.len()];
    let is_wanted: Vec<bool> = (0..logs.len())
        .map(|arm| wanted.binary_search(&arm).is_ok())
        .collect();
    let (mut others, mut counts) = (vec![0.0; n], vec![0.0; n]);
    for node in 0.. {
        let x = START + STEP * f64::from(node);
        if x + last > 4.0 {
            break;
        }
        if node as usize > NODES_MAX {
            return None;
        }
        others.fill(0.0);
        others[0] = 1.0;
        for (at, log) in logs.iter().enumerate() {
            arrived[at] = -(-(log + x).exp()).exp_m1();
            if !is_wanted[at] {
                add(&mut others, arrived[at]);
            }
        }
        let mut seen: f64 = 0.0;
        for (at, arm) in wanted.iter().enumerate() {
            counts.copy_from_slice(&others);
            for other in wanted.iter().filter(|other| *other != arm) {
                add(&mut counts, arrived[*other]);
            }
            let rate = (logs[*arm] + x).exp();
            let density = STEP * rate * (-rate).exp();
            for (out, chance) in table[at * n..][..n].iter_mut().zip(&counts) {
                *out += density * chance;
            }
            seen = seen.max(counts.iter().sum());
        }
        if x > 0.0 && seen < TAIL {
            break;
        }
    }
    Some(table)
}
