//! The items of a vector space, searched exactly.
//!
//! Finds the `n` items whose vectors have the greatest products with that of a request. Vectors are kept as codes of eight bits
//! in blocks ([`numeric::codes`]); what rounding can have cost is bounded, so the pass over the codes gives a short list that is
//! certain to hold the best `n`, and scoring that list exactly gives them: no tuning, no build time, no recall to speak
//! of. The bound, for a vector y = s·c + e and a request q = a·d + f: |y·q − s·a·(c·d)| ≤ s·(‖q‖·‖e‖/s + ‖f‖·‖c‖), by
//! Cauchy and Schwarz, with the greatest ‖e‖/s and ‖c‖ of the chunk.
//!
//! Items that lie near each other are laid out together when the index is made ([`layout`](crate::layout)). A run of [`RUN`] items is passed over unread if
//! none of it can reach the floor: with m the middle of the run, y·q ≤ m·q + ‖y − m‖·‖q‖, and y·q ≤ ‖y‖·‖q‖. Each request begins with the runs of
//! its highest bounds, so that the floor is high before the pass; long-tailed spaces and those that have groups cost a fraction of one.
//!
//! By [`Measure::Cosine`] the best are those of the greatest y·q / ‖y‖: the same codes with steps divided by the lengths.
//!
//! Several requests share one pass ([`VectorIndex::shortlists`]): reading the codes is what a pass alone costs most.
//!
//! A copy shares every untouched chunk of [`CHUNK`] items: changing one item of a copy costs one chunk.
//! Memory: dims + 13 bytes per item, and 4 · dims for each run. Nothing is random.

use crate::ItemSet;
use crate::layout::arranged;
use numeric::codes::{self, BLOCK, GROUP, Hit, Probe, Rounded};
use std::sync::Arc;

/// Items in a run.
const RUN: usize = 256;
/// Items in a chunk.
const CHUNK: usize = 4096;
/// Runs of a chunk.
const RUNS: usize = CHUNK / RUN;
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
    /// The same over the length of the vector; not a number where that is 0.
    unit_steps: Vec<f32>,
    items: Vec<u32>,
    /// Greatest and least length of a vector, by run.
    longest: [f32; RUNS],
    shortest: [f32; RUNS],
    /// Middle of each run as it was laid out, `dims` numbers each, and how far its vectors are from it at most.
    middles: Vec<f32>,
    reach: [f32; RUNS],
    /// Greatest ‖e‖ / s and ‖c‖.
    lost: f32,
    code_length: f32,
}

impl Chunk {
    fn new(dims: usize, groups: usize) -> Chunk {
        Chunk {
            blocks: vec![0; CHUNK * groups * GROUP],
            steps: vec![f32::NAN; CHUNK],
            unit_steps: vec![f32::NAN; CHUNK],
            items: vec![NOBODY; CHUNK],
            longest: [0.0; RUNS],
            shortest: [f32::INFINITY; RUNS],
            middles: vec![0.0; RUNS * dims],
            reach: [0.0; RUNS],
            lost: 0.0,
            code_length: 0.0,
        }
    }

    /// What the products of each run's vectors with a request cannot exceed, with something for the rounding of all that is summed here and where
    /// vectors are scored. A run without vectors has minus infinity.
    fn bounds(&self, rough: &Rough<'_>, measure: Measure, out: &mut [f32; RUNS]) {
        let length = rough.length;
        numeric::dot_rows(&self.middles, rough.vector, out);
        for (run, out) in out.iter_mut().enumerate() {
            let (longest, reach) = (self.longest[run], self.reach[run]);
            let by_middle = *out + (reach + 2.0 * ROUNDING * (longest + reach)) * length;
            let by_length = longest * (1.0 + 2.0 * ROUNDING) * length;
            let bound = by_middle.min(by_length);
            *out = match measure {
                _ if self.shortest[run] == f32::INFINITY => f32::NEG_INFINITY,
                Measure::Product => bound,
                // The more negative a product, the nearer to zero a greater length brings it.
                Measure::Cosine if bound < 0.0 => bound / longest * (1.0 - 2.0 * ROUNDING),
                Measure::Cosine => (bound / self.shortest[run]).min(length) * (1.0 + 2.0 * ROUNDING),
            };
        }
    }

