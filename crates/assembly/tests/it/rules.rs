//! Rules of the product: in force at once, whatever comes after, and written down.

use crate::world::{START, World, ask, event, ids, item};
use assembly::{
    CONFIG_FILE, DryRunRequest, FixedClock, ItemInput, RankRequest, RecommendRequest, RecommendResponse,
    RuleForm, Service, ServiceError, SimilarRequest,
};
use domain::{Attributes, EntityKind, RawAttribute, RuleChange, Timestamp};
use numeric::SeededStream;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

const PLACEMENTS: &str = r#"
[placements.home]
exclude_seen = false

[placements.half]
exclude_seen = false
[placements.half.policy]
name = "epsilon-greedy"
epsilon = 0.5

[placements.soft]
exclude_seen = false
[placements.soft.policy]
name = "softmax"
temperature = 0.6

[placements.drawn]
sources = ["similar"]
[placements.drawn.policy]
name = "thompson"
"#;

fn world() -> World {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join(CONFIG_FILE), PLACEMENTS).unwrap();
    let clock = Arc::new(FixedClock::at(Timestamp(START.0 + 30 * 86_400_000)));
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    let world = World { dir, clock, service };
    world.fill();
    world.service.train(&|_| {}).unwrap();
    world
}

fn rule(value: serde_json::Value) -> RuleForm {
    serde_json::from_value(value).unwrap()
}

fn put(world: &World, value: serde_json::Value) {
    world.service.put_rules(vec![rule(value)], false).unwrap();
}

