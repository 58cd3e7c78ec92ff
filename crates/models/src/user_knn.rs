//! User neighbourhoods: what people with a like history took.
//!
//! sim(u, v) = Σ xₕqₕ² over the items h of both / (‖u‖·‖v‖ + `shrinkage`), with qₕ = people of h to the minus
//! `item_exponent` (rare items say more), xₕ the strength of the event over the mean strength, at most 1, and ‖·‖ the
//! length of the vector of xq. Of the `neighbours` most similar people N, score(c) = Σᵥ∈N sim(u, v)ᵉ [v took c], with
//! e the `sharpness` (Resnick et al. 1994, "GroupLens"; Herlocker et al. 1999, "An algorithmic framework for
//! performing collaborative filtering"; here on implicit data).
//!
//! Who asks is a history, not a row of the training: a newcomer is compared like everyone else. Ties go to the person
//! who came first in the data. Nothing is random.
//! Cost: nothing to train; Σ over the history of the people of each item to answer, and the lists of the neighbours.
//! Memory: 16 bytes per entry. Limit: the people that one is compared with are those of the training, and their
//! lists stay in the model until the next one.

use crate::artefact::{Reader, Writer, seal};
use crate::common::{append, best_allowed, of_history, parse, shown, usable, within};
use crate::gathered::Gathered;
use crate::memo::{Kept, Memo};
use crate::staleness::{kept, passed_over};
use crate::taken::{Taken, of_rows};
use crate::{Model, ModelError, Run, TopItems, Trainer, TrainingData, UpdateGuarantee, UpdateReport};
use dataset::{Interaction, Vocabulary};
use domain::{Evidence, Explanation, HistoryEvent, ItemId};
use numeric::{Csr, TopK};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) const NAME: &str = "user-knn";

/// Configuration of user neighbourhoods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserKnnConfig {
    /// People asked. Default 200.
    pub neighbours: usize,
    /// Added to the denominator; draws likeness that rests on little to zero. Default 0.1.
    pub shrinkage: f32,
    /// Items count by frequency to the minus this, 0 to 1. Default 0.3.
    pub item_exponent: f32,
    /// Power of the similarity that a neighbour counts with, 0.1 to 5. Default 1.
    pub sharpness: f32,
    /// Latest events of a history that count. Default 500.
    pub history_max: usize,
}

impl Default for UserKnnConfig {
    fn default() -> Self {
        UserKnnConfig {
            neighbours: 200,
            shrinkage: 0.1,
            item_exponent: 0.3,
            sharpness: 1.0,
            history_max: 500,
        }
    }
}

impl UserKnnConfig {
    fn read(config: &serde_json::Value) -> Result<UserKnnConfig, ModelError> {
        let config: UserKnnConfig = parse(NAME, config)?;
        within(NAME, "neighbours", config.neighbours as f64, 1.0, 1e6)?;
        within(NAME, "shrinkage", f64::from(config.shrinkage), 0.0, 1e6)?;
        within(NAME, "item_exponent", f64::from(config.item_exponent), 0.0, 1.0)?;
        within(NAME, "sharpness", f64::from(config.sharpness), 0.1, 5.0)?;
        within(NAME, "history_max", config.history_max as f64, 1.0, 1e6)?;
        Ok(config)
    }
}

/// Learns user neighbourhoods.
#[derive(Debug, Clone)]
pub struct UserKnnTrainer {
    config: UserKnnConfig,
}

impl UserKnnTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        let config = UserKnnConfig::read(config)?;
        Ok(Box::new(UserKnnTrainer { config }))
    }
}

impl Trainer for UserKnnTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        let taken = Taken::of(data)?;
        run.check()?;
        let whole = |list: &Vec<u32>| {
            list.iter()
                .map(|place| (taken.items[*place as usize], 1.0))
                .collect()
        };
        let lists = taken.users.iter().filter(|list| !list.is_empty());
        let lists = of_rows(data.interactions.n_items(), lists.map(whole));
        let vocabulary = Arc::clone(&data.interactions.items);
        Ok(Box::new(UserKnn::new(
            self.config.clone(),
            vocabulary,
            lists,
            taken.mean_strength,
        )))
    }
}

