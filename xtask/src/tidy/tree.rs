//! The repository's text files in memory.

use anyhow::Context;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Every file that git tracks or would track: path from the root, and text (empty for files that
/// are not UTF-8).
#[derive(Debug, Default)]
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Reads what git lists under `root`, or every file if `root` is not a work tree.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Tree> {
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root)
            .output();
        let paths = match listed {
            Ok(output) if output.status.success() => String::from_utf8(output.stdout)
                .context("file names are UTF-8")?
                .split_terminator('\0')
                .map(str::to_owned)
                .collect(),
            _ => {
                let mut paths = Vec::new();
                walk(root, "", &mut paths)?;
                paths
            }
        };
        let mut files = BTreeMap::new();
        for path in paths {
            // A deleted file that is still in the index is not there.
            if let Ok(bytes) = std::fs::read(root.join(&path)) {
                files.insert(path, String::from_utf8(bytes).unwrap_or_default());
            }
        }
        Ok(Tree(files))
    }

    /// A tree of these files.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        Tree(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    /// Number of files.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Files in path order.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// True if `path` names a file or a folder. A `*` in the last part stands for anything.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        if path.is_empty() || self.0.contains_key(path) {
            return true;
        }
        if let Some((before, after)) = path.split_once('*') {
            return self.0.keys().any(|file| {
                file.strip_prefix(before)
                    .is_some_and(|rest| after.is_empty() || rest.contains(after))
            });
        }
        let folder = format!("{path}/");
        self.0
            .range(folder.clone()..)
            .next()
            .is_some_and(|(file, _)| file.starts_with(&folder))
    }
}

fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == ".git" || name == "target" {
            continue;
        }
        let path = if folder.is_empty() {
            name
        } else {
            format!("{folder}/{name}")
        };
        if entry.file_type()?.is_dir() {
            walk(root, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// The lines of a Rust file that are not in its test module, with their numbers from 1. Tests
/// come last in a file: everything from `#[cfg(test)]` before a `mod` with a body is left out.
pub(crate) fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .windows(2)
        .position(|pair| {
            pair[0].trim() == "#[cfg(test)]"
                && pair[1].trim_start().starts_with("mod ")
                && pair[1].trim_end().ends_with('{')
        })
        .unwrap_or(lines.len());
    lines
        .into_iter()
        .take(end)
        .enumerate()
        .map(|(number, line)| (number + 1, line))
}

#[cfg(test)]
mod tests {
    use super::{Tree, product_lines};

    #[test]
    fn files_folders_and_stars_exist() {
        let tree = Tree::of(&[("crates/store-file/src/lib.rs", ""), ("README.md", "")]);
        for path in [
            "README.md",
            "crates",
            "crates/",
            "crates/store-file/src",
            "crates/store-*",
            "./README.md",
        ] {
            assert!(tree.exists(path), "{path}");
        }
        for path in ["READ", "crates/store", "crates/explore-*", "src"] {
            assert!(!tree.exists(path), "{path}");
        }
    }

    #[test]
    fn test_modules_are_left_out() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        assert_eq!(product_lines(text).collect::<Vec<_>>(), [(1, "fn a() {}")]);
        let outside = "#[cfg(test)]\nmod tests;\nfn c() {}\n";
        assert_eq!(product_lines(outside).count(), 3);
    }
}
