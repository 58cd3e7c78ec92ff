//! From files to recommendations, all by the binary.

use crate::folders::on;
use crate::run::{command, ran};
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::tempdir;

fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("writable");
    path.display().to_string()
}

/// Songs in two styles, and listeners who keep to one.
fn shop(dir: &Path) -> (PathBuf, String, String) {
    let mut items = "item_id;title;style;labels\n".to_owned();
    for item in 0..30 {
        let style = ["jazz", "metal"][item % 2];
        writeln!(
            items,
            "s{item};Song number {item};{style};{style}|vol {}",
            item / 10
        )
        .expect("text");
    }
    let mut events = "userId\tsku\tevent\tdate\n".to_owned();
    for user in 0..60 {
        for step in 0..6 {
            let item = user % 2 + 2 * ((user * 7 + step * step) % 15);
            writeln!(events, "u{user}\ts{item}\tpurchase\t2024-03-{:02}", 1 + step).expect("text");
        }
    }
    let data = dir.join("shop");
    on(&data, &["init"]).code(0);
    (
        data,
        file(dir, "songs.csv", &items),
        file(dir, "sales.tsv", &events),
    )
}

fn count(summary: &serde_json::Value, file: usize, what: &str) -> u64 {
    summary["files"][file]["summary"][what].as_u64().expect("a count")
}

#[test]
fn from_files_to_recommendations_and_back_from_a_backup() {
    let root = tempdir().expect("a folder");
    let (data, items, events) = shop(root.path());
    let arguments = [
        "import",
        "--items",
        &items,
        "--events",
        &events,
        "--map",
        "events.item_id=sku",
        "--json",
    ];
    let dry = [&arguments[..], &["--dry-run"]].concat();
    let plan = on(&data, &dry).code(0).json();
    assert_eq!(
        plan["files"][1]["plan"]["columns"][1]["field"], "item_id",
        "{plan:#}"
    );
    assert_eq!(on(&data, &["status", "--json"]).json()["events"], 0);

    let first = on(&data, &arguments).code(0).json();
    let distinct = count(&first, 1, "accepted");
    assert_eq!(
        (count(&first, 0, "accepted"), count(&first, 1, "bad")),
        (30, 0),
        "{first:#}"
    );
    assert_eq!(distinct + count(&first, 1, "duplicate"), 360);
    let again = on(&data, &arguments).code(0).json();
    assert_eq!(
        (count(&again, 0, "accepted"), count(&again, 1, "accepted")),
        (0, 0),
        "{again:#}"
    );
    assert_eq!(again["events"], distinct);
    assert_eq!(again["items"], 30);

    let kinds = on(&data, &["schema", "--json"]).code(0).json();
    assert_eq!(kinds["items"]["labels"]["kind"], "tags", "{kinds:#}");
    on(&data, &["schema", "--set", "items.style=text"]).code(0);
    assert_eq!(
        on(&data, &["schema", "--json"]).json()["items"]["style"]["kind"],
        "text"
    );

    let trained = on(&data, &["train", "--json"]).code(0).json();
    assert_eq!(trained["events"], distinct, "{trained:#}");
    let styles = |slate: &serde_json::Value| -> Vec<u32> {
        let items = slate["items"].as_array().expect("items").iter();
        let ids = items.map(|item| {
            item["item_id"].as_str().expect("an id")[1..]
                .parse::<u32>()
                .expect("a number")
        });
        ids.map(|id| id % 2).collect()
    };
    let slate = ["recommend", "--user", "u1", "-n", "5", "--seed", "1", "--json"];
    let for_metal = on(&data, &slate).code(0).json();
    assert_eq!(styles(&for_metal), [1; 5], "{for_metal:#}");
    let newcomer = on(
        &data,
        &[
            "recommend",
            "--session",
            "s0,s2",
            "-n",
            "5",
            "--explain",
            "--json",
        ],
    )
    .code(0)
    .json();
    assert_eq!(styles(&newcomer), [0; 5], "{newcomer:#}");
    assert!(newcomer["items"][0]["explanation"].is_array());
    let best = for_metal["items"][0]["item_id"].as_str().expect("an id");
    let proposed = [&slate[..], &["--proposed", best]].concat();
    let proposed = on(&data, &proposed).code(0).json();
    let sources = proposed["items"][0]["sources"].as_array().expect("sources");
    assert!(sources.contains(&"proposed".into()), "{proposed:#}");
    on(&data, &["recommend", "--proposed", "no-such-song"])
        .code(2)
        .says(&["proposed[0]", "no-such-song"]);
    let alike = on(&data, &["similar", "--item", "s3", "-n", "3", "--json"])
        .code(0)
        .json();
    assert_eq!(styles(&alike), [1; 3], "{alike:#}");
    let table = on(&data, &["recommend", "--user", "u1", "--explain"]).code(0).out;
    assert!(
        table.contains("Song number") && table.contains("because"),
        "{table}"
    );

    let copy = root.path().join("copy").display().to_string();
    on(&data, &["backup", "--to", &copy]).code(0);
    let back = root.path().join("back");
    on(&back, &["restore", "--from", &copy]).code(0);
    assert_eq!(on(&back, &["doctor", "--json"]).code(0).json()["ok"], true);
    assert_eq!(on(&back, &slate).code(0).json()["items"], for_metal["items"]);

    let erased = on(&back, &["erase", "--user", "u1", "--yes", "--json"])
        .code(0)
        .json();
    assert!(erased["events"].as_u64() > Some(0));
    let status = on(&back, &["status", "--json"]).code(0).json();
    assert_eq!(
        status["events"].as_u64(),
        Some(distinct - erased["events"].as_u64().expect("a count"))
    );
}

