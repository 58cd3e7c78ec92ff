//! `concierge models`: what is published, which ranker serves, and whether its features hold.

use crate::folder::DataFolder;
use crate::output;
use clap::Subcommand;
use serde_json::json;

/// Show published rankers, choose which one serves, and check their features
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  concierge models list --data shop\n  concierge models promote --data shop --placement home --version 3\n  \
                  concierge models rollback --data shop --placement home\n  concierge models check --data shop"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The models in service and all published rankers
    #[command(after_help = "Example:\n  concierge models list --data shop")]
    List {
        #[command(flatten)]
        folder: DataFolder,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a published ranker in service
    #[command(after_help = "Example:\n  concierge models promote --data shop --placement home --version 3")]
    Promote {
        #[command(flatten)]
        folder: DataFolder,
        /// Whose ranker
        #[arg(long, value_name = "NAME", default_value = "home")]
        placement: String,
        /// Which version
        #[arg(long, value_name = "N")]
        version: u64,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Put the ranker that served before in service again
    #[command(after_help = "Example:\n  concierge models rollback --data shop --placement home")]
    Rollback {
        #[command(flatten)]
        folder: DataFolder,
        /// Whose ranker
        #[arg(long, value_name = "NAME", default_value = "home")]
        placement: String,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// The features that a placement's ranker reads, with the state each keeps
    #[command(after_help = "Example:\n  concierge models features --data shop --placement home")]
    Features {
        #[command(flatten)]
        folder: DataFolder,
        /// Whose ranker
        #[arg(long, value_name = "NAME", default_value = "home")]
        placement: String,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Work out the noted features of past decisions anew from the log, and say where a bit differs
    #[command(after_help = "Example:\n  concierge models check --data shop --decisions 1000")]
    Check {
        #[command(flatten)]
        folder: DataFolder,
        /// How many of the latest decisions
        #[arg(long, value_name = "N", default_value_t = 100)]
        decisions: usize,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.action {
        Action::List { folder, json } => list(folder, *json),
        Action::Promote {
            folder,
            placement,
            version,
            json,
        } => {
            let service = folder.open()?;
            service.promote_ranker(placement, *version)?;
            service.close()?;
            told(placement, *version, *json)
        }
        Action::Rollback {
            folder,
            placement,
            json,
        } => {
            let service = folder.open()?;
            let version = service.roll_back_ranker(placement)?;
            service.close()?;
            told(placement, version, *json)
        }
        Action::Features {
            folder,
            placement,
            json,
        } => features(folder, placement, *json),
        Action::Check {
            folder,
            decisions,
            json,
        } => check(folder, *decisions, *json),
    }
}

/// Which ranker serves now.
fn told(placement: &str, version: u64, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&json!({"placement": placement, "version": version}));
    }
    output::line(match version {
        0 => format!("{placement}: no ranker is in service, the model ranks"),
        version => format!("{placement}: ranker {version} is in service"),
    })
}

fn list(folder: &DataFolder, as_json: bool) -> anyhow::Result<()> {
    let service = folder.open()?;
    let (status, rankers) = (service.status(), service.rankers()?);
    service.close()?;
    if as_json {
        return output::json(&json!({
            "snapshot": status.snapshot, "models": status.models, "rankers": serde_json::to_value(&rankers)?,
        }));
    }
    let models = status
        .models
        .iter()
        .map(|(name, bytes)| vec![name.clone(), output::count(*bytes)]);
    output::table(&["model in service", "bytes"], models.collect())?;
    let rows = rankers.iter().map(|ranker| {
        let of = |key: &str| ranker.about.pointer(key).cloned().unwrap_or_default();
        let figure = |key: &str| {
            of(key)
                .as_f64()
                .map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"))
        };
        vec![
            ranker.placement.clone(),
            ranker.version.to_string(),
            if ranker.in_service { "yes" } else { "" }.to_owned(),
            of("/from").as_str().unwrap_or("-").to_owned(),
            of("/weights_version").to_string(),
            figure("/comparison/challenger"),
            figure("/comparison/champion"),
        ]
    });
    let head = [
        "placement",
        "version",
        "in service",
        "from",
        "weights",
        "NDCG@10",
        "of the one before",
    ];
    output::table(&head, rows.collect())
}

fn features(folder: &DataFolder, placement: &str, as_json: bool) -> anyhow::Result<()> {
    let service = folder.open()?;
    let features = service.features_of(placement)?;
    service.close()?;
    if as_json {
        let all: Vec<_> = features
            .iter()
            .map(|(name, summary, state)| json!({"name": name, "summary": summary, "state": state}))
            .collect();
        return output::json(&json!(all));
    }
    let rows = features
        .into_iter()
        .map(|(name, summary, state)| vec![name, summary.to_owned(), state.to_owned()]);
    output::table(&["feature", "what it is", "state"], rows.collect())
}

fn check(folder: &DataFolder, decisions: usize, as_json: bool) -> anyhow::Result<()> {
    let service = folder.open()?;
    let check = service.check_features(decisions)?;
    service.close()?;
    if as_json {
        output::json(&serde_json::to_value(&check)?)?;
    } else {
        for (decision, names) in &check.different {
            output::line(format!("{decision}: {} differ", names.join(", ")))?;
        }
        output::line(format!(
            "{} decisions worked out anew, {} passed over, {} differ",
            check.checked,
            check.passed_over,
            check.different.len()
        ))?;
    }
    if check.different.is_empty() {
        return Ok(());
    }
    anyhow::bail!(
        "{} decisions have features that the log does not give",
        check.different.len()
    )
}
