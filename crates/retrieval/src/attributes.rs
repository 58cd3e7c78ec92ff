//! Which items satisfy conditions on their attributes, as sets.
//!
//! Every text has the set of items that carry it; numbers and moments lie in order, cut into pieces with a set each, so that a
//! range is some whole pieces and two cut ones. Conditions are joined by operations on sets. So the cost of a
//! predicate depends on how many values it names, hardly on how many items satisfy it.
//!
//! The index is made of all items at once. Items that change afterwards are *stale*: left out of what the index says and
//! asked one by one. Whoever owns it makes it anew when [`AttributeIndex::is_worn`].
//!
//! The sets of the last predicates asked for are kept with the index.

use crate::ItemSet;
use domain::Timestamp;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Pieces that an order of numbers is cut into.
const PIECES: usize = 128;
/// Predicates whose sets are kept.
const KEPT: usize = 64;
/// Stale items that are always put up with.
const STALE_MIN: u64 = 2048;

/// An attribute of an item, as the index looks at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A category or text.
    Text(&'a str),
    /// Tags or ids.
    Texts(&'a [String]),
    /// A number.
    Number(f64),
    /// A moment.
    Moment(Timestamp),
    /// Anything else; it exists, no more is known of it.
    Other,
}

/// Conditions on the attributes of an item. One without the attribute fails every test.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// Every one of these holds; always if there are none.
    All(Vec<Predicate>),
    /// One of these holds; never if there are none.
    Any(Vec<Predicate>),
    /// This does not hold.
    Not(Box<Predicate>),
    /// A text of the attribute is one of these, or its number is.
    Has {
        /// Which attribute.
        attribute: String,
        /// Texts.
        texts: Vec<String>,
        /// Numbers.
        numbers: Vec<f64>,
    },
    /// The attribute's number lies within these, both included.
    Numbers {
        /// Which attribute.
        attribute: String,
        /// From.
        min: f64,
        /// To.
        max: f64,
    },
    /// The attribute's moment lies within these, both included.
    Moments {
        /// Which attribute.
        attribute: String,
        /// From.
        min: Timestamp,
        /// To.
        max: Timestamp,
    },
    /// The attribute is there.
    Exists {
        /// Which attribute.
        attribute: String,
    },
}

/// Items in the order of a quantity.
#[derive(Debug)]
struct Order<T> {
    entries: Vec<(T, u32)>,
    /// Set of each piece, and how long a piece is.
    pieces: Vec<ItemSet>,
    piece: usize,
}

impl<T: Copy> Order<T> {
    fn new(mut entries: Vec<(T, u32)>, compare: impl Fn(&T, &T) -> std::cmp::Ordering) -> Order<T> {
        entries.sort_unstable_by(|a, b| compare(&a.0, &b.0).then(a.1.cmp(&b.1)));
        let piece = entries.len().div_ceil(PIECES).max(1);
        let set = |part: &[(T, u32)]| {
            let mut items: Vec<u32> = part.iter().map(|(_, item)| *item).collect();
            items.sort_unstable();
            items.into_iter().collect()
        };
        Order {
            pieces: entries.chunks(piece).map(set).collect(),
            entries,
            piece,
        }
    }

    /// Items from the first entry that is not `below` to the last that is not `above`.
    fn range(&self, below: impl Fn(&T) -> bool, above: impl Fn(&T) -> bool) -> ItemSet {
        let start = self.entries.partition_point(|(value, _)| below(value));
        let end = self.entries.partition_point(|(value, _)| !above(value));
        let mut found = ItemSet::new();
        let mut at = start;
        while at < end {
            let next = (at / self.piece + 1) * self.piece;
            if at.is_multiple_of(self.piece) && next <= end {
                found |= &self.pieces[at / self.piece];
            } else {
                let cut = &self.entries[at..next.min(end)];
                cut.iter().for_each(|(_, item)| found.insert(*item));
            }
            at = next;
        }
        found
    }
}

#[derive(Debug)]
struct Field {
    present: ItemSet,
    texts: HashMap<String, ItemSet>,
    numbers: Order<f64>,
    moments: Order<i64>,
}

/// A field while it is gathered.
#[derive(Default)]
struct Gathering {
    present: ItemSet,
    texts: HashMap<String, ItemSet>,
    numbers: Vec<(f64, u32)>,
    moments: Vec<(i64, u32)>,
}

impl Gathering {
    fn add(&mut self, item: u32, value: Value<'_>) {
        self.present.insert(item);
        let mut text = |text: &str| match self.texts.get_mut(text) {
            Some(set) => set.insert(item),
            None => self.texts.entry(text.to_owned()).or_default().insert(item),
        };
        match value {
            Value::Text(one) => text(one),
            Value::Texts(several) => several.iter().for_each(|one| text(one)),
            Value::Number(number) => self.numbers.push((number, item)),
            Value::Moment(moment) => self.moments.push((moment.0, item)),
            Value::Other => {}
        }
    }

    fn field(self) -> Field {
        Field {
            present: self.present,
            texts: self.texts,
            numbers: Order::new(self.numbers, f64::total_cmp),
            moments: Order::new(self.moments, i64::cmp),
        }
    }
}

