//! A set of items by position.

use roaring::RoaringBitmap;
use std::ops::{BitAndAssign, BitOrAssign, SubAssign};

/// Positions of items, compressed: about two bytes for each of few, an eighth of a byte for each where they stand close.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemSet(RoaringBitmap);

impl ItemSet {
    /// Nobody.
    pub fn new() -> ItemSet {
        ItemSet::default()
    }

    /// Everything below `n`.
    pub fn below(n: u32) -> ItemSet {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..n);
        ItemSet(all)
    }

    /// Adds an item.
    pub fn insert(&mut self, item: u32) {
        self.0.insert(item);
    }

    /// Takes an item out.
    pub fn remove(&mut self, item: u32) {
        self.0.remove(item);
    }

    /// True if the item is in.
    pub fn contains(&self, item: u32) -> bool {
        self.0.contains(item)
    }

    /// How many are in.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// True if nobody is in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Items, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter()
    }

    /// Bytes held, about.
    pub fn memory_bytes(&self) -> usize {
        self.0.serialized_size()
    }
}

impl FromIterator<u32> for ItemSet {
    fn from_iter<I: IntoIterator<Item = u32>>(items: I) -> ItemSet {
        ItemSet(items.into_iter().collect())
    }
}

impl BitAndAssign<&ItemSet> for ItemSet {
    fn bitand_assign(&mut self, other: &ItemSet) {
        self.0 &= &other.0;
    }
}

impl BitOrAssign<&ItemSet> for ItemSet {
    fn bitor_assign(&mut self, other: &ItemSet) {
        self.0 |= &other.0;
    }
}

impl SubAssign<&ItemSet> for ItemSet {
    fn sub_assign(&mut self, other: &ItemSet) {
        self.0 -= &other.0;
    }
}
