//! Parquet out and in again, from other hands, and damaged.

use domain::{Attributes, Event, EventType, Item, ItemId, NewEvent, RawAttribute, Timestamp, User, UserId};
use import::{Counts, ImportError, Kind, Options, Sink, Summary, plan, run};
use import_parquet::{ShownRow, open, write_events, write_shown};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Default)]
struct Kept {
    events: Vec<NewEvent>,
    items: Vec<Item>,
}

impl Sink for Kept {
    fn events(&mut self, events: Vec<NewEvent>) -> Result<Counts, String> {
        let accepted = events.len() as u64;
        self.events.extend(events);
        Ok(Counts {
            accepted,
            duplicate: 0,
        })
    }

    fn items(&mut self, items: Vec<Item>) -> Result<Counts, String> {
        let accepted = items.len() as u64;
        self.items.extend(items);
        Ok(Counts {
            accepted,
            duplicate: 0,
        })
    }

    fn users(&mut self, _: Vec<User>) -> Result<Counts, String> {
        Err("there are no users here".to_owned())
    }
}

fn import(path: &Path, kind: Kind, kept: &mut Kept) -> Result<Summary, ImportError> {
    let mut source = open(path)?;
    let (plan, first) = plan(source.as_mut(), "file", &Options::new(kind))?;
    run(source, &plan, first, kept, None, &mut |_| {})
}

fn event(n: u64) -> Event {
    Event {
        event_id: None,
        user_id: UserId::new(format!("u{}", n % 97)).unwrap(),
        item_id: ItemId::new(format!("i{}", n % 31)).unwrap(),
        event_type: EventType::new(["click", "purchase"][(n % 2) as usize]).unwrap(),
        timestamp: Timestamp(1_700_000_000_000 + n as i64),
        value: n.is_multiple_of(3).then_some(n as f64 / 2.0),
        session_id: None,
        decision_id: None,
        context: Attributes::new(),
    }
}

#[test]
fn events_come_back_as_they_went() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("events.parquet");
    let count = 300_000;
    assert_eq!(write_events(&path, (0..count).map(event)).unwrap(), count);
    let mut kept = Kept::default();
    let summary = import(&path, Kind::Events, &mut kept).unwrap();
    assert_eq!((summary.rows, summary.accepted, summary.bad), (count, count, 0));
    for (n, new) in kept.events.iter().enumerate() {
        assert_eq!(new.event, event(n as u64));
    }
}

#[test]
fn what_decisions_showed_comes_back() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("decisions.parquet");
    let row = |n: i64| ShownRow {
        decision_id: format!("d{n}"),
        timestamp: 1_700_000_000_000 + n,
        placement: "home".to_owned(),
        user_id: (n % 3 > 0).then(|| format!("u{n}")),
        policy: (n % 2 > 0).then(|| "softmax".to_owned()),
        slate_propensity: (n % 2 > 0).then_some(1.0 / 3.0),
        item_id: format!("i{n}"),
        position: n + 1,
        score: -0.1 * n as f64,
        propensity: 0.7,
        position_propensity: (n % 5 > 0).then_some(0.1),
        candidates: 100,
        outcomes: match n % 4 {
            0 => BTreeMap::from([
                ("click".to_owned(), 1 + n as u64 % 7),
                ("add-to cart".to_owned(), 2),
            ]),
            1 => BTreeMap::from([("add.to cart".to_owned(), 3)]),
            _ => BTreeMap::new(),
        },
    };
    // More than one group of rows.
    let rows: Vec<ShownRow> = (0..140_000).map(row).collect();
    write_shown(&path, &rows).unwrap();
    let mut kept = Kept::default();
    let summary = import(&path, Kind::Items, &mut kept).unwrap();
    assert_eq!((summary.rows, summary.bad), (140_000, 0));
    for (n, item) in kept.items.iter().enumerate() {
        let row = &rows[n];
        assert_eq!(item.item_id.as_str(), row.item_id);
        let number = |name: &str| match item.attributes.get(name) {
            Some(RawAttribute::Number(number)) => Some(*number),
            _ => None,
        };
        let text = |name: &str| match item.attributes.get(name) {
            Some(RawAttribute::Text(text)) => Some(text.clone()),
            _ => None,
        };
        assert_eq!(number("score"), Some(row.score), "{n}");
        assert_eq!(number("slate_propensity"), row.slate_propensity, "{n}");
        assert_eq!(number("position_propensity"), row.position_propensity, "{n}");
        assert_eq!(number("position"), Some(row.position as f64), "{n}");
        assert_eq!(text("user_id"), row.user_id, "{n}");
        assert_eq!(text("policy"), row.policy, "{n}");
        for (event_type, column) in [
            ("click", "outcome_click"),
            ("add-to cart", "outcome_add_to_cart"),
            ("add.to cart", "outcome_add_to_cart_2"),
        ] {
            let expected = row.outcomes.get(event_type).map_or(0.0, |count| *count as f64);
            assert_eq!(number(column), Some(expected), "{n} {column}");
        }
    }
}

