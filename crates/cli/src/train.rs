//! `concierge train`: learns the models from the log and publishes them.

use crate::failure::bad_input;
use crate::folder::DataFolder;
use crate::{output, progress};
use assembly::{Service, TrainReport};
use serde_json::{Value, json};

/// Learn the models from the events and publish them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  concierge train --data shop\n  concierge train --data shop --ranker")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Learn the rankers of placements with `ranker.kind = "trees"` instead, from what was shown and what came of it
    #[arg(long)]
    ranker: bool,
    /// Only this placement's ranker
    #[arg(long, value_name = "NAME", requires = "ranker")]
    placement: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let service = args.folder.open()?;
    if args.ranker {
        return rankers(&service, args);
    }
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

/// Learns the rankers of one placement or of all that have one.
fn rankers(service: &Service, args: &Args) -> anyhow::Result<()> {
    let placements = match &args.placement {
        Some(placement) => vec![placement.clone()],
        None => service.ranked_placements(),
    };
    if placements.is_empty() {
        return Err(bad_input(
            "placements",
            "none with a learnt ranker",
            "kind = \"trees\" under [placements.NAME.ranker] in the configuration",
        ));
    }
    let mut reports = Vec::new();
    for placement in placements {
        let spinner = progress::spinner("training");
        let report = service.train_ranker(&placement, &|step| {
            spinner.set_message(format!("{placement}: {step}"));
            tracing::info!("ranker of {placement}: {step}");
        });
        spinner.finish_and_clear();
        reports.push(report?);
    }
    service.close()?;
    if args.json {
        return output::json(&serde_json::to_value(&reports)?);
    }
    for report in reports {
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
        let rows = report.learning.heads.iter().map(|head| {
            let top: Vec<&str> = head
                .top_features
                .iter()
                .take(4)
                .map(|(name, _)| name.as_str())
                .collect();
            vec![
                head.outcome.clone(),
                output::count(head.positives),
                head.trees.to_string(),
                figure(head.loss),
                figure(head.loss_of_constant),
                figure(head.calibration_error),
                top.join(", "),
            ]
        });
        let head = [
            "head",
            "rows with it",
            "trees",
            "log loss",
            "of a constant",
            "calibration",
            "asked most",
        ];
        output::table(&head, rows.collect())?;
        for (outcome, why) in &report.learning.left_out {
            output::line(format!("no head for {outcome}: {why}"))?;
        }
        if let Some(c) = &report.comparison {
            output::line(format!(
                "on {} later {}: NDCG@10 {:.4}, {} {:.4}, difference {:+.4} ({:+.4} to {:+.4})",
                output::count(c.decisions),
                if report.from == "decisions" {
                    "decisions"
                } else {
                    "people"
                },
                c.challenger,
                c.champion_name,
                c.champion,
                c.difference,
                c.low,
                c.high,
            ))?;
        }
        output::line(format!(
            "{}: ranker {} from {} of {} rows in {:.1} s, {}",
            report.placement,
            report.version,
            report.from,
            output::count(report.learning.rows),
            report.seconds,
            if report.promoted {
                "in service"
            } else {
                "not put in service: it did worse"
            },
        ))?;
    }
    Ok(())
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
