//! Fields between delimiters, quoted where needed (RFC 4180).

use crate::cell::{BATCH_BYTES_MAX, COLUMNS_MAX};
use crate::guess;
use crate::text::Reading;
use crate::{BadRow, Batch, Cell, Consumed, ImportError, Row, RowSource, TextOptions};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest row read: a quote that is never closed would otherwise take in the rest of the file.
const ROW_MAX: u64 = 16 << 20;

/// Refuses to go on reading while one row takes more than [`ROW_MAX`] bytes, and ends the last line if
/// the file does not.
struct Guard {
    inner: Box<dyn Read + Send>,
    left: Arc<AtomicU64>,
    is_open: bool,
    /// What ends a line.
    end: u8,
}

impl Read for Guard {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let left = self.left.load(Ordering::Relaxed);
        if (n as u64) > left {
            let reason =
                format!("a row is longer than {ROW_MAX} bytes: is there a quote that is never closed?");
            return Err(std::io::Error::other(reason));
        }
        self.left.store(left - n as u64, Ordering::Relaxed);
        match (buffer[..n].last().copied(), buffer.first_mut()) {
            (Some(last), _) => self.is_open = last != self.end,
            (None, Some(first)) if self.is_open => {
                *first = self.end;
                self.is_open = false;
                return Ok(1);
            }
            _ => {}
        }
        Ok(n)
    }
}

pub(crate) struct Delimited {
    reader: csv::Reader<Guard>,
    left: Arc<AtomicU64>,
    reading: Reading,
    columns: Vec<String>,
    delimiter: u8,
    has_header: bool,
    quoting: bool,
    /// Lines end as on old machines.
    ends_in_cr: bool,
    record: csv::ByteRecord,
}

impl Delimited {
    /// `head` is what the input begins with, all of it if `whole`.
    pub(crate) fn open(
        input: Box<dyn Read + Send>,
        reading: Reading,
        head: &[u8],
        whole: bool,
        options: &TextOptions,
    ) -> Result<Delimited, ImportError> {
        let delimiter = options.delimiter.unwrap_or_else(|| guess::delimiter(head, whole));
        let quoting = delimiter != b'\t' || guess::quotes_delimit(head, whole);
        let first = guess::rows(head, whole, delimiter, quoting);
        let has_header = options.header.unwrap_or_else(|| guess::has_header(&first));
        let ends_in_cr = !head.contains(&b'\n') && head.contains(&b'\r');
        let end = if ends_in_cr { b'\r' } else { b'\n' };
        let left = Arc::new(AtomicU64::new(ROW_MAX));
        let guard = Guard {
            inner: input,
            left: left.clone(),
            is_open: false,
            end,
        };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(quoting)
            .terminator(csv::Terminator::Any(end))
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 18)
            .from_reader(guard);
        let mut record = csv::ByteRecord::new();
        let mut columns: Vec<String> = Vec::new();
        if has_header {
            let read = reader.read_byte_record(&mut record);
            read.map_err(|e| reading.unreadable(e))?;
            columns.extend(
                record
                    .iter()
                    .take(COLUMNS_MAX + 1)
                    .enumerate()
                    .map(|(place, name)| {
                        match String::from_utf8_lossy(name).trim() {
                            // A table's row numbers are often written without a name.
                            "" => format!("column{}", place + 1),
                            name => name.to_owned(),
                        }
                    }),
            );
        } else {
            let width = first.first().map_or(0, Vec::len);
            columns.extend((1..=width.min(COLUMNS_MAX + 1)).map(|place| format!("column{place}")));
        }
        check_names(&reading, &columns)?;
        Ok(Delimited {
            reader,
            left,
            reading,
            columns,
            delimiter,
            has_header,
            quoting,
            ends_in_cr,
            record,
        })
    }

    /// Line on which the record begins. Every line is ended, so the reader stands on the one after it.
    fn line(&self) -> u64 {
        if self.ends_in_cr {
            return self.record.position().map_or(0, csv::Position::record) + 1;
        }
        let within = self
            .record
            .as_slice()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        self.reader.position().line().saturating_sub(1 + within as u64)
    }

    /// The record with delimiters, without the quotes that it may have had.
    fn raw(&self) -> Vec<u8> {
        let fields: Vec<&[u8]> = self.record.iter().collect();
        fields.join(&self.delimiter)
    }

    fn row(&self) -> Result<Vec<Cell>, BadRow> {
        if self.record.len() != self.columns.len() {
            let lines = 1 + self
                .record
                .as_slice()
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            let got = match lines {
                1 => format!("{} fields", self.record.len()),
                // A quote that is not closed takes in the lines below.
                _ => format!("{} fields on {lines} lines", self.record.len()),
            };
            let bad = BadRow::new("row", got, format!("{} fields", self.columns.len()));
            return Err(bad.with_raw(&self.raw()));
        }
        let mut cells = Vec::with_capacity(self.columns.len());
        let last = self.columns.len() - 1;
        for (place, (name, field)) in self.columns.iter().zip(&self.record).enumerate() {
            let field = if place == last {
                field.strip_suffix(b"\r").unwrap_or(field)
            } else {
                field
            };
            let text = std::str::from_utf8(field).map_err(|_| {
                BadRow::new(
                    name.as_str(),
                    String::from_utf8_lossy(field).into_owned(),
                    "UTF-8 text",
                )
                .with_raw(&self.raw())
            })?;
            cells.push(if text.is_empty() {
                Cell::Null
            } else {
                Cell::Text(text.into())
            });
        }
        Ok(cells)
    }
}

fn check_names(reading: &Reading, columns: &[String]) -> Result<(), ImportError> {
    if columns.len() > COLUMNS_MAX {
        return Err(reading.unreadable(format!(
            "got more than {COLUMNS_MAX} columns, expected at most {COLUMNS_MAX}"
        )));
    }
    for (place, name) in columns.iter().enumerate() {
        if columns[..place].contains(name) {
            return Err(reading.unreadable(format!(
                "two columns are named {name:?}; expected a name for each"
            )));
        }
    }
    Ok(())
}

impl RowSource for Delimited {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn describe(&self) -> String {
        let delimiter = match self.delimiter {
            b',' => "commas".to_owned(),
            b'\t' => "tabs".to_owned(),
            b';' => "semicolons".to_owned(),
            other => format!("{:?}", char::from(other)),
        };
        let header = if self.has_header {
            "with a header"
        } else {
            "without a header"
        };
        let quotes = if self.quoting {
            ""
        } else {
            ", quotes taken as they are"
        };
        format!(
            "text delimited by {delimiter}, {header}{quotes}{}",
            self.reading.packed()
        )
    }

    fn next_batch(&mut self, max: usize) -> Result<Option<Batch>, ImportError> {
        let mut batch = Batch::new(self.columns.len());
        let (max, mut bytes) = (Batch::rows_max(max, self.columns.len()), 0);
        while batch.rows.len() < max && bytes < BATCH_BYTES_MAX {
            self.left.store(ROW_MAX, Ordering::Relaxed);
            match self.reader.read_byte_record(&mut self.record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => return Err(self.reading.unreadable(e)),
            }
            bytes += self.record.as_slice().len();
            if self.record.len() == 1 && self.record.as_slice() == b"\r" {
                continue;
            }
            let line = self.line();
            match self.row() {
                Ok(cells) => {
                    batch.cells.extend(cells);
                    batch.rows.push(Row { line, bad: None });
                }
                Err(bad) => batch.push_bad(line, bad),
            }
        }
        Ok((!batch.rows.is_empty()).then_some(batch))
    }

    fn consumed(&self) -> Consumed {
        self.reading.consumed()
    }
}
