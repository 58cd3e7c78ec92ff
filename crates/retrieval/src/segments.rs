//! What is popular, and what is rising, in a segment of people or circumstances, drawn towards what is so for everybody.
//!
//! With c(s, i) the decayed strength of item i in segment s, C(s) that of all its items, and p(i) the item's share of everybody's strength, an item's
//! **popularity** is (c(s, i) + k · p(i)) / (C(s) + k): the mean of a Dirichlet posterior whose prior is everybody's taste, believed like k events (`shrinkage`). A segment
//! that nothing is known of has p(i).
//!
//! Its **trend** is (S(s, i) + k · t(i)) / (E(s, i) + k), with S the sums at the short half-life, E(s, i) = c(s, i) · ΣS(s) / C(s) what would be expected of a steady item,
//! and t(i) = (S(i) + k) / (E(i) + k) the same over everybody, drawn towards 1: two Gamma-Poisson steps (DuMouchel 1999), as in the model `trending`.
//!
//! Negative sums count as zero. Ages are counted to the latest event counted.
//!
//! Input: events in the order of the log. The same events in the same order give the same bits. Cost: two map entries and a few multiplications for each event; one
//! sort of all items after each batch, and one of a segment's own items when it is first asked after that. Memory: about 40 bytes for each item of each
//! segment, 16 for each item. A copy shares the segments that nothing is added to. Nothing is random.

use domain::{Query, Retriever, StageError, Timestamp};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};

const DAY_MS: f64 = 86_400_000.0;
/// Half-lives after which sums are brought over to a later reference, so that none overflows.
const REBASE: f64 = 64.0;
/// Items of a list that are kept ready; if rules leave too few of them, the list is made whole.
const FIRST: usize = 4096;
/// Segments that are told apart; what comes in further ones counts for everybody alone.
const SEGMENTS_MAX: usize = 10_000;

/// What to propose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// What is taken most.
    Popular,
    /// What is taken more than it used to be.
    Trending,
}

/// Half-lives and shrinkage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentTerms {
    /// Days in which an event loses half its strength, above 0.
    pub half_life_days: f64,
    /// The same for what counts as recent, less than `half_life_days`.
    pub short_days: f64,
    /// Strength that the prior is believed like (k), above 0.
    pub shrinkage: f64,
}

/// Sums of one segment, or of everybody: at the long and at the short half-life.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sums {
    of: HashMap<u32, [f64; 2], BuildHasherDefault<DefaultHasher>>,
}

impl Sums {
    fn get(&self, item: u32) -> [f64; 2] {
        self.of
            .get(&item)
            .map_or([0.0; 2], |sums| sums.map(|sum| sum.max(0.0)))
    }

    fn add(&mut self, item: u32, values: [f64; 2]) {
        let sums = self.of.entry(item).or_default();
        (sums[0], sums[1]) = (sums[0] + values[0], sums[1] + values[1]);
    }

    /// Of all items, in their order, so that it is the same whatever the map does.
    fn totals(&self) -> [f64; 2] {
        let mut items: Vec<u32> = self.of.keys().copied().collect();
        items.sort_unstable();
        items
            .into_iter()
            .map(|item| self.get(item))
            .fold([0.0; 2], |all, sums| [all[0] + sums[0], all[1] + sums[1]])
    }
}

type List = Arc<Vec<(u32, f32)>>;

