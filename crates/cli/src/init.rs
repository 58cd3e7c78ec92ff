//! `concierge init`: a data folder with a commented configuration.

use crate::failure::bad_input;
use crate::folder::DataFolder;
use crate::{config_file, output};
use assembly::CONFIG_FILE;
use serde_json::json;

/// Make a data folder with a commented configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge init --data shop")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = &args.folder.data;
    let path = dir.join(CONFIG_FILE);
    if !config_file::write_if_absent(dir)? {
        return Err(bad_input(
            "--data",
            format!("{}, which exists", path.display()),
            "a folder without a configuration; nothing is overwritten",
        ));
    }
    if args.json {
        return output::json(&json!({ "config": path }));
    }
    output::line(format!(
        "wrote {}: every setting with its default and what it does",
        path.display()
    ))?;
    output::line(format!(
        "next: concierge import --data {} --items products.csv --events clicks.csv",
        dir.display()
    ))
}
