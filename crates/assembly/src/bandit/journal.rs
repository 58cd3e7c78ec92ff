//! What a placement learnt from, in the order in which it did, so that any past belief can be made again.
//!
//! A generation is two files: the learner as it was when the generation began, and a journal of batches, each the decisions and rewards that one step of learning took in. A
//! belief is named by its generation and its place in it. A batch is handed to the operating system before anybody believes it, so it outlives the process; what the machine loses with its power is
//! learnt again from the logs, in a generation of its own: whenever the folder is opened, a new one begins, and no name is ever given twice.
//!
//! Layout, integers little-endian: `NAME-HASH-GENERATION.state` is a line `crc32 began\n` (in hexadecimal, and milliseconds since 1970) and a zstd frame of JSON, `….journal` frames of
//! `length u32, crc32 u32, zstd of JSON`.
//!
//! Someone who is erased takes the generations with them that know them; others go when no decision is kept that was made under them.

use super::config::BanditConfig;
use super::learner::{Belief, Learner, Made, Reward};
use crate::ServiceError;
use domain::{Sequence, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Places in a generation.
const PLACES: u64 = 1 << 32;
/// A journal longer than this, and than four times its state, ends its generation.
const BYTES_MAX: u64 = 16 << 20;
/// So does one that is older than this, if it is a quarter of its state or more.
const AGE_MAX_MS: i64 = 24 * 3_600_000;
const HEAD_BYTES: usize = 8;

/// What was taken in at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// The number of the event log up to which this is everything.
    pub(crate) sequence: Sequence,
    pub(crate) made: Vec<Made>,
    /// What counted of what was told.
    pub(crate) rewards: Vec<Reward>,
}

/// Files of a placement begin like this: its name may have letters that a file's may not.
fn stem(placement: &str) -> String {
    let plain: String = placement
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(64)
        .collect();
    format!("{plain}-{:08x}", crc32fast::hash(placement.as_bytes()))
}

fn path(dir: &Path, stem: &str, generation: u64, kind: &str) -> PathBuf {
    dir.join(format!("{stem}-{generation:010}.{kind}"))
}

/// Generations by stem, of all that is in a folder.
fn generations(dir: &Path) -> Result<BTreeMap<String, BTreeSet<u64>>, ServiceError> {
    let mut found: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(e) => return Err(ServiceError::io("listing", dir, e)),
    };
    for entry in entries {
        let name = entry
            .map_err(|e| ServiceError::io("listing", dir, e))?
            .file_name();
        let parts = name.to_str().and_then(|name| name.strip_suffix(".state"));
        let parts = parts.and_then(|name| name.rsplit_once('-'));
        if let Some((stem, Ok(generation))) = parts.map(|(stem, number)| (stem, number.parse())) {
            found.entry(stem.to_owned()).or_default().insert(generation);
        }
    }
    Ok(found)
}

fn parse<T: for<'a> Deserialize<'a>>(zipped: &[u8]) -> Result<T, String> {
    let json = zstd::decode_all(zipped).map_err(|e| e.to_string())?;
    serde_json::from_slice(&json).map_err(|e| e.to_string())
}

fn zipped(value: &impl Serialize) -> Result<Vec<u8>, String> {
    let json = serde_json::to_vec(value).map_err(|e| e.to_string())?;
    zstd::encode_all(&json[..], 1).map_err(|e| e.to_string())
}

/// When a generation began, and its learner then.
fn state(path: &Path) -> Result<Option<(Timestamp, Vec<u8>)>, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    let damaged = || format!("{}: damaged", path.display());
    let end = bytes.iter().take(64).position(|byte| *byte == b'\n');
    let (line, body) = bytes.split_at(end.ok_or_else(damaged)?);
    let (crc, began) = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.split_once(' '))
        .ok_or_else(damaged)?;
    let body = &body[1..];
    let began: i64 = began.parse().map_err(|_| damaged())?;
    if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(body)) {
        return Err(damaged());
    }
    Ok(Some((Timestamp(began), body.to_vec())))
}

