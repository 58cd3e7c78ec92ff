//! Reopening, torn and damaged files, retention, erasure.

use domain::{
    Decision, DecisionId, DecisionItem, ItemId, Sequence, SnapshotVersion, SourceHit, Timestamp, UserId,
};
use feedback::{DecisionLog, DecisionLogOptions, StoredDecision};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn id(number: u32) -> DecisionId {
    DecisionId::new(format!("d{number}")).expect("an id")
}

fn user(number: u32) -> UserId {
    UserId::new(format!("u\"{number}")).expect("an id")
}

/// A decision for one of three users, the bulk of it hard to compress.
pub(crate) fn decision(number: u32, considered: u32) -> StoredDecision {
    let item = |place: u32| {
        let noise = number.wrapping_mul(2_654_435_761) ^ place.wrapping_mul(0x9e37_79b9);
        DecisionItem {
            item_id: ItemId::new(format!("{noise:08x}{:08x}", noise.wrapping_mul(noise | 1))).expect("an id"),
            score: noise as f32 / 7.0,
            sources: vec![SourceHit {
                source: "popular".into(),
                rank: place + 1,
                score: 0.1,
            }],
        }
    };
    let decision = Decision {
        attributes: Default::default(),
        context: Default::default(),
        item_id: None,
        decision_id: id(number),
        now: Timestamp(i64::from(number)),
        placement: "home".to_owned(),
        user_id: Some(user(number % 3)),
        snapshot: SnapshotVersion::default(),
        sequence: Sequence(u64::from(number)),
        seed: u64::MAX - u64::from(number),
        config_hash: "ab\ncd".to_owned(),
        n: 10,
        history: Vec::new(),
        stages: Vec::new(),
        considered: (0..considered).map(item).collect(),
        considered_cut: 0,
        removals: Vec::new(),
        removals_cut: 0,
        features: None,
        policy: None,
        rules: Some(domain::RulesRecord {
            version: 7,
            active: vec!["up".to_owned()],
            effects: vec![domain::RuleEffect {
                rule: "up".to_owned(),
                item_id: ItemId::new("i").expect("an id"),
                change: domain::RuleChange::Score { by: 0.1 },
            }],
            effects_cut: 3,
        }),
        constraints: Vec::new(),
        page: None,
        shown: Vec::new(),
        degraded: Vec::new(),
        arms: Vec::new(),
    };
    StoredDecision {
        decision,
        timings_us: vec![("total".to_owned(), 7)],
        request: None,
    }
}

pub(crate) fn open(dir: &Path) -> DecisionLog {
    DecisionLog::open(dir, DecisionLogOptions::default()).expect("it opens")
}

fn file(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("decisions-{number:010}.log"))
}

#[test]
fn seen_at_once_and_after_reopening() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let log = open(dir.path());
        for number in 0..100 {
            assert!(log.record(decision(number, 3)));
            assert_eq!(log.get(&id(number)), Ok(Some(decision(number, 3))));
        }
        assert_eq!(log.get(&id(100)), Ok(None));
        assert_eq!(log.stats().decisions, 100);
        // No flush: dropping writes what is waiting.
    }
    let log = open(dir.path());
    for number in 0..100 {
        assert_eq!(log.get(&id(number)), Ok(Some(decision(number, 3))));
    }
    let mut later = decision(5, 1);
    later.decision.n = 99;
    log.record(later.clone());
    log.flush().expect("it is written");
    let stats = log.stats();
    assert_eq!(
        (stats.decisions, stats.queued, stats.recorded, stats.dropped),
        (100, 0, 1, 0)
    );
    assert_eq!(log.get(&id(5)), Ok(Some(later.clone())));
    drop(log);
    assert_eq!(
        open(dir.path()).get(&id(5)),
        Ok(Some(later)),
        "the later of two counts"
    );
}

