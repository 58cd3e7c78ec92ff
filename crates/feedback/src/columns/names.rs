//! Texts by number, and items by the address of their text.

use super::numbers::put_bytes;
use domain::ItemId;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// A text within the stream of texts.
#[derive(Clone, Copy)]
struct Name {
    start: usize,
    len: usize,
    number: u64,
}

/// Texts by number, in the order of first mention; the texts themselves are in their stream.
#[derive(Default)]
pub(super) struct Names {
    table: HashTable<Name>,
    hasher: DefaultHashBuilder,
}

impl Names {
    /// An empty table with as much room.
    pub(super) fn as_large(&self) -> Names {
        Names {
            table: HashTable::with_capacity(self.table.len()),
            hasher: self.hasher.clone(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
    }

    /// Forgets those that begin at or behind this place of the stream.
    pub(super) fn take_back(&mut self, end: usize) {
        self.table.retain(|name| name.start < end);
    }

    pub(super) fn number(&mut self, stream: &mut Vec<u8>, name: &str) -> u64 {
        let text = |stream: &[u8], of: &Name| self.hasher.hash_one(&stream[of.start..of.start + of.len]);
        let hash = self.hasher.hash_one(name.as_bytes());
        let is_it = |of: &Name| stream[of.start..of.start + of.len] == *name.as_bytes();
        if let Some(known) = self.table.find(hash, is_it) {
            return known.number;
        }
        put_bytes(stream, name.as_bytes());
        let new = Name {
            start: stream.len() - name.len(),
            len: name.len(),
            number: self.table.len() as u64,
        };
        self.table.insert_unique(hash, new, |of| text(stream, of));
        new.number
    }
}

/// An item that was met: where its text is, and its number, which counts in one epoch.
#[derive(Clone, Copy, Default)]
struct Met {
    address: usize,
    epoch: u32,
    number: u32,
}

/// Numbers of items by the address of their text: all mentions of an item share its text, which then need not be read. Of items
/// that fall on one place the last is kept.
#[derive(Default)]
pub(super) struct Familiar {
    met: Vec<Met>,
    /// The items at these places are held, so that no other text can come to stand at the address of one.
    held: Vec<Option<ItemId>>,
    /// Numbers of other epochs count no longer.
    epoch: u32,
}

/// Places for items, as a power of 2.
const FAMILIAR_BITS: u32 = 13;

fn place_of(item: &ItemId) -> usize {
    let address = item.as_str().as_ptr() as u64;
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FAMILIAR_BITS)) as usize
}

impl Familiar {
    /// From now on every number is learnt anew.
    pub(super) fn forget(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            *self = Familiar::default();
        }
    }

    /// Looks at the places of these items without waiting for one look before the next, so that those which lie in no cache come at once.
    pub(super) fn approach<'a>(&self, items: impl Iterator<Item = &'a ItemId>) {
        let looks = items.filter_map(|item| self.met.get(place_of(item)));
        std::hint::black_box(looks.fold(0, |all, met| all ^ met.number));
    }

    #[inline]
    pub(super) fn number(&mut self, item: &ItemId, learn: impl FnOnce(&str) -> u64) -> u64 {
        let address = item.as_str().as_ptr() as usize;
        let place = place_of(item);
        match self.met.get(place) {
            Some(met) if met.address == address && met.epoch == self.epoch => u64::from(met.number),
            _ => self.meet(item, place, learn(item.as_str())),
        }
    }

    #[inline(never)]
    fn meet(&mut self, item: &ItemId, place: usize, number: u64) -> u64 {
        if self.met.is_empty() {
            self.met.resize(1 << FAMILIAR_BITS, Met::default());
            self.held.resize(1 << FAMILIAR_BITS, None);
        }
        let address = item.as_str().as_ptr() as usize;
        // Texts are told from one another within a block, which is too small for more numbers.
        let Ok(short) = u32::try_from(number) else {
            return number;
        };
        if self.met[place].address != address {
            self.held[place] = Some(item.clone());
        }
        self.met[place] = Met {
            address,
            epoch: self.epoch,
            number: short,
        };
        number
    }
}
