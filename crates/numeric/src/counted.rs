//! How many of several independent events happen, with probabilities that differ (Poisson-binomial), for twelve sets of probabilities at once.

use crate::wide::{wide, widest};

/// Sets of probabilities at once.
pub const COUNTED_LANES: usize = 12;

/// One number in each lane.
pub type CountedLanes = [f64; COUNTED_LANES];

/// Adds independent events to the distributions of a count: in each lane, `counts[k]` is the probability that k have happened, truncated at the length of `counts`, and an event
/// happens with its probability in that lane. The same to the last bit on every machine.
///
/// Cost: `counts.len() × chances.len() × 12` of a product, a difference and a sum; up to a length of 12 in registers.
pub fn count_events(counts: &mut [CountedLanes], chances: &[CountedLanes]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn with_avx512(counts: &mut [CountedLanes], chances: &[CountedLanes]) {
            by_length::<8, Chances>(counts, chances);
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has the feature, which is all that the call asks for.
            return unsafe { with_avx512(counts, chances) };
        }
    }
    count_by_four(counts, chances);
}

wide! {
    fn count_by_four(counts: &mut [CountedLanes], chances: &[CountedLanes]) {
        by_length::<4, Chances>(counts, chances);
    }

    fn add_odds_by_four(sums: &mut [CountedLanes], odds: &[CountedLanes]) {
        by_length::<4, Odds>(sums, odds);
    }

    /// As [`double_times`], with the chances of nothing having happened: what is missing to 1, and where that loses its digits, squares.
    pub fn double_times_with(chances: &mut [CountedLanes], none: &mut [CountedLanes], times: usize) {
        for (lanes, none) in chances.iter_mut().zip(none) {
            for _ in 0..times {
                for (lane, none) in lanes.iter_mut().zip(none.iter_mut()) {
                    *lane *= 2.0 - *lane;
                    let (missing, square) = (1.0 - *lane, *none * *none);
                    *none = if *lane < 0.75 { missing } else { square };
                }
            }
        }
    }

    /// The chance of an event with a constant rate in twice the time, so many times over: a becomes a (2 − a). The same to the last bit on every machine.
    pub fn double_times(chances: &mut [CountedLanes], times: usize) {
        for lanes in chances {
            for _ in 0..times {
                for lane in lanes.iter_mut() {
                    *lane *= 2.0 - *lane;
                }
            }
        }
    }
}

/// Adds numbers to elementary symmetric polynomials: in each lane, `sums[k]` is the sum over all choices of k of the numbers of their products, truncated at the length of
/// `sums`. With the odds of independent events these are the distribution of how many happen, but for the chance of none. All terms are positive, so nothing is lost. The same to the last bit on every
/// machine: products and sums are fused.
///
/// Cost: a third of [`count_events`].
pub fn add_odds(sums: &mut [CountedLanes], odds: &[CountedLanes]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn with_avx512(sums: &mut [CountedLanes], odds: &[CountedLanes]) {
            by_length::<8, Odds>(sums, odds);
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has the feature, which is all that the call asks for.
            return unsafe { with_avx512(sums, odds) };
        }
    }
    add_odds_by_four(sums, odds);
}

widest! {
    /// The odds of having happened by each of the times, e^(rate × time) − 1: the first times so short that five terms of the series are exact, each later one twice that `per_doubling`
    /// places before it. The same to the last bit on every machine.
    pub fn odds_by(rates: &[f64], times: &CountedLanes, per_doubling: usize, out: &mut Vec<CountedLanes>) {
        for rate in rates {
            let mut lanes = [0.0; COUNTED_LANES];
            for (lane, time) in lanes.iter_mut().zip(times).take(per_doubling) {
                let expected = rate * time;
                let series = 1.0 + expected * const { 1.0 / 4.0 } * (1.0 + expected * const { 1.0 / 5.0 });
                let series = 1.0 + expected * const { 1.0 / 3.0 } * series;
                *lane = expected * (1.0 + expected * 0.5 * series);
            }
            for lane in per_doubling..COUNTED_LANES {
                lanes[lane] = lanes[lane - per_doubling] * (2.0 + lanes[lane - per_doubling]);
            }
            out.push(lanes);
        }
    }

    /// The odds of an event with a constant rate in twice the time, so many times over: o becomes o (2 + o). The same to the last bit on every machine.
    pub fn double_odds(odds: &mut [CountedLanes], times: usize) {
        for lanes in odds {
            let mut own = *lanes;
            for _ in 0..times {
                own.iter_mut().for_each(|lane| *lane *= 2.0 + *lane);
            }
            *lanes = own;
        }
    }
}

