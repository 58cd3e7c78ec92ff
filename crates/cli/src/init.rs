//! `concierge init`: a data folder with a commented configuration.

use crate::failure::bad_input;
use crate::folder::DataFolder;
use crate::output;
use assembly::{CONFIG_FILE, Config};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

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
    std::fs::create_dir_all(dir).map_err(|e| anyhow::anyhow!("make folder {}: {e}", dir.display()))?;
    let path = dir.join(CONFIG_FILE);
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(bad_input(
                "--data",
                format!("{}, which exists", path.display()),
                "a folder without a configuration; nothing is overwritten",
            ));
        }
        Err(error) => anyhow::bail!("write {}: {error}", path.display()),
    };
    file.write_all(Config::default_toml().as_bytes())?;
    file.sync_all()?;
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
