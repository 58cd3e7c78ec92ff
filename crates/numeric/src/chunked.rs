//! A long list whose copies share what has not been changed.

use std::sync::Arc;

/// Entries in a chunk.
const CHUNK: usize = 8192;

/// A list in chunks: a copy costs a counter per chunk, a change in a copy one chunk.
#[derive(Debug, Clone)]
pub struct Chunked<T> {
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Chunked {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Clone> Chunked<T> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry at a place.
    #[inline]
    pub fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: T) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Arc::new(Vec::new()));
        }
        if let Some(last) = self.chunks.last_mut() {
            Arc::make_mut(last).push(entry);
            self.len += 1;
        }
    }

    /// Changes an entry.
    ///
    /// # Panics
    /// If there is none at this place.
    pub fn set(&mut self, at: usize, entry: T) {
        assert!(at < self.len, "place {at} of {}", self.len);
        Arc::make_mut(&mut self.chunks[at / CHUNK])[at % CHUNK] = entry;
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<T: Clone> FromIterator<T> for Chunked<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Chunked<T> {
        let mut list = Chunked::default();
        entries.into_iter().for_each(|entry| list.push(entry));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_go_their_own_way() {
        let mut list: Chunked<usize> = (0..3 * CHUNK - 1).collect();
        let before = list.clone();
        list.set(CHUNK + 1, 7);
        list.push(9);
        list.push(11);
        let mut plain: Vec<usize> = (0..3 * CHUNK - 1).collect();
        assert_eq!(before.iter().copied().collect::<Vec<_>>(), plain);
        plain[CHUNK + 1] = 7;
        plain.extend([9, 11]);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), plain);
        assert_eq!((list.get(3 * CHUNK), list.get(list.len())), (Some(&11), None));
    }
}
