//! What every index over vectors promises, whatever it is made of.

use crate::{Shortlist, VectorIndex, Wanted};

/// An index over the vectors of items.
///
/// A shortlist holds the best of what is wanted: all of them if the index is exact; of an approximate one some may be missing where `within` is not given or
/// wide, and none where it is narrow. It never holds an item that is not in the index or not in `within`, and none twice. One that says `is_whole` holds everything wanted.
pub trait Nearest: Send + Sync {
    /// Numbers of a vector.
    fn dims(&self) -> usize;
    /// Items in the index.
    fn len(&self) -> usize;
    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// True if the item has a vector.
    fn contains(&self, item: u32) -> bool;
    /// Puts an item in, or changes its vector.
    ///
    /// # Panics
    /// If the vector is not `dims` long.
    fn put(&mut self, item: u32, vector: &[f32]);
    /// Takes an item out; true if it was in.
    fn remove(&mut self, item: u32) -> bool;
    /// A shortlist for each request.
    ///
    /// # Panics
    /// If a vector is not `dims` long.
    fn shortlists(&self, wanted: &[Wanted<'_>]) -> Vec<Shortlist>;
}

impl Nearest for VectorIndex {
    fn dims(&self) -> usize {
        self.dims()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn contains(&self, item: u32) -> bool {
        self.contains(item)
    }

    fn put(&mut self, item: u32, vector: &[f32]) {
        self.put(item, vector);
    }

    fn remove(&mut self, item: u32) -> bool {
        self.remove(item)
    }

    fn shortlists(&self, wanted: &[Wanted<'_>]) -> Vec<Shortlist> {
        self.shortlists(wanted)
    }
}

/// The suite that every index passes.
#[cfg(test)]
pub(crate) mod suite {
    use super::*;
    use crate::{ItemSet, Measure};
    use numeric::{SeededStream, dot, norm, top_k};

    const DIMS: usize = 16;
    const ITEMS: u32 = 3000;
    const N: usize = 20;

    /// Items missing from the best, and how many there should have been, over all requests of one kind.
    #[derive(Debug, Default, Clone, Copy)]
    struct Missed(usize, usize);

    /// `misses_max` is the share of the best that may be missing where nothing narrows the search: 0 for an exact index.
    pub(crate) fn conforms(index: &mut dyn Nearest, misses_max: f64) {
        let mut stream = SeededStream::new(11, 4);
        let middles: Vec<Vec<f32>> = (0..30).map(|_| drawn(&mut stream, 1.0)).collect();
        let mut table: Vec<Option<Vec<f32>>> = (0..ITEMS)
            .map(|item| Some(near(&middles[item as usize % 30], &mut stream)))
            .collect();
        assert!(index.is_empty() && index.dims() == DIMS);
        for (item, vector) in table.iter().enumerate() {
            index.put(item as u32, vector.as_deref().expect("all have one"));
        }
        searched(index, &table, &mut stream, misses_max);
        // Every seventh goes, every fifth moves to another group, and some come back.
        for item in 0..ITEMS {
            if item % 7 == 0 {
                assert!(index.remove(item) && !index.remove(item) && !index.contains(item));
                table[item as usize] = None;
            }
            if item % 5 == 0 {
                let moved = near(&middles[(item as usize + 9) % 30], &mut stream);
                index.put(item, &moved);
                table[item as usize] = Some(moved);
            }
        }
        assert_eq!(index.len(), table.iter().flatten().count());
        searched(index, &table, &mut stream, misses_max);
    }

    fn drawn(stream: &mut SeededStream, scale: f64) -> Vec<f32> {
        (0..DIMS).map(|_| (stream.normal() * scale) as f32).collect()
    }

    fn near(middle: &[f32], stream: &mut SeededStream) -> Vec<f32> {
        // Lengths are skewed, as those of learnt factors are.
        let length = (0.5 * stream.normal()).exp() as f32;
        middle
            .iter()
            .map(|x| length * (x + 0.4 * stream.normal() as f32))
            .collect()
    }

    fn searched(index: &dyn Nearest, table: &[Option<Vec<f32>>], stream: &mut SeededStream, misses_max: f64) {
        let narrow: ItemSet = (0..ITEMS).filter(|item| item % 50 == 3).collect();
        let wide: ItemSet = (0..ITEMS).filter(|item| item % 3 > 0).collect();
        for (measure, within, misses_max) in [
            (Measure::Product, None, misses_max),
            (Measure::Product, Some(&wide), misses_max),
            (Measure::Product, Some(&narrow), 0.0),
            (Measure::Cosine, None, misses_max),
        ] {
            let vectors: Vec<Vec<f32>> = (0..60).map(|_| drawn(stream, 1.0)).collect();
            let wanted: Vec<Wanted<'_>> = vectors
                .iter()
                .map(|vector| Wanted {
                    vector,
                    n: N,
                    within,
                    measure,
                })
                .collect();
            let mut missed = Missed::default();
            for (list, wanted) in index.shortlists(&wanted).into_iter().zip(&wanted) {
                let of = |item: u32| {
                    let own = table[item as usize].as_ref()?;
                    let product = dot(own, wanted.vector);
                    Some((
                        item,
                        if measure == Measure::Cosine {
                            product / norm(own)
                        } else {
                            product
                        },
                    ))
                };
                let admitted = |item: &u32| within.is_none_or(|within| within.contains(*item));
                let mut items = list.items;
                items.sort_unstable();
                assert!(items.windows(2).all(|two| two[0] < two[1]), "none twice");
                assert!(
                    items
                        .iter()
                        .all(|item| admitted(item) && table[*item as usize].is_some())
                );
                let all = (0..ITEMS).filter(admitted).filter_map(of);
                let best = top_k(N, all);
                let found = top_k(N, items.into_iter().filter_map(of));
                missed.0 += best.iter().filter(|one| !found.contains(one)).count();
                missed.1 += best.len();
            }
            let share = missed.0 as f64 / missed.1 as f64;
            assert!(
                share <= misses_max,
                "{measure:?}: {missed:?}, {share} of the best are missing"
            );
        }
    }

    #[test]
    fn the_exact_index_conforms() {
        conforms(&mut VectorIndex::new(DIMS), 0.0);
    }

    #[cfg(feature = "graph")]
    #[test]
    fn the_graph_conforms_within_its_budget() {
        conforms(&mut crate::GraphIndex::new(DIMS, 512).expect("an index"), 0.06);
    }
}
