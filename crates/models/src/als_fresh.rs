//! Items of implicit ALS between trainings: new ones, young ones that are taken again, and those whose attributes change.
//!
//! An item that had no entries in training is solved exactly as training would: from its users, as they were in that
//! batch of events, and its prior mean. Of one that had k entries, k < [`SETTLED`], training left the factor y₀ alone; its normal matrix is
//! taken to be A₀ = (α₀ + k/n)G + λ(k)I, as if its users had been any k of the n, and what came since is added: (A₀ + Σ w x xᵀ)y =
//! A₀y₀ + Σ w x, but for the pull of attributes, λκ(1 − c), which is that of k entries in A₀y₀ and of all on the left, with its mean on the right. New attributes move y₀ by A₀⁻¹(λI + (1 − e)α₀G) times the change of its mean, which is how the
//! solution depends on the mean. Settled items stay until the next training.

use crate::als::Als;
use crate::als_fold::mark;
use crate::als_step::State;
use crate::als_train::entry;
use crate::{ItemFeatures, als_step::Side};
use dataset::Interaction;
use domain::{HistoryEvent, ItemId};
use numeric::{axpy, dot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Items that can take in events between trainings, with up to 64 factors; with more, as many as fit in the same memory.
pub const FRESH_MAX: usize = 4096;

/// Entries in training from which on an item's factor stays until the next.
pub(crate) const SETTLED: u32 = 32;

/// A change of a prior mean below this share of its length is none.
const SAME: f32 = 1e-5;

/// An item as it is since the training.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Fresh {
    pub(crate) factor: Vec<f32>,
    /// Where its attributes draw it; empty for nowhere.
    pub(crate) mean: Vec<f32>,
    /// What the training says of it (y₀); empty if it had no entries there.
    pub(crate) start: Vec<f32>,
    /// What came since.
    pub(crate) sums: Option<Sums>,
    /// The weight with which YᵀY has it. Items without entries stand beside, with none: nobody had the choice.
    pub(crate) counted: f32,
}

/// Σ w x xᵀ (lower triangle used), Σ w x and the number of users.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sums {
    pub(crate) matrix: Vec<f32>,
    pub(crate) side: Vec<f32>,
    pub(crate) users: usize,
}

/// How many items can take in events with factors of this length.
pub(crate) fn fresh_max(d: usize) -> usize {
    (FRESH_MAX * 64 * 64 / (d * d).max(1)).clamp(64, FRESH_MAX)
}

/// The matrix of an item of which nothing but its number of entries is known: cG + λI, in full.
fn plain(side: &Side, gram: &[f32], weight: f32, lambda: f32) -> Vec<f32> {
    let mut matrix: Vec<f32> = gram.iter().map(|g| weight * g).collect();
    (0..side.d).for_each(|i| matrix[i * side.d + i] += lambda);
    matrix
}

/// For each of these events the last one that is the same person's: its history goes on from that of the event, and the event itself.
fn latest<'a>(
    events: &[usize],
    row: impl Fn(usize) -> &'a Interaction,
    history: impl Fn(usize) -> &'a [HistoryEvent],
) -> Vec<usize> {
    let bits = |h: &HistoryEvent| (h.item, h.weight.to_bits());
    let goes_on = |long: &[HistoryEvent], event: usize| {
        let short = history(event);
        let next = long.get(short.len()).map(bits);
        next == Some((row(event).item, row(event).weight.to_bits()))
            && short.iter().zip(long).rev().all(|(a, b)| bits(a) == bits(b))
    };
    let mut people: BTreeMap<Option<(u32, u32)>, Vec<usize>> = BTreeMap::new();
    let mut last = Vec::with_capacity(events.len());
    for event in events.iter().rev() {
        let alike = people.entry(history(*event).first().map(bits)).or_default();
        let found = alike
            .iter()
            .copied()
            .find(|later| goes_on(history(*later), *event));
        last.push(found.unwrap_or_else(|| {
            alike.push(*event);
            *event
        }));
    }
    last.reverse();
    last
}

fn times(matrix: &[f32], x: &[f32]) -> Vec<f32> {
    matrix.chunks_exact(x.len()).map(|row| dot(row, x)).collect()
}

impl Als {
    /// Entries that an item had in training.
    pub(crate) fn entries_of(&self, item: u32) -> u32 {
        self.counts.get(item as usize).copied().unwrap_or(0)
    }

