//! What was just sent counts in the next answer.

use crate::world::World;
use serde_json::json;

#[test]
fn events_items_sessions_and_hiding_take_effect_with_the_next_request() {
    let world = World::trained();
    // An event changes the next answer.
    let top = world.slate("user-0000")[0].clone();
    let told = world.send(
        "POST",
        "/v1/events",
        &json!({"user_id": "user-0000", "item_id": top, "event_type": "purchase"}),
    );
    assert_eq!((told.status, told.json()["accepted"].as_u64()), (200, Some(1)));
    assert!(!world.slate("user-0000").contains(&top));
    // Told again, it is a duplicate.
    let again = world.send(
        "POST",
        "/v1/events",
        &json!({"user_id": "user-0000", "item_id": top, "event_type": "purchase"}),
    );
    assert_eq!(again.json()["duplicate"], 1);
    // Someone new with one event, and someone who is nobody.
    for (item, odd) in [("item-0006", false), ("item-0007", true)] {
        let user = format!("new-{item}");
        world.send(
            "POST",
            "/v1/events",
            &json!({"user_id": user, "item_id": item, "event_type": "like"}),
        );
        let of_kind = |ids: &[String]| {
            ids.iter()
                .filter(|id| id.ends_with(['1', '3', '5', '7', '9']) == odd)
                .count()
        };
        let ids = world.slate(&user);
        assert!(of_kind(&ids) >= 8, "{ids:?}");
        let session = json!({"placement": "home", "session": [{"item_id": item}]});
        let got = world.send("POST", "/v1/recommend", &session).json();
        let ids: Vec<String> = got["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["item_id"].as_str().unwrap().to_owned())
            .collect();
        assert!(of_kind(&ids) >= 8, "{ids:?}");
    }
    // A new item with attributes goes to the right people.
    let put = world.send(
        "PUT",
        "/v1/items",
        &json!({"item_id": "brand-new", "attributes": {"title": "New", "kind": ["odd"]}}),
    );
    assert_eq!(put.json()["created"], 1);
    let wide = |user: &str| {
        let got = world
            .send(
                "POST",
                "/v1/recommend",
                &json!({"placement": "home", "user_id": user, "n": 40}),
            )
            .json();
        let items = got["items"].as_array().unwrap().clone();
        items
            .iter()
            .position(|item| item["item_id"] == "brand-new")
            .unwrap_or(99)
    };
    assert!(wide("user-0001") < 20 && wide("user-0001") < wide("user-0000"));
    // Hidden, it is gone.
    let hide =
        json!({"item_id": "brand-new", "attributes": {"title": "New", "kind": ["odd"]}, "hidden": true});
    assert_eq!(world.send("PUT", "/v1/items", &hide).json()["updated"], 1);
    assert_eq!(wide("user-0001"), 99);
    // Models take events in by themselves.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while world.get("/v1/status").json()["absorbed_sequence"] != world.get("/v1/status").json()["sequence"] {
        assert!(std::time::Instant::now() < deadline, "nothing was absorbed");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn every_form_of_a_batch_is_read_row_by_row() {
    let world = World::empty();
    let good = |n: usize| json!({"user_id": "u", "item_id": format!("i{n}"), "event_type": "click", "timestamp": 1_700_000_000 + n});
    let array = world.send(
        "POST",
        "/v1/events",
        &json!([good(1), {"user_id": "u"}, 7, good(2), {"user_id": "u", "item_id": "", "event_type": "x"}]),
    );
    let report = array.json();
    assert_eq!(
        (
            report["accepted"].as_u64(),
            report["rejected"].as_array().unwrap().len()
        ),
        (Some(2), 3)
    );
    let fields: Vec<&str> = report["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["item_id", "row", "item_id"]);
    assert_eq!(report["receipts"][3]["status"], "accepted");
    let lines = format!("{}\n\n{}\n{{\"user_id\":1}}\nnonsense\n", good(2), good(3));
    for kind in ["application/x-ndjson", "application/json"] {
        let got = world
            .raw("POST", "/v1/events", &[("content-type", kind)], lines.as_bytes())
            .json();
        assert_eq!(got["rejected"].as_array().unwrap().len(), 2, "{got}");
        assert_eq!(got["rejected"][0]["field"], "user_id");
        assert_eq!(
            got["accepted"].as_u64().unwrap() + got["duplicate"].as_u64().unwrap(),
            2
        );
    }
    assert_eq!(world.get("/v1/status").json()["events"], 3);
}
