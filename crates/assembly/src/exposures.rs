//! What placements with constraints on exposures have shown, and the prices that keep them.
//!
//! Slates count as they are made, whoever asks for them; orders that were asked for (`/v1/rank`) and previews do not. With the models' updates, at most every ten seconds, what was
//! shown since is settled, and the next snapshot goes by the prices that come of it. They are written into the lineage with the step of that snapshot, which makes them part of
//! what a decision is replayed from, and they go on from there after a restart. Counts of the window are derived from the decision log then.

use crate::catalogue::{LiveCatalogue, Positions};
use crate::service::lock;
use crate::{Config, ServiceError};
use domain::{Decision, Timestamp};
use feedback::DecisionLog;
use rerank::{ExposureLedger, ExposurePrices, ExposureShare, Names};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Prices by placement.
pub(crate) type Prices = BTreeMap<String, ExposurePrices>;

/// Least time between two moves of a placement's prices.
const SETTLE_MS: i64 = 10_000;

impl Names for LiveCatalogue {
    fn name(&self, item: u32) -> Option<&str> {
        Some(self.get(item)?.id.as_str())
    }
}

/// How a placement's constraints on exposures stand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExposureStatus {
    /// Which placement.
    pub placement: String,
    /// Exposures in the window.
    pub exposures: u64,
    /// What has the largest share under each constraint, and everything with a price.
    pub shares: Vec<ShareStatus>,
}

/// The share of one thing under a constraint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShareStatus {
    /// Name of the constraint.
    pub constraint: String,
    /// Of which item, by id, or of which value of the attribute.
    pub of: String,
    /// Share of the exposures of the window, 0 to 1.
    pub share: f64,
    /// Its price, standard deviations of the candidates' scores.
    pub price: f64,
}

struct Slot {
    ledger: ExposureLedger,
    /// Shown since prices moved last, by position.
    waiting: BTreeMap<u32, u64>,
    settled_at: Timestamp,
}

/// All placements with constraints on exposures.
#[derive(Default)]
pub(crate) struct Exposures {
    slots: BTreeMap<String, Mutex<Slot>>,
}

impl Exposures {
    /// Goes on from prices, with the window counted anew from the decisions kept.
    pub(crate) fn open(
        dir: &Path,
        config: &Config,
        prices: &Prices,
        decisions: &DecisionLog,
        catalogue: &LiveCatalogue,
        positions: &Positions,
        now: Timestamp,
    ) -> Result<Exposures, ServiceError> {
        let mut slots: BTreeMap<String, (Slot, i64)> = BTreeMap::new();
        for (name, placement) in &config.placements {
            let Some(terms) = placement.rerank.exposure_terms() else {
                continue;
            };
            let from = now.0 - (terms.window_hours * 3_600_000.0) as i64;
            let slot = Slot {
                ledger: ExposureLedger::new(terms, prices.get(name).unwrap_or(&ExposurePrices::new())),
                waiting: BTreeMap::new(),
                settled_at: Timestamp(0),
            };
            slots.insert(name.clone(), (slot, from));
        }
        if !slots.is_empty() {
            let read = decisions.each(|stored| {
                let is_slate = stored
                    .request
                    .as_ref()
                    .is_some_and(|asked| asked.get("recommend").is_some());
                let decision = stored.decision;
                if let Some((slot, from)) = slots.get_mut(&decision.placement)
                    && is_slate
                    && decision.now.0 > *from
                {
                    let shown = decision.shown.iter();
                    let shown = shown.filter_map(|shown| Some((positions.get(shown.item_id.as_str())?, 1)));
                    let shown: Vec<(u32, u64)> = shown.collect();
                    slot.ledger.recall(decision.now, &shown, catalogue, catalogue);
                }
            });
            read.map_err(|e| ServiceError::io("reading", dir, e))?;
        }
        let slots = slots
            .into_iter()
            .map(|(name, (slot, _))| (name, Mutex::new(slot)));
        Ok(Exposures {
            slots: slots.collect(),
        })
    }

    /// Notes a slate, if its placement counts exposures.
    pub(crate) fn made(&self, decision: &Decision, positions: &Positions) {
        let Some(slot) = self.slots.get(&decision.placement) else {
            return;
        };
        let mut slot = lock(slot);
        for shown in &decision.shown {
            if let Some(position) = positions.get(shown.item_id.as_str()) {
                *slot.waiting.entry(position).or_default() += 1;
            }
        }
    }

    /// Moves the prices by what was shown since, where it is time.
    pub(crate) fn settle(&self, now: Timestamp, catalogue: &LiveCatalogue) {
        for slot in self.slots.values() {
            let mut slot = lock(slot);
            let is_early = (0..SETTLE_MS).contains(&(now.0 - slot.settled_at.0));
            if is_early || slot.waiting.is_empty() {
                continue;
            }
            let shown: Vec<(u32, u64)> = std::mem::take(&mut slot.waiting).into_iter().collect();
            slot.ledger.settle(now, &shown, catalogue, catalogue);
            slot.settled_at = now;
        }
    }

    /// The prices as they are, for the next snapshot: those of before where nothing changed.
    pub(crate) fn prices(&self, before: &Arc<Prices>) -> Arc<Prices> {
        let prices = self.slots.iter();
        let prices = prices.map(|(name, slot)| (name.clone(), lock(slot).ledger.prices()));
        let prices: Prices = prices.filter(|(_, prices)| !prices.is_empty()).collect();
        if prices == **before {
            before.clone()
        } else {
            Arc::new(prices)
        }
    }

    /// How each stands.
    pub(crate) fn status(&self) -> Vec<ExposureStatus> {
        let status = |(name, slot): (&String, &Mutex<Slot>)| {
            let slot = lock(slot);
            let share = |share: ExposureShare| ShareStatus {
                constraint: share.constraint,
                of: share.of,
                share: share.share,
                price: share.price,
            };
            ExposureStatus {
                placement: name.clone(),
                exposures: slot.ledger.exposures(),
                shares: slot.ledger.shares().into_iter().map(share).collect(),
            }
        };
        self.slots.iter().map(status).collect()
    }
}
