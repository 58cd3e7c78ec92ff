//! The stages of a decision, as traits. All are synchronous and object-safe: one dynamic call per
//! component and request. Items are numbers here: positions in the snapshot's catalogue.

use crate::{
    Attributes, Candidate, ConstraintRecord, ContributionSource, Explanation, FeatureRecord, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One thing someone did, as models see it: no user id, only what and how strongly and how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// Position of the item.
    pub item: u32,
    /// Strength, decayed to the moment of the decision; negative for dislike. Finite.
    pub weight: f32,
    /// Age at the moment of the decision, days, not negative.
    pub age_days: f32,
}

/// Everything that a stage may know of a request: a pure value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// The moment of the decision.
    pub now: Timestamp,
    /// What the person did, oldest first, one entry per item (strengths of one item are added).
    pub history: Vec<HistoryEvent>,
    /// Items that the person has seen outcomes for or asked not to see, ascending.
    pub seen: Vec<u32>,
    /// What is known of the person.
    pub user_attributes: Attributes,
    /// Circumstances of the request.
    pub context: Attributes,
    /// The item that the placement is about, if any.
    pub anchor: Option<u32>,
    /// Items that the caller excludes, ascending.
    pub excluded: Vec<u32>,
    /// If given, only these may be shown, ascending.
    pub only: Option<Vec<u32>>,
    /// Items asked for.
    pub n: usize,
    /// Source of all randomness in this decision.
    pub seed: u64,
}

/// Why a stage gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// It is not ready (no model yet, say).
    #[error("not ready: {0}")]
    NotReady(String),
    /// It ran out of time.
    #[error("out of time")]
    Late,
    /// It failed.
    #[error("failed: {0}")]
    Failed(String),
}

/// Stage 2: proposes candidates.
///
/// Promises: at most `budget` items, none twice, only those that `allowed` admits; the same query
/// gives the same list.
pub trait Retriever: Send + Sync {
    /// Its name, stamped on what it proposes.
    fn name(&self) -> &str;
    /// Proposes up to `budget` items with its own scores, best first.
    fn retrieve(
        &self,
        query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError>;
}

/// What a ranker says of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Its score, finite.
    Score(f32),
    /// No score, and why.
    Unscorable(String),
}

/// What speaks for one item, in short.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Items of the history with what they add to the score; an item may come several times.
    pub history: Vec<(u32, f32)>,
    /// What all the rest adds.
    pub rest: f32,
}

impl From<&Explanation> for Evidence {
    fn from(explanation: &Explanation) -> Evidence {
        let mut evidence = Evidence::default();
        for part in &explanation.contributions {
            match part.source {
                ContributionSource::History { item } => evidence.history.push((item, part.value)),
                _ => evidence.rest += part.value,
            }
        }
        evidence
    }
}

/// Stage 3: scores candidates.
///
/// Promises: one outcome per candidate in order; a candidate's outcome does not depend on the
/// others.
pub trait Ranker: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
    /// Scores every candidate.
    fn rank(&self, query: &Query, candidates: &[Candidate]) -> Result<Vec<Outcome>, StageError>;
    /// Takes one score apart; the parts sum to it.
    fn explain(&self, query: &Query, item: u32) -> Explanation;
    /// What speaks for each of these candidates, in short and in their order: the same sums as those of
    /// [`explain_candidate`](Ranker::explain_candidate). Asked for what is shown.
    fn evidence(&self, query: &Query, candidates: &[&Candidate]) -> Vec<Evidence> {
        let one = |candidate: &&Candidate| Evidence::from(&self.explain_candidate(query, candidate));
        candidates.iter().map(one).collect()
    }
    /// Takes the score of one candidate apart. Rankers that look at who proposed it override this.
    fn explain_candidate(&self, query: &Query, candidate: &Candidate) -> Explanation {
        self.explain(query, candidate.item)
    }
    /// What it knew of these candidates, for the record; `None` if it keeps no features. Asked for what is shown.
    fn features(&self, query: &Query, candidates: &[&Candidate]) -> Option<FeatureRecord> {
        let _ = (query, candidates);
        None
    }
}

/// Keep, or drop with a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// May be shown.
    Keep,
    /// May not, for this reason (a short fixed word such as `seen`).
    Drop(&'static str),
}

/// Stage 4: says whether an item may be shown. A rule only removes.
pub trait Rule: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
    /// The verdict on one item.
    fn check(&self, query: &Query, item: u32) -> Verdict;
    /// The reason as the record has it; by default the word of the verdict.
    fn reason<'a>(&'a self, word: &'static str) -> &'a str {
        word
    }
}

