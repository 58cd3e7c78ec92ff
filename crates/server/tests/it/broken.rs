//! Requests that cannot be, each with what it is told.

use crate::world::World;

struct Case {
    what: &'static str,
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    status: u16,
    /// Field and what was expected of it.
    field: &'static str,
    expected: &'static str,
}

fn post(
    what: &'static str,
    path: &'static str,
    body: impl Into<Vec<u8>>,
    field: &'static str,
    expected: &'static str,
) -> Case {
    Case {
        what,
        method: "POST",
        path,
        headers: vec![("content-type", "application/json")],
        body: body.into(),
        status: 400,
        field,
        expected,
    }
}

fn recommend(what: &'static str, fields: &str, field: &'static str, expected: &'static str) -> Case {
    post(
        what,
        "/v1/recommend",
        format!("{{\"placement\":\"home\",{fields}}}"),
        field,
        expected,
    )
}

const MOMENT: &str = "Unix seconds or milliseconds, RFC 3339, or a date such as 2024-05-31";
const TYPES: &str = "one of cart, click, dismiss, impression, like, purchase, rating, return, view";

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    let deep = [b"{\"placement\":".to_vec(), b"[".repeat(50_000), b"]".repeat(50_000), b"}".to_vec()].concat();
    let many = b"{\"user_id\":\"u\",\"item_id\":\"i\",\"event_type\":\"click\"}\n".repeat(2001);
    let not_json = |mut case: Case, kind: &'static str| { case.headers = vec![("content-type", kind)]; case.status = 415; case };
    let with = |mut case: Case, header: (&'static str, &'static str), status: u16| { case.headers.push(header); case.status = status; case };
    let but = |mut case: Case, method: &'static str, status: u16| { case.method = method; case.status = status; case };
    vec![
        post("nothing", "/v1/recommend", "", "body", "a JSON object"),
        post("a cut object", "/v1/recommend", "{\"placement\":\"home\"", "body", "JSON of the documented form"),
        post("no JSON", "/v1/recommend", "placement=home", "body", "a JSON object"),
        post("an array", "/v1/recommend", "[]", "body", "a JSON object"),
        post("a number", "/v1/recommend", "7", "body", "a JSON object"),
        post("two values", "/v1/recommend", "{\"placement\":\"home\"}{}", "body", "one JSON value and nothing after it"),
        post("no UTF-8", "/v1/recommend", b"{\"placement\":\"\xff\"}".to_vec(), "body", "UTF-8"),
        post("very deep", "/v1/recommend", deep.clone(), "body", "at most 10 levels"),
        post("no placement", "/v1/recommend", "{}", "placement", "a value"),
        post("an unknown placement", "/v1/recommend", "{\"placement\":\"attic\"}", "placement", "one of home"),
        post("a placement that is a number", "/v1/recommend", "{\"placement\":3}", "placement", "a string"),
        recommend("an unknown field", "\"user\":\"u\"", "user", "one of placement, user_id, session, attributes, context, item_id, n, filter, exclude, candidates, proposed, relevance_min, explain, seed, preview"),
        recommend("a preview that is no answer to yes or no", "\"preview\":\"yes\"", "preview", "a boolean"),
        recommend("a field twice", "\"n\":1,\"n\":2", "n", "each field once"),
        recommend("no items asked for", "\"n\":0", "n", "1 to 1000"),
        recommend("too many items", "\"n\":1001", "n", "1 to 1000"),
        recommend("a negative number", "\"n\":-1", "n", "usize"),
        recommend("half an item", "\"n\":1.5", "n", "usize"),
        recommend("an empty user", "\"user_id\":\"\"", "user_id", "an id of 1 to 256 bytes"),
        recommend("a user with a line end", "\"user_id\":\"a\\nb\"", "user_id", "no control characters"),
        recommend("a seed below zero", "\"seed\":-1", "seed", "u64"),
        recommend("a session that is none", "\"session\":{}", "session", "a sequence"),
        recommend("a session without item", "\"session\":[{}]", "session[0].item_id", "a value"),
        recommend("a session of unknown acts", "\"session\":[{\"item_id\":\"item-0001\",\"event_type\":\"stare\"}]", "session[0].event_type", TYPES),
        recommend("a session at no time", "\"session\":[{\"item_id\":\"item-0001\",\"timestamp\":\"noon\"}]", "session[0].timestamp", MOMENT),
        recommend("no candidates", "\"candidates\":[]", "candidates.length", "1 to 10000"),
        recommend("an unknown candidate", "\"candidates\":[\"item-0001\",\"what\"]", "candidates[1]", "the id of an item in the catalogue"),
        recommend("an unknown proposal", "\"proposed\":[\"item-0001\",\"what\"]", "proposed[1]", "the id of an item in the catalogue"),
        recommend("proposals with and without scores", "\"proposed\":[{\"item_id\":\"item-0001\",\"score\":1},\"item-0002\"]", "proposed[1]", "scores for all items or for none"),
        recommend("a proposal that is a number", "\"proposed\":[7]", "proposed[0]", "an id, or an object with item_id and score"),
        recommend("a proposal without item", "\"proposed\":[{\"score\":1}]", "proposed[0]", "an id, or an object with item_id and score"),
        recommend("an unknown attribute", "\"filter\":{\"attribute\":\"colour\",\"equals\":\"red\"}", "filter.attribute", "an attribute that items have, such as kind, title"),
        recommend("a filter without condition", "\"filter\":{\"attribute\":\"kind\"}", "filter", "at least one of equals, any, none, min, max, exists"),
        recommend("a filter that compares labels", "\"filter\":{\"attribute\":\"kind\",\"min\":3}", "filter.min", "a number or timestamp attribute, this one is of kind tags"),
        recommend("attributes that are none", "\"attributes\":[1]", "attributes", "a map"),
        recommend("an attribute without name", "\"context\":{\"\":1}", "context", "a name of 1 to 128 bytes without control characters"),
        recommend("a place that is not", "\"context\":{\"at\":{\"lat\":100,\"lon\":0}}", "context.at", "a finite number, text of up to 65536 bytes, a point in degrees, or a list of up to 8192"),
        post("an unknown model", "/v1/similar", "{\"item_id\":\"item-0001\",\"model\":\"oracle\"}", "model", "one of blend, trending, ease, spectral, als, item-bm25, content, popular"),
        post("no item to be like", "/v1/similar", "{}", "item_id", "a value"),
        post("nothing to rank", "/v1/rank", "{\"candidates\":[]}", "candidates.length", "1 to 10000"),
        post("too many rows", "/v1/events", many, "body", "1 to 2000 rows"),
        post("no rows", "/v1/events", "[]", "body", "at least one"),
        post("no events", "/v1/events", " \n ", "body", "an object, an array of objects, or an object per line"),
        post("a training of something", "/v1/train", "{\"model\":\"als\"}", "model", "wait"),
        but(post("a kind that is none", "/v1/schema/items/kind", "{\"kind\":\"colour\"}", "kind", "one of category, tags, number, text, timestamp, geo, embedding, ids"), "PUT", 400),
        but(post("a kind left out", "/v1/schema/items/kind", "{}", "kind", "a value"), "PUT", 400),
        but(post("a kind that does not fit", "/v1/schema/items/kind", "{\"kind\":\"geo\"}", "items.item-0000.attributes.kind", "{lat, lon} in degrees"), "PUT", 400),
        but(post("an attribute that is not there", "/v1/schema/items/colour", "{\"kind\":\"text\"}", "attribute", "an attribute that one of the items has"), "PUT", 400),
        but(post("another entity", "/v1/schema/films", "", "entity", "items or users"), "GET", 404),
        but(post("no such path", "/v1/recommendations", "{}", "path", "a path of /openapi.json"), "POST", 404),
        but(post("no such method", "/v1/recommend", "", "method", "POST"), "GET", 405),
        but(post("a made-up method", "/v1/items", "", "method", "PUT"), "BREW", 405),
        not_json(post("a form", "/v1/events", "user_id=u", "Content-Type", "application/json or application/x-ndjson"), "application/x-www-form-urlencoded"),
        not_json(post("plain text", "/v1/recommend", "{}", "Content-Type", "application/json or application/x-ndjson"), "text/plain"),
        not_json(post("lines where one is asked for", "/v1/recommend", "{}", "Content-Type", "application/json"), "application/x-ndjson"),
        with(post("a form of another site", "/act", "user=u", "Origin", "a request from a page of this server, or from no page"), ("sec-fetch-site", "cross-site"), 403),
        with(post("another origin", "/v1/events", "{}", "Origin", "a request from a page of this server, or from no page"), ("origin", "https://elsewhere.example"), 403),
        with(post("another host", "/v1/status", "", "Host", "localhost, or a name given with --host"), ("host", "rebound.example"), 421),
        with(post("a large body", "/v1/events", vec![b' '; 400_000], "body", "at most 300000 bytes; send it in parts"), ("accept", "*/*"), 413),
        with(post("a body said to be large", "/v1/events", "{}", "body", "at most 300000 bytes; send it in parts"), ("content-length", "999999999"), 413),
        with(post("a body that does not come", "/v1/events", "{", "request", "a request that is sent and done by then; sending it again is safe"), ("content-length", "500"), 408),
    ]
}

#[test]
fn every_broken_request_is_told_who_must_do_what() {
    let world = World::trained();
    let before = world.service.status();
    let cases = cases();
    assert!(cases.len() >= 40);
    let mut wrong = Vec::new();
    for case in cases {
        let got = world.raw(case.method, case.path, &case.headers, &case.body);
        let told: serde_json::Value = serde_json::from_slice(&got.body).unwrap_or_default();
        let is = (
            got.status,
            told["field"].as_str().unwrap_or(""),
            told["expected"].as_str().unwrap_or(""),
        );
        let problem = got.head.contains("application/problem+json")
            && told["who"] == "caller"
            && told["got"].is_string();
        if is != (case.status, case.field, case.expected) || !problem {
            wrong.push(format!(
                "{}\n   got      {is:?}  {}\n   expected {:?}",
                case.what,
                got.text(),
                (case.status, case.field, case.expected)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let after = world.service.status();
    assert_eq!(
        (after.events, after.items, after.users),
        (before.events, before.items, before.users)
    );
}
