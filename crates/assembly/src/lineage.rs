//! How each snapshot came about: a journal of steps, by which any of them can be made again.
//!
//! A segment is a file of lines, each a checksum and a step as JSON. It begins with the models of a bundle, or with none, and goes on with what they took in.
//! A step is named by its segment and its place in it. A line is handed to the operating system before the snapshot answers anything, so
//! that it outlives the process; [`Lineage::sync`] brings it to the disk.

use crate::ServiceError;
use crate::exposures::Prices;
use crate::learned::Learned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Places in a segment.
const PLACES: u64 = 1 << 32;

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub(crate) enum Step {
    /// Models of a bundle, or none, under a configuration.
    Open {
        bundle: Option<u64>,
        config: String,
        code: String,
    },
    /// Changes of the catalogue after `from` taken into the models.
    Items { from: u64 },
    /// Events taken into the models: from the first to the last, so many that count.
    Absorb { first: u64, last: u64, count: u64 },
    /// Items known from events alone.
    See,
    /// Somebody was taken out of the models.
    Erase,
}

/// A step, and what the snapshot had after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) step: u64,
    #[serde(flatten)]
    pub(crate) did: Step,
    /// Items, and the checksum of their ids.
    pub(crate) items: u64,
    pub(crate) digest: u32,
    /// Revision of the catalogue.
    pub(crate) catalogue: u64,
    pub(crate) absorbed: u64,
    /// Prices of exposure from here on, where they are others than after the step before; a segment begins with none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prices: Option<Prices>,
    /// Checksum of what was counted in segments, if there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) segments: Option<u64>,
}

/// Segment of a step.
pub(crate) fn segment_of(step: u64) -> u64 {
    step / PLACES
}

struct Writing {
    segment: u64,
    places: u64,
    file: Option<File>,
    /// As of the last step.
    prices: Prices,
    unsynced: bool,
    error: Option<String>,
}

/// The journal of a data folder.
pub(crate) struct Lineage {
    dir: PathBuf,
    writing: Mutex<Writing>,
}

fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("lineage-{segment:08}.jsonl"))
}

impl Lineage {
    /// Opens the journal, making its folder if it is not there. The first step must be [`Step::Open`].
    pub(crate) fn open(dir: &Path) -> Result<Lineage, ServiceError> {
        fs::create_dir_all(dir).map_err(|e| ServiceError::io("creating", dir, e))?;
        let segment = segments(dir)?.last().copied().unwrap_or(0);
        Ok(Lineage {
            dir: dir.to_owned(),
            writing: Mutex::new(Writing {
                segment,
                places: 0,
                file: None,
                prices: Prices::new(),
                unsynced: false,
                error: None,
            }),
        })
    }

