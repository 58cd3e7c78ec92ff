//! The files of the decision log: numbered, each a magic word and frames, the last one growing.

use crate::block::{self, BODY_BYTES_MAX, FRAME_HEAD_BYTES, Line, MAGIC};
use crate::{DecisionLogOptions, FeedbackError};
use domain::DecisionId;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Where a decision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) file: u64,
    pub(crate) offset: u64,
    pub(crate) line: u32,
}

pub(crate) type Index = HashMap<DecisionId, Location>;

/// Enters places; of two places of one decision the later stays.
pub(crate) fn enter(index: &mut Index, places: Vec<(DecisionId, Location)>) {
    for (id, place) in places {
        let entry = index.entry(id).or_insert(place);
        *entry = place.max(*entry);
    }
}

/// New places of what is left in files that were rewritten.
pub(crate) type Rewritten = BTreeMap<u64, Vec<(DecisionId, Location)>>;

/// The files, as their only writer sees them.
pub(crate) struct Files {
    dir: PathBuf,
    file_bytes: u64,
    retention_bytes: u64,
    /// Length by number, the current file among them.
    lengths: BTreeMap<u64, u64>,
    current: Option<(u64, File)>,
}

pub(crate) fn path_of(dir: &Path, file: u64) -> PathBuf {
    dir.join(format!("decisions-{file:010}.log"))
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("decisions-")?
        .strip_suffix(".log")?
        .parse()
        .ok()
}

fn sync_dir(dir: &Path) -> Result<(), FeedbackError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| FeedbackError::io("syncing", dir, &e))
}

/// What reading a file from start to end found.
struct Scan {
    found: Vec<(DecisionId, Location)>,
    /// End of the last whole frame.
    good_bytes: u64,
    /// Bytes in frames that are not what was written, the tail not counted.
    damaged_bytes: u64,
}

/// Reads every frame. A frame with a wrong checksum that is followed by more is passed over; at
/// what is not a whole frame, the file ends.
fn scan(path: &Path, number: u64) -> Result<Scan, FeedbackError> {
    let fail = |e: std::io::Error| FeedbackError::io("reading", path, &e);
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut scan = Scan {
        found: Vec::new(),
        good_bytes: 0,
        damaged_bytes: 0,
    };
    let mut magic = [0u8; 8];
    if length < 8 || reader.read_exact(&mut magic).is_err() {
        return Ok(scan);
    }
    if &magic != MAGIC {
        return Err(FeedbackError::damaged(path, 0, "it is not a decision log"));
    }
    let mut at = 8;
    scan.good_bytes = at;
    let mut bad_before = 0;
    while length - at >= FRAME_HEAD_BYTES {
        let mut head = [0u8; 8];
        reader.read_exact(&mut head).map_err(fail)?;
        let (body_bytes, checksum) = block::head(head);
        let end = at + FRAME_HEAD_BYTES + body_bytes as u64;
        if body_bytes > BODY_BYTES_MAX || end > length {
            break;
        }
        let mut body = vec![0u8; body_bytes];
        reader.read_exact(&mut body).map_err(fail)?;
        let ids = (crc32fast::hash(&body) == checksum)
            .then(|| block::ids(&body).ok())
            .flatten();
        match ids {
            Some((ids, _)) => {
                scan.damaged_bytes += std::mem::take(&mut bad_before);
                scan.good_bytes = end;
                scan.found.extend(ids.into_iter().enumerate().map(|(line, id)| {
                    let location = Location {
                        file: number,
                        offset: at,
                        line: line as u32,
                    };
                    (id, location)
                }));
            }
            None => bad_before += end - at,
        }
        at = end;
    }
    Ok(scan)
}

