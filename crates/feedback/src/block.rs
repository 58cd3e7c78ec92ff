//! Blocks: several decisions compressed together.
//!
//! A frame is the body's length (u32), its CRC-32 (u32) and the body; numbers are little-endian. The
//! body is the number of decisions (u16) with the highest bit set, their ids, each preceded by its length (u16), the moments of the earliest and the latest
//! (i64, milliseconds), and then, compressed with zstd, the decisions in columns. Ids and moments stand
//! outside the compressed part, so that opening a log and looking for a time only read them. Bodies of earlier versions, without that bit and without moments, have
//! lines of JSON and are still read.

use crate::columns::{self, Encoder, STREAMS};
use crate::{FeedbackError, StoredDecision};
use domain::{DecisionId, Timestamp};

/// First bytes of every file.
pub(crate) const MAGIC: &[u8; 8] = b"CNCDEC01";
/// Bytes before a body.
pub(crate) const FRAME_HEAD_BYTES: u64 = 8;
/// Longest body that is written or believed.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;
/// Most decisions in a block.
pub(crate) const BLOCK_DECISIONS_MAX: usize = 64;
/// A block is closed once it has this many bytes, not compressed.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
/// One below zstd's first ordinary level, which saves an eighth of the room and takes three quarters longer.
const LEVEL: i32 = -1;
/// Longest text that a body is believed to hold.
const TEXT_BYTES_MAX: usize = 256 << 20;
/// Room for texts is given back beyond this.
const ROOM_BYTES_MAX: usize = 4 * BLOCK_BYTES;
/// Marks a body in columns.
const COLUMNS: u16 = 0x8000;

/// Decisions on their way into a block, encoded one by one.
#[derive(Default)]
pub(crate) struct Open {
    /// Tells it from others that wait.
    pub(crate) number: u64,
    pub(crate) ids: Vec<DecisionId>,
    moments: Option<(Timestamp, Timestamp)>,
    encoder: Encoder,
}

impl AsRef<Open> for Open {
    fn as_ref(&self) -> &Open {
        self
    }
}

/// What one decision added to an open block.
pub(crate) struct Added<'a> {
    open: &'a mut Open,
    before: [usize; STREAMS],
}

impl Open {
    pub(crate) fn new(number: u64) -> Open {
        Open {
            number,
            ..Open::default()
        }
    }

    /// The block after this one, which is closed; in the room of one that is done with, if there is one.
    pub(crate) fn next(&mut self, number: u64, done: Option<Open>) -> Open {
        let (mut ids, done) = done.map_or((Vec::new(), None), |done| (done.ids, Some(done.encoder)));
        ids.clear();
        Open {
            number,
            ids,
            moments: None,
            encoder: self.encoder.next(done),
        }
    }

    /// Adds a decision.
    pub(crate) fn push(&mut self, head: columns::Head<'_>) -> Added<'_> {
        let before = self.encoder.marks();
        let (id, now) = (head.id().clone(), head.now());
        self.encoder.push(head);
        let (earliest, latest) = self.moments.unwrap_or((now, now));
        self.moments = Some((earliest.min(now), latest.max(now)));
        self.ids.push(id);
        Added { open: self, before }
    }

    /// True if the next decision begins another block.
    pub(crate) fn is_full(&self) -> bool {
        self.ids.len() >= BLOCK_DECISIONS_MAX || self.len() >= BLOCK_BYTES
    }

    /// Bytes so far, not compressed.
    pub(crate) fn len(&self) -> usize {
        self.encoder.len()
    }

    /// Its decisions, not compressed.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encoder.write(&mut bytes);
        bytes
    }

    /// The earliest and the latest moment.
    pub(crate) fn moments(&self) -> (Timestamp, Timestamp) {
        self.moments.unwrap_or((Timestamp(0), Timestamp(0)))
    }
}

/// Makes frames of blocks. What compression needs is some hundred kilobytes of memory: fresh ones for each block would cost more than the work itself.
#[derive(Default)]
pub(crate) struct Press {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    text: Vec<u8>,
    packed: Vec<u8>,
}

impl Press {
    /// The frame of a block, ready to be written.
    pub(crate) fn frame(&mut self, block: &Open) -> Result<Vec<u8>, String> {
        let Press {
            compressor,
            text,
            packed,
        } = self;
        let compressor = match compressor {
            Some(ready) => ready,
            none => none.insert(zstd::bulk::Compressor::new(LEVEL).map_err(|e| e.to_string())?),
        };
        text.clear();
        block.encoder.write(text);
        packed.clear();
        packed.reserve(zstd::zstd_safe::compress_bound(text.len()));
        compressor
            .compress_to_buffer(text.as_slice(), packed)
            .map_err(|e| e.to_string())?;
        let mut body = Vec::with_capacity(packed.len() + 64 * block.ids.len() + 64);
        body.extend((block.ids.len() as u16 | COLUMNS).to_le_bytes());
        for id in &block.ids {
            let id = id.as_str().as_bytes();
            body.extend((id.len() as u16).to_le_bytes());
            body.extend(id);
        }
        let (earliest, latest) = block.moments();
        body.extend(earliest.0.to_le_bytes());
        body.extend(latest.0.to_le_bytes());
        body.extend(&*packed);
        let fits = body.len() <= BODY_BYTES_MAX && text.len() <= TEXT_BYTES_MAX;
        if text.capacity() > ROOM_BYTES_MAX {
            (*text, *packed) = Default::default();
        }
        if !fits {
            return Err(format!(
                "a block of {} bytes, at most {BODY_BYTES_MAX} fit",
                body.len()
            ));
        }
        Ok(framed(&body))
    }
}

