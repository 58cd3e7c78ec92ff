//! Implicit matrix factorisation by alternating least squares.
//!
//! Minimises Σ over entries w(t − x·y)² + α₀ Σ over all pairs (x·y)² + Σ λᵤ‖xᵤ‖² + Σ λᵢ‖yᵢ‖², with w the
//! summed strength over the mean strength (at most 10), t = 1, or t = 0 for a negative strength, and
//! λ = `reg`·(entries + α₀·size of the other side)^`reg_exponent`.
//! Sources: Hu, Koren, Volinsky (2008), "Collaborative filtering for implicit feedback datasets" (their
//! confidence 1 + α·r is this loss divided by α, α₀ = 1/α); Rendle, Krichene, Zhang, Koren (2021), "Revisiting the
//! performance of iALS on item recommendation benchmarks", arXiv:2110.14037 (frequency-scaled λ).
//!
//! A user is never stored: x = A⁻¹Σ wⱼyⱼ over the history with A = α₀YᵀY + Σ wⱼyⱼyⱼᵀ + λI, exactly the
//! training step, by Cholesky. So score(i) = Σⱼ wⱼ·yᵢᵀA⁻¹yⱼ takes itself apart by history item (Hu et al. §5).
//!
//! Shapes: item factors `n_items × factors`, row per item. Cost per epoch: entries·d² + (users + items)·d³/6
//! multiplications; serving: history·d² + d³/6 to fold in, d per item to rank. Random: the start of each
//! item's factor, a stream of the seed and the item's id. Update: trained item factors stay; an item without a factor
//! gets one by the exact item step over the users who took it since, as they were at that moment.
//! Limits: such items at most [`FRESH_MAX`] between trainings; of a history the last `history_max` events count.

use crate::als_step::{Entries, Side, State, step};
use crate::artefact::{Reader, Writer, seal};
use crate::common::{
    append, best, best_allowed, of_history, parse, require_rows, shown, summed, usable, within,
};
use crate::memo::Memo;
use crate::{Model, ModelError, Run, TopItems, Trainer, TrainingData, UpdateGuarantee, UpdateReport};
use dataset::{Interaction, Interactions, Vocabulary};
use domain::{Evidence, Explanation, HistoryEvent, ItemId};
use numeric::{Csr, SeededStream, axpy, dot, dot_rows, gram, hash_bytes, norm};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) const NAME: &str = "als";

/// Items that can get a factor between trainings.
pub const FRESH_MAX: usize = 4096;

/// Factors up to which training solves for all of them at once.
pub(crate) const EXACT_MAX: usize = 64;

/// Coordinates solved for at a time with more factors than that.
pub(crate) const BLOCK: usize = 32;

const WEIGHT_MAX: f32 = 10.0;

/// Configuration of implicit ALS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlsConfig {
    /// Length of a factor (d). Default 64.
    pub factors: usize,
    /// Passes over users and items. Default 12.
    pub epochs: usize,
    /// Regularisation (λ before scaling). Default 0.01.
    pub reg: f32,
    /// 1 scales λ by frequency, 0 not at all. Default 1.
    pub reg_exponent: f32,
    /// Weight of a pair without interaction against one of mean strength (α₀). Default 0.2.
    pub unobserved_weight: f32,
    /// Coordinates solved for at a time in training; `factors` or more solves for all at once, exactly. Default: 32
    /// above 64 factors, else all.
    pub block: Option<usize>,
    /// Latest events of a history that are folded in. Default 1000.
    pub history_max: usize,
}

impl Default for AlsConfig {
    fn default() -> Self {
        AlsConfig {
            factors: 64,
            epochs: 12,
            reg: 0.01,
            reg_exponent: 1.0,
            unobserved_weight: 0.2,
            block: None,
            history_max: 1000,
        }
    }
}

impl AlsConfig {
    fn check(&self) -> Result<(), ModelError> {
        within(NAME, "factors", self.factors as f64, 1.0, 1024.0)?;
        within(NAME, "epochs", self.epochs as f64, 1.0, 1000.0)?;
        within(NAME, "reg", f64::from(self.reg), 1e-8, 1e6)?;
        within(NAME, "reg_exponent", f64::from(self.reg_exponent), 0.0, 2.0)?;
        within(
            NAME,
            "unobserved_weight",
            f64::from(self.unobserved_weight),
            1e-8,
            1e3,
        )?;
        within(NAME, "block", self.block.unwrap_or(1) as f64, 1.0, 1024.0)?;
        within(NAME, "history_max", self.history_max as f64, 1.0, 1e6)
    }
}

