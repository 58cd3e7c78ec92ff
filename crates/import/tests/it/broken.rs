//! Files that cannot be, each with the error it must give.

use crate::world::{Kept, import_with};
use import::{Format, Kind, Options, TextOptions};

struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    kind: Kind,
    map: &'static [(&'static str, &'static str)],
    text: TextOptions,
    /// The whole message.
    error: &'static str,
}

fn case(what: &'static str, bytes: impl Into<Vec<u8>>, error: &'static str) -> Case {
    Case {
        what,
        bytes: bytes.into(),
        kind: Kind::Events,
        map: &[],
        text: TextOptions::default(),
        error,
    }
}

/// A file with one row, which is bad.
fn row(what: &'static str, row: &str, error: &'static str) -> Case {
    case(
        what,
        format!("user_id,item_id,timestamp,value,event_type\n{row}\n"),
        error,
    )
}

fn line(what: &'static str, line: &str, error: &'static str) -> Case {
    case(
        what,
        format!("{{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":1}}\n{line}\n"),
        error,
    )
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

const NEVER: &str = "more than --max-bad-share 0.01 allows; nothing was stored. The first:";

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    let good = b"user_id,item_id,timestamp\nu,i,1000000000\n".repeat(200);
    let mut cut_gz = gz(&good);
    cut_gz.truncate(cut_gz.len() / 2);
    let mut bad_gz = gz(&good);
    let end = bad_gz.len() - 6;
    bad_gz[end] ^= 0xff;
    let mut cut_zst = zstd::encode_all(&good[..], 1).unwrap();
    cut_zst.truncate(cut_zst.len() - 3);
    let long = "x".repeat(300);
    vec![
        case("nothing", "", "file: got 0 rows, expected at least one: the file is empty"),
        case("white space", " \n\n  \n", "file: got 0 rows, expected at least one: the file is empty"),
        case("a header alone", "user_id,item_id,timestamp\n", "file: got 0 rows, expected at least one: there is a header and nothing below it"),
        case("an empty archive", gz(b""), "file: got 0 rows, expected at least one: the file is empty"),
        case("no user", "who,item_id,timestamp\nu,i,1\n", "file: no column for user_id; there are who, item_id, timestamp. Say which it is with --map user_id=COLUMN"),
        case("no item", "user_id,what,timestamp\nu,i,1\n", "file: no column for item_id; there are user_id, what, timestamp. Say which it is with --map item_id=COLUMN"),
        case("no moment", "user_id,item_id\nu,i\n", "file: no column for timestamp; there are user_id, item_id. Say which it is with --map timestamp=COLUMN"),
        case("no header", "1,2,3\n4,5,6\n", "file: no column for user_id; there are column1, column2, column3. Say which it is with --map user_id=COLUMN"),
        case("another delimiter", "user_id:item_id:timestamp\nu:i:1\n", "file: no column for user_id; there are column1. Say which it is with --map user_id=COLUMN"),
        case("two columns of one name", "user_id,item_id,item_id,timestamp\nu,i,i,1\n", "file: two columns are named \"item_id\"; expected a name for each"),
        Case { map: &[("usr", "user_id")], ..row("a field that is not there", "u,i,1,,", "--map: got the field \"usr\", expected one of event_id, user_id, item_id, event_type, timestamp, value, session_id, decision_id, context") },
        Case { map: &[("user_id", "nobody")], ..row("a column that is not there", "u,i,1,,", "--map: got the column \"nobody\", expected one of user_id, item_id, timestamp, value, event_type") },
        row("a row too short", "u,i", "file: 1 of 1 rows are bad, {NEVER} line 2, row: got 2 fields, expected 5 fields"),
        row("a row too long", "u,i,1,2,click,more", "file: 1 of 1 rows are bad, {NEVER} line 2, row: got 6 fields, expected 5 fields"),
        row("no user in the row", ",i,1,,click", "file: 1 of 1 rows are bad, {NEVER} line 2, user_id: got nothing, expected a value"),
        row("no item in the row", "u,,1,,click", "file: 1 of 1 rows are bad, {NEVER} line 2, item_id: got nothing, expected a value"),
        row("no moment in the row", "u,i,,,click", "file: 1 of 1 rows are bad, {NEVER} line 2, timestamp: got nothing, expected a value"),
        row("a word for a moment", "u,i,soon,,click", "file: 1 of 1 rows are bad, {NEVER} line 2, timestamp: got \"soon\", expected Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31"),
        row("a day that is not", "u,i,2023-02-30,,click", "file: 1 of 1 rows are bad, {NEVER} line 2, timestamp: got \"2023-02-30\", expected Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31"),
        row("an hour that is not", "u,i,2023-02-03T25:00:00Z,,click", "file: 1 of 1 rows are bad, {NEVER} line 2, timestamp: got \"2023-02-03T25:00:00Z\", expected Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31"),
        row("a moment without end", "u,i,1e300,,click", "file: 1 of 1 rows are bad, {NEVER} line 2, timestamp: got \"1e300\", expected Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31"),
        row("a moment that is no number", "u,i,NaN,,click", "file: 1 of 1 rows are bad, {NEVER} line 2, timestamp: got \"NaN\", expected Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31"),
        row("a word for a value", "u,i,1,five,rating", "file: 1 of 1 rows are bad, {NEVER} line 2, value: got \"five\", expected a finite number"),
        row("an infinite value", "u,i,1,inf,rating", "file: 1 of 1 rows are bad, {NEVER} line 2, value: got \"inf\", expected a finite number"),
        row("a decimal comma", "u,i,1,\"4,5\",rating", "file: 1 of 1 rows are bad, {NEVER} line 2, value: got \"4,5\", expected a finite number"),
        row("an id too long", &format!("{long},i,1,,click"), "file: 1 of 1 rows are bad, {NEVER} line 2, user_id: got \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..., expected an id of 1 to 256 bytes without control characters"),
        row("an id with a line end", "\"a\nb\",i,1,,click", "file: 1 of 1 rows are bad, {NEVER} line 2, user_id: got \"a\\nb\", expected an id of 1 to 256 bytes without control characters"),
        row("a type too long", &format!("u,i,1,,{long}"), "file: 1 of 1 rows are bad, {NEVER} line 2, event_type: got \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..., expected an id of 1 to 256 bytes without control characters"),
        case("Latin-1", b"user_id,item_id,timestamp\nJos\xe9,i,1\n".as_slice(), "file: 1 of 1 rows are bad, {NEVER} line 2, user_id: got Jos\u{fffd}, expected UTF-8 text"),
        case("UTF-16", b"\xff\xfeu\0s\0e\0r\0".as_slice(), "file: this is UTF-16: save it as UTF-8 first"),
        case("zero bytes", b"user_id,item_id\0\nu,i\n".as_slice(), "file: this is no text: it has zero bytes"),
        case("a spreadsheet", b"PK\x03\x04\x14\x00\x06\x00".as_slice(), "file: this is a ZIP archive (or a spreadsheet): unpack it or save it as CSV first"),
        case("bzip2", b"BZh91AY&SY\x01\x02".as_slice(), "file: this is bzip2: unpack it first"),
        case("packed twice", gz(&gz(&good)), "file: this is packed twice: unpack it once first"),
        case("packed Parquet", gz(b"PAR1rest"), "file: this is packed Parquet: unpack it first"),
        case("a cut archive", cut_gz, "file: incomplete deflate stream"),
        case("a damaged archive", bad_gz, "file: corrupt gzip stream does not have a matching checksum"),
        case("a cut Zstandard file", cut_zst, "file: incomplete frame"),
        case("a JSON array", "[{\"user_id\":\"u\"}]", "file: got a JSON array, expected one JSON object per line"),
        line("a cut object", "{\"user_id\":\"u\"", "file: 1 of 2 rows are bad, {NEVER} line 2, row: got {\"user_id\":\"u\", expected one whole JSON object per line"),
        line("a number", "17", "file: 1 of 2 rows are bad, {NEVER} line 2, row: got 17, expected a JSON object"),
        line("single quotes", "{'user_id':'u'}", "file: 1 of 2 rows are bad, {NEVER} line 2, row: got {'user_id':'u'}, expected one whole JSON object per line"),
        line("an id that is a list", "{\"user_id\":[\"u\"],\"item_id\":\"i\",\"timestamp\":1}", "file: 1 of 2 rows are bad, {NEVER} line 2, user_id: got [\"u\"], expected an id of 1 to 256 bytes without control characters"),
        line("a moment that is an object", "{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":{\"s\":1}}", "file: 1 of 2 rows are bad, {NEVER} line 2, timestamp: got {\"s\":1.0}, expected Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31"),
        line("a list of different things", "{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":1,\"x\":[1,\"a\"]}", "file: 1 of 2 rows are bad, {NEVER} line 2, x: got [1,\"a\"], expected a boolean, a number, text, {lat, lon}, or a list of numbers or of texts"),
        line("nested objects", "{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":1,\"x\":{\"a\":{\"b\":1}}}", "file: 1 of 2 rows are bad, {NEVER} line 2, x: got {\"a\":{\"b\":1}}, expected a boolean, a number, text, {lat, lon}, or a list of numbers or of texts"),
        Case { text: TextOptions { format: Some(Format::JsonLines), ..TextOptions::default() }, ..row("CSV taken for JSON lines", "u,i,1,,", "file: 2 of 2 rows are bad, {NEVER} line 1, row: got user_id,item_id,timestamp,value,event_type, expected one whole JSON object per line") },
        Case { kind: Kind::Items, ..case("an item without id", "item_id,title\n,Heat\n", "file: 1 of 1 rows are bad, {NEVER} line 2, item_id: got nothing, expected a value") },
        Case { kind: Kind::Items, ..case("hidden that is neither", "item_id,hidden\na,maybe\n", "file: 1 of 1 rows are bad, {NEVER} line 2, hidden: got \"maybe\", expected true or false") },
        Case { kind: Kind::Items, ..case("attributes that are none", "{\"item_id\":\"a\",\"attributes\":3}\n", "file: 1 of 1 rows are bad, {NEVER} line 1, attributes: got 3, expected a JSON object of attributes") },
        Case { kind: Kind::Items, ..case("a place that is not", "{\"item_id\":\"a\",\"at\":{\"lat\":91,\"lon\":0}}\n", "file: 1 of 1 rows are bad, {NEVER} line 1, at: got {\"lat\":91,\"lon\":0}, expected a boolean, a number, text, {lat, lon}, or a list of numbers or of texts") },
        Case { kind: Kind::Users, ..case("a user without id", "{\"age\":3}\n", "file: no column for user_id; there are age. Say which it is with --map user_id=COLUMN") },
    ]
}

