//! `concierge replay`: past decisions made again.

use crate::failure::bad_input;
use crate::folder::DataFolder;
use crate::{output, progress};
use assembly::{ReplayReport, ReplayRequest, SampleReport, Service};
use serde_json::{Map, Value};

/// Make past decisions again: exactly, or as they would have been with another configuration.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An exact replay compares the whole record, to the last bit. It needs the models, events and changes of the
catalogue that the decision rests on; if one is not kept any more, it says which.

Examples:
  concierge replay d018bcfe5680000000000001f1e2d3c4 --data shop
  concierge replay d018bcfe5680000000000001f1e2d3c4 --data shop --set policy.name=epsilon-greedy --set policy.epsilon=0.2
  concierge replay d018bcfe5680000000000001f1e2d3c4 --data shop --today
  concierge replay d018bcfe5680000000000001f1e2d3c4 --data shop --rules 3
  concierge replay --sample 10000 --data shop

Exit code 1 if an exact replay does not come out the same."
)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Which decision
    #[arg(
        value_name = "DECISION",
        required_unless_present = "sample",
        conflicts_with = "sample"
    )]
    decision: Option<String>,
    /// Replay this many decisions of those kept, picked at random, and count those that come out the same
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Another value of a key of the placement's configuration, such as `policy.name=softmax`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "sample")]
    set: Vec<String>,
    /// Answer with today's models, catalogue and configuration
    #[arg(long, conflicts_with = "sample")]
    today: bool,
    /// Answer with the stored rules of this version, 0 for none; see `concierge rules list`
    #[arg(long, value_name = "VERSION", conflicts_with = "sample")]
    rules: Option<u64>,
    /// Another seed of the decision; with --sample, the seed of the pick
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let request = ReplayRequest {
        placement: settings(&args.set)?,
        today: args.today,
        rules: args.rules,
        seed: args.seed.filter(|_| args.sample.is_none()),
    };
    let service = args.folder.open()?;
    let same = match (args.sample, &args.decision) {
        (Some(n), _) => sample(&service, n, args)?,
        (None, decision) => {
            let decision = decision.as_deref().unwrap_or_default();
            let report = service.replay(decision, &request)?;
            let same = report.identical || report.what_if.is_some();
            if args.json {
                output::json(&report)?;
            } else {
                show(&report)?;
            }
            same
        }
    };
    service.close()?;
    anyhow::ensure!(same, "the replay did not come out the same as the record");
    Ok(())
}

/// `a.b=1` and the like as one object.
pub(crate) fn settings(set: &[String]) -> anyhow::Result<Option<Value>> {
    let mut all = Map::new();
    for one in set {
        let Some((key, value)) = one.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(bad_input("--set", one.as_str(), "KEY=VALUE"));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        let (path, last) = key
            .rsplit_once('.')
            .map_or((None, key), |(path, last)| (Some(path), last));
        let mut at = &mut all;
        for part in path.into_iter().flat_map(|path| path.split('.')) {
            let entry = at
                .entry(part.to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            at = entry
                .as_object_mut()
                .ok_or_else(|| bad_input("--set", one.as_str(), format!("{part} to be set once")))?;
        }
        at.insert(last.to_owned(), value);
    }
    Ok((!all.is_empty()).then_some(Value::Object(all)))
}

fn sample(service: &Service, n: usize, args: &Args) -> anyhow::Result<bool> {
    let bar = progress::bar("replaying", n as u64);
    let report = service.replay_sample(n, args.seed.unwrap_or(1), &|done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    if args.json {
        output::json(&report)?;
    } else {
        show_sample(&report)?;
    }
    Ok(report.identical == report.replayed)
}

fn show_sample(report: &SampleReport) -> anyhow::Result<()> {
    output::line(format!(
        "{} of {} decisions replayed from {} snapshots in {:.1} s: {} identical, {} not",
        report.replayed,
        report.kept,
        report.snapshots,
        report.seconds,
        report.identical,
        report.replayed - report.identical
    ))?;
    for (what, count) in &report.gone {
        output::line(format!("{count} could not be replayed: the {what} is gone"))?;
    }
    for unlike in report.different.iter().chain(&report.gone_examples) {
        output::line(format!("  {}: {}", unlike.decision_id, unlike.reason))?;
    }
    Ok(())
}

fn show(report: &ReplayReport) -> anyhow::Result<()> {
    let decision = &report.decision;
    output::line(format!(
        "decision {} for {} at {}, snapshot {} step {}, state after event {}",
        report.decision_id,
        decision
            .user_id
            .as_ref()
            .map_or("nobody in particular", |user| user.as_str()),
        decision.placement,
        decision.snapshot,
        decision.snapshot.step,
        decision.sequence
    ))?;
    if report.code_then != report.code_now {
        output::line(format!(
            "decided by version {}, replayed by {}",
            report.code_then, report.code_now
        ))?;
    }
    let Some(what_if) = &report.what_if else {
        let rows = report.parts.iter().map(|part| {
            let same = if part.same { "identical" } else { "differs" };
            vec![part.part.to_owned(), same.to_owned()]
        });
        output::table(&["part", "replay"], rows.collect())?;
        for difference in &report.differences {
            output::line(format!(
                "{}: {} became {}",
                difference.at, difference.recorded, difference.replayed
            ))?;
        }
        return Ok(());
    };
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
    let rank = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let rows = what_if.slate.iter().map(|change| {
        vec![
            change.item_id.clone(),
            rank(change.rank_before),
            rank(change.rank_after),
            number(change.score_before.map(f64::from)),
            number(change.score_after.map(f64::from)),
            number(change.propensity_before),
            number(change.propensity_after),
        ]
    });
    let head = ["item", "place", "then", "score", "then", "propensity", "then"];
    output::table(&head, rows.collect())?;
    output::line(format!(
        "{} entered, {} left, {} moved",
        what_if.entered, what_if.left, what_if.moved
    ))
}
