//! The best slate under constraints, and what each of them costs.
//!
//! Constraints come in order of importance. The slate of the largest sum of scores is sought under the first, under the first two, and so
//! on; one that cannot be kept together with those kept before it gives way, and the record says so. What a constraint cost is the
//! sum of scores under those before it less that with it.
//!
//! Constraints on exposures are on many slates together: here each takes its [prices](crate::exposure) from the scores, from there on. What it cost is counted in
//! scores less the prices before it. It counts as infeasible, and as not kept, while a price stands at its maximum.
//!
//! The search is branch and bound over candidates in the order of their scores: exact, unless it would take more than
//! [`NODES_MAX`] steps; then the best slate found so far is taken, and a constraint for which none was found counts as infeasible.
//! Cost: up to `NODES_MAX` steps for each constraint that the top of the list does not satisfy anyway. Nothing is random.
//!
//! The constraints kept go on as limits, so that they hold on a slate that chance has a hand in, too.

use crate::exposure::{ExposurePrices, Names, PRICE_MAX};
use crate::filter_rule::AttributeSource;
use crate::labels::{AttributeLabels, in_front};
use domain::{Candidate, ConstraintRecord, Limit, PriceRecord, Query, Reranked, Reranker, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most steps of one search.
pub const NODES_MAX: usize = 20_000;
const DAY_MS: f64 = 86_400_000.0;
/// Stands for the value of an attribute that an item does not have.
const NONE: &str = "";

/// One constraint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum Constraint {
    /// No value of an attribute takes more than a share of the slate, rounded up. Items without the attribute are free.
    MaxShare {
        /// Which attribute: a category, tags, ids or a text.
        per: String,
        /// Above 0, at most 1.
        share: f64,
    },
    /// At least so many items that entered the catalogue lately.
    MinNew {
        /// At least so many, from 1.
        count: usize,
        /// Within so many days, above 0.
        days: f64,
    },
    /// At least so many values of an attribute, having none counted as one more. Kept by evenness: with at most ⌊(n − 1) / (count − 1)⌋ of
    /// each value among n items there cannot be fewer.
    MinValues {
        /// Which attribute: a category or a text.
        per: String,
        /// At least so many, from 2.
        count: usize,
    },
    /// Over a window of time, no single item, or no value of an attribute, gets more than a share of all exposures of the placement.
    MaxExposure {
        /// Which attribute: a category, tags, ids or a text; absent for single items. Items without the attribute are free.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        per: Option<String>,
        /// Above 0, at most 1.
        share: f64,
    },
    /// Over a window of time, items with a value get at least a share of all exposures of the placement.
    MinExposure {
        /// Which attribute: a category, tags, ids or a text.
        per: String,
        /// Which value.
        value: String,
        /// Above 0, at most 1.
        share: f64,
    },
}

impl Constraint {
    /// Its name in records.
    pub fn name(&self) -> String {
        match self {
            Constraint::MaxShare { per, share } => format!("max_share {per} {share}"),
            Constraint::MinNew { count, days } => format!("min_new {count} within {days} days"),
            Constraint::MinValues { per, count } => format!("min_values {per} {count}"),
            Constraint::MaxExposure { per: None, share } => format!("max_exposure of an item {share}"),
            Constraint::MaxExposure {
                per: Some(per),
                share,
            } => format!("max_exposure {per} {share}"),
            Constraint::MinExposure { per, value, share } => format!("min_exposure {per} {value} {share}"),
        }
    }

    pub(crate) fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        match self {
            Constraint::MaxShare { share, .. }
            | Constraint::MaxExposure { share, .. }
            | Constraint::MinExposure { share, .. }
                if !(*share > 0.0 && *share <= 1.0) =>
            {
                Err(("share", share.to_string(), "above 0, at most 1"))
            }
            Constraint::MinNew { count: 0, .. } => Err(("count", "0".into(), "at least 1")),
            Constraint::MinNew { days, .. } if !(*days > 0.0 && *days <= 36_500.0) => {
                Err(("days", days.to_string(), "above 0, at most 36500"))
            }
            Constraint::MinValues { count, .. } if *count < 2 => {
                Err(("count", count.to_string(), "at least 2"))
            }
            _ => Ok(()),
        }
    }
}

/// When items entered the catalogue.
pub trait Arrivals: Send + Sync {
    /// When the item did, if anybody knows.
    fn added_at(&self, item: u32) -> Option<Timestamp>;
}

/// See the head of the module.
#[derive(Clone)]
pub(crate) struct ConstrainedReranker {
    pub(crate) attributes: Arc<dyn AttributeSource>,
    pub(crate) arrivals: Arc<dyn Arrivals>,
    pub(crate) names: Arc<dyn Names>,
    pub(crate) prices: Arc<ExposurePrices>,
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) pool: usize,
}

