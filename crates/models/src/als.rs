//! Implicit matrix factorisation by alternating least squares.
//!
//! Minimises Σ over entries w(t − x·y)² + α₀ Σ over all pairs (x·y)² + Σ λᵤ‖xᵤ‖² + Σ λᵢ‖yᵢ‖², with w the
//! summed strength over the mean strength (at most 10), t = 1, or t = 0 for a negative strength, and
//! λ = `reg`·(entries + α₀·size of the other side)^`reg_exponent`.
//! Sources: Hu, Koren, Volinsky (2008), "Collaborative filtering for implicit feedback datasets" (their
//! confidence 1 + α·r is this loss divided by α, α₀ = 1/α); Rendle, Krichene, Zhang, Koren (2021), "Revisiting the
//! performance of iALS on item recommendation benchmarks", arXiv:2110.14037 (frequency-scaled λ).
//!
//! **Attributes.** A factor is drawn to a linear map of the attributes, learnt with it (`als_prior.rs`): the term λ‖x‖² becomes
//! λ‖x − m‖², and a pair without entry is not told to be 0 but (1 − e)·m·y, where e = k/(k + h) for a row of k
//! entries says how far absence is believed; of items λ is (1 + κ(1 − e)) times as strong, so that few events say little beside it. So a new item, or somebody of whom only attributes are known, is m; one with
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
use crate::als_fresh::{Fresh, Sums};
use crate::als_gradients;
use crate::als_prior::{FeatureMap, Fitting};
use crate::als_step::{Entries, Prior, Side, State, step};
use crate::als_variance::noise;
use crate::artefact::{Reader, Writer, seal};
use crate::common::{append, best, best_of_all, parse, require_rows, shown, usable};
use crate::memo::{Kept, Memo};
use crate::staleness::{kept, moved};
use crate::{
    Asked, ItemFeatures, Model, ModelError, Run, Someone, TopItems, Trainer, TrainingData, UpdateGuarantee,
    UpdateReport, VectorSpace,
};
use dataset::{Interaction, Interactions, Vocabulary};
use domain::{AttributeKind, Contribution, ContributionSource, Evidence, Explanation, HistoryEvent, ItemId};
use numeric::{Csr, SeededStream, SymmetricEigen, dot, dot_rows, gram, hash_bytes, norm, parallel_chunks};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

pub(crate) const NAME: &str = "als";

const WEIGHT_MAX: f32 = 10.0;

/// Numbers in a line of the cache.
const FLOATS_OF_LINE: usize = 16;
/// Items whose factors are brought near at a time.
const NEAR: usize = 256;
/// Numbers of item factors gone through at a time for several people: they fit the first-level cache.
const TILE: usize = 1 << 13;

/// Learns implicit ALS.
#[derive(Debug, Clone)]
pub struct AlsTrainer {
    config: AlsConfig,
}

