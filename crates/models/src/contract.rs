//! What every learner and model promises.

use crate::recall::Recall;
use crate::staleness;
use dataset::{Interaction, Interactions, Vocabulary};
use domain::{AttributeKind, Evidence, Explanation, HistoryEvent, ItemId, Timestamp};
use signals::TypedValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Attributes of one item, read by their kinds, by name.
pub type ItemFeatures = BTreeMap<String, TypedValue>;

/// Attributes of one person, read by their kinds, by name.
pub type UserFeatures = BTreeMap<String, TypedValue>;

static NO_ATTRIBUTES: UserFeatures = UserFeatures::new();

/// Someone to answer: all that a model is told of anyone.
#[derive(Debug, Clone, Copy)]
pub struct Someone<'a> {
    /// What they did, oldest first.
    pub history: &'a [HistoryEvent],
    /// What is known of them besides; empty for nothing.
    pub attributes: &'a UserFeatures,
}

impl<'a> Someone<'a> {
    /// Someone of whom nothing is known but what they did.
    pub fn with_history(history: &'a [HistoryEvent]) -> Someone<'a> {
        Someone {
            history,
            attributes: &NO_ATTRIBUTES,
        }
    }
}

/// What a learner learns from.
#[derive(Debug, Clone)]
pub struct TrainingData {
    /// Who did what; strengths are undecayed and may be negative.
    pub interactions: Arc<Interactions>,
    /// Attributes by item position in `interactions.items`; empty map for none.
    pub features: Arc<Vec<ItemFeatures>>,
    /// Attributes by user position in `interactions.users`; shorter, or empty maps, for none.
    pub user_features: Arc<Vec<UserFeatures>>,
    /// The moment to which ages are counted.
    pub now: Timestamp,
}

/// Circumstances of a training run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Source of all randomness.
    pub seed: u64,
    /// Threads to use, at least 1; the result does not depend on it.
    pub threads: usize,
    /// Set to stop early.
    pub cancel: Arc<AtomicBool>,
}

impl Run {
    /// A run with this seed on this many threads.
    pub fn new(seed: u64, threads: usize) -> Run {
        Run {
            seed,
            threads: threads.max(1),
            cancel: Arc::new(AtomicBool::new(false)),
        }
    }

