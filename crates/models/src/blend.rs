//! A blend: how much to trust each model depends on how much is known of the person and of the item.
//!
//! score(c) = Σₘ wₘ·yₘ·sₘ(c) / Σₘ wₘ over the models m that can speak of this person (all that are not personal, and
//! personal ones that know something of the history). sₘ is m's score over what the mean of its best twenty is for a
//! history of this length, scale·lengthᵍ with g fitted, since sums over a history grow with it, or over a figure of this person's own
//! list where that does better (`blend_unit.rs`); of models that are not
//! personal the root is taken, since popularity is heavy-tailed. Weights w differ by the number of history events: 0, 1–2,
//! 3–9, 10–29, 30 or more. Factors y differ by the item's age, counted in events: fewer than 5, fewer than 20, or more (then 1).
//!
//! An item that some of these models do not know is scored by those that do, in the same proportions, each
//! multiplied by what the whole blend gave on average per point of that model (`alone`): an estimate of what the
//! silent ones would have said. So a new item with attributes competes at once, neither favoured nor
//! held back. The score of an item is a function of history and item, independent of other candidates.
//!
//! `recommend` unites the models' best `depth` items (or `n`, if more) and scores them exactly: it equals scoring everything as
//! long as every winner is among some model's best `depth`, and always if there are no more than `depth` items.
//!
//! Weights: see `blend_fit.rs`. Source of the setting: stacking by linear combination (Breiman 1996;
//! Jahrer, Töscher and Legenstein 2010), weights by what is known as in Sill, Takács, Mackey and Lin (2009),
//! "Feature-weighted linear stacking", arXiv:0911.0460. Cost: that of the parts, trained twice when weights are fitted.
//! Limits: each part keeps its own copy of the item ids once new items have come; parts that would need more memory
//! than they may are left out, as those without data.

