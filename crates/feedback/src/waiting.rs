//! Decisions that no file holds yet, in the blocks that they will be written in.
//!
//! A decision is kept as what it is encoded to and nothing else, a fifth of its size in memory: whoever made it frees it at once, while it is still in that core's cache. Looking
//! one up decodes its block.

use crate::block::{Added, BLOCK_BYTES, Open};
use crate::columns::{self, Head};
use crate::{FeedbackError, StoredDecision};
use domain::DecisionId;
use std::collections::HashMap;
use std::sync::Arc;

/// Written blocks whose room is used again, at most so many with so many bytes: fresh memory would have to be cleared by the operating system first.
const DONE_MAX: usize = 32;
const DONE_BYTES_MAX: usize = 2 * BLOCK_BYTES;

/// Where a decision waits: the block, and where in it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    block: u64,
    line: usize,
}

/// Most blocks that grow at once.
pub(crate) const LANES: usize = 8;

#[derive(Default)]
pub(crate) struct Waiting {
    /// The blocks that grow, one for each processor, which then finds what it has written in its own caches.
    open: Vec<Open>,
    /// Those before them, in the order in which they were closed.
    full: Vec<Arc<Open>>,
    /// Those that the writer has taken.
    writing: Vec<Arc<Open>>,
    /// Those that are written, for the room that they have.
    done: Vec<Open>,
    places: HashMap<DecisionId, Place>,
    /// How many blocks there have been.
    blocks: u64,
    len: usize,
    bytes: usize,
}

/// A block as it was when it was asked for.
pub(crate) enum Kept {
    Full(Arc<Open>),
    Bytes(Vec<u8>),
}

impl Kept {
    pub(crate) fn decisions(&self) -> Result<Vec<StoredDecision>, FeedbackError> {
        let decoded = match self {
            Kept::Full(block) => columns::decode(&block.bytes()),
            Kept::Bytes(bytes) => columns::decode(bytes),
        };
        decoded.map_err(|reason| FeedbackError::Encode {
            id: "in the queue".to_owned(),
            reason,
        })
    }
}