#[derive(Debug, Default)]
struct Base {
    len: u32,
    fields: BTreeMap<String, Field>,
    /// Sets of the last predicates, latest first.
    kept: Mutex<VecDeque<(Predicate, Arc<ItemSet>)>>,
}

impl Base {
    fn set(&self, predicate: &Predicate) -> ItemSet {
        let field = |attribute: &str| self.fields.get(attribute);
        match predicate {
            Predicate::All(several) => {
                let mut sets = several.iter().map(|one| self.set(one));
                let first = sets.next().unwrap_or_else(|| ItemSet::below(self.len));
                sets.fold(first, |mut all, set| {
                    all &= &set;
                    all
                })
            }
            Predicate::Any(several) => several.iter().fold(ItemSet::new(), |mut any, one| {
                any |= &self.set(one);
                any
            }),
            Predicate::Not(one) => {
                let mut rest = ItemSet::below(self.len);
                rest -= &self.set(one);
                rest
            }
            Predicate::Has {
                attribute,
                texts,
                numbers,
            } => {
                let mut found = ItemSet::new();
                let Some(field) = field(attribute) else {
                    return found;
                };
                for set in texts.iter().filter_map(|text| field.texts.get(text)) {
                    found |= set;
                }
                for number in numbers {
                    found |= &field
                        .numbers
                        .range(|value| value < number, |value| value > number);
                }
                found
            }
            Predicate::Numbers { attribute, min, max } => field(attribute)
                .map(|field| field.numbers.range(|value| value < min, |value| value > max))
                .unwrap_or_default(),
            Predicate::Moments { attribute, min, max } => field(attribute)
                .map(|field| {
                    field
                        .moments
                        .range(|value| *value < min.0, |value| *value > max.0)
                })
                .unwrap_or_default(),
            Predicate::Exists { attribute } => field(attribute)
                .map(|field| field.present.clone())
                .unwrap_or_default(),
        }
    }

    /// The same, kept.
    fn known(&self, predicate: &Predicate) -> Arc<ItemSet> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = lock();
        if let Some(at) = kept.iter().position(|(known, _)| known == predicate)
            && let Some(entry) = kept.remove(at)
        {
            let set = Arc::clone(&entry.1);
            kept.push_front(entry);
            return set;
        }
        drop(kept);
        let set = Arc::new(self.set(predicate));
        let mut kept = lock();
        kept.truncate(KEPT - 1);
        kept.push_front((predicate.clone(), Arc::clone(&set)));
        set
    }
}

/// Sets of items by their attributes. A copy shares everything but the list of stale items.
#[derive(Debug, Clone, Default)]
pub struct AttributeIndex {
    base: Arc<Base>,
    stale: ItemSet,
}

