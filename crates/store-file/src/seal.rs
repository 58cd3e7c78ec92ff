//! Closed segments become Parquet.

use crate::layout;
use crate::log::{Body, Segment, Shared, lock};
use crate::note::Note;
use crate::recover::for_each;
use crate::sealed::SealWriter;
use domain::StoreError;
use std::path::PathBuf;

impl Shared {
    /// Seals every closed segment.
    pub(crate) fn seal_closed(&self) -> Result<(), StoreError> {
        let _maintenance = lock(&self.maintenance);
        self.seal_all()
    }

    /// Call with `maintenance` held.
    pub(crate) fn seal_all(&self) -> Result<(), StoreError> {
        loop {
            let closed = {
                let state = self.read();
                let closed = state.segments.split_last().map_or(&[][..], |(_, closed)| closed);
                let is_log = |segment: &&Segment| matches!(segment.body, Body::Log { .. });
                closed.iter().find(is_log).cloned()
            };
            let Some(segment) = closed else {
                return Ok(());
            };
            let (note, path) = self.write_sealed(&segment, 1, &mut |_| true)?;
            self.put_sealed(&segment, note, path);
            layout::remove(&segment.path)?;
            layout::sync_dir(&self.dir)?;
        }
    }

    /// Writes the events of a segment that `keeps` admits by user as the given generation, and makes that
    /// the one that counts.
    pub(crate) fn write_sealed(
        &self,
        segment: &Segment,
        generation: u64,
        keeps: &mut dyn FnMut(&str) -> bool,
    ) -> Result<(Note, PathBuf), StoreError> {
        let path = layout::parquet_path(&self.dir, segment.base, generation);
        let mut writer = SealWriter::create(&layout::temporary(&path))?;
        for_each(segment, &mut |sequence, view| {
            if keeps(view.user_id) {
                writer.push(sequence, &view)?;
            }
            Ok(())
        })?;
        let note = writer.finish(generation, segment.base, segment.last)?;
        layout::publish(&path)?;
        layout::replace(
            &layout::seal_path(&self.dir, segment.base),
            note.to_text().as_bytes(),
        )?;
        Ok((note, path))
    }

    /// Readers see the sealed form from now on; those under way keep what they have open.
    pub(crate) fn put_sealed(&self, segment: &Segment, note: Note, path: PathBuf) {
        let mut state = self.write();
        if let Some(place) = state.segments.iter().position(|s| s.base == segment.base) {
            state.segments[place] = Segment {
                base: segment.base,
                last: segment.last,
                rows: note.rows,
                path,
                body: Body::Sealed(note),
            };
        }
    }
}