impl AlsTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        Ok(Box::new(AlsTrainer::new(parse(NAME, config)?)?))
    }

    pub(crate) fn new(config: AlsConfig) -> Result<AlsTrainer, ModelError> {
        config.check()?;
        Ok(AlsTrainer { config })
    }

    pub(crate) fn train(&self, data: &TrainingData, run: &Run) -> Result<Als, ModelError> {
        let rows = &data.interactions;
        let (by_user, scale) = entries(rows, self.config.history_max);
        let taken = |of: &Csr| (0..of.n_rows()).filter(|row| !of.row(*row).0.is_empty()).count();
        if by_user.n_cells() == 0 {
            return Err(ModelError::Empty("no interactions other than zero".to_owned()));
        }
        let by_item = by_user.transpose();
        let (people, taken_items) = (taken(&by_user), taken(&by_item));
        let mut config = self.config.settled(by_user.n_cells(), people, taken_items);
        let each = by_user.n_cells() as f64 / taken_items as f64;
        let density = each / people as f64;
        let d = config.factors;
        let mut items = start(rows, &by_item, d, run.seed);
        let mut users = vec![0f32; rows.n_users() * d];
        let user_side = config.user_side(rows.n_items());
        let mut item_side = config.item_side(rows.n_users());
        let map = |features: &[ItemFeatures], of: &Csr, side: &Side, wanted: bool| {
            let believed = |row| match of.row(row).0.len() {
                0 => 0.0,
                n => side.exposure(n),
            };
            let believed: Vec<f32> = (0..of.n_rows()).map(believed).collect();
            wanted.then(|| Fitting::new(features, d, believed)).flatten()
        };
        let mut item_map = map(&data.features, &by_item, &item_side, config.item_attributes);
        let mut user_map = map(&data.user_features, &by_user, &user_side, config.user_attributes);
        let gradients = config.gradients();
        // Factors must have taken shape before a map of them says anything.
        let settled = (config.epochs / 3).max(1);
        let improve =
            |of: &Csr, other: &[f32], out: &mut [f32], side: &Side, prior: Option<Prior<'_>>| match gradients
            {
                0 => step(of, other, out, side, prior),
                steps => als_gradients::step(of, other, out, side, prior, steps),
            };
        for epoch in 0..config.epochs {
            let drawn = |map: &Option<Fitting>, of: &Csr| {
                let map = map.as_ref().filter(|_| epoch >= settled)?;
                Some(map.means(|row| !of.row(row).0.is_empty()))
            };
            let means = drawn(&user_map, &by_user);
            let prior = means.as_deref().map(|means| Prior { means });
            improve(&by_user, &items, &mut users, &user_side, prior);
            run.check()?;
            let means = drawn(&item_map, &by_item);
            let prior = means.as_deref().map(|means| Prior { means });
            improve(&by_item, &users, &mut items, &item_side, prior);
            run.check()?;
            if epoch + 1 >= settled {
                item_map.iter_mut().for_each(|map| map.refit(&items, &users));
                user_map.iter_mut().for_each(|map| map.refit(&users, &items));
                run.check()?;
            }
            if epoch + 1 == settled {
                let explained = item_map.as_ref().map(Fitting::explained);
                config.item_pull =
                    explained.map(|explained| config.pull(density as f32, each as f32, explained));
                item_side = config.item_side(rows.n_users());
            }
        }
        let gram_of_items = gram(&items, d);
        let noise = noise(&by_user, &users, &items, d);
        let counts: Vec<u32> = (0..rows.n_items())
            .map(|item| by_item.row(item).0.len() as u32)
            .collect();
        let means = item_map.as_ref().map_or(Vec::new(), |map| map.means(|_| true));
        for (item, mean) in means
            .chunks_exact(d)
            .enumerate()
            .filter(|(item, _)| counts[*item] == 0)
        {
            items[item * d..(item + 1) * d].copy_from_slice(mean);
        }
        let shared = |map: Option<Fitting>| map.map(|map| Arc::new(map.finish()));
        Ok(Als {
            gram: gram_of_items,
            users_gram: Arc::new(gram(&users, d)),
            n_users: rows.n_users(),
            scale,
            noise,
            config,
            vocabulary: Arc::clone(&rows.items),
            norms: Arc::new(items.chunks_exact(d).map(norm).collect()),
            factors: Arc::new(items),
            counts: Arc::new(counts),
            means: Arc::new(means),
            item_map: shared(item_map),
            user_map: shared(user_map),
            fresh: BTreeMap::new(),
            marks: Vec::new(),
            taking: 0,
            apart: Arc::default(),
            memo: Memo::default(),
        })
    }
}

