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
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub(crate) const NAME: &str = "content";

/// Items beside the index that are always allowed.
const BESIDE_MIN: usize = 1024;

/// Terms up to which a vector is spread out over all of them.
const SPREAD_MAX: usize = 1 << 20;

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
    /// The same, to look up; made when first asked for.
    table: OnceLock<HashMap<u32, f32>>,
    /// History items with their strengths over the norm.
    parts: Vec<(u32, f32)>,
    /// Products with all items of the index, once somebody asked for the best of them.
    sums: OnceLock<Vec<f32>>,
    /// How many those are.
    n_sums: usize,
}

thread_local! {
    /// A weight per term, all zero between uses.
    static SPREAD: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A vector spread out over all terms, so that a product with it costs the terms of the other side alone. What a thread has spread out is cleared term by
/// term, which is cheaper than room for all terms anew.
struct Spread<V: Iterator<Item = (u32, f32)> + Clone> {
    vector: V,
    /// Weight by term.
    by_term: Vec<f32>,
}

impl<V: Iterator<Item = (u32, f32)> + Clone> Spread<V> {
    /// A vector over so many terms; `None` where they are so many that threads should not keep room for them.
    fn of(vector: V, n_terms: usize) -> Option<Spread<V>> {
        if n_terms > SPREAD_MAX {
            return None;
        }
        let mut by_term = SPREAD.take();
        if by_term.len() < n_terms {
            by_term.resize(n_terms, 0.0);
        }
        for (term, weight) in vector.clone() {
            by_term[term as usize] = weight;
        }
        Some(Spread { vector, by_term })
    }

    /// Products of the weights of another vector, in the order of its terms; zeros where only it has a term.
    fn with(&self, (terms, weights): (&[u32], &[f32])) -> impl Iterator<Item = f32> {
        let both = terms.iter().zip(weights);
        both.map(|(term, weight)| self.by_term[*term as usize] * weight)
    }
}

impl<V: Iterator<Item = (u32, f32)> + Clone> Drop for Spread<V> {
    fn drop(&mut self) {
        let mut by_term = std::mem::take(&mut self.by_term);
        for (term, _) in self.vector.clone() {
            by_term[term as usize] = 0.0;
        }
        // At the end of a thread there is nowhere left to keep it.
        let _ = SPREAD.try_with(|spread| spread.replace(by_term));
    }
}

/// Terms and weights one by one.
fn pairs<'a>((terms, weights): (&'a [u32], &'a [f32])) -> impl Iterator<Item = (u32, f32)> + Clone + 'a {
    terms.iter().copied().zip(weights.iter().copied())
}

/// The product with a vector whose terms are looked up one by one.
fn looked_up(table: &HashMap<u32, f32>, vector: (&[u32], &[f32])) -> f32 {
    let mut sum = 0f32;
    for (term, weight) in pairs(vector) {
        if let Some(value) = table.get(&term) {
            sum += value * weight;
        }
    }
    sum
}

impl Profile {
    fn table(&self) -> &HashMap<u32, f32> {
        self.table.get_or_init(|| self.terms.iter().copied().collect())
    }
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
                table: OnceLock::new(),
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
            table: OnceLock::new(),
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

    /// Products with some vectors, each summed over its terms in their order: the same sums as over the postings. A term that the profile does not have adds
    /// a zero, which changes no bit of a sum that began as zero.
    fn products(&self, profile: &Profile, vectors: &[(&[u32], &[f32])], mut tell: impl FnMut(usize, f32)) {
        // They lie all over the memory: looked at without waiting for one another first, they come at once.
        let near = vectors.iter().map(|(terms, weights)| {
            let ends = [terms.first(), terms.last()].map(|term| term.map_or(0, |term| *term));
            let weight = weights.first().map_or(0, |weight| weight.to_bits());
            ends[0] ^ ends[1] ^ weight
        });
        std::hint::black_box(near.fold(0, |all, one| all ^ one));
        match Spread::of(profile.terms.iter().copied(), self.table.len()) {
            Some(spread) => {
                for (at, vector) in vectors.iter().enumerate() {
                    tell(at, spread.with(*vector).fold(0.0, |sum, part| sum + part));
                }
            }
            None => {
                for (at, vector) in vectors.iter().enumerate() {
                    tell(at, looked_up(profile.table(), *vector));
                }
            }
        }
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
        let own = self
            .beside
            .values()
            .map(|vector| (&*vector.terms, &*vector.weights));
        let mut beside: Vec<(u32, f32)> = self.beside.keys().map(|item| (*item, 0.0)).collect();
        self.products(profile, &own.collect::<Vec<_>>(), |at, product| {
            beside[at].1 = product
        });
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
        if let Some(sums) = whole.sums.get().filter(|_| self.beside.is_empty()) {
            for (item, score) in candidates.iter().zip(scores) {
                *score = sums.get(*item as usize).copied().unwrap_or(0.0);
            }
            return;
        }
        let vectors: Vec<_> = candidates.iter().map(|item| self.vector(*item)).collect();
        self.products(&whole, &vectors, |at, product| scores[at] = product);
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
        let of_item = |item: &u32| {
            let own = self.vector(*item);
            // One item's vector spread out; where there are too many terms for that, the two are merged.
            let spread = Spread::of(pairs(own), self.table.len());
            let part = |(other, share): &(u32, f32)| {
                let vector = self.vector(*other);
                let product: f32 = match &spread {
                    Some(spread) => spread.with(vector).sum(),
                    None => shared_terms(vector, own).map(|(a, b)| a * b).sum(),
                };
                (*other, share * product)
            };
            Evidence {
                history: whole.parts.iter().map(part).collect(),
                rest: 0.0,
            }
        };
        items.iter().map(of_item).collect()
    }

    fn features_shared(&self, history: &[HistoryEvent], item: u32, n: usize) -> Vec<(String, f32)> {
        let whole = self.of_history(history);
        let profile = &whole.terms;
        let shared = pairs(self.vector(item)).filter_map(|(term, weight)| {
            let place = profile.binary_search_by_key(&term, |(term, _)| *term).ok()?;
            let value = profile[place].1 * weight;
            (value > 0.0).then_some((term, value))
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
    use super::*;

    proptest::proptest! {
        /// Spread out or looked up, the very same bits; also after a vector over more terms, and one within another.
        #[test]
        fn products_are_those_of_terms_looked_up(
            seed in 0u64..1000,
            n_terms in 1u32..40,
        ) {
            let mut stream = numeric::SeededStream::new(seed, 1);
            let mut vector = || -> (Vec<u32>, Vec<f32>) {
                let terms: Vec<u32> = (0..n_terms).filter(|_| stream.below(3) == 0).collect();
                let weight = |_: &u32| match stream.below(5) {
                    0 => -0.0,
                    1 => 1e-30,
                    _ => stream.normal() as f32,
                };
                let weights = terms.iter().map(weight).collect();
                (terms, weights)
            };
            let own: Vec<_> = (0..3).map(|_| vector()).collect();
            let others: Vec<_> = (0..6).map(|_| vector()).collect();
            let wide = Spread::of([(99, 1.0)].into_iter(), 100);
            for (terms, weights) in &own {
                let spread = Spread::of(pairs((terms, weights)), n_terms as usize).expect("few terms");
                let table = pairs((terms, weights)).collect();
                for (terms, weights) in &others {
                    let sum = spread.with((terms, weights)).fold(0.0, |sum, part| sum + part);
                    let slow = looked_up(&table, (terms, weights));
                    proptest::prop_assert_eq!(sum.to_bits(), slow.to_bits());
                }
            }
            drop(wide);
            proptest::prop_assert!(SPREAD.take().iter().all(|weight| weight.to_bits() == 0), "it is cleared");
            proptest::prop_assert!(Spread::of(std::iter::empty(), SPREAD_MAX + 1).is_none());
        }
    }

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
