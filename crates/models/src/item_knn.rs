//! Item neighbourhoods: what people with this history took besides.
//!
//! score(c) = Σₕ wₕ·s(h, c) / Σₕ |wₕ| over the last `history_max` items h of the history with strengths wₕ,
//! where s(h, ·) keeps the `neighbours` most similar items of h (Sarwar et al. 2001, "Item-based
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
//! first asked for; `update` changes the sums and forgets the rows concerned. For cosine the sums are counts
//! (exact up to 2²⁴), so that updating equals counting anew as long as nobody has more than `history_max`
//! items and no row had to be cut to `companions_max`; the guarantee says so when that stops.
//! Events must come after those of the training for that, in any order among themselves.
//!
//! Cost: Σ list length² to train; 16 bytes per pair of items met together, at most `companions_max` × 8 per item;
//! Σ over the history of `neighbours` to score. Nothing is random. Limit: an item without a neighbour in
//! the history scores zero.

use crate::artefact::{Reader, Writer, seal};
use crate::by_id::ById;
use crate::common::{append, ascending, of_history, require_rows, summed, usable};
use crate::companions::{Changes, Row, UserLists, co_sums, one_sided};
use crate::gathered::Gathered;
use crate::item_knn_config::{Kind, Settings};
use crate::memo::Memo;
use crate::staleness::{by_item, kept, moved};
use crate::{Model, ModelError, Run, TopItems, Trainer, TrainingData, UpdateGuarantee, UpdateReport, swing};
use dataset::{Interaction, Interactions, Vocabulary};
use domain::{Evidence, Explanation, HistoryEvent, ItemId};
use hashbrown::HashMap;
use numeric::{Csr, parallel_chunks};
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

/// Lists read again after an update.
const READ_AGAIN_MAX: usize = 10_000;

/// Changed sums gathered before they are brought into their rows: 8 bytes each.
const PENDING_MAX: usize = 8_000_000;

/// What a batch of events changes.
struct Pending {
    sums: Changes,
    /// Items whose own square changed.
    squares: Vec<u32>,
    /// Where an item stands in the history at hand, from one; zero if it does not.
    places: Vec<u32>,
}

impl Pending {
    fn new(n_items: usize) -> Pending {
        Pending {
            sums: Changes::new(n_items),
            squares: Vec::new(),
            places: vec![0; n_items],
        }
    }
}

/// Neighbours of one item with their similarities, by position.
type Neighbours = Arc<Vec<(u32, f32)>>;

#[derive(Clone)]
pub(crate) struct ItemKnn {
    settings: Settings,
    vocabulary: Arc<Vocabulary>,
    /// Co-sums by item; for Swing the similarities themselves.
    rows: Vec<Arc<Row>>,
    /// Sum of squares of an item's column; zero for an item nobody took.
    squares: Vec<f32>,
    /// Mean length of a user's list and mean strength of an entry, as of training.
    mean_length: f32,
    mean_strength: f32,
    /// For rows that were cut, the items whose rows may have them although they do not have those: their lists depend on its square too.
    /// Gathered when the first update needs it.
    one_sided: OnceLock<HashMap<u32, Arc<Vec<u32>>>>,
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
            rows: Vec::new(),
            squares: Vec::new(),
            one_sided: OnceLock::new(),
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
            self.rows = rows.into_iter().map(Arc::new).collect();
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
        self.rows = rows.into_iter().map(Arc::new).collect();
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
        let row = &self.rows[item as usize];
        let pairs = row.items.iter().zip(&row.sums);
        let mut all: Vec<(u32, f32)> = pairs
            .map(|(other, sum)| (*other, self.similarity(item, *other, *sum)))
            .collect();
        let most = self.settings.neighbours;
        if all.len() <= most {
            return all;
        }
        let mut order: Vec<f32> = all.iter().map(|(_, similarity)| *similarity).collect();
        let least = *order.select_nth_unstable_by(most - 1, |a, b| b.total_cmp(a)).1;
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

    /// Usable history with strengths that sum to one in absolute value.
    fn profile(&self, history: &[HistoryEvent]) -> Vec<(u32, f32)> {
        let used = usable(history, self.vocabulary.len(), self.settings.history_max);
        let used: Vec<(u32, f32)> = used.filter(|(i, _)| self.knows(*i)).collect();
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

    /// Reads lists of neighbours that were at hand before, `read`, and are not now, up to a number that
    /// takes about a tenth of a second; the rest is read when asked for.
    fn read_again(&self, read: Vec<bool>) {
        let gone = (0u32..)
            .zip(read)
            .filter(|(item, was_read)| *was_read && self.neighbours[*item as usize].get().is_none());
        for (item, _) in gone.take(READ_AGAIN_MAX) {
            self.neighbours(item);
        }
    }

    /// Takes in one event of someone with these items before; how far the content moved that does not show.
    fn absorb(&mut self, row: &Interaction, history: &[HistoryEvent], pending: &mut Pending) -> f64 {
        let (item, weight) = (row.item, row.weight);
        let mut before: Vec<(u32, f32)> = Vec::with_capacity(history.len());
        for (other, strength) in usable(history, self.vocabulary.len(), usize::MAX) {
            let place = &mut pending.places[other as usize];
            if *place == 0 {
                before.push((other, 0.0));
                *place = before.len() as u32;
            }
            before[*place as usize - 1].1 += strength;
        }
        let own = match pending.places[item as usize] {
            0 => 0.0,
            place => before[place as usize - 1].1,
        };
        before
            .iter()
            .for_each(|(other, _)| pending.places[*other as usize] = 0);
        before.retain(|entry| entry.0 != item && entry.1 > 0.0);
        self.cut |= before.len() >= self.settings.history_max;
        let length = before.len() + 1;
        let (old, new) = (self.value(own, length), self.value(own + weight, length));
        if old == new {
            return 0.0;
        }
        let start = before.len().saturating_sub(self.settings.history_max);
        // A longer list makes each of its entries count less, which is left to the next training.
        let mut moved = 0.0;
        for (other, strength) in &before[start..] {
            let value = self.value(*strength, length);
            if own <= 0.0 && value > 0.0 {
                moved += f64::from((self.value(*strength, length - 1) - value).abs() / value);
            }
            let change = (new - old) * value;
            pending.sums.add(item, *other, change);
            pending.sums.add(*other, item, change);
        }
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
            for before in at.saturating_sub(self.settings.history_max)..at {
                let change = -(values[at] * values[before]);
                pending.sums.add(*item, list[before].0, change);
                pending.sums.add(list[before].0, *item, change);
            }
            let square = &mut self.squares[*item as usize];
            *square = (*square - values[at] * values[at]).max(0.0);
            // Sums of fractions leave crumbs.
            if *square < 1e-6 {
                *square = 0.0;
            }
            pending.squares.push(*item);
        }
    }

