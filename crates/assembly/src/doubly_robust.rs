//! Learning from what one chose to show, doubly robust: what was not shown counts by what would have come of it, as far as that can be told.
//!
//! For each decision and each of its candidates, what a model learns from is `m + 1[shown]·w·(y − θ·m)`: y is the worth of what came of it, θ the probability that its place is looked at, w = 1/(P(it stands there)·θ), clipped, and m an imputation
//! of what comes of it once it is looked at. Without clipping the mean is right if either the propensities or the imputation are (Dudík, Langford and Li 2011, ICML; for recommenders Wang, Zhang, Sun and Qi 2019, ICML); and the variance is that of what the imputation leaves over, where inverse propensities
//! have that of the outcome. With clipping, what is cut off the weight is made up by m instead of being lost. A showing that nothing came of counts below zero where much was to be expected of it.
//!
//! m is the worth of an item per look, drawn towards that of all by `SHRINKAGE` looks, and comes from the people that the one at hand is not among (cross-fitted in halves). Of the candidates not shown some are drawn, each in place of as many as were not drawn. Where
//! a record does not have all its candidates, its outcomes count by inverse propensity alone (m = 0). In the end all is divided by what makes the outcomes of decisions together count what they were worth, so that decided and other events keep their proportion.
//!
//! Cost: one pass over the decision log, about 56 bytes for each item shown or drawn, and sorting them.

use crate::debias::{Labels, key, within_bounds};
use crate::learn::Extract;
use crate::{Service, ServiceError};
use domain::{Decision, ItemId, Sequence, Timestamp, UserId};
use hashbrown::HashMap;
use numeric::SeededStream;
use serde::{Deserialize, Serialize};

/// Looks at all items that an item's own are taken to be worth as much as.
const SHRINKAGE: f64 = 20.0;

/// Outcomes of decisions, and of what could have been shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoublyRobustConfig {
    /// Greatest weight of what is missing to the imputation, 1 to 10,000.
    pub clip: f64,
    /// Probability that a position is looked at, from the top; the last holds for all below; empty for 1 throughout.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examination: Vec<f64>,
    /// Candidates drawn from those of a decision that were not shown, 0 to 1000.
    pub imputed: usize,
}

impl Default for DoublyRobustConfig {
    fn default() -> Self {
        DoublyRobustConfig {
            clip: 20.0,
            examination: Vec::new(),
            imputed: 10,
        }
    }
}

impl DoublyRobustConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        within_bounds(self.clip, &self.examination)?;
        if self.imputed > 1000 {
            return Err(format!("imputed: got {}, expected 0 to 1000", self.imputed));
        }
        Ok(())
    }

    fn look(&self, place: usize) -> f64 {
        let look = self.examination.get(place).or(self.examination.last());
        look.copied().unwrap_or(1.0)
    }
}

/// An item of a decision, shown or drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    decision: u64,
    user: u32,
    item: u32,
    now: i64,
    shown: Option<Showing>,
    /// How many candidates it stands for; 0 where nothing is imputed.
    stands_for: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Showing {
    look: f64,
    weight: f64,
    worth: f64,
}

/// Ids by the order in which they were met.
struct Interned<T> {
    ids: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    fn new() -> Interned<T> {
        Interned {
            ids: Vec::new(),
            places: HashMap::new(),
        }
    }

    fn place(&mut self, id: &T) -> u32 {
        if let Some(place) = self.places.get(id) {
            return *place;
        }
        let place = self.ids.len() as u32;
        self.ids.push(id.clone());
        self.places.insert(id.clone(), place);
        place
    }
}

/// Worth and looks of items, by half of the people.
struct Imputation {
    items: [Vec<(f64, f64)>; 2],
    all: [(f64, f64); 2],
}

impl Imputation {
    fn of(entries: &[Entry], halves: &[bool], n_items: usize) -> Imputation {
        let mut made = Imputation {
            items: [vec![(0.0, 0.0); n_items], vec![(0.0, 0.0); n_items]],
            all: [(0.0, 0.0); 2],
        };
        for entry in entries {
            let Some(showing) = &entry.shown else { continue };
            let half = usize::from(halves[entry.user as usize]);
            for sums in [&mut made.items[half][entry.item as usize], &mut made.all[half]] {
                sums.0 += showing.worth;
                sums.1 += showing.look;
            }
        }
        made
    }

