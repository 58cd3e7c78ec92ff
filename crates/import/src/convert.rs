//! Rows into events, items and users.

use crate::moments::{moment, written};
use crate::{BadRow, Batch, Cell, Field, Plan};
use domain::{
    Attributes, DecisionId, Event, EventId, EventType, IdError, Item, ItemId, NewEvent, RawAttribute,
    SessionId, Timestamp, User, UserId,
};
use std::collections::HashMap;

/// Ids of this many items and types are kept, so that repeated ones are made once.
const KEPT_IDS: usize = 100_000;

/// Turns rows into what they are by a plan.
pub(crate) struct Converter<'a> {
    plan: &'a Plan,
    items: HashMap<Box<str>, ItemId>,
    types: HashMap<Box<str>, EventType>,
    event_type: Option<EventType>,
    /// What columns become that the plan does not know.
    late: Vec<Field>,
}

fn id<T>(name: &str, cell: &Cell, make: impl Fn(&str) -> Result<T, IdError>) -> Result<T, BadRow> {
    const EXPECTED: &str = "an id of 1 to 256 bytes without control characters";
    // Beyond this, a number with a point or an exponent stands for several whole ones.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if matches!(cell, Cell::Number(number) if number.abs() >= EXACT_MAX) {
        return Err(BadRow::new(
            name,
            cell.shown(),
            "an id as text: this number is not exact",
        ));
    }
    let text = cell
        .as_text()
        .ok_or_else(|| BadRow::new(name, cell.shown(), EXPECTED))?;
    make(&text).map_err(|_| BadRow::new(name, cell.shown(), EXPECTED))
}

/// The id of a cell, from `kept` if it was made before.
fn kept_id<T: Clone>(
    kept: &mut HashMap<Box<str>, T>,
    name: &str,
    cell: &Cell,
    make: impl Fn(&str) -> Result<T, IdError>,
) -> Result<T, BadRow> {
    if let Cell::Text(text) = cell
        && let Some(known) = kept.get(text)
    {
        return Ok(known.clone());
    }
    let made = id(name, cell, make)?;
    if let Cell::Text(text) = cell
        && kept.len() < KEPT_IDS
    {
        kept.insert(text.clone(), made.clone());
    }
    Ok(made)
}

fn flag(name: &str, cell: &Cell) -> Result<bool, BadRow> {
    match cell {
        Cell::Flag(flag) => Ok(*flag),
        Cell::Integer(0) => Ok(false),
        Cell::Integer(1) => Ok(true),
        Cell::Text(text) if text.eq_ignore_ascii_case("true") || &**text == "1" => Ok(true),
        Cell::Text(text) if text.eq_ignore_ascii_case("false") || &**text == "0" => Ok(false),
        _ => Err(BadRow::new(name, cell.shown(), "true or false")),
    }
}

fn object(name: &str, cell: &Cell) -> Result<Attributes, BadRow> {
    match cell {
        Cell::Object(values) => Ok((**values).clone()),
        _ => Err(BadRow::new(name, cell.shown(), "a JSON object of attributes")),
    }
}

