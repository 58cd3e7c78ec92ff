//! Published rankers on disk: per placement a folder with one file per version, what is known of each beside it, and the number of the one in service.
//! Files are written beside and renamed into place.

use crate::ServiceError;
use domain::Timestamp;
use ranking::{LearnReport, OutcomeModel};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How a new ranker did beside the one in service, on later decisions that neither has learnt from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Decisions with something to tell apart.
    pub decisions: u64,
    /// Mean NDCG@10 of the new one.
    pub challenger: f64,
    /// That of the ranker in service, or of the model if there is none.
    pub champion: f64,
    /// What the champion is: `trees@3`, or the name of the model.
    pub champion_name: String,
    /// Mean of the differences by decision, and its 95 % interval by bootstrap.
    pub difference: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What is known of a published ranker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankerInfo {
    /// Placement.
    pub placement: String,
    /// Number, rising.
    pub version: u64,
    /// Whether it is the one in service.
    pub in_service: bool,
    /// The rest, as written when it was published.
    #[serde(flatten)]
    pub about: serde_json::Value,
}

/// What is written beside a ranker.
#[derive(Debug, Serialize)]
pub(crate) struct About<'a> {
    pub(crate) trained_at: Timestamp,
    pub(crate) from: &'static str,
    pub(crate) weights_version: u32,
    pub(crate) learning: &'a LearnReport,
    pub(crate) comparison: &'a Option<Comparison>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Current {
    version: u64,
    /// Versions that were in service before, the latest last.
    before: Vec<u64>,
}

/// The rankers of one placement.
pub(crate) struct RankerFolder {
    placement: String,
    dir: PathBuf,
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ServiceError> {
    let beside = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().map_err(|e| ServiceError::io("writing", path, e))
}

impl RankerFolder {
    pub(crate) fn new(models: &Path, placement: &str) -> RankerFolder {
        // A placement may be named anything; a folder may not.
        let plain: String = placement
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(40)
            .collect();
        let name = format!("{plain}-{:08x}", crc32fast::hash(placement.as_bytes()));
        RankerFolder {
            placement: placement.to_owned(),
            dir: models.join("rankers").join(name),
        }
    }

    fn path(&self, version: u64) -> PathBuf {
        self.dir.join(format!("ranker-{version:08}.cncr"))
    }

    fn about_path(&self, version: u64) -> PathBuf {
        self.dir.join(format!("ranker-{version:08}.json"))
    }

    /// Versions, ascending.
    pub(crate) fn versions(&self) -> Result<Vec<u64>, ServiceError> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&self.dir).map_err(|e| ServiceError::io("listing", &self.dir, e))?;
        let number = |entry: std::io::Result<fs::DirEntry>| {
            let name = entry.ok()?.file_name();
            name.to_str()?
                .strip_prefix("ranker-")?
                .strip_suffix(".cncr")?
                .parse()
                .ok()
        };
        let mut versions: Vec<u64> = entries.filter_map(number).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    fn current(&self) -> Result<Option<Current>, ServiceError> {
        let path = self.dir.join("current.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let read = serde_json::from_slice(&bytes);
                read.map(Some)
                    .map_err(|e| ServiceError::io("reading", &path, std::io::Error::other(e)))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(ServiceError::io("reading", &path, e)),
        }
    }

    /// The version in service.
    pub(crate) fn in_service(&self) -> Result<Option<u64>, ServiceError> {
        Ok(self
            .current()?
            .map(|current| current.version)
            .filter(|version| *version > 0))
    }

    pub(crate) fn load(&self, version: u64) -> Result<OutcomeModel, ServiceError> {
        let path = self.path(version);
        let bytes = fs::read(&path).map_err(|e| ServiceError::io("reading", &path, e))?;
        OutcomeModel::from_bytes(&bytes)
            .map_err(|e| ServiceError::io("reading", &path, std::io::Error::other(e)))
    }

    /// Writes a new version; then removes the oldest beyond `keep`, never the one in service nor the one before it.
    pub(crate) fn publish(
        &self,
        model: &OutcomeModel,
        about: &About<'_>,
        keep: usize,
    ) -> Result<u64, ServiceError> {
        fs::create_dir_all(&self.dir).map_err(|e| ServiceError::io("creating", &self.dir, e))?;
        let versions = self.versions()?;
        let version = versions.last().copied().unwrap_or(0) + 1;
        let about = serde_json::to_vec_pretty(about).expect("a report is valid JSON");
        write(&self.about_path(version), &about)?;
        write(&self.path(version), &model.to_bytes())?;
        let current = self.current()?.unwrap_or_default();
        let needed = |old: &u64| *old == current.version || current.before.last() == Some(old);
        for old in versions
            .iter()
            .take((versions.len() + 1).saturating_sub(keep))
            .filter(|old| !needed(old))
        {
            for path in [self.path(*old), self.about_path(*old)] {
                match fs::remove_file(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(ServiceError::io("removing", &path, e));
                    }
                    _ => {}
                }
            }
        }
        Ok(version)
    }

    /// Says which version serves; 0 for none.
    fn set(&self, version: u64, before: Vec<u64>) -> Result<(), ServiceError> {
        let current = serde_json::to_vec(&Current { version, before }).expect("numbers are valid JSON");
        write(&self.dir.join("current.json"), &current)
    }

    /// Puts a version in service.
    pub(crate) fn promote(&self, version: u64) -> Result<(), ServiceError> {
        if !self.versions()?.contains(&version) {
            return Err(ServiceError::NotFound {
                what: "ranker",
                id: format!("{} {version}", self.placement),
            });
        }
        let Current {
            version: last,
            mut before,
        } = self.current()?.unwrap_or_default();
        if last != version {
            before.push(last);
            let surplus = before.len().saturating_sub(20);
            before.drain(..surplus);
        }
        self.set(version, before)
    }

    /// Puts the version before this one in service again; 0 is none: the model ranks.
    pub(crate) fn roll_back(&self) -> Result<u64, ServiceError> {
        let current = self.current()?.unwrap_or_default();
        let mut before = current.before;
        while let Some(version) = before.pop() {
            if version == 0 || self.path(version).is_file() {
                self.set(version, before)?;
                return Ok(version);
            }
        }
        Err(ServiceError::NotFound {
            what: "earlier ranker of",
            id: self.placement.clone(),
        })
    }

    /// All versions.
    pub(crate) fn list(&self) -> Result<Vec<RankerInfo>, ServiceError> {
        let in_service = self.in_service()?;
        let info = |version: u64| {
            let about = fs::read(self.about_path(version)).ok();
            let about = about.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            RankerInfo {
                placement: self.placement.clone(),
                version,
                in_service: in_service == Some(version),
                about: about.unwrap_or_else(|| serde_json::json!({})),
            }
        };
        Ok(self.versions()?.into_iter().map(info).collect())
    }
}
