//! Copying and checking a log that is in use.

use crate::errors::{damaged, io};
use crate::layout;
use crate::log::{Body, FileEventLog, Segment, VerifyReport, lock};
use crate::note::Note;
use crate::recover::for_each;
use domain::StoreError;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

impl std::fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let VerifyReport {
            segments,
            sealed,
            events,
            bytes,
        } = self;
        write!(
            f,
            "{events} events in {segments} segments ({sealed} sealed), {bytes} bytes"
        )
    }
}

impl FileEventLog {
    /// Reads everything that is stored and compares it with its checksums.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the first file that is not what was written.
    pub fn verify(&self) -> Result<VerifyReport, StoreError> {
        let _maintenance = lock(&self.shared.maintenance);
        let segments = self.shared.read().segments.clone();
        let mut report = VerifyReport::default();
        for segment in &segments {
            let before = report.events;
            report.segments += 1;
            match &segment.body {
                Body::Sealed(note) => {
                    let path = layout::seal_path(&self.shared.dir, segment.base);
                    if Note::read(&path, segment.base)? != *note {
                        return Err(damaged(&path, 0, "it is not the note that was written"));
                    }
                    report.sealed += 1;
                    report.bytes += note.bytes;
                }
                Body::Log { end, .. } => report.bytes += end,
            }
            for_each(segment, &mut |_, _| {
                report.events += 1;
                Ok(())
            })?;
            let rows = report.events - before;
            if rows != segment.rows {
                let reason = format!("it has {rows} events, {} were written", segment.rows);
                return Err(damaged(&segment.path, 0, reason));
            }
        }
        Ok(report)
    }

    /// Writes a copy, as of now, into a folder that is empty or not there yet; durable on return.
    ///
    /// # Errors
    /// [`StoreError::Input`] if the folder is not empty, [`StoreError::Damaged`] if what would be copied is not
    /// what was written, [`StoreError::Io`] if the disk refuses.
    pub fn backup_to(&self, to: &Path) -> Result<(), StoreError> {
        std::fs::create_dir_all(to).map_err(io("creating", to))?;
        let mut entries = std::fs::read_dir(to).map_err(io("reading", to))?;
        if entries.next().is_some() {
            return Err(StoreError::Input {
                field: "to".into(),
                got: format!("{}, which is not empty", to.display()),
                expected: "an empty folder".into(),
            });
        }
        let _maintenance = lock(&self.shared.maintenance);
        let segments = self.shared.read().segments.clone();
        for segment in &segments {
            copy_segment(to, segment)?;
        }
        layout::sync_dir(to)?;
        layout::sync_parent(to)
    }
}

/// Copies a segment and reads the copy.
fn copy_segment(to: &Path, segment: &Segment) -> Result<(), StoreError> {
    let name = segment.path.file_name().unwrap_or_default();
    let (from, target) = (&segment.path, to.join(name));
    match &segment.body {
        Body::Sealed(note) => {
            std::fs::copy(from, &target).map_err(io("copying to", &target))?;
            let flushed = File::open(&target).and_then(|file| file.sync_all());
            flushed.map_err(io("flushing", &target))?;
            if let Err(error) = note.verify(&target) {
                note.verify(from)?;
                return Err(error);
            }
            layout::replace(&layout::seal_path(to, segment.base), note.to_text().as_bytes())
        }
        Body::Log { file, end } => {
            copy_bytes(file, *end, &target).map_err(io("copying to", &target))?;
            for_each(segment, &mut |_, _| Ok(()))?;
            let copy = Segment {
                path: target.clone(),
                body: Body::Log {
                    file: Arc::new(layout::open_for_writing(&target)?),
                    end: *end,
                },
                ..segment.clone()
            };
            for_each(&copy, &mut |_, _| Ok(()))
        }
    }
}

fn copy_bytes(from: &File, end: u64, to: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(to)?);
    let mut buffer = vec![0; 1 << 18];
    let mut at = 0;
    while at < end {
        let count = (end - at).min(buffer.len() as u64) as usize;
        from.read_exact_at(&mut buffer[..count], at)?;
        out.write_all(&buffer[..count])?;
        at += count as u64;
    }
    out.into_inner()
        .map_err(std::io::IntoInnerError::into_error)?
        .sync_all()
}
