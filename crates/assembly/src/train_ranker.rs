//! Learning a placement's ranker, comparing it with the one in service, and saying which one serves.

use crate::learned::InService;
use crate::ranker_rows::RowsReport;
use crate::rankers::{About, Comparison, RankerFolder, RankerInfo};
use crate::service::{lock, models_dir};
use crate::snapshot::Snapshot;
use crate::{Service, ServiceError};
use ranking::{
    HeadWeight, LearnError, LearnReport, OutcomeModel, PositionMode, RankRows, RankerConfig, RankerKind,
    learn,
};
use serde::Serialize;
use signals::Role;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What learning a ranker came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankerReport {
    /// Placement.
    pub placement: String,
    /// Number of the new ranker.
    pub version: u64,
    /// `decisions`, or `events` where too few decisions were joined.
    pub from: &'static str,
    /// What was joined.
    pub rows: RowsReport,
    /// Heads and how they came out.
    pub learning: LearnReport,
    /// How it did beside the one in service; absent if nothing could be told apart.
    pub comparison: Option<Comparison>,
    /// Whether it serves now: it does unless it did worse.
    pub promoted: bool,
    /// How long it took.
    pub seconds: f64,
}

impl Service {
    /// What each outcome is worth to a placement's ranker: as configured, else the weights of the types of events.
    pub fn head_weights(&self, placement: &str) -> BTreeMap<String, HeadWeight> {
        let configured = self.config.placements.get(placement).map(|p| &p.ranker.weights);
        if let Some(weights) = configured.filter(|weights| !weights.is_empty()) {
            return weights.clone();
        }
        let counted = self
            .config
            .event_types
            .0
            .iter()
            .filter(|(_, c)| c.role != Role::Exposure && c.weight != 0.0);
        let bounded = |weight: f32| HeadWeight {
            weight,
            min: -10.0,
            max: 10.0,
        };
        counted
            .map(|(name, c)| (name.clone(), bounded(c.weight)))
            .collect()
    }

    fn ranker_config(&self, placement: &str) -> Result<&RankerConfig, ServiceError> {
        let Some(found) = self.config.placements.get(placement) else {
            let known: Vec<&str> = self.config.placements.keys().map(String::as_str).collect();
            return Err(ServiceError::input(
                "placement",
                placement,
                format!("one of {}", known.join(", ")),
            ));
        };
        if found.ranker.kind != RankerKind::Trees {
            let field = format!("placements.{placement}.ranker.kind");
            return Err(ServiceError::input(
                field,
                format!("{:?}", found.ranker.kind).to_lowercase(),
                "trees",
            ));
        }
        Ok(&found.ranker)
    }

    /// Placements that rank by trees.
    pub fn ranked_placements(&self) -> Vec<String> {
        let trees = self
            .config
            .placements
            .iter()
            .filter(|(_, p)| p.ranker.kind == RankerKind::Trees);
        trees.map(|(name, _)| name.clone()).collect()
    }

    fn folder(&self, placement: &str) -> RankerFolder {
        RankerFolder::new(&models_dir(&self.dir), placement)
    }

