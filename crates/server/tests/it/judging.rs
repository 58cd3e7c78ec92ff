//! Judging policies over HTTP.

use crate::world::World;
use serde_json::{Value, json};

fn round(i: usize) -> Value {
    let (action, p) = if i.is_multiple_of(5) {
        ("b", 0.2)
    } else {
        ("a", 0.8)
    };
    json!({"action": action, "reward": u8::from(i.is_multiple_of(5)), "propensity": p, "target": {"b": 1.0}})
}

fn rounds(n: usize) -> Vec<Value> {
    (0..n).map(round).collect()
}

#[test]
fn a_policy_is_judged_from_rounds_within_limits() {
    let world = World::empty();
    let ask = |body: Value| world.send("POST", "/v1/ope", &body);
    let got = ask(json!({"rounds": rounds(400), "estimators": ["ips", "dm"], "resamples": 100}));
    assert_eq!(got.status, 200, "{}", got.text());
    let report = got.json();
    assert_eq!(report["estimates"][0]["value"], 1.0);
    assert_eq!(report["estimates"][0]["effective_sample_size"], 80.0);
    assert_eq!(report["estimates"][1]["interval_of"], "dr");
    // Support is missing: refused with the reason.
    let only_a: Vec<Value> = rounds(400).into_iter().filter(|r| r["action"] == "a").collect();
    let report = ask(json!({"rounds": only_a, "estimators": ["ips"]})).json();
    assert_eq!(report["estimates"], json!([]));
    let reason = report["refused"][0]["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(reason.starts_with("support is missing"), "{report}");
    // Without propensities only on demand, and then it is told.
    let mut bare = rounds(400);
    bare.iter_mut().for_each(|r| r["propensity"] = Value::Null);
    let report = ask(json!({"rounds": bare, "estimators": ["ips"]})).json();
    assert!(
        report["refused"][0]["reason"]
            .as_str()
            .is_some_and(|r| r.contains("no propensities")),
        "{report}"
    );
    let report =
        ask(json!({"rounds": bare, "estimators": ["ips"], "assume_propensities": "frequencies"})).json();
    assert_eq!(
        (&report["propensities"], &report["estimates"][0]["value"]),
        (&json!("estimated"), &json!(1.0))
    );
    let mut torn = rounds(10);
    torn[3]["target"] = json!({"a": 0.5});
    let mut uneven = rounds(10);
    uneven[4]["propensity"] = Value::Null;
    for (body, field) in [
        (json!({"rounds": torn}), "rounds[3].target"),
        (json!({"rounds": uneven}), "rounds[4].propensity"),
        (json!({"rounds": []}), "rounds"),
        (json!({"rounds": rounds(2001)}), "rounds"),
        (json!({"rounds": rounds(10), "estimators": ["ipz"]}), "estimators"),
        (json!({"rounds": rounds(10), "resamples": 10_001}), "resamples"),
        (json!({"rounds": rounds(10), "level": 1.5}), "level"),
        (json!({"rounds": rounds(10), "policy": "greedy"}), "policy"),
    ] {
        let got = ask(body);
        assert_eq!(got.status, 400, "{field}: {}", got.text());
        assert_eq!(got.json()["field"], field, "{}", got.text());
    }
}

/// Two positions, filled independently with 0.5 each; the target shows what is good at the second.
fn slate(i: usize) -> Value {
    let good = (i % 2) as f64;
    json!({"pscore": 0.25, "pi_e_pscore": 0.5 * good, "positions": [
        {"reward": 1, "pscore_item_position": 0.5, "pi_e_pscore_item_position": 0.5, "pscore_cascade": 0.5, "pi_e_pscore_cascade": 0.5},
        {"reward": good, "pscore_item_position": 0.5, "pi_e_pscore_item_position": good, "pscore_cascade": 0.25, "pi_e_pscore_cascade": 0.5 * good}]})
}

#[test]
fn a_policy_is_judged_from_slates_within_limits() {
    let world = World::empty();
    let ask = |body: Value| world.send("POST", "/v1/ope", &body);
    let slates = |n: usize| (0..n).map(slate).collect::<Vec<_>>();
    let got = ask(json!({"slates": slates(40), "resamples": 100}));
    assert_eq!(got.status, 200, "{}", got.text());
    let report = got.json();
    assert_eq!((&report["rounds"], &report["actions"]), (&json!(40), &json!(2)));
    let estimates = report["estimates"].as_array().expect("estimates");
    // Of the ten all but those that need a reward model; both places earn one.
    assert_eq!(estimates.len(), 8, "{report}");
    assert!(estimates.iter().all(|e| e["value"] == 2.0), "{report}");
    let refused = &report["refused"][0];
    assert_eq!(
        refused["reason"], "the log lacks a reward model by position",
        "{report}"
    );
    let changed = |at: usize, change: &dyn Fn(&mut Value)| {
        let mut slates = slates(10);
        change(&mut slates[at]);
        json!({"slates": slates})
    };
    for (body, field) in [
        (changed(3, &|s| s["positions"] = json!([])), "slates[3].positions"),
        (changed(0, &|s| s["positions"] = json!([])), "slates[0].positions"),
        (changed(3, &|s| s["pscore"] = Value::Null), "slates[3].pscore"),
        (changed(3, &|s| s["pscore"] = json!(0)), "slates[3].pscore"),
        (
            changed(3, &|s| s["pi_e_pscore"] = json!(1.5)),
            "slates[3].pi_e_pscore",
        ),
        (
            changed(4, &|s| s["positions"][1]["pscore_cascade"] = json!(-0.5)),
            "slates[4].positions[1].pscore_cascade",
        ),
        (
            changed(4, &|s| s["positions"][0]["pi_e_pscore_item_position"] = json!(7)),
            "slates[4].positions[0].pi_e_pscore_item_position",
        ),
        (
            changed(4, &|s| s["positions"][1]["q_hat"] = json!(0.5)),
            "slates[4].positions[1].q_hat",
        ),
        (
            json!({"slates": [{"positions": [{"reward": 1}], "pscore": 0.5}, {"positions": [{"reward": 1}], "pscore": 0.5}]}),
            "slates[0].pi_e_pscore",
        ),
        // 2,000 rows are allowed here, and a position is a row.
        (json!({"slates": slates(1001)}), "slates"),
        (json!({"slates": slates(10), "rounds": rounds(10)}), "slates"),
        (json!({"slates": slates(10), "estimators": ["ips"]}), "estimators"),
        (json!({"slates": slates(10), "tuning": "slope"}), "tuning"),
        (
            json!({"slates": slates(10), "reward_model": "ridge"}),
            "reward_model",
        ),
        (
            json!({"slates": slates(10), "assume_propensities": "uniform"}),
            "assume_propensities",
        ),
        (changed(2, &|s| s["slate_id"] = json!("s2")), "slate_id"),
    ] {
        let got = ask(body);
        assert_eq!(got.status, 400, "{field}: {}", got.text());
        let told = got.json()["field"].as_str().unwrap_or_default().to_owned();
        assert!(
            told == field || (field == "slate_id" && told.ends_with(field)),
            "{field}: {}",
            got.text()
        );
    }
}

#[test]
fn a_policy_is_judged_from_decisions() {
    let world = World::trained();
    for user in 0..30 {
        let body = json!({"placement": "home", "user_id": format!("user-{user:04}"), "n": 3});
        let slate = world.send("POST", "/v1/recommend", &body).json();
        let click = json!({"user_id": format!("user-{user:04}"), "item_id": slate["items"][0]["item_id"],
            "event_type": "click", "decision_id": slate["decision_id"]});
        assert_eq!(world.send("POST", "/v1/events", &click).status, 200);
    }
    let ask = |hours: f64, policy: &str| {
        let join = json!({"placement": "home", "rewards": {"click": 1}, "window_hours": hours});
        let decisions = json!({"join": join, "policy": policy, "positions": 2});
        world.send(
            "POST",
            "/v1/ope",
            &json!({"decisions": decisions, "resamples": 50}),
        )
    };
    // An hour has not gone by.
    let got = ask(1.0, "greedy");
    assert_eq!(got.status, 400);
    assert!(got.text().contains("30 with an open window"), "{}", got.text());
    assert_eq!(ask(1.0, "best").json()["field"], "policy");
    // A window of half a second has, after half a second.
    std::thread::sleep(std::time::Duration::from_millis(600));
    let got = ask(0.5 / 3600.0, "uniform");
    // These slates were certain, so that nothing is known of others.
    let report = got.json();
    assert_eq!(got.status, 200, "{report}");
    assert_eq!(report["join"]["decisions"], 30);
    assert_eq!(report["join"]["with_outcome"], report["join"]["events"]);
    assert_eq!(report["estimates"], json!([]), "{report}");
    let reason = report["refused"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("support is missing"), "{report}");
    // Of a single place, estimators of one action answer as well, in the order asked for.
    let first = |estimators: Value, rewards: Value, positions: usize, target: Value| {
        let join = json!({"placement": "home", "rewards": rewards, "window_hours": 0.5 / 3600.0});
        let mut decisions = target;
        decisions["join"] = join;
        decisions["positions"] = json!(positions);
        let body = json!({"decisions": decisions, "resamples": 50, "estimators": estimators});
        world.send("POST", "/v1/ope", &body)
    };
    let told = |report: &Value, list: &str| -> Vec<String> {
        let all = report[list].as_array().into_iter().flatten();
        all.filter_map(|e| e["estimator"].as_str().map(str::to_owned))
            .collect()
    };
    let (click, greedy) = (json!({"click": 1}), json!({"policy": "greedy"}));
    let names = json!(["dr", "standard_ips", "snips", "independent_ips", "dm"]);
    let report = first(names.clone(), click.clone(), 1, greedy.clone()).json();
    // The home page mixes, so greedy is not what was shown: only a model can guess.
    assert_eq!(told(&report, "estimates"), ["dm"], "{report}");
    assert_eq!(
        told(&report, "refused"),
        ["dr", "standard_ips", "snips", "independent_ips"],
        "{report}"
    );
    assert!(
        report["reward_model"]
            .as_str()
            .is_some_and(|m| m.contains("cross-fitted")),
        "{report}"
    );
    // The configuration of then earns what it earned; of another one only the shown is known.
    let report = first(names, click.clone(), 1, json!({"under": {}})).json();
    assert_eq!(
        told(&report, "estimates"),
        ["standard_ips", "snips", "independent_ips"],
        "{report}"
    );
    for e in report["estimates"].as_array().into_iter().flatten() {
        assert_eq!(e["value"], report["logged_value"], "{e}");
    }
    assert_eq!(told(&report, "refused"), ["dr", "dm"], "{report}");
    assert!(
        told(
            &first(json!([]), click.clone(), 1, json!({"under": {}})).json(),
            "estimates"
        )
        .len()
            >= 3
    );
    let got = first(json!(["dr"]), click.clone(), 2, greedy.clone());
    assert!(
        got.status == 400 && got.text().contains("positions 1"),
        "{}",
        got.text()
    );
    let got = first(json!(["drr"]), click, 1, greedy.clone());
    assert!(
        got.status == 400 && got.text().contains("standard_ips"),
        "{}",
        got.text()
    );
    // A type of event that the configuration does not know is told.
    let report = first(json!(["ips"]), json!({"clik": 1}), 1, greedy).json();
    assert!(
        report["notes"][0]
            .as_str()
            .is_some_and(|n| n.contains("clik") && n.contains("click")),
        "{report}"
    );
}
