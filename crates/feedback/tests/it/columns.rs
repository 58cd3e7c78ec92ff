//! Any record comes back to the last bit, from blocks, from the tail and from files of earlier versions; and is found.

use crate::log::{decision, open};
use domain::{
    DecisionId, DecisionItem, Degradation, Explanation, FeatureRecord, ItemId, PolicyRecord, Removal, Shown,
    SourceHit, StageReport, Timestamp, UserId,
};
use feedback::{DecisionFilter, DecisionLog, DecisionLogOptions, StoredDecision};
use std::path::Path;
use std::time::Duration;

/// A small generator, so that a failing number can be looked at.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn score(&mut self) -> f32 {
        match self.roll(6) {
            0 => 0.0,
            1 => -0.0,
            2 => f32::MIN_POSITIVE / 4.0,
            3 => -(self.roll(1 << 20) as f32) / 7.0,
            4 => f32::MAX,
            _ => self.roll(1 << 20) as f32 / 7.0,
        }
    }
}

fn item(dice: &mut Dice) -> ItemId {
    ItemId::new(format!("ïtem-{}", dice.roll(300))).expect("an id")
}

/// Anything that the types allow, with sources in all orders.
fn any_decision(number: u32) -> StoredDecision {
    let mut dice = Dice(u64::from(number));
    let mut stored = decision(number, 0);
    let sources = ["popular", "als", "é", "request", ""];
    let record = &mut stored.decision;
    record.now = Timestamp(dice.roll(1000) as i64 - 500);
    record.user_id = (dice.roll(4) > 0).then(|| UserId::new(format!("u{}", dice.roll(5))).expect("an id"));
    record.placement = ["home", "cart"][dice.roll(2) as usize].to_owned();
    let is_tidy = dice.roll(3) > 0;
    record.stages = (0..dice.roll(6))
        .map(|n| StageReport {
            stage: format!("retrieve/{}", sources[n as usize % 5]),
            input: n as u32,
            output: 3,
            error: (dice.roll(4) == 0).then(|| "no\n\"reason\"".to_owned()),
        })
        .collect();
    record.considered = (0..dice.roll(40))
        .map(|_| DecisionItem {
            item_id: item(&mut dice),
            score: dice.score(),
            sources: (0..dice.roll(4))
                .map(|n| SourceHit {
                    source: if is_tidy {
                        sources[n as usize]
                    } else {
                        sources[dice.roll(5) as usize]
                    }
                    .into(),
                    rank: dice.roll(1 << 32) as u32,
                    score: dice.score(),
                })
                .collect(),
        })
        .collect();
    record.history = (0..dice.roll(20))
        .map(|_| (item(&mut dice), dice.score()))
        .collect();
    record.removals = (0..dice.roll(9))
        .map(|_| Removal {
            item_id: item(&mut dice),
            rule: "seen".to_owned(),
            reason: format!("reason {}", dice.roll(3)),
        })
        .collect();
    record.policy = (dice.roll(2) == 0).then(|| PolicyRecord {
        name: ["greedy", "softmax"][dice.roll(2) as usize].to_owned(),
        version: "1".to_owned(),
        slate_propensity: 1.0 / (1.0 + dice.roll(1000) as f64),
    });
    record.shown = (0..dice.roll(4))
        .map(|n| Shown {
            item_id: item(&mut dice),
            rank: n as u32 + 1,
            score: dice.score(),
            propensity: 1.0 / (1.0 + dice.roll(7) as f64),
            position_propensity: (dice.roll(2) == 0).then(|| 1.0 / (3.0 + dice.roll(7) as f64)),
            sources: (0..dice.roll(4))
                .map(|n| sources[n as usize].to_owned())
                .collect(),
            reasons: (0..dice.roll(3))
                .map(|n| ["", "because of\n\"é\""][n as usize].to_owned())
                .collect(),
            explanation: (dice.roll(9) == 0).then(Explanation::default),
        })
        .collect();
    record.features = (dice.roll(3) > 0).then(|| {
        let names = [["als", "é"], ["a\nb", ""], ["", ""]][dice.roll(3) as usize];
        let names: Vec<String> = names[..dice.roll(3) as usize]
            .iter()
            .map(|n| (*n).to_owned())
            .collect();
        let values: Vec<f32> = (0..names.len() * dice.roll(4) as usize)
            .map(|_| if dice.roll(9) == 0 { f32::NAN } else { dice.score() })
            .collect();
        let mut features = FeatureRecord::new(names, &values);
        if dice.roll(5) == 0 {
            // Not what is written here, yet possible by its type.
            features
                .rows
                .push(["0", "", "0000000A0000000g", "zz"][dice.roll(4) as usize].to_owned());
        }
        features
    });
    stored.timings_us = (0..dice.roll(4))
        .map(|n| {
            (
                ["total", "ä", "a\nb", ""][n as usize].to_owned(),
                dice.roll(1 << 40),
            )
        })
        .collect();
    let record = &mut stored.decision;
    record.degraded = (0..dice.roll(2))
        .map(|_| Degradation {
            stage: "rank".to_owned(),
            reason: "late".to_owned(),
        })
        .collect();
    stored.request =
        (dice.roll(2) == 0).then(|| serde_json::json!({"recommend": {"placement": "home", "n": 3}}));
    stored
}

