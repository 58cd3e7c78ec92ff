//! The items of a vector space, searched exactly.
//!
//! Finds the `n` items whose vectors have the greatest products with that of a request. Vectors are kept as codes of eight bits
//! in blocks ([`numeric::codes`]); what rounding can have cost is bounded, so the pass over the codes gives a short list that is
//! certain to hold the best `n`, and scoring that list exactly gives them: no tuning, no build time, no recall to speak
//! of. The bound, for a vector y = s·c + e and a request q = a·d + f: |y·q − s·a·(c·d)| ≤ s·(‖q‖·‖e‖/s + ‖f‖·‖c‖), by
//! Cauchy and Schwarz, with the greatest ‖e‖/s and ‖c‖ of the chunk.
//!
//! Items are laid out longest vector first when the index is made. A run of [`RUN`] items whose longest vector cannot reach
//! the floor, ‖y‖·‖q‖ < floor, is passed over unread, so long-tailed spaces cost a fraction of a pass.
//!
//! Several requests share one pass ([`VectorIndex::shortlists`]): reading the codes is what a pass alone costs most.
//!
//! A copy shares every untouched chunk of [`CHUNK`] items: changing one item of a copy costs one chunk.
//! Memory: dims + 9 bytes per item. Nothing is random.

use crate::ItemSet;
use numeric::codes::{self, BLOCK, GROUP, Hit, Probe, Rounded};
use std::sync::Arc;

/// Items in a run.
const RUN: usize = 256;
/// Items in a chunk.
const CHUNK: usize = 4096;
/// No item.
const NOBODY: u32 = u32::MAX;
/// What single precision may cost a product, as a share of both lengths.
const ROUNDING: f32 = 1e-5;
/// A set of items that is at most this share of the index (as its inverse) is scored one by one instead.
const DIRECT_SHARE: u64 = 64;

/// Vectors of [`CHUNK`] items.
#[derive(Debug, Clone)]
struct Chunk {
    blocks: Vec<u8>,
    /// Step of each vector; not a number where there is none.
    steps: Vec<f32>,
    items: Vec<u32>,
    /// Greatest length of a vector, by run.
    longest: [f32; CHUNK / RUN],
    /// Greatest ‖e‖ / s and ‖c‖.
    lost: f32,
    code_length: f32,
}

impl Chunk {
    fn new(groups: usize) -> Chunk {
        Chunk {
            blocks: vec![0; CHUNK * groups * GROUP],
            steps: vec![f32::NAN; CHUNK],
            items: vec![NOBODY; CHUNK],
            longest: [0.0; CHUNK / RUN],
            lost: 0.0,
            code_length: 0.0,
        }
    }
}

/// An index over the vectors of items. See the head of the module.
#[derive(Debug, Clone)]
pub struct VectorIndex {
    dims: usize,
    groups: usize,
    chunks: Vec<Arc<Chunk>>,
    /// Place of each item, by position; [`NOBODY`] for none.
    places: Arc<Vec<u32>>,
    /// Places that were given up.
    free: Vec<u32>,
    /// Places in use or given up.
    used: usize,
    len: usize,
}

/// What one request asks of the index.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Its vector, `dims` numbers.
    pub vector: &'a [f32],
    /// How many items.
    pub n: usize,
    /// If given, only these.
    pub within: Option<&'a ItemSet>,
}

/// Items that are certain to hold the best `n` of those wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shortlist {
    /// In no particular order.
    pub items: Vec<u32>,
    /// True if these are all items wanted, however many were asked for.
    pub is_whole: bool,
}

/// A request rounded to codes.
struct Rough {
    codes: Vec<i8>,
    rounded: Rounded,
    length: f32,
}

impl Rough {
    fn new(vector: &[f32], groups: usize) -> Rough {
        let mut codes = vec![0; groups * GROUP];
        Rough {
            rounded: codes::round(vector, &mut codes),
            codes,
            length: numeric::norm(vector),
        }
    }

    /// What may be missing from a product, in steps of a vector of this chunk.
    fn slack(&self, chunk: &Chunk) -> f32 {
        self.length * (chunk.lost + ROUNDING * chunk.code_length) + self.rounded.lost * chunk.code_length
    }
}

/// A request during a pass.
struct Running<'a> {
    wanted: Wanted<'a>,
    /// Lower bounds of the best so far, at most 2n.
    lower: Vec<f32>,
    floor: f32,
    /// Items with upper bounds.
    kept: Vec<(u32, f32)>,
    /// Whether anything was passed over for its score.
    cut: bool,
}

