//! What each column will become.

use crate::fields::{field_named, fields, plain};
use crate::moments::{self, TimeUnit};
use crate::{Batch, Cell, Field, ImportError, Kind, RowSource};
use serde::Serialize;
use std::fmt;

/// What the caller says of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What it holds.
    pub kind: Kind,
    /// Field and column, on top of what is found out. The column may be `-` for none.
    pub map: Vec<(String, String)>,
    /// Type of events that do not say theirs; by default `rating` if there is a value, else `click`.
    pub event_type: Option<String>,
    /// Separates the labels of a list in one field.
    pub list_separator: char,
    /// Share of bad rows above which the import fails, 0 to 1.
    pub max_bad_share: f64,
    /// Moment that events without one are given, milliseconds; events need one if absent.
    pub untimed_at: Option<i64>,
}

impl Options {
    /// The usual for this kind.
    pub fn new(kind: Kind) -> Options {
        Options {
            kind,
            map: Vec::new(),
            event_type: None,
            list_separator: '|',
            max_bad_share: 0.01,
            untimed_at: None,
        }
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// Its name in the file.
    pub name: String,
    /// What it becomes.
    pub field: Field,
    /// Values of the first rows.
    pub examples: Vec<String>,
}

/// What will be done with a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The file.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// What was found out about its format.
    pub format: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// How moments are written, if there are any.
    pub time_unit: Option<TimeUnit>,
    /// Type of events that do not say theirs.
    pub event_type: Option<String>,
    /// Separates labels.
    pub list_separator: char,
    /// What a person should know.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(crate) max_bad_share: f64,
    #[serde(skip)]
    pub(crate) untimed_at: Option<i64>,
    /// Fields of which the caller has said where they are.
    #[serde(skip)]
    pub(crate) told: Vec<Field>,
}

/// Batches looked at before anything is stored; fewer rows than [`SAMPLE_ROWS`] if these are large.
const SAMPLE_BATCHES: usize = 8;
/// Rows looked at before anything is stored.
const SAMPLE_ROWS: usize = 20_000;
/// Rows by which columns are judged.
const JUDGED_ROWS: usize = 2000;

/// Looks at the first rows of a source and says what each column will become. The rows read come
/// back as the first batches of the import.
///
/// # Errors
/// No rows, a column that must be there and is not, or an option that does not fit.
pub fn plan(
    source: &mut dyn RowSource,
    name: &str,
    options: &Options,
) -> Result<(Plan, Vec<Batch>), ImportError> {
    check_options(options)?;
    let mut first = Vec::new();
    let mut rows = 0;
    while rows < SAMPLE_ROWS && first.len() < SAMPLE_BATCHES {
        let Some(batch) = source.next_batch(SAMPLE_ROWS.min(4096))? else {
            break;
        };
        rows += batch.rows.len();
        first.push(batch);
    }
    if rows == 0 {
        let hint = if source.columns().is_empty() {
            ""
        } else {
            ": there is a header and nothing below it"
        };
        return Err(ImportError::Empty {
            name: name.to_owned(),
            hint: hint.to_owned(),
        });
    }
    let columns = source.columns().to_vec();
    let bad = first
        .iter()
        .flat_map(|batch| &batch.rows)
        .find_map(|row| Some((row.line, row.bad.as_ref()?)));
    if let (true, Some((line, bad))) = (columns.is_empty(), bad) {
        return Err(ImportError::TooManyBad {
            name: name.to_owned(),
            bad: rows as u64,
            rows: rows as u64,
            max_share: options.max_bad_share,
            written: "nothing was stored",
            line,
            first: bad.clone(),
        });
    }
    first.iter_mut().for_each(|batch| batch.widen(columns.len()));
    let given = assign(name, &columns, options)?;
    let judged = given.iter().enumerate().map(|(place, field)| {
        let cells = cells_of(&first, place);
        Column {
            name: columns[place].clone(),
            field: field.unwrap_or_else(|| judge(options, &cells)),
            examples: cells
                .iter()
                .filter(|c| ***c != Cell::Null)
                .take(3)
                .map(|c| c.shown())
                .collect(),
        }
    });
    let columns: Vec<Column> = judged.collect();
    let place_of = |field: Field| columns.iter().position(|column| column.field == field);
    let timed = place_of(Field::Timestamp).or(place_of(Field::AddedAt));
    let time_unit = timed.map(|place| moments::unit(&cells_of(&first, place)));
    let first_moment = timed.and_then(|place| {
        let cells = cells_of(&first, place);
        let read = |cell: &&&Cell| Some((cell.shown(), moments::moment("", cell, time_unit).ok()?));
        cells
            .iter()
            .filter(|cell| ***cell != Cell::Null)
            .find_map(|cell| read(&cell))
    });
    let event_type = (options.kind == Kind::Events).then(|| {
        let default = if place_of(Field::Value).is_some() {
            "rating"
        } else {
            "click"
        };
        options.event_type.clone().unwrap_or_else(|| default.to_owned())
    });
    let mut notes = notes(options, &columns, event_type.as_deref());
    if let Some((shown, moment)) = first_moment {
        notes.push(format!(
            "the first moment, {shown}, is {}",
            moments::written(moment)
        ));
    }
    let plan = Plan {
        name: name.to_owned(),
        kind: options.kind,
        format: source.describe(),
        notes,
        columns,
        time_unit,
        event_type,
        list_separator: options.list_separator,
        max_bad_share: options.max_bad_share,
        untimed_at: options.untimed_at,
        told: options
            .map
            .iter()
            .filter_map(|(field, _)| field_named(options.kind, field))
            .collect(),
    };
    Ok((plan, first))
}