fn id(number: u32) -> DecisionId {
    decision(number, 0).decision.decision_id
}

#[test]
fn any_record_comes_back_to_the_last_bit() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let all: Vec<StoredDecision> = (0..400).map(any_decision).collect();
    all.iter().for_each(|stored| assert!(log.record(stored.clone())));
    log.close().expect("it closes");
    let log = open(dir.path());
    for (stored, number) in all.iter().zip(0..) {
        let back = log.get(&id(number)).expect("readable").expect("there");
        assert_eq!(&back, stored, "{number}");
        // Equal is not enough: 0 equals −0.
        let bits = |stored: &StoredDecision| -> Vec<u32> {
            stored
                .decision
                .considered
                .iter()
                .map(|item| item.score.to_bits())
                .collect()
        };
        assert_eq!(bits(&back), bits(stored), "{number}");
    }
}

fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).expect("copied");
    }
    to
}

/// Where the frames of the turn that a tail begins with end; behind them may stand what is left of earlier turns.
fn frames_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let turn = |at: usize| bytes.get(at + 9..at + 17);
        if length == 0 || bytes.len() < at + 8 + length || turn(at) != turn(0) {
            break;
        }
        at += 8 + length;
    }
    at
}

#[test]
fn what_a_killed_process_leaves_has_every_decision() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = DecisionLogOptions {
        sync_interval: Duration::from_secs(3600),
        ..DecisionLogOptions::default()
    };
    let log = DecisionLog::open(dir.path(), options).expect("it opens");
    for number in 0..90 {
        log.record(any_decision(number));
        if number % 20 == 0 {
            log.flush().expect("written");
        }
        // The files as the operating system has them now.
        if number % 13 == 0 || number == 89 {
            let left = copied(dir.path());
            for round in 0..2 {
                let log = open(left.path());
                let expected = if round == 0 { number % 20 } else { 0 };
                assert!(log.stats().recovered >= u64::from(expected), "{:?}", log.stats());
                for earlier in 0..=number {
                    let found = log.get(&id(earlier)).expect("readable");
                    assert_eq!(found, Some(any_decision(earlier)), "{number}: {earlier}");
                }
                log.close().expect("it closes");
            }
        }
    }
    // A torn last frame costs itself alone.
    let left = copied(dir.path());
    for name in ["tail-0.log", "tail-1.log"] {
        let path = left.path().join(name);
        let bytes = std::fs::read(&path).expect("there");
        std::fs::write(&path, &bytes[..frames_end(&bytes).saturating_sub(1)]).expect("written");
    }
    let log = open(left.path());
    assert_eq!(log.get(&id(88)).expect("readable"), Some(any_decision(88)));
    assert_eq!(log.get(&id(89)).expect("readable"), None);
}

/// Every byte written so far, without closing the log.
fn left_by(dir: &Path, decisions: &[StoredDecision]) -> (DecisionLog, Vec<u8>) {
    let options = DecisionLogOptions {
        sync_interval: Duration::from_secs(3600),
        ..DecisionLogOptions::default()
    };
    let log = DecisionLog::open(dir, options).expect("it opens");
    for stored in decisions {
        log.record(stored.clone());
    }
    let bytes = std::fs::read(dir.join("tail-0.log")).expect("there");
    (log, bytes)
}

/// Leaves nothing that would stand in the streams that came last.
fn stays_in_its_line(stored: &mut StoredDecision) {
    stored.decision.features = None;
    stored.timings_us = vec![("a\nb".to_owned(), 3)];
    stored.decision.stages.truncate(1);
    for report in &mut stored.decision.stages {
        report.error = Some("none".to_owned());
    }
    for shown in &mut stored.decision.shown {
        shown.explanation = Some(Explanation::default());
    }
}

