//! Scanning a snapshot in sequence order.

use crate::codec::Interner;
use crate::errors::damaged;
use crate::frames::Frames;
use crate::log::Part;
use domain::{Sequence, StoreError, StoredEvent};

/// Small frames are gathered into batches of at least this many events.
const BATCH_EVENTS: usize = 4096;

/// Batches of one snapshot. After an error it ends.
pub(crate) struct Scan {
    parts: std::vec::IntoIter<Part>,
    current: Option<Part>,
    group: usize,
    range: (u64, u64),
    interner: Interner,
}

impl Scan {
    pub(crate) fn new(parts: Vec<Part>, from: u64, to: u64) -> Self {
        Self {
            parts: parts.into_iter(),
            current: None,
            group: 0,
            range: (from, to),
            interner: Interner::new(),
        }
    }

    /// The next batch, perhaps empty, or `None` when everything was read.
    fn step(&mut self) -> Result<Option<Vec<StoredEvent>>, StoreError> {
        let Some(part) = &mut self.current else {
            self.current = self.parts.next();
            self.group = 0;
            return Ok(self.current.is_some().then(Vec::new));
        };
        match part {
            Part::Log(frames) => {
                let events = read_frames(frames, self.range, &mut self.interner)?;
                if events.is_none() {
                    self.current = None;
                }
                Ok(Some(events.unwrap_or_default()))
            }
            Part::Sealed(reader) => {
                reader.check()?;
                if self.group >= reader.groups()? {
                    self.current = None;
                    return Ok(Some(Vec::new()));
                }
                self.group += 1;
                reader
                    .group(self.group - 1, self.range, None, &mut self.interner)
                    .map(Some)
            }
        }
    }
}

fn read_frames(
    frames: &mut Frames,
    (from, to): (u64, u64),
    interner: &mut Interner,
) -> Result<Option<Vec<StoredEvent>>, StoreError> {
    let mut events = Vec::new();
    let path = frames.path.clone();
    while events.len() < BATCH_EVENTS {
        let Some(frame) = frames.next_strict()? else {
            return Ok((!events.is_empty()).then_some(events));
        };
        if frame.last < from {
            continue;
        }
        if frame.base >= to {
            return Ok((!events.is_empty()).then_some(events));
        }
        frame
            .for_each(&mut |sequence, view| {
                if sequence >= from && sequence <= to {
                    events.push(StoredEvent {
                        sequence: Sequence(sequence),
                        event: interner.event(&view)?,
                    });
                }
                Ok(())
            })
            .map_err(|reason| damaged(&path, frame.offset, reason))?;
    }
    Ok(Some(events))
}

impl Iterator for Scan {
    type Item = Result<Vec<StoredEvent>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some(events)) if events.is_empty() => {}
                Ok(events) => return events.map(Ok),
                Err(error) => {
                    self.current = None;
                    self.parts = Vec::new().into_iter();
                    return Some(Err(error));
                }
            }
        }
    }
}
