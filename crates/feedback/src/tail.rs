//! Decisions that no block holds yet, in the hands of the operating system.
//!
//! A decision is appended here before whoever asked for it is answered, as a frame of its own, so that a killed process loses none. Two files take turns: while the
//! decisions of one are being written into blocks, new ones go to the other; the first is emptied once the blocks are on the disk. Neither file is
//! flushed: what the machine loses with its power is what the blocks do not have yet.

use crate::block::{self, BODY_BYTES_MAX};
use crate::{FeedbackError, StoredDecision, columns};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub(crate) struct Tail {
    files: [(PathBuf, File); 2],
    current: usize,
}

/// A decision as a frame of the tail.
pub(crate) fn frame(stored: &StoredDecision) -> Result<Vec<u8>, String> {
    let body = columns::encode(&[stored])?;
    if body.len() > BODY_BYTES_MAX / 2 {
        return Err(format!(
            "{} bytes, at most {} fit",
            body.len(),
            BODY_BYTES_MAX / 2
        ));
    }
    Ok(block::framed(&body))
}

/// Whole frames, up to the first that is not.
fn decisions(mut bytes: &[u8]) -> Vec<StoredDecision> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let (length, checksum) = block::head(*head);
        let Some((body, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if crc32fast::hash(body) != checksum {
            break;
        }
        match columns::decode(body) {
            Ok(decisions) => found.extend(decisions),
            Err(_) => break,
        }
        bytes = rest;
    }
    found
}

impl Tail {
    /// Opens the two files and reads what a killed process left in them.
    pub(crate) fn open(dir: &Path) -> Result<(Tail, Vec<StoredDecision>), FeedbackError> {
        let mut left = Vec::new();
        let mut open = |name: &str| {
            let path = dir.join(name);
            let fail = |e: std::io::Error| FeedbackError::io("opening", &path, &e);
            let mut file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(&path)
                .map_err(fail)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(fail)?;
            left.extend(decisions(&bytes));
            Ok::<_, FeedbackError>((path, file))
        };
        let files = [open("tail-0.log")?, open("tail-1.log")?];
        left.sort_by(|a, b| {
            (a.decision.now, &a.decision.decision_id).cmp(&(b.decision.now, &b.decision.decision_id))
        });
        Ok((Tail { files, current: 0 }, left))
    }

    /// Appends a frame.
    pub(crate) fn append(&mut self, frame: &[u8]) -> Result<(), FeedbackError> {
        let (path, file) = &mut self.files[self.current];
        file.write_all(frame)
            .map_err(|e| FeedbackError::io("writing", path, &e))
    }

    /// From now on the other file is appended to.
    pub(crate) fn turn(&mut self) {
        self.current = 1 - self.current;
    }

    /// Empties the file that is not appended to, or both.
    pub(crate) fn clear(&mut self, both: bool) -> Result<(), FeedbackError> {
        for at in 0..2 {
            let (path, file) = &mut self.files[at];
            if both || at != self.current {
                let cleared = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
                cleared.map_err(|e| FeedbackError::io("emptying", path, &e))?;
            }
        }
        Ok(())
    }
}
