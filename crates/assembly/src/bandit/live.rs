//! Learning while the service runs: decisions and events come in from all sides, are taken in in order now and then, and the next snapshot believes what came of them.

use super::actions::ActionCache;
use super::config::BanditConfig;
use super::journal::{self, Batch, Journal, PastLearners, read};
use super::learner::{BanditStatus, Belief, Learner, Made, Reward};
use crate::service::lock;
use crate::{Config, ServiceError, Stores};
use domain::{Attributes, Decision, Event, ItemId, Sequence, Timestamp, UserId};
use feedback::DecisionLog;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Folder of what was learnt, in a data folder.
pub(crate) const BANDITS_DIR: &str = "bandits";
/// Decisions that may wait; beyond, some are passed over.
const WAITING_MAX: usize = 200_000;
/// How long nothing is tried after a journal could not be written.
const RETRY_MS: i64 = 60_000;

/// What snapshots are made from.
#[derive(Default)]
pub(crate) struct Beliefs {
    pub(crate) of: BTreeMap<String, Arc<Belief>>,
    pub(crate) actions: Arc<ActionCache>,
}

#[derive(Default)]
struct Waiting {
    made: Vec<(String, Made)>,
    events: Vec<(Sequence, Event)>,
    /// Decisions that were not learnt from for want of room.
    passed_over: u64,
}

struct Slot {
    learner: Learner,
    journal: Journal,
    /// When a new generation was last begun or tried.
    tried: Timestamp,
    belief: Arc<Belief>,
    /// Whether the generation says no more than the one before it, as long as nothing is appended.
    is_spare: bool,
}

impl Slot {
    /// Takes in a batch and writes down what it was; what is believed then.
    fn take_in(&mut self, placement: &str, mut batch: Batch, dir: &Path, now: Timestamp) {
        for made in &batch.made {
            self.learner.observe(made.clone());
        }
        // Written down is what counts: others' events are many.
        let learner = &mut self.learner;
        batch.rewards.retain(|reward| learner.reward(reward));
        learner.closing(batch.sequence);
        if batch.made.is_empty() && batch.rewards.is_empty() {
            return;
        }
        self.is_spare = false;
        if let Err(error) = self.journal.append(&batch) {
            tracing::warn!(
                placement,
                "what was learnt cannot be written, decisions cannot be made again: {error}"
            );
        }
        let is_due = self.journal.number() > 0 || now.0 >= self.tried.0.saturating_add(RETRY_MS);
        if is_due && self.journal.is_full(now) {
            self.tried = now;
            match Journal::begin(dir, placement, &self.learner, now) {
                Ok(journal) => self.journal = journal,
                Err(error) => tracing::warn!(placement, "what was learnt cannot be written: {error}"),
            }
        }
        self.belief = Arc::new(self.learner.belief(self.journal.number()));
    }
}

/// All placements that learn.
#[derive(Default)]
pub(crate) struct Bandits {
    dir: PathBuf,
    configs: BTreeMap<String, BanditConfig>,
    slots: Mutex<BTreeMap<String, Slot>>,
    waiting: Mutex<Waiting>,
    beliefs: Mutex<Arc<Beliefs>>,
}

impl Bandits {
    /// Brings every placement that learns up to the end of the logs: from its file if there is one, else from their start. What is amiss with a file is a warning: the logs tell what it told, as far as
    /// they are kept.
    pub(crate) fn open(
        dir: &Path,
        config: &Config,
        stores: &Stores,
        decisions: &DecisionLog,
        now: Timestamp,
        warnings: &mut Vec<String>,
    ) -> Result<Bandits, ServiceError> {
        let dir = dir.join(BANDITS_DIR);
        let configs: BTreeMap<String, BanditConfig> = config
            .placements
            .iter()
            .filter_map(|(name, placement)| Some((name.clone(), placement.bandit.clone()?)))
            .collect();
        let (mut learners, mut known) = (BTreeMap::new(), BTreeMap::new());
        for (name, config) in &configs {
            let kept = read(&dir, name, config).unwrap_or_else(|reason| {
                warnings.push(format!(
                    "what {name} had learnt is learnt anew from the logs: {reason}"
                ));
                None
            });
            let learner = match kept {
                Some(learner) => learner,
                None => Learner::new(config).map_err(|e| {
                    ServiceError::input(format!("placements.{name}.bandit.{}", e.field), e.got, e.expected)
                })?,
            };
            known.insert(name.clone(), learner.taken_in());
            learners.insert(name.clone(), learner);
        }
        if !learners.is_empty() {
            catch_up(&mut learners, &configs, stores, decisions, &dir)?;
        }
        let mut slots = BTreeMap::new();
        for (name, learner) in learners {
            let journal = Journal::begin(&dir, &name, &learner, now)?;
            let slot = Slot {
                belief: Arc::new(learner.belief(journal.number())),
                is_spare: known.get(&name) == Some(&learner.taken_in()),
                learner,
                journal,
                tried: now,
            };
            slots.insert(name, slot);
        }
        let bandits = Bandits {
            dir,
            configs,
            slots: Mutex::new(slots),
            waiting: Mutex::default(),
            beliefs: Mutex::default(),
        };
        bandits.believe();
        Ok(bandits)
    }

