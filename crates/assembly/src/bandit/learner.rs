//! What a placement has learnt so far.
//!
//! Each decision is a trial of everything that it showed, and each event that carries its id, is about something that it showed, is of a type that is worth something and happened within the window
//! adds that worth, once per type. A trial counts as nothing come of it until something has: rewards may come late, and then count as if they had been there at once.
//!
//! The state is derived: from the decision log (trials) and the event log (rewards) up to a sequence number. The journal keeps it, so that opening reads only what came after, and so that it
//! outlives the retention of the decision log. What is in it was learnt under one configuration; under another it is learnt anew from what the logs still have.

use super::config::{BanditConfig, LearnerKind};
use super::features::{Sight, own, shared};
use super::journal::Batch;
use domain::{Attributes, Decision, DecisionId, Event, EventType, ItemId, Sequence, Timestamp, UserId};
use policies::learners::{
    Context, CountBandit, Counted, DiversityOptions, LinearBandit, Posterior, diversity,
};
use policies::{Arm, PolicyError, Samples};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Contexts kept for the check of their diversity.
const CONTEXTS_MAX: usize = 2000;
/// Features up to which contexts are checked: the cost grows with their cube.
const CHECKED_MAX: usize = 40;
const HOUR_MS: f64 = 3_600_000.0;
/// An action that nothing is known of.
const UNKNOWN: usize = usize::MAX;

/// A decision as a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) id: DecisionId,
    pub(crate) now: i64,
    pub(crate) seed: u64,
    user: Option<UserId>,
    own: Vec<f64>,
    shown: Vec<(ItemId, Vec<f64>)>,
}

impl Made {
    pub(crate) fn of(
        decision: &Decision,
        config: &BanditConfig,
        attributes: &mut dyn FnMut(&ItemId) -> Option<Arc<Attributes>>,
    ) -> Made {
        let sight = Sight {
            context: &decision.context,
            person: &decision.attributes,
        };
        let own = own(config, &sight);
        let one = |shown: &domain::Shown| {
            let item = attributes(&shown.item_id);
            let features = shared(config, &sight, &own, item.as_deref(), shown.score);
            (shown.item_id.clone(), features)
        };
        Made {
            id: decision.decision_id.clone(),
            now: decision.now.0,
            seed: decision.seed,
            user: decision.user_id.clone(),
            shown: decision.shown.iter().map(one).collect(),
            own,
        }
    }

    pub(crate) fn is_of(&self, user: &UserId) -> bool {
        self.user.as_ref() == Some(user)
    }

    /// Order in which decisions are taken in: the same whichever thread made them.
    pub(crate) fn order(&self) -> (i64, u64, &DecisionId) {
        (self.now, self.seed, &self.id)
    }
}

/// What an event says came of something shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reward {
    decision: DecisionId,
    item: ItemId,
    event_type: EventType,
    at: Timestamp,
}

impl Reward {
    /// Of an event, if it is about a decision.
    pub(crate) fn of(event: &Event) -> Option<Reward> {
        Some(Reward {
            decision: event.decision_id.clone()?,
            item: event.item_id.clone(),
            event_type: event.event_type.clone(),
            at: event.timestamp,
        })
    }
}

/// Something shown, as long as rewards for it may come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trial {
    action: usize,
    shared: Vec<f64>,
    number: u64,
    look: f64,
    /// Types of events that have counted.
    counted: Vec<String>,
}

/// A decision, as long as its window is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    now: i64,
    user: Option<UserId>,
    own: Vec<f64>,
    trials: Vec<Trial>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Model {
    Counts(CountBandit),
    Linear(LinearBandit),
}

/// What was learnt, and what rewards may still come for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Learner {
    config: BanditConfig,
    pub(crate) sequence: Sequence,
    /// The moment of the latest decision.
    latest: i64,
    pub(crate) decisions: u64,
    rewards: u64,
    items: Vec<ItemId>,
    model: Model,
    open: BTreeMap<DecisionId, Open>,
    contexts: VecDeque<(Option<UserId>, Vec<f64>)>,
    #[serde(skip)]
    places: Arc<HashMap<ItemId, usize>>,
    /// Decisions when the contexts were last looked at, and what was found.
    #[serde(skip)]
    looked: Option<(u64, ContextCheck)>,
}