    /// Learns a ranker for a placement from joined decisions, or from the event log while there are too few, publishes it, and puts it in
    /// service unless it does worse than the one in service on later decisions. Blocks until done.
    ///
    /// # Errors
    /// A placement that does not rank by trees, another training under way, or too little to learn from.
    pub fn train_ranker(
        &self,
        placement: &str,
        progress: &dyn Fn(&str),
    ) -> Result<RankerReport, ServiceError> {
        let config = self.ranker_config(placement)?.clone();
        if self.is_training.swap(true, Ordering::SeqCst) {
            return Err(ServiceError::Busy("a training is under way".into()));
        }
        let _under = crate::learn::Under(self);
        let cancel = Arc::new(AtomicBool::new(false));
        lock(&self.training).cancel = cancel.clone();
        let start = self.clock.micros();
        let weights = self.head_weights(placement);
        progress("joining decisions");
        let joined = self.rows_from_decisions(placement, &config, &weights, self.now())?;
        let joined_at = self.stores.log.head();
        let enough = joined.report.is_enough(&config);
        let examination = match config.position {
            PositionMode::None => Vec::new(),
            _ if enough => joined.examination(),
            _ => Vec::new(),
        };
        let (rows, from) = if enough {
            (joined.rows, "decisions")
        } else {
            let setup = self.setup(placement);
            (
                self.rows_from_events(&setup, &self.past()?, progress, cancel)?,
                "events",
            )
        };
        progress("learning the ranker");
        let n_learn = (rows.groups.len() as f64 * (1.0 - config.holdout_share)).round() as usize;
        let (learnt, held) = rows.split(n_learn);
        let seed = self.config.training.seed;
        let made = numeric::on_threads(self.threads(), || {
            learn(&learnt, &weights, &config, &examination, seed)
        });
        let (model, learning) = made.map_err(|error| match error {
            LearnError::TooLittle(why) => ServiceError::TooLittle(why),
            error => ServiceError::Training(error.to_string()),
        })?;
        let comparison = self.compare(placement, &held, &model, &weights, &examination)?;
        let about = About {
            trained_at: self.clock.now(),
            from,
            weights_version: config.weights_version,
            learning: &learning,
            comparison: &comparison,
        };
        let folder = self.folder(placement);
        let version = folder.publish(&model, &about, config.keep)?;
        let promoted = comparison.as_ref().is_none_or(|c| c.difference >= 0.0);
        if promoted {
            folder.promote(version)?;
            self.reload_rankers()?;
        }
        let mut training = lock(&self.training);
        training
            .rankers_at
            .insert(placement.to_owned(), (self.clock.now(), joined_at.0));
        drop(training);
        Ok(RankerReport {
            placement: placement.to_owned(),
            version,
            from,
            rows: joined.report,
            learning,
            comparison,
            promoted,
            seconds: self.clock.micros().saturating_sub(start) as f64 / 1e6,
        })
    }

    /// The new ranker beside the one in service (or the model) on the same later decisions.
    fn compare(
        &self,
        placement: &str,
        held: &RankRows,
        model: &OutcomeModel,
        weights: &BTreeMap<String, HeadWeight>,
        examination: &[f64],
    ) -> Result<Option<Comparison>, ServiceError> {
        let challenger = held.ndcgs(model, weights, examination);
        let in_service = self.snapshot.load().learned.rankers.get(placement).cloned();
        let (champion, champion_name) = match in_service {
            Some(InService { version, model }) => (
                held.ndcgs(&model, weights, examination),
                format!("trees@{version}"),
            ),
            None => {
                let column = held.column("model_score");
                let scores: Vec<f32> = column
                    .into_iter()
                    .map(|s| if s.is_nan() { f32::MIN } else { s })
                    .collect();
                let name = self.config.training.model.clone();
                (held.ndcgs_of(&scores, weights, examination), name)
            }
        };
        if challenger.is_empty() {
            return Ok(None);
        }
        let differences: Vec<f64> = challenger.iter().zip(&champion).map(|(a, b)| a - b).collect();
        let interval = numeric::bootstrap_mean(&differences, 1000, 0.95, self.config.training.seed);
        Ok(Some(Comparison {
            decisions: challenger.len() as u64,
            challenger: numeric::mean(&challenger),
            champion: numeric::mean(&champion),
            champion_name,
            difference: interval.mean,
            low: interval.low,
            high: interval.high,
        }))
    }

    /// One published ranker.
    pub(crate) fn ranker_of(&self, placement: &str, version: u64) -> Result<OutcomeModel, ServiceError> {
        self.folder(placement).load(version)
    }

    /// The version in service for a placement, whether or not it ranks by trees.
    pub(crate) fn ranker_in_service(&self, placement: &str) -> Result<Option<u64>, ServiceError> {
        self.folder(placement).in_service()
    }

