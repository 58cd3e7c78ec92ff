//! What the rules of the product move: scores, places taken in advance, bounds.

use crate::decide::Trace;
use crate::guard::guarded;
use crate::positions::PositionMap;
use crate::{CatalogueView, DecideRequest};
use domain::{Adjustment, Candidate, Limit, RuleChange, RuleEffect, RulesRecord, StageError, Steering};
use std::collections::{BTreeMap, HashSet};

/// Rules at work on one request, and the notes of what they did.
pub(crate) struct Steered<'a> {
    request: &'a DecideRequest,
    adjustments: Vec<Adjustment>,
    effects: Vec<RuleEffect>,
}

impl<'a> Steered<'a> {
    pub(crate) fn new(request: &'a DecideRequest) -> Steered<'a> {
        Steered {
            request,
            adjustments: Vec::new(),
            effects: Vec::new(),
        }
    }

    fn by(&self) -> Option<&'a dyn Steering> {
        self.request.steering.as_deref()
    }

    /// Items that a rule wants on the slate, wherever: candidates although no source may propose them.
    pub(crate) fn wanted(&self, trace: &mut Trace<'_>) -> Vec<u32> {
        let Some(by) = self.by() else {
            return Vec::new();
        };
        let pins = guarded(|| Ok(by.pins())).unwrap_or_else(|error| {
            trace.degrade("rules", &error.to_string());
            Vec::new()
        });
        let mut met = HashSet::new();
        let items = pins.into_iter().flat_map(|pin| pin.items);
        items.filter(|item| met.insert(*item)).collect()
    }

    /// Changes the scores of the candidates; true if any was changed.
    pub(crate) fn adjust(&mut self, candidates: &mut [Candidate], trace: &mut Trace<'_>) -> bool {
        let Some(by) = self.by() else {
            return false;
        };
        let adjustments = guarded(|| {
            let all = by.adjust(candidates);
            match all.iter().all(|one| one.by.is_finite()) {
                true => Ok(all),
                false => Err(StageError::Failed(
                    "a rule changed a score by what is no number".into(),
                )),
            }
        });
        match adjustments {
            Ok(adjustments) => self.adjustments = adjustments,
            Err(error) => trace.degrade("rules", &error.to_string()),
        }
        if self.adjustments.is_empty() {
            return false;
        }
        let mut sums: PositionMap<f32> = PositionMap::default();
        for one in &self.adjustments {
            *sums.entry(one.item).or_default() += one.by;
        }
        for candidate in candidates {
            let score = candidate.score + sums.get(&candidate.item).copied().unwrap_or(0.0);
            candidate.score = score.clamp(f32::MIN, f32::MAX);
        }
        true
    }

    /// What rules added to the score of an item.
    pub(crate) fn parts(&self, item: u32) -> impl Iterator<Item = (&str, f32)> {
        let of = self.adjustments.iter().filter(move |one| one.item == item);
        of.map(|one| (&*one.rule, one.by))
    }

    /// Takes pinned candidates out of the lists. By place on the slate, from 0.
    pub(crate) fn pinned(
        &mut self,
        ordered: &mut Vec<Candidate>,
        held_back: &mut Vec<Candidate>,
        n: usize,
        catalogue: &dyn CatalogueView,
    ) -> BTreeMap<usize, Candidate> {
        let mut placed: BTreeMap<usize, Candidate> = BTreeMap::new();
        let Some(pins) = self.by().and_then(|by| guarded(|| Ok(by.pins())).ok()) else {
            return placed;
        };
        for pin in pins {
            let slot = (pin.slot.max(1) - 1..n).find(|slot| !placed.contains_key(slot));
            let Some(slot) = slot else {
                continue;
            };
            let taken: Vec<u32> = placed.values().map(|candidate| candidate.item).collect();
            let fit = pin.items.iter().filter(|item| self.admits(&taken, **item));
            let found = fit.into_iter().find_map(|item| {
                [&mut *ordered, &mut *held_back].into_iter().find_map(|list| {
                    let at = list.iter().position(|candidate| candidate.item == *item)?;
                    Some(list.remove(at))
                })
            });
            if let Some(candidate) = found {
                self.effects.push(RuleEffect {
                    rule: pin.rule,
                    item_id: catalogue.item_id(candidate.item).clone(),
                    change: RuleChange::Pinned {
                        slot: slot as u32 + 1,
                    },
                });
                placed.insert(slot, candidate);
            }
        }
        placed
    }

    /// Bounds on a slate of `n` of these.
    pub(crate) fn limits(&self, candidates: &[Candidate], n: usize, trace: &mut Trace<'_>) -> Vec<Limit> {
        let Some(by) = self.by() else {
            return Vec::new();
        };
        guarded(|| Ok(by.limits(candidates, n))).unwrap_or_else(|error| {
            trace.degrade("rules", &error.to_string());
            Vec::new()
        })
    }

    /// True if `item` may join these by the hard bounds of the rules. A rule that cannot say yes has said no.
    pub(crate) fn admits(&self, slate: &[u32], item: u32) -> bool {
        let n = self.request.query.n;
        self.by()
            .is_none_or(|by| guarded(|| Ok(!by.forbids(slate, item, n))).unwrap_or(false))
    }

    /// Notes who would have stood among the first but for a bound of a rule that the slate has reached.
    pub(crate) fn passed_over(
        &mut self,
        ordered: &[u32],
        slate: &[u32],
        limits: &[Limit],
        catalogue: &dyn CatalogueView,
    ) {
        for (at, item) in ordered.iter().take(slate.len()).enumerate() {
            if slate.contains(item) {
                continue;
            }
            let reached = |limit: &&Limit| {
                limit.counts(*item) && slate.iter().filter(|on| limit.counts(**on)).count() >= limit.max
            };
            if let Some(limit) = limits.iter().find(reached) {
                let rule = limit.name.split('=').next().unwrap_or_default();
                self.effects.push(RuleEffect {
                    rule: rule.to_owned(),
                    item_id: catalogue.item_id(*item).clone(),
                    change: RuleChange::PassedOver { from: at as u32 + 1 },
                });
            }
        }
    }

    /// The record, if a rule applied.
    pub(crate) fn record(self, catalogue: &dyn CatalogueView, cap: usize) -> Option<RulesRecord> {
        let by = self.by()?;
        let active = guarded(|| Ok(by.active())).unwrap_or_default();
        let mut effects = self.effects;
        let room = cap.saturating_sub(effects.len());
        let cut = self.adjustments.len().saturating_sub(room) + effects.len().saturating_sub(cap);
        effects.truncate(cap);
        effects.extend(self.adjustments.into_iter().take(room).map(|one| RuleEffect {
            rule: one.rule.to_string(),
            item_id: catalogue.item_id(one.item).clone(),
            change: RuleChange::Score { by: one.by },
        }));
        Some(RulesRecord {
            version: by.version(),
            active,
            effects,
            effects_cut: cut as u32,
        })
    }
}
