//! Group commit: of the callers waiting at one moment, the first writes for all, with one flush.

use crate::codec;
use crate::errors::io;
use crate::frames::{self, SEGMENT_HEADER};
use crate::keys::{KeyHashSet, KeySet};
use crate::layout;
use crate::log::{Body, Segment, Shared, lock};
use domain::{AppendOutcome, NewEvent, RawAttribute, Receipt, Sequence, StoreError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Events of one flush, unless a single batch has more.
const GROUP_EVENTS_MAX: usize = 262_144;
/// A frame of this many bytes takes no further batch.
const FRAME_GOAL: usize = 32 << 20;
/// A batch of more bytes is refused.
const FRAME_MAX: usize = 1 << 30;
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
    fn write(&mut self, path: &Path) -> Result<(), StoreError> {
        let written = self.disk.write_at(&self.buffer, self.end);
        let is_written = written.is_ok();
        let flushed = written
            .map_err(io("writing", path))
            .and_then(|()| self.disk.sync().map_err(io("flushing", path)));
        if let Err(error) = flushed {
            // Nothing of it may come back.
            let cut = self.disk.truncate(self.end).and_then(|()| self.disk.sync());
            if let Err(cut) = &cut {
                tracing::error!(error = %cut, "the end of the event log could not be cut back");
            }
            // After a failed flush the system may take bytes for written that are not. A full disk is no such case.
            if is_written || cut.is_err() {
                self.failed = Some(error.clone());
            }
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
#[derive(Default)]
struct Group {
    outcomes: Vec<AppendOutcome>,
    keys: Vec<u128>,
    fresh: KeyHashSet,
}

impl Group {
    fn encode(
        &mut self,
        batch: &[NewEvent],
        known: &KeySet,
        head: u64,
        buffer: &mut Vec<u8>,
    ) -> AppendOutcome {
        let mut receipts = Vec::with_capacity(batch.len());
        for new in batch {
            let is_known = |key: u128| known.contains(key) || self.fresh.contains(&key);
            if is_known(new.key.0) || new.alias.is_some_and(|alias| is_known(alias.0)) {
                receipts.push(Receipt::Duplicate);
                continue;
            }
            self.fresh.insert(new.key.0);
            self.keys.push(new.key.0);
            codec::encode(&new.event, buffer);
            receipts.push(Receipt::Accepted(Sequence(head + self.keys.len() as u64)));
        }
        AppendOutcome { receipts }
    }
}

/// Refuses numbers that have no stored form.
fn check_numbers(batch: &[NewEvent]) -> Result<(), StoreError> {
    let refuse = |field: String, got: f64| {
        Err(StoreError::Input {
            field,
            got: got.to_string(),
            expected: "a finite number".into(),
        })
    };
    for new in batch {
        if let Some(value) = new.event.value.filter(|value| !value.is_finite()) {
            return refuse("value".into(), value);
        }
        for (name, attribute) in &new.event.context {
            let numbers = match attribute {
                RawAttribute::Number(number) => std::slice::from_ref(number),
                RawAttribute::Numbers(numbers) => numbers.as_slice(),
                RawAttribute::Geo { lat, lon } => &[*lat, *lon],
                RawAttribute::Flag(_) | RawAttribute::Text(_) | RawAttribute::Texts(_) => &[],
            };
            if let Some(bad) = numbers.iter().find(|number| !number.is_finite()) {
                return refuse(format!("context.{name}"), *bad);
            }
        }
    }
    Ok(())
}

impl Shared {
    pub(crate) fn append(&self, batch: Vec<NewEvent>) -> Result<AppendOutcome, StoreError> {
        if batch.is_empty() {
            return Ok(AppendOutcome::default());
        }
        check_numbers(&batch)?;
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
        let mut done = 0;
        while done < batches.len() {
            let results: Vec<Result<AppendOutcome, StoreError>> = match self.commit(&batches[done..]) {
                Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
                Err(error @ StoreError::Input { .. }) => vec![Err(error)],
                Err(error) => vec![Err(error); batches.len() - done],
            };
            for (result, slot) in results.into_iter().zip(&lead.slots[done..]) {
                *lock(slot) = Some(result);
                done += 1;
            }
        }
    }

    /// Stores the first of `batches`, and as many after it as go into one frame. An [`StoreError::Input`]
    /// concerns the first only, another error all.
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
        let group = self.encode(batches, head, &mut writer.buffer)?;
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
    fn encode(
        &self,
        batches: &[Vec<NewEvent>],
        head: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Group, StoreError> {
        let state = self.read();
        let mut group = Group::default();
        buffer.clear();
        let start = frames::begin(buffer);
        for batch in batches {
            let (keys, bytes) = (group.keys.len(), buffer.len());
            let outcome = group.encode(batch, &state.keys, head, buffer);
            if buffer.len() > FRAME_MAX {
                if group.outcomes.is_empty() {
                    return Err(StoreError::Input {
                        field: "batch".into(),
                        got: format!("{} events of {} bytes", batch.len(), buffer.len()),
                        expected: format!("at most {FRAME_MAX} bytes"),
                    });
                }
                // It opens the next frame.
                group.keys.truncate(keys);
                buffer.truncate(bytes);
                break;
            }
            group.outcomes.push(outcome);
            if buffer.len() > FRAME_GOAL {
                break;
            }
        }
        let count = group.keys.len() as u64;
        frames::finish(buffer, start, head, head + count, count as u32);
        Ok(group)
    }

    /// Closes the active segment, if it has anything, so that it can be sealed.
    pub(crate) fn close_active(&self) -> Result<(), StoreError> {
        let mut writer = lock(&self.writer);
        if let Some(error) = &writer.failed {
            return Err(error.clone());
        }
        if writer.end > SEGMENT_HEADER {
            self.close_with(&mut writer)?;
        }
        Ok(())
    }

    fn close_with(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let head = self.read().head;
        let segment = match new_segment(&self.dir, head) {
            Ok(segment) => segment,
            Err(error) => {
                // With the next segment perhaps in place, the active one must not grow beyond its start.
                if layout::log_path(&self.dir, head).exists() {
                    writer.failed = Some(error.clone());
                }
                return Err(error);
            }
        };
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
pub(crate) fn new_segment(dir: &Path, base: u64) -> Result<Segment, StoreError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileEventLog, LogOptions};
    use domain::{Event, EventLog, EventRead, EventType, ItemId, Timestamp, UserId};
    use std::io::{Error, ErrorKind};

    /// A disk that writes half of a frame, or all of it but does not flush.
    struct Failing {
        file: Arc<File>,
        is_full: bool,
    }

    impl Disk for Failing {
        fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
            if self.is_full {
                self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
                return Err(Error::from(ErrorKind::StorageFull));
            }
            self.file.write_all_at(bytes, offset)
        }
        fn sync(&self) -> std::io::Result<()> {
            if self.is_full {
                Ok(())
            } else {
                Err(Error::other("no flush"))
            }
        }
        fn truncate(&self, length: u64) -> std::io::Result<()> {
            self.file.set_len(length)
        }
    }

    fn new(n: i64) -> NewEvent {
        let event = Event {
            event_id: None,
            user_id: UserId::new("u").expect("an id"),
            item_id: ItemId::new("i").expect("an id"),
            event_type: EventType::new("t").expect("an id"),
            timestamp: Timestamp(n),
            value: None,
            session_id: None,
            decision_id: None,
            context: Default::default(),
        };
        signals::new_event(event, true)
    }

    fn open(dir: &Path) -> FileEventLog {
        FileEventLog::open(dir, LogOptions::default())
            .expect("the log opens")
            .0
    }

    fn fail(log: &FileEventLog, is_full: bool) {
        let file = match &log.shared.read().segments.last().expect("there is one").body {
            Body::Log { file, .. } => Arc::clone(file),
            Body::Sealed(_) => panic!("the last segment is written to"),
        };
        lock(&log.shared.writer).disk = Box::new(Failing { file, is_full });
    }

    fn heal(log: &FileEventLog) {
        let mut writer = lock(&log.shared.writer);
        let state = log.shared.read();
        if let Body::Log { file, .. } = &state.segments.last().expect("there is one").body {
            writer.disk = Box::new(Tail(Arc::clone(file)));
        }
    }

    #[test]
    fn a_full_disk_refuses_and_goes_on_once_it_has_room() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = open(dir.path());
        log.append(vec![new(1)]).expect("stored");
        fail(&log, true);
        assert!(matches!(
            log.append(vec![new(2)]),
            Err(StoreError::Io {
                action: "writing",
                ..
            })
        ));
        assert!(!log.contains(new(2).key) && log.len() == 1);
        heal(&log);
        let outcome = log.append(vec![new(2)]).expect("stored");
        assert_eq!(outcome.receipts, [Receipt::Accepted(Sequence(2))]);
        drop(log);
        let (log, report) = FileEventLog::open(dir.path(), LogOptions::default()).expect("the log opens");
        assert_eq!((log.len(), report), (2, Default::default()));
    }

    #[test]
    fn after_a_failed_flush_nothing_is_written_until_the_log_is_opened_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = open(dir.path());
        log.append(vec![new(1)]).expect("stored");
        fail(&log, false);
        assert!(matches!(
            log.append(vec![new(2)]),
            Err(StoreError::Io {
                action: "flushing",
                ..
            })
        ));
        heal(&log);
        assert!(log.append(vec![new(3)]).is_err() && log.seal().is_err());
        assert_eq!((log.len(), log.head()), (1, Sequence(1)));
        drop(log);
        let log = open(dir.path());
        assert_eq!((log.len(), log.head()), (1, Sequence(1)));
        log.append(vec![new(2)]).expect("stored");
    }

    /// Whatever the size of the frame, each of the batches that waited gets its own answer.
    #[test]
    fn a_frame_that_is_full_leaves_batches_for_the_next() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = open(dir.path());
        let wide = |n: i64| {
            let mut event = new(n).event;
            let text = domain::RawAttribute::Text("x".repeat(FRAME_GOAL / 2 + 1));
            event.context.insert("text".into(), text);
            signals::new_event(event, true)
        };
        let slots: Vec<Slot> = (0..4).map(|_| Slot::default()).collect();
        let batches = [vec![wide(1)], vec![wide(2), wide(1)], vec![wide(1)], vec![new(9)]];
        log.shared
            .lead(batches.into_iter().zip(slots.iter().cloned()).collect());
        let receipts: Vec<Vec<Receipt>> = slots
            .iter()
            .map(|slot| lock(slot).take().expect("answered").expect("stored").receipts)
            .collect();
        let accepted = |n: u64| Receipt::Accepted(Sequence(n));
        let second = vec![accepted(2), Receipt::Duplicate];
        assert_eq!(
            receipts,
            [
                vec![accepted(1)],
                second,
                vec![Receipt::Duplicate],
                vec![accepted(3)]
            ]
        );
        let segment = log.shared.read().segments[0].clone();
        let mut frames = segment.frames().expect("it has frames");
        let mut counts = Vec::new();
        while let Some(frame) = frames.next_strict().expect("it reads") {
            counts.push(frame.count);
        }
        assert_eq!(counts, [2, 1]);
    }
}
