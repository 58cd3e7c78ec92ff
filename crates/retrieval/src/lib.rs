//! Stage 2, candidate generation: sources that need no model, and what makes those that do fast.
//!
//! [`VectorIndex`] finds the best items of a vector space, exactly, for several requests in one pass ([`Together`]);
//! [`AttributeIndex`] says which items satisfy conditions, as an [`ItemSet`].
//!
//! [`ListRetriever`] proposes from a list made beforehand (popular, trending, picked by hand) and
//! is the fallback that answers when nothing else does; [`RecentRetriever`] proposes what
//! was added last; [`SegmentRetriever`] what is popular or rising in the segment of the request. Models are made into sources by `assembly`; lists of several sources are
//! joined, with their provenance, by `engine`.
//!
//! What this crate does not know: models, item ids, attributes, the clock.

mod attributes;
#[cfg(feature = "graph")]
mod graph;
mod item_set;
mod layout;
mod list;
mod nearest;
mod recent;
mod segments;
mod together;
mod vectors;

pub use attributes::{AttributeIndex, Predicate, Value};
#[cfg(feature = "graph")]
pub use graph::{GraphError, GraphIndex};
pub use item_set::ItemSet;
pub use list::ListRetriever;
pub use nearest::Nearest;
pub use recent::RecentRetriever;
pub use segments::{SegmentRetriever, SegmentTable, SegmentTerms, Standing};
pub use together::{SHARED_MAX, Together};
pub use vectors::{Measure, Shortlist, VectorIndex, Wanted};

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;
    use std::sync::Arc;

    #[test]
    fn every_source_keeps_the_promises() {
        let list = ListRetriever::new(
            "popular",
            Arc::new((0..40).map(|i| (i, 40.0 - i as f32)).collect()),
        );
        testkit::stages::retriever(&list, 40);
        testkit::stages::retriever(&ListRetriever::new("none", Arc::new(Vec::new())), 40);
        let added: Vec<_> = (0..40)
            .map(|i| (i, Timestamp(i64::from(i % 13) * 86_400_000)))
            .collect();
        testkit::stages::retriever(&RecentRetriever::new("new", added), 40);
    }
}
