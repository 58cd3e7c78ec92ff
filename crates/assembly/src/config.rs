//! Configuration of a data folder: one TOML file, unknown keys refused, checked whole at load.

use crate::again::{AGAIN, AgainConfig, CONTINUE};
use crate::bandit::{ActionsConfig, BanditConfig};
use crate::chaos::ChaosConfig;
use crate::choice::PolicyConfig;
use crate::debias::InversePropensityConfig;
use crate::doubly_robust::DoublyRobustConfig;
use crate::order::RerankConfig;
use crate::pages::PageConfig;
use crate::reasons::ReasonsConfig;
use crate::segments::{self, SegmentConfig};
use domain::AttributeKind;
use serde::{Deserialize, Serialize};
use signals::EventTypes;
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the configuration file in a data folder.
pub const CONFIG_FILE: &str = "concierge.toml";

/// Why a configuration cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// Which key, what was there, what was expected.
    pub reason: String,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Events kept per user for serving, 1 to 100,000.
    pub history_events_max: usize,
    /// How often new events are taken into the models, milliseconds, at least 10.
    pub absorb_interval_ms: u64,
    /// Space for the decision log, MiB, at least 1.
    pub decisions_retention_mb: u64,
    /// Days for which decisions are kept, as long as there is space; 0 for as long as there is space.
    pub decisions_retention_days: u32,
    /// Whether an answer waits until its decision is on the disk, together with others that wait. Otherwise it is in the hands of the operating system, which survives the
    /// end of this process but not the end of the machine's power within the second that follows.
    pub decisions_wait_for_disk: bool,
    /// Which events count as what came of a decision.
    pub outcomes: OutcomesConfig,
    /// Limits of the HTTP interface.
    pub server: ServerConfig,
    /// When and what to train.
    pub training: TrainingConfig,
    /// What counts as taken and as begun, for the sources `again` and `continue`.
    pub again: AgainConfig,
    /// Ways to tell segments of people and circumstances apart, by name: each makes the sources `popular-in-NAME` and `trending-in-NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, SegmentConfig>,
    /// Faults put in on purpose; absent, as it should be where people are served, for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chaos: Option<ChaosConfig>,
    /// Attributes that requests bring as context, or of the person on top of the stored ones, by kind: what rules may look at.
    pub context: BTreeMap<String, AttributeKind>,
    /// Surfaces of the product by name.
    pub placements: BTreeMap<String, PlacementConfig>,
    /// Screens of several rows by name.
    pub pages: BTreeMap<String, PageConfig>,
    /// What events are worth.
    pub event_types: EventTypes,
}

/// Which events count as what came of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutcomesConfig {
    /// Hours after a decision in which events that carry its id count, above 0, at most 8,784.
    pub window_hours: f64,
    /// Other hours by type of event.
    pub windows: BTreeMap<String, f64>,
}

impl Default for OutcomesConfig {
    fn default() -> Self {
        OutcomesConfig {
            window_hours: 24.0,
            windows: BTreeMap::new(),
        }
    }
}

/// Limits of the HTTP interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Largest request body, bytes.
    pub max_body_bytes: usize,
    /// Most rows of one batch.
    pub max_batch_rows: usize,
    /// Deepest nesting of JSON.
    pub max_json_depth: usize,
    /// A request that takes longer is given up, milliseconds.
    pub request_timeout_ms: u64,
    /// Requests that wait for a place at work; further ones are turned away with 503, 0 to 100,000.
    pub queue_max: usize,
    /// How long one waits before it is turned away, milliseconds, 1 to 60,000.
    pub queue_wait_ms: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            max_body_bytes: 16 << 20,
            max_batch_rows: 100_000,
            max_json_depth: 16,
            request_timeout_ms: 30_000,
            queue_max: 256,
            queue_wait_ms: 200,
        }
    }
}

