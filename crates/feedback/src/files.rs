//! The files of the decision log: numbered, each a magic word and frames, the last one growing.

use crate::block::{self, BODY_BYTES_MAX, FRAME_HEAD_BYTES, MAGIC, Open, Press};
use crate::{DecisionLogOptions, FeedbackError, StoredDecision};
use domain::{DecisionId, Timestamp};
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

/// Earliest and latest moment of each block, by file and offset.
pub(crate) type Moments = BTreeMap<(u64, u64), (Timestamp, Timestamp)>;

/// The files, as their only writer sees them.
pub(crate) struct Files {
    dir: PathBuf,
    file_bytes: u64,
    retention_bytes: u64,
    /// Length by number, the current file among them.
    lengths: BTreeMap<u64, u64>,
    pub(crate) moments: Moments,
    current: Option<(u64, File)>,
    press: Press,
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
    moments: Moments,
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
        moments: Moments::new(),
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
        let front = (crc32fast::hash(&body) == checksum)
            .then(|| block::front(&body).ok())
            .flatten();
        match front {
            Some(block::Front { ids, moments, .. }) => {
                scan.moments.insert((number, at), moments);
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
        }
        let numbers = numbers(dir)?;
        let mut files = Files {
            dir: dir.to_owned(),
            file_bytes: options.file_bytes,
            retention_bytes: options.retention_bytes,
            lengths: BTreeMap::new(),
            moments: Moments::new(),
            current: None,
            press: Press::default(),
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
            files.moments.extend(found.moments);
            files.lengths.insert(*number, length);
            if Some(number) == numbers.last() {
                files.resume(*number, found.good_bytes)?;
            }
        }
        files.retire(&mut index, Timestamp(i64::MIN))?;
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

    /// Writes blocks and makes them durable. One that has no form costs itself; on another failure nothing of the failed block or after it is stored. The places of what is
    /// stored, and what went wrong.
    pub(crate) fn append<B: AsRef<Open>>(
        &mut self,
        blocks: &[B],
    ) -> (Vec<(DecisionId, Location)>, Vec<FeedbackError>) {
        let (mut written, mut errors) = (Vec::new(), Vec::new());
        for block in blocks
            .iter()
            .map(AsRef::as_ref)
            .filter(|block| !block.ids.is_empty())
        {
            match self.append_block(block) {
                Ok(location) => written.extend(block.ids.iter().zip(0..).map(|(id, line)| {
                    let here = Location { line, ..location };
                    (id.clone(), here)
                })),
                Err(error @ FeedbackError::Encode { .. }) => errors.push(error),
                Err(error) => {
                    errors.push(error);
                    return (written, errors);
                }
            }
        }
        if let Err(error) = self.sync() {
            // What the disk holds is unknown from here on; later blocks go to a new file.
            self.current = None;
            errors.push(error);
        }
        (written, errors)
    }

    fn append_block(&mut self, block: &Open) -> Result<Location, FeedbackError> {
        let frame = self.press.frame(block).map_err(|reason| FeedbackError::Encode {
            id: block.ids.first().map(ToString::to_string).unwrap_or_default(),
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
        self.moments.insert((*number, offset), block.moments());
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

    /// True if the oldest file has nothing after this moment, and is not the last.
    pub(crate) fn is_before(&self, moment: Timestamp) -> bool {
        let Some(first) = self.lengths.keys().next().filter(|_| self.lengths.len() > 1) else {
            return false;
        };
        let mut of_file = self.moments.range((*first, 0)..(*first + 1, 0)).peekable();
        of_file.peek().is_some() && of_file.all(|(_, (_, latest))| *latest < moment)
    }

    /// Removes the oldest files beyond the retention and those that end before a moment, never the last one.
    pub(crate) fn retire(&mut self, index: &mut Index, before: Timestamp) -> Result<(), FeedbackError> {
        while self.over() || self.is_before(before) {
            let Some((number, _)) = self.lengths.pop_first() else {
                return Ok(());
            };
            index.retain(|_, location| location.file != number);
            self.moments.retain(|(file, _), _| *file != number);
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

    /// Rewrites the files that hold a decision for which `goes` is true, without those. Returns
    /// the new places of the files rewritten, and how many went.
    pub(crate) fn erase(
        &mut self,
        goes: &dyn Fn(&StoredDecision) -> bool,
    ) -> Result<(Rewritten, u64), FeedbackError> {
        let (mut rewritten, mut gone) = (BTreeMap::new(), 0);
        let numbers: Vec<u64> = self.lengths.keys().copied().collect();
        for number in numbers {
            let path = path_of(&self.dir, number);
            let found = scan(&path, number)?;
            let mut kept_blocks = Vec::new();
            let before = gone;
            for (_, offset) in found.moments.into_keys() {
                let decisions = block::decisions(&read_body(&path, offset)?)
                    .map_err(|e| FeedbackError::damaged(&path, offset, e))?;
                let count = decisions.len();
                let kept: Vec<StoredDecision> = decisions.into_iter().filter(|one| !goes(one)).collect();
                gone += (count - kept.len()) as u64;
                kept_blocks.push(kept);
            }
            if gone > before {
                rewritten.insert(number, self.rewrite(number, &kept_blocks)?);
            }
        }
        Ok((rewritten, gone))
    }

    fn rewrite(
        &mut self,
        number: u64,
        blocks: &[Vec<StoredDecision>],
    ) -> Result<Vec<(DecisionId, Location)>, FeedbackError> {
        let path = path_of(&self.dir, number);
        let temporary = path.with_extension("log.tmp");
        let fail = |e: std::io::Error| FeedbackError::io("rewriting", &temporary, &e);
        let mut bytes = MAGIC.to_vec();
        let (mut places, mut moments) = (Vec::new(), Moments::new());
        for decisions in blocks {
            let (blocks, errors) = block::blocks(decisions);
            if let Some(error) = errors.into_iter().next() {
                return Err(error);
            }
            for block in blocks {
                let offset = bytes.len() as u64;
                places.extend(block.ids.iter().zip(0..).map(|(id, line)| {
                    let location = Location {
                        file: number,
                        offset,
                        line,
                    };
                    (id.clone(), location)
                }));
                moments.insert((number, offset), block.moments());
                bytes.extend(
                    self.press
                        .frame(&block)
                        .map_err(|reason| FeedbackError::damaged(&path, offset, reason))?,
                );
            }
        }
        let mut file = File::create(&temporary).map_err(fail)?;
        file.write_all(&bytes).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        fs::rename(&temporary, &path).map_err(fail)?;
        sync_dir(&self.dir)?;
        self.lengths.insert(number, bytes.len() as u64);
        self.moments.retain(|(file, _), _| *file != number);
        self.moments.extend(moments);
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

/// Reads a block.
pub(crate) fn read_block(dir: &Path, file: u64, offset: u64) -> Result<Vec<StoredDecision>, FeedbackError> {
    let path = path_of(dir, file);
    block::decisions(&read_body(&path, offset)?)
        .map_err(|reason| FeedbackError::damaged(&path, offset, reason))
}

/// What a log's files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// Decisions that can be read.
    pub decisions: u64,
    /// Files.
    pub files: u64,
    /// Bytes that are not what was written.
    pub damaged_bytes: u64,
    /// Bytes of a last write that was broken off; opening cuts them off.
    pub torn_bytes: u64,
}

/// Reads every decision in the files of a folder, and changes nothing; what a killed process had not moved into the files yet is not looked at. A folder that is not there holds none.
///
/// # Errors
/// [`FeedbackError::Io`] if a file cannot be read, [`FeedbackError::Damaged`] if one is not a decision log.
pub fn verify(dir: &Path) -> Result<Verified, FeedbackError> {
    let mut verified = Verified::default();
    let numbers = numbers(dir)?;
    for number in &numbers {
        let path = path_of(dir, *number);
        let scan = scan(&path, *number)?;
        let metadata = fs::metadata(&path).map_err(|e| FeedbackError::io("reading", &path, &e))?;
        let beyond = metadata.len().saturating_sub(scan.good_bytes);
        verified.files += 1;
        verified.damaged_bytes += scan.damaged_bytes;
        match Some(number) == numbers.last() {
            true => verified.torn_bytes += beyond,
            false => verified.damaged_bytes += beyond,
        }
        for (file, offset) in scan.moments.keys() {
            verified.decisions += read_block(dir, *file, *offset)?.len() as u64;
        }
    }
    Ok(verified)
}

/// Numbers of the files of a folder, in order.
fn numbers(dir: &Path) -> Result<Vec<u64>, FeedbackError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| FeedbackError::io("listing", dir, &e))?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| FeedbackError::io("listing", dir, &e))?;
        numbers.extend(number_of(&entry.file_name().to_string_lossy()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads one decision.
pub(crate) fn read(dir: &Path, id: &DecisionId, location: Location) -> Result<StoredDecision, FeedbackError> {
    let decisions = read_block(dir, location.file, location.offset)?;
    match decisions.into_iter().nth(location.line as usize) {
        Some(stored) if stored.decision.decision_id == *id => Ok(stored),
        _ => {
            let reason = format!("decision {id} is not there");
            Err(FeedbackError::damaged(
                &path_of(dir, location.file),
                location.offset,
                reason,
            ))
        }
    }
}
