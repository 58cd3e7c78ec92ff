//! Sealing and erasing cut off between any two of their steps.

use crate::common::{all, append, batch, files, named, open, open_reported, put, refusal, user};
use domain::{EventLog, StoreError, StoredEvent};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Files = BTreeMap<PathBuf, Vec<u8>>;

struct Stages {
    dir: tempfile::TempDir,
    events: Vec<StoredEvent>,
    erased: Vec<StoredEvent>,
    /// Closed, not sealed.
    closed: Files,
    sealed: Files,
    /// Sealed, with one user erased.
    rewritten: Files,
}

fn stages() -> Stages {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    append(&log, batch(0, 12));
    let mut closed = files(dir.path());
    log.seal().expect("sealed");
    let events = all(&log);
    let sealed = files(dir.path());
    closed.insert(
        named(&sealed, "13.log"),
        sealed[&named(&sealed, "13.log")].clone(),
    );
    log.erase_user(&user("user-3")).expect("erased");
    let erased = all(&log);
    drop(log);
    let rewritten = files(dir.path());
    assert!(erased.len() < events.len());
    Stages {
        dir,
        events,
        erased,
        closed,
        sealed,
        rewritten,
    }
}

fn with(base: &Files, others: &Files, end: &str) -> Files {
    let mut files = base.clone();
    let name = named(others, end);
    files.insert(name.clone(), others[&name].clone());
    files
}

/// Opens the files and reads them twice: as found, and as left by what opening set off.
fn holds(dir: &Path, content: &Files, events: &[StoredEvent], leftovers: usize, what: &str) {
    put(dir, content);
    let (log, report) = open_reported(dir);
    assert_eq!(report.leftovers.len(), leftovers, "{what}");
    assert_eq!(report.lines().len(), leftovers, "{what}");
    assert_eq!(all(&log), events, "{what}");
    drop(log);
    let (log, report) = open_reported(dir);
    assert_eq!(report, store_file::RecoveryReport::default(), "{what}");
    assert_eq!(all(&log), events, "{what}");
    log.verify().expect("all is well");
    let names: Vec<String> = files(dir).keys().map(|name| name.display().to_string()).collect();
    assert_eq!(names.len(), 3, "{what}: {names:?}");
}

#[test]
fn a_sealing_cut_off_is_undone_or_finished() {
    let s = stages();
    let (dir, events) = (s.dir.path(), &s.events);
    holds(dir, &s.closed, events, 0, "closed");
    let mut half = s.closed.clone();
    half.insert(
        "00000000000000000001.1.parquet.tmp".into(),
        b"PAR1 and then nothing".to_vec(),
    );
    half.insert("00000000000000000001.seal.tmp".into(), Vec::new());
    holds(dir, &half, events, 2, "Parquet half written");
    let parquet = with(&s.closed, &s.sealed, ".parquet");
    holds(dir, &parquet, events, 1, "Parquet without note");
    let both = with(&parquet, &s.sealed, ".seal");
    holds(dir, &both, events, 1, "log not removed");
    let mut spoilt = both.clone();
    spoilt
        .get_mut(&named(&both, ".parquet"))
        .expect("it is there")
        .truncate(40);
    holds(dir, &spoilt, events, 2, "Parquet cut short, log there");
    let mut spoilt = both.clone();
    spoilt
        .get_mut(&named(&both, ".seal"))
        .expect("it is there")
        .truncate(10);
    holds(dir, &spoilt, events, 2, "note cut short, log there");
    holds(dir, &s.sealed, events, 0, "sealed");
}

#[test]
fn an_erasure_cut_off_leaves_the_old_or_the_new() {
    let s = stages();
    let dir = s.dir.path();
    let next = with(&s.sealed, &s.rewritten, ".2.parquet");
    holds(dir, &next, &s.events, 1, "new Parquet, old note");
    let noted = with(&s.rewritten, &s.sealed, ".1.parquet");
    holds(dir, &noted, &s.erased, 1, "new note, old Parquet there");
    // A segment of frames is replaced whole.
    let mut beside = s.sealed.clone();
    beside.insert("00000000000000000013.log.tmp".into(), b"half".to_vec());
    holds(dir, &beside, &s.events, 1, "frames half rewritten");
}

/// With events missing the log does not open, and says which file.
#[test]
fn a_missing_file_is_named() {
    let s = stages();
    let dir = s.dir.path();
    let missing = |content: &Files, end: &str, said: &str| {
        let mut content = content.clone();
        content.remove(&named(&content, end));
        put(dir, &content);
        match refusal(dir) {
            StoreError::Damaged { path, .. } => assert!(path.ends_with(said), "{path} without {end}"),
            error => panic!("{error}"),
        }
    };
    missing(&s.sealed, ".seal", "01.seal");
    missing(&s.sealed, ".parquet", "01.1.parquet");
    missing(&s.rewritten, ".parquet", "01.2.parquet");
    missing(&s.sealed, "13.log", "13.log");
    missing(&s.closed, "01.log", "13.log");
    // The old generation does not stand in for the new one: it holds what was erased.
    let mut stale = with(&s.rewritten, &s.sealed, ".1.parquet");
    stale.remove(&named(&stale, ".2.parquet"));
    put(dir, &stale);
    assert!(matches!(refusal(dir), StoreError::Damaged { path, .. } if path.ends_with("01.2.parquet")));
}