/// When and what to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Learner that ranks; its parts are the sources of candidates.
    pub model: String,
    /// Its configuration; absent for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_config: Option<serde_json::Value>,
    /// Learners that need to know nothing of a person: sources, and what fills a slate that the
    /// others leave short, in this order. Those that are parts of `model` are not trained twice.
    pub fallbacks: Vec<String>,
    /// Least minutes between trainings of the schedule; 0 for on demand only.
    pub every_minutes: u32,
    /// Staleness of a model above which the schedule trains anew: share of what it would be trained on now that it does not
    /// reflect, 0 to 1.
    pub staleness_max: f64,
    /// Published bundles to keep in any case, at least 2, so that there is one to fall back to.
    pub keep: usize,
    /// If given, outcomes that carry a decision are weighed by how improbable it was that they could happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inverse_propensity: Option<InversePropensityConfig>,
    /// If given, what could have been shown and was not counts too, by what would have come of it; not together with `inverse_propensity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubly_robust: Option<DoublyRobustConfig>,
    /// Space for all published bundles, MiB: as long as there is room, older ones than `keep` stay, so that decisions that were made with
    /// them can be replayed.
    pub keep_mb: u64,
    /// Source of all randomness.
    pub seed: u64,
    /// Threads; 0 for all.
    pub threads: usize,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        TrainingConfig {
            model: "blend".into(),
            model_config: None,
            fallbacks: vec!["trending".into(), "popular".into()],
            every_minutes: 60,
            staleness_max: 0.05,
            keep: 3,
            inverse_propensity: None,
            doubly_robust: None,
            keep_mb: 1024,
            seed: 1,
            threads: 0,
        }
    }
}

/// One surface of the product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlacementConfig {
    /// Items if the request does not say, 1 to 1,000.
    pub n: usize,
    /// Candidates from each source, 1 to 10,000.
    pub source_quota: usize,
    /// Candidates from single sources where that differs, by name, 1 to 10,000.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub quotas: BTreeMap<String, usize>,
    /// Sources by name; empty for all that the bundle has. `again` (what may be due to be taken again), `continue` (what was
    /// begun and not ended) and those of `segments` are asked only where they are named.
    pub sources: Vec<String>,
    /// Whether items with an event that marks them seen are left out.
    pub exclude_seen: bool,
    /// Time budget, milliseconds; 0 for none.
    pub deadline_ms: u64,
    /// No source is asked later than this, so that time is left for the rest, milliseconds; 0 for the deadline alone.
    pub retrieve_ms: u64,
    /// The ranker is not asked later than this, milliseconds; 0 for the deadline alone.
    pub rank_ms: u64,
    /// How long a slate may be shown again to someone of whom nothing new is known, milliseconds, at most 60,000; 0 for never. Only
    /// where the policy leaves nothing to chance.
    pub slate_cache_ms: u64,
    /// What is recorded.
    pub record: engine::Caps,
    /// What stands between ranking and choice.
    pub rerank: RerankConfig,
    /// Reasons in words.
    pub reasons: ReasonsConfig,
    /// How much is left to chance.
    pub policy: PolicyConfig,
    /// If given, only these items are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<ActionsConfig>,
    /// If given, the placement learns by itself from rewards, and `policy` chooses by what was learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandit: Option<BanditConfig>,
    /// Who ranks, and how a ranker is learnt.
    pub ranker: ranking::RankerConfig,
}

impl Default for PlacementConfig {
    fn default() -> Self {
        PlacementConfig {
            n: 10,
            source_quota: 100,
            quotas: BTreeMap::new(),
            sources: Vec::new(),
            exclude_seen: true,
            deadline_ms: 100,
            retrieve_ms: 60,
            rank_ms: 80,
            slate_cache_ms: 0,
            record: engine::Caps::default(),
            rerank: RerankConfig::default(),
            reasons: ReasonsConfig::default(),
            policy: PolicyConfig::default(),
            actions: None,
            bandit: None,
            ranker: ranking::RankerConfig::default(),
        }
    }
}

