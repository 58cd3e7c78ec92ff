//! Events, folders and comparisons that the tests share.

use domain::{
    Attributes, Event, EventId, EventLog, EventRead, EventType, ItemId, NewEvent, RawAttribute, Receipt,
    StoreError, StoredEvent, Timestamp, UserId,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use store_file::{FileEventLog, LogOptions, RecoveryReport};

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a test's id is an id")
}

/// The `n`th event; some have an id, some a value, some a context.
pub(crate) fn event(n: u64, user_id: &str) -> Event {
    let mut context = Attributes::new();
    if n.is_multiple_of(3) {
        context.insert("page".into(), RawAttribute::Text(format!("page {n}")));
        context.insert("share".into(), RawAttribute::Number(1.0 / (n + 3) as f64));
        context.insert("tags".into(), RawAttribute::Texts(Vec::new()));
    }
    Event {
        event_id: (!n.is_multiple_of(4)).then(|| EventId::new(format!("event-{n}")).expect("an id")),
        user_id: user(user_id),
        item_id: ItemId::new(format!("item-{}", n % 17)).expect("an id"),
        event_type: EventType::new("click").expect("an id"),
        timestamp: Timestamp(1_700_000_000_000 + n as i64),
        value: n.is_multiple_of(2).then_some(n as f64 / 7.0),
        session_id: None,
        decision_id: None,
        context,
    }
}

pub(crate) fn new_event(n: u64, user_id: &str) -> NewEvent {
    signals::new_event(event(n, user_id), true)
}

/// Events `from..to` of a few users.
pub(crate) fn batch(from: u64, to: u64) -> Vec<NewEvent> {
    (from..to)
        .map(|n| new_event(n, &format!("user-{}", n % 5)))
        .collect()
}

pub(crate) fn options(seal_bytes: u64) -> LogOptions {
    LogOptions {
        seal_bytes,
        ..LogOptions::default()
    }
}

pub(crate) fn open(dir: &Path) -> FileEventLog {
    open_reported(dir).0
}

pub(crate) fn open_reported(dir: &Path) -> (FileEventLog, RecoveryReport) {
    FileEventLog::open(dir, LogOptions::default()).expect("the log opens")
}

pub(crate) fn refusal(dir: &Path) -> StoreError {
    FileEventLog::open(dir, LogOptions::default())
        .err()
        .expect("the log is refused")
}

pub(crate) fn append(log: &FileEventLog, batch: Vec<NewEvent>) -> Vec<Receipt> {
    log.append(batch).expect("the batch is stored").receipts
}

pub(crate) fn all(log: &FileEventLog) -> Vec<StoredEvent> {
    let mut events = Vec::new();
    log.for_each(&mut |sequence, event| events.push(StoredEvent { sequence, event }))
        .expect("the log reads");
    events
}

/// Content of every file but the lock, by name.
pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("the folder reads");
    entries
        .map(|entry| entry.expect("the folder reads").path())
        .filter(|path| !path.ends_with("LOCK"))
        .map(|path| {
            let content = std::fs::read(&path).expect("a file reads");
            (PathBuf::from(path.file_name().expect("it has a name")), content)
        })
        .collect()
}

/// Makes the folder hold exactly these files.
pub(crate) fn put(dir: &Path, content: &BTreeMap<PathBuf, Vec<u8>>) {
    for name in files(dir).keys().filter(|name| !content.contains_key(*name)) {
        std::fs::remove_file(dir.join(name)).expect("a file goes");
    }
    for (name, bytes) in content {
        std::fs::write(dir.join(name), bytes).expect("a file is written");
    }
}

/// The one file whose name ends so.
pub(crate) fn named(content: &BTreeMap<PathBuf, Vec<u8>>, end: &str) -> PathBuf {
    let mut found = content
        .keys()
        .filter(|name| name.to_string_lossy().ends_with(end));
    let name = found.next().expect("there is such a file").clone();
    assert_eq!(found.next(), None, "one file ends in {end}");
    name
}
