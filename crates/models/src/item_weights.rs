//! A linear model from items to items: score(c) = Σₕ xₕ (W(h, c) + aₕ·b꜀) over the history, W sparse, and a and b short
//! vectors where a learner has them: what speaks loudly of few in W, what speaks softly of all in a and b.
//!
//! What several learners come to, whatever they learn W from. xₕ is the strength of the event over the mean strength of
//! training, at most 1, times what its place in the history counts (`recall.rs`): what is learnt from is whether, not how often, and what has
//! faded counts less.
//! Cost of an answer: the entries in the rows of the history, and a product of vectors per item scored. Memory: 8 bytes
//! per entry, and 8 bytes per item and place of a vector.

use crate::artefact::{Reader, Writer, seal};
use crate::common::{append, ascending, best, best_of_all, of_history};
use crate::gathered::Gathered;
use crate::memo::{Kept, Memo};
use crate::recall::Recall;
use crate::staleness::{kept, passed_over};
use crate::{Model, ModelError, TopItems, UpdateGuarantee, UpdateReport};
use dataset::{Interaction, Vocabulary};
use domain::{Evidence, Explanation, HistoryEvent, ItemId};
use numeric::{Csr, axpy, dot, dot_rows, dots_at};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The part of the weights that is the product of two narrow matrices.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dense {
    /// Places of a vector, at least 1.
    pub(crate) rank: usize,
    /// a, a row per item.
    pub(crate) inputs: Vec<f32>,
    /// b, a row per item.
    pub(crate) outputs: Vec<f32>,
}

impl Dense {
    fn input(&self, item: u32) -> &[f32] {
        let start = item as usize * self.rank;
        self.inputs.get(start..start + self.rank).unwrap_or(&[])
    }

    /// Empty for an item that came later.
    fn output(&self, item: u32) -> &[f32] {
        let start = item as usize * self.rank;
        self.outputs.get(start..start + self.rank).unwrap_or(&[])
    }
}

/// What a history comes to.
struct Answer {
    /// By W.
    gathered: Gathered,
    /// Σ xₕ aₕ; empty without vectors.
    vector: Vec<f32>,
}

impl Kept for Answer {
    fn bytes(&self) -> usize {
        self.gathered.bytes() + self.vector.len() * 4
    }
}

/// A model with fixed weights from items to items.
#[derive(Debug, Clone)]
pub(crate) struct ItemWeights {
    pub(crate) name: &'static str,
    pub(crate) vocabulary: Arc<Vocabulary>,
    /// Row: item of the history; columns: what it speaks for.
    pub(crate) weights: Arc<Csr>,
    pub(crate) dense: Option<Arc<Dense>>,
    /// Items that the training had events of.
    pub(crate) known: Arc<Vec<bool>>,
    /// Strength that counts as one.
    pub(crate) mean_strength: f32,
    /// How events of a history count by their place.
    pub(crate) recall: Recall,
    /// What else followed from the data, for those who ask; not written down.
    pub(crate) settled: Map<String, Value>,
    pub(crate) memo: Memo,
}

impl ItemWeights {
    /// Usable positive history with its x.
    fn inputs(&self, history: &[HistoryEvent]) -> impl Iterator<Item = (u32, f32)> {
        let used = self.recall.used(history, self.weights.n_rows());
        let positive = used.filter(|(item, weight, _)| *weight > 0.0 && self.knows(*item));
        positive.map(|(item, weight, share)| (item, share * (weight / self.mean_strength).min(1.0)))
    }

    fn answer(&self, history: &[HistoryEvent]) -> Answer {
        let work = self
            .inputs(history)
            .map(|(item, _)| self.weights.row(item as usize).0.len());
        let mut gathered = Gathered::new(self.vocabulary.len(), work.sum());
        let mut vector = vec![0f32; self.dense.as_ref().map_or(0, |dense| dense.rank)];
        for (item, x) in self.inputs(history) {
            let (columns, values) = self.weights.row(item as usize);
            gathered.add_row(x, columns.iter().copied().zip(values.iter().copied()));
            if let Some(dense) = &self.dense {
                axpy(x, dense.input(item), &mut vector);
            }
        }
        Answer { gathered, vector }
    }

    fn answered(&self, history: &[HistoryEvent]) -> Arc<Answer> {
        self.memo.of(history, || self.answer(history))
    }

