//! Decayed popularity: the sum of strengths, each halved every `half_life_days`.
//!
//! Input: interactions with moments. Cost: one pass; 12 bytes per item. Nothing is random.
//! Ages are counted to the latest event taken in, which scales all scores alike. Without a
//! half-life in the configuration, the longest of a week to no decay at all is taken that gives the last tenth of the
//! events about the highest likelihood given the nine tenths before.
//! Limits: not personal; one user's many events all count; an event dated in the future ages all others.

use crate::artefact::{Reader, Writer, seal};
use crate::common::{append, parse, require_rows, shown, within};
use crate::decayed::DecayedSums;
use crate::standing::Standing;
use crate::{Model, ModelError, Run, TopItems, Trainer, TrainingData, UpdateGuarantee, UpdateReport};
use dataset::{Interaction, Vocabulary};
use domain::{Contribution, ContributionSource, Explanation, HistoryEvent, ItemId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) const NAME: &str = "popular";

/// Half-lives tried when none is given, days.
const TRIED_DAYS: [f64; 6] = [7.0, 30.0, 90.0, 365.0, 1460.0, f64::INFINITY];
/// Gain in log-likelihood per unit of strength for which a shorter half-life is taken: forgetting costs
/// items with few events most, so it must pay.
const GAIN_MIN: f64 = 0.05;

/// Configuration of decayed popularity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PopularConfig {
    /// Days in which an event loses half its strength; if not given, chosen from the data.
    pub half_life_days: Option<f64>,
}

/// Learns decayed popularity.
#[derive(Debug, Clone)]
pub struct PopularTrainer {
    config: PopularConfig,
}

impl PopularTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        let config: PopularConfig = parse(NAME, config)?;
        if let Some(days) = config.half_life_days {
            within(NAME, "half_life_days", days, 0.001, 1e6)?;
        }
        Ok(Box::new(PopularTrainer { config }))
    }
}

impl Trainer for PopularTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        let interactions = &data.interactions;
        require_rows(interactions)?;
        let mut rows = interactions.rows.clone();
        rows.iter_mut()
            .for_each(|r| r.timestamp = r.timestamp.min(data.now));
        rows.sort_by_key(|r| (r.timestamp, r.item));
        run.check()?;
        let n_items = interactions.n_items();
        let half_life = self
            .config
            .half_life_days
            .unwrap_or_else(|| likeliest_half_life(&rows, n_items));
        let mut model = Popular {
            standing: Standing::default(),
            vocabulary: Arc::clone(&interactions.items),
            sums: DecayedSums::new(half_life, n_items, rows[0].timestamp),
            counts: vec![0; n_items],
            chosen: self.config.half_life_days.is_none(),
        };
        rows.iter().for_each(|row| {
            model.take(row);
        });
        Ok(Box::new(model))
    }
}

/// The half-life under which the last tenth of the rows (by time) is likeliest.
fn likeliest_half_life(rows: &[Interaction], n_items: usize) -> f64 {
    let (past, future) = rows.split_at(rows.len() - rows.len() / 10);
    let likelihood = |half_life: f64| {
        let mut sums = DecayedSums::new(half_life, n_items, past[0].timestamp);
        for row in past {
            sums.add(row.item, row.weight.max(0.0), row.timestamp);
        }
        let floor = 0.01 * sums.total().max(1e-9) / n_items as f64;
        let total = sums.total() + floor * n_items as f64;
        future
            .iter()
            .map(|row| f64::from(row.weight.max(0.0)) * ((sums.get(row.item) + floor) / total).ln())
            .sum::<f64>()
    };
    let strength: f64 = future.iter().map(|row| f64::from(row.weight.max(0.0))).sum();
    let tried = TRIED_DAYS.map(|days| (days, likelihood(days)));
    let best = tried.iter().map(|t| t.1).fold(f64::NEG_INFINITY, f64::max);
    let near = |t: &&(f64, f64)| t.1 >= best - GAIN_MIN * strength;
    tried.iter().rev().find(near).map_or(f64::INFINITY, |t| t.0)
}

#[derive(Clone)]
pub(crate) struct Popular {
    vocabulary: Arc<Vocabulary>,
    sums: DecayedSums,
    counts: Vec<u32>,
    /// True if the half-life was taken from the data.
    chosen: bool,
    standing: Standing,
}

impl Popular {
    /// Items that count with their scores.
    fn scored(&self) -> impl Iterator<Item = (u32, f32)> {
        let items = (0..self.vocabulary.len() as u32).filter(|i| self.knows(*i));
        items.map(|i| (i, self.value(i)))
    }

