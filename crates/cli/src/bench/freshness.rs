//! `concierge bench freshness`: from the answer of an event to a changed recommendation, under load.

use super::child::Server;
use super::http::{Connection, Prepared};
use super::scratch::Scratch;
use super::{Durations, tell};
use crate::failure::bad_input;
use crate::{demo, folder};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A recommendation that has not changed after this long counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Users that requests are made for.
const USERS_MAX: usize = 500;

/// Time from the answer to POST /v1/events until that user's recommendation has changed, while other
/// requests come at a steady rate.
///
/// A probe asks for a list, likes its first item, and asks again until that item is gone and the
/// others have other scores or another order: so both the user's state and the model's opinion have
/// taken the event in.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge bench freshness --rate 1000 --probes 500 --json")]
pub(crate) struct Args {
    /// Trained data folder, which gets the events of the probes; without it the demo's data in a
    /// folder of its own
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Placement asked
    #[arg(long, default_value = "home")]
    placement: String,
    /// Requests per second in the background, sent on schedule whether or not answers came
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    rate: u64,
    /// Connections that carry them
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    connections: u64,
    /// Events posted and waited for
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    probes: u64,
    /// Probe no longer than this
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let data = match &args.data {
        Some(data) => data.clone(),
        None => {
            let data = scratch.join("demo");
            demo::prepare(&data)?;
            data
        }
    };
    let users = users(&data)?;
    let server = Server::start(&data)?;
    let (address, stop) = (server.address, &AtomicBool::new(false));
    let (probed, background) = std::thread::scope(|scope| {
        let carriers: Vec<_> = (0..if args.rate == 0 { 0 } else { args.connections })
            .map(|carrier| {
                let users = &users;
                scope.spawn(move || steady(args, address, users, carrier, stop))
            })
            .collect();
        let probed = probes(args, address, &users);
        stop.store(true, Ordering::Relaxed);
        let panicked = || anyhow::anyhow!("a connection panicked");
        let background: anyhow::Result<Vec<Vec<Duration>>> = carriers
            .into_iter()
            .map(|carrier| carrier.join().map_err(|_| panicked())?)
            .collect();
        (probed, background)
    });
    let (mut fresh, repeated, seconds) = probed?;
    let mut background = Durations(background?.into_iter().flatten().collect());
    let report = json!({
        "probes": fresh.0.len(),
        "background_rate_wanted": args.rate,
        "fresh_ms": fresh.told(),
        "asked_more_than_once": repeated,
        "background_requests": background.0.len(),
        "background_per_second": (background.0.len() as f64 / seconds).round(),
        "background_ms": background.told(),
        "server_peak_memory_mb": server.peak_mb(),
    });
    tell(&report, args.json)
}

/// Users of the folder, spread over the population.
fn users(data: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let (service, _) = folder::open_or_create(folder::check(data)?)?;
    let trained = service.status().trained_at.is_some();
    let users: Vec<String> = service
        .sample_users(USERS_MAX)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    service.close()?;
    if !trained || users.is_empty() {
        let got = format!("{}, which has no trained models", data.display());
        return Err(bad_input("--data", got, "a folder after `concierge train`"));
    }
    Ok(users)
}

fn ask(connection: &mut Connection, placement: &str, user: &str, n: usize) -> anyhow::Result<Value> {
    send(connection, &request(placement, user, n))?;
    serde_json::from_slice(&connection.body).context("reading an answer")
}

fn request(placement: &str, user: &str, n: usize) -> Prepared {
    let body = json!({ "placement": placement, "user_id": user, "n": n });
    Prepared::post("/v1/recommend", &body.to_string())
}

/// Asks and leaves the answer unread in the connection: a load that parsed each answer would use about
/// as much of the machine as the server does.
fn send(connection: &mut Connection, request: &Prepared) -> anyhow::Result<()> {
    let status = connection.send_prepared(request)?;
    ensure!(
        status == 200,
        "the server answered {status}: {}",
        connection.text()
    );
    Ok(())
}

