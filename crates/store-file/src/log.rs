//! The log itself: what it knows of its segments, and the contracts of `domain`.

use crate::codec::Interner;
use crate::commit::{Queue, Tail, Writer};
use crate::errors::damaged;
use crate::frames::{FrameFault, Frames};
use crate::keys::KeySet;
use crate::note::Note;
use crate::recover::{self, RecoveryReport};
use crate::scan::Scan;
use crate::sealed::SealedReader;
use domain::{
    AppendOutcome, Erasure, EventBatches, EventKey, EventLog, EventRead, NewEvent, Sequence, StoreError,
    StoredEvent, UserId,
};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How a log behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment of this many bytes is closed and sealed. Default 64 MiB.
    pub seal_bytes: u64,
    /// Threads that read sealed segments on opening. Default 2.
    pub threads: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            seal_bytes: 64 << 20,
            threads: 2,
        }
    }
}

/// What [`FileEventLog::verify`] read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Segments read.
    pub segments: u64,
    /// Of these, sealed ones.
    pub sealed: u64,
    /// Events read.
    pub events: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// An event log in a folder. See the crate's header for what lies there.
pub struct FileEventLog {
    pub(crate) shared: Arc<Shared>,
    sealer: Option<(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<()>)>,
}

/// Locks are taken in the order of these fields: `maintenance`, `writer`, `state`. `queue` is never held with another.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) options: LogOptions,
    /// Held while segments other than the active one are replaced or copied.
    pub(crate) maintenance: Mutex<()>,
    /// Held while the active segment is written to or replaced.
    pub(crate) writer: Mutex<Writer>,
    pub(crate) state: RwLock<State>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) wake: Condvar,
    pub(crate) full: Mutex<Option<std::sync::mpsc::Sender<()>>>,
    /// Its lock keeps other processes out for as long as it is open.
    _lock: File,
}

/// What readers see: changed only once it is durable.
pub(crate) struct State {
    /// In order; the last is the active one.
    pub(crate) segments: Vec<Segment>,
    pub(crate) keys: KeySet,
    pub(crate) head: u64,
    pub(crate) len: u64,
}

#[derive(Clone)]
pub(crate) struct Segment {
    /// Sequence before its first.
    pub(crate) base: u64,
    /// Last sequence covered.
    pub(crate) last: u64,
    pub(crate) rows: u64,
    pub(crate) path: PathBuf,
    pub(crate) body: Body,
}

#[derive(Clone)]
pub(crate) enum Body {
    /// Frames up to `end`.
    Log { file: Arc<File>, end: u64 },
    /// Parquet.
    Sealed(Note),
}