    /// What the vectors add for one item.
    fn softly(&self, vector: &[f32], item: u32) -> f32 {
        self.dense
            .as_ref()
            .map_or(0.0, |dense| dot(vector, dense.output(item)))
    }

    /// Scores of all items that have a vector, in their order.
    fn all(&self, answer: &Answer, dense: &Dense) -> Vec<f32> {
        let mut scores = vec![0f32; dense.outputs.len() / dense.rank];
        dot_rows(&dense.outputs, &answer.vector, &mut scores);
        answer.gathered.add_to(&mut scores);
        scores
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.vocabulary(&self.vocabulary);
        to.f32(self.mean_strength);
        to.u64(self.recall.most as u64);
        to.u32s(
            &self
                .known
                .iter()
                .map(|known| u32::from(*known))
                .collect::<Vec<_>>(),
        );
        let (offsets, columns, values) = self.weights.parts();
        let lengths: Vec<u32> = offsets.windows(2).map(|w| (w[1] - w[0]) as u32).collect();
        to.u32s(&lengths);
        to.u32s(columns);
        to.f32s(values);
        if let Some(dense) = &self.dense {
            to.u64(dense.rank as u64);
            to.f32s(&dense.inputs);
            to.f32s(&dense.outputs);
        } else if self.recall.fades() {
            to.u64(0);
        }
        // Artefacts from before there was fading end here.
        if self.recall.fades() {
            to.f32(self.recall.half_life);
            to.f32(self.recall.floor);
        }
    }

    pub(crate) fn load(name: &'static str, payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(name, payload);
        let vocabulary = from.vocabulary()?;
        let mean_strength = from.f32()?;
        let mut recall = Recall::latest(usize::try_from(from.u64()?).unwrap_or(usize::MAX));
        let known: Vec<bool> = from.u32s()?.into_iter().map(|known| known != 0).collect();
        let (lengths, columns, values) = (from.u32s()?, from.u32s()?, from.f32s()?);
        let mut dense = None;
        if from.more() {
            let rank = from.u64()? as usize;
            if rank > 0 {
                dense = Some(Dense {
                    rank,
                    inputs: from.f32s()?,
                    outputs: from.f32s()?,
                });
            }
        }
        if from.more() {
            (recall.half_life, recall.floor) = (from.f32()?, from.f32()?);
        }
        from.end()?;
        let n = vocabulary.len();
        from.expect(
            lengths.len() <= n && known.len() == lengths.len(),
            "a row per item expected",
        )?;
        from.expect(
            mean_strength > 1e-30 && mean_strength.is_finite() && recall.is_sane(),
            "a parameter is out of range",
        )?;
        from.expect(values.iter().all(|v| v.abs() <= 1e6), "a weight is out of range")?;
        if let Some(Dense {
            rank,
            inputs,
            outputs,
        }) = &dense
        {
            let length = rank.checked_mul(known.len());
            from.expect(
                *rank > 0 && length == Some(inputs.len()) && length == Some(outputs.len()),
                "a vector per item expected",
            )?;
            let mut all = inputs.iter().chain(outputs);
            from.expect(
                all.all(|v| v.abs() <= 1e6),
                "a number of a vector is out of range",
            )?;
        }
        let mut offsets = vec![0usize];
        offsets.extend(lengths.iter().scan(0usize, |at, length| {
            *at += *length as usize;
            Some(*at)
        }));
        let weights =
            Csr::from_parts(n, offsets, columns, values).map_err(|e| from.damaged(e.to_string()))?;
        Ok(Box::new(ItemWeights {
            name,
            vocabulary,
            weights: Arc::new(weights),
            dense: dense.map(Arc::new),
            known: Arc::new(known),
            mean_strength,
            recall,
            settled: Map::new(),
            memo: Memo::default(),
        }))
    }
}

