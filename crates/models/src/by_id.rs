//! The best of many scored items with equal scores in the order of ids, without comparing ids.

use crate::TopItems;
use dataset::Vocabulary;

/// Items of a vocabulary in the order of their ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct ById {
    items: Vec<u32>,
    /// Place of each item in that order.
    places: Vec<u32>,
}

impl ById {
    pub(crate) fn of(vocabulary: &Vocabulary) -> ById {
        let mut order = ById::default();
        order.extend(vocabulary);
        order
    }

    /// Takes in the items that the vocabulary has beyond those.
    pub(crate) fn extend(&mut self, vocabulary: &Vocabulary) {
        let by_id = |a: &u32, b: &u32| vocabulary.id(*a).cmp(vocabulary.id(*b));
        let mut fresh: Vec<u32> = (self.len() as u32..vocabulary.len() as u32).collect();
        fresh.sort_unstable_by(by_id);
        let mut items = Vec::with_capacity(vocabulary.len());
        let mut from = 0;
        for item in fresh {
            let rest = &self.items[from..];
            let before = rest.partition_point(|own| by_id(own, &item).is_lt());
            items.extend_from_slice(&rest[..before]);
            items.push(item);
            from += before;
        }
        items.extend_from_slice(&self.items[from..]);
        self.places.resize(items.len(), 0);
        (0u32..)
            .zip(&items)
            .for_each(|(place, item)| self.places[*item as usize] = place);
        self.items = items;
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// What `common::best` makes of those that `allowed` admits. Score and place go into one number, so that the best are picked and
    /// sorted as whole numbers; `allowed` is asked only about what would come in.
    pub(crate) fn best(
        &self,
        n: usize,
        allowed: &dyn Fn(u32) -> bool,
        scored: impl Iterator<Item = (u32, f32)>,
    ) -> TopItems {
        let sound = scored.filter(|(_, score)| *score != 0.0 && !score.is_nan());
        let mut keys: Vec<u64> = sound
            .map(|(item, score)| u64::from(descending(score)) << 32 | u64::from(self.places[item as usize]))
            .collect();
        let mut kept: Vec<u64> = Vec::with_capacity(n.min(keys.len()));
        let mut left = keys.as_mut_slice();
        while kept.len() < n && !left.is_empty() {
            // The next best as many as are missing; what is left is worse than all of them.
            let missing = n - kept.len();
            let next = if missing < left.len() {
                left.select_nth_unstable(missing - 1);
                let (next, rest) = left.split_at_mut(missing);
                left = rest;
                next
            } else {
                std::mem::take(&mut left)
            };
            kept.extend(next.iter().filter(|key| allowed(self.item(**key))));
        }
        kept.sort_unstable();
        let score = |key: u64| back((key >> 32) as u32);
        kept.iter().map(|key| (self.item(*key), score(*key))).collect()
    }

    fn item(&self, key: u64) -> u32 {
        self.items[(key & u64::from(u32::MAX)) as usize]
    }
}

/// Whole numbers in the order of scores, the highest first.
fn descending(score: f32) -> u32 {
    let bits = score.to_bits();
    // Negative numbers are already the other way round.
    if bits >> 31 == 0 { !(bits | 1 << 31) } else { bits }
}

/// The score of such a number.
fn back(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 0 { !key & !(1 << 31) } else { key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::best;
    use domain::ItemId;
    use numeric::SeededStream;

    #[test]
    fn the_same_as_comparing_ids() {
        let mut stream = SeededStream::new(5, 0);
        for round in 0..200u64 {
            let mut vocabulary = Vocabulary::default();
            let len = 1 + stream.below(60) as u32;
            for at in 0..len {
                // Ids in another order than positions.
                vocabulary
                    .insert(&ItemId::new(format!("i{}", (u64::from(at) * 7919 + round) % 1009)).unwrap());
            }
            let mut order = ById::of(&vocabulary);
            // Items that come later.
            for at in 0..stream.below(9) {
                vocabulary.insert(&ItemId::new(format!("j{}", at * 5 % 9)).unwrap());
                vocabulary.insert(&ItemId::new(format!("a{}", at * 5 % 9)).unwrap());
            }
            order.extend(&vocabulary);
            let len = vocabulary.len() as u32;
            let pool = [
                0.5f32,
                -0.5,
                0.25,
                0.0,
                -3.0,
                f32::NAN,
                1e-30,
                f32::INFINITY,
                -0.0,
            ];
            let scored: Vec<(u32, f32)> = (0..len)
                .map(|item| (item, pool[stream.below(pool.len() as u64) as usize]))
                .collect();
            let refused = stream.below(5) as u32;
            let allowed = |item: u32| item % 5 != refused;
            for n in [0, 1, 3, 10, 100] {
                let plain = best(
                    &vocabulary,
                    n,
                    scored.iter().copied().filter(|(item, _)| allowed(*item)),
                );
                assert_eq!(
                    order.best(n, &allowed, scored.iter().copied()),
                    plain,
                    "{round} {n}"
                );
            }
        }
    }
}
