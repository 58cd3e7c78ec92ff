//! What goes into a decision and what comes out.

use domain::{
    Candidate, Decision, DecisionId, Evidence, ItemId, Policy, Query, Ranker, Reranker, Retriever, Rule,
    Sequence, SnapshotVersion, Steering, UserId,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Items of a snapshot by position.
pub trait CatalogueView {
    /// Number of items; positions are `0..n_items`.
    fn n_items(&self) -> u32;
    /// Id of the item at a position below `n_items`.
    fn item_id(&self, item: u32) -> &ItemId;
}

/// Elapsed time, for the deadline and the timings.
pub trait Clock {
    /// Microseconds since some fixed point, never falling.
    fn micros(&self) -> u64;
}

/// Puts what speaks for an item into words for a person.
pub trait Reasoner: Send + Sync {
    /// One line per reason, most important first.
    fn reasons(&self, query: &Query, candidate: &Candidate, evidence: &Evidence) -> Vec<String>;
}

/// A retriever and how many items it may propose.
#[derive(Clone)]
pub struct Source {
    /// Who proposes.
    pub retriever: Arc<dyn Retriever>,
    /// How many at most.
    pub quota: usize,
}

/// How much of a decision is recorded. What is cut is counted in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Caps {
    /// Candidates recorded, best first.
    pub considered: usize,
    /// Removals recorded; the cap is shared evenly among the rules that removed something.
    pub removals: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Caps {
            considered: 100,
            removals: 50,
        }
    }
}

/// The stages of one placement.
#[derive(Clone)]
pub struct Pipeline {
    /// Its name.
    pub placement: String,
    /// Candidate sources, in order of importance: earlier ones stand first where nothing else decides.
    pub sources: Vec<Source>,
    /// Scores candidates.
    pub ranker: Arc<dyn Ranker>,
    /// Scores them when `ranker` does not.
    pub fallback_ranker: Arc<dyn Ranker>,
    /// Hard rules, cheap ones first: the first that drops an item is the one recorded.
    pub rules: Vec<Arc<dyn Rule>>,
    /// Orders.
    pub reranker: Arc<dyn Reranker>,
    /// Chooses.
    pub policy: Arc<dyn Policy>,
    /// Asked in order when fewer than the items asked for are there (trending, popular); any
    /// eligible item by position comes last of all.
    pub ladder: Vec<Arc<dyn Retriever>>,
    /// Reasons in words.
    pub reasoner: Option<Arc<dyn Reasoner>>,
    /// What is recorded.
    pub caps: Caps,
    /// Microseconds after which no optional stage is started; zero for no limit.
    pub deadline_us: u64,
    /// Parts of it.
    pub budgets: Budgets,
}

/// When stages must have begun, so that one that is slow leaves time to the others. Microseconds from the start of the
/// decision; zero for the deadline alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budgets {
    /// No source is asked after this.
    pub retrieve_us: u64,
    /// The ranker is not asked after this.
    pub rank_us: u64,
}

/// A pipeline that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("placement {placement}, {field}: got {got}, expected {expected}")]
pub struct PipelineError {
    /// Which placement.
    pub placement: String,
    /// Which part.
    pub field: &'static str,
    /// What was there.
    pub got: String,
    /// What should have been.
    pub expected: &'static str,
}

impl Pipeline {
    /// Checks names and quotas; called once, when a pipeline is made.
    ///
    /// # Errors
    /// An empty placement name, two sources of one name, or a quota of zero.
    pub fn check(&self) -> Result<(), PipelineError> {
        let fail = |field, got: &str, expected| PipelineError {
            placement: self.placement.clone(),
            field,
            got: got.to_owned(),
            expected,
        };
        if self.placement.is_empty() {
            return Err(fail("placement", "an empty name", "a name"));
        }
        let mut names = std::collections::BTreeSet::new();
        for source in &self.sources {
            let name = source.retriever.name();
            if !names.insert(name) {
                return Err(fail("sources", name, "each source once"));
            }
            if source.quota == 0 {
                return Err(fail("quota", "0", "at least 1"));
            }
        }
        Ok(())
    }
}

/// One request, resolved to positions.
#[derive(Clone)]
pub struct DecideRequest {
    /// Id that the decision will have.
    pub decision_id: DecisionId,
    /// For whom, if known; for the record only.
    pub user_id: Option<UserId>,
    /// The bundle that the pipeline belongs to.
    pub snapshot: SnapshotVersion,
    /// Last event that the history includes.
    pub sequence: Sequence,
    /// Hash of the effective placement configuration.
    pub config_hash: String,
    /// Experiment arms, by experiment.
    pub arms: Vec<(String, String)>,
    /// Whether to take the scores of what is shown apart. Reasons in words are given in any case.
    pub explain: bool,
    /// Rules of this request alone (a filter, say), checked after those of the pipeline.
    pub rules: Vec<Arc<dyn Rule>>,
    /// What the rules of the product do besides removing.
    pub steering: Option<Arc<dyn Steering>>,
    /// If given, candidates that score less than this share of the way from the weakest to the best are removed, and nothing fills the slate
    /// up.
    pub relevance_min: Option<f32>,
    /// What the stages see.
    pub query: Query,
}

/// A decision, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The record.
    pub decision: Decision,
    /// Microseconds by stage, in the order run, `total` last.
    pub timings_us: Vec<(String, u64)>,
}
