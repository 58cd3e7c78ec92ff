//! `concierge bench import`: rows per second and memory of a large import.

use super::scratch::Scratch;
use super::tell;
use crate::{memory, progress};
use anyhow::{Context, ensure};
use dataset::Synthetic;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Import made-up events from Parquet into a fresh data folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge bench import --rows 10000000 --json")]
pub(crate) struct Args {
    /// Events
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Users
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    users: u32,
    /// Items
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    items: u32,
    /// Keep the data folder here
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let file = scratch.join("events.parquet");
    let synthetic = Synthetic {
        users: args.users,
        items: args.items,
        events: args.rows,
        ..Synthetic::default()
    };
    let spinner = progress::spinner("making up events");
    import_parquet::write_events(&file, synthetic.events())?;
    spinner.finish_and_clear();
    let bytes = std::fs::metadata(&file)?.len();
    let data = args.data.clone().unwrap_or_else(|| scratch.join("data"));
    child(&["init", "--json"], &data)?;
    let file = file.display().to_string();
    let told = child(&["import", "--json", "--events", &file], &data)?;
    let one = &told["files"][0];
    ensure!(
        one["summary"]["accepted"] == args.rows,
        "expected {} stored rows, got {}",
        args.rows,
        one["summary"]
    );
    let stored: u64 = size_of(&data);
    tell(
        &json!({
            "rows": args.rows,
            "seconds": one["seconds"],
            "rows_per_second": one["rows_per_second"],
            "import_peak_memory_mb": told["peak_memory_mb"],
            "file_mb": mb(bytes),
            "folder_mb": mb(stored),
            "generator_peak_memory_mb": memory::peak_mb(),
        }),
        args.json,
    )
}

/// Runs this program, so that the import's memory is its own.
fn child(arguments: &[&str], data: &std::path::Path) -> anyhow::Result<Value> {
    let program = std::env::current_exe().context("finding this program")?;
    let output = Command::new(program)
        .args(arguments)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("starting this program")?;
    ensure!(
        output.status.success(),
        "`concierge {}` failed",
        arguments.join(" ")
    );
    serde_json::from_slice(&output.stdout).context("reading its answer")
}

fn mb(bytes: u64) -> f64 {
    (bytes as f64 / 1e5).round() / 10.0
}

/// Bytes of all files below a folder.
fn size_of(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
