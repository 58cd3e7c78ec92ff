//! Sums of strengths that fade with time, kept exactly while events come in.
//!
//! An event of strength w at moment t counts w·2^((t − latest) / half-life). Stored are sums
//! against a fixed `reference` moment, so that an event costs constant time whatever its age;
//! reading multiplies by one common factor. When `latest` has moved far from the reference, all
//! sums are brought over once.

use crate::ModelError;
use crate::artefact::{Reader, Writer};
use domain::Timestamp;

const DAY_MS: f64 = 86_400_000.0;
/// Half-lives between `reference` and `latest` after which sums are brought over.
const REBASE: f64 = 64.0;

/// Decayed sums by item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DecayedSums {
    /// Days; infinite means no decay.
    half_life_days: f64,
    reference: Timestamp,
    latest: Timestamp,
    /// 2^((reference − latest) / half-life), which all readings are multiplied by.
    scale: f64,
    sums: Vec<f64>,
    total: f64,
}

impl DecayedSums {
    pub(crate) fn half_life_days(&self) -> f64 {
        self.half_life_days
    }

    pub(crate) fn new(half_life_days: f64, n_items: usize, start: Timestamp) -> DecayedSums {
        DecayedSums {
            half_life_days,
            reference: start,
            latest: start,
            scale: 1.0,
            sums: vec![0.0; n_items],
            total: 0.0,
        }
    }

    fn half_lives(&self, from: Timestamp, to: Timestamp) -> f64 {
        (to.0 as f64 - from.0 as f64) / DAY_MS / self.half_life_days
    }

    /// Takes in an event; false if the item is unknown or the strength is no number.
    pub(crate) fn add(&mut self, item: u32, weight: f32, at: Timestamp) -> bool {
        if item as usize >= self.sums.len() || !weight.is_finite() {
            return false;
        }
        if at > self.latest {
            self.latest = at;
            self.scale = self.half_lives(at, self.reference).exp2();
            if self.half_lives(self.reference, at) > REBASE {
                let factor = self.scale;
                self.sums.iter_mut().for_each(|s| *s *= factor);
                self.total *= factor;
                self.reference = at;
                self.scale = 1.0;
            }
        }
        let value = f64::from(weight) * self.half_lives(self.reference, at).exp2();
        self.sums[item as usize] += value;
        self.total += value;
        true
    }

    /// Takes out an event that was taken in with this strength at this moment; ages are still counted to the
    /// latest event that ever came.
    pub(crate) fn remove(&mut self, item: u32, weight: f32, at: Timestamp) -> bool {
        at <= self.latest && self.add(item, -weight, at)
    }

    /// Sets an item of which nothing is left to exactly nothing.
    pub(crate) fn clear(&mut self, item: u32) {
        if let Some(sum) = self.sums.get_mut(item as usize) {
            self.total -= std::mem::take(sum);
        }
    }

    pub(crate) fn grow(&mut self, n_items: usize) {
        if n_items > self.sums.len() {
            self.sums.resize(n_items, 0.0);
        }
    }

    /// Sum of one item as of the latest event.
    pub(crate) fn get(&self, item: u32) -> f64 {
        self.sums.get(item as usize).map_or(0.0, |s| s * self.scale)
    }

    /// Sum of all items as of the latest event.
    pub(crate) fn total(&self) -> f64 {
        self.total * self.scale
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.sums.len() * 8
    }

    pub(crate) fn save(&self, to: &mut Writer<'_>) {
        to.u64(self.half_life_days.to_bits());
        to.u64(self.reference.0 as u64);
        to.u64(self.latest.0 as u64);
        to.f64s(&self.sums);
        to.f64(self.total);
    }

    pub(crate) fn load(from: &mut Reader<'_>, n_items: usize) -> Result<DecayedSums, ModelError> {
        let half_life_days = f64::from_bits(from.u64()?);
        from.expect(half_life_days > 0.0, "a half-life is not above zero")?;
        let mut sums = DecayedSums {
            half_life_days,
            reference: Timestamp(from.u64()? as i64),
            latest: Timestamp(from.u64()? as i64),
            scale: 1.0,
            sums: from.f64s()?,
            total: from.f64()?,
        };
        from.expect(sums.sums.len() == n_items, "a sum per item expected")?;
        sums.scale = sums.half_lives(sums.latest, sums.reference).exp2();
        let sane = sums.scale.is_finite() && sums.total().is_finite();
        from.expect(
            sane && sums.sums.iter().all(|s| (s * sums.scale).is_finite()),
            "a sum is not finite",
        )?;
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_sum_over_all_events(
            events in prop::collection::vec((0u32..4, -2f32..5.0, 0i64..4000), 1..60),
            half_life in prop_oneof![Just(f64::INFINITY), 0.5f64..100.0],
        ) {
            let mut sums = DecayedSums::new(half_life, 4, Timestamp(0));
            for (item, weight, day) in &events {
                prop_assert!(sums.add(*item, *weight, Timestamp(day * 86_400_000)));
            }
            let last = events.iter().map(|e| e.2).max().unwrap().max(0);
            for item in 0..4 {
                let slow: f64 = events.iter().filter(|e| e.0 == item)
                    .map(|e| f64::from(e.1) * ((e.2 - last) as f64 / half_life).exp2()).sum();
                prop_assert!((sums.get(item) - slow).abs() < 1e-9 * (1.0 + slow.abs()), "{} {slow}", sums.get(item));
            }
        }
    }
}
