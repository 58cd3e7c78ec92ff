//! Decisions that no block holds yet, in the hands of the operating system.
//!
//! A decision is appended here before whoever asked for it is answered, as what it adds to the block that it will be in, so that a killed process loses none and a
//! decision is encoded once. The first of a block says that it is; those after it can only be read behind it. Blocks grow side by side, so every frame names the lane of its block. Two files take turns: while the blocks of one are being written, new
//! decisions go to the other, in blocks of their own; the first is emptied once the blocks are on the disk. Emptied means that its first bytes say so: its pages stay and are written over,
//! which costs the operating system a fraction of growing a file. So every frame has the number of its turn, and reading stops at one of another turn. Neither file is flushed: what the machine loses with its power is what the
//! blocks do not have yet.

use crate::block::{self, Added, BODY_BYTES_MAX};
use crate::columns::{self, STREAMS};
use crate::waiting::LANES;
use crate::{FeedbackError, StoredDecision};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that has grown beyond this is cut when it is emptied.
const KEPT_BYTES_MAX: u64 = 16 << 20;

struct Turned {
    path: PathBuf,
    file: File,
    /// Bytes of its frames.
    length: u64,
    /// Which turn they are of.
    turn: u64,
}

pub(crate) struct Tail {
    files: [Turned; 2],
    current: usize,
}

/// First byte of a frame: twice its lane, and one more for the first decision of a block.
const FIRST: u8 = 1;
/// Above it are the first bytes of frames of earlier versions.
const KIND_MAX: u8 = 2 * LANES as u8 - 1;
/// Bytes before what a decision added: the first byte, and the turn.
const FRONT_BYTES: usize = 9;

/// What a decision added to its block, as a frame of the tail.
pub(crate) fn frame(added: &Added<'_>, lane: usize, turn: u64) -> Result<Vec<u8>, String> {
    let mut frame = vec![0; block::FRAME_HEAD];
    frame.push(2 * lane as u8 + u8::from(added.is_first()) * FIRST);
    frame.extend(turn.to_le_bytes());
    added.write(&mut frame);
    let length = frame.len() - block::FRAME_HEAD;
    if length > BODY_BYTES_MAX / 2 {
        return Err(format!("{length} bytes, at most {} fit", BODY_BYTES_MAX / 2));
    }
    block::fill_head(&mut frame);
    Ok(frame)
}

/// A block as far as its frames have been read.
#[derive(Default)]
struct Growing {
    streams: [Vec<u8>; STREAMS],
    /// Which frames these were.
    frames: Vec<usize>,
}

impl Growing {
    /// Its decisions with the numbers of their frames; what comes now begins another.
    fn end(&mut self) -> impl Iterator<Item = (usize, StoredDecision)> {
        let streams = self.streams.each_ref().map(Vec::as_slice);
        let records = columns::records(streams).unwrap_or_default();
        self.streams.iter_mut().for_each(Vec::clear);
        std::mem::take(&mut self.frames).into_iter().zip(records)
    }
}

/// The decisions of whole frames of one turn, up to the first that is not.
pub(crate) fn decisions(mut bytes: &[u8]) -> Vec<StoredDecision> {
    let mut found = Vec::new();
    let mut turn: Option<&[u8]> = None;
    let mut lanes: [Growing; LANES] = Default::default();
    for number in 0.. {
        let Some((head, rest)) = bytes.split_first_chunk::<8>() else {
            break;
        };
        let (length, checksum) = block::head(*head);
        let Some((body, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if crc32fast::hash(body) != checksum {
            break;
        }
        let (lane, starts, added) = match body.split_at_checked(FRONT_BYTES) {
            Some((&[kind @ 0..=KIND_MAX, ref of @ ..], added)) => {
                if turn.is_some_and(|turn| turn != of) {
                    break;
                }
                turn = Some(of);
                (usize::from(kind / 2), kind & FIRST != 0, added)
            }
            // Frames of earlier versions hold a whole decision, whose first stream is longer than a byte can say.
            _ => (0, true, body),
        };
        let block = &mut lanes[lane];
        if starts {
            found.extend(block.end());
        }
        let Ok(streams) = columns::streams(added) else {
            break;
        };
        for (stream, added) in block.streams.iter_mut().zip(streams) {
            stream.extend_from_slice(added);
        }
        block.frames.push(number);
        bytes = rest;
    }
    found.extend(lanes.iter_mut().flat_map(Growing::end));
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, stored)| stored).collect()
}

