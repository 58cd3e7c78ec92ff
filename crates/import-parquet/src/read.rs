//! A Parquet file as a source of rows.

use crate::values::{Reader, Reading, shape};
use import::{BadRow, Batch, Consumed, ImportError, Row, RowSource};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::fs::File;
use std::path::Path;

/// Bytes of a batch by what its row group takes on average.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// One column that is read.
struct Column {
    /// Its place among the leaves of the schema.
    leaf: usize,
    reading: Reading,
}

struct ParquetRows {
    name: String,
    file: SerializedFileReader<File>,
    names: Vec<String>,
    columns: Vec<Column>,
    left_out: Vec<String>,
    /// Next row group to open.
    group: usize,
    /// Readers of the open row group's columns, and rows left in it.
    readers: Vec<Reader>,
    left: usize,
    /// Rows of the open group that make a batch of bearable size.
    rows_of_group: usize,
    rows: u64,
    total: u64,
}

/// Opens a Parquet file.
///
/// # Errors
/// [`ImportError::Unreadable`] if it is not Parquet, is damaged, or holds no column that can be read.
pub fn open(path: &Path) -> Result<Box<dyn RowSource>, ImportError> {
    let name = path.display().to_string();
    let unreadable = |reason: String| ImportError::Unreadable {
        name: name.clone(),
        reason,
    };
    let file = File::open(path).map_err(|e| unreadable(e.to_string()))?;
    let file = guarded(|| SerializedFileReader::new(file).map_err(|e| e.to_string())).map_err(&unreadable)?;
    let metadata = file.metadata().file_metadata();
    let schema = metadata.schema_descr();
    let (mut names, mut columns, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for leaf in 0..schema.num_columns() {
        let described = schema.column(leaf);
        let first = described.path().parts().first().cloned().unwrap_or_default();
        match shape(&described) {
            Some(reading) if !names.contains(&first) => {
                names.push(first);
                columns.push(Column { leaf, reading });
            }
            _ => left_out.push(described.path().string()),
        }
    }
    if columns.is_empty() {
        return Err(unreadable(
            "it has no column of texts, numbers, booleans or moments".to_owned(),
        ));
    }
    let total = u64::try_from(metadata.num_rows()).unwrap_or(0);
    Ok(Box::new(ParquetRows {
        name,
        names,
        columns,
        left_out,
        group: 0,
        readers: Vec::new(),
        left: 0,
        rows_of_group: 1,
        rows: 0,
        total,
        file,
    }))
}

/// The decoder panics on some damaged files; that is an error like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("the file is damaged: its decoder gave up".to_owned()))
}

impl ParquetRows {
    /// Opens the next row group; false at the end.
    fn next_group(&mut self) -> Result<bool, String> {
        if self.group >= self.file.num_row_groups() {
            return Ok(false);
        }
        let group = self.file.get_row_group(self.group).map_err(|e| e.to_string())?;
        self.left = usize::try_from(group.metadata().num_rows()).map_err(|e| e.to_string())?;
        let bytes = usize::try_from(group.metadata().total_byte_size()).unwrap_or(0);
        self.rows_of_group = (BATCH_BYTES_MAX / (bytes / self.left.max(1)).max(1)).max(1);
        self.readers.clear();
        for column in &self.columns {
            let reader = group.get_column_reader(column.leaf).map_err(|e| e.to_string())?;
            self.readers.push(Reader::new(reader, column.reading)?);
        }
        self.group += 1;
        Ok(true)
    }

    fn batch(&mut self, max: usize) -> Result<Option<Batch>, String> {
        while self.left == 0 {
            if !self.next_group()? {
                return Ok(None);
            }
        }
        let width = self.columns.len();
        let count = Batch::rows_max(max, width).min(self.rows_of_group).min(self.left);
        let mut batch = Batch::new(width);
        batch.rows.extend((0..count as u64).map(|n| Row {
            line: self.rows + n + 1,
            bad: None,
        }));
        batch.cells.resize(count * width, import::Cell::Null);
        for (place, reader) in self.readers.iter_mut().enumerate() {
            let cells = batch.cells.iter_mut().skip(place).step_by(width);
            let bad = reader.read(count, cells)?;
            for (row, got, expected) in bad {
                let bad = BadRow::new(self.names[place].as_str(), got, expected);
                batch.rows[row].bad.get_or_insert_with(|| Box::new(bad));
            }
        }
        self.left -= count;
        self.rows += count as u64;
        Ok(Some(batch))
    }
}

impl RowSource for ParquetRows {
    fn columns(&self) -> &[String] {
        &self.names
    }

    fn describe(&self) -> String {
        let left_out = match self.left_out.as_slice() {
            [] => String::new(),
            names => format!(", without the nested {}", names.join(", ")),
        };
        format!("Parquet, {} rows{left_out}", self.total)
    }

    fn next_batch(&mut self, max: usize) -> Result<Option<Batch>, ImportError> {
        let batch = guarded(|| self.batch(max.max(1)));
        batch.map_err(|reason| ImportError::Unreadable {
            name: self.name.clone(),
            reason: format!("after row {}: {reason}", self.rows),
        })
    }

    fn consumed(&self) -> Consumed {
        Consumed {
            done: self.rows,
            total: Some(self.total),
            are_rows: true,
        }
    }
}
