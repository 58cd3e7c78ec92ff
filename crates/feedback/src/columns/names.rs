//! Texts by number, and items by the address of their text.

use super::numbers::put_bytes;
use domain::ItemId;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Where a text is in the stream of texts.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    len: usize,
}

impl Span {
    fn of(self, stream: &[u8]) -> &[u8] {
        &stream[self.start..self.start + self.len]
    }
}

/// Texts by number, in the order of first mention; the texts themselves are in their stream.
#[derive(Default)]
pub(super) struct Names {
    spans: Vec<Span>,
    /// Numbers by text, of those that are looked for by what they say.
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Names {
    /// An empty table with as much room.
    pub(super) fn as_large(&self) -> Names {
        Names {
            spans: Vec::with_capacity(self.spans.len()),
            table: HashTable::with_capacity(self.table.len()),
            hasher: self.hasher.clone(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.spans.clear();
        self.table.clear();
    }

    /// Forgets those that begin at or behind this place of the stream.
    pub(super) fn take_back(&mut self, end: usize) {
        let spans = &mut self.spans;
        self.table.retain(|number| spans[*number as usize].start < end);
        spans.truncate(spans.partition_point(|span| span.start < end));
    }

    /// The number of a text, a new one if it is not in the table.
    pub(super) fn number(&mut self, stream: &mut Vec<u8>, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name.as_bytes());
        let is_it = |number: &u32| self.spans[*number as usize].of(stream) == name.as_bytes();
        if let Some(known) = self.table.find(hash, is_it) {
            return *known;
        }
        let number = self.add(stream, name);
        self.enter(stream, number, hash);
        number
    }

    /// A number for a text that is not there, or that need not be told from its like.
    fn add(&mut self, stream: &mut Vec<u8>, name: &str) -> u32 {
        put_bytes(stream, name.as_bytes());
        self.spans.push(Span {
            start: stream.len() - name.len(),
            len: name.len(),
        });
        // A block has fewer bytes than this has values.
        (self.spans.len() - 1) as u32
    }

    /// From now on the text of this number is found by what it says.
    fn file(&mut self, stream: &[u8], number: u32) {
        let hash = self.hasher.hash_one(self.spans[number as usize].of(stream));
        self.enter(stream, number, hash);
    }

    fn enter(&mut self, stream: &[u8], number: u32, hash: u64) {
        let (spans, hasher) = (&self.spans, &self.hasher);
        let hash_of = |number: &u32| hasher.hash_one(spans[*number as usize].of(stream));
        self.table.insert_unique(hash, number, hash_of);
    }
}

/// An item that was met: where its text is, and its number, which counts in one epoch.
#[derive(Clone, Copy, Default)]
struct Met {
    address: usize,
    epoch: u32,
    /// Twice the number, and one more if the text is in the table of names.
    number: u32,
}

/// Items that fall on one place.
const WAYS: usize = 2;

/// Numbers of items by the address of their text: all mentions of an item share its text, which then need not be read. An item that was met in an earlier epoch gets
/// its next number without being looked for; it is entered into the table of names when others take its place. So a text that comes from several addresses may have a
/// number for each.
#[derive(Default)]
pub(super) struct Familiar {
    met: Vec<[Met; WAYS]>,
    /// The items at these places are held, so that no other text can come to stand at the address of one.
    held: Vec<[Option<ItemId>; WAYS]>,
    /// Numbers of other epochs count no longer.
    epoch: u32,
}

/// Places for items, as a power of 2.
const FAMILIAR_BITS: u32 = 14;

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
        std::hint::black_box(looks.fold(0, |all, met| all ^ met[0].number));
    }

    /// The number of an item among these names.
    #[inline]
    pub(super) fn number(&mut self, item: &ItemId, names: &mut Names, stream: &mut Vec<u8>) -> u64 {
        let address = item.as_str().as_ptr() as usize;
        let place = place_of(item);
        // Which of the two it would be, without a guess at it.
        let way = |ways: &[Met; WAYS]| usize::from(ways[1].address == address);
        if let Some(ways) = self.met.get_mut(place)
            && let met = &mut ways[way(ways)]
            && met.address == address
        {
            if met.epoch != self.epoch {
                met.epoch = self.epoch;
                met.number = 2 * names.add(stream, item.as_str());
            }
            return u64::from(met.number / 2);
        }
        let number = names.number(stream, item.as_str());
        self.meet(item, place, number, names, stream);
        u64::from(number)
    }

    #[inline(never)]
    fn meet(&mut self, item: &ItemId, place: usize, number: u32, names: &mut Names, stream: &[u8]) {
        if self.met.is_empty() {
            self.met.resize(1 << FAMILIAR_BITS, Default::default());
            self.held.resize(1 << FAMILIAR_BITS, Default::default());
        }
        let (met, held) = (&mut self.met[place], &mut self.held[place]);
        // The one that was met first makes room.
        met.rotate_right(1);
        held.rotate_right(1);
        if met[0].epoch == self.epoch && met[0].address != 0 && met[0].number % 2 == 0 {
            names.file(stream, met[0].number / 2);
        }
        held[0] = Some(item.clone());
        met[0] = Met {
            address: item.as_str().as_ptr() as usize,
            epoch: self.epoch,
            number: 2 * number + 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// More items than there are places, over several epochs, against a plain map: an item keeps its number within an epoch, numbers are texts in the order of first
    /// mention, and no text has two.
    #[test]
    fn items_that_make_room_for_one_another_keep_their_numbers() {
        let n_items = (3 * WAYS) << FAMILIAR_BITS;
        let item = |n: usize| ItemId::new(format!("item-{n}")).expect("an id");
        let items: Vec<ItemId> = (0..n_items).map(item).collect();
        let mut familiar = Familiar::default();
        let mut names = Names::default();
        let mut dice = 1u64;
        for _ in 0..3 {
            let (mut stream, mut plain, mut texts) = (Vec::new(), HashMap::new(), Vec::new());
            for _ in 0..2 * n_items {
                dice = dice
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                // A few of them often, all of them now and then.
                let among = if dice.is_multiple_of(4) { n_items } else { 5_000 };
                let item = &items[(dice >> 33) as usize % among];
                let number = familiar.number(item, &mut names, &mut stream);
                let expected = *plain.entry(item.as_str()).or_insert_with(|| {
                    texts.push(item.as_str());
                    texts.len() as u64 - 1
                });
                assert_eq!(number, expected, "{}", item.as_str());
            }
            let mut expected = Vec::new();
            texts
                .iter()
                .for_each(|text| put_bytes(&mut expected, text.as_bytes()));
            assert_eq!(stream, expected);
            familiar.forget();
            names.clear();
        }
    }
}
