//! Sealed segments: Parquet and the note that says what it must be.
//!
//! Columns: `sequence`, `event_id`, `user_id`, `item_id`, `event_type`, `timestamp` (milliseconds, UTC), `value`,
//! `session_id`, `decision_id`, `context` (JSON). Row groups of [`GROUP_ROWS`] rows, zstd; a Bloom filter on
//! `user_id` lets a search for one user pass over most groups.

use crate::codec::{EventView, Interner};
use crate::errors::{damaged, io};
use crate::note::{FORMAT, Note};
use domain::{StoreError, StoredEvent};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::{EnabledStatistics, ReaderProperties, WriterProperties};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of one row group.
pub(crate) const GROUP_ROWS: usize = 65_536;
const SCHEMA: &str = "message events {
    required int64 sequence;
    optional byte_array event_id (UTF8);
    required byte_array user_id (UTF8);
    required byte_array item_id (UTF8);
    required byte_array event_type (UTF8);
    required int64 timestamp (TIMESTAMP(MILLIS,true));
    optional double value;
    optional byte_array session_id (UTF8);
    optional byte_array decision_id (UTF8);
    optional byte_array context (JSON);
}";
const USER_COLUMN: usize = 2;

/// Counts and checks what passes through.
struct Checked {
    file: File,
    hasher: crc32fast::Hasher,
    bytes: u64,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// A text column that may have gaps.
#[derive(Default)]
struct Texts {
    values: Vec<ByteArray>,
    levels: Vec<i16>,
}

impl Texts {
    fn push(&mut self, text: Option<&str>) {
        self.levels.push(i16::from(text.is_some()));
        self.values.extend(text.map(ByteArray::from));
    }
}

/// Writes events, given in order, as Parquet.
pub(crate) struct SealWriter {
    writer: SerializedFileWriter<Checked>,
    path: PathBuf,
    rows: u64,
    sequences: Vec<i64>,
    timestamps: Vec<i64>,
    values: (Vec<f64>, Vec<i16>),
    /// Event id, user, item, type, session, decision, context.
    texts: [Texts; 7],
}

fn properties() -> WriterProperties {
    let column = |name: &str| ColumnPath::from(name);
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(None)
        .set_column_dictionary_enabled(column("event_id"), false)
        .set_column_bloom_filter_enabled(column("user_id"), true)
        .set_column_bloom_filter_fpp(column("user_id"), 0.01)
        .set_column_bloom_filter_max_ndv(column("user_id"), GROUP_ROWS as u64);
    for name in ["sequence", "timestamp"] {
        builder = builder
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    builder.build()
}

impl SealWriter {
    pub(crate) fn create(path: &Path) -> Result<Self, StoreError> {
        let schema = parse_message_type(SCHEMA).map_err(parquet_io("writing", path))?;
        let checked = Checked {
            file: File::create(path).map_err(io("creating", path))?,
            hasher: crc32fast::Hasher::new(),
            bytes: 0,
        };
        let writer = SerializedFileWriter::new(checked, Arc::new(schema), Arc::new(properties()))
            .map_err(parquet_io("writing", path))?;
        Ok(Self {
            writer,
            path: path.to_owned(),
            rows: 0,
            sequences: Vec::new(),
            timestamps: Vec::new(),
            values: Default::default(),
            texts: Default::default(),
        })
    }

    pub(crate) fn push(&mut self, sequence: u64, view: &EventView<'_>) -> Result<(), StoreError> {
        self.sequences.push(sequence as i64);
        self.timestamps.push(view.timestamp);
        self.values.0.extend(view.value);
        self.values.1.push(i16::from(view.value.is_some()));
        let texts = [
            view.event_id,
            Some(view.user_id),
            Some(view.item_id),
            Some(view.event_type),
            view.session_id,
            view.decision_id,
            view.context,
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.push(text);
        }
        if self.sequences.len() == GROUP_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write_group().map_err(parquet_io("writing", &path))
    }

    fn write_group(&mut self) -> Result<(), parquet::errors::ParquetError> {
        if self.sequences.is_empty() {
            return Ok(());
        }
        self.rows += self.sequences.len() as u64;
        let mut group = self.writer.next_row_group()?;
        let sequences = std::mem::take(&mut self.sequences);
        let timestamps = std::mem::take(&mut self.timestamps);
        let values = std::mem::take(&mut self.values);
        let mut texts = std::mem::take(&mut self.texts).into_iter();
        let mut place = 0;
        while let Some(mut column) = group.next_column()? {
            match place {
                0 => column.typed::<Int64Type>().write_batch(&sequences, None, None)?,
                5 => column.typed::<Int64Type>().write_batch(&timestamps, None, None)?,
                6 => column
                    .typed::<DoubleType>()
                    .write_batch(&values.0, Some(&values.1), None)?,
                _ => {
                    let texts = texts.next().unwrap_or_default();
                    let levels = (!(2..=4).contains(&place)).then_some(texts.levels.as_slice());
                    column
                        .typed::<ByteArrayType>()
                        .write_batch(&texts.values, levels, None)?
                }
            };
            column.close()?;
            place += 1;
        }
        group.close()?;
        Ok(())
    }

    /// Ends and flushes the file.
    pub(crate) fn finish(mut self, generation: u64, base: u64, last: u64) -> Result<Note, StoreError> {
        self.flush()?;
        let (path, rows) = (self.path, self.rows);
        let checked = self.writer.into_inner().map_err(parquet_io("writing", &path))?;
        checked.file.sync_all().map_err(io("flushing", &path))?;
        Ok(Note {
            format: FORMAT,
            generation,
            base,
            last,
            rows,
            bytes: checked.bytes,
            crc32: checked.hasher.finalize(),
        })
    }
}

fn parquet_io(
    action: &'static str,
    path: &Path,
) -> impl Fn(parquet::errors::ParquetError) -> StoreError + use<> {
    let path = path.display().to_string();
    move |error| StoreError::Io {
        action,
        path: path.clone(),
        reason: error.to_string(),
    }
}

/// A sealed segment opened for reading; it stays readable after its file is replaced.
pub(crate) struct SealedReader {
    file: Option<File>,
    reader: Option<SerializedFileReader<File>>,
    path: PathBuf,
    note: Note,
}

impl SealedReader {
    pub(crate) fn open(path: &Path, note: &Note) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(io("opening", path))?;
        Ok(Self {
            file: Some(file),
            reader: None,
            path: path.to_owned(),
            note: note.clone(),
        })
    }

    /// Compares the file with its note once more; call before reading all of it.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &self.file {
            Some(file) => self.note.verify_file(file, &self.path),
            None => Ok(()),
        }
    }

    fn range(&self) -> (u64, u64) {
        (self.note.base, self.note.last)
    }

    fn damaged(&self, error: impl std::fmt::Display) -> StoreError {
        damaged(&self.path, 0, error.to_string())
    }

    fn reader(&mut self) -> Result<&SerializedFileReader<File>, StoreError> {
        if let Some(file) = self.file.take() {
            let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
            let options = ReadOptionsBuilder::new()
                .with_reader_properties(properties)
                .build();
            let reader =
                SerializedFileReader::new_with_options(file, options).map_err(|error| self.damaged(error))?;
            self.reader = Some(reader);
        }
        let path = &self.path;
        self.reader
            .as_ref()
            .ok_or_else(|| damaged(path, 0, "it could not be read before"))
    }

    pub(crate) fn groups(&mut self) -> Result<usize, StoreError> {
        Ok(self.reader()?.num_row_groups())
    }

    /// Events of a group with sequences in `from..=to` that `of_user`, if given, did.
    pub(crate) fn group(
        &mut self,
        place: usize,
        (from, to): (u64, u64),
        of_user: Option<&str>,
        interner: &mut Interner,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let range = self.range();
        let mut decode = |reader: &SerializedFileReader<File>| -> Result<Vec<StoredEvent>, String> {
            let group = reader.get_row_group(place).map_err(|error| error.to_string())?;
            decode_group(&*group, range, (from, to), of_user, interner)
        };
        decode(self.reader()?).map_err(|error| self.damaged(error))
    }

    /// Visits every event without making it.
    pub(crate) fn for_each(
        &mut self,
        visit: &mut dyn FnMut(u64, EventView<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.check()?;
        let range = self.range();
        for place in 0..self.groups()? {
            let columns = {
                let reader = self.reader()?;
                reader
                    .get_row_group(place)
                    .map_err(|error| error.to_string())
                    .and_then(|group| Columns::read(&*group, range))
            };
            let columns = columns.map_err(|error| self.damaged(error))?;
            let mut rows = columns.rows();
            while let Some((sequence, view)) = rows.next().map_err(|error| self.damaged(error))? {
                visit(sequence, view)?;
            }
        }
        Ok(())
    }
}

