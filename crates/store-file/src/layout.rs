//! Names of the files of a log, and how they are replaced.

use crate::errors::io;
use domain::StoreError;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) const LOCK: &str = "LOCK";
const TEMPORARY: &str = "tmp";

/// Files of one segment as found in the folder.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) log: bool,
    pub(crate) seal: bool,
    pub(crate) generations: Vec<u64>,
}

/// What lies in the folder: segments by the sequence before their first, and leftovers of crashes.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) segments: BTreeMap<u64, Found>,
    pub(crate) temporary: Vec<PathBuf>,
}

pub(crate) fn log_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{:020}.log", base + 1))
}

pub(crate) fn seal_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{:020}.seal", base + 1))
}

pub(crate) fn parquet_path(dir: &Path, base: u64, generation: u64) -> PathBuf {
    dir.join(format!("{:020}.{generation}.parquet", base + 1))
}

pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    path.with_file_name(name)
}

/// Reads the folder. Files with names that are not ours are left alone.
pub(crate) fn list(dir: &Path) -> Result<Listing, StoreError> {
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(dir).map_err(io("reading", dir))? {
        let path = entry.map_err(io("reading", dir))?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            continue;
        };
        let parts: Vec<&str> = name.split('.').collect();
        let Some(base) = parts
            .first()
            .filter(|digits| digits.len() == 20)
            .and_then(|digits| digits.parse::<u64>().ok())
            .and_then(|first| first.checked_sub(1))
        else {
            continue;
        };
        match parts[1..] {
            [.., TEMPORARY] => listing.temporary.push(path.clone()),
            ["log"] => listing.segments.entry(base).or_default().log = true,
            ["seal"] => listing.segments.entry(base).or_default().seal = true,
            [generation, "parquet"] => {
                if let Ok(generation) = generation.parse() {
                    listing
                        .segments
                        .entry(base)
                        .or_default()
                        .generations
                        .push(generation);
                }
            }
            _ => {}
        }
    }
    Ok(listing)
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(io("flushing", dir))
}

/// Flushes the folder that holds `path`.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// Gives a flushed temporary file its name, durably.
pub(crate) fn publish(path: &Path) -> Result<(), StoreError> {
    std::fs::rename(temporary(path), path).map_err(io("renaming", path))?;
    sync_parent(path)
}

/// Writes a small file whole.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary(path);
    let mut file = File::create(&temporary).map_err(io("creating", &temporary))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(io("writing", &temporary))?;
    publish(path)
}

pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("removing", path)(error)),
        _ => Ok(()),
    }
}

pub(crate) fn open_for_writing(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(io("opening", path))
}
