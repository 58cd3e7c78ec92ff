//! Content neighbours: items described like those of the history.
//!
//! Every item is a sparse vector of length one over terms `attribute=value`. Categories, tags and
//! references weigh by rarity; texts by BM25 (Robertson and Zaragoza 2009); quantities and moments are
//! spread over a grid so that near values share terms; places over a grid of two dimensions (limit: it does not wrap
//! at 180 degrees); embeddings enter dimension by dimension. Each attribute has length √(its weight) before the
//! vector is brought to length one, so an attribute with many values does not drown the others.
//!
//! score(c) = p·v(c) / ‖p‖ with the profile p = Σ wₕv(h) over the last `history_max` items of the history: a cosine,
//! which takes itself apart by history item and by term.
//!
//! Needs no interactions. New and changed items are read at once ([`Model::absorb_items`]) with the rarities of
//! the training; a term new since counts as seen once. They lie beside the index and are scored one by one until they are
//! more than an eighth of it, then both are merged.
//! Cost: terms of all items to train; to rank, the postings of the profile's terms. Nothing is random.

use crate::artefact::{Reader, Writer, seal};
use crate::common::{append, best_allowed, of_history, parse, shown, usable, within};
use crate::content_terms::{
    Analyser, Bm25, Described, FieldStatistics, TermTable, TermVector, describe, load_fields, rows_of,
    write_fields,
};
use crate::memo::{Kept, Memo};
use crate::{
    ItemFeatures, Model, ModelError, Run, TopItems, Trainer, TrainingData, UpdateGuarantee, UpdateReport,
};
use dataset::{Interaction, Vocabulary};
use domain::{Evidence, Explanation, HistoryEvent, ItemId};
use hashbrown::HashMap;
use numeric::Csr;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub(crate) const NAME: &str = "content";

/// Items beside the index that are always allowed.
const BESIDE_MIN: usize = 1024;

/// Terms up to which a vector is spread out over all of them.
const SPREAD_MAX: usize = 1 << 16;

/// Configuration of content neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContentConfig {
    /// How much an attribute counts, by name; 0 leaves it out. Others: 1, places 0.5, quantities and moments 0.25.
    pub field_weights: BTreeMap<String, f32>,
    /// How slowly a repeated word saturates. Default 1.2.
    pub k1: f32,
    /// How much words of long texts count less, 0 to 1. Default 0.75.
    pub b: f32,
    /// Latest events of a history that make the profile. Default 50.
    pub history_max: usize,
}

impl Default for ContentConfig {
    fn default() -> Self {
        ContentConfig {
            field_weights: BTreeMap::new(),
            k1: 1.2,
            b: 0.75,
            history_max: 50,
        }
    }
}

impl ContentConfig {
    fn check(&self) -> Result<(), ModelError> {
        for (field, weight) in &self.field_weights {
            within(
                NAME,
                &format!("field_weights.{field}"),
                f64::from(*weight),
                0.0,
                1e6,
            )?;
        }
        within(NAME, "k1", f64::from(self.k1), 0.0, 1e3)?;
        within(NAME, "b", f64::from(self.b), 0.0, 1.0)?;
        within(NAME, "history_max", self.history_max as f64, 1.0, 1e6)
    }

    fn analyser(&self, fields: BTreeMap<String, FieldStatistics>) -> Analyser {
        Analyser {
            bm25: Bm25 {
                k1: self.k1,
                b: self.b,
            },
            weights: self.field_weights.clone(),
            fields,
        }
    }
}

/// Learns content neighbours.
#[derive(Debug, Clone)]
pub struct ContentTrainer {
    config: ContentConfig,
}

impl ContentTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        let config: ContentConfig = parse(NAME, config)?;
        config.check()?;
        Ok(Box::new(ContentTrainer { config }))
    }

    fn train(&self, data: &TrainingData) -> Result<Content, ModelError> {
        let vocabulary = Arc::clone(&data.interactions.items);
        let empty = ItemFeatures::new();
        let features = |item: usize| data.features.get(item).unwrap_or(&empty);
        let n_items = vocabulary.len();
        let Some(described) = describe(
            n_items,
            features,
            |fields| self.config.analyser(fields),
            1,
            usize::MAX,
        ) else {
            return Err(ModelError::Empty("no item has attributes".to_owned()));
        };
        let Described {
            analyser,
            table,
            vectors,
        } = described;
        let index = Index::of(vectors);
        Ok(Content {
            config: self.config.clone(),
            analyser: Arc::new(analyser),
            vocabulary,
            table: Arc::new(table),
            index: Arc::new(index),
            beside: BTreeMap::new(),
            memo: Memo::default(),
        })
    }
}

