//! `concierge evaluate`: fits models on one part of the data and judges them by another.

use crate::evaluate_models::{self, Chosen};
use crate::evaluate_report as report;
use crate::failure::InputError;
use crate::tables;
use anyhow::Context;
use domain::{ItemId, UserId};
use evaluate::{Inputs, Measured, MetricSet, Prepared, Protocol, Row, Split};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Measure models on held-out data, with intervals
///
/// Fits each model on the training rows, ranks for every user of the test rows, and reports metrics with
/// 95 % bootstrap intervals over users.
///
/// Files are Parquet, CSV, TSV or JSON lines with user_id, item_id and optionally value (or
/// rating) and timestamp. Every row weighs 1: a rating's height is used only by --positive-min.
/// By default all items of the training rows are ranked but those that the user has there. Items
/// and users of the test that training does not know count: such items are never hit, such users
/// are answered as anyone unknown. Test pairs that are also in training are refused.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  concierge evaluate --train train.parquet --test test.parquet --k 10,20 --json result.json\n  \
    concierge evaluate --data ratings.csv --split temporal:0.8 --items movies.csv --models 'popular,als:{\"factors\":64}'"
)]
pub(crate) struct Args {
    /// Rows to learn from.
    #[arg(
        long,
        value_name = "FILE",
        requires = "test",
        required_unless_present = "data"
    )]
    train: Option<PathBuf>,
    /// Rows to judge by.
    #[arg(long, value_name = "FILE", requires = "train")]
    test: Option<PathBuf>,
    /// Rows for tuning: they join the histories, their items are not ranked, nothing is learnt from them.
    #[arg(long, value_name = "FILE", requires = "train")]
    valid: Option<PathBuf>,
    /// All rows in one file, to be cut by --split.
    #[arg(long, value_name = "FILE", conflicts_with = "train")]
    data: Option<PathBuf>,
    /// How to cut --data: temporal:SHARE (of all rows, by time), last:COUNT (of each user), random:SHARE.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "temporal:0.8",
        conflicts_with = "train"
    )]
    split: String,
    /// Attributes of items: item_id and any other columns; text with | is a list of tags.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// What is ranked: the items of the training rows, or those of --items too.
    #[arg(long, value_enum, default_value_t = CatalogueArg::Train)]
    catalogue: CatalogueArg,
    /// Models, by name, each with a configuration if wanted: als,item-cosine:{"k":100}. All if absent.
    #[arg(long, value_name = "NAMES", default_value = "")]
    models: String,
    /// Configurations by model name, in TOML or JSON.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// List lengths.
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_value = "10,20")]
    k: Vec<usize>,
    /// Full ranking, or the relevant items among given negatives (figures that only compare with such).
    #[arg(long, value_enum, default_value_t = ProtocolArg::Full)]
    protocol: ProtocolArg,
    /// Negatives: rows of user_id, item_id, or a row per user with a list column negatives.
    #[arg(long, value_name = "FILE", required_if_eq("protocol", "negatives"))]
    negatives: Option<PathBuf>,
    /// Only rows with at least this value count; others are neither learnt nor relevant, but stay seen.
    #[arg(long, value_name = "VALUE")]
    positive_min: Option<f64>,
    /// Leaves test pairs that are also in training out of the judgement instead of refusing.
    #[arg(long)]
    allow_overlap: bool,
    /// Seed of learners, random splits and intervals.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads; results do not depend on it. All processors if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Writes the report as JSON to a file, or to standard output for -.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ProtocolArg {
    /// Every item of the catalogue but those that the user has seen.
    Full,
    /// The relevant items and given negatives.
    Negatives,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CatalogueArg {
    /// Items of the training rows.
    Train,
    /// Items of the training rows and of --items.
    Items,
}

/// One model's figures.
pub(crate) struct Finding {
    pub(crate) name: String,
    pub(crate) config: serde_json::Value,
    pub(crate) fit_seconds: f64,
    pub(crate) rank_seconds: f64,
    pub(crate) peak_memory_mb: Option<f64>,
    pub(crate) measured: Measured,
}