impl ConstrainedReranker {
    /// The bounds that a constraint puts on a slate of `n`.
    pub(crate) fn limits(
        &self,
        constraint: &Constraint,
        query: &Query,
        pool: &[Candidate],
        n: usize,
    ) -> Vec<Limit> {
        let name = constraint.name();
        let grouped = |per: &str, with_none: bool, max: usize| {
            let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for candidate in pool {
                let mut values = AttributeLabels::values(&*self.attributes, candidate.item, per);
                if values.is_empty() && with_none {
                    values.push(NONE.to_owned());
                }
                for value in values {
                    groups.entry(value).or_default().push(candidate.item);
                }
            }
            let bounded = groups.into_values().map(|mut members| {
                members.sort_unstable();
                members.dedup();
                Limit {
                    name: name.clone(),
                    members,
                    min: 0,
                    max,
                    hard: false,
                }
            });
            bounded.filter(|limit| limit.members.len() > max).collect()
        };
        match constraint {
            Constraint::MaxShare { per, share } => {
                grouped(per, false, ((share * n as f64).ceil() as usize).max(1))
            }
            Constraint::MinValues { per, count } => {
                grouped(per, true, (n.saturating_sub(1) / (count - 1)).max(1))
            }
            Constraint::MinNew { count, days } => {
                let is_new = |item: u32| {
                    let added = self.arrivals.added_at(item);
                    added.is_some_and(|added| (query.now.0 - added.0) as f64 <= days * DAY_MS)
                };
                let mut members: Vec<u32> =
                    pool.iter().map(|c| c.item).filter(|item| is_new(*item)).collect();
                members.sort_unstable();
                vec![Limit {
                    name,
                    members,
                    min: *count,
                    max: usize::MAX,
                    hard: false,
                }]
            }
            Constraint::MaxExposure { .. } | Constraint::MinExposure { .. } => Vec::new(),
        }
    }

    /// What a constraint on exposures takes from each of the pool, standard deviations, and the prices that this comes from.
    fn charges(&self, constraint: &Constraint, pool: &[Candidate]) -> (Vec<f64>, Vec<PriceRecord>) {
        let mut charges = vec![0.0; pool.len()];
        let Some(prices) = self.prices.get(&constraint.name()) else {
            return (charges, Vec::new());
        };
        let sign = match constraint {
            Constraint::MinExposure { .. } => -1.0,
            _ => 1.0,
        };
        let mut met: BTreeMap<String, f64> = BTreeMap::new();
        for (charge, candidate) in charges.iter_mut().zip(pool) {
            for of in constraint.counts_as(candidate.item, &*self.attributes, &*self.names) {
                let price = sign * f64::from(prices.get(&of).copied().unwrap_or(0)) / 1000.0;
                *charge += price;
                if price != 0.0 {
                    met.insert(of, price);
                }
            }
        }
        let told = met.into_iter().map(|(of, price)| PriceRecord {
            of,
            price: price as f32,
        });
        (charges, told.collect())
    }
}

/// Standard deviation of scores; 1 if they are all alike.
fn deviation(scores: &[f64]) -> f64 {
    let n = scores.len().max(1) as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / n;
    if variance > 0.0 { variance.sqrt() } else { 1.0 }
}

/// The pool as it is ordered by now: by scores less the prices so far.
struct Priced {
    /// By place in the pool.
    worth: Vec<f64>,
    /// Places in the pool, the most worth first.
    order: Vec<usize>,
    is_priced: bool,
}

impl Priced {
    fn new(scores: &[f64]) -> Priced {
        Priced {
            worth: scores.to_vec(),
            order: (0..scores.len()).collect(),
            is_priced: false,
        }
    }

    fn less(&self, charges: &[f64], unit: f64) -> Priced {
        let worth = self.worth.iter().zip(charges);
        let worth: Vec<f64> = worth.map(|(worth, charge)| worth - charge * unit).collect();
        let mut order: Vec<usize> = (0..worth.len()).collect();
        order.sort_by(|a, b| worth[*b].total_cmp(&worth[*a]).then(a.cmp(b)));
        Priced {
            worth,
            order,
            is_priced: true,
        }
    }

    /// The best `n` under limits, by place in the pool, the most worth first.
    fn best(&self, pool: &[Candidate], limits: &[Limit], n: usize) -> Option<Vec<usize>> {
        let items: Vec<u32> = self.order.iter().map(|at| pool[*at].item).collect();
        let worth: Vec<f64> = self.order.iter().map(|at| self.worth[*at]).collect();
        let (_, found) = best_under(&items, &worth, limits, n)?;
        Some(found.into_iter().map(|at| self.order[at]).collect())
    }

    fn sum(&self, slate: &[usize]) -> f64 {
        slate.iter().map(|at| self.worth[*at]).sum()
    }
}

/// A search for the best `n` of scores in falling order under limits.
struct Search<'a> {
    scores: &'a [f64],
    n: usize,
    limits: &'a [Limit],
    /// By candidate, the limits in which it counts.
    of: Vec<Vec<usize>>,
    /// By limit, how many that count in it stand at each place or behind.
    behind: Vec<Vec<usize>>,
    /// Sums of the scores before each place.
    sums: Vec<f64>,
    counts: Vec<usize>,
    taken: Vec<usize>,
    best: Option<(f64, Vec<usize>)>,
    nodes: usize,
}

