//! Kinds of rules, for requests.

use crate::world::{DAY_MS, Items, NOW, Value, compiled, moment, position, rule};
use domain::{Candidate, Limit, Pin, Query, RawAttribute, Steering, Timestamp, Verdict};
use rules::{Bound, Exposure, Memos, Request, RuleForm, RuleKind, RuleSet};
use std::collections::BTreeMap;
use std::sync::Arc;

fn items() -> Items {
    let makers = ["Acme", "Acme", "Acme", "Zeta", "Zeta", "Omni"];
    let genres: [&[&str]; 6] = [
        &["war", "drama"],
        &["war"],
        &[],
        &["drama", "war"],
        &["comedy"],
        &["drama"],
    ];
    let one = |(at, maker): (usize, &&str)| {
        let genres = genres[at].iter().map(|genre| (*genre).to_owned()).collect();
        BTreeMap::from([
            ("genres".to_owned(), Value::Texts(genres)),
            ("maker".to_owned(), Value::Text((*maker).to_owned())),
            ("year".to_owned(), Value::Number(2000.0 + at as f64)),
        ])
    };
    Items(makers.iter().enumerate().map(one).collect())
}

fn bind(forms: Vec<RuleForm>, placement: Option<&str>, exposures: &[Exposure]) -> Bound {
    let rules = forms.into_iter().map(|form| compiled(form).expect("a rule"));
    let set = RuleSet::new(3, rules.collect());
    let query = Query {
        now: NOW,
        n: 4,
        ..Query::default()
    };
    set.bind(Request {
        placement,
        query: &query,
        facts: Arc::new(items()),
        memos: Arc::new(Memos::new(set.n_memos(), 6)),
        position: &position,
        exposures: &|| exposures.to_vec(),
        moment,
    })
}

fn kept(bound: &Bound) -> Vec<u32> {
    let rules = bound.removing();
    let keep = |item: &u32| {
        rules
            .iter()
            .all(|rule| rule.check(&Query::default(), *item) == Verdict::Keep)
    };
    (0..6).filter(keep).collect()
}

fn candidates() -> Vec<Candidate> {
    (0..6)
        .map(|item| Candidate {
            item,
            score: [3.0, 2.0, 1.0, 1.0, 1.0, 1.0][item as usize],
            ..Candidate::default()
        })
        .collect()
}

#[test]
fn what_removes_removes_where_and_when_it_applies() {
    let exclude = rule("no-acme", RuleKind::Exclude, "item.maker == 'Acme'");
    let filter = rule("young", RuleKind::Filter, "item.year >= 2002");
    assert_eq!(kept(&bind(vec![exclude.clone()], Some("home"), &[])), [3, 4, 5]);
    assert_eq!(kept(&bind(vec![filter.clone()], Some("home"), &[])), [2, 3, 4, 5]);
    // What nobody knows is not true: a filter on it leaves nothing, an exclusion removes nothing.
    let unknown = "user.age >= 18";
    assert_eq!(
        kept(&bind(
            vec![rule("f", RuleKind::Filter, unknown)],
            Some("home"),
            &[]
        )),
        [0u32; 0]
    );
    assert_eq!(
        kept(&bind(
            vec![rule("e", RuleKind::Exclude, unknown)],
            Some("home"),
            &[]
        ))
        .len(),
        6
    );
    let here = RuleForm {
        placements: vec!["cart".into()],
        ..exclude.clone()
    };
    assert_eq!(kept(&bind(vec![here.clone()], Some("cart"), &[])), [3, 4, 5]);
    assert_eq!(kept(&bind(vec![here.clone()], Some("home"), &[])).len(), 6);
    assert_eq!(kept(&bind(vec![here], None, &[])).len(), 6);
    let window = |from: i64, until: i64| RuleForm {
        from: Some(RawAttribute::Number((NOW.0 + from) as f64)),
        until: Some(RawAttribute::Number((NOW.0 + until) as f64)),
        ..exclude.clone()
    };
    for (from, until, applies) in [(0, 1, true), (-9, 0, false), (1, 2, false), (-1, 1, true)] {
        let kept = kept(&bind(vec![window(from, until)], Some("home"), &[]));
        assert_eq!(kept.len() == 3, applies, "{from} {until}");
    }
    let off = RuleForm {
        enabled: false,
        ..exclude.clone()
    };
    let bound = bind(vec![off], Some("home"), &[]);
    assert!(bound.is_empty() && bound.active().is_empty() && bound.version() == 3);
    let first = RuleForm {
        priority: 5,
        ..filter
    };
    let rules = bind(vec![exclude, first], Some("home"), &[]).removing();
    assert_eq!(
        rules.iter().map(|rule| rule.name()).collect::<Vec<_>>(),
        ["young", "no-acme"]
    );
    assert_eq!(rules[0].reason("rule"), "because");
}

