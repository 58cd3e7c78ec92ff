//! `concierge bench overhead`: what recording decisions and exploring cost.

use super::child::Server;
use super::http::{Connection, Prepared};
use super::scratch::Scratch;
use super::tell;
use crate::failure::bad_input;
use crate::{demo, folder, memory};
use assembly::{CONFIG_FILE, Config, Over, PolicyConfig, RecommendRequest, Service};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Users that slates are made for.
const USERS_MAX: usize = 500;

/// What recording decisions and exploring cost: slates per second on all cores, without and with them, in turns.
///
/// Each turn makes slates for the same people: greedily and without a record (a preview), greedily with a record, and by the policy with a record. In process there is one thread per core, and a turn ends when every record is on
/// the disk, so that the log's own thread counts. With --http a server answers two connections per core, of which the load generator takes its part of the same cores; what is then still to be written, at most a second's worth, falls
/// on the next turn, and processor time is the server's. Greedy slates and those of the policy are of two placements, which differ in their policy alone, of one folder and one process: two processes differ by some percent in how their memory happens to lie. Turns follow each other at once, and each is compared with its neighbours, so that whatever else the machine does falls on all alike. Processor time is told beside
/// the throughput: where all cores are busy it is what throughput comes from, and others on the machine take less part in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge bench overhead --policy softmax --seconds 60 --json")]
pub(crate) struct Args {
    /// Trained data folder, copied first; without it the demo's data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Placement; without it the first of the configuration
    #[arg(long, value_name = "NAME")]
    placement: Option<String>,
    /// Policy that explores, with its default settings
    #[arg(long, value_name = "NAME", default_value = "softmax")]
    policy: String,
    /// Slates of one turn
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    slates: u64,
    /// Measure for about this long
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Ask a server over HTTP instead of making slates in this process
    #[arg(long)]
    http: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy)]