/// Entries by user, in units of the mean strength, of the last `most` items of each; and that unit's inverse. In parallel.
fn entries(data: &Interactions, most: usize) -> (Csr, f32) {
    let parts = parallel_chunks(data.n_users(), 2048, |users| {
        let (mut lengths, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut list = Vec::new();
        for user in users {
            let before = columns.len();
            latest(data.of_user(user), most, &mut list);
            columns.extend(list.iter().map(|own| own.item));
            values.extend(list.iter().map(|own| own.sum));
            lengths.push(columns.len() - before);
        }
        (lengths, columns, values)
    });
    let n_cells = parts.iter().map(|part| part.1.len()).sum();
    let mut offsets = Vec::with_capacity(data.n_users() + 1);
    let (mut columns, mut values) = (Vec::with_capacity(n_cells), Vec::with_capacity(n_cells));
    offsets.push(0);
    let mut end = 0;
    for (lengths, own_columns, own_values) in parts {
        offsets.extend(lengths.iter().map(|length| {
            end += length;
            end
        }));
        columns.extend(own_columns);
        values.extend(own_values);
    }
    let total: f64 = values.iter().map(|v: &f32| f64::from(v.abs())).sum();
    let scale = if total > 0.0 {
        (values.len() as f64 / total) as f32
    } else {
        1.0
    };
    values.iter_mut().for_each(|v| *v = entry(*v, scale));
    let entries = Csr::from_parts(data.n_items(), offsets, columns, values)
        .expect("items of a user are summed, sorted and within the vocabulary, and sums are clamped");
    (entries, scale)
}

/// One item of a user.
struct Own {
    item: u32,
    /// Place of its first row.
    first: u32,
    sum: f32,
}

/// The summed strengths of a user's items by item, of the `most` that came in last; sums of zero are left out.
fn latest(rows: &[Interaction], most: usize, into: &mut Vec<Own>) {
    into.clear();
    let sound = (0u32..).zip(rows).filter(|(_, row)| row.weight.is_finite());
    into.extend(sound.map(|(first, row)| Own {
        item: row.item,
        first,
        sum: row.weight,
    }));
    into.sort_unstable_by_key(|own| (own.item, own.first));
    into.dedup_by(|next, kept| {
        let same = next.item == kept.item;
        if same {
            kept.sum += next.sum;
        }
        same
    });
    into.retain(|own| own.sum != 0.0);
    if into.len() > most {
        into.sort_unstable_by_key(|own| own.first);
        into.drain(..into.len() - most);
        into.sort_unstable_by_key(|own| own.item);
    }
}

/// Signed weight of an entry with this strength.
pub(crate) fn entry(strength: f32, scale: f32) -> f32 {
    (strength * scale).clamp(-WEIGHT_MAX, WEIGHT_MAX)
}

/// Small random factors for items that have entries.
fn start(data: &Interactions, by_item: &Csr, d: usize, seed: u64) -> Vec<f32> {
    let size = 0.1 / (d as f64).sqrt();
    let mut items = vec![0f32; data.n_items() * d];
    for (item, factor) in items.chunks_exact_mut(d).enumerate() {
        if by_item.row(item).0.is_empty() {
            continue;
        }
        let id = data.items.id(item as u32).as_str();
        let mut stream = SeededStream::new(seed, hash_bytes(id.as_bytes()));
        factor
            .iter_mut()
            .for_each(|f| *f = (stream.normal() * size) as f32);
    }
    items
}

impl Trainer for AlsTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        require_rows(&data.interactions)?;
        run.check()?;
        let model = numeric::on_threads(run.threads, || self.train(data, run))?;
        Ok(Box::new(model))
    }
}

impl Kept for Folded {
    fn bytes(&self) -> usize {
        self.entries.len() * 8 + self.state.bytes() + self.mean.as_ref().map_or(0, Vec::len) * 4
    }
}

#[derive(Clone)]
pub(crate) struct Als {
    pub(crate) config: AlsConfig,
    pub(crate) vocabulary: Arc<Vocabulary>,
    /// Row per item of the training.
    pub(crate) factors: Arc<Vec<f32>>,
    /// Length of each row; zero for an item without entries and attributes.
    norms: Arc<Vec<f32>>,
    /// Entries of each item in training.
    pub(crate) counts: Arc<Vec<u32>>,
    /// Where the attributes of each item of the training draw it, zeros for nowhere; empty without attributes.
    pub(crate) means: Arc<Vec<f32>>,
    pub(crate) item_map: Option<Arc<FeatureMap>>,
    user_map: Option<Arc<FeatureMap>>,
    /// YᵀY over items with entries, those since the training included.
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
    memo: Memo,
}

/// What a history and attributes come to.
pub(crate) struct Folded {
    /// Weighted entries that have a factor.
    entries: Vec<(u32, f32)>,
    pub(crate) state: State,
    /// Where the attributes draw to, if anywhere.
    mean: Option<Vec<f32>>,
}

/// Sets the bit of an item.
pub(crate) fn mark(marks: &mut Vec<u64>, item: u32) {
    let at = item as usize / 64;
    marks.resize(marks.len().max(at + 1), 0);
    marks[at] |= 1 << (item % 64);
}

/// Whether that of an item is set.
pub(crate) fn is_marked(marks: &[u64], item: u32) -> bool {
    marks
        .get(item as usize / 64)
        .is_some_and(|bits| (bits >> (item % 64)) & 1 == 1)
}

impl Als {
    pub(crate) fn factor(&self, item: u32) -> Option<&[f32]> {
        let fresh = is_marked(&self.marks, item)
            .then(|| self.fresh.get(&item))
            .flatten();
        self.known_factor(item, fresh.map(|fresh| fresh.factor.as_slice()))
    }