/// How something is added to what lies in one lane.
trait Adding {
    /// One place, given what the place before it was.
    fn add(own: f64, before: f64, another: f64) -> f64;
    /// The first place.
    fn first(own: f64, another: f64) -> f64;
}

struct Chances;

impl Adding for Chances {
    #[inline(always)]
    fn add(own: f64, before: f64, another: f64) -> f64 {
        own + another * (before - own)
    }

    #[inline(always)]
    fn first(own: f64, another: f64) -> f64 {
        own * (1.0 - another)
    }
}

struct Odds;

impl Adding for Odds {
    #[inline(always)]
    fn add(own: f64, before: f64, another: f64) -> f64 {
        another.mul_add(before, own)
    }

    #[inline(always)]
    fn first(own: f64, _another: f64) -> f64 {
        own
    }
}

/// So many lanes at a time where there are few places.
#[inline(always)]
fn by_length<const G: usize, A: Adding>(sums: &mut [CountedLanes], others: &[CountedLanes]) {
    match sums.len() {
        1 => few::<1, G, A>(sums, others),
        2 => few::<2, G, A>(sums, others),
        3 => few::<3, G, A>(sums, others),
        4 => few::<4, G, A>(sums, others),
        5 => few::<5, G, A>(sums, others),
        6 => few::<6, G, A>(sums, others),
        7 => few::<7, G, A>(sums, others),
        8 => few::<8, G, A>(sums, others),
        9 => few::<9, G, A>(sums, others),
        10 => few::<10, G, A>(sums, others),
        11 => few::<11, G, A>(sums, others),
        12 => few::<12, G, A>(sums, others),
        _ => others.iter().for_each(|other| another::<A>(sums, other)),
    }
}

/// Groups of G lanes, and the lanes that are left in groups of four.
#[inline(always)]
fn few<const N: usize, const G: usize, A: Adding>(sums: &mut [CountedLanes], others: &[CountedLanes]) {
    let whole = COUNTED_LANES / G * G;
    for from in (0..whole).step_by(G) {
        group::<N, G, A>(sums, others, from);
    }
    for from in (whole..COUNTED_LANES).step_by(4) {
        group::<N, 4, A>(sums, others, from);
    }
}

#[inline(always)]
fn group<const N: usize, const G: usize, A: Adding>(
    sums: &mut [CountedLanes],
    others: &[CountedLanes],
    from: usize,
) {
    let mut own = [[0.0; G]; N];
    for (own, sums) in own.iter_mut().zip(sums.iter()) {
        own.copy_from_slice(&sums[from..from + G]);
    }
    for other in others {
        let mut lanes = [0.0; G];
        lanes.copy_from_slice(&other[from..from + G]);
        for at in (1..N).rev() {
            for lane in 0..G {
                own[at][lane] = A::add(own[at][lane], own[at - 1][lane], lanes[lane]);
            }
        }
        for lane in 0..G {
            own[0][lane] = A::first(own[0][lane], lanes[lane]);
        }
    }
    for (own, sums) in own.iter().zip(sums.iter_mut()) {
        sums[from..from + G].copy_from_slice(own);
    }
}

