//! Files that can be read, in the forms in which people have them.

use crate::world::{Kept, import, import_with};
use domain::{AttributeKind, RawAttribute, Timestamp};
use import::{Field, Kind, Options, TextOptions, TimeUnit};
use proptest::prelude::*;
use std::io::Write;

fn events(bytes: &[u8]) -> (Kept, crate::world::Imported) {
    let mut kept = Kept::default();
    let imported = import(bytes, &Options::new(Kind::Events), &mut kept).unwrap();
    (kept, imported)
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn the_same_rows_in_every_form_are_the_same_events() {
    let csv = "userId,movieId,rating,timestamp\n7,m1,4.5,964982703\n8,\"m,2\",3,964982704\n";
    let tsv = "userId\tmovieId\trating\ttimestamp\n7\tm1\t4.5\t964982703\n8\tm,2\t3\t964982704\n";
    let semicolons = "userId;movieId;rating;timestamp\r\n7;m1;4.5;964982703\r\n8;m,2;3;964982704\r\n";
    let milliseconds = "userId,movieId,rating,timestamp\n7,m1,4.5,964982703000\n8,\"m,2\",3,964982704000\n";
    let micros = "userId,movieId,rating,timestamp\n7,m1,4.5,964982703000000\n8,\"m,2\",3,964982704000000\n";
    let iso = "userId,movieId,rating,timestamp\n7,m1,4.5,2000-07-30T18:45:03Z\n8,\"m,2\",3,2000-07-30T20:45:04+02:00\n";
    let lines = "{\"user_id\":\"7\",\"item_id\":\"m1\",\"value\":4.5,\"timestamp\":964982703}\n\n\
                 {\"item_id\":\"m,2\",\"user_id\":8,\"value\":3,\"timestamp\":\"2000-07-30T18:45:04Z\"}";
    let (expected, imported) = events(csv.as_bytes());
    assert_eq!((imported.summary.rows, imported.summary.accepted), (2, 2));
    assert_eq!(imported.plan.event_type.as_deref(), Some("rating"));
    assert_eq!(imported.plan.time_unit, Some(TimeUnit::Seconds));
    let first = &expected.events[0].event;
    assert_eq!(
        (first.user_id.as_str(), first.item_id.as_str(), first.value),
        ("7", "m1", Some(4.5))
    );
    assert_eq!(first.timestamp, Timestamp(964_982_703_000));
    let bom = format!("\u{feff}{csv}");
    let zst = zstd::encode_all(csv.as_bytes(), 1).unwrap();
    let packed = gz(csv.as_bytes());
    let forms: [&[u8]; 10] = [
        tsv.as_bytes(),
        semicolons.as_bytes(),
        milliseconds.as_bytes(),
        micros.as_bytes(),
        iso.as_bytes(),
        lines.as_bytes(),
        bom.as_bytes(),
        &zst,
        &packed,
        csv.trim_end().as_bytes(),
    ];
    for form in forms {
        let (kept, _) = events(form);
        assert_eq!(kept.events, expected.events, "{}", String::from_utf8_lossy(form));
    }
}

#[test]
fn importing_twice_equals_once() {
    let csv = "user,item,ts\na,x,1000000000\na,x,1000000001\nb,x,1000000000\n";
    let mut kept = Kept::default();
    let options = Options::new(Kind::Events);
    let once = import(csv.as_bytes(), &options, &mut kept).unwrap().summary;
    let twice = import(csv.as_bytes(), &options, &mut kept).unwrap().summary;
    assert_eq!((once.accepted, once.duplicate), (3, 0));
    assert_eq!((twice.accepted, twice.duplicate), (0, 3));
    assert_eq!(kept.events[0].event.event_type.as_str(), "click");
}

#[test]
fn columns_may_be_mapped_and_files_may_lack_a_header() {
    let data = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n";
    let mut options = Options::new(Kind::Events);
    let map = [
        ("user_id", "column1"),
        ("item_id", "column2"),
        ("value", "column3"),
        ("timestamp", "column4"),
    ];
    options.map = map
        .map(|(field, column)| (field.to_owned(), column.to_owned()))
        .to_vec();
    options.event_type = Some("like".to_owned());
    let mut kept = Kept::default();
    let imported = import(data.as_bytes(), &options, &mut kept).unwrap();
    assert_eq!(kept.events[1].event.item_id.as_str(), "302");
    assert_eq!(kept.events[1].event.event_type.as_str(), "like");
    assert!(imported.plan.format.contains("tabs, without a header"));
    assert!(imported.plan.to_string().contains("column2"));
    // A field may be taken away.
    options.map[2].1 = "-".to_owned();
    let mut kept = Kept::default();
    import(data.as_bytes(), &options, &mut kept).unwrap();
    assert_eq!(kept.events[0].event.value, None);
    // What happened may be a column, and moments may be left out if the caller gives one.
    let said = "user_id,item_id,event\nu,i,cart\nu,i,cart\n";
    let untimed = Options {
        untimed_at: Some(5000),
        ..Options::new(Kind::Events)
    };
    let mut kept = Kept::default();
    let imported = import(said.as_bytes(), &untimed, &mut kept).unwrap();
    assert_eq!((imported.summary.accepted, imported.summary.duplicate), (1, 1));
    assert_eq!(kept.events[0].event.event_type.as_str(), "cart");
}

#[test]
fn items_get_attributes_of_the_kinds_that_their_columns_have() {
    let csv = "movieId,title,year,genres,adult,zip\n1,Toy Story,1995,Adventure|Animation,false,00123\n2,Heat,1995,Action,true,\n";
    let mut kept = Kept::default();
    let imported = import(csv.as_bytes(), &Options::new(Kind::Items), &mut kept).unwrap();
    let fields: Vec<Field> = imported.plan.columns.iter().map(|column| column.field).collect();
    assert_eq!(
        fields,
        [
            Field::ItemId,
            Field::Text,
            Field::Number,
            Field::List,
            Field::Flag,
            Field::Text
        ]
    );
    let toy = &kept.items[0].attributes;
    assert_eq!(toy["title"], RawAttribute::Text("Toy Story".into()));
    assert_eq!(toy["year"], RawAttribute::Number(1995.0));
    assert_eq!(
        toy["genres"],
        RawAttribute::Texts(vec!["Adventure".into(), "Animation".into()])
    );
    assert_eq!(toy["adult"], RawAttribute::Flag(false));
    assert_eq!(toy["zip"], RawAttribute::Text("00123".into()));
    assert!(!kept.items[1].attributes.contains_key("zip"));
    assert_eq!(
        signals::infer_kind(kept.items.iter().map(|i| &i.attributes["genres"])),
        Some(AttributeKind::Tags)
    );
    // The shape of the API, and one that turns up late.
    let lines = "{\"item_id\":\"a\",\"attributes\":{\"title\":\"A\",\"at\":{\"lat\":1,\"lon\":2}},\"hidden\":true}\n\
                 {\"item_id\":\"b\",\"colour\":\"red\",\"sizes\":[1,2],\"tags\":[\"x\"],\"added_at\":1e9}\n";
    let mut kept = Kept::default();
    import(lines.as_bytes(), &Options::new(Kind::Items), &mut kept).unwrap();
    assert!(kept.items[0].hidden);
    assert_eq!(
        kept.items[0].attributes["at"],
        RawAttribute::Geo { lat: 1.0, lon: 2.0 }
    );
    assert_eq!(
        kept.items[1].attributes["colour"],
        RawAttribute::Text("red".into())
    );
    assert_eq!(
        kept.items[1].attributes["sizes"],
        RawAttribute::Numbers(vec![1.0, 2.0])
    );
    assert_eq!(kept.items[1].added_at, Some(Timestamp(1_000_000_000_000)));
    let mut kept = Kept::default();
    import(
        b"user_id,age,sex\n1,30,M\n",
        &Options::new(Kind::Users),
        &mut kept,
    )
    .unwrap();
    assert_eq!(kept.users[0].attributes["age"], RawAttribute::Number(30.0));
}

#[test]
fn a_few_bad_rows_are_passed_over_counted_and_named() {
    let mut csv = "user_id,item_id,timestamp\n".to_owned();
    for n in 0..300 {
        csv.push_str(&format!("u{n},i,{}\n", 1_000_000_000 + n));
    }
    csv.push_str("x,i,yesterday\nx,i\n");
    let (kept, imported) = events(csv.as_bytes());
    assert_eq!(kept.events.len(), 300);
    assert_eq!((imported.summary.rows, imported.summary.bad), (302, 2));
    assert_eq!(imported.summary.causes.len(), 2);
    let rejects: Vec<serde_json::Value> = imported
        .rejects
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rejects[0]["line"], 302);
    assert_eq!(rejects[0]["field"], "timestamp");
    assert_eq!(rejects[0]["row"]["user_id"], "x");
    assert_eq!(rejects[1]["got"], "2 fields");
}

