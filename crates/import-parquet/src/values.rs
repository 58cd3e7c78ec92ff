//! Columns as cells.

use domain::{RawAttribute, Timestamp};
use import::Cell;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type, Int96Type,
};
use parquet::schema::types::ColumnDescriptor;

/// What the numbers of a column mean.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    Plain,
    /// Whole numbers without sign, kept in the bits of signed ones.
    Unsigned,
    /// Days since 1970.
    Date,
    /// Moments, this many to the millisecond; less than one for coarser ones.
    Moment {
        per_ms: i64,
    },
}

/// How a column is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    meaning: Meaning,
    max_def: i16,
    is_list: bool,
}

/// How a leaf can be read; `None` for what has no counterpart.
pub(crate) fn shape(column: &ColumnDescriptor) -> Option<Reading> {
    let is_list = column.max_rep_level() == 1;
    // A flat column has one part; a list has three in the usual form, two in an older one.
    let parts = column.path().parts().len();
    let fits = if is_list {
        parts <= 3
    } else {
        parts == 1 && column.max_rep_level() == 0
    };
    use parquet::basic::Type;
    let known = !matches!(column.physical_type(), Type::FIXED_LEN_BYTE_ARRAY);
    let is_decimal = matches!(column.logical_type_ref(), Some(LogicalType::Decimal { .. }))
        || column.converted_type() == ConvertedType::DECIMAL;
    let meaning = match column.logical_type_ref() {
        Some(LogicalType::Date) => Meaning::Date,
        Some(LogicalType::Timestamp(kind)) => Meaning::Moment {
            per_ms: match kind.unit {
                TimeUnit::MILLIS => 1,
                TimeUnit::MICROS => 1000,
                TimeUnit::NANOS => 1_000_000,
            },
        },
        Some(LogicalType::Integer(kind)) if !kind.is_signed => Meaning::Unsigned,
        _ => match column.converted_type() {
            ConvertedType::DATE => Meaning::Date,
            ConvertedType::TIMESTAMP_MILLIS => Meaning::Moment { per_ms: 1 },
            ConvertedType::TIMESTAMP_MICROS => Meaning::Moment { per_ms: 1000 },
            ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64 => Meaning::Unsigned,
            _ => Meaning::Plain,
        },
    };
    (fits && known && !is_decimal).then_some(Reading {
        meaning,
        max_def: column.max_def_level(),
        is_list,
    })
}

/// A cell that could not be: row of the batch, what was there, what was expected.
type Bad = Vec<(usize, String, &'static str)>;

/// Reads one column of one row group.
pub(crate) struct Reader {
    inner: Inner,
    reading: Reading,
}

enum Inner {
    Bool(ColumnReaderImpl<BoolType>),
    Int32(ColumnReaderImpl<Int32Type>),
    Int64(ColumnReaderImpl<Int64Type>),
    Int96(ColumnReaderImpl<Int96Type>),
    Float(ColumnReaderImpl<FloatType>),
    Double(ColumnReaderImpl<DoubleType>),
    Bytes(ColumnReaderImpl<ByteArrayType>),
}

fn whole(number: i64, meaning: Meaning) -> Cell {
    match meaning {
        Meaning::Plain => Cell::Integer(number),
        // As text it stays the id that it may be.
        Meaning::Unsigned if number < 0 => Cell::Text(number.cast_unsigned().to_string().into()),
        Meaning::Unsigned => Cell::Integer(number),
        Meaning::Date => Cell::Moment(Timestamp(number.saturating_mul(86_400_000))),
        Meaning::Moment { per_ms } => Cell::Moment(Timestamp(number.div_euclid(per_ms))),
    }
}

/// A number that is not finite is taken for none: that is how the absence of a number is written.
fn number(number: f64) -> Cell {
    if number.is_finite() {
        Cell::Number(number)
    } else {
        Cell::Null
    }
}

fn text(bytes: &ByteArray) -> Result<Cell, (String, &'static str)> {
    match std::str::from_utf8(bytes.data()) {
        Ok("") => Ok(Cell::Null),
        Ok(text) => Ok(Cell::Text(text.into())),
        Err(_) => Err((String::from_utf8_lossy(bytes.data()).into_owned(), "UTF-8 text")),
    }
}

impl Reader {
    pub(crate) fn new(reader: ColumnReader, reading: Reading) -> Result<Reader, String> {
        let inner = match reader {
            ColumnReader::BoolColumnReader(reader) => Inner::Bool(reader),
            ColumnReader::Int32ColumnReader(reader) => Inner::Int32(reader),
            ColumnReader::Int64ColumnReader(reader) => Inner::Int64(reader),
            ColumnReader::Int96ColumnReader(reader) => Inner::Int96(reader),
            ColumnReader::FloatColumnReader(reader) => Inner::Float(reader),
            ColumnReader::DoubleColumnReader(reader) => Inner::Double(reader),
            ColumnReader::ByteArrayColumnReader(reader) => Inner::Bytes(reader),
            ColumnReader::FixedLenByteArrayColumnReader(_) => {
                return Err("a type without counterpart".to_owned());
            }
        };
        Ok(Reader { inner, reading })
    }

    /// Puts the next `rows` values into cells.
    pub(crate) fn read<'c>(
        &mut self,
        rows: usize,
        cells: impl Iterator<Item = &'c mut Cell>,
    ) -> Result<Bad, String> {
        let (reading, meaning) = (self.reading, self.reading.meaning);
        match &mut self.inner {
            Inner::Bool(r) => fill(r, reading, rows, cells, |v| Ok(Cell::Flag(*v))),
            Inner::Int32(r) if meaning == Meaning::Unsigned => fill(r, reading, rows, cells, |v| {
                Ok(Cell::Integer(i64::from(v.cast_unsigned())))
            }),
            Inner::Int32(r) => fill(r, reading, rows, cells, |v| Ok(whole(i64::from(*v), meaning))),
            Inner::Int64(r) => fill(r, reading, rows, cells, |v| Ok(whole(*v, meaning))),
            Inner::Int96(r) => fill(r, reading, rows, cells, |v| {
                Ok(Cell::Moment(Timestamp(v.to_millis())))
            }),
            Inner::Float(r) => fill(r, reading, rows, cells, |v| Ok(number(f64::from(*v)))),
            Inner::Double(r) => fill(r, reading, rows, cells, |v| Ok(number(*v))),
            Inner::Bytes(r) => fill(r, reading, rows, cells, text),
        }
    }
}

