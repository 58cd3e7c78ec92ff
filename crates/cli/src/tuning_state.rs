//! The record of a search: a line of JSON per trial, so that a search that was broken off goes on.
//!
//! The first line says what the search is about. Lines are appended and flushed one by one; a last line that was not written to its end is cut off.

use crate::failure::InputError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a search is about; the record of another one cannot be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) format: u32,
    /// Digest of the rows.
    pub(crate) data: String,
    pub(crate) metric: String,
    pub(crate) users: usize,
    pub(crate) shares: Vec<f64>,
    pub(crate) seed: u64,
}

/// One trial that ended, or was ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) model: String,
    pub(crate) rung: usize,
    /// The whole configuration that was tried.
    pub(crate) config: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) score: Option<f64>,
    /// Why there was no model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    /// It took longer than it was given, and was stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stopped: bool,
    pub(crate) seconds: f64,
}

/// The file, open for more, and what it had, by model.
pub(crate) struct Record {
    file: Option<(File, PathBuf)>,
    had: HashMap<String, VecDeque<Ended>>,
}

impl Record {
    /// A record that is not kept.
    pub(crate) fn unkept() -> Record {
        Record {
            file: None,
            had: HashMap::new(),
        }
    }

    /// Reads the file if there is one, and opens it for more.
    pub(crate) fn open(path: &Path, about: &About) -> anyhow::Result<Record> {
        let fail = |why: String| InputError(format!("--state {}: {why}", path.display()));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(fail(e.to_string()).into()),
        };
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let mut lines = text[..whole].lines();
        let mut had: HashMap<String, VecDeque<Ended>> = HashMap::new();
        if let Some(first) = lines.next() {
            let of_file: About = serde_json::from_str(first).map_err(|e| {
                fail(format!(
                    "line 1: got {first:?}, expected the head of a search ({e})"
                ))
            })?;
            if of_file != *about {
                let (got, expected) = (serde_json::to_string(&of_file)?, serde_json::to_string(about)?);
                return Err(fail(format!(
                    "got the record of another search, {got}, expected {expected}; give another file"
                ))
                .into());
            }
            for (at, line) in lines.enumerate() {
                let ended: Ended =
                    serde_json::from_str(line).map_err(|e| fail(format!("line {}: {e}", at + 2)))?;
                had.entry(ended.model.clone()).or_default().push_back(ended);
            }
        }
        let open = || -> std::io::Result<File> {
            let mut file = OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(false)
                .open(path)?;
            file.set_len(whole as u64)?;
            std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(|e| fail(e.to_string()))?;
        let mut record = Record {
            file: Some((file, path.to_owned())),
            had,
        };
        if whole == 0 {
            record.write(about)?;
        }
        Ok(record)
    }

    /// True if the record has a trial of this model that was not taken yet.
    pub(crate) fn has(&self, model: &str) -> bool {
        self.had.get(model).is_some_and(|had| !had.is_empty())
    }

    /// The next trial of a model that the record has.
    pub(crate) fn next(&mut self, model: &str) -> Option<Ended> {
        self.had.get_mut(model)?.pop_front()
    }

    /// Seconds of all trials that the record had and that were not taken yet.
    pub(crate) fn seconds_left(&self) -> f64 {
        self.had.values().flatten().map(|ended| ended.seconds).sum()
    }

    /// Adds a line.
    pub(crate) fn write(&mut self, line: &impl Serialize) -> anyhow::Result<()> {
        let Some((file, path)) = &mut self.file else {
            return Ok(());
        };
        let text = serde_json::to_string(line)? + "\n";
        file.write_all(text.as_bytes())
            .and_then(|()| file.flush())
            .map_err(|e| anyhow::anyhow!("failed to write {}: {e}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_off_and_another_search_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state.jsonl");
        let about = About {
            format: 1,
            data: "d".to_owned(),
            metric: "ndcg@10".to_owned(),
            users: 9,
            shares: vec![0.2, 1.0],
            seed: 1,
        };
        let ended = |score| Ended {
            model: "als".to_owned(),
            rung: 1,
            config: serde_json::json!({"factors": 8}),
            score: Some(score),
            failed: None,
            stopped: false,
            seconds: 1.5,
        };
        let mut record = Record::open(&path, &about).expect("a new file");
        record.write(&ended(0.25)).expect("room");
        drop(record);
        let whole = std::fs::read_to_string(&path).expect("there");
        std::fs::write(&path, whole.clone() + "{\"model\":\"al").expect("writable");
        let mut record = Record::open(&path, &about).expect("the same search");
        assert_eq!(record.seconds_left(), 1.5);
        assert_eq!(record.next("als"), Some(ended(0.25)));
        assert_eq!((record.next("als"), record.next("swing")), (None, None));
        record.write(&ended(0.5)).expect("room");
        let line = serde_json::to_string(&ended(0.5)).expect("plain data") + "\n";
        assert_eq!(std::fs::read_to_string(&path).expect("there"), whole + &line);
        let other = About { seed: 2, ..about };
        let refused = Record::open(&path, &other).err().expect("refused").to_string();
        assert!(refused.contains("another search"), "{refused}");
    }
}