impl Trainer for ContentTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        run.check()?;
        let model = numeric::on_threads(run.threads, || self.train(data))?;
        run.check()?;
        Ok(Box::new(model))
    }
}

/// Vectors by item and postings by term.
#[derive(Debug)]
struct Index {
    vectors: Csr,
    postings: Csr,
}

impl Index {
    fn of(vectors: Csr) -> Index {
        let postings = vectors.transpose();
        Index { vectors, postings }
    }
}

#[derive(Clone)]
pub(crate) struct Content {
    config: ContentConfig,
    analyser: Arc<Analyser>,
    vocabulary: Arc<Vocabulary>,
    table: Arc<TermTable>,
    index: Arc<Index>,
    /// Items that came or changed since the index was made.
    beside: BTreeMap<u32, Arc<TermVector>>,
    memo: Memo,
}

/// Σ wₕv(h) / ‖·‖: terms ascending.
struct Profile {
    terms: Vec<(u32, f32)>,
    /// The same, to look up.
    table: HashMap<u32, f32>,
    /// History items with their strengths over the norm.
    parts: Vec<(u32, f32)>,
    /// Products with all items of the index, once somebody asked for the best of them.
    sums: OnceLock<Vec<f32>>,
    /// How many those are.
    n_sums: usize,
}

/// Weights of the terms that two vectors share, terms ascending.
fn shared_terms<'a>(
    a: (&'a [u32], &'a [f32]),
    b: (&'a [u32], &'a [f32]),
) -> impl Iterator<Item = (f32, f32)> + 'a {
    let mut at = 0;
    a.0.iter().zip(a.1).filter_map(move |(term, weight)| {
        at += b.0[at..].iter().take_while(|other| *other < term).count();
        (b.0.get(at) == Some(term)).then(|| (*weight, b.1[at]))
    })
}

impl Kept for Profile {
    fn bytes(&self) -> usize {
        self.terms.len() * 24 + self.parts.len() * 8 + self.n_sums * 4
    }
}

impl Content {
    fn vector(&self, item: u32) -> (&[u32], &[f32]) {
        match self.beside.get(&item) {
            Some(vector) => (&vector.terms, &vector.weights),
            None => self.index.vectors.row(item as usize),
        }
    }

    fn profile(&self, parts: impl Iterator<Item = (u32, f32)>) -> Profile {
        let parts: Vec<(u32, f32)> = parts.filter(|(item, _)| self.knows(*item)).collect();
        let total: f64 = parts.iter().map(|(_, w)| f64::from(w.abs())).sum();
        let mut sums: HashMap<u32, f64> = HashMap::new();
        for (item, weight) in &parts {
            let (terms, weights) = self.vector(*item);
            let share = f64::from(*weight) / total;
            for (term, value) in terms.iter().zip(weights) {
                *sums.entry(*term).or_insert(0.0) += share * f64::from(*value);
            }
        }
        let mut sums: Vec<(u32, f64)> = sums.into_iter().collect();
        sums.sort_unstable_by_key(|(term, _)| *term);
        let norm = sums.iter().map(|(_, s)| s * s).sum::<f64>().sqrt();
        if norm < 1e-9 {
            return Profile {
                terms: Vec::new(),
                table: HashMap::new(),
                parts: Vec::new(),
                sums: OnceLock::new(),
                n_sums: 0,
            };
        }
        let part = |(item, weight): &(u32, f32)| (*item, (f64::from(*weight) / total / norm) as f32);
        let terms: Vec<(u32, f32)> = sums
            .into_iter()
            .map(|(term, sum)| (term, (sum / norm) as f32))
            .collect();
        Profile {
            table: terms.iter().copied().collect(),
            terms,
            parts: parts.iter().map(part).collect(),
            sums: OnceLock::new(),
            n_sums: self.index.vectors.n_rows(),
        }
    }

    /// The profile, kept for the next question about this history.
    fn of_history(&self, history: &[HistoryEvent]) -> Arc<Profile> {
        self.memo.of(history, || {
            self.profile(usable(history, self.vocabulary.len(), self.config.history_max))
        })
    }

    /// Product with one vector, terms ascending: the same sum as over the postings.
    fn product(&self, profile: &HashMap<u32, f32>, item: u32) -> f32 {
        let (terms, weights) = self.vector(item);
        let mut sum = 0f32;
        for (term, weight) in terms.iter().zip(weights) {
            if let Some(value) = profile.get(term) {
                sum += value * weight;
            }
        }
        sum
    }