    /// True if no placement learns.
    pub(crate) fn is_empty(&self) -> bool {
        self.configs.is_empty()
    }

    /// What is believed now.
    pub(crate) fn beliefs(&self) -> Arc<Beliefs> {
        lock(&self.beliefs).clone()
    }

    fn believe(&self) {
        let slots = lock(&self.slots);
        let of = slots
            .iter()
            .map(|(name, slot)| (name.clone(), slot.belief.clone()));
        let of = of.collect();
        let mut beliefs = lock(&self.beliefs);
        let actions = beliefs.actions.clone();
        *beliefs = Arc::new(Beliefs { of, actions });
    }

    /// Notes a decision, if its placement learns.
    pub(crate) fn made(
        &self,
        decision: &Decision,
        attributes: &mut dyn FnMut(&ItemId) -> Option<Arc<Attributes>>,
    ) {
        let Some(config) = self.configs.get(&decision.placement) else {
            return;
        };
        let made = Made::of(decision, config, attributes);
        let mut waiting = lock(&self.waiting);
        if waiting.made.len() >= WAITING_MAX {
            waiting.made.swap_remove(0);
            waiting.passed_over += 1;
        }
        waiting.made.push((decision.placement.clone(), made));
    }

    /// Notes accepted events; call it before they count as applied.
    pub(crate) fn told<'a>(&self, events: impl Iterator<Item = (Sequence, &'a Event)>) {
        if self.is_empty() {
            return;
        }
        let answering = events.filter(|(_, event)| event.decision_id.is_some());
        let answering: Vec<_> = answering
            .map(|(sequence, event)| (sequence, event.clone()))
            .collect();
        lock(&self.waiting).events.extend(answering);
    }

    /// Takes in what is waiting; `applied` is the last number that was applied before. True if there was anything.
    pub(crate) fn learn(&self, applied: Sequence, now: Timestamp) -> bool {
        if self.is_empty() {
            return false;
        }
        let Waiting {
            mut made, mut events, ..
        } = {
            let mut waiting = lock(&self.waiting);
            let passed_over = waiting.passed_over;
            let next = Waiting {
                passed_over,
                ..Waiting::default()
            };
            std::mem::replace(&mut *waiting, next)
        };
        let nothing = made.is_empty() && events.is_empty();
        {
            let mut slots = lock(&self.slots);
            made.sort_by(|a, b| a.1.order().cmp(&b.1.order()));
            events.sort_by_key(|(sequence, _)| *sequence);
            let mut of: BTreeMap<String, Vec<Made>> = BTreeMap::new();
            for (placement, made) in made {
                of.entry(placement).or_default().push(made);
            }
            let rewards: Vec<Reward> = events.iter().filter_map(|(_, event)| Reward::of(event)).collect();
            for (name, slot) in slots.iter_mut() {
                let batch = Batch {
                    sequence: applied,
                    made: of.remove(name).unwrap_or_default(),
                    rewards: rewards.clone(),
                };
                slot.take_in(name, batch, &self.dir, now);
            }
        }
        if !nothing {
            self.believe();
        }
        !nothing
    }

    /// Brings what was learnt to the disk.
    pub(crate) fn sync(&self) -> Result<(), ServiceError> {
        let mut slots = lock(&self.slots);
        slots.values_mut().try_for_each(|slot| slot.journal.sync())
    }

    /// Lets go of what was learnt before the oldest decision that is kept.
    pub(crate) fn prune(&self, oldest: Timestamp) -> Result<(), ServiceError> {
        let _slots = lock(&self.slots);
        journal::prune(&self.dir, oldest)
    }

    /// A past belief, by its number, for decisions made again.
    pub(crate) fn past(&self) -> PastLearners<'_> {
        PastLearners::new(&self.dir)
    }

    /// Forgets a user, and what was learnt in which order where the user had a part in it.
    /// True if beliefs have other names now.
    pub(crate) fn erase(&self, user: &UserId, now: Timestamp) -> Result<bool, ServiceError> {
        {
            let mut waiting = lock(&self.waiting);
            waiting.events.retain(|(_, event)| event.user_id != *user);
            waiting.made.retain(|(_, made)| !made.is_of(user));
        }
        let mut renamed = false;
        {
            let mut slots = lock(&self.slots);
            let gone = journal::knowing(&self.dir, user)?;
            for (name, slot) in slots.iter_mut() {
                slot.learner.erase(user);
                if slot.journal.is_among(&gone) {
                    slot.journal = Journal::begin(&self.dir, name, &slot.learner, now)?;
                    slot.belief = Arc::new(slot.learner.belief(slot.journal.number()));
                    slot.is_spare = false;
                    renamed = true;
                }
            }
            let written: Vec<&Journal> = slots.values().map(|slot| &slot.journal).collect();
            journal::remove_all(&self.dir, &gone, &written)?;
        }
        self.believe();
        Ok(renamed)
    }

    /// How each stands.
    pub(crate) fn status(&self) -> Vec<BanditStatus> {
        let mut slots = lock(&self.slots);
        slots
            .iter_mut()
            .map(|(name, slot)| slot.learner.status(name))
            .collect()
    }

    /// What an operator should know.
    pub(crate) fn warning(&self) -> Option<String> {
        let passed_over = lock(&self.waiting).passed_over;
        (passed_over > 0).then(|| {
            format!("{passed_over} decisions came faster than placements could learn from them, and were passed over")
        })
    }
}