impl Files {
    /// Opens the folder, reads the index and cuts off a torn tail. The number is of bytes that could not be
    /// read and were left alone or cut off.
    pub(crate) fn open(
        dir: &Path,
        options: &DecisionLogOptions,
    ) -> Result<(Files, Index, u64), FeedbackError> {
        fs::create_dir_all(dir).map_err(|e| FeedbackError::io("creating", dir, &e))?;
        let mut numbers = Vec::new();
        let entries = fs::read_dir(dir).map_err(|e| FeedbackError::io("listing", dir, &e))?;
        for entry in entries {
            let entry = entry.map_err(|e| FeedbackError::io("listing", dir, &e))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".tmp") && name.starts_with("decisions-") {
                // Half of an erasure that did not come to its end; the original is whole.
                fs::remove_file(entry.path())
                    .map_err(|e| FeedbackError::io("removing", &entry.path(), &e))?;
            }
            numbers.extend(number_of(&name));
        }
        numbers.sort_unstable();
        let mut files = Files {
            dir: dir.to_owned(),
            file_bytes: options.file_bytes,
            retention_bytes: options.retention_bytes,
            lengths: BTreeMap::new(),
            current: None,
        };
        let (mut index, mut unreadable) = (Index::new(), 0);
        for number in &numbers {
            let path = path_of(dir, *number);
            let found = scan(&path, *number)?;
            let length = fs::metadata(&path)
                .map_err(|e| FeedbackError::io("reading", &path, &e))?
                .len();
            unreadable += found.damaged_bytes + (length - found.good_bytes);
            enter(&mut index, found.found);
            files.lengths.insert(*number, length);
            if Some(number) == numbers.last() {
                files.resume(*number, found.good_bytes)?;
            }
        }
        files.retire(&mut index)?;
        Ok((files, index, unreadable))
    }

    /// Goes on writing behind the last whole frame of a file.
    fn resume(&mut self, number: u64, good_bytes: u64) -> Result<(), FeedbackError> {
        let path = path_of(&self.dir, number);
        let fail = |e: std::io::Error| FeedbackError::io("truncating", &path, &e);
        let mut file = OpenOptions::new().write(true).open(&path).map_err(fail)?;
        file.set_len(good_bytes).map_err(fail)?;
        file.seek(SeekFrom::End(0)).map_err(fail)?;
        let mut length = good_bytes;
        if length == 0 {
            file.write_all(MAGIC).map_err(fail)?;
            length = MAGIC.len() as u64;
        }
        file.sync_all().map_err(fail)?;
        self.lengths.insert(number, length);
        self.current = Some((number, file));
        Ok(())
    }

    fn start(&mut self) -> Result<(), FeedbackError> {
        let number = self.lengths.last_key_value().map_or(1, |(last, _)| last + 1);
        let path = path_of(&self.dir, number);
        let fail = |e: std::io::Error| FeedbackError::io("creating", &path, &e);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(fail)?;
        file.write_all(MAGIC).map_err(fail)?;
        sync_dir(&self.dir)?;
        self.lengths.insert(number, MAGIC.len() as u64);
        self.current = Some((number, file));
        Ok(())
    }

    /// Writes lines and makes them durable. On failure none of the lines of the failed block or
    /// after it is stored; those before are returned with the error.
    pub(crate) fn append(
        &mut self,
        lines: &[Line],
    ) -> (Vec<(DecisionId, Location)>, Result<(), FeedbackError>) {
        let mut written = Vec::new();
        for block in block::blocks(lines) {
            match self.append_block(block) {
                Ok(location) => written.extend(block.iter().enumerate().map(|(line, of)| {
                    let line = line as u32;
                    (of.id.clone(), Location { line, ..location })
                })),
                Err(error) => return (written, Err(error)),
            }
        }
        let synced = self.sync();
        if synced.is_err() {
            // What the disk holds is unknown from here on; later blocks go to a new file.
            self.current = None;
        }
        (written, synced)
    }

    fn append_block(&mut self, lines: &[Line]) -> Result<Location, FeedbackError> {
        let frame = block::frame(lines).map_err(|reason| FeedbackError::Encode {
            id: lines.first().map(|line| line.id.to_string()).unwrap_or_default(),
            reason,
        })?;
        let full = |(number, _): &(u64, File)| {
            self.lengths
                .get(number)
                .is_none_or(|bytes| *bytes >= self.file_bytes)
        };
        if self.current.as_ref().is_none_or(full) {
            self.sync()?;
            self.start()?;
        }
        let Some((number, file)) = &mut self.current else {
            unreachable!("a file was started above");
        };
        let path = path_of(&self.dir, *number);
        let length = self.lengths.entry(*number).or_default();
        let offset = *length;
        if let Err(error) = file.write_all(&frame) {
            // Half a frame may stand there: take it back, or leave the file alone from now on.
            let taken_back = file.set_len(offset).is_ok() && file.seek(SeekFrom::Start(offset)).is_ok();
            if !taken_back {
                self.current = None;
            }
            return Err(FeedbackError::io("writing", &path, &error));
        }
        *length += frame.len() as u64;
        Ok(Location {
            file: *number,
            offset,
            line: 0,
        })
    }

    fn sync(&mut self) -> Result<(), FeedbackError> {
        match &self.current {
            Some((number, file)) => file
                .sync_data()
                .map_err(|e| FeedbackError::io("syncing", &path_of(&self.dir, *number), &e)),
            None => Ok(()),
        }
    }

    /// True if [`Files::retire`] has something to do.
    pub(crate) fn over(&self) -> bool {
        self.bytes() > self.retention_bytes && self.lengths.len() > 1
    }

    /// Removes the oldest files beyond the retention, never the last one.
    pub(crate) fn retire(&mut self, index: &mut Index) -> Result<(), FeedbackError> {
        while self.over() {
            let Some((number, _)) = self.lengths.pop_first() else {
                return Ok(());
            };
            index.retain(|_, location| location.file != number);
            let path = path_of(&self.dir, number);
            fs::remove_file(&path).map_err(|e| FeedbackError::io("removing", &path, &e))?;
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.lengths.values().sum()
    }

    pub(crate) fn count(&self) -> usize {
        self.lengths.len()
    }

    /// Rewrites the files that hold a line for which `goes` is true, without those lines. Returns
    /// the new places of the files rewritten, and how many lines went.
    pub(crate) fn erase(&mut self, goes: &dyn Fn(&[u8]) -> bool) -> Result<(Rewritten, u64), FeedbackError> {
        let (mut rewritten, mut gone) = (BTreeMap::new(), 0);
        let numbers: Vec<u64> = self.lengths.keys().copied().collect();
        for number in numbers {
            let path = path_of(&self.dir, number);
            let found = scan(&path, number)?;
            let mut offsets: Vec<u64> = found.found.iter().map(|(_, location)| location.offset).collect();
            offsets.dedup();
            let mut kept_lines = Vec::new();
            let before = gone;
            for offset in offsets {
                let lines = block::lines(&read_body(&path, offset)?)
                    .map_err(|e| FeedbackError::damaged(&path, offset, e))?;
                let count = lines.len();
                let kept: Vec<Line> = lines.into_iter().filter(|line| !goes(&line.json)).collect();
                gone += (count - kept.len()) as u64;
                kept_lines.push(kept);
            }
            if gone > before {
                rewritten.insert(number, self.rewrite(number, &kept_lines)?);
            }
        }
        Ok((rewritten, gone))
    }

    fn rewrite(
        &mut self,
        number: u64,
        blocks: &[Vec<Line>],
    ) -> Result<Vec<(DecisionId, Location)>, FeedbackError> {
        let path = path_of(&self.dir, number);
        let temporary = path.with_extension("log.tmp");
        let fail = |e: std::io::Error| FeedbackError::io("rewriting", &temporary, &e);
        let mut bytes = MAGIC.to_vec();
        let mut places = Vec::new();
        for lines in blocks.iter().filter(|lines| !lines.is_empty()) {
            let offset = bytes.len() as u64;
            places.extend(lines.iter().enumerate().map(|(line, of)| {
                let location = Location {
                    file: number,
                    offset,
                    line: line as u32,
                };
                (of.id.clone(), location)
            }));
            bytes
                .extend(block::frame(lines).map_err(|reason| FeedbackError::damaged(&path, offset, reason))?);
        }
        let mut file = File::create(&temporary).map_err(fail)?;
        file.write_all(&bytes).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        fs::rename(&temporary, &path).map_err(fail)?;
        sync_dir(&self.dir)?;
        self.lengths.insert(number, bytes.len() as u64);
        if self
            .current
            .as_ref()
            .is_some_and(|(current, _)| *current == number)
        {
            self.current = Some((number, file));
        }
        Ok(places)
    }
}

