//! Segments of frames.
//!
//! A segment opens with 24 bytes: magic, version, the sequence before its first, CRC-32 of these. Then frames:
//! marker (4 bytes, never UTF-8), payload length (4), CRC-32 of the payload (4), CRC-32 of these 12 bytes (4), payload. A payload is the
//! sequence before it (8), the last sequence it covers (8), the count of events (4), the events. A frame is what one
//! flush made durable: whole batches, all of them or none. A frame begins where the one before ended, so
//! that a lost frame shows; erasure leaves a frame its range.

use crate::codec::{Cursor, EventView};
use crate::errors::{damaged, io};
use domain::StoreError;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"CNCGLOG\x1a";
const VERSION: u32 = 1;
pub(crate) const SEGMENT_HEADER: u64 = 24;
const MARKER: [u8; 4] = [0xf7, 0xff, 0xfe, 0xc1];
const FRAME_HEADER: usize = 16;
/// Disks write sectors of this size whole or not at all.
const SECTOR: usize = 512;
const PAYLOAD_HEADER: usize = 20;
const CHUNK: usize = 256 * 1024;

/// First bytes of a segment whose first event comes after `base`.
pub(crate) fn segment_header(base: u64) -> [u8; SEGMENT_HEADER as usize] {
    let mut header = [0; SEGMENT_HEADER as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&base.to_le_bytes());
    let crc = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Refuses a file that does not open as the segment after `base`.
pub(crate) fn check_segment_header(file: &File, path: &Path, base: u64) -> Result<(), StoreError> {
    let mut header = [0; SEGMENT_HEADER as usize];
    file.read_exact_at(&mut header, 0)
        .map_err(|_| damaged(path, 0, "it is shorter than its header"))?;
    let expected = segment_header(base);
    if header == expected {
        return Ok(());
    }
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    Err(damaged(
        path,
        0,
        if header[..8] == *MAGIC && version > VERSION {
            format!("its format is version {version}, this program reads up to {VERSION}")
        } else {
            "its header is not that of the segment that its name says".to_owned()
        },
    ))
}

/// Builds a frame in place: `begin`, events appended by the caller, `finish`.
pub(crate) fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.resize(start + FRAME_HEADER + PAYLOAD_HEADER, 0);
    start
}

pub(crate) fn finish(out: &mut [u8], start: usize, base: u64, last: u64, count: u32) {
    let frame = &mut out[start..];
    let length = (frame.len() - FRAME_HEADER) as u32;
    frame[..4].copy_from_slice(&MARKER);
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    frame[16..24].copy_from_slice(&base.to_le_bytes());
    frame[24..32].copy_from_slice(&last.to_le_bytes());
    frame[32..36].copy_from_slice(&count.to_le_bytes());
    let crc = crc32fast::hash(&frame[FRAME_HEADER..]);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&frame[..12]);
    frame[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// A frame that passed its checksum.
pub(crate) struct Frame<'a> {
    pub(crate) offset: u64,
    pub(crate) base: u64,
    pub(crate) last: u64,
    pub(crate) count: u32,
    events: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Visits its events in order with their sequences.
    pub(crate) fn for_each(
        &self,
        visit: &mut dyn FnMut(u64, EventView<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut cursor = Cursor(self.events);
        let mut sequence = self.base;
        for _ in 0..self.count {
            let (distance, view) = cursor.event()?;
            sequence = sequence
                .checked_add(distance)
                .filter(|s| distance > 0 && *s <= self.last)
                .ok_or("a sequence is outside of the range of its frame")?;
            visit(sequence, view)?;
        }
        if cursor.0.is_empty() {
            Ok(())
        } else {
            Err("bytes follow its last event".to_owned())
        }
    }
}

/// Why the next frame cannot be read.
#[derive(Debug)]
pub(crate) enum FrameFault {
    /// What stands there is no whole frame.
    Bad { offset: u64, reason: &'static str },
    /// The disk refused.
    Io(StoreError),
}

/// Frames of a segment up to a fixed end, in order.
pub(crate) struct Frames {
    file: Arc<File>,
    pub(crate) path: PathBuf,
    at: u64,
    end: u64,
    last: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
}

impl Frames {
    pub(crate) fn new(file: Arc<File>, path: PathBuf, base: u64, end: u64) -> Self {
        Self {
            file,
            path,
            at: SEGMENT_HEADER,
            end,
            last: base,
            chunk: Vec::new(),
            chunk_at: 0,
        }
    }

    /// Where the last good frame ended.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Last sequence covered by the frames read so far.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    fn bytes(&mut self, at: u64, count: usize) -> Result<&[u8], FrameFault> {
        let held = at >= self.chunk_at && at + count as u64 <= self.chunk_at + self.chunk.len() as u64;
        if !held {
            let want = (count.max(CHUNK) as u64).min(self.end - at) as usize;
            self.chunk.resize(want, 0);
            self.chunk_at = at;
            if let Err(error) = self.file.read_exact_at(&mut self.chunk, at) {
                self.chunk.clear();
                if error.kind() == std::io::ErrorKind::UnexpectedEof {
                    let reason = "the file ends before it";
                    return Err(FrameFault::Bad { offset: at, reason });
                }
                return Err(FrameFault::Io(io("reading", &self.path)(error)));
            }
        }
        let from = (at - self.chunk_at) as usize;
        Ok(&self.chunk[from..from + count])
    }

    /// The next frame, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, FrameFault> {
        let (offset, left) = (self.at, self.end.saturating_sub(self.at));
        let bad = |reason| FrameFault::Bad { offset, reason };
        if left == 0 {
            return Ok(None);
        }
        if left < (FRAME_HEADER + PAYLOAD_HEADER) as u64 {
            return Err(bad("a frame is cut short"));
        }
        let expected_base = self.last;
        let header: [u8; FRAME_HEADER] = self
            .bytes(offset, FRAME_HEADER)?
            .try_into()
            .map_err(|_| bad("a frame is cut short"))?;
        let length = frame_length(&header, left).map_err(bad)?;
        let frame = parse(self.bytes(offset, FRAME_HEADER + length)?, offset).map_err(bad)?;
        if frame.base != expected_base || frame.last < frame.base {
            return Err(bad("a frame does not follow the one before it"));
        }
        let (base, last, count) = (frame.base, frame.last, frame.count);
        self.at = offset + (FRAME_HEADER + length) as u64;
        self.last = last;
        let from = (offset - self.chunk_at) as usize;
        Ok(Some(Frame {
            offset,
            base,
            last,
            count,
            events: &self.chunk[from + FRAME_HEADER + PAYLOAD_HEADER..from + FRAME_HEADER + length],
        }))
    }

    /// As [`Frames::next`], where anything but a good frame is damage.
    pub(crate) fn next_strict(&mut self) -> Result<Option<Frame<'_>>, StoreError> {
        let path = self.path.clone();
        self.next().map_err(|fault| fault.into_error(&path))
    }
}

