//! `concierge evaluate`: fits models on one part of the data and judges them by another.

use crate::evaluate_data::{self as data, CatalogueArg, DataArgs, ProtocolArg, ProtocolArgs, input};
use crate::evaluate_incremental::Incremental;
use crate::evaluate_models::{self, Chosen};
use crate::failure::InputError;
use crate::tuning::{self, TuneArgs};
use crate::{
    evaluate_html as html, evaluate_incremental as incremental, evaluate_report as report, files, output,
    tables,
};
use anyhow::Context;
use evaluate::{Case, Comparison, DataSummary, Measured, MetricSet, Prepared, Protocol, compare};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Measure models on held-out data, with intervals
///
/// Fits each model on the training rows, ranks for every user of the test rows, and reports metrics with
/// 95 % bootstrap intervals over users and a paired test between the models.
///
/// Files are Parquet, CSV, TSV or JSON lines with user_id, item_id and optionally value (or
/// rating) and timestamp. Every row weighs 1: a rating's height is used only by --positive-min.
/// By default all items of the training rows are ranked but those that the user has there. Items
/// and users of the test that training does not know count: such items are never hit, such users
/// are answered as anyone unknown. Test pairs that are also in training are refused.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  concierge evaluate --train train.parquet --test test.parquet --k 10,20 --json result.json\n  \
    concierge evaluate --data ratings.csv --split temporal:0.8 --items movies.csv --models 'popular,als:{\"factors\":64}'\n  \
    concierge evaluate --data ratings.csv --tune 10m --html report.html\n  \
    concierge evaluate --data ratings.csv --items movies.csv --protocol unseen-item --among unseen\n  \
    concierge evaluate --data ratings.csv --split last:5 --protocol unseen-user --beside-trained\n  \
    concierge evaluate --data ratings.csv --split last:5 --protocol incremental --models als,ease,popular"
)]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    protocol: ProtocolArgs,
    /// Models, by name, each with a configuration if wanted: als,item-cosine:{"k":100}. All if absent.
    #[arg(long, value_name = "NAMES", default_value = "")]
    models: String,
    /// Configurations by model name, in TOML or JSON, such as `concierge tune` writes.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// List lengths.
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_value = "10,20")]
    k: Vec<usize>,
    /// Metrics by which models are compared in pairs. nDCG and recall at the longest list if absent.
    #[arg(long, value_name = "METRIC,…", value_delimiter = ',')]
    compare: Vec<String>,
    /// Tunes every model for this long in all, such as 10m, on a part of the training rows, then learns from all of them.
    #[arg(long, value_name = "TIME", value_parser = tuning::parse_time)]
    tune: Option<std::time::Duration>,
    #[command(flatten)]
    tuning: TuneArgs,
    /// Seed of learners, random splits, what is held out, and intervals.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads; results do not depend on it. All processors if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Writes the report as JSON to a file, or to standard output for -.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the report as one HTML file with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// One model's figures.
pub(crate) struct Finding {
    pub(crate) name: String,
    pub(crate) config: serde_json::Value,
    pub(crate) fit_seconds: f64,
    pub(crate) rank_seconds: f64,
    pub(crate) peak_memory_mb: Option<f64>,
    /// What updates took, if that was measured.
    pub(crate) incremental: Option<Incremental>,
    /// By case of the protocol; at least one.
    pub(crate) cases: Vec<(String, Measured)>,
}

impl Finding {
    /// The last case: that of the most first rows.
    pub(crate) fn measured(&self) -> &Measured {
        &self.cases[self.cases.len() - 1].1
    }
}

/// One model in two circumstances.
pub(crate) struct Paired {
    pub(crate) model: String,
    pub(crate) metric: String,
    /// Means of the two.
    pub(crate) before: f64,
    pub(crate) last: f64,
    /// The last minus the one before.
    pub(crate) comparison: Comparison,
}

/// What all fits and rankings of an evaluation share.
pub(crate) struct Run<'a> {
    pub(crate) set: &'a MetricSet,
    pub(crate) protocol: &'a Protocol,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
}

