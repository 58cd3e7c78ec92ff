//! Whatever is sent, the server answers it, and goes on answering others.

use crate::world::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

const PATHS: [(&str, &str); 10] = [
    ("POST", "/v1/events"),
    ("PUT", "/v1/items"),
    ("PUT", "/v1/users"),
    ("POST", "/v1/recommend"),
    ("POST", "/v1/similar"),
    ("POST", "/v1/rank"),
    ("POST", "/v1/train"),
    ("PUT", "/v1/schema/items/kind"),
    ("POST", "/v1/ope"),
    ("POST", "/act"),
];
const SEEDS: [&str; 7] = [
    r#"{"user_id":"u","item_id":"item-0001","event_type":"click","timestamp":1700000000,"context":{"a":[1,2]}}"#,
    r#"[{"item_id":"x","attributes":{"title":"T","kind":["odd"]},"hidden":false,"added_at":"2020-01-01"}]"#,
    r#"{"placement":"home","user_id":"user-0001","n":5,"filter":{"attribute":"kind","any":["odd"]},"explain":true}"#,
    r#"{"candidates":["item-0001","item-0002"],"session":[{"item_id":"item-0003","event_type":"like"}]}"#,
    r#"{"item_id":"item-0001","model":"content","n":3}"#,
    r#"{"slates":[{"positions":[{"reward":1,"q_hat":0.5,"pi_e_q_hat":0.4}],"pscore":0.5,"pi_e_pscore":0.2},{"positions":[{"reward":0,"q_hat":0.1,"pi_e_q_hat":0.2}],"pscore":0.25,"pi_e_pscore":1}],"resamples":20}"#,
    "user=u&item=item-0001&type=click&placement=home&before=a%0Ab",
];

/// 600 requests with mutated bodies, paths and queries.
#[test]
fn mutated_requests_get_answers_and_never_a_defect() {
    let world = World::trained();
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    let strategy = (
        0..PATHS.len(),
        0..SEEDS.len(),
        prop::collection::vec(change, 0..8),
        "[ -~]{0,20}",
        0..4u8,
    );
    let config = Config {
        cases: 600,
        rng_seed: RngSeed::Fixed(21),
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&strategy, |(path, seed, changes, tail, kind)| {
            let mut body = SEEDS[seed].as_bytes().to_vec();
            for (at, byte, how) in changes {
                let at = at.index(body.len().max(1)).min(body.len().saturating_sub(1));
                match how {
                    _ if body.is_empty() => {}
                    0 => body[at] = byte,
                    1 => body.insert(at, byte),
                    2 => {
                        body.remove(at);
                    }
                    _ => body.truncate(at),
                }
            }
            let (method, path) = PATHS[path];
            let kinds = [
                "application/json",
                "application/x-ndjson",
                "application/x-www-form-urlencoded",
                "application/json; charset=utf-8",
            ];
            let got = world.raw(method, path, &[("content-type", kinds[kind as usize])], &body);
            prop_assert!(
                got.status >= 200 && got.status < 500,
                "{} {} {}",
                method,
                path,
                got.text()
            );
            let safe: String = tail.bytes().map(|b| format!("%{b:02x}")).collect();
            for path in [
                format!("/?user={safe}&q={safe}&before={safe}"),
                format!("/v1/items/{safe}"),
                format!("/v1/decisions/{safe}x"),
            ] {
                let got = world.get(&path);
                prop_assert!(got.status >= 200 && got.status < 500, "{} {}", path, got.text());
            }
            Ok(())
        })
        .unwrap();
    let raw: [&[u8]; 6] = [
        b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET",
        b"\x16\x03\x01\x02\x00",
        b"POST /v1/events HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    ];
    for bytes in raw {
        let got = world.bytes(&[bytes, b"\r\n\r\n"].concat());
        assert!(got.status < 500, "{bytes:?}: {}", got.status);
    }
    assert_eq!(world.slate("user-0001").len(), 10);
}