    /// Entries that it has by now, as far as they were taken in.
    pub(crate) fn entries_by_now(&self, item: u32) -> usize {
        let since = self.fresh.get(&item).and_then(|fresh| fresh.sums.as_ref());
        (self.entries_of(item) as usize).saturating_add(since.map_or(0, |sums| sums.users))
    }

    /// The item as it is, to be changed.
    fn opened(&mut self, item: u32) -> &mut Fresh {
        if !self.fresh.contains_key(&item) {
            let fresh = Arc::new(self.trained(item));
            self.fresh.insert(item, fresh);
            mark(&mut self.marks, item);
        }
        let fresh = self.fresh.get_mut(&item).expect("it was put there if it was not");
        Arc::make_mut(fresh)
    }

    /// The item as the training left it.
    fn trained(&self, item: u32) -> Fresh {
        let d = self.config.factors;
        let at = item as usize * d..(item as usize + 1) * d;
        let factor = self.factors.get(at).map_or(vec![0.0; d], <[f32]>::to_vec);
        Fresh {
            start: if self.entries_of(item) > 0 {
                factor.clone()
            } else {
                Vec::new()
            },
            factor,
            mean: self.mean_of(item).to_vec(),
            sums: None,
            counted: self.counted(self.entries_of(item) as usize),
        }
    }

    /// Takes in the events on items that are not settled; says for each whether it did. Somebody's factor is that before the last of
    /// their events here, so that it is worked out once.
    pub(crate) fn absorb(&mut self, rows: &[Interaction], histories: &[Vec<HistoryEvent>]) -> Vec<bool> {
        let of = |n: usize| histories.get(n).map_or(&[] as &[HistoryEvent], |h| h);
        let wanted: Vec<usize> = (0..rows.len())
            .filter(|n| self.wants(&rows[*n], of(*n)))
            .collect();
        let mut users: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        let mut taken = vec![false; rows.len()];
        for (n, last) in wanted.iter().zip(latest(&wanted, |n| &rows[n], of)) {
            let known = |fresh: &Arc<Fresh>| fresh.sums.is_some();
            if !self.fresh.get(&rows[*n].item).is_some_and(known)
                && self.taking >= fresh_max(self.config.factors)
            {
                continue;
            }
            let folded = || {
                self.fold_in(crate::Someone::with_history(of(last)))
                    .state
                    .factor()
                    .to_vec()
            };
            let user = users.entry(last).or_insert_with(folded);
            if user.iter().any(|x| *x != 0.0) {
                self.add(rows[*n].item, entry(rows[*n].weight, self.scale), user);
                taken[*n] = true;
            }
        }
        taken
    }

    /// Whether there is something to learn from an event.
    fn wants(&self, row: &Interaction, history: &[HistoryEvent]) -> bool {
        (row.item as usize) < self.vocabulary.len()
            && self.entries_of(row.item) < SETTLED
            && row.weight.is_finite()
            && row.weight > 0.0
            && !history.iter().any(|h| h.item == row.item)
    }

    fn add(&mut self, item: u32, weight: f32, user: &[f32]) {
        let d = self.config.factors;
        let fresh = self.opened(item);
        let first = fresh.sums.is_none();
        let sums = fresh.sums.get_or_insert_with(|| Sums {
            matrix: vec![0.0; d * d],
            side: vec![0.0; d],
            users: 0,
        });
        numeric::syrk_add(&mut sums.matrix, d, user, &[weight]);
        axpy(weight, user, &mut sums.side);
        sums.users += 1;
        self.taking += usize::from(first);
    }