fn fill<'c, T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    reading: Reading,
    rows: usize,
    cells: impl Iterator<Item = &'c mut Cell>,
    cell_of: impl Fn(&T::T) -> Result<Cell, (String, &'static str)>,
) -> Result<Bad, String> {
    let (mut values, mut defs, mut reps) = (Vec::with_capacity(rows), Vec::new(), Vec::new());
    let mut records = 0;
    while records < rows {
        let reps = reading.is_list.then_some(&mut reps);
        let read = reader.read_records(rows - records, Some(&mut defs), reps, &mut values);
        let (more, ..) = read.map_err(|e| e.to_string())?;
        if more == 0 {
            return Err("a column is shorter than its row group".to_owned());
        }
        records += more;
    }
    let mut values = values.iter();
    let mut next = |def: Option<&i16>| -> Result<Option<&T::T>, String> {
        if def.is_some_and(|def| *def < reading.max_def) {
            return Ok(None);
        }
        values
            .next()
            .map(Some)
            .ok_or_else(|| "a column has too few values".to_owned())
    };
    let mut bad = Bad::new();
    if !reading.is_list {
        for (row, cell) in cells.enumerate() {
            let def = if reading.max_def > 0 { defs.get(row) } else { None };
            if let Some(value) = next(def)? {
                match cell_of(value) {
                    Ok(made) => *cell = made,
                    Err((got, expected)) => bad.push((row, got, expected)),
                }
            }
        }
        return Ok(bad);
    }
    let mut at = 0;
    for (row, cell) in cells.enumerate() {
        let (mut list, mut is_there) = (Vec::new(), false);
        let start = at;
        while at < reps.len() && (at == start || reps[at] > 0) {
            // Below this there is no list at all, not even an empty one.
            is_there |= defs.get(at).is_some_and(|def| *def + 2 >= reading.max_def.max(2));
            if let Some(value) = next(defs.get(at))? {
                match cell_of(value) {
                    Ok(made) => list.push(made),
                    Err((got, expected)) => bad.push((row, got, expected)),
                }
            }
            at += 1;
        }
        if is_there {
            *cell = listed(list);
        }
    }
    Ok(bad)
}

/// A list of numbers if it has nothing else, of texts otherwise.
fn listed(cells: Vec<Cell>) -> Cell {
    let numbers: Option<Vec<f64>> = cells
        .iter()
        .map(|cell| match cell {
            Cell::Integer(_) | Cell::Number(_) => cell.as_number(),
            _ => None,
        })
        .collect();
    Cell::Attribute(Box::new(match numbers.filter(|numbers| !numbers.is_empty()) {
        Some(numbers) => RawAttribute::Numbers(numbers),
        None => RawAttribute::Texts(
            cells
                .iter()
                .filter_map(|cell| Some(cell.as_text()?.into_owned()))
                .collect(),
        ),
    }))
}
