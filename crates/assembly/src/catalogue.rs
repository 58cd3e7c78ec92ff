//! The live catalogue: items by position, shared between snapshots piece by piece.

use crate::learned::facts;
use dataset::Vocabulary;
use domain::{Attributes, Item, ItemId, Schema, Timestamp};
use engine::CatalogueView;
use hashbrown::HashSet;
use models::ItemFeatures;
use numeric::Chunked;
use ranking::features::ItemFacts;
use rerank::{AttributeSource, AttributeValue, Filter, FilterNode, FilterTest};
use retrieval::{AttributeIndex, ItemSet, Predicate, Value};
use rules::{Memos, RuleSet};
use signals::TypedValue;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// No position.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// File of the positions in a data folder.
pub(crate) const POSITIONS_FILE: &str = "positions.txt";

/// Positions of item ids: append-only, so that every snapshot can use the same ones, and written down, one id a line, so that they
/// are the same after a restart: sums and ties depend on them in the last bit.
#[derive(Default)]
pub(crate) struct Positions(RwLock<Placed>);

#[derive(Default)]
struct Placed {
    vocabulary: Vocabulary,
    file: Option<File>,
    /// Lines that are not in the file yet.
    unwritten: Vec<u8>,
    unsynced: bool,
    error: Option<String>,
}

impl Placed {
    fn insert(&mut self, id: &ItemId) -> u32 {
        let known = self.vocabulary.len();
        let position = self.vocabulary.insert(id);
        if position as usize == known && self.file.is_some() {
            self.unwritten.extend_from_slice(id.as_str().as_bytes());
            self.unwritten.push(b'\n');
        }
        position
    }
}

impl Positions {
    /// Those of a folder. A torn last line is cut off: nothing was decided with it.
    pub(crate) fn open(path: &Path) -> std::io::Result<Positions> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
        }
        let mut placed = Placed::default();
        for line in text[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let id = std::str::from_utf8(line).ok().and_then(|id| ItemId::new(id).ok());
            let id = id.ok_or_else(|| std::io::Error::other("a line is no id of an item"))?;
            placed.vocabulary.insert(&id);
        }
        placed.file = Some(file);
        Ok(Positions(RwLock::new(placed)))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Placed> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Placed> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &str) -> Option<u32> {
        self.read().vocabulary.position(id)
    }

    pub(crate) fn insert(&self, id: &ItemId) -> u32 {
        if let Some(position) = self.get(id.as_str()) {
            return position;
        }
        self.write().insert(id)
    }

    pub(crate) fn insert_all(&self, ids: &[ItemId]) -> Vec<u32> {
        let mut placed = self.write();
        ids.iter().map(|id| placed.insert(id)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.read().vocabulary.len()
    }

    /// Ids at positions.
    pub(crate) fn ids_of(&self, positions: &[u32]) -> Vec<ItemId> {
        let placed = self.read();
        positions
            .iter()
            .map(|position| placed.vocabulary.id(*position).clone())
            .collect()
    }

    /// Ids from `start` on, up to `end`.
    fn between(&self, start: usize, end: usize) -> Vec<ItemId> {
        let placed = self.read();
        let ids = placed.vocabulary.ids();
        ids[start..end.clamp(start, ids.len())].to_vec()
    }

    /// Hands what is new to the operating system, where it outlives this process; with `sync`, to the disk.
    pub(crate) fn save(&self, sync: bool) {
        {
            let placed = self.read();
            if placed.unwritten.is_empty() && !(sync && placed.unsynced) {
                return;
            }
        }
        let placed = &mut *self.write();
        let Some(file) = &mut placed.file else {
            return;
        };
        let mut written = file.write_all(&placed.unwritten);
        placed.unsynced = true;
        if written.is_ok() && sync {
            written = file.sync_data();
            placed.unsynced = false;
        }
        placed.unwritten.clear();
        if let Err(error) = written {
            // From here on the file would have a hole.
            tracing::error!("positions of items could not be written: {error}");
            placed.file = None;
            placed.error = Some(error.to_string());
        }
    }

    /// Why nothing is written any more, if so.
    pub(crate) fn error(&self) -> Option<String> {
        self.read().error.clone()
    }
}

