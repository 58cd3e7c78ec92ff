//! Text files, perhaps compressed: which format, and the reader for it.

use crate::delimited::Delimited;
use crate::json_lines::JsonLines;
use crate::{ImportError, RowSource};
use serde::Serialize;
use std::io::{BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Fields between delimiters.
    Delimited,
    /// One JSON object per line.
    JsonLines,
}

/// How the file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// What the caller knows better.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextOptions {
    /// Format; found out if absent.
    pub format: Option<Format>,
    /// Delimiter; found out if absent.
    pub delimiter: Option<u8>,
    /// Whether the first row names the columns; found out if absent.
    pub header: Option<bool>,
}

/// Bytes looked at to find things out.
const PEEK: usize = 64 * 1024;

/// True if a file that begins so is Parquet.
pub fn is_parquet(first: &[u8]) -> bool {
    first.starts_with(b"PAR1")
}

/// Counts what passes.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// How many bytes of how many were read, for progress.
pub(crate) struct Reading {
    pub(crate) name: String,
    pub(crate) count: Arc<AtomicU64>,
    pub(crate) total: Option<u64>,
    pub(crate) compression: Compression,
}

impl Reading {
    pub(crate) fn consumed(&self) -> crate::Consumed {
        crate::Consumed {
            done: self.count.load(Ordering::Relaxed),
            total: self.total,
            are_rows: false,
        }
    }

    pub(crate) fn unreadable(&self, reason: impl ToString) -> ImportError {
        ImportError::Unreadable {
            name: self.name.clone(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn packed(&self) -> &'static str {
        match self.compression {
            Compression::None => "",
            Compression::Gzip => ", gzip",
            Compression::Zstd => ", zstd",
        }
    }
}

/// Reads up to `n` bytes.
fn peek(reader: &mut dyn Read, n: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(n as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens delimited text or JSON lines, packed or not. `name` is for messages, `total` the size in bytes if known.
///
/// # Errors
/// [`ImportError::Empty`] if there is nothing, [`ImportError::Unreadable`] if it is not text or cannot be read.
pub fn open_text(
    input: Box<dyn Read + Send>,
    name: &str,
    total: Option<u64>,
    options: &TextOptions,
) -> Result<Box<dyn RowSource>, ImportError> {
    let count = Arc::new(AtomicU64::new(0));
    let mut raw: Box<dyn Read + Send> = Box::new(Counted {
        inner: input,
        count: count.clone(),
    });
    let mut reading = Reading {
        name: name.to_owned(),
        count,
        total,
        compression: Compression::None,
    };
    let first = peek(&mut raw, 8).map_err(|e| reading.unreadable(e))?;
    reading.compression = match first.as_slice() {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    };
    let again: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(first).chain(raw));
    let mut plain: Box<dyn Read + Send> = match reading.compression {
        Compression::None => again,
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(again))),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::new(again).map_err(|e| reading.unreadable(e))?)
        }
    };
    let mut head = peek(&mut plain, PEEK).map_err(|e| reading.unreadable(e))?;
    if head.starts_with(b"\xef\xbb\xbf") {
        head.drain(..3);
    }
    refuse_binary(&reading, &head)?;
    let begins = head.iter().find(|byte| !byte.is_ascii_whitespace());
    let Some(begins) = begins else {
        return Err(ImportError::Empty {
            name: name.to_owned(),
            hint: ": the file is empty".to_owned(),
        });
    };
    let format = options.format.unwrap_or(if *begins == b'{' || *begins == b'[' {
        Format::JsonLines
    } else {
        Format::Delimited
    });
    if format == Format::JsonLines && *begins == b'[' {
        return Err(reading.unreadable("got a JSON array, expected one JSON object per line"));
    }
    let whole = head.len() < PEEK;
    let input: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(head.clone()).chain(plain));
    Ok(match format {
        Format::JsonLines => Box::new(JsonLines::new(input, reading)),
        Format::Delimited => Box::new(Delimited::open(input, reading, &head, whole, options)?),
    })
}

/// Says what a file is that is no text.
fn refuse_binary(reading: &Reading, head: &[u8]) -> Result<(), ImportError> {
    let is = match head {
        [b'P', b'A', b'R', b'1', ..] => "packed Parquet: unpack it first",
        [b'P', b'K', 3, 4, ..] => "a ZIP archive (or a spreadsheet): unpack it or save it as CSV first",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16: save it as UTF-8 first",
        [0x1f, 0x8b, ..] => "packed twice: unpack it once first",
        [b'B', b'Z', b'h', ..] => "bzip2: unpack it first",
        _ if head.contains(&0) => "no text: it has zero bytes",
        _ => return Ok(()),
    };
    Err(reading.unreadable(format!("this is {is}")))
}
