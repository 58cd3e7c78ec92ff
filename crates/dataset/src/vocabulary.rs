//! Item ids to positions and back. Append-only: a position never changes its meaning.

use domain::ItemId;
use hashbrown::HashMap;

/// Ids in position order, and the way back.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    ids: Vec<ItemId>,
    positions: HashMap<ItemId, u32>,
}

impl Vocabulary {
    /// Number of ids.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Position of an id.
    pub fn position(&self, id: &str) -> Option<u32> {
        self.positions.get(id).copied()
    }

    /// Id at a position.
    ///
    /// # Panics
    /// If `position` is not below [`len`](Self::len).
    pub fn id(&self, position: u32) -> &ItemId {
        &self.ids[position as usize]
    }

    /// All ids in position order.
    pub fn ids(&self) -> &[ItemId] {
        &self.ids
    }

    /// Position of an id, which is added if it is new.
    pub fn insert(&mut self, id: &ItemId) -> u32 {
        if let Some(position) = self.positions.get(id.as_str()) {
            return *position;
        }
        let position = u32::try_from(self.ids.len()).expect("fewer than 2^32 items");
        self.ids.push(id.clone());
        self.positions.insert(id.clone(), position);
        position
    }
}

impl FromIterator<ItemId> for Vocabulary {
    fn from_iter<T: IntoIterator<Item = ItemId>>(ids: T) -> Self {
        let mut vocabulary = Vocabulary::default();
        for id in ids {
            vocabulary.insert(&id);
        }
        vocabulary
    }
}
