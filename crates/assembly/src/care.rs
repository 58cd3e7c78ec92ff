//! Looking after a data folder: backups, and whether everything is whole.

use crate::bandit::{self, BANDITS_DIR};
use crate::catalogue::POSITIONS_FILE;
use crate::service::{CONFIGURATIONS_DIR, LINEAGE_DIR, lock, models_dir};
use crate::stores::{CATALOGUE_FILE, EVENTS_DIR};
use crate::{CONFIG_FILE, Config, OpenReport, Service, ServiceError, Stores, bundle};
use domain::Catalogue;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// List of what a backup holds, written last.
const MANIFEST: &str = "backup.json";

/// One check of a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether all is well.
    pub ok: bool,
    /// What was found, or what to do.
    pub detail: String,
}

/// What the doctor found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct DoctorReport {
    /// One entry per thing looked at.
    pub checks: Vec<Check>,
}

impl DoctorReport {
    /// True if every check is well.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    fn push(&mut self, name: impl Into<String>, result: Result<String, String>) {
        let ok = result.is_ok();
        let (Ok(detail) | Err(detail)) = result;
        self.checks.push(Check {
            name: name.into(),
            ok,
            detail,
        });
    }
}

/// Reads everything in a data folder (events, catalogue, models, decisions, lineage, what placements have learnt) and says what is not whole. Mends what opening mends (a torn last
/// write), changes nothing else; a folder in use by another process cannot be looked at.
pub fn doctor(dir: &Path) -> DoctorReport {
    let mut report = DoctorReport::default();
    if !dir.join(CATALOGUE_FILE).exists() && !dir.join(EVENTS_DIR).exists() {
        let missing = format!("{} holds no data: make it with `concierge init`", dir.display());
        report.push("folder", Err(missing));
        return report;
    }
    let path = dir.join(CONFIG_FILE);
    report.push(
        "configuration",
        match fs::read_to_string(&path) {
            Ok(text) => Config::parse(&text, &path)
                .map(|config| {
                    format!(
                        "{} placements, {} event types",
                        config.placements.len(),
                        config.event_types.0.len()
                    )
                })
                .map_err(|e| e.to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok("none, defaults apply".into()),
            Err(e) => Err(format!("{}: {e}", path.display())),
        },
    );
    let mut opened = OpenReport::default();
    let stores = Stores::open(dir, &mut opened);
    let recovered = if opened.recovered.is_empty() {
        "opens".to_owned()
    } else {
        format!("opens; mended: {}", opened.recovered.join("; "))
    };
    let head = match &stores {
        Ok(stores) => {
            report.push("stores", Ok(recovered));
            check_stores(stores, &mut report);
            Some(stores.log.head())
        }
        Err(e) => {
            report.push("stores", Err(e.to_string()));
            None
        }
    };
    check_models(dir, head, &mut report);
    check_decisions(dir, &mut report);
    report.push("lineage", crate::lineage::check(&dir.join(LINEAGE_DIR)));
    if let Ok(text) = fs::read_to_string(&path)
        && let Ok(config) = Config::parse(&text, &path)
    {
        check_bandits(dir, &config, head, &mut report);
    }
    report
}

fn check_stores(stores: &Stores, report: &mut DoctorReport) {
    let Some(disk) = &stores.disk else {
        return;
    };
    let verified = disk.log.verify();
    report.push(
        "event log",
        verified.map(|found| found.to_string()).map_err(|e| e.to_string()),
    );
    let catalogue = disk
        .catalogue
        .quick_check()
        .map_err(|e| e.to_string())
        .and_then(|problems| {
            let (items, users) = disk.catalogue.counts().map_err(|e| e.to_string())?;
            if problems.is_empty() {
                Ok(format!("{items} items, {users} users"))
            } else {
                Err(problems.join("; "))
            }
        });
    report.push("catalogue", catalogue);
}

fn check_models(dir: &Path, head: Option<domain::Sequence>, report: &mut DoctorReport) {
    let dir = models_dir(dir);
    let numbers = match bundle::numbers(&dir) {
        Ok(numbers) => numbers,
        Err(e) => return report.push("models", Err(e.to_string())),
    };
    if numbers.is_empty() {
        report.push("models", Ok("none yet: train".into()));
    }
    for number in numbers {
        let path = bundle::path(&dir, number);
        let read = bundle::read(&path).and_then(|(info, models)| {
            if head.is_some_and(|head| info.absorbed > head) {
                return Err(format!(
                    "learnt from events up to {}, the log ends before it: events are missing",
                    info.absorbed
                ));
            }
            Ok(format!("{} models, events up to {}", models.len(), info.absorbed))
        });
        report.push(
            path.file_name()
                .map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
            read,
        );
    }
}

fn check_decisions(dir: &Path, report: &mut DoctorReport) {
    let verified = feedback::verify(&dir.join("decisions"));
    let found = verified.map_err(|e| e.to_string()).and_then(|found| {
        let torn = match found.torn_bytes {
            0 => String::new(),
            torn => format!("; {torn} bytes of a torn last write, which the next start cuts off"),
        };
        let all = format!("{} decisions in {} files{torn}", found.decisions, found.files);
        match found.damaged_bytes {
            0 => Ok(all),
            damaged => Err(format!(
                "{damaged} bytes are not what was written, the decisions in them are lost: restore a backup if they matter; readable: {all}"
            )),
        }
    });
    report.push("decision log", found);
}

/// What placements have learnt, and whether it is safe for them to be greedy.
fn check_bandits(dir: &Path, config: &Config, head: Option<domain::Sequence>, report: &mut DoctorReport) {
    for (name, placement) in &config.placements {
        let Some(bandit) = &placement.bandit else {
            continue;
        };
        let found = bandit::read(&dir.join(BANDITS_DIR), name, bandit).and_then(|learner| {
            let Some(mut learner) = learner else {
                return Ok(
                    "nothing kept under this configuration: learnt from the logs at the next start"
                        .to_owned(),
                );
            };
            if head.is_some_and(|head| learner.sequence > head) {
                return Err(format!(
                    "learnt from events up to {}, the log ends before it: events are missing",
                    learner.sequence
                ));
            }
            let status = learner.status(name);
            let contexts = status.contexts.map_or_else(String::new, |check| {
                let verdict = if check.greedy_is_safe {
                    "greedy would be safe"
                } else {
                    "exploration is needed"
                };
                format!("; contexts: {verdict}, {}", check.reason)
            });
            Ok(format!(
                "{} decisions over {} actions, {} rewards, events up to {}{contexts}",
                status.decisions, status.actions, status.rewards, status.sequence
            ))
        });
        report.push(format!("what {name} has learnt"), found);
    }
}

/// A file of a backup.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    path: String,
    bytes: u64,
    crc32: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: String,
    files: Vec<Kept>,
}

