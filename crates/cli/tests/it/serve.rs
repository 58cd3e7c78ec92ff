//! `serve`: starting, stopping, keys.

use crate::folders::on;
use crate::run::{command, ran};
use crate::served::Served;
use serde_json::json;
use tempfile::tempdir;

#[test]
fn what_was_acknowledged_survives_a_graceful_end() {
    let root = tempdir().expect("a folder");
    let data = root.path().join("made/by/itself");
    let server = Served::start(&data, &[]);
    let event = json!({ "user_id": "u", "item_id": "i", "event_type": "click", "timestamp": 1700000000 });
    let (status, told) = server.post("/v1/events", &event);
    assert_eq!((status, &told["accepted"]), (200, &1.into()), "{told}");
    on(&data, &["status"])
        .code(1)
        .says(&["in use by another process"]);
    let (status, rest) = server.terminate();
    assert!(status.success(), "{rest}");
    assert_eq!(on(&data, &["status", "--json"]).code(0).json()["events"], 1);
    let server = Served::start(&data, &[]);
    assert_eq!(server.post("/v1/events", &event).1["duplicate"], 1);
}

#[test]
fn beyond_loopback_it_wants_a_key() {
    let root = tempdir().expect("a folder");
    let data = root.path().join("data");
    on(&data, &["serve", "--listen", "0.0.0.0:0"])
        .code(2)
        .says(&["--listen: got 0.0.0.0:0", "CONCIERGE_API_KEY"]);
    let key = root.path().join("key");
    let key_text = key.display().to_string();
    on(
        &data,
        &["serve", "--listen", "127.0.0.1:0", "--api-key-file", &key_text],
    )
    .code(2)
    .says(&["--api-key-file"]);
    std::fs::write(&key, "short").expect("writable");
    on(
        &data,
        &["serve", "--listen", "127.0.0.1:0", "--api-key-file", &key_text],
    )
    .code(2)
    .says(&["API key", "16"]);
    std::fs::write(&key, "correct-horse-battery-staple\n").expect("writable");
    let server = Served::start(&data, &["--api-key-file", &key_text]);
    let ask = |key: Option<&str>| {
        let mut request = Served::agent().get(format!("{}/v1/status", server.url()));
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        request.call().expect("an answer").status().as_u16()
    };
    assert_eq!(ask(None), 401);
    assert_eq!(ask(Some("correct-horse-battery-stable")), 401);
    assert_eq!(ask(Some("correct-horse-battery-staple")), 200);
    on(&data, &["serve", "--listen", "somewhere"])
        .code(2)
        .says(&["--listen"]);
}

#[test]
fn a_server_whose_parent_has_ended_ends() {
    let root = tempdir().expect("a folder");
    // Standard input is empty here, so it ends at once, and the server with it.
    let listen = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--json",
        "--until-stdin-ends",
        "--data",
    ];
    let output = command()
        .args(listen)
        .arg(root.path())
        .output()
        .expect("the binary starts");
    assert!(ran(output).code(0).json()["address"].is_string());
}
