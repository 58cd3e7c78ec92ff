//! Killed at random moments while writing and training, reopened, and checked: every acknowledged event is
//! there, none twice even if it is sent again, none that nobody sent, no half of a batch, no torn model, and every decision
//! whose answer came is in the decision log and comes out the same when it is replayed.
//!
//! Five rounds by default; `CONCIERGE_CRASH_ROUNDS=100` is the long form (see `scripts/crash.sh`),
//! `CONCIERGE_CRASH_SEED` another course of events. A failure names the seed and the round.

use crate::folders::on;
use crate::served::Served;
use assembly::Stores;
use numeric::SeededStream;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::tempdir;

const WRITERS: u64 = 4;
/// Rounds on one folder, which grows from round to round and is read whole after each.
const FOLDER_ROUNDS: u64 = 10;

/// Batches by name, with how many events each has; those that were acknowledged; and what was sent since the last start.
#[derive(Default)]
struct Sent {
    batches: BTreeMap<String, u64>,
    bodies: BTreeMap<String, String>,
    acknowledged: Vec<String>,
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Posts batches until the server is gone. Now and then one is sent again, as a client would after a
/// lost answer.
fn write(url: &str, round: u64, writer: u64, seed: u64, over: &AtomicBool) -> Sent {
    let mut stream = SeededStream::new(seed, round * WRITERS + writer);
    let mut sent = Sent::default();
    let agent = Served::agent();
    for number in 0u64.. {
        let name = format!("r{round}-w{writer}-n{number}");
        let size = 1 + stream.below(40);
        let rows: String = (0..size)
            .map(|row| {
                let (user, item) = (stream.below(50), stream.below(80));
                format!(
                    "{{\"event_id\":\"{name}/{row}\",\"user_id\":\"u{user}\",\"item_id\":\"i{item}\",\"event_type\":\"click\"}}\n"
                )
            })
            .collect();
        sent.batches.insert(name.clone(), size);
        sent.bodies.insert(name.clone(), rows.clone());
        let times = if stream.below(5) == 0 { 2 } else { 1 };
        for time in 0..times {
            if over.load(Ordering::Relaxed) {
                return sent;
            }
            let posted = agent
                .post(format!("{url}/v1/events"))
                .header("content-type", "application/x-ndjson")
                .send(&rows);
            let Ok(mut answer) = posted else { return sent };
            let status = answer.status();
            let Ok(told) = answer.body_mut().read_json::<serde_json::Value>() else {
                return sent;
            };
            assert_eq!(status, 200, "{told}");
            let (accepted, duplicate) = (told["accepted"].as_u64(), told["duplicate"].as_u64());
            let expected = if time == 0 {
                (Some(size), Some(0))
            } else {
                (Some(0), Some(size))
            };
            assert_eq!((accepted, duplicate), expected, "{name}: {told}");
            if time == 0 {
                sent.acknowledged.push(name.clone());
            }
        }
    }
    sent
}

/// Sends everything of the last round again, as clients do after a crash: what was acknowledged is known, and what was
/// not is taken as a whole now if it was not before.
fn retry(url: &str, sent: &mut Sent, at: &str) {
    let agent = Served::agent();
    for (name, rows) in std::mem::take(&mut sent.bodies) {
        let mut answer = agent
            .post(format!("{url}/v1/events"))
            .header("content-type", "application/x-ndjson")
            .send(&rows)
            .expect("nobody kills the server now");
        let told: serde_json::Value = answer.body_mut().read_json().expect("JSON");
        let size = sent.batches[&name];
        let (accepted, duplicate) = (told["accepted"].as_u64(), told["duplicate"].as_u64());
        if sent.acknowledged.contains(&name) {
            assert_eq!(
                (accepted, duplicate),
                (Some(0), Some(size)),
                "{at}: {name} was acknowledged"
            );
        } else {
            let whole = [(Some(0), Some(size)), (Some(size), Some(0))];
            assert!(
                whole.contains(&(accepted, duplicate)),
                "{at}: {name} is neither new nor known: {told}"
            );
            sent.acknowledged.push(name);
        }
    }
}

/// Asks for trainings and slates, one after the other, waiting for each. Gives the decisions whose answers came.
fn train(url: &str, over: &AtomicBool) -> Vec<String> {
    let agent = Served::agent();
    let mut decisions = Vec::new();
    while !over.load(Ordering::Relaxed) {
        if agent
            .post(format!("{url}/v1/train"))
            .send_json(serde_json::json!({ "wait": true }))
            .is_err()
        {
            break;
        }
        for user in 0..5 {
            let request = serde_json::json!({ "placement": "home", "user_id": format!("u{user}") });
            let answer = agent.post(format!("{url}/v1/recommend")).send_json(&request);
            let told = answer.and_then(|mut answer| answer.body_mut().read_json::<serde_json::Value>());
            match told {
                Ok(told) => decisions.extend(told["decision_id"].as_str().map(str::to_owned)),
                Err(_) => return decisions,
            }
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    decisions
}

/// Starts a server and kills it while it opens the folder, or soon after.
fn cut_short(data: &Path, after: Duration) {
    let mut child = crate::run::command()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the binary starts");
    std::thread::sleep(after);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

/// What the log has, by batch; panics for an event that is there twice.
fn stored(data: &Path) -> HashMap<String, u64> {
    let stores = Stores::open(data, &mut assembly::OpenReport::default()).expect("the stores open");
    let mut seen = std::collections::HashSet::new();
    let mut found: HashMap<String, u64> = HashMap::new();
    let mut last = 0;
    let mut visit = |sequence: domain::Sequence, event: domain::Event| {
        assert_eq!(sequence.0, last + 1, "numbers have no gaps");
        last = sequence.0;
        let id = event.event_id.expect("every event has an id").to_string();
        let batch = id.rsplit_once('/').expect("ids have two parts").0.to_owned();
        assert!(seen.insert(id.clone()), "{id} is there twice");
        *found.entry(batch).or_default() += 1;
    };
    stores.log.for_each(&mut visit).expect("the log is whole");
    found
}

/// The decisions that can be looked up.
fn feedback_of(data: &Path) -> std::collections::HashSet<String> {
    let (mut ids, mut after) = (std::collections::HashSet::new(), None::<String>);
    loop {
        let mut args = vec!["decisions", "--limit", "1000", "--json"];
        args.extend(after.iter().flat_map(|after| ["--after", after.as_str()]));
        let page = on(data, &args).code(0).json();
        for one in page["decisions"].as_array().into_iter().flatten() {
            ids.extend(one["decision_id"].as_str().map(str::to_owned));
        }
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return ids;
        }
    }
}

#[test]
fn killed_at_any_moment_it_keeps_what_it_acknowledged() {
    let rounds = from_environment("CONCIERGE_CRASH_ROUNDS", 5);
    let seed = from_environment("CONCIERGE_CRASH_SEED", 1);
    let mut stream = SeededStream::new(seed, u64::MAX);
    let (mut acknowledged, mut begun) = (0, 0);
    while begun < rounds {
        let end = rounds.min(begun + FOLDER_ROUNDS);
        acknowledged += survive(begun..end, seed, &mut stream);
        begun = end;
    }
    assert!(
        acknowledged > 0,
        "nothing was acknowledged, so nothing was tested"
    );
}

/// Some rounds on one folder; gives the number of batches acknowledged.
fn survive(rounds: std::ops::Range<u64>, seed: u64, stream: &mut SeededStream) -> usize {
    let root = tempdir().expect("a folder");
    let data = root.path().join("data");
    let mut sent = Sent::default();
    let mut decided: Vec<String> = Vec::new();
    on(&data, &["init"]).code(0);
    // A learner that is done in milliseconds, so that bundles are published all the time.
    let path = data.join("concierge.toml");
    let config = std::fs::read_to_string(&path).expect("the configuration");
    let quick = config.replace("model = \"blend\"", "model = \"item-cosine\"");
    assert_ne!(quick, config);
    std::fs::write(&path, quick).expect("writable");
    for round in rounds.clone() {
        let at = format!("seed {seed}, round {round}");
        if stream.below(3) == 0 {
            cut_short(&data, Duration::from_millis(stream.below(25)));
        }
        let mut server = Served::start(&data, &[]);
        let url = server.url();
        retry(&url, &mut sent, &at);
        let life = Duration::from_millis(20 + stream.below(600));
        let over = AtomicBool::new(false);
        let parts: Vec<Sent> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn({
                        let (url, over) = (&url, &over);
                        move || write(url, round, writer, seed, over)
                    })
                })
                .collect();
            let trains = scope.spawn(|| train(&url, &over));
            std::thread::sleep(life);
            server.kill();
            over.store(true, Ordering::Relaxed);
            decided.extend(trains.join().expect("no asker panics"));
            writers
                .into_iter()
                .map(|writer| writer.join().expect("no writer panics"))
                .collect()
        });
        for part in parts {
            sent.batches.extend(part.batches);
            sent.bodies.extend(part.bodies);
            sent.acknowledged.extend(part.acknowledged);
        }
        let found = stored(&data);
        for name in &sent.acknowledged {
            assert_eq!(
                found.get(name),
                sent.batches.get(name),
                "{at}: acknowledged batch {name}"
            );
        }
        for (name, events) in &found {
            assert_eq!(
                Some(events),
                sent.batches.get(name),
                "{at}: batch {name} is stored in part, or nobody sent it"
            );
        }
        let kept = feedback_of(&data);
        let lost: Vec<&String> = decided.iter().filter(|id| !kept.contains(*id)).collect();
        assert!(
            lost.is_empty(),
            "{at}: of {} decisions answered, {lost:?} are lost",
            decided.len()
        );
        let again = on(&data, &["replay", "--sample", "60", "--json"]).code(0).json();
        assert_eq!(again["identical"], again["replayed"], "{at}: {again:#}");
        assert_eq!(again["gone"], serde_json::json!({}), "{at}: {again:#}");
        let report = on(&data, &["doctor", "--json"]).code(0).json();
        assert_eq!(report["ok"], true, "{at}: {report:#}");
    }
    let status = on(&data, &["status", "--json"]).code(0).json();
    assert_eq!(status["warnings"], serde_json::json!([]), "{status:#}");
    eprintln!(
        "rounds {rounds:?}: {} decisions answered, {} batches acknowledged of {} sent, {} events stored, bundle {}",
        decided.len(),
        sent.acknowledged.len(),
        sent.batches.len(),
        status["events"],
        status["snapshot"]
    );
    sent.acknowledged.len()
}