/// A learner as it was at the beginning of a generation, and the batches after it.
struct Reading {
    learner: Learner,
    generation: u64,
    place: u64,
    batches: Vec<u8>,
    at: usize,
}

impl Reading {
    /// Begins to read a generation; `None` if it is not kept.
    fn begin(dir: &Path, stem: &str, generation: u64) -> Result<Option<Reading>, String> {
        let of = path(dir, stem, generation, "state");
        let Some((_, body)) = state(&of)? else {
            return Ok(None);
        };
        let learner: Learner = parse(&body).map_err(|e| format!("{}: {e}", of.display()))?;
        let of = path(dir, stem, generation, "journal");
        let batches = match fs::read(&of) {
            Ok(batches) => batches,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(format!("{}: {e}", of.display())),
        };
        Ok(Some(Reading {
            learner: learner.indexed(),
            generation,
            place: 0,
            batches,
            at: 0,
        }))
    }

    /// The next batch, if there is a whole one.
    fn batch(&mut self) -> Option<Batch> {
        let rest = &self.batches[self.at..];
        let (head, rest) = rest.split_first_chunk::<HEAD_BYTES>()?;
        let [a, b, c, d, e, f, g, h] = *head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let body = rest.get(..length)?;
        if crc32fast::hash(body) != u32::from_le_bytes([e, f, g, h]) {
            return None;
        }
        let batch = parse(body).ok()?;
        self.at += HEAD_BYTES + length;
        Some(batch)
    }

    /// Takes in batches up to a place, or all there are; true if it is reached.
    fn advance(&mut self, place: u64) -> bool {
        while self.place < place {
            let Some(batch) = self.batch() else {
                return false;
            };
            self.learner.take_in(&batch);
            self.place += 1;
        }
        true
    }

    fn knows(&mut self, user: &UserId) -> bool {
        let mut known = self.learner.knows_user(user);
        while let (false, Some(batch)) = (known, self.batch()) {
            known = batch.made.iter().any(|made| made.is_of(user));
        }
        known
    }
}

/// The learner of a placement as the folder has it; `None` if there is none, or it was learnt under another configuration.
pub(crate) fn read(dir: &Path, placement: &str, config: &BanditConfig) -> Result<Option<Learner>, String> {
    let stem = stem(placement);
    let all = generations(dir).map_err(|e| e.to_string())?;
    let Some(last) = all.get(&stem).and_then(BTreeSet::last) else {
        return Ok(None);
    };
    let reading = Reading::begin(dir, &stem, *last)?;
    let Some(mut reading) = reading.filter(|reading| reading.learner.is_under(config)) else {
        return Ok(None);
    };
    reading.advance(u64::MAX);
    Ok(Some(reading.learner))
}

/// Past beliefs of placements, each as far as it was last asked for: cheap if asked in order.
pub(crate) struct PastLearners<'a> {
    dir: &'a Path,
    of: BTreeMap<String, (Reading, Option<Arc<Belief>>)>,
}

