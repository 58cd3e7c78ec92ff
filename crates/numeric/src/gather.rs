//! Sums by key, gathered in any order and read off in the order of keys.

#[cfg(target_arch = "x86_64")]
use crate::simd;

/// Keys of a block, what is marked when one of them is added to: a line of the cache, so that little else is gone through.
pub(crate) const BLOCK: usize = 16;

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

    /// Keys that can be added to.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
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
        #[cfg(target_arch = "x86_64")]
        if simd::available() {
            // SAFETY: the machine has the features, which is all that the call asks for.
            return unsafe { simd::drain(blocks, &mut self.marks, keys, sums) };
        }
        drain_plain(blocks, &mut self.marks, keys, sums);
    }
}

/// Calls `work` with the place of each mark, ascending, and takes the marks away.
#[inline(always)]
pub(crate) fn each_marked(marks: &mut [u8], mut work: impl FnMut(usize)) {
    // Eight marks at a time.
    for (eight, marks) in marks.chunks_mut(8).enumerate() {
        let mut word = 0u64;
        for (at, mark) in marks.iter_mut().enumerate() {
            word |= u64::from(std::mem::take(mark)) << (8 * at);
        }
        while word != 0 {
            work(eight * 8 + word.trailing_zeros() as usize / 8);
            word &= word - 1;
        }
    }
}

fn drain_plain(blocks: &mut [[f32; BLOCK]], marks: &mut [u8], keys: &mut Vec<u32>, sums: &mut Vec<f32>) {
    each_marked(marks, |at| {
        for (key, sum) in ((at * BLOCK) as u32..).zip(&mut blocks[at]) {
            let sum = std::mem::take(sum);
            if sum != 0.0 {
                keys.push(key);
                sums.push(sum);
            }
        }
    });
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
        for round in 0..200usize {
            let n = 1 + round % 21;
            let some = stream.below(3) as f32;
            let blocks: Vec<[f32; BLOCK]> = (0..n)
                .map(|_| std::array::from_fn(|_| (stream.below(3) as f32 - 1.0) * some))
                .collect();
            let marks: Vec<u8> = (0..n).map(|_| stream.below(2) as u8).collect();
            let whole = Sums {
                sums: blocks.as_flattened().to_vec(),
                marks,
            };
            let (mut wide, mut plain) = (whole.clone(), whole);
            let (mut by_wide, mut by_plain) = ((vec![1], vec![0.5]), (vec![1], vec![0.5]));
            wide.drain(&mut by_wide.0, &mut by_wide.1);
            let (blocks, _) = plain.sums.as_chunks_mut::<BLOCK>();
            drain_plain(blocks, &mut plain.marks, &mut by_plain.0, &mut by_plain.1);
            assert_eq!(
                (by_wide, wide.sums, wide.marks),
                (by_plain, plain.sums, plain.marks)
            );
        }
    }
}