/// A model that could not be fitted.
pub(crate) struct Skipped {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let set = MetricSet::new(&args.k, false).map_err(|e| InputError(format!("--{e}")))?;
    let chosen = evaluate_models::chosen(&args.models, args.config.as_deref())?;
    let (protocol, negatives) = protocol(&args)?;
    let prepared = prepared(&args)?;
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let mut findings = Vec::new();
    let mut skipped = Vec::new();
    for model in &chosen {
        match measured(model, &prepared, &set, &protocol, args.seed, threads)? {
            Ok(finding) => findings.push(finding),
            Err(reason) if args.models.is_empty() => skipped.push(Skipped {
                name: model.name.clone(),
                reason,
            }),
            Err(reason) => return Err(InputError(format!("--models: {}: {reason}", model.name)).into()),
        }
    }
    let told = serde_json::json!({
        "data": data_json(&args, &prepared)?,
        "protocol": protocol_json(&args, &set, threads, negatives),
        "models": report::models_json(&findings)?,
        "skipped": skipped.iter().map(|s| serde_json::json!({"name": s.name, "reason": s.reason})).collect::<Vec<_>>(),
    });
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => println!("{}", serde_json::to_string_pretty(&told)?),
        Some(path) => {
            let text = serde_json::to_string_pretty(&told)?;
            std::fs::write(path, text + "\n")
                .with_context(|| format!("failed to write {}", path.display()))?;
            report::print(&prepared, &set, &protocol, &findings, &skipped);
        }
        None => report::print(&prepared, &set, &protocol, &findings, &skipped),
    }
    Ok(())
}

fn input(error: evaluate::EvaluateError) -> anyhow::Error {
    let hint = match error {
        evaluate::EvaluateError::Overlap { .. } => " (--allow-overlap)",
        _ => "",
    };
    InputError(format!("{error}{hint}")).into()
}

fn prepared(args: &Args) -> anyhow::Result<Prepared> {
    let values = &["value", "rating"];
    let (train, test) = match (&args.data, &args.train, &args.test) {
        (Some(data), _, _) => {
            let how: Split = args.split.parse().map_err(|e| InputError(format!("--{e}")))?;
            let rows = tables::interactions(data, values)?;
            evaluate::split(rows, how, args.seed).map_err(input)?
        }
        (None, Some(train), Some(test)) => (
            tables::interactions(train, values)?,
            tables::interactions(test, values)?,
        ),
        _ => return Err(InputError("expected --train and --test, or --data".to_owned()).into()),
    };
    let valid = match &args.valid {
        Some(path) => tables::interactions(path, values)?,
        None => Vec::new(),
    };
    if let Some(least) = args.positive_min {
        check_values(least, [("train", &train), ("valid", &valid), ("test", &test)])?;
    }
    let features = match &args.items {
        Some(path) => tables::item_features(path)?,
        None => Default::default(),
    };
    if args.catalogue == CatalogueArg::Items && args.items.is_none() {
        return Err(InputError("--catalogue items: expected --items with a file".to_owned()).into());
    }
    evaluate::prepare(Inputs {
        train,
        valid,
        test,
        features,
        rank_described: args.catalogue == CatalogueArg::Items,
        positive_min: args.positive_min,
        allow_overlap: args.allow_overlap,
    })
    .map_err(input)
}

fn check_values(least: f64, parts: [(&str, &Vec<Row>); 3]) -> anyhow::Result<()> {
    for (part, rows) in parts {
        if rows.iter().any(|row| row.value.is_none()) {
            let why = format!("--positive-min {least}: {part} has rows without value or rating");
            return Err(InputError(why).into());
        }
    }
    Ok(())
}