impl<'a> Running<'a> {
    fn new(wanted: Wanted<'a>) -> Running<'a> {
        Running {
            lower: Vec::with_capacity(2 * wanted.n),
            floor: if wanted.n == 0 {
                f32::INFINITY
            } else {
                f32::NEG_INFINITY
            },
            kept: Vec::new(),
            cut: wanted.n == 0,
            wanted,
        }
    }

    /// Takes in what may lie above the floor and raises it.
    fn take(&mut self, chunk: &Chunk, first: usize, hits: &[Hit], slack: f32) {
        let n = self.wanted.n;
        for hit in hits {
            let at = first + hit.at as usize;
            let item = chunk.items[at];
            let margin = slack * chunk.steps[at];
            let upper = hit.product + margin;
            if upper < self.floor || self.wanted.within.is_some_and(|within| !within.contains(item)) {
                continue;
            }
            self.kept.push((item, upper));
            let lower = hit.product - margin;
            if lower > self.floor {
                self.lower.push(lower);
            }
            if self.lower.len() >= 2 * n {
                self.raise();
            }
        }
        if self.lower.len() >= n {
            self.raise();
        }
        if self.kept.len() > 64 + 8 * n {
            let floor = self.floor;
            self.kept.retain(|(_, upper)| *upper >= floor);
        }
    }

    fn raise(&mut self) {
        let n = self.wanted.n;
        if self.lower.len() < n || n == 0 {
            return;
        }
        let (_, floor, _) = self.lower.select_nth_unstable_by(n - 1, |a, b| b.total_cmp(a));
        // Entries equal to the floor stay: of the best n, none may be lost.
        self.floor = *floor;
        self.lower.truncate(n);
    }

    fn finish(mut self) -> Shortlist {
        let floor = self.floor;
        let before = self.kept.len();
        self.kept.retain(|(_, upper)| *upper >= floor);
        let is_whole = floor == f32::NEG_INFINITY && before == self.kept.len() && !self.cut;
        Shortlist {
            items: self.kept.into_iter().map(|(item, _)| item).collect(),
            is_whole,
        }
    }
}

impl VectorIndex {
    /// An index without items.
    pub fn new(dims: usize) -> VectorIndex {
        VectorIndex {
            dims,
            groups: codes::groups_of(dims),
            chunks: Vec::new(),
            places: Arc::default(),
            free: Vec::new(),
            used: 0,
            len: 0,
        }
    }

    /// An index of these items, `vector` giving the numbers of each; those that have none are left out. Items are laid out
    /// longest first.
    ///
    /// # Panics
    /// If a vector is not `dims` long.
    pub fn of<'v>(
        dims: usize,
        items: impl IntoIterator<Item = u32>,
        vector: impl Fn(u32) -> Option<&'v [f32]>,
    ) -> VectorIndex {
        let mut order: Vec<(u32, f32)> = items
            .into_iter()
            .filter_map(|item| Some((item, numeric::norm(vector(item)?))))
            .collect();
        order.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut index = VectorIndex::new(dims);
        for (item, _) in order {
            if let Some(vector) = vector(item) {
                index.put(item, vector);
            }
        }
        index
    }

    /// Numbers of a vector.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Items in the index.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if the item has a vector.
    pub fn contains(&self, item: u32) -> bool {
        self.places
            .get(item as usize)
            .is_some_and(|place| *place != NOBODY)
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * (self.groups * GROUP + 8) + self.places.len() * 4 + self.free.len() * 4
    }

    /// Puts an item in, or changes its vector in place.
    ///
    /// # Panics
    /// If the vector is not `dims` long.
    pub fn put(&mut self, item: u32, vector: &[f32]) {
        assert_eq!(vector.len(), self.dims, "numbers of a vector");
        let place = if self.contains(item) {
            self.places[item as usize] as usize
        } else {
            self.len += 1;
            let place = self.free.pop().map_or(self.used, |place| place as usize);
            self.used = self.used.max(place + 1);
            let places = Arc::make_mut(&mut self.places);
            if places.len() <= item as usize {
                places.resize(item as usize + 1, NOBODY);
            }
            places[item as usize] = place as u32;
            place
        };
        if place / CHUNK == self.chunks.len() {
            self.chunks.push(Arc::new(Chunk::new(self.groups)));
        }
        let chunk = Arc::make_mut(&mut self.chunks[place / CHUNK]);
        let at = place % CHUNK;
        let mut codes = vec![0i8; self.groups * GROUP];
        let rounded = codes::round(vector, &mut codes);
        codes::place(&mut chunk.blocks, self.groups, at, &codes);
        chunk.steps[at] = rounded.step;
        chunk.items[at] = item;
        // Bounds only widen: what they were made wide by may be gone, which costs time and nothing else.
        let longest = &mut chunk.longest[at / RUN];
        *longest = longest.max(numeric::norm(vector));
        if rounded.step > 0.0 {
            chunk.lost = chunk.lost.max(rounded.lost / rounded.step);
            chunk.code_length = chunk.code_length.max(rounded.code_length);
        }
    }

