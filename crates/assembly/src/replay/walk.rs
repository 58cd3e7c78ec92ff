//! A snapshot led from step to step along its lineage.

use crate::absorb::{FromLog, described, updated};
use crate::bandit::Beliefs;
use crate::exposures::Prices;
use crate::learned::Learned;
use crate::lineage::{Entry, Step};
use crate::past::PastCatalogue;
use crate::segments::Segments;
use crate::service::{bind, models_dir};
use crate::snapshot::{Models, Snapshot};
use crate::{Config, Service, ServiceError, bundle};
use domain::Sequence;
use std::sync::Arc;

/// A snapshot that is being led from step to step.
pub(super) struct Walk<'a> {
    models: Option<Models>,
    past: PastCatalogue,
    log: Option<FromLog<'a>>,
    /// Revision at which the changes of the catalogue begin that models are told of.
    from: u64,
    /// Prices of exposure.
    prices: Arc<Prices>,
    /// What is popular in segments, and the event up to which that is counted.
    segments: (Segments, Sequence),
}

impl<'a> Walk<'a> {
    pub(super) fn begin(
        service: &'a Service,
        entries: &[&Entry],
        config: &'a Config,
        bundle: Option<u64>,
    ) -> Result<Walk<'a>, ServiceError> {
        let first = entries.first().map_or(0, |entry| entry.catalogue);
        // After a bundle is bound, it may be told of changes that are older than the first snapshot.
        let from = match entries.get(1).map(|entry| &entry.did) {
            Some(Step::Items { from }) => first.min(*from),
            _ => first,
        };
        let past = PastCatalogue::at(&*service.stores.catalogue, from).map_err(|error| match error {
            ServiceError::Store(domain::StoreError::Input { expected, .. }) => ServiceError::gone(
                "catalogue",
                format!("changes back to revision {from} are not kept; kept are those from {expected}"),
            ),
            other => other,
        })?;
        let models = match bundle {
            None => None,
            Some(number) => {
                let path = bundle::path(&models_dir(&service.dir), number);
                let (info, loaded) = bundle::read(&path)
                    .map_err(|e| ServiceError::gone("bundle", format!("{}: {e}", path.display())))?;
                bind(loaded, &service.live, info.staleness())
            }
        };
        let ranges = entries.iter().filter_map(|entry| match entry.did {
            Step::Absorb { first, last, .. } => Some((first, last)),
            _ => None,
        });
        let ranges: Vec<(u64, u64)> = ranges.collect();
        let log = match (ranges.iter().map(|r| r.0).min(), ranges.iter().map(|r| r.1).max()) {
            (Some(first), Some(last)) => Some(FromLog::new(
                &*service.stores.log,
                &service.live.positions,
                &config.event_types,
                config.history_events_max,
                (Sequence(first), Sequence(last)),
                None,
            )?),
            _ => None,
        };
        Ok(Walk {
            models,
            past,
            log,
            from,
            prices: Arc::default(),
            segments: (Segments::new(config), Sequence::ZERO),
        })
    }

    /// Does again what a step did.
    pub(super) fn go(&mut self, service: &Service, entry: &Entry) -> Result<(), ServiceError> {
        let positions = &service.live.positions;
        if let Some(prices) = &entry.prices {
            self.prices = Arc::new(prices.clone());
        }
        let is_open = matches!(entry.did, Step::Open { .. });
        // The first step may be followed by one that tells the models what happened before it.
        let told = if is_open && self.from < entry.catalogue {
            Vec::new()
        } else {
            self.past.advance(entry.catalogue, positions)
        };
        match entry.did {
            Step::Items { .. } => {
                self.models = self
                    .models
                    .as_ref()
                    .map(|models| described(models, positions, &told));
            }
            Step::Absorb { first, last, count } => {
                let Some(log) = &mut self.log else {
                    return Ok(());
                };
                let found = log.range(Sequence(first), Sequence(last))?;
                if found.len() as u64 != count {
                    let detail = format!(
                        "the models had taken in {count} events from {first} to {last}, the log has {} of them; the others were erased",
                        found.len()
                    );
                    return Err(ServiceError::gone("events", detail));
                }
                self.models = self
                    .models
                    .as_ref()
                    .map(|models| updated(models, positions, &found));
            }
            Step::Erase => {
                let detail = "somebody was taken out of the models, and what they did is not kept".to_owned();
                return Err(ServiceError::gone("events", detail));
            }
            Step::Open { .. } | Step::See => {}
        }
        Ok(())
    }

    pub(super) fn snapshot(
        &mut self,
        service: &Service,
        entry: &Entry,
        config: &Config,
        bundle: Option<u64>,
    ) -> Result<Snapshot, ServiceError> {
        let positions = &service.live.positions;
        self.past.advance(entry.catalogue, positions);
        let catalogue = self
            .past
            .view(positions, usize::try_from(entry.items).unwrap_or(usize::MAX));
        if (catalogue.len() as u64, catalogue.digest) != (entry.items, entry.digest) {
            let detail = format!(
                "the positions of the first {} items are not those of then",
                entry.items
            );
            return Err(ServiceError::gone("positions", detail));
        }
        let absorbed = Sequence(entry.absorbed);
        let (segments, counted) = &mut self.segments;
        service.count_segments(segments, config, (*counted, absorbed))?;
        *counted = absorbed.max(*counted);
        if entry.segments.is_some_and(|digest| digest != segments.digest()) {
            let detail = "what was popular in segments cannot be counted as then: events were erased, or attributes of people have changed since";
            return Err(ServiceError::gone("segments", detail));
        }
        let segments = segments.clone();
        let models = self.models.clone();
        let learned = Learned {
            counts: Arc::new(service.counts_up_to(absorbed, config)?),
            users: Arc::new(service.stores.catalogue.schema(domain::EntityKind::User)?),
            prices: self.prices.clone(),
            segments,
            ..Learned::default()
        };
        Ok(Snapshot::new(
            config,
            Arc::new(catalogue),
            models,
            bundle.unwrap_or(0),
            absorbed,
            entry.step,
            &Beliefs::default(),
            learned,
        ))
    }
}
