//! Trending: what is taken more now than its long-run share would have it.
//!
//! With S and L the decayed sums of an item at the short and the long half-life, and ΣS, ΣL those
//! of all items, the score is (max(S, 0) + k) / (max(L, 0)·ΣS/ΣL + k): observed over expected recent
//! strength, drawn towards 1 by k events (`shrinkage`). One is steady, above is rising.
//! The ratio form with additive smoothing is the Gamma–Poisson shrinkage of DuMouchel (1999,
//! "Bayesian data mining in large frequency tables") with a prior of shape and rate k.
//!
//! Cost: one pass; 20 bytes per item. Nothing is random. Ages are counted to the latest event.

use crate::artefact::{Reader, Writer, seal};
use crate::common::{append, parse, require_rows, shown, within};
use crate::decayed::DecayedSums;
use crate::standing::Standing;
use crate::{Model, ModelError, Run, TopItems, Trainer, TrainingData, UpdateGuarantee, UpdateReport};
use dataset::{Interaction, Vocabulary};
use domain::{Contribution, ContributionSource, Explanation, HistoryEvent, ItemId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) const NAME: &str = "trending";

/// Configuration of trending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrendingConfig {
    /// Half-life of what counts as recent, days; below `long_days`. Default 2.
    pub short_days: f64,
    /// Half-life of the long run, days. Default 30.
    pub long_days: f64,
    /// Strength that must have been seen before a ratio is believed by half (k). Default 3.
    pub shrinkage: f64,
}

impl Default for TrendingConfig {
    fn default() -> Self {
        TrendingConfig {
            short_days: 2.0,
            long_days: 30.0,
            shrinkage: 3.0,
        }
    }
}

/// Learns trends.
#[derive(Debug, Clone)]
pub struct TrendingTrainer {
    config: TrendingConfig,
}

impl TrendingTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        let config: TrendingConfig = parse(NAME, config)?;
        within(NAME, "long_days", config.long_days, 0.001, 1e6)?;
        within(
            NAME,
            "short_days",
            config.short_days,
            0.0005,
            config.long_days * 0.999,
        )?;
        within(NAME, "shrinkage", config.shrinkage, 1e-6, 1e9)?;
        Ok(Box::new(TrendingTrainer { config }))
    }
}

impl Trainer for TrendingTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        let interactions = &data.interactions;
        require_rows(interactions)?;
        run.check()?;
        let mut rows = interactions.rows.clone();
        rows.iter_mut()
            .for_each(|r| r.timestamp = r.timestamp.min(data.now));
        rows.sort_by_key(|r| (r.timestamp, r.item));
        let (n_items, start) = (interactions.n_items(), rows[0].timestamp);
        let mut model = Trending {
            standing: Standing::default(),
            vocabulary: Arc::clone(&interactions.items),
            short: DecayedSums::new(self.config.short_days, n_items, start),
            long: DecayedSums::new(self.config.long_days, n_items, start),
            counts: vec![0; n_items],
            shrinkage: self.config.shrinkage,
        };
        rows.iter().for_each(|row| {
            model.take(row);
        });
        Ok(Box::new(model))
    }
}

#[derive(Clone)]
pub(crate) struct Trending {
    vocabulary: Arc<Vocabulary>,
    short: DecayedSums,
    long: DecayedSums,
    counts: Vec<u32>,
    shrinkage: f64,
    standing: Standing,
}

impl Trending {
    /// Items that count with their scores.
    fn scored(&self) -> impl Iterator<Item = (u32, f32)> {
        let items = (0..self.vocabulary.len() as u32).filter(|i| self.knows(*i));
        items.map(|i| (i, self.value(i)))
    }

    fn take(&mut self, row: &Interaction) -> bool {
        let taken = self.short.add(row.item, row.weight, row.timestamp)
            && self.long.add(row.item, row.weight, row.timestamp);
        if taken {
            let count = &mut self.counts[row.item as usize];
            *count = count.saturating_add(1);
        }
        taken
    }

    fn value(&self, item: u32) -> f32 {
        if !self.knows(item) {
            return 0.0;
        }
        let share = self.short.total().max(1e-12) / self.long.total().max(1e-12);
        let expected = self.long.get(item).max(0.0) * share;
        let value = (self.short.get(item).max(0.0) + self.shrinkage) / (expected + self.shrinkage);
        value.clamp(0.0, 1e30) as f32
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.vocabulary(&self.vocabulary);
        self.short.save(to);
        self.long.save(to);
        to.u32s(&self.counts);
        to.f64(self.shrinkage);
    }

    pub(crate) fn load(payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(NAME, payload);
        let vocabulary = from.vocabulary()?;
        let short = DecayedSums::load(&mut from, vocabulary.len())?;
        let long = DecayedSums::load(&mut from, vocabulary.len())?;
        let counts = from.u32s()?;
        from.expect(counts.len() == vocabulary.len(), "a count per item expected")?;
        let shrinkage = from.f64()?;
        from.expect(shrinkage > 0.0, "shrinkage is not above zero")?;
        from.end()?;
        Ok(Box::new(Trending {
            standing: Standing::default(),
            vocabulary,
            short,
            long,
            counts,
            shrinkage,
        }))
    }
}

impl Model for Trending {
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
                    name: "trend".to_owned(),
                },
                model: NAME.into(),
                value: self.value(item),
            }],
        }
    }

    fn guarantee(&self) -> UpdateGuarantee {
        UpdateGuarantee::Exact
    }

    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        _histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport {
        append(&mut self.vocabulary, new_items);
        self.short.grow(self.vocabulary.len());
        self.long.grow(self.vocabulary.len());
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
            if !(known
                && self.short.remove(row.item, row.weight, row.timestamp)
                && self.long.remove(row.item, row.weight, row.timestamp))
            {
                report.ignored += 1;
                continue;
            }
            report.absorbed += 1;
            self.counts[row.item as usize] -= 1;
            if self.counts[row.item as usize] == 0 {
                self.short.clear(row.item);
                self.long.clear(row.item);
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
        self.short.memory_bytes() + self.long.memory_bytes() + self.counts.len() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Timestamp, UserId};

    #[test]
    fn the_riser_leads_and_a_single_event_does_not() {
        let mut rows = dataset::InteractionsBuilder::default();
        let mut push = |user: usize, item: &str, day: i64| {
            rows.push(
                &UserId::new(format!("u{user}")).unwrap(),
                &ItemId::new(item).unwrap(),
                1.0,
                Timestamp(day * 86_400_000),
            );
        };
        (0..200).for_each(|n| push(n, "steady", n as i64 % 60));
        (0..30).for_each(|n| push(n, "riser", 58 + n as i64 % 2));
        push(1, "single", 59);
        let interactions = rows.build();
        let data = TrainingData {
            features: Arc::new(vec![Default::default(); interactions.n_items()]),
            user_features: Arc::default(),
            now: Timestamp(60 * 86_400_000),
            interactions: Arc::new(interactions),
        };
        let trainer = TrendingTrainer::build(&serde_json::Value::Null).unwrap();
        let model = trainer.fit(&data, &Run::new(1, 1)).unwrap();
        let names: Vec<&str> = model
            .recommend(&[], 3, &|_| true)
            .iter()
            .map(|(i, _)| model.vocabulary().id(*i).as_str())
            .collect();
        assert_eq!(names, ["riser", "single", "steady"]);
    }
}
