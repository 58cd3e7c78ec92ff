//! `concierge decisions`: past decisions, found and exported.

use crate::folder::DataFolder;
use crate::output;
use assembly::{DecisionQuery, Moment, Service};
use import_parquet::ShownRow;
use std::path::{Path, PathBuf};

/// Find past decisions, or write them into a Parquet file with what came of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  concierge decisions --data shop --user 42 --limit 5
  concierge decisions --data shop --placement home --from 2024-05-01 --to 2024-06-01 --json
  concierge decisions --data shop --export decisions.parquet")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// For whom
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// That showed this item
    #[arg(long, value_name = "ID")]
    item: Option<String>,
    /// Of this placement
    #[arg(long, value_name = "NAME")]
    placement: Option<String>,
    /// Chosen by this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Earliest moment: RFC 3339, a date, or Unix seconds or milliseconds
    #[arg(long, value_name = "MOMENT")]
    from: Option<String>,
    /// Latest moment, itself not included
    #[arg(long, value_name = "MOMENT")]
    to: Option<String>,
    /// Most decisions, the latest first; 20 on the terminal, all in an export if absent
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// `next` of the page before
    #[arg(long, value_name = "NEXT")]
    after: Option<String>,
    /// Write a row for each item shown, with the counts of events that came of it within their windows, into this Parquet file
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let moment = |text: &Option<String>| text.clone().map(Moment::Text);
    let query = DecisionQuery {
        from: moment(&args.from),
        to: moment(&args.to),
        user_id: args.user.clone(),
        item_id: args.item.clone(),
        placement: args.placement.clone(),
        policy: args.policy.clone(),
        limit: args.limit.or(args.export.is_none().then_some(20)),
        after: args.after.clone(),
    };
    let service = args.folder.open()?;
    match &args.export {
        Some(path) => export(&service, &query, path, args.json)?,
        None => list(&service, &query, args.json)?,
    }
    Ok(service.close()?)
}

fn list(service: &Service, query: &DecisionQuery, json: bool) -> anyhow::Result<()> {
    let page = service.find_decisions(query)?;
    if json {
        return output::json(&page);
    }
    let rows = page.decisions.iter().map(|one| {
        vec![
            one.decision_id.clone(),
            output::moment(one.now),
            one.placement.clone(),
            one.user_id.clone().unwrap_or_default(),
            one.policy.clone().unwrap_or_default(),
            one.shown.join(" "),
            if one.degraded { "yes" } else { "" }.to_owned(),
        ]
    });
    let head = [
        "decision",
        "when",
        "placement",
        "user",
        "policy",
        "shown",
        "degraded",
    ];
    output::table(&head, rows.collect())?;
    if let Some(next) = &page.next {
        output::line(format!("more: --after {next}"))?;
    }
    Ok(())
}

fn export(service: &Service, query: &DecisionQuery, path: &Path, json: bool) -> anyhow::Result<()> {
    let found = service.export_decisions(query)?;
    let mut rows = Vec::new();
    for (decision, outcomes) in &found {
        for (shown, outcomes) in decision.shown.iter().zip(outcomes) {
            rows.push(ShownRow {
                decision_id: decision.decision_id.to_string(),
                timestamp: decision.now.0,
                placement: decision.placement.clone(),
                user_id: decision.user_id.as_ref().map(ToString::to_string),
                policy: decision.policy.as_ref().map(|policy| policy.name.clone()),
                slate_propensity: decision.policy.as_ref().map(|policy| policy.slate_propensity),
                item_id: shown.item_id.to_string(),
                position: i64::from(shown.rank),
                score: f64::from(shown.score),
                propensity: shown.propensity,
                position_propensity: shown.position_propensity,
                candidates: decision.considered.len() as i64 + i64::from(decision.considered_cut),
                outcomes: outcomes.clone(),
            });
        }
    }
    import_parquet::write_shown(path, &rows)?;
    if json {
        return output::json(
            &serde_json::json!({"decisions": found.len(), "rows": rows.len(), "file": path}),
        );
    }
    output::line(format!(
        "{} decisions, {} items shown: {}",
        output::count(found.len() as u64),
        output::count(rows.len() as u64),
        path.display()
    ))
}