#[test]
fn bad_rows_are_counted_named_and_limited() {
    let root = tempdir().expect("a folder");
    let data = root.path().join("data");
    on(&data, &["init"]).code(0);
    let text = "user_id,item_id,timestamp\nu1,i1,2024-01-01\nu2,,2024-01-01\nu3,i3,soon\nu4,i4,1700000000\n";
    let events = file(root.path(), "events.csv", text);
    let rejects = root.path().join("bad.jsonl");
    let rejects_text = rejects.display().to_string();
    let arguments = [
        "import",
        "--events",
        &events,
        "--rejects",
        &rejects_text,
        "--json",
    ];
    on(&data, &arguments).code(2).says(&[
        "2 of 4 rows are bad",
        "--max-bad-share",
        "nothing was stored",
        "line 3",
    ]);
    assert_eq!(on(&data, &["status", "--json"]).json()["events"], 0);
    let allowed = [&arguments[..], &["--max-bad-share", "0.5"]].concat();
    let told = on(&data, &allowed).code(0).json();
    assert_eq!(
        (count(&told, 0, "accepted"), count(&told, 0, "bad")),
        (2, 2),
        "{told:#}"
    );
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(&rejects)
        .expect("the rejects")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["file"], &lines[0]["line"]),
        (&events.as_str().into(), &3.into())
    );
    assert_eq!(lines[1]["got"], "\"soon\"");
}

#[test]
fn nothing_to_import_is_an_error() {
    let root = tempdir().expect("a folder");
    let data = root.path().join("data");
    on(&data, &["init"]).code(0);
    for text in ["", "user_id,item_id,timestamp\n"] {
        let events = file(root.path(), "events.csv", text);
        on(&data, &["import", "--events", &events])
            .code(2)
            .says(&["events.csv: got 0 rows"]);
    }
    on(&data, &["import"]).code(2).says(&["--events"]);
    on(&data, &["import", "--items", "/no/such/file.csv"])
        .code(2)
        .says(&["/no/such/file.csv"]);
    let odd = file(root.path(), "odd.csv", "a,b,c\n1,2,3\n4,5,6\n");
    on(&data, &["import", "--events", &odd])
        .code(2)
        .says(&["no column for user_id; there are a, b, c", "--map user_id=COLUMN"]);
    on(&root.path().join("nowhere"), &["import", "--events", &odd])
        .code(2)
        .says(&["concierge init"]);
}

#[test]
fn standard_input_is_a_file() {
    let root = tempdir().expect("a folder");
    let data = root.path().join("data");
    on(&data, &["init"]).code(0);
    let mut child = command()
        .args([
            "import",
            "--events",
            "-",
            "--event-type",
            "view",
            "--untimed-at",
            "2024-05-31",
            "--yes",
            "--data",
        ])
        .arg(&data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let rows = b"{\"user_id\":\"a\",\"item_id\":\"x\",\"value\":40}\n{\"user_id\":\"b\",\"item_id\":\"y\",\"value\":20}\n";
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(rows)
        .expect("it reads");
    let told = ran(child.wait_with_output().expect("it ends")).code(0).out;
    assert!(told.contains("standard input") || told.contains("- ("), "{told}");
    assert!(told.contains("now 2 events"), "{told}");
}

#[test]
fn made_up_events_are_the_same_in_every_format() {
    let root = tempdir().expect("a folder");
    let mut stored = Vec::new();
    for name in ["events.parquet", "events.csv", "events.jsonl"] {
        let data = root.path().join(format!("{name}.data"));
        let path = root.path().join(name).display().to_string();
        let items = root.path().join("items.jsonl").display().to_string();
        let sizes = ["--events", "500", "--users", "40", "--items", "30", "--seed", "3"];
        let to = ["generate", "--to", &path, "--items-to", &items];
        let output = command()
            .args(to)
            .args(sizes)
            .output()
            .expect("the binary starts");
        ran(output).code(0);
        on(&data, &["init"]).code(0);
        let told = on(&data, &["import", "--items", &items, "--events", &path, "--json"])
            .code(0)
            .json();
        assert_eq!(
            (count(&told, 1, "accepted"), &told["items"]),
            (500, &30.into()),
            "{told:#}"
        );
        // The same events have the same keys: they are all there already.
        let csv = root.path().join("events.parquet").display().to_string();
        let again = on(&data, &["import", "--events", &csv, "--json"]).code(0).json();
        assert_eq!(count(&again, 0, "duplicate"), 500, "{again:#}");
        stored.push(told["users"].clone());
    }
    assert!(stored.windows(2).all(|pair| pair[0] == pair[1]));
    let output = command()
        .args(["generate", "--to", "events.xls"])
        .output()
        .expect("the binary starts");
    ran(output).code(2).says(&["--to: got events.xls", ".parquet"]);
}