/// What is known of one item.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: ItemId,
    /// As sent; `None` for an item known from events alone.
    pub(crate) attributes: Option<Attributes>,
    /// Read by the schema.
    pub(crate) features: ItemFeatures,
    pub(crate) added_at: Option<Timestamp>,
    /// The same as rankers read it.
    pub(crate) facts: ItemFacts,
}

impl Entry {
    pub(crate) fn unknown(id: ItemId) -> Entry {
        Entry {
            id,
            attributes: None,
            features: ItemFeatures::new(),
            added_at: None,
            facts: ItemFacts::default(),
        }
    }

    pub(crate) fn of(item: &Item, schema: &Schema) -> Entry {
        let features = features(&item.attributes, schema);
        Entry {
            id: item.item_id.clone(),
            facts: facts(&features, item.added_at),
            features,
            attributes: Some(item.attributes.clone()),
            added_at: item.added_at,
        }
    }
}

/// Attributes read by their kinds; what cannot be read so is left out.
pub(crate) fn features(attributes: &Attributes, schema: &Schema) -> ItemFeatures {
    let read = attributes.iter().filter_map(|(name, raw)| {
        let kind = schema.get(name)?.kind;
        Some((name.clone(), signals::typed(raw, kind).ok()?))
    });
    read.collect()
}

const CHUNK: usize = 1024;
/// Newest items that are a source of their own.
const RECENT_MAX: usize = 500;
/// Newest items that are known, so that some may leave before all items have to be looked at again.
const RECENT_KNOWN: usize = 4 * RECENT_MAX;

/// Items by position, immutable; a changed copy shares every untouched run of 1,024 items.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveCatalogue {
    chunks: Vec<Arc<Vec<Entry>>>,
    len: usize,
    /// By position.
    pub(crate) hidden: Chunked<bool>,
    /// How many are hidden.
    pub(crate) n_hidden: usize,
    /// By position: decides between equal scores.
    pub(crate) tie_keys: Chunked<u32>,
    /// Newest items with the moment they were added, newest first.
    recent: Arc<Vec<(u32, Timestamp)>>,
    /// Whether some were added before all of those.
    recent_cut: bool,
    /// Items by their attributes, once somebody has asked.
    index: Arc<OnceLock<AttributeIndex>>,
    /// Kinds of the attributes.
    pub(crate) schema: Arc<Schema>,
    /// Rules over items, users and circumstances.
    pub(crate) rules: Arc<RuleSet>,
    /// What the rules say of items alone, as far as it was asked.
    pub(crate) memos: Arc<Memos>,
    /// Revision of the stored catalogue.
    pub(crate) revision: u64,
    /// Checksum of the ids in order of position.
    pub(crate) digest: u32,
}

