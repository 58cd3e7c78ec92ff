//! `concierge generate`: made-up events and items, to try things at size.

use crate::failure::bad_input;
use crate::output::{self, count};
use crate::progress;
use anyhow::Context;
use dataset::Synthetic;
use domain::{Event, Timestamp};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Make up events and items, the same for the same seed.
///
/// Users are busy and items popular by Zipf's law; users keep to the items of their taste, so that models
/// have something to find.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  concierge generate --events 10000000 --to events.parquet --items-to items.jsonl --seed 7"
)]
pub(crate) struct Args {
    /// Events
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Users
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    users: u32,
    /// Items
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    items: u32,
    /// Exponent of Zipf's law; 0 for no differences
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0)]
    exponent: f64,
    /// Tastes that users and items belong to
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    tastes: u32,
    /// Probability that an item is of the user's own taste
    #[arg(long, value_name = "SHARE", default_value_t = 0.8)]
    loyalty: f64,
    /// Days from the first event to the last
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
    /// Moment of the first event
    #[arg(long, value_name = "MOMENT", default_value = "2026-01-01")]
    start: String,
    /// Source of all randomness
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events go here: .parquet, .csv or .jsonl
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Items go here, as JSON lines
    #[arg(long, value_name = "FILE")]
    items_to: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let synthetic = synthetic(args)?;
    let spinner = progress::spinner(format!("making up {} events", count(args.events)));
    let events = events(&synthetic, &args.to)?;
    if let Some(path) = &args.items_to {
        items(&synthetic, path)?;
    }
    spinner.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        return output::json(&json!({
            "events": events,
            "items": args.items_to.as_ref().map(|_| args.items),
            "seconds": (seconds * 1e3).round() / 1e3,
        }));
    }
    output::line(format!(
        "wrote {} events to {} in {seconds:.1} s",
        count(events),
        args.to.display()
    ))
}

fn synthetic(args: &Args) -> anyhow::Result<Synthetic> {
    let within = |option: &str, value: f64, high: f64| {
        if (0.0..=high).contains(&value) {
            return Ok(());
        }
        Err(bad_input(
            option,
            value.to_string(),
            format!("a number from 0 to {high}"),
        ))
    };
    within("--exponent", args.exponent, 5.0)?;
    within("--loyalty", args.loyalty, 1.0)?;
    let start: Timestamp = signals::parse_timestamp(&args.start).map_err(|_| {
        bad_input(
            "--start",
            format!("{:?}", args.start),
            "a date such as 2024-05-31, or RFC 3339",
        )
    })?;
    Ok(Synthetic {
        users: args.users,
        items: args.items,
        events: args.events,
        exponent: args.exponent,
        tastes: args.tastes,
        loyalty: args.loyalty,
        start,
        days: args.days,
        seed: args.seed,
    })
}

/// Writes the events in the format of the file's name.
fn events(synthetic: &Synthetic, path: &Path) -> anyhow::Result<u64> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => Ok(import_parquet::write_events(path, synthetic.events())?),
        Some("csv") => text(path, |to| {
            writeln!(to, "user_id,item_id,event_type,timestamp,value")?;
            for event in synthetic.events() {
                let Event {
                    user_id,
                    item_id,
                    event_type,
                    timestamp,
                    value,
                    ..
                } = event;
                let value = value.map_or(String::new(), |value| value.to_string());
                writeln!(to, "{user_id},{item_id},{event_type},{},{value}", timestamp.0)?;
            }
            Ok(synthetic.events)
        }),
        Some("jsonl" | "ndjson") => text(path, |to| {
            for event in synthetic.events() {
                let mut line = json!({
                    "user_id": event.user_id, "item_id": event.item_id, "event_type": event.event_type,
                    "timestamp": event.timestamp,
                });
                if let Some(value) = event.value {
                    line["value"] = value.into();
                }
                writeln!(to, "{line}")?;
            }
            Ok(synthetic.events)
        }),
        _ => Err(bad_input(
            "--to",
            path.display().to_string(),
            "a name that ends in .parquet, .csv or .jsonl",
        )),
    }
}

fn items(synthetic: &Synthetic, path: &Path) -> anyhow::Result<u64> {
    text(path, |to| {
        for item in synthetic.items() {
            let line =
                json!({ "item_id": item.item_id, "attributes": item.attributes, "added_at": item.added_at });
            writeln!(to, "{line}")?;
        }
        Ok(u64::from(synthetic.items))
    })
}

fn text(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<u64>) -> anyhow::Result<u64> {
    let file = File::create(path).with_context(|| format!("writing {}", path.display()))?;
    let mut to = BufWriter::new(file);
    let written = write(&mut to)?;
    to.flush()
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(written)
}
