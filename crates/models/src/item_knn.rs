//! Item neighbourhoods: what people with this history took besides.
//!
//! score(c) = Σₕ wₕ·s(h, c) / Σₕ |wₕ| over the last `served_max` items h of the history with strengths wₕ,
//! which fade with their place in it (`recall.rs`); where s(h, ·) keeps the `neighbours` most similar items of h (Sarwar et al. 2001, "Item-based
//! collaborative filtering recommendation algorithms"; Deshpande and Karypis 2004).
//!
//! Three similarities, of a person's items whose summed strength is above zero:
//! - `item-cosine`: users of both / (√(users of i)·√(users of j) + `shrinkage`).
//! - `item-bm25`: the same with each user's entry weighted r·(k₁+1) / (k₁·(1−b+b·length/mean length) + r), r the
//!   strength over the mean strength (Robertson and Zaragoza 2009, with users as documents; the inverse
//!   document frequency of an item cancels in the cosine).
//! - `swing`: see `swing.rs`.
//!
//! The first two keep the co-sums, not the similarities, and read similarities off them when a row is
//! first asked for; `update` lays changes beside the sums (`co_counts.rs`) and forgets what was read of the rows concerned. For cosine the sums are counts
//! (exact up to 2²⁴), so that updating equals counting anew as long as nobody has more than `history_max`
//! items and no row had to be cut to `companions_max`; the guarantee says so when that stops.
//! Events must come after those of the training for that, in any order among themselves.
//!
//! Cost: Σ list length² to train; 16 bytes per pair of items met together, at most `companions_max` × 8 per item;
//! Σ over the history of `neighbours` to score. Nothing is random. Limit: an item without a neighbour in
//! the history scores zero.

use crate::artefact::{Reader, Writer, seal};
use crate::by_id::ById;
use crate::co_counts::{CoCounts, Pairs};
use crate::common::{append, ascending, of_history, require_rows, summed, usable};
use crate::companions::{Row, UserLists, back, co_sums, whole};
use crate::gathered::Gathered;
use crate::item_knn_config::{Kind, Settings};
use crate::memo::Memo;
use crate::recall::Recall;
use crate::staleness::{by_item, kept, moved_by};
use crate::{Model, ModelError, Run, TopItems, Trainer, TrainingData, UpdateGuarantee, UpdateReport, swing};
use dataset::{Interaction, Interactions, Vocabulary};
use domain::{Evidence, Explanation, HistoryEvent, ItemId};
use numeric::{Csr, parallel_chunks};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// Learns item neighbourhoods.
#[derive(Debug, Clone)]
pub struct ItemKnnTrainer {
    settings: Settings,
}

impl ItemKnnTrainer {
    pub(crate) fn new(settings: Settings) -> ItemKnnTrainer {
        ItemKnnTrainer { settings }
    }
}

impl Trainer for ItemKnnTrainer {
    fn name(&self) -> &'static str {
        self.settings.kind.name()
    }

    fn config(&self) -> serde_json::Value {
        self.settings.config()
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        require_rows(&data.interactions)?;
        run.check()?;
        let settings = self.settings.of_data(&data.interactions);
        let model = numeric::on_threads(run.threads, || ItemKnn::train(&settings, &data.interactions))?;
        run.check()?;
        Ok(Box::new(model))
    }
}

/// Lists read when a model is warmed, those of the first items.
const WARM_MAX: usize = 10_000;

/// Pairs gathered before they are laid down: 8 bytes each, and three times that while they are.
const PENDING_MAX: usize = 8_000_000;

/// Companions of changed items that are gone through, in units of the number of items, before all lists are taken to be stale.
const GONE_THROUGH: usize = 2;

/// What a batch of events changes.
struct Pending {
    pairs: Pairs,
    /// Items whose own square changed.
    squares: Vec<u32>,
    /// The round in which an item was last seen.
    seen: Vec<u32>,
    round: u32,
    /// Items before an event, with summed strengths.
    before: Vec<(u32, f32)>,
}

impl Pending {
    fn new(n_items: usize) -> Pending {
        Pending {
            pairs: Pairs::default(),
            squares: Vec::new(),
            seen: vec![0; n_items],
            round: 0,
            before: Vec::new(),
        }
    }

