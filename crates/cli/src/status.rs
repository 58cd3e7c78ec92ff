//! `concierge status`: how a data folder stands.

use crate::folder::DataFolder;
use crate::output::{self, count};

/// Show how a data folder stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge status --data shop")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let service = args.folder.open()?;
    let status = service.status();
    service.close()?;
    if args.json {
        return output::json(&status);
    }
    let trained = status
        .trained_at
        .map_or_else(|| "never".to_owned(), output::moment);
    let mut rows = vec![
        row("events", count(status.events)),
        row(
            "items",
            format!("{} ({} hidden)", count(status.items), count(status.hidden_items)),
        ),
        row("users", count(status.users)),
        row("last event", status.sequence.to_string()),
        row("absorbed by the models", status.absorbed_sequence.to_string()),
        row("snapshot", status.snapshot.clone()),
        row("trained", trained),
        row("decisions kept", count(status.decisions)),
        row("placements", status.placements.join(", ")),
    ];
    for ((name, bytes), (_, stale)) in status.models.iter().zip(&status.staleness) {
        rows.push(row(
            "model",
            format!("{name}, {} bytes, staleness {stale:.4}", count(*bytes)),
        ));
    }
    if !status.models.is_empty() {
        rows.push(row(
            "trained anew above a staleness of",
            status.staleness_max.to_string(),
        ));
    }
    for bandit in &status.bandits {
        let contexts = bandit.contexts.as_ref().map_or_else(String::new, |check| {
            let verdict = if check.greedy_is_safe {
                "greedy would be safe"
            } else {
                "exploration is needed"
            };
            format!("; {verdict}: {}", check.reason)
        });
        rows.push(row(
            "learns by itself",
            format!(
                "{}: {} actions, {} decisions, {} rewards, events up to {}{contexts}",
                bandit.placement,
                count(bandit.actions),
                count(bandit.decisions),
                count(bandit.rewards),
                bandit.sequence
            ),
        ));
    }
    for exposure in &status.exposures {
        for one in &exposure.shares {
            rows.push(row(
                "exposures",
                format!(
                    "{}: {}: {} has {:.1} % of {}, price {:.3}",
                    exposure.placement,
                    one.constraint,
                    one.of,
                    100.0 * one.share,
                    count(exposure.exposures),
                    one.price
                ),
            ));
        }
    }
    for (name, events) in &status.unknown_event_types {
        rows.push(row(
            "unknown event type",
            format!("{name}: {} events count for nothing", count(*events)),
        ));
    }
    for warning in &status.warnings {
        rows.push(row("warning", warning.clone()));
    }
    output::table(&["", ""], rows)
}

fn row(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}