#[test]
fn caps_count_what_was_shown_within_the_window() {
    let exposure = |item: u32, hours_ago: i64, event_type: &str| Exposure {
        item,
        at: Timestamp(NOW.0 - hours_ago * DAY_MS / 24),
        is_exposure: event_type == "impression",
        event_type: event_type.to_owned(),
    };
    let shown = [
        exposure(0, 1, "impression"),
        exposure(0, 30, "impression"),
        exposure(0, 2, "click"),
        exposure(3, 1, "impression"),
        exposure(3, 0, "impression"),
        exposure(4, 1, "impression"),
    ];
    let cap = |times: u32, hours: f64| RuleForm {
        times: Some(times),
        window_hours: Some(hours),
        ..rule("cap", RuleKind::FrequencyCap, "true")
    };
    let kept = |form: RuleForm| kept(&bind(vec![form], Some("home"), &shown));
    assert_eq!(kept(cap(1, 24.0)), [1, 2, 5]);
    assert_eq!(kept(cap(2, 24.0)), [0, 1, 2, 4, 5]);
    assert_eq!(kept(cap(2, 31.0)), [1, 2, 4, 5]);
    let clicks = RuleForm {
        event_types: vec!["click".into()],
        ..cap(1, 24.0)
    };
    assert_eq!(kept(clicks), [1, 2, 3, 4, 5]);
    let by_maker = RuleForm {
        per: Some("maker".into()),
        ..cap(3, 24.0)
    };
    assert_eq!(kept(by_maker), [0, 1, 2, 5], "three of Zeta");
    let some = RuleForm {
        condition: "item.id == 'd'".into(),
        ..cap(1, 24.0)
    };
    assert_eq!(kept(some), [0, 1, 2, 4, 5]);
}

#[test]
fn scores_places_and_bounds() {
    let boost = RuleForm {
        strength: Some(2.0),
        ..rule("up", RuleKind::Boost, "item.year == 2005")
    };
    let bury = rule("down", RuleKind::Bury, "item.maker == 'Acme'");
    let moved = bind(vec![boost, bury], Some("home"), &[]).adjust(&candidates());
    // Scores 3, 2, 1, 1, 1, 1: mean 1.5, variance (2.25 + 0.25 + 4 · 0.25) / 6.
    let unit = (3.5f32 / 6.0).sqrt();
    let told: Vec<_> = moved.iter().map(|one| (&*one.rule, one.item)).collect();
    assert_eq!(told, [("down", 0), ("down", 1), ("down", 2), ("up", 5)]);
    for (one, by) in moved.iter().zip([-unit, -unit, -unit, 2.0 * unit]) {
        assert!((one.by - by).abs() < 1e-6, "{one:?}");
    }
    let pin = RuleForm {
        slot: Some(2),
        items: vec!["d".into(), "unheard-of".into(), "a".into()],
        ..rule("pin", RuleKind::Pin, "item.maker != 'Zeta'")
    };
    let bound = bind(vec![pin], Some("home"), &[]);
    let expected = Pin {
        rule: "pin".into(),
        slot: 2,
        items: vec![0],
    };
    assert_eq!(bound.pins(), [expected]);
    let quota = RuleForm {
        max: Some(2),
        ..rule("few", RuleKind::Quota, "item.maker == 'Acme'")
    };
    let bound = bind(vec![quota], Some("home"), &[]);
    let limit = |name: &str, members: &[u32], min: usize, max: usize, hard: bool| Limit {
        name: name.into(),
        members: members.into(),
        min,
        max,
        hard,
    };
    assert_eq!(
        bound.limits(&candidates(), 4),
        [limit("few", &[0, 1, 2], 0, 2, true)]
    );
    assert!(bound.forbids(&[0, 1], 2, 4) && !bound.forbids(&[0, 3], 2, 4) && !bound.forbids(&[0, 1], 3, 4));
    let each = RuleForm {
        max_share: Some(0.25),
        per: Some("maker".into()),
        ..rule("each", RuleKind::Quota, "true")
    };
    let bound = bind(vec![each], Some("home"), &[]);
    let limits = [
        limit("each=Acme", &[0, 1, 2], 0, 1, true),
        limit("each=Zeta", &[3, 4], 0, 1, true),
    ];
    assert_eq!(bound.limits(&candidates(), 4), limits);
    assert!(bound.forbids(&[3], 4, 4) && !bound.forbids(&[3], 5, 4));
    let by_genre = RuleForm {
        max: Some(1),
        per: Some("genres".into()),
        ..rule("genre", RuleKind::Quota, "true")
    };
    let expected = [
        limit("genre=drama", &[0, 3, 5], 0, 1, true),
        limit("genre=war", &[0, 1, 3], 0, 1, true),
    ];
    let bound = bind(vec![by_genre], Some("home"), &[]);
    for _ in 0..2 {
        assert_eq!(bound.limits(&candidates(), 4), expected, "remembered or not");
    }
    let least = RuleForm {
        min: Some(1),
        ..rule("least", RuleKind::Quota, "item.maker == 'Omni'")
    };
    let bound = bind(vec![least], Some("home"), &[]);
    assert_eq!(
        bound.limits(&candidates(), 4),
        [limit("least", &[5], 1, usize::MAX, false)]
    );
}

