//! Sets and maps by position. Positions are small numbers of ours, so that a hash need not withstand an attacker.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Spreads a number by one multiplication (an odd number near 2⁶⁴ over the golden ratio).
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub(crate) type PositionMap<T> = HashMap<u32, T, BuildHasherDefault<Spread>>;
pub(crate) type PositionSet = HashSet<u32, BuildHasherDefault<Spread>>;