/// Learns implicit ALS.
#[derive(Debug, Clone)]
pub struct AlsTrainer {
    config: AlsConfig,
}

impl AlsTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        let config: AlsConfig = parse(NAME, config)?;
        config.check()?;
        Ok(Box::new(AlsTrainer { config }))
    }

    fn train(&self, data: &Interactions, run: &Run) -> Result<Als, ModelError> {
        let config = &self.config;
        let d = config.factors;
        let (by_user, scale) = entries(data, config.history_max);
        if by_user.n_cells() == 0 {
            return Err(ModelError::Empty("no interactions other than zero".to_owned()));
        }
        let by_item = by_user.transpose();
        let mut items = start(data, &by_item, d, run.seed);
        let mut users = vec![0f32; data.n_users() * d];
        let user_side = config.side(data.n_items());
        let item_side = config.side(data.n_users());
        for _ in 0..config.epochs {
            step(&by_user, &items, &mut users, &user_side, None);
            run.check()?;
            step(&by_item, &users, &mut items, &item_side, None);
            run.check()?;
        }
        let norms: Vec<f32> = items.chunks_exact(d).map(norm).collect();
        Ok(Als {
            gram: gram(&items, d),
            users_gram: Arc::new(gram(&users, d)),
            n_users: data.n_users(),
            scale,
            config: config.clone(),
            vocabulary: Arc::clone(&data.items),
            factors: Arc::new(items),
            norms: Arc::new(norms),
            fresh: BTreeMap::new(),
            memo: Memo::default(),
        })
    }
}

impl AlsConfig {
    /// The constants of a step whose other side has `n_other` rows.
    fn side(&self, n_other: usize) -> Side {
        Side {
            d: self.factors,
            block: self.block.unwrap_or(if self.factors > EXACT_MAX {
                BLOCK
            } else {
                self.factors
            }),
            handover: 10.0,
            unobserved: self.unobserved_weight,
            reg: self.reg,
            exponent: self.reg_exponent,
            n_other,
        }
    }
}