use crate::artefact::{Reader, Writer, seal};
use crate::blend_config::BlendConfig;
use crate::blend_fit;
use crate::blend_held;
use crate::blend_part::{Part, Trust, default_weights};
use crate::blend_unit::{KINDS, Normalise, own_list};
use crate::common::{best, parse, shown, within};
use crate::{
    ItemFeatures, Model, ModelError, Recall, Run, Someone, TopItems, Trainer, TrainingData, UpdateGuarantee,
    UpdateReport, registry,
};
use dataset::{Interaction, Interactions, Vocabulary};
use domain::{AttributeKind, Evidence, Explanation, HistoryEvent, ItemId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const NAME: &str = "blend";
const EASE: &str = "ease";
/// Items that it regresses each item on where there are many.
const NEAREST: usize = 100;
/// How many times as many items make it too dear all the same.
const LEFT_OUT: usize = 10;
/// People by whom scales are fitted.
const SCALE_CASES: usize = 200;

/// Shortest histories of the five ranges of length.
pub(crate) const LENGTHS: [usize; 5] = [0, 1, 3, 10, 30];

/// Least and greatest exponent of a history's length.
pub(crate) const GROWTH_MIN: f32 = -0.5;
pub(crate) const GROWTH_MAX: f32 = 1.5;

/// Events below which an item is of the first and of the second age.
pub(crate) const AGES: [u32; 2] = [5, 20];

/// Least weight of a model where others do not know the item.
pub(crate) const WEIGHT_FLOOR: f32 = 0.01;

/// Learns a blend.
pub struct BlendTrainer {
    config: BlendConfig,
    parts: Vec<Box<dyn Trainer>>,
    /// `ease` over the nearest items, if it is a part of which nothing is said of that.
    nearest: Option<Box<dyn Trainer>>,
}

impl BlendTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        let config: BlendConfig = parse(NAME, config)?;
        within(NAME, "depth", config.depth as f64, 1.0, 1e6)?;
        within(NAME, "ease_items_max", config.ease_items_max as f64, 0.0, 1e6)?;
        within(NAME, "validation_users", config.validation_users as f64, 0.0, 1e6)?;
        within(NAME, "parts.length", config.parts.len() as f64, 1.0, 16.0)?;
        let mut names = BTreeSet::new();
        let mut parts = Vec::new();
        let mut nearest = None;
        for part in &config.parts {
            let entry = registry::trainer(&part.model);
            let fresh = names.insert(&part.model);
            let Some(entry) = entry.filter(|e| e.name != NAME && fresh) else {
                return Err(ModelError::Config {
                    model: NAME.to_owned(),
                    field: "parts.model".to_owned(),
                    got: part.model.clone(),
                    expected: "the name of another learner, each once".to_owned(),
                });
            };
            parts.push((entry.build)(&part.config)?);
            if part.model == EASE && part.config["neighbours"].is_null() {
                let mut config = part.config.as_object().cloned().unwrap_or_default();
                config.insert("neighbours".to_owned(), NEAREST.into());
                nearest = Some((entry.build)(&config.into())?);
            }
        }
        Ok(Box::new(BlendTrainer {
            config,
            parts,
            nearest,
        }))
    }

    /// Parts of which nothing was said of how events of a history count.
    fn open(&self) -> BTreeSet<&'static str> {
        let is_open = |trainer: &dyn Trainer| {
            let config = trainer.config();
            ["history_max", "served_max", "half_life_events", "floor"]
                .iter()
                .all(|key| config[*key].is_null())
        };
        let open = self.parts.iter().filter(|part| is_open(&***part));
        open.map(|part| part.name()).collect()
    }

    /// Trains the parts; those without data are left out.
    fn fit_parts(&self, data: &TrainingData, run: &Run) -> Result<Vec<Box<dyn Model>>, ModelError> {
        let mut models = Vec::new();
        let mut reasons = Vec::new();
        let mut too_large = None;
        let (n_items, most) = (data.interactions.n_items(), self.config.ease_items_max);
        for part in &self.parts {
            let is_ease = part.name() == EASE && self.parts.len() > 1;
            let part = match &self.nearest {
                Some(_) if is_ease && n_items > most.saturating_mul(LEFT_OUT) => continue,
                Some(nearest) if is_ease && n_items > most => nearest,
                _ => part,
            };
            match part.fit(data, run) {
                Ok(model) => models.push(model),
                Err(ModelError::Empty(reason)) if reasons.contains(&reason) => {}
                Err(ModelError::Empty(reason)) => reasons.push(reason),
                Err(error @ ModelError::TooLarge { .. }) => too_large = Some(error),
                Err(error) => return Err(error),
            }
        }
        match too_large {
            _ if !models.is_empty() => Ok(models),
            Some(error) => Err(error),
            None => Err(ModelError::Empty(reasons.join("; "))),
        }
    }
}

impl Trainer for BlendTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        let mut config = self.config.clone();
        for (part, trainer) in config.parts.iter_mut().zip(&self.parts) {
            part.config = trainer.config();
        }
        shown(&config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        let held = blend_held::hold_out(data, self.config.validation_users, run.seed);
        let mut trust = None;
        let mut recalls = Recalls::new();
        let mut normalise = self.config.normalise.unwrap_or(Normalise::Typical);
        if let Some(held) = &held {
            let models = self.fit_parts(&held.data, run)?;
            let mut blend = Blend::new(models, self.config.depth, &held.data.interactions);
            numeric::on_threads(run.threads, || {
                recalls = blend_fit::fit_recalls(&mut blend, &held.cases, &self.open());
                let some = held.cases.len().min(SCALE_CASES);
                blend_fit::fit_scales(&mut blend, &held.cases[..some]);
                let found = blend_fit::choose(&mut blend, held, self.config.normalise, run)?;
                normalise = found.0;
                trust = Some(found.1);
                run.check()
            })?;
        }
        let models = self.fit_parts(data, run)?;
        let mut blend = Blend::new(models, self.config.depth, &data.interactions);
        blend.normalise = normalise;
        blend.use_recalls(&recalls);
        if let Some(trust) = trust {
            blend.use_trust(&trust);
        }
        let cases = blend_held::whole_histories(data, SCALE_CASES, run.seed);
        numeric::on_threads(run.threads, || {
            blend_fit::fit_scales(&mut blend, &cases);
            blend_fit::fit_alone(&mut blend, &cases, run)
        })?;
        Ok(Box::new(blend))
    }
}