fn read_body(path: &Path, offset: u64) -> Result<Vec<u8>, FeedbackError> {
    let fail = |e: std::io::Error| FeedbackError::io("reading", path, &e);
    let mut file = File::open(path).map_err(fail)?;
    file.seek(SeekFrom::Start(offset)).map_err(fail)?;
    let mut head = [0u8; 8];
    file.read_exact(&mut head).map_err(fail)?;
    let (body_bytes, checksum) = block::head(head);
    if body_bytes > BODY_BYTES_MAX {
        return Err(FeedbackError::damaged(path, offset, "an impossible length"));
    }
    let mut body = vec![0u8; body_bytes];
    file.read_exact(&mut body).map_err(fail)?;
    if crc32fast::hash(&body) != checksum {
        return Err(FeedbackError::damaged(path, offset, "the checksum is wrong"));
    }
    Ok(body)
}

/// Reads a block: its decisions with the line of each.
pub(crate) fn read_block(dir: &Path, file: u64, offset: u64) -> Result<Vec<Line>, FeedbackError> {
    let path = path_of(dir, file);
    block::lines(&read_body(&path, offset)?).map_err(|reason| FeedbackError::damaged(&path, offset, reason))
}

/// Reads one line.
pub(crate) fn read(dir: &Path, id: &DecisionId, location: Location) -> Result<Vec<u8>, FeedbackError> {
    let path = path_of(dir, location.file);
    let damaged = |reason: String| FeedbackError::damaged(&path, location.offset, reason);
    let lines = block::lines(&read_body(&path, location.offset)?).map_err(damaged)?;
    match lines.into_iter().nth(location.line as usize) {
        Some(line) if line.id == *id => Ok(line.json),
        _ => Err(damaged(format!("decision {id} is not there"))),
    }
}