    fn take(&mut self, row: &Interaction) -> bool {
        let taken = self.sums.add(row.item, row.weight, row.timestamp);
        if taken {
            let count = &mut self.counts[row.item as usize];
            *count = count.saturating_add(1);
        }
        taken
    }

    fn value(&self, item: u32) -> f32 {
        (self.sums.get(item)).clamp(-1e30, 1e30) as f32
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.vocabulary(&self.vocabulary);
        self.sums.save(to);
        to.u32s(&self.counts);
        to.u32(u32::from(self.chosen));
    }

    pub(crate) fn load(payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(NAME, payload);
        let vocabulary = from.vocabulary()?;
        let sums = DecayedSums::load(&mut from, vocabulary.len())?;
        let counts = from.u32s()?;
        from.expect(counts.len() == vocabulary.len(), "a count per item expected")?;
        let chosen = from.u32()? != 0;
        from.end()?;
        Ok(Box::new(Popular {
            standing: Standing::default(),
            vocabulary,
            sums,
            counts,
            chosen,
        }))
    }
}

impl Model for Popular {
    /// Nothing for a half-life without end.
    fn settled(&self) -> serde_json::Map<String, serde_json::Value> {
        let days = Some(self.sums.half_life_days()).filter(|days| days.is_finite());
        days.map(|days| ("half_life_days".to_owned(), days.into()))
            .into_iter()
            .collect()
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    fn knows(&self, item: u32) -> bool {
        self.counts.get(item as usize).is_some_and(|c| *c > 0)
    }

    fn personal(&self, _history: &[HistoryEvent]) -> bool {
        false
    }

    fn score(&self, _history: &[HistoryEvent], candidates: &[u32], scores: &mut [f32]) {
        for (item, score) in candidates.iter().zip(scores) {
            *score = self.value(*item);
        }
    }

    fn recommend(&self, _history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        let scored = || self.scored();
        self.standing.best(&self.vocabulary, n, allowed, scored)
    }

    fn similar(&self, _item: u32, _n: usize, _allowed: &dyn Fn(u32) -> bool) -> TopItems {
        Vec::new()
    }

    fn explain(&self, _history: &[HistoryEvent], item: u32) -> Explanation {
        Explanation {
            contributions: vec![Contribution {
                source: ContributionSource::Base {
                    name: "popularity".to_owned(),
                },
                model: NAME.into(),
                value: self.value(item),
            }],
        }
    }

    fn guarantee(&self) -> UpdateGuarantee {
        if self.chosen {
            UpdateGuarantee::Bounded("the half-life chosen in training is kept; exact for it")
        } else {
            UpdateGuarantee::Exact
        }
    }

    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        _histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport {
        append(&mut self.vocabulary, new_items);
        self.sums.grow(self.vocabulary.len());
        self.counts.resize(self.vocabulary.len(), 0);
        let absorbed = interactions.iter().filter(|row| self.take(row)).count();
        // Better now than in somebody's request.
        self.standing = Standing::default();
        self.warm();
        UpdateReport {
            absorbed,
            ignored: interactions.len() - absorbed,
            moved: 0.0,
            ..UpdateReport::default()
        }
    }

    fn erase(&mut self, events: &[Interaction]) -> UpdateReport {
        let mut report = UpdateReport::default();
        for row in events {
            let known = self.counts.get(row.item as usize).is_some_and(|count| *count > 0);
            if !(known && self.sums.remove(row.item, row.weight, row.timestamp)) {
                report.ignored += 1;
                continue;
            }
            report.absorbed += 1;
            self.counts[row.item as usize] -= 1;
            if self.counts[row.item as usize] == 0 {
                self.sums.clear(row.item);
            }
        }
        self.standing = Standing::default();
        self.warm();
        report
    }

    fn warm(&self) {
        self.standing.first(&self.vocabulary, &|| self.scored());
    }

    fn fork(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn save(&self, to: &mut Vec<u8>) {
        seal(NAME, to, |to| self.write(to));
    }

    fn memory_bytes(&self) -> usize {
        self.sums.memory_bytes() + self.counts.len() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;

    #[test]
    fn the_half_life_follows_the_data() {
        let row = |n: i64, item: u32| Interaction {
            user: 0,
            item,
            weight: 1.0,
            timestamp: Timestamp(n * 3_600_000),
        };
        // Five items in turn for ever, and five that replace each other every eight days.
        let steady: Vec<_> = (0..2000).map(|n| row(n, (n % 5) as u32)).collect();
        let moving: Vec<_> = (0..2000).map(|n| row(n, (n / 200) as u32)).collect();
        assert_eq!(likeliest_half_life(&steady, 10), f64::INFINITY);
        assert!(likeliest_half_life(&moving[..1900], 10) <= 30.0);
    }
}