    fn rank(&self, profile: &Profile, n: usize, admitted: &dyn Fn(u32) -> bool) -> TopItems {
        if profile.terms.is_empty() {
            return Vec::new();
        }
        let sums = profile.sums.get_or_init(|| {
            let mut sums = vec![0f32; self.index.vectors.n_rows()];
            for (term, value) in &profile.terms {
                let (items, weights) = self.index.postings.row(*term as usize);
                for (item, weight) in items.iter().zip(weights) {
                    sums[*item as usize] += value * weight;
                }
            }
            sums
        });
        let indexed = (0u32..)
            .zip(sums.iter().copied())
            .filter(|(item, sum)| *sum != 0.0 && !self.beside.contains_key(item));
        let beside = self.beside.keys();
        let beside = beside.map(|item| (*item, self.product(&profile.table, *item)));
        best_allowed(&self.vocabulary, n, admitted, indexed.chain(beside))
    }

    /// Makes one index of the old one and what lies beside it.
    fn merge(&mut self) {
        let vectors = (0..self.vocabulary.len() as u32).map(|item| {
            let (terms, weights) = self.vector(item);
            TermVector {
                terms: terms.to_vec(),
                weights: weights.to_vec(),
            }
        });
        self.index = Arc::new(Index::of(rows_of(vectors, self.table.len())));
        self.beside.clear();
    }

    fn absorb(&mut self, id: &ItemId, features: &ItemFeatures) -> bool {
        let analyser = Arc::clone(&self.analyser);
        let mut unseen: Vec<String> = Vec::new();
        let mut vector = analyser.vector(features, |name| {
            let known = self
                .table
                .position(name)
                .map(|term| (term, self.table.rarity(term)));
            known.or_else(|| {
                unseen.push(name.to_owned());
                None
            })
        });
        if !unseen.is_empty() {
            let table = Arc::make_mut(&mut self.table);
            unseen.iter().for_each(|name| {
                table.insert(name, 1);
            });
            let table = &self.table;
            vector = analyser.vector(features, |name| {
                table.position(name).map(|term| (term, table.rarity(term)))
            });
        }
        let position = self.vocabulary.position(id.as_str());
        let position = position.unwrap_or_else(|| Arc::make_mut(&mut self.vocabulary).insert(id));
        let any = !vector.terms.is_empty();
        self.beside.insert(position, Arc::new(vector));
        any
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.json(&shown(&self.config));
        write_fields(&self.analyser.fields, to);
        to.vocabulary(&self.vocabulary);
        self.table.write(to);
        let items = 0..self.vocabulary.len() as u32;
        let vectors = || items.clone().map(|item| self.vector(item));
        to.u32s(&vectors().map(|v| v.0.len() as u32).collect::<Vec<_>>());
        to.u32s(&vectors().flat_map(|v| v.0.iter().copied()).collect::<Vec<_>>());
        to.f32s(&vectors().flat_map(|v| v.1.iter().copied()).collect::<Vec<_>>());
    }

    pub(crate) fn load(payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(NAME, payload);
        let config: ContentConfig = parse(NAME, &from.json()?).map_err(|e| from.damaged(e.to_string()))?;
        config.check().map_err(|e| from.damaged(e.to_string()))?;
        let fields = load_fields(&mut from)?;
        let vocabulary = from.vocabulary()?;
        let table = TermTable::load(&mut from)?;
        let (lengths, columns, values) = (from.u32s()?, from.u32s()?, from.f32s()?);
        from.end()?;
        from.expect(lengths.len() == vocabulary.len(), "a vector per item expected")?;
        from.expect(values.iter().all(|v| v.abs() <= 1.01), "a weight is out of range")?;
        let mut offsets = vec![0usize];
        offsets.extend(lengths.iter().scan(0usize, |at, length| {
            *at += *length as usize;
            Some(*at)
        }));
        let vectors = Csr::from_parts(table.len(), offsets, columns, values)
            .map_err(|e| from.damaged(e.to_string()))?;
        let postings = vectors.transpose();
        Ok(Box::new(Content {
            analyser: Arc::new(config.analyser(fields)),
            config,
            vocabulary,
            table: Arc::new(table),
            index: Arc::new(Index { vectors, postings }),
            beside: BTreeMap::new(),
            memo: Memo::default(),
        }))
    }
}

