//! A linear model from items to items: score(c) = Σₕ xₕ W(h, c) over the history, W sparse.
//!
//! What several learners come to, whatever they learn W from. xₕ is the strength of the event over the mean strength of
//! training, at most 1: what is learnt from is whether, not how often, and what has faded counts less.
//! Cost of an answer: the entries in the rows of the history. Memory: 8 bytes per entry.

use crate::artefact::{Reader, Writer, seal};
use crate::common::{append, best, of_history, usable};
use crate::gathered::Gathered;
use crate::memo::Memo;
use crate::staleness::{kept, passed_over};
use crate::{Model, ModelError, TopItems, UpdateGuarantee, UpdateReport};
use dataset::{Interaction, Vocabulary};
use domain::{Evidence, Explanation, HistoryEvent, ItemId};
use numeric::Csr;
use std::sync::Arc;

/// A model with fixed weights from items to items.
#[derive(Debug, Clone)]
pub(crate) struct ItemWeights {
    pub(crate) name: &'static str,
    pub(crate) vocabulary: Arc<Vocabulary>,
    /// Row: item of the history; columns: what it speaks for.
    pub(crate) weights: Arc<Csr>,
    /// Items that the training had events of.
    pub(crate) known: Arc<Vec<bool>>,
    /// Strength that counts as one.
    pub(crate) mean_strength: f32,
    pub(crate) history_max: usize,
    pub(crate) memo: Memo,
}

impl ItemWeights {
    /// Usable positive history with its x.
    fn inputs(&self, history: &[HistoryEvent]) -> impl Iterator<Item = (u32, f32)> {
        let used = usable(history, self.weights.n_rows(), self.history_max);
        let positive = used.filter(|(item, weight)| *weight > 0.0 && self.knows(*item));
        positive.map(|(item, weight)| (item, (weight / self.mean_strength).min(1.0)))
    }

    fn gather(&self, history: &[HistoryEvent]) -> Gathered {
        let work = self
            .inputs(history)
            .map(|(item, _)| self.weights.row(item as usize).0.len());
        let mut gathered = Gathered::new(self.vocabulary.len(), work.sum());
        for (item, x) in self.inputs(history) {
            let (columns, values) = self.weights.row(item as usize);
            for (column, value) in columns.iter().zip(values) {
                gathered.add(*column, x * value);
            }
        }
        gathered
    }

    fn gathered(&self, history: &[HistoryEvent]) -> Arc<Gathered> {
        self.memo.of(history, || self.gather(history))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.vocabulary(&self.vocabulary);
        to.f32(self.mean_strength);
        to.u64(self.history_max as u64);
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
    }

    pub(crate) fn load(name: &'static str, payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(name, payload);
        let vocabulary = from.vocabulary()?;
        let mean_strength = from.f32()?;
        let history_max = from.u64()? as usize;
        let known: Vec<bool> = from.u32s()?.into_iter().map(|known| known != 0).collect();
        let (lengths, columns, values) = (from.u32s()?, from.u32s()?, from.f32s()?);
        from.end()?;
        let n = vocabulary.len();
        from.expect(
            lengths.len() <= n && known.len() == lengths.len(),
            "a row per item expected",
        )?;
        from.expect(
            mean_strength > 1e-30 && mean_strength.is_finite() && (1..=1_000_000).contains(&history_max),
            "a parameter is out of range",
        )?;
        from.expect(values.iter().all(|v| v.abs() <= 1e6), "a weight is out of range")?;
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
            known: Arc::new(known),
            mean_strength,
            history_max,
            memo: Memo::default(),
        }))
    }
}

impl Model for ItemWeights {
    fn name(&self) -> &'static str {
        self.name
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
        let gathered = self.gathered(history);
        for (item, score) in candidates.iter().zip(scores) {
            *score = gathered.get(*item);
        }
    }

    fn recommend(&self, history: &[HistoryEvent], n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        self.gathered(history).best(&self.vocabulary, n, allowed)
    }

    fn similar(&self, item: u32, n: usize, allowed: &dyn Fn(u32) -> bool) -> TopItems {
        if item as usize >= self.weights.n_rows() {
            return Vec::new();
        }
        let (columns, values) = self.weights.row(item as usize);
        let entries = columns.iter().copied().zip(values.iter().copied());
        best(&self.vocabulary, n, entries.filter(|(other, _)| allowed(*other)))
    }

    fn explain(&self, history: &[HistoryEvent], item: u32) -> Explanation {
        of_history(self.name, self.evidence(history, &[item]))
    }

    fn evidence(&self, history: &[HistoryEvent], items: &[u32]) -> Vec<Evidence> {
        let mut evidence = vec![Evidence::default(); items.len()];
        for (own, x) in self.inputs(history) {
            let (columns, values) = self.weights.row(own as usize);
            for (item, evidence) in items.iter().zip(&mut evidence) {
                if let Ok(at) = columns.binary_search(item) {
                    evidence.history.push((own, x * values[at]));
                }
            }
        }
        evidence
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
        self.weights.memory_bytes() + self.known.len()
    }
}