fn decode_group(
    group: &dyn RowGroupReader,
    range: (u64, u64),
    (from, to): (u64, u64),
    of_user: Option<&str>,
    interner: &mut Interner,
) -> Result<Vec<StoredEvent>, String> {
    if let Some(user) = of_user {
        let surely_absent = group
            .get_column_bloom_filter(USER_COLUMN)
            .is_some_and(|filter| !filter.check(&ByteArray::from(user)));
        if surely_absent {
            return Ok(Vec::new());
        }
        let users = read::<ByteArrayType>(group, USER_COLUMN)?.0;
        if !users.iter().any(|u| u.data() == user.as_bytes()) {
            return Ok(Vec::new());
        }
    }
    let sequences = read::<Int64Type>(group, 0)?.0;
    let outside = |first: i64, last: i64| (last as u64) < from || (first as u64) > to;
    if let (Some(first), Some(last)) = (sequences.first(), sequences.last())
        && outside(*first, *last)
    {
        return Ok(Vec::new());
    }
    let columns = Columns::read(group, range)?;
    let mut rows = columns.rows();
    let mut events = Vec::with_capacity(if of_user.is_some() { 0 } else { sequences.len() });
    while let Some((sequence, view)) = rows.next()? {
        if sequence >= from && sequence <= to && of_user.is_none_or(|user| user == view.user_id) {
            events.push(StoredEvent {
                sequence: domain::Sequence(sequence),
                event: interner.event(&view)?,
            });
        }
    }
    Ok(events)
}

