//! The state that counting features keep: events by item, type and day.
//!
//! What is kept does not depend on the order of the events: numbers are whole, and a cell stays as long as it is no older than
//! [`DAYS_KEPT`] days before the newest cell of its item. So the state as of a sequence number is a function of the events up to it,
//! and what was read online can be read again offline to the last bit.

use domain::Timestamp;
use std::cell::RefCell;
use std::sync::Arc;

/// Days that are kept of each item.
pub const DAYS_KEPT: i32 = 31;
const DAY_MS: i64 = 86_400_000;
/// Cells in a line of the cache.
const CELLS_OF_LINE: usize = 8;
/// Numbers for which a thread keeps room from one request to the next.
const ROOM_MAX: usize = 1 << 18;
/// Items in one shared run.
const CHUNK: usize = 256;

/// Eight bytes, so that all cells of an item come with few lines of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    kind: u16,
    /// The day's last sixteen bits: the newest day of the item tells the others.
    day: u16,
    count: u32,
}

/// Cells of one item or of all, by type and day.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cells {
    newest: i32,
    cells: Vec<Cell>,
}

impl Default for Cells {
    fn default() -> Self {
        Cells {
            newest: i32::MIN / 2,
            cells: Vec::new(),
        }
    }
}

impl Cells {
    /// The day of a cell, which is less than 2¹⁶ days before the newest.
    fn day(&self, cell: &Cell) -> i32 {
        self.newest - i32::from((self.newest as u16).wrapping_sub(cell.day))
    }

    fn add(&mut self, kind: u16, day: i32) {
        if day > self.newest {
            let cells = std::mem::take(&mut self.cells);
            let is_kept = |cell: &Cell| self.day(cell) > day - DAYS_KEPT;
            let kept = cells.into_iter().filter(is_kept).collect();
            (self.newest, self.cells) = (day, kept);
        }
        if day <= self.newest - DAYS_KEPT {
            return;
        }
        let key = |cell: &Cell| (cell.kind, self.day(cell));
        match self.cells.binary_search_by_key(&(kind, day), key) {
            Ok(at) => self.cells[at].count = self.cells[at].count.saturating_add(1),
            Err(at) => {
                let day = day as u16;
                self.cells.insert(at, Cell { kind, day, count: 1 });
            }
        }
    }

    fn count(&self, kind: u16, today: i32, days: i32) -> u64 {
        let first = (kind, today.saturating_sub(days - 1));
        let start = self
            .cells
            .partition_point(|cell| (cell.kind, self.day(cell)) < first);
        let inside = self.cells[start..]
            .iter()
            .take_while(|cell| cell.kind == kind && self.day(cell) <= today);
        inside.map(|cell| u64::from(cell.count)).sum()
    }
}

thread_local! {
    static ROOM: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Windows that [`Tallies`] know, days.
const TALLIED: [i32; 4] = [1, 2, 7, 30];

/// The smallest of these windows that a day so long ago is in, one beyond the last for none; the last entry stands for all older days.
const WINDOW_OF: [u8; 32] = {
    let mut windows = [0; 32];
    let mut age = 0;
    while age < windows.len() {
        while windows[age] < TALLIED.len() as u8 && TALLIED[windows[age] as usize] <= age as i32 {
            windows[age] += 1;
        }
        age += 1;
    }
    windows
};

/// Events of some items by type in each of the usual windows, read from their cells at once.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    n_items: usize,
    /// By type, window and item as given.
    counts: Vec<u64>,
}

impl Drop for Tallies {
    fn drop(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        if counts.capacity() <= ROOM_MAX {
            // At the end of a thread there is nowhere left to keep it.
            let _ = ROOM.try_with(|room| room.replace(counts));
        }
    }
}

impl Tallies {
    /// Events of a type about each item, in their order; `None` for a window that is not among the usual ones.
    pub(crate) fn get(&self, kind: u16, days: i32) -> Option<&[u64]> {
        let window = TALLIED.iter().position(|tallied| *tallied == days)?;
        let start = (usize::from(kind) * TALLIED.len() + window) * self.n_items;
        Some(&self.counts[start..start + self.n_items])
    }
}

