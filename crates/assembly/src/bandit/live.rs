//! Learning while the service runs: decisions and events come in from all sides, are taken in in order now and then, and the next snapshot believes what came of them.

use super::actions::ActionCache;
use super::config::BanditConfig;
use super::learner::{BanditStatus, Belief, Learner, Made};
use crate::service::lock;
use crate::{Config, ServiceError, Stores};
use domain::{Attributes, Decision, Event, ItemId, Sequence, UserId};
use feedback::DecisionLog;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Folder of what was learnt, in a data folder.
pub(crate) const BANDITS_DIR: &str = "bandits";
/// Decisions that may wait; beyond, some are passed over.
const WAITING_MAX: usize = 200_000;
/// Trials after which a learner's file is written anew, and the time after which it is, if there were any.
const WRITE_TRIALS: u64 = 50_000;
const WRITE_US: u64 = 60_000_000;

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
    written_trials: u64,
    written_us: u64,
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

/// The file of a placement: its name may have letters that a file's may not.
fn file_of(dir: &Path, placement: &str) -> PathBuf {
    let plain: String = placement
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(64)
        .collect();
    let hash = crc32fast::hash(placement.as_bytes());
    dir.join(format!("{plain}-{hash:08x}.json"))
}

/// What a file of a learner says; `None` if there is none, or it was learnt under another configuration.
pub(crate) fn read(dir: &Path, placement: &str, config: &BanditConfig) -> Result<Option<Learner>, String> {
    let path = file_of(dir, placement);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    let (sum, body) = bytes.split_at_checked(9).unwrap_or((&[], &[]));
    if sum != format!("{:08x}\n", crc32fast::hash(body)).as_bytes() {
        return Err(format!("{}: damaged", path.display()));
    }
    Learner::read(body, config).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(dir: &Path, placement: &str, learner: &Learner) -> Result<(), ServiceError> {
    let path = file_of(dir, placement);
    let fail = |e: std::io::Error| ServiceError::io("writing", &path, e);
    let body = learner.write().map_err(|e| fail(std::io::Error::other(e)))?;
    let mut bytes = format!("{:08x}\n", crc32fast::hash(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    std::fs::create_dir_all(dir).map_err(fail)?;
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, bytes).map_err(fail)?;
    std::fs::File::open(&temporary)
        .and_then(|file| file.sync_all())
        .map_err(fail)?;
    std::fs::rename(&temporary, &path).map_err(fail)
}

impl Bandits {
    /// Brings every placement that learns up to the end of the logs: from its file if there is one, else from their start. What is amiss with a file is a warning: the logs tell what it told, as far as
    /// they are kept.
    pub(crate) fn open(
        dir: &Path,
        config: &Config,
        stores: &Stores,
        decisions: &DecisionLog,
        warnings: &mut Vec<String>,
    ) -> Result<Bandits, ServiceError> {
        let dir = dir.join(BANDITS_DIR);
        let configs: BTreeMap<String, BanditConfig> = config
            .placements
            .iter()
            .filter_map(|(name, placement)| Some((name.clone(), placement.bandit.clone()?)))
            .collect();
        let mut slots = BTreeMap::new();
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
            let slot = Slot {
                written_trials: learner.trials(),
                written_us: 0,
                learner,
            };
            slots.insert(name.clone(), slot);
        }
        if !slots.is_empty() {
            catch_up(&mut slots, &configs, stores, decisions, &dir)?;
        }
        let bandits = Bandits {
            dir,
            configs,
            slots: Mutex::new(slots),
            ..Bandits::default()
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
            .map(|(name, slot)| (name.clone(), Arc::new(slot.learner.belief())));
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
    pub(crate) fn learn(&self, applied: Sequence, now_us: u64) -> bool {
        if self.is_empty() {
            return false;
        }
        let (mut made, mut events) = {
            let mut waiting = lock(&self.waiting);
            (
                std::mem::take(&mut waiting.made),
                std::mem::take(&mut waiting.events),
            )
        };
        let nothing = made.is_empty() && events.is_empty();
        {
            let mut slots = lock(&self.slots);
            made.sort_by(|a, b| a.1.order().cmp(&b.1.order()));
            events.sort_by_key(|(sequence, _)| *sequence);
            for (placement, made) in made {
                if let Some(slot) = slots.get_mut(&placement) {
                    slot.learner.observe(made);
                }
            }
            for (_, event) in &events {
                slots.values_mut().for_each(|slot| slot.learner.reward(event));
            }
            for (name, slot) in slots.iter_mut() {
                slot.learner.expire();
                slot.learner.sequence = slot.learner.sequence.max(applied);
                let more = slot.learner.trials() - slot.written_trials;
                let old = now_us.saturating_sub(slot.written_us) >= WRITE_US;
                if more >= WRITE_TRIALS || (more > 0 && old) {
                    (slot.written_trials, slot.written_us) = (slot.learner.trials(), now_us);
                    if let Err(error) = write(&self.dir, name, &slot.learner) {
                        tracing::warn!(placement = name, "what was learnt could not be written: {error}");
                    }
                }
            }
        }
        if !nothing {
            self.believe();
        }
        !nothing
    }

    /// Writes down what was learnt.
    pub(crate) fn write(&self) -> Result<(), ServiceError> {
        let mut slots = lock(&self.slots);
        for (name, slot) in slots.iter_mut() {
            write(&self.dir, name, &slot.learner)?;
            slot.written_trials = slot.learner.trials();
        }
        Ok(())
    }

    /// Forgets a user.
    pub(crate) fn erase(&self, user: &UserId) -> Result<(), ServiceError> {
        if self.is_empty() {
            return Ok(());
        }
        {
            let mut waiting = lock(&self.waiting);
            waiting.events.retain(|(_, event)| event.user_id != *user);
            waiting.made.retain(|(_, made)| !made.is_of(user));
            let mut slots = lock(&self.slots);
            slots.values_mut().for_each(|slot| slot.learner.erase(user));
        }
        self.write()
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

/// Takes in what the logs have beyond the files: one pass over each, merged by time.
fn catch_up(
    slots: &mut BTreeMap<String, Slot>,
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
        if let (Some(config), Some(slot)) = (configs.get(&decision.placement), slots.get(&decision.placement))
        {
            let one = Made::of(&decision, config, &mut attributes);
            if !slot.learner.knows(&one) {
                made.push((decision.placement, one));
            }
        }
    });
    read.map_err(|e| ServiceError::io("reading decisions beside", dir, e))?;
    made.sort_by(|a, b| a.1.order().cmp(&b.1.order()));
    let mut made = made.into_iter().peekable();
    let head = stores.log.head();
    let from = slots
        .values()
        .map(|slot| slot.learner.sequence)
        .min()
        .unwrap_or_default();
    let mut n = 0u32;
    for batch in stores.log.scan(from.next(), head)? {
        for stored in batch? {
            if stored.event.decision_id.is_none() {
                continue;
            }
            while let Some((placement, one)) = made.next_if(|(_, one)| one.now <= stored.event.timestamp.0) {
                if let Some(slot) = slots.get_mut(&placement) {
                    slot.learner.observe(one);
                }
            }
            for slot in slots
                .values_mut()
                .filter(|slot| stored.sequence > slot.learner.sequence)
            {
                slot.learner.reward(&stored.event);
            }
            n += 1;
            if n.is_multiple_of(10_000) {
                slots.values_mut().for_each(|slot| slot.learner.expire());
            }
        }
    }
    for (placement, one) in made {
        if let Some(slot) = slots.get_mut(&placement) {
            slot.learner.observe(one);
        }
    }
    for slot in slots.values_mut() {
        slot.learner.expire();
        slot.learner.sequence = slot.learner.sequence.max(head);
    }
    Ok(())
}