impl Tail {
    /// Opens the two files and reads what a killed process left in them.
    pub(crate) fn open(dir: &Path) -> Result<(Tail, Vec<StoredDecision>), FeedbackError> {
        let mut left = Vec::new();
        let mut open = |name: &str, turn: u64| {
            let path = dir.join(name);
            let fail = |e: std::io::Error| FeedbackError::io("opening", &path, &e);
            let mut options = OpenOptions::new();
            let mut file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(fail)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(fail)?;
            left.extend(decisions(&bytes));
            let length = bytes.len() as u64;
            Ok::<_, FeedbackError>(Turned {
                path,
                file,
                length,
                turn,
            })
        };
        let files = [open("tail-0.log", 0)?, open("tail-1.log", 1)?];
        left.sort_by(|a, b| {
            (a.decision.now, &a.decision.decision_id).cmp(&(b.decision.now, &b.decision.decision_id))
        });
        Ok((Tail { files, current: 0 }, left))
    }

    /// The turn that frames are of now.
    pub(crate) fn turn(&self) -> u64 {
        self.files[self.current].turn
    }

    /// Appends a frame, or nothing.
    pub(crate) fn append(&mut self, frame: &[u8]) -> Result<(), FeedbackError> {
        let Turned {
            path, file, length, ..
        } = &mut self.files[self.current];
        if let Err(error) = file.write_all(frame) {
            // Behind half a frame nothing would be found; if it cannot be taken back either, the error says so.
            let back = file
                .set_len(*length)
                .and_then(|()| file.seek(SeekFrom::Start(*length)));
            return Err(FeedbackError::io("writing", path, &back.err().unwrap_or(error)));
        }
        *length += frame.len() as u64;
        Ok(())
    }

    /// From now on the other file is appended to.
    pub(crate) fn take_turns(&mut self) {
        self.current = 1 - self.current;
    }

    /// Empties the file that is not appended to: nothing in it will be found again.
    pub(crate) fn clear(&mut self) -> Result<(), FeedbackError> {
        self.files[1 - self.current].empty(false)
    }

    /// Empties both files and gives their room back.
    pub(crate) fn reset(&mut self) -> Result<(), FeedbackError> {
        self.files.iter_mut().try_for_each(|file| file.empty(true))
    }

    /// Removes what earlier turns have left behind the frames.
    pub(crate) fn wipe(&mut self) -> Result<(), FeedbackError> {
        self.files.iter_mut().try_for_each(
            |Turned {
                 path, file, length, ..
             }| {
                file.set_len(*length)
                    .map_err(|e| FeedbackError::io("cutting", path, &e))
            },
        )
    }
}

impl Turned {
    fn empty(&mut self, cut: bool) -> Result<(), FeedbackError> {
        let cut = cut || self.length > KEPT_BYTES_MAX;
        let file = &mut self.file;
        let mut empty = || {
            if cut {
                file.set_len(0)?;
            } else if self.length > 0 {
                file.seek(SeekFrom::Start(0))?;
                // No frame has a body without bytes.
                file.write_all(&[0; 8])?;
            }
            file.seek(SeekFrom::Start(0))
        };
        empty().map_err(|e| FeedbackError::io("emptying", &self.path, &e))?;
        self.length = 0;
        self.turn += 2;
        Ok(())
    }
}
