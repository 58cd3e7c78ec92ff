//! The demo, from an empty folder.

use crate::run::{command, ran};
use crate::served::Served;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;
use tempfile::tempdir;

#[test]
fn it_answers_from_an_empty_folder_and_again_at_once() {
    let root = tempdir().expect("a folder");
    let data = root.path().join("films");
    let server = Served::start_command("demo", &data, &[]);
    let ask = |server: &Served, user: &str| {
        let (status, slate) = server.post(
            "/v1/recommend",
            &json!({ "placement": "home", "user_id": user, "n": 5, "seed": 1 }),
        );
        assert_eq!(
            (status, slate["items"].as_array().map(Vec::len)),
            (200, Some(5)),
            "{slate:#}"
        );
        slate["items"].clone()
    };
    let known = ask(&server, "42");
    assert!(known[0]["reasons"][0].is_string(), "{known:#}");
    let newcomer = ask(&server, "newcomer");
    let star_wars = json!({ "user_id": "newcomer", "item_id": "260", "event_type": "rating", "value": 5 });
    assert_eq!(server.post("/v1/events", &star_wars).0, 200);
    let after = ask(&server, "newcomer");
    assert_ne!(newcomer, after, "one event changes the list of someone new");
    assert!(
        after.to_string().contains("\"1196\""),
        "the next Star Wars film follows: {after:#}"
    );
    assert!(server.terminate().0.success());

    let started = Instant::now();
    let server = Served::start_command("demo", &data, &[]);
    let seconds = started.elapsed().as_secs_f64();
    assert!(
        seconds < 5.0,
        "a second start imports and trains nothing: {seconds} s"
    );
    ask(&server, "42");
    let again = ask(&server, "newcomer").to_string();
    assert!(
        again.contains("\"1196\""),
        "what was accepted is still there: {again}"
    );
    drop(server);

    let mut child = command()
        .args(["demo", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut told = String::new();
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        told.push_str(&line);
        told.push('\n');
        if line.starts_with("listening on ") {
            break;
        }
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert_eq!(told.matches("  curl ").count(), 3, "{told}");
    assert!(
        told.contains("Because of ") && told.contains("9,742 films"),
        "{told}"
    );
}

#[test]
fn it_keeps_away_from_folders_that_are_not_its_own() {
    let root = tempdir().expect("a folder");
    std::fs::write(root.path().join("letter.txt"), "dear").expect("writable");
    let output = command()
        .arg("demo")
        .arg("--data")
        .arg(root.path())
        .output()
        .expect("the binary starts");
    ran(output).code(2).says(&["--data", "holds something else"]);
}