#[inline(always)]
fn another<A: Adding>(sums: &mut [CountedLanes], other: &CountedLanes) {
    for at in (1..sums.len()).rev() {
        let below = sums[at - 1];
        let own = &mut sums[at];
        for lane in 0..COUNTED_LANES {
            own[lane] = A::add(own[lane], below[lane], other[lane]);
        }
    }
    if let Some(none) = sums.first_mut() {
        for (none, other) in none.iter_mut().zip(other) {
            *none = A::first(*none, *other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededStream;

    #[test]
    fn equals_the_sum_over_all_subsets() {
        let mut stream = SeededStream::new(5, 0);
        let chances: Vec<CountedLanes> = (0..7)
            .map(|_| std::array::from_fn(|_| stream.uniform()))
            .collect();
        let mut counts = vec![[0.0; COUNTED_LANES]; 5];
        counts[0] = [1.0; COUNTED_LANES];
        count_events(&mut counts, &chances);
        // However many are asked for, each is the same.
        for n in 1..20 {
            let mut other = vec![[0.0; COUNTED_LANES]; n];
            other[0] = [1.0; COUNTED_LANES];
            count_events(&mut other, &chances);
            assert!(other.iter().zip(&counts).all(|(a, b)| a == b), "{n}");
            let mut narrow = vec![[0.0; COUNTED_LANES]; n];
            narrow[0] = [1.0; COUNTED_LANES];
            count_by_four(&mut narrow, &chances);
            assert_eq!(narrow, other);
        }
        for lane in 0..COUNTED_LANES {
            let mut expected = [0.0; 8];
            for subset in 0u32..1 << 7 {
                let chance = |(at, chance): (usize, &CountedLanes)| match subset >> at & 1 {
                    1 => chance[lane],
                    _ => 1.0 - chance[lane],
                };
                let all: f64 = chances.iter().enumerate().map(chance).product();
                expected[subset.count_ones() as usize] += all;
            }
            for (count, expected) in counts.iter().zip(expected) {
                assert!(
                    (count[lane] - expected).abs() < 1e-14,
                    "{} {expected}",
                    count[lane]
                );
            }
        }
    }

    #[test]
    fn odds_are_chances_but_for_the_chance_of_none() {
        let mut stream = SeededStream::new(6, 0);
        let chances: Vec<CountedLanes> = (0..20)
            .map(|_| std::array::from_fn(|_| stream.uniform()))
            .collect();
        let odds: Vec<CountedLanes> = chances.iter().map(|lanes| lanes.map(|a| a / (1.0 - a))).collect();
        for n in [1, 2, 7, 10, 12, 13, 30] {
            let start = || {
                let mut counts = vec![[0.0; COUNTED_LANES]; n];
                counts[0] = [1.0; COUNTED_LANES];
                counts
            };
            let (mut counts, mut sums, mut narrow) = (start(), start(), start());
            count_events(&mut counts, &chances);
            add_odds(&mut sums, &odds);
            add_odds_by_four(&mut narrow, &odds);
            assert_eq!(sums, narrow);
            for lane in 0..COUNTED_LANES {
                let none: f64 = chances.iter().map(|chances| 1.0 - chances[lane]).product();
                for (count, sum) in counts.iter().zip(&sums) {
                    assert!((count[lane] - none * sum[lane]).abs() < 1e-13);
                }
            }
        }
    }

    #[test]
    fn odds_by_a_time_are_exponential() {
        let times = std::array::from_fn(|lane| 1e-4 * 2f64.powf(lane as f64 / 3.0));
        let mut found = Vec::new();
        odds_by(&[0.2, 1.0], &times, 3, &mut found);
        double_odds(&mut found, 4);
        for (rate, lanes) in [0.2, 1.0].into_iter().zip(&found) {
            for (time, odds) in times.iter().zip(lanes) {
                let expected = (16.0 * rate * time).exp_m1();
                assert!((odds / expected - 1.0).abs() < 1e-13, "{odds} {expected}");
            }
        }
    }

    #[test]
    fn twice_the_time_is_two_tries() {
        let mut chances = vec![[0.3; COUNTED_LANES]; 3];
        double_times(&mut chances, 3);
        let expected = 1.0 - 0.7f64.powi(8);
        assert!(
            chances
                .iter()
                .flatten()
                .all(|chance| (chance - expected).abs() < 1e-15)
        );
        for once in [0.001, 0.3, 0.8, 1.0 - 1e-9] {
            let (mut chances, mut none) = ([[once; COUNTED_LANES]], [[1.0 - once; COUNTED_LANES]]);
            double_times_with(&mut chances, &mut none, 2);
            let (expected, left) = (1.0 - (1.0 - once).powi(4), (1.0f64 - once).powi(4));
            assert!((chances[0][5] - expected).abs() < 1e-15);
            assert!((none[0][5] / left - 1.0).abs() < 1e-14, "{} {left}", none[0][5]);
        }
    }
}
