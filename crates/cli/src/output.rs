//! Standard output: tables for people, JSON for machines.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// True once whoever read standard output went away, as `head` does.
pub(crate) fn closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Writes to standard output; all that this program prints goes through here, since `println!` panics when nobody reads. A reader
/// that went away is no error: what is under way is done, and nothing more is written.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    if closed() {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {
            CLOSED.store(true, Ordering::Relaxed);
            Ok(())
        }
        other => Ok(other?),
    }
}

/// Writes a line to standard error, as far as somebody reads it.
pub(crate) fn told(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
}

/// Writes a line.
pub(crate) fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    print(&format!("{}\n", text.as_ref()))
}

/// Writes a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Writes a table; without a header line if all of the header is empty.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if header.iter().any(|name| !name.is_empty()) {
        table.set_header(header.iter().copied());
    }
    for row in rows {
        table.add_row(row);
    }
    line(table.to_string())
}

/// Milliseconds since 1970 as a moment that options for moments take.
pub(crate) fn moment(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| milliseconds.to_string(), |moment| moment.to_string())
}

/// A count with thousands set apart.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        let check = |number: u64, expected: &str| assert_eq!(super::count(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(12_345_678, "12,345,678");
    }
}
