//! `concierge bench ingest`: durable events per second through HTTP.

use super::child::Server;
use super::http::Connection;
use super::scratch::Scratch;
use super::{Durations, tell};
use anyhow::{Context, ensure};
use numeric::SeededStream;
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Post events in NDJSON batches over loopback HTTP. Every batch is on stable storage before it is answered.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge bench ingest --connections 8 --batch 1000 --seconds 10 --json")]
pub(crate) struct Args {
    /// Connections, each waiting for its answer before it sends again
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=256))]
    connections: u64,
    /// Events per batch
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
    /// How long
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Different users
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// Different items
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    items: u64,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let server = Server::start(&scratch.join("data"))?;
    let started = Instant::now();
    let end = started + Duration::from_secs(args.seconds);
    let address = server.address;
    let found: Vec<anyhow::Result<(u64, Vec<Duration>)>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.connections)
            .map(|worker| scope.spawn(move || load(args, address, worker, end)))
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| anyhow::bail!("a connection panicked"))
            })
            .collect()
    });
    let seconds = started.elapsed().as_secs_f64();
    let (mut events, mut batches) = (0, Durations::default());
    for part in found {
        let (sent, took) = part?;
        events += sent;
        batches.0.extend(took);
    }
    let report = json!({
        "events": events,
        "seconds": (seconds * 1e3).round() / 1e3,
        "events_per_second": (events as f64 / seconds).round(),
        "connections": args.connections,
        "batch": args.batch,
        "batches": batches.0.len(),
        "batch_ms": batches.told(),
        "server_peak_memory_mb": server.peak_mb(),
    });
    tell(&report, args.json)
}

/// Sends batches on one connection until the time is over.
fn load(args: &Args, address: SocketAddr, worker: u64, end: Instant) -> anyhow::Result<(u64, Vec<Duration>)> {
    let mut connection = Connection::open(address)?;
    let mut stream = SeededStream::new(1, worker);
    let (mut sent, mut took, mut body) = (0u64, Vec::new(), Vec::new());
    while Instant::now() < end {
        body.clear();
        for at in 0..args.batch {
            let user = skewed(&mut stream, args.users);
            let item = skewed(&mut stream, args.items);
            // Workers have milliseconds of their own, so no event repeats another.
            let moment = 1_700_000_000_000 + (sent + at) * 256 + worker;
            writeln!(
                body,
                r#"{{"user_id":"u{user}","item_id":"i{item}","event_type":"click","timestamp":{moment}}}"#
            )?;
        }
        let begun = Instant::now();
        let status = connection.post("/v1/events", "application/x-ndjson", &body)?;
        took.push(begun.elapsed());
        ensure!(
            status == 200,
            "the server answered {status}: {}",
            connection.text()
        );
        let answer: Value = serde_json::from_slice(&connection.body).context("reading an answer")?;
        ensure!(
            answer["accepted"] == args.batch,
            "expected {} accepted events, got {}",
            args.batch,
            connection.text()
        );
        sent += args.batch;
    }
    Ok((sent, took))
}

/// Smaller numbers are likelier: the square of a uniform draw.
fn skewed(stream: &mut SeededStream, n: u64) -> u64 {
    let draw = stream.uniform();
    (draw * draw * n as f64) as u64
}
