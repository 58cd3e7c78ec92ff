//! Files that are sound and easily read wrongly.

use crate::world::{Kept, import};
use domain::{RawAttribute, Timestamp};
use import::{Kind, Options, TimeUnit};
use proptest::prelude::*;

fn events(file: &str) -> Kept {
    let mut kept = Kept::default();
    let imported = import(file.as_bytes(), &Options::new(Kind::Events), &mut kept).unwrap();
    assert_eq!(imported.summary.bad, 0, "{}", imported.rejects);
    kept
}

/// The sample sees 20,000 rows; fields that turn up later are still fields.
#[test]
fn fields_that_turn_up_late_are_not_lost() {
    let mut lines = String::new();
    for n in 0..30_000 {
        lines.push_str(&format!(
            "{{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":{n}}}\n"
        ));
    }
    lines.push_str(
        "{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":1,\"stars\":4,\"event_id\":\"e\",\"x\":1}\n",
    );
    let last = &events(&lines).events[30_000].event;
    assert_eq!(last.value, Some(4.0));
    assert_eq!(last.event_id.as_ref().unwrap().as_str(), "e");

    let mut lines = String::new();
    for n in 0..30_000 {
        lines.push_str(&format!("{{\"item_id\":\"i{n}\",\"title\":\"t\"}}\n"));
    }
    lines.push_str("{\"item_id\":\"last\",\"hidden\":true,\"added_at\":1e9,\"colour\":\"red\"}\n");
    lines.push_str("{\"item_id\":\"bad\",\"hidden\":\"perhaps\"}\n");
    let mut kept = Kept::default();
    let imported = import(lines.as_bytes(), &Options::new(Kind::Items), &mut kept).unwrap();
    let last = &kept.items[30_000];
    assert!(last.hidden);
    assert_eq!(last.added_at, Some(Timestamp(1_000_000_000_000)));
    assert_eq!(
        last.attributes.iter().collect::<Vec<_>>(),
        [(&"colour".to_owned(), &RawAttribute::Text("red".into()))]
    );
    assert!(
        imported.rejects.contains("\"field\":\"hidden\""),
        "{}",
        imported.rejects
    );
}

/// A field of which the caller says that it is not there stays away.
#[test]
fn a_field_taken_away_does_not_come_back_late() {
    let mut lines = "{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":1}\n".repeat(30_000);
    lines.push_str("{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":2,\"value\":\"none\"}\n");
    let mut options = Options::new(Kind::Events);
    options.map.push(("value".to_owned(), "-".to_owned()));
    let mut kept = Kept::default();
    assert_eq!(
        import(lines.as_bytes(), &options, &mut kept).unwrap().summary.bad,
        0
    );
    assert_eq!(kept.events[1].event.value, None);
}

/// Two large ids that are one as floating-point numbers stay two.
#[test]
fn large_ids_stay_apart() {
    let lines = "{\"user_id\":18446744073709551615,\"item_id\":9007199254740993,\"timestamp\":1}\n\
                 {\"user_id\":18446744073709551614,\"item_id\":9007199254740992,\"timestamp\":1}\n";
    let kept = events(lines);
    let users: Vec<&str> = kept.events.iter().map(|new| new.event.user_id.as_str()).collect();
    assert_eq!(users, ["18446744073709551615", "18446744073709551614"]);
    assert_eq!(kept.events[0].event.item_id.as_str(), "9007199254740993");
    let vague = "{\"user_id\":1e19,\"item_id\":\"i\",\"timestamp\":1}\n";
    let error = import(
        vague.as_bytes(),
        &Options::new(Kind::Events),
        &mut Kept::default(),
    );
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("user_id: got 1e+19, expected an id as text"),
        "{error}"
    );
}