#[test]
fn a_long_file_is_read_in_order_and_its_late_faults_fail_it_at_the_end() {
    let mut csv = "user_id,item_id,timestamp\n".to_owned();
    for n in 0..120_000 {
        csv.push_str(&format!("u{},i{},{}\n", n % 977, n % 31, 1_000_000_000 + n));
    }
    let (kept, imported) = events(csv.as_bytes());
    assert_eq!(imported.summary.accepted, 120_000);
    assert!(kept.events.is_sorted_by_key(|new| new.event.timestamp));
    for _ in 0..2000 {
        csv.push_str("u,i,never\n");
    }
    let mut kept = Kept::default();
    let failed = import(csv.as_bytes(), &Options::new(Kind::Events), &mut kept);
    let text = failed.err().unwrap().to_string();
    assert!(
        text.contains("2000 of 122000 rows are bad") && text.contains("line 120002"),
        "{text}"
    );
    let allowed = Options {
        max_bad_share: 0.05,
        ..Options::new(Kind::Events)
    };
    assert_eq!(
        import(csv.as_bytes(), &allowed, &mut kept)
            .unwrap()
            .summary
            .duplicate,
        120_000
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::default() })]

    /// Whatever the texts, delimiter and line ends: what was written is what is read.
    #[test]
    fn quoted_fields_survive(
        rows in prop::collection::vec(("[a-z;|,\"\\t é\\n]{1,12}", "[A-Z'\";,|]{1,8}", 0i64..2_000_000_000), 2..30),
        delimiter in prop::sample::select(vec![b',', b'\t', b';', b'|']),
    ) {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        writer.write_record(["user_id", "item_id", "timestamp"]).unwrap();
        let rows: Vec<_> = rows.into_iter().map(|(u, i, t)| (u.replace(['\n', '\t'], "_"), i, t)).collect();
        for (user, item, at) in &rows {
            writer.write_record([user.as_str(), item.as_str(), &at.to_string()]).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let mut kept = Kept::default();
        let text = TextOptions { delimiter: Some(delimiter), header: Some(true), ..TextOptions::default() };
        import_with(&bytes, &Options::new(Kind::Events), &text, &mut kept).unwrap();
        let mut expected: Vec<_> = Vec::new();
        for (user, item, at) in rows {
            let row = (user, item, at * 1000);
            if !expected.contains(&row) {
                expected.push(row);
            }
        }
        let read: Vec<_> = kept.events.iter()
            .map(|new| (new.event.user_id.as_str().to_owned(), new.event.item_id.as_str().to_owned(), new.event.timestamp.0))
            .collect();
        prop_assert_eq!(read, expected);
    }
}