    /// The factor of an item, given what it is since the training if it is another; `None` if nothing is known of it.
    fn known_factor<'a>(&'a self, item: u32, fresh: Option<&'a [f32]>) -> Option<&'a [f32]> {
        if let Some(fresh) = fresh {
            return fresh.iter().any(|x| *x != 0.0).then_some(fresh);
        }
        let known = self.norms.get(item as usize).is_some_and(|n| *n > 0.0);
        let d = self.config.factors;
        known.then(|| &self.factors[item as usize * d..(item as usize + 1) * d])
    }

    /// Where someone's attributes draw to.
    fn mean(&self, someone: Someone<'_>) -> Option<Vec<f32>> {
        self.user_map.as_ref()?.mean(someone.attributes)
    }

    /// The history as weighted entries with a factor, and the solved state.
    pub(crate) fn fold_in(&self, someone: Someone<'_>) -> Folded {
        let used = usable(someone.history, self.vocabulary.len(), self.config.history_max);
        let side = self.user_side();
        let (mut entries, mut list) = (Vec::new(), Entries::default());
        // Factors are read where they lie; only once an item is a fresh one they are copied together.
        let mut copied: Option<Vec<f32>> = None;
        for (item, weight) in used {
            let fresh = self.fresh.get(&item).map(|fresh| fresh.factor.as_slice());
            let Some(factor) = self.known_factor(item, fresh) else {
                continue;
            };
            let weight = entry(weight, self.scale);
            if fresh.is_some() && copied.is_none() {
                let rows = list
                    .starts
                    .iter()
                    .map(|start| &self.factors[*start..start + side.d]);
                copied = Some(rows.flatten().copied().collect());
                let n = list.starts.len();
                list.starts.clear();
                list.starts.extend((0..n).map(|at| at * side.d));
            }
            match &mut copied {
                Some(copied) => {
                    list.push(copied.len(), weight);
                    copied.extend_from_slice(factor);
                }
                None => list.push(item as usize * side.d, weight),
            }
            entries.push((item, weight));
        }
        let table = copied.as_deref().unwrap_or(&self.factors);
        let mut state = State::new(&side);
        let mean = self.mean(someone);
        state.solve(&side, &self.gram, table, &list, mean.as_deref());
        Folded { entries, state, mean }
    }

    /// The constants of folding somebody in.
    pub(crate) fn user_side(&self) -> Side {
        self.config.user_side(self.norms.len())
    }

    /// The same, kept for the next question about this person.
    pub(crate) fn folded(&self, someone: Someone<'_>) -> Arc<Folded> {
        self.memo.of_someone(someone, || self.fold_in(someone))
    }

