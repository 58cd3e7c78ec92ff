//! One JSON object per line.

use crate::cell::{BATCH_BYTES_MAX, COLUMNS_MAX};
use crate::text::Reading;
use crate::{BadRow, Batch, Cell, Consumed, ImportError, Row, RowSource};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// Longest line read; a longer one is passed over.
const LINE_MAX: usize = 16 << 20;

pub(crate) struct JsonLines {
    input: BufReader<Box<dyn Read + Send>>,
    reading: Reading,
    columns: Vec<String>,
    places: HashMap<String, usize>,
    line: u64,
    buffer: Vec<u8>,
}

impl JsonLines {
    pub(crate) fn new(input: Box<dyn Read + Send>, reading: Reading) -> JsonLines {
        JsonLines {
            input: BufReader::with_capacity(1 << 18, input),
            reading,
            columns: Vec::new(),
            places: HashMap::new(),
            line: 0,
            buffer: Vec::new(),
        }
    }

    /// Reads the next line into the buffer; false at the end. A line that is too long is read past.
    fn next_line(&mut self) -> Result<Option<bool>, ImportError> {
        self.buffer.clear();
        let limit = LINE_MAX as u64 + 1;
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.buffer);
        if read.map_err(|e| self.reading.unreadable(e))? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let mut fits = true;
        while self.buffer.last() != Some(&b'\n') && self.buffer.len() > LINE_MAX {
            fits = false;
            self.buffer.clear();
            let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.buffer);
            if read.map_err(|e| self.reading.unreadable(e))? == 0 {
                break;
            }
        }
        Ok(Some(fits))
    }

    fn place(&mut self, name: String) -> Result<usize, BadRow> {
        if let Some(place) = self.places.get(&name) {
            return Ok(*place);
        }
        if self.columns.len() == COLUMNS_MAX {
            return Err(BadRow::new(
                name,
                "one more field",
                format!("at most {COLUMNS_MAX} different fields"),
            ));
        }
        self.columns.push(name.clone());
        self.places.insert(name, self.columns.len() - 1);
        Ok(self.columns.len() - 1)
    }

    /// The cells of the line in the buffer with their places.
    fn cells(&mut self) -> Result<Vec<(usize, Cell)>, BadRow> {
        let text = std::str::from_utf8(&self.buffer).map_err(|e| {
            BadRow::new(
                "row",
                format!("byte {} is not UTF-8", e.valid_up_to()),
                "UTF-8 text",
            )
        })?;
        let shown = || text.trim().to_owned();
        let object: Map<String, Value> = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(BadRow::new("row", shown(), "a JSON object")),
            Err(_) => return Err(BadRow::new("row", shown(), "one whole JSON object per line")),
        };
        let mut cells = Vec::with_capacity(object.len());
        for (name, value) in object {
            // Only lists and objects can be at fault.
            let got = if value.is_array() || value.is_object() {
                value.to_string()
            } else {
                String::new()
            };
            let cell = Cell::of_json(value).map_err(|expected| BadRow::new(name.as_str(), got, expected))?;
            cells.push((self.place(name)?, cell));
        }
        Ok(cells)
    }
}

/// Lays out rows that were read while their columns were still turning up.
fn laid_out(rows: Vec<(Row, Vec<(usize, Cell)>)>, width: usize) -> Batch {
    let mut batch = Batch::new(width);
    batch.rows.reserve(rows.len());
    batch.cells.resize(rows.len() * width, Cell::Null);
    for (place, (row, cells)) in rows.into_iter().enumerate() {
        batch.rows.push(row);
        for (column, cell) in cells {
            batch.cells[place * width + column] = cell;
        }
    }
    batch
}

impl RowSource for JsonLines {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn describe(&self) -> String {
        format!("JSON lines{}", self.reading.packed())
    }

    fn next_batch(&mut self, max: usize) -> Result<Option<Batch>, ImportError> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < Batch::rows_max(max, self.columns.len()) && bytes < BATCH_BYTES_MAX {
            let Some(fits) = self.next_line()? else {
                break;
            };
            bytes += self.buffer.len();
            if fits && self.buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let cells = if fits {
                self.cells()
            } else {
                let expected = format!("a line of up to {LINE_MAX} bytes");
                Err(BadRow::new("row", "a longer line", expected))
            };
            let line = self.line;
            let (cells, bad) = match cells {
                Ok(cells) => (cells, None),
                Err(bad) => (Vec::new(), Some(Box::new(bad.with_raw(&self.buffer)))),
            };
            rows.push((Row { line, bad }, cells));
        }
        Ok((!rows.is_empty()).then(|| laid_out(rows, self.columns.len())))
    }

    fn consumed(&self) -> Consumed {
        self.reading.consumed()
    }
}
