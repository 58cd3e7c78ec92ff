//! The demo, from an empty folder.

use crate::run::{command, ran};
use crate::served::Served;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
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
    rules_of_the_guide_are_obeyed(&server);
    explanations_are_of_the_score(&server);
    a_page_has_rows(&server);
    let stands = |server: &Served| {
        let (status, told) = server.send("GET", "/v1/status", &Value::Null);
        assert_eq!(status, 200, "{told:#}");
        ["events", "items", "trained_at"].map(|field| told[field].clone())
    };
    let before = stands(&server);
    assert!(before.iter().all(Value::is_number), "{before:?}");
    assert!(server.terminate().0.success());

    let server = Served::start_command("demo", &data, &[]);
    assert_eq!(
        stands(&server),
        before,
        "a second start imports and trains nothing"
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

/// Every rule of the guide can be put; those that remove remove.
fn rules_of_the_guide_are_obeyed(server: &Served) {
    let guide = include_str!("../../../../docs/guides/rules.md");
    let blocks: Vec<serde_json::Value> = guide
        .split("```json rule\n")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split("```").next().expect("a block")).expect("JSON"))
        .collect();
    assert!(blocks.len() >= 6, "{}", blocks.len());
    for rule in &blocks {
        let (status, told) = server.send("PUT", "/v1/rules", rule);
        assert_eq!(status, 200, "{rule} {told}");
    }
    let (_, dry) = server.post(
        "/v1/rules/dry-run",
        &json!({"rules": [
        {"name": "no-drama", "kind": "exclude", "reason": "a try", "where": "\"Drama\" in item.genres"}]}),
    );
    assert!(
        dry["rules"]["no-drama"]["considered_removed"].as_u64() > Some(0),
        "{dry:#}"
    );
    for rule in &blocks {
        let path = format!("/v1/rules/{}", rule["name"].as_str().expect("a name"));
        assert_eq!(server.send("DELETE", &path, &serde_json::Value::Null).0, 200);
    }
    let old = json!({"name": "no-new", "kind": "exclude", "reason": "x", "where": "!has(item.year) || item.year >= 1980"});
    assert_eq!(server.send("PUT", "/v1/rules", &old).0, 200);
    let (_, slate) = server.post(
        "/v1/recommend",
        &json!({"placement": "home", "user_id": "42", "n": 20}),
    );
    for item in slate["items"].as_array().expect("items") {
        assert!(item["attributes"]["year"].as_f64() < Some(1980.0), "{item:#}");
    }
    assert_eq!(
        server
            .send("DELETE", "/v1/rules/no-new", &serde_json::Value::Null)
            .0,
        200
    );
}

/// Without the event that speaks most for an item, the item scores less; nothing but the person's own events is named.
fn explanations_are_of_the_score(server: &Served) {
    let (mut lowered, mut asked) = (0, 0);
    for user in 1..=60 {
        let (_, known) = server.send("GET", &format!("/v1/users/{user}"), &serde_json::Value::Null);
        let recent = known["recent"].as_array().expect("events").iter().take(20).rev();
        let session: Vec<serde_json::Value> = recent
            .map(|event| {
                json!({"item_id": event["item_id"], "event_type": event["event_type"], "value": event["value"],
                    "timestamp": event["timestamp"]})
            })
            .collect();
        let (_, slate) = server.post(
            "/v1/recommend",
            &json!({"placement": "home", "session": session, "n": 2, "explain": true}),
        );
        for item in slate["items"].as_array().expect("items") {
            let parts = item["explanation"].as_array().expect("parts");
            let sum: f64 = parts.iter().filter_map(|part| part["value"].as_f64()).sum();
            let score = item["score"].as_f64().expect("a score");
            assert!((sum - score).abs() < 1e-3 * score.abs().max(1.0), "{sum} {score}");
            let mut by_event = std::collections::BTreeMap::<&str, f64>::new();
            for part in parts.iter().filter(|part| part["kind"] == "history") {
                let of = part["of"].as_str().expect("an id");
                assert!(
                    session.iter().any(|event| event["item_id"] == of),
                    "{of} is not of this person"
                );
                *by_event.entry(of).or_default() += part["value"].as_f64().expect("a number");
            }
            let Some((cited, _)) = by_event.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
                continue;
            };
            let rank = |session: &[serde_json::Value]| {
                let (_, ranked) = server.post(
                    "/v1/rank",
                    &json!({"candidates": [item["item_id"]], "session": session}),
                );
                ranked["items"][0]["score"].as_f64().expect("a score")
            };
            let without: Vec<_> = session
                .iter()
                .filter(|event| event["item_id"] != cited)
                .cloned()
                .collect();
            asked += 1;
            lowered += usize::from(rank(&without) < rank(&session));
        }
    }
    assert!(asked >= 100, "{asked}");
    assert!(lowered * 100 >= asked * 95, "{lowered} of {asked}");
}

fn a_page_has_rows(server: &Served) {
    let (status, page) = server.post("/v1/page", &json!({"page": "home", "user_id": "42"}));
    assert_eq!(status, 200, "{page:#}");
    let rows = page["rows"].as_array().expect("rows");
    assert!(rows.len() >= 2, "{page:#}");
    assert!(
        rows.iter().any(|row| row["title"]
            .as_str()
            .is_some_and(|title| title.starts_with("Because you watched "))),
        "{page:#}"
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
