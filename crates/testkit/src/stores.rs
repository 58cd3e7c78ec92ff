//! What every event log and every catalogue must do. Each implementation runs these suites from a test of its own.
//!
//! An implementation is given as a *home*: where a store lives, so that it can be closed and opened again.

use domain::{
    Attributes, Event, EventId, EventLog, EventType, ItemId, NewEvent, Receipt, Sequence, StoredEvent,
    Timestamp, UserId,
};
use numeric::SeededStream;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where an event log lives.
pub trait LogHome: Sync {
    /// The log.
    fn log(&self) -> &dyn EventLog;
    /// Closes it and opens it again; a log that keeps nothing gives itself back.
    fn reopened(self: Box<Self>) -> Box<dyn LogHome>;
}

/// Makes the event ready for the log, with its key.
pub type MakeNew<'a> = &'a (dyn Fn(Event) -> NewEvent + Sync);

/// An event number `n` of a user.
pub fn event(user: &str, n: u64) -> Event {
    Event {
        event_id: n
            .is_multiple_of(5)
            .then(|| EventId::new(format!("e-{user}-{n}")).expect("a valid id")),
        user_id: UserId::new(user).expect("a valid id"),
        item_id: ItemId::new(format!("item-{}", n % 7)).expect("a valid id"),
        event_type: EventType::new(["click", "purchase", "ünïcode"][(n % 3) as usize]).expect("a valid id"),
        timestamp: Timestamp(1_700_000_000_000 + n as i64),
        value: n.is_multiple_of(2).then_some(n as f64 / 4.0),
        session_id: None,
        decision_id: None,
        context: Attributes::new(),
    }
}

fn all(log: &dyn EventLog) -> Vec<StoredEvent> {
    let batches = log.scan(Sequence(1), Sequence(u64::MAX)).expect("scanning");
    batches.flat_map(|batch| batch.expect("a batch")).collect()
}

fn accepted(receipt: &Receipt) -> u64 {
    match receipt {
        Receipt::Accepted(sequence) => sequence.0,
        Receipt::Duplicate => 0,
    }
}

/// Runs every check of an event log.
///
/// # Panics
/// At the first promise that is not kept.
pub fn event_log(fresh: &dyn Fn() -> Box<dyn LogHome>, new: MakeNew<'_>) {
    numbers_and_duplicates(fresh(), new);
    aliases(fresh(), new);
    ranges_of_a_snapshot(fresh(), new);
    last_of_a_user(fresh(), new);
    erasure(fresh(), new);
    writers_side_by_side(fresh(), new);
    for seed in 0..12 {
        random_operations(fresh(), new, seed);
    }
}

fn numbers_and_duplicates(home: Box<dyn LogHome>, new: MakeNew<'_>) {
    let log = home.log();
    assert!(log.is_empty() && log.head() == Sequence::ZERO && all(log).is_empty());
    assert!(
        log.append(Vec::new())
            .expect("an empty batch")
            .receipts
            .is_empty()
    );
    let batch = [event("a", 1), event("a", 2), event("a", 1), event("b", 5)];
    let first = log
        .append(batch.iter().cloned().map(new).collect())
        .expect("appending");
    let numbers: Vec<u64> = first.receipts.iter().map(accepted).collect();
    assert_eq!(
        numbers,
        [1, 2, 0, 3],
        "numbers rise by one in the order of the batch, a repeated event is none"
    );
    let again = log
        .append(vec![new(event("b", 5)), new(event("c", 1))])
        .expect("appending");
    assert_eq!(again.receipts.iter().map(accepted).collect::<Vec<_>>(), [0, 4]);
    let home = home.reopened();
    let log = home.log();
    assert_eq!((log.head(), log.len()), (Sequence(4), 4));
    let retried = log
        .append(batch.iter().cloned().map(new).collect())
        .expect("appending");
    assert!(
        retried.receipts.iter().all(|r| *r == Receipt::Duplicate),
        "keys are known after opening again"
    );
    let stored: Vec<Event> = all(log).into_iter().map(|stored| stored.event).collect();
    assert_eq!(
        stored,
        [event("a", 1), event("a", 2), event("b", 5), event("c", 1)]
    );
    assert!(log.contains(new(event("a", 2)).key) && !log.contains(new(event("a", 3)).key));
}

