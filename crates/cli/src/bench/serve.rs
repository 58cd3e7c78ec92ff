//! `concierge bench serve`: slates per second of a catalogue of any size, and what happens beyond that.

use super::child::Server;
use super::http::{Connection, Prepared};
use super::scratch::Scratch;
use super::{Durations, tell};
use crate::bulk::Bulk;
use crate::failure::bad_input;
use crate::{folder, memory, progress};
use anyhow::ensure;
use assembly::{ChaosConfig, Config, PlacementConfig};
use dataset::Synthetic;
use import::Sink;
use numeric::SeededStream;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rows put into a store at a time.
const ROWS: usize = 20_000;
/// Connections that more than can be done is sent over.
const CROWD: u64 = 512;

/// Slates per second over loopback HTTP, with users drawn evenly from all: as fast as they go, then at a steady rate, then at several times
/// of what was reached, the ranker failing for the middle third of that.
///
/// The load is made on the same machine. Without `--data` a folder is made up by the seeded generator and trained first, which takes minutes
/// at a million items; keep it with `--data` to ask again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  concierge bench serve --data /tmp/million --items 1000000 --users 1000000 --events 8000000 --json"
)]
pub(crate) struct Args {
    /// Folder made by an earlier run, or to be made; without it one that is removed afterwards
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Items made up
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    items: u32,
    /// Users made up
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    users: u32,
    /// Events made up
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    events: u64,
    /// Source of all randomness
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Items of a slate
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    n: u64,
    /// Connections, each waiting for its answer before it asks again
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    connections: u64,
    /// Slates per second asked for at a steady rate
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// How long each part takes
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Multiple of what was reached that is sent in the last part; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    overload: f64,
    /// Price of an hour of one processor core, in any currency, for the cost of a million slates
    #[arg(long, value_name = "PRICE", default_value_t = 0.04)]
    core_hour: f64,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !(0.0..=100.0).contains(&args.overload) {
        return Err(bad_input("--overload", args.overload.to_string(), "0 to 100"));
    }
    let scratch = Scratch::new()?;
    let dir = args.data.clone().unwrap_or_else(|| scratch.join("data"));
    let made = prepare(args, &dir)?;
    let server = Server::start(&dir)?;
    let load = Load::new(args, server.address);
    // What is made on first use is made by the first requests.
    load.closed(2)?;
    let most = Measured::of(&server, || load.closed(args.seconds))?;
    let steady = Measured::of(&server, || {
        load.steady(args.rate, args.connections.max(16), args.seconds, &|_| {})
    })?;
    let stages = stages(server.address)?;
    let beyond = if args.overload > 0.0 {
        Some(beyond(args, &server, &load, &most)?)
    } else {
        None
    };
    let per_slate = steady.server_seconds / steady.count() as f64;
    let report = json!({
        "machine": { "cores": std::thread::available_parallelism().map_or(1, usize::from), "load": "on the same cores" },
        "data": made,
        "as_fast_as_they_go": most.told(),
        "steady": steady.told(),
        "server_cpu_ms_per_slate": round(per_slate * 1e3),
        "cost_per_million_slates": round(per_slate * 1e6 / 3600.0 * args.core_hour),
        "core_hour": args.core_hour,
        "stages_us": stages,
        "beyond": beyond,
        "server_peak_memory_mb": server.peak_mb(),
    });
    tell(&report, args.json)
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Makes the folder, as far as it is not made yet, and trains.
fn prepare(args: &Args, dir: &Path) -> anyhow::Result<Value> {
    let synthetic = Synthetic {
        users: args.users,
        items: args.items,
        events: args.events,
        tastes: 200,
        exponent: 0.8,
        seed: args.seed,
        ..Synthetic::default()
    };
    if folder::is_empty(dir) {
        crate::config_file::write_if_absent(dir, &config())?;
        fill(&synthetic, &mut Bulk::open(dir)?)?;
    }
    memory::reset_peak();
    let started = Instant::now();
    let (service, _) = folder::open_or_create(folder::check(dir)?)?;
    let opened = started.elapsed().as_secs_f64();
    let mut trained = Value::Null;
    if service.status().trained_at.is_none() {
        let report = service.train(&|step| tracing::info!(step, "training"))?;
        trained = json!({ "seconds": report.seconds, "peak_memory_mb": memory::peak_mb() });
    }
    let status = service.status();
    service.close()?;
    let models: u64 = status.models.iter().map(|(_, bytes)| bytes).sum();
    Ok(json!({
        "items": status.items,
        "users": status.users,
        "events": status.events,
        "seed": args.seed,
        "opened_seconds": round(opened),
        "models_mb": models as f64 / 1e6,
        "training": trained,
    }))
}

/// The whole pipeline but for one source: neighbours by attributes are part of the ranking and do not propose, since in made-up catalogues
/// tens of thousands of items have the same attributes.
fn config() -> Config {
    let sources = ["item-bm25", "als", "popular", "trending", "recent"];
    let home = PlacementConfig {
        sources: sources.map(str::to_owned).to_vec(),
        source_quota: 125,
        ..PlacementConfig::default()
    };
    let mut config = Config {
        placements: BTreeMap::from([("home".to_owned(), home)]),
        chaos: Some(ChaosConfig::asked_for()),
        ..Config::default()
    };
    config.training.every_minutes = 0;
    let part = |model: &str, settings: Value| json!({ "model": model, "config": settings });
    config.training.model_config = Some(json!({
        "parts": [
            part("item-bm25", json!({ "neighbours": 100 })),
            part("als", json!({ "epochs": 6 })),
            part("content", json!({})),
            part("popular", json!({})),
        ],
        // The weights are those that come without data: speed is what is measured here.
        "validation_users": 0,
    }));
    config
}

fn fill(synthetic: &Synthetic, bulk: &mut Bulk) -> anyhow::Result<()> {
    let failed = |reason: String| anyhow::anyhow!("filling the folder: {reason}");
    let spinner = progress::spinner("making up items and events");
    let mut items = synthetic.items();
    loop {
        let rows: Vec<_> = items.by_ref().take(ROWS).collect();
        if rows.is_empty() {
            break;
        }
        bulk.items(rows).map_err(failed)?;
    }
    let mut events = synthetic.events();
    loop {
        let rows: Vec<_> = events
            .by_ref()
            .take(ROWS)
            .map(|event| signals::new_event(event, true))
            .collect();
        if rows.is_empty() {
            break;
        }
        bulk.events(rows).map_err(failed)?;
    }
    spinner.finish_and_clear();
    Ok(())
}

/// What one connection saw: how long each answer took, and of which kind they were.
#[derive(Default)]
struct Seen {
    took: Durations,
    /// Answers by status.
    statuses: BTreeMap<u16, u64>,
    /// Slates that did not go as configured.
    degraded: u64,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.took.0.extend(other.took.0);
        self.degraded += other.degraded;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }
}