/// The protocol, and the mean number of negatives.
fn protocol(args: &Args) -> anyhow::Result<(Protocol, Option<f64>)> {
    match (&args.protocol, &args.negatives) {
        (ProtocolArg::Full, None) => Ok((Protocol::Full, None)),
        (ProtocolArg::Full, Some(_)) => {
            Err(InputError("--negatives: expected --protocol negatives with it".to_owned()).into())
        }
        (ProtocolArg::Negatives, None) => {
            Err(InputError("--protocol negatives: expected --negatives with a file".to_owned()).into())
        }
        (ProtocolArg::Negatives, Some(path)) => {
            let negatives: HashMap<UserId, Vec<ItemId>> = tables::negatives(path)?;
            let total: usize = negatives.values().map(Vec::len).sum();
            let mean = total as f64 / negatives.len().max(1) as f64;
            Ok((Protocol::Negatives(negatives), Some(mean)))
        }
    }
}

/// Fits and measures; the inner error is why there is no model.
fn measured(
    chosen: &Chosen,
    prepared: &Prepared,
    set: &MetricSet,
    protocol: &Protocol,
    seed: u64,
    threads: usize,
) -> anyhow::Result<Result<Finding, String>> {
    let bar = ProgressBar::new(prepared.users.len() as u64).with_style(
        ProgressStyle::with_template("{prefix:>14} {msg:8} {wide_bar} {pos}/{len} users {eta}")
            .context("failed to style the progress bar")?,
    );
    bar.set_prefix(chosen.name.clone());
    bar.set_message("fitting");
    bar.tick();
    crate::memory::reset_peak();
    let started = Instant::now();
    let model = match chosen
        .trainer
        .fit(&prepared.training, &models::Run::new(seed, threads))
    {
        Ok(model) => model,
        Err(error) => {
            bar.finish_and_clear();
            return Ok(Err(error.to_string()));
        }
    };
    let fit_seconds = started.elapsed().as_secs_f64();
    bar.set_message("ranking");
    let started = Instant::now();
    let measured = evaluate::measure(model.as_ref(), prepared, set, protocol, seed, threads, &|n| {
        bar.inc(n as u64)
    })
    .map_err(input)?;
    bar.finish_and_clear();
    Ok(Ok(Finding {
        name: chosen.name.clone(),
        config: chosen.trainer.config(),
        fit_seconds,
        rank_seconds: started.elapsed().as_secs_f64(),
        peak_memory_mb: crate::memory::peak_mb(),
        measured,
    }))
}

fn data_json(args: &Args, prepared: &Prepared) -> anyhow::Result<serde_json::Value> {
    let mut data = serde_json::to_value(&prepared.summary)?;
    let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    if let Some(data) = data.as_object_mut() {
        for (name, path) in [
            ("train", &args.train),
            ("valid", &args.valid),
            ("test", &args.test),
            ("data", &args.data),
            ("items", &args.items),
            ("negatives", &args.negatives),
        ] {
            if let Some(path) = shown(path) {
                data.insert(name.to_owned(), path.into());
            }
        }
        if args.data.is_some() {
            data.insert("split".to_owned(), args.split.clone().into());
        }
        data.insert("positive_min".to_owned(), args.positive_min.into());
        data.insert("row_weight".to_owned(), "every row weighs 1".into());
    }
    Ok(data)
}

fn protocol_json(args: &Args, set: &MetricSet, threads: usize, negatives: Option<f64>) -> serde_json::Value {
    serde_json::json!({
        "name": match args.protocol { ProtocolArg::Full => "full", ProtocolArg::Negatives => "negatives" },
        "sampled": args.protocol == ProtocolArg::Negatives,
        "negatives_mean": negatives,
        "catalogue": match args.catalogue { CatalogueArg::Train => "train", CatalogueArg::Items => "items" },
        "k": set.lengths(),
        "mrr_depth": set.longest().max(evaluate::LIST_LENGTH_MIN),
        "users": "those with at least one relevant item, each weighing the same",
        "intervals": format!("percentile bootstrap over users, 95 %, {} resamples", evaluate::ROUNDS),
        "seed": args.seed,
        "threads": threads,
    })
}
