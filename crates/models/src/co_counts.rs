//! Sums of pairs that take changes in without rewriting their rows each time.
//!
//! A batch of events changes nearly every row a little. So it is laid beside the rows as a layer (O'Neil et al., 1996, "The log-structured
//! merge-tree", with one level), the changes of a row next to each other; whoever reads a row adds what the layers have of it.
//! Once the layers hold twice as many changes as the rows have entries, or are many, all are brought into their rows. Rows and layers are
//! shared by copies. What a row comes to does not depend on who read it when.

use crate::companions::{Row, one_sided};
use hashbrown::HashMap;
use numeric::Sums;
use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

/// Layers before they are brought into their rows.
const LAYERS_MAX: usize = 32;
/// Changes below which they stay beside whatever the size of the rows.
const CHANGES_MIN: usize = 1 << 12;

/// Sums below this are none: those of fractions leave crumbs when they are taken back.
const LEAST: f32 = 1e-6;

thread_local! {
    /// Empty between two uses.
    static GATHERED: RefCell<Sums> = RefCell::new(Sums::new(0));
}

/// Changes of pairs, gathered event by event.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// An item, and where its part of `others` ends.
    heads: Vec<(u32, usize)>,
    others: Vec<(u32, f32)>,
}

impl Pairs {
    /// The pairs of this item with others are changed by so much, in both their rows.
    pub(crate) fn push(&mut self, item: u32, others: impl Iterator<Item = (u32, f32)>) {
        self.others.extend(others);
        if self.others.len() > self.heads.last().map_or(0, |head| head.1) {
            self.heads.push((item, self.others.len()));
        }
    }

    /// Pairs gathered.
    pub(crate) fn len(&self) -> usize {
        self.others.len()
    }

    fn each(&self) -> impl Iterator<Item = (u32, &[(u32, f32)])> {
        let starts = std::iter::once(0).chain(self.heads.iter().map(|head| head.1));
        let heads = self.heads.iter().zip(starts);
        heads.map(|((item, end), start)| (*item, &self.others[start..*end]))
    }
}

/// The changes of one batch by row.
#[derive(Debug, Default)]
struct Layer {
    /// Rows that it changes, ascending, and where their part of `changes` ends.
    rows: Vec<u32>,
    ends: Vec<u32>,
    changes: Vec<(u32, f32)>,
}

impl Layer {
    fn new(pairs: &Pairs, n_rows: usize) -> Layer {
        let mut counts = vec![0u32; n_rows];
        for (item, others) in pairs.each() {
            counts[item as usize] += others.len() as u32;
            others.iter().for_each(|(other, _)| counts[*other as usize] += 1);
        }
        let mut layer = Layer {
            changes: vec![(0, 0.0); 2 * pairs.len()],
            ..Layer::default()
        };
        let mut end = 0;
        for (row, count) in (0u32..).zip(&mut counts).filter(|(_, count)| **count > 0) {
            let start = end;
            end += std::mem::replace(count, start);
            layer.rows.push(row);
            layer.ends.push(end);
        }
        // From here on, the place of the next change of a row.
        let mut next = counts;
        for (item, others) in pairs.each() {
            let start = next[item as usize] as usize;
            layer.changes[start..start + others.len()].copy_from_slice(others);
            next[item as usize] += others.len() as u32;
            for (other, change) in others {
                let place = &mut next[*other as usize];
                layer.changes[*place as usize] = (item, *change);
                *place += 1;
            }
        }
        layer
    }

    fn of(&self, row: u32) -> &[(u32, f32)] {
        match self.rows.binary_search(&row) {
            Ok(at) => {
                let start = if at == 0 { 0 } else { self.ends[at - 1] };
                &self.changes[start as usize..self.ends[at] as usize]
            }
            Err(_) => &[],
        }
    }
}

/// For rows that were cut, the items whose rows may have them although they do not have those.
type OneSided = HashMap<u32, Arc<Vec<u32>>>;

