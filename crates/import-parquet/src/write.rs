//! Events as a Parquet file.

use domain::Event;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::collections::{BTreeMap, BTreeSet};
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

/// What is written of one item that a decision showed.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownRow {
    /// Which decision.
    pub decision_id: String,
    /// When, milliseconds since 1970.
    pub timestamp: i64,
    /// Of which placement.
    pub placement: String,
    /// For whom.
    pub user_id: Option<String>,
    /// Who chose.
    pub policy: Option<String>,
    /// Probability of the whole slate.
    pub slate_propensity: Option<f64>,
    /// Which item.
    pub item_id: String,
    /// Place in the slate, from 1.
    pub position: i64,
    /// Its score.
    pub score: f64,
    /// Probability that it stood there, given those before it.
    pub propensity: f64,
    /// Probability that it stood there, whatever stood elsewhere.
    pub position_propensity: Option<f64>,
    /// Candidates that were considered.
    pub candidates: i64,
    /// What came of it: counts by type of event.
    pub outcomes: BTreeMap<String, u64>,
}

/// But for the columns of outcomes, which follow.
const SHOWN_SCHEMA: &str = "message decisions {
    required byte_array decision_id (UTF8);
    required int64 timestamp (TIMESTAMP(MILLIS,true));
    required byte_array placement (UTF8);
    optional byte_array user_id (UTF8);
    optional byte_array policy (UTF8);
    optional double slate_propensity;
    required byte_array item_id (UTF8);
    required int64 position;
    required double score;
    required double propensity;
    optional double position_propensity;
    required int64 candidates;
";

/// A column of rows.
enum Column {
    Text(fn(&ShownRow) -> Option<&str>, bool),
    Whole(fn(&ShownRow) -> i64),
    Number(fn(&ShownRow) -> Option<f64>, bool),
}

const SHOWN_COLUMNS: [Column; 12] = [
    Column::Text(|row| Some(&row.decision_id), false),
    Column::Whole(|row| row.timestamp),
    Column::Text(|row| Some(&row.placement), false),
    Column::Text(|row| row.user_id.as_deref(), true),
    Column::Text(|row| row.policy.as_deref(), true),
    Column::Number(|row| row.slate_propensity, true),
    Column::Text(|row| Some(&row.item_id), false),
    Column::Whole(|row| row.position),
    Column::Number(|row| Some(row.score), false),
    Column::Number(|row| Some(row.propensity), false),
    Column::Number(|row| row.position_propensity, true),
    Column::Whole(|row| row.candidates),
];

/// Types of events that came of something, with the names of their columns: `outcome_` and the type, in which what is not a letter, digit or `_` is `_`. Two that would be
/// alike get numbers.
fn outcome_columns(rows: &[ShownRow]) -> Vec<(&str, String)> {
    let types: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.outcomes.keys().map(String::as_str))
        .collect();
    let mut columns: Vec<(&str, String)> = Vec::new();
    for event_type in types {
        let plain = event_type
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
        let name = format!("outcome_{}", plain.collect::<String>());
        let taken = |name: &String| columns.iter().any(|(_, known)| known == name);
        let numbered = (2..).map(|n| format!("{name}_{n}"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !taken(name));
        columns.push((event_type, free.unwrap_or(name)));
    }
    columns
}

/// Writes what decisions showed, one row for each item of each slate, with a column of counts for each type of event that came of any.
///
/// # Errors
/// A file that cannot be written.
pub fn write_shown(path: &Path, rows: &[ShownRow]) -> Result<(), WriteError> {
    let fail = |reason: String| WriteError {
        path: path.display().to_string(),
        reason,
    };
    let file = File::create(path).map_err(|e| fail(e.to_string()))?;
    put_shown(file, rows).map_err(|e| fail(e.to_string()))
}

fn put_shown(file: File, rows: &[ShownRow]) -> Result<(), parquet::errors::ParquetError> {
    let outcomes = outcome_columns(rows);
    let mut schema = SHOWN_SCHEMA.to_owned();
    for (_, column) in &outcomes {
        schema += &format!("    required int64 {column};\n");
    }
    schema.push('}');
    let schema = parse_message_type(&schema)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .build();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
    for rows in rows.chunks(GROUP_ROWS) {
        let mut group = writer.next_row_group()?;
        for column in &SHOWN_COLUMNS {
            let Some(mut out) = group.next_column()? else {
                break;
            };
            match column {
                Column::Text(of, may_lack) => {
                    let values: Vec<ByteArray> = rows.iter().filter_map(of).map(ByteArray::from).collect();
                    let levels: Vec<i16> = rows.iter().map(|row| i16::from(of(row).is_some())).collect();
                    let levels = may_lack.then_some(&levels[..]);
                    out.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
                }
                Column::Whole(of) => {
                    let values: Vec<i64> = rows.iter().map(of).collect();
                    out.typed::<Int64Type>().write_batch(&values, None, None)?;
                }
                Column::Number(of, may_lack) => {
                    let values: Vec<f64> = rows.iter().filter_map(of).collect();
                    let levels: Vec<i16> = rows.iter().map(|row| i16::from(of(row).is_some())).collect();
                    let levels = may_lack.then_some(&levels[..]);
                    out.typed::<DoubleType>().write_batch(&values, levels, None)?;
                }
            }
            out.close()?;
        }
        for (event_type, _) in &outcomes {
            let Some(mut out) = group.next_column()? else {
                break;
            };
            let count = |row: &ShownRow| row.outcomes.get(*event_type).map_or(0, |count| *count as i64);
            let values: Vec<i64> = rows.iter().map(count).collect();
            out.typed::<Int64Type>().write_batch(&values, None, None)?;
            out.close()?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
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
