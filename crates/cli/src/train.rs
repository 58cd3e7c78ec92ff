//! `concierge train`: learns the models from the log and publishes them.

use crate::folder::DataFolder;
use crate::{output, progress};
use assembly::{Service, TrainReport};
use serde_json::{Value, json};

/// Learn the models from the events and publish them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge train --data shop")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let service = args.folder.open()?;
    let report = with_progress(&service)?;
    service.close()?;
    if args.json {
        return output::json(&as_json(&report));
    }
    let rows = report.models.iter().map(|m| {
        vec![
            m.name.clone(),
            format!("{:.2}", m.seconds),
            output::count(m.bytes),
        ]
    });
    output::table(&["model", "seconds", "bytes"], rows.collect())?;
    output::line(format!(
        "published bundle {}: {} events of {} users on {} items in {:.1} s",
        report.bundle,
        output::count(report.events),
        output::count(report.users),
        output::count(report.items),
        report.seconds,
    ))
}

/// Trains while a spinner says what is being learnt.
pub(crate) fn with_progress(service: &Service) -> anyhow::Result<TrainReport> {
    let spinner = progress::spinner("training");
    let report = service.train(&|step| {
        spinner.set_message(format!("training: {step}"));
        tracing::info!("training: {step}");
    });
    spinner.finish_and_clear();
    Ok(report?)
}

/// The report for machines.
pub(crate) fn as_json(report: &TrainReport) -> Value {
    let models: Vec<Value> = report
        .models
        .iter()
        .map(|m| json!({ "name": m.name, "seconds": m.seconds, "bytes": m.bytes }))
        .collect();
    json!({
        "bundle": report.bundle,
        "models": models,
        "events": report.events,
        "users": report.users,
        "items": report.items,
        "seconds": report.seconds,
    })
}