/// Values and definition levels of a column.
fn read<T: Typed>(group: &dyn RowGroupReader, place: usize) -> Result<(Vec<T::T>, Vec<i16>), String> {
    let rows = group.metadata().num_rows().max(0) as usize;
    let text = |error: parquet::errors::ParquetError| error.to_string();
    let column = group.get_column_reader(place).map_err(text)?;
    T::read(column, rows)
}

/// Column readers by the type of their values.
trait Typed: DataType {
    fn read(column: ColumnReader, rows: usize) -> Result<(Vec<Self::T>, Vec<i16>), String>;
}

macro_rules! typed {
    ($kind:ident, $variant:ident) => {
        impl Typed for $kind {
            fn read(column: ColumnReader, rows: usize) -> Result<(Vec<Self::T>, Vec<i16>), String> {
                let ColumnReader::$variant(mut column) = column else {
                    return Err("a column has the wrong type".to_owned());
                };
                let (mut values, mut levels) = (Vec::new(), Vec::new());
                let (records, ..) = column
                    .read_records(rows, Some(&mut levels), None, &mut values)
                    .map_err(|error| error.to_string())?;
                if records == rows {
                    Ok((values, levels))
                } else {
                    Err("a column is shorter than its group".to_owned())
                }
            }
        }
    };
}
typed!(Int64Type, Int64ColumnReader);
typed!(DoubleType, DoubleColumnReader);
typed!(ByteArrayType, ByteArrayColumnReader);

/// A row group by column.
struct Columns {
    sequences: Vec<i64>,
    timestamps: Vec<i64>,
    values: (Vec<f64>, Vec<i16>),
    /// In the order of [`SealWriter::texts`].
    texts: [(Vec<ByteArray>, Vec<i16>); 7],
    range: (u64, u64),
}

impl Columns {
    fn read(group: &dyn RowGroupReader, range: (u64, u64)) -> Result<Columns, String> {
        if group.num_columns() != 10 {
            return Err("it does not have the columns of a segment".to_owned());
        }
        let mut texts: [(Vec<ByteArray>, Vec<i16>); 7] = Default::default();
        for (column, place) in texts.iter_mut().zip([1, 2, 3, 4, 7, 8, 9]) {
            *column = read::<ByteArrayType>(group, place)?;
        }
        Ok(Columns {
            sequences: read::<Int64Type>(group, 0)?.0,
            timestamps: read::<Int64Type>(group, 5)?.0,
            values: read::<DoubleType>(group, 6)?,
            texts,
            range,
        })
    }

    fn rows(&self) -> Rows<'_> {
        Rows {
            columns: self,
            row: 0,
            value: 0,
            text: [0; 7],
        }
    }
}

/// Walks a group row by row.
struct Rows<'a> {
    columns: &'a Columns,
    row: usize,
    value: usize,
    text: [usize; 7],
}

impl<'a> Rows<'a> {
    fn text(&mut self, column: usize) -> Result<Option<&'a str>, String> {
        let (values, levels) = &self.columns.texts[column];
        if levels.get(self.row).is_some_and(|level| *level == 0) {
            return Ok(None);
        }
        let value = values.get(self.text[column]).ok_or("a column is too short")?;
        self.text[column] += 1;
        std::str::from_utf8(value.data())
            .map(Some)
            .map_err(|_| "a text is not UTF-8".to_owned())
    }

    fn required(&mut self, column: usize) -> Result<&'a str, String> {
        self.text(column)?
            .ok_or_else(|| "a required text is absent".to_owned())
    }

    fn next(&mut self) -> Result<Option<(u64, EventView<'a>)>, String> {
        let columns = self.columns;
        let Some(sequence) = columns.sequences.get(self.row) else {
            return Ok(None);
        };
        let sequence = *sequence as u64;
        let before = self.row.checked_sub(1).map(|row| columns.sequences[row] as u64);
        if sequence <= before.unwrap_or(columns.range.0) || sequence > columns.range.1 {
            return Err("its sequences do not rise within its range".to_owned());
        }
        let value = if columns.values.1.get(self.row).is_some_and(|level| *level > 0) {
            self.value += 1;
            Some(
                *columns
                    .values
                    .0
                    .get(self.value - 1)
                    .ok_or("a column is too short")?,
            )
        } else {
            None
        };
        let timestamp = *columns.timestamps.get(self.row).ok_or("a column is too short")?;
        let view = EventView {
            event_id: self.text(0)?,
            user_id: self.required(1)?,
            item_id: self.required(2)?,
            event_type: self.required(3)?,
            session_id: self.text(4)?,
            decision_id: self.text(5)?,
            context: self.text(6)?,
            timestamp,
            value,
        };
        self.row += 1;
        Ok(Some((sequence, view)))
    }
}
