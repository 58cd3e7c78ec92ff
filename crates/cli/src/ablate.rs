//! `concierge ablate`: what each step of a placement adds and what each part of it is worth, measured on the past.

use crate::folder::DataFolder;
use crate::{output, progress};
use assembly::{AblationReport, AblationRequest, AblationStep, Estimate, Measured, PartFigures};

/// Measure what each step of a placement adds and what each part of it is worth, on the later part of the log
///
/// The events are cut in time. Models and ranker learn from the earlier part; people of the later part are asked at the moment before
/// their first later event, and what they did afterwards is the truth. Steps add up: retrieval, model, learned ranker, diversity. Parts are taken
/// out one at a time (leave one out): the whole against the same without the part, learnt anew, on the same people with the same truth; above zero,
/// the figure is higher with the part, which is good of all but Gini. What the data say nothing about is not measured, and why is said. Intervals are
/// 95 % by bootstrap over people. Nothing is published.
#[derive(Debug, clap::Args)]
#[command(after_help = "Parts:
  hybrid               all sources and the model, against the best single model
  event weights        positive types of events as they weigh, against all alike
  content              attributes of items in models and ranker, against none
  context              what the request brings, time and session in the ranker, against none
  diversity            the reranker, against the order of the scores
  negative signals     types with a negative weight, against no weight
  position correction  as the ranker has it, against none; where decisions are in the log

Example:
  concierge ablate --data shop --k 10")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Whose sources and rules
    #[arg(long, value_name = "NAME", default_value = "home")]
    placement: String,
    /// Length of the lists
    #[arg(long, value_name = "N", default_value_t = 10)]
    k: usize,
    /// People asked at most
    #[arg(long, value_name = "N", default_value_t = 2000)]
    users: usize,
    /// Share of the events that is the earlier part, 0.2 to 0.95
    #[arg(long, value_name = "SHARE", default_value_t = 0.8)]
    earlier: f64,
    /// Weight of unlikeness against relevance in mmr, 0 to 1; without it the placement's own reranker, or mmr with its default (0.3)
    #[arg(long, value_name = "WEIGHT")]
    diversity: Option<f64>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let service = args.folder.open()?;
    let request = AblationRequest {
        placement: args.placement.clone(),
        k: args.k,
        users_max: args.users,
        earlier_share: args.earlier,
        diversity: args.diversity,
    };
    let spinner = progress::spinner("measuring");
    let report = service.ablation(&request, &|step| spinner.set_message(step.to_owned()));
    spinner.finish_and_clear();
    let report = report?;
    service.close()?;
    if args.json {
        return output::json(&report);
    }
    steps(&report, args.k)?;
    parts(&report, args.k)?;
    output::line(format!(
        "{} people, {} of them without history, {} items, seed {}; {} events in the earlier part, the ranker learnt from {} rows",
        output::count(report.users),
        output::count(report.newcomers),
        output::count(report.items),
        report.seed,
        output::count(report.earlier_events),
        output::count(report.ranker_rows),
    ))
}

fn told(e: Estimate) -> String {
    format!("{:.4} ({:.4} to {:.4})", e.mean, e.low, e.high)
}

fn signed(e: Estimate) -> String {
    format!("{:+.4} ({:+.4} to {:+.4})", e.mean, e.low, e.high)
}

/// A figure that may not be there.
fn or_none(estimate: Option<Estimate>, told: fn(Estimate) -> String) -> String {
    estimate.map_or_else(|| "-".to_owned(), told)
}

/// What was not measured, under its table.
fn not_measured<'a>(all: impl Iterator<Item = (&'a str, &'a str)>) -> anyhow::Result<()> {
    for (name, why) in all {
        output::line(format!("not measured: {name}: {why}"))?;
    }
    Ok(())
}

fn steps(report: &AblationReport, k: usize) -> anyhow::Result<()> {
    let row = |step: &AblationStep| {
        let figures = step.figures.get()?;
        Some(vec![
            step.step.to_owned(),
            told(figures.ndcg),
            or_none(step.added.map(|added| added.ndcg), signed),
            told(figures.recall),
            told(figures.coverage),
            told(figures.gini),
            or_none(figures.intra_list_diversity, told),
        ])
    };
    let (ndcg, recall) = (format!("NDCG@{k}"), format!("recall@{k}"));
    output::table(
        &[
            "step",
            &ndcg,
            "added",
            &recall,
            "coverage",
            "Gini",
            "diversity in a list",
        ],
        report.steps.iter().filter_map(row).collect(),
    )?;
    let unmeasured = report.steps.iter().filter_map(|step| match &step.figures {
        Measured::NotMeasured(why) => Some((step.step, why.as_str())),
        Measured::Measured(_) => None,
    });
    not_measured(unmeasured)
}

fn parts(report: &AblationReport, k: usize) -> anyhow::Result<()> {
    let measured: Vec<(&str, &PartFigures)> = report
        .parts
        .iter()
        .filter_map(|part| Some((part.part, part.figures.get()?)))
        .collect();
    let row = |(part, figures): &(&str, &PartFigures)| {
        let difference = &figures.difference;
        vec![
            (*part).to_owned(),
            signed(difference.ndcg),
            signed(difference.recall),
            signed(difference.coverage),
            signed(difference.gini),
            or_none(difference.intra_list_diversity, signed),
        ]
    };
    let (ndcg, recall) = (format!("Δ NDCG@{k}"), format!("Δ recall@{k}"));
    output::line("")?;
    output::table(
        &[
            "part",
            &ndcg,
            &recall,
            "Δ coverage",
            "Δ Gini",
            "Δ diversity in a list",
        ],
        measured.iter().map(row).collect(),
    )?;
    for (part, figures) in &measured {
        output::line(format!("{part} taken out: {}", figures.taken_out))?;
    }
    let unmeasured = report.parts.iter().filter_map(|part| match &part.figures {
        Measured::NotMeasured(why) => Some((part.part, why.as_str())),
        Measured::Measured(_) => None,
    });
    not_measured(unmeasured)
}
