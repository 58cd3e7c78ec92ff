//! Shares of exposures over the whole catalogue, kept by dual prices.
//!
//! A constraint on exposures is one on all slates of a window together, which no slate can keep by itself. Its Lagrangian takes it apart: each
//! capped thing (an item, or a value of an attribute) has a price λ, every slate is the best by scores less prices, and the prices follow from what was shown. After
//! a batch of n exposures of which c went to the thing,
//!
//! λ ← min(λmax, max(0, λ + η · (c − share · n) / √N)),  by at most ±η at a time,
//!
//! which is projected sub-gradient ascent on the dual with the step 1/√N of its theory, N being the exposures of the window (η is `step`). A floor has the sign
//! of c − share · n turned round, and its price is added to the score. A price is in standard deviations of the pool's scores, so that it means the same
//! for every model and person.
//!
//! Sources: Agrawal and Devanur (2014), *Fast algorithms for online stochastic convex programming*, arXiv:1410.7596; Balseiro, Lu and Mirrokni (2023),
//! *The best of many worlds: dual mirror descent for online allocation problems*, Operations Research 71(1), arXiv:2011.10124.
//!
//! What it guarantees: summing the updates, as long as none is cut to ±η and N stays, the exposures of a thing beyond its cap since its price was last 0 are at most
//! λ · √N / η, so that its share goes over the cap by λ / (η √N): with the default step and a price of 1 by 2 percentage points where the window has 10,000 exposures, by 0.2 where
//! it has a million. A larger step holds closer and lets prices swing more, which costs score.
//!
//! Cost: a map entry for every thing shown in each of 24 parts of the window, and one pass over what was shown for each update. Nothing is random.
//! Limits: a cap that candidates do not allow (fewer things than 1 / share, say) sends prices to [`PRICE_MAX`], where it counts as infeasible.

use crate::constrained::Constraint;
use crate::filter_rule::AttributeSource;
use crate::labels::AttributeLabels;
use domain::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// The highest price, thousandths of a standard deviation of the pool's scores: 20.
pub const PRICE_MAX: u32 = 20_000;
/// Hours that count if nobody says.
pub(crate) const WINDOW_HOURS: f64 = 24.0;
/// η if nobody says.
pub(crate) const STEP: f64 = 0.5;
/// Parts in which the window moves on.
const PARTS: i64 = 24;

/// Under which names items stand among prices.
pub trait Names: Send + Sync {
    /// The name of an item.
    fn name(&self, item: u32) -> Option<&str>;
}

/// Prices by name of a constraint, then by what they are of: the name of an item, or a value of an attribute. Thousandths of a standard deviation, so that they stay what
/// they are through any file; what has none costs nothing.
pub type ExposurePrices = BTreeMap<String, BTreeMap<String, u32>>;

/// What a placement's constraints say of exposures.
#[derive(Debug, Clone, PartialEq)]
pub struct ExposureTerms {
    /// Constraints on exposures.
    pub constraints: Vec<Constraint>,
    /// Hours of the window.
    pub window_hours: f64,
    /// η.
    pub step: f64,
}

/// The share of one thing under a constraint.
#[derive(Debug, Clone, PartialEq)]
pub struct ExposureShare {
    /// Name of the constraint.
    pub constraint: String,
    /// Of what.
    pub of: String,
    /// Share of the exposures of the window, 0 to 1.
    pub share: f64,
    /// Its price, standard deviations.
    pub price: f64,
}

impl Constraint {
    /// True for those on the exposures of many slates.
    pub fn is_of_exposures(&self) -> bool {
        matches!(
            self,
            Constraint::MaxExposure { .. } | Constraint::MinExposure { .. }
        )
    }

    /// What an item counts as under a constraint on exposures.
    pub(crate) fn counts_as(
        &self,
        item: u32,
        attributes: &dyn AttributeSource,
        names: &dyn Names,
    ) -> Vec<String> {
        match self {
            Constraint::MaxExposure { per: None, .. } => {
                names.name(item).map(str::to_owned).into_iter().collect()
            }
            Constraint::MaxExposure { per: Some(per), .. } => AttributeLabels::values(attributes, item, per),
            Constraint::MinExposure { per, value, .. } => {
                let mut values = AttributeLabels::values(attributes, item, per);
                values.retain(|known| known == value);
                values
            }
            _ => Vec::new(),
        }
    }
}

/// Exposures of a stretch of time, those under each constraint by what they count as.
#[derive(Debug, Clone, PartialEq, Default)]
struct Counts {
    total: u64,
    of: Vec<BTreeMap<String, u64>>,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.total += other.total;
        self.of.resize(self.of.len().max(other.of.len()), BTreeMap::new());
        for (mine, others) in self.of.iter_mut().zip(&other.of) {
            for (name, count) in others {
                *mine.entry(name.clone()).or_default() += count;
            }
        }
    }

    fn take_out(&mut self, other: &Counts) {
        self.total -= other.total;
        for (mine, others) in self.of.iter_mut().zip(&other.of) {
            for (name, count) in others {
                if let Some(left) = mine.get_mut(name) {
                    *left -= count;
                    if *left == 0 {
                        mine.remove(name);
                    }
                }
            }
        }
    }
}

/// What a placement has shown in the window, and the prices that came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExposureLedger {
    terms: ExposureTerms,
    /// By part of the window, oldest first, with its number.
    parts: VecDeque<(i64, Counts)>,
    /// Sum of the parts.
    window: Counts,
    /// By constraint.
    prices: Vec<BTreeMap<String, f64>>,
}