#[test]
fn moments_in_many_forms() {
    let of = |text: &str| {
        let file = format!("user_id,item_id,timestamp\nu,i,{text}\n");
        events(&file).events[0].event.timestamp.0
    };
    let expected = 964_982_703_000;
    for text in [
        "964982703",
        "964982703.0",
        "9.64982703e8",
        "964982703000",
        "964982703000000",
        "964982703000000000",
        "2000-07-30T18:45:03Z",
        "2000-07-30 18:45:03",
        "2000-07-30 18:45:03 UTC",
        "2000-07-30T20:45:03+02:00",
        "2000-07-30T18:45:03.000000Z",
        " 964982703 ",
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
    assert_eq!(of("2000-07-30"), 964_915_200_000);
    assert_eq!(of("-1"), -1000);
    assert_eq!(of("0"), 0);
    // Microseconds before 1973, in a column of microseconds.
    let file = "user_id,item_id,timestamp\nu,i,964982703000000\nu,i,5000000\n";
    assert_eq!(events(file).events[1].event.timestamp, Timestamp(5000));
}

/// As data frames are written by default: a first column of row numbers without a name.
#[test]
fn a_column_without_name_is_no_reason_to_miss_the_header() {
    let kept = events(",user_id,item_id,timestamp\n0,u,i,1\n1,v,i,2\n");
    assert_eq!(kept.events.len(), 2);
    assert_eq!(kept.events[1].event.user_id.as_str(), "v");
}

#[test]
fn lines_are_counted_whatever_ends_them() {
    for end in ["\n", "\r\n"] {
        let mut lines = vec!["user_id,item_id,timestamp".to_owned(), String::new()];
        for n in 0..300 {
            lines.push(format!("u,i,{n}"));
        }
        lines.push("\"u\nv\",i,1".to_owned());
        lines.push(String::new());
        lines.push("u,i,never".to_owned());
        let mut kept = Kept::default();
        let file = lines.join(end);
        let imported = import(file.as_bytes(), &Options::new(Kind::Events), &mut kept).unwrap();
        let lines: Vec<u64> = imported
            .rejects
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["line"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        assert_eq!(lines, [303, 306], "{end:?}");
    }
}

/// Line ends do not become part of values, and old ones are understood.
#[test]
fn line_ends_are_not_values() {
    let expected = events("user_id,timestamp,item_id\nu,1,i\nu,2,\"j\"\n").events;
    for file in [
        "user_id,timestamp,item_id\r\nu,1,i\r\nu,2,\"j\"\r\n",
        "user_id,timestamp,item_id\r\nu,1,i\r\n\r\nu,2,j",
        "user_id,timestamp,item_id\ru,1,i\ru,2,\"j\"\r",
        "user_id,timestamp,item_id\nu,1,i\r\nu,2,j",
    ] {
        assert_eq!(events(file).events, expected, "{file:?}");
    }
}

/// Wide rows make small batches, and a header of millions of names is refused.
#[test]
fn width_is_bounded() {
    let names: Vec<String> = (0..5000).map(|n| format!("a{n}")).collect();
    let file = format!("item_id,{}\nx{}\n", names.join(","), ",1".repeat(5000));
    let error = import(file.as_bytes(), &Options::new(Kind::Items), &mut Kept::default());
    assert_eq!(
        error.err().unwrap().to_string(),
        "file: got more than 4096 columns, expected at most 4096"
    );
    // Every row has a name of its own.
    let mut lines = String::new();
    for n in 0..4095 {
        lines.push_str(&format!("{{\"item_id\":\"i{n}\",\"a{n}\":{n}}}\n"));
    }
    let mut kept = Kept::default();
    let imported = import(lines.as_bytes(), &Options::new(Kind::Items), &mut kept).unwrap();
    assert_eq!(imported.summary.accepted, 4095);
    assert!(kept.items.iter().all(|item| item.attributes.len() == 1));
    lines.push_str("{\"item_id\":\"one more\",\"b\":1}\n{\"item_id\":\"two more\",\"c\":1}\n");
    let imported = import(lines.as_bytes(), &Options::new(Kind::Items), &mut Kept::default()).unwrap();
    assert_eq!((imported.summary.accepted, imported.summary.bad), (4095, 2));
}

#[test]
fn dates_of_eight_digits_are_no_seconds() {
    let mut kept = Kept::default();
    let file = "user_id,item_id,date\nu,i,20180412\nu,i,20180413\n";
    let imported = import(file.as_bytes(), &Options::new(Kind::Events), &mut kept).unwrap();
    assert_eq!(imported.plan.time_unit, Some(TimeUnit::EightDigits));
    assert_eq!(kept.events[0].event.timestamp, Timestamp(1_523_491_200_000));
    let shown = imported.plan.to_string();
    assert!(shown.contains("20180412\", is 2018-04-12T00:00:00Z"), "{shown}");
    // The 13th month: then they are numbers.
    let kept = events("user_id,item_id,date\nu,i,20181312\nu,i,20180413\n");
    assert_eq!(kept.events[0].event.timestamp, Timestamp(20_181_312_000));
}

/// Titles that begin with a quote, in a table that knows no quotes.
#[test]
fn quotes_between_tabs_may_be_text() {
    let mut file = "item_id\ttitle\tyear\n".to_owned();
    for n in 0..40 {
        file.push_str(&format!("{n}\t\"Title {n}\t1990\n"));
    }
    let mut kept = Kept::default();
    let imported = import(file.as_bytes(), &Options::new(Kind::Items), &mut kept).unwrap();
    assert_eq!(kept.items.len(), 40);
    assert_eq!(
        kept.items[7].attributes["title"],
        RawAttribute::Text("\"Title 7".into())
    );
    assert!(
        imported.plan.format.contains("quotes taken as they are"),
        "{}",
        imported.plan.format
    );
    let quoted = file.replace("\t1990", "\"\t1990");
    let mut kept = Kept::default();
    import(quoted.as_bytes(), &Options::new(Kind::Items), &mut kept).unwrap();
    assert_eq!(
        kept.items[7].attributes["title"],
        RawAttribute::Text("Title 7".into())
    );
}

/// What a rejects file must show of rows that have no columns.
#[test]
fn rejects_have_the_row_as_it_stands() {
    let good = "u,i,1\n".repeat(50);
    let file = format!("user_id,item_id,timestamp\n{good}u,i\nu,\"i,1\nu,i,2\nu,i\",3,4\nu,i,soon\n");
    let options = Options {
        max_bad_share: 1.0,
        ..Options::new(Kind::Events)
    };
    let imported = import(file.as_bytes(), &options, &mut Kept::default()).unwrap();
    let rejects: Vec<serde_json::Value> = imported
        .rejects
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rejects[0]["row"], "u,i");
    assert_eq!(rejects[1]["got"], "4 fields on 3 lines");
    assert_eq!(rejects[1]["row"], "u,i,1\nu,i,2\nu,i,3,4");
    assert_eq!(rejects[2]["row"]["timestamp"], "soon");
    let lines = "{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":1}\n{\"user_id\":\n";
    let imported = import(lines.as_bytes(), &options, &mut Kept::default()).unwrap();
    let rejected: serde_json::Value = serde_json::from_str(imported.rejects.trim()).unwrap();
    assert_eq!(rejected["row"], "{\"user_id\":");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: proptest::test_runner::RngSeed::Fixed(14), ..ProptestConfig::default() })]

    /// The delimiter is found whatever the words, as long as they do not hold it.
    #[test]
    fn the_delimiter_is_found(
        rows in prop::collection::vec(("[a-z .:_-]{1,9}", "[A-Z é]{0,9}", 0i64..2_000_000_000), 1..40),
        extra in "[;,|]?",
        delimiter in prop::sample::select(vec![',', '\t', ';', '|']),
        end in prop::sample::select(vec!["\n", "\r\n"]),
    ) {
        // One of the other delimiters within a field of some rows.
        let extra = if extra == delimiter.to_string() { String::new() } else { extra };
        let mut file = ["item_id", "title", "year"].join(&delimiter.to_string()) + end;
        for (n, (id, title, year)) in rows.iter().enumerate() {
            let title = if n % 2 == 0 { format!("{title}{extra}x") } else { title.clone() };
            let fields = [format!("{n}{id}"), title, year.to_string()];
            file.push_str(&(fields.join(&delimiter.to_string()) + end));
        }
        let mut kept = Kept::default();
        let imported = import(file.as_bytes(), &Options::new(Kind::Items), &mut kept).unwrap();
        prop_assert_eq!(imported.summary.bad, 0);
        prop_assert_eq!(imported.plan.columns.len(), 3, "{}", imported.plan.format);
        prop_assert_eq!(kept.items.len(), rows.len());
    }
}
