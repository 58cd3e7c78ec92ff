//! `concierge rules`: what may be shown, and where, by rule of the product.

use crate::failure::bad_input;
use crate::folder::DataFolder;
use crate::output::{self, count};
use anyhow::Context;
use assembly::{DryRunRequest, RuleForm, Service};
use clap::Subcommand;
use std::path::{Path, PathBuf};

/// Rules of the product: filters, exclusions, boosts, pins, quotas, frequency caps.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A rule is a JSON object (a file holds one, or an array of them):
  {\"name\": \"no-horror\", \"kind\": \"exclude\", \"where\": \"\\\"Horror\\\" in item.genres\", \"reason\": \"family days\"}

Examples:
  concierge rules list --data shop
  concierge rules check --data shop rules.json
  concierge rules dry-run --data shop rules.json --decisions 500
  concierge rules put --data shop rules.json
  concierge rules delete --data shop no-horror

A folder that a server has open is changed through the server: PUT /v1/rules."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the rules in force, or those of an earlier version
    #[command(
        after_help = "Example:\n  concierge rules list --data shop\n  concierge rules list --data shop --version 3 --json"
    )]
    List {
        #[command(flatten)]
        folder: DataFolder,
        /// Which version; the one in force if absent
        #[arg(long, value_name = "NUMBER")]
        version: Option<u64>,
        /// Answer in JSON, in the form that `put` reads
        #[arg(long)]
        json: bool,
    },
    /// Add or replace rules, all or none
    #[command(after_help = "Example:\n  concierge rules put --data shop rules.json")]
    Put {
        #[command(flatten)]
        folder: DataFolder,
        /// File with one rule or an array of rules in JSON; `-` for standard input
        file: PathBuf,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a rule out; earlier versions stay
    #[command(after_help = "Example:\n  concierge rules delete --data shop no-horror")]
    Delete {
        #[command(flatten)]
        folder: DataFolder,
        /// Its name
        name: String,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at rules as if to put them, and say how many items each is about
    #[command(after_help = "Example:\n  concierge rules check --data shop rules.json")]
    Check {
        #[command(flatten)]
        folder: DataFolder,
        /// File with one rule or an array of rules in JSON; `-` for standard input
        file: PathBuf,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what rules would have done to past decisions
    #[command(after_help = "Example:\n  concierge rules dry-run --data shop rules.json --decisions 500")]
    DryRun {
        #[command(flatten)]
        folder: DataFolder,
        /// File with one rule or an array of rules in JSON; those in force if absent
        file: Option<PathBuf>,
        /// How many of the latest decisions, 1 to 100,000
        #[arg(long, default_value_t = 1000)]
        decisions: usize,
        /// Only decisions of this placement
        #[arg(long)]
        placement: Option<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

fn read(path: &Path) -> anyhow::Result<(Vec<RuleForm>, bool)> {
    let text = match path == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()).context("reading standard input")?,
        false => std::fs::read_to_string(path).map_err(|e| {
            bad_input(
                "FILE",
                format!("{}: {e}", path.display()),
                "a file that can be read",
            )
        })?,
    };
    let wrong = |e: serde_json::Error| {
        bad_input(
            "FILE",
            format!("{}: {e}", path.display()),
            "one rule or an array of rules in JSON",
        )
    };
    if text.trim_start().starts_with('[') {
        return Ok((serde_json::from_str(&text).map_err(wrong)?, true));
    }
    Ok((vec![serde_json::from_str(&text).map_err(wrong)?], false))
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.action {
        Action::List {
            folder,
            version,
            json,
        } => with(folder, |service| list(service, *version, *json)),
        Action::Put { folder, file, json } => {
            let (rules, is_many) = read(file)?;
            with(folder, |service| {
                let report = service.put_rules(rules, is_many)?;
                match json {
                    true => output::json(&report),
                    false => output::line(format!(
                        "version {}: {} new, {} replaced, {} as they were",
                        report.version, report.created, report.updated, report.unchanged
                    )),
                }
            })
        }
        Action::Delete { folder, name, json } => with(folder, |service| {
            let report = service.delete_rule(name)?;
            match json {
                true => output::json(&report),
                false => output::line(format!("version {}: {name} is out", report.version)),
            }
        }),
        Action::Check { folder, file, json } => {
            let (rules, _) = read(file)?;
            with(folder, |service| check(service, rules, *json))
        }
        Action::DryRun {
            folder,
            file,
            decisions,
            placement,
            json,
        } => {
            let rules = file.as_deref().map(read).transpose()?;
            let request = DryRunRequest {
                rules: rules.map(|(rules, _)| rules).unwrap_or_default(),
                decisions: Some(*decisions),
                placement: placement.clone(),
            };
            with(folder, |service| dry_run(service, &request, *json))
        }
    }
}

fn with(folder: &DataFolder, work: impl FnOnce(&Service) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let service = folder.open()?;
    work(&service)?;
    Ok(service.close()?)
}

fn list(service: &Service, version: Option<u64>, json: bool) -> anyhow::Result<()> {
    let view = service.rules(version)?;
    if json {
        return output::json(&view.rules);
    }
    output::line(format!("version {}", view.version))?;
    let rows = view.rules.iter().map(|rule| {
        let where_at = match rule.placements.is_empty() {
            true => "everywhere".to_owned(),
            false => rule.placements.join(", "),
        };
        let state = if rule.enabled { "on" } else { "off" };
        vec![
            rule.name.clone(),
            rule.kind.word().to_owned(),
            state.to_owned(),
            where_at,
            rule.condition.clone(),
            rule.reason.clone(),
        ]
    });
    output::table(
        &["rule", "kind", "", "placements", "where", "reason"],
        rows.collect(),
    )
}

fn check(service: &Service, rules: Vec<RuleForm>, json: bool) -> anyhow::Result<()> {
    let checks = rules.into_iter().map(|rule| service.check_rule(rule));
    let checks = checks.collect::<Result<Vec<_>, _>>()?;
    if json {
        return output::json(&checks);
    }
    let rows = checks.iter().map(|check| {
        vec![
            check.rule.name.clone(),
            check.rule.kind.word().to_owned(),
            check.attributes.join(", "),
            count(check.items),
        ]
    });
    output::table(&["rule", "kind", "looks at", "items"], rows.collect())
}

fn dry_run(service: &Service, request: &DryRunRequest, json: bool) -> anyhow::Result<()> {
    let report = service.dry_run(request)?;
    if json {
        return output::json(&report);
    }
    output::line(format!(
        "{} decisions looked at, {} slates would have been others",
        count(report.decisions),
        count(report.slates_changed)
    ))?;
    let rows = report.rules.iter().map(|(name, rule)| {
        let figures = [
            rule.applied,
            rule.shown_removed,
            rule.considered_removed,
            rule.rescored,
            rule.pinned,
            rule.passed_over,
        ];
        std::iter::once(name.clone()).chain(figures.map(count)).collect()
    });
    let head = [
        "rule",
        "applied",
        "shown removed",
        "candidates removed",
        "rescored",
        "pinned",
        "passed over",
    ];
    output::table(&head, rows.collect())?;
    for example in &report.examples {
        output::line(format!(
            "{} place {}: {} by {} ({})",
            example.decision_id, example.rank, example.item_id, example.rule, example.reason
        ))?;
    }
    Ok(())
}
