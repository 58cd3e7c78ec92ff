//! The standing of items that is the same for everybody, best first.
//!
//! Of many items only the first few thousand are ever asked for, so those are picked out, which costs one look at each item; the rest is
//! put in order only if rules leave too few of them.

use crate::TopItems;
use crate::common::{best, first_allowed};
use dataset::Vocabulary;
use std::sync::{Arc, OnceLock};

/// Items that are picked out.
const FIRST: usize = 4096;

/// Items by their scores, once somebody has asked. A copy shares what is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    first: OnceLock<Arc<TopItems>>,
    all: OnceLock<Arc<TopItems>>,
}

impl Standing {
    /// The best `n` that `allowed` admits of `scored`, without zeros.
    pub(crate) fn best<I: IntoIterator<Item = (u32, f32)>>(
        &self,
        vocabulary: &Vocabulary,
        n: usize,
        allowed: &dyn Fn(u32) -> bool,
        scored: impl Fn() -> I,
    ) -> TopItems {
        let first = self.first(vocabulary, &scored);
        let found = first_allowed(first, n, allowed);
        if found.len() == n || first.len() < FIRST {
            return found;
        }
        let all = self
            .all
            .get_or_init(|| Arc::new(best(vocabulary, usize::MAX, scored())));
        first_allowed(all, n, allowed)
    }

    /// Works out now what [`best`](Self::best) otherwise works out when first asked.
    pub(crate) fn first<I: IntoIterator<Item = (u32, f32)>>(
        &self,
        vocabulary: &Vocabulary,
        scored: &impl Fn() -> I,
    ) -> &Arc<TopItems> {
        self.first
            .get_or_init(|| Arc::new(best(vocabulary, FIRST, scored())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ItemId;

    #[test]
    fn equals_sorting_everything() {
        let n = 3 * FIRST as u32;
        let ids = (0..n).map(|i| ItemId::new(format!("i{i:06}")).expect("an id"));
        let vocabulary: Vocabulary = ids.collect();
        let scored = || (0..n).map(|i| (i, (i * 7919 % 5003) as f32));
        let plain = best(&vocabulary, usize::MAX, scored());
        let standing = Standing::default();
        for modulus in [1, 3, 5000] {
            let allowed = |item: u32| item.is_multiple_of(modulus);
            let expected: Vec<_> = plain
                .iter()
                .filter(|(item, _)| allowed(*item))
                .take(100)
                .copied()
                .collect();
            assert_eq!(standing.best(&vocabulary, 100, &allowed, scored), expected);
        }
        assert_eq!(standing.best(&vocabulary, n as usize, &|_| true, scored), plain);
    }
}
