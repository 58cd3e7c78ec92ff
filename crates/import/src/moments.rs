//! Moments as columns have them.

use crate::{BadRow, Cell};
use domain::Timestamp;
use serde::Serialize;

/// How a column writes moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Microseconds since 1970.
    Microseconds,
    /// Nanoseconds since 1970.
    Nanoseconds,
    /// Dates of eight digits, such as 20240531.
    EightDigits,
    /// RFC 3339, a date, or the format's own type.
    Written,
}

/// The day of a date of eight digits; `None` if there is no such day.
fn eight_digits(number: f64) -> Option<Timestamp> {
    if number.fract() != 0.0 || !(19_000_101.0..=21_001_231.0).contains(&number) {
        return None;
    }
    let number = number as u32;
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    signals::parse_timestamp(&format!("{year:04}-{month:02}-{day:02}")).ok()
}

/// How these cells write moments, by the largest number. Numbers that could all be dates of eight digits
/// are: as seconds they would lie within three weeks of 1970.
pub(crate) fn unit(cells: &[&Cell]) -> TimeUnit {
    let numbers: Vec<f64> = cells
        .iter()
        .filter(|cell| !matches!(cell, Cell::Moment(_)))
        .filter_map(|cell| cell.as_number())
        .collect();
    let largest = numbers.iter().copied().map(f64::abs).fold(f64::NAN, f64::max);
    match largest {
        n if n.is_nan() => TimeUnit::Written,
        n if n >= 1e17 => TimeUnit::Nanoseconds,
        n if n >= 1e14 => TimeUnit::Microseconds,
        n if n >= 1e11 => TimeUnit::Milliseconds,
        _ if numbers.iter().all(|n| eight_digits(*n).is_some()) => TimeUnit::EightDigits,
        _ => TimeUnit::Seconds,
    }
}

/// The moment of a cell.
pub(crate) fn moment(name: &str, cell: &Cell, unit: Option<TimeUnit>) -> Result<Timestamp, BadRow> {
    const EXPECTED: &str = "Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31";
    let bad = || BadRow::new(name, cell.shown(), EXPECTED);
    let text = match cell {
        Cell::Moment(moment) => return Ok(*moment),
        Cell::Integer(_) | Cell::Number(_) => None,
        Cell::Text(text) => Some(text.trim()),
        _ => return Err(bad()),
    };
    match (cell.as_number(), text) {
        (Some(number), _) if unit == Some(TimeUnit::EightDigits) => {
            let day = || BadRow::new(name, cell.shown(), "a date of eight digits such as 20240531");
            eight_digits(number).ok_or_else(day)
        }
        (Some(number), _) if matches!(unit, Some(TimeUnit::Microseconds | TimeUnit::Nanoseconds)) => {
            let per_ms = if unit == Some(TimeUnit::Microseconds) {
                1e3
            } else {
                1e6
            };
            let ms = number / per_ms;
            // Below this, what is read is seconds.
            let number = if ms.abs() < 1e11 { ms / 1e3 } else { ms };
            signals::timestamp_from_number(number).map_err(|_| bad())
        }
        // Seconds and milliseconds are told apart one by one, as everywhere.
        (Some(number), None) => signals::timestamp_from_number(number).map_err(|_| bad()),
        (_, Some(text)) => {
            let text = text.strip_suffix(" UTC").unwrap_or(text);
            signals::parse_timestamp(text).map_err(|_| bad())
        }
        (None, None) => Err(bad()),
    }
}

/// A moment as people read it, RFC 3339.
pub(crate) fn written(moment: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(moment.0).map_or_else(|_| moment.0.to_string(), |t| t.to_string())
}
