//! The live catalogue: items by position, shared between snapshots piece by piece.

use dataset::Vocabulary;
use domain::{Attributes, Item, ItemId, Schema, Timestamp};
use engine::CatalogueView;
use models::ItemFeatures;
use rerank::{AttributeSource, AttributeValue};
use signals::TypedValue;
use std::sync::{Arc, PoisonError, RwLock};

/// No position.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Positions of item ids: append-only, so that every snapshot can use the same ones.
#[derive(Default)]
pub(crate) struct Positions(RwLock<Vocabulary>);

impl Positions {
    pub(crate) fn get(&self, id: &str) -> Option<u32> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).position(id)
    }

    pub(crate) fn insert(&self, id: &ItemId) -> u32 {
        if let Some(position) = self.get(id.as_str()) {
            return position;
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id)
    }

    pub(crate) fn insert_all(&self, ids: &[ItemId]) -> Vec<u32> {
        let mut vocabulary = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ids.iter().map(|id| vocabulary.insert(id)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ids at positions.
    pub(crate) fn ids_of(&self, positions: &[u32]) -> Vec<ItemId> {
        let vocabulary = self.0.read().unwrap_or_else(PoisonError::into_inner);
        positions
            .iter()
            .map(|position| vocabulary.id(*position).clone())
            .collect()
    }

    /// Ids from `start` on.
    pub(crate) fn since(&self, start: usize) -> Vec<ItemId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ids()[start..].to_vec()
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
}

impl Entry {
    pub(crate) fn unknown(id: ItemId) -> Entry {
        Entry {
            id,
            attributes: None,
            features: ItemFeatures::new(),
            added_at: None,
        }
    }

    pub(crate) fn of(item: &Item, schema: &Schema) -> Entry {
        Entry {
            id: item.item_id.clone(),
            features: features(&item.attributes, schema),
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

/// Items by position, immutable; a changed copy shares every untouched run of 1,024 items.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveCatalogue {
    chunks: Vec<Arc<Vec<Entry>>>,
    len: usize,
    /// By position.
    pub(crate) hidden: Arc<Vec<bool>>,
    /// By position: decides between equal scores.
    pub(crate) tie_keys: Arc<Vec<u32>>,
    /// Newest items with the moment they were added, newest first.
    pub(crate) recent: Arc<Vec<(u32, Timestamp)>>,
    /// Kinds of the attributes.
    pub(crate) schema: Arc<Schema>,
    /// Revision of the stored catalogue.
    pub(crate) revision: u64,
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

    /// A copy with entries appended for every position given out since, then `changes` put in.
    pub(crate) fn with(&self, positions: &Positions, changes: Vec<(u32, Entry, bool)>) -> LiveCatalogue {
        let mut next = self.clone();
        let hidden = Arc::make_mut(&mut next.hidden);
        let new_ids = positions.since(next.len);
        if !new_ids.is_empty() {
            let tie_keys = Arc::make_mut(&mut next.tie_keys);
            for id in new_ids {
                tie_keys.push(tie_key(&id));
                hidden.push(false);
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
        }
        let moved = !changes.is_empty();
        for (position, entry, is_hidden) in changes {
            let at = position as usize;
            Arc::make_mut(&mut next.chunks[at / CHUNK])[at % CHUNK] = entry;
            hidden[at] = is_hidden;
        }
        if moved {
            next.recent = Arc::new(recent(&next));
        }
        next
    }
}

fn recent(catalogue: &LiveCatalogue) -> Vec<(u32, Timestamp)> {
    let added = catalogue.entries().enumerate();
    let mut added: Vec<_> = added
        .filter_map(|(at, entry)| Some((at as u32, entry.added_at?)))
        .collect();
    added.sort_unstable_by_key(|(at, moment)| (std::cmp::Reverse(*moment), *at));
    added.truncate(RECENT_MAX);
    added
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
}
