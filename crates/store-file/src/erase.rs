//! Erasure of a user: the segments concerned are rewritten.

use crate::codec::Interner;
use crate::commit::Tail;
use crate::errors::{damaged, io};
use crate::frames;
use crate::layout;
use crate::log::{Body, Segment, Shared, lock};
use crate::note::Note;
use crate::recover::for_each;
use crate::sealed::SealedReader;
use domain::{Erasure, StoreError, UserId};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

impl Shared {
    pub(crate) fn erase_user(&self, user: &UserId) -> Result<Erasure, StoreError> {
        let _maintenance = lock(&self.maintenance);
        self.seal_all()?;
        let mut erasure = Erasure::default();
        let sealed: Vec<Segment> = {
            let state = self.read();
            let is_sealed = |segment: &&Segment| matches!(segment.body, Body::Sealed(_));
            state.segments.iter().filter(is_sealed).cloned().collect()
        };
        for segment in sealed {
            self.erase_sealed(&segment, user, &mut erasure)?;
        }
        // What came meanwhile is in segments of frames.
        let mut writer = lock(&self.writer);
        let logs: Vec<Segment> = {
            let state = self.read();
            let is_log = |segment: &&Segment| matches!(segment.body, Body::Log { .. });
            state.segments.iter().filter(is_log).cloned().collect()
        };
        let active = logs.last().map(|segment| segment.base);
        for segment in logs {
            let rewritten = self.erase_log(&segment, user, &mut erasure)?;
            if let Some((file, end)) = rewritten
                && active == Some(segment.base)
            {
                *writer = crate::commit::Writer::new(Box::new(Tail(file)), end);
            }
        }
        Ok(erasure)
    }

    fn forget(&self, keys: &[u128], erasure: &mut Erasure) {
        let mut state = self.write();
        for key in keys {
            state.keys.remove(*key);
        }
        state.len -= keys.len() as u64;
        erasure.events += keys.len() as u64;
        erasure.segments += 1;
    }

    fn erase_sealed(
        &self,
        segment: &Segment,
        user: &UserId,
        erasure: &mut Erasure,
    ) -> Result<(), StoreError> {
        let Body::Sealed(note) = &segment.body else {
            return Ok(());
        };
        let keys = sealed_keys(segment, note, user)?;
        if keys.is_empty() {
            return Ok(());
        }
        // The log must not come back in its place.
        layout::remove(&layout::log_path(&self.dir, segment.base))?;
        layout::sync_dir(&self.dir)?;
        let keeps = &mut |id: &str| id != user.as_str();
        let (next, path) = self.write_sealed(segment, note.generation + 1, keeps)?;
        self.put_sealed(segment, next, path);
        self.forget(&keys, erasure);
        layout::remove(&segment.path)?;
        layout::sync_dir(&self.dir)
    }

    /// Rewrites a segment of frames, each keeping its range. Call with `writer` held.
    fn erase_log(
        &self,
        segment: &Segment,
        user: &UserId,
        erasure: &mut Erasure,
    ) -> Result<Option<(Arc<File>, u64)>, StoreError> {
        let keys = keys_of(segment, user)?;
        if keys.is_empty() {
            return Ok(None);
        }
        let end = rewrite(segment, user)?;
        layout::publish(&segment.path)?;
        let file = Arc::new(layout::open_for_writing(&segment.path)?);
        {
            let mut state = self.write();
            if let Some(kept) = state.segments.iter_mut().find(|s| s.base == segment.base) {
                kept.rows -= keys.len() as u64;
                kept.body = Body::Log {
                    file: Arc::clone(&file),
                    end,
                };
            }
        }
        self.forget(&keys, erasure);
        Ok(Some((file, end)))
    }
}

/// Keys of the user's events in a segment of frames.
fn keys_of(segment: &Segment, user: &UserId) -> Result<Vec<u128>, StoreError> {
    let mut interner = Interner::new();
    let mut keys = Vec::new();
    for_each(segment, &mut |_, view| {
        if view.user_id == user.as_str() {
            let event = interner.event(&view);
            let event = event.map_err(|reason| damaged(&segment.path, 0, reason))?;
            keys.push(signals::event_key(&event).0);
        }
        Ok(())
    })?;
    Ok(keys)
}

/// Keys of the user's events in a sealed segment.
fn sealed_keys(segment: &Segment, note: &Note, user: &UserId) -> Result<Vec<u128>, StoreError> {
    let mut reader = SealedReader::open(&segment.path, note)?;
    reader.check()?;
    let mut interner = Interner::new();
    let mut keys = Vec::new();
    for place in 0..reader.groups()? {
        let found = reader.group(place, (0, u64::MAX), Some(user.as_str()), &mut interner)?;
        keys.extend(found.iter().map(|stored| signals::event_key(&stored.event).0));
    }
    Ok(keys)
}

/// Writes the segment without the user's events beside it, flushed; its length.
fn rewrite(segment: &Segment, user: &UserId) -> Result<u64, StoreError> {
    let beside = layout::temporary(&segment.path);
    let fail = || io("writing", &beside);
    let mut out = BufWriter::new(File::create(&beside).map_err(io("creating", &beside))?);
    out.write_all(&frames::segment_header(segment.base))
        .map_err(fail())?;
    let mut end = frames::SEGMENT_HEADER;
    let Some(mut old) = segment.frames() else {
        return Err(damaged(&segment.path, 0, "it is no segment of frames"));
    };
    let mut buffer = Vec::new();
    while let Some(frame) = old.next_strict()? {
        buffer.clear();
        let start = frames::begin(&mut buffer);
        let (mut before, mut count) = (frame.base, 0);
        frame
            .for_each(&mut |sequence, view| {
                if view.user_id != user.as_str() {
                    view.encode(sequence - before, &mut buffer);
                    before = sequence;
                    count += 1;
                }
                Ok(())
            })
            .map_err(|reason| damaged(&segment.path, frame.offset, reason))?;
        frames::finish(&mut buffer, start, frame.base, frame.last, count);
        out.write_all(&buffer).map_err(fail())?;
        end += buffer.len() as u64;
    }
    let file = out.into_inner().map_err(|error| fail()(error.into_error()))?;
    file.sync_all().map_err(io("flushing", &beside))?;
    Ok(end)
}