impl AttributeIndex {
    /// An index of the items below `n_items`; `attributes` hands over those of one item. Cost: one look at each attribute, and a sort of the
    /// quantities.
    pub fn of(
        n_items: u32,
        mut attributes: impl FnMut(u32, &mut dyn FnMut(&str, Value<'_>)),
    ) -> AttributeIndex {
        let mut fields: BTreeMap<String, Gathering> = BTreeMap::new();
        for item in 0..n_items {
            attributes(item, &mut |name, value| match fields.get_mut(name) {
                Some(field) => field.add(item, value),
                None => fields.entry(name.to_owned()).or_default().add(item, value),
            });
        }
        let base = Base {
            len: n_items,
            fields: fields
                .into_iter()
                .map(|(name, field)| (name, field.field()))
                .collect(),
            kept: Mutex::default(),
        };
        AttributeIndex {
            base: Arc::new(base),
            stale: ItemSet::new(),
        }
    }

    /// Says that an item has changed since, or is new.
    pub fn changed(&mut self, item: u32) {
        self.stale.insert(item);
    }

    /// True if so many items have changed that asking them one by one costs more than making the index anew.
    pub fn is_worn(&self) -> bool {
        self.stale.len() > STALE_MIN.max(u64::from(self.base.len) / 16)
    }

    /// Items that satisfy a predicate. `holds` says it of one item that has changed.
    pub fn satisfying(&self, predicate: &Predicate, holds: &dyn Fn(u32) -> bool) -> Arc<ItemSet> {
        let known = self.base.known(predicate);
        if self.stale.is_empty() {
            return known;
        }
        let mut set = ItemSet::clone(&known);
        set -= &self.stale;
        self.stale
            .iter()
            .filter(|item| holds(*item))
            .for_each(|item| set.insert(item));
        Arc::new(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;
    use proptest::prelude::*;

    #[derive(Debug, Clone, Default)]
    struct Thing {
        color: Option<String>,
        tags: Option<Vec<String>>,
        price: Option<f64>,
        made: Option<i64>,
        place: bool,
    }

    impl Thing {
        fn draw(stream: &mut SeededStream) -> Thing {
            let mut number = |n: f64| (stream.uniform() * n) as u32;
            Thing {
                color: (number(4.0) > 0)
                    .then_some(())
                    .map(|()| format!("c{}", number(5.0))),
                tags: (number(3.0) > 0)
                    .then_some(())
                    .map(|()| (0..number(4.0)).map(|_| format!("t{}", number(6.0))).collect()),
                price: (number(5.0) > 0)
                    .then_some(())
                    .map(|()| f64::from(number(40.0)) - 10.0),
                made: (number(5.0) > 0)
                    .then_some(())
                    .map(|()| i64::from(number(1000.0))),
                place: number(2.0) > 0,
            }
        }

        fn each(&self, tell: &mut dyn FnMut(&str, Value<'_>)) {
            if let Some(color) = &self.color {
                tell("color", Value::Text(color));
            }
            if let Some(tags) = &self.tags {
                tell("tags", Value::Texts(tags));
            }
            if let Some(price) = self.price {
                tell("price", Value::Number(price));
            }
            if let Some(made) = self.made {
                tell("made", Value::Moment(Timestamp(made)));
            }
            if self.place {
                tell("place", Value::Other);
            }
        }

        /// The obvious way.
        fn holds(&self, predicate: &Predicate) -> bool {
            let test = |attribute: &str, test: &dyn Fn(Value<'_>) -> bool| {
                let mut holds = false;
                self.each(&mut |name, value| holds |= name == attribute && test(value));
                holds
            };
            match predicate {
                Predicate::All(several) => several.iter().all(|one| self.holds(one)),
                Predicate::Any(several) => several.iter().any(|one| self.holds(one)),
                Predicate::Not(one) => !self.holds(one),
                Predicate::Exists { attribute } => test(attribute, &|_| true),
                Predicate::Has {
                    attribute,
                    texts,
                    numbers,
                } => test(attribute, &|value| match value {
                    Value::Text(text) => texts.iter().any(|known| known == text),
                    Value::Texts(several) => several.iter().any(|text| texts.contains(text)),
                    Value::Number(number) => numbers.contains(&number),
                    _ => false,
                }),
                Predicate::Numbers { attribute, min, max } => test(
                    attribute,
                    &|value| matches!(value, Value::Number(number) if (*min..=*max).contains(&number)),
                ),
                Predicate::Moments { attribute, min, max } => test(
                    attribute,
                    &|value| matches!(value, Value::Moment(moment) if (*min..=*max).contains(&moment)),
                ),
            }
        }
    }

    fn predicate(stream: &mut SeededStream, depth: usize) -> Predicate {
        let mut number = |n: f64| (stream.uniform() * n) as u32;
        let kind = if depth == 0 { 3 + number(5.0) } else { number(8.0) };
        let attribute =
            ["color", "tags", "price", "made", "place", "absent"][number(6.0) as usize].to_owned();
        match kind {
            0 | 1 => {
                let n = number(4.0);
                let several = (0..n).map(|_| predicate(stream, depth - 1)).collect();
                if kind == 0 {
                    Predicate::All(several)
                } else {
                    Predicate::Any(several)
                }
            }
            2 => Predicate::Not(Box::new(predicate(stream, depth - 1))),
            3 => Predicate::Has {
                attribute: ["color", "tags"][number(2.0) as usize].to_owned(),
                texts: (0..number(3.0))
                    .map(|_| format!("{}{}", ["c", "t"][number(2.0) as usize], number(6.0)))
                    .collect(),
                numbers: Vec::new(),
            },
            4 => Predicate::Has {
                attribute: "price".to_owned(),
                texts: Vec::new(),
                numbers: vec![f64::from(number(40.0)) - 10.0, 0.0],
            },
            5 => {
                let min = f64::from(number(40.0)) - 12.0;
                Predicate::Numbers {
                    attribute,
                    min,
                    max: min + f64::from(number(30.0)),
                }
            }
            6 => {
                let min = i64::from(number(1000.0));
                Predicate::Moments {
                    attribute,
                    min: Timestamp(min),
                    max: Timestamp(min + i64::from(number(900.0))),
                }
            }
            _ => Predicate::Exists { attribute },
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn sets_are_those_of_asking_everybody(size in 0u32..600, seed in 0u64..100_000) {
            let mut stream = SeededStream::new(seed, 9);
            let mut things: Vec<Thing> = (0..size).map(|_| Thing::draw(&mut stream)).collect();
            let mut index = AttributeIndex::of(size, |item, tell| things[item as usize].each(tell));
            for _ in 0..3 {
                for _ in 0..4 {
                    let asked = predicate(&mut stream, 3);
                    let expected: ItemSet = (0..things.len() as u32).filter(|item| things[*item as usize].holds(&asked)).collect();
                    for _ in 0..2 {
                        let found = index.satisfying(&asked, &|item| things[item as usize].holds(&asked));
                        prop_assert_eq!(&*found, &expected, "{:?}", asked);
                    }
                }
                for _ in 0..5 {
                    let item = (stream.uniform() * f64::from(size + 3)) as usize;
                    things.resize_with(things.len().max(item + 1), Thing::default);
                    things[item] = Thing::draw(&mut stream);
                    (size..things.len() as u32).chain([item as u32]).for_each(|item| index.changed(item));
                }
            }
        }
    }
}
