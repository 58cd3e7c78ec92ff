//! How many of several independent events happen, with probabilities that differ (Poisson-binomial), for twelve sets of probabilities at once.

use crate::wide::wide;

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
            counted::<8>(counts, chances);
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
        counted::<4>(counts, chances);
    }

    /// The chances of having happened by each of the times, for events with these rates: the first times so short that five terms of the series are exact, each later one twice that `per_doubling`
    /// places before it. The same to the last bit on every machine.
    pub fn chances_by(rates: &[f64], times: &CountedLanes, per_doubling: usize, out: &mut Vec<CountedLanes>) {
        for rate in rates {
            let mut lanes = [0.0; COUNTED_LANES];
            for (lane, time) in lanes.iter_mut().zip(times).take(per_doubling) {
                let expected = rate * time;
                let series = 1.0 - expected * const { 1.0 / 4.0 } * (1.0 - expected * const { 1.0 / 5.0 });
                let series = 1.0 - expected * const { 1.0 / 3.0 } * series;
                *lane = expected * (1.0 - expected * 0.5 * series);
            }
            for lane in per_doubling..COUNTED_LANES {
                lanes[lane] = lanes[lane - per_doubling] * (2.0 - lanes[lane - per_doubling]);
            }
            out.push(lanes);
        }
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

/// Counts, so many lanes at a time where there are few counts.
#[inline(always)]
fn counted<const G: usize>(counts: &mut [CountedLanes], chances: &[CountedLanes]) {
    match counts.len() {
        1 => few::<1, G>(counts, chances),
        2 => few::<2, G>(counts, chances),
        3 => few::<3, G>(counts, chances),
        4 => few::<4, G>(counts, chances),
        5 => few::<5, G>(counts, chances),
        6 => few::<6, G>(counts, chances),
        7 => few::<7, G>(counts, chances),
        8 => few::<8, G>(counts, chances),
        9 => few::<9, G>(counts, chances),
        10 => few::<10, G>(counts, chances),
        11 => few::<11, G>(counts, chances),
        12 => few::<12, G>(counts, chances),
        _ => {
            for chance in chances {
                another(counts, chance);
            }
        }
    }
}

/// Groups of G lanes, and the lanes that are left in groups of four.
#[inline(always)]
fn few<const N: usize, const G: usize>(counts: &mut [CountedLanes], chances: &[CountedLanes]) {
    let whole = COUNTED_LANES / G * G;
    for from in (0..whole).step_by(G) {
        group::<N, G>(counts, chances, from);
    }
    for from in (whole..COUNTED_LANES).step_by(4) {
        group::<N, 4>(counts, chances, from);
    }
}

#[inline(always)]
fn group<const N: usize, const G: usize>(counts: &mut [CountedLanes], chances: &[CountedLanes], from: usize) {
    let mut own = [[0.0; G]; N];
    for (own, counts) in own.iter_mut().zip(counts.iter()) {
        own.copy_from_slice(&counts[from..from + G]);
    }
    for chance in chances {
        let mut happens = [0.0; G];
        happens.copy_from_slice(&chance[from..from + G]);
        for at in (1..N).rev() {
            for lane in 0..G {
                own[at][lane] += happens[lane] * (own[at - 1][lane] - own[at][lane]);
            }
        }
        for lane in 0..G {
            own[0][lane] *= 1.0 - happens[lane];
        }
    }
    for (own, counts) in own.iter().zip(counts.iter_mut()) {
        counts[from..from + G].copy_from_slice(own);
    }
}

#[inline(always)]
fn another(counts: &mut [CountedLanes], chance: &CountedLanes) {
    for at in (1..counts.len()).rev() {
        let below = counts[at - 1];
        let own = &mut counts[at];
        for lane in 0..COUNTED_LANES {
            own[lane] += chance[lane] * (below[lane] - own[lane]);
        }
    }
    if let Some(none) = counts.first_mut() {
        for (none, chance) in none.iter_mut().zip(chance) {
            *none *= 1.0 - chance;
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
    fn chances_by_a_time_are_exponential() {
        let times = std::array::from_fn(|lane| 1e-4 * 2f64.powf(lane as f64 / 3.0));
        let mut found = Vec::new();
        chances_by(&[0.2, 1.0], &times, 3, &mut found);
        for (rate, lanes) in [0.2, 1.0].into_iter().zip(&found) {
            for (time, chance) in times.iter().zip(lanes) {
                let expected = -(-rate * time).exp_m1();
                assert!((chance / expected - 1.0).abs() < 1e-13, "{chance} {expected}");
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
