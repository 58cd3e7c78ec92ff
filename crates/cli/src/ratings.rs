//! `concierge ratings`: how far predicted ratings are off, by cross-validation.

use crate::evaluate_models::{named, pieces};
use crate::failure::InputError;
use crate::{output, tables};
use ::ratings::{Folds, Measured, Rating, cross_validate, folds, folds_by_time};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;

/// Measure how far predicted ratings are off
///
/// For data in which people say how much they like something. Holds out each part of the ratings in turn, learns from
/// the others and predicts. Reports the root of the mean squared error (RMSE) and the mean absolute error (MAE), each the
/// mean over the folds.
///
/// The file is Parquet, CSV, TSV or JSON lines with user_id, item_id and rating (or value), and timestamp if there is one: models with `time` learn what
/// the moment of a rating adds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  concierge ratings --data ratings.csv\n  \
    concierge ratings --data ratings.parquet --models 'baseline,svd:{\"factors\":100}' --json\n  \
    concierge ratings --data ratings.parquet --by-time --models 'svd,svd:{\"time\":{}}'")]
pub(crate) struct Args {
    /// The ratings.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Parts, each held out once.
    #[arg(long, value_name = "N", default_value_t = 5)]
    folds: usize,
    /// Hold out the later half in order of time, each part predicted from all that is earlier, instead of parts at random.
    #[arg(long)]
    by_time: bool,
    /// Models, by name, each with a configuration if wanted: svd:{"factors":100},item-knn. All if absent.
    #[arg(long, value_name = "NAMES", default_value = "")]
    models: String,
    /// Seed of the folds and of the models.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads; results do not depend on it. All processors if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let chosen = chosen(&args.models)?;
    let (rows, users, items) = rows(&args)?;
    let folds = match args.by_time {
        true => folds_by_time(&rows, args.folds),
        false => folds(rows.len(), args.folds, args.seed),
    };
    let folds =
        folds.map_err(|e| InputError(format!("--{}{e}", if args.by_time { "by-time: " } else { "" })))?;
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let mut found = Vec::new();
    for (name, trainer) in &chosen {
        let bar = ProgressBar::new(folds.n as u64).with_style(ProgressStyle::with_template(
            "{prefix:>14} {wide_bar} {pos}/{len} folds {elapsed}",
        )?);
        bar.set_prefix(name.clone());
        bar.tick();
        let start = std::time::Instant::now();
        let seconds = || start.elapsed().as_secs_f64();
        let measured = numeric::on_threads(threads, || {
            cross_validate(
                &**trainer,
                (users, items),
                &rows,
                &folds,
                args.seed,
                &seconds,
                &|| bar.inc(1),
            )
        });
        bar.finish_and_clear();
        found.push((name, measured.map_err(|e| InputError(e.to_string()))?));
    }
    if args.json {
        let told = told(&args, &folds, (rows.len(), users, items), threads, &found)?;
        return output::json(&told);
    }
    output::line(format!(
        "{} ratings of {users} users and {items} items, {} folds{}, seed {}",
        rows.len(),
        folds.n,
        if folds.forward { " by time" } else { "" },
        args.seed
    ))?;
    let lines = found.iter().map(|(name, m)| {
        vec![
            (*name).clone(),
            format!("{:.4}", m.rmse),
            format!("{:.4} to {:.4}", m.rmse_interval.0, m.rmse_interval.1),
            format!("{:.4}", m.mae),
            format!("{:.2}", m.fit_seconds),
            format!("{:.2}", m.predict_seconds * 1e6),
        ]
    });
    let header = ["model", "RMSE", "95 %", "MAE", "fit s", "predict us"];
    output::table(&header, lines.collect())
}

type Chosen = (String, Box<dyn ::ratings::RatingTrainer>);

fn chosen(text: &str) -> Result<Vec<Chosen>, InputError> {
    let wanted: Vec<(String, Option<Value>)> = if text.trim().is_empty() {
        let all = ::ratings::trainers().iter();
        all.map(|entry| (entry.name.to_owned(), None)).collect()
    } else {
        pieces(text).into_iter().map(named).collect::<Result<_, _>>()?
    };
    let build = |(name, config): (String, Option<Value>)| {
        let entry = ::ratings::trainer(&name).ok_or_else(|| {
            let known: Vec<&str> = ::ratings::trainers().iter().map(|entry| entry.name).collect();
            InputError(format!(
                "--models: got {name:?}, expected one of {}",
                known.join(", ")
            ))
        })?;
        let trainer = (entry.build)(&config.unwrap_or(Value::Null));
        Ok((name, trainer.map_err(|e| InputError(format!("--models: {e}")))?))
    };
    wanted.into_iter().map(build).collect()
}

/// Ratings by position, and how many users and items there are.
fn rows(args: &Args) -> Result<(Vec<Rating>, usize, usize), InputError> {
    let rows = tables::interactions(&args.data, &["rating", "value"])?;
    let (mut users, mut items) = (HashMap::new(), HashMap::new());
    let mut out = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        let Some(value) = row.value else {
            return Err(InputError(format!(
                "--data {}: row {} has no rating, expected a number in each row",
                args.data.display(),
                at + 1
            )));
        };
        let (n_users, n_items) = (users.len() as u32, items.len() as u32);
        out.push(Rating {
            user: *users.entry(&row.user).or_insert(n_users),
            item: *items.entry(&row.item).or_insert(n_items),
            value: value as f32,
            at_s: (row.timestamp.0 != 0).then(|| row.timestamp.0.div_euclid(1000)),
        });
    }
    Ok((out, users.len(), items.len()))
}

fn told(
    args: &Args,
    folds: &Folds,
    (rows, users, items): (usize, usize, usize),
    threads: usize,
    found: &[(&String, Measured)],
) -> anyhow::Result<Value> {
    let models = found.iter().map(|(name, measured)| {
        let mut told = serde_json::to_value(measured)?;
        told["name"] = json!(name);
        Ok(told)
    });
    Ok(json!({
        "data": {"file": args.data.display().to_string(), "ratings": rows, "users": users, "items": items},
        "folds": folds.n,
        "by_time": folds.forward,
        "seed": args.seed,
        "threads": threads,
        "models": models.collect::<Result<Vec<Value>, serde_json::Error>>()?,
    }))
}