/// Requests on schedule; durations count from the scheduled moment, so that a stall is not hidden.
fn steady(
    args: &Args,
    address: SocketAddr,
    users: &[String],
    carrier: u64,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = Connection::open(address)?;
    let requests: Vec<Prepared> = users
        .iter()
        .map(|user| request(&args.placement, user, 10))
        .collect();
    let (started, mut took) = (Instant::now(), Vec::new());
    let mut number = carrier;
    while !stop.load(Ordering::Relaxed) {
        let due = started + Duration::from_secs_f64(number as f64 / args.rate as f64);
        let now = Instant::now();
        if due > now {
            std::thread::sleep(due - now);
        }
        send(
            &mut connection,
            &requests[(number as usize * 7919) % requests.len()],
        )?;
        took.push(due.elapsed());
        number += args.connections;
    }
    Ok(took)
}

/// Posts events and waits for each to show; gives the durations, how many needed a second look, and
/// how long all took.
fn probes(args: &Args, address: SocketAddr, users: &[String]) -> anyhow::Result<(Durations, u64, f64)> {
    let mut connection = Connection::open(address)?;
    let (mut fresh, mut repeated, started) = (Durations::default(), 0, Instant::now());
    let spinner = crate::progress::spinner("probing");
    for probe in 0..args.probes {
        if started.elapsed() > Duration::from_secs(args.seconds) {
            break;
        }
        spinner.set_message(format!("probe {probe} of {}", args.probes));
        let user = &users[probe as usize % users.len()];
        let before = ask(&mut connection, &args.placement, user, 20)?;
        let first = before["items"][0]["item_id"]
            .as_str()
            .context("an empty list")?
            .to_owned();
        let event = json!([{ "user_id": user, "item_id": first, "event_type": "like" }]).to_string();
        let status = connection.post("/v1/events", "application/json", event.as_bytes())?;
        let answered = Instant::now();
        ensure!(
            status == 200,
            "the server answered {status}: {}",
            connection.text()
        );
        let mut looks = 0;
        loop {
            let after = ask(&mut connection, &args.placement, user, 20)?;
            looks += 1;
            if changed(&before, &after, &first) {
                fresh.0.push(answered.elapsed());
                break;
            }
            ensure!(
                answered.elapsed() < PATIENCE,
                "the list of user {user} did not change in {PATIENCE:?} after an event on item {first}"
            );
        }
        repeated += u64::from(looks > 1);
        std::thread::sleep(Duration::from_millis(5));
    }
    spinner.finish_and_clear();
    Ok((fresh, repeated, started.elapsed().as_secs_f64()))
}

/// Whether the item is gone and the rest is ordered or scored otherwise.
fn changed(before: &Value, after: &Value, gone: &str) -> bool {
    let list = |answer: &Value| -> Vec<(String, String)> {
        let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let pairs = items
            .iter()
            .map(|item| (item["item_id"].to_string(), item["score"].to_string()));
        pairs.collect()
    };
    let gone = json!(gone).to_string();
    let (before, after) = (list(before), list(after));
    let rest: Vec<_> = before.into_iter().filter(|(item, _)| *item != gone).collect();
    let is_gone = after.iter().all(|(item, _)| *item != gone);
    is_gone && after.iter().zip(&rest).any(|(new, old)| new != old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_the_item_out_is_not_enough() {
        let list = |items: &[(&str, f64)]| {
            let items: Vec<Value> = items
                .iter()
                .map(|(item, score)| json!({ "item_id": item, "score": score }))
                .collect();
            json!({ "items": items })
        };
        let before = list(&[("a", 3.0), ("b", 2.0), ("c", 1.0)]);
        assert!(!changed(
            &before,
            &list(&[("b", 2.0), ("c", 1.0), ("d", 0.5)]),
            "a"
        ));
        assert!(changed(
            &before,
            &list(&[("b", 2.0), ("c", 1.5), ("d", 0.5)]),
            "a"
        ));
        assert!(changed(&before, &list(&[("c", 2.0), ("b", 1.0)]), "a"));
        assert!(!changed(&before, &list(&[("a", 3.5), ("b", 2.5)]), "a"));
    }
}
