//! Opening: what a crash left is brought in order, everything is read and checked.

use crate::codec::{EventView, Interner};
use crate::commit::new_segment;
use crate::errors::{damaged, io};
use crate::frames::{self, FrameFault, Frames};
use crate::keys::KeySet;
use crate::layout::{self, Found};
use crate::log::{Body, LogOptions, Segment, State};
use crate::note::Note;
use crate::sealed::SealedReader;
use domain::StoreError;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The end of a segment that was being written when the machine or the process stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruncatedTail {
    /// The segment.
    pub path: PathBuf,
    /// Where it ends now.
    pub offset: u64,
    /// Bytes cut off: never acknowledged.
    pub bytes: u64,
}

/// What opening brought in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// A write cut off in the middle.
    pub truncated: Option<TruncatedTail>,
    /// Files left over from a sealing or an erasure cut off in the middle, removed.
    pub leftovers: Vec<PathBuf>,
}

impl RecoveryReport {
    /// In words, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(tail) = &self.truncated {
            lines.push(format!(
                "{}: cut off {} bytes of a write that was never acknowledged",
                tail.path.display(),
                tail.bytes
            ));
        }
        let leftover = |path: &PathBuf| format!("{}: removed, left over from a crash", path.display());
        lines.extend(self.leftovers.iter().map(leftover));
        lines
    }
}

/// A folder in order.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) lock: File,
    pub(crate) report: RecoveryReport,
}

pub(crate) fn recover(dir: &Path, options: &LogOptions) -> Result<Recovered, StoreError> {
    if !dir.exists() {
        std::fs::create_dir_all(dir).map_err(io("creating", dir))?;
        layout::sync_parent(dir)?;
    }
    let lock = take_lock(dir)?;
    let mut report = RecoveryReport::default();
    let listing = layout::list(dir)?;
    for path in listing.temporary {
        layout::remove(&path)?;
        report.leftovers.push(path);
    }
    let newest = listing.segments.keys().next_back().copied();
    let mut segments: Vec<Segment> = Vec::new();
    for (base, found) in listing.segments {
        let expected = segments.last().map_or(0, |segment| segment.last);
        if base != expected {
            let first = layout::log_path(dir, base);
            let reason = format!(
                "events {} to {base} should come before it and are missing",
                expected + 1
            );
            return Err(damaged(&first, 0, reason));
        }
        let is_newest = newest == Some(base);
        segments.push(segment(dir, base, &found, is_newest, &mut report)?);
    }
    layout::sync_dir(dir)?;
    let mut keys = KeySet::new();
    let rows = read_keys(&segments, options.threads.max(1), &mut keys)?;
    for (segment, rows) in segments.iter_mut().zip(rows) {
        segment.rows = rows;
    }
    let head = segments.last().map_or(0, |segment| segment.last);
    match segments.last().map(|segment| &segment.body) {
        Some(Body::Log { .. }) => {}
        // The next segment is there before one is closed, let alone sealed.
        Some(Body::Sealed(_)) => return Err(damaged(&layout::log_path(dir, head), 0, "it is missing")),
        None => segments.push(new_segment(dir, head)?),
    }
    let len = segments.iter().map(|segment| segment.rows).sum();
    Ok(Recovered {
        state: State {
            segments,
            keys,
            head,
            len,
        },
        lock,
        report,
    })
}

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(layout::LOCK);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io("opening", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: dir.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(io("locking", &path)(error)),
    }
}

/// Brings the files of one segment in order.
fn segment(
    dir: &Path,
    base: u64,
    found: &Found,
    is_newest: bool,
    report: &mut RecoveryReport,
) -> Result<Segment, StoreError> {
    let (log, seal) = (layout::log_path(dir, base), layout::seal_path(dir, base));
    let mut leftover = |path: PathBuf| {
        layout::remove(&path)?;
        report.leftovers.push(path);
        Ok::<(), StoreError>(())
    };
    if !found.seal {
        // A Parquet file without its note was not finished.
        for generation in &found.generations {
            if !found.log {
                return Err(damaged(&seal, 0, "it is missing"));
            }
            leftover(layout::parquet_path(dir, base, *generation))?;
        }
        return open_log(&log, base, is_newest, report);
    }
    let checked = Note::read(&seal, base).and_then(|note| {
        let path = layout::parquet_path(dir, base, note.generation);
        note.verify(&path)?;
        Ok((note, path))
    });
    match checked {
        Ok((note, path)) => {
            if found.log {
                leftover(log)?;
            }
            for generation in found.generations.iter().filter(|g| **g != note.generation) {
                leftover(layout::parquet_path(dir, base, *generation))?;
            }
            Ok(Segment {
                base,
                last: note.last,
                rows: note.rows,
                path,
                body: Body::Sealed(note),
            })
        }
        // Until the log is gone, it is the truth; it goes before anything is erased from the other.
        Err(StoreError::Damaged { .. }) if found.log && found.generations.iter().all(|g| *g == 1) => {
            leftover(seal)?;
            for generation in &found.generations {
                leftover(layout::parquet_path(dir, base, *generation))?;
            }
            open_log(&log, base, is_newest, report)
        }
        Err(error) => Err(error),
    }
}