/// Entries by user, in units of the mean strength, of the last `most` items of each; and that unit's inverse.
fn entries(data: &Interactions, most: usize) -> (Csr, f32) {
    let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for user in 0..data.n_users() {
        let mut list = summed(data, user);
        list.retain(|(_, sum)| *sum != 0.0);
        list.drain(..list.len().saturating_sub(most));
        list.sort_unstable_by_key(|(item, _)| *item);
        columns.extend(list.iter().map(|(item, _)| *item));
        values.extend(list.iter().map(|(_, sum)| *sum));
        offsets.push(columns.len());
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

/// Signed weight of an entry with this strength.
fn entry(strength: f32, scale: f32) -> f32 {
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
        let model = numeric::on_threads(run.threads, || self.train(&data.interactions, run))?;
        Ok(Box::new(model))
    }
}

/// An item that got its factor after the training.
#[derive(Debug, Clone, PartialEq)]
struct Fresh {
    factor: Vec<f32>,
    /// Σ w x xᵀ (lower triangle used), Σ w x and the number of users so far.
    matrix: Vec<f32>,
    side: Vec<f32>,
    users: usize,
}

#[derive(Clone)]
pub(crate) struct Als {
    config: AlsConfig,
    vocabulary: Arc<Vocabulary>,
    /// Row per item of the training.
    factors: Arc<Vec<f32>>,
    /// Length of each row; zero for an item without entries.
    norms: Arc<Vec<f32>>,
    /// YᵀY, fresh items included.
    gram: Vec<f32>,
    /// XᵀX as of the training.
    users_gram: Arc<Vec<f32>>,
    n_users: usize,
    /// Turns a strength into a weight.
    scale: f32,
    fresh: BTreeMap<u32, Fresh>,
    memo: Memo,
}

impl Als {
    fn factor(&self, item: u32) -> Option<&[f32]> {
        if let Some(fresh) = self.fresh.get(&item) {
            return Some(&fresh.factor);
        }
        let known = self.norms.get(item as usize).is_some_and(|n| *n > 0.0);
        let d = self.config.factors;
        known.then(|| &self.factors[item as usize * d..(item as usize + 1) * d])
    }

    /// The history as weighted entries with a factor, and the solved state.
    fn fold_in(&self, history: &[HistoryEvent]) -> (Vec<(u32, f32)>, State) {
        let used = usable(history, self.vocabulary.len(), self.config.history_max);
        let entries: Vec<(u32, f32)> = used
            .filter(|(item, _)| self.factor(*item).is_some())
            .map(|(item, weight)| (item, entry(weight, self.scale)))
            .collect();
        let side = self.config.side(self.norms.len());
        let mut state = State::new(&side);
        let mut table = Vec::with_capacity(entries.len() * side.d);
        let mut list = Entries::default();
        for (item, weight) in &entries {
            let Some(factor) = self.factor(*item) else {
                continue;
            };
            list.push(table.len(), *weight);
            table.extend_from_slice(factor);
        }
        state.solve(&side, &self.gram, &table, &list, None);
        (entries, state)
    }

    /// The same, kept for the next question about this history.
    fn folded(&self, history: &[HistoryEvent]) -> Rc<(Vec<(u32, f32)>, State)> {
        self.memo.of(history, || self.fold_in(history))
    }

    fn scored(&self, user: &[f32], item: u32) -> f32 {
        self.factor(item).map_or(0.0, |factor| dot(user, factor))
    }

    /// Takes in one event on an item without a trained factor; false if nothing can be learnt from it.
    fn absorb(&mut self, row: &Interaction, history: &[HistoryEvent]) -> bool {
        let item = row.item;
        let trained = self.norms.get(item as usize).is_some_and(|n| *n > 0.0);
        let again = history.iter().any(|h| h.item == item);
        let full = self.fresh.len() >= FRESH_MAX && !self.fresh.contains_key(&item);
        let usable = (item as usize) < self.vocabulary.len() && row.weight.is_finite();
        if !usable || trained || again || full || row.weight <= 0.0 {
            return false;
        }
        let (_, state) = self.fold_in(history);
        let user = state.factor();
        if user.iter().all(|x| *x == 0.0) {
            return false;
        }
        let d = self.config.factors;
        let weight = entry(row.weight, self.scale);
        let fresh = self.fresh.entry(item).or_insert_with(|| Fresh {
            factor: vec![0.0; d],
            matrix: vec![0.0; d * d],
            side: vec![0.0; d],
            users: 0,
        });
        numeric::syrk_add(&mut fresh.matrix, d, user, &[weight]);
        axpy(weight, user, &mut fresh.side);
        fresh.users += 1;
        true
    }

    /// Solves a fresh item anew and brings YᵀY up to date.
    fn resolve(&mut self, item: u32) {
        let d = self.config.factors;
        let side = self.config.side(self.n_users);
        let Some(fresh) = self.fresh.get_mut(&item) else {
            return;
        };
        let mut state = State::new(&side);
        state.solve_from(
            &side,
            &self.users_gram,
            (&fresh.matrix, &fresh.side),
            fresh.users,
            None,
        );
        for i in 0..d {
            for j in 0..d {
                let new = state.factor()[i] * state.factor()[j];
                self.gram[i * d + j] += new - fresh.factor[i] * fresh.factor[j];
            }
        }
        fresh.factor.copy_from_slice(state.factor());
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.json(&shown(&self.config));
        to.vocabulary(&self.vocabulary);
        to.f32s(&self.factors);
        to.f32s(&self.gram);
        to.f32s(&self.users_gram);
        to.u64(self.n_users as u64);
        to.f32(self.scale);
        to.u64(self.fresh.len() as u64);
        for (item, fresh) in &self.fresh {
            to.u32(*item);
            to.f32s(&fresh.factor);
            to.f32s(&fresh.matrix);
            to.f32s(&fresh.side);
            to.u64(fresh.users as u64);
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
        let scale = from.f32()?;
        from.expect(scale > 0.0 && n_users <= 1 << 40, "a constant is out of range")?;
        let mut fresh = BTreeMap::new();
        for _ in 0..from.length(32)? {
            let item = from.u32()?;
            let parts = Fresh {
                factor: bounded(&mut from)?,
                matrix: bounded(&mut from)?,
                side: bounded(&mut from)?,
                users: from.u64()? as usize,
            };
            let fits = parts.factor.len() == d && parts.side.len() == d && parts.matrix.len() == d * d;
            from.expect(
                fits && (item as usize) < vocabulary.len(),
                "a fresh item does not fit",
            )?;
            fresh.insert(item, parts);
        }
        from.end()?;
        Ok(Box::new(Als {
            norms: Arc::new(factors.chunks_exact(d).map(norm).collect()),
            factors: Arc::new(factors),
            users_gram: Arc::new(users_gram),
            config,
            vocabulary,
            gram,
            n_users,
            scale,
            fresh,
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
        usable(history, self.vocabulary.len(), self.config.history_max)
            .any(|(item, weight)| weight > 0.0 && self.knows(item))
    }

    fn score(&self, history: &[HistoryEvent], candidates: &[u32], scores: &mut [f32]) {
        let folded = self.folded(history);
        let state = &folded.1;
        for (item, score) in candidates.iter().zip(scores) {
            *score = self.scored(state.factor(), *item);
        }
    }

    fn recommend(&self, history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        if !self.personal(history) {
            return Vec::new(); // Without a positive entry every score is zero.
        }
        let folded = self.folded(history);
        let state = &folded.1;
        let mut scores = vec![0f32; self.norms.len()];
        dot_rows(&self.factors, state.factor(), &mut scores);
        let trained = (0u32..)
            .zip(scores)
            .filter(|(item, _)| self.norms[*item as usize] > 0.0);
        let trained = trained.filter(|(item, _)| !self.fresh.contains_key(item));
        let fresh = self
            .fresh
            .iter()
            .map(|(item, fresh)| (*item, dot(state.factor(), &fresh.factor)));
        best_allowed(&self.vocabulary, n, allowed, trained.chain(fresh))
    }

    fn similar(&self, item: u32, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        let Some(own) = self.factor(item) else {
            return Vec::new();
        };
        let length = norm(own);
        let cosine = |other: u32| {
            let factor = self.factor(other)?;
            let both = length * norm(factor);
            (both > 0.0).then(|| (other, dot(own, factor) / both))
        };
        let items = 0..self.vocabulary.len() as u32;
        let admitted = items.filter(|i| *i != item && allowed(*i));
        best(&self.vocabulary, n, admitted.filter_map(cosine))
    }

    fn explain(&self, history: &[HistoryEvent], item: u32) -> Explanation {
        of_history(NAME, self.evidence(history, &[item]))
    }

    fn evidence(&self, history: &[HistoryEvent], items: &[u32]) -> Vec<Evidence> {
        let folded = self.folded(history);
        let (entries, state) = &*folded;
        let turned = |item: &u32| {
            let mut turned = self.factor(*item)?.to_vec();
            state.apply_inverse(&mut turned);
            Some(turned)
        };
        let of_item = |item: &u32| {
            let positive = entries.iter().filter(|(_, weight)| *weight > 0.0);
            let part = |turned: &[f32], own: u32, weight: f32| (own, weight * self.scored(turned, own));
            let parts = |turned: Vec<f32>| {
                positive
                    .map(|(own, weight)| part(&turned, *own, *weight))
                    .collect()
            };
            Evidence {
                history: turned(item).map(parts).unwrap_or_default(),
                rest: 0.0,
            }
        };
        items.iter().map(of_item).collect()
    }

    fn guarantee(&self) -> UpdateGuarantee {
        UpdateGuarantee::Bounded(
            "users are exact; trained item factors stay until the next training; new items are solved against users as they were",
        )
    }

    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport {
        append(&mut self.vocabulary, new_items);
        let mut touched = std::collections::BTreeSet::new();
        let mut report = UpdateReport::default();
        for (n, row) in interactions.iter().enumerate() {
            let history = histories.get(n).map_or(&[] as &[HistoryEvent], |h| h);
            if self.absorb(row, history) {
                touched.insert(row.item);
                report.absorbed += 1;
            } else {
                report.ignored += 1;
            }
        }
        touched.into_iter().for_each(|item| self.resolve(item));
        self.memo.renew();
        report
    }

    fn fork(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn save(&self, to: &mut Vec<u8>) {
        seal(NAME, to, |to| self.write(to));
    }

    fn memory_bytes(&self) -> usize {
        let d = self.config.factors;
        (self.factors.len() + self.norms.len() + 2 * d * d) * 4 + self.fresh.len() * (d * d + 2 * d) * 4
    }
}
