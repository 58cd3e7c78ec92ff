//! The note beside a sealed segment: what its Parquet file must be.

use crate::errors::{damaged, io};
use domain::StoreError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(crate) const FORMAT: u32 = 1;

/// What a sealed segment is. Its text form is one line of JSON and one with the CRC-32 of the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    pub(crate) format: u32,
    /// Generation of the Parquet file; erasure makes the next.
    pub(crate) generation: u64,
    /// Sequence before the first.
    pub(crate) base: u64,
    /// Last sequence covered.
    pub(crate) last: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
}

impl Note {
    pub(crate) fn to_text(&self) -> String {
        let json = serde_json::to_string(self).expect("a struct of numbers has a JSON form");
        format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()))
    }

    pub(crate) fn read(path: &Path, base: u64) -> Result<Note, StoreError> {
        let bytes = std::fs::read(path).map_err(io("reading", path))?;
        let note = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.lines().next())
            .and_then(|json| serde_json::from_str::<Note>(json).ok())
            .filter(|note| note.to_text().as_bytes() == bytes)
            .ok_or_else(|| damaged(path, 0, "its checksum does not hold"))?;
        if note.format != FORMAT {
            let reason = format!(
                "its format is version {}, this program reads {FORMAT}",
                note.format
            );
            return Err(damaged(path, 0, reason));
        }
        if note.base != base || note.last < base {
            return Err(damaged(
                path,
                0,
                "it is not that of the segment that its name says",
            ));
        }
        Ok(note)
    }

    /// Compares the Parquet file, read whole, with what it must be.
    pub(crate) fn verify(&self, path: &Path) -> Result<(), StoreError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged(path, 0, "it is missing"),
            _ => io("opening", path)(error),
        })?;
        self.verify_file(&file, path)
    }

    /// As [`Note::verify`], of a file that is open.
    pub(crate) fn verify_file(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        let (mut hasher, mut bytes) = (crc32fast::Hasher::new(), 0u64);
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = file.read_at(&mut buffer, bytes).map_err(io("reading", path))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            bytes += count as u64;
        }
        if bytes != self.bytes {
            let reason = format!("it has {bytes} bytes, {} were written", self.bytes);
            return Err(damaged(path, bytes.min(self.bytes), reason));
        }
        if hasher.finalize() != self.crc32 {
            return Err(damaged(path, 0, "its checksum does not hold"));
        }
        Ok(())
    }
}