    /// # Errors
    /// [`ModelError::Cancelled`] once `cancel` is set. Learners ask between passes.
    pub fn check(&self) -> Result<(), ModelError> {
        if self.cancel.load(Ordering::Relaxed) {
            Err(ModelError::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// Why there is no model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// There is nothing to learn from.
    #[error("no data to learn from: {0}")]
    Empty(String),
    /// A parameter cannot be.
    #[error("{model}.{field}: got {got}, expected {expected}")]
    Config {
        /// Which model.
        model: String,
        /// Which key.
        field: String,
        /// What was there.
        got: String,
        /// What should have been.
        expected: String,
    },
    /// A stored model is not what was written.
    #[error("model {model} is damaged: {reason}")]
    Damaged {
        /// Which model.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// It would need more memory than allowed.
    #[error("{model} needs about {needed_mb} MB, {limit_mb} MB are allowed")]
    TooLarge {
        /// Which model.
        model: String,
        /// Estimate.
        needed_mb: u64,
        /// Limit.
        limit_mb: u64,
    },
    /// The run was told to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Items with scores, best first; ties by item id.
pub type TopItems = Vec<(u32, f32)>;

/// How close an updated model is to one trained anew on the same events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateGuarantee {
    /// Equal within rounding.
    Exact,
    /// Not equal; says in what respect.
    Bounded(&'static str),
    /// Updates are ignored until the next training.
    Ignored(&'static str),
}

/// What an update did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UpdateReport {
    /// Interactions taken in.
    pub absorbed: usize,
    /// Interactions passed over.
    pub ignored: usize,
    /// How far content moved that the model does not reflect, in entries: see [`Staleness`](crate::Staleness).
    pub moved: f64,
    /// The same of each part, in the order of [`Model::parts`].
    pub parts: Vec<f64>,
}

/// A learner with its configuration.
pub trait Trainer: Send + Sync {
    /// Name under which it is registered and its models are stored.
    fn name(&self) -> &'static str;
    /// Its effective configuration.
    fn config(&self) -> serde_json::Value;
    /// Learns. The same data, configuration and seed give the same bytes at any thread count.
    ///
    /// # Errors
    /// [`ModelError::Empty`] if there is nothing to learn from.
    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError>;
}

/// One of several people to recommend to.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Who.
    pub someone: Someone<'a>,
    /// Which items they may get.
    pub allowed: &'a dyn Fn(u32) -> bool,
}

/// A trained model.
///
/// Promises: scores are finite; items and history entries at unknown positions are passed over
/// (an unknown candidate scores as [`knows`](Model::knows) says: not at all, 0); an empty history
/// gives finite scores; the order of the candidates does not matter; the parts of `explain` sum to
/// the score; `save` then load keeps every score bit for bit.
pub trait Model: Send + Sync {
    /// Name of the learner.
    fn name(&self) -> &'static str;
    /// Item ids by position.
    fn vocabulary(&self) -> &Arc<Vocabulary>;
    /// True if the model has learnt something of this item, so that its score means something.
    fn knows(&self, item: u32) -> bool;
    /// The same of several items at once, in their order.
    fn knows_each(&self, items: &[u32]) -> Vec<bool> {
        items.iter().map(|item| self.knows(*item)).collect()
    }
    /// True if the model can say something personal for this history.
    fn personal(&self, history: &[HistoryEvent]) -> bool;
    /// Scores candidates into `scores` (same length).
    fn score(&self, history: &[HistoryEvent], candidates: &[u32], scores: &mut [f32]);
    /// The best `n` of all items that `allowed` admits and the model knows. Equals scoring everything,
    /// except that items at exactly zero, of which there is no evidence, are left out: the list may be short.
    fn recommend(&self, history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems;
    /// [`recommend_for`](Model::recommend_for) for several people at once, the same lists; where a model goes through all items
    /// for each, it may go through them once for all.
    fn recommend_many(&self, asked: &[Asked<'_>], n: usize) -> Vec<TopItems> {
        let one = |asked: &Asked<'_>| self.recommend_for(asked.someone, n, asked.allowed);
        asked.iter().map(one).collect()
    }
    /// The items most like one item, itself left out; empty if the model has no notion of likeness.
    fn similar(&self, item: u32, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems;
    /// The same, for a model of parts, of which some are searched by an index: `nearest` gives the list of the part at a place, so many long, or nothing
    /// if the part is to be asked itself.
    fn similar_by(
        &self,
        item: u32,
        n: usize,
        allowed: &dyn Fn(u32) -> bool,
        _nearest: &dyn Fn(usize, usize) -> Option<TopItems>,
    ) -> TopItems {
        self.similar(item, n, allowed)
    }
    /// Takes the score of one item apart (positions are the model's).
    fn explain(&self, history: &[HistoryEvent], item: u32) -> Explanation;
    /// What speaks for each of these items, in short and in their order (positions are the model's): the same sums as
    /// those of [`explain`](Model::explain), without the words. Asked for every item that is shown.
    fn evidence(&self, history: &[HistoryEvent], items: &[u32]) -> Vec<Evidence> {
        let one = |item: &u32| Evidence::from(&self.explain(history, *item));
        items.iter().map(one).collect()
    }
    /// Attributes of people that it makes use of, with the kinds by which they are to be read; empty for models that
    /// look at histories alone.
    fn user_kinds(&self) -> BTreeMap<String, AttributeKind> {
        BTreeMap::new()
    }
    /// [`personal`](Model::personal) for someone with attributes. These five equal the methods for a history
    /// if there are no attributes, and for models that do not look at them.
    fn personal_to(&self, someone: Someone<'_>) -> bool {
        self.personal(someone.history)
    }
    /// [`score`](Model::score) for someone with attributes.
    fn score_for(&self, someone: Someone<'_>, candidates: &[u32], scores: &mut [f32]) {
        self.score(someone.history, candidates, scores);
    }
    /// [`recommend`](Model::recommend) for someone with attributes.
    fn recommend_for(&self, someone: Someone<'_>, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        self.recommend(someone.history, n, allowed)
    }
    /// [`explain`](Model::explain) for someone with attributes.
    fn explain_for(&self, someone: Someone<'_>, item: u32) -> Explanation {
        self.explain(someone.history, item)
    }
    /// [`evidence`](Model::evidence) for someone with attributes.
    fn evidence_for(&self, someone: Someone<'_>, items: &[u32]) -> Vec<Evidence> {
        self.evidence(someone.history, items)
    }
    /// Variance of the score of each of these items, in squared points of the score, as far as the model has a
    /// posterior; `None` where it cannot say. Finite, not negative.
    fn variances(&self, someone: Someone<'_>, items: &[u32]) -> Vec<Option<f32>> {
        let _ = someone;
        vec![None; items.len()]
    }
    /// Features that speak for the item because they are shared with the history, strongest first,
    /// such as `genre=Comedy`; empty for models that do not look at attributes.
    fn features_shared(&self, history: &[HistoryEvent], item: u32, n: usize) -> Vec<(String, f32)> {
        let _ = (history, item, n);
        Vec::new()
    }
    /// How the events of a history count by their place, for models of which that can be changed; `None` for the others.
    fn recall(&self) -> Option<Recall> {
        None
    }
    /// Changes that, for those that say how it is; to be one that [`recall`](Model::recall) may give.
    fn set_recall(&mut self, recall: Recall) {
        let _ = recall;
    }
    /// What [`update`](Model::update) promises.
    fn guarantee(&self) -> UpdateGuarantee;
    /// Takes in new interactions. `histories` gives, for each, the user's earlier items (positions and
    /// strengths, oldest first, the new one not included); positions at or past the vocabulary's end are those of `new_items`, in order,
    /// which are appended to the vocabulary first.
    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport;
    /// Takes out everything that one person did: `events` are all of theirs that the model has learnt from or taken in,
    /// oldest first. What cannot be taken out before the next training is reported as moved.
    fn erase(&mut self, events: &[Interaction]) -> UpdateReport {
        staleness::kept(events, 1.0)
    }
    /// Takes in new or changed items with their attributes (new ones are appended to the vocabulary).
    /// Models that do not look at attributes ignore it.
    fn absorb_items(&mut self, items: &[(ItemId, ItemFeatures)]) -> usize {
        let _ = items;
        0
    }
    /// The space in which this model scores, if it has one: then the score is a product of two vectors and can be searched
    /// without looking at every item.
    fn space(&self) -> Option<&dyn VectorSpace> {
        None
    }
    /// What followed from the data where the configuration left it open, by key; for models of before, as far as they tell.
    fn settled(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }
    /// The models that this one is made of; empty if it stands alone.
    fn parts(&self) -> Vec<&dyn Model> {
        Vec::new()
    }
    /// A copy that can be updated while this one serves; cheap where the parts can be shared.
    fn fork(&self) -> Box<dyn Model>;
    /// Works out now what is otherwise worked out when first asked for, so that nobody has to wait for it. Changes no
    /// score. Bounded; may take some tenths of a second.
    fn warm(&self) {
        self.parts().iter().for_each(|part| part.warm());
    }
    /// Writes everything needed to load it again, vocabulary included.
    fn save(&self, to: &mut Vec<u8>);
    /// Bytes held.
    fn memory_bytes(&self) -> usize;
}

/// A space in which the score of an item is the product of its vector with someone's, within rounding.
pub trait VectorSpace {
    /// Numbers of a vector.
    fn dims(&self) -> usize;
    /// The vector of an item; `None` for one that is not known.
    fn item_vector(&self, item: u32) -> Option<&[f32]>;
    /// How like two items are, as [`Model::similar`] has it: a cosine of their vectors; `None` where one has none.
    fn likeness(&self, item: u32, other: u32) -> Option<f32>;
    /// The vector of someone; `None` if nothing that it can use is known of them.
    fn vector_of(&self, someone: Someone<'_>) -> Option<Vec<f32>>;
    /// Items whose vectors may differ from those that this model, or the one it was copied from, had when it was trained or loaded.
    fn items_changed(&self) -> Vec<u32>;
}