/// Requests for slates of users drawn evenly.
struct Load {
    address: SocketAddr,
    requests: Vec<Prepared>,
    connections: u64,
}

impl Load {
    fn new(args: &Args, address: SocketAddr) -> Load {
        let users = Synthetic {
            users: args.users,
            ..Synthetic::default()
        };
        let mut stream = SeededStream::new(args.seed, 77);
        let request = |_| {
            let user = users.user_id((stream.uniform() * f64::from(args.users)) as u32);
            let body = json!({ "placement": "home", "user_id": user, "n": args.n });
            Prepared::post("/v1/recommend", &body.to_string())
        };
        Load {
            address,
            requests: (0..100_000).map(request).collect(),
            connections: args.connections,
        }
    }

    fn ask(
        &self,
        connection: &mut Connection,
        number: u64,
        since: Instant,
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        let request = &self.requests[number as usize % self.requests.len()];
        let status = connection.send_prepared(request)?;
        *seen.statuses.entry(status).or_default() += 1;
        if status == 200 {
            seen.took.0.push(since.elapsed());
            seen.degraded += u64::from(!contains(&connection.body, b"\"degraded\":[]"));
        }
        Ok(())
    }

    /// Each connection asks again as soon as it is answered.
    fn closed(&self, seconds: u64) -> anyhow::Result<Seen> {
        let (next, begun) = (AtomicU64::new(0), Instant::now());
        self.on(self.connections, |_, connection, seen| {
            while begun.elapsed() < Duration::from_secs(seconds) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                self.ask(connection, number, Instant::now(), seen)?;
            }
            Ok(())
        })
    }

    /// So many a second, whether or not answers came; durations count from the scheduled moment. `each_second` is told every second that has
    /// passed.
    fn steady(
        &self,
        rate: u64,
        connections: u64,
        seconds: u64,
        each_second: &(dyn Fn(u64) + Sync),
    ) -> anyhow::Result<Seen> {
        let begun = Instant::now();
        let all = rate * seconds;
        self.on(connections, |carrier, connection, seen| {
            let (mut number, mut told) = (carrier, 0);
            while number < all {
                let due = begun + Duration::from_secs_f64(number as f64 / rate as f64);
                let now = Instant::now();
                if due > now {
                    std::thread::sleep(due - now);
                }
                if carrier == 0 && begun.elapsed().as_secs() > told {
                    told = begun.elapsed().as_secs();
                    each_second(told);
                }
                if begun.elapsed() > Duration::from_secs(seconds + 2) {
                    break;
                }
                self.ask(connection, number, due, seen)?;
                number += connections;
            }
            Ok(())
        })
    }

    fn on(
        &self,
        connections: u64,
        work: impl Fn(u64, &mut Connection, &mut Seen) -> anyhow::Result<()> + Sync,
    ) -> anyhow::Result<Seen> {
        let mut all = Seen::default();
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..connections)
                .map(|carrier| {
                    scope.spawn(move || {
                        let mut connection = Connection::open(self.address)?;
                        let mut seen = Seen::default();
                        work(carrier, &mut connection, &mut seen)?;
                        anyhow::Ok(seen)
                    })
                })
                .collect();
            for thread in threads {
                all.add(
                    thread
                        .join()
                        .map_err(|_| anyhow::anyhow!("a connection panicked"))??,
                );
            }
            Ok(all)
        })
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    // From the end, where it stands in an answer.
    text.windows(part.len()).rev().any(|window| window == part)
}

