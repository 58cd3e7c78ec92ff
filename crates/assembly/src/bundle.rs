//! Published models on disk: one file per bundle, checksummed, written beside and renamed into
//! place, so that a crash leaves the previous one.

use crate::ServiceError;
use domain::{Sequence, Timestamp};
use models::{Model, Staleness};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// First bytes of a bundle.
const MAGIC: &[u8; 8] = b"CNCGBND1";

/// What is known of a bundle besides its model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BundleInfo {
    pub(crate) number: u64,
    pub(crate) absorbed: Sequence,
    pub(crate) trained_at: Timestamp,
    pub(crate) events: u64,
    /// Revision of the catalogue that the models have taken in; absent in bundles of older versions.
    #[serde(default)]
    pub(crate) catalogue: Option<u64>,
    /// Content learnt from, in entries; 0 in bundles of before it was kept.
    #[serde(default)]
    pub(crate) entries: f64,
    pub(crate) config: serde_json::Value,
}

impl BundleInfo {
    /// How stale its models are when they come from the training.
    pub(crate) fn staleness(&self) -> Staleness {
        let entries = if self.entries > 0.0 {
            self.entries
        } else {
            self.events as f64
        };
        Staleness {
            trained: entries,
            moved: 0.0,
        }
    }
}

/// Says what has been erased since a bundle was trained, which still has it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Erased {
    bundle: u64,
    entries: f64,
}

const ERASED: &str = "erased.json";

/// Content erased since this bundle was trained, in entries.
pub(crate) fn erased(dir: &Path, bundle: u64) -> f64 {
    let noted = fs::read(dir.join(ERASED))
        .ok()
        .and_then(|text| serde_json::from_slice::<Erased>(&text).ok());
    noted
        .filter(|noted| noted.bundle == bundle)
        .map_or(0.0, |noted| noted.entries.max(0.0))
}

/// Adds to it. Written beside and renamed into place.
pub(crate) fn note_erased(dir: &Path, bundle: u64, entries: f64) -> Result<(), ServiceError> {
    if entries <= 0.0 {
        return Ok(());
    }
    let noted = Erased {
        bundle,
        entries: erased(dir, bundle) + entries,
    };
    let (path, beside) = (dir.join(ERASED), dir.join("erased.json.tmp"));
    let text = serde_json::to_vec(&noted).unwrap_or_default();
    fs::write(&beside, text)
        .and_then(|()| File::open(&beside)?.sync_all())
        .and_then(|()| fs::rename(&beside, &path))
        .map_err(|e| ServiceError::io("writing", &path, e))
}

fn file_name(number: u64) -> String {
    format!("bundle-{number:08}.cncg")
}

/// Where a bundle lies.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(file_name(number))
}

/// Numbers of the bundles in a folder, ascending.
pub(crate) fn numbers(dir: &Path) -> Result<Vec<u64>, ServiceError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).map_err(|e| ServiceError::io("listing", dir, e))?;
    let mut found: Vec<u64> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?
                .strip_prefix("bundle-")?
                .strip_suffix(".cncg")?
                .parse()
                .ok()
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Writes a bundle; durable on return. Then removes the oldest beyond the newest `keep` until all take at most `keep_bytes`.
pub(crate) fn publish(
    dir: &Path,
    info: &BundleInfo,
    models: &[&dyn Model],
    keep: usize,
    keep_bytes: u64,
) -> Result<u64, ServiceError> {
    fs::create_dir_all(dir).map_err(|e| ServiceError::io("creating", dir, e))?;
    let head = serde_json::to_vec(info).expect("the head has no maps with odd keys");
    let mut payload = Vec::new();
    payload.extend((head.len() as u32).to_le_bytes());
    payload.extend(head);
    for model in models {
        let mut bytes = Vec::new();
        model.save(&mut bytes);
        payload.extend((bytes.len() as u64).to_le_bytes());
        payload.extend(bytes);
    }
    let path = dir.join(file_name(info.number));
    let beside = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(MAGIC)?;
        file.write_all(&crc32fast::hash(&payload).to_le_bytes())?;
        file.write_all(&(payload.len() as u64).to_le_bytes())?;
        file.write_all(&payload)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| ServiceError::io("writing", &path, e))?;
    let all = numbers(dir)?;
    let bytes = |number: &u64| fs::metadata(dir.join(file_name(*number))).map_or(0, |found| found.len());
    let mut total: u64 = all.iter().map(bytes).sum();
    for number in all.iter().take(all.len().saturating_sub(keep)) {
        if total <= keep_bytes {
            break;
        }
        total -= bytes(number);
        let old = dir.join(file_name(*number));
        fs::remove_file(&old).map_err(|e| ServiceError::io("removing", &old, e))?;
    }
    Ok(payload.len() as u64)
}

/// Reads one bundle.
///
/// # Errors
/// What is wrong with the file, in words.
pub(crate) fn read(path: &Path) -> Result<Loaded, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let payload = bytes.get(20..).ok_or("too short")?;
    if &bytes[..8] != MAGIC {
        return Err("not a bundle of models".into());
    }
    let crc = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    let len = u64::from_le_bytes(bytes[12..20].try_into().expect("eight bytes"));
    if len != payload.len() as u64 {
        return Err(format!("{} bytes of payload, {len} were written", payload.len()));
    }
    if crc32fast::hash(payload) != crc {
        return Err("the checksum does not match".into());
    }
    let mut rest = payload;
    let head_len = take(&mut rest, 4).ok_or("no head")?;
    let head_len = u32::from_le_bytes(head_len.try_into().expect("four bytes")) as usize;
    let head = take(&mut rest, head_len).ok_or("the head is cut")?;
    let info = serde_json::from_slice(head).map_err(|e| e.to_string())?;
    let mut models = Vec::new();
    while !rest.is_empty() {
        let len = take(&mut rest, 8).ok_or("a length is cut")?;
        let len = u64::from_le_bytes(len.try_into().expect("eight bytes"));
        let len = usize::try_from(len).map_err(|e| e.to_string())?;
        let bytes = take(&mut rest, len).ok_or("a model is cut")?;
        models.push(models::load(bytes).map_err(|e| e.to_string())?);
    }
    if models.is_empty() {
        return Err("no models".into());
    }
    Ok((info, models))
}

/// What is known of a bundle, from its head alone.
pub(crate) fn info(path: &Path) -> Result<BundleInfo, String> {
    let fail = |e: std::io::Error| e.to_string();
    let mut file = File::open(path).map_err(fail)?;
    let mut head = [0; 24];
    file.read_exact(&mut head).map_err(fail)?;
    let len = u32::from_le_bytes([head[20], head[21], head[22], head[23]]);
    let mut json = Vec::new();
    file.take(u64::from(len)).read_to_end(&mut json).map_err(fail)?;
    serde_json::from_slice(&json).map_err(|e| e.to_string())
}

/// Cuts `n` bytes off the front.
fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

/// A bundle as read: its models, the ranking one first.
pub(crate) type Loaded = (BundleInfo, Vec<Box<dyn Model>>);

/// The newest bundle that is whole, and what was wrong with newer ones.
pub(crate) fn newest(dir: &Path) -> Result<(Option<Loaded>, Vec<String>), ServiceError> {
    let mut warnings = Vec::new();
    for number in numbers(dir)?.into_iter().rev() {
        let path: PathBuf = dir.join(file_name(number));
        match read(&path) {
            Ok(loaded) => return Ok((Some(loaded), warnings)),
            Err(reason) => warnings.push(format!("{} is passed over: {reason}", path.display())),
        }
    }
    Ok((None, warnings))
}