/// Whether contexts are so diverse that greedy choice learns enough by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContextCheck {
    /// Contexts looked at, the latest.
    pub contexts: usize,
    /// True if greedy choice is safe by this check.
    pub greedy_is_safe: bool,
    /// Why, or why not.
    pub reason: String,
}

/// How a placement that learns stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BanditStatus {
    /// Which placement.
    pub placement: String,
    /// `counts` or `linear`.
    pub learner: LearnerKind,
    /// Actions tried so far.
    pub actions: usize,
    /// Decisions learnt from.
    pub decisions: u64,
    /// Things shown in them.
    pub trials: u64,
    /// Events that were worth something.
    pub rewards: u64,
    /// Decisions for which rewards may still come.
    pub open: usize,
    /// Last event of the log that is taken in.
    pub sequence: u64,
    /// The check of contexts; absent for counts, and where features are constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contexts: Option<ContextCheck>,
}

impl Learner {
    pub(crate) fn new(config: &BanditConfig) -> Result<Learner, PolicyError> {
        Ok(Learner {
            config: config.clone(),
            sequence: Sequence::ZERO,
            latest: i64::MIN,
            decisions: 0,
            rewards: 0,
            items: Vec::new(),
            model: match config.learner {
                LearnerKind::Counts => Model::Counts(config.counts()?),
                LearnerKind::Linear => Model::Linear(config.linear()?),
            },
            open: BTreeMap::new(),
            contexts: VecDeque::new(),
            places: Arc::default(),
            looked: None,
        })
    }

    /// One that was read, made ready.
    pub(crate) fn indexed(mut self) -> Learner {
        self.places = Arc::new(self.items.iter().cloned().zip(0..).collect());
        self
    }

    /// How much it has taken in: decisions and rewards.
    pub(crate) fn taken_in(&self) -> (u64, u64) {
        (self.decisions, self.rewards)
    }

    /// Whether it was learnt under this configuration.
    pub(crate) fn is_under(&self, config: &BanditConfig) -> bool {
        self.config == *config
    }

    /// Takes in a batch as it was taken in before.
    pub(crate) fn take_in(&mut self, batch: &Batch) {
        batch.made.iter().for_each(|made| self.observe(made.clone()));
        for reward in &batch.rewards {
            self.reward(reward);
        }
        self.closing(batch.sequence);
    }

    /// Ends a batch.
    pub(crate) fn closing(&mut self, sequence: Sequence) {
        self.expire();
        self.sequence = self.sequence.max(sequence);
    }

    /// Whether it holds anything of someone's.
    pub(crate) fn knows_user(&self, user: &UserId) -> bool {
        let of = |known: &Option<UserId>| known.as_ref() == Some(user);
        self.open.values().any(|open| of(&open.user)) || self.contexts.iter().any(|(known, _)| of(known))
    }

    fn window_ms(&self) -> i64 {
        (self.config.window_hours * HOUR_MS).ceil() as i64
    }

    /// The moment before which decisions are closed. Events may come somewhat later than they happened.
    fn closed_before(&self) -> i64 {
        let window = self.window_ms();
        self.latest
            .saturating_sub(window.saturating_add(window.min(HOUR_MS as i64)))
    }

    /// True if a decision of the log has been taken in before.
    pub(crate) fn knows(&self, made: &Made) -> bool {
        made.now < self.closed_before() || self.open.contains_key(&made.id)
    }

    fn place(&mut self, item: &ItemId) -> usize {
        if let Some(at) = self.places.get(item) {
            return *at;
        }
        let at = self.items.len();
        self.items.push(item.clone());
        Arc::make_mut(&mut self.places).insert(item.clone(), at);
        at
    }

    fn look(&self, place: usize) -> f64 {
        let all = &self.config.examination;
        all.get(place).or(all.last()).copied().unwrap_or(1.0)
    }

