//! `concierge erase`: removes a person, events and attributes.

use crate::failure::bad_input;
use crate::folder::DataFolder;
use crate::output::{self, count};
use serde_json::json;

/// Remove a user for good
///
/// Events, attributes and state go at once; models forget them with the next training.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge erase --data shop --user 42 --yes")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Whom
    #[arg(long, value_name = "ID")]
    user: String,
    /// Yes, for good
    #[arg(long)]
    yes: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !args.yes {
        return Err(bad_input(
            "--yes",
            "nothing",
            "--yes, since what is erased does not come back",
        ));
    }
    let service = args.folder.open()?;
    let report = service.erase_user(&args.user)?;
    service.close()?;
    if args.json {
        return output::json(&json!({
            "user_id": report.user_id, "events": report.events, "attributes": report.attributes
        }));
    }
    let attributes = if report.attributes {
        "and their attributes"
    } else {
        "(no attributes were stored)"
    };
    output::line(format!(
        "erased {} events of {} {attributes}",
        count(report.events),
        report.user_id
    ))?;
    output::line("next: `concierge train`, so that the models forget them too")
}
