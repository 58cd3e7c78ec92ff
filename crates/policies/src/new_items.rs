//! Exposure for new items, on top of any policy, within a budget.
//!
//! At every position, with probability `share`, one of the new items that are left stands there, all alike; else the policy below chooses. As soon as `per_slate` new
//! items stand on the slate, however they came there, or none is left, only the policy below chooses. So
//! - the floor: with f new items left, each has at least `share / f` at every position until the budget is spent;
//! - the budget: what is given away beyond the policy below is at most `per_slate` positions, `share` of each position on average.
//!
//! Conditional probability: `share·[it is new]/f + (1 − share)·(that of the policy below)`: as exact as that one.

use crate::contract::{Chances, SlatePolicy};
use crate::settings::within;
use crate::{Arms, PolicyError};
use numeric::SeededStream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How much new items are given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewItems {
    /// Probability of a new item at each position, 0 to 1.
    pub share: f64,
    /// New items on a slate from which on none is added, 1 to 1,000.
    pub per_slate: usize,
}

impl Default for NewItems {
    fn default() -> Self {
        NewItems {
            share: 0.05,
            per_slate: 1,
        }
    }
}

impl NewItems {
    /// # Errors
    /// The field that cannot be.
    pub fn check(&self) -> Result<(), PolicyError> {
        within("share", self.share, 0.0, 1.0)?;
        within("per_slate", self.per_slate as f64, 1.0, 1000.0)
    }
}

/// Any policy, with a floor for new items.
#[derive(Debug)]
pub struct NewItemFloor {
    /// How much.
    pub new_items: NewItems,
    /// Who chooses otherwise.
    pub base: Box<dyn SlatePolicy>,
}

impl SlatePolicy for NewItemFloor {
    fn name(&self) -> &'static str {
        self.base.name()
    }

    fn version(&self) -> u32 {
        self.base.version()
    }

    fn settings(&self) -> Value {
        let mut settings = self.base.settings();
        if let Some(settings) = settings.as_object_mut() {
            settings.insert("new_items".to_owned(), json!(self.new_items));
        }
        settings
    }

    fn chances<'a>(&'a self, arms: &'a Arms) -> Box<dyn Chances + 'a> {
        Box::new(Floored {
            new_items: self.new_items,
            arms,
            base: self.base.chances(arms),
        })
    }
}

struct Floored<'a> {
    new_items: NewItems,
    arms: &'a Arms,
    base: Box<dyn Chances + 'a>,
}

impl Floored<'_> {
    /// New items that are left and what share is theirs now.
    fn owed(&self, prefix: &[usize]) -> (Vec<usize>, f64) {
        let list = self.arms.list();
        let shown = prefix.iter().filter(|arm| list[**arm].fresh).count();
        if shown >= self.new_items.per_slate {
            return (Vec::new(), 0.0);
        }
        let fresh = |arm: &usize| list[*arm].fresh && list[*arm].open && !prefix.contains(arm);
        let left: Vec<usize> = (0..list.len()).filter(fresh).collect();
        let share = if left.is_empty() {
            0.0
        } else {
            self.new_items.share
        };
        (left, share)
    }
}

impl Chances for Floored<'_> {
    fn next(&mut self, prefix: &[usize], out: &mut [f64]) {
        self.base.next(prefix, out);
        let (left, share) = self.owed(prefix);
        out.iter_mut().for_each(|chance| *chance *= 1.0 - share);
        for arm in &left {
            out[*arm] += share / left.len() as f64;
        }
    }

    fn n_arms(&self) -> usize {
        self.arms.len()
    }

    fn draw_next(&mut self, prefix: &[usize], stream: &mut SeededStream) -> usize {
        let (left, share) = self.owed(prefix);
        if stream.uniform() < share {
            return left[stream.below(left.len() as u64) as usize];
        }
        self.base.draw_next(prefix, stream)
    }

    fn conditionals(&mut self, slate: &[usize]) -> Vec<f64> {
        let base = self.base.conditionals(slate);
        let each = base.iter().enumerate().map(|(t, base)| {
            let (left, share) = self.owed(&slate[..t]);
            let own = if left.contains(&slate[t]) {
                share / left.len() as f64
            } else {
                0.0
            };
            own + (1.0 - share) * base
        });
        each.collect()
    }

    fn marginals(&mut self, n: usize, pairs: &[(usize, usize)]) -> Option<Vec<f64>> {
        let any = self.arms.list().iter().any(|arm| arm.fresh && arm.open);
        if any && self.new_items.share > 0.0 {
            None
        } else {
            self.base.marginals(n, pairs)
        }
    }
}
