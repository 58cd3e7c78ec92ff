//! The data folder that most commands work on.

use crate::failure::bad_input;
use assembly::{CONFIG_FILE, OpenReport, Service, SystemClock};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `--data`, shared by every command that works on a data folder.
#[derive(Debug, clap::Args)]
pub(crate) struct DataFolder {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}

/// Opens a folder; it is made if there is none. Recoveries and warnings go to the log.
pub(crate) fn open_or_create(dir: &Path) -> anyhow::Result<(Arc<Service>, OpenReport)> {
    crate::config_file::write_if_absent(dir, &assembly::Config::default())?;
    let (service, report) = Service::open(dir, Arc::new(SystemClock::default()))?;
    for note in &report.recovered {
        tracing::warn!(folder = %dir.display(), "recovered: {note}");
    }
    for warning in &report.warnings {
        tracing::warn!(folder = %dir.display(), "{warning}");
    }
    tracing::debug!(
        events = report.events,
        items = report.items,
        seconds = report.seconds,
        "opened"
    );
    Ok((service, report))
}

impl DataFolder {
    /// Refuses a path that is no data folder, so that a typing error makes no new one.
    pub(crate) fn check(&self) -> anyhow::Result<&Path> {
        check(&self.data)
    }

    /// Opens an existing folder.
    pub(crate) fn open(&self) -> anyhow::Result<Arc<Service>> {
        Ok(open_or_create(self.check()?)?.0)
    }
}

/// Refuses a path that is no data folder.
pub(crate) fn check(dir: &Path) -> anyhow::Result<&Path> {
    if dir.join(CONFIG_FILE).is_file() {
        return Ok(dir);
    }
    let got = if dir.exists() {
        "a path without"
    } else {
        "no folder, so no"
    };
    Err(bad_input(
        "--data",
        format!("{} ({got} {CONFIG_FILE})", dir.display()),
        "a data folder; `concierge init --data DIR` makes one",
    ))
}

/// True if there is nothing at the path, or an empty folder.
pub(crate) fn is_empty(dir: &Path) -> bool {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