#[test]
fn every_broken_file_gets_its_error_and_nothing_is_stored() {
    let cases = cases();
    assert!(cases.len() >= 40, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let mut options = Options::new(case.kind);
        options.map = case
            .map
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        let mut kept = Kept::default();
        let got = match import_with(&case.bytes, &options, &case.text, &mut kept) {
            Ok(imported) => format!("no error: {:?}", imported.summary),
            Err(error) => error.to_string(),
        };
        let expected = case.error.replace("{NEVER}", NEVER);
        if got != expected {
            wrong.push(format!(
                "{}\n   got      {got}\n   expected {expected}",
                case.what
            ));
        }
        assert!(
            kept.events.is_empty() && kept.items.is_empty() && kept.users.is_empty(),
            "{}",
            case.what
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_quote_that_is_never_closed_does_not_take_in_the_whole_file() {
    let mut bytes = b"user_id,item_id,timestamp\nu,\"i,1\n".to_vec();
    bytes.extend(b"u,i,1\n".repeat(4_000_000));
    let mut kept = Kept::default();
    let text = TextOptions::default();
    let error = import_with(&bytes, &Options::new(Kind::Events), &text, &mut kept)
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("is there a quote that is never closed?"),
        "{error}"
    );
    // A line without end is one bad row.
    let mut lines = b"{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":1}\n".repeat(200);
    lines.extend(vec![b' '; 20 << 20]);
    lines.extend(b"\n{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":2}\n");
    let imported = import_with(&lines, &Options::new(Kind::Events), &text, &mut kept).unwrap();
    assert_eq!((imported.summary.accepted, imported.summary.bad), (2, 1));
}
