//! How many of several independent events happen, with probabilities that differ (Poisson-binomial), for twelve sets of probabilities at once.

use crate::wide::wide;

/// Sets of probabilities at once.
pub const COUNTED_LANES: usize = 12;

/// One number in each lane.
pub type CountedLanes = [f64; COUNTED_LANES];

wide! {
    /// Adds independent events to the distributions of a count: in each lane, `counts[k]` is the probability that k have happened, truncated at the length of `counts`, and an event
    /// happens with its probability in that lane. The same to the last bit on every machine.
    ///
    /// Cost: `counts.len() × chances.len() × 12` of a product, a difference and a sum; up to a length of 12 in registers.
    pub fn count_events(counts: &mut [CountedLanes], chances: &[CountedLanes]) {
        match counts.len() {
            1 => few::<1>(counts, chances),
            2 => few::<2>(counts, chances),
            3 => few::<3>(counts, chances),
            4 => few::<4>(counts, chances),
            5 => few::<5>(counts, chances),
            6 => few::<6>(counts, chances),
            7 => few::<7>(counts, chances),
            8 => few::<8>(counts, chances),
            9 => few::<9>(counts, chances),
            10 => few::<10>(counts, chances),
            11 => few::<11>(counts, chances),
            12 => few::<12>(counts, chances),
            _ => {
                for chance in chances {
                    another(counts, chance);
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

/// Lanes that are worked on together where there are few counts.
const GROUP: usize = 4;

#[inline(always)]
fn few<const N: usize>(counts: &mut [CountedLanes], chances: &[CountedLanes]) {
    for from in (0..COUNTED_LANES).step_by(GROUP) {
        let mut own = [[0.0; GROUP]; N];
        for (own, counts) in own.iter_mut().zip(counts.iter()) {
            own.copy_from_slice(&counts[from..from + GROUP]);
        }
        for chance in chances {
            let mut happens = [0.0; GROUP];
            happens.copy_from_slice(&chance[from..from + GROUP]);
            for at in (1..N).rev() {
                for lane in 0..GROUP {
                    own[at][lane] += happens[lane] * (own[at - 1][lane] - own[at][lane]);
                }
            }
            for lane in 0..GROUP {
                own[0][lane] *= 1.0 - happens[lane];
            }
        }
        for (own, counts) in own.iter().zip(counts.iter_mut()) {
            counts[from..from + GROUP].copy_from_slice(own);
        }
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
    }
}