/// Events counted by item, type and day; copies share what has not changed.
///
/// Cost: 8 bytes per item, type and day with events, the latest 31 days; reading looks at an item's cells.
#[derive(Debug, Clone, Default)]
pub struct ItemCounts {
    /// Names of types, ascending; events of others are not counted.
    kinds: Arc<Vec<String>>,
    chunks: Vec<Arc<Vec<Cells>>>,
    all: Cells,
}

fn day(moment: Timestamp) -> i32 {
    moment
        .0
        .div_euclid(DAY_MS)
        .clamp(i64::from(i32::MIN) / 2, i64::from(i32::MAX) / 2) as i32
}

impl ItemCounts {
    /// Nothing counted yet; events of these types will be.
    pub fn new<'a>(types: impl IntoIterator<Item = &'a str>) -> ItemCounts {
        let mut kinds: Vec<String> = types.into_iter().map(str::to_owned).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.truncate(usize::from(u16::MAX));
        ItemCounts {
            kinds: Arc::new(kinds),
            ..ItemCounts::default()
        }
    }

    /// The number of a type.
    pub(crate) fn kind(&self, event_type: &str) -> Option<u16> {
        let found = self.kinds.binary_search_by(|kind| kind.as_str().cmp(event_type));
        found.ok().map(|at| at as u16)
    }

    /// Counts one event.
    pub fn add(&mut self, item: u32, event_type: &str, moment: Timestamp) {
        let Some(kind) = self.kind(event_type) else { return };
        let (chunk, place) = (item as usize / CHUNK, item as usize % CHUNK);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, Arc::default);
        }
        let cells = Arc::make_mut(&mut self.chunks[chunk]);
        if cells.len() <= place {
            cells.resize_with(place + 1, Cells::default);
        }
        cells[place].add(kind, day(moment));
        self.all.add(kind, day(moment));
    }

    /// Events of a type about an item on the latest `days` days up to that of `now`.
    pub(crate) fn of_item(&self, item: u32, kind: u16, now: Timestamp, days: i32) -> u64 {
        let cells = self
            .chunks
            .get(item as usize / CHUNK)
            .and_then(|chunk| chunk.get(item as usize % CHUNK));
        cells.map_or(0, |cells| cells.count(kind, day(now), days))
    }

    /// The same of several items, for all types and the usual windows.
    pub(crate) fn tallies(&self, items: impl ExactSizeIterator<Item = u32>, now: Timestamp) -> Tallies {
        let (n_kinds, today) = (self.kinds.len(), day(now));
        let cells_of = |item: u32| {
            let chunk = self.chunks.get(item as usize / CHUNK)?;
            chunk.get(item as usize % CHUNK)
        };
        let known: Vec<Option<&Cells>> = items.map(cells_of).collect();
        // They lie all over the memory: looked at without waiting for one another first, they come at once.
        let near = known
            .iter()
            .flatten()
            .flat_map(|cells| cells.cells.iter().step_by(CELLS_OF_LINE));
        std::hint::black_box(near.fold(0u32, |sum, cell| sum.wrapping_add(cell.count)));
        let n_items = known.len();
        let mut counts = ROOM.take();
        counts.clear();
        counts.resize(n_kinds * TALLIED.len() * n_items, 0);
        for (row, cells) in known.into_iter().enumerate() {
            let Some(cells) = cells else {
                continue;
            };
            let behind = i64::from(today) - i64::from(cells.newest);
            for run in cells.cells.chunk_by(|a, b| a.kind == b.kind) {
                // Each under the smallest window that it is in, the last being for none; the larger ones take over from the smaller.
                let mut sums = [0u64; TALLIED.len() + 1];
                for cell in run {
                    let age = behind + i64::from((cells.newest as u16).wrapping_sub(cell.day));
                    // A day that is yet to come is in none.
                    let age = (age as u64).min(WINDOW_OF.len() as u64 - 1);
                    sums[usize::from(WINDOW_OF[age as usize])] += u64::from(cell.count);
                }
                let start = usize::from(run[0].kind) * TALLIED.len() * n_items + row;
                let mut sum = 0;
                for (window, own) in sums[..TALLIED.len()].iter().enumerate() {
                    sum += own;
                    counts[start + window * n_items] = sum;
                }
            }
        }
        Tallies { n_items, counts }
    }

    /// The same about all items together.
    pub(crate) fn of_all(&self, kind: u16, now: Timestamp, days: i32) -> u64 {
        self.all.count(kind, day(now), days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells keep the last bits of their days: what is left must be right across the wraps, before 1970, and after a jump of exactly 2¹⁶ days.
    #[test]
    fn days_are_right_wherever_they_are() {
        for start in [-70_000, -3, 32_760, 65_530, 131_070] {
            let mut cells = Cells::default();
            for day in [0, 3, 1, 7, 12, 12] {
                cells.add(4, start + day);
            }
            cells.add(2, start + 11);
            let told = |kind, today, days| cells.count(kind, start + today, days);
            assert_eq!(
                [told(4, 12, 1), told(4, 12, 6), told(4, 12, 13), told(4, 3, 3)],
                [2, 3, 6, 2]
            );
            assert_eq!([told(2, 12, 2), told(2, 12, 1), told(3, 12, 31)], [1, 0, 0]);
            cells.add(4, start + 12 + (1 << 16));
            assert_eq!(cells.cells.len(), 1, "all before is too old");
            assert_eq!(cells.count(4, start + 12 + (1 << 16), 31), 1);
        }
    }

    proptest::proptest! {
        /// Against counting each window by itself, from moments before the newest cell and after it.
        #[test]
        fn tallies_are_the_counts(
            events in proptest::collection::vec((0u32..6, 0usize..3, 0i64..45), 0..200),
            todays in proptest::collection::vec(-2i64..80, 1..6),
            start in -3i64..3,
        ) {
            let kinds = ["cart", "click", "view"];
            let moment = |day: i64| Timestamp((start * 32_765 + day) * DAY_MS + 7);
            let mut counts = ItemCounts::new(kinds);
            events.iter().for_each(|(item, kind, day)| counts.add(item * 200, kinds[*kind], moment(*day)));
            // One twice, and some that nobody has heard of.
            let items: Vec<u32> = (0..7).rev().map(|item| item * 200).chain([3, 400]).collect();
            for now in todays.into_iter().map(moment) {
                let tallies = counts.tallies(items.iter().copied(), now);
                for (kind, days) in (0..3u16).flat_map(|kind| TALLIED.map(|days| (kind, days))) {
                    let slow: Vec<u64> = items.iter().map(|item| counts.of_item(*item, kind, now, days)).collect();
                    proptest::prop_assert_eq!(tallies.get(kind, days), Some(&slow[..]));
                }
            }
        }
    }

    #[test]
    fn any_order_counts_the_same_and_windows_are_right() {
        let mut stream = numeric::SeededStream::new(1, 0);
        let mut events: Vec<(u32, &str, Timestamp)> = (0..2000)
            .map(|_| {
                let kind = ["click", "cart", "unheard"][stream.below(3) as usize];
                (
                    stream.below(5) as u32 * 300,
                    kind,
                    Timestamp(stream.below(60 * DAY_MS as u64) as i64),
                )
            })
            .collect();
        let fold = |events: &[(u32, &str, Timestamp)]| {
            let mut counts = ItemCounts::new(["click", "cart"]);
            events
                .iter()
                .for_each(|(item, kind, at)| counts.add(*item, kind, *at));
            counts
        };
        let one = fold(&events);
        stream.shuffle(&mut events);
        let two = fold(&events);
        let click = one.kind("click").expect("it is counted");
        assert_eq!(one.kind("unheard"), None);
        for (item, today) in [(0, 59), (300, 59), (1200, 40), (7, 59)] {
            for days in [1, 7, 30] {
                let now = Timestamp(today * DAY_MS + 5);
                let got = one.of_item(item, click, now, days);
                assert_eq!(got, two.of_item(item, click, now, days));
                let tallies = one.tallies([7, item, 9_999_999].into_iter(), now);
                assert_eq!(
                    tallies.get(click, days).map(|all| all[1..].to_vec()),
                    Some(vec![got, 0])
                );
                assert_eq!(tallies.get(click, 5), None);
                // Reading is exact while what it asks for has been kept, which is so at the newest days.
                if today == 59 {
                    let inside = |at: i64| {
                        at.div_euclid(DAY_MS) <= today && at.div_euclid(DAY_MS) > today - i64::from(days)
                    };
                    let expected = events
                        .iter()
                        .filter(|e| e.0 == item && e.1 == "click" && inside(e.2.0))
                        .count();
                    assert_eq!(got, expected as u64);
                }
            }
        }
    }
}
