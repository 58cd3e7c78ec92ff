//! `concierge doctor`: looks for damage and for doubtful settings.

use crate::folder::DataFolder;
use crate::output;
use serde_json::json;

/// Read everything in a data folder and say what is not whole
///
/// Exit code 1 if anything is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge doctor --data shop")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = args.folder.check()?;
    let report = assembly::doctor(dir);
    if args.json {
        let checks: Vec<_> = report
            .checks
            .iter()
            .map(|c| json!({ "name": c.name, "ok": c.ok, "detail": c.detail }))
            .collect();
        output::json(&json!({ "ok": report.ok(), "checks": checks }))?;
    } else {
        let rows = report.checks.iter().map(|c| {
            vec![
                c.name.to_string(),
                if c.ok { "ok" } else { "WRONG" }.to_owned(),
                c.detail.clone(),
            ]
        });
        output::table(&["check", "", "found"], rows.collect())?;
    }
    let wrong = report.checks.iter().filter(|c| !c.ok).count();
    anyhow::ensure!(
        report.ok(),
        "{wrong} of {} checks failed in {}",
        report.checks.len(),
        dir.display()
    );
    Ok(())
}
