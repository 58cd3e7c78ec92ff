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

/// Where a decision waits: which blocks were taken by the writer together, which of these, and where in it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    turn: u64,
    block: usize,
    line: usize,
}

#[derive(Default)]
pub(crate) struct Waiting {
    /// The block that grows, and those before it.
    open: Open,
    full: Vec<Arc<Open>>,
    /// Those that the writer has taken.
    writing: Vec<Arc<Open>>,
    /// Those that are written, for the room that they have.
    done: Vec<Open>,
    places: HashMap<DecisionId, Place>,
    /// Number of those that the writer takes next.
    turn: u64,
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
    /// Adds a decision. `keep` is told what it added to its block; if it refuses, the decision is taken out again.
    pub(crate) fn push(
        &mut self,
        head: Head<'_>,
        keep: impl FnOnce(&Added<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.open.is_full() {
            self.close();
        }
        let id = head.id().clone();
        let before = self.open.len();
        let added = self.open.push(head);
        if let Err(reason) = keep(&added) {
            added.take_back();
            return Err(reason);
        }
        let place = Place {
            turn: self.turn,
            block: self.full.len(),
            line: self.open.ids.len() - 1,
        };
        self.places.insert(id, place);
        self.len += 1;
        self.bytes += self.open.len() - before;
        Ok(())
    }

    /// What comes now begins another block.
    pub(crate) fn close(&mut self) {
        if !self.open.ids.is_empty() {
            let next = self.open.next(self.done.pop());
            self.full.push(Arc::new(std::mem::replace(&mut self.open, next)));
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
        self.close();
        self.turn += 1;
        (self.len, self.bytes) = (0, 0);
        self.writing = std::mem::take(&mut self.full);
        self.writing.clone()
    }

    /// What was taken need not be kept any longer. Room comes back only of what nobody holds by now.
    pub(crate) fn written(&mut self) {
        for block in std::mem::take(&mut self.writing) {
            for id in &block.ids {
                if self.places.get(id).is_some_and(|place| place.turn < self.turn) {
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
        let Place { turn, block, line } = *self.places.get(id)?;
        let blocks = if turn == self.turn {
            &self.full
        } else {
            &self.writing
        };
        let kept = match blocks.get(block) {
            Some(block) => Kept::Full(block.clone()),
            None => Kept::Bytes(self.open.bytes()),
        };
        Some((kept, line))
    }

    /// All blocks, with the places of those decisions that were not recorded again later.
    pub(crate) fn all(&self) -> Vec<(Kept, Vec<usize>)> {
        let before = self.turn.wrapping_sub(1);
        let writing = self
            .writing
            .iter()
            .enumerate()
            .map(|(at, block)| (before, at, block));
        let full = self
            .full
            .iter()
            .enumerate()
            .map(|(at, block)| (self.turn, at, block));
        let kept = writing.chain(full).map(|(turn, at, block)| {
            let lines = self.counting(&block.ids, turn, at);
            (Kept::Full(block.clone()), lines)
        });
        let mut all: Vec<(Kept, Vec<usize>)> = kept.collect();
        let lines = self.counting(&self.open.ids, self.turn, self.full.len());
        all.push((Kept::Bytes(self.open.bytes()), lines));
        all
    }

    fn counting(&self, ids: &[DecisionId], turn: u64, block: usize) -> Vec<usize> {
        let is_here = |(line, id): &(usize, &DecisionId)| {
            let line = *line;
            self.places.get(*id) == Some(&Place { turn, block, line })
        };
        ids.iter()
            .enumerate()
            .filter(is_here)
            .map(|(line, _)| line)
            .collect()
    }
}