impl Model for Content {
    fn name(&self) -> &'static str {
        NAME
    }

    fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    fn knows(&self, item: u32) -> bool {
        !self.vector(item).0.is_empty()
    }

    fn personal(&self, history: &[HistoryEvent]) -> bool {
        usable(history, self.vocabulary.len(), self.config.history_max)
            .any(|(item, weight)| weight > 0.0 && self.knows(item))
    }

    fn score(&self, history: &[HistoryEvent], candidates: &[u32], scores: &mut [f32]) {
        let whole = self.of_history(history);
        let sums = whole.sums.get();
        for (item, score) in candidates.iter().zip(scores) {
            let known = sums.and_then(|sums| sums.get(*item as usize));
            let known = known.filter(|_| !self.beside.contains_key(item));
            *score = known.map_or_else(|| self.product(&whole.table, *item), |sum| *sum);
        }
    }

    fn recommend(&self, history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        self.rank(&self.of_history(history), n, allowed)
    }

    fn similar(&self, item: u32, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        let profile = self.profile(std::iter::once((item, 1.0)));
        self.rank(&profile, n, &|other| other != item && allowed(other))
    }

    fn explain(&self, history: &[HistoryEvent], item: u32) -> Explanation {
        of_history(NAME, self.evidence(history, &[item]))
    }

    fn evidence(&self, history: &[HistoryEvent], items: &[u32]) -> Vec<Evidence> {
        let whole = self.of_history(history);
        // One item's vector spread out, so that each product costs the terms of the other side alone; where there are so many
        // terms that clearing room for all of them costs more, the two are merged.
        let mut spread = vec![
            0f32;
            if self.table.len() <= SPREAD_MAX {
                self.table.len()
            } else {
                0
            }
        ];
        let of_item = |item: &u32| {
            let (terms, weights) = self.vector(*item);
            if !spread.is_empty() {
                for (term, weight) in terms.iter().zip(weights) {
                    spread[*term as usize] = *weight;
                }
            }
            let part = |(own, share): &(u32, f32)| {
                let other = self.vector(*own);
                let product: f32 = if spread.is_empty() {
                    shared_terms(other, (terms, weights)).map(|(a, b)| a * b).sum()
                } else {
                    let both = other.0.iter().zip(other.1);
                    both.map(|(term, weight)| weight * spread[*term as usize]).sum()
                };
                (*own, share * product)
            };
            let history = whole.parts.iter().map(part).collect();
            if !spread.is_empty() {
                terms.iter().for_each(|term| spread[*term as usize] = 0.0);
            }
            Evidence { history, rest: 0.0 }
        };
        items.iter().map(of_item).collect()
    }

    fn features_shared(&self, history: &[HistoryEvent], item: u32, n: usize) -> Vec<(String, f32)> {
        let whole = self.of_history(history);
        let profile = &whole.table;
        let (terms, weights) = self.vector(item);
        let shared = terms.iter().zip(weights).filter_map(|(term, weight)| {
            let value = profile.get(term)? * weight;
            (value > 0.0).then_some((*term, value))
        });
        let strongest = numeric::top_k(n, shared);
        strongest
            .into_iter()
            .map(|(term, value)| (self.table.name(term).to_owned(), value))
            .collect()
    }

    fn guarantee(&self) -> UpdateGuarantee {
        UpdateGuarantee::Exact // Events do not enter at all.
    }

    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        _histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport {
        append(&mut self.vocabulary, new_items);
        if !new_items.is_empty() {
            self.memo.renew();
        }
        UpdateReport {
            absorbed: 0,
            ignored: interactions.len(),
            moved: 0.0,
            ..UpdateReport::default()
        }
    }

    fn erase(&mut self, events: &[Interaction]) -> UpdateReport {
        // Nothing is learnt from events.
        UpdateReport {
            absorbed: 0,
            ignored: events.len(),
            moved: 0.0,
            ..UpdateReport::default()
        }
    }

    fn absorb_items(&mut self, items: &[(ItemId, ItemFeatures)]) -> usize {
        let absorbed = items
            .iter()
            .filter(|(id, features)| self.absorb(id, features))
            .count();
        if self.beside.len() > BESIDE_MIN.max(self.index.vectors.n_rows() / 8) {
            self.merge();
        }
        self.memo.renew();
        absorbed
    }

    fn fork(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn save(&self, to: &mut Vec<u8>) {
        seal(NAME, to, |to| self.write(to));
    }

    fn memory_bytes(&self) -> usize {
        let beside: usize = self.beside.values().map(|v| v.terms.len() * 8 + 80).sum();
        let index = self.index.vectors.memory_bytes() + self.index.postings.memory_bytes();
        index + self.table.memory_bytes() + beside
    }
}

#[cfg(test)]
mod tests {
    use super::shared_terms;

    #[test]
    fn shared_terms_by_hand() {
        let a = ([1, 3, 4, 9], [1.0, 2.0, 3.0, 4.0]);
        let b = ([0, 3, 5, 9, 11], [10.0, 20.0, 30.0, 40.0, 50.0]);
        let shared: Vec<(f32, f32)> = shared_terms((&a.0, &a.1), (&b.0, &b.1)).collect();
        assert_eq!(shared, [(2.0, 20.0), (4.0, 40.0)]);
        assert_eq!(shared_terms((&a.0, &a.1), (&[], &[])).count(), 0);
        assert_eq!(shared_terms((&[], &[]), (&b.0, &b.1)).count(), 0);
    }
}
