//! The document and the server agree: every path, every answer.

use crate::world::{Got, World, anywhere};
use serde_json::{Value, json};

/// What is wrong with a value by a schema, if anything. Covers the keywords that the document uses.
fn wrong(value: &Value, schema: &Value, all: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        assert!(all.get(name).is_some(), "no schema {name}");
        return wrong(value, &all[name], all, at);
    }
    if let Some(allowed) = schema["enum"].as_array() {
        return (!allowed.contains(value)).then(|| format!("{at}: {value} is none of {allowed:?}"));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind)) {
        return Some(format!("{at}: {value} is no {kinds:?}"));
    }
    if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
        && number < least
    {
        return Some(format!("{at}: {number} is below {least}"));
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !object.contains_key(name) {
                return Some(format!("{at}: no {name}"));
            }
        }
        for (name, value) in object {
            let at = format!("{at}.{name}");
            let inner = match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => return Some(format!("{at}: not in the document")),
                (Value::Null, other) => other,
                (known, _) => known,
            };
            if let (true, Some(wrong)) = (inner.is_object(), wrong(value, inner, all, &at)) {
                return Some(wrong);
            }
        }
    }
    let items = value.as_array().into_iter().flatten().enumerate();
    items
        .filter(|_| schema["items"].is_object())
        .find_map(|(n, item)| wrong(item, &schema["items"], all, &format!("{at}[{n}]")))
}