fn empty_or_new(dir: &Path, field: &str) -> Result<(), ServiceError> {
    if dir.exists() {
        let mut entries = fs::read_dir(dir).map_err(|e| ServiceError::io("listing", dir, e))?;
        if entries.next().is_some() {
            let got = format!("{}, which is not empty", dir.display());
            return Err(ServiceError::input(
                field,
                got,
                "a folder that is empty or not there yet",
            ));
        }
    }
    fs::create_dir_all(dir).map_err(|e| ServiceError::io("creating", dir, e))
}

/// Every file below a folder, by path relative to it, in order.
fn files(root: &Path, at: &Path, found: &mut Vec<PathBuf>) -> Result<(), ServiceError> {
    let entries = fs::read_dir(at).map_err(|e| ServiceError::io("listing", at, e))?;
    let mut entries: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(root, &path, found)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.push(relative.to_owned());
        }
    }
    Ok(())
}

fn checksum(path: &Path) -> Result<(u64, u32), ServiceError> {
    let fail = |e: std::io::Error| ServiceError::io("reading", path, e);
    let mut file = File::open(path).map_err(fail)?;
    let (mut hasher, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 1 << 16]);
    loop {
        let n = file.read(&mut buffer).map_err(fail)?;
        if n == 0 {
            return Ok((bytes, hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
        bytes += n as u64;
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), ServiceError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|e| ServiceError::io("creating", parent, e))?;
    }
    fs::copy(from, to).map_err(|e| ServiceError::io("copying", from, e))?;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(|e| ServiceError::io("flushing", to, e))
}