impl<'a> PastLearners<'a> {
    pub(crate) fn new(dir: &'a Path) -> PastLearners<'a> {
        PastLearners {
            dir,
            of: BTreeMap::new(),
        }
    }

    /// What a placement believed under a number; or why that is not there.
    pub(crate) fn belief(&mut self, placement: &str, number: u64) -> Result<Arc<Belief>, String> {
        let (generation, place) = (number / PLACES, number % PLACES);
        let is_behind = |known: &Reading| known.generation == generation && known.place <= place;
        if !self.of.get(placement).is_some_and(|(known, _)| is_behind(known)) {
            let reading = Reading::begin(self.dir, &stem(placement), generation)?.ok_or(
                "what the placement had learnt by then is not kept any more: its time is over, or someone was erased whose decisions it had learnt from",
            )?;
            self.of.insert(placement.to_owned(), (reading, None));
        }
        let (reading, belief) = self.of.get_mut(placement).ok_or("nothing is kept")?;
        if let Some(belief) = belief.as_ref().filter(|belief| belief.number == number) {
            return Ok(belief.clone());
        }
        if !reading.advance(place) {
            return Err("what the placement learnt next was lost with the machine that wrote it".to_owned());
        }
        let made = Arc::new(reading.learner.belief(number));
        *belief = Some(made.clone());
        Ok(made)
    }
}

/// The generation that is being written.
pub(crate) struct Journal {
    dir: PathBuf,
    stem: String,
    generation: u64,
    began: Timestamp,
    places: u64,
    /// Absent if nothing can be written.
    file: Option<File>,
    bytes: u64,
    state_bytes: u64,
    unsynced: bool,
}

impl Journal {
    /// Begins a generation with this learner; on the disk when this returns.
    pub(crate) fn begin(
        dir: &Path,
        placement: &str,
        learner: &Learner,
        now: Timestamp,
    ) -> Result<Journal, ServiceError> {
        let fail = |e: std::io::Error| ServiceError::io("writing", dir, e);
        fs::create_dir_all(dir).map_err(fail)?;
        let stem = stem(placement);
        let last = generations(dir)?.get(&stem).and_then(BTreeSet::last).copied();
        // By the clock, so that a folder that was lost does not give its names again.
        let seconds = u64::try_from(now.0 / 1000).unwrap_or(0).min(PLACES - 1);
        let generation = seconds.max(last.unwrap_or(0) + 1);
        let body = zipped(learner).map_err(|e| fail(std::io::Error::other(e)))?;
        let mut bytes = format!("{:08x} {}\n", crc32fast::hash(&body), now.0).into_bytes();
        bytes.extend_from_slice(&body);
        // The journal first: a generation is there once its state is.
        let journal = path(dir, &stem, generation, "journal");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&journal)
            .map_err(fail)?;
        let target = path(dir, &stem, generation, "state");
        let temporary = target.with_extension("tmp");
        fs::write(&temporary, &bytes).map_err(fail)?;
        File::open(&temporary)
            .and_then(|file| file.sync_all())
            .map_err(fail)?;
        fs::rename(&temporary, &target).map_err(fail)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)?;
        Ok(Journal {
            dir: dir.to_owned(),
            stem,
            generation,
            began: now,
            places: 0,
            file: Some(file),
            bytes: 0,
            state_bytes: bytes.len() as u64,
            unsynced: false,
        })
    }

    /// The name of what is believed after the last batch; 0 if that could not be written.
    pub(crate) fn number(&self) -> u64 {
        match &self.file {
            Some(_) => self.generation * PLACES + self.places,
            None => 0,
        }
    }

    /// Appends a batch.
    ///
    /// # Errors
    /// The disk's. Nothing can be appended afterwards.
    pub(crate) fn append(&mut self, batch: &Batch) -> Result<(), ServiceError> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let written = zipped(batch).map_err(std::io::Error::other).and_then(|body| {
            let length = u32::try_from(body.len()).map_err(std::io::Error::other)?;
            let mut frame = length.to_le_bytes().to_vec();
            frame.extend(crc32fast::hash(&body).to_le_bytes());
            frame.extend(body);
            file.write_all(&frame).map(|()| frame.len() as u64)
        });
        let path = path(&self.dir, &self.stem, self.generation, "journal");
        self.bytes += written.map_err(|e| ServiceError::io("writing", &path, e))?;
        self.places += 1;
        self.unsynced = true;
        self.file = Some(file);
        Ok(())
    }

    /// True if another generation should begin.
    pub(crate) fn is_full(&self, now: Timestamp) -> bool {
        let is_old = now.0.saturating_sub(self.began.0) > AGE_MAX_MS && self.bytes * 4 >= self.state_bytes;
        self.file.is_none()
            || self.places + 1 == PLACES
            || self.bytes > BYTES_MAX.max(self.state_bytes * 4)
            || is_old
    }

    /// Takes the generation away if nothing was appended to it.
    pub(crate) fn remove_if_empty(&self) {
        if self.places == 0
            && let Err(error) = remove(&self.dir, &self.stem, self.generation)
        {
            tracing::warn!("a journal that nothing is in stays: {error}");
        }
    }

    /// Brings what is written to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), ServiceError> {
        if std::mem::take(&mut self.unsynced)
            && let Some(file) = &self.file
        {
            let path = path(&self.dir, &self.stem, self.generation, "journal");
            file.sync_data()
                .map_err(|e| ServiceError::io("syncing", &path, e))?;
        }
        Ok(())
    }

    /// Whether the generation that is being written is one of these.
    pub(crate) fn is_among(&self, those: &[(String, u64)]) -> bool {
        those
            .iter()
            .any(|(stem, generation)| self.is_of(stem, *generation))
    }

    fn is_of(&self, stem: &str, generation: u64) -> bool {
        self.stem == stem && self.generation == generation
    }
}