impl<'a> Converter<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Converter<'a> {
        Converter {
            plan,
            items: HashMap::new(),
            types: HashMap::new(),
            event_type: plan
                .event_type
                .as_deref()
                .and_then(|text| EventType::new(text).ok()),
            late: Vec::new(),
        }
    }

    /// Takes note of columns that have turned up.
    pub(crate) fn meet(&mut self, columns: &[String]) {
        let known = self.plan.columns.len() + self.late.len();
        for name in columns.iter().skip(known) {
            let field = self.plan.late(name, &self.late);
            self.late.push(field);
        }
    }

    /// The event of a row. `columns` names cells beyond those of the plan.
    pub(crate) fn event(&mut self, cells: &[Cell], columns: &[String]) -> Result<NewEvent, BadRow> {
        let plan = self.plan;
        let (mut user_id, mut item_id) = (None, None);
        let mut event_type = None;
        let mut timestamp = None;
        let (mut event_id, mut session_id, mut decision_id) = (None, None, None);
        let mut value = None;
        let mut context = Attributes::new();
        for (place, cell) in cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::Null) {
            let (name, field) = self.column(place, columns);
            match field {
                Field::UserId => user_id = Some(id(name, cell, |text| UserId::new(text))?),
                Field::ItemId => {
                    item_id = Some(kept_id(&mut self.items, name, cell, |text| ItemId::new(text))?);
                }
                Field::EventType => {
                    event_type = Some(kept_id(&mut self.types, name, cell, |text| EventType::new(text))?);
                }
                Field::Timestamp => timestamp = Some(moment(name, cell, plan.time_unit)?),
                Field::EventId => event_id = Some(id(name, cell, |text| EventId::new(text))?),
                Field::SessionId => session_id = Some(id(name, cell, |text| SessionId::new(text))?),
                Field::DecisionId => decision_id = Some(id(name, cell, |text| DecisionId::new(text))?),
                Field::Value => {
                    let number = cell.as_number();
                    value = Some(number.ok_or_else(|| BadRow::new(name, cell.shown(), "a finite number"))?);
                }
                Field::Context => context = object(name, cell)?,
                _ => {}
            }
        }
        let missing = |field: Field, ours: &str| {
            let column = plan.columns.iter().find(|column| column.field == field);
            BadRow::new(column.map_or(ours, |column| &column.name), "nothing", "a value")
        };
        let untimed = plan.untimed_at.map(Timestamp);
        let event = Event {
            event_id,
            user_id: user_id.ok_or_else(|| missing(Field::UserId, "user_id"))?,
            item_id: item_id.ok_or_else(|| missing(Field::ItemId, "item_id"))?,
            event_type: event_type
                .or_else(|| self.event_type.clone())
                .ok_or_else(|| missing(Field::EventType, "event_type"))?,
            timestamp: timestamp
                .or(untimed)
                .ok_or_else(|| missing(Field::Timestamp, "timestamp"))?,
            value,
            session_id,
            decision_id,
            context,
        };
        Ok(signals::new_event(event, true))
    }

    /// The item of a row. `columns` names cells beyond those of the plan.
    pub(crate) fn item(&mut self, cells: &[Cell], columns: &[String]) -> Result<Item, BadRow> {
        let mut item_id = None;
        let (mut hidden, mut added_at) = (false, None);
        let mut attributes = Attributes::new();
        for (place, cell) in cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::Null) {
            let (name, field) = self.column(place, columns);
            match field {
                Field::ItemId => item_id = Some(id(name, cell, |text| ItemId::new(text))?),
                Field::Hidden => hidden = flag(name, cell)?,
                Field::AddedAt => added_at = Some(moment(name, cell, self.plan.time_unit)?),
                Field::Attributes => attributes.append(&mut object(name, cell)?),
                _ => self.attribute(name, field, cell, &mut attributes)?,
            }
        }
        Ok(Item {
            item_id: item_id.ok_or_else(|| BadRow::new("item_id", "nothing", "a value"))?,
            attributes,
            hidden,
            added_at,
        })
    }

    /// The user of a row.
    pub(crate) fn user(&mut self, cells: &[Cell], columns: &[String]) -> Result<User, BadRow> {
        let mut user_id = None;
        let mut attributes = Attributes::new();
        for (place, cell) in cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::Null) {
            let (name, field) = self.column(place, columns);
            match field {
                Field::UserId => user_id = Some(id(name, cell, |text| UserId::new(text))?),
                Field::Attributes => attributes.append(&mut object(name, cell)?),
                _ => self.attribute(name, field, cell, &mut attributes)?,
            }
        }
        Ok(User {
            user_id: user_id.ok_or_else(|| BadRow::new("user_id", "nothing", "a value"))?,
            attributes,
        })
    }

    fn column<'n>(&self, place: usize, columns: &'n [String]) -> (&'n str, Field)
    where
        'a: 'n,
    {
        match self.plan.columns.get(place) {
            Some(column) => (&column.name, column.field),
            None => {
                let late = self.late.get(place - self.plan.columns.len());
                let name = columns.get(place).map_or("", String::as_str);
                (name, late.copied().unwrap_or(Field::Ignored))
            }
        }
    }

    fn attribute(&self, name: &str, field: Field, cell: &Cell, to: &mut Attributes) -> Result<(), BadRow> {
        let value = match (field, cell) {
            (Field::Ignored, _) | (_, Cell::Null) => return Ok(()),
            (_, Cell::Flag(flag)) => RawAttribute::Flag(*flag),
            (_, Cell::Integer(number)) => RawAttribute::Number(*number as f64),
            (_, Cell::Number(number)) => RawAttribute::Number(*number),
            (_, Cell::Moment(moment)) => RawAttribute::Text(written(*moment)),
            (_, Cell::Attribute(value)) => (**value).clone(),
            (_, Cell::Object(_)) => {
                let expected = "a boolean, a number, text, {lat, lon}, or a list of numbers or of texts";
                return Err(BadRow::new(name, cell.shown(), expected));
            }
            (Field::Number, Cell::Text(text)) => match cell.as_number() {
                Some(number) => RawAttribute::Number(number),
                None => RawAttribute::Text(text.to_string()),
            },
            (Field::Flag, Cell::Text(text)) => match flag(name, cell) {
                Ok(flag) => RawAttribute::Flag(flag),
                Err(_) => RawAttribute::Text(text.to_string()),
            },
            (Field::List, Cell::Text(text)) => {
                let labels = text
                    .split(self.plan.list_separator)
                    .map(str::trim)
                    .filter(|label| !label.is_empty());
                RawAttribute::Texts(labels.map(str::to_owned).collect())
            }
            (_, Cell::Text(text)) => RawAttribute::Text(text.to_string()),
        };
        to.insert(name.to_owned(), value);
        Ok(())
    }

    /// The row as a rejects file shows it.
    pub(crate) fn shown(batch: &Batch, row: usize, columns: &[String]) -> serde_json::Value {
        let cells = batch
            .cells_of(row)
            .iter()
            .zip(columns)
            .filter(|(cell, _)| **cell != Cell::Null);
        serde_json::Value::Object(cells.map(|(cell, name)| (name.clone(), cell.to_json())).collect())
    }
}