enum Arm {
    Bare,
    Recorded,
    Explored,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let from = match &args.data {
        Some(from) => folder::check(from)?.to_owned(),
        None => {
            demo::prepare(&scratch.join("demo"))?;
            scratch.join("demo")
        }
    };
    let (service, _) = folder::open_or_create(&from)?;
    let users: Vec<String> = service
        .sample_users(USERS_MAX)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    if service.status().trained_at.is_none() || users.is_empty() {
        let got = format!("{}, which has no trained models", from.display());
        return Err(bad_input("--data", got, "a folder after `concierge train`"));
    }
    service.backup(&scratch.join("backup"))?;
    service.close()?;
    drop(service);
    let data = scratch.join("data");
    assembly::restore(&scratch.join("backup"), &data)?;
    let placements = configure(&data, args.placement.as_deref(), &args.policy)?;
    let maker = if args.http {
        Maker::Server(Server::start(&data)?)
    } else {
        let (service, _) = folder::open_or_create(&data)?;
        service.warm();
        Maker::Here(service)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let carriers = if args.http { 2 * cores } else { cores };
    let load = Load::new(&users, &placements, args, carriers);
    let (mut turns, mut cpu) = (Vec::new(), Vec::new());
    let turn = |arm: Arm| maker.turn(arm, &load);
    for arm in [Arm::Recorded, Arm::Explored] {
        turn(arm)?;
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(args.seconds) {
        // There and back, so that a drift of the machine cancels.
        let there = [turn(Arm::Bare)?, turn(Arm::Recorded)?, turn(Arm::Explored)?];
        let back = [turn(Arm::Explored)?, turn(Arm::Recorded)?, turn(Arm::Bare)?];
        let both = |of: &dyn Fn(&Took) -> f64| [0, 1, 2].map(|arm| of(&there[arm]) + of(&back[2 - arm]));
        turns.push(both(&|took| took.seconds));
        cpu.push(both(&|took| took.cpu_seconds));
    }
    let report = report(&turns, &cpu, args, &load, maker.bytes_per_decision()?);
    if let Maker::Here(service) = maker {
        service.close()?;
    }
    tell(&report, args.json)
}

/// Slates that are asked for again and again.
struct Load {
    placement: String,
    /// By arm.
    requests: [Vec<RecommendRequest>; 3],
    prepared: [Vec<Prepared>; 3],
    slates: u64,
    /// Threads that ask, each for itself.
    carriers: usize,
}

impl Load {
    fn new(users: &[String], [greedy, explored]: &[String; 2], args: &Args, carriers: usize) -> Load {
        let requests = [Arm::Bare, Arm::Recorded, Arm::Explored].map(|arm| {
            let placement = if matches!(arm, Arm::Explored) {
                explored
            } else {
                greedy
            };
            let one = |user: &String| RecommendRequest {
                placement: placement.clone(),
                user_id: Some(user.clone()),
                preview: matches!(arm, Arm::Bare),
                ..RecommendRequest::default()
            };
            users.iter().map(one).collect::<Vec<_>>()
        });
        let prepared = requests.each_ref().map(|requests| {
            let texts = requests.iter().map(|request| json!(request).to_string());
            texts.map(|text| Prepared::post("/v1/recommend", &text)).collect()
        });
        Load {
            placement: greedy.clone(),
            requests,
            prepared,
            slates: args.slates,
            carriers,
        }
    }

    /// Has every carrier do its part of the work; `begin` gives it what it works with.
    fn carry<T>(
        &self,
        begin: impl Fn() -> anyhow::Result<T> + Sync,
        work: impl Fn(&mut T, usize) -> anyhow::Result<()> + Sync,
    ) -> anyhow::Result<()> {
        std::thread::scope(|scope| {
            let (begin, work) = (&begin, &work);
            let carriers: Vec<_> = (0..self.carriers)
                .map(|carrier| {
                    scope.spawn(move || {
                        let mut with = begin()?;
                        let own = (carrier as u64..self.slates).step_by(self.carriers);
                        own.map(|n| n as usize).try_for_each(|n| work(&mut with, n))
                    })
                })
                .collect();
            carriers.into_iter().try_for_each(|carrier| {
                let panicked = |_| Err(anyhow::anyhow!("a thread panicked"));
                carrier.join().unwrap_or_else(panicked)
            })
        })
    }
}

/// Who makes the slates.
enum Maker {
    Here(Arc<Service>),
    Server(Server),
}

impl Maker {
    /// What it takes to make a turn's slates and, in this process, to bring what is recorded to the disk.
    fn turn(&self, arm: Arm, load: &Load) -> anyhow::Result<Took> {
        let (start, cpu) = (Instant::now(), self.cpu_seconds());
        match self {
            Maker::Here(service) => {
                let requests = &load.requests[arm as usize];
                load.carry(
                    || Ok(()),
                    |(), n| Ok(service.recommend(&requests[n % requests.len()]).map(|_| ())?),
                )?;
                service.flush()?;
            }
            Maker::Server(server) => {
                let requests = &load.prepared[arm as usize];
                load.carry(
                    || Connection::open(server.address),
                    |connection, n| {
                        let status = connection.send_prepared(&requests[n % requests.len()])?;
                        anyhow::ensure!(status == 200, "the server says {status}: {}", connection.text());
                        Ok(())
                    },
                )?;
            }
        }
        Ok(Took {
            seconds: start.elapsed().as_secs_f64(),
            cpu_seconds: self.cpu_seconds() - cpu,
        })
    }

    fn cpu_seconds(&self) -> f64 {
        let told = match self {
            Maker::Here(_) => memory::cpu_seconds_of("self"),
            Maker::Server(server) => server.cpu_seconds(),
        };
        told.unwrap_or(0.0)
    }

    fn bytes_per_decision(&self) -> anyhow::Result<u64> {
        let (bytes, decisions) = match self {
            Maker::Here(service) => {
                let status = service.status();
                (status.decision_bytes, status.decisions)
            }
            Maker::Server(server) => {
                let mut connection = Connection::open(server.address)?;
                connection.send_prepared(&Prepared::get("/v1/status"))?;
                let status: Value = serde_json::from_slice(&connection.body)?;
                let number = |name: &str| status[name].as_u64().unwrap_or(0);
                (number("decision_bytes"), number("decisions"))
            }
        };
        Ok(bytes / decisions.max(1))
    }
}

/// Makes a placement greedy, and another of it that explores, both without a deadline; their names.
fn configure(data: &Path, placement: Option<&str>, policy: &str) -> anyhow::Result<[String; 2]> {
    let path = data.join(CONFIG_FILE);
    let mut config = Config::parse(&std::fs::read_to_string(&path)?, &path)?;
    let names: Vec<String> = config.placements.keys().cloned().collect();
    let greedy = placement.map(str::to_owned).or_else(|| names.first().cloned());
    let greedy = greedy.unwrap_or_default();
    let Some(mut of) = config.placements.get(&greedy).cloned() else {
        return Err(bad_input(
            "--placement",
            greedy,
            format!("one of {}", names.join(", ")),
        ));
    };
    let mut explored = format!("{greedy}-explored");
    while names.contains(&explored) {
        explored.push('-');
    }
    of.deadline_ms = 0;
    for (name, policy) in [(&greedy, "greedy"), (&explored, policy)] {
        of.policy = PolicyConfig {
            name: policy.to_owned(),
            // A policy over scores would forget what a reranker did.
            over: if of.rerank.name == "top" {
                Over::Scores
            } else {
                Over::Places
            },
            ..PolicyConfig::default()
        };
        config.placements.insert(name.clone(), of.clone());
    }
    let text = config.to_toml();
    Config::parse(&text, &path).map_err(|e| bad_input("--policy", policy, e.reason))?;
    std::fs::write(&path, text)?;
    Ok([greedy, explored])
}

struct Took {
    seconds: f64,
    /// Of all threads, in steps of a hundredth; 0 where the system does not tell.
    cpu_seconds: f64,
}

fn report(turns: &[[f64; 3]], cpu: &[[f64; 3]], args: &Args, load: &Load, bytes: u64) -> Value {
    let rate = |arm: usize| {
        let seconds: f64 = turns.iter().map(|turn| turn[arm]).sum();
        (2.0 * args.slates as f64 * turns.len() as f64 / seconds).round()
    };
    // Share of the throughput that is lost, turn by turn.
    let lost = |turns: &[[f64; 3]], arm: usize| {
        let shares: Vec<f64> = turns.iter().map(|turn| 1.0 - turn[0] / turn[arm]).collect();
        let n = shares.len() as f64;
        let mean = shares.iter().sum::<f64>() / n;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let half = 1.96 * (variance / n).sqrt();
        let percent = |share: f64| (share * 1e4).round() / 1e2;
        json!({"percent": percent(mean), "low": percent(mean - half), "high": percent(mean + half)})
    };
    let cpu_ms = |arm: usize| {
        let seconds: f64 = cpu.iter().map(|turn| turn[arm]).sum();
        let slates = 2.0 * args.slates as f64 * cpu.len() as f64;
        (seconds / slates * 1e6).round() / 1e3
    };
    // Nothing is told of processor time where the system does not.
    let lost_cpu = |arm: usize| {
        let known = cpu.iter().flatten().all(|seconds| *seconds > 0.0);
        if known { lost(cpu, arm) } else { Value::Null }
    };
    json!({
        "turns": turns.len(),
        "slates_per_turn": 2 * args.slates,
        "over_http": args.http,
        "carriers": load.carriers,
        "bare_per_second": rate(0),
        "recorded_per_second": rate(1),
        "explored_per_second": rate(2),
        "placement": load.placement,
        "policy": args.policy,
        "lost_by_recording": lost(turns, 1),
        "lost_by_recording_and_exploring": lost(turns, 2),
        "cpu_ms_per_slate": { "bare": cpu_ms(0), "recorded": cpu_ms(1), "explored": cpu_ms(2) },
        "lost_by_recording_cpu": lost_cpu(1),
        "lost_by_recording_and_exploring_cpu": lost_cpu(2),
        "bytes_per_decision": bytes,
    })
}
