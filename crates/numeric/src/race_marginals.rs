//! Probability of an arm at a position under Plackett–Luce, whatever stands elsewhere.
//!
//! Plackett–Luce is a race: arm i arrives after an exponential time of rate wᵢ, and the slate is the order of arrival. So
//! `P(i at position p) = ∫ wᵢ e^(−wᵢt) · P(exactly p of the others have arrived by t) dt`, and the number of arrivals is Poisson-binomial. With t = eˣ the
//! integrand is analytic in |Im x| < π/2 and vanishes at both ends, where the trapezium rule converges exponentially, more slowly the longer the slate ([`per_doubling`]). The first two positions have sums of their own, which spares the long left tail.
//!
//! With the odds oⱼ = e^(wⱼt) − 1 of having arrived, the chance that exactly p of the others have is `e^(−t(1 − wᵢ)) eₚ(o without oᵢ)`, the weights summing to 1 and eₚ being the elementary symmetric polynomial: so the
//! integrand is `wᵢ e^(−t) eₚ`, and each arm adds a fused product to a sum. The step divides ln 2, so that from one node to another the time doubles, and the odds o become o (2 + o), without another exponential and
//! without loss of relative accuracy. Twelve nodes are taken at once. Times at which odds would overflow, which few arms of very different weights ask for, are done with chances in place of odds.
//!
//! Those that are asked for are left out of the count one at a time by halving: n log n events instead of n².
//!
//! Cost: about 65 nodes × m × n operations for all items of one slate of up to 12, against the m!/(m−n)! terms of the sum over prefixes.
//! Source: the race is Yellott (1977), J. Math. Psych. 15; trapezium rule: Trefethen and Weideman (2014), SIAM Review 56.

use crate::{
    COUNTED_LANES, CountedLanes as Lanes, add_odds, count_events, double_odds, double_times,
    double_times_with, odds_by,
};

/// Nodes at once.
const LANES: usize = COUNTED_LANES;
/// With the sum of the weights at 1: below this, three arrivals have a probability under 1e-10.
const START: f64 = -7.2;
/// Positions that have less of a probability than this times the weight are not counted at early times.
const RARE: f64 = 1e-11;
/// What the tail may leave out.
const TAIL: f64 = 1e-11;
const N_MAX: usize = 64;
const NODES_MAX: usize = 4096;
/// Up to this time products of odds, which are below e^t, and e^(−t) are numbers.
const ODDS_TO: f64 = 690.0;
/// Up to here e^x is a number.
const X_MAX: f64 = 700.0;

/// An arm that is asked for, with the positions in question: from the first up to, not including, the last.
#[derive(Clone, Copy)]
struct Wanted {
    arm: usize,
    from: usize,
    to: usize,
}

/// Probabilities of (arm, position from 0) in the first `n` places of a race, from the arms' weights, the greatest of which is 1, and the logarithm of the least; 0 for an arm past the end.
/// Right to about 1e-9. `None` for more than 64 places, or if the weights span too wide a range.
pub fn race_marginals(weights: &[f64], least: f64, n: usize, pairs: &[(usize, usize)]) -> Option<Vec<f64>> {
    let n = n.min(weights.len());
    if n > N_MAX {
        return None;
    }
    let total: f64 = weights.iter().sum();
    let weights: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
    let least = least - total.ln();
    let mut wanted: Vec<Wanted> = Vec::with_capacity(pairs.len());
    let there = pairs
        .iter()
        .filter(|(arm, position)| *arm < weights.len() && *position < n);
    wanted.extend(there.map(|(arm, position)| Wanted {
        arm: *arm,
        from: *position,
        to: position + 1,
    }));
    wanted.sort_unstable_by_key(|wanted| wanted.arm);
    wanted.dedup_by(|later, first| {
        let same = later.arm == first.arm;
        if same {
            (first.from, first.to) = (first.from.min(later.from), first.to.max(later.to));
        }
        same
    });
    // Those of which few positions are asked for stand together: little has to be counted for them.
    wanted.sort_by_key(|wanted| wanted.to);
    let table = if n > 2 {
        Some(integrate(&weights, least, n, &wanted, per_doubling(n))?)
    } else {
        None
    };
    let place = |arm: &usize| wanted.iter().position(|known| known.arm == *arm);
    let one = |(arm, position): &(usize, usize)| match (place(arm), position) {
        (Some(_), 0) if n > 0 => weights[*arm],
        (Some(_), 1) if n > 1 => second(&weights, *arm),
        (Some(at), position) if *position < n => table.as_ref().map_or(0.0, |table| table[at * n + position]),
        _ => 0.0,
    };
    Some(pairs.iter().map(one).collect())
}