impl LiveCatalogue {
    pub(crate) fn get(&self, position: u32) -> Option<&Entry> {
        let position = position as usize;
        self.chunks.get(position / CHUNK)?.get(position % CHUNK)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// True if the item may be seen by anybody.
    pub(crate) fn is_visible(&self, item: u32) -> bool {
        self.hidden.get(item as usize).is_some_and(|hidden| !hidden)
    }

    /// Newest items with the moment they were added, newest first.
    pub(crate) fn recent(&self) -> &[(u32, Timestamp)] {
        &self.recent[..self.recent.len().min(RECENT_MAX)]
    }

    /// Puts rules in force.
    pub(crate) fn set_rules(&mut self, rules: RuleSet) {
        self.memos = Arc::new(Memos::new(rules.n_memos(), self.len));
        self.rules = Arc::new(rules);
    }

    /// A copy with entries appended for every position given out since, then `changes` put in. Costs what changes, not
    /// what there is.
    pub(crate) fn with(&self, positions: &Positions, changes: Vec<(u32, Entry, bool)>) -> LiveCatalogue {
        self.with_up_to(positions, usize::MAX, changes)
    }

    /// The same with the positions below `end` alone.
    pub(crate) fn with_up_to(
        &self,
        positions: &Positions,
        end: usize,
        changes: Vec<(u32, Entry, bool)>,
    ) -> LiveCatalogue {
        let mut next = self.clone();
        let first_new = next.len as u32;
        let new_ids = positions.between(next.len, end);
        if !new_ids.is_empty() {
            let mut digest = crc32fast::Hasher::new_with_initial(next.digest);
            for id in new_ids {
                digest.update(id.as_str().as_bytes());
                digest.update(b"\n");
                next.tie_keys.push(tie_key(&id));
                next.hidden.push(false);
                if next.len.is_multiple_of(CHUNK) {
                    next.chunks.push(Arc::default());
                }
                let last = next
                    .chunks
                    .last_mut()
                    .expect("a chunk was pushed if there was no room");
                Arc::make_mut(last).push(Entry::unknown(id));
                next.len += 1;
            }
            next.digest = digest.finalize();
        }
        let changed: HashSet<u32> = changes.iter().map(|(position, _, _)| *position).collect();
        for (position, entry, is_hidden) in changes {
            let at = position as usize;
            let was_hidden = next.hidden.get(at).copied().unwrap_or(false);
            next.n_hidden = next.n_hidden + usize::from(is_hidden) - usize::from(was_hidden);
            if was_hidden != is_hidden {
                next.hidden.set(at, is_hidden);
            }
            Arc::make_mut(&mut next.chunks[at / CHUNK])[at % CHUNK] = entry;
        }
        if !changed.is_empty() {
            next.find_recent(&changed);
            next.memos = Arc::new(Memos::new(next.rules.n_memos(), next.len));
        }
        if !changed.is_empty() || first_new < next.len as u32 {
            let known = self.index.get().filter(|index| !index.is_worn());
            let index = known.map(|index| {
                let mut index = index.clone();
                let new = first_new..next.len as u32;
                changed
                    .iter()
                    .copied()
                    .chain(new)
                    .for_each(|item| index.changed(item));
                index
            });
            next.index = Arc::new(index.map(OnceLock::from).unwrap_or_default());
        }
        next
    }

    /// Brings the newest items up to date.
    fn find_recent(&mut self, changed: &HashSet<u32>) {
        let added = |at: u32| Some((at, self.get(at)?.added_at?));
        let order = |(at, moment): &(u32, Timestamp)| (std::cmp::Reverse(*moment), *at);
        let mut recent: Vec<_> = self
            .recent
            .iter()
            .filter(|(at, _)| !changed.contains(at))
            .copied()
            .collect();
        // Of those that are not listed, none is newer than the last one that is.
        let last = self.recent.last().filter(|_| self.recent_cut).map(order);
        let fresh = changed.iter().filter_map(|at| added(*at));
        let (near, far): (Vec<_>, Vec<_>) = fresh.partition(|one| last.is_none_or(|last| order(one) <= last));
        recent.extend(near);
        let mut cut = self.recent_cut || !far.is_empty();
        if cut && recent.len() < RECENT_MAX {
            recent = (0..self.len as u32).filter_map(added).collect();
            cut = false;
        }
        recent.sort_unstable_by_key(order);
        cut |= recent.len() > RECENT_KNOWN;
        recent.truncate(RECENT_KNOWN);
        self.recent = Arc::new(recent);
        self.recent_cut = cut;
    }

    /// Items by their attributes; made when first asked for, which looks at every item.
    pub(crate) fn index(&self) -> &AttributeIndex {
        self.index.get_or_init(|| {
            AttributeIndex::of(self.len as u32, |item, tell| {
                let features = self.get(item).map(|entry| &entry.features);
                for (name, value) in features.into_iter().flatten() {
                    tell(name, index_value(value));
                }
            })
        })
    }

    /// Items that satisfy a filter.
    pub(crate) fn satisfying(&self, filter: &Filter) -> Arc<ItemSet> {
        let holds = |item: u32| filter.holds(self, item);
        self.index().satisfying(&predicate(filter.root()), &holds)
    }
}

fn index_value(value: &TypedValue) -> Value<'_> {
    match value {
        TypedValue::Category(text) | TypedValue::Text(text) => Value::Text(text),
        TypedValue::Tags(texts) | TypedValue::Ids(texts) => Value::Texts(texts),
        TypedValue::Number(number) => Value::Number(*number),
        TypedValue::Timestamp(moment) => Value::Moment(*moment),
        TypedValue::Geo { .. } | TypedValue::Embedding(_) => Value::Other,
    }
}

