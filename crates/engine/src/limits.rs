//! Slates within limits: who may stand next, such that the rest can still be filled.

use domain::{Candidate, Choice, Limit};

/// A slate that grows within limits. Candidates go by their place in the list that it was made for.
pub struct Keeping<'a> {
    limits: &'a [Limit],
    /// By candidate, the limits in which it counts.
    of: Vec<Vec<usize>>,
    used: Vec<bool>,
    counts: Vec<usize>,
    is_active: Vec<bool>,
    /// Places left.
    left: usize,
}

/// By item, the limits in which it counts, ascending.
fn memberships(limits: &[Limit], items: &[u32]) -> Vec<Vec<usize>> {
    let mut of = vec![Vec::new(); items.len()];
    let mut order: Vec<(u32, usize)> = items.iter().copied().zip(0..).collect();
    order.sort_unstable();
    for (at, limit) in limits.iter().enumerate() {
        if limit.members.len() * 4 > items.len() {
            // Both ascend, so one walk finds all.
            let mut members = limit.members.iter().peekable();
            for (item, place) in &order {
                while members.next_if(|member| *member < item).is_some() {}
                if members.peek() == Some(&item) {
                    of[*place].push(at);
                }
            }
        } else {
            for member in &limit.members {
                let first = order.partition_point(|(item, _)| item < member);
                let same = order[first..].iter().take_while(|(item, _)| item == member);
                same.for_each(|(_, place)| {
                    if of[*place].last() != Some(&at) {
                        of[*place].push(at);
                    }
                });
            }
        }
    }
    of
}

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
            of: memberships(limits, items),
            used: vec![false; items.len()],
            is_active: vec![true; limits.len()],
            left: places.min(items.len()),
            limits,
        }
    }

    fn is_within(&self, candidate: usize, counts: &[usize]) -> bool {
        let full = |at: &usize| self.is_active[*at] && counts[*at] >= self.limits[*at].max;
        !self.of[candidate].iter().any(full)
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
            let serves = |candidate: usize| {
                let missing = |at: &&usize| self.missing(**at, &trial.counts) > 0;
                self.of[candidate].iter().filter(missing).count()
            };
            // Those that stand in few bounded groups leave most open.
            let open = (0..self.of.len()).filter(|c| !trial.used[*c] && self.is_within(*c, &trial.counts));
            let best = open.max_by_key(|c| {
                let serves = serves(*c);
                let bounded = self.of[*c].len() - serves;
                (serves, std::cmp::Reverse(bounded), std::cmp::Reverse(*c))
            })?;
            if serves(best) == 0 {
                return None;
            }
            self.of[best].iter().for_each(|at| trial.counts[*at] += 1);
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
            let room = |at: &usize| {
                let planned = plan.iter().filter(|other| self.of[**other].contains(at)).count();
                !self.is_active[*at] || self.counts[*at] + planned < self.limits[*at].max
            };
            if plan.len() < self.left && self.of[candidate].iter().all(room) {
                return true;
            }
        }
        let mut trial = Trial {
            counts: self.counts.clone(),
            used: self.used.clone(),
            left: self.left - 1,
        };
        trial.used[candidate] = true;
        self.of[candidate].iter().for_each(|at| trial.counts[*at] += 1);
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
        self.of[candidate].iter().for_each(|at| self.counts[*at] += 1);
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
pub(crate) fn in_order(ordered: &[Candidate], limits: &[Limit], taken: &[u32], n: usize) -> Choice {
    let items: Vec<u32> = ordered.iter().map(|c| c.item).collect();
    let first: Vec<u32> = items.iter().take(n).chain(taken).copied().collect();
    let mut keeping = Keeping::new(limits, &items, taken, n);
    let mut places: Vec<usize> = Vec::new();
    if hold(limits, &first) {
        places.extend(0..n.min(items.len()));
    } else {
        while places.len() < n {
            let Some(next) = keeping.first_admitted() else {
                break;
            };
            keeping.put(next);
            places.push(next);
        }
    }
    let is_shown = |at: &usize| places.contains(at);
    Choice {
        slate: places.iter().map(|at| (ordered[*at].clone(), 1.0)).collect(),
        held_back: (0..items.len())
            .filter(|at| !is_shown(at))
            .map(|at| ordered[at].clone())
            .collect(),
        marginals: vec![1.0; places.len()],
        relaxed: keeping.relaxed(),
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
        let choice = in_order(&candidates(8), limits, taken, n);
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
            let slow = |item: &u32| -> Vec<usize> {
                (0..limits.len()).filter(|at| limits[*at].counts(*item)).collect()
            };
            prop_assert_eq!(memberships(&limits, &items), items.iter().map(slow).collect::<Vec<_>>());
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
            let choice = in_order(&candidates(7), &limits, &[], n);
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