fn by_score(a: &(u32, f64), b: &(u32, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Everybody's taste, best first, as it is after a batch.
#[derive(Debug, Clone, Default, PartialEq)]
struct Everybody {
    popular: Vec<(u32, f64)>,
    trending: Vec<(u32, f64)>,
}

/// Popularity and trend by segment. Segments are numbers: what they stand for, the caller knows.
#[derive(Debug)]
pub struct SegmentTable {
    terms: SegmentTerms,
    /// Moments that sums are counted against, long and short.
    reference: [Timestamp; 2],
    latest: Timestamp,
    all: Arc<Sums>,
    segments: BTreeMap<u64, Arc<Sums>>,
    everybody: Arc<Everybody>,
    events: u64,
    digest: u64,
    lists: Mutex<BTreeMap<(Standing, Option<u64>), List>>,
}

impl Clone for SegmentTable {
    fn clone(&self) -> Self {
        SegmentTable {
            all: self.all.clone(),
            segments: self.segments.clone(),
            everybody: self.everybody.clone(),
            lists: Mutex::default(),
            ..*self
        }
    }
}

impl SegmentTable {
    /// Nothing counted yet.
    pub fn new(terms: SegmentTerms) -> SegmentTable {
        SegmentTable {
            terms,
            reference: [Timestamp(i64::MIN); 2],
            latest: Timestamp(i64::MIN),
            all: Arc::default(),
            segments: BTreeMap::new(),
            everybody: Arc::default(),
            events: 0,
            digest: 0,
            lists: Mutex::default(),
        }
    }

    fn half_lives(&self, at: usize, from: Timestamp, to: Timestamp) -> f64 {
        let days = [self.terms.half_life_days, self.terms.short_days][at];
        (to.0 as f64 - from.0 as f64) / DAY_MS / days
    }

    /// Counts an event, of a segment if that is known; false if its strength is no number. Call [`settle`](Self::settle) after the last one of a batch.
    pub fn add(
        &mut self,
        sequence: u64,
        segment: Option<u64>,
        item: u32,
        weight: f32,
        when: Timestamp,
    ) -> bool {
        if !weight.is_finite() {
            return false;
        }
        if self.events == 0 {
            (self.reference, self.latest) = ([when; 2], when);
        }
        self.latest = self.latest.max(when);
        for at in 0..2 {
            if self.half_lives(at, self.reference[at], self.latest) > REBASE {
                let factor = self.half_lives(at, self.latest, self.reference[at]).exp2();
                for sums in std::iter::once(&mut self.all).chain(self.segments.values_mut()) {
                    Arc::make_mut(sums)
                        .of
                        .values_mut()
                        .for_each(|sums| sums[at] *= factor);
                }
                self.reference[at] = self.latest;
            }
        }
        let value = |at: usize| f64::from(weight) * self.half_lives(at, self.reference[at], when).exp2();
        let values = [value(0), value(1)];
        Arc::make_mut(&mut self.all).add(item, values);
        let is_room = self.segments.len() < SEGMENTS_MAX;
        if let Some(segment) = segment.filter(|segment| is_room || self.segments.contains_key(segment)) {
            Arc::make_mut(self.segments.entry(segment).or_default()).add(item, values);
        }
        self.events += 1;
        let told = numeric::mix(numeric::mix(sequence) ^ segment.map_or(0, numeric::mix));
        self.digest = self.digest.wrapping_add(told);
        true
    }

    /// Works out everybody's taste from what was added; until then lists are those of before.
    pub fn settle(&mut self) {
        let scale = self.scale();
        let totals = self.all.totals();
        let mut items: Vec<u32> = self.all.of.keys().copied().collect();
        items.sort_unstable();
        let k = self.terms.shrinkage;
        let share = |item: u32| self.all.get(item)[0] / totals[0].max(f64::MIN_POSITIVE);
        let steady = totals[1] * scale[1] / totals[0].max(f64::MIN_POSITIVE);
        let trend = |item: u32| {
            let [long, short] = self.all.get(item);
            (short * scale[1] + k) / (long * steady + k)
        };
        let listed = |score: &dyn Fn(u32) -> f64| {
            let mut list: Vec<(u32, f64)> = items.iter().map(|item| (*item, score(*item))).collect();
            list.sort_unstable_by(by_score);
            list
        };
        let mut popular = listed(&share);
        popular.retain(|(_, share)| *share > 0.0);
        self.everybody = Arc::new(Everybody {
            popular,
            trending: listed(&trend),
        });
        self.lists
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// What brings sums to the latest moment.
    fn scale(&self) -> [f64; 2] {
        [0, 1].map(|at| match self.events {
            0 => 1.0,
            _ => self.half_lives(at, self.latest, self.reference[at]).exp2(),
        })
    }

    /// Events counted.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Segments that something is known of.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// A checksum of which events were counted in which segments, whatever their order.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The best items of a segment, at least `depth` of them if there are so many, best first.
    fn ranked(&self, standing: Standing, segment: &Sums, depth: usize) -> Vec<(u32, f32)> {
        let scale = self.scale();
        let totals = segment.totals();
        let k = self.terms.shrinkage;
        let everybody = match standing {
            Standing::Popular => &self.everybody.popular,
            Standing::Trending => &self.everybody.trending,
        };
        let steady = totals[1] * scale[1] / totals[0].max(f64::MIN_POSITIVE);
        let score = |(item, prior): &(u32, f64)| {
            let [long, short] = segment.get(*item);
            let score = match standing {
                Standing::Popular => (long * scale[0] + k * prior) / (totals[0] * scale[0] + k),
                Standing::Trending => (short * scale[1] + k * prior) / (long * steady + k),
            };
            (*item, score)
        };
        // What the segment does not have keeps everybody's order among itself.
        let mut left = depth;
        let mut list: Vec<(u32, f64)> = Vec::new();
        for entry in everybody {
            if segment.of.contains_key(&entry.0) {
                list.push(score(entry));
            } else if left > 0 {
                left -= 1;
                list.push(score(entry));
            }
        }
        list.sort_unstable_by(by_score);
        list.truncate(depth);
        let single = |(item, score): (u32, f64)| (item, score.clamp(0.0, 1e30) as f32);
        list.into_iter().map(single).collect()
    }

    /// The best `n` items for a segment that `allowed` admits, best first, ties by position; those of everybody where nothing is known of the segment.
    pub fn best(
        &self,
        standing: Standing,
        segment: Option<u64>,
        n: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Vec<(u32, f32)> {
        let nothing = Sums::default();
        let found = segment.and_then(|segment| Some((segment, self.segments.get(&segment)?)));
        let (key, sums) = found.map_or((None, &nothing), |(segment, sums)| (Some(segment), &**sums));
        let key = (standing, key);
        let pick = |list: &[(u32, f32)]| -> Vec<(u32, f32)> {
            list.iter()
                .copied()
                .filter(|(item, _)| allowed(*item))
                .take(n)
                .collect()
        };
        let known = self
            .lists
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        let first = known.unwrap_or_else(|| {
            let list = Arc::new(self.ranked(standing, sums, FIRST));
            let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.entry(key).or_insert(list).clone()
        });
        let best = pick(&first);
        if best.len() == n || first.len() < FIRST {
            return best;
        }
        pick(&self.ranked(standing, sums, usize::MAX))
    }
}

/// Tells the segment of a request, if it has one.
type SegmentOf = Arc<dyn Fn(&Query) -> Option<u64> + Send + Sync>;

/// Proposes what is popular, or rising, in the segment of the request.
#[derive(Clone)]
pub struct SegmentRetriever {
    name: String,
    standing: Standing,
    table: Arc<SegmentTable>,
    segment_of: SegmentOf,
}

impl SegmentRetriever {
    /// A source over a table.
    pub fn new(
        name: impl Into<String>,
        standing: Standing,
        table: Arc<SegmentTable>,
        segment_of: SegmentOf,
    ) -> SegmentRetriever {
        SegmentRetriever {
            name: name.into(),
            standing,
            table,
            segment_of,
        }
    }
}

impl Retriever for SegmentRetriever {
    fn name(&self) -> &str {
        &self.name
    }

    fn retrieve(
        &self,
        query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        let segment = (self.segment_of)(query);
        Ok(self.table.best(self.standing, segment, budget, allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMS: SegmentTerms = SegmentTerms {
        half_life_days: 30.0,
        short_days: 2.0,
        shrinkage: 5.0,
    };

    /// Segment, item, strength and day.
    type Row = (Option<u64>, u32, f32, f64);

    fn when(day: f64) -> Timestamp {
        Timestamp((day * DAY_MS) as i64)
    }

    fn table(rows: &[Row]) -> SegmentTable {
        let mut table = SegmentTable::new(TERMS);
        for (at, (segment, item, weight, day)) in rows.iter().enumerate() {
            assert!(table.add(at as u64 + 1, *segment, *item, *weight, when(*day)));
            // Batches of any size.
            if at % 7 == 3 {
                table = table.clone();
                table.settle();
            }
        }
        table.settle();
        table
    }

    /// The formulas of the head, from all events anew for each item.
    fn recounted(rows: &[Row], standing: Standing, segment: Option<u64>, n_items: u32) -> Vec<(u32, f64)> {
        let latest = rows.iter().map(|row| row.3).fold(f64::NEG_INFINITY, f64::max);
        let sum = |of: Option<Option<u64>>, item: u32, half_life: f64| {
            let mine = rows
                .iter()
                .filter(|row| row.1 == item && of.is_none_or(|of| row.0 == of));
            let sum: f64 = mine
                .map(|row| f64::from(row.2) * ((row.3 - latest) / half_life).exp2())
                .sum();
            sum.max(0.0)
        };
        let total = |of: Option<Option<u64>>, half_life: f64| -> f64 {
            (0..n_items).map(|item| sum(of, item, half_life)).sum()
        };
        let k = TERMS.shrinkage;
        let is_known = segment.is_some() && rows.iter().any(|row| row.0 == segment);
        let mine = |item: u32, half_life: f64| {
            if is_known {
                sum(Some(segment), item, half_life)
            } else {
                0.0
            }
        };
        let mine_in_all = |half_life: f64| {
            if is_known {
                total(Some(segment), half_life)
            } else {
                0.0
            }
        };
        let (all_long, all_short) = (total(None, 30.0), total(None, 2.0));
        let (my_long, my_short) = (mine_in_all(30.0), mine_in_all(2.0));
        let over = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let known = (0..n_items).filter(|item| rows.iter().any(|row| row.1 == *item));
        known
            .filter_map(|item| match standing {
                Standing::Popular => {
                    let prior = over(sum(None, item, 30.0), all_long);
                    (prior > 0.0).then(|| (item, (mine(item, 30.0) + k * prior) / (my_long + k)))
                }
                Standing::Trending => {
                    let expected = sum(None, item, 30.0) * over(all_short, all_long);
                    let prior = (sum(None, item, 2.0) + k) / (expected + k);
                    let expected = mine(item, 30.0) * over(my_short, my_long);
                    Some((item, (mine(item, 2.0) + k * prior) / (expected + k)))
                }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn equals_the_slow_recount(
            rows in prop::collection::vec(
                (prop::option::of(1u64..4), 0u32..9, -1f32..4.0, prop_oneof![0.0f64..20.0, 0.0f64..9000.0]), 1..60),
            segment in prop::option::of(1u64..6),
            modulus in 1u32..3,
        ) {
            let table = table(&rows);
            for standing in [Standing::Popular, Standing::Trending] {
                let slow = recounted(&rows, standing, segment, 9);
                let allowed = |item: u32| item.is_multiple_of(modulus);
                let found = table.best(standing, segment, 9, &allowed);
                let expected: BTreeMap<u32, f64> = slow.into_iter().filter(|(item, _)| allowed(*item)).collect();
                let clear = |score: f64| score > 1e-9;
                prop_assert!(found.iter().all(|(item, _)| expected.contains_key(item)));
                prop_assert_eq!(
                    found.iter().filter(|(_, score)| clear(f64::from(*score))).count(),
                    expected.values().filter(|score| clear(**score)).count());
                for (item, score) in &found {
                    let slow = expected[item];
                    prop_assert!((f64::from(*score) - slow).abs() < 1e-5 * (1.0 + slow), "{standing:?} {item}: {score} {slow}");
                }
                prop_assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
                prop_assert_eq!(&found[..found.len().min(3)], &table.best(standing, segment, 3, &allowed)[..]);
            }
        }
    }

    #[test]
    fn thin_segments_go_with_everybody_and_thick_ones_their_own_way() {
        let everybody = (0..100).map(|at| (None, u32::from(at % 4 == 0), 1.0, 1.0));
        let thin = [(Some(1), 2, 1.0, 1.0)];
        let thick = (0..100).map(|_| (Some(2), 3, 1.0, 1.0));
        let rows: Vec<Row> = everybody.chain(thin).chain(thick).collect();
        let table = table(&rows);
        let first = |segment: Option<u64>| table.best(Standing::Popular, segment, 1, &|_| true)[0].0;
        assert_eq!((first(Some(2)), table.segments(), table.events()), (3, 2, 201));
        let order = |segment| -> Vec<u32> {
            let best = table.best(Standing::Popular, segment, 4, &|_| true);
            best.into_iter().map(|(item, _)| item).collect()
        };
        assert_eq!(order(None), [3, 0, 1, 2]);
        assert_eq!(
            order(Some(1)),
            [3, 0, 2, 1],
            "one event in a segment lifts an item a little"
        );
        assert_eq!(
            order(Some(9)),
            order(None),
            "a segment that nobody knows is everybody"
        );
    }

    #[test]
    fn the_digest_tells_other_events_and_segments_and_no_other_order() {
        let rows: Vec<Row> = vec![(Some(1), 0, 1.0, 1.0), (None, 1, 1.0, 2.0)];
        let mut turned = SegmentTable::new(TERMS);
        turned.add(2, None, 1, 1.0, when(2.0));
        turned.add(1, Some(1), 0, 1.0, when(1.0));
        assert_eq!(table(&rows).digest(), turned.digest());
        let other: Vec<Row> = vec![(Some(2), 0, 1.0, 1.0), (None, 1, 1.0, 2.0)];
        assert_ne!(table(&rows).digest(), table(&other).digest());
        assert_ne!(table(&rows).digest(), table(&rows[..1]).digest());
        assert!(!turned.add(3, None, 1, f32::NAN, when(2.0)));
    }

    #[test]
    fn the_source_keeps_the_promises() {
        let rows: Vec<Row> = (0..400u32)
            .map(|at| {
                (
                    Some(u64::from(at % 3)),
                    at * 7 % 40,
                    1.0 + (at % 5) as f32,
                    f64::from(at),
                )
            })
            .collect();
        let table = Arc::new(table(&rows));
        for standing in [Standing::Popular, Standing::Trending] {
            let of = Arc::new(|query: &Query| Some(query.seed % 4));
            testkit::stages::retriever(
                &SegmentRetriever::new("in-segment", standing, table.clone(), of),
                40,
            );
        }
        let empty = Arc::new(SegmentTable::new(TERMS));
        let source = SegmentRetriever::new("empty", Standing::Trending, empty, Arc::new(|_: &Query| None));
        testkit::stages::retriever(&source, 40);
    }
}