impl Segment {
    pub(crate) fn frames(&self) -> Option<Frames> {
        match &self.body {
            Body::Log { file, end } => {
                Some(Frames::new(Arc::clone(file), self.path.clone(), self.base, *end))
            }
            Body::Sealed(_) => None,
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileEventLog {
    /// Opens the log in `dir`, making the folder if there is none: recovers what a crash left, reads and
    /// checks everything, and starts the thread that seals full segments.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it open; [`StoreError::Damaged`] with the file if what is
    /// stored is not what was written; [`StoreError::Io`] if the disk refuses.
    pub fn open(dir: &Path, options: LogOptions) -> Result<(FileEventLog, RecoveryReport), StoreError> {
        let recovered = recover::recover(dir, &options)?;
        let Some(Segment {
            body: Body::Log { file, end },
            ..
        }) = recovered.state.segments.last()
        else {
            return Err(damaged(dir, 0, "it has no segment to write to"));
        };
        let writer = Writer::new(Box::new(Tail(Arc::clone(file))), *end);
        let (sender, receiver) = std::sync::mpsc::channel();
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            options,
            maintenance: Mutex::new(()),
            writer: Mutex::new(writer),
            state: RwLock::new(recovered.state),
            queue: Mutex::new(Queue::default()),
            wake: Condvar::new(),
            full: Mutex::new(Some(sender.clone())),
            _lock: recovered.lock,
        });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log-sealer".to_owned())
            .spawn(move || {
                while receiver.recv().is_ok() {
                    if let Err(error) = worker.seal_closed() {
                        tracing::error!(%error, "a segment of the event log could not be sealed; it stays as it is");
                    }
                }
            })
            .map_err(crate::errors::io("starting the sealer of", dir))?;
        // Segments that were closed but not sealed when the process ended.
        let _ = sender.send(());
        let sealer = Some((sender, thread));
        Ok((FileEventLog { shared, sealer }, recovered.report))
    }

    fn events_of(&self, user: &UserId, n: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let parts = self.snapshot(0, u64::MAX)?;
        let mut interner = Interner::new();
        let mut newest_first: Vec<StoredEvent> = Vec::new();
        for part in parts.into_iter().rev() {
            if newest_first.len() >= n {
                break;
            }
            match part {
                Part::Log(frames) => {
                    newest_first.extend(of_user(frames, user, &mut interner)?.into_iter().rev());
                }
                Part::Sealed(mut reader) => {
                    for place in (0..reader.groups()?).rev() {
                        let found = reader.group(place, (0, u64::MAX), Some(user.as_str()), &mut interner)?;
                        newest_first.extend(found.into_iter().rev());
                        if newest_first.len() >= n {
                            break;
                        }
                    }
                }
            }
        }
        newest_first.truncate(n);
        newest_first.reverse();
        Ok(newest_first)
    }

    /// Readers of every segment that may hold sequences in `from..=to`, as of now.
    pub(crate) fn snapshot(&self, from: u64, to: u64) -> Result<Vec<Part>, StoreError> {
        let state = self.shared.read();
        let touched = state
            .segments
            .iter()
            .filter(|s| s.last >= from && s.base < to && s.rows > 0);
        touched
            .map(|segment| match &segment.body {
                Body::Log { file, end } => Ok(Part::Log(Frames::new(
                    Arc::clone(file),
                    segment.path.clone(),
                    segment.base,
                    *end,
                ))),
                Body::Sealed(note) => SealedReader::open(&segment.path, note).map(Part::Sealed),
            })
            .collect()
    }
}

/// One segment of a snapshot.
pub(crate) enum Part {
    Log(Frames),
    Sealed(SealedReader),
}

fn of_user(
    mut frames: Frames,
    user: &UserId,
    interner: &mut Interner,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut found = Vec::new();
    let path = frames.path.clone();
    while let Some(frame) = frames
        .next()
        .map_err(|fault: FrameFault| fault.into_error(&path))?
    {
        frame
            .for_each(&mut |sequence, view| {
                if view.user_id == user.as_str() {
                    found.push(StoredEvent {
                        sequence: Sequence(sequence),
                        event: interner.event(&view)?,
                    });
                }
                Ok(())
            })
            .map_err(|reason| damaged(&path, frame.offset, reason))?;
    }
    Ok(found)
}

impl Drop for FileEventLog {
    fn drop(&mut self) {
        lock(&self.shared.full).take();
        if let Some((sender, thread)) = self.sealer.take() {
            drop(sender);
            if thread.join().is_err() {
                tracing::error!("the sealer of the event log stopped early");
            }
        }
    }
}

impl EventRead for FileEventLog {
    fn head(&self) -> Sequence {
        Sequence(self.shared.read().head)
    }

    fn len(&self) -> u64 {
        self.shared.read().len
    }

    fn contains(&self, key: EventKey) -> bool {
        self.shared.read().keys.contains(key.0)
    }

    fn scan(&self, from: Sequence, to: Sequence) -> Result<EventBatches<'_>, StoreError> {
        let parts = if from > to {
            Vec::new()
        } else {
            self.snapshot(from.0, to.0)?
        };
        Ok(Box::new(Scan::new(parts, from.0, to.0)))
    }

    fn last_of_user(&self, user: &UserId, n: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.events_of(user, n)
    }
}

impl EventLog for FileEventLog {
    fn append(&self, batch: Vec<NewEvent>) -> Result<AppendOutcome, StoreError> {
        self.shared.append(batch)
    }

    fn erase_user(&self, user: &UserId) -> Result<Erasure, StoreError> {
        self.shared.erase_user(user)
    }

    fn seal(&self) -> Result<(), StoreError> {
        self.shared.close_active()?;
        self.shared.seal_closed()
    }
}
