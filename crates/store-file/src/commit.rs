//! Group commit: of the callers waiting at one moment, the first writes for all, with one flush.

use crate::codec;
use crate::errors::io;
use crate::frames::{self, SEGMENT_HEADER};
use crate::keys::KeyHashSet;
use crate::layout;
use crate::log::{Body, Segment, Shared, lock};
use domain::{AppendOutcome, NewEvent, Receipt, Sequence, StoreError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// Events of one flush, unless a single batch has more.
const GROUP_EVENTS_MAX: usize = 262_144;
/// The buffer of a frame is given back if it has grown beyond this.
const BUFFER_MAX: usize = 32 << 20;

/// What the writer needs of the disk; tests put a failing one in its place.
pub(crate) trait Disk: Send {
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()>;
    fn sync(&self) -> std::io::Result<()>;
    fn truncate(&self, length: u64) -> std::io::Result<()>;
}

/// The active segment's file.
pub(crate) struct Tail(pub(crate) Arc<File>);

impl Disk for Tail {
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
    fn truncate(&self, length: u64) -> std::io::Result<()> {
        self.0.set_len(length)
    }
}

/// The end of the active segment.
pub(crate) struct Writer {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) end: u64,
    buffer: Vec<u8>,
    /// Set once the disk has refused: what it holds is not known until the log is opened again.
    failed: Option<StoreError>,
}

impl Writer {
    pub(crate) fn new(disk: Box<dyn Disk>, end: u64) -> Self {
        Self {
            disk,
            end,
            buffer: Vec::new(),
            failed: None,
        }
    }

    /// Makes the frame in `buffer` durable at the end.
    fn write(&mut self, path: &std::path::Path) -> Result<(), StoreError> {
        let written = self
            .disk
            .write_at(&self.buffer, self.end)
            .map_err(io("writing", path))
            .and_then(|()| self.disk.sync().map_err(io("flushing", path)));
        if let Err(error) = written {
            // Nothing of it may come back.
            let cut = self.disk.truncate(self.end).and_then(|()| self.disk.sync());
            if let Err(cut) = cut {
                tracing::error!(error = %cut, "the end of the event log could not be cut back");
            }
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.end += self.buffer.len() as u64;
        Ok(())
    }
}

type Slot = Arc<Mutex<Option<Result<AppendOutcome, StoreError>>>>;

/// Batches that wait for the next flush.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Vec<(Vec<NewEvent>, Slot)>,
    is_led: bool,
}

/// Gives the lead back even if the leader panics; those who wait then get an error.
struct Lead<'a> {
    shared: &'a Shared,
    slots: Vec<Slot>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        for slot in &self.slots {
            lock(slot).get_or_insert_with(|| {
                Err(StoreError::Io {
                    action: "writing",
                    path: self.shared.dir.display().to_string(),
                    reason: "the writing thread came to grief".to_owned(),
                })
            });
        }
        lock(&self.shared.queue).is_led = false;
        self.shared.wake.notify_all();
    }
}

/// What one group adds.
struct Group {
    outcomes: Vec<AppendOutcome>,
    keys: Vec<u128>,
}