    /// Takes in a decision.
    pub(crate) fn observe(&mut self, made: Made) {
        let mut trials = Vec::with_capacity(made.shown.len());
        for (place, (item, shared)) in made.shown.iter().enumerate() {
            let (action, look) = (self.place(item), self.look(place));
            let number = match &mut self.model {
                Model::Counts(counts) => counts.observe(action, look),
                Model::Linear(linear) => {
                    let (own, shared) = (scaled(&made.own, look), scaled(shared, look));
                    linear.observe(&Context {
                        action,
                        own: &own,
                        shared: &shared,
                    })
                }
            };
            trials.push(Trial {
                action,
                shared: shared.clone(),
                number,
                look,
                counted: Vec::new(),
            });
        }
        self.decisions += 1;
        self.latest = self.latest.max(made.now);
        if made.own.len() > 1 {
            self.contexts
                .push_back((made.user.clone(), made.own[1..].to_vec()));
            if self.contexts.len() > CONTEXTS_MAX {
                self.contexts.pop_front();
            }
        }
        let open = Open {
            now: made.now,
            user: made.user,
            own: made.own,
            trials,
        };
        self.open.insert(made.id, open);
    }

    /// Forgets decisions whose window has closed.
    pub(crate) fn expire(&mut self) {
        let before = self.closed_before();
        self.open.retain(|_, open| open.now >= before);
    }

    /// Takes in what came of something shown; true if it is worth something here.
    pub(crate) fn reward(&mut self, reward: &Reward) -> bool {
        let window = self.window_ms();
        let name = reward.event_type.as_str();
        let Some(worth) = self.config.rewards.get(name) else {
            return false;
        };
        let Some(open) = self.open.get_mut(&reward.decision) else {
            return false;
        };
        let action = self.places.get(&reward.item).copied();
        let within = (open.now..=open.now.saturating_add(window)).contains(&reward.at.0);
        let trial = open.trials.iter_mut().find(|trial| Some(trial.action) == action);
        let Some(trial) = trial.filter(|_| within) else {
            return false;
        };
        if trial.counted.iter().any(|counted| counted == name) {
            return false;
        }
        trial.counted.push(name.to_owned());
        self.rewards += 1;
        match &mut self.model {
            Model::Counts(counts) => counts.credit(trial.action, trial.number, *worth),
            Model::Linear(linear) => {
                let (own, shared) = (scaled(&open.own, trial.look), scaled(&trial.shared, trial.look));
                let context = Context {
                    action: trial.action,
                    own: &own,
                    shared: &shared,
                };
                linear.credit(&context, trial.number, *worth);
            }
        }
        true
    }

    /// Forgets whose decisions these were. What was learnt of everyone together stays.
    pub(crate) fn erase(&mut self, user: &UserId) {
        self.open.retain(|_, open| open.user.as_ref() != Some(user));
        self.contexts.retain(|(of, _)| of.as_ref() != Some(user));
        self.looked = None;
    }

    pub(crate) fn trials(&self) -> u64 {
        match &self.model {
            Model::Counts(counts) => counts.trials(),
            Model::Linear(linear) => linear.trials(),
        }
    }

    /// What is believed now, under a number of the journal.
    pub(crate) fn belief(&self, number: u64) -> Belief {
        Belief {
            number,
            sequence: self.sequence,
            trials: self.trials(),
            config: self.config.clone(),
            places: self.places.clone(),
            knowledge: match &self.model {
                Model::Counts(counts) => {
                    Knowledge::Counts((0..self.items.len()).map(|at| counts.counted(at)).collect())
                }
                Model::Linear(linear) => Knowledge::Linear(Box::new(linear.posterior())),
            },
        }
    }

    fn check_contexts(&mut self) -> Option<ContextCheck> {
        let width = self.contexts.front()?.1.len();
        if let Some((at, found)) = &self.looked
            && self.decisions < at + at / 5 + 100
        {
            return Some(found.clone());
        }
        if width > CHECKED_MAX {
            return Some(ContextCheck {
                contexts: self.contexts.len(),
                greedy_is_safe: false,
                reason: format!("{width} features are too many to check, at most {CHECKED_MAX}: explore"),
            });
        }
        let all: Vec<f64> = self
            .contexts
            .iter()
            .flat_map(|(_, context)| context)
            .copied()
            .collect();
        let found = diversity(&all, width, &DiversityOptions::default());
        let check = ContextCheck {
            contexts: found.contexts,
            greedy_is_safe: found.greedy_is_safe,
            reason: found.reason,
        };
        self.looked = Some((self.decisions, check.clone()));
        Some(check)
    }