    /// Gathers in `before` the items other than `item` that were taken before, in the order of their first events, at least the last `most`. Says
    /// how many there are in all, and the strength of the item itself.
    fn gather(&mut self, history: &[HistoryEvent], item: u32, most: usize) -> (usize, f32) {
        self.before.clear();
        let n_items = self.seen.len();
        self.round += 1;
        // Nearly always everybody's items differ and all can be used: then there is nothing to sum.
        let (mut plain, mut taken, mut own) = (true, 0, 0.0);
        for h in history {
            let Some(seen) = self.seen.get_mut(h.item as usize) else {
                plain = false;
                break;
            };
            plain &= *seen != self.round && h.weight.is_finite();
            *seen = self.round;
            let is_own = h.item == item;
            taken += usize::from(!is_own && h.weight > 0.0);
            own = if is_own { h.weight } else { own };
        }
        if plain {
            let last = history.iter().rev().filter(|h| h.item != item && h.weight > 0.0);
            self.before.extend(last.take(most).map(|h| (h.item, h.weight)));
            self.before.reverse();
            return (taken, own);
        }
        let mut places = hashbrown::HashMap::new();
        for (other, strength) in usable(history, n_items, usize::MAX) {
            let place = *places.entry(other).or_insert(self.before.len());
            match self.before.get_mut(place) {
                Some(entry) => entry.1 += strength,
                None => self.before.push((other, strength)),
            }
        }
        let own = places.get(&item).map_or(0.0, |place| self.before[*place].1);
        self.before.retain(|entry| entry.0 != item && entry.1 > 0.0);
        (self.before.len(), own)
    }
}

/// Neighbours of one item with their similarities, by position.
type Neighbours = Arc<Vec<(u32, f32)>>;

#[derive(Clone)]
pub(crate) struct ItemKnn {
    settings: Settings,
    vocabulary: Arc<Vocabulary>,
    /// Co-sums by item; for Swing the similarities themselves.
    rows: CoCounts,
    /// Sum of squares of an item's column; zero for an item nobody took.
    squares: Vec<f32>,
    /// Mean length of a user's list and mean strength of an entry, as of training.
    mean_length: f32,
    mean_strength: f32,
    /// For lists with equal scores.
    order: Arc<ById>,
    /// True if a row or a history was cut, so that updates are not exact.
    cut: bool,
    /// What is read off `rows`, when first asked for.
    neighbours: Vec<OnceLock<Neighbours>>,
    memo: Memo,
}