impl Plan {
    /// What a column becomes that turns up only after the rows that were looked at: the field that it is
    /// named after, if that is still free.
    pub(crate) fn late(&self, name: &str, taken: &[Field]) -> Field {
        let name = plain(name);
        let known = fields(self.kind)
            .iter()
            .find(|(_, names)| names.contains(&name.as_str()));
        let is_free = |field: &Field| {
            !self.told.contains(field)
                && !taken.contains(field)
                && !self.columns.iter().any(|column| column.field == *field)
        };
        match known.map(|(field, _)| *field).filter(is_free) {
            Some(field) => field,
            None if self.kind == Kind::Events => Field::Ignored,
            None => Field::Text,
        }
    }
}

fn check_options(options: &Options) -> Result<(), ImportError> {
    if !(0.0..=1.0).contains(&options.max_bad_share) {
        return Err(ImportError::Option {
            option: "max-bad-share",
            got: options.max_bad_share.to_string(),
            expected: "a share from 0 to 1".to_owned(),
        });
    }
    Ok(())
}

/// Fields by column, as told and as known names have it; `None` where that says nothing.
fn assign(name: &str, columns: &[String], options: &Options) -> Result<Vec<Option<Field>>, ImportError> {
    let table = fields(options.kind);
    let mut given: Vec<Option<Field>> = vec![None; columns.len()];
    let mut told: Vec<Field> = Vec::new();
    for (field, column) in &options.map {
        let Some(known) = field_named(options.kind, field) else {
            let names: Vec<&str> = table.iter().map(|(_, names)| names[0]).collect();
            return Err(ImportError::Option {
                option: "map",
                got: format!("the field {field:?}"),
                expected: format!("one of {}", names.join(", ")),
            });
        };
        told.push(known);
        if column == "-" {
            continue;
        }
        let place = columns
            .iter()
            .position(|there| there == column)
            .ok_or_else(|| ImportError::Option {
                option: "map",
                got: format!("the column {column:?}"),
                expected: format!("one of {}", columns.join(", ")),
            })?;
        given[place] = Some(known);
    }
    for (field, names) in table.iter().filter(|(field, _)| !told.contains(field)) {
        let named = |known: &&str| columns.iter().position(|there| plain(there) == **known);
        if let Some(place) = names
            .iter()
            .filter_map(named)
            .find(|place| given[*place].is_none())
        {
            given[place] = Some(*field);
        }
    }
    let mut needed = match options.kind {
        Kind::Events => vec![Field::UserId, Field::ItemId],
        Kind::Items => vec![Field::ItemId],
        Kind::Users => vec![Field::UserId],
    };
    if options.kind == Kind::Events && options.untimed_at.is_none() {
        needed.push(Field::Timestamp);
    }
    for field in needed {
        if !given.contains(&Some(field)) {
            let names = table
                .iter()
                .find(|(known, _)| *known == field)
                .map_or("", |(_, names)| names[0]);
            return Err(ImportError::NoColumn {
                name: name.to_owned(),
                field: names,
                columns: columns.join(", "),
            });
        }
    }
    if options.kind == Kind::Events {
        given
            .iter_mut()
            .for_each(|field| *field = field.or(Some(Field::Ignored)));
    }
    Ok(given)
}