#[test]
fn forms_that_cannot_be() {
    let check = |json: &str, field: &str, expected: &str| {
        let form: RuleForm = serde_json::from_str(json).expect(json);
        let again: RuleForm =
            serde_json::from_str(&serde_json::to_string(&form).expect("JSON")).expect("and back");
        assert_eq!(again, form);
        let error = compiled(form).expect_err(json);
        assert_eq!(error.field, field, "{json}: {error}");
        assert!(error.expected.contains(expected), "{json}: {error}");
    };
    let table = [
        (
            r#""kind": "exclude", "slot": 1"#,
            "slot",
            "nothing: it is for rules of kind pin",
        ),
        (r#""kind": "exclude", "min": 1"#, "min", "kind quota"),
        (r#""kind": "boost", "strength": 0"#, "strength", "above 0"),
        (r#""kind": "pin", "items": ["a"]"#, "slot", "1 to 1000"),
        (r#""kind": "pin", "slot": 1"#, "items", "1 to 100 ids"),
        (r#""kind": "quota""#, "max", "at least one of"),
        (r#""kind": "quota", "max": 0"#, "max", "kind exclude"),
        (
            r#""kind": "quota", "max": 1, "min": 2"#,
            "min",
            "at most max, which is 1",
        ),
        (
            r#""kind": "quota", "max": 1, "per": "year""#,
            "per",
            "a category, tags",
        ),
        (
            r#""kind": "frequency_cap", "times": 1"#,
            "window_hours",
            "above 0",
        ),
        (
            r#""kind": "frequency_cap", "window_hours": 1"#,
            "times",
            "at least 1",
        ),
        (
            r#""kind": "frequency_cap", "times": 1, "window_hours": 1, "event_types": ["x"]"#,
            "event_types",
            "click",
        ),
        (
            r#""kind": "exclude", "placements": ["cellar"]"#,
            "placements",
            "cart, home",
        ),
        (r#""kind": "exclude", "from": "soon""#, "from", "a moment"),
        (
            r#""kind": "exclude", "from": 5, "until": 5"#,
            "until",
            "after from",
        ),
    ];
    for (fields, field, expected) in table {
        check(
            &format!(r#"{{"name": "r", "reason": "x", {fields}}}"#),
            field,
            expected,
        );
    }
    check(
        r#"{"name": "Bad Name", "reason": "x", "kind": "exclude"}"#,
        "name",
        "lower-case",
    );
    check(
        r#"{"name": "hidden", "reason": "x", "kind": "exclude"}"#,
        "name",
        "means something else",
    );
    check(
        r#"{"name": "r", "reason": " ", "kind": "exclude"}"#,
        "reason",
        "say why",
    );
    let unknown = serde_json::from_str::<RuleForm>(
        r#"{"name": "r", "reason": "x", "kind": "exclude", "when": "true"}"#,
    );
    assert!(
        unknown
            .expect_err("unknown")
            .to_string()
            .contains("unknown field `when`")
    );
}
