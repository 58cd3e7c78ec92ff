//! `concierge bench overhead`: what recording decisions and exploring cost.

use super::scratch::Scratch;
use super::tell;
use crate::failure::bad_input;
use crate::{demo, folder, memory};
use assembly::{CONFIG_FILE, Config, PolicyConfig, RecommendRequest, Service};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Users that slates are made for.
const USERS_MAX: usize = 500;
/// Placements that the measurement adds to the configuration.
const PLAIN: &str = "bench-plain";
const EXPLORING: &str = "bench-exploring";

/// What recording decisions and exploring cost: slates per second in one process on all cores, without and with them, in turns.
///
/// Each turn makes slates for the same people on one thread per core: greedily and without a record, greedily with a record, and by the policy with a record. A turn ends when every record is on
/// the disk, so that the log's own thread counts. Turns follow each other at once, and each is compared with its neighbours, so that whatever else the machine does falls on all alike. Processor time is told beside
/// the throughput: where all cores are busy it is what throughput comes from, and others on the machine take less part in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge bench overhead --policy softmax --seconds 60 --json")]
pub(crate) struct Args {
    /// Trained data folder, copied first; without it the demo's data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Policy that explores, with its default settings
    #[arg(long, value_name = "NAME", default_value = "softmax")]
    policy: String,
    /// Slates of one turn
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    slates: u64,
    /// Measure for about this long
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
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
    let data = scratch.join("data");
    match &args.data {
        Some(from) => {
            let (service, _) = folder::open_or_create(folder::check(from)?)?;
            let backup = scratch.join("backup");
            service.backup(&backup)?;
            service.close()?;
            assembly::restore(&backup, &data)?;
        }
        None => {
            demo::prepare(&data)?;
        }
    }
    configure(&data, &args.policy)?;
    let (service, _) = folder::open_or_create(&data)?;
    let users: Vec<String> = service
        .sample_users(USERS_MAX)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    if service.status().trained_at.is_none() || users.is_empty() {
        let got = format!("{}, which has no trained models", data.display());
        return Err(bad_input("--data", got, "a folder after `concierge train`"));
    }
    service.warm();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut turns, mut cpu) = (Vec::new(), Vec::new());
    turn(&service, Arm::Explored, &users, args.slates, threads)?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(args.seconds) {
        let one = |arm| turn(&service, arm, &users, args.slates, threads);
        // There and back, so that a drift of the machine cancels.
        let there = [one(Arm::Bare)?, one(Arm::Recorded)?, one(Arm::Explored)?];
        let back = [one(Arm::Explored)?, one(Arm::Recorded)?, one(Arm::Bare)?];
        let both = |of: &dyn Fn(&Took) -> f64| [0, 1, 2].map(|arm| of(&there[arm]) + of(&back[2 - arm]));
        turns.push(both(&|took| took.seconds));
        cpu.push(both(&|took| took.cpu_seconds));
    }
    let report = report(&turns, &cpu, args, threads, &service);
    service.close()?;
    tell(&report, args.json)
}

/// Adds two placements that differ in their policy alone.
fn configure(data: &Path, policy: &str) -> anyhow::Result<()> {
    let path = data.join(CONFIG_FILE);
    let mut config = Config::parse(&std::fs::read_to_string(&path)?, &path)?;
    let mut placement = config.placements.values().next().cloned().unwrap_or_default();
    placement.deadline_ms = 0;
    placement.policy = PolicyConfig::default();
    config.placements.insert(PLAIN.to_owned(), placement.clone());
    placement.policy.name = policy.to_owned();
    config.placements.insert(EXPLORING.to_owned(), placement);
    let text = config.to_toml();
    Config::parse(&text, &path).map_err(|e| bad_input("--policy", policy, e.reason))?;
    Ok(std::fs::write(&path, text)?)
}

struct Took {
    seconds: f64,
    /// Of all threads, in steps of a hundredth; 0 where the system does not tell.
    cpu_seconds: f64,
}

fn cpu_seconds() -> f64 {
    memory::cpu_seconds_of("self").unwrap_or(0.0)
}

/// What it takes to make so many slates and to bring what is recorded to the disk.
fn turn(service: &Service, arm: Arm, users: &[String], slates: u64, threads: usize) -> anyhow::Result<Took> {
    let placement = match arm {
        Arm::Explored => EXPLORING,
        Arm::Bare | Arm::Recorded => PLAIN,
    };
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let made = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    for n in (thread as u64..slates).step_by(threads) {
                        let request = RecommendRequest {
                            placement: placement.to_owned(),
                            user_id: users.get(n as usize % users.len()).cloned(),
                            ..RecommendRequest::default()
                        };
                        match arm {
                            Arm::Bare => service.preview(&request)?,
                            Arm::Recorded | Arm::Explored => service.recommend(&request)?,
                        };
                    }
                    Ok::<(), assembly::ServiceError>(())
                })
            })
            .collect();
        makers.into_iter().try_for_each(|maker| match maker.join() {
            Ok(made) => made.map_err(anyhow::Error::from),
            Err(_) => Err(anyhow::anyhow!("a thread panicked")),
        })
    });
    made?;
    service.flush()?;
    Ok(Took {
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds() - cpu,
    })
}

fn report(turns: &[[f64; 3]], cpu: &[[f64; 3]], args: &Args, threads: usize, service: &Service) -> Value {
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
    let status = service.status();
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
        "threads": threads,
        "bare_per_second": rate(0),
        "recorded_per_second": rate(1),
        "explored_per_second": rate(2),
        "policy": args.policy,
        "lost_by_recording": lost(turns, 1),
        "lost_by_recording_and_exploring": lost(turns, 2),
        "cpu_ms_per_slate": { "bare": cpu_ms(0), "recorded": cpu_ms(1), "explored": cpu_ms(2) },
        "lost_by_recording_cpu": lost_cpu(1),
        "lost_by_recording_and_exploring_cpu": lost_cpu(2),
        "bytes_per_decision": status.decision_bytes / status.decisions.max(1),
    })
}