    /// For people of one half, from those of the other.
    fn expected(&self, half: bool, item: u32) -> f64 {
        let other = usize::from(!half);
        let (worth, looks) = self.all[other];
        let of_all = if looks > 0.0 { worth / looks } else { 0.0 };
        let (worth, looks) = self.items[other][item as usize];
        (worth + SHRINKAGE * of_all) / (looks + SHRINKAGE)
    }
}

/// What each entry counts, before all is scaled.
fn labels(entries: &[Entry], imputation: &Imputation, halves: &[bool]) -> Vec<f64> {
    let one = |entry: &Entry| {
        let m = match entry.stands_for > 0.0 {
            true => imputation.expected(halves[entry.user as usize], entry.item),
            false => 0.0,
        };
        match &entry.shown {
            None => entry.stands_for * m,
            Some(Showing { look, weight, worth }) => m + weight * (worth - look * m),
        }
    };
    entries.iter().map(one).collect()
}

impl Service {
    /// What decisions up to `head` say, in place of the events that carry them.
    pub(crate) fn doubly_robust_labels(
        &self,
        config: &DoublyRobustConfig,
        extract: &Extract<'_>,
    ) -> Result<Labels, ServiceError> {
        let is_in_time = |at: Timestamp| extract.before.is_none_or(|before| at < before);
        let mut worths: HashMap<(u64, u64), f64> = HashMap::new();
        for batch in self.stores.log.scan(Sequence(1), extract.head)? {
            for event in batch?.into_iter().map(|stored| stored.event) {
                let Some(decision) = event.decision_id.as_ref().filter(|_| is_in_time(event.timestamp))
                else {
                    continue;
                };
                let worth = f64::from(extract.event_types.strength(&event).unwrap_or(0.0));
                let key = key(decision.as_str(), event.item_id.as_str());
                *worths.entry(key).or_default() += worth;
            }
        }
        let (mut users, mut items) = (Interned::<UserId>::new(), Interned::<ItemId>::new());
        let mut entries: Vec<Entry> = Vec::new();
        let mut replaced: HashMap<(u64, u64), Option<f32>> = HashMap::new();
        let read = self.decisions.each(|stored| {
            // An order that was asked for shows nothing by itself.
            let is_order = stored
                .request
                .as_ref()
                .is_some_and(|asked| asked.get("rank").is_some());
            let decision = stored.decision;
            let user = decision
                .user_id
                .as_ref()
                .filter(|_| !is_order && is_in_time(decision.now));
            let Some(user) = user else {
                return;
            };
            let user = users.place(user);
            for showing in entries_of(&decision, user, config, &worths, &mut items) {
                entries.push(showing);
            }
            for shown in &decision.shown {
                let key = key(decision.decision_id.as_str(), shown.item_id.as_str());
                if worths.contains_key(&key) {
                    replaced.insert(key, None);
                }
            }
        });
        read.map_err(|e| ServiceError::io("reading", &self.dir.join("decisions"), e))?;
        // In a fixed order, so that sums do not depend on the order of the log's files.
        entries.sort_by(|a, b| {
            let id = |entry: &Entry| items.ids[entry.item as usize].as_str();
            a.decision.cmp(&b.decision).then_with(|| id(a).cmp(id(b)))
        });
        let hash = |user: &UserId| numeric::mix(numeric::hash_bytes(user.as_str().as_bytes())) & 1 == 1;
        let halves: Vec<bool> = users.ids.iter().map(hash).collect();
        let imputation = Imputation::of(&entries, &halves, items.ids.len());
        let labels = labels(&entries, &imputation, &halves);
        let total = |of: &dyn Fn(&Entry) -> f64| entries.iter().map(of).sum::<f64>();
        let worth = total(&|entry| entry.shown.map_or(0.0, |showing| showing.worth));
        let scale = worth / labels.iter().sum::<f64>();
        let scale = if scale.is_finite() && scale > 0.0 {
            scale
        } else {
            1.0
        };
        let row = |(entry, label): (&Entry, &f64)| {
            let (user, item) = (&users.ids[entry.user as usize], &items.ids[entry.item as usize]);
            let strength = (label * scale).clamp(-1e6, 1e6) as f32;
            (user.clone(), item.clone(), strength, Timestamp(entry.now))
        };
        let rows = entries.iter().zip(&labels).map(row);
        Ok(Labels {
            weights: replaced,
            rows: rows.filter(|(.., strength, _)| *strength != 0.0).collect(),
        })
    }
}