impl Search<'_> {
    /// Goes on from a place with a sum so far.
    fn go(&mut self, at: usize, sum: f64) {
        self.nodes += 1;
        let open = self.n - self.taken.len();
        if open == 0 {
            let is_kept = (0..self.limits.len()).all(|l| self.counts[l] >= self.limits[l].min);
            if is_kept && self.best.as_ref().is_none_or(|(best, _)| sum > *best) {
                self.best = Some((sum, self.taken.clone()));
            }
            return;
        }
        if self.nodes > NODES_MAX || at + open > self.scores.len() {
            return;
        }
        let bound = sum + self.sums[at + open] - self.sums[at];
        if self.best.as_ref().is_some_and(|(best, _)| bound <= *best) {
            return;
        }
        for l in 0..self.limits.len() {
            let missing = self.limits[l].min.saturating_sub(self.counts[l]);
            if missing > open || missing > self.behind[l][at] {
                return;
            }
        }
        if self.of[at].iter().all(|l| self.counts[*l] < self.limits[*l].max) {
            for i in 0..self.of[at].len() {
                self.counts[self.of[at][i]] += 1;
            }
            self.taken.push(at);
            self.go(at + 1, sum + self.scores[at]);
            self.taken.pop();
            for i in 0..self.of[at].len() {
                self.counts[self.of[at][i]] -= 1;
            }
        }
        self.go(at + 1, sum);
    }
}

/// The best `n` places of a list in falling order of scores under limits, with the sum of their scores.
pub(crate) fn best_under(
    items: &[u32],
    scores: &[f64],
    limits: &[Limit],
    n: usize,
) -> Option<(f64, Vec<usize>)> {
    let of: Vec<Vec<usize>> = (items.iter())
        .map(|item| (0..limits.len()).filter(|l| limits[*l].counts(*item)).collect())
        .collect();
    let behind = (0..limits.len()).map(|l| {
        let mut behind = vec![0; items.len() + 1];
        for at in (0..items.len()).rev() {
            behind[at] = behind[at + 1] + usize::from(of[at].contains(&l));
        }
        behind
    });
    let behind = behind.collect();
    let mut sums = vec![0.0];
    for score in scores {
        sums.push(sums.last().copied().unwrap_or(0.0) + score);
    }
    let mut search = Search {
        scores,
        n,
        limits,
        of,
        behind,
        sums,
        counts: vec![0; limits.len()],
        taken: Vec::new(),
        best: None,
        nodes: 0,
    };
    search.go(0, 0.0);
    search.best
}

impl Reranker for ConstrainedReranker {
    fn name(&self) -> &'static str {
        "constrained"
    }

    fn rerank(&self, query: &Query, ranked: Vec<Candidate>) -> Reranked {
        let pool = &ranked[..ranked.len().min(self.pool.max(query.n))];
        let n = query.n.min(pool.len());
        let scores: Vec<f64> = pool.iter().map(|c| f64::from(c.score)).collect();
        let mut kept: Vec<Limit> = Vec::new();
        let (mut priced, mut slate) = (Priced::new(&scores), (0..n).collect::<Vec<usize>>());
        let mut out = Reranked::default();
        for constraint in &self.constraints {
            let name = constraint.name();
            let (charges, prices) = self.charges(constraint, pool);
            let limits = self.limits(constraint, query, pool, n);
            let tried: Vec<Limit> = kept.iter().cloned().chain(limits).collect();
            let then = (!prices.is_empty()).then(|| priced.less(&charges, deviation(&scores)));
            let found = if constraint.is_of_exposures() && then.is_none() {
                Some(slate.clone())
            } else {
                then.as_ref().unwrap_or(&priced).best(pool, &tried, n)
            };
            let is_spent =
                (self.prices.get(&name).into_iter().flatten()).any(|(_, milli)| *milli >= PRICE_MAX);
            let is_kept = found.is_some() && !is_spent;
            let given_up = found
                .as_ref()
                .map_or(0.0, |found| priced.sum(&slate) - priced.sum(found));
            out.constraints.push(ConstraintRecord {
                name: name.clone(),
                feasible: is_kept,
                kept: is_kept,
                given_up: given_up.max(0.0) as f32,
                prices: if found.is_some() { prices } else { Vec::new() },
            });
            if !is_kept {
                out.relaxed.push(name);
            }
            if let Some(found) = found {
                (kept, slate) = (tried, found);
                priced = then.unwrap_or(priced);
            }
        }
        if priced.is_priced {
            // Whoever goes by places goes by prices, too.
            let rest = priced.order.iter().filter(|at| !slate.contains(at));
            let rest: Vec<usize> = rest.copied().collect();
            slate.extend(rest);
        }
        out.limits = kept;
        out.chosen = in_front(ranked, &slate);
        out
    }
}