#[derive(Clone)]
pub(crate) struct UserKnn {
    config: UserKnnConfig,
    vocabulary: Arc<Vocabulary>,
    /// Items by person.
    lists: Arc<Csr>,
    /// People by item.
    people: Arc<Csr>,
    /// qₕ² by item; zero for an item nobody took.
    says: Arc<Vec<f32>>,
    /// Length of each person's vector.
    norms: Arc<Vec<f32>>,
    mean_strength: f32,
    memo: Memo,
}

/// What was found for a history.
struct Found {
    /// (person, what one shared unit of qₕ² counts).
    neighbours: Vec<(u32, f32)>,
    scores: Gathered,
}

impl Kept for Found {
    fn bytes(&self) -> usize {
        self.neighbours.len() * 8 + self.scores.bytes()
    }
}

impl UserKnn {
    fn new(config: UserKnnConfig, vocabulary: Arc<Vocabulary>, lists: Csr, mean_strength: f32) -> UserKnn {
        let people = lists.transpose();
        let says: Vec<f32> = (0..people.n_rows())
            .map(|item| match people.row(item).0.len() {
                0 => 0.0,
                count => (count as f64).powf(-2.0 * f64::from(config.item_exponent)) as f32,
            })
            .collect();
        let norm = |person: usize| {
            let (items, _) = lists.row(person);
            items.iter().map(|item| says[*item as usize]).sum::<f32>().sqrt()
        };
        let norms = (0..lists.n_rows()).map(norm).collect();
        UserKnn {
            config,
            vocabulary,
            people: Arc::new(people),
            lists: Arc::new(lists),
            says: Arc::new(says),
            norms: Arc::new(norms),
            mean_strength,
            memo: Memo::default(),
        }
    }

    /// Usable positive history with its x; an item that comes again counts once, with its strongest.
    fn inputs(&self, history: &[HistoryEvent]) -> Vec<(u32, f32)> {
        let used = usable(history, self.says.len(), self.config.history_max);
        let positive = used.filter(|(item, weight)| *weight > 0.0 && self.knows(*item));
        let mut inputs: Vec<(u32, f32)> = positive
            .map(|(item, weight)| (item, (weight / self.mean_strength).min(1.0)))
            .collect();
        inputs.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        inputs.dedup_by_key(|(item, _)| *item);
        inputs
    }

    fn find(&self, history: &[HistoryEvent]) -> Found {
        let inputs = self.inputs(history);
        let says = |item: u32| self.says[item as usize];
        let norm = inputs
            .iter()
            .map(|(item, x)| x * x * says(*item))
            .sum::<f32>()
            .sqrt();
        let mut shared = vec![0f32; self.lists.n_rows()];
        for (item, x) in &inputs {
            let part = x * says(*item);
            let (people, _) = self.people.row(*item as usize);
            people.iter().for_each(|person| shared[*person as usize] += part);
        }
        let mut top = TopK::new(self.config.neighbours, |a: u32, b: u32| a.cmp(&b));
        for (person, shared) in (0u32..).zip(&shared).filter(|(_, shared)| **shared > 0.0) {
            let scale = norm * self.norms[person as usize] + self.config.shrinkage;
            top.push(person, shared / scale);
        }
        let neighbours = top.finish();
        let work: usize = neighbours
            .iter()
            .map(|(p, _)| self.lists.row(*p as usize).0.len())
            .sum();
        let mut scores = Gathered::new(self.vocabulary.len(), work);
        let mut units = Vec::with_capacity(neighbours.len());
        for (person, similarity) in neighbours {
            let counts = similarity.powf(self.config.sharpness);
            units.push((person, counts / shared[person as usize]));
            let (items, _) = self.lists.row(person as usize);
            scores.add_row(counts, items.iter().map(|item| (*item, 1.0)));
        }
        Found {
            neighbours: units,
            scores,
        }
    }