/// What is known of somebody.
pub(crate) struct Person {
    /// Events of the history that count.
    pub(crate) length: usize,
    /// Which range of length this is.
    pub(crate) range: usize,
    /// Which parts can speak of them.
    pub(crate) active: Vec<bool>,
}

/// Trust by name of the model.
pub(crate) type Trusts = BTreeMap<&'static str, Trust>;

/// How events of a history count, by name of the model.
pub(crate) type Recalls = BTreeMap<&'static str, Recall>;

pub(crate) struct Blend {
    pub(crate) parts: Vec<Part>,
    /// Events by item, so far as they matter: up to the last of [`AGES`].
    events: Arc<Vec<u32>>,
    depth: usize,
    pub(crate) normalise: Normalise,
}

/// Which range of length this is.
fn range_of(length: usize) -> usize {
    LENGTHS.iter().rposition(|least| length >= *least).unwrap_or(0)
}

/// Counts an event on an item, as long as it makes a difference.
fn count(events: &mut [u32], row: &Interaction) {
    if let Some(events) = events.get_mut(row.item as usize)
        && row.weight > 0.0
    {
        *events = (*events + 1).min(AGES[AGES.len() - 1]);
    }
}

/// What a part's score is multiplied by for one item: its coefficient after scaling.
type Coefficients = Vec<f32>;

impl Blend {
    fn new(models: Vec<Box<dyn Model>>, depth: usize, data: &Interactions) -> Blend {
        let part = |model: Box<dyn Model>| Part {
            root: matches!(model.name(), "popular" | "trending"),
            trust: Trust {
                weights: default_weights(model.name()),
                by_age: [1.0; 3],
            },
            scale: 1.0,
            growth: 0.0,
            alone: [1.0; 5],
            model,
        };
        let mut events = vec![0; data.n_items()];
        data.rows.iter().for_each(|row| count(&mut events, row));
        Blend {
            parts: models.into_iter().map(part).collect(),
            events: Arc::new(events),
            depth,
            normalise: Normalise::Typical,
        }
    }

    /// Forgets what was found of how much each part counts.
    pub(crate) fn reset_trust(&mut self) {
        for part in &mut self.parts {
            part.trust = Trust {
                weights: default_weights(part.model.name()),
                by_age: [1.0; 3],
            };
        }
    }

    fn use_recalls(&mut self, recalls: &Recalls) {
        for part in &mut self.parts {
            if let Some(recall) = recalls.get(part.model.name()) {
                part.model.set_recall(*recall);
            }
        }
    }

    fn use_trust(&mut self, trust: &Trusts) {
        for part in &mut self.parts {
            if let Some(trust) = trust.get(part.model.name()) {
                part.trust = *trust;
            }
        }
    }

    /// Changes every part. What content a part does not reflect counts by how much the part does.
    fn each(
        &mut self,
        n_rows: usize,
        mut change: impl FnMut(&mut Box<dyn Model>) -> UpdateReport,
    ) -> UpdateReport {
        let mut report = UpdateReport::default();
        let weight = |part: &Part| f64::from(part.trust.weights[1..].iter().sum::<f32>());
        let total: f64 = self.parts.iter().map(weight).sum();
        for part in &mut self.parts {
            let share = if total > 0.0 { weight(part) / total } else { 1.0 };
            let one = change(&mut part.model);
            report.absorbed = report.absorbed.max(one.absorbed);
            report.moved += share * one.moved;
            report.parts.push(one.moved);
        }
        report.ignored = n_rows - report.absorbed;
        report
    }

