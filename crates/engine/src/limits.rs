//! Slates within limits: who may stand next, such that the rest can still be filled.

use crate::positions::PositionMap;
use domain::{Candidate, Choice, Limit};

/// A slate that grows within limits. Candidates go by their place in the list that it was made for.
pub struct Keeping<'a> {
    limits: &'a [Limit],
    of: Members,
    used: Vec<bool>,
    counts: Vec<usize>,
    is_active: Vec<bool>,
    /// Places left.
    left: usize,
}

/// Which candidates count in which limits.
#[derive(Debug, Default, PartialEq, Eq)]
struct Members {
    /// Limits of each candidate, ascending, one candidate after the other; where those of each begin, and the end.
    limits: Vec<u32>,
    starts: Vec<u32>,
    /// Candidates of each limit.
    candidates: Vec<Vec<u32>>,
}

impl Members {
    fn new(limits: &[Limit], items: &[u32]) -> Members {
        // Places by item; a second place of the same item hangs on the first.
        let mut places: PositionMap<u32> =
            PositionMap::with_capacity_and_hasher(items.len(), Default::default());
        let mut same = vec![NONE; items.len()];
        for (place, item) in items.iter().enumerate().rev() {
            if let Some(next) = places.insert(*item, place as u32) {
                same[place] = next;
            }
        }
        let mut starts = vec![0u32; items.len() + 1];
        let mut candidates = Vec::with_capacity(limits.len());
        for limit in limits {
            let mut own = Vec::with_capacity(limit.members.len());
            let mut last = None;
            for member in &limit.members {
                // They ascend, so that one given twice comes twice in a row.
                if last.replace(*member) == Some(*member) {
                    continue;
                }
                let mut place = places.get(member).copied().unwrap_or(NONE);
                while place != NONE {
                    own.push(place);
                    starts[place as usize + 1] += 1;
                    place = same[place as usize];
                }
            }
            candidates.push(own);
        }
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let mut ends = starts.clone();
        let mut of = vec![0; *starts.last().unwrap_or(&0) as usize];
        for (at, own) in (0u32..).zip(&candidates) {
            for place in own {
                let end = &mut ends[*place as usize];
                of[*end as usize] = at;
                *end += 1;
            }
        }
        Members {
            limits: of,
            starts,
            candidates,
        }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Limits in which a candidate counts, ascending.
    fn of(&self, candidate: usize) -> &[u32] {
        &self.limits[self.starts[candidate] as usize..self.starts[candidate + 1] as usize]
    }
}

/// No place.
const NONE: u32 = u32::MAX;

/// A state that is tried out.
#[derive(Clone)]
struct Trial {
    counts: Vec<usize>,
    used: Vec<bool>,
    left: usize,
}

impl<'a> Keeping<'a> {
    /// Nobody stands yet but those `taken` elsewhere on the slate; `places` are to be filled from `items`.
    pub fn new(limits: &'a [Limit], items: &[u32], taken: &[u32], places: usize) -> Keeping<'a> {
        let counts = limits
            .iter()
            .map(|limit| taken.iter().filter(|item| limit.counts(**item)).count());
        Keeping {
            counts: counts.collect(),
            of: Members::new(limits, items),
            used: vec![false; items.len()],
            is_active: vec![true; limits.len()],
            left: places.min(items.len()),
            limits,
        }
    }

    fn is_within(&self, candidate: usize, counts: &[usize]) -> bool {
        let full =
            |at: &u32| self.is_active[*at as usize] && counts[*at as usize] >= self.limits[*at as usize].max;
        !self.of.of(candidate).iter().any(full)
    }

    fn missing(&self, at: usize, counts: &[usize]) -> usize {
        match self.is_active[at] {
            true => self.limits[at].min.saturating_sub(counts[at]),
            false => 0,
        }
    }

    /// The candidates that would bring every limit to its minimum, taken where they serve most; `None` if that is not enough.
    fn plan(&self, mut trial: Trial) -> Option<Vec<usize>> {
        let mut plan = Vec::new();
        while (0..self.limits.len()).any(|at| self.missing(at, &trial.counts) > 0) {
            if trial.left == 0 {
                return None;
            }
            let is_missing = |at: usize| self.missing(at, &trial.counts) > 0;
            let serves = |candidate: usize| {
                let own = self.of.of(candidate).iter();
                own.filter(|at| is_missing(**at as usize)).count()
            };
            // Only those that count where something is missing can serve.
            let wanted = (0..self.limits.len()).filter(|at| is_missing(*at));
            let wanted = wanted.flat_map(|at| &self.of.candidates[at]).map(|c| *c as usize);
            // Those that stand in few bounded groups leave most open.
            let open = wanted.filter(|c| !trial.used[*c] && self.is_within(*c, &trial.counts));
            let best = open.max_by_key(|c| {
                let serves = serves(*c);
                let bounded = self.of.of(*c).len() - serves;
                (serves, std::cmp::Reverse(bounded), std::cmp::Reverse(*c))
            })?;
            self.of
                .of(best)
                .iter()
                .for_each(|at| trial.counts[*at as usize] += 1);
            trial.used[best] = true;
            trial.left -= 1;
            plan.push(best);
        }
        Some(plan)
    }

    fn admits(&self, candidate: usize, plan: Option<&[usize]>) -> bool {
        if self.used[candidate] || !self.is_within(candidate, &self.counts) {
            return false;
        }
        if let Some(plan) = plan {
            if plan.is_empty() || plan.contains(&candidate) {
                return true;
            }
            let room = |at: &u32| {
                let planned = plan
                    .iter()
                    .filter(|other| self.of.of(**other).contains(at))
                    .count();
                let at = *at as usize;
                !self.is_active[at] || self.counts[at] + planned < self.limits[at].max
            };
            if plan.len() < self.left && self.of.of(candidate).iter().all(room) {
                return true;
            }
        }
        let mut trial = Trial {
            counts: self.counts.clone(),
            used: self.used.clone(),
            left: self.left - 1,
        };
        trial.used[candidate] = true;
        let own = self.of.of(candidate).iter();
        own.for_each(|at| trial.counts[*at as usize] += 1);
        self.plan(trial).is_some()
    }

    fn current_plan(&self) -> Option<Vec<usize>> {
        self.plan(Trial {
            counts: self.counts.clone(),
            used: self.used.clone(),
            left: self.left,
        })
    }

    fn mask(&self) -> Vec<bool> {
        let plan = self.current_plan();
        (0..self.of.len())
            .map(|candidate| self.admits(candidate, plan.as_deref()))
            .collect()
    }

    /// The first that may stand next: the first `true` of [`admitted`](Self::admitted), the others not being looked at.
    fn first_admitted(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        let plan = self.current_plan();
        let first = (0..self.of.len()).find(|candidate| self.admits(*candidate, plan.as_deref()));
        first.or_else(|| self.admitted().iter().position(|admitted| *admitted))
    }

    /// Who may stand next. Limits that are not hard give way where nobody may: the last one that helps alone, else the last.
    /// All false if hard limits leave nobody, or no place is left.
    pub fn admitted(&mut self) -> Vec<bool> {
        if self.left == 0 {
            return vec![false; self.of.len()];
        }
        loop {
            let mask = self.mask();
            if mask.contains(&true) || self.used.iter().all(|used| *used) {
                return mask;
            }
            let soft: Vec<usize> = (0..self.limits.len())
                .rev()
                .filter(|at| self.is_active[*at] && !self.limits[*at].hard)
                .collect();
            let helps = soft.iter().copied().find(|at| {
                self.is_active[*at] = false;
                let mask = self.mask();
                self.is_active[*at] = true;
                mask.contains(&true)
            });
            match helps.or(soft.first().copied()) {
                Some(at) => self.is_active[at] = false,
                None => return mask,
            }
        }
    }

    /// Puts a candidate on the slate.
    pub fn put(&mut self, candidate: usize) {
        self.used[candidate] = true;
        self.left = self.left.saturating_sub(1);
        let own = self.of.of(candidate).iter();
        own.for_each(|at| self.counts[*at as usize] += 1);
    }

    /// Names of the limits that gave way.
    pub fn relaxed(&self) -> Vec<String> {
        let gone = self
            .limits
            .iter()
            .zip(&self.is_active)
            .filter(|(_, is_active)| !**is_active);
        gone.map(|(limit, _)| limit.name.clone()).collect()
    }
}

/// True if every limit holds for these items.
pub(crate) fn hold(limits: &[Limit], items: &[u32]) -> bool {
    limits.iter().all(|limit| {
        let count = items.iter().filter(|item| limit.counts(**item)).count();
        (limit.min..=limit.max).contains(&count)
    })
}

/// The first `n` that the limits admit, in their order, each with probability 1.
pub(crate) fn in_order(ordered: Vec<Candidate>, limits: &[Limit], taken: &[u32], n: usize) -> Choice {
    let items: Vec<u32> = ordered.iter().map(|c| c.item).collect();
    let first: Vec<u32> = items.iter().take(n).chain(taken).copied().collect();
    let mut places: Vec<usize> = Vec::new();
    let mut relaxed = Vec::new();
    if hold(limits, &first) {
        places.extend(0..n.min(items.len()));
    } else {
        let mut keeping = Keeping::new(limits, &items, taken, n);
        while places.len() < n {
            let Some(next) = keeping.first_admitted() else {
                break;
            };
            keeping.put(next);
            places.push(next);
        }
        relaxed = keeping.relaxed();
    }
    let mut left: Vec<Option<Candidate>> = ordered.into_iter().map(Some).collect();
    let shown: Vec<Candidate> = places.iter().filter_map(|at| left[*at].take()).collect();
    Choice {
        marginals: vec![1.0; shown.len()],
        slate: shown.into_iter().map(|candidate| (candidate, 1.0)).collect(),
        held_back: left.into_iter().flatten().collect(),
        relaxed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(name: &str, members: Vec<u32>, min: usize, max: usize, hard: bool) -> Limit {
        Limit {
            name: name.to_owned(),
            members,
            min,
            max,
            hard,
        }
    }

    fn candidates(n: u32) -> Vec<Candidate> {
        (0..n)
            .map(|item| Candidate {
                item,
                ..Candidate::default()
            })
            .collect()
    }

    fn shown(limits: &[Limit], taken: &[u32], n: usize) -> (Vec<u32>, Vec<String>) {
        let choice = in_order(candidates(8), limits, taken, n);
        (choice.slate.iter().map(|(c, _)| c.item).collect(), choice.relaxed)
    }

    #[test]
    fn by_hand() {
        let at_most = limit("two", vec![0, 1, 2, 3], 0, 2, true);
        let some = limit("late", vec![6, 7], 1, 9, false);
        assert_eq!(shown(&[], &[], 3).0, [0, 1, 2]);
        assert_eq!(shown(std::slice::from_ref(&at_most), &[], 4).0, [0, 1, 4, 5]);
        assert_eq!(shown(&[at_most.clone(), some.clone()], &[], 4).0, [0, 1, 4, 6]);
        assert_eq!(
            shown(&[at_most, some], &[3], 3).0,
            [0, 4, 6],
            "what is taken counts"
        );
        let none = limit("none", vec![], 1, 9, false);
        let both = [none, limit("late", vec![6, 7], 2, 9, false)];
        assert_eq!(
            shown(&both, &[], 3),
            (vec![0, 6, 7], vec!["none".to_owned()]),
            "only what cannot be"
        );
        let tight = [limit("all", (0..8).collect(), 0, 2, true)];
        assert_eq!(shown(&tight, &[], 5).0, [0, 1], "a hard limit shortens the slate");
    }

    /// True if some slate of `n` of 7 items keeps all limits.
    fn feasible(limits: &[Limit], n: usize) -> bool {
        (0u32..1 << 7)
            .filter(|set| set.count_ones() as usize == n)
            .any(|set| {
                let items: Vec<u32> = (0..7).filter(|item| set & (1 << item) != 0).collect();
                hold(limits, &items)
            })
    }

    proptest! {
        /// Against asking every limit about every item; a member given twice counts once.
        #[test]
        fn an_item_is_found_in_its_limits(
            items in proptest::collection::vec(0u32..40, 0..30),
            members in proptest::collection::vec(proptest::collection::vec(0u32..40, 0..30), 0..6),
        ) {
            let limits: Vec<Limit> = members
                .into_iter()
                .map(|mut members| {
                    members.sort_unstable();
                    limit("one", members, 0, 2, true)
                })
                .collect();
            let members = Members::new(&limits, &items);
            prop_assert_eq!(members.len(), items.len());
            for (place, item) in items.iter().enumerate() {
                let slow: Vec<u32> =
                    (0..limits.len() as u32).filter(|at| limits[*at as usize].counts(*item)).collect();
                prop_assert_eq!(members.of(place), &slow);
                for (at, own) in (0u32..).zip(&members.candidates) {
                    prop_assert_eq!(own.contains(&(place as u32)), slow.contains(&at));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Against all slates: whatever is not named as relaxed holds, hard limits always do, and one group's bounds with one minimum
        /// give way only if no slate keeps them.
        #[test]
        fn limits_hold_or_are_named(
            groups in proptest::collection::vec(0usize..3, 7),
            special in proptest::collection::vec(any::<bool>(), 7),
            caps in proptest::collection::vec(1usize..4, 3),
            min in 0usize..4,
            n in 1usize..6,
        ) {
            let members = |group: usize| (0..7u32).filter(|i| groups[*i as usize] == group).collect::<Vec<_>>();
            let mut limits: Vec<Limit> = (0..3)
                .map(|group| limit(&group.to_string(), members(group), 0, caps[group], true))
                .collect();
            let special = (0..7u32).filter(|i| special[*i as usize]).collect();
            limits.push(limit("min", special, min, 9, false));
            let items: Vec<u32> = (0..7).collect();
            let mut keeping = Keeping::new(&limits, &items, &[], n);
            let mut slowly = Vec::new();
            while let Some(next) = keeping.admitted().iter().position(|admitted| *admitted) {
                keeping.put(next);
                slowly.push(next as u32);
            }
            let choice = in_order(candidates(7), &limits, &[], n);
            let items: Vec<u32> = choice.slate.iter().map(|(c, _)| c.item).collect();
            let first: Vec<u32> = (0..n as u32).collect();
            if !hold(&limits, &first) {
                prop_assert_eq!(&items, &slowly);
                prop_assert_eq!(&choice.relaxed, &keeping.relaxed());
            }
            prop_assert!(hold(&limits[..3], &items));
            if feasible(&limits, n) {
                prop_assert_eq!(choice.relaxed, Vec::<String>::new());
                prop_assert_eq!(items.len(), n);
                prop_assert!(hold(&limits, &items));
            } else if choice.relaxed.is_empty() {
                prop_assert!(items.len() < n);
            }
        }
    }
}
