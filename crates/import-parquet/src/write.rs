//! Events as a Parquet file.

use domain::Event;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

const GROUP_ROWS: usize = 131_072;
const SCHEMA: &str = "message events {
    required byte_array user_id (UTF8);
    required byte_array item_id (UTF8);
    required byte_array event_type (UTF8);
    required int64 timestamp (TIMESTAMP(MILLIS,true));
    optional double value;
}";

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing {path}: {reason}")]
pub struct WriteError {
    /// The file.
    pub path: String,
    /// What the system said.
    pub reason: String,
}

/// Writes events with the columns `user_id`, `item_id`, `event_type`, `timestamp` and `value`, a row group at a
/// time; returns how many.
///
/// # Errors
/// A file that cannot be written.
pub fn write_events(path: &Path, events: impl Iterator<Item = Event>) -> Result<u64, WriteError> {
    write(path, events).map_err(|reason| WriteError {
        path: path.display().to_string(),
        reason,
    })
}

fn write(path: &Path, events: impl Iterator<Item = Event>) -> Result<u64, String> {
    let text = |e: parquet::errors::ParquetError| e.to_string();
    let schema = parse_message_type(SCHEMA).map_err(text)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .build();
    let file = File::create(path).map_err(|e| e.to_string())?;
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(text)?;
    let mut events = events.peekable();
    let mut total = 0;
    while events.peek().is_some() {
        let group: Vec<Event> = events.by_ref().take(GROUP_ROWS).collect();
        total += group.len() as u64;
        write_group(&mut writer, &group).map_err(text)?;
    }
    writer.close().map_err(text)?;
    Ok(total)
}

fn write_group(
    writer: &mut SerializedFileWriter<File>,
    events: &[Event],
) -> Result<(), parquet::errors::ParquetError> {
    let texts = |of: fn(&Event) -> &str| -> Vec<ByteArray> {
        events.iter().map(|e| ByteArray::from(of(e))).collect()
    };
    let mut group = writer.next_row_group()?;
    let mut place = 0;
    while let Some(mut column) = group.next_column()? {
        match place {
            0 => column
                .typed::<ByteArrayType>()
                .write_batch(&texts(|e| e.user_id.as_str()), None, None)?,
            1 => column
                .typed::<ByteArrayType>()
                .write_batch(&texts(|e| e.item_id.as_str()), None, None)?,
            2 => {
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&texts(|e| e.event_type.as_str()), None, None)?
            }
            3 => {
                let moments: Vec<i64> = events.iter().map(|e| e.timestamp.0).collect();
                column.typed::<Int64Type>().write_batch(&moments, None, None)?
            }
            _ => {
                let values: Vec<f64> = events.iter().filter_map(|e| e.value).collect();
                let levels: Vec<i16> = events.iter().map(|e| i16::from(e.value.is_some())).collect();
                column
                    .typed::<DoubleType>()
                    .write_batch(&values, Some(&levels), None)?
            }
        };
        column.close()?;
        place += 1;
    }
    group.close()?;
    Ok(())
}