    /// Which age an item is of.
    pub(crate) fn age_of(&self, item: u32) -> usize {
        let events = self.events.get(item as usize).copied().unwrap_or(0);
        AGES.iter().filter(|least| events >= **least).count()
    }

    /// What is known of someone.
    pub(crate) fn person(&self, someone: Someone<'_>) -> Person {
        let history = someone.history;
        let known = |h: &&HistoryEvent| h.weight > 0.0 && self.knows(h.item);
        let length = history.iter().filter(known).count();
        let speaks = |p: &Part| p.root || p.model.personal_to(someone);
        Person {
            length,
            range: range_of(length),
            active: self.parts.iter().map(speaks).collect(),
        }
    }

    /// What the scores of each part are divided by for someone; of no matter for parts that cannot speak of them.
    pub(crate) fn units(&self, someone: Someone<'_>, person: &Person) -> Vec<f32> {
        let unit = |(part, active): (&Part, &bool)| {
            let kind = if *active {
                self.normalise
            } else {
                Normalise::Typical
            };
            part.unit_for(kind, person.length, || own_list(&*part.model, someone))
        };
        self.parts.iter().zip(&person.active).map(unit).collect()
    }

    /// Which active parts know an item.
    fn knowing(&self, active: &[bool], item: u32) -> Vec<bool> {
        let parts = self.parts.iter().zip(active);
        parts.map(|(p, a)| *a && p.model.knows(item)).collect()
    }

    /// Coefficients of the scaled scores for an item of this age that these parts know.
    fn coefficients(&self, person: &Person, knows: &[bool], age: usize) -> Coefficients {
        let whole = knows == person.active;
        let range = person.range;
        let weight = |part: &Part| {
            if whole {
                part.trust.weights[range]
            } else {
                part.trust.weights[range].max(WEIGHT_FLOOR)
            }
        };
        let speaking = || self.parts.iter().zip(knows).filter(|(_, knows)| **knows);
        let total: f32 = speaking().map(|(part, _)| weight(part)).sum();
        let coefficient = |(part, knows): (&Part, &bool)| {
            if !*knows || total <= 0.0 {
                return 0.0;
            }
            let alone = if whole { 1.0 } else { part.alone[range] };
            weight(part) * part.trust.by_age[age] * alone / total
        };
        self.parts.iter().zip(knows).map(coefficient).collect()
    }

