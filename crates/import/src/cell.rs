//! Rows as they come out of a file, before anyone says what they mean.

use crate::BadRow;
use domain::{Attributes, RawAttribute, Timestamp};
use serde_json::{Map, Value};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Absent, null, or an empty field.
    Null,
    /// True or false.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number; finite.
    Number(f64),
    /// Text, not empty.
    Text(Box<str>),
    /// A moment, where the format has such a type.
    Moment(Timestamp),
    /// A list or a point.
    Attribute(Box<RawAttribute>),
    /// Named values.
    Object(Box<Attributes>),
}

impl Cell {
    /// The cell of a JSON value.
    ///
    /// # Errors
    /// What was expected, for a value that no cell holds.
    pub fn of_json(value: Value) -> Result<Cell, &'static str> {
        Ok(match value {
            Value::Null => Cell::Null,
            Value::Bool(flag) => Cell::Flag(flag),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => Cell::Integer(whole),
                // As text it stays the id that it may be.
                (None, Some(large)) => Cell::Text(large.to_string().into()),
                (None, None) => match number.as_f64().filter(|n| n.is_finite()) {
                    Some(number) => Cell::Number(number),
                    None => return Err("a finite number"),
                },
            },
            Value::String(text) if text.is_empty() => Cell::Null,
            Value::String(text) => Cell::Text(text.into_boxed_str()),
            Value::Array(_) => Cell::Attribute(Box::new(attribute(value)?)),
            Value::Object(map) if is_point(&map) => Cell::Attribute(Box::new(attribute(Value::Object(map))?)),
            Value::Object(map) => {
                let mut attributes = Attributes::new();
                for (name, value) in map {
                    if !value.is_null() {
                        attributes.insert(name, attribute(value)?);
                    }
                }
                Cell::Object(Box::new(attributes))
            }
        })
    }

    /// As text: the form in which ids and categories are kept. A whole number has no point. `None` for
    /// null, lists and objects.
    pub fn as_text(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(match self {
            Cell::Text(text) => (&**text).into(),
            Cell::Integer(number) => number.to_string().into(),
            Cell::Number(number) => number.to_string().into(),
            Cell::Flag(flag) => flag.to_string().into(),
            Cell::Moment(moment) => moment.0.to_string().into(),
            Cell::Null | Cell::Attribute(_) | Cell::Object(_) => return None,
        })
    }

    /// As a number, text that reads as one included.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Cell::Integer(number) => Some(*number as f64),
            Cell::Number(number) => Some(*number),
            Cell::Text(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
            _ => None,
        }
    }

    /// For messages: short, in JSON.
    pub fn shown(&self) -> String {
        let text = self.to_json().to_string();
        if text.chars().count() > 120 {
            text.chars().take(117).chain("...".chars()).collect()
        } else {
            text
        }
    }

    /// As JSON, for the rejects file.
    pub fn to_json(&self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Flag(flag) => (*flag).into(),
            Cell::Integer(number) => (*number).into(),
            Cell::Number(number) => (*number).into(),
            Cell::Text(text) => (&**text).into(),
            Cell::Moment(moment) => moment.0.into(),
            Cell::Attribute(value) => serde_json::to_value(&**value).unwrap_or_default(),
            Cell::Object(values) => serde_json::to_value(&**values).unwrap_or_default(),
        }
    }
}

fn is_point(map: &Map<String, Value>) -> bool {
    map.len() == 2 && map.contains_key("lat") && map.contains_key("lon")
}

fn attribute(value: Value) -> Result<RawAttribute, &'static str> {
    const EXPECTED: &str = "a boolean, a number, text, {lat, lon}, or a list of numbers or of texts";
    if let Value::Array(values) = &value
        && values.is_empty()
    {
        return Ok(RawAttribute::Texts(Vec::new()));
    }
    let read: RawAttribute = serde_json::from_value(value).map_err(|_| EXPECTED)?;
    let finite = match &read {
        RawAttribute::Number(number) => number.is_finite(),
        RawAttribute::Numbers(numbers) => numbers.iter().all(|n| n.is_finite()),
        RawAttribute::Geo { lat, lon } => lat.abs() <= 90.0 && lon.abs() <= 180.0,
        _ => true,
    };
    if finite { Ok(read) } else { Err(EXPECTED) }
}

/// Most columns of a file.
pub(crate) const COLUMNS_MAX: usize = 4096;
/// Cells of a batch, where rows are wide; a batch has at least one row.
const CELLS_MAX: usize = 1 << 20;
/// Bytes of text that a batch is made from; it ends with the row that passes this.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;

/// A row of a [`Batch`].
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Line of the file where it begins, from 1; for formats without lines the row's number.
    pub line: u64,
    /// Why it could not be read, if so; its cells are then null.
    pub bad: Option<Box<BadRow>>,
}

/// Some rows, cell after cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Cells of each row.
    pub width: usize,
    /// One entry per row.
    pub rows: Vec<Row>,
    /// Of all rows; `rows.len() * width` long.
    pub cells: Vec<Cell>,
}

impl Batch {
    /// No rows yet.
    pub fn new(width: usize) -> Batch {
        Batch {
            width,
            ..Batch::default()
        }
    }

    /// How many rows of this width to put into a batch of which `max` were asked for.
    pub fn rows_max(max: usize, width: usize) -> usize {
        max.min(CELLS_MAX / width.max(1)).max(1)
    }

    /// Cells of one row.
    pub fn cells_of(&self, row: usize) -> &[Cell] {
        &self.cells[row * self.width..(row + 1) * self.width]
    }

    /// Adds a row that could not be read.
    pub fn push_bad(&mut self, line: u64, bad: BadRow) {
        let bad = Some(Box::new(bad));
        self.rows.push(Row { line, bad });
        self.cells.resize(self.rows.len() * self.width, Cell::Null);
    }

    /// Makes room for columns that have turned up.
    pub fn widen(&mut self, width: usize) {
        if width > self.width {
            let mut cells = Vec::with_capacity(self.rows.len() * width);
            for row in 0..self.rows.len() {
                let start = row * self.width;
                cells.extend(
                    self.cells[start..start + self.width]
                        .iter_mut()
                        .map(|cell| std::mem::replace(cell, Cell::Null)),
                );
                cells.resize((row + 1) * width, Cell::Null);
            }
            self.cells = cells;
            self.width = width;
        }
    }
}