impl Model for ItemWeights {
    fn name(&self) -> &'static str {
        self.name
    }

    fn settled(&self) -> Map<String, Value> {
        let mut settled = self.settled.clone();
        settled.extend(self.recall.settled());
        settled
    }

    fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    fn knows(&self, item: u32) -> bool {
        self.known.get(item as usize).copied().unwrap_or(false)
    }

    fn personal(&self, history: &[HistoryEvent]) -> bool {
        self.inputs(history).next().is_some()
    }

    fn score(&self, history: &[HistoryEvent], candidates: &[u32], scores: &mut [f32]) {
        let answer = self.answered(history);
        for (item, score) in candidates.iter().zip(scores) {
            *score = answer.gathered.get(*item) + self.softly(&answer.vector, *item);
        }
    }

    fn recommend(&self, history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        let answer = self.answered(history);
        match &self.dense {
            None => answer.gathered.best(&self.vocabulary, n, allowed),
            Some(dense) => {
                let scores = self.all(&answer, dense);
                best_of_all(&self.vocabulary, n, allowed, &scores)
            }
        }
    }

    fn similar(&self, item: u32, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        if item as usize >= self.weights.n_rows() {
            return Vec::new();
        }
        let (columns, values) = self.weights.row(item as usize);
        let Some(dense) = &self.dense else {
            let entries = columns.iter().copied().zip(values.iter().copied());
            return best(&self.vocabulary, n, entries.filter(|(other, _)| allowed(*other)));
        };
        let mut scores = vec![0f32; dense.outputs.len() / dense.rank];
        dot_rows(&dense.outputs, dense.input(item), &mut scores);
        for (column, value) in columns.iter().zip(values) {
            scores[*column as usize] += value;
        }
        scores[item as usize] = 0.0;
        best_of_all(&self.vocabulary, n, allowed, &scores)
    }

    fn explain(&self, history: &[HistoryEvent], item: u32) -> Explanation {
        of_history(self.name, self.evidence(history, &[item]))
    }

    fn evidence(&self, history: &[HistoryEvent], items: &[u32]) -> Vec<Evidence> {
        let mut evidence = vec![Evidence::default(); items.len()];
        let order = ascending(items);
        // An item that came later has no vector.
        let with_vectors = self.dense.as_deref().map(|dense| {
            let has = |item: &u32| !dense.output(*item).is_empty();
            let places: Vec<usize> = (0..items.len()).filter(|at| has(&items[*at])).collect();
            let starts = places.iter().map(|at| items[*at] as usize * dense.rank);
            let starts: Vec<usize> = starts.collect();
            (dense, places, starts)
        });
        let mut products = vec![0f32; items.len()];
        let mut weights = vec![0f32; items.len()];
        for (own, x) in self.inputs(history) {
            weights.fill(0.0);
            if let Some((dense, places, starts)) = &with_vectors {
                let products = &mut products[..places.len()];
                dots_at(&dense.outputs, starts, dense.input(own), products);
                places
                    .iter()
                    .zip(products)
                    .for_each(|(at, product)| weights[*at] = *product);
            }
            let (mut columns, mut values) = self.weights.row(own as usize);
            for (item, at) in &order {
                let passed = columns.partition_point(|column| column < item);
                (columns, values) = (&columns[passed..], &values[passed..]);
                match columns.first() {
                    Some(column) if column == item => weights[*at] += values[0],
                    Some(_) => {}
                    None => break,
                }
            }
            for (weight, evidence) in weights.iter().zip(&mut evidence) {
                if *weight != 0.0 {
                    evidence.history.push((own, x * weight));
                }
            }
        }
        evidence
    }

    fn recall(&self) -> Option<Recall> {
        Some(self.recall)
    }

    fn set_recall(&mut self, recall: Recall) {
        self.recall = recall;
        self.memo.renew();
    }

    fn guarantee(&self) -> UpdateGuarantee {
        UpdateGuarantee::Ignored(
            "people are answered from their history as it is; weights stay until the next training",
        )
    }

    fn update(
        &mut self,
        new_items: &[ItemId],
        interactions: &[Interaction],
        histories: &[Vec<HistoryEvent>],
    ) -> UpdateReport {
        append(&mut self.vocabulary, new_items);
        if !new_items.is_empty() {
            self.memo.renew();
        }
        passed_over(interactions, histories, self.mean_strength)
    }

    fn erase(&mut self, events: &[Interaction]) -> UpdateReport {
        kept(events, self.mean_strength)
    }

    fn fork(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn save(&self, to: &mut Vec<u8>) {
        seal(self.name, to, |to| self.write(to));
    }

    fn memory_bytes(&self) -> usize {
        let vectors = self
            .dense
            .as_ref()
            .map_or(0, |dense| 4 * (dense.inputs.len() + dense.outputs.len()));
        self.weights.memory_bytes() + self.known.len() + vectors
    }
}