    /// How it stands. The check of contexts costs some milliseconds; it is kept until a fifth more decisions have come.
    pub(crate) fn status(&mut self, placement: &str) -> BanditStatus {
        BanditStatus {
            placement: placement.to_owned(),
            learner: self.config.learner,
            actions: self.items.len(),
            decisions: self.decisions,
            trials: self.trials(),
            rewards: self.rewards,
            open: self.open.len(),
            sequence: self.sequence.0,
            contexts: self.check_contexts(),
        }
    }
}

fn scaled(features: &[f64], by: f64) -> Vec<f64> {
    features.iter().map(|feature| feature * by).collect()
}

enum Knowledge {
    Counts(Vec<Counted>),
    Linear(Box<Posterior>),
}

/// What is believed of the actions, as a snapshot holds it.
pub(crate) struct Belief {
    /// By which it can be made again; 0 if it cannot.
    pub(crate) number: u64,
    pub(crate) sequence: Sequence,
    pub(crate) trials: u64,
    pub(crate) config: BanditConfig,
    places: Arc<HashMap<ItemId, usize>>,
    knowledge: Knowledge,
}

/// One action in front of one person.
pub(crate) struct Seen {
    action: usize,
    shared: Vec<f64>,
}

/// What one person sees: own features, and actions.
pub(crate) struct Scene {
    own: Vec<f64>,
    seen: Vec<Seen>,
}

impl Belief {
    pub(crate) fn scene<'a>(
        &self,
        sight: &Sight<'_>,
        items: impl Iterator<Item = (Option<&'a ItemId>, Option<&'a Attributes>, f32)>,
    ) -> Scene {
        let own = own(&self.config, sight);
        let one = |(id, attributes, score): (Option<&ItemId>, Option<&Attributes>, f32)| Seen {
            action: id.and_then(|id| self.places.get(id)).copied().unwrap_or(UNKNOWN),
            shared: shared(&self.config, sight, &own, attributes, score),
        };
        let seen = items.map(one).collect();
        Scene { own, seen }
    }

    fn contexts<'a>(scene: &'a Scene) -> Vec<Context<'a>> {
        let one = |seen: &'a Seen| Context {
            action: seen.action,
            own: &scene.own,
            shared: &seen.shared,
        };
        scene.seen.iter().map(one).collect()
    }

    /// Arms by mean and variance; wins and losses where they are counted. A rate starts from one win and one loss.
    pub(crate) fn arms(&self, scene: &Scene) -> Vec<Arm> {
        match &self.knowledge {
            Knowledge::Linear(posterior) => posterior.arms(&Belief::contexts(scene), 1.0),
            Knowledge::Counts(counts) => {
                let one = |seen: &Seen| {
                    let counted = counts.get(seen.action).copied().unwrap_or_default();
                    let (wins, losses) = (counted.wins.max(0.0), (counted.shown - counted.wins).max(0.0));
                    let (a, b) = (wins + 1.0, losses + 1.0);
                    Arm {
                        variance: a * b / ((a + b) * (a + b) * (a + b + 1.0)),
                        wins,
                        losses,
                        ..Arm::of_score(a / (a + b))
                    }
                };
                scene.seen.iter().map(one).collect()
            }
        }
    }

    /// Draws from the joint posterior, the same as long as the belief is; `None` where actions are independent, so that arms say it all, and where there are none.
    pub(crate) fn samples(&self, scene: &Scene, deviation: f64, draws: usize) -> Option<Samples> {
        let seed = numeric::mix(self.sequence.0).wrapping_add(self.trials);
        match &self.knowledge {
            Knowledge::Linear(posterior) if self.config.shape().1 > 0 && !scene.seen.is_empty() => {
                Some(posterior.samples(&Belief::contexts(scene), deviation, draws, seed))
            }
            _ => None,
        }
    }
}

impl Scene {
    /// The same, in another order.
    pub(crate) fn ordered(self, order: &[usize]) -> Scene {
        let mut left: Vec<Option<Seen>> = self.seen.into_iter().map(Some).collect();
        let seen = order.iter().filter_map(|at| left[*at].take());
        Scene {
            seen: seen.collect(),
            own: self.own,
        }
    }
}