    /// All published rankers of placements that rank by trees.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn rankers(&self) -> Result<Vec<RankerInfo>, ServiceError> {
        let mut all = Vec::new();
        for placement in self.ranked_placements() {
            all.extend(self.folder(&placement).list()?);
        }
        Ok(all)
    }

    /// Puts a published version in service.
    ///
    /// # Errors
    /// A placement that does not rank by trees, or a version that is not there or is damaged.
    pub fn promote_ranker(&self, placement: &str, version: u64) -> Result<(), ServiceError> {
        self.ranker_config(placement)?;
        let folder = self.folder(placement);
        if folder.versions()?.contains(&version) {
            folder.load(version)?;
        }
        folder.promote(version)?;
        self.reload_rankers()
    }

    /// Puts the version that was in service before in service again; 0 for none, so that the model ranks.
    ///
    /// # Errors
    /// A placement that does not rank by trees, or one that has had no other ranker.
    pub fn roll_back_ranker(&self, placement: &str) -> Result<u64, ServiceError> {
        self.ranker_config(placement)?;
        let version = self.folder(placement).roll_back()?;
        self.reload_rankers()?;
        Ok(version)
    }

    /// True if the schedule wants this placement's ranker learnt anew: long enough since the last time, and new events since.
    pub fn ranker_due(&self, placement: &str) -> bool {
        let Ok(config) = self.ranker_config(placement) else {
            return false;
        };
        let no_models = self.snapshot.load().models.is_none();
        if config.every_minutes == 0 || no_models || self.is_training.load(Ordering::SeqCst) {
            return false;
        }
        let Some((at, events)) = lock(&self.training).rankers_at.get(placement).copied() else {
            return true;
        };
        let age = self.clock.now().0.saturating_sub(at.0);
        self.stores.log.head().0 > events && age >= i64::from(config.every_minutes) * 60_000
    }

    /// Notes that a scheduled training of a ranker was tried, so that one that fails is not tried again at once.
    pub fn ranker_tried(&self, placement: &str) {
        let tried = (self.clock.now(), self.stores.log.head().0);
        lock(&self.training)
            .rankers_at
            .insert(placement.to_owned(), tried);
    }

    /// Rankers in service as the folders say, and what could not be read.
    pub(crate) fn load_rankers(
        config: &crate::Config,
        dir: &std::path::Path,
    ) -> Result<(BTreeMap<String, InService>, Vec<String>), ServiceError> {
        let (mut rankers, mut warnings) = (BTreeMap::new(), Vec::new());
        let ranked = config
            .placements
            .iter()
            .filter(|(_, p)| p.ranker.kind == RankerKind::Trees);
        for (placement, _) in ranked {
            let folder = RankerFolder::new(&models_dir(dir), placement);
            let Some(version) = folder.in_service()? else {
                continue;
            };
            match folder.load(version) {
                Ok(model) => {
                    rankers.insert(
                        placement.clone(),
                        InService {
                            version,
                            model: Arc::new(model),
                        },
                    );
                }
                Err(error) => {
                    warnings.push(format!("ranker {version} of {placement} is passed over: {error}"))
                }
            }
        }
        Ok((rankers, warnings))
    }

    /// Puts the rankers that the folders name in service.
    fn reload_rankers(&self) -> Result<(), ServiceError> {
        let (rankers, warnings) = Service::load_rankers(&self.config, &self.dir)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let _swap = lock(&self.swap);
        let before = self.snapshot.load_full();
        let mut learned = before.learned.clone();
        learned.rankers = Arc::new(rankers);
        learned.users = Arc::new(self.stores.catalogue.schema(domain::EntityKind::User)?);
        let next = Snapshot::new(
            &self.config,
            before.catalogue.clone(),
            before.models.clone(),
            before.version.models,
            before.version.absorbed,
            before.version.step,
            &self.bandits.beliefs(),
            learned,
        );
        self.snapshot.store(Arc::new(next));
        Ok(())
    }
}