    fn found(&self, history: &[HistoryEvent]) -> Arc<Found> {
        self.memo.of(history, || self.find(history))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.json(&shown(&self.config));
        to.vocabulary(&self.vocabulary);
        to.f32(self.mean_strength);
        to.u32(self.lists.n_columns() as u32);
        let (offsets, items, _) = self.lists.parts();
        to.u32s(
            &offsets
                .windows(2)
                .map(|w| (w[1] - w[0]) as u32)
                .collect::<Vec<_>>(),
        );
        to.u32s(items);
    }

    pub(crate) fn load(payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(NAME, payload);
        let config = UserKnnConfig::read(&from.json()?).map_err(|e| from.damaged(e.to_string()))?;
        let vocabulary = from.vocabulary()?;
        let mean_strength = from.f32()?;
        let n_items = from.u32()? as usize;
        let (lengths, items) = (from.u32s()?, from.u32s()?);
        from.end()?;
        from.expect(n_items <= vocabulary.len(), "more items than ids")?;
        from.expect(
            mean_strength > 1e-30 && mean_strength.is_finite(),
            "the mean strength is out of range",
        )?;
        let mut offsets = vec![0usize];
        offsets.extend(lengths.iter().scan(0usize, |at, length| {
            *at += *length as usize;
            Some(*at)
        }));
        let ones = vec![1.0; items.len()];
        let lists =
            Csr::from_parts(n_items, offsets, items, ones).map_err(|e| from.damaged(e.to_string()))?;
        Ok(Box::new(UserKnn::new(config, vocabulary, lists, mean_strength)))
    }
}