/// Σ over those that may stand first of their weight times the arm's share of the rest.
fn second(weights: &[f64], arm: usize) -> f64 {
    let own = weights[arm];
    let first = weights.iter().enumerate().filter(|(at, _)| *at != arm);
    first
        .map(|(at, weight)| {
            let rest = if *weight < 0.5 {
                1.0 - weight
            } else {
                // Near 1 the difference would lose its digits.
                let others = weights.iter().enumerate().filter(|(other, _)| *other != at);
                others.map(|(_, weight)| weight).sum()
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

/// For each wanted arm, the probability at each of `n` positions, right for as many as it needs, of weights that sum to 1, the least of which has the logarithm `least`. `per_doubling` nodes, a divisor of the number of lanes, to a doubling of the time.
fn integrate(
    weights: &[f64],
    least: f64,
    n: usize,
    wanted: &[Wanted],
    per_doubling: usize,
) -> Option<Vec<f64>> {
    let step = std::f64::consts::LN_2 / per_doubling as f64;
    let doublings = LANES / per_doubling;
    let need = most(wanted);
    let mut table = vec![0.0; wanted.len() * n];
    // Those that are asked for stand first.
    let mut is_wanted = vec![false; weights.len()];
    wanted.iter().for_each(|wanted| is_wanted[wanted.arm] = true);
    let rest = (0..weights.len()).filter(|arm| !is_wanted[*arm]);
    let mut order: Vec<f64> = Vec::with_capacity(weights.len());
    order.extend(wanted.iter().map(|wanted| weights[wanted.arm]));
    order.extend(rest.map(|arm| weights[arm]));
    // The odds of having arrived by each of the first times, which are so short that five terms of the series are exact; later the chances.
    let times: Lanes = std::array::from_fn(|lane| (START + step * lane as f64).exp());
    let mut arrived: Vec<Lanes> = Vec::with_capacity(order.len());
    odds_by(&order, &times, per_doubling, &mut arrived);
    // The chances of those that are asked for not to have arrived, once it is chances.
    let mut left: Option<Vec<Lanes>> = None;
    let mut others = vec![[0.0; LANES]; need];
    let levels = wanted.len().next_power_of_two().ilog2() as usize;
    let mut room = vec![[0.0; LANES]; need * levels];
    for block in 0.. {
        let x = |lane: usize| START + step * (block * LANES + lane) as f64;
        if x(0) + least > 4.0 {
            break;
        }
        if block * LANES > NODES_MAX {
            return None;
        }
        if x(LANES - 1) > X_MAX {
            return None;
        }
        let times: Lanes = std::array::from_fn(|lane| x(lane).exp());
        // What all events that are counted have in common, where it is odds.
        let nobody: Lanes = times.map(|time| if left.is_some() { 1.0 } else { (-time).exp() });
        let common: Lanes = std::array::from_fn(|lane| step * times[lane] * nobody[lane]);
        let count = if left.is_some() { count_events } else { add_odds };
        others.fill([0.0; LANES]);
        others.iter_mut().take(1).for_each(|none| *none = [1.0; LANES]);
        let need_now = need.min(likely_by(times[LANES - 1]));
        count(&mut others[..need_now], &arrived[wanted.len()..]);
        let mut seen: f64 = 0.0;
        let asked_for = &arrived[..wanted.len()];
        without_each(
            &others,
            asked_for,
            wanted,
            0,
            &mut room,
            count,
            &mut |at, counts| {
                let mut density = common.map(|common| common * order[at]);
                if let Some(left) = &left {
                    density
                        .iter_mut()
                        .zip(left[at])
                        .for_each(|(density, left)| *density *= left);
                }
                let positions = wanted[at].from..wanted[at].to;
                for (out, chances) in table[at * n..][positions.clone()]
                    .iter_mut()
                    .zip(&counts[positions])
                {
                    *out += (0..LANES).map(|lane| density[lane] * chances[lane]).sum::<f64>();
                }
                seen = seen.max(counts.iter().map(|chances| chances[LANES - 1]).sum());
            },
        );
        if x(0) > 0.0 && seen * nobody[LANES - 1] < TAIL {
            break;
        }
        let longer = (1u32 << doublings) as f64;
        if left.is_none() && times[LANES - 1] * longer <= ODDS_TO {
            double_odds(&mut arrived, doublings);
            continue;
        }
        let missing = left.get_or_insert_with(|| {
            let missing = arrived[..wanted.len()]
                .iter()
                .map(|lanes| lanes.map(|odds| 1.0 / (1.0 + odds)));
            let missing = missing.collect();
            arrived.iter_mut().flatten().for_each(|odds| *odds /= 1.0 + *odds);
            missing
        });
        let (asked_for, others) = arrived.split_at_mut(wanted.len());
        double_times(others, doublings);
        double_times_with(asked_for, missing, doublings);
    }
    Some(table)
}

/// How many positions an arm may arrive at by a time `t`, but for [`RARE`] times its weight: with `p` others before it, `t^(p + 1) / p!` times the weight bounds it.
fn likely_by(time: f64) -> usize {
    let (mut positions, mut bound) = (0, time);
    while bound > RARE && positions < N_MAX {
        positions += 1;
        bound *= time / positions as f64;
    }
    positions.max(1)
}

/// Positions that some arm needs: one past the last.
fn most(wanted: &[Wanted]) -> usize {
    wanted.iter().map(|wanted| wanted.to).max().unwrap_or(0)
}

/// What was counted, and all of these but one, for each of them: halves are counted in for each other, so that an event is counted as often as they can be halved, and for no more than is needed. `room` is written over.
fn without_each(
    counted: &[Lanes],
    arrived: &[Lanes],
    wanted: &[Wanted],
    from: usize,
    room: &mut [Lanes],
    count: fn(&mut [Lanes], &[Lanes]),
    visit: &mut dyn FnMut(usize, &[Lanes]),
) {
    if wanted.len() <= 1 {
        return wanted
            .iter()
            .for_each(|wanted| visit(from, &counted[..wanted.to]));
    }
    let half = wanted.len() / 2;
    for (one, other, at) in [
        (0..half, half..wanted.len(), from),
        (half..wanted.len(), 0..half, from + half),
    ] {
        let (more, room) = room.split_at_mut(most(&wanted[one.clone()]));
        more.copy_from_slice(&counted[..more.len()]);
        count(more, &arrived[other]);
        without_each(more, &arrived[one.clone()], &wanted[one], at, room, count, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededStream;

    #[test]
    fn steps_are_fine_enough_for_the_lengths_that_they_serve() {
        let mut stream = SeededStream::new(3, 0);
        for n in [3, 5, 10, 12, 20, 24, 64] {
            for spread in [0.1, 1.0, 3.0, 8.0] {
                let logs: Vec<f64> = (0..120).map(|_| spread * stream.normal()).collect();
                let total = logs.iter().map(|log| log.exp()).sum::<f64>().ln();
                let logs: Vec<f64> = logs.iter().map(|log| log - total).collect();
                let all = (0..logs.len()).map(|arm| Wanted { arm, from: 0, to: n });
                let all: Vec<Wanted> = all.collect();
                let weights: Vec<f64> = logs.iter().map(|log| log.exp()).collect();
                let least = logs.iter().copied().fold(f64::INFINITY, f64::min);
                let coarse = integrate(&weights, least, n, &all, per_doubling(n)).expect("few nodes");
                let fine = integrate(&weights, least, n, &all, 12).expect("few nodes");
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
