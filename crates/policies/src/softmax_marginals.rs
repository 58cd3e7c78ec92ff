//! Probability of an item at a position under Plackett–Luce, whatever stands elsewhere.
//!
//! Plackett–Luce is a race: arm i arrives after an exponential time of rate wᵢ, and the slate is the order of arrival. So
//! `P(i at position p) = ∫ wᵢ e^(−wᵢt) · P(exactly p of the others have arrived by t) dt`, and the number of arrivals is Poisson-binomial. With t = eˣ the
//! integrand is analytic in |Im x| < π/2 and vanishes at both ends, where the trapezium rule converges exponentially, more slowly the longer the slate ([`per_doubling`]). The first two positions have sums of their own, which spares the long left tail.
//!
//! The step divides ln 2, so that from one node to another the time doubles, and the chance a of having arrived becomes a (2 − a), without another exponential and without
//! loss of relative accuracy. Twelve nodes are taken at once.
//!
//! Cost: about 70 nodes × m × n operations for all items of one slate of up to 12, against the m!/(m−n)! terms of the sum over prefixes.
//! Source: the race is Yellott (1977), J. Math. Psych. 15; trapezium rule: Trefethen and Weideman (2014), SIAM Review 56.

use numeric::{COUNTED_LANES, CountedLanes as Lanes, count_events};

/// Nodes at once.
const LANES: usize = COUNTED_LANES;
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
    // For each arm that is asked for, how many positions of the table it needs: one past the last.
    let mut wanted: Vec<(usize, usize)> = pairs
        .iter()
        .filter(|(arm, position)| *arm < logs.len() && *position < n)
        .map(|(arm, position)| (*arm, position + 1))
        .collect();
    wanted.sort_unstable();
    wanted.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 = first.1.max(later.1);
        }
        same
    });
    let table = if n > 2 {
        Some(integrate(&logs, n, &wanted, per_doubling(n))?)
    } else {
        None
    };
    let place = |arm: &usize| wanted.binary_search_by_key(arm, |(arm, _)| *arm);
    let one = |(arm, position): &(usize, usize)| match (place(arm), position) {
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

/// Nodes to a doubling of the time, a divisor of the number of lanes: enough for slates of `n` for an error of less than 1e-9.
fn per_doubling(n: usize) -> usize {
    match n {
        0..=12 => 3,
        13..=24 => 4,
        _ => 6,
    }
}

/// For each wanted arm, the probability at each of `n` positions, right for as many as it needs. `per_doubling` nodes, a divisor of the number of lanes, to a doubling of the time.
fn integrate(logs: &[f64], n: usize, wanted: &[(usize, usize)], per_doubling: usize) -> Option<Vec<f64>> {
    let step = std::f64::consts::LN_2 / per_doubling as f64;
    let last = logs.iter().copied().fold(f64::INFINITY, f64::min);
    let need = wanted.iter().map(|(_, need)| *need).max().unwrap_or(0);
    let mut table = vec![0.0; wanted.len() * n];
    // Those that are asked for stand first.
    let is_wanted = |arm: usize| wanted.binary_search_by_key(&arm, |(arm, _)| *arm).is_ok();
    let rest = (0..logs.len()).filter(|arm| !is_wanted(*arm));
    let order: Vec<f64> = (wanted.iter().map(|(arm, _)| *arm).chain(rest))
        .map(|arm| logs[arm])
        .collect();
    // The time times the rate at each of the first nodes, and the chance of having arrived by then. Times are so short that four terms of the series are exact.
    let times: Lanes = std::array::from_fn(|lane| (START + step * lane as f64).exp());
    let mut rates: Vec<Lanes> = (order.iter().map(|log| log.exp()))
        .map(|weight| times.map(|time| weight * time))
        .collect();
    let first = |rate: &f64| rate * (1.0 - rate / 2.0 * (1.0 - rate / 3.0 * (1.0 - rate / 4.0)));
    let mut arrived: Vec<Lanes> = Vec::with_capacity(rates.len());
    for rates in &rates {
        let mut lanes = [0.0; LANES];
        for lane in 0..LANES {
            lanes[lane] = match lane.checked_sub(per_doubling) {
                Some(half) => lanes[half] * (2.0 - lanes[half]),
                None => first(&rates[lane]),
            };
        }
        arrived.push(lanes);
    }
    rates.truncate(wanted.len());
    // The chance of not having arrived: what is missing to 1, and where that loses its digits, squares.
    let mut left: Vec<Lanes> = arrived[..wanted.len()]
        .iter()
        .map(|lanes| lanes.map(|a| 1.0 - a))
        .collect();
    let (mut others, mut counts) = (vec![[0.0; LANES]; need], vec![[0.0; LANES]; need]);
    for block in 0.. {
        let x = |lane: usize| START + step * (block * LANES + lane) as f64;
        if x(0) + last > 4.0 {
            break;
        }
        if block * LANES > NODES_MAX {
            return None;
        }
        others.fill([0.0; LANES]);
        others.iter_mut().take(1).for_each(|none| *none = [1.0; LANES]);
        count_events(&mut others, &arrived[wanted.len()..]);
        let mut seen: f64 = 0.0;
        for (at, (_, need)) in wanted.iter().enumerate() {
            let counts = &mut counts[..*need];
            counts.copy_from_slice(&others[..*need]);
            count_events(counts, &arrived[..at]);
            count_events(counts, &arrived[at + 1..wanted.len()]);
            let density: Lanes = std::array::from_fn(|lane| step * rates[at][lane] * left[at][lane]);
            for (out, chances) in table[at * n..].iter_mut().zip(counts.iter()) {
                *out += (0..LANES).map(|lane| density[lane] * chances[lane]).sum::<f64>();
            }
            seen = seen.max(counts.iter().map(|chances| chances[LANES - 1]).sum());
        }
        if x(0) > 0.0 && seen < TAIL {
            break;
        }
        for _ in 0..LANES / per_doubling {
            for lanes in &mut arrived {
                lanes.iter_mut().for_each(|a| *a *= 2.0 - *a);
            }
            for (left, arrived) in left.iter_mut().flatten().zip(arrived.iter().flatten()) {
                *left = if *arrived < 0.75 {
                    1.0 - arrived
                } else {
                    *left * *left
                };
            }
        }
        let longer = (1u32 << (LANES / per_doubling)) as f64;
        rates.iter_mut().flatten().for_each(|rate| *rate *= longer);
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    #[test]
    fn steps_are_fine_enough_for_the_lengths_that_they_serve() {
        let mut stream = SeededStream::new(3, 0);
        for n in [3, 5, 10, 12, 20, 24, 64] {
            for spread in [0.1, 1.0, 3.0, 8.0] {
                let logs: Vec<f64> = (0..120).map(|_| spread * stream.normal()).collect();
                let total = logs.iter().map(|log| log.exp()).sum::<f64>().ln();
                let logs: Vec<f64> = logs.iter().map(|log| log - total).collect();
                let all: Vec<(usize, usize)> = (0..logs.len()).map(|arm| (arm, n)).collect();
                let coarse = integrate(&logs, n, &all, per_doubling(n)).expect("few nodes");
                let fine = integrate(&logs, n, &all, 12).expect("few nodes");
                // The first two positions are not taken from here.
                let far = coarse
                    .chunks(n)
                    .zip(fine.chunks(n))
                    .flat_map(|(a, b)| a[2..].iter().zip(&b[2..]));
                let worst = far.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                println!("{n} {spread} {worst:e}");
                assert!(worst < 1e-9, "slates of {n}, spread {spread}: {worst:e}");
            }
        }
    }
}