    pub(crate) fn score_all(&self, someone: Someone<'_>, candidates: &[u32], scores: &mut [f32]) {
        let person = self.person(someone);
        let mut raw = vec![vec![0f32; candidates.len()]; self.parts.len()];
        for ((part, raw), active) in self.parts.iter().zip(&mut raw).zip(&person.active) {
            if *active {
                part.model.score_for(someone, candidates, raw);
            }
        }
        let units = self.units(someone, &person);
        // Which active parts know each item, a bit each: there are no more than sixteen.
        let mut known = vec![0u16; candidates.len()];
        for (at, (part, _)) in
            (self.parts.iter().zip(&person.active).enumerate()).filter(|(_, (_, active))| **active)
        {
            let bits = part
                .model
                .knows_each(candidates)
                .into_iter()
                .map(|knows| u16::from(knows) << at);
            known.iter_mut().zip(bits).for_each(|(known, bit)| *known |= bit);
        }
        // Few of all combinations come up.
        let mut met: Vec<((u16, usize), Coefficients)> = Vec::new();
        for (at, (item, score)) in candidates.iter().zip(scores).enumerate() {
            let key = (known[at], self.age_of(*item));
            let place = met.iter().position(|(met, _)| *met == key).unwrap_or_else(|| {
                let knows: Vec<bool> = (0..self.parts.len())
                    .map(|part| (key.0 >> part) & 1 == 1)
                    .collect();
                met.push((key, self.coefficients(&person, &knows, key.1)));
                met.len() - 1
            });
            let coefficients = &met[place].1;
            *score = 0.0;
            for (place, part) in self.parts.iter().enumerate() {
                *score += coefficients[place] * (part.rooted(raw[place][at]) / units[place]);
            }
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        let kind = KINDS.iter().position(|kind| *kind == self.normalise);
        // The kind of unit above the depth: artefacts from before there were kinds have the first.
        to.u64(self.depth as u64 | (kind.expect("one of all kinds") as u64) << 32);
        to.u32s(&self.events);
        to.u64(self.parts.len() as u64);
        for part in &self.parts {
            to.u32(u32::from(part.root));
            to.f32(part.scale);
            to.f32(part.growth);
            to.f32s(&part.trust.weights);
            to.f32s(&part.trust.by_age);
            to.f32s(&part.alone);
            let mut model = Vec::new();
            part.model.save(&mut model);
            to.bytes(&model);
        }
    }

    pub(crate) fn load(payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(NAME, payload);
        let both = from.u64()?;
        let (depth, kind) = ((both & 0xffff_ffff) as usize, both >> 32);
        let normalise = usize::try_from(kind)
            .ok()
            .and_then(|kind| KINDS.get(kind).copied());
        let normalise = normalise.ok_or_else(|| from.damaged("an unknown kind of unit"))?;
        let events = from.u32s()?;
        let n_parts = from.u64()?;
        from.expect(
            (1..=1_000_000).contains(&depth) && (1..=16).contains(&n_parts),
            "a size is out of range",
        )?;
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..n_parts {
            let root = from.u32()? != 0;
            let scale = from.f32()?;
            let growth = from.f32()?;
            let (weights, by_age, alone) = (from.f32s()?, from.f32s()?, from.f32s()?);
            let sane = |v: &f32| (0.0..=1e6).contains(v);
            from.expect(
                weights.iter().chain(&by_age).chain(&alone).all(sane)
                    && scale > 1e-30
                    && (GROWTH_MIN..=GROWTH_MAX).contains(&growth),
                "a weight is out of range",
            )?;
            let (Ok(weights), Ok(by_age), Ok(alone)) =
                (weights.try_into(), by_age.try_into(), alone.try_into())
            else {
                return Err(from.damaged("five weights, three factors, five shares expected"));
            };
            let bytes = from.bytes()?;
            let nested = crate::artefact::open(bytes)
                .map_err(|e| from.damaged(e.to_string()))?
                .0
                == NAME;
            from.expect(!nested, "a blend within a blend")?;
            let model = registry::load(bytes).map_err(|e| from.damaged(e.to_string()))?;
            let ids = parts
                .first()
                .map_or(model.vocabulary().ids(), |p| p.model.vocabulary().ids());
            from.expect(ids == model.vocabulary().ids(), "parts with different items")?;
            parts.push(Part {
                model,
                root,
                scale,
                growth,
                trust: Trust { weights, by_age },
                alone,
            });
        }
        from.end()?;
        Ok(Box::new(Blend {
            parts,
            events: Arc::new(events),
            depth,
            normalise,
        }))
    }
}

impl Model for Blend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn settled(&self) -> serde_json::Map<String, serde_json::Value> {
        [("normalise".to_owned(), shown(&self.normalise))]
            .into_iter()
            .collect()
    }

    fn vocabulary(&self) -> &Arc<Vocabulary> {
        self.parts[0].model.vocabulary()
    }

    fn knows(&self, item: u32) -> bool {
        self.parts.iter().any(|p| p.model.knows(item))
    }

    fn personal(&self, history: &[HistoryEvent]) -> bool {
        self.personal_to(Someone::with_history(history))
    }

    fn score(&self, history: &[HistoryEvent], candidates: &[u32], scores: &mut [f32]) {
        self.score_all(Someone::with_history(history), candidates, scores);
    }

    fn recommend(&self, history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        self.recommend_for(Someone::with_history(history), n, allowed)
    }

    fn user_kinds(&self) -> BTreeMap<String, AttributeKind> {
        self.parts
            .iter()
            .flat_map(|part| part.model.user_kinds())
            .collect()
    }