/// Seven bits in a byte, the lowest first.
fn number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().expect("another byte");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if *byte < 0x80 {
            return number;
        }
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The history of a record as items each with its strength behind it, from items alone.
fn with_strengths(mut items: &[u8], stored: &StoredDecision) -> Vec<u8> {
    let mut out = Vec::new();
    for (_, strength) in &stored.decision.history {
        put(&mut out, number(&mut items));
        out.extend(strength.to_bits().to_le_bytes());
    }
    assert!(items.is_empty());
    out
}

#[test]
fn a_tail_of_an_earlier_version_is_read() {
    // The first versions had nine streams, and not the nine bytes in front by which a frame tells that it is the first of a block; the next had the front and eleven streams, the
    // next twelve. There were no features, stages, times or things shown in fewer than twelve, and none had one for strengths.
    for (has_front, kept) in [(false, 9), (true, 11), (true, 12)] {
        let is_plain = kept < 12;
        let decision = |number| {
            let mut stored = any_decision(number);
            if is_plain {
                stays_in_its_line(&mut stored);
            }
            stored
        };
        let (mut tail, mut events) = (Vec::new(), 0);
        for at in 0..6 {
            let dir = tempfile::tempdir().expect("a folder");
            let stored = decision(at);
            events += stored.decision.history.len();
            let (_log, bytes) = left_by(dir.path(), std::slice::from_ref(&stored));
            let (front, mut added) = bytes[8..].split_at(9);
            let mut streams: Vec<Vec<u8>> = Vec::new();
            while !added.is_empty() {
                let length = number(&mut added) as usize;
                let (stream, rest) = added.split_at(length);
                streams.push(stream.to_vec());
                added = rest;
            }
            assert_eq!(streams.len(), 13);
            streams[7] = with_strengths(&streams[7], &stored);
            let dropped = streams[kept..12].iter().flatten();
            assert!(dropped.into_iter().all(|byte| *byte == 0), "nothing there");
            let mut body = Vec::new();
            if has_front {
                body.extend(front);
                // The lane is that of the processor.
                body[0] %= 2;
            }
            for stream in &streams[..kept] {
                put(&mut body, stream.len() as u64);
                body.extend(stream);
            }
            tail.extend((body.len() as u32).to_le_bytes());
            tail.extend(crc32fast::hash(&body).to_le_bytes());
            tail.extend(body);
        }
        assert!(events > 3, "{events} events");
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("tail-1.log"), tail).expect("written");
        let log = open(dir.path());
        for at in 0..6 {
            assert_eq!(log.get(&id(at)), Ok(Some(decision(at))), "{kept} {at}");
        }
    }
}

#[test]
fn of_two_with_one_id_the_later_counts() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, _) = left_by(dir.path(), &[]);
    let named = |number: u32, of: u32| {
        let mut stored = any_decision(number);
        stored.decision.decision_id = id(of);
        stored
    };
    let check = |log: &DecisionLog, latest: &StoredDecision, when: &str| {
        assert_eq!(log.get(&id(7)), Ok(Some(latest.clone())), "{when}");
        let mut seen = Vec::new();
        log.each(|stored| seen.push(stored)).expect("readable");
        assert_eq!(seen, std::slice::from_ref(latest), "{when}");
        assert_eq!(log.stats().decisions, 1, "{when}");
    };
    log.record(named(1, 7));
    log.record(named(2, 7));
    check(&log, &named(2, 7), "both waiting");
    log.flush().expect("written");
    check(&log, &named(2, 7), "both written");
    log.record(named(3, 7));
    check(&log, &named(3, 7), "one written, one waiting");
    log.flush().expect("written");
    check(&log, &named(3, 7), "all written");
}

#[test]
fn a_decision_too_large_to_be_kept_costs_itself_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut vast = any_decision(1);
    vast.decision.config_hash = "x".repeat(33 << 20);
    let (log, _) = left_by(dir.path(), &[any_decision(0)]);
    assert!(!log.record(vast));
    assert_eq!(log.stats().dropped, 1);
    assert!(log.record(any_decision(2)));
    let left = copied(dir.path());
    let again = open(left.path());
    for number in [0, 2] {
        assert_eq!(again.get(&id(number)), Ok(Some(any_decision(number))));
    }
    assert_eq!(again.get(&id(1)), Ok(None));
    let said = log.flush().expect_err("one was lost");
    assert!(said.to_string().contains(id(1).as_str()), "{said}");
    assert_eq!(log.get(&id(2)), Ok(Some(any_decision(2))));
}

