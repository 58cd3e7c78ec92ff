//! Writes cut off, and bits that turn over.

use crate::common::{all, append, batch, files, named, new_event, open, open_reported, put, refusal};
use domain::{EventLog, EventRead, StoreError, StoredEvent};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use store_file::{FileEventLog, LogOptions};

/// Cut at every byte, the segment being written keeps the batches before the cut, whole.
#[test]
fn a_write_cut_off_leaves_the_batches_before_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    append(&log, batch(0, 4));
    log.seal().expect("sealed");
    // Lengths of the active segment at which whole batches end, and events stored by then.
    let active = dir.path().join("00000000000000000005.log");
    let length = || std::fs::metadata(&active).expect("it is there").len();
    let mut whole = vec![(length(), 4usize)];
    for (from, to) in [(4, 5), (5, 9), (9, 11)] {
        append(&log, batch(from, to));
        whole.push((length(), to as usize));
    }
    let events = all(&log);
    drop(log);
    let pristine = files(dir.path());
    let full = pristine[&named(&pristine, ".log")].clone();
    for cut in 24..full.len() {
        put(dir.path(), &pristine);
        std::fs::write(&active, &full[..cut]).expect("cut");
        let (log, report) = open_reported(dir.path());
        let (end, kept) = *whole
            .iter()
            .rev()
            .find(|(end, _)| *end <= cut as u64)
            .expect("a batch ends");
        assert_eq!(all(&log), events[..kept], "cut at {cut}");
        let truncated = report.truncated.map(|tail| (tail.offset, tail.bytes));
        let expected = (end < cut as u64).then_some((end, cut as u64 - end));
        assert_eq!(truncated, expected, "cut at {cut}");
        if cut % 40 == 0 {
            // It goes on from there.
            append(&log, vec![new_event(900, "late")]);
            drop(log);
            assert_eq!(all(&open(dir.path())).len(), kept + 1);
        }
    }
    for cut in 0..24 {
        put(dir.path(), &pristine);
        std::fs::write(&active, &full[..cut]).expect("cut");
        assert!(matches!(refusal(dir.path()), StoreError::Damaged { path, .. } if path.ends_with("5.log")));
    }
}

/// After a loss of power the end may have its length but not its bytes.
#[test]
fn sectors_that_were_never_written_are_a_write_cut_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    append(&log, batch(0, 3));
    let active = dir.path().join("00000000000000000001.log");
    let before = std::fs::metadata(&active).expect("it is there").len() as usize;
    append(&log, batch(3, 60));
    drop(log);
    let full = std::fs::read(&active).expect("it reads");
    assert!(full.len() > 4 * 512);
    let sectors: Vec<(usize, usize)> = (0..full.len().div_ceil(512))
        .map(|n| ((n * 512).max(before), ((n + 1) * 512).min(full.len())))
        .filter(|(from, to)| from < to)
        .collect();
    for (from, to) in &sectors {
        let mut torn = full.clone();
        torn[*from..*to].fill(0);
        std::fs::write(&active, &torn).expect("torn");
        let (log, report) = open_reported(dir.path());
        assert_eq!(log.len(), 3, "sector from {from}");
        assert_eq!(report.truncated.map(|tail| tail.offset), Some(before as u64));
    }
}

/// Turns one bit over in every `stride`th byte; the log is refused with the file's name, or is as it was.
fn flip(dir: &Path, pristine: &BTreeMap<PathBuf, Vec<u8>>, end: &str, stride: usize, events: &[StoredEvent]) {
    let name = named(pristine, end);
    for at in (0..pristine[&name].len()).step_by(stride) {
        put(dir, pristine);
        let mut bytes = pristine[&name].clone();
        bytes[at] ^= 1 << ((at / stride + at) % 8);
        std::fs::write(dir.join(&name), &bytes).expect("flipped");
        match FileEventLog::open(dir, LogOptions::default()) {
            Ok((log, report)) => {
                assert_eq!(all(&log), events, "{} at {at}", name.display());
                assert_eq!(report.truncated, None, "{} at {at}", name.display());
            }
            Err(StoreError::Damaged { path, .. }) => {
                assert!(
                    path.ends_with(&*name.to_string_lossy()),
                    "{path} for {}",
                    name.display()
                );
            }
            Err(error) => panic!("{} at {at}: {error}", name.display()),
        }
    }
}

#[test]
fn a_bit_that_turned_over_is_named_or_harmless() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    append(&log, batch(0, 8));
    append(&log, batch(8, 20));
    let unsealed = files(dir.path());
    log.seal().expect("sealed");
    append(&log, batch(20, 23));
    append(&log, batch(23, 24));
    let events = all(&log);
    drop(log);
    let sealed = files(dir.path());
    flip(dir.path(), &sealed, ".seal", 2, &events);
    flip(dir.path(), &sealed, ".parquet", 23, &events);
    flip(dir.path(), &sealed, "21.log", 1, &events);
    // The same, closed but not sealed yet.
    let mut closed = sealed;
    closed.retain(|name, _| name.to_string_lossy().ends_with(".log"));
    closed.extend(unsealed);
    flip(dir.path(), &closed, "01.log", 7, &events);
}

/// What is damaged while the log is open is refused by a scan, `verify` and a backup.
#[test]
fn damage_that_comes_later_is_refused() {
    for end in ["1.parquet", "01.seal", "06.log"] {
        let dir = tempfile::tempdir().expect("a folder");
        let log = open(dir.path());
        append(&log, batch(0, 5));
        log.seal().expect("sealed");
        append(&log, batch(5, 9));
        let path = dir.path().join(named(&files(dir.path()), end));
        let mut bytes = std::fs::read(&path).expect("it reads");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&path, bytes).expect("flipped");
        let named_so =
            |error: StoreError| matches!(&error, StoreError::Damaged { path, .. } if path.ends_with(end));
        assert!(named_so(log.verify().expect_err("it is damaged")), "{end}");
        if end != "01.seal" {
            assert!(
                named_so(log.for_each(&mut |_, _| {}).expect_err("it is damaged")),
                "{end}"
            );
            let copy = tempfile::tempdir().expect("a folder");
            assert!(
                named_so(log.backup_to(copy.path()).expect_err("it is damaged")),
                "{end}"
            );
        }
    }
}