/// Reads a segment of frames to its end; the newest may end in a write cut off.
fn open_log(
    path: &Path,
    base: u64,
    is_newest: bool,
    report: &mut RecoveryReport,
) -> Result<Segment, StoreError> {
    let file = Arc::new(layout::open_for_writing(path)?);
    frames::check_segment_header(&file, path, base)?;
    let length = file.metadata().map_err(io("reading", path))?.len();
    let mut frames = Frames::new(Arc::clone(&file), path.to_owned(), base, length);
    let mut rows = 0;
    loop {
        let last = frames.last();
        match frames.next() {
            Ok(Some(frame)) => rows += u64::from(frame.count),
            Ok(None) => break,
            Err(FrameFault::Bad { offset, .. }) if is_newest && torn(&file, path, offset, length, last)? => {
                file.set_len(offset).map_err(io("truncating", path))?;
                file.sync_all().map_err(io("flushing", path))?;
                report.truncated = Some(TruncatedTail {
                    path: path.to_owned(),
                    offset,
                    bytes: length - offset,
                });
                break;
            }
            Err(fault) => return Err(fault.into_error(path)),
        }
    }
    Ok(Segment {
        base,
        last: frames.last(),
        rows,
        path: path.to_owned(),
        body: Body::Log {
            end: frames.at(),
            file,
        },
    })
}

fn torn(file: &File, path: &Path, offset: u64, length: u64, last: u64) -> Result<bool, StoreError> {
    let mut tail = vec![0; (length - offset) as usize];
    file.read_exact_at(&mut tail, offset)
        .map_err(io("reading", path))?;
    Ok(frames::is_torn(&tail, offset, last))
}

/// Reads every event of every segment for its key; the rows of each segment.
fn read_keys(segments: &[Segment], threads: usize, keys: &mut KeySet) -> Result<Vec<u64>, StoreError> {
    let next = AtomicUsize::new(0);
    let all = Mutex::new((keys, vec![0u64; segments.len()]));
    let work = || -> Result<(), StoreError> {
        let mut interner = Interner::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(segment) = segments.get(place) else {
                return Ok(());
            };
            let mut found: Vec<u128> = Vec::new();
            for_each(segment, &mut |_, view| {
                let event = interner
                    .event(&view)
                    .map_err(|reason| damaged(&segment.path, 0, reason))?;
                found.push(signals::event_key(&event).0);
                Ok(())
            })?;
            let mut all = crate::log::lock(&all);
            all.1[place] = found.len() as u64;
            for key in found {
                all.0.insert(key);
            }
        }
    };
    let results: Vec<Result<(), StoreError>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(segments.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let ended = |_| Err(damaged(Path::new("event log"), 0, "reading it came to grief"));
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(ended))
            .collect()
    });
    results.into_iter().collect::<Result<Vec<()>, _>>()?;
    let rows = all
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .1;
    for (segment, rows) in segments.iter().zip(&rows) {
        if segment.rows != *rows {
            let reason = format!("it has {rows} events, {} were written", segment.rows);
            return Err(damaged(&segment.path, 0, reason));
        }
    }
    Ok(rows)
}

/// Visits every event of a segment without making it.
pub(crate) fn for_each(
    segment: &Segment,
    visit: &mut dyn FnMut(u64, EventView<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if let Body::Sealed(note) = &segment.body {
        return SealedReader::open(&segment.path, note)?.for_each(visit);
    }
    let Some(mut frames) = segment.frames() else {
        return Ok(());
    };
    while let Some(frame) = frames.next_strict()? {
        let mut failed = None;
        let read = frame.for_each(&mut |sequence, view| {
            visit(sequence, view).map_err(|error| {
                failed = Some(error);
                String::new()
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        read.map_err(|reason| damaged(&segment.path, frame.offset, reason))?;
    }
    Ok(())
}
