//! Finding out what delimits the fields and whether the first row names the columns.

use crate::fields::names_something;

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// Rows looked at.
const ROWS: usize = 200;

/// The first rows of a file that begins with `head`; the last one is left out unless it is whole.
pub(crate) fn rows(head: &[u8], whole: bool, delimiter: u8, quoting: bool) -> Vec<Vec<String>> {
    let end = if whole {
        head.len()
    } else {
        head.iter()
            .rposition(|b| *b == b'\n')
            .map_or(head.len(), |at| at + 1)
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(quoting)
        .has_headers(false)
        .flexible(true)
        .from_reader(&head[..end]);
    let rows = reader.byte_records().filter_map(Result::ok).take(ROWS);
    let texts = |record: csv::ByteRecord| {
        record
            .iter()
            .map(|f| String::from_utf8_lossy(f).into_owned())
            .collect()
    };
    rows.map(texts).collect()
}

/// The delimiter that cuts the most rows into the same number of fields, at least two; of equals the
/// one with more fields, then the first of comma, tab, semicolon, bar.
pub(crate) fn delimiter(head: &[u8], whole: bool) -> u8 {
    let mut best = (0usize, 0usize, b',');
    for delimiter in DELIMITERS {
        let (alike, width) = alike(&rows(head, whole, delimiter, true));
        if width < 2 {
            continue;
        }
        if (alike, width) > (best.0, best.1) {
            best = (alike, width, delimiter);
        }
    }
    best.2
}

/// How many rows are as wide as the first, and its width.
fn alike(rows: &[Vec<String>]) -> (usize, usize) {
    let width = rows.first().map_or(0, Vec::len);
    (rows.iter().filter(|row| row.len() == width).count(), width)
}

/// False if text between tabs comes out more even when quotes are taken as they are: tables are often
/// written so, and a title that begins with a quote would take in the rows below it.
pub(crate) fn quotes_delimit(head: &[u8], whole: bool) -> bool {
    let of = |quoting: bool| alike(&rows(head, whole, b'\t', quoting)).0;
    of(true) >= of(false)
}

fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

/// True if the first row looks like names: none of its fields is a number, and one of them is a
/// name that is known; or none is empty either, and one stands over a column of numbers.
pub(crate) fn has_header(rows: &[Vec<String>]) -> bool {
    let Some((first, rest)) = rows.split_first() else {
        return false;
    };
    if first.iter().any(|name| is_number(name)) {
        return false;
    }
    if first.iter().any(|name| names_something(name)) {
        return true;
    }
    if first.iter().any(|name| name.trim().is_empty()) {
        return false;
    }
    let over_numbers = |place: usize| {
        let mut below = rest
            .iter()
            .filter_map(|row| row.get(place))
            .filter(|text| !text.is_empty())
            .peekable();
        below.peek().is_some() && below.all(|text| is_number(text))
    };
    (0..first.len()).any(over_numbers)
}
