//! `concierge recommend`: a slate on the command line.

use crate::failure::bad_input;
use crate::folder::DataFolder;
use crate::output;
use assembly::{ProposedItem, RecommendRequest, RecommendResponse, Recommended, Service};

/// Recommend items to someone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  concierge recommend --data shop --user 42 -n 5
  concierge recommend --data shop --session shoes-7,socks-2 --explain
  concierge recommend --data shop --user 42 --filter '{\"genres\": \"Drama\"}'")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// For whom; anyone's id, known or not
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Placement of the configuration
    #[arg(long, default_value = "home")]
    placement: String,
    /// Items wanted, 1 to 1000; the placement's default if absent
    #[arg(short, long, value_name = "N")]
    n: Option<usize>,
    /// Items of an anonymous session, oldest first, separated by commas
    #[arg(long, value_name = "ITEM,ITEM", value_delimiter = ',')]
    session: Vec<String>,
    /// Candidates besides those of the placement's sources, best first, separated by commas
    #[arg(long, value_name = "ITEM,ITEM", value_delimiter = ',')]
    proposed: Vec<String>,
    /// Take every score apart
    #[arg(long)]
    explain: bool,
    /// Conditions on item attributes, as JSON
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Seed of all randomness; drawn if absent
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Only look: record nothing and count nothing
    #[arg(long)]
    preview: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let request = RecommendRequest {
        placement: args.placement.clone(),
        user_id: args.user.clone(),
        session: session_events(&args.session)?,
        n: args.n,
        proposed: args.proposed.iter().cloned().map(ProposedItem::Id).collect(),
        filter: parse_filter(args.filter.as_deref())?,
        explain: args.explain,
        seed: args.seed,
        preview: args.preview,
        ..RecommendRequest::default()
    };
    let service = args.folder.open()?;
    let response = service.recommend(&request)?;
    if args.json {
        output::json(&response)?;
    } else {
        show(&service, &response)?;
    }
    Ok(service.close()?)
}

/// Items as the events of a session.
pub(crate) fn session_events(items: &[String]) -> anyhow::Result<Vec<assembly::SessionEvent>> {
    Ok(items
        .iter()
        .map(|item| assembly::SessionEvent {
            item_id: item.clone(),
            event_type: None,
            timestamp: None,
            value: None,
        })
        .collect())
}

/// Reads `--filter`.
pub(crate) fn parse_filter(text: Option<&str>) -> anyhow::Result<Option<serde_json::Value>> {
    text.map(|text| {
        serde_json::from_str(text).map_err(|e| bad_input("--filter", text, format!("JSON ({e})")))
    })
    .transpose()
}

fn show(service: &Service, response: &RecommendResponse) -> anyhow::Result<()> {
    slate(service, &response.items)?;
    let what = match &*response.decision_id {
        "" => "preview".to_owned(),
        id => format!("decision {id}"),
    };
    output::line(format!(
        "{what} by snapshot {} after event {}",
        response.snapshot, response.sequence
    ))?;
    if let Some(policy) = response.policy.as_ref().filter(|policy| policy.name != "greedy") {
        output::line(format!(
            "chosen by {} {} with seed {}, probability of the slate {:.3e}",
            policy.name, policy.version, response.seed, policy.slate_propensity
        ))?;
    }
    for cut in &response.degraded {
        output::line(format!("degraded: {}: {}", cut.stage, cut.reason))?;
    }
    Ok(())
}

/// A slate as a table with titles and reasons.
pub(crate) fn slate(service: &Service, items: &[Recommended]) -> anyhow::Result<()> {
    let rows = items.iter().map(|item| {
        vec![
            item.rank.to_string(),
            item.item_id.clone(),
            title(service, &item.item_id),
            format!("{:.4}", item.score),
            item.sources.join(", "),
            item.reasons.join("; "),
        ]
    });
    output::table(&["", "item", "title", "score", "from", "because"], rows.collect())?;
    for item in items {
        let Some(parts) = &item.explanation else { continue };
        output::line(format!("{} {:.4} =", title(service, &item.item_id), item.score))?;
        for part in parts {
            let of = if part.kind == "history" {
                title(service, &part.of)
            } else {
                part.of.clone()
            };
            output::line(format!("  {:+.4}  {} {} {of}", part.value, part.model, part.kind))?;
        }
    }
    Ok(())
}

/// What a person calls an item.
pub(crate) fn title(service: &Service, id: &str) -> String {
    service
        .item(id)
        .map_or_else(|_| id.to_owned(), |item| service.title(&item))
}