impl Added<'_> {
    /// True for the first decision of its block.
    pub(crate) fn is_first(&self) -> bool {
        self.open.ids.len() == 1
    }

    /// Appends what the decision added to the streams.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.open.encoder.since(&self.before, out);
    }

    /// Takes the decision out again.
    pub(crate) fn take_back(self) {
        self.open.ids.pop();
        self.open.encoder.take_back(&self.before);
    }
}

/// Decisions in blocks. One that has no form is left out and comes back with the reason.
pub(crate) fn blocks<'a>(
    decisions: impl IntoIterator<Item = &'a StoredDecision>,
) -> (Vec<Open>, Vec<FeedbackError>) {
    let (mut blocks, mut errors): (Vec<Open>, Vec<FeedbackError>) = Default::default();
    for stored in decisions {
        match columns::head(stored) {
            Ok(head) => {
                if blocks.last().is_none_or(Open::is_full) {
                    let next = blocks
                        .last_mut()
                        .map(|last| last.next(0, None))
                        .unwrap_or_default();
                    blocks.push(next);
                }
                if let Some(open) = blocks.last_mut() {
                    let _ = open.push(head);
                }
            }
            Err(reason) => errors.push(FeedbackError::Encode {
                id: stored.decision.decision_id.to_string(),
                reason,
            }),
        }
    }
    (blocks, errors)
}

/// A body with its length and checksum in front.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + FRAME_HEAD);
    frame.extend([0; FRAME_HEAD]);
    frame.extend(body);
    fill_head(&mut frame);
    frame
}

/// Bytes of the head of a frame: length and checksum of its body.
pub(crate) const FRAME_HEAD: usize = 8;

/// Writes the head of a frame whose body is there.
pub(crate) fn fill_head(frame: &mut [u8]) {
    let (head, body) = frame.split_at_mut(FRAME_HEAD);
    head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
}

/// Length and checksum from the head of a frame.
pub(crate) fn head(head: [u8; 8]) -> (usize, u32) {
    let [a, b, c, d, e, f, g, h] = head;
    (
        u32::from_le_bytes([a, b, c, d]) as usize,
        u32::from_le_bytes([e, f, g, h]),
    )
}

/// What stands in front of the compressed part of a body.
pub(crate) struct Front {
    pub(crate) ids: Vec<DecisionId>,
    /// Earliest and latest moment; all of time in bodies of earlier versions.
    pub(crate) moments: (Timestamp, Timestamp),
    in_columns: bool,
    at: usize,
}

/// Reads the front of a body.
pub(crate) fn front(body: &[u8]) -> Result<Front, String> {
    let mut at = 0usize;
    let mut take = |count: usize| {
        let part = body.get(at..at + count).ok_or("the ids run past the end")?;
        at += count;
        Ok::<&[u8], String>(part)
    };
    let number = |part: &[u8]| u16::from_le_bytes([part[0], part[1]]);
    let count = number(take(2)?);
    let in_columns = count & COLUMNS != 0;
    let count = usize::from(count & !COLUMNS);
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::from(number(take(2)?));
        let text = std::str::from_utf8(take(length)?).map_err(|e| e.to_string())?;
        ids.push(DecisionId::new(text).map_err(|e| e.to_string())?);
    }
    let mut moments = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    if in_columns {
        let mut moment = || {
            let bytes: [u8; 8] = take(8)?.try_into().map_err(|_| "a moment is cut")?;
            Ok::<_, String>(Timestamp(i64::from_le_bytes(bytes)))
        };
        moments = (moment()?, moment()?);
    }
    Ok(Front {
        ids,
        moments,
        in_columns,
        at,
    })
}

/// The decisions of a body, as many as it has ids.
pub(crate) fn decisions(body: &[u8]) -> Result<Vec<StoredDecision>, String> {
    let front = front(body)?;
    let mut decoder = zstd::Decoder::new(&body[front.at..]).map_err(|e| e.to_string())?;
    let mut text = Vec::new();
    let limit = TEXT_BYTES_MAX as u64;
    std::io::Read::read_to_end(&mut std::io::Read::take(&mut decoder, limit), &mut text)
        .map_err(|e| e.to_string())?;
    let decisions: Vec<StoredDecision> = if front.in_columns {
        columns::decode(&text)?
    } else {
        let lines = text.split(|byte| *byte == b'\n').take(front.ids.len());
        let read = |line| serde_json::from_slice(line).map_err(|e| e.to_string());
        lines.map(read).collect::<Result<_, String>>()?
    };
    if decisions
        .iter()
        .map(|stored| &stored.decision.decision_id)
        .ne(&front.ids)
    {
        return Err("its decisions are not those of its ids".to_owned());
    }
    Ok(decisions)
}