impl Waiting {
    /// Adds a decision to the block that grows in a lane. `keep` is told what it added to its block; if it refuses, the decision is taken out again.
    pub(crate) fn push(
        &mut self,
        lane: usize,
        head: Head<'_>,
        keep: impl FnOnce(&Added<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        while self.open.len() <= lane {
            let number = self.next_number();
            self.open.push(Open::new(number));
        }
        if self.open[lane].is_full() {
            self.close(lane);
        }
        let id = head.id().clone();
        // Of two with one id the later counts: blocks are written in the order in which they are closed.
        let before = self.places.get(&id).map(|place| place.block);
        let other = |open: &Open| Some(open.number) == before && open.number != self.open[lane].number;
        if let Some(other) = self.open.iter().position(other) {
            self.close(other);
        }
        let open = &mut self.open[lane];
        let (before, block, line) = (open.len(), open.number, open.ids.len());
        let added = open.push(head);
        if let Err(reason) = keep(&added) {
            added.take_back();
            return Err(reason);
        }
        self.bytes += open.len() - before;
        self.places.insert(id, Place { block, line });
        self.len += 1;
        Ok(())
    }

    fn next_number(&mut self) -> u64 {
        self.blocks += 1;
        self.blocks
    }

    /// What comes now begins another block in this lane.
    pub(crate) fn close(&mut self, lane: usize) {
        if self.open.get(lane).is_some_and(|open| !open.ids.is_empty()) {
            let number = self.next_number();
            let next = self.open[lane].next(number, self.done.pop());
            self.full
                .push(Arc::new(std::mem::replace(&mut self.open[lane], next)));
        }
    }

    /// How many wait for the writer.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many bytes wait for the writer.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What waits, which stays to be looked up until [`Waiting::written`].
    pub(crate) fn take(&mut self) -> Vec<Arc<Open>> {
        (0..self.open.len()).for_each(|lane| self.close(lane));
        (self.len, self.bytes) = (0, 0);
        self.writing = std::mem::take(&mut self.full);
        self.writing.clone()
    }

    /// What was taken need not be kept any longer. Room comes back only of what nobody holds by now.
    pub(crate) fn written(&mut self) {
        for block in std::mem::take(&mut self.writing) {
            for id in &block.ids {
                if self
                    .places
                    .get(id)
                    .is_some_and(|place| place.block == block.number)
                {
                    self.places.remove(id);
                }
            }
            if self.done.len() < DONE_MAX && block.len() <= DONE_BYTES_MAX {
                self.done.extend(Arc::into_inner(block));
            }
        }
    }

    pub(crate) fn contains(&self, id: &DecisionId) -> bool {
        self.places.contains_key(id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &DecisionId> {
        self.places.keys()
    }

    /// The block of a decision, and its place there.
    pub(crate) fn get(&self, id: &DecisionId) -> Option<(Kept, usize)> {
        let Place { block, line } = *self.places.get(id)?;
        let mut closed = self.full.iter().chain(&self.writing);
        let kept = match closed.find(|closed| closed.number == block) {
            Some(block) => Kept::Full(block.clone()),
            None => Kept::Bytes(self.open.iter().find(|open| open.number == block)?.bytes()),
        };
        Some((kept, line))
    }

    /// All blocks, with the places of those decisions that were not recorded again later.
    pub(crate) fn all(&self) -> Vec<(Kept, Vec<usize>)> {
        let closed = self.writing.iter().chain(&self.full);
        let closed = closed.map(|block| (Kept::Full(block.clone()), self.counting(block)));
        let open = self.open.iter();
        let open = open.map(|block| (Kept::Bytes(block.bytes()), self.counting(block)));
        closed.chain(open).collect()
    }

    fn counting(&self, Open { ids, number, .. }: &Open) -> Vec<usize> {
        let lines = ids.iter().enumerate().filter(|(line, id)| {
            let (block, line) = (*number, *line);
            self.places.get(*id) == Some(&Place { block, line })
        });
        lines.map(|(line, _)| line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{FRAME_HEAD, Press};
    use crate::tail;
    use domain::{Decision, ItemId, Sequence, SnapshotVersion, Timestamp};

    fn stored(id: u64, seed: u64) -> StoredDecision {
        let item = |n: u64| ItemId::new(format!("item-{}", n % 50)).expect("an id");
        StoredDecision {
            decision: Decision {
                decision_id: DecisionId::new(format!("d{id}")).expect("an id"),
                now: Timestamp(7),
                placement: "home".to_owned(),
                user_id: None,
                snapshot: SnapshotVersion::default(),
                sequence: Sequence(seed),
                seed,
                config_hash: String::new(),
                n: 10,
                attributes: Default::default(),
                context: Default::default(),
                item_id: None,
                history: (0..seed % 9).map(|n| (item(seed + n), n as f32)).collect(),
                stages: Vec::new(),
                considered: Vec::new(),
                considered_cut: 0,
                removals: Vec::new(),
                removals_cut: 0,
                policy: None,
                rules: None,
                constraints: Vec::new(),
                page: None,
                shown: Vec::new(),
                features: None,
                degraded: Vec::new(),
                arms: Vec::new(),
            },
            timings_us: Vec::new(),
            request: None,
        }
    }

    /// Records in lanes at random, some again under an id that was there before, against a plain map; what the tail holds, what can be looked up and what is written are all compared.
    #[test]
    fn blocks_that_grow_side_by_side_lose_and_mix_nothing() {
        let mut dice = 1u64;
        let mut roll = |sides: u64| {
            dice = step(dice);
            (dice >> 33) % sides
        };
        let (mut waiting, mut plain) = (Waiting::default(), HashMap::new());
        let (mut press, mut in_files) = (Press::default(), HashMap::new());
        for _ in 0..6 {
            let mut frames = Vec::new();
            for _ in 0..roll(400) {
                let record = stored(roll(300), roll(1 << 40));
                let lane = roll(LANES as u64) as usize;
                let refuses = roll(50) == 0;
                let head = columns::head(&record).expect("it has a form");
                let kept = waiting.push(lane, head, |added| {
                    if refuses {
                        return Err("no".to_owned());
                    }
                    frames.extend(tail::frame(added, lane, 3)?);
                    Ok(())
                });
                assert_eq!(kept.is_err(), refuses);
                if !refuses {
                    plain.insert(record.decision.decision_id.clone(), record);
                }
                if roll(90) == 0 {
                    waiting.close(lane);
                }
            }
            let mut by_tail = in_files.clone();
            for record in tail::decisions(&frames) {
                by_tail.insert(record.decision.decision_id.clone(), record);
            }
            assert_eq!(by_tail, plain, "what a killed process leaves");
            let mut seen = in_files.clone();
            for (block, lines) in waiting.all() {
                let decisions = block.decisions().expect("readable");
                for line in lines {
                    let record = decisions[line].clone();
                    let id = record.decision.decision_id.clone();
                    let (block, line) = waiting.get(&id).expect("it waits");
                    assert_eq!(block.decisions().expect("readable")[line], record);
                    seen.insert(id, record);
                }
            }
            assert_eq!(seen, plain, "what can be looked up");
            for block in waiting.take() {
                let frame = press.frame(&block).expect("it has a form");
                for record in crate::block::decisions(&frame[FRAME_HEAD..]).expect("readable") {
                    in_files.insert(record.decision.decision_id.clone(), record);
                }
            }
            assert_eq!(in_files, plain, "what is written");
            waiting.written();
            assert_eq!(waiting.ids().count(), 0);
        }
    }

    fn step(state: u64) -> u64 {
        state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407)
    }
}