#[test]
fn every_operation_answers_as_documented() {
    let page = "\n[[pages.front.rows]]\nname = \"for-you\"\ntitle = \"For you\"\nplacement = \"home\"\n";
    let world = World::configured("", page, anywhere()).filled();
    let document = world.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let all = &document["components"]["schemas"];
    let decision = world
        .send(
            "POST",
            "/v1/recommend",
            &json!({"placement": "home", "user_id": "user-0001"}),
        )
        .json();
    let decision = decision["decision_id"].as_str().unwrap().to_owned();
    let event =
        json!({"user_id": "u", "item_id": "item-0001", "event_type": "click", "context": {"page": "x"}});
    let requests: Vec<(&str, &str, String, Value)> = vec![
        (
            "POST",
            "/v1/events",
            "/v1/events".into(),
            json!([event, {"user_id": "u"}]),
        ),
        (
            "PUT",
            "/v1/items",
            "/v1/items".into(),
            json!({"item_id": "n", "attributes": {"kind": ["odd"], "at": {"lat": 1, "lon": 2}}}),
        ),
        ("GET", "/v1/items/{id}", "/v1/items/item-0001".into(), Value::Null),
        ("GET", "/v1/items/{id}", "/v1/items/nothing".into(), Value::Null),
        (
            "PUT",
            "/v1/users",
            "/v1/users".into(),
            json!({"user_id": "u", "attributes": {"age": 3}}),
        ),
        ("GET", "/v1/users/{id}", "/v1/users/user-0001".into(), Value::Null),
        ("GET", "/v1/users/{id}", "/v1/users/nobody".into(), Value::Null),
        (
            "POST",
            "/v1/models/rankers/{placement}",
            "/v1/models/rankers/home".into(),
            json!({"action": "promote", "version": 1}),
        ),
        (
            "POST",
            "/v1/recommend",
            "/v1/recommend".into(),
            json!({"placement": "home", "user_id": "user-0001", "explain": true, "seed": 3}),
        ),
        (
            "POST",
            "/v1/recommend",
            "/v1/recommend".into(),
            json!({"placement": "home", "user_id": "user-0001", "preview": true}),
        ),
        (
            "POST",
            "/v1/recommend",
            "/v1/recommend".into(),
            json!({"placement": "home", "item_id": "nothing"}),
        ),
        (
            "POST",
            "/v1/recommend",
            "/v1/recommend".into(),
            json!({"placement": "home", "proposed": ["item-0001", "item-0002"]}),
        ),
        (
            "POST",
            "/v1/recommend",
            "/v1/recommend".into(),
            json!({"placement": "home", "proposed": [{"item_id": "item-0001", "score": 0.5}]}),
        ),
        (
            "POST",
            "/v1/similar",
            "/v1/similar".into(),
            json!({"item_id": "item-0001"}),
        ),
        (
            "POST",
            "/v1/similar",
            "/v1/similar".into(),
            json!({"item_id": "nothing"}),
        ),
        (
            "POST",
            "/v1/rank",
            "/v1/rank".into(),
            json!({"candidates": ["item-0001", "item-0002"], "explain": true}),
        ),
        (
            "GET",
            "/v1/decisions/{id}",
            format!("/v1/decisions/{decision}"),
            Value::Null,
        ),
        (
            "GET",
            "/v1/decisions/{id}",
            "/v1/decisions/none".into(),
            Value::Null,
        ),
        (
            "GET",
            "/v1/decisions",
            "/v1/decisions?user_id=user-0001&limit=1".into(),
            Value::Null,
        ),
        (
            "GET",
            "/v1/decisions",
            "/v1/decisions?limit=0".into(),
            Value::Null,
        ),
        (
            "GET",
            "/v1/decisions",
            "/v1/decisions?colour=red".into(),
            Value::Null,
        ),
        (
            "POST",
            "/v1/decisions/{id}/replay",
            format!("/v1/decisions/{decision}/replay"),
            json!({}),
        ),
        (
            "POST",
            "/v1/decisions/{id}/replay",
            format!("/v1/decisions/{decision}/replay"),
            json!({"placement": {"policy": {"name": "softmax"}}, "seed": 3}),
        ),
        (
            "POST",
            "/v1/decisions/{id}/replay",
            format!("/v1/decisions/{decision}/replay"),
            json!({"placement": {"n": 0}}),
        ),
        (
            "POST",
            "/v1/decisions/{id}/replay",
            "/v1/decisions/none/replay".into(),
            json!({"today": true}),
        ),
        (
            "POST",
            "/v1/ope",
            "/v1/ope".into(),
            json!({"rounds": (0..60).map(|i| json!({"action": if i % 3 == 0 { "b" } else { "a" }, "reward": i % 2,
                "propensity": if i % 3 == 0 { 0.3 } else { 0.7 }, "target": {"a": 0.5, "b": 0.5}})).collect::<Vec<_>>()}),
        ),
        (
            "PUT",
            "/v1/rules",
            "/v1/rules".into(),
            json!([{"name": "r", "kind": "exclude", "reason": "x", "where": "item.id == 'item-0007'"},
                {"name": "p", "kind": "pin", "reason": "x", "slot": 1, "items": ["item-0009"], "from": 1.0}]),
        ),
        (
            "PUT",
            "/v1/rules",
            "/v1/rules".into(),
            json!({"name": "r", "kind": "exclude", "reason": "x", "where": "item.colour == 1"}),
        ),
        ("GET", "/v1/rules", "/v1/rules".into(), Value::Null),
        ("GET", "/v1/rules/{name}", "/v1/rules/r".into(), Value::Null),
        ("GET", "/v1/rules/{name}", "/v1/rules/none".into(), Value::Null),
        (
            "POST",
            "/v1/rules/check",
            "/v1/rules/check".into(),
            json!({"name": "q", "kind": "boost", "reason": "x", "where": "'odd' in item.kind"}),
        ),
        (
            "POST",
            "/v1/rules/dry-run",
            "/v1/rules/dry-run".into(),
            json!({"rules": [{"name": "q", "kind": "exclude", "reason": "x", "where": "'odd' in item.kind"}]}),
        ),
        (
            "POST",
            "/v1/recommend",
            "/v1/recommend".into(),
            json!({"placement": "home", "user_id": "user-0001", "explain": true}),
        ),
        ("DELETE", "/v1/rules/{name}", "/v1/rules/r".into(), Value::Null),
        ("DELETE", "/v1/rules/{name}", "/v1/rules/p".into(), Value::Null),
        (
            "GET",
            "/v1/rules/versions/{version}",
            "/v1/rules/versions/1".into(),
            Value::Null,
        ),
        (
            "GET",
            "/v1/rules/versions/{version}",
            "/v1/rules/versions/99".into(),
            Value::Null,
        ),
        ("POST", "/v1/ope", "/v1/ope".into(), json!({"rounds": []})),
        (
            "POST",
            "/v1/ope",
            "/v1/ope".into(),
            json!({"slates": (0..60).map(|i| json!({"pscore": 0.25, "pi_e_pscore": 0.25, "pseudo_inverse_weight": 1.0, "positions": (0..2).map(|at| json!({
                "reward": (i + at) % 2, "pscore_item_position": 0.5, "pi_e_pscore_item_position": 0.5, "pscore_cascade": 0.5, "pi_e_pscore_cascade": 0.5,
                "q_hat": 0.4, "pi_e_q_hat": 0.6})).collect::<Vec<_>>()})).collect::<Vec<_>>()}),
        ),
        (
            "POST",
            "/v1/ope",
            "/v1/ope".into(),
            json!({"slates": [{"positions": []}]}),
        ),
        ("GET", "/v1/status", "/v1/status".into(), Value::Null),
        ("GET", "/v1/models", "/v1/models".into(), Value::Null),
        ("GET", "/v1/placements", "/v1/placements".into(), Value::Null),
        ("GET", "/v1/chaos", "/v1/chaos".into(), Value::Null),
        (
            "PUT",
            "/v1/chaos",
            "/v1/chaos".into(),
            json!({"ranker": {"fail": true}}),
        ),
        ("POST", "/v1/train", "/v1/train".into(), json!({"wait": true})),
        ("POST", "/v1/train", "/v1/train".into(), json!({})),
        (
            "GET",
            "/v1/schema/{entity}",
            "/v1/schema/items".into(),
            Value::Null,
        ),
        (
            "GET",
            "/v1/schema/{entity}",
            "/v1/schema/things".into(),
            Value::Null,
        ),
        (
            "PUT",
            "/v1/schema/{entity}/{attribute}",
            "/v1/schema/items/kind".into(),
            json!({"kind": "ids"}),
        ),
        (
            "PUT",
            "/v1/schema/{entity}/{attribute}",
            "/v1/schema/items/kind".into(),
            json!({"kind": null}),
        ),
        (
            "PUT",
            "/v1/schema/{entity}/{attribute}",
            "/v1/schema/items/kind".into(),
            json!({"kind": "number"}),
        ),
        (
            "POST",
            "/v1/page",
            "/v1/page".into(),
            json!({"page": "front", "user_id": "user-0001"}),
        ),
        ("POST", "/v1/page", "/v1/page".into(), json!({"page": "nothing"})),
        ("GET", "/healthz", "/healthz".into(), Value::Null),
        ("GET", "/readyz", "/readyz".into(), Value::Null),
        ("GET", "/metrics", "/metrics".into(), Value::Null),
        ("GET", "/openapi.json", "/openapi.json".into(), Value::Null),
        ("GET", "/", "/".into(), Value::Null),
        ("GET", "/docs", "/docs".into(), Value::Null),
        ("POST", "/act", "/act".into(), Value::Null),
        (
            "DELETE",
            "/v1/users/{id}",
            "/v1/users/user-0001".into(),
            Value::Null,
        ),
    ];
    let mut met = std::collections::BTreeSet::new();
    for (method, form, path, body) in &requests {
        let got: Got = match *form {
            "/act" => {
                let kind = [("content-type", "application/x-www-form-urlencoded")];
                world.raw(
                    method,
                    path,
                    &kind,
                    b"user=u&item=item-0002&type=click&placement=home",
                )
            }
            _ if body.is_null() => world.raw(method, path, &[], b""),
            _ => world.send(method, path, body),
        };
        let operation = &document["paths"][form][method.to_lowercase()];
        let answer = &operation["responses"][got.status.to_string()];
        assert!(
            answer.is_object(),
            "{method} {path}: {} is not documented: {}",
            got.status,
            got.text()
        );
        let kind = got
            .head
            .lines()
            .find_map(|l| l.strip_prefix("content-type: "))
            .unwrap()
            .to_owned();
        if let Some(content) = answer["content"].as_object() {
            let schema = content
                .get(&kind)
                .unwrap_or_else(|| panic!("{method} {path}: {kind} is not documented"));
            assert_eq!(
                wrong(&got.json(), &schema["schema"], all, "body"),
                None,
                "{method} {path}: {}",
                got.text()
            );
        }
        met.insert((form.to_string(), method.to_lowercase()));
    }
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            assert!(
                met.contains(&(path.clone(), method.clone())),
                "{method} {path} is documented and not tested"
            );
        }
    }
    let metrics = world.get("/metrics").text();
    for name in [
        "concierge_requests_total",
        "concierge_request_seconds_bucket",
        "concierge_events ",
        "concierge_rows_total",
    ] {
        assert!(metrics.contains(name), "no {name} in\n{metrics}");
    }
}
