//! The state that counting features keep: events by item, type and day.
//!
//! What is kept does not depend on the order of the events: numbers are whole, and a cell stays as long as it is no older than
//! [`DAYS_KEPT`] days before the newest cell of its item. So the state as of a sequence number is a function of the events up to it,
//! and what was read online can be read again offline to the last bit.

use domain::Timestamp;
use std::sync::Arc;

/// Days that are kept of each item.
pub const DAYS_KEPT: i32 = 31;
const DAY_MS: i64 = 86_400_000;
/// Items in one shared run.
const CHUNK: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    kind: u16,
    day: i32,
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
    fn add(&mut self, kind: u16, day: i32) {
        if day > self.newest {
            self.newest = day;
            self.cells.retain(|cell| cell.day > day - DAYS_KEPT);
        }
        if day <= self.newest - DAYS_KEPT {
            return;
        }
        match self
            .cells
            .binary_search_by_key(&(kind, day), |cell| (cell.kind, cell.day))
        {
            Ok(at) => self.cells[at].count = self.cells[at].count.saturating_add(1),
            Err(at) => self.cells.insert(at, Cell { kind, day, count: 1 }),
        }
    }

    fn count(&self, kind: u16, today: i32, days: i32) -> u64 {
        let first = (kind, today.saturating_sub(days - 1));
        let start = self.cells.partition_point(|cell| (cell.kind, cell.day) < first);
        let inside = self.cells[start..]
            .iter()
            .take_while(|cell| cell.kind == kind && cell.day <= today);
        inside.map(|cell| u64::from(cell.count)).sum()
    }
}

/// Windows that [`Tallies`] know, days.
const TALLIED: [i32; 4] = [1, 2, 7, 30];

/// Events of some items by type in each of the usual windows, read from their cells at once.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    n_kinds: usize,
    /// By item as given, type and window.
    counts: Vec<[u64; TALLIED.len()]>,
}

impl Tallies {
    /// Events of a type about the item at `row`; `None` for a window that is not among the usual ones.
    pub(crate) fn get(&self, row: usize, kind: u16, days: i32) -> Option<u64> {
        let window = TALLIED.iter().position(|tallied| *tallied == days)?;
        Some(self.counts[row * self.n_kinds + usize::from(kind)][window])
    }
}

/// Events counted by item, type and day; copies share what has not changed.
///
/// Cost: 12 bytes per item, type and day with events, the latest 31 days; reading looks at an item's cells.
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
        let mut counts = vec![[0u64; TALLIED.len()]; n_kinds * items.len()];
        for (item, own) in items.zip(counts.chunks_mut(n_kinds.max(1))) {
            let chunk = self.chunks.get(item as usize / CHUNK);
            let cells = chunk.and_then(|chunk| chunk.get(item as usize % CHUNK));
            for cell in cells.into_iter().flat_map(|cells| &cells.cells) {
                let age = i64::from(today) - i64::from(cell.day);
                let own = &mut own[usize::from(cell.kind)];
                for (count, days) in own.iter_mut().zip(TALLIED) {
                    let is_inside = (0..i64::from(days)).contains(&age);
                    *count += if is_inside { u64::from(cell.count) } else { 0 };
                }
            }
        }
        Tallies { n_kinds, counts }
    }

    /// The same about all items together.
    pub(crate) fn of_all(&self, kind: u16, now: Timestamp, days: i32) -> u64 {
        self.all.count(kind, day(now), days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                assert_eq!(tallies.get(1, click, days), Some(got));
                assert_eq!(
                    (tallies.get(2, click, days), tallies.get(1, click, 5)),
                    (Some(0), None)
                );
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
