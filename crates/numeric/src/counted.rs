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
    /// Cost: `counts.len() × chances.len() × 12` of a product, a difference and a sum.
    pub fn count_events(counts: &mut [CountedLanes], chances: &[CountedLanes]) {
        for chance in chances {
            count_body(counts, chance);
        }
    }
}

#[inline(always)]
fn count_body(counts: &mut [CountedLanes], chance: &CountedLanes) {
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
}
