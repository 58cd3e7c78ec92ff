//! How fast events are stored, sealed and read again.
//!
//! `cargo run --release -p store-file --example ingest -- [FOLDER [EVENTS [BATCH [THREADS]]]]`: the folder (made anew, and
//! removed at the end) should be on the disk that is to be measured. Making the events is not counted.
#![allow(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and its arguments"
)]

use domain::{
    Event, EventId, EventLog, EventRead, EventType, ItemId, NewEvent, StoreError, Timestamp, UserId,
};
use std::path::Path;
use std::time::{Duration, Instant};
use store_file::{FileEventLog, LogOptions};

fn new_event(n: u64) -> Result<NewEvent, Box<dyn std::error::Error>> {
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let event = Event {
        event_id: Some(EventId::new(format!("{spread:016x}"))?),
        user_id: UserId::new(format!("user-{}", (spread >> 20) % 200_000))?,
        item_id: ItemId::new(format!("item-{}", (spread >> 40) % 20_000))?,
        event_type: EventType::new(if spread % 10 < 8 { "view" } else { "purchase" })?,
        timestamp: Timestamp(1_700_000_000_000 + n as i64),
        value: spread.is_multiple_of(5).then_some(1.0 + (spread % 5) as f64),
        session_id: None,
        decision_id: None,
        context: Default::default(),
    };
    Ok(signals::new_event(event, true))
}

/// Time spent in `append` by one thread that stores its share.
fn store(log: &FileEventLog, numbers: std::ops::Range<u64>, batch: u64) -> Result<Duration, StoreError> {
    let mut spent = Duration::ZERO;
    let mut from = numbers.start;
    while from < numbers.end {
        let to = numbers.end.min(from + batch);
        let events = (from..to)
            .map(|n| new_event(n).expect("these texts are ids"))
            .collect();
        let start = Instant::now();
        log.append(events)?;
        spent += start.elapsed();
        from = to;
    }
    Ok(spent)
}

fn say(what: &str, events: u64, time: Duration) {
    let rate = events as f64 / time.as_secs_f64();
    println!("{what:<28} {:>8.2} s {rate:>12.0} events/s", time.as_secs_f64());
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| "ingest-measured".to_owned());
    let mut number = |default: u64| args.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (events, batch, threads) = (number(5_000_000)?, number(32_768)?, number(1)?.max(1));
    let dir = Path::new(&folder);
    let (log, _) = FileEventLog::open(dir, LogOptions::default())?;
    let start = Instant::now();
    let share = events / threads;
    let spent = std::thread::scope(|scope| {
        let log = &log;
        let workers: Vec<_> = (0..threads)
            .map(|n| scope.spawn(move || store(log, n * share..(n + 1) * share, batch)))
            .collect();
        let joined = workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker ends"));
        joined.collect::<Result<Vec<Duration>, StoreError>>()
    })?;
    let stored = log.len();
    say(
        "append, alone",
        stored,
        spent.into_iter().max().unwrap_or_default(),
    );
    say("making and appending", stored, start.elapsed());
    let start = Instant::now();
    log.seal()?;
    println!(
        "{:<28} {:>8.2} s",
        "sealing what was left",
        start.elapsed().as_secs_f64()
    );
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    println!(
        "{:<28} {:>8.1} bytes per event",
        "on disk, sealed",
        bytes as f64 / stored as f64
    );
    drop(log);
    let before = resident();
    let start = Instant::now();
    let (log, _) = FileEventLog::open(dir, LogOptions::default())?;
    say("opening", stored, start.elapsed());
    println!(
        "{:<28} {:>8} KiB (before: {before})",
        "memory after opening",
        resident()
    );
    let start = Instant::now();
    let mut read = 0;
    log.for_each(&mut |_, _| read += 1)?;
    say("reading everything", read, start.elapsed());
    let start = Instant::now();
    log.last_of_user(&UserId::new("user-7")?, 100)?;
    println!(
        "{:<28} {:>8.3} s",
        "last of one user",
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let erasure = log.erase_user(&UserId::new("user-7")?)?;
    println!(
        "{:<28} {:>8.2} s {erasure:?}",
        "erasing one user",
        start.elapsed().as_secs_f64()
    );
    drop(log);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
