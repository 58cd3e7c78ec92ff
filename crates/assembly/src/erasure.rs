//! Removing a person: from log, states, catalogue, decisions, and from the models in service.

use crate::ServiceError;
use crate::absorb::with_moved;
use crate::bundle;
use crate::catalogue::NOWHERE;
use crate::lineage::Step;
use crate::segments::Segments;
use crate::service::{ErasureReport, Service, lock, models_dir};
use crate::snapshot::Models;
use dataset::Interaction;
use domain::{Sequence, Timestamp, UserId};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One event of a person who goes, by catalogue position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone {
    sequence: Sequence,
    item: u32,
    weight: f32,
    timestamp: Timestamp,
}

/// Entries that go, at most: pairs whose strength is above zero, each counted fully.
fn entries(gone: &[Gone]) -> f64 {
    let mut sums = std::collections::BTreeMap::<u32, f32>::new();
    gone.iter()
        .for_each(|event| *sums.entry(event.item).or_default() += event.weight);
    sums.values().filter(|sum| **sum > 0.0).count() as f64
}

impl Service {
    /// Removes a user from log, states, catalogue and decision log, and from the models in service as far as each can take
    /// somebody out; what remains counts as staleness and is gone with the next training.
    ///
    /// # Errors
    /// An id that cannot be, or a store's.
    pub fn erase_user(&self, id: &str) -> Result<ErasureReport, ServiceError> {
        let user = UserId::new(id).map_err(|e| ServiceError::input("user_id", id, e.to_string()))?;
        // No snapshot is made meanwhile, and no training begins to read.
        let _swap = lock(&self.swap);
        let gone = self.learnt_from(&user)?;
        let erased = {
            let mut training = lock(&self.training);
            let erased = self.stores.log.erase_user(&user)?;
            training.replay.retain(|pending| pending.event.user_id != user);
            if training.has_read {
                training.gone.push(gone.clone());
            }
            erased
        };
        self.live.forget(&user);
        self.live.states.erase(&user);
        let renamed = self.bandits.erase(&user, self.clock.now())?;
        self.take_out(&gone)?;
        self.see_new_items(renamed);
        let attributes = self.stores.catalogue.erase_user(&user)?;
        self.people.changed(&user);
        self.slates.forget(&user);
        let decisions = self
            .decisions
            .erase_user(&user)
            .map_err(|e| ServiceError::io("erasing from", &self.dir.join("decisions"), e))?;
        Ok(ErasureReport {
            user_id: id.to_owned(),
            events: erased.events,
            decisions,
            attributes,
        })
    }

    /// What models may have learnt from a person: events that count.
    fn learnt_from(&self, user: &UserId) -> Result<Vec<Gone>, ServiceError> {
        if self.snapshot.load().models.is_none() && !self.is_training.load(Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let mut gone = Vec::new();
        for stored in self.stores.log.last_of_user(user, usize::MAX)? {
            let weight = self.config.event_types.strength(&stored.event);
            if let Some(weight) = weight.filter(|weight| *weight != 0.0) {
                gone.push(Gone {
                    sequence: stored.sequence,
                    item: self.live.positions.insert(&stored.event.item_id),
                    weight,
                    timestamp: stored.event.timestamp.min(now),
                });
            }
        }
        Ok(gone)
    }

    /// Takes somebody out of the models in service. Call with `swap` held.
    fn take_out(&self, gone: &[Gone]) -> Result<(), ServiceError> {
        let before = self.snapshot.load_full();
        let (Some(models), false) = (&before.models, gone.is_empty()) else {
            return Ok(());
        };
        let version = before.version;
        let taken_in: Vec<Gone> = gone
            .iter()
            .filter(|g| g.sequence <= version.absorbed)
            .copied()
            .collect();
        if taken_in.is_empty() {
            return Ok(());
        }
        let models = self.without(models, &taken_in);
        let mut learned = before.learned.clone();
        if !learned.segments.is_empty() {
            learned.segments = Segments::new(&self.config);
            self.count_segments(
                &mut learned.segments,
                &self.config,
                (Sequence::ZERO, version.absorbed),
            )?;
        }
        let catalogue = before.catalogue.with(&self.live.positions, Vec::new());
        self.put_in_place(
            Step::Erase,
            catalogue,
            Some(models),
            version.models,
            version.absorbed,
            learned,
        );
        // The bundle on disk still has what it learnt: a restart must know.
        let dir = models_dir(&self.dir);
        let trained = lock(&self.training).trained_to;
        let learnt: Vec<Gone> = gone.iter().filter(|g| g.sequence <= trained).copied().collect();
        bundle::note_erased(&dir, version.models, entries(&learnt))
    }

    /// New models without those who went after the training had read. Call with `swap` held.
    pub(crate) fn without_gone(
        &self,
        models: Models,
        number: u64,
        learnt_to: Sequence,
    ) -> Result<(Models, bool), ServiceError> {
        let (mut models, mut any) = (models, false);
        let all = std::mem::take(&mut lock(&self.training).gone);
        for gone in all {
            let learnt: Vec<Gone> = gone.into_iter().filter(|g| g.sequence <= learnt_to).collect();
            any |= !learnt.is_empty();
            models = self.without(&models, &learnt);
            bundle::note_erased(&models_dir(&self.dir), number, entries(&learnt))?;
        }
        Ok((models, any))
    }

    /// The models without these events of one person. Where outcomes were weighted in training, by what is not known
    /// here, what is taken out is not what was learnt, and counts as moved in full.
    fn without(&self, models: &Models, gone: &[Gone]) -> Models {
        if gone.is_empty() {
            return models.clone();
        }
        models.map(|bound| {
            let mut model = bound.model.fork();
            let local = |g: &Gone| Interaction {
                user: 0,
                item: bound.local(g.item),
                weight: g.weight,
                timestamp: g.timestamp,
            };
            let mut events: Vec<Interaction> = gone.iter().map(local).collect();
            events.retain(|event| event.item != NOWHERE);
            events.sort_by_key(|event| event.timestamp);
            let mut report = model.erase(&events);
            let training = &self.config.training;
            if training.inverse_propensity.is_some() || training.doubly_robust.is_some() {
                let entries = entries(gone);
                report.moved += entries;
                report.parts.iter_mut().for_each(|moved| *moved += entries);
            }
            Arc::new(with_moved(
                bound.grown(Arc::from(model), &self.live.positions),
                &report,
            ))
        })
    }
}