fn aliases(home: Box<dyn LogHome>, new: MakeNew<'_>) {
    let log = home.log();
    log.append(vec![new(event("a", 1))]).expect("appending");
    let known = new(event("a", 1)).key;
    let other = NewEvent {
        alias: Some(known),
        ..new(event("a", 2))
    };
    let told = log.append(vec![other]).expect("appending");
    assert_eq!(
        told.receipts,
        [Receipt::Duplicate],
        "an event is known by its alias too"
    );
    assert_eq!(log.len(), 1);
}

fn ranges_of_a_snapshot(home: Box<dyn LogHome>, new: MakeNew<'_>) {
    let log = home.log();
    for n in 0..10 {
        log.append((0..10).map(|m| new(event("a", n * 10 + m + 1))).collect())
            .expect("appending");
        if n == 4 {
            log.seal().expect("sealing");
        }
    }
    let numbers = |from: u64, to: u64| -> Vec<u64> {
        let batches = log.scan(Sequence(from), Sequence(to)).expect("scanning");
        batches
            .flat_map(|batch| batch.expect("a batch"))
            .map(|stored| stored.sequence.0)
            .collect()
    };
    for (from, to) in [
        (1, 100),
        (1, 1),
        (50, 51),
        (49, 52),
        (100, 100),
        (0, 3),
        (99, 1000),
    ] {
        assert_eq!(
            numbers(from, to),
            (from.max(1)..=to.min(100)).collect::<Vec<_>>(),
            "{from} to {to}"
        );
    }
    assert!(numbers(5, 4).is_empty() && numbers(101, 200).is_empty());
    // What is appended, sealed or erased afterwards does not show.
    let snapshot = log.scan(Sequence(1), Sequence(u64::MAX)).expect("scanning");
    log.append(vec![new(event("b", 1))]).expect("appending");
    log.seal().expect("sealing");
    log.erase_user(&UserId::new("a").expect("a valid id"))
        .expect("erasing");
    let seen: usize = snapshot.map(|batch| batch.expect("a batch").len()).sum();
    assert_eq!(seen, 100);
    assert_eq!(all(log).len(), 1);
}

fn last_of_a_user(home: Box<dyn LogHome>, new: MakeNew<'_>) {
    let log = home.log();
    for n in 0..60 {
        let user = ["a", "b", "c"][(n % 3) as usize];
        log.append(vec![new(event(user, n))]).expect("appending");
        if n == 30 {
            log.seal().expect("sealing");
        }
    }
    let of = |user: &str, n: usize| -> Vec<u64> {
        let user = UserId::new(user).expect("a valid id");
        log.last_of_user(&user, n)
            .expect("reading")
            .iter()
            .map(|stored| stored.sequence.0)
            .collect()
    };
    assert_eq!(of("b", 3), [53, 56, 59]);
    assert_eq!(of("b", 1000), (0..20).map(|n| n * 3 + 2).collect::<Vec<u64>>());
    assert!(of("nobody", 5).is_empty() && of("a", 0).is_empty());
}

fn erasure(home: Box<dyn LogHome>, new: MakeNew<'_>) {
    let log = home.log();
    let user = UserId::new("b").expect("a valid id");
    for n in 0..40 {
        log.append(vec![new(event(["a", "b"][(n % 2) as usize], n))])
            .expect("appending");
        if n == 20 {
            log.seal().expect("sealing");
        }
    }
    let before = all(log);
    let erased = log.erase_user(&user).expect("erasing");
    assert_eq!(erased.events, 20);
    let kept: Vec<StoredEvent> = before
        .into_iter()
        .filter(|stored| stored.event.user_id != user)
        .collect();
    assert_eq!(all(log), kept, "the numbers of the others stay");
    assert_eq!((log.len(), log.head()), (20, Sequence(40)));
    assert_eq!(log.erase_user(&user).expect("erasing").events, 0);
    let home = home.reopened();
    let log = home.log();
    assert_eq!(all(log), kept);
    assert_eq!(
        log.head(),
        Sequence(40),
        "numbers of erased events are not given out again"
    );
    assert!(!log.contains(new(event("b", 1)).key));
    let back = log
        .append(vec![new(event("b", 1)), new(event("a", 0))])
        .expect("appending");
    assert_eq!(
        back.receipts.iter().map(accepted).collect::<Vec<_>>(),
        [41, 0],
        "erased events cease to be duplicates"
    );
}

