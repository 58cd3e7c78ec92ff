//! `concierge bench serve`: slates per second of a catalogue of any size, and what happens beyond that.

mod about;
mod folder;
mod load;
mod people;

use super::child::Server;
use super::http::{Connection, Prepared};
use super::scratch::Scratch;
use super::tell;
use crate::failure::bad_input;
use load::{Load, Measured};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// The placement with the whole pipeline, and the one without learnt ranker, rules and diversity.
const FULL: &str = "home";
const LIGHT: &str = "light";
/// Connections that more than can be done is sent over.
const CROWD: u64 = 512;

/// Slates per second over loopback HTTP, with users drawn evenly from all: as fast as they go, then at a steady rate, then at several times
/// of what was reached, the ranker failing for the middle third of that.
///
/// The pipeline is the whole one: candidates of five sources, a ranker of trees, rules of every kind, diversity, decision recorded. The ranker comes about as a
/// product's would: simulated people of known taste are shown slates, click, and it learns from the joined decisions. What slates really were made of (candidates,
/// features, trees, rules) is read off their records and told under `pipeline`, the time of each stage with each part of the run.
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
    /// Ask for the placement without learnt ranker, rules and diversity instead
    #[arg(long)]
    light: bool,
    /// Decisions shown to simulated people, for the ranker to learn from
    #[arg(long, value_name = "N", default_value_t = 6000, value_parser = clap::value_parser!(u64).range(600..=50_000))]
    decisions: u64,
    /// How long each part takes
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Multiple of what was reached that is sent in the last part; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    overload: f64,
    /// How long the last part takes; the ranker fails for its middle third. As long as the others if not given
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(3..=3600))]
    overload_seconds: Option<u64>,
    /// Price of an hour of one processor core, in any currency, for the cost of a million slates
    #[arg(long, value_name = "PRICE", default_value_t = 0.04)]
    core_hour: f64,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    fn placement(&self) -> &'static str {
        if self.light { LIGHT } else { FULL }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !(0.0..=100.0).contains(&args.overload) {
        return Err(bad_input("--overload", args.overload.to_string(), "0 to 100"));
    }
    let scratch = Scratch::new()?;
    let dir = args.data.clone().unwrap_or_else(|| scratch.join("data"));
    let made = folder::prepare(args, &dir)?;
    let server = Server::start(&dir)?;
    let load = Load::new(args, server.address);
    // What is made on first use is made by the first requests.
    load.closed(2)?;
    let most = Measured::of(&server, || load.closed(args.seconds))?;
    let steady = Measured::of(&server, || {
        load.steady(args.rate, args.connections.max(16), args.seconds, &|_| {})
    })?;
    let pipeline = about::pipeline(server.address, args.placement(), load.requests())?;
    let beyond = if args.overload > 0.0 {
        Some(beyond(args, &server, &load, &most)?)
    } else {
        None
    };
    let per_slate = steady.server_seconds / steady.count() as f64;
    let report = json!({
        "machine": { "cores": std::thread::available_parallelism().map_or(1, usize::from), "load": "on the same cores" },
        "data": made,
        "pipeline": pipeline,
        "as_fast_as_they_go": most.told(),
        "steady": steady.told(),
        "server_cpu_ms_per_slate": round(per_slate * 1e3),
        "cost_per_million_slates": round(per_slate * 1e6 / 3600.0 * args.core_hour),
        "core_hour": args.core_hour,
        "beyond": beyond,
        "server_peak_memory_mb": server.peak_mb(),
    });
    tell(&report, args.json)
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Several times of what can be done, the ranker failing for the middle third.
fn beyond(args: &Args, server: &Server, load: &Load, most: &Measured) -> anyhow::Result<Value> {
    let rate = (most.count() as f64 / most.seconds * args.overload) as u64;
    let fail = |fails: bool| -> anyhow::Result<u16> {
        let body = json!({ "ranker": { "fail": fails } }).to_string();
        Connection::open(server.address)?.send_prepared(&Prepared::put("/v1/chaos", &body))
    };
    let seconds = args.overload_seconds.unwrap_or(args.seconds);
    let third = (seconds / 3).max(1);
    // Asked for with everybody else, so it may be turned away and is asked for again the second after.
    let each_second = |second: u64| {
        let failing = (third..2 * third).contains(&second);
        match fail(failing) {
            Ok(200 | 503) => {}
            other => tracing::warn!(?other, "the faults could not be changed"),
        }
    };
    let run = Measured::of(server, || load.steady(rate.max(1), CROWD, seconds, &each_second))?;
    let mut left = 0;
    while fail(false)? != 200 && left < 100 {
        left += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let again = Measured::of(server, || load.closed(2))?;
    let mut told = run.told();
    told["seconds"] = json!(seconds);
    told["asked_per_second"] = json!(rate);
    told["degraded_afterwards"] = json!(again.seen.degraded);
    Ok(told)
}