impl ItemKnn {
    fn train(settings: &Settings, data: &Interactions) -> Result<ItemKnn, ModelError> {
        let n_items = data.n_items();
        let parts = parallel_chunks(data.n_users(), 1024, |users| {
            let own = |user| summed(data, user).into_iter().filter(|(_, sum)| *sum > 0.0);
            users
                .map(|user| own(user).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        });
        let mut lists = UserLists {
            offsets: vec![0],
            ..UserLists::default()
        };
        let mut cut = false;
        for list in parts.into_iter().flatten() {
            lists.items.extend(list.iter().map(|(item, _)| *item));
            lists.values.extend(list.iter().map(|(_, strength)| *strength));
            cut |= list.len() > settings.history_max;
            lists.offsets.push(lists.items.len());
        }
        if lists.items.is_empty() {
            return Err(ModelError::Empty("no interactions above zero".to_owned()));
        }
        settings.check_memory(&lists, n_items)?;
        let total: f64 = lists.values.iter().map(|v| f64::from(*v)).sum();
        let users = (0..data.n_users())
            .filter(|u| !lists.range(*u).is_empty())
            .count();
        let mut model = ItemKnn {
            settings: settings.clone(),
            vocabulary: Arc::clone(&data.items),
            rows: CoCounts::default(),
            squares: Vec::new(),
            order: Arc::new(ById::of(&data.items)),
            mean_length: lists.items.len() as f32 / users as f32,
            mean_strength: (total / lists.items.len() as f64) as f32,
            cut,
            neighbours: vec![OnceLock::new(); n_items],
            memo: Memo::default(),
        };
        model.count(&mut lists, n_items);
        Ok(model)
    }

    fn count(&mut self, lists: &mut UserLists, n_items: usize) {
        let settings = &self.settings;
        if let Kind::Swing { alpha, users_max } = settings.kind {
            keep_last(lists, settings.history_max);
            let rows = swing::similarities(lists, n_items, alpha, users_max, settings.neighbours);
            self.rows = CoCounts::new(rows);
            self.squares = vec![0.0; n_items];
            lists.items.iter().for_each(|i| self.squares[*i as usize] += 1.0);
            return;
        }
        for user in 0..lists.n_users() {
            let range = lists.range(user);
            let length = range.len();
            for value in &mut lists.values[range] {
                *value = self.value(*value, length);
            }
        }
        let (rows, squares, trimmed) = co_sums(lists, n_items, settings.history_max, settings.companions_max);
        self.rows = CoCounts::new(rows);
        self.squares = squares;
        self.cut |= trimmed;
    }

    /// Entry of a user with this summed strength and list length.
    fn value(&self, strength: f32, length: usize) -> f32 {
        if strength <= 0.0 {
            return 0.0;
        }
        match self.settings.kind {
            Kind::Cosine | Kind::Swing { .. } => 1.0,
            Kind::Bm25 { k1, b } => {
                let r = strength / self.mean_strength;
                r * (k1 + 1.0) / (k1 * (1.0 - b + b * length as f32 / self.mean_length) + r)
            }
        }
    }

    fn similarity(&self, a: u32, b: u32, sum: f32) -> f32 {
        if matches!(self.settings.kind, Kind::Swing { .. }) {
            return sum;
        }
        let (a, b) = (self.squares[a as usize], self.squares[b as usize]);
        if a <= 0.0 || b <= 0.0 {
            return 0.0;
        }
        sum / (a.sqrt() * b.sqrt() + self.settings.shrinkage)
    }

    fn neighbours(&self, item: u32) -> &Neighbours {
        self.neighbours[item as usize].get_or_init(|| Arc::new(self.read(item)))
    }

    /// The most similar items of one, items ascending; of equal ones those whose id comes first.
    fn read(&self, item: u32) -> Vec<(u32, f32)> {
        let row = self.rows.row(item);
        let pairs = row.items.iter().zip(&row.sums);
        let mut all: Vec<(u32, f32)> = pairs
            .map(|(other, sum)| (*other, self.similarity(item, *other, *sum)))
            .collect();
        let most = self.settings.neighbours;
        if all.len() <= most {
            return all;
        }
        let mut order: Vec<u32> = all.iter().map(|(_, similarity)| whole(*similarity)).collect();
        let place = order.len() - most;
        let least = back(*order.select_nth_unstable(place).1);
        let is_above = |(_, similarity): &(u32, f32)| *similarity > least;
        let room = most - all.iter().filter(|pair| is_above(pair)).count();
        let mut equal: Vec<u32> = all
            .iter()
            .filter(|(_, similarity)| *similarity == least)
            .map(|(other, _)| *other)
            .collect();
        if equal.len() > room {
            let ids = &self.vocabulary;
            equal.sort_unstable_by(|a, b| ids.id(*a).cmp(ids.id(*b)));
            equal.truncate(room);
            equal.sort_unstable();
        }
        all.retain(|pair| is_above(pair) || equal.binary_search(&pair.0).is_ok());
        all
    }

    /// Usable history with faded strengths that sum to one in absolute value.
    fn profile(&self, history: &[HistoryEvent]) -> Vec<(u32, f32)> {
        let recall = self.settings.recall();
        let used = recall.used(history, self.vocabulary.len());
        let known = used.filter(|(i, ..)| self.knows(*i));
        let faded = known.map(|(i, w, share)| (i, w * share));
        let used: Vec<(u32, f32)> = faded.filter(|(_, w)| *w != 0.0).collect();
        let total: f64 = used.iter().map(|(_, w)| f64::from(w.abs())).sum();
        used.iter()
            .map(|(i, w)| (*i, (f64::from(*w) / total) as f32))
            .collect()
    }

    /// Scores of all items that share a neighbourhood with the history.
    fn gather(&self, history: &[HistoryEvent]) -> Gathered {
        let profile = self.profile(history);
        let work: usize = profile.iter().map(|(i, _)| self.neighbours(*i).len()).sum();
        let mut gathered = Gathered::new(self.vocabulary.len(), work);
        for (item, weight) in &profile {
            gathered.add_row(*weight, self.neighbours(*item).iter().copied());
        }
        gathered
    }

    /// The same, kept for the next question about this history.
    fn gathered(&self, history: &[HistoryEvent]) -> Arc<Gathered> {
        self.memo.of(history, || self.gather(history))
    }

    /// Takes in one event of someone with these items before; how far the content moved that does not show.
    fn absorb(&mut self, row: &Interaction, history: &[HistoryEvent], pending: &mut Pending) -> f64 {
        let (item, weight) = (row.item, row.weight);
        let most = self.settings.history_max;
        let (taken, own) = pending.gather(history, item, most);
        self.cut |= taken >= most;
        let length = taken + 1;
        let (old, new) = (self.value(own, length), self.value(own + weight, length));
        if old == new {
            return 0.0;
        }
        let last = &pending.before[pending.before.len().saturating_sub(most)..];
        // A longer list makes each of its entries count less, which is left to the next training.
        let mut moved = 0.0;
        if own <= 0.0 && !matches!(self.settings.kind, Kind::Cosine) {
            for (_, strength) in last {
                let value = self.value(*strength, length);
                if value > 0.0 {
                    moved += f64::from((self.value(*strength, length - 1) - value).abs() / value);
                }
            }
        }
        let others = last.iter();
        let others = others.map(|(other, strength)| (*other, (new - old) * self.value(*strength, length)));
        pending.pairs.push(item, others);
        let square = &mut self.squares[item as usize];
        *square = (*square + new * new - old * old).max(0.0);
        pending.squares.push(item);
        moved
    }

    /// Takes out everything that one person did.
    fn take_out(&mut self, events: &[Interaction], pending: &mut Pending) {
        let mut list = by_item(events);
        list.retain(|(item, sum)| *sum > 0.0 && (*item as usize) < self.squares.len());
        let length = list.len();
        let values: Vec<f32> = list.iter().map(|(_, sum)| self.value(*sum, length)).collect();
        for (at, (item, _)) in list.iter().enumerate() {
            let before = at.saturating_sub(self.settings.history_max)..at;
            let others = before.map(|before| (list[before].0, -(values[at] * values[before])));
            pending.pairs.push(*item, others);
            let square = &mut self.squares[*item as usize];
            *square = (*square - values[at] * values[at]).max(0.0);
            // Sums of fractions leave crumbs.
            if *square < 1e-6 {
                *square = 0.0;
            }
            pending.squares.push(*item);
        }
    }

    /// Makes the changes that were gathered and forgets the lists of neighbours that they touch: each is read again when it is
    /// next asked for, about 20 µs a list on MovieLens 1M and at most `served_max` lists in a request.
    fn make(&mut self, pending: &mut Pending) {
        self.rows.add(&std::mem::take(&mut pending.pairs));
        pending.squares.sort_unstable();
        pending.squares.dedup();
        self.forget(&pending.squares);
        pending.squares.clear();
        if self.rows.is_heavy() {
            self.settle();
        }
    }

    fn settle(&mut self) {
        for row in self.rows.settle(self.settings.companions_max) {
            self.cut = true;
            self.neighbours[row as usize] = OnceLock::new();
        }
    }

    /// Forgets the lists of rows that just changed, and of those that have an item whose square did.
    fn forget(&mut self, squares: &[u32]) {
        let n = self.neighbours.len();
        let work: usize = squares.iter().map(|item| self.rows.n_companions(*item)).sum();
        if work > GONE_THROUGH * n {
            self.neighbours = vec![OnceLock::new(); n];
            return;
        }
        let mut stale = self.rows.concerned().to_vec();
        for item in squares {
            stale.push(*item);
            let most = self.settings.companions_max;
            self.rows.companions(*item, most, |other| stale.push(other));
        }
        for item in stale {
            self.neighbours[item as usize] = OnceLock::new();
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.json(&self.settings.config());
        to.vocabulary(&self.vocabulary);
        to.f32s(&[self.mean_length, self.mean_strength]);
        to.u32(u32::from(self.cut));
        to.f32s(&self.squares);
        let rows: Vec<Cow<'_, Row>> = (0..self.rows.len() as u32)
            .map(|row| self.rows.row(row))
            .collect();
        to.u32s(&rows.iter().map(|r| r.items.len() as u32).collect::<Vec<_>>());
        to.u32s(
            &rows
                .iter()
                .flat_map(|r| r.items.iter().copied())
                .collect::<Vec<_>>(),
        );
        to.f32s(
            &rows
                .iter()
                .flat_map(|r| r.sums.iter().copied())
                .collect::<Vec<_>>(),
        );
    }

    pub(crate) fn load(name: &'static str, payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(name, payload);
        let settings = Settings::parse(name, &from.json()?).map_err(|e| from.damaged(e.to_string()))?;
        let vocabulary = from.vocabulary()?;
        let means = from.f32s()?;
        let cut = from.u32()? != 0;
        let squares = from.f32s()?;
        let lengths = from.u32s()?;
        let (items, sums) = (from.u32s()?, from.f32s()?);
        from.end()?;
        let &[mean_length, mean_strength] = means.as_slice() else {
            return Err(from.damaged("two means expected"));
        };
        from.expect(
            mean_length > 0.0 && mean_strength > 0.0,
            "a mean is not above zero",
        )?;
        let n_items = vocabulary.len();
        from.expect(
            squares.len() == n_items && lengths.len() == n_items,
            "a row per item expected",
        )?;
        let sane = |v: &f32| (0.0..=1e18).contains(v);
        from.expect(squares.iter().chain(&sums).all(sane), "a sum is out of range")?;
        let mut offsets = vec![0usize];
        offsets.extend(lengths.iter().scan(0usize, |at, length| {
            *at += *length as usize;
            Some(*at)
        }));
        let rows = Csr::from_parts(n_items, offsets, items, sums).map_err(|e| from.damaged(e.to_string()))?;
        let row = |i| {
            let (items, sums) = rows.row(i);
            Row {
                items: items.to_vec(),
                sums: sums.to_vec(),
            }
        };
        let rows = CoCounts::new((0..n_items).map(row).collect());
        Ok(Box::new(ItemKnn {
            settings,
            rows,
            order: Arc::new(ById::of(&vocabulary)),
            squares,
            mean_length,
            mean_strength,
            cut,
            neighbours: vec![OnceLock::new(); n_items],
            memo: Memo::default(),
            vocabulary,
        }))
    }
}

/// Keeps each user's last items.
fn keep_last(lists: &mut UserLists, most: usize) {
    let mut kept = UserLists {
        offsets: vec![0],
        ..UserLists::default()
    };
    for user in 0..lists.n_users() {
        let range = lists.range(user);
        let start = range.start.max(range.end.saturating_sub(most));
        kept.items.extend_from_slice(&lists.items[start..range.end]);
        kept.values.extend_from_slice(&lists.values[start..range.end]);
        kept.offsets.push(kept.items.len());
    }
    *lists = kept;
}

impl Model for ItemKnn {
    fn name(&self) -> &'static str {
        self.settings.kind.name()
    }

    fn settled(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut settled = self.settings.recall().settled();
        if let Some(served) = settled.insert("history_max".to_owned(), self.settings.history_max.into()) {
            settled.insert("served_max".to_owned(), served);
        }
        settled
    }

    fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    fn knows(&self, item: u32) -> bool {
        self.squares.get(item as usize).is_some_and(|s| *s > 0.0)
    }

    fn personal(&self, history: &[HistoryEvent]) -> bool {
        let recall = self.settings.recall();
        recall
            .used(history, self.vocabulary.len())
            .any(|(item, weight, _)| weight > 0.0 && self.knows(item))
    }

    fn score(&self, history: &[HistoryEvent], candidates: &[u32], scores: &mut [f32]) {
        let gathered = self.gathered(history);
        for (item, score) in candidates.iter().zip(scores) {
            *score = gathered.get(*item);
        }
    }

    fn recommend(&self, history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        self.gathered(history).best(&self.vocabulary, n, allowed)
    }

    fn similar(&self, item: u32, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        if item as usize >= self.rows.len() {
            return Vec::new();
        }
        let row = self.rows.row(item);
        let entries = row.items.iter().zip(&row.sums);
        let scored = entries.map(|(other, sum)| (*other, self.similarity(item, *other, *sum)));
        self.order.best(n, allowed, scored)
    }

    fn explain(&self, history: &[HistoryEvent], item: u32) -> Explanation {
        of_history(self.name(), self.evidence(history, &[item]))
    }

    fn evidence(&self, history: &[HistoryEvent], items: &[u32]) -> Vec<Evidence> {
        let mut evidence = vec![Evidence::default(); items.len()];
        let order = ascending(items);
        for (own, weight) in self.profile(history) {
            let mut list = self.neighbours(own).as_slice();
            for (item, at) in &order {
                list = &list[list.partition_point(|(other, _)| other < item)..];
                match list.first() {
                    Some((other, value)) if other == item => {
                        evidence[*at].history.push((own, weight * value));
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        }
        evidence
    }

    fn warm(&self) {
        (0..self.neighbours.len().min(WARM_MAX) as u32).for_each(|item| _ = self.neighbours(item));
    }

    fn recall(&self) -> Option<Recall> {
        Some(self.settings.recall())
    }

    fn set_recall(&mut self, recall: Recall) {
        self.settings = self.settings.with_recall(recall);
        self.memo.renew();
    }

    fn guarantee(&self) -> UpdateGuarantee {
        match self.settings.kind {
            Kind::Swing { .. } => UpdateGuarantee::Ignored("pairs of users are compared in training only"),
            Kind::Bm25 { .. } => UpdateGuarantee::Bounded(
                "an entry is weighted by the length of its user's list when it came, and mean length and strength are those of training",
            ),
            Kind::Cosine if self.cut => {
                UpdateGuarantee::Bounded("a history or a row of companions reached its limit and was cut")
            }
            Kind::Cosine => UpdateGuarantee::Exact,
        }
    }

    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport {
        append(&mut self.vocabulary, new_items);
        if self.order.len() < self.vocabulary.len() {
            Arc::make_mut(&mut self.order).extend(&self.vocabulary);
        }
        self.memo.renew();
        let n_items = self.vocabulary.len();
        self.rows.extend_to(n_items);
        self.squares.resize(n_items, 0.0);
        self.neighbours.resize(n_items, OnceLock::new());
        let (mut report, mut passed) = (UpdateReport::default(), Vec::new());
        let mut pending = Pending::new(n_items);
        for (n, row) in interactions.iter().enumerate() {
            let usable = (row.item as usize) < n_items && row.weight.is_finite();
            let history = histories.get(n).map_or(&[] as &[HistoryEvent], |h| h);
            if !usable || matches!(self.settings.kind, Kind::Swing { .. }) {
                report.ignored += 1;
                passed.push((row, history));
                continue;
            }
            report.moved += self.absorb(row, history, &mut pending);
            report.absorbed += 1;
            if pending.pairs.len() > PENDING_MAX {
                self.make(&mut pending);
            }
        }
        self.make(&mut pending);
        report.moved += moved_by(&passed, self.mean_strength);
        report
    }

    fn erase(&mut self, events: &[Interaction]) -> UpdateReport {
        if matches!(self.settings.kind, Kind::Swing { .. }) {
            return kept(events, self.mean_strength);
        }
        self.memo.renew();
        let mut pending = Pending::new(self.rows.len());
        self.take_out(events, &mut pending);
        self.make(&mut pending);
        // What was erased is to be gone, not to be made up for.
        self.settle();
        UpdateReport {
            absorbed: events.len(),
            ..UpdateReport::default()
        }
    }

    fn fork(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn save(&self, to: &mut Vec<u8>) {
        seal(self.name(), to, |to| self.write(to));
    }

    fn memory_bytes(&self) -> usize {
        let read = self.neighbours.iter().filter_map(OnceLock::get);
        self.rows.memory_bytes() + self.squares.len() * 28 + read.map(|n| n.len() * 8).sum::<usize>()
    }
}
