//! `concierge ablate`: what each step of a placement adds, measured on the past.

use crate::folder::DataFolder;
use crate::{output, progress};
use assembly::{AblationRequest, Estimate};

/// Measure what retrieval, model, learned ranker and diversity each add, on the later part of the log
///
/// The events are cut in time. Models and ranker learn from the earlier part; people of the later part are asked at the moment before
/// their first later event, and what they did afterwards is the truth. Intervals are 95 % by bootstrap over people. Nothing is published.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge ablate --data shop --k 10")]
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
    /// Weight of relevance against likeness in the step for diversity, 0 to 1
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.8)]
    relevance: f64,
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
        relevance: args.relevance,
    };
    let spinner = progress::spinner("measuring");
    let report = service.ablation(&request, &|step| spinner.set_message(step.to_owned()));
    spinner.finish_and_clear();
    let report = report?;
    service.close()?;
    if args.json {
        return output::json(&serde_json::to_value(&report)?);
    }
    let told = |e: Estimate| format!("{:.4} ({:.4} to {:.4})", e.mean, e.low, e.high);
    let rows = report.steps.iter().map(|step| {
        vec![
            step.step.to_owned(),
            told(step.ndcg),
            told(step.recall),
            told(step.coverage),
            told(step.gini),
            told(step.intra_list_diversity),
        ]
    });
    let (ndcg, recall) = (format!("NDCG@{}", args.k), format!("recall@{}", args.k));
    output::table(
        &["step", &ndcg, &recall, "coverage", "Gini", "diversity in a list"],
        rows.collect(),
    )?;
    output::line(format!(
        "{} people, {} items; the ranker learnt from {} rows",
        output::count(report.users),
        output::count(report.items),
        output::count(report.ranker_rows),
    ))
}