/// Rows of sums, symmetric but for rows that were cut, and the changes beside them.
#[derive(Debug, Clone, Default)]
pub(crate) struct CoCounts {
    rows: Vec<Arc<Row>>,
    layers: Vec<Arc<Layer>>,
    /// Entries of the rows, and changes of the layers.
    n_entries: usize,
    n_changes: usize,
    /// Gathered when an update first needs it.
    one_sided: OnceLock<OneSided>,
}

impl CoCounts {
    pub(crate) fn new(rows: Vec<Row>) -> CoCounts {
        CoCounts {
            n_entries: rows.iter().map(|row| row.items.len()).sum(),
            rows: rows.into_iter().map(Arc::new).collect(),
            ..CoCounts::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds empty rows up to this number.
    pub(crate) fn extend_to(&mut self, n: usize) {
        self.rows.resize(n.max(self.rows.len()), Arc::default());
    }

    /// A row as it is now.
    pub(crate) fn row(&self, row: u32) -> Cow<'_, Row> {
        let own = &self.rows[row as usize];
        if self.layers.iter().all(|layer| layer.of(row).is_empty()) {
            return Cow::Borrowed(own);
        }
        GATHERED.with_borrow_mut(|gathered| {
            if gathered.len() < self.rows.len() {
                *gathered = Sums::new(self.rows.len());
            }
            let entries = own.items.iter().copied().zip(own.sums.iter().copied());
            entries.for_each(|(item, sum)| gathered.add(item, sum));
            let beside = self.layers.iter().flat_map(|layer| layer.of(row));
            beside.for_each(|(item, change)| gathered.add(*item, *change));
            let mut row = Row::default();
            row.take(gathered);
            row.drop_below(LEAST);
            Cow::Owned(row)
        })
    }

    /// Lays changes beside the rows.
    pub(crate) fn add(&mut self, pairs: &Pairs) {
        if pairs.len() > 0 {
            self.n_changes += 2 * pairs.len();
            self.layers.push(Arc::new(Layer::new(pairs, self.rows.len())));
        }
    }

    /// Whether so much lies beside the rows that they are to be brought up to date: a row is then read in about three times the time.
    pub(crate) fn is_heavy(&self) -> bool {
        self.layers.len() > LAYERS_MAX || self.n_changes > (2 * self.n_entries).max(CHANGES_MIN)
    }

    /// Brings all changes into their rows; those longer than `most` and a quarter are cut to `most`, and returned: only they read differently.
    pub(crate) fn settle(&mut self, most: usize) -> Vec<u32> {
        let mut concerned: Vec<u32> = self
            .layers
            .iter()
            .flat_map(|layer| layer.rows.iter().copied())
            .collect();
        concerned.sort_unstable();
        concerned.dedup();
        let (mut cut, mut changed) = (Vec::new(), Vec::with_capacity(concerned.len()));
        for row in concerned {
            let mut now = self.row(row).into_owned();
            // Cutting one by one would cost a selection per event, so there is some slack.
            if now.items.len() > most + most / 4 {
                cut.push(row);
                let gone = now.trim(most);
                if let Some(one_sided) = self.one_sided.get_mut() {
                    let holders = one_sided.entry(row).or_default();
                    let mut together = [holders.as_slice(), &gone].concat();
                    together.sort_unstable();
                    together.dedup();
                    *holders = Arc::new(together);
                }
            }
            self.n_entries += now.items.len();
            self.n_entries -= self.rows[row as usize].items.len();
            changed.push((row, Arc::new(now)));
        }
        for (row, now) in changed {
            self.rows[row as usize] = now;
        }
        self.layers.clear();
        self.n_changes = 0;
        cut
    }

    /// Rows that the changes laid down last concern.
    pub(crate) fn concerned(&self) -> &[u32] {
        self.layers.last().map_or(&[], |layer| layer.rows.as_slice())
    }

    /// About how many rows are those of [`companions`](CoCounts::companions).
    pub(crate) fn n_companions(&self, item: u32) -> usize {
        let beside = self.layers.iter().map(|layer| layer.of(item).len());
        self.rows[item as usize].items.len() + beside.sum::<usize>()
    }

    /// Calls `each` with every item whose row has this one, and maybe some others; `most` is what rows are cut to.
    pub(crate) fn companions(&self, item: u32, most: usize, mut each: impl FnMut(u32)) {
        let one_sided = self.one_sided.get_or_init(|| one_sided(&self.rows, most));
        let holders = one_sided.get(&item).into_iter().flat_map(|holders| &**holders);
        self.rows[item as usize]
            .items
            .iter()
            .chain(holders)
            .for_each(|other| each(*other));
        let beside = self.layers.iter().flat_map(|layer| layer.of(item));
        beside.for_each(|(other, _)| each(*other));
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        (self.n_entries + self.n_changes) * 8 + self.rows.len() * 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;
    use std::collections::{BTreeMap, BTreeSet};

    /// Against a map of pairs: rows, and who has whom, whenever they are settled or not.
    #[test]
    fn rows_with_what_lies_beside_them_are_the_sums() {
        for seed in 0..40 {
            let mut stream = SeededStream::new(seed, 0);
            let n = 2 + stream.below(20) as u32;
            let mut counts = CoCounts::new(vec![Row::default(); n as usize]);
            let mut sums: BTreeMap<(u32, u32), f32> = BTreeMap::new();
            for _ in 0..30 {
                let mut pairs = Pairs::default();
                for _ in 0..stream.below(6) {
                    let item = stream.below(u64::from(n)) as u32;
                    let others: BTreeSet<u32> = (0..stream.below(8))
                        .map(|_| stream.below(u64::from(n)) as u32)
                        .filter(|other| *other != item)
                        .collect();
                    let changes: Vec<(u32, f32)> = others
                        .into_iter()
                        .map(|other| {
                            let sum = sums.get(&(item, other)).copied().unwrap_or(0.0);
                            let takes = sum > 0.0 && stream.below(3) == 0;
                            (other, if takes { -1.0 } else { 1.0 })
                        })
                        .collect();
                    for (other, change) in &changes {
                        *sums.entry((item, *other)).or_default() += change;
                        *sums.entry((*other, item)).or_default() += change;
                    }
                    pairs.push(item, changes.into_iter());
                }
                counts.add(&pairs);
                if counts.is_heavy() || stream.below(8) == 0 {
                    assert!(counts.settle(1000).is_empty());
                }
                for item in 0..n {
                    let row = counts.row(item);
                    let found: Vec<(u32, f32)> =
                        row.items.iter().copied().zip(row.sums.iter().copied()).collect();
                    let expected: Vec<(u32, f32)> = sums
                        .iter()
                        .filter(|((own, _), sum)| *own == item && **sum > 0.0)
                        .map(|((_, other), sum)| (*other, *sum))
                        .collect();
                    assert_eq!(found, expected);
                    let mut companions = BTreeSet::new();
                    counts.companions(item, 1000, |other| _ = companions.insert(other));
                    assert!(expected.iter().all(|(other, _)| companions.contains(other)));
                }
            }
        }
    }

    #[test]
    fn rows_that_are_cut_are_known_to_those_whom_they_lost() {
        let pairs = |item: u32, others: &[(u32, f32)]| {
            let mut pairs = Pairs::default();
            pairs.push(item, others.iter().copied());
            pairs
        };
        let mut counts = CoCounts::new(vec![Row::default(); 8]);
        counts.companions(0, 4, |_| unreachable!("nothing is there"));
        let first: Vec<(u32, f32)> = (1..8).map(|other| (other, other as f32)).collect();
        counts.add(&pairs(0, &first));
        assert_eq!(counts.settle(4), [0], "seven are more than four and a quarter");
        assert_eq!(counts.row(0).items, [4, 5, 6, 7]);
        assert_eq!(counts.row(1).items, [0], "rows are cut one by one");
        let mut companions = Vec::new();
        counts.companions(0, 4, |other| companions.push(other));
        companions.sort_unstable();
        assert_eq!(companions, [1, 2, 3, 4, 5, 6, 7]);
    }
}
