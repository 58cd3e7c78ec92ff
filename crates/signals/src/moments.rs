//! Moments as people and machines write them.

use domain::Timestamp;

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "timestamp: got {got:?}, expected Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31"
)]
pub struct MomentError {
    /// What was there.
    pub got: String,
}

/// Years 0001 to 9999, as milliseconds.
const RANGE_MS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Reads a number as Unix seconds (fractions allowed) or, from 10¹¹ on, milliseconds.
///
/// # Errors
/// [`MomentError`] if it is not finite or lies outside the years 1 to 9999.
pub fn timestamp_from_number(number: f64) -> Result<Timestamp, MomentError> {
    let ms = if number.abs() >= 1e11 {
        number.round()
    } else {
        (number * 1000.0).round()
    };
    if ms.is_finite() && RANGE_MS.contains(&(ms as i64)) {
        Ok(Timestamp(ms as i64))
    } else {
        Err(MomentError {
            got: number.to_string(),
        })
    }
}

/// Reads Unix seconds, Unix milliseconds, RFC 3339 (a missing zone means UTC, a space may stand
/// for the `T`), or a plain date (midnight UTC).
///
/// # Errors
/// [`MomentError`] if it is none of these.
pub fn parse_timestamp(text: &str) -> Result<Timestamp, MomentError> {
    let text = text.trim();
    if let Ok(whole) = text.parse::<i64>() {
        return timestamp_from_number(whole as f64);
    }
    if text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'))
        && let Ok(number) = text.parse::<f64>()
    {
        return timestamp_from_number(number);
    }
    let fail = || MomentError {
        got: text.chars().take(64).collect(),
    };
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(moment.as_millisecond()));
    }
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        let moment = jiff::tz::TimeZone::UTC.to_timestamp(civil).map_err(|_| fail())?;
        return Ok(Timestamp(moment.as_millisecond()));
    }
    Err(fail())
}