/// A file with the columns that other tools write: whole numbers for ids, lists, booleans, dates.
fn foreign(dir: &Path) -> PathBuf {
    let path = dir.join("items.parquet");
    let schema = "message m {
        required int64 item_id;
        optional binary title (UTF8);
        optional double price;
        optional boolean adult;
        optional int32 released (DATE);
        optional group tags (LIST) { repeated group list { optional binary element (UTF8); } }
        required group nested { required int32 a; required int32 b; }
    }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Default::default()).unwrap();
    let text = |t: &str| ByteArray::from(t);
    let mut group = writer.next_row_group().unwrap();
    let mut place = 0;
    while let Some(mut column) = group.next_column().unwrap() {
        match place {
            0 => column
                .typed::<Int64Type>()
                .write_batch(&[1, 2, 3], None, None)
                .unwrap(),
            1 => {
                let titles = [text("Heat"), ByteArray::from(vec![0xff])];
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&titles, Some(&[1, 0, 1]), None)
                    .unwrap()
            }
            2 => column
                .typed::<DoubleType>()
                .write_batch(&[1.5, f64::NAN], Some(&[1, 1, 0]), None)
                .unwrap(),
            3 => column
                .typed::<BoolType>()
                .write_batch(&[true], Some(&[0, 1, 0]), None)
                .unwrap(),
            4 => column
                .typed::<Int32Type>()
                .write_batch(&[9497], Some(&[1, 0, 0]), None)
                .unwrap(),
            5 => {
                // ["a", "b"], nothing, [].
                let tags = [text("a"), text("b")];
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&tags, Some(&[3, 3, 0, 1]), Some(&[0, 1, 0, 0]))
                    .unwrap()
            }
            _ => column
                .typed::<Int32Type>()
                .write_batch(&[7, 8, 9], None, None)
                .unwrap(),
        };
        column.close().unwrap();
        place += 1;
    }
    group.close().unwrap();
    writer.close().unwrap();
    path
}

#[test]
fn columns_of_other_tools_are_understood() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = foreign(dir.path());
    let mut source = open(&path).unwrap();
    assert_eq!(
        source.columns(),
        ["item_id", "title", "price", "adult", "released", "tags"]
    );
    assert!(source.describe().contains("nested.a"), "{}", source.describe());
    let options = Options {
        max_bad_share: 0.5,
        ..Options::new(Kind::Items)
    };
    let (plan, first) = plan(source.as_mut(), "file", &options).unwrap();
    let mut kept = Kept::default();
    let mut rejects = Vec::new();
    let summary = run(source, &plan, first, &mut kept, Some(&mut rejects), &mut |_| {}).unwrap();
    assert_eq!((summary.accepted, summary.bad), (2, 1));
    let rejected = String::from_utf8(rejects).unwrap();
    assert!(
        rejected.contains("\"line\":3") && rejected.contains("UTF-8"),
        "{rejected}"
    );
    let heat = &kept.items[0];
    assert_eq!(heat.item_id.as_str(), "1");
    assert_eq!(heat.attributes["title"], RawAttribute::Text("Heat".into()));
    assert_eq!(heat.attributes["price"], RawAttribute::Number(1.5));
    assert_eq!(
        heat.attributes["released"],
        RawAttribute::Text("1996-01-02T00:00:00Z".into())
    );
    assert_eq!(
        heat.attributes["tags"],
        RawAttribute::Texts(vec!["a".into(), "b".into()])
    );
    let second = &kept.items[1].attributes;
    assert_eq!(
        second.keys().collect::<Vec<_>>(),
        ["adult"],
        "a number that is none is absent"
    );
}

