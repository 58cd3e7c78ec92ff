//! Small randomised swaps at the top of the list, for learning how much a position itself is worth: the same item is seen at two positions, and the
//! ratio of its click rates there is the ratio of the positions.
//!
//! Three kinds. `pair`: with probability `share` the first item changes places with one of those at 2 … `depth`, all alike. `adjacent`: each of the pairs (1, 2), (3, 4), … down to
//! `depth` is swapped with probability `share`, independently. `shuffle`: with probability `share` the top `depth` come in random order. Where the slate is shorter than `depth`, items from below
//! it come in.
//!
//! All probabilities are closed forms, conditional and marginal. Sources: Joachims, Swaminathan and Schnabel (2017), WSDM, §5.1 (`pair`); Radlinski and Joachims (2006), AAAI (`adjacent`);
//! Wang, Golbandi, Bendersky, Metzler and Najork (2018), WSDM (`shuffle`).

use crate::contract::{Chances, SlatePolicy};
use crate::settings::{parse, shown, within};
use crate::{Arms, PolicyEntry, PolicyError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Its line in the table.
pub(crate) const ENTRY: PolicyEntry = PolicyEntry {
    name: "swaps",
    summary: "small randomised swaps near the top, for measuring what a position is worth",
    source: "Joachims et al. 2017; Radlinski and Joachims 2006; Wang et al. 2018",
    build: |settings| {
        let policy: Swaps = parse(settings)?;
        within("share", policy.share, 0.0, 1.0)?;
        within("depth", policy.depth as f64, 2.0, 100.0)?;
        Ok::<Box<dyn SlatePolicy>, PolicyError>(Box::new(policy))
    },
};

/// What is swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwapKind {
    /// The first with one of those below it.
    Pair,
    /// Neighbours.
    Adjacent,
    /// All of the top.
    Shuffle,
}

/// Swaps near the top.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Swaps {
    /// What is swapped.
    pub kind: SwapKind,
    /// Positions concerned, from the top, 2 to 100.
    pub depth: usize,
    /// Probability that anything is swapped, 0 to 1.
    pub share: f64,
}

impl Default for Swaps {
    fn default() -> Self {
        Swaps {
            kind: SwapKind::Pair,
            depth: 5,
            share: 0.5,
        }
    }
}

impl SlatePolicy for Swaps {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        shown(self)
    }

    fn chances<'a>(&'a self, arms: &'a Arms) -> Box<dyn Chances + 'a> {
        let order = arms.open();
        let mut place = vec![usize::MAX; arms.len()];
        for (at, arm) in order.iter().enumerate() {
            place[*arm] = at;
        }
        let depth = match self.kind {
            SwapKind::Adjacent => self.depth.min(order.len()) / 2 * 2,
            _ => self.depth.min(order.len()),
        };
        let share = if depth < 2 { 0.0 } else { self.share };
        Box::new(Swapped {
            kind: self.kind,
            depth,
            share,
            order,
            place,
        })
    }
}

struct Swapped {
    kind: SwapKind,
    depth: usize,
    share: f64,
    order: Vec<usize>,
    place: Vec<usize>,
}

impl Swapped {
    /// What place of the order stands at position `t` when 0 has changed places with `with`.
    fn after_pair(with: usize, t: usize) -> usize {
        if t == 0 {
            with
        } else if t == with {
            0
        } else {
            t
        }
    }

    /// Weight of the unchanged order, and of each changed one by number, that agree with a prefix of places.
    fn next_places(&self, prefix: &[usize], out: &mut [f64]) {
        let t = prefix.len();
        if t >= self.depth {
            // Below the top nothing is swapped.
            out[t] = 1.0;
            return;
        }
        let same = prefix.iter().enumerate().all(|(at, place)| at == *place);
        let unchanged = if same { 1.0 - self.share } else { 0.0 };
        match self.kind {
            SwapKind::Pair => {
                out[t] += unchanged;
                for with in 1..self.depth {
                    if prefix
                        .iter()
                        .enumerate()
                        .all(|(at, place)| Self::after_pair(with, at) == *place)
                    {
                        out[Self::after_pair(with, t)] += self.share / (self.depth - 1) as f64;
                    }
                }
            }
            SwapKind::Adjacent => {
                if t.is_multiple_of(2) {
                    out[t] = 1.0 - self.share;
                    out[t + 1] = self.share;
                } else {
                    // Whichever of the two is left.
                    out[t - 1] = 1.0;
                    out[t] = 1.0;
                    out[prefix[t - 1]] = 0.0;
                }
            }
            SwapKind::Shuffle => {
                out[t] += unchanged;
                let shuffled = (0..t).fold(self.share, |chance, at| chance / (self.depth - at) as f64);
                let left = (0..self.depth).filter(|place| !prefix.contains(place));
                left.for_each(|place| out[place] += shuffled / (self.depth - t) as f64);
            }
        }
    }

    fn marginal(&self, i: usize, t: usize) -> f64 {
        let same = f64::from(u8::from(i == t));
        if t >= self.depth || i >= self.depth {
            return same;
        }
        let d = self.depth as f64;
        let swapped = match self.kind {
            SwapKind::Pair if i == t && t == 0 => 0.0,
            // Another pair was swapped.
            SwapKind::Pair if i == t => (d - 2.0) / (d - 1.0),
            SwapKind::Pair if i == 0 || t == 0 => 1.0 / (d - 1.0),
            SwapKind::Pair => 0.0,
            SwapKind::Adjacent => f64::from(u8::from(i == (t ^ 1))),
            SwapKind::Shuffle => 1.0 / d,
        };
        (1.0 - self.share) * same + self.share * swapped
    }
}

impl Chances for Swapped {
    fn next(&mut self, prefix: &[usize], out: &mut [f64]) {
        out.fill(0.0);
        if prefix.len() >= self.order.len() {
            return;
        }
        let places: Vec<usize> = prefix.iter().map(|arm| self.place[*arm]).collect();
        let mut by_place = vec![0.0; self.order.len()];
        self.next_places(&places, &mut by_place);
        for (arm, chance) in self.order.iter().zip(by_place) {
            out[*arm] = if prefix.contains(arm) { 0.0 } else { chance };
        }
        let total: f64 = out.iter().sum();
        if total > 0.0 {
            out.iter_mut().for_each(|chance| *chance /= total);
        } else if let Some(first) = self.order.iter().find(|arm| !prefix.contains(arm)) {
            // No slate of this policy begins like this (a floor for new items put something in): go on with the best left.
            out[*first] = 1.0;
        }
    }

    fn n_arms(&self) -> usize {
        self.place.len()
    }

    fn marginals(&mut self, n: usize, pairs: &[(usize, usize)]) -> Option<Vec<f64>> {
        let n = n.min(self.order.len());
        let one = |(arm, t): &(usize, usize)| match self.place[*arm] {
            usize::MAX => 0.0,
            _ if *t >= n => 0.0,
            place => self.marginal(place, *t),
        };
        Some(pairs.iter().map(one).collect())
    }
}
