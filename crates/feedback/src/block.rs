//! Blocks: several decisions compressed together.
//!
//! A frame is the body's length (u32), its CRC-32 (u32) and the body; numbers are little-endian. The
//! body is the number of decisions (u16), their ids, each preceded by its length (u16), and then,
//! compressed with zstd, the decisions as lines of JSON in the same order. Ids stand outside the
//! compressed part, so that opening a log only reads it.

use crate::StoredDecision;
use domain::DecisionId;

/// First bytes of every file.
pub(crate) const MAGIC: &[u8; 8] = b"CNCDEC01";
/// Bytes before a body.
pub(crate) const FRAME_HEAD_BYTES: u64 = 8;
/// Longest body that is written or believed.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;
/// Most decisions in a block.
pub(crate) const BLOCK_DECISIONS_MAX: usize = 32;
/// A block is closed once it holds this much, before compression.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
/// zstd's fastest ordinary level; higher ones save a tenth and cost twice the time.
const LEVEL: i32 = 1;
/// Longest text that a body is believed to hold.
const TEXT_BYTES_MAX: usize = 256 << 20;

/// One decision, encoded.
pub(crate) struct Line {
    pub(crate) id: DecisionId,
    pub(crate) json: Vec<u8>,
}

pub(crate) fn line(stored: &StoredDecision) -> Result<Line, String> {
    let json = serde_json::to_vec(stored).map_err(|e| e.to_string())?;
    if json.len() > BODY_BYTES_MAX / 2 {
        return Err(format!(
            "{} bytes, at most {} fit",
            json.len(),
            BODY_BYTES_MAX / 2
        ));
    }
    Ok(Line {
        id: stored.decision.decision_id.clone(),
        json,
    })
}

/// Cuts lines into blocks of at most [`BLOCK_DECISIONS_MAX`] decisions and about [`BLOCK_BYTES`].
pub(crate) fn blocks(lines: &[Line]) -> Vec<&[Line]> {
    let mut blocks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (place, line) in lines.iter().enumerate() {
        bytes += line.json.len();
        if bytes >= BLOCK_BYTES || place + 1 - start == BLOCK_DECISIONS_MAX {
            blocks.push(&lines[start..=place]);
            (start, bytes) = (place + 1, 0);
        }
    }
    if start < lines.len() {
        blocks.push(&lines[start..]);
    }
    blocks
}

/// The frame of a block, ready to be written.
pub(crate) fn frame(lines: &[Line]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    body.extend((lines.len() as u16).to_le_bytes());
    let mut text = Vec::new();
    for line in lines {
        let id = line.id.as_str().as_bytes();
        body.extend((id.len() as u16).to_le_bytes());
        body.extend(id);
        text.extend(&line.json);
        text.push(b'\n');
    }
    body.extend(zstd::bulk::compress(&text, LEVEL).map_err(|e| e.to_string())?);
    if body.len() > BODY_BYTES_MAX {
        return Err(format!(
            "a block of {} bytes, at most {BODY_BYTES_MAX} fit",
            body.len()
        ));
    }
    let mut frame = Vec::with_capacity(body.len() + 8);
    frame.extend((body.len() as u32).to_le_bytes());
    frame.extend(crc32fast::hash(&body).to_le_bytes());
    frame.extend(body);
    Ok(frame)
}

/// Length and checksum from the head of a frame.
pub(crate) fn head(head: [u8; 8]) -> (usize, u32) {
    let [a, b, c, d, e, f, g, h] = head;
    (
        u32::from_le_bytes([a, b, c, d]) as usize,
        u32::from_le_bytes([e, f, g, h]),
    )
}

/// Ids of a body and where its compressed part begins.
pub(crate) fn ids(body: &[u8]) -> Result<(Vec<DecisionId>, usize), String> {
    let mut at = 0usize;
    let mut take = |count: usize| {
        let part = body.get(at..at + count).ok_or("the ids run past the end")?;
        at += count;
        Ok::<&[u8], String>(part)
    };
    let number = |part: &[u8]| usize::from(part[0]) | usize::from(part[1]) << 8;
    let count = number(take(2)?);
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(take(2)?);
        let text = std::str::from_utf8(take(length)?).map_err(|e| e.to_string())?;
        ids.push(DecisionId::new(text).map_err(|e| e.to_string())?);
    }
    Ok((ids, at))
}

/// The lines of a body, as many as it has ids.
pub(crate) fn lines(body: &[u8]) -> Result<Vec<Line>, String> {
    let (ids, at) = ids(body)?;
    let mut decoder = zstd::Decoder::new(&body[at..]).map_err(|e| e.to_string())?;
    let mut text = Vec::new();
    let limit = TEXT_BYTES_MAX as u64;
    std::io::Read::read_to_end(&mut std::io::Read::take(&mut decoder, limit), &mut text)
        .map_err(|e| e.to_string())?;
    let lines: Vec<Line> = ids
        .iter()
        .zip(text.split(|byte| *byte == b'\n'))
        .map(|(id, json)| Line {
            id: id.clone(),
            json: json.to_vec(),
        })
        .collect();
    if lines.len() != ids.len() {
        return Err(format!("{} decisions for {} ids", lines.len(), ids.len()));
    }
    Ok(lines)
}