/// A filter in the words of the index.
fn predicate(node: &FilterNode) -> Predicate {
    let all = |nodes: &[FilterNode]| nodes.iter().map(predicate).collect();
    match node {
        FilterNode::All(nodes) => Predicate::All(all(nodes)),
        FilterNode::Any(nodes) => Predicate::Any(all(nodes)),
        FilterNode::Not(node) => Predicate::Not(Box::new(predicate(node))),
        FilterNode::Test { attribute, test } => {
            let attribute = attribute.clone();
            match test {
                FilterTest::Has { texts, numbers } => Predicate::Has {
                    attribute,
                    texts: texts.clone(),
                    numbers: numbers.clone(),
                },
                FilterTest::Numbers { min, max } => Predicate::Numbers {
                    attribute,
                    min: *min,
                    max: *max,
                },
                FilterTest::Moments { min, max } => Predicate::Moments {
                    attribute,
                    min: *min,
                    max: *max,
                },
                FilterTest::Exists => Predicate::Exists { attribute },
            }
        }
    }
}

/// A number that depends on the id alone, so that ties break alike on every machine.
fn tie_key(id: &ItemId) -> u32 {
    crc32fast::hash(id.as_str().as_bytes())
}

impl CatalogueView for LiveCatalogue {
    fn n_items(&self) -> u32 {
        self.len as u32
    }

    fn item_id(&self, item: u32) -> &ItemId {
        &self
            .get(item)
            .expect("the engine asks for positions below n_items")
            .id
    }
}

impl rules::ItemFacts for LiveCatalogue {
    fn id(&self, item: u32) -> Option<&str> {
        self.get(item).map(|entry| entry.id.as_str())
    }
}

impl AttributeSource for LiveCatalogue {
    fn value(&self, item: u32, attribute: &str) -> Option<AttributeValue<'_>> {
        Some(match self.get(item)?.features.get(attribute)? {
            TypedValue::Category(text) | TypedValue::Text(text) => AttributeValue::Text(text),
            TypedValue::Tags(texts) | TypedValue::Ids(texts) => AttributeValue::Texts(texts),
            TypedValue::Number(number) => AttributeValue::Number(*number),
            TypedValue::Timestamp(moment) => AttributeValue::Moment(*moment),
            TypedValue::Geo { .. } | TypedValue::Embedding(_) => AttributeValue::Other,
        })
    }

    /// Rankers keep the hashes of what is no free text.
    fn hashes(&self, item: u32, attribute: &str, key: u64, tell: &mut dyn FnMut(u64)) {
        let Some(entry) = self.get(item) else {
            return;
        };
        let mut kept = entry.facts.get_values(key).peekable();
        if kept.peek().is_some() {
            kept.for_each(tell);
        } else if let Some(TypedValue::Text(text)) = entry.features.get(attribute) {
            tell(numeric::hash_bytes(text.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    fn put(at: i64) -> impl Fn(&ItemId) -> Entry {
        move |id| Entry {
            added_at: Some(Timestamp(at)),
            ..Entry::unknown(id.clone())
        }
    }

    /// The newest items, however they came and changed, are those that sorting all of them gives.
    #[test]
    fn newest_items_stay_right() {
        let positions = Positions::default();
        let mut catalogue = LiveCatalogue::default();
        let mut stream = SeededStream::new(4, 4);
        for round in 0..60 {
            let mut changes = Vec::new();
            for _ in 0..200 {
                let number = (stream.uniform() * 6000.0) as u32;
                let id = ItemId::new(format!("i{number}")).expect("an id");
                // The newest of the last rounds tend to become old.
                let at = if round % 3 == 2 {
                    0.0
                } else {
                    1000.0 * f64::from(round)
                } + stream.uniform() * 9000.0;
                changes.push((positions.insert(&id), put(at as i64)(&id), stream.uniform() < 0.1));
            }
            catalogue = catalogue.with(&positions, changes);
            let mut all: Vec<_> = (0..catalogue.len as u32)
                .filter_map(|at| Some((at, catalogue.get(at)?.added_at?)))
                .collect();
            all.sort_unstable_by_key(|(at, moment)| (std::cmp::Reverse(*moment), *at));
            all.truncate(RECENT_MAX);
            assert_eq!(catalogue.recent(), all);
            assert_eq!(
                catalogue.n_hidden,
                catalogue.hidden.iter().filter(|hidden| **hidden).count()
            );
        }
    }
}
