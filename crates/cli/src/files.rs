//! Input files of any format that we read.

use crate::failure::InputError;
use import::{ImportError, RowSource, TextOptions};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

/// Name of standard input on the command line.
pub(crate) const STDIN: &str = "-";

/// Refuses at once what could not be written to at the end of a long run.
pub(crate) fn check_output(option: &str, path: &Path) -> Result<(), InputError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if path.is_dir() {
        return Err(InputError(format!(
            "{option}: {} is a folder, expected a file",
            path.display()
        )));
    }
    match folder {
        Some(folder) if !folder.is_dir() => Err(InputError(format!(
            "{option}: there is no folder {}",
            folder.display()
        ))),
        _ => Ok(()),
    }
}

/// Opens Parquet, or text that is delimited or JSON lines, packed or not. `-` is standard input, which
/// cannot be Parquet.
pub(crate) fn open(path: &Path, options: &TextOptions) -> Result<Box<dyn RowSource>, ImportError> {
    if path == Path::new(STDIN) {
        return import::open_text(Box::new(std::io::stdin()), "standard input", None, options);
    }
    let name = path.display().to_string();
    let unreadable = |e: std::io::Error| ImportError::Unreadable {
        name: name.clone(),
        reason: e.to_string(),
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        let reason = "this is a folder, expected a file".to_owned();
        return Err(ImportError::Unreadable { name, reason });
    }
    let mut first = Vec::new();
    // What cannot be sought, such as a pipe, is text.
    if metadata.is_file() {
        file.by_ref()
            .take(4)
            .read_to_end(&mut first)
            .map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
    }
    if import::is_parquet(&first) {
        return import_parquet::open(path);
    }
    let total = metadata.is_file().then_some(metadata.len());
    import::open_text(Box::new(file), &name, total, options)
}

/// The same, for commands that take files as they are.
pub(crate) fn open_plainly(path: &Path) -> Result<Box<dyn RowSource>, InputError> {
    open(path, &TextOptions::default()).map_err(|e| InputError(e.to_string()))
}
