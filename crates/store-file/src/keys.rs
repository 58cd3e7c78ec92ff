//! The set of keys of stored events.
//!
//! Open addressing where the slots of a shard, read in order, are sorted: a key's home is proportional to the
//! key, and those that cannot have theirs move on. Seven of eight slots at most are taken and a shard grows by a
//! quarter, so that a key costs 18 to 23 bytes. Keys are hashes already; where they are not, all stays right but slow.

use std::hash::{BuildHasherDefault, Hasher};

/// Keys are hashes already: the low half is the hash.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

pub(crate) type KeyHashSet = hashbrown::HashSet<u128, BuildHasherDefault<KeyHasher>>;

const SHARD_BITS: u32 = 6;
const FREE: u128 = 0;

/// Keys in shards by their top bits, so that growing moves one part at a time.
pub(crate) struct KeySet {
    shards: Vec<Shard>,
    /// The key that stands for a free slot has its own place.
    has_zero: bool,
}

impl KeySet {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..1 << SHARD_BITS).map(|_| Shard::default()).collect(),
            has_zero: false,
        }
    }

    pub(crate) fn contains(&self, key: u128) -> bool {
        if key == FREE {
            return self.has_zero;
        }
        let shard = &self.shards[place_of(key)];
        shard.slots.get(shard.seek(key)) == Some(&key)
    }

    pub(crate) fn insert(&mut self, key: u128) {
        if key == FREE {
            self.has_zero = true;
        } else {
            self.shards[place_of(key)].insert(key);
        }
    }

    pub(crate) fn remove(&mut self, key: u128) {
        if key == FREE {
            self.has_zero = false;
        } else {
            self.shards[place_of(key)].remove(key);
        }
    }
}

fn place_of(key: u128) -> usize {
    (key >> (128 - SHARD_BITS)) as usize
}

#[derive(Default)]
struct Shard {
    /// `homes` slots and as many more as the last run needed.
    slots: Vec<u128>,
    homes: u64,
    len: u64,
}

impl Shard {
    fn home(&self, key: u128) -> usize {
        let fraction = (key << SHARD_BITS) >> 64;
        ((fraction * u128::from(self.homes)) >> 64) as usize
    }

    /// The slot of `key`, or the one where it would go.
    fn seek(&self, key: u128) -> usize {
        let home = self.home(key);
        let before = |slot: &u128| *slot != FREE && *slot < key;
        let run = self.slots.get(home..).unwrap_or_default();
        home + run.iter().take_while(|slot| before(slot)).count()
    }

    fn insert(&mut self, key: u128) {
        let mut at = self.seek(key);
        if self.slots.get(at) == Some(&key) {
            return;
        }
        if (self.len + 1) * 8 > self.homes * 7 {
            self.grow();
            at = self.seek(key);
        }
        let run = self.slots[at..].iter().take_while(|slot| **slot != FREE).count();
        if at + run == self.slots.len() {
            self.slots.reserve_exact(16);
            self.slots.push(FREE);
        }
        self.slots.copy_within(at..at + run, at + 1);
        self.slots[at] = key;
        self.len += 1;
    }

    fn remove(&mut self, key: u128) {
        let at = self.seek(key);
        if self.slots.get(at) != Some(&key) {
            return;
        }
        let displaced = |place: &usize| {
            let slot = self.slots.get(*place).copied().unwrap_or(FREE);
            slot != FREE && self.home(slot) < *place
        };
        let run = (at + 1..).take_while(displaced).count();
        self.slots.copy_within(at + 1..=at + run, at);
        self.slots[at + run] = FREE;
        self.len -= 1;
    }

    fn grow(&mut self) {
        self.homes += self.homes / 4 + 16;
        let mut slots: Vec<u128> = Vec::with_capacity(self.homes as usize + 64);
        for key in std::mem::take(&mut self.slots) {
            if key != FREE {
                // Sorted, so the first free slot from its home on is at the end.
                slots.resize(slots.len().max(self.home(key)), FREE);
                slots.push(key);
            }
        }
        slots.resize(slots.len().max(self.homes as usize), FREE);
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Few keys, so that they meet again; ends of shards, so that runs spill over.
    fn key() -> impl Strategy<Value = u128> {
        let spread = (0u128..64, 0u128..64).prop_map(|(shard, low)| (shard << 122) | (low << 100));
        let crowded = (0u128..300).prop_map(|low| u128::MAX - low);
        prop_oneof![spread, crowded, 0u128..300]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn behaves_as_a_set(steps in prop::collection::vec((key(), prop::bool::weighted(0.7)), 1..1500)) {
            let (mut set, mut model) = (KeySet::new(), BTreeSet::new());
            for (key, is_insert) in steps {
                if is_insert {
                    set.insert(key);
                    model.insert(key);
                } else {
                    set.remove(key);
                    model.remove(&key);
                }
                prop_assert_eq!(set.contains(key), is_insert);
            }
            for key in (0..300).chain((0..300).map(|low| u128::MAX - low)) {
                prop_assert_eq!(set.contains(key), model.contains(&key));
            }
            let kept: Vec<u128> =
                set.shards.iter().flat_map(|shard| &shard.slots).copied().filter(|k| *k != FREE).collect();
            model.remove(&0);
            prop_assert_eq!(kept, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_key_costs_at_most_23_bytes() {
        let mut set = KeySet::new();
        let (mut key, mut worst) = (1u128, 0.0f64);
        for count in 1..=400_000u64 {
            key = key
                .wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645)
                .wrapping_add(0x9e37);
            set.insert(key ^ (key >> 67));
            if count > 50_000 && count % 10_000 == 0 {
                let bytes: usize = set.shards.iter().map(|shard| shard.slots.capacity() * 16).sum();
                worst = worst.max(bytes as f64 / count as f64);
            }
        }
        assert!(worst < 23.5, "{worst} bytes per key");
    }
}