    /// Makes the changes that were gathered and forgets the lists of neighbours that they touch.
    fn make(&mut self, pending: &mut Pending) {
        let most = self.settings.companions_max;
        // Of the rows as they are before anything changes.
        self.one_sided.get_or_init(|| one_sided(&self.rows, most));
        let made = pending.sums.make(&mut self.rows, most);
        self.cut |= made.cut;
        let one_sided = self.one_sided.get_mut().expect("gathered above");
        for (row, gone) in made.gone {
            let holders = one_sided.entry(row).or_default();
            let mut together = [holders.as_slice(), &gone].concat();
            together.sort_unstable();
            together.dedup();
            *holders = Arc::new(together);
        }
        pending.squares.sort_unstable();
        pending.squares.dedup();
        let mut stale = vec![false; self.rows.len()];
        made.concerned.iter().for_each(|row| stale[*row as usize] = true);
        for item in pending.squares.drain(..) {
            stale[item as usize] = true;
            let companions = &self.rows[item as usize].items;
            let holders = one_sided
                .get(&item)
                .into_iter()
                .flat_map(|holders| holders.iter());
            companions
                .iter()
                .chain(holders)
                .for_each(|other| stale[*other as usize] = true);
        }
        for (list, _) in self.neighbours.iter_mut().zip(stale).filter(|(_, stale)| *stale) {
            *list = OnceLock::new();
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.json(&self.settings.config());
        to.vocabulary(&self.vocabulary);
        to.f32s(&[self.mean_length, self.mean_strength]);
        to.u32(u32::from(self.cut));
        to.f32s(&self.squares);
        to.u32s(&self.rows.iter().map(|r| r.items.len() as u32).collect::<Vec<_>>());
        to.u32s(
            &self
                .rows
                .iter()
                .flat_map(|r| r.items.iter().copied())
                .collect::<Vec<_>>(),
        );
        to.f32s(
            &self
                .rows
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
            Arc::new(Row {
                items: items.to_vec(),
                sums: sums.to_vec(),
            })
        };
        let rows: Vec<Arc<Row>> = (0..n_items).map(row).collect();
        Ok(Box::new(ItemKnn {
            settings,
            rows,
            one_sided: OnceLock::new(),
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

    fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    fn knows(&self, item: u32) -> bool {
        self.squares.get(item as usize).is_some_and(|s| *s > 0.0)
    }

    fn personal(&self, history: &[HistoryEvent]) -> bool {
        usable(history, self.vocabulary.len(), self.settings.history_max)
            .any(|(item, weight)| weight > 0.0 && self.knows(item))
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
        let Some(row) = self.rows.get(item as usize) else {
            return Vec::new();
        };
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
        self.read_again(vec![true; self.neighbours.len()]);
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
        self.rows.resize(n_items, Arc::default());
        self.squares.resize(n_items, 0.0);
        self.neighbours.resize(n_items, OnceLock::new());
        // Those that were at hand will be asked for again: better now than in somebody's request.
        let read: Vec<bool> = self.neighbours.iter().map(|list| list.get().is_some()).collect();
        let mut report = UpdateReport::default();
        let mut pending = Pending::new(n_items);
        for (n, row) in interactions.iter().enumerate() {
            let usable = (row.item as usize) < n_items && row.weight.is_finite();
            let history = histories.get(n).map_or(&[] as &[HistoryEvent], |h| h);
            if !usable || matches!(self.settings.kind, Kind::Swing { .. }) {
                report.ignored += 1;
                report.moved += moved(row, history, self.mean_strength);
                continue;
            }
            report.moved += self.absorb(row, history, &mut pending);
            report.absorbed += 1;
            if pending.sums.len > PENDING_MAX {
                self.make(&mut pending);
            }
        }
        self.make(&mut pending);
        self.read_again(read);
        report
    }

    fn erase(&mut self, events: &[Interaction]) -> UpdateReport {
        if matches!(self.settings.kind, Kind::Swing { .. }) {
            return kept(events, self.mean_strength);
        }
        self.memo.renew();
        let read: Vec<bool> = self.neighbours.iter().map(|list| list.get().is_some()).collect();
        let mut pending = Pending::new(self.rows.len());
        self.take_out(events, &mut pending);
        self.make(&mut pending);
        self.read_again(read);
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
        let rows: usize = self.rows.iter().map(|r| r.items.len() * 8 + 64).sum();
        let read = self.neighbours.iter().filter_map(OnceLock::get);
        rows + self.squares.len() * 28 + read.map(|n| n.len() * 8).sum::<usize>()
    }
}