/// However behaviour is written down, it is the same behaviour.
#[test]
fn made_up_behaviour_is_the_same_in_every_form() {
    let made = dataset::Synthetic {
        users: 300,
        items: 200,
        events: 50_000,
        ..dataset::Synthetic::default()
    };
    let expected: Vec<Event> = made.events().collect();
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("events.parquet");
    write_events(&path, made.events()).unwrap();
    let mut kept = Kept::default();
    import(&path, Kind::Events, &mut kept).unwrap();
    let keys: Vec<_> = kept.events.iter().map(|new| new.key).collect();
    assert!(kept.events.iter().map(|new| &new.event).eq(&expected));
    let table = |delimiter: &str| {
        let mut file = ["user_id", "item_id", "event_type", "timestamp", "value"].join(delimiter) + "\n";
        for e in &expected {
            let value = e.value.map_or(String::new(), |value| value.to_string());
            let at = e.timestamp.0.to_string();
            let row = [
                e.user_id.as_str(),
                e.item_id.as_str(),
                e.event_type.as_str(),
                &at,
                &value,
            ];
            file += &(row.join(delimiter) + "\n");
        }
        file
    };
    let mut lines = String::new();
    for e in &expected {
        let value = e
            .value
            .map_or(String::new(), |value| format!(",\"value\":{value}"));
        let (user, item, kind, at) = (&e.user_id, &e.item_id, &e.event_type, e.timestamp.0);
        lines += &format!(
            "{{\"user_id\":\"{user}\",\"item_id\":\"{item}\",\"event_type\":\"{kind}\",\"timestamp\":{at}{value}}}\n"
        );
    }
    for file in [table(","), table("\t"), lines] {
        let input = Box::new(std::io::Cursor::new(file.into_bytes()));
        let mut source = import::open_text(input, "file", None, &import::TextOptions::default()).unwrap();
        let (plan, first) = plan(source.as_mut(), "file", &Options::new(Kind::Events)).unwrap();
        let mut kept = Kept::default();
        run(source, &plan, first, &mut kept, None, &mut |_| {}).unwrap();
        assert!(
            kept.events.iter().map(|new| &new.event).eq(&expected),
            "{}",
            plan.format
        );
        assert!(
            kept.events.iter().map(|new| new.key).eq(keys.iter().copied()),
            "{}",
            plan.format
        );
    }
}

/// Where the number of rows is known, an import that must fail does not go on to the end.
#[test]
fn a_hopeless_file_is_given_up_early() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("events.parquet");
    let schema = "message m { required binary user_id (UTF8); required binary item_id (UTF8); optional int64 timestamp; }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(&path).unwrap(), schema, Default::default()).unwrap();
    let count = 400_000;
    let mut group = writer.next_row_group().unwrap();
    for place in 0..3 {
        let mut column = group.next_column().unwrap().unwrap();
        if place < 2 {
            let ids: Vec<ByteArray> = (0..count)
                .map(|n| ByteArray::from(format!("x{n}").as_str()))
                .collect();
            column
                .typed::<ByteArrayType>()
                .write_batch(&ids, None, None)
                .unwrap();
        } else {
            // After 50,000 rows there are no moments.
            let levels: Vec<i16> = (0..count).map(|n| i16::from(n < 50_000)).collect();
            let moments: Vec<i64> = (0..50_000).collect();
            column
                .typed::<Int64Type>()
                .write_batch(&moments, Some(&levels), None)
                .unwrap();
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let mut kept = Kept::default();
    match import(&path, Kind::Events, &mut kept) {
        Err(ImportError::TooManyBad { rows, line, .. }) => {
            assert!(rows < 150_000, "{rows}");
            assert_eq!(line, 50_001);
        }
        other => panic!("expected too many bad rows, got {other:?}"),
    }
    assert_eq!(kept.events.len(), 50_000);
}

#[test]
fn what_is_no_parquet_is_refused() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("x.parquet");
    for bytes in [
        &b""[..],
        b"PAR1",
        b"user_id,item_id\n",
        b"PAR1aaaaaaaaaaaaaaaaPAR1",
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = open(&path).err().unwrap();
        assert!(
            matches!(&error, ImportError::Unreadable { name, .. } if name.ends_with("x.parquet")),
            "{error}"
        );
    }
    assert!(open(&dir.path().join("nowhere")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, rng_seed: proptest::test_runner::RngSeed::Fixed(13), ..ProptestConfig::default() })]

    /// Whatever is flipped or cut off, there is an answer.
    #[test]
    fn damaged_files_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<Option<prop::sample::Index>>()) {
        let dir = tempfile::TempDir::new().unwrap();
        let path = foreign(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        std::fs::write(&path, bytes).unwrap();
        let _ = import(&path, Kind::Items, &mut Kept::default());
    }
}