/// A bound on how many of certain items a slate holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limit {
    /// Its name in records.
    pub name: String,
    /// Positions of the candidates whose number is bounded, ascending.
    pub members: Vec<u32>,
    /// At least so many of them.
    pub min: usize,
    /// At most so many of them.
    pub max: usize,
    /// A hard one makes the slate shorter where nothing else helps; another gives way, the last of the list first.
    pub hard: bool,
}

impl Limit {
    /// True if the item counts.
    pub fn counts(&self, item: u32) -> bool {
        self.members.binary_search(&item).is_ok()
    }
}

/// An item that a rule wants at a place of the slate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Name of the rule.
    pub rule: String,
    /// Place, from 1.
    pub slot: usize,
    /// Items that will do, the most wanted first.
    pub items: Vec<u32>,
}

/// A change of one candidate's score by a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Adjustment {
    /// Name of the rule.
    pub rule: Arc<str>,
    /// Whose.
    pub item: u32,
    /// By how much, finite.
    pub by: f32,
}

/// Stage 4: what the rules of the product do besides removing, for one request.
pub trait Steering: Send + Sync {
    /// Version of the set of rules.
    fn version(&self) -> u64;
    /// Names of the rules that apply to this request, those that remove included.
    fn active(&self) -> Vec<String>;
    /// Places taken in advance, the most important first.
    fn pins(&self) -> Vec<Pin>;
    /// Changes of scores; the candidates come scored.
    fn adjust(&self, candidates: &[Candidate]) -> Vec<Adjustment>;
    /// Bounds on a slate of `n` of these candidates.
    fn limits(&self, candidates: &[Candidate], n: usize) -> Vec<Limit>;
    /// True if a hard bound is passed where `item` joins these items of a slate of `n`.
    fn forbids(&self, slate: &[u32], item: u32, n: usize) -> bool;
}

/// A slate in order, and who was held back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reranked {
    /// Shown, best first.
    pub chosen: Vec<Candidate>,
    /// Not shown.
    pub held_back: Vec<Candidate>,
    /// Names of constraints that could not be kept.
    pub relaxed: Vec<String>,
    /// Bounds that hold among the first `n`, for the choice to keep.
    pub limits: Vec<Limit>,
    /// What became of each constraint.
    pub constraints: Vec<ConstraintRecord>,
}

/// Stage 4: orders the survivors. It invents nothing: chosen + held back = input.
pub trait Reranker: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
    /// Orders scored candidates, which come best first.
    fn rerank(&self, query: &Query, ranked: Vec<Candidate>) -> Reranked;
}

/// A slate drawn from a distribution, with the probability of each item at its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Choice {
    /// The slate with, for each, the probability that it stands where it stands given those before it.
    pub slate: Vec<(Candidate, f64)>,
    /// Candidates not shown.
    pub held_back: Vec<Candidate>,
    /// For each of the slate, the probability that it stands where it stands, whatever stands elsewhere; empty if there is no closed form.
    pub marginals: Vec<f64>,
    /// Names of limits that gave way.
    pub relaxed: Vec<String>,
}

/// Choice under uncertainty.
pub trait Policy: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
    /// Differs whenever the same candidates and seed could give another slate or probability: code and settings.
    fn version(&self) -> &str;
    /// Chooses `query.n` of the ordered candidates.
    fn choose(&self, query: &Query, ordered: Vec<Candidate>) -> Choice;
    /// For each item of a slate, the probability that this policy puts it there, given those before it; 0 for what it would never show. `None` if it cannot tell.
    fn conditionals(&self, query: &Query, ordered: &[Candidate], slate: &[u32]) -> Option<Vec<f64>> {
        let _ = (query, ordered, slate);
        None
    }
    /// For each item of a slate, the probability that this policy puts it there, whatever stands elsewhere; 0 for what it would never show. `None` if there is no closed form.
    fn marginals(&self, query: &Query, ordered: &[Candidate], slate: &[u32]) -> Option<Vec<f64>> {
        let _ = (query, ordered, slate);
        None
    }

    /// Chooses `query.n` of the ordered candidates such that `limits` hold, counting what is already `taken` elsewhere on the
    /// slate. `None` from a policy that cannot: then the order is kept and nothing is left to chance.
    fn choose_within(
        &self,
        _query: &Query,
        _ordered: Vec<Candidate>,
        _limits: &[Limit],
        _taken: &[u32],
    ) -> Option<Choice> {
        None
    }
}
