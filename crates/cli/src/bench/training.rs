//! `concierge bench training`: how time and memory of training grow with the data.

use super::tell;
use crate::failure::{InputError, bad_input};
use crate::plot::{self, Series};
use crate::{memory, output, progress};
use anyhow::Context;
use dataset::Synthetic;
use models::{Run, TrainingData};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Passes of the shorter and of the longer training: their difference is free of what is done once.
const EPOCHS: [usize; 2] = [1, 3];
/// Steps of conjugate gradients in a pass: one more than the default.
const STEPS: u32 = 3;

/// Train on made-up interactions of growing number and take time and memory.
///
/// Users and items are drawn by Zipf's law, each pair once. Each size is trained for one pass and for three; the time of a pass
/// is half of the difference. Peak memory is that of the whole process, data included. Everyone has at least one interaction and
/// at most half of the items: numbers that users and items cannot have are refused.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  concierge bench training --interactions 1000000,3000000,10000000 --users 100000 --items 20000 --svg growth.svg"
)]
pub(crate) struct Args {
    /// Interactions, a training for each number; ascending
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "10000000,30000000,100000000",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000)
    )]
    interactions: Vec<u64>,
    /// Users
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    users: u32,
    /// Items
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    items: u32,
    /// Exponent of Zipf's law, for users and items
    #[arg(long, value_name = "X", default_value_t = 0.6)]
    exponent: f64,
    /// Length of a factor
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    factors: u32,
    /// Threads; all there are if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Source of all randomness
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write a plot of both here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !(0.0..=2.0).contains(&args.exponent) {
        let why = format!("--exponent: got {}, expected 0 to 2", args.exponent);
        return Err(InputError(why).into());
    }
    if !args.interactions.is_sorted_by(|one, next| one < next) {
        let sizes: Vec<String> = args.interactions.iter().map(u64::to_string).collect();
        return Err(bad_input(
            "--interactions",
            sizes.join(","),
            "ascending numbers, each once",
        ));
    }
    for size in &args.interactions {
        check(args, *size, synthetic(args, *size).interactions_wanted())?;
    }
    let mut rows = Vec::new();
    for size in &args.interactions {
        rows.push(measured(args, *size)?);
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, drawing(&rows)).with_context(|| format!("writing {}", path.display()))?;
    }
    if args.json {
        return tell(
            &json!({
                "model": "als", "factors": args.factors, "users": args.users, "items": args.items,
                "exponent": args.exponent, "seed": args.seed, "threads": threads(args), "sizes": rows,
            }),
            true,
        );
    }
    let cell = |row: &Value, name: &str, digits: usize| {
        let value = row[name].as_f64();
        value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let lines = rows.iter().map(|row| {
        vec![
            output::count(row["interactions"].as_u64().unwrap_or(0)),
            cell(row, "epoch_seconds", 2),
            cell(row, "once_seconds", 2),
            cell(row, "nanoseconds_per_interaction", 1),
            cell(row, "gflops", 0),
            cell(row, "peak_memory_mb", 0),
        ]
    });
    let head = [
        "interactions",
        "pass s",
        "once s",
        "ns each",
        "GFLOP/s",
        "peak MB",
    ];
    output::table(&head, lines.collect())?;
    if rows.iter().any(|row| row["epoch_seconds"].is_null()) {
        output::line("–: three passes took no longer than one; a pass is too short to be measured")?;
    }
    Ok(())
}

/// Share of the interactions asked for that there may be more or fewer.
const OFF_MAX: f64 = 0.1;

/// Refuses sizes that are not those asked for: `found` is how many interactions there are or would be.
fn check(args: &Args, size: u64, found: f64) -> anyhow::Result<()> {
    if (found / size as f64 - 1.0).abs() <= OFF_MAX {
        return Ok(());
    }
    let (count, found_count) = (output::count(size), output::count(found.round() as u64));
    let (users, items) = (output::count(args.users), output::count(args.items));
    let got = format!("{count} with --users {users} and --items {items}, which gives {found_count}");
    let expected = match found > size as f64 {
        true => "more interactions or fewer --users: everyone has at least one",
        false => {
            "fewer interactions, or more --users and --items: nobody has more than half of the items, and each pair comes once"
        }
    };
    Err(bad_input("--interactions", got, expected))
}

fn synthetic(args: &Args, size: u64) -> Synthetic {
    Synthetic {
        users: args.users,
        items: args.items,
        events: size,
        exponent: args.exponent,
        seed: args.seed,
        ..Synthetic::default()
    }
}

fn threads(args: &Args) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    args.threads.map_or_else(all, |threads| threads as usize)
}

fn measured(args: &Args, size: u64) -> anyhow::Result<Value> {
    memory::reset_peak();
    let spinner = progress::spinner(format!("making up {size} interactions"));
    let synthetic = synthetic(args, size);
    let interactions = numeric::on_threads(threads(args), || synthetic.interactions());
    let n = interactions.rows.len();
    check(args, size, n as f64)?;
    let data = TrainingData {
        now: synthetic.start,
        interactions: Arc::new(interactions),
        features: Arc::default(),
        user_features: Arc::default(),
    };
    let mut seconds = [0f64; 2];
    for (seconds, epochs) in seconds.iter_mut().zip(EPOCHS) {
        spinner.set_message(format!("training on {n} interactions, {epochs} passes"));
        // Nobody's history is cut: all of the interactions count.
        let config = json!({
            "factors": args.factors, "epochs": epochs, "history_max": args.items, "gradients": STEPS,
        });
        let entry = models::trainer("als").context("no learner als")?;
        let trainer = (entry.build)(&config)?;
        let started = Instant::now();
        trainer.fit(&data, &Run::new(args.seed, threads(args)))?;
        *seconds = started.elapsed().as_secs_f64();
    }
    spinner.finish_and_clear();
    let epoch = (seconds[1] - seconds[0]) / (EPOCHS[1] - EPOCHS[0]) as f64;
    let d = f64::from(args.factors);
    // Both sides: each step, and the residual before them, is a product with the Gram matrix and two products with each entry's factor.
    let rows = f64::from(args.users) + f64::from(args.items);
    let operations = 2.0 * f64::from(STEPS + 1) * (rows * d * d + 4.0 * n as f64 * d);
    // Where everything takes no time, the difference may be of either sign.
    let rounded = |x: f64| (epoch > 0.0).then_some((x * 1000.0).round() / 1000.0);
    Ok(json!({
        "interactions": n,
        "epoch_seconds": rounded(epoch),
        "once_seconds": rounded((seconds[0] - epoch).max(0.0)),
        "nanoseconds_per_interaction": rounded(epoch * 1e9 / n as f64),
        "gflops": rounded(operations / epoch / 1e9),
        "peak_memory_mb": memory::peak_mb(),
    }))
}

/// Both curves, each with an axis of its own, on a page of their own.
fn drawing(rows: &[Value]) -> String {
    let series = |name: &'static str, key: &str, factor: f64| Series {
        name,
        points: rows
            .iter()
            .map(|row| {
                let of = |key: &str| row[key].as_f64().unwrap_or(0.0);
                ((of("interactions") / 1e5).round() / 10.0, of(key) * factor)
            })
            .collect(),
    };
    let time = plot::lines(
        &[series("pass", "epoch_seconds", 1.0)],
        "millions of interactions, logarithmic",
        "seconds",
    );
    let held = plot::lines(
        &[series("peak", "peak_memory_mb", 1e-3)],
        "millions of interactions, logarithmic",
        "GB",
    );
    plot::file(&[time, held])
}
