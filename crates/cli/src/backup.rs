//! `concierge backup` and `concierge restore`: a data folder out and back, checked.

use crate::folder::DataFolder;
use crate::output;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Copy a data folder to a new place.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge backup --data shop --to /mnt/backups/shop-monday")]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    folder: DataFolder,
    /// Where to; nothing may be there yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Bring a backup back as a data folder, checking every byte.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge restore --from /mnt/backups/shop-monday --data shop")]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    #[command(flatten)]
    folder: DataFolder,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn backup(args: &BackupArgs) -> anyhow::Result<()> {
    let service = args.folder.open()?;
    service.backup(&args.to)?;
    service.close()?;
    done("copied", &args.folder.data, &args.to, args.json)
}

pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    assembly::restore(&args.from, &args.folder.data)?;
    done("restored", &args.from, &args.folder.data, args.json)
}

fn done(what: &str, from: &Path, to: &Path, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&json!({ "from": from, "to": to }));
    }
    output::line(format!("{what} {} to {}", from.display(), to.display()))
}
