//! Implicit matrix factorisation by alternating least squares.
//!
//! Minimises Σ over entries w(t − x·y)² + α₀ Σ over all pairs (x·y)² + Σ λᵤ‖xᵤ‖² + Σ λᵢ‖yᵢ‖², with w the
//! summed strength over the mean strength (at most 10), t = 1, or t = 0 for a negative strength, and
//! λ = `reg`·(entries + α₀·size of the other side)^`reg_exponent`.
//! Sources: Hu, Koren, Volinsky (2008), "Collaborative filtering for implicit feedback datasets" (their
//! confidence 1 + α·r is this loss divided by α, α₀ = 1/α); Rendle, Krichene, Zhang, Koren (2021), "Revisiting the
//! performance of iALS on item recommendation benchmarks", arXiv:2110.14037 (frequency-scaled λ).
//!
//! **Absence.** Of an item with k entries α₀ is s(k) times as much, if so told (He et al. 2016): `als_absence.rs`.
//!
//! **Attributes.** A factor is drawn to a linear map of the attributes, learnt with it (`als_prior.rs`): the term λ‖x‖² becomes
//! λ‖x − m‖², and a pair without entry is not told to be 0 but (1 − e)·m·y, where e = kˢ/(kˢ + hˢ) for a row of k
//! entries says how far absence is believed (s is 2 for items, 1 for people); of items λ is (1 + κ(1 − c)) times as strong, c = k/(k + h), so that few events say little beside it. So a new item, or somebody of whom only attributes are known, is m; one with
//! many entries is what the entries say; in between stands the minimum of one objective, without a switch. Rows without attributes
//! have m = 0 and e = 1, the plain model.
//!
//! A user is never stored: x = A⁻¹(Σ wⱼyⱼ + (λI + (1 − e)α₀YᵀY)m) over the history with A = α₀YᵀY + Σ wⱼyⱼyⱼᵀ + λI, by
//! Cholesky: the minimum that training's steps go towards. So a score takes itself apart by history item (Hu et al. §5) and attribute.
//!
//! Shapes: item factors `n_items × factors`, row per item. Cost per epoch: up to 32 factors entries·d² + (users + items)·d³/6 multiplications,
//! above that (users + items)·(3 + ½)·d² + 18·d³ + 12·entries·d (`als_gradients.rs`); serving: history·d² + d³/6 to fold in, d per item to rank. Random: the start of each
//! item's factor, a stream of the seed and the item's id. Update: see `als_fresh.rs`. How sure a score is: `als_variance.rs`.
//! Limits: items that take in events between trainings at most [`FRESH_MAX`](crate::FRESH_MAX); of a history the last `history_max` events count.

use crate::als_config::AlsConfig;
use crate::als_fold::Folded;
use crate::als_fresh::Fresh;
use crate::als_prior::FeatureMap;
use crate::artefact::seal;
use crate::common::{append, best, open_keys, usable};
use crate::memo::Memo;
use crate::staleness::{kept, moved_by};
use crate::{Asked, ItemFeatures, Model, Someone, TopItems, UpdateGuarantee, UpdateReport, VectorSpace};
use dataset::{Interaction, Vocabulary};
use domain::{AttributeKind, Contribution, ContributionSource, Evidence, Explanation, HistoryEvent, ItemId};
use numeric::{SymmetricEigen, dot, dot_rows, norm};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

pub(crate) const NAME: &str = "als";

/// Numbers in a line of the cache.
const FLOATS_OF_LINE: usize = 16;
/// Items whose factors are brought near at a time.
const NEAR: usize = 256;
/// Numbers of item factors gone through at a time for several people: they fit the first-level cache.
const TILE: usize = 1 << 13;

#[derive(Clone)]
pub(crate) struct Als {
    pub(crate) config: AlsConfig,
    pub(crate) vocabulary: Arc<Vocabulary>,
    /// Row per item of the training.
    pub(crate) factors: Arc<Vec<f32>>,
    /// Length of each row; zero for an item without entries and attributes.
    pub(crate) norms: Arc<Vec<f32>>,
    /// Entries of each item in training.
    pub(crate) counts: Arc<Vec<u32>>,
    /// The mean number of those that have any.
    pub(crate) typical: f32,
    /// Where the attributes of each item of the training draw it, zeros for nowhere; empty without attributes.
    pub(crate) means: Arc<Vec<f32>>,
    pub(crate) item_map: Option<Arc<FeatureMap>>,
    pub(crate) user_map: Option<Arc<FeatureMap>>,
    /// YᵀY over items with entries, those since the training included, each weighed by how much its absence counts.
    pub(crate) gram: Vec<f32>,
    /// XᵀX as of the training.
    pub(crate) users_gram: Arc<Vec<f32>>,
    pub(crate) n_users: usize,
    /// Turns a strength into a weight.
    pub(crate) scale: f32,
    /// σ², see `als_variance.rs`.
    pub(crate) noise: f32,
    pub(crate) fresh: BTreeMap<u32, Arc<Fresh>>,
    /// A bit for each of those: most items are none, and are asked about most.
    pub(crate) marks: Vec<u64>,
    /// How many of them have taken in events.
    pub(crate) taking: usize,
    /// `users_gram` taken apart, once somebody asks; `None` if it cannot be.
    pub(crate) apart: Arc<OnceLock<Option<SymmetricEigen>>>,
    pub(crate) memo: Memo,
}

