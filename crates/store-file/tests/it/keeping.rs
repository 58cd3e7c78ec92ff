//! Erasure, backups, the lock, snapshots, and the sealed form as others see it.

use crate::common::{all, append, batch, event, files, new_event, open, open_reported, options, user};
use domain::{EventLog, EventRead, NewEvent, RawAttribute, Receipt, Sequence, StoreError, StoredEvent};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use std::path::Path;
use store_file::{FileEventLog, LogOptions};

const SECRET: &str = "nobody-may-know-me";

fn mentions(dir: &Path) -> Vec<String> {
    let holds = |bytes: &[u8]| {
        bytes
            .windows(SECRET.len())
            .any(|window| window == SECRET.as_bytes())
    };
    let files = files(dir);
    let with = files.iter().filter(|(_, bytes)| holds(bytes));
    with.map(|(name, _)| name.display().to_string()).collect()
}

#[test]
fn an_erased_user_is_in_no_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let mut accepted = 0;
    for part in 0..3u64 {
        let mut events = batch(part * 10, part * 10 + 6);
        events.insert(2, new_event(100 + part, SECRET));
        events.push(new_event(200 + part, SECRET));
        accepted += events.len() as u64;
        append(&log, events);
        if part < 2 {
            log.seal().expect("sealed");
        }
    }
    assert_eq!(
        mentions(dir.path()).len(),
        3,
        "two sealed segments and the active one"
    );
    let before = all(&log);
    let erasure = log.erase_user(&user(SECRET)).expect("erased");
    assert_eq!((erasure.events, erasure.segments), (6, 3));
    assert_eq!(mentions(dir.path()), Vec::<String>::new());
    let kept: Vec<StoredEvent> = before
        .into_iter()
        .filter(|s| s.event.user_id.as_str() != SECRET)
        .collect();
    assert_eq!(all(&log), kept);
    assert_eq!((log.head().0, log.len()), (accepted, accepted - 6));
    assert_eq!(log.last_of_user(&user(SECRET), 9).expect("it reads"), Vec::new());
    assert_eq!(log.erase_user(&user(SECRET)).expect("nothing to do").segments, 0);
    // The last number was one of theirs; it stays unused, and the event may be sent again.
    let again = append(&log, vec![new_event(202, SECRET)]);
    assert_eq!(again, [Receipt::Accepted(Sequence(accepted + 1))]);
    drop(log);
    let (log, report) = open_reported(dir.path());
    assert_eq!(report.lines(), Vec::<String>::new());
    assert_eq!(log.len(), accepted - 5);
    assert_eq!(all(&log)[..kept.len()], kept);
}

#[test]
fn a_backup_is_a_log() {
    let (dir, copy) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let log = open(dir.path());
    append(&log, batch(0, 30));
    log.seal().expect("sealed");
    append(&log, batch(30, 40));
    let to = copy.path().join("new");
    log.backup_to(&to).expect("copied");
    append(&log, batch(40, 50));
    let (restored, report) = open_reported(&to);
    assert_eq!(report.lines(), Vec::<String>::new());
    assert_eq!(all(&restored), all(&log)[..40]);
    let verified = restored.verify().expect("all is well");
    assert_eq!((verified.segments, verified.sealed, verified.events), (2, 1, 40));
    assert_eq!(
        append(&restored, batch(39, 41)),
        [Receipt::Duplicate, Receipt::Accepted(Sequence(41))]
    );
    let refused = log.backup_to(&to).expect_err("it is not empty");
    assert!(matches!(refused, StoreError::Input { .. }), "{refused}");
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let second = FileEventLog::open(dir.path(), LogOptions::default()).err();
    let path = dir.path().display().to_string();
    assert_eq!(second, Some(StoreError::InUse { path }));
    drop(log);
    open(dir.path());
}

#[test]
fn a_scan_shows_what_was_there_when_it_began() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    append(&log, batch(0, 20));
    log.seal().expect("sealed");
    append(&log, batch(20, 40));
    let before = all(&log);
    let scan = log.scan(Sequence(1), Sequence(u64::MAX)).expect("it begins");
    append(&log, batch(40, 60));
    log.seal().expect("sealed");
    log.erase_user(&user("user-1")).expect("erased");
    let seen: Vec<StoredEvent> = scan.flat_map(|batch| batch.expect("it goes on")).collect();
    assert_eq!(seen, before);
    assert!(all(&log).iter().all(|s| s.event.user_id.as_str() != "user-1"));
}