/// What a part of the run came to.
struct Measured {
    seen: Seen,
    seconds: f64,
    server_seconds: f64,
    load_seconds: f64,
}

impl Measured {
    fn of(server: &Server, run: impl FnOnce() -> anyhow::Result<Seen>) -> anyhow::Result<Measured> {
        let (begun, of_server, of_load) = (
            Instant::now(),
            server.cpu_seconds(),
            memory::cpu_seconds_of("self"),
        );
        let seen = run()?;
        let since =
            |now: Option<f64>, then: Option<f64>| now.zip(then).map_or(f64::NAN, |(now, then)| now - then);
        ensure!(!seen.took.0.is_empty(), "not a single slate: {:?}", seen.statuses);
        Ok(Measured {
            seen,
            seconds: begun.elapsed().as_secs_f64(),
            server_seconds: since(server.cpu_seconds(), of_server),
            load_seconds: since(memory::cpu_seconds_of("self"), of_load),
        })
    }

    fn count(&self) -> usize {
        self.seen.took.0.len()
    }

    fn told(&self) -> Value {
        let mut took = Durations(self.seen.took.0.clone());
        json!({
            "slates_per_second": (self.count() as f64 / self.seconds).round(),
            "ms": took.told(),
            "statuses": statuses(&self.seen),
            "degraded": self.seen.degraded,
            "server_cores": round(self.server_seconds / self.seconds),
            "load_cores": round(self.load_seconds / self.seconds),
        })
    }
}

fn statuses(seen: &Seen) -> Value {
    let pairs = seen
        .statuses
        .iter()
        .map(|(status, count)| (status.to_string(), json!(count)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// Mean microseconds by stage since the start, as the server's figures have it.
fn stages(address: SocketAddr) -> anyhow::Result<Value> {
    let mut connection = Connection::open(address)?;
    let status = connection.send_prepared(&Prepared::get("/metrics"))?;
    ensure!(status == 200, "/metrics answered {status}");
    let text = String::from_utf8_lossy(&connection.body).into_owned();
    let figure = |kind: &str| -> BTreeMap<String, f64> {
        let head = format!("concierge_stage_seconds_{kind}{{stage=\"");
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(&head)?.split_once("\"} "));
        lines
            .filter_map(|(stage, value)| Some((stage.to_owned(), value.parse().ok()?)))
            .collect()
    };
    let (sums, counts) = (figure("sum"), figure("count"));
    let mean = |(stage, sum): (&String, &f64)| {
        let count = counts.get(stage).copied().unwrap_or(1.0).max(1.0);
        (stage.clone(), json!((sum / count * 1e7).round() / 10.0))
    };
    Ok(Value::Object(sums.iter().map(mean).collect::<Map<_, _>>()))
}

/// Several times of what can be done, the ranker failing for the middle third.
fn beyond(args: &Args, server: &Server, load: &Load, most: &Measured) -> anyhow::Result<Value> {
    let rate = (most.count() as f64 / most.seconds * args.overload) as u64;
    let fail = |fails: bool| -> anyhow::Result<u16> {
        let body = json!({ "ranker": { "fail": fails } }).to_string();
        Connection::open(server.address)?.send_prepared(&Prepared::put("/v1/chaos", &body))
    };
    let third = (args.seconds / 3).max(1);
    // Asked for with everybody else, so it may be turned away and is asked for again the second after.
    let each_second = |second: u64| {
        let failing = (third..2 * third).contains(&second);
        match fail(failing) {
            Ok(200 | 503) => {}
            other => tracing::warn!(?other, "the faults could not be changed"),
        }
    };
    let run = Measured::of(server, || {
        load.steady(rate.max(1), CROWD, args.seconds, &each_second)
    })?;
    let mut left = 0;
    while fail(false)? != 200 && left < 100 {
        left += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let again = Measured::of(server, || load.closed(2))?;
    let mut told = run.told();
    told["asked_per_second"] = json!(rate);
    told["degraded_afterwards"] = json!(again.seen.degraded);
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_that_can_be() {
        let text = config().to_toml();
        Config::parse(&text, Path::new("concierge.toml")).expect("it parses");
        assert!(contains(b"{\"degraded\":[],\"x\":1}", b"\"degraded\":[]"));
        assert!(!contains(b"{\"degraded\":[{}]}", b"\"degraded\":[]"));
    }
}
