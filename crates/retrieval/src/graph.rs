//! An index that is a graph (HNSW), for catalogues beyond what passes over all vectors can do.
//!
//! Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small world graphs", as implemented by
//! `usearch`, by inner product on the vectors as they are: reductions of inner products to distances lose nearly everything where lengths are skewed.
//!
//! It answers approximately where nothing narrows the search, with `reach` candidates kept on the way (the more, the fewer are missed and the longer it takes).
//! Beside it stands the exact index ([`VectorIndex`]), which answers what a graph is bad at, exactly: sets of items that are a small share of all, where the way through the graph leads over
//! items that do not count, cosines, and whatever the graph comes back short of.
//!
//! Cost: about `reach` · 16 products per request; building some hundred products per item. Memory: 4 · dims + 150 bytes per item beside the exact index.
//! Nothing is random but the levels of the graph, which go by the order of insertion. Two indexes built in another order answer differently, so decisions made
//! with one cannot be replayed with another; see decision 20.

use crate::{Measure, Nearest, Shortlist, VectorIndex, Wanted};
use usearch::{IndexOptions, MetricKind, ScalarKind};

/// Links of an item, and candidates kept while it is put in.
const LINKS: usize = 16;
const REACH_OF_PUT: usize = 128;
/// A set of items below this share of the index (as its inverse) is searched exactly.
const NARROW: u64 = 4;
/// Items that room is made for at a time, at least.
const ROOM_MIN: usize = 1024;

/// An index that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("make a graph of vectors of {dims} numbers: {reason}")]
pub struct GraphError {
    dims: usize,
    reason: String,
}

/// See the head of the module.
pub struct GraphIndex {
    graph: usearch::Index,
    exact: VectorIndex,
    /// Whether the graph has refused something, so that only the exact index is to be trusted.
    is_broken: bool,
}

impl std::fmt::Debug for GraphIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphIndex")
            .field("len", &self.exact.len())
            .finish_non_exhaustive()
    }
}

impl GraphIndex {
    /// An index without items.
    ///
    /// # Errors
    /// What the library cannot do.
    pub fn new(dims: usize, reach: usize) -> Result<GraphIndex, GraphError> {
        let options = IndexOptions {
            dimensions: dims,
            metric: MetricKind::IP,
            quantization: ScalarKind::F32,
            connectivity: LINKS,
            expansion_add: REACH_OF_PUT,
            expansion_search: reach,
            ..IndexOptions::default()
        };
        let graph = usearch::Index::new(&options).map_err(|e| GraphError {
            dims,
            reason: e.to_string(),
        })?;
        Ok(GraphIndex {
            graph,
            exact: VectorIndex::new(dims),
            is_broken: false,
        })
    }

    /// True as long as the graph took everything that it was given; then, requests without a narrow set are answered by it.
    pub fn is_whole(&self) -> bool {
        !self.is_broken
    }

    fn add(&mut self, item: u32, vector: &[f32]) -> Result<(), String> {
        if self.graph.size() + 1 > self.graph.capacity() {
            let room = (2 * self.graph.capacity()).max(ROOM_MIN);
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            self.graph
                .reserve_capacity_and_threads(room, threads)
                .map_err(|e| e.to_string())?;
        }
        self.graph.add(u64::from(item), vector).map_err(|e| e.to_string())
    }

    /// What the graph finds; `None` where the exact index has to say.
    fn by_graph(&self, wanted: &Wanted<'_>) -> Option<Shortlist> {
        let Wanted {
            vector,
            n,
            within,
            measure,
        } = *wanted;
        let is_narrow = |share: u64| share * NARROW < self.exact.len() as u64;
        if self.is_broken
            || measure == Measure::Cosine
            || within.is_some_and(|within| is_narrow(within.len()))
        {
            return None;
        }
        let found = match within {
            None => self.graph.search(vector, n),
            Some(within) => self.graph.filtered_search(vector, n, |key| {
                u32::try_from(key).is_ok_and(|item| within.contains(item))
            }),
        };
        let mut items: Vec<u32> = found
            .ok()?
            .keys
            .into_iter()
            .filter_map(|key| u32::try_from(key).ok())
            .collect();
        items.retain(|item| self.exact.contains(*item) && within.is_none_or(|within| within.contains(*item)));
        (items.len() == n).then_some(Shortlist {
            items,
            is_whole: false,
        })
    }
}

impl Nearest for GraphIndex {
    fn dims(&self) -> usize {
        self.exact.dims()
    }

    fn len(&self) -> usize {
        self.exact.len()
    }

    fn contains(&self, item: u32) -> bool {
        self.exact.contains(item)
    }

    fn put(&mut self, item: u32, vector: &[f32]) {
        assert_eq!(vector.len(), self.dims(), "numbers of a vector");
        let taken_out = !self.exact.contains(item) || self.graph.remove(u64::from(item)).is_ok();
        self.exact.put(item, vector);
        self.is_broken |= !taken_out || self.add(item, vector).is_err();
    }

    fn remove(&mut self, item: u32) -> bool {
        let was_in = self.exact.remove(item);
        if was_in {
            self.is_broken |= self.graph.remove(u64::from(item)).is_err();
        }
        was_in
    }

    fn shortlists(&self, wanted: &[Wanted<'_>]) -> Vec<Shortlist> {
        let mut answers: Vec<Option<Shortlist>> = wanted
            .iter()
            .map(|one| {
                assert_eq!(one.vector.len(), self.dims(), "numbers of a vector");
                self.by_graph(one)
            })
            .collect();
        let open: Vec<usize> = (0..wanted.len()).filter(|at| answers[*at].is_none()).collect();
        let left: Vec<Wanted<'_>> = open.iter().map(|at| wanted[*at]).collect();
        for (at, answer) in open.into_iter().zip(self.exact.shortlists(&left)) {
            answers[at] = Some(answer);
        }
        answers.into_iter().map(Option::unwrap_or_default).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ItemSet;

    #[test]
    fn what_is_narrow_or_a_cosine_goes_to_the_exact_index() {
        let mut index = GraphIndex::new(2, 64).expect("an index");
        (0..1000u32).for_each(|item| index.put(item, &[item as f32, 1.0]));
        let narrow: ItemSet = (0..200).collect();
        let wanted = |within, measure| Wanted {
            vector: &[1.0, 0.0],
            n: 3,
            within,
            measure,
        };
        assert!(index.by_graph(&wanted(Some(&narrow), Measure::Product)).is_none());
        assert!(index.by_graph(&wanted(None, Measure::Cosine)).is_none());
        let mut found = index
            .by_graph(&wanted(None, Measure::Product))
            .expect("by the graph")
            .items;
        found.sort_unstable();
        assert_eq!(found, [997, 998, 999]);
        assert!(index.is_whole() && index.remove(999) && index.is_whole());
    }
}