/// A file with three frames of two decisions, and where each frame ends.
fn three_frames(dir: &Path) -> (Vec<u8>, [usize; 3]) {
    let log = open(dir);
    let mut ends = [0; 3];
    for (frame, end) in (0..3).zip(&mut ends) {
        // One lock may not hold both records; the flush between frames keeps the frames apart.
        log.record(decision(frame * 2, 0));
        log.record(decision(frame * 2 + 1, 0));
        log.flush().expect("it is written");
        *end = std::fs::metadata(file(dir, 1)).expect("it is there").len() as usize;
    }
    drop(log);
    (std::fs::read(file(dir, 1)).expect("it is there"), ends)
}

#[test]
fn a_torn_tail_at_every_byte_loses_only_the_torn_frame() {
    let dir = tempfile::tempdir().expect("a folder");
    let (bytes, ends) = three_frames(dir.path());
    for length in 0..bytes.len() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(file(dir.path(), 1), &bytes[..length]).expect("written");
        let log = open(dir.path());
        for number in 0..6u32 {
            let expected = length >= ends[number as usize / 2];
            let found = log.get(&id(number)).expect("readable");
            // A pair may have been written as two frames; then one of them may be whole.
            assert!(!expected || found.is_some(), "{length}: {number} is lost");
            assert!(found.is_none_or(|f| f == decision(number, 0)));
        }
        if length % 16 == 3 {
            log.record(decision(50, 0));
            drop(log);
            let log = open(dir.path());
            assert_eq!(
                log.get(&id(50)),
                Ok(Some(decision(50, 0))),
                "{length}: written behind the tail"
            );
            assert_eq!(log.stats().unreadable_bytes, 0, "{length}: the tail was cut off");
        }
    }
}

#[test]
fn a_flipped_byte_never_gives_a_wrong_decision() {
    let dir = tempfile::tempdir().expect("a folder");
    let (bytes, _) = three_frames(dir.path());
    for place in 0..bytes.len() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x41;
        std::fs::write(file(dir.path(), 1), &damaged).expect("written");
        match DecisionLog::open(dir.path(), DecisionLogOptions::default()) {
            Err(error) => assert!(
                place < 8 && error.to_string().contains("is damaged at byte 0"),
                "{error}"
            ),
            Ok(log) => {
                assert!(log.stats().unreadable_bytes > 0, "{place}: unnoticed");
                let found = (0..6u32).filter(|number| {
                    let found = log.get(&id(*number)).expect("readable");
                    found.is_some_and(|f| {
                        assert_eq!(f, decision(*number, 0));
                        true
                    })
                });
                let _ = found.count();
            }
        }
    }
}

#[test]
fn a_damaged_body_in_the_middle_is_passed_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut bytes, ends) = three_frames(dir.path());
    bytes[ends[1] - 1] ^= 1;
    std::fs::write(file(dir.path(), 1), &bytes).expect("written");
    let log = open(dir.path());
    assert_eq!(log.get(&id(3)), Ok(None));
    for number in [0, 1, 4, 5] {
        assert!(log.get(&id(number)).expect("readable").is_some(), "{number}");
    }
    let unreadable = log.stats().unreadable_bytes;
    assert!(unreadable > 0);
    let verified = feedback::verify(dir.path()).expect("readable");
    let expected = feedback::Verified {
        decisions: 4,
        files: 1,
        damaged_bytes: unreadable,
        torn_bytes: 0,
    };
    assert_eq!(verified, expected);
}

#[test]
fn old_files_go_and_new_decisions_stay() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = DecisionLogOptions {
        retention_bytes: 100_000,
        file_bytes: 20_000,
        ..DecisionLogOptions::default()
    };
    let log = DecisionLog::open(dir.path(), options.clone()).expect("it opens");
    for number in 0..200 {
        log.record(decision(number, 60));
        if number % 5 == 0 {
            log.flush().expect("it is written");
        }
    }
    log.flush().expect("it is written");
    let stats = log.stats();
    assert!(stats.bytes <= 100_000 && stats.bytes > 50_000, "{stats:?}");
    assert!(stats.decisions < 200 && stats.files > 2, "{stats:?}");
    assert_eq!(log.get(&id(0)), Ok(None));
    assert_eq!(log.get(&id(199)), Ok(Some(decision(199, 60))));
    let kept: Vec<u32> = (0..200)
        .filter(|n| log.get(&id(*n)).expect("readable").is_some())
        .collect();
    assert_eq!(kept.len() as u64, stats.decisions);
    assert_eq!(
        kept,
        (200 - kept.len() as u32..200).collect::<Vec<_>>(),
        "the oldest went"
    );
    drop(log);
    let log = DecisionLog::open(dir.path(), options).expect("it opens");
    assert_eq!(log.stats().decisions, stats.decisions);
}

