//! Several threads on one log.

use crate::common::{all, append, new_event, open, options, user};
use domain::{EventLog, EventRead, Receipt, Sequence};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use store_file::FileEventLog;

/// Each thread sends its own events and some that all send.
#[test]
fn batches_of_several_threads_do_not_interleave() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = FileEventLog::open(dir.path(), options(3000))
        .expect("the log opens")
        .0;
    let is_over = AtomicBool::new(false);
    let receipts: Vec<Vec<Receipt>> = std::thread::scope(|scope| {
        let (log, is_over) = (&log, &is_over);
        let writers: Vec<_> = (0..4u64)
            .map(|thread| {
                scope.spawn(move || {
                    let batch = |round: u64| {
                        let own = (0..5)
                            .map(|n| new_event(thread * 10_000 + round * 5 + n, &format!("user-{thread}")));
                        own.chain([new_event(90_000 + round, "shared")]).collect()
                    };
                    (0..40).map(|round| append(log, batch(round))).collect::<Vec<_>>()
                })
            })
            .collect();
        let reader = scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let (head, events) = (log.head(), all(log));
                assert!(events.len() as u64 >= head.0, "what was acknowledged is read");
                let expected = (1..=events.len() as u64).map(Sequence);
                assert!(
                    events.iter().map(|s| s.sequence).eq(expected),
                    "no gaps, in order"
                );
            }
        });
        let receipts = writers
            .into_iter()
            .flat_map(|w| w.join().expect("a writer ends"))
            .collect();
        is_over.store(true, Ordering::Relaxed);
        reader.join().expect("the reader ends");
        receipts
    });
    let mut accepted: Vec<u64> = Vec::new();
    for batch in &receipts {
        let numbers: Vec<u64> = batch
            .iter()
            .filter_map(|receipt| match receipt {
                Receipt::Accepted(sequence) => Some(sequence.0),
                Receipt::Duplicate => None,
            })
            .collect();
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{numbers:?}"
        );
        assert!(numbers.len() >= 5);
        accepted.extend(numbers);
    }
    accepted.sort_unstable();
    assert_eq!(accepted, (1..=4 * 200 + 40).collect::<Vec<_>>());
    let before = all(&log);
    drop(log);
    assert_eq!(all(&open(dir.path())), before);
}

/// Appends go on while a user is erased again and again.
#[test]
fn erasing_beside_appending_loses_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = FileEventLog::open(dir.path(), options(2000))
        .expect("the log opens")
        .0;
    let erased: u64 = std::thread::scope(|scope| {
        let log = &log;
        let writer = scope.spawn(move || {
            for n in 0..150u64 {
                append(log, vec![new_event(2 * n, "stays"), new_event(2 * n + 1, "goes")]);
            }
        });
        let mut erased = 0;
        while !writer.is_finished() {
            erased += log.erase_user(&user("goes")).expect("erased").events;
        }
        writer.join().expect("the writer ends");
        erased + log.erase_user(&user("goes")).expect("erased").events
    });
    assert_eq!((erased, log.len(), log.head()), (150, 150, Sequence(300)));
    let kept: BTreeSet<u64> = all(&log).iter().map(|s| s.sequence.0).collect();
    assert_eq!(kept, (0..150).map(|n| 2 * n + 1).collect());
    drop(log);
    let log = open(dir.path());
    assert_eq!((log.len(), log.head()), (150, Sequence(300)));
    assert!(log.contains(new_event(0, "stays").key) && !log.contains(new_event(1, "goes").key));
}