impl PlacementConfig {
    /// Candidates from a source.
    pub(crate) fn quota(&self, source: &str) -> usize {
        self.quotas.get(source).copied().unwrap_or(self.source_quota)
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            history_events_max: signals::HISTORY_EVENTS_MAX,
            absorb_interval_ms: 1000,
            decisions_retention_mb: 256,
            decisions_retention_days: 0,
            decisions_wait_for_disk: false,
            outcomes: OutcomesConfig::default(),
            server: ServerConfig::default(),
            training: TrainingConfig::default(),
            again: AgainConfig::default(),
            segments: BTreeMap::new(),
            chaos: None,
            context: ["device", "country", "language", "page"]
                .map(|name| (name.to_owned(), AttributeKind::Category))
                .into(),
            placements: BTreeMap::from([("home".to_owned(), PlacementConfig::default())]),
            pages: BTreeMap::new(),
            event_types: EventTypes::default(),
        }
    }
}

impl Config {
    /// Reads and checks a configuration; `file` is for messages.
    ///
    /// # Errors
    /// The first key that cannot be, with what was there and what was expected.
    pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
        let fail = |reason: String| ConfigError {
            file: file.display().to_string(),
            reason,
        };
        let mut config: Config = toml::from_str(text).map_err(|e| fail(e.to_string()))?;
        config.check().map_err(fail)?;
        if let Some(chaos) = &mut config.chaos {
            chaos.begin();
        }
        Ok(config)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let within = |key: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{key}: got {value}, expected {low} to {high}"))
            }
        };
        within("history_events_max", self.history_events_max as u64, 1, 100_000)?;
        within("absorb_interval_ms", self.absorb_interval_ms, 10, 3_600_000)?;
        within("decisions_retention_mb", self.decisions_retention_mb, 1, 1 << 20)?;
        within(
            "decisions_retention_days",
            u64::from(self.decisions_retention_days),
            0,
            36_600,
        )?;
        let windows = self.outcomes.windows.iter();
        let windows = windows.map(|(name, hours)| (format!("outcomes.windows.{name}"), *hours));
        for (key, hours) in windows.chain([("outcomes.window_hours".to_owned(), self.outcomes.window_hours)])
        {
            if !(hours > 0.0 && hours <= 24.0 * 366.0) {
                return Err(format!("{key}: got {hours}, expected above 0 and at most 8784"));
            }
        }
        within(
            "server.max_body_bytes",
            self.server.max_body_bytes as u64,
            1024,
            1 << 30,
        )?;
        within(
            "server.max_batch_rows",
            self.server.max_batch_rows as u64,
            1,
            10_000_000,
        )?;
        within("server.max_json_depth", self.server.max_json_depth as u64, 4, 100)?;
        within(
            "server.request_timeout_ms",
            self.server.request_timeout_ms,
            10,
            3_600_000,
        )?;
        self.again.check()?;
        if let Some(chaos) = &self.chaos {
            chaos.check()?;
        }
        within("server.queue_max", self.server.queue_max as u64, 0, 100_000)?;
        within("server.queue_wait_ms", self.server.queue_wait_ms, 1, 60_000)?;
        within("training.keep", self.training.keep as u64, 2, 1000)?;
        if let Some(weighed) = &self.training.inverse_propensity {
            let weighed = weighed.check();
            weighed.map_err(|e| format!("training.inverse_propensity.{e}"))?;
        }
        if let Some(robust) = &self.training.doubly_robust {
            robust
                .check()
                .map_err(|e| format!("training.doubly_robust.{e}"))?;
            if self.training.inverse_propensity.is_some() {
                return Err(
                    "training.doubly_robust: got it beside training.inverse_propensity, expected one of both"
                        .to_owned(),
                );
            }
        }
        within("training.keep_mb", self.training.keep_mb, 0, 1 << 20)?;
        let bound = self.training.staleness_max;
        if !(0.0..=1.0).contains(&bound) {
            return Err(format!(
                "training.staleness_max: got {bound}, expected a number from 0 to 1"
            ));
        }
        let Some(entry) = models::trainer(&self.training.model) else {
            let names: Vec<_> = models::trainers().iter().map(|t| t.name).collect();
            return Err(format!(
                "training.model: got {:?}, expected one of {}",
                self.training.model,
                names.join(", ")
            ));
        };
        (entry.build)(
            self.training
                .model_config
                .as_ref()
                .unwrap_or(&serde_json::Value::Null),
        )
        .map_err(|e| format!("training.model_config: {e}"))?;
        for (at, name) in self.training.fallbacks.iter().enumerate() {
            if models::trainer(name).is_none() || *name == self.training.model {
                return Err(format!(
                    "training.fallbacks[{at}]: got {name:?}, expected the name of another learner than training.model"
                ));
            }
            if self.training.fallbacks[..at].contains(name) {
                return Err(format!(
                    "training.fallbacks[{at}]: got {name:?} again, expected each once"
                ));
            }
        }
        if self.placements.is_empty() {
            return Err("placements: got none, expected at least one".into());
        }
        for (name, placement) in &self.placements {
            if name.is_empty() {
                return Err("placements: got an empty name, expected a name".into());
            }
            within(&format!("placements.{name}.n"), placement.n as u64, 1, 1000)?;
            within(
                &format!("placements.{name}.source_quota"),
                placement.source_quota as u64,
                1,
                10_000,
            )?;
            within(
                &format!("placements.{name}.deadline_ms"),
                placement.deadline_ms,
                0,
                60_000,
            )?;
            for (source, quota) in &placement.quotas {
                within(
                    &format!("placements.{name}.quotas.{source}"),
                    *quota as u64,
                    1,
                    10_000,
                )?;
            }
            let before = |source: &&String| *source == AGAIN || *source == CONTINUE;
            if let Some(source) = placement.sources.iter().find(before)
                && placement.exclude_seen
            {
                return Err(format!(
                    "placements.{name}.exclude_seen: got true, expected false where the source {source} proposes what was seen"
                ));
            }
            for (key, value) in [
                ("retrieve_ms", placement.retrieve_ms),
                ("rank_ms", placement.rank_ms),
                ("slate_cache_ms", placement.slate_cache_ms),
            ] {
                within(&format!("placements.{name}.{key}"), value, 0, 60_000)?;
            }
            if let Some(actions) = &placement.actions {
                let actions = actions.check();
                actions.map_err(|e| format!("placements.{name}.{e}"))?;
            }
            match &placement.bandit {
                None => {
                    let policy = placement.policy.check(&self.training);
                    policy.map_err(|e| format!("placements.{name}.policy.{e}"))?;
                }
                Some(bandit) => {
                    let bandit = bandit.check(&placement.policy, &self.event_types);
                    bandit.map_err(|e| format!("placements.{name}.bandit or its policy: {e}"))?;
                }
            }
            let ranker = placement.ranker.check();
            ranker.map_err(|e| format!("placements.{name}.ranker.{e}"))?;
            if let Some(unknown) = placement
                .ranker
                .weights
                .keys()
                .find(|t| self.event_types.get(t).is_none())
            {
                let known: Vec<&str> = self.event_types.0.keys().map(String::as_str).collect();
                let known = known.join(", ");
                return Err(format!(
                    "placements.{name}.ranker.weights: got {unknown:?}, expected one of {known}"
                ));
            }
            let reasons = placement.reasons.check();
            reasons.map_err(|e| format!("placements.{name}.reasons.{e}"))?;
            let rerank = placement.rerank.check(&placement.policy);
            rerank.map_err(|e| format!("placements.{name}.rerank.{e}"))?;
            if placement.bandit.is_some() && placement.rerank.exposure_terms().is_some() {
                return Err(format!(
                    "placements.{name}.rerank.constraints: got some on exposures, expected none where the placement learns by itself: what it learnt \
                     chooses, whatever the order"
                ));
            }
        }
        segments::check(self)?;
        for (name, page) in &self.pages {
            page.check(self).map_err(|e| format!("pages.{name}.{e}"))?;
        }
        self.event_types.check().map_err(|e| e.to_string())
    }

    /// The default configuration as a file.
    pub fn default_toml() -> String {
        Config::default().to_toml()
    }

    /// This configuration as a file.
    pub fn to_toml(&self) -> String {
        let head = "# Configuration of this data folder. Every key is optional; what is left out has the value shown here.\n\
                    # Unknown keys are refused. Changes take effect at the next start; event weights need no new import.\n\n";
        let body = toml::to_string(self).expect("a configuration that was read or built here is valid TOML");
        format!("{head}{body}")
    }
}