/// What is learnt from of a decision.
fn entries_of(
    decision: &Decision,
    user: u32,
    config: &DoublyRobustConfig,
    worths: &HashMap<(u64, u64), f64>,
    items: &mut Interned<ItemId>,
) -> Vec<Entry> {
    let id = decision.decision_id.as_str();
    let is_whole = decision.considered_cut == 0;
    let entry = |item: u32, shown: Option<Showing>, stands_for: f64| Entry {
        decision: numeric::hash_bytes(id.as_bytes()),
        user,
        item,
        now: decision.now.0,
        shown,
        stands_for,
    };
    let mut found = Vec::with_capacity(decision.shown.len() + config.imputed);
    for (place, shown) in decision.shown.iter().enumerate() {
        let propensity = shown.position_propensity.unwrap_or(shown.propensity).max(1e-12);
        let look = config.look(place);
        let worth = worths.get(&key(id, shown.item_id.as_str())).copied();
        let showing = Showing {
            look,
            weight: (1.0 / (propensity * look)).min(config.clip),
            worth: worth.unwrap_or(0.0),
        };
        let stands_for = if is_whole { 1.0 } else { 0.0 };
        found.push(entry(items.place(&shown.item_id), Some(showing), stands_for));
    }
    if !is_whole || config.imputed == 0 {
        return found;
    }
    let is_shown = |item: &ItemId| decision.shown.iter().any(|shown| shown.item_id == *item);
    let mut others: Vec<&ItemId> = decision
        .considered
        .iter()
        .map(|considered| &considered.item_id)
        .filter(|item| !is_shown(item))
        .collect();
    let drawn = config.imputed.min(others.len());
    let stands_for = others.len() as f64 / drawn.max(1) as f64;
    let mut stream = SeededStream::new(decision.seed, numeric::hash_bytes(id.as_bytes()));
    for at in 0..drawn {
        let with = at + stream.below((others.len() - at) as u64) as usize;
        others.swap(at, with);
        found.push(entry(items.place(others[at]), None, stands_for));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(user: u32, item: u32, look: f64, weight: f64, worth: f64) -> Entry {
        Entry {
            decision: 0,
            user,
            item,
            now: 0,
            shown: Some(Showing { look, weight, worth }),
            stands_for: 1.0,
        }
    }

    #[test]
    fn labels_by_hand() {
        // Two people in different halves: what is imputed to one comes from the other.
        let halves = [false, true];
        let entries = [
            shown(0, 0, 1.0, 2.0, 1.0),
            shown(1, 0, 0.5, 4.0, 0.0),
            shown(1, 1, 1.0, 1.0, 3.0),
            Entry {
                shown: None,
                stands_for: 7.0,
                ..shown(0, 1, 1.0, 1.0, 0.0)
            },
            Entry {
                stands_for: 0.0,
                ..shown(0, 1, 0.5, 8.0, 2.0)
            },
        ];
        let imputation = Imputation::of(&entries, &halves, 2);
        // Of the second person: all (3, 1.5); item 0 (0, 0.5), item 1 (3, 1). Of the first: all (3, 1.5), item 0 (1, 1), item 1 (2, 0.5).
        let mean = 20.0 * 3.0 / 1.5;
        let first = [mean / 20.5, (3.0 + mean) / 21.0];
        let second = [(1.0 + mean) / 21.0, (2.0 + mean) / 20.5];
        let expected = [
            first[0] + 2.0 * (1.0 - first[0]),
            second[0] + 4.0 * (0.0 - 0.5 * second[0]),
            second[1] + (3.0 - second[1]),
            7.0 * first[1],
            8.0 * 2.0,
        ];
        for (found, expected) in labels(&entries, &imputation, &halves).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    /// The mean over everything that could have been shown and come of it is what comes of showing: with right propensities and any imputation, and with the right imputation and any propensities.
    #[test]
    fn the_mean_is_right_if_either_is() {
        let (truth, propensity, look) = (0.3, 0.1, 0.6);
        let mean = |m: f64, told: f64| {
            let weight = 1.0 / (told * look);
            let clicked = propensity * look * truth;
            let label = |shown: bool, y: f64| m + if shown { weight * (y - look * m) } else { 0.0 };
            clicked * label(true, 1.0)
                + (propensity - clicked) * label(true, 0.0)
                + (1.0 - propensity) * label(false, 0.0)
        };
        for wrong in [0.05, 0.5] {
            assert!((mean(wrong, propensity) - truth).abs() < 1e-12);
            assert!((mean(truth, wrong) - truth).abs() < 1e-12);
            assert!((mean(wrong, 2.0 * propensity) - truth).abs() > 0.01);
        }
    }
}