impl Shared {
    pub(crate) fn append(&self, batch: Vec<NewEvent>) -> Result<AppendOutcome, StoreError> {
        if batch.is_empty() {
            return Ok(AppendOutcome::default());
        }
        let slot: Slot = Slot::default();
        let mut queue = lock(&self.queue);
        queue.waiting.push((batch, Arc::clone(&slot)));
        loop {
            if let Some(result) = lock(&slot).take() {
                return result;
            }
            if queue.is_led {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.is_led = true;
            let group = take_group(&mut queue);
            drop(queue);
            self.lead(group);
            queue = lock(&self.queue);
        }
    }

    fn lead(&self, group: Vec<(Vec<NewEvent>, Slot)>) {
        let (batches, slots): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let lead = Lead { shared: self, slots };
        let result = self.commit(&batches);
        for (place, slot) in lead.slots.iter().enumerate() {
            let of_batch = match &result {
                Ok(outcomes) => Ok(outcomes[place].clone()),
                Err(error) => Err(error.clone()),
            };
            *lock(slot) = Some(of_batch);
        }
    }

    fn commit(&self, batches: &[Vec<NewEvent>]) -> Result<Vec<AppendOutcome>, StoreError> {
        let mut writer = lock(&self.writer);
        if let Some(error) = &writer.failed {
            return Err(error.clone());
        }
        if writer.end >= self.options.seal_bytes.max(SEGMENT_HEADER + 1) {
            self.close_with(&mut writer)?;
        }
        let (head, path) = {
            let state = self.read();
            let active = state.segments.last().map(|segment| segment.path.clone());
            (state.head, active.unwrap_or_default())
        };
        let group = self.encode(batches, head, &mut writer.buffer);
        let accepted = group.keys.len() as u64;
        if accepted == 0 {
            return Ok(group.outcomes);
        }
        writer.write(&path)?;
        if writer.buffer.capacity() > BUFFER_MAX {
            writer.buffer = Vec::new();
        }
        let mut state = self.write();
        for key in &group.keys {
            state.keys.insert(*key);
        }
        state.head += accepted;
        state.len += accepted;
        let head = state.head;
        if let Some(active) = state.segments.last_mut() {
            active.last = head;
            active.rows += accepted;
            if let Body::Log { end, .. } = &mut active.body {
                *end = writer.end;
            }
        }
        Ok(group.outcomes)
    }

    /// Decides which events are new and encodes them as one frame.
    fn encode(&self, batches: &[Vec<NewEvent>], head: u64, buffer: &mut Vec<u8>) -> Group {
        let state = self.read();
        let mut group = Group {
            outcomes: Vec::with_capacity(batches.len()),
            keys: Vec::new(),
        };
        let mut fresh = KeyHashSet::default();
        buffer.clear();
        let start = frames::begin(buffer);
        for batch in batches {
            let mut receipts = Vec::with_capacity(batch.len());
            for new in batch {
                let known = |key: u128| state.keys.contains(key) || fresh.contains(&key);
                if known(new.key.0) || new.alias.is_some_and(|alias| known(alias.0)) {
                    receipts.push(Receipt::Duplicate);
                    continue;
                }
                fresh.insert(new.key.0);
                group.keys.push(new.key.0);
                codec::encode(&new.event, buffer);
                receipts.push(Receipt::Accepted(Sequence(head + group.keys.len() as u64)));
            }
            group.outcomes.push(AppendOutcome { receipts });
        }
        let count = group.keys.len() as u64;
        frames::finish(buffer, start, head, head + count, count as u32);
        group
    }

    /// Closes the active segment, if it has anything, so that it can be sealed.
    pub(crate) fn close_active(&self) -> Result<(), StoreError> {
        let mut writer = lock(&self.writer);
        if writer.end > SEGMENT_HEADER {
            self.close_with(&mut writer)?;
        }
        Ok(())
    }

    fn close_with(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let head = self.read().head;
        let segment = new_segment(&self.dir, head)?;
        if let Body::Log { file, end } = &segment.body {
            *writer = Writer::new(Box::new(Tail(Arc::clone(file))), *end);
        }
        self.write().segments.push(segment);
        if let Some(sealer) = &*lock(&self.full) {
            let _ = sealer.send(());
        }
        Ok(())
    }
}

fn take_group(queue: &mut Queue) -> Vec<(Vec<NewEvent>, Slot)> {
    let mut events = 0;
    let fits = |(batch, _): &&(Vec<NewEvent>, Slot)| {
        events += batch.len();
        events <= GROUP_EVENTS_MAX
    };
    let count = queue.waiting.iter().take_while(fits).count().max(1);
    queue.waiting.drain(..count.min(queue.waiting.len())).collect()
}

/// Makes an empty segment after `base`, durably.
pub(crate) fn new_segment(dir: &std::path::Path, base: u64) -> Result<Segment, StoreError> {
    let path = layout::log_path(dir, base);
    layout::replace(&path, &frames::segment_header(base))?;
    let file = Arc::new(layout::open_for_writing(&path)?);
    Ok(Segment {
        base,
        last: base,
        rows: 0,
        path,
        body: Body::Log {
            file,
            end: SEGMENT_HEADER,
        },
    })
}