    /// Solves an item anew and brings YᵀY up to date.
    pub(crate) fn resolve(&mut self, item: u32) {
        let d = self.config.factors;
        let side = self.item_side();
        let before = self.entries_of(item) as usize;
        let Some(fresh) = self.fresh.get(&item) else {
            return;
        };
        let mean = (!fresh.mean.is_empty()).then_some(fresh.mean.as_slice());
        let factor = match &fresh.sums {
            None if before > 0 => fresh.start.clone(),
            None => mean.map_or(vec![0.0; d], <[f32]>::to_vec),
            Some(sums) => {
                let mut state = State::new(&side);
                let (mut matrix, mut right) = (sums.matrix.clone(), sums.side.clone());
                let mut drawn = mean;
                if before > 0 {
                    let like_all = before as f32 / self.n_users.max(1) as f32;
                    axpy(like_all, &self.users_gram, &mut matrix);
                    let known = plain(
                        &side,
                        &self.users_gram,
                        side.unobserved_of(before) + like_all,
                        side.lambda(before),
                    );
                    axpy(1.0, &times(&known, &fresh.start), &mut right);
                    if let Some(mean) = mean {
                        // A₀y₀ holds the pull of before: it goes, and that of now comes.
                        let (then, now) = (side.more(before), side.more(before + sums.users));
                        axpy(then, &fresh.start, &mut right);
                        axpy(now - then, mean, &mut right);
                        (0..d).for_each(|i| matrix[i * d + i] += now);
                    }
                    drawn = None; // It is in the factor of the training.
                }
                let sums_of = (matrix.as_slice(), right.as_slice());
                state.solve_from(&side, &self.users_gram, sums_of, before + sums.users, drawn);
                state.factor().to_vec()
            }
        };
        self.replace(item, factor, self.counted(self.entries_by_now(item)));
    }

    /// The weight in YᵀY of an item with so many entries.
    fn counted(&self, entries: usize) -> f32 {
        self.config.absence(self.typical).counted(entries)
    }

    /// Puts a factor in place, and in YᵀY with this weight.
    fn replace(&mut self, item: u32, factor: Vec<f32>, counts: f32) {
        let d = self.config.factors;
        let Some(fresh) = self.fresh.get_mut(&item).map(Arc::make_mut) else {
            return;
        };
        let mut change = |factor: &[f32], weight: f32| {
            let rows = self.gram.chunks_exact_mut(d).zip(factor);
            rows.for_each(|(row, x)| axpy(weight * x, factor, row));
        };
        if fresh.counted > 0.0 {
            change(&fresh.factor, -fresh.counted);
        }
        if counts > 0.0 {
            change(&factor, counts);
        }
        fresh.counted = counts;
        fresh.factor = factor;
    }

    /// Takes in new or changed attributes; true if they say anything.
    pub(crate) fn describe(&mut self, id: &ItemId, features: &ItemFeatures) -> bool {
        let position = self.vocabulary.position(id.as_str());
        let item = position.unwrap_or_else(|| Arc::make_mut(&mut self.vocabulary).insert(id));
        let Some(map) = &self.item_map else {
            return false;
        };
        let mean = map.mean(features).unwrap_or_default();
        let known = !mean.is_empty();
        let old = self.mean_of(item).to_vec();
        let d = self.config.factors;
        let mut change = mean.clone();
        change.resize(d, 0.0);
        axpy(-1.0, &old, &mut change);
        if numeric::norm(&change) <= SAME * numeric::norm(&mean) {
            return known;
        }
        let before = self.entries_of(item) as usize;
        let moved = (before > 0).then(|| self.shift(before, &change));
        let fresh = self.opened(item);
        fresh.mean = mean;
        moved.inspect(|moved| axpy(1.0, moved, &mut fresh.start));
        self.resolve(item);
        known
    }

    /// Where an item is drawn to; empty for nowhere.
    pub(crate) fn mean_of(&self, item: u32) -> &[f32] {
        if let Some(fresh) = self.fresh.get(&item) {
            return &fresh.mean;
        }
        let d = self.config.factors;
        let mean = self.means.get(item as usize * d..(item as usize + 1) * d);
        mean.filter(|mean| mean.iter().any(|m| *m != 0.0)).unwrap_or(&[])
    }

    /// How far a factor of the training moves with a change of its prior mean.
    fn shift(&self, before: usize, change: &[f32]) -> Vec<f32> {
        let side = self.item_side();
        let like_all = before as f32 / self.n_users.max(1) as f32;
        let matrix = plain(
            &side,
            &self.users_gram,
            side.unobserved_of(before) + like_all,
            side.lambda_of(before, true),
        );
        let mut moved = vec![0.0; side.d];
        side.draw(&self.users_gram, before, change, &mut moved);
        let mut cholesky = numeric::Cholesky::default();
        match cholesky.factor(&matrix, side.d) {
            Ok(()) => cholesky.solve(&mut moved),
            Err(_) => moved.fill(0.0),
        }
        moved.iter_mut().filter(|x| !x.is_finite()).for_each(|x| *x = 0.0);
        moved
    }
}