#[test]
fn files_of_earlier_versions_are_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let old: Vec<StoredDecision> = (0..3).map(any_decision).collect();
    let mut body = 3u16.to_le_bytes().to_vec();
    let mut text = Vec::new();
    for stored in &old {
        let id = stored.decision.decision_id.as_str();
        body.extend((id.len() as u16).to_le_bytes());
        body.extend(id.as_bytes());
        text.extend(serde_json::to_vec(stored).expect("JSON"));
        text.push(b'\n');
    }
    body.extend(zstd::bulk::compress(&text, 1).expect("compressed"));
    let mut file = b"CNCDEC01".to_vec();
    file.extend((body.len() as u32).to_le_bytes());
    file.extend(crc32fast::hash(&body).to_le_bytes());
    file.extend(body);
    std::fs::write(dir.path().join("decisions-0000000001.log"), file).expect("written");
    let log = open(dir.path());
    log.record(any_decision(3));
    log.flush().expect("written");
    for number in 0..4 {
        assert_eq!(log.get(&id(number)), Ok(Some(any_decision(number))));
    }
    assert_eq!(
        log.find(&DecisionFilter::default(), 10).expect("readable").len(),
        4
    );
}

#[test]
fn filters_find_what_a_look_at_every_record_finds() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let all: Vec<StoredDecision> = (0..120).map(any_decision).collect();
    for (number, stored) in all.iter().enumerate() {
        log.record(stored.clone());
        if number % 30 == 0 {
            log.flush().expect("written");
        }
    }
    let mut dice = Dice(5);
    for round in 0..30 {
        let filter = DecisionFilter {
            from: (dice.roll(3) == 0).then(|| Timestamp(dice.roll(1000) as i64 - 500)),
            to: (dice.roll(3) == 0).then(|| Timestamp(dice.roll(1000) as i64 - 500)),
            user_id: (dice.roll(3) == 0).then(|| UserId::new(format!("u{}", dice.roll(6))).expect("an id")),
            item_id: (dice.roll(4) == 0).then(|| item(&mut dice)),
            placement: (dice.roll(3) == 0).then(|| "cart".to_owned()),
            policy: (dice.roll(3) == 0).then(|| "softmax".to_owned()),
            before: None,
        };
        let mut expected: Vec<&StoredDecision> = all
            .iter()
            .filter(|stored| {
                let decision = &stored.decision;
                filter.from.is_none_or(|from| decision.now >= from)
                    && filter.to.is_none_or(|to| decision.now < to)
                    && (filter.user_id.is_none() || decision.user_id == filter.user_id)
                    && filter.placement.as_ref().is_none_or(|p| *p == decision.placement)
                    && filter
                        .policy
                        .as_ref()
                        .is_none_or(|p| decision.policy.as_ref().is_some_and(|d| d.name == *p))
                    && filter
                        .item_id
                        .as_ref()
                        .is_none_or(|i| decision.shown.iter().any(|s| s.item_id == *i))
            })
            .collect();
        expected.sort_by_key(|stored| {
            std::cmp::Reverse((stored.decision.now, stored.decision.decision_id.clone()))
        });
        // Page by page.
        let (mut pages, mut next) = (Vec::new(), filter.clone());
        loop {
            let page = log.find(&next, 25).expect("readable");
            let Some(last) = page.last() else { break };
            next.before = Some((last.decision.now, last.decision.decision_id.clone()));
            pages.extend(page);
        }
        assert_eq!(
            pages.iter().collect::<Vec<_>>(),
            expected,
            "round {round}: {filter:?}"
        );
    }
}

#[test]
fn files_go_by_age() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = DecisionLogOptions {
        file_bytes: 20_000,
        ..DecisionLogOptions::default()
    };
    let log = DecisionLog::open(dir.path(), options).expect("it opens");
    for number in 0..200 {
        log.record(decision(number, 60));
        if number % 5 == 0 {
            log.flush().expect("it is written");
        }
    }
    log.flush().expect("it is written");
    log.retire_before(Timestamp(100));
    log.record(decision(200, 60));
    log.flush().expect("it is written");
    assert_eq!(log.get(&id(20)), Ok(None));
    assert!(log.get(&id(100)).expect("readable").is_some());
    log.retire_before(Timestamp(10_000));
    log.record(decision(201, 60));
    log.flush().expect("it is written");
    assert!(
        log.get(&id(201)).expect("readable").is_some(),
        "the last file stays"
    );
}
