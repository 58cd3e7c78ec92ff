//! Requests for slates over several connections, and what came of them.

use super::super::Durations;
use super::super::child::Server;
use super::super::http::{Connection, Prepared};
use super::about::Stages;
use super::round;
use crate::memory;
use anyhow::ensure;
use dataset::Synthetic;
use numeric::SeededStream;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What one connection saw: how long each answer took, and of which kind they were.
#[derive(Default)]
pub(super) struct Seen {
    took: Durations,
    /// Answers by status.
    statuses: BTreeMap<u16, u64>,
    /// Slates that did not go as configured.
    pub(super) degraded: u64,
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
pub(super) struct Load {
    address: SocketAddr,
    requests: Vec<Prepared>,
    connections: u64,
}

impl Load {
    pub(super) fn new(args: &super::Args, address: SocketAddr) -> Load {
        let users = Synthetic {
            users: args.users,
            ..Synthetic::default()
        };
        let mut stream = SeededStream::new(args.seed, 77);
        let request = |_| {
            let user = users.user_id((stream.uniform() * f64::from(args.users)) as u32);
            let placement = args.placement();
            let body = json!({ "placement": placement, "user_id": user, "n": args.n, "context": { "device": "phone" } });
            Prepared::post("/v1/recommend", &body.to_string())
        };
        Load {
            address,
            requests: (0..100_000).map(request).collect(),
            connections: args.connections,
        }
    }

    pub(super) fn requests(&self) -> &[Prepared] {
        &self.requests
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
    pub(super) fn closed(&self, seconds: u64) -> anyhow::Result<Seen> {
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
    pub(super) fn steady(
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

pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    // From the end, where it stands in an answer.
    text.windows(part.len()).rev().any(|window| window == part)
}

/// What a part of the run came to.
pub(super) struct Measured {
    pub(super) seen: Seen,
    pub(super) seconds: f64,
    pub(super) server_seconds: f64,
    load_seconds: f64,
    stages: Stages,
}

impl Measured {
    pub(super) fn of(
        server: &Server,
        run: impl FnOnce() -> anyhow::Result<Seen>,
    ) -> anyhow::Result<Measured> {
        let before = Stages::read(server.address)?;
        let (begun, of_server, of_load) = (
            Instant::now(),
            server.cpu_seconds(),
            memory::cpu_seconds_of("self"),
        );
        let seen = run()?;
        let since =
            |now: Option<f64>, then: Option<f64>| now.zip(then).map_or(f64::NAN, |(now, then)| now - then);
        let (seconds, server_seconds) = (
            begun.elapsed().as_secs_f64(),
            since(server.cpu_seconds(), of_server),
        );
        let load_seconds = since(memory::cpu_seconds_of("self"), of_load);
        ensure!(!seen.took.0.is_empty(), "not a single slate: {:?}", seen.statuses);
        Ok(Measured {
            seen,
            seconds,
            server_seconds,
            load_seconds,
            stages: Stages::read(server.address)?.since(&before),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.seen.took.0.len()
    }

    pub(super) fn told(&self) -> Value {
        let mut took = Durations(self.seen.took.0.clone());
        json!({
            "slates_per_second": (self.count() as f64 / self.seconds).round(),
            "ms": took.told(),
            "statuses": statuses(&self.seen),
            "degraded": self.seen.degraded,
            "server_cores": round(self.server_seconds / self.seconds),
            "load_cores": round(self.load_seconds / self.seconds),
            "stages_us": self.stages.means(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slate_as_configured_is_told_from_a_degraded_one() {
        assert!(contains(b"{\"degraded\":[],\"x\":1}", b"\"degraded\":[]"));
        assert!(!contains(b"{\"degraded\":[{}]}", b"\"degraded\":[]"));
    }
}