#[test]
fn an_erased_user_is_nowhere() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = DecisionLogOptions {
        file_bytes: 4_000,
        ..DecisionLogOptions::default()
    };
    let log = Arc::new(DecisionLog::open(dir.path(), options).expect("it opens"));
    for number in 0..90 {
        log.record(decision(number, 5));
        if number % 7 == 0 {
            log.flush().expect("it is written");
        }
    }
    let reader = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            for _ in 0..3 {
                for number in (0..90).filter(|n| n % 3 != 1) {
                    assert_eq!(log.get(&id(number)), Ok(Some(decision(number, 5))));
                }
            }
        })
    };
    assert_eq!(log.erase_user(&user(1)), Ok(30));
    assert_eq!(log.erase_user(&user(1)), Ok(0));
    for name in ["tail-0.log", "tail-1.log"] {
        let left = std::fs::read(dir.path().join(name)).expect("there");
        let is_named = |bytes: &[u8]| bytes == user(1).as_str().as_bytes();
        assert!(
            !left.windows(user(1).as_str().len()).any(is_named),
            "{name} names an erased user"
        );
    }
    reader.join().expect("others' decisions are there all the while");
    log.record(decision(100, 5));
    log.flush().expect("it is written");
    drop(log);
    let log = open(dir.path());
    for number in 0..90 {
        let expected = (number % 3 != 1).then(|| decision(number, 5));
        assert_eq!(log.get(&id(number)), Ok(expected));
    }
    assert!(log.get(&id(100)).expect("readable").is_some());
}

#[test]
fn a_full_queue_makes_callers_wait_and_counts_what_is_lost() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = DecisionLogOptions {
        queue: 4,
        sync_interval: Duration::from_millis(1),
        wait_max: Duration::from_secs(20),
        ..DecisionLogOptions::default()
    };
    let log = Arc::new(DecisionLog::open(dir.path(), options).expect("it opens"));
    let writers: Vec<_> = (0..4u32)
        .map(|thread| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || (0..100).all(|n| log.record(decision(thread * 100 + n, 1))))
        })
        .collect();
    assert!(
        writers.into_iter().all(|writer| writer.join().expect("no panic")),
        "all waited and got in"
    );
    log.flush().expect("it is written");
    let stats = log.stats();
    assert_eq!((stats.decisions, stats.dropped), (400, 0));
}

#[test]
fn a_disk_that_refuses_is_reported_and_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    std::fs::remove_dir_all(dir.path()).expect("removed");
    log.record(decision(1, 1));
    let error = log.flush().expect_err("there is no folder");
    assert!(error.to_string().contains("creating"), "{error}");
    assert_eq!((log.stats().dropped, log.flush()), (1, Ok(())));
    assert_eq!(
        log.get(&id(1)),
        Ok(None),
        "what was lost is not pretended to be there"
    );
}

#[test]
fn every_decision_is_handed_over_once_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    (0..100).for_each(|number| assert!(log.record(decision(number, 5))));
    log.flush().expect("it is written");
    (100..110).for_each(|number| assert!(log.record(decision(number, 5))));
    let seen = |log: &DecisionLog| {
        let mut seen = Vec::new();
        log.each(|stored| seen.push(stored)).expect("it can be read");
        seen
    };
    let all: Vec<StoredDecision> = (0..110).map(|number| decision(number, 5)).collect();
    assert_eq!(seen(&log), all);
    log.erase_user(&user(1)).expect("it is erased");
    let left: Vec<StoredDecision> = all
        .into_iter()
        .filter(|s| s.decision.user_id != Some(user(1)))
        .collect();
    assert_eq!(seen(&log), left);
    log.close().expect("it closes");
    assert_eq!(seen(&open(dir.path())), left);
}
