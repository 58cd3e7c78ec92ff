//! Sums by key, gathered in any order and read off in the order of keys.

#[cfg(target_arch = "x86_64")]
use crate::simd;

/// Keys of a block: what is marked when one of them is added to.
pub(crate) const BLOCK: usize = 64;

/// Sums of the keys below a number. Adding takes no branch and no sorting; reading off goes through the blocks that were added to.
#[derive(Debug, Clone)]
pub struct Sums {
    sums: Vec<f32>,
    /// One if a key of the block was added to.
    marks: Vec<u8>,
}

impl Sums {
    /// All zero, for the keys 0 … `n` − 1.
    pub fn new(n: usize) -> Sums {
        Sums {
            sums: vec![0.0; n.next_multiple_of(BLOCK)],
            marks: vec![0; n.div_ceil(BLOCK)],
        }
    }

    /// Adds to the sum of one key.
    ///
    /// # Panics
    /// If the key is beyond the last block.
    #[inline]
    pub fn add(&mut self, key: u32, value: f32) {
        self.sums[key as usize] += value;
        self.marks[key as usize / BLOCK] = 1;
    }

    /// Appends keys, ascending, and sums of those that did not come to zero, and leaves all zero.
    pub fn drain(&mut self, keys: &mut Vec<u32>, sums: &mut Vec<f32>) {
        let (blocks, _) = self.sums.as_chunks_mut::<BLOCK>();
        // Eight marks at a time.
        for (eight, marks) in self.marks.chunks_mut(8).enumerate() {
            if marks.iter().all(|mark| *mark == 0) {
                continue;
            }
            for (at, mark) in (eight * 8..).zip(marks) {
                if std::mem::take(mark) != 0 {
                    let first = (at * BLOCK) as u32;
                    drain_block(&mut blocks[at], first, keys, sums);
                }
            }
        }
    }
}

fn drain_block(block: &mut [f32; BLOCK], first: u32, keys: &mut Vec<u32>, sums: &mut Vec<f32>) {
    #[cfg(target_arch = "x86_64")]
    if simd::available() {
        // SAFETY: the machine has the features, which is all that the call asks for.
        return unsafe { simd::drain_block(block, first, keys, sums) };
    }
    drain_plain(block, first, keys, sums);
}

fn drain_plain(block: &mut [f32; BLOCK], first: u32, keys: &mut Vec<u32>, sums: &mut Vec<f32>) {
    for (key, sum) in (first..).zip(block) {
        let sum = std::mem::take(sum);
        if sum != 0.0 {
            keys.push(key);
            sums.push(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededStream;
    use std::collections::BTreeMap;

    #[test]
    fn the_same_as_a_map_and_empty_afterwards() {
        let mut stream = SeededStream::new(2, 0);
        for n in [1usize, 63, 64, 65, 700, 5000] {
            let mut gathered = Sums::new(n);
            for round in 0..20u64 {
                let mut expected: BTreeMap<u32, f32> = BTreeMap::new();
                for _ in 0..stream.below(1 + n as u64) {
                    let (key, value) = (stream.below(n as u64) as u32, stream.below(7) as f32 - 3.0);
                    gathered.add(key, value);
                    *expected.entry(key).or_default() += value;
                }
                expected.retain(|_, sum| *sum != 0.0);
                let (mut keys, mut sums) = (vec![7], vec![7.0]);
                gathered.drain(&mut keys, &mut sums);
                assert_eq!(
                    keys[1..],
                    expected.keys().copied().collect::<Vec<_>>(),
                    "{n} {round}"
                );
                assert_eq!(
                    sums[1..],
                    expected.values().copied().collect::<Vec<_>>(),
                    "{n} {round}"
                );
            }
            let (mut keys, mut sums) = (Vec::new(), Vec::new());
            gathered.drain(&mut keys, &mut sums);
            assert!(keys.is_empty() && sums.is_empty());
        }
    }

    #[test]
    fn wide_and_plain_agree() {
        let mut stream = SeededStream::new(6, 0);
        for _ in 0..200 {
            let some = stream.below(3) as f32;
            let block: [f32; BLOCK] = std::array::from_fn(|_| (stream.below(3) as f32 - 1.0) * some);
            let (mut a, mut b) = (block, block);
            let (mut wide, mut plain) = ((vec![1], vec![0.5]), (vec![1], vec![0.5]));
            drain_block(&mut a, 640, &mut wide.0, &mut wide.1);
            drain_plain(&mut b, 640, &mut plain.0, &mut plain.1);
            assert_eq!((wide, a), (plain, b));
        }
    }
}