    fn personal_to(&self, someone: Someone<'_>) -> bool {
        self.parts.iter().any(|p| p.model.personal_to(someone))
    }

    fn score_for(&self, someone: Someone<'_>, candidates: &[u32], scores: &mut [f32]) {
        self.score_all(someone, candidates, scores);
    }

    fn recommend_for(&self, someone: Someone<'_>, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        let active = self.person(someone).active;
        let mut union = BTreeSet::new();
        for (part, _) in self.parts.iter().zip(&active).filter(|(_, active)| **active) {
            let list = part.model.recommend_for(someone, self.depth.max(n), allowed);
            union.extend(list.into_iter().map(|(item, _)| item));
        }
        let candidates: Vec<u32> = union.into_iter().collect();
        let mut scores = vec![0f32; candidates.len()];
        self.score_all(someone, &candidates, &mut scores);
        best(self.vocabulary(), n, candidates.into_iter().zip(scores))
    }

    fn similar(&self, item: u32, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        self.similar_by(item, n, allowed, &|_, _| None)
    }

    fn similar_by(
        &self,
        item: u32,
        n: usize,
        allowed: &dyn Fn(u32) -> bool,
        nearest: &dyn Fn(usize, usize) -> Option<TopItems>,
    ) -> TopItems {
        // Likenesses are on different scales: each list counts relative to its best.
        let mut sums: BTreeMap<u32, f32> = BTreeMap::new();
        let depth = self.depth.max(n);
        for (at, part) in self.parts.iter().enumerate() {
            let list = nearest(at, depth).unwrap_or_else(|| part.model.similar(item, depth, allowed));
            let top = list.first().map_or(0.0, |(_, score)| *score);
            for (other, score) in list.into_iter().filter(|_| top > 0.0) {
                *sums.entry(other).or_insert(0.0) += score / top;
            }
        }
        best(self.vocabulary(), n, sums)
    }

    fn explain(&self, history: &[HistoryEvent], item: u32) -> Explanation {
        self.explain_for(Someone::with_history(history), item)
    }

    fn explain_for(&self, someone: Someone<'_>, item: u32) -> Explanation {
        let person = self.person(someone);
        let coefficients = self.coefficients(&person, &self.knowing(&person.active, item), self.age_of(item));
        let units = self.units(someone, &person);
        let mut explanation = Explanation::default();
        for ((part, unit), coefficient) in self.parts.iter().zip(units).zip(coefficients) {
            let mut raw = [0f32];
            part.model.score_for(someone, &[item], &mut raw);
            if coefficient == 0.0 || raw[0] == 0.0 {
                continue;
            }
            // Also right for the root: all parts of a score shrink by the same factor.
            let factor = coefficient * part.rooted(raw[0]) / unit / raw[0];
            for mut contribution in part.model.explain_for(someone, item).contributions {
                contribution.value *= factor;
                explanation.contributions.push(contribution);
            }
        }
        explanation
    }

    fn evidence(&self, history: &[HistoryEvent], items: &[u32]) -> Vec<Evidence> {
        self.evidence_for(Someone::with_history(history), items)
    }

    fn evidence_for(&self, someone: Someone<'_>, items: &[u32]) -> Vec<Evidence> {
        let person = self.person(someone);
        let coefficient =
            |item: &u32| self.coefficients(&person, &self.knowing(&person.active, *item), self.age_of(*item));
        let coefficients: Vec<Coefficients> = items.iter().map(coefficient).collect();
        let most = someone.history.len() * self.parts.len();
        let mut whole: Vec<Evidence> = items
            .iter()
            .map(|_| Evidence {
                history: Vec::with_capacity(most),
                rest: 0.0,
            })
            .collect();
        let mut raw = vec![0f32; items.len()];
        let units = self.units(someone, &person);
        for (at, part) in self.parts.iter().enumerate().filter(|(at, _)| person.active[*at]) {
            part.model.score_for(someone, items, &mut raw);
            let evidence = part.model.evidence_for(someone, items);
            for (((whole, one), raw), coefficients) in
                whole.iter_mut().zip(evidence).zip(&raw).zip(&coefficients)
            {
                if *raw == 0.0 || coefficients[at] == 0.0 {
                    continue;
                }
                // Also right for the root: all parts of a score shrink by the same factor.
                let factor = coefficients[at] * part.rooted(*raw) / units[at] / raw;
                whole.rest += factor * one.rest;
                let scaled = one
                    .history
                    .into_iter()
                    .map(|(item, value)| (item, factor * value));
                whole.history.extend(scaled);
            }
        }
        whole
    }