fn remove(dir: &Path, stem: &str, generation: u64) -> Result<(), ServiceError> {
    for kind in ["state", "journal"] {
        let path = path(dir, stem, generation, kind);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(ServiceError::io("removing", &path, e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Generations that know someone. What cannot be read cannot be known not to, and counts.
pub(crate) fn knowing(dir: &Path, user: &UserId) -> Result<Vec<(String, u64)>, ServiceError> {
    let mut found = Vec::new();
    for (stem, all) in generations(dir)? {
        for generation in all {
            let known = match Reading::begin(dir, &stem, generation) {
                Ok(None) => false,
                Ok(Some(mut reading)) => reading.knows(user),
                Err(reason) => {
                    tracing::warn!("{reason}: removed with someone who was erased");
                    true
                }
            };
            if known {
                found.push((stem.clone(), generation));
            }
        }
    }
    Ok(found)
}

/// Removes generations, but for those that are being written.
pub(crate) fn remove_all(
    dir: &Path,
    those: &[(String, u64)],
    written: &[&Journal],
) -> Result<(), ServiceError> {
    for (stem, generation) in those {
        if !written.iter().any(|journal| journal.is_of(stem, *generation)) {
            remove(dir, stem, *generation)?;
        }
    }
    Ok(())
}

/// Removes generations that ended before the oldest decision that is kept.
pub(crate) fn prune(dir: &Path, oldest: Timestamp) -> Result<(), ServiceError> {
    for (stem, all) in generations(dir)? {
        let pairs: Vec<(u64, u64)> = all.iter().copied().zip(all.iter().copied().skip(1)).collect();
        for (generation, next) in pairs {
            match state(&path(dir, &stem, next, "state")) {
                Ok(Some((began, _))) if began < oldest => remove(dir, &stem, generation)?,
                _ => break,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const OFFER: &str = "offer/one";

    fn learner() -> Learner {
        let config: BanditConfig =
            serde_json::from_str(r#"{ "learner": "counts", "rewards": { "click": 1.0 } }"#).unwrap();
        Learner::new(&config).unwrap()
    }

    /// A batch of one decision, and the learner after it.
    fn step(journal: &mut Journal, learner: &mut Learner, round: u64) -> u64 {
        let json = format!(
            r#"{{ "id": "d{round}", "now": {round}, "seed": 1, "user": "someone", "own": [1.0], "shown": [["item", []]] }}"#
        );
        let batch = Batch {
            sequence: Sequence(round),
            made: vec![serde_json::from_str(&json).unwrap()],
            rewards: Vec::new(),
        };
        learner.take_in(&batch);
        journal.append(&batch).unwrap();
        journal.number()
    }

    fn numbers(dir: &Path) -> Vec<u64> {
        generations(dir).unwrap().into_values().flatten().collect()
    }

    #[test]
    fn beliefs_are_found_by_number_in_any_order_and_a_torn_batch_is_not_there() {
        let dir = TempDir::new().unwrap();
        let mut learner = learner();
        let (mut all, mut ends) = (Vec::new(), Vec::new());
        for generation in 0..3 {
            let mut journal = Journal::begin(dir.path(), OFFER, &learner, Timestamp(0)).unwrap();
            all.push((journal.number(), learner.trials()));
            for round in 1..5 {
                all.push((
                    step(&mut journal, &mut learner, generation * 10 + round),
                    learner.trials(),
                ));
                ends.push(journal.bytes as usize);
            }
        }
        let unique: BTreeSet<u64> = all.iter().map(|(number, _)| *number).collect();
        assert_eq!(unique.len(), 15);
        let mut past = PastLearners::new(dir.path());
        for at in [14, 0, 7, 7, 3, 4, 9, 5, 13] {
            let (number, trials) = all[at];
            let belief = past.belief(OFFER, number).unwrap();
            assert_eq!((belief.number, belief.trials), (number, trials));
        }
        assert!(past.belief("other", all[3].0).is_err());
        let path = path(dir.path(), &stem(OFFER), 2, "journal");
        let bytes = fs::read(&path).unwrap();
        // However it is cut, the batches before the cut are there, and nothing else.
        for cut in 0..bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let mut past = PastLearners::new(dir.path());
            let there = (5..10)
                .take_while(|at| past.belief(OFFER, all[*at].0).is_ok())
                .count();
            let whole = ends[4..8].iter().filter(|end| **end <= cut).count();
            assert_eq!(there, 1 + whole, "cut at {cut}");
        }
    }

    #[test]
    fn names_are_not_given_again_when_the_folder_is_lost() {
        let dir = TempDir::new().unwrap();
        let first = Journal::begin(dir.path(), OFFER, &learner(), Timestamp(5_000)).unwrap();
        fs::remove_dir_all(dir.path()).unwrap();
        let second = Journal::begin(dir.path(), OFFER, &learner(), Timestamp(7_000)).unwrap();
        let third = Journal::begin(dir.path(), OFFER, &learner(), Timestamp(7_000)).unwrap();
        let all = [first, second, third].map(|journal| journal.number() / PLACES);
        assert_eq!(all, [5, 7, 8]);
    }

    #[test]
    fn a_generation_goes_when_no_decision_is_older_than_the_next() {
        let dir = TempDir::new().unwrap();
        for at in [1_000, 2_000, 3_000] {
            Journal::begin(dir.path(), OFFER, &learner(), Timestamp(at)).unwrap();
        }
        prune(dir.path(), Timestamp(2_000)).unwrap();
        assert_eq!(numbers(dir.path()), [1, 2, 3]);
        prune(dir.path(), Timestamp(2_001)).unwrap();
        assert_eq!(numbers(dir.path()), [2, 3]);
        prune(dir.path(), Timestamp(i64::MAX)).unwrap();
        assert_eq!(numbers(dir.path()), [3]);
    }

    #[test]
    fn generations_that_know_someone_are_found() {
        let dir = TempDir::new().unwrap();
        let mut learner = learner();
        Journal::begin(dir.path(), OFFER, &learner, Timestamp(1_000)).unwrap();
        let mut journal = Journal::begin(dir.path(), OFFER, &learner, Timestamp(2_000)).unwrap();
        step(&mut journal, &mut learner, 1);
        // In the state, as long as rewards may come.
        let journal = Journal::begin(dir.path(), OFFER, &learner, Timestamp(3_000)).unwrap();
        let known = |name: &str| {
            let found = knowing(dir.path(), &UserId::new(name).unwrap()).unwrap();
            found
                .into_iter()
                .map(|(_, generation)| generation)
                .collect::<Vec<_>>()
        };
        assert_eq!((known("someone"), known("other")), (vec![2, 3], vec![]));
        let found = knowing(dir.path(), &UserId::new("someone").unwrap()).unwrap();
        assert!(journal.is_among(&found));
        remove_all(dir.path(), &found, &[&journal]).unwrap();
        assert_eq!(numbers(dir.path()), [1, 3]);
    }
}