impl Model for UserKnn {
    fn name(&self) -> &'static str {
        NAME
    }

    fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    fn knows(&self, item: u32) -> bool {
        self.says.get(item as usize).is_some_and(|says| *says > 0.0)
    }

    fn personal(&self, history: &[HistoryEvent]) -> bool {
        !self.inputs(history).is_empty()
    }

    fn score(&self, history: &[HistoryEvent], candidates: &[u32], scores: &mut [f32]) {
        let found = self.found(history);
        for (item, score) in candidates.iter().zip(scores) {
            *score = found.scores.get(*item);
        }
    }

    fn recommend(&self, history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        self.found(history).scores.best(&self.vocabulary, n, allowed)
    }

    /// By cosine over the people of both.
    fn similar(&self, item: u32, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        if !self.knows(item) {
            return Vec::new();
        }
        let count = |item: u32| self.people.row(item as usize).0.len() as f32;
        let mut both = vec![0f32; self.says.len()];
        for person in self.people.row(item as usize).0 {
            let (items, _) = self.lists.row(*person as usize);
            items.iter().for_each(|other| both[*other as usize] += 1.0);
        }
        both[item as usize] = 0.0;
        let scored = (0u32..).zip(both).filter(|(_, both)| *both > 0.0);
        let scored = scored.map(|(other, both)| (other, both / (count(item) * count(other)).sqrt()));
        best_allowed(&self.vocabulary, n, allowed, scored)
    }

    fn explain(&self, history: &[HistoryEvent], item: u32) -> Explanation {
        of_history(NAME, self.evidence(history, &[item]))
    }

    /// What an item of the history adds: through each neighbour who took both, in proportion to what it adds to the
    /// likeness.
    fn evidence(&self, history: &[HistoryEvent], items: &[u32]) -> Vec<Evidence> {
        let found = self.found(history);
        let inputs = self.inputs(history);
        let mut parts = vec![0f32; inputs.len() * items.len()];
        for (person, unit) in &found.neighbours {
            let (taken, _) = self.lists.row(*person as usize);
            let shown: Vec<usize> = (0..items.len())
                .filter(|at| taken.binary_search(&items[*at]).is_ok())
                .collect();
            if shown.is_empty() {
                continue;
            }
            for (own, (item, x)) in inputs.iter().enumerate() {
                if taken.binary_search(item).is_ok() {
                    let part = unit * x * self.says[*item as usize];
                    shown.iter().for_each(|at| parts[at * inputs.len() + own] += part);
                }
            }
        }
        let evidence = |at: usize| {
            let own = &parts[at * inputs.len()..(at + 1) * inputs.len()];
            let parts = inputs.iter().zip(own).filter(|(_, part)| **part != 0.0);
            Evidence {
                history: parts.map(|((item, _), part)| (*item, *part)).collect(),
                ..Evidence::default()
            }
        };
        (0..items.len()).map(evidence).collect()
    }

    fn guarantee(&self) -> UpdateGuarantee {
        UpdateGuarantee::Ignored(
            "people are answered from their history as it is, but compared with people as they were in training",
        )
    }

    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport {
        append(&mut self.vocabulary, new_items);
        self.memo.renew();
        passed_over(interactions, histories, self.mean_strength)
    }

    fn erase(&mut self, events: &[Interaction]) -> UpdateReport {
        kept(events, self.mean_strength)
    }

    fn fork(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn save(&self, to: &mut Vec<u8>) {
        seal(NAME, to, |to| self.write(to));
    }

    fn memory_bytes(&self) -> usize {
        self.lists.memory_bytes() + self.people.memory_bytes() + (self.says.len() + self.norms.len()) * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::InteractionsBuilder;
    use domain::{Timestamp, UserId};

    /// Against the formula, person by person.
    #[test]
    fn scores_are_those_of_the_formula() {
        let mut stream = numeric::SeededStream::new(4, 0);
        let mut lists: Vec<Vec<u32>> = Vec::new();
        let mut builder = InteractionsBuilder::default();
        (0..12u32).for_each(|item| {
            builder.item(&ItemId::new(format!("i{item:02}")).unwrap());
        });
        for user in 0..30 {
            let list: Vec<u32> = (0..12u32).filter(|_| stream.uniform() < 0.3).collect();
            for item in &list {
                let (user, item) = (
                    UserId::new(format!("u{user:02}")),
                    ItemId::new(format!("i{item:02}")),
                );
                builder.push(&user.unwrap(), &item.unwrap(), 1.0, Timestamp(0));
            }
            lists.push(list);
        }
        let data = TrainingData {
            interactions: Arc::new(builder.build()),
            features: Arc::default(),
            user_features: Arc::default(),
            now: Timestamp(0),
        };
        let (shrinkage, a, e) = (0.2, 0.35, 1.5);
        let config =
            serde_json::json!({"neighbours": 7, "shrinkage": shrinkage, "item_exponent": a, "sharpness": e});
        let model = UserKnnTrainer::build(&config)
            .unwrap()
            .fit(&data, &Run::new(0, 1))
            .unwrap();
        let history = [(1u32, 1.0f64), (3, 0.5), (8, 1.0)];
        let events: Vec<HistoryEvent> = history
            .iter()
            .map(|(item, x)| HistoryEvent {
                item: *item,
                weight: *x as f32,
                age_days: 0.0,
            })
            .collect();
        let count = |i: u32| lists.iter().filter(|list| list.contains(&i)).count() as f64;
        let q = |i: u32| count(i).powf(-a);
        let own: f64 = history
            .iter()
            .map(|(i, x)| (x * q(*i)).powi(2))
            .sum::<f64>()
            .sqrt();
        let mut likeness: Vec<(f64, usize)> = lists
            .iter()
            .enumerate()
            .map(|(v, list)| {
                let norm: f64 = list.iter().map(|i| q(*i).powi(2)).sum::<f64>().sqrt();
                let shared = history.iter().filter(|(i, _)| list.contains(i));
                let shared: f64 = shared.map(|(i, x)| x * q(*i).powi(2)).sum();
                (shared / (own * norm + shrinkage), v)
            })
            .collect();
        likeness.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
        for candidate in 0..12u32 {
            let near = likeness[..7]
                .iter()
                .filter(|(_, v)| lists[*v].contains(&candidate));
            let expected: f64 = near.map(|(s, _)| s.powf(e)).sum();
            let mut score = [0f32];
            model.score(&events, &[candidate], &mut score);
            assert!(
                (f64::from(score[0]) - expected).abs() < 1e-5,
                "{candidate}: {} {expected}",
                score[0]
            );
        }
    }
}