fn cells_of(batches: &[Batch], place: usize) -> Vec<&Cell> {
    let rows = batches
        .iter()
        .flat_map(|batch| (0..batch.rows.len()).map(move |row| (batch, row)));
    rows.take(JUDGED_ROWS)
        .map(|(batch, row)| &batch.cells_of(row)[place])
        .collect()
}

/// What kind of attribute a column of text holds.
fn judge(options: &Options, cells: &[&Cell]) -> Field {
    let texts: Vec<&str> = cells
        .iter()
        .filter_map(|cell| match cell {
            Cell::Text(text) => Some(&**text),
            _ => None,
        })
        .collect();
    if texts.is_empty() {
        // Other formats say themselves what their values are.
        return Field::Text;
    }
    let listed = texts
        .iter()
        .filter(|text| text.contains(options.list_separator))
        .count();
    let padded = |text: &&str| text.len() > 1 && text.starts_with('0') && !text.starts_with("0.");
    if listed * 20 >= texts.len() {
        Field::List
    } else if texts
        .iter()
        .all(|text| text.parse::<f64>().is_ok_and(f64::is_finite))
        && !texts.iter().any(padded)
    {
        Field::Number
    } else if texts
        .iter()
        .all(|text| matches!(&*text.to_lowercase(), "true" | "false"))
    {
        Field::Flag
    } else {
        Field::Text
    }
}

fn notes(options: &Options, columns: &[Column], event_type: Option<&str>) -> Vec<String> {
    let mut notes = Vec::new();
    let has = |field: Field| columns.iter().any(|column| column.field == field);
    if let Some(event_type) = event_type
        && !has(Field::EventType)
    {
        notes.push(format!(
            "no column says what happened: every event is a {event_type:?} (--event-type)"
        ));
    }
    if options.kind == Kind::Events && !has(Field::Timestamp) {
        notes.push(
            "no column says when: every event gets the same moment, and equal rows are one event".to_owned(),
        );
    }
    let ignored: Vec<&str> = columns
        .iter()
        .filter(|c| c.field == Field::Ignored)
        .map(|c| c.name.as_str())
        .collect();
    if !ignored.is_empty() {
        notes.push(format!("left out: {}", ignored.join(", ")));
    }
    notes
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |value: &dyn erased::Told| value.told();
        writeln!(f, "{}: {} as {}", self.name, told(&self.kind), self.format)?;
        let width = self
            .columns
            .iter()
            .map(|column| column.name.chars().count())
            .max()
            .unwrap_or(0)
            .min(32);
        for column in &self.columns {
            let field = told(&column.field);
            writeln!(
                f,
                "  {:width$}  {field:<12}  {}",
                column.name,
                column.examples.join(", ")
            )?;
        }
        if let Some(unit) = &self.time_unit {
            writeln!(f, "  moments are in {}", told(unit))?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

/// Names of our enumerations as configuration and JSON have them.
mod erased {
    pub(super) trait Told {
        fn told(&self) -> String;
    }

    impl<T: serde::Serialize> Told for T {
        fn told(&self) -> String {
            let value = serde_json::to_value(self).unwrap_or_default();
            value.as_str().unwrap_or_default().to_owned()
        }
    }
}