impl ExposureLedger {
    /// Nothing shown yet, and prices to go on from; those of other constraints are passed over.
    pub fn new(terms: ExposureTerms, prices: &ExposurePrices) -> ExposureLedger {
        let of = |constraint: &Constraint| {
            let known = prices.get(&constraint.name()).into_iter().flatten();
            let in_units = |(name, milli): (&String, &u32)| (name.clone(), f64::from(*milli) / 1000.0);
            known.map(in_units).collect()
        };
        let prices = terms.constraints.iter().map(of).collect();
        ExposureLedger {
            terms,
            parts: VecDeque::new(),
            window: Counts::default(),
            prices,
        }
    }

    fn part_ms(&self) -> i64 {
        ((self.terms.window_hours * 3_600_000.0 / PARTS as f64) as i64).max(1)
    }

    fn counted(&self, shown: &[(u32, u64)], attributes: &dyn AttributeSource, names: &dyn Names) -> Counts {
        let mut counts = Counts {
            total: shown.iter().map(|(_, times)| times).sum(),
            of: vec![BTreeMap::new(); self.terms.constraints.len()],
        };
        for (item, times) in shown {
            for (constraint, of) in self.terms.constraints.iter().zip(&mut counts.of) {
                for name in constraint.counts_as(*item, attributes, names) {
                    *of.entry(name).or_default() += times;
                }
            }
        }
        counts
    }

    fn enter(&mut self, at: Timestamp, counts: &Counts) {
        let number = at.0.div_euclid(self.part_ms());
        let place = self.parts.partition_point(|(known, _)| *known < number);
        if self.parts.get(place).is_none_or(|(known, _)| *known != number) {
            self.parts.insert(place, (number, Counts::default()));
        }
        self.parts[place].1.add(counts);
        self.window.add(counts);
    }

    fn forget(&mut self, now: Timestamp) {
        let oldest = now.0.div_euclid(self.part_ms()) - PARTS;
        while self.parts.front().is_some_and(|(number, _)| *number <= oldest) {
            if let Some((_, gone)) = self.parts.pop_front() {
                self.window.take_out(&gone);
            }
        }
    }

    /// Counts what was shown before, positions and how often, without a change of prices.
    pub fn recall(
        &mut self,
        at: Timestamp,
        shown: &[(u32, u64)],
        attributes: &dyn AttributeSource,
        names: &dyn Names,
    ) {
        let counts = self.counted(shown, attributes, names);
        self.enter(at, &counts);
    }

    /// Counts what was shown since the last time, positions and how often, and moves the prices.
    pub fn settle(
        &mut self,
        now: Timestamp,
        shown: &[(u32, u64)],
        attributes: &dyn AttributeSource,
        names: &dyn Names,
    ) {
        let batch = self.counted(shown, attributes, names);
        self.enter(now, &batch);
        self.forget(now);
        if batch.total == 0 {
            return;
        }
        let (n, scale) = (batch.total as f64, (self.window.total.max(1) as f64).sqrt());
        let most = f64::from(PRICE_MAX) / 1000.0;
        for ((constraint, prices), shown) in
            (self.terms.constraints.iter().zip(&mut self.prices)).zip(&batch.of)
        {
            let (share, sign, always) = match constraint {
                Constraint::MaxExposure { share, .. } => (*share, 1.0, None),
                Constraint::MinExposure { share, value, .. } => (*share, -1.0, Some(value)),
                _ => continue,
            };
            for name in shown.keys().chain(always) {
                prices.entry(name.clone()).or_default();
            }
            for (name, price) in prices.iter_mut() {
                let count = shown.get(name).copied().unwrap_or(0) as f64;
                let by = self.terms.step * sign * (count - share * n) / scale;
                *price = (*price + by.clamp(-self.terms.step, self.terms.step)).clamp(0.0, most);
            }
            prices.retain(|_, price| *price > 0.0);
        }
    }

    /// The prices in force from now on; those that come to nothing are left out.
    pub fn prices(&self) -> ExposurePrices {
        let rounded = |prices: &BTreeMap<String, f64>| -> BTreeMap<String, u32> {
            let milli = prices
                .iter()
                .map(|(name, price)| (name.clone(), (price * 1000.0).round() as u32));
            milli.filter(|(_, milli)| *milli > 0).collect()
        };
        let named = self.terms.constraints.iter().zip(&self.prices);
        let named = named.map(|(constraint, prices)| (constraint.name(), rounded(prices)));
        named.filter(|(_, prices)| !prices.is_empty()).collect()
    }

    /// Exposures in the window.
    pub fn exposures(&self) -> u64 {
        self.window.total
    }

    /// What has the largest share under each constraint, and everything with a price.
    pub fn shares(&self) -> Vec<ExposureShare> {
        let mut out = Vec::new();
        let empty = BTreeMap::new();
        for (at, constraint) in self.terms.constraints.iter().enumerate() {
            let shown = self.window.of.get(at).unwrap_or(&empty);
            let largest = shown
                .iter()
                .max_by_key(|(name, count)| (**count, std::cmp::Reverse(*name)));
            let mut names: Vec<&String> = self.prices[at].keys().collect();
            names.extend(largest.map(|(name, _)| name));
            names.sort_unstable();
            names.dedup();
            out.extend(names.into_iter().map(|name| ExposureShare {
                constraint: constraint.name(),
                of: name.clone(),
                share: shown.get(name).copied().unwrap_or(0) as f64 / self.window.total.max(1) as f64,
                price: self.prices[at].get(name).copied().unwrap_or(0.0),
            }));
        }
        out
    }
}
