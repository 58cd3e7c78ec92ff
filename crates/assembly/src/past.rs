//! The catalogue as of a revision, led back by its history and forward again.

use crate::ServiceError;
use crate::catalogue::{Entry, LiveCatalogue, Positions, features};
use domain::{
    AttributeKind, AttributeSchema, Attributes, Catalogue, EntityKind, Item, ItemId, KindOrigin, Schema,
};
use hashbrown::HashMap;
use models::ItemFeatures;
use signals::KindTally;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// One revision: what it made of items and of fixed kinds.
#[derive(Default)]
struct Change {
    items: Vec<(ItemId, Option<Item>)>,
    kinds: Vec<(String, Option<AttributeKind>)>,
}

/// The catalogue as it was.
pub(crate) struct PastCatalogue {
    items: HashMap<ItemId, Item>,
    tallies: BTreeMap<String, KindTally>,
    fixed: BTreeMap<String, AttributeKind>,
    revision: u64,
    ahead: VecDeque<(u64, Change)>,
    live: LiveCatalogue,
}

fn kinds(schema: &Schema) -> BTreeMap<&str, AttributeKind> {
    schema
        .iter()
        .map(|(name, entry)| (name.as_str(), entry.kind))
        .collect()
}

impl PastCatalogue {
    /// As of `revision`.
    ///
    /// # Errors
    /// The catalogue's; an input error if its changes are not kept so far back.
    pub(crate) fn at(catalogue: &dyn Catalogue, revision: u64) -> Result<PastCatalogue, ServiceError> {
        // The history first: what is put in between is then in neither, or led back.
        let stored = catalogue.schema(EntityKind::Item)?;
        let mut items: HashMap<ItemId, Item> = HashMap::new();
        catalogue.for_each_item(&mut |item| drop(items.insert(item.item_id.clone(), item)))?;
        let history = catalogue.history(revision)?;
        let is_fixed = |(name, entry): (&String, &AttributeSchema)| {
            (entry.origin == KindOrigin::Fixed).then(|| (name.clone(), entry.kind))
        };
        let mut fixed: BTreeMap<String, AttributeKind> = stored.iter().filter_map(is_fixed).collect();
        let mut ahead: BTreeMap<u64, Change> = BTreeMap::new();
        for change in history.items.into_iter().rev() {
            let after = match change.before {
                Some(before) => items.insert(change.item_id.clone(), before),
                None => items.remove(&change.item_id),
            };
            ahead
                .entry(change.revision)
                .or_default()
                .items
                .push((change.item_id, after));
        }
        for change in history.kinds.into_iter().rev() {
            let after = match change.before {
                Some(before) => fixed.insert(change.attribute.clone(), before),
                None => fixed.remove(&change.attribute),
            };
            let change_of = ahead.entry(change.revision).or_default();
            change_of.kinds.push((change.attribute, after));
        }
        let mut past = PastCatalogue {
            items,
            tallies: BTreeMap::new(),
            fixed,
            revision,
            ahead: ahead.into_iter().collect(),
            live: LiveCatalogue::default(),
        };
        let all: Vec<Attributes> = past.items.values().map(|item| item.attributes.clone()).collect();
        all.iter().for_each(|attributes| past.count(attributes));
        Ok(past)
    }

    fn count(&mut self, attributes: &Attributes) {
        for (name, value) in attributes {
            self.tallies.entry(name.clone()).or_default().add(value);
        }
    }

    fn schema(&self) -> Schema {
        let inferred = self.tallies.iter().filter_map(|(name, tally)| {
            let entry = AttributeSchema {
                kind: tally.kind()?,
                origin: KindOrigin::Inferred,
                present: tally.len() as u64,
            };
            Some((name.clone(), entry))
        });
        let mut schema: Schema = inferred.collect();
        for (name, kind) in &self.fixed {
            let present = schema.get(name).map_or(0, |entry| entry.present);
            let entry = AttributeSchema {
                kind: *kind,
                origin: KindOrigin::Fixed,
                present,
            };
            schema.insert(name.clone(), entry);
        }
        schema
    }

    /// Goes on to a revision. Gives what models were told of on the way, revision by revision, in order of position.
    pub(crate) fn advance(&mut self, to: u64, positions: &Positions) -> Vec<(ItemId, ItemFeatures)> {
        let mut told = Vec::new();
        let mut moved: BTreeMap<u32, ItemId> = BTreeMap::new();
        let mut all_anew = self.live.len() == 0;
        while let Some((_, change)) = self.ahead.pop_front_if(|(revision, _)| *revision <= to) {
            let before = self.schema();
            let mut described: Vec<(u32, ItemId)> = Vec::new();
            for (id, after) in change.items {
                let was = match after {
                    Some(after) => {
                        self.count(&after.attributes);
                        self.items.insert(id.clone(), after)
                    }
                    None => self.items.remove(&id),
                };
                for (name, value) in was.iter().flat_map(|was| &was.attributes) {
                    if let Some(tally) = self.tallies.get_mut(name) {
                        tally.remove(value);
                    }
                }
                let position = positions.insert(&id);
                let now = self.items.get(&id).map(|item| &item.attributes);
                if was.as_ref().map(|was| &was.attributes) != now {
                    described.push((position, id.clone()));
                }
                moved.insert(position, id);
            }
            for (attribute, after) in change.kinds {
                match after {
                    Some(kind) => self.fixed.insert(attribute, kind),
                    None => self.fixed.remove(&attribute),
                };
            }
            let schema = self.schema();
            if kinds(&schema) != kinds(&before) {
                all_anew = true;
                described = self
                    .items
                    .keys()
                    .map(|id| (positions.insert(id), id.clone()))
                    .collect();
            }
            described.sort_unstable();
            told.extend(described.into_iter().filter_map(|(_, id)| {
                let read = features(&self.items.get(&id)?.attributes, &schema);
                Some((id, read))
            }));
        }
        let schema = Arc::new(self.schema());
        let entry = |(position, id): (u32, &ItemId)| {
            let item = self.items.get(id)?;
            Some((position, Entry::of(item, &schema), item.hidden))
        };
        if all_anew {
            let end = self.live.len();
            let ids = self.items.keys().map(|id| (positions.insert(id), id));
            let mut changes: Vec<_> = ids.filter_map(entry).collect();
            changes.sort_unstable_by_key(|(position, ..)| *position);
            let least = changes.last().map_or(0, |(last, ..)| *last as usize + 1);
            self.live = LiveCatalogue::default().with_up_to(positions, end.max(least), changes);
        } else if !moved.is_empty() {
            let changes: Vec<_> = moved
                .iter()
                .map(|(position, id)| (*position, id))
                .filter_map(entry)
                .collect();
            let least = changes.last().map_or(0, |(last, ..)| *last as usize + 1);
            self.live = self
                .live
                .with_up_to(positions, self.live.len().max(least), changes);
        }
        self.live.schema = schema;
        self.revision = self.revision.max(to);
        self.live.revision = self.revision;
        told
    }

    /// What a snapshot had of it, with the first `items` positions.
    pub(crate) fn view(&mut self, positions: &Positions, items: usize) -> LiveCatalogue {
        self.live = self.live.with_up_to(positions, items, Vec::new());
        self.live.clone()
    }
}