/// Groups of rows and the Bloom filter come into play only in large segments.
#[test]
fn a_large_segment_reads_as_it_was_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let rare = |n: u64| n == 70_000 || n == 3;
    let name = |n: u64| {
        if rare(n) {
            "rare".to_owned()
        } else {
            format!("user-{}", n % 3000)
        }
    };
    let events: Vec<NewEvent> = (0..70_010).map(|n| new_event(n, &name(n))).collect();
    append(&log, events);
    let before = all(&log);
    log.seal().expect("sealed");
    assert!(all(&log) == before, "sealing changes nothing");
    let last = log.last_of_user(&user("rare"), 5).expect("it reads");
    assert_eq!(last.iter().map(|s| s.sequence.0).collect::<Vec<_>>(), [4, 70_001]);
    assert_eq!(
        log.last_of_user(&user("rare"), 1).expect("it reads")[0].sequence,
        Sequence(70_001)
    );
    let scan = log.scan(Sequence(65_530), Sequence(65_545)).expect("it begins");
    let seen: Vec<u64> = scan
        .flat_map(|batch| batch.expect("it goes on"))
        .map(|s| s.sequence.0)
        .collect();
    assert_eq!(seen, (65_530..=65_545).collect::<Vec<_>>());
    assert_eq!(log.erase_user(&user("rare")).expect("erased").events, 2);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.len(), 70_008);
    assert!(!log.contains(new_event(3, "rare").key) && log.contains(new_event(4, &name(4)).key));
}

#[test]
fn a_sealed_segment_is_plain_parquet() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    append(&log, batch(0, 4));
    log.seal().expect("sealed");
    let file = std::fs::File::open(dir.path().join("00000000000000000001.1.parquet")).expect("it is there");
    let reader = SerializedFileReader::new(file).expect("it is Parquet");
    let rows: Vec<_> = reader
        .get_row_iter(None)
        .expect("it has rows")
        .map(|row| row.expect("a row"))
        .collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[2].get_long(0).expect("sequence"), 3);
    assert_eq!(rows[2].get_string(1).expect("event_id"), "event-2");
    assert_eq!(rows[2].get_string(2).expect("user_id"), "user-2");
    assert_eq!(
        rows[2].get_timestamp_millis(5).expect("timestamp"),
        1_700_000_000_002
    );
    assert_eq!(rows[2].get_double(6).expect("value"), 2.0 / 7.0);
    assert!(rows[2].get_string(9).is_err(), "no context");
}

#[test]
fn numbers_without_a_stored_form_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let mut bad = event(1, "u");
    bad.context
        .insert("speed".into(), RawAttribute::Numbers(vec![1.0, f64::INFINITY]));
    let mut worse = event(2, "u");
    worse.value = Some(f64::NAN);
    for (event, at) in [(bad, "context.speed"), (worse, "value")] {
        let mut events = batch(0, 2);
        events.push(signals::new_event(event, true));
        let refused = log.append(events).expect_err("it is refused");
        assert!(
            matches!(&refused, StoreError::Input { field, .. } if field == at),
            "{refused}"
        );
    }
    assert_eq!(log.len(), 0);
}

#[test]
fn nothing_is_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = FileEventLog::open(&dir.path().join("a/b"), options(1))
        .expect("it makes its folder")
        .0;
    assert_eq!(append(&log, Vec::new()), []);
    log.seal().expect("nothing to seal");
    assert_eq!(
        log.erase_user(&user("nobody")).expect("nothing to erase").events,
        0
    );
    assert!(log.is_empty() && all(&log).is_empty() && log.head() == Sequence::ZERO);
    assert_eq!(log.verify().expect("all is well").events, 0);
    // A segment whose events were all erased.
    append(&log, vec![new_event(1, "u"), new_event(2, "u")]);
    log.erase_user(&user("u")).expect("erased");
    log.seal().expect("sealed");
    assert_eq!(
        append(&log, vec![new_event(1, "u")]),
        [Receipt::Accepted(Sequence(3))]
    );
    drop(log);
    let log = open(&dir.path().join("a/b"));
    assert_eq!((log.len(), log.head()), (1, Sequence(3)));
}
