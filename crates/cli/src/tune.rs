//! `concierge tune`: looks for good configurations on validation rows.

use crate::evaluate_data::input;
use crate::failure::{InputError, bad_input};
use crate::tuning::{self, Goal, TuneArgs};
use crate::tuning_outcome::{Found, Outcome};
use crate::{evaluate_models, output, tables};
use evaluate::{Inputs, MetricSet, Row};
use std::path::PathBuf;
use std::time::Duration;

/// Look for good configurations of models on validation rows
///
/// Random search with successive halving: many configurations are tried on a part of the people, the
/// best go on to more. The time is shared evenly among the models: training that takes longer than what is left of its model's
/// share is stopped, and what a model leaves over the others use. The configuration as given is tried first, so the
/// result is at least as good on the validation rows; a model for which the share is not even enough for that is left as it is, and named. With
/// --state a search that was broken off goes on; the time of earlier trials counts.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  concierge tune --data ratings.csv --budget 10m --state search.jsonl --out tuned.toml\n  \
    concierge tune --train train.parquet --valid valid.parquet --models als,item-bm25 --budget 30m --out tuned.toml\n  \
    concierge evaluate --data ratings.csv --config tuned.toml"
)]
pub(crate) struct Args {
    /// Rows to learn from.
    #[arg(long, value_name = "FILE")]
    train: Option<PathBuf>,
    /// Rows to validate by; without them --split cuts the training rows.
    #[arg(long, value_name = "FILE")]
    valid: Option<PathBuf>,
    /// All rows in one file, to be cut by --split, in place of --train.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// How to cut what is not cut: temporal:SHARE (of all rows, by time), last:COUNT (of each user), random:SHARE. temporal:0.9 if absent.
    #[arg(long, value_name = "HOW")]
    split: Option<String>,
    /// Attributes of items: item_id and any other columns; text with | is a list of tags.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// Only rows with at least this value count.
    #[arg(long, value_name = "VALUE")]
    positive_min: Option<f64>,
    /// Models, by name, each with a configuration to start from if wanted. All if absent.
    #[arg(long, value_name = "NAMES", default_value = "")]
    models: String,
    /// Configurations to start from by model name, in TOML or JSON.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Time for all models together, such as 90s, 10m or 1h30m.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = tuning::parse_time)]
    budget: Duration,
    /// List length.
    #[arg(long, default_value_t = 20)]
    k: usize,
    #[command(flatten)]
    tuning: TuneArgs,
    /// Seed of learners, splits and the search.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads; scores do not depend on it. All processors if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let set = MetricSet::new(&[args.k], false).map_err(|e| InputError(format!("--{e}")))?;
    check(args)?;
    let chosen = evaluate_models::chosen(&args.models, args.config.as_deref())?;
    if let Some(path) = &args.tuning.out {
        crate::files::check_output("--out", path)?;
    }
    let goal = Goal {
        budget: args.budget,
        seed: args.seed,
        threads: crate::evaluate::threads_of(args.threads),
        set: &set,
        split: None,
    };
    let outcome = tuning::run(&args.tuning, &goal, &chosen, inputs(args)?)?;
    if args.json {
        return output::json(&outcome.as_json());
    }
    print(args, &outcome)
}

/// Refuses what says twice where the rows are, or not at all.
fn check(args: &Args) -> anyhow::Result<()> {
    let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let (train, valid) = (shown(&args.train), shown(&args.valid));
    if let Some(data) = &args.data {
        for (option, got) in [("--train", train), ("--valid", valid)] {
            if let Some(got) = got {
                let got = format!("{got} beside --data {}", data.display());
                return Err(bad_input(
                    option,
                    got,
                    "--train, with --valid or --split, or --data alone",
                ));
            }
        }
        return Ok(());
    }
    match (train, valid, &args.split) {
        (None, None, _) => Err(bad_input(
            "--data",
            "nothing",
            "a file with all rows, or --train with one to learn from",
        )),
        (None, Some(valid), _) => Err(bad_input(
            "--valid",
            format!("{valid} without --train"),
            "--train with it",
        )),
        (Some(_), Some(valid), Some(split)) => {
            let got = format!("{split} beside --valid {valid}");
            Err(bad_input("--split", got, "one of the two"))
        }
        _ => Ok(()),
    }
}

fn inputs(args: &Args) -> anyhow::Result<Inputs> {
    let values = &["value", "rating"];
    let read = |path: &PathBuf| tables::interactions(path, values);
    let (train, test): (Vec<Row>, Vec<Row>) = match (&args.data, &args.train, &args.valid) {
        (None, Some(train), Some(valid)) => (read(train)?, read(valid)?),
        (Some(whole), _, _) | (None, Some(whole), None) => {
            let how = args.split.as_deref().unwrap_or("temporal:0.9");
            let how = how.parse().map_err(|e| InputError(format!("--{e}")))?;
            evaluate::split(read(whole)?, how, args.seed).map_err(input)?
        }
        (None, None, _) => return Err(InputError("expected --train or --data".to_owned()).into()),
    };
    Ok(Inputs {
        train,
        test,
        features: match &args.items {
            Some(path) => tables::item_features(path)?,
            None => Default::default(),
        },
        positive_min: args.positive_min,
        allow_overlap: true,
        ..Inputs::default()
    })
}

fn print(args: &Args, outcome: &Outcome) -> anyhow::Result<()> {
    let score = |score: Option<f64>| score.map_or("–".to_owned(), |score| format!("{score:.4}"));
    let row = |found: &Found| {
        vec![
            found.name.clone(),
            score(found.given),
            score(found.score),
            found.trials.to_string(),
            format!("{:.1}", found.seconds),
        ]
    };
    let header = ["model", "as given", "found", "trials", "seconds"];
    output::table(&header, outcome.found.iter().map(row).collect())?;
    output::line(format!("{} on the validation rows", outcome.metric))?;
    for (name, reason) in &outcome.failed {
        output::line(format!("note: {name}: {reason}"))?;
    }
    match &args.tuning.out {
        Some(path) => output::line(format!("wrote {}", path.display())),
        None => output::line(outcome.to_toml()?),
    }
}