impl Run<'_> {
    /// A bar for one model.
    pub(crate) fn bar(&self, name: &str, users: usize) -> anyhow::Result<ProgressBar> {
        let bar = ProgressBar::new(users as u64).with_style(
            ProgressStyle::with_template("{prefix:>14} {msg:8} {wide_bar} {pos}/{len} users {eta}")
                .context("failed to style the progress bar")?,
        );
        bar.set_prefix(name.to_owned());
        Ok(bar)
    }

    /// Ranks for everyone.
    pub(crate) fn measure(
        &self,
        model: &dyn models::Model,
        prepared: &Prepared,
        bar: &ProgressBar,
    ) -> anyhow::Result<Measured> {
        let told = |n: usize| bar.inc(n as u64);
        evaluate::measure(
            model,
            prepared,
            self.set,
            self.protocol,
            self.seed,
            self.threads,
            &told,
        )
        .map_err(input)
    }
}

/// A model that could not be fitted.
pub(crate) struct Skipped {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// All there is to report.
pub(crate) struct Findings {
    pub(crate) summary: DataSummary,
    /// What the protocol does.
    pub(crate) protocol: String,
    pub(crate) sampled: bool,
    /// True if items without training rows are judged and nothing is known of them.
    pub(crate) blind: bool,
    pub(crate) calibrated_by: Option<String>,
    pub(crate) set: MetricSet,
    pub(crate) models: Vec<Finding>,
    pub(crate) skipped: Vec<Skipped>,
    /// Pairs of models by metric.
    pub(crate) comparisons: Vec<(String, Vec<Comparison>)>,
    /// Each model's last case against the one before it on the same users, where the protocol is about that.
    pub(crate) paired: Vec<Paired>,
    pub(crate) command: String,
}

/// Threads to use: as many as asked for, or all processors.
pub(crate) fn threads_of(asked: Option<u16>) -> usize {
    match asked {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let set = MetricSet::new(&args.k, false).map_err(|e| InputError(format!("--{e}")))?;
    let mut chosen = evaluate_models::chosen(&args.models, args.config.as_deref())?;
    args.data.check()?;
    args.protocol.check(args.data.next)?;
    if args.tune.is_none() {
        args.tuning.check_unused()?;
    }
    for (option, path) in [
        ("--json", &args.json),
        ("--html", &args.html),
        ("--out", &args.tuning.out),
    ] {
        if let Some(path) = path.as_deref().filter(|path| *path != Path::new("-")) {
            files::check_output(option, path)?;
        }
    }
    let scheme = args.protocol.scheme();
    scheme.check().map_err(input)?;
    let (protocol, negatives) = protocol(&args.protocol)?;
    let inputs = data::inputs(&args.data, args.seed)?;
    let valid = inputs.valid.clone();
    let cases = scheme.cases(inputs, args.seed).map_err(input)?;
    let threads = threads_of(args.threads);
    let mut tuned = None;
    if let Some(budget) = args.tune {
        let goal = tuning::Goal {
            budget,
            seed: args.seed,
            threads,
            set: &set,
            split: args
                .data
                .data
                .as_ref()
                .map(|_| data::split_of(&args.data))
                .transpose()?,
        };
        let last = &cases[cases.len() - 1].prepared;
        let found = tuning::for_evaluation(&args.tuning, &goal, &chosen, last, valid)?;
        chosen = found.applied(chosen)?;
        tuned = Some(found.as_json());
    }
    let mut models = Vec::new();
    let mut skipped = Vec::new();
    let run = Run {
        set: &set,
        protocol: &protocol,
        seed: args.seed,
        threads,
    };
    let replay = match args.protocol.protocol {
        ProtocolArg::Incremental => Some(incremental::replay(
            &cases[0],
            args.protocol.share(),
            args.protocol.batch(),
        )?),
        _ => None,
    };
    evaluate_models::told_apart(&mut chosen);
    for model in &chosen {
        let found = match &replay {
            Some(replay) => incremental::measured(model, &cases[0], replay, &run)?,
            None => measured(model, &cases, &run)?,
        };
        match found {
            Ok(finding) => models.push(finding),
            Err(reason) if args.models.is_empty() => skipped.push(Skipped {
                name: model.name.clone(),
                reason,
            }),
            Err(reason) => return Err(InputError(format!("--models: {}: {reason}", model.name)).into()),
        }
    }
    let last = &cases[cases.len() - 1].prepared;
    let comparisons = comparisons(args, &set, &models)?;
    let findings = Findings {
        summary: last.summary.clone(),
        protocol: args.protocol.told(),
        sampled: matches!(protocol, Protocol::Negatives(_)),
        blind: args.protocol.needs_items() && args.data.items.is_none(),
        calibrated_by: last
            .labels
            .as_ref()
            .and_then(|labels| labels.attribute().map(str::to_owned)),
        paired: paired(args, &comparisons, &models),
        comparisons,
        set,
        models,
        skipped,
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
    };
    let told = serde_json::json!({
        "data": data_json(args, &findings)?,
        "protocol": protocol_json(args, &findings, threads, negatives),
        "tuning": tuned,
        "models": report::models_json(&findings.models)?,
        "comparisons": report::comparisons_json(&findings.comparisons)?,
        "paired": report::paired_json(&findings.paired)?,
        "notes": report::notes(&findings),
        "skipped": findings.skipped.iter().map(|s| serde_json::json!({"name": s.name, "reason": s.reason})).collect::<Vec<_>>(),
    });
    if let Some(path) = &args.html {
        std::fs::write(path, html::page(&findings))
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => output::json(&told),
        Some(path) => {
            let text = serde_json::to_string_pretty(&told)?;
            std::fs::write(path, text + "\n")
                .with_context(|| format!("failed to write {}", path.display()))?;
            report::print(&findings)
        }
        None => report::print(&findings),
    }
}

/// The protocol, and the mean number of negatives.
fn protocol(args: &ProtocolArgs) -> anyhow::Result<(Protocol, Option<f64>)> {
    match (&args.protocol, &args.negatives) {
        (ProtocolArg::Negatives, None) => {
            Err(InputError("--protocol negatives: expected --negatives with a file".to_owned()).into())
        }
        (ProtocolArg::Negatives, Some(path)) => {
            let negatives = tables::negatives(path)?;
            let total: usize = negatives.values().map(Vec::len).sum();
            let mean = total as f64 / negatives.len().max(1) as f64;
            Ok((Protocol::Negatives(negatives), Some(mean)))
        }
        (_, Some(_)) => {
            Err(InputError("--negatives: expected --protocol negatives with it".to_owned()).into())
        }
        (_, None) => Ok((Protocol::Full, None)),
    }
}

/// Every pair of models by the metrics asked for.
fn comparisons(
    args: &Args,
    set: &MetricSet,
    models: &[Finding],
) -> anyhow::Result<Vec<(String, Vec<Comparison>)>> {
    let longest = set.longest();
    let metrics = match args.compare.as_slice() {
        [] => vec![format!("ndcg@{longest}"), format!("recall@{longest}")],
        metrics => metrics.to_vec(),
    };
    let measured: Vec<(&str, &Measured)> = models.iter().map(|m| (m.name.as_str(), m.measured())).collect();
    let one = |metric: String| {
        if let Some((_, first)) = measured.first()
            && !first.names().contains(&metric)
        {
            return Err(InputError(format!(
                "--compare: got {metric:?}, expected one of {}",
                first.names().join(", ")
            ))
            .into());
        }
        let pairs = compare(&measured, &metric, args.seed);
        Ok((metric, pairs))
    };
    metrics.into_iter().map(one).collect()
}

/// Fits and measures; the inner error is why there is no model. Cases with the same training data share a model.
fn measured(chosen: &Chosen, cases: &[Case], run: &Run<'_>) -> anyhow::Result<Result<Finding, String>> {
    let bar = run.bar(
        &chosen.name,
        cases.iter().map(|case| case.prepared.users.len()).sum(),
    )?;
    crate::memory::reset_peak();
    let (mut fit_seconds, mut rank_seconds) = (0.0, 0.0);
    let mut found = Vec::new();
    let mut fitted: Option<(&Arc<_>, Box<dyn models::Model>)> = None;
    for case in cases {
        let training = &case.prepared.training;
        let model = match fitted.take() {
            Some((data, model)) if Arc::ptr_eq(data, &training.interactions) => model,
            _ => {
                bar.set_message("fitting");
                bar.tick();
                let started = Instant::now();
                let model = match chosen
                    .trainer
                    .fit(training, &models::Run::new(run.seed, run.threads))
                {
                    Ok(model) => model,
                    Err(error) => {
                        bar.finish_and_clear();
                        return Ok(Err(error.to_string()));
                    }
                };
                fit_seconds += started.elapsed().as_secs_f64();
                model
            }
        };
        bar.set_message("ranking");
        let started = Instant::now();
        let measured = run.measure(model.as_ref(), &case.prepared, &bar)?;
        rank_seconds += started.elapsed().as_secs_f64();
        found.push((case.label.clone(), measured));
        fitted = Some((&training.interactions, model));
    }
    bar.finish_and_clear();
    let config = chosen.trainer.config();
    Ok(Ok(Finding {
        name: chosen.name.clone(),
        config: match &fitted {
            Some((_, model)) => evaluate_models::effective(config, model.as_ref()),
            None => config,
        },
        fit_seconds,
        rank_seconds,
        peak_memory_mb: crate::memory::peak_mb(),
        incremental: None,
        cases: found,
    }))
}

/// Each model's last case against the one before, by the first metric that models are compared by.
fn paired(args: &Args, comparisons: &[(String, Vec<Comparison>)], models: &[Finding]) -> Vec<Paired> {
    let is_about_pairs = args.protocol.beside_trained || args.protocol.protocol == ProtocolArg::Incremental;
    let Some((metric, _)) = comparisons.first().filter(|_| is_about_pairs) else {
        return Vec::new();
    };
    let one = |finding: &Finding| {
        let [.., (before, of_before), (last, of_last)] = finding.cases.as_slice() else {
            return None;
        };
        let pairs = compare(&[(last, of_last), (before, of_before)], metric, args.seed);
        let mean = |measured: &Measured| measured.metrics.get(metric).map_or(f64::NAN, |e| e.mean);
        Some(Paired {
            model: finding.name.clone(),
            metric: metric.clone(),
            before: mean(of_before),
            last: mean(of_last),
            comparison: pairs.into_iter().next()?,
        })
    };
    models.iter().filter_map(one).collect()
}

fn data_json(args: &Args, findings: &Findings) -> anyhow::Result<serde_json::Value> {
    let mut told = serde_json::to_value(&findings.summary)?;
    let files = &args.data;
    if let Some(told) = told.as_object_mut() {
        for (name, path) in [
            ("train", &files.train),
            ("valid", &files.valid),
            ("test", &files.test),
            ("data", &files.data),
            ("items", &files.items),
            ("users", &files.users),
            ("negatives", &args.protocol.negatives),
        ] {
            if let Some(path) = path {
                told.insert(name.to_owned(), path.display().to_string().into());
            }
        }
        if files.data.is_some() {
            told.insert("split".to_owned(), files.split().into());
        }
        told.insert("positive_min".to_owned(), files.positive_min.into());
        told.insert("next".to_owned(), files.next.into());
        told.insert("row_weight".to_owned(), "every row weighs 1".into());
    }
    Ok(told)
}

fn protocol_json(
    args: &Args,
    findings: &Findings,
    threads: usize,
    negatives: Option<f64>,
) -> serde_json::Value {
    let asked = &args.protocol;
    serde_json::json!({
        "name": asked.name(),
        "told": findings.protocol,
        "sampled": findings.sampled,
        "negatives_mean": negatives,
        "share": asked.share(),
        "history_share": asked.history_share(),
        "shots": asked.shots(),
        "following": asked.following,
        "calibrated_by": findings.calibrated_by,
        "catalogue": match args.data.catalogue { CatalogueArg::Train => "train", CatalogueArg::Items => "items" },
        "k": findings.set.lengths(),
        "mrr_depth": findings.set.longest().max(evaluate::LIST_LENGTH_MIN),
        "users": "those with at least one relevant item, each weighing the same",
        "intervals": format!("percentile bootstrap over users, 95 %, {} resamples", evaluate::ROUNDS),
        "comparisons": format!("two-sided randomisation test over users, {} rounds; Holm's correction over all pairs of a metric", evaluate::SIGN_ROUNDS),
        "seed": args.seed,
        "threads": threads,
    })
}