    /// The best by these scores of the trained items; those of fresh ones are worked out.
    fn best_of(
        &self,
        mut scores: Vec<f32>,
        user: &[f32],
        n: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> TopItems {
        scores.resize(self.vocabulary.len(), 0.0);
        for (item, fresh) in &self.fresh {
            scores[*item as usize] = dot(user, &fresh.factor);
        }
        // An item without a factor scores zero, and zeros are left out.
        best_of_all(&self.vocabulary, n, allowed, &scores)
    }

    fn scored(&self, user: &[f32], item: u32) -> f32 {
        self.factor(item).map_or(0.0, |factor| dot(user, factor))
    }

    /// What the product of a prior mean with an item's factor adds to its score, as a direction: the mean's part of the
    /// score is its product with this.
    fn pull(&self, folded: &Folded, factor: &[f32]) -> Vec<f32> {
        if !folded.state.is_solved() {
            return factor.to_vec(); // Nothing but the mean.
        }
        let mut turned = factor.to_vec();
        folded.state.apply_inverse(&mut turned);
        let mut pull = vec![0.0; turned.len()];
        let side = self.user_side();
        // The matrix is symmetric, so it may as well be applied to the other side of the product.
        side.draw(&self.gram, folded.entries.len(), &turned, &mut pull);
        pull
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.json(&shown(&self.config));
        to.vocabulary(&self.vocabulary);
        to.f32s(&self.factors);
        to.f32s(&self.gram);
        to.f32s(&self.users_gram);
        to.u64(self.n_users as u64);
        to.f32(self.scale);
        to.f32(self.noise);
        to.u32s(&self.counts);
        to.f32s(&self.means);
        for map in [&self.item_map, &self.user_map] {
            to.u32(u32::from(map.is_some()));
            map.iter().for_each(|map| map.write(to));
        }
        to.u64(self.fresh.len() as u64);
        for (item, fresh) in &self.fresh {
            to.u32(*item);
            to.f32s(&fresh.factor);
            to.f32s(&fresh.mean);
            to.f32s(&fresh.start);
            let none = Sums::default();
            let sums = fresh.sums.as_ref().unwrap_or(&none);
            to.f32s(&sums.matrix);
            to.f32s(&sums.side);
            to.u64(sums.users as u64);
        }
    }

    pub(crate) fn load(payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(NAME, payload);
        let config: AlsConfig = parse(NAME, &from.json()?).map_err(|e| from.damaged(e.to_string()))?;
        config.check().map_err(|e| from.damaged(e.to_string()))?;
        let d = config.factors;
        let vocabulary = from.vocabulary()?;
        let factors = bounded(&mut from)?;
        from.expect(
            factors.len().is_multiple_of(d) && factors.len() / d <= vocabulary.len(),
            "a factor per item expected",
        )?;
        let (gram, users_gram) = (bounded(&mut from)?, bounded(&mut from)?);
        from.expect(
            gram.len() == d * d && users_gram.len() == d * d,
            "a square matrix expected",
        )?;
        let n_users = from.u64()? as usize;
        let (scale, noise) = (from.f32()?, from.f32()?);
        from.expect(
            scale > 0.0 && (1e-6..=1e6).contains(&noise) && n_users <= 1 << 40,
            "a constant is out of range",
        )?;
        let counts = from.u32s()?;
        let means = bounded(&mut from)?;
        from.expect(
            counts.len() * d == factors.len() && (means.is_empty() || means.len() == factors.len()),
            "a count and a mean per item expected",
        )?;
        let mut maps = [None, None];
        for map in &mut maps {
            if from.u32()? != 0 {
                *map = Some(Arc::new(FeatureMap::load(&mut from, d)?));
            }
        }
        let [item_map, user_map] = maps;
        let mut fresh = BTreeMap::new();
        let mut taking = 0;
        for _ in 0..from.length(48)? {
            let item = from.u32()?;
            let (factor, mean, start) = (bounded(&mut from)?, bounded(&mut from)?, bounded(&mut from)?);
            let sums = Sums {
                matrix: bounded(&mut from)?,
                side: bounded(&mut from)?,
                users: from.u64()? as usize,
            };
            let entries = counts.get(item as usize).copied().unwrap_or(0);
            let whole = |v: &Vec<f32>| v.is_empty() || v.len() == d;
            let summed = sums.side.len() == d && sums.matrix.len() == d * d;
            from.expect(
                factor.len() == d
                    && whole(&mean)
                    && start.len() == if entries > 0 { d } else { 0 }
                    && (summed || sums == Sums::default())
                    && (item as usize) < vocabulary.len(),
                "a fresh item does not fit",
            )?;
            taking += usize::from(summed);
            let one = Fresh {
                factor,
                mean,
                start,
                sums: summed.then_some(sums),
                counted: entries > 0 || summed,
            };
            fresh.insert(item, Arc::new(one));
        }
        from.end()?;
        let mut marks = Vec::new();
        fresh.keys().for_each(|item| mark(&mut marks, *item));
        Ok(Box::new(Als {
            norms: Arc::new(factors.chunks_exact(d).map(norm).collect()),
            factors: Arc::new(factors),
            users_gram: Arc::new(users_gram),
            counts: Arc::new(counts),
            means: Arc::new(means),
            item_map,
            user_map,
            config,
            vocabulary,
            gram,
            n_users,
            scale,
            noise,
            marks,
            fresh,
            taking,
            apart: Arc::default(),
            memo: Memo::default(),
        }))
    }
}

/// Numbers small enough that products of a few stay finite.
fn bounded(from: &mut Reader<'_>) -> Result<Vec<f32>, ModelError> {
    let values = from.f32s()?;
    from.expect(values.iter().all(|v| v.abs() < 1e12), "a number is out of range")?;
    Ok(values)
}

impl Model for Als {
    fn name(&self) -> &'static str {
        NAME
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
        let mut report = UpdateReport::default();
        let taken = self.absorb(interactions, histories);
        for (n, (row, taken)) in interactions.iter().zip(taken).enumerate() {
            let history = histories.get(n).map_or(&[] as &[HistoryEvent], |h| h);
            if taken {
                touched.insert(row.item);
                report.absorbed += 1;
            } else {
                report.ignored += 1;
                report.moved += moved(row, history, 1.0 / self.scale);
            }
        }
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