    fn steps(&self, measure: Measure) -> &[f32] {
        match measure {
            Measure::Product => &self.steps,
            Measure::Cosine => &self.unit_steps,
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

/// By what items are the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// The product of the vectors.
    #[default]
    Product,
    /// The same over the length of the item's vector; those of length 0 are never found.
    Cosine,
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
    /// By what.
    pub measure: Measure,
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
struct Rough<'a> {
    vector: &'a [f32],
    codes: Vec<i8>,
    rounded: Rounded,
    length: f32,
}

impl<'a> Rough<'a> {
    fn new(vector: &'a [f32], groups: usize) -> Rough<'a> {
        let mut codes = vec![0; groups * GROUP];
        Rough {
            vector,
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
        let steps = chunk.steps(self.wanted.measure);
        for hit in hits {
            let at = first + hit.at as usize;
            let item = chunk.items[at];
            let margin = slack * steps[at];
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
        // Not after every run: each time costs a look at all of them.
        if self.lower.len() >= n + n / 4 || self.floor == f32::NEG_INFINITY {
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
        self.raise();
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

    /// An index of these items, `vector` giving the numbers of each; those that have none are left out. Items are laid out by where they lie.
    ///
    /// # Panics
    /// If a vector is not `dims` long.
    pub fn of<'v>(
        dims: usize,
        items: impl IntoIterator<Item = u32>,
        vector: impl Fn(u32) -> Option<&'v [f32]>,
    ) -> VectorIndex {
        let known: Vec<u32> = items.into_iter().filter(|item| vector(*item).is_some()).collect();
        let own = |item: u32| vector(item).unwrap_or_default();
        let order = arranged(known, RUN, &own);
        let mut index = VectorIndex::new(dims);
        for run in order.chunks(RUN) {
            let mut middle = vec![0f32; dims];
            run.iter()
                .for_each(|item| numeric::axpy(1.0 / run.len() as f32, own(*item), &mut middle));
            index.begin_run(&middle);
            run.iter().for_each(|item| index.put(*item, own(*item)));
        }
        index
    }

    /// The middle of the run that the next new item begins.
    fn begin_run(&mut self, middle: &[f32]) {
        let chunk = self.chunk_of(self.used);
        let start = self.used % CHUNK / RUN * middle.len();
        Arc::make_mut(&mut self.chunks[chunk]).middles[start..start + middle.len()].copy_from_slice(middle);
    }

    /// The number of the chunk that a place is in, made if it is the next one.
    fn chunk_of(&mut self, place: usize) -> usize {
        if place / CHUNK == self.chunks.len() {
            self.chunks.push(Arc::new(Chunk::new(self.dims, self.groups)));
        }
        place / CHUNK
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
        self.chunks.len() * (CHUNK * (self.groups * GROUP + 12) + RUNS * 4 * self.dims)
            + self.places.len() * 4
            + self.free.len() * 4
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
        let chunk = self.chunk_of(place);
        let chunk = Arc::make_mut(&mut self.chunks[chunk]);
        let at = place % CHUNK;
        let mut codes = vec![0i8; self.groups * GROUP];
        let rounded = codes::round(vector, &mut codes);
        codes::place(&mut chunk.blocks, self.groups, at, &codes);
        chunk.steps[at] = rounded.step;
        chunk.items[at] = item;
        let length = numeric::norm(vector);
        chunk.unit_steps[at] = if length > 0.0 {
            rounded.step / length
        } else {
            f32::NAN
        };
        // Bounds only widen: what they were made wide by may be gone, which costs time and nothing else.
        let run = at / RUN;
        chunk.longest[run] = chunk.longest[run].max(length);
        chunk.shortest[run] = chunk.shortest[run].min(length);
        let middle = &chunk.middles[run * self.dims..(run + 1) * self.dims];
        let away = vector
            .iter()
            .zip(middle)
            .map(|(y, m)| (y - m) * (y - m))
            .sum::<f32>()
            .sqrt();
        chunk.reach[run] = chunk.reach[run].max(away);
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
        chunk.unit_steps[at] = f32::NAN;
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
        let rough: Vec<Rough<'_>> = open
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

    fn pass(&self, rough: &[Rough<'_>], running: &mut [Running<'_>]) {
        let n_runs = self.used.div_ceil(RUN);
        // By request, then by run; not a number for a run that the request has been through.
        let mut bounds: Vec<f32> = Vec::with_capacity(n_runs * running.len());
        for (rough, running) in rough.iter().zip(&*running) {
            bounds.extend(self.bounds(rough, running.wanted.measure, n_runs));
        }
        let mut scratch = Scratch::default();
        for (at, running) in running.iter_mut().enumerate() {
            let rough = std::slice::from_ref(&rough[at]);
            let own = &mut bounds[at * n_runs..(at + 1) * n_runs];
            for run in highest(own, first_runs(running.wanted.n)) {
                own[run] = f32::NAN;
                self.through(run, rough, std::slice::from_mut(running), &[0], &mut scratch);
            }
        }
        let mut active = Vec::new();
        for run in 0..n_runs {
            for measure in [Measure::Product, Measure::Cosine] {
                active.clear();
                for (at, running) in running.iter_mut().enumerate() {
                    let bound = bounds[at * n_runs + run];
                    if running.wanted.measure != measure || bound.is_nan() {
                        continue;
                    }
                    if bound >= running.floor {
                        active.push(at);
                    } else {
                        running.cut = true;
                    }
                }
                self.through(run, rough, running, &active, &mut scratch);
            }
        }
    }

    fn bounds(&self, rough: &Rough<'_>, measure: Measure, n_runs: usize) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.chunks.len() * RUNS);
        let mut own = [0f32; RUNS];
        for chunk in &self.chunks {
            chunk.bounds(rough, measure, &mut own);
            all.extend_from_slice(&own);
        }
        all.truncate(n_runs);
        all
    }

    /// Compares the items of a run with the requests at `active`, which have one measure.
    fn through(
        &self,
        run: usize,
        rough: &[Rough<'_>],
        running: &mut [Running<'_>],
        active: &[usize],
        scratch: &mut Scratch,
    ) {
        let Some(measure) = active.first().map(|at| running[*at].wanted.measure) else {
            return;
        };
        let chunk = &self.chunks[run / RUNS];
        let filled = (self.used - run / RUNS * CHUNK)
            .min(CHUNK)
            .next_multiple_of(BLOCK);
        let first = run % RUNS * RUN;
        let last = (first + RUN).min(filled);
        let size = self.groups * GROUP;
        let probes: Vec<Probe<'_>> = active
            .iter()
            .map(|at| {
                let Rough { codes, rounded, .. } = &rough[*at];
                Probe::new(codes, rounded.step, rough[*at].slack(chunk), running[*at].floor)
            })
            .collect();
        if scratch.0.len() < active.len() {
            scratch.0.resize(active.len(), Vec::new());
        }
        let lists = &mut scratch.0[..active.len()];
        lists.iter_mut().for_each(Vec::clear);
        codes::scan(
            &chunk.blocks[first * size..last * size],
            &chunk.steps(measure)[first..last],
            self.groups,
            &probes,
            lists,
        );
        for ((at, hits), probe) in active.iter().zip(lists.iter()).zip(&probes) {
            running[*at].take(chunk, first, hits, probe.slack);
        }
    }
}

/// Lists of hits, kept from run to run.
#[derive(Default)]
struct Scratch(Vec<Vec<Hit>>);

/// Runs that a request begins with, enough for a floor near where it will end.
fn first_runs(n: usize) -> usize {
    if n == 0 {
        0
    } else {
        (8 * n).div_ceil(RUN).clamp(4, 64)
    }
}

/// The places of the `n` highest.
fn highest(bounds: &[f32], n: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..bounds.len()).collect();
    let by_bound = |a: &usize, b: &usize| bounds[*b].total_cmp(&bounds[*a]).then(a.cmp(b));
    if n < places.len() {
        places.select_nth_unstable_by(n, by_bound);
        places.truncate(n);
    }
    places.sort_unstable_by(by_bound);
    places
}

#[cfg(test)]
#[path = "vectors_tests.rs"]
mod tests;