impl Model for Als {
    fn name(&self) -> &'static str {
        NAME
    }

    fn settled(&self) -> serde_json::Map<String, serde_json::Value> {
        let gradients = self.config.gradients();
        let whole = AlsConfig {
            gradients: Some(gradients),
            block: self
                .config
                .block
                .or((gradients == 0).then_some(self.config.factors)),
            ..self.config.clone()
        };
        open_keys(&AlsConfig::default(), &whole)
    }

    fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    fn knows(&self, item: u32) -> bool {
        self.factor(item).is_some()
    }

    fn personal(&self, history: &[HistoryEvent]) -> bool {
        self.personal_to(Someone::with_history(history))
    }

    fn score(&self, history: &[HistoryEvent], candidates: &[u32], scores: &mut [f32]) {
        self.score_for(Someone::with_history(history), candidates, scores);
    }

    fn recommend(&self, history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        self.recommend_for(Someone::with_history(history), n, allowed)
    }

    fn user_kinds(&self) -> BTreeMap<String, AttributeKind> {
        self.user_map
            .as_ref()
            .map_or(BTreeMap::new(), |map| map.kinds.clone())
    }

    fn personal_to(&self, someone: Someone<'_>) -> bool {
        let has_entry = usable(someone.history, self.vocabulary.len(), self.config.history_max)
            .any(|(item, weight)| weight > 0.0 && self.knows(item));
        has_entry
            || self
                .user_map
                .as_ref()
                .is_some_and(|map| map.says_of(someone.attributes))
    }

    fn score_for(&self, someone: Someone<'_>, candidates: &[u32], scores: &mut [f32]) {
        let folded = self.folded(someone);
        let user = folded.state.factor();
        let mut rows: Vec<Option<&[f32]>> = Vec::with_capacity(candidates.len().min(NEAR));
        for (candidates, scores) in candidates.chunks(NEAR).zip(scores.chunks_mut(NEAR)) {
            rows.clear();
            rows.extend(candidates.iter().map(|item| self.factor(*item)));
            // They lie all over the memory: looked at without waiting for one another first, they come at once.
            let lines = rows
                .iter()
                .flatten()
                .flat_map(|row| row.iter().step_by(FLOATS_OF_LINE));
            std::hint::black_box(lines.fold(0, |all, one| all ^ one.to_bits()));
            for (row, score) in rows.iter().zip(scores) {
                *score = row.map_or(0.0, |row| dot(user, row));
            }
        }
    }

    fn recommend_for(&self, someone: Someone<'_>, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        if !self.personal_to(someone) {
            return Vec::new(); // Without a positive entry every score is zero.
        }
        let folded = self.folded(someone);
        let user = folded.state.factor();
        let mut scores = vec![0f32; self.norms.len()];
        dot_rows(&self.factors, user, &mut scores);
        self.best_of(scores, user, n, allowed)
    }

    fn recommend_many(&self, asked: &[Asked<'_>], n: usize) -> Vec<TopItems> {
        let (n_items, d) = (self.norms.len(), self.config.factors);
        let users: Vec<Option<Vec<f32>>> = asked
            .iter()
            .map(|one| {
                let personal = self.personal_to(one.someone);
                personal.then(|| self.fold_in(one.someone).state.factor().to_vec())
            })
            .collect();
        // A tile of items stays in the cache while everyone is multiplied with it.
        let tile = (TILE / d).max(1);
        let mut scores = vec![vec![0f32; n_items]; asked.len()];
        for start in (0..n_items).step_by(tile) {
            let end = (start + tile).min(n_items);
            let rows = &self.factors[start * d..end * d];
            for (user, scores) in users.iter().zip(&mut scores) {
                if let Some(user) = user {
                    dot_rows(rows, user, &mut scores[start..end]);
                }
            }
        }
        let lists = asked.iter().zip(users).zip(scores);
        let list = |((one, user), scores): ((&Asked<'_>, Option<Vec<f32>>), Vec<f32>)| match user {
            Some(user) => self.best_of(scores, &user, n, one.allowed),
            None => Vec::new(),
        };
        lists.map(list).collect()
    }

    fn similar(&self, item: u32, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        let items = 0..self.vocabulary.len() as u32;
        let admitted = items.filter(|i| *i != item && allowed(*i));
        let like = admitted.filter_map(|other| Some((other, self.likeness(item, other)?)));
        best(&self.vocabulary, n, like)
    }

    fn explain(&self, history: &[HistoryEvent], item: u32) -> Explanation {
        self.explain_for(Someone::with_history(history), item)
    }

    fn evidence(&self, history: &[HistoryEvent], items: &[u32]) -> Vec<Evidence> {
        self.evidence_for(Someone::with_history(history), items)
    }

    fn explain_for(&self, someone: Someone<'_>, item: u32) -> Explanation {
        let folded = self.folded(someone);
        let part = |source, value| Contribution {
            source,
            model: NAME.into(),
            value,
        };
        let evidence = self.evidence_for(someone, &[item]);
        let history = evidence.into_iter().flat_map(|evidence| evidence.history);
        let mut contributions: Vec<Contribution> = history
            .map(|(item, value)| part(ContributionSource::History { item }, value))
            .collect();
        if let (Some(map), Some(factor)) = (&self.user_map, self.factor(item)) {
            let parts = map.parts(someone.attributes, &self.pull(&folded, factor));
            contributions.extend(parts.into_iter().map(|(name, value)| {
                let source = match name {
                    Some(name) => ContributionSource::Feature {
                        name: name.to_owned(),
                    },
                    None => ContributionSource::Base {
                        name: "people with attributes".to_owned(),
                    },
                };
                part(source, value)
            }));
        }
        Explanation { contributions }
    }

    fn evidence_for(&self, someone: Someone<'_>, items: &[u32]) -> Vec<Evidence> {
        let folded = self.folded(someone);
        let Folded { entries, state, mean } = &*folded;
        let of_item = |item: &u32| {
            let Some(factor) = self.factor(*item) else {
                return Evidence::default();
            };
            let mut turned = factor.to_vec();
            state.apply_inverse(&mut turned);
            let positive = entries.iter().filter(|(_, weight)| *weight > 0.0);
            let history = positive.map(|(own, weight)| (*own, weight * self.scored(&turned, *own)));
            let pulled = |mean: &Vec<f32>| dot(mean, &self.pull(&folded, factor));
            Evidence {
                history: history.collect(),
                rest: mean.as_ref().map_or(0.0, pulled),
            }
        };
        items.iter().map(of_item).collect()
    }

    fn variances(&self, someone: Someone<'_>, items: &[u32]) -> Vec<Option<f32>> {
        self.variances_of(someone, items)
    }

    fn space(&self) -> Option<&dyn VectorSpace> {
        Some(self)
    }

    fn guarantee(&self) -> UpdateGuarantee {
        UpdateGuarantee::Bounded(
            "users are exact; items with 32 entries or more stay until the next training; others are solved against users as they were",
        )
    }

    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport {
        append(&mut self.vocabulary, new_items);
        let mut touched = BTreeSet::new();
        let (mut report, mut passed) = (UpdateReport::default(), Vec::new());
        let taken = self.absorb(interactions, histories);
        for (n, (row, taken)) in interactions.iter().zip(taken).enumerate() {
            let history = histories.get(n).map_or(&[] as &[HistoryEvent], |h| h);
            if taken {
                touched.insert(row.item);
                report.absorbed += 1;
            } else {
                report.ignored += 1;
                passed.push((row, history));
            }
        }
        report.moved = moved_by(&passed, 1.0 / self.scale);
        if !touched.is_empty() || !new_items.is_empty() {
            self.memo.renew();
        }
        touched.into_iter().for_each(|item| self.resolve(item));
        report
    }

    fn absorb_items(&mut self, items: &[(ItemId, ItemFeatures)]) -> usize {
        let said = items
            .iter()
            .filter(|(id, features)| self.describe(id, features))
            .count();
        self.memo.renew();
        said
    }

    fn erase(&mut self, events: &[Interaction]) -> UpdateReport {
        kept(events, 1.0 / self.scale)
    }

    fn fork(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn save(&self, to: &mut Vec<u8>) {
        seal(NAME, to, |to| self.write(to));
    }

    fn memory_bytes(&self) -> usize {
        let d = self.config.factors;
        let maps = [&self.item_map, &self.user_map].into_iter().flatten();
        let maps: usize = maps.map(|map| map.memory_bytes()).sum();
        let items = self.factors.len() + self.means.len() + 2 * self.norms.len();
        let fresh = self.taking * (d * d + d) + self.fresh.len() * 2 * d;
        (items + 2 * d * d + fresh) * 4 + maps
    }
}

impl VectorSpace for Als {
    fn dims(&self) -> usize {
        self.config.factors
    }

    fn item_vector(&self, item: u32) -> Option<&[f32]> {
        self.factor(item)
    }

    fn likeness(&self, item: u32, other: u32) -> Option<f32> {
        let (own, factor) = (self.factor(item)?, self.factor(other)?);
        let both = norm(own) * norm(factor);
        (both > 0.0).then(|| dot(own, factor) / both)
    }

    fn vector_of(&self, someone: Someone<'_>) -> Option<Vec<f32>> {
        self.personal_to(someone)
            .then(|| self.folded(someone).state.factor().to_vec())
    }

    fn items_changed(&self) -> Vec<u32> {
        self.fresh.keys().copied().collect()
    }
}