    /// The variance that comes of the parts that state one; the others are taken at their word.
    fn variances(&self, someone: Someone<'_>, items: &[u32]) -> Vec<Option<f32>> {
        let person = self.person(someone);
        let units = self.units(someone, &person);
        let mut sums = vec![None; items.len()];
        for (at, part) in self.parts.iter().enumerate().filter(|(at, _)| person.active[*at]) {
            let unit = units[at];
            let variances = part.model.variances(someone, items);
            for ((sum, variance), item) in sums.iter_mut().zip(variances).zip(items) {
                let Some(variance) = variance.filter(|_| !part.root) else {
                    continue;
                };
                let knows = self.knowing(&person.active, *item);
                let factor = self.coefficients(&person, &knows, self.age_of(*item))[at] / unit;
                let scaled = factor * factor * variance;
                if scaled > 0.0 && scaled.is_finite() {
                    *sum = Some(sum.unwrap_or(0.0) + scaled);
                }
            }
        }
        sums
    }

    fn features_shared(&self, history: &[HistoryEvent], item: u32, n: usize) -> Vec<(String, f32)> {
        let mut lists = self
            .parts
            .iter()
            .map(|p| p.model.features_shared(history, item, n));
        lists.find(|list| !list.is_empty()).unwrap_or_default()
    }

    fn guarantee(&self) -> UpdateGuarantee {
        UpdateGuarantee::Bounded("each part as it promises; weights and scales stay until the next training")
    }

    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport {
        let report = self.each(interactions.len(), |model| {
            model.update(new_items, interactions, histories)
        });
        let n_items = self.vocabulary().len();
        let events = Arc::make_mut(&mut self.events);
        events.resize(n_items.max(events.len()), 0);
        interactions.iter().for_each(|row| count(events, row));
        report
    }

    fn erase(&mut self, events: &[Interaction]) -> UpdateReport {
        self.each(events.len(), |model| model.erase(events))
    }

    fn absorb_items(&mut self, items: &[(ItemId, ItemFeatures)]) -> usize {
        let mut new_items: Vec<ItemId> = Vec::new();
        let mut seen = BTreeSet::new();
        for (id, _) in items {
            if self.vocabulary().position(id.as_str()).is_none() && seen.insert(id) {
                new_items.push(id.clone());
            }
        }
        let mut absorbed = 0;
        for part in &mut self.parts {
            part.model.update(&new_items, &[], &[]);
            absorbed = absorbed.max(part.model.absorb_items(items));
        }
        absorbed
    }

    fn parts(&self) -> Vec<&dyn Model> {
        self.parts.iter().map(|part| &*part.model).collect()
    }

    fn fork(&self) -> Box<dyn Model> {
        let part = |part: &Part| Part {
            model: part.model.fork(),
            root: part.root,
            scale: part.scale,
            growth: part.growth,
            trust: part.trust,
            alone: part.alone,
        };
        Box::new(Blend {
            parts: self.parts.iter().map(part).collect(),
            events: Arc::clone(&self.events),
            depth: self.depth,
            normalise: self.normalise,
        })
    }

    fn save(&self, to: &mut Vec<u8>) {
        seal(NAME, to, |to| self.write(to));
    }

    fn memory_bytes(&self) -> usize {
        self.parts.iter().map(|p| p.model.memory_bytes()).sum::<usize>() + self.events.len() * 4
    }
}
