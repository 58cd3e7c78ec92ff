//! Stopping loses nothing, and swaps under load break no answer.

use crate::world::{World, anywhere, serve};
use serde_json::json;
use server::{Server, ServerError, ServerOptions};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[test]
fn a_stop_under_load_loses_nothing_that_was_acknowledged() {
    let world = World::trained();
    let before = world.service.status().events;
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (world, acknowledged) = (&world, &acknowledged);
            scope.spawn(move || {
                for n in 0..100_000 {
                    let event = json!({"user_id": format!("w{writer}"), "item_id": format!("x{n}"), "event_type": "click", "timestamp": 1_700_000_000 + n});
                    let got = world.send("POST", "/v1/events", &event);
                    if got.status != 200 {
                        return;
                    }
                    acknowledged.fetch_add(got.json()["accepted"].as_u64().unwrap(), Ordering::SeqCst);
                }
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(400));
        world.stop();
    });
    let sent = acknowledged.load(Ordering::SeqCst);
    assert!(sent > 20, "{sent}");
    let stored = world.service.status().events - before;
    // A write may be stored whose answer was lost, never the other way round.
    assert!(
        stored >= sent && stored <= sent + 4,
        "{stored} stored, {sent} acknowledged"
    );
}

#[test]
fn answers_are_whole_while_models_and_catalogue_change() {
    let world = World::trained();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..2)
            .map(|n| {
                let (world, done) = (&world, &done);
                scope.spawn(move || {
                    let mut asked = 0;
                    while !done.load(Ordering::SeqCst) {
                        assert_eq!(world.slate(&format!("user-{n:04}")).len(), 10);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for round in 0..3 {
            let trained = world.send("POST", "/v1/train", &json!({"wait": true}));
            assert_eq!(trained.status, 200, "{}", trained.text());
            let item = json!({"item_id": format!("r{round}"), "attributes": {"kind": ["odd"]}});
            assert_eq!(world.send("PUT", "/v1/items", &item).status, 200);
        }
        done.store(true, Ordering::SeqCst);
        let asked: usize = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
        assert!(asked > 10, "{asked}");
    });
}

#[test]
fn keys_and_addresses() {
    let world = World::with(ServerOptions {
        api_key: Some("0123456789abcdef".into()),
        ..anywhere()
    });
    let none = serve(tempfile::TempDir::new().unwrap(), anywhere());
    assert_eq!(none.get("/v1/status").status, 200);
    assert_eq!(world.get("/v1/status").status, 200);
    let ask = |header: &str| {
        let request = format!(
            "GET /v1/status HTTP/1.1\r\nhost: somewhere.example\r\nconnection: close\r\n{header}\r\n\r\n"
        );
        world.bytes(request.as_bytes())
    };
    assert_eq!(ask("x-api-key: 0123456789abcdef").status, 200);
    assert_eq!(ask("authorization: Bearer 0123456789abcdef").status, 200);
    // any:0123456789abcdef, as a browser sends it.
    assert_eq!(
        ask("authorization: Basic YW55OjAxMjM0NTY3ODlhYmNkZWY=").status,
        200
    );
    let refused = ask("x-api-key: 0123456789abcdeF");
    assert_eq!(
        (refused.status, refused.json()["field"].as_str()),
        (401, Some("X-Api-Key"))
    );
    assert!(refused.head.to_lowercase().contains("www-authenticate"));
    assert_eq!(ask("accept: */*").status, 401);
    let health = world.bytes(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(health.status, 200);

    let everywhere = ServerOptions {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        ..ServerOptions::default()
    };
    let refused = Server::bind(world.service.clone(), everywhere.clone()).err();
    assert!(matches!(refused, Some(ServerError::KeyNeeded(_))), "{refused:?}");
    let weak = ServerOptions {
        api_key: Some("secret".into()),
        ..everywhere
    };
    assert!(matches!(
        Server::bind(world.service.clone(), weak).err(),
        Some(ServerError::WeakKey(6))
    ));
    let taken = ServerOptions {
        listen: world.address,
        ..ServerOptions::default()
    };
    assert!(matches!(
        Server::bind(world.service.clone(), taken).err(),
        Some(ServerError::Listen { .. })
    ));
}
