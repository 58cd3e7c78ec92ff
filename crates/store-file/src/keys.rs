//! The set of keys of stored events.

use hashbrown::HashSet;
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

pub(crate) type KeyHashSet = HashSet<u128, BuildHasherDefault<KeyHasher>>;

const SHARDS: usize = 64;

/// Keys in shards by their top bits, so that growing moves one part at a time.
pub(crate) struct KeySet {
    shards: Vec<KeyHashSet>,
}

impl KeySet {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| KeyHashSet::default()).collect(),
        }
    }

    pub(crate) fn contains(&self, key: u128) -> bool {
        self.shards[shard(key)].contains(&key)
    }

    pub(crate) fn insert(&mut self, key: u128) {
        self.shards[shard(key)].insert(key);
    }

    pub(crate) fn remove(&mut self, key: u128) {
        self.shards[shard(key)].remove(&key);
    }
}

fn shard(key: u128) -> usize {
    (key >> 122) as usize % SHARDS
}