    /// Takes an item out; true if it was in.
    pub fn remove(&mut self, item: u32) -> bool {
        if !self.contains(item) {
            return false;
        }
        let place = std::mem::replace(&mut Arc::make_mut(&mut self.places)[item as usize], NOBODY);
        let chunk = Arc::make_mut(&mut self.chunks[place as usize / CHUNK]);
        let at = place as usize % CHUNK;
        chunk.steps[at] = f32::NAN;
        chunk.items[at] = NOBODY;
        self.free.push(place);
        self.len -= 1;
        true
    }

    /// For each request, items that are certain to hold its best. One pass over the vectors for all of them.
    ///
    /// Cost: `dims` bytes read per item, once, and one multiplication per byte and request; sets of items that are small
    /// beside the index cost nothing here, they are the list.
    ///
    /// # Panics
    /// If a vector is not `dims` long.
    pub fn shortlists(&self, wanted: &[Wanted<'_>]) -> Vec<Shortlist> {
        let mut answers: Vec<Option<Shortlist>> = wanted.iter().map(|one| self.direct(one)).collect();
        let open: Vec<usize> = (0..wanted.len()).filter(|at| answers[*at].is_none()).collect();
        let rough: Vec<Rough> = open
            .iter()
            .map(|at| Rough::new(wanted[*at].vector, self.groups))
            .collect();
        let mut running: Vec<Running<'_>> = open.iter().map(|at| Running::new(wanted[*at])).collect();
        self.pass(&rough, &mut running);
        for (at, running) in open.into_iter().zip(running) {
            answers[at] = Some(running.finish());
        }
        answers.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// The whole of a set of items that is small.
    fn direct(&self, wanted: &Wanted<'_>) -> Option<Shortlist> {
        assert_eq!(wanted.vector.len(), self.dims, "numbers of a vector");
        let within = wanted.within?;
        let few = within.len() <= (wanted.n as u64).max(self.len as u64 / DIRECT_SHARE);
        few.then(|| Shortlist {
            items: within.iter().filter(|item| self.contains(*item)).collect(),
            is_whole: true,
        })
    }

    fn pass(&self, rough: &[Rough], running: &mut [Running<'_>]) {
        let size = self.groups * GROUP;
        let mut hits: Vec<Vec<Hit>> = vec![Vec::new(); running.len()];
        let all: Vec<Probe<'_>> = rough
            .iter()
            .map(|rough| Probe::new(&rough.codes, rough.rounded.step, 0.0, 0.0))
            .collect();
        let (mut active, mut probes) = (Vec::new(), Vec::new());
        let mut slacks = vec![0f32; running.len()];
        for (number, chunk) in self.chunks.iter().enumerate() {
            for (slack, rough) in slacks.iter_mut().zip(rough) {
                *slack = rough.slack(chunk);
            }
            let filled = (self.used - number * CHUNK).min(CHUNK).next_multiple_of(BLOCK);
            for run in 0..filled.div_ceil(RUN) {
                let (first, last) = (run * RUN, ((run + 1) * RUN).min(filled));
                // A little is added for the rounding of the lengths themselves.
                let reach = chunk.longest[run] * (1.0 + 2.0 * ROUNDING);
                active.clear();
                probes.clear();
                for (at, running) in running.iter_mut().enumerate() {
                    if reach * rough[at].length >= running.floor {
                        active.push(at);
                        let mut probe = all[at];
                        (probe.slack, probe.floor) = (slacks[at], running.floor);
                        probes.push(probe);
                    } else {
                        running.cut = true;
                    }
                }
                if active.is_empty() {
                    continue;
                }
                let lists = &mut hits[..active.len()];
                lists.iter_mut().for_each(Vec::clear);
                codes::scan(
                    &chunk.blocks[first * size..last * size],
                    &chunk.steps[first..last],
                    self.groups,
                    &probes,
                    lists,
                );
                for (at, hits) in active.iter().zip(lists.iter()) {
                    running[*at].take(chunk, first, hits, slacks[*at]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;
    use proptest::prelude::*;

    fn vector(stream: &mut SeededStream, dims: usize) -> Vec<f32> {
        let length = (0.5 * stream.normal()).exp();
        (0..dims).map(|_| (stream.normal() * length) as f32).collect()
    }

    /// Best n by products, ties by item.
    fn best(n: usize, items: impl Iterator<Item = u32>, of: impl Fn(u32) -> f32) -> Vec<(u32, f32)> {
        numeric::top_k(n, items.map(|item| (item, of(item))))
    }

    fn check(index: &VectorIndex, table: &[Option<Vec<f32>>], asked: &[(Vec<f32>, usize, Option<ItemSet>)]) {
        let wanted: Vec<Wanted<'_>> = asked
            .iter()
            .map(|(vector, n, within)| Wanted {
                vector,
                n: *n,
                within: within.as_ref(),
            })
            .collect();
        for (list, wanted) in index.shortlists(&wanted).iter().zip(&wanted) {
            let of = |item: u32| {
                let own = table[item as usize].as_ref().expect("only what is in the index");
                numeric::dot(own, wanted.vector)
            };
            let admitted = |item: &u32| {
                table[*item as usize].is_some() && wanted.within.is_none_or(|within| within.contains(*item))
            };
            let all = || (0..table.len() as u32).filter(admitted);
            let mut sorted = list.items.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.items.len(), "no item twice");
            assert!(sorted.iter().all(admitted), "nothing that was not asked for");
            if list.is_whole {
                assert_eq!(sorted, all().collect::<Vec<_>>());
            }
            assert_eq!(best(wanted.n, sorted.into_iter(), of), best(wanted.n, all(), of));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Puts, changes and removals in any order; every request gets the same as by looking at everything.
        #[test]
        fn equals_looking_at_everything(dims in 1usize..40, size in 1usize..700, seed in 0u64..10_000) {
            let mut stream = SeededStream::new(seed, 3);
            let mut table: Vec<Option<Vec<f32>>> = (0..size)
                .map(|_| (stream.uniform() < 0.9).then(|| vector(&mut stream, dims)))
                .collect();
            let mut index = VectorIndex::of(dims, 0..size as u32, |item| table[item as usize].as_deref());
            let untouched = index.clone();
            let first = table.clone();
            for _ in 0..size / 2 {
                let item = (stream.uniform() * (size as f64 + 5.0)) as usize;
                table.resize(table.len().max(item + 1), None);
                table[item] = (stream.uniform() < 0.6).then(|| vector(&mut stream, dims));
                match &table[item] {
                    Some(vector) => index.put(item as u32, vector),
                    None => { index.remove(item as u32); }
                }
            }
            prop_assert_eq!(index.len(), table.iter().flatten().count());
            let n_asked = 1 + (seed % 11) as usize;
            let asked: Vec<_> = (0..n_asked)
                .map(|_| {
                    let share = stream.uniform();
                    let set: ItemSet = (0..size as u32).filter(|_| stream.uniform() < share).collect();
                    let n = (stream.uniform() * 30.0) as usize;
                    (vector(&mut stream, dims), n, (stream.uniform() < 0.7).then_some(set))
                })
                .collect();
            check(&index, &table, &asked);
            check(&untouched, &first, &asked);
        }
    }

    /// Shares of 0.01 %, 1 %, 10 %, 50 % and all of 20,000 items with long-tailed lengths, sixteen requests in one pass.
    #[test]
    fn any_share_of_many_items() {
        let (dims, size) = (32, 20_000);
        let mut stream = SeededStream::new(7, 0);
        let table: Vec<_> = (0..size).map(|_| Some(vector(&mut stream, dims))).collect();
        let index = VectorIndex::of(dims, 0..size as u32, |item| table[item as usize].as_deref());
        let mut asked = Vec::new();
        for share in [0.0001, 0.01, 0.1, 0.5] {
            let set: ItemSet = (0..size as u32).filter(|_| stream.uniform() < share).collect();
            asked.extend((0..4).map(|_| (vector(&mut stream, dims), 100, Some(set.clone()))));
        }
        asked.extend((0..4).map(|_| (vector(&mut stream, dims), 100, None)));
        check(&index, &table, &asked);
    }

    #[test]
    fn odd_vectors() {
        let table = vec![
            Some(vec![0.0, 0.0]),
            Some(vec![1.0, 0.0]),
            Some(vec![-1.0, 1e-30]),
            None,
        ];
        let index = VectorIndex::of(2, 0..4, |item| table[item as usize].as_deref());
        let asked = |x, y, n| (vec![x, y], n, None);
        check(
            &index,
            &table,
            &[
                asked(0.0, 0.0, 2),
                asked(-1.0, 0.0, 1),
                asked(1.0, 1.0, 0),
                asked(1.0, 0.0, 9),
            ],
        );
        assert!(
            VectorIndex::new(2).shortlists(&[Wanted {
                vector: &[1.0, 2.0],
                n: 3,
                within: None
            }])[0]
                .items
                .is_empty()
        );
    }
}