impl Drop for Bandits {
    /// Whoever only looked leaves nothing behind.
    fn drop(&mut self) {
        let waits = |name: &str| lock(&self.waiting).made.iter().any(|(of, _)| of == name);
        let slots = lock(&self.slots);
        for (name, slot) in slots.iter() {
            if slot.is_spare && !waits(name) {
                slot.journal.remove_if_empty();
            }
        }
    }
}

/// Takes in what the logs have beyond the files: one pass over each, merged by time.
fn catch_up(
    learners: &mut BTreeMap<String, Learner>,
    configs: &BTreeMap<String, BanditConfig>,
    stores: &Stores,
    decisions: &DecisionLog,
    dir: &Path,
) -> Result<(), ServiceError> {
    let mut known: HashMap<ItemId, Option<Arc<Attributes>>> = HashMap::new();
    let mut attributes = |id: &ItemId| {
        if let Some(found) = known.get(id) {
            return found.clone();
        }
        let item = stores.catalogue.item(id).ok().flatten();
        let found = item.map(|item| Arc::new(item.attributes));
        known.insert(id.clone(), found.clone());
        found
    };
    let mut made: Vec<(String, Made)> = Vec::new();
    let read = decisions.each(|stored| {
        let decision = stored.decision;
        if let (Some(config), Some(learner)) = (
            configs.get(&decision.placement),
            learners.get(&decision.placement),
        ) {
            let one = Made::of(&decision, config, &mut attributes);
            if !learner.knows(&one) {
                made.push((decision.placement, one));
            }
        }
    });
    read.map_err(|e| ServiceError::io("reading decisions beside", dir, e))?;
    made.sort_by(|a, b| a.1.order().cmp(&b.1.order()));
    let mut made = made.into_iter().peekable();
    let head = stores.log.head();
    let from = learners
        .values()
        .map(|learner| learner.sequence)
        .min()
        .unwrap_or_default();
    let mut n = 0u32;
    for batch in stores.log.scan(from.next(), head)? {
        for stored in batch? {
            let Some(reward) = Reward::of(&stored.event) else {
                continue;
            };
            while let Some((placement, one)) = made.next_if(|(_, one)| one.now <= stored.event.timestamp.0) {
                if let Some(learner) = learners.get_mut(&placement) {
                    learner.observe(one);
                }
            }
            for learner in learners
                .values_mut()
                .filter(|learner| stored.sequence > learner.sequence)
            {
                learner.reward(&reward);
            }
            n += 1;
            if n.is_multiple_of(10_000) {
                learners.values_mut().for_each(Learner::expire);
            }
        }
    }
    for (placement, one) in made {
        if let Some(learner) = learners.get_mut(&placement) {
            learner.observe(one);
        }
    }
    for learner in learners.values_mut() {
        learner.closing(head);
    }
    Ok(())
}