impl Service {
    /// Copies everything into an empty folder while the service runs: configuration, models,
    /// decisions, what they rest on, events, catalogue, and a list of them with checksums.
    ///
    /// # Errors
    /// A folder that is not empty, or a file that cannot be read or written; then the copy has no list and
    /// [`restore`] refuses it.
    pub fn backup(&self, to: &Path) -> Result<(), ServiceError> {
        let Some(disk) = &self.stores.disk else {
            return Err(ServiceError::Busy("these stores are not on disk".into()));
        };
        empty_or_new(to, "to")?;
        // No bundle comes or goes meanwhile. Models first: the log then reaches at least as far as they do.
        let swap = lock(&self.swap);
        self.flush_decisions()?;
        self.bandits.sync()?;
        self.live.positions.save(true);
        self.lineage.sync();
        for part in [
            "models",
            "decisions",
            BANDITS_DIR,
            LINEAGE_DIR,
            CONFIGURATIONS_DIR,
        ] {
            let from = self.dir.join(part);
            let mut found = Vec::new();
            if from.exists() {
                files(&from, &from, &mut found)?;
            }
            for path in found
                .iter()
                .filter(|path| path.extension().is_none_or(|e| e != "tmp"))
            {
                copy(&from.join(path), &to.join(part).join(path))?;
            }
        }
        for file in [CONFIG_FILE, POSITIONS_FILE] {
            if self.dir.join(file).exists() {
                copy(&self.dir.join(file), &to.join(file))?;
            }
        }
        disk.catalogue.backup_to(&to.join(CATALOGUE_FILE))?;
        drop(swap);
        disk.log.backup_to(&to.join(EVENTS_DIR))?;
        write_manifest(to)
    }
}

fn write_manifest(to: &Path) -> Result<(), ServiceError> {
    let mut found = Vec::new();
    files(to, to, &mut found)?;
    let mut kept = Vec::new();
    for path in found {
        let (bytes, crc32) = checksum(&to.join(&path))?;
        kept.push(Kept {
            path: path.to_string_lossy().into_owned(),
            bytes,
            crc32,
        });
    }
    let manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        files: kept,
    };
    let text = serde_json::to_string_pretty(&manifest).map_err(|e| ServiceError::io("writing", to, e))?;
    let path = to.join(MANIFEST);
    fs::write(&path, text).map_err(|e| ServiceError::io("writing", &path, e))?;
    File::open(&path)
        .and_then(|file| file.sync_all())
        .map_err(|e| ServiceError::io("flushing", &path, e))
}

/// Makes a data folder out of a backup. Every file is checked before the first is written.
///
/// # Errors
/// A backup that is not whole, a folder that is not empty, or a file that cannot be read or written.
pub fn restore(from: &Path, dir: &Path) -> Result<(), ServiceError> {
    let path = from.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|e| {
        let got = format!("{}: {e}", path.display());
        ServiceError::input("from", got, "a folder that `backup` finished")
    })?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|e| {
        ServiceError::input(
            "from",
            format!("{}: {e}", path.display()),
            "the list that `backup` wrote",
        )
    })?;
    for kept in &manifest.files {
        let relative = Path::new(&kept.path);
        let plain = relative
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        let found = if plain {
            checksum(&from.join(relative))?
        } else {
            (0, 0)
        };
        if !plain || found != (kept.bytes, kept.crc32) {
            let got = format!("{}, {} bytes, checksum {:08x}", kept.path, found.0, found.1);
            let expected = format!("{} bytes with checksum {:08x}", kept.bytes, kept.crc32);
            return Err(ServiceError::input("from", got, expected));
        }
    }
    empty_or_new(dir, "dir")?;
    for kept in &manifest.files {
        copy(&from.join(&kept.path), &dir.join(&kept.path))?;
    }
    Ok(())
}