/// Number at the end of an id.
fn number(id: &str) -> u32 {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

fn is_even(id: &str) -> bool {
    number(id).is_multiple_of(2)
}

/// An impression of now; with its moment, since two without are taken for one.
fn shown(world: &World, item: &str) -> assembly::EventInput {
    assembly::EventInput {
        timestamp: Some(assembly::Moment::Number(world.service.now().0 as f64)),
        ..event("user-0001", item, "impression")
    }
}

/// What a random rule says, by the number of an item and the country of the person.
type Oracle = Box<dyn Fn(u32, &str) -> bool>;

fn wide(user: &str, placement: &str) -> RecommendRequest {
    RecommendRequest {
        placement: placement.into(),
        n: Some(40),
        ..ask(user)
    }
}

#[test]
fn rules_are_versioned_checked_and_survive() {
    let world = world();
    let refused = |value: serde_json::Value, field: &str, expected: &str| match world
        .service
        .put_rules(vec![rule(value)], false)
    {
        Err(ServiceError::Input(problem)) => {
            assert_eq!(problem.field, field);
            assert!(problem.expected.contains(expected), "{problem:?}");
        }
        other => panic!("{field}: {other:?}"),
    };
    let exclude = |name: &str, condition: &str| json!({"name": name, "kind": "exclude", "reason": "a test", "where": condition});
    refused(
        exclude("r", "item.colour == 'red'"),
        "where",
        "such as kind, title",
    );
    refused(
        exclude("r", "item.kind == 'odd'"),
        "where",
        "a value `in` the list",
    );
    refused(exclude("r", "user.age > 3"), "where", "there is none yet");
    let pin = json!({"name": "p", "kind": "pin", "reason": "x", "slot": 1, "items": ["item-0001", "gone"]});
    refused(pin, "items[1]", "the id of an item");
    let batch = vec![
        rule(exclude("a", "true")),
        rule(exclude("b", "item.colour == 'red'")),
    ];
    match world.service.put_rules(batch, true) {
        Err(ServiceError::Input(problem)) => assert_eq!(problem.field, "[1].where"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        world.service.rules(None).unwrap().version,
        0,
        "nothing was stored"
    );
    let before = world.service.recommend(&wide("user-0001", "home")).unwrap();
    let odd = exclude("no-odd", "'odd' in item.kind");
    let report = world.service.put_rules(vec![rule(odd.clone())], false).unwrap();
    assert_eq!((report.version, report.created), (1, 1));
    let report = world.service.put_rules(vec![rule(odd.clone())], false).unwrap();
    assert_eq!((report.version, report.unchanged), (1, 1));
    let after = world.service.recommend(&wide("user-0001", "home")).unwrap();
    assert!(ids(&after).iter().all(|id| is_even(id)), "{:?}", ids(&after));
    let kept = |answer: &RecommendResponse| world.service.decision(&answer.decision_id).unwrap().decision;
    let (before, after) = (kept(&before), kept(&after));
    assert_ne!(before.config_hash, after.config_hash, "the hash names the rules");
    assert_eq!(before.rules, None);
    let record = after.rules.unwrap();
    assert_eq!((record.version, record.active), (1, vec!["no-odd".to_owned()]));
    let removal = after
        .removals
        .iter()
        .find(|removal| removal.rule == "no-odd")
        .unwrap();
    assert_eq!(removal.reason, "a test");
    // A rule means the same for ever: the kind of what it looks at stays.
    let fixed = world.service.fix_kind(EntityKind::Item, "kind", None);
    assert!(matches!(fixed, Err(ServiceError::Input(p)) if p.expected.contains("rule no-odd")));
    let strange = ItemInput {
        attributes: Attributes::from([("kind".to_owned(), RawAttribute::Number(3.0))]),
        ..item("item-0100", "odd")
    };
    world
        .service
        .put_items(vec![Ok(strange), Ok(item("item-0101", "odd"))])
        .unwrap();
    let slate = ids(&world.service.recommend(&wide("user-0001", "home")).unwrap());
    assert!(
        !slate.contains(&"item-0101".to_owned()),
        "a new item is looked at"
    );
    let given = RankRequest {
        candidates: vec!["item-0001".into(), "item-0002".into()],
        placement: None,
        user_id: None,
        session: vec![],
        explain: false,
    };
    assert_eq!(ids(&world.service.rank(&given).unwrap()), ["item-0002"]);
    let like = SimilarRequest {
        item_id: "item-0001".into(),
        n: Some(20),
        model: None,
        filter: None,
    };
    let like = world.service.similar(&like).unwrap();
    assert!(!like.items.is_empty() && like.items.iter().all(|i| is_even(&i.item_id)));
    let (world, _) = world.reopened();
    let again = world.service.recommend(&wide("user-0001", "home")).unwrap();
    assert!(ids(&again).iter().all(|id| is_even(id)), "after a restart");
    assert_eq!(world.service.delete_rule("no-odd").unwrap().version, 2);
    assert!(matches!(
        world.service.delete_rule("no-odd"),
        Err(ServiceError::NotFound { .. })
    ));
    assert_eq!(world.service.rules(None).unwrap().rules, []);
    assert_eq!(world.service.rules(Some(1)).unwrap().rules, [rule(odd)]);
    assert!(matches!(
        world.service.rules(Some(3)),
        Err(ServiceError::NotFound { .. })
    ));
    let free = world.service.recommend(&wide("user-0001", "home")).unwrap();
    assert!(ids(&free).iter().any(|id| number(id) % 2 == 1));
}

#[test]
fn what_moves_moves_and_is_written_down() {
    let world = world();
    let top = |placement: &str| {
        let request = RecommendRequest {
            placement: placement.into(),
            n: Some(6),
            explain: true,
            seed: Some(3),
            ..ask("user-0001")
        };
        world.service.recommend(&request).unwrap()
    };
    let plain = ids(&top("home"));
    let last = plain[5].clone();
    put(
        &world,
        json!({"name": "up", "kind": "boost", "reason": "x", "strength": 50, "where": format!("item.id == '{last}'")}),
    );
    let slate = top("home");
    assert_eq!(ids(&slate)[0], last);
    let parts = slate.items[0].explanation.as_ref().unwrap();
    let by_rule = parts.iter().find(|part| part.kind == "rule").unwrap();
    assert!(by_rule.of == "up" && by_rule.value > 0.0);
    let sum: f64 = parts.iter().map(|part| f64::from(part.value)).sum();
    assert!(
        (sum - f64::from(slate.items[0].score)).abs() < 1e-3,
        "parts sum to the score"
    );
    world.service.delete_rule("up").unwrap();
    put(
        &world,
        json!({"name": "last", "kind": "bury", "reason": "x", "strength": 50, "where": format!("item.id == '{}'", plain[0])}),
    );
    assert!(!ids(&top("home")).contains(&plain[0]));
    // Pins, one of an item that no source would think of: it is seen, hidden from sources by kind, or low.
    put(
        &world,
        json!({"name": "here", "kind": "pin", "reason": "x", "slot": 3, "items": ["item-0038"]}),
    );
    put(
        &world,
        json!({"name": "there", "kind": "pin", "reason": "x", "slot": 3, "items": ["item-0036"], "priority": -1}),
    );
    for placement in ["home", "half", "soft"] {
        let slate = top(placement);
        assert_eq!(
            ids(&slate)[2..4],
            ["item-0038", "item-0036"],
            "{placement}: taken, so the next"
        );
        assert_eq!(
            (slate.items[2].propensity, slate.items.len()),
            (1.0, 6),
            "{placement}"
        );
        let kept = world.service.decision(&slate.decision_id).unwrap().decision;
        let effects = kept.rules.unwrap().effects;
        let pinned = effects
            .iter()
            .filter(|e| matches!(e.change, RuleChange::Pinned { .. }));
        let told: Vec<_> = pinned.map(|e| (e.rule.as_str(), e.item_id.as_str())).collect();
        assert_eq!(
            told,
            [("here", "item-0038"), ("there", "item-0036")],
            "{placement}"
        );
    }
    put(
        &world,
        json!({"name": "not-that", "kind": "exclude", "reason": "x", "where": "item.id == 'item-0038'"}),
    );
    assert_eq!(
        ids(&top("home"))[2],
        "item-0036",
        "a pin never overrides what removes"
    );
    for name in ["here", "there", "not-that", "last"] {
        world.service.delete_rule(name).unwrap();
    }
    // A bound on odd things, which this person likes: on the slate, by chance or not, and where the ladder fills.
    put(
        &world,
        json!({"name": "few-odd", "kind": "quota", "reason": "x", "max": 2, "where": "'odd' in item.kind"}),
    );
    for placement in ["home", "half", "soft", "drawn"] {
        let slate = top(placement);
        let odd = ids(&slate).iter().filter(|id| number(id) % 2 == 1).count();
        assert!(odd <= 2 && slate.items.len() == 6, "{placement}");
        assert!(odd == 2 || placement != "home", "what the person likes");
        let kept = world.service.decision(&slate.decision_id).unwrap().decision;
        let product: f64 = slate.items.iter().map(|item| item.propensity).product();
        assert!((kept.policy.unwrap().slate_propensity - product).abs() < 1e-12);
        let all = world.service.recommend(&wide("user-0001", placement)).unwrap();
        let odd = ids(&all).iter().filter(|id| number(id) % 2 == 1).count();
        assert_eq!(odd, 2, "{placement}: {:?}", ids(&all));
    }
    let kept = world.service.decision(&top("home").decision_id).unwrap().decision;
    let over = kept.rules.unwrap().effects;
    assert!(
        over.iter()
            .any(|e| matches!(e.change, RuleChange::PassedOver { .. })),
        "{over:?}"
    );
}

#[test]
fn under_a_quota_propensities_are_those_of_the_draws() {
    let world = world();
    put(
        &world,
        json!({"name": "one-odd", "kind": "quota", "reason": "x", "max": 1, "where": "'odd' in item.kind"}),
    );
    put(
        &world,
        json!({"name": "one-early", "kind": "quota", "reason": "x", "min": 1,
        "where": "item.id in ['item-0000', 'item-0002']"}),
    );
    for placement in ["half", "soft"] {
        let (mut seen, mut said): (BTreeMap<String, u32>, BTreeMap<String, f64>) = Default::default();
        let trials = 1_500;
        for seed in 0..trials {
            let request = RecommendRequest {
                placement: placement.into(),
                n: Some(2),
                seed: Some(seed),
                candidates: Some(
                    ["item-0000", "item-0001", "item-0002", "item-0003", "item-0004"]
                        .map(String::from)
                        .into(),
                ),
                ..ask("user-0001")
            };
            let slate = world.service.recommend(&request).unwrap();
            let key = ids(&slate).join(" ");
            let odd = ids(&slate).iter().filter(|id| number(id) % 2 == 1).count();
            assert!(
                odd <= 1 && (key.contains("0000") || key.contains("0002")),
                "{key}"
            );
            *seen.entry(key.clone()).or_default() += 1;
            let product = slate.policy.unwrap().slate_propensity;
            let known = *said.entry(key.clone()).or_insert(product);
            assert!(
                (known - product).abs() < 1e-12,
                "{placement}: {key} has one propensity"
            );
        }
        let total: f64 = said.values().sum();
        assert!(
            said.len() > 6 && total > 0.99 && total < 1.0 + 1e-9,
            "{placement}: they sum to {total}"
        );
        for (key, count) in &seen {
            let chance = said[key];
            let n = trials as f64;
            let deviation = (chance * (1.0 - chance) * n).sqrt().max(1.0);
            // Four and a half standard deviations: below 1 in 1,000 for all slates together.
            assert!(
                (f64::from(*count) - chance * n).abs() < 4.5 * deviation,
                "{placement} {key}: {count}, {chance}"
            );
        }
    }
}

#[test]
fn caps_and_windows_go_by_what_was_written_just_before() {
    let world = world();
    put(
        &world,
        json!({"name": "cap", "kind": "frequency_cap", "reason": "enough", "times": 2, "window_hours": 24}),
    );
    let first = ids(&world.service.recommend(&ask("user-0001")).unwrap())[0].clone();
    for _ in 0..2 {
        assert!(ids(&world.service.recommend(&wide("user-0001", "home")).unwrap()).contains(&first));
        world.later(1);
        world.service.ingest(vec![Ok(shown(&world, &first))]).unwrap();
    }
    let slate = world.service.recommend(&wide("user-0001", "home")).unwrap();
    assert!(!ids(&slate).contains(&first), "shown twice");
    assert!(
        ids(&world.service.recommend(&wide("user-0003", "home")).unwrap()).contains(&first),
        "to another"
    );
    world.later(24 * 3_600_000);
    assert!(
        ids(&world.service.recommend(&wide("user-0001", "home")).unwrap()).contains(&first),
        "a day later"
    );
    let now = world.service.now().0;
    put(
        &world,
        json!({"name": "soon", "kind": "exclude", "reason": "x", "from": now + 10, "until": now + 20, "where": "true"}),
    );
    for (at, empty) in [(9, false), (10, true), (19, true), (20, false)] {
        world.clock.set(Timestamp(now + at));
        let slate = world.service.recommend(&wide("user-0001", "home")).unwrap();
        assert_eq!(slate.items.is_empty(), empty, "{at}");
    }
    let phone = |device: &str| {
        let mut request = wide("user-0001", "home");
        request
            .context
            .insert("device".into(), RawAttribute::Text(device.into()));
        ids(&world.service.recommend(&request).unwrap())
    };
    put(
        &world,
        json!({"name": "phones", "kind": "filter", "reason": "x", "where": "context.device != 'phone' || 'even' in item.kind"}),
    );
    assert!(phone("phone").iter().all(|id| is_even(id)));
    assert!(phone("desk").iter().any(|id| number(id) % 2 == 1));
    let dry = DryRunRequest {
        rules: vec![rule(
            json!({"name": "no-odd", "kind": "exclude", "reason": "a try", "where": "'odd' in item.kind"}),
        )],
        decisions: Some(2),
        placement: Some("home".into()),
    };
    let report = world.service.dry_run(&dry).unwrap();
    let odd = phone("desk").iter().filter(|id| number(id) % 2 == 1).count() as u64;
    let rule = &report.rules["no-odd"];
    assert_eq!(
        (report.decisions, rule.applied, rule.shown_removed),
        (2, 2, odd),
        "{report:?}"
    );
    assert_eq!(report.slates_changed, 1, "the slate for the phone had none");
    assert_eq!(
        (
            report.examples[0].rule.as_str(),
            report.examples[0].reason.as_str()
        ),
        ("no-odd", "a try")
    );
    assert_eq!(
        world.service.rules(None).unwrap().rules.len(),
        3,
        "a dry run stores nothing"
    );
}

/// A random rule that removes, with a slow obvious version of it: the condition on the number of an item and the person's country.
fn random_hard(stream: &mut SeededStream, at: usize) -> (serde_json::Value, Oracle) {
    let mut draw = |n: u64| stream.next_u64() % n;
    let (a, b) = (draw(40) as u32, draw(40) as u32);
    let list: Vec<String> = (0..=draw(4))
        .map(|k| format!("'item-{:04}'", (u64::from(a) + 7 * k) % 40))
        .collect();
    let in_list = list.clone();
    let (text, is_true): (String, Oracle) = match draw(6) {
        0 => ("'odd' in item.kind".into(), Box::new(|n, _| n % 2 == 1)),
        1 => (
            format!("item.id in [{}]", list.join(", ")),
            Box::new(move |n, _| in_list.contains(&format!("'item-{n:04}'"))),
        ),
        2 => (
            format!("user.country == 'CH' && item.id > 'item-{a:04}'"),
            Box::new(move |n, country| country == "CH" && n > a),
        ),
        3 => (
            format!("item.kind.exists(k, k == 'even') && !(item.id < 'item-{b:04}')"),
            Box::new(move |n, _| n.is_multiple_of(2) && n >= b),
        ),
        4 => (
            "context.device == 'phone' ? 'odd' in item.kind : item.id.endsWith('7')".into(),
            Box::new(|n, _| n % 2 == 1),
        ),
        _ => (
            format!("item.title.contains('{}') || request.history_size > 1000", a % 10),
            Box::new(move |n, _| format!("The item-{n:04}").contains(&(a % 10).to_string())),
        ),
    };
    let is_filter = draw(4) == 0;
    let kind = if is_filter { "filter" } else { "exclude" };
    let text = if is_filter { format!("!({text})") } else { text };
    let value = json!({"name": format!("hard-{at}"), "kind": kind, "reason": "random", "where": text,
        "priority": draw(5) as i64 - 2});
    (value, is_true)
}

#[test]
fn hard_exclusions_hold_after_every_step_for_random_rules() {
    let world = world();
    let users = |country: &str| {
        let attributes = Attributes::from([("country".to_owned(), RawAttribute::Text(country.into()))]);
        assembly::UserInput {
            user_id: "user-0001".into(),
            attributes,
        }
    };
    let mut stream = SeededStream::new(5, 0xbad);
    let (mut shown, mut forbidden, mut filled) = (0usize, 0usize, 0usize);
    for round in 0..60 {
        let old = world.service.rules(None).unwrap().rules;
        for rule in old {
            world.service.delete_rule(&rule.name).unwrap();
        }
        let country = if stream.next_u64().is_multiple_of(2) {
            "CH"
        } else {
            "AT"
        };
        world.service.put_users(vec![Ok(users(country))]).unwrap();
        let mut forms = Vec::new();
        let mut oracles = Vec::new();
        for at in 0..1 + (stream.next_u64() % 3) as usize {
            let (form, oracle) = random_hard(&mut stream, at);
            forms.push(rule(form));
            oracles.push(oracle);
        }
        let mut draw = |n: u64| stream.next_u64() % n;
        forms.push(rule(json!({"name": "up", "kind": "boost", "reason": "x", "strength": 100, "where": "'odd' in item.kind"})));
        forms.push(rule(
            json!({"name": "at", "kind": "pin", "reason": "x", "slot": 1 + draw(3), "items":
            [format!("item-{:04}", draw(40)), format!("item-{:04}", draw(40))]}),
        ));
        let max = 1 + draw(4) as usize;
        forms.push(rule(json!({"name": "few", "kind": "quota", "reason": "x", "max": max, "where": "item.id < 'item-0010'"})));
        forms.push(rule(json!({"name": "some", "kind": "quota", "reason": "x", "min": 2, "where": "item.id > 'item-0030'"})));
        let hidden = draw(40) as u32;
        let placement = ["home", "half", "soft", "drawn"][draw(4) as usize];
        let n = [3, 8, 40][draw(3) as usize];
        let mut request = RecommendRequest {
            placement: placement.into(),
            n: Some(n),
            ..ask("user-0001")
        };
        request
            .context
            .insert("device".into(), RawAttribute::Text("phone".into()));
        // Written a moment before the request, and one thing hidden.
        world.later(1);
        world.service.put_rules(forms.clone(), true).unwrap();
        let kind = if hidden.is_multiple_of(2) { "even" } else { "odd" };
        let hide = |hidden_now: bool| {
            let put = ItemInput {
                hidden: hidden_now,
                ..item(&format!("item-{hidden:04}"), kind)
            };
            world.service.put_items(vec![Ok(put)]).unwrap();
        };
        hide(true);
        let slate = world.service.recommend(&request).unwrap();
        hide(false);
        filled += usize::from(slate.degraded.iter().any(|d| d.stage.starts_with("ladder/")));
        let told = || {
            format!(
                "round {round}, {placement}, n {n}, {country}: {:?}\n{forms:#?}",
                ids(&slate)
            )
        };
        let removes = |id: u32| id == hidden || oracles.iter().any(|oracle| oracle(id, country));
        for id in ids(&slate) {
            assert!(!removes(number(&id)), "{id} was removed: {}", told());
            shown += 1;
        }
        forbidden += (0..40).filter(|id| removes(*id)).count();
        let few = ids(&slate).iter().filter(|id| number(id) < 10).count();
        assert!(few <= max, "{few} of at most {max}: {}", told());
        let mut met = ids(&slate);
        met.sort();
        met.dedup();
        assert_eq!(met.len(), slate.items.len(), "{}", told());
        for item in &slate.items {
            assert!(item.propensity > 0.0 && item.propensity <= 1.0);
        }
    }
    assert!(
        shown > 200 && forbidden > 400 && filled > 5,
        "{shown} {forbidden} {filled}"
    );
}