impl FrameFault {
    pub(crate) fn into_error(self, path: &Path) -> StoreError {
        match self {
            FrameFault::Bad { offset, reason } => damaged(path, offset, reason),
            FrameFault::Io(error) => error,
        }
    }
}

fn frame_length(header: &[u8; FRAME_HEADER], left: u64) -> Result<usize, &'static str> {
    let crc = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    if header[..4] != MARKER || crc32fast::hash(&header[..12]) != crc {
        return Err("no frame begins here");
    }
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    if length < PAYLOAD_HEADER {
        return Err("a frame is too short");
    }
    if (FRAME_HEADER + length) as u64 > left {
        return Err("a frame is cut short");
    }
    Ok(length)
}

fn parse(bytes: &[u8], offset: u64) -> Result<Frame<'_>, &'static str> {
    let mut cursor = Cursor(&bytes[8..]);
    let crc = u32::from_le_bytes(cursor.array()?);
    cursor.take(4)?;
    if crc != crc32fast::hash(cursor.0) {
        return Err("the checksum of a frame does not hold");
    }
    Ok(Frame {
        offset,
        base: u64::from_le_bytes(cursor.array()?),
        last: u64::from_le_bytes(cursor.array()?),
        count: u32::from_le_bytes(cursor.array()?),
        events: cursor.0,
    })
}

/// True if `tail`, which begins at `offset` where no good frame stands, can be what a write left that was cut off by
/// a crash, and so was never acknowledged (`last` is the last sequence before it): a frame cut short, or one with sectors that were never
/// written. Anything else was once whole.
pub(crate) fn is_torn(tail: &[u8], offset: u64, last: u64) -> bool {
    let Some(header) = tail.first_chunk::<FRAME_HEADER>() else {
        return true;
    };
    if has_frame(&tail[1..], last) {
        return false;
    }
    let whole = match frame_length(header, tail.len() as u64) {
        Ok(length) => FRAME_HEADER + length,
        Err(_) => {
            let crc = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
            let is_header = header[..4] == MARKER && crc32fast::hash(&header[..12]) == crc;
            if is_header {
                return true;
            }
            tail.len()
        }
    };
    let first = (SECTOR as u64 - offset % SECTOR as u64) as usize % SECTOR;
    let unwritten = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    let (head, rest) = tail[..whole].split_at(first.min(whole));
    (!head.is_empty() && unwritten(head)) || rest.chunks(SECTOR).any(unwritten)
}

/// True if there is a whole frame in `tail` that covers sequences after `last`.
fn has_frame(tail: &[u8], last: u64) -> bool {
    let mut from = 0;
    while let Some(found) = tail[from..].windows(4).position(|w| w == MARKER) {
        let at = from + found;
        let rest = &tail[at..];
        // Texts have no zero bytes; a sequence as large as eight of their bytes does not occur.
        if let Some(header) = rest.first_chunk::<FRAME_HEADER>()
            && let Ok(length) = frame_length(header, rest.len() as u64)
            && let Ok(frame) = parse(&rest[..FRAME_HEADER + length], 0)
            && frame.base >= last
            && frame.last < 1 << 56
        {
            return true;
        }
        from = at + 1;
    }
    false
}