fn writers_side_by_side(home: Box<dyn LogHome>, new: MakeNew<'_>) {
    let duplicates = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..4u64 {
            let (log, duplicates) = (home.log(), &duplicates);
            scope.spawn(move || {
                for n in 0..30 {
                    // Half of the batches are sent by two writers.
                    let from = if n % 2 == 0 { writer } else { writer / 2 * 2 };
                    let batch = (0..5)
                        .map(|m| new(event(&format!("w{from}-{n}"), m + 1)))
                        .collect();
                    let outcome = log.append(batch).expect("appending");
                    let numbers: Vec<u64> = outcome.receipts.iter().map(accepted).collect();
                    let follow = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
                    let are_known = numbers.iter().all(|number| *number == 0);
                    assert!(
                        follow && numbers[0] > 0 || are_known,
                        "a batch is whole and in one piece: {numbers:?}"
                    );
                    duplicates.fetch_add(usize::from(are_known), Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..5 {
                home.log().seal().expect("sealing");
            }
        });
    });
    assert_eq!(
        duplicates.load(Ordering::SeqCst),
        30,
        "of two equal batches one is known"
    );
    let home = home.reopened();
    let stored = all(home.log());
    assert_eq!(stored.len(), 90 * 5);
    assert!(
        stored
            .iter()
            .zip(1..)
            .all(|(stored, n)| stored.sequence == Sequence(n))
    );
}

/// Any operations in any order, against a plain list.
fn random_operations(mut home: Box<dyn LogHome>, new: MakeNew<'_>, seed: u64) {
    let mut stream = SeededStream::new(seed, 7);
    let mut list: Vec<StoredEvent> = Vec::new();
    let mut head = 0;
    for step in 0..60 {
        let what = format!("seed {seed}, step {step}");
        match stream.below(10) {
            0..6 => {
                let count = stream.below(12);
                let batch: Vec<Event> = (0..count)
                    .map(|_| event(&format!("u{}", stream.below(4)), stream.below(60)))
                    .collect();
                let outcome = home
                    .log()
                    .append(batch.iter().cloned().map(new).collect())
                    .expect("appending");
                for (event, receipt) in batch.into_iter().zip(&outcome.receipts) {
                    let known = list.iter().any(|stored| stored.event == event);
                    assert_eq!(known, *receipt == Receipt::Duplicate, "{what}");
                    if !known {
                        head += 1;
                        assert_eq!(accepted(receipt), head, "{what}");
                        let sequence = Sequence(head);
                        list.push(StoredEvent { sequence, event });
                    }
                }
            }
            6 => home.log().seal().expect("sealing"),
            7 => {
                let user = UserId::new(format!("u{}", stream.below(5))).expect("a valid id");
                let of_user = list.iter().filter(|stored| stored.event.user_id == user).count();
                let erased = home.log().erase_user(&user).expect("erasing");
                assert_eq!(erased.events, of_user as u64, "{what}");
                list.retain(|stored| stored.event.user_id != user);
            }
            _ => home = home.reopened(),
        }
        let log = home.log();
        assert_eq!(
            (log.len(), log.head()),
            (list.len() as u64, Sequence(head)),
            "{what}"
        );
        if step % 7 == 0 {
            assert_eq!(all(log), list, "{what}");
        }
    }
    assert_eq!(all(home.log()), list, "seed {seed}");
}