    /// Writes a step down and names it. A disk that refuses is told of in [`error`](Self::error): decisions that follow cannot be replayed.
    pub(crate) fn note(
        &self,
        did: Step,
        of: &crate::catalogue::LiveCatalogue,
        absorbed: domain::Sequence,
        learned: &Learned,
    ) -> u64 {
        let (prices, segments) = (&*learned.prices, &learned.segments);
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(did, Step::Open { .. }) {
            writing.segment += 1;
            writing.places = 0;
            writing.prices.clear();
            let path = path(&self.dir, writing.segment);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => writing.file = Some(file),
                Err(error) => writing.error = Some(format!("creating {}: {error}", path.display())),
            }
        }
        let step = writing.segment * PLACES + writing.places;
        let entry = Entry {
            step,
            did,
            items: of.len() as u64,
            digest: of.digest,
            catalogue: of.revision,
            absorbed: absorbed.0,
            prices: (writing.prices != *prices).then(|| prices.clone()),
            segments: (!segments.is_empty()).then(|| segments.digest()),
        };
        if entry.prices.is_some() {
            writing.prices.clone_from(prices);
        }
        writing.places += 1;
        writing.unsynced = true;
        let json = serde_json::to_string(&entry).unwrap_or_default();
        let line = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
        let written = writing.file.as_mut().map(|file| file.write_all(line.as_bytes()));
        if let Some(Err(error)) = written {
            tracing::error!("the lineage of a snapshot could not be written: {error}");
            writing.file = None;
            writing.error = Some(error.to_string());
        }
        step
    }

    /// Brings what is written to the disk.
    pub(crate) fn sync(&self) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut writing.unsynced) {
            return;
        }
        if let Some(Err(error)) = writing.file.as_ref().map(File::sync_data) {
            writing.error = Some(error.to_string());
        }
    }

    /// Why steps are not written any more, if so.
    pub(crate) fn error(&self) -> Option<String> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        writing.error.clone()
    }

    /// The steps of a segment, as far as they are whole; `None` if it is not kept.
    pub(crate) fn read(&self, segment: u64) -> Result<Option<Vec<Entry>>, ServiceError> {
        let path = path(&self.dir, segment);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ServiceError::io("reading", &path, e)),
        };
        Ok(Some(text.lines().map_while(entry).collect()))
    }

    /// Prices of exposure as of the last step of the last segment. Ask before the first step is noted.
    pub(crate) fn last_prices(&self) -> Result<Prices, ServiceError> {
        let segment = self
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .segment;
        let entries = self.read(segment)?.unwrap_or_default();
        Ok(entries
            .into_iter()
            .rev()
            .find_map(|entry| entry.prices)
            .unwrap_or_default())
    }

    /// Removes segments, but not the last, whose bundles are not there any more, and those without models before them. Gives the oldest
    /// revision of the catalogue that the others begin with.
    pub(crate) fn prune(&self, has_bundle: &dyn Fn(u64) -> bool) -> Result<Option<u64>, ServiceError> {
        let all = segments(&self.dir)?;
        let current = self
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .segment;
        let mut firsts = Vec::new();
        for segment in all {
            let first = self.read(segment)?.and_then(|entries| entries.into_iter().next());
            firsts.push((segment, first));
        }
        let is_gone = |first: &Option<Entry>| match first {
            Some(Entry {
                did: Step::Open {
                    bundle: Some(bundle), ..
                },
                ..
            }) => !has_bundle(*bundle),
            _ => false,
        };
        let last_gone = firsts.iter().rposition(|(_, first)| is_gone(first));
        let mut oldest = None;
        for (at, (segment, first)) in firsts.iter().enumerate() {
            let without = matches!(
                first,
                Some(Entry {
                    did: Step::Open { bundle: None, .. },
                    ..
                }) | None
            );
            let goes = is_gone(first) || (without && last_gone.is_some_and(|gone| at < gone));
            if goes && *segment != current {
                let path = path(&self.dir, *segment);
                fs::remove_file(&path).map_err(|e| ServiceError::io("removing", &path, e))?;
            } else if let Some(first) = first {
                oldest = Some(oldest.map_or(first.catalogue, |least: u64| least.min(first.catalogue)));
            }
        }
        Ok(oldest)
    }
}

/// A line of a journal, if it is what was written.
fn entry(line: &str) -> Option<Entry> {
    let (checksum, json) = line.split_once(' ')?;
    let right = u32::from_str_radix(checksum, 16).ok()? == crc32fast::hash(json.as_bytes());
    serde_json::from_str(json).ok().filter(|_| right)
}

/// Reads all journals of a folder; says what there is, or what is not whole. The last line of the last one may be torn.
pub(crate) fn check(dir: &Path) -> Result<String, String> {
    let segments = if dir.exists() {
        segments(dir).map_err(|e| e.to_string())?
    } else {
        Vec::new()
    };
    let mut steps = 0;
    for segment in &segments {
        let path = path(dir, *segment);
        let text = fs::read_to_string(&path).map_err(|e| format!("reading {}: {e}", path.display()))?;
        for (at, line) in text.split_inclusive('\n').enumerate() {
            let torn = Some(segment) == segments.last() && !line.ends_with('\n');
            if entry(line.trim_end()).is_none() && !torn {
                return Err(format!(
                    "{}: line {} is not what was written: decisions made after it until the next start cannot be replayed",
                    path.display(),
                    at + 1
                ));
            }
            steps += 1;
        }
    }
    Ok(format!("{steps} steps in {} journals", segments.len()))
}

fn segments(dir: &Path) -> Result<Vec<u64>, ServiceError> {
    let entries = fs::read_dir(dir).map_err(|e| ServiceError::io("listing", dir, e))?;
    let mut found: Vec<u64> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let number = name.to_str()?.strip_prefix("lineage-")?.strip_suffix(".jsonl")?;
            number.parse().ok()
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}
