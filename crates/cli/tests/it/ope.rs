//! `ope` as scripts call it.

use crate::run::concierge;
use crate::served::Served;
use std::path::Path;
use tempfile::tempdir;

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("writable");
    path.display().to_string()
}

/// Two actions, chosen with 0.8 and 0.2; the first is rewarded half of the time, the second always.
fn log(columns: &str) -> String {
    let mut text = format!("{columns}\n");
    for round in 0..400 {
        let (action, reward, p) = if round % 5 == 0 {
            ("b", 1, 0.2)
        } else {
            ("a", round / 5 % 2, 0.8)
        };
        let row = format!("{action},{reward},{p},0,1");
        let width = columns.split(',').count();
        text += &row.split(',').take(width).collect::<Vec<_>>().join(",");
        text.push('\n');
    }
    text
}

#[test]
fn a_log_is_judged_and_refusals_give_reasons() {
    let dir = tempdir().expect("a folder");
    let full = write(dir.path(), "full.csv", &log("action,reward,pscore,pi_e_a,pi_e_b"));
    let report = concierge(&format!(
        "ope --log {full} --estimators ips,snips,dm,switch_dr:3 --json"
    ))
    .code(0)
    .json();
    // All b: each has weight 5 and reward 1.
    assert_eq!(report["estimates"][0]["estimator"], "ips");
    assert_eq!(report["estimates"][0]["value"], 1.0);
    assert_eq!(report["estimates"][0]["effective_sample_size"], 80.0);
    assert_eq!(report["estimates"][3]["estimator"], "switch_dr:3");
    assert!(report["estimates"][0]["low"].is_number() && report["propensities"] == "logged");
    // Everything, for people.
    let shown = concierge(&format!("ope --log {full}")).code(0).out;
    assert!(
        shown.contains("dros") && shown.contains("mips refuses: the log lacks categories"),
        "{shown}"
    );

    let bare = write(dir.path(), "bare.csv", &log("action,reward"));
    concierge(&format!("ope --log {bare}"))
        .code(2)
        .says(&["pi_e_<action>", "--target uniform"]);
    concierge(&format!("ope --log {bare} --target uniform --estimators ips"))
        .code(2)
        .says(&["no propensities"]);
    let guessed = concierge(&format!(
        "ope --log {bare} --target uniform --estimators ips --assume-propensities frequencies --json"
    ));
    let guessed = guessed.code(0).json();
    assert_eq!(guessed["estimates"][0]["propensities"], "estimated");
    assert_eq!(guessed["estimates"][0]["value"], 0.75);
    let shared = "--target uniform --estimators ips --assume-propensities uniform --json";
    let assumed = concierge(&format!("ope --log {bare} {shared}")).code(0).json();
    assert_eq!(assumed["propensities"], "assumed");
    assert!(
        assumed["estimates"][0]["warnings"]
            .to_string()
            .contains("assumed")
    );
    // The same log under other names, as JSON lines.
    let mut lines = String::new();
    for round in 0..400 {
        let (arm, paid, p) = if round % 5 == 0 {
            ("b", 1, 0.2)
        } else {
            ("a", round / 5 % 2, 0.8)
        };
        lines += &format!("{{\"arm\":\"{arm}\",\"paid\":{paid},\"chance\":{p},\"new_a\":0,\"new_b\":1}}\n");
    }
    let lines = write(dir.path(), "full.jsonl", &lines);
    let named = "--action-column arm --reward-column paid --propensity-column chance --target-prefix new_";
    let same = concierge(&format!("ope --log {lines} {named} --estimators ips --json"))
        .code(0)
        .json();
    assert_eq!(same["estimates"][0], report["estimates"][0]);
    concierge(&format!("ope --log {full} --propensity-column odds"))
        .code(2)
        .says(&["no column odds", "pscore"]);
    // A target that wants what was never done.
    let target = write(dir.path(), "target.csv", "action\nc\nc\na\n");
    let logged = write(dir.path(), "logged.csv", &log("action,reward,pscore"));
    concierge(&format!(
        "ope --log {logged} --target {target} --estimators ips,dr"
    ))
    .code(2)
    .says(&["support is missing"]);
    concierge(&format!("ope --log {full} --estimators ipz"))
        .code(2)
        .says(&["--estimators: got \"ipz\", expected one of ips"]);
    concierge(&format!("ope --log {full} --level 2"))
        .code(2)
        .says(&["--level: got 2"]);
    let torn = write(dir.path(), "torn.csv", "action,reward,pscore,pi_e_a\na,1,0,1\n");
    concierge(&format!("ope --log {torn}"))
        .code(2)
        .says(&["torn.csv: line 2", "propensity: got 0"]);
}

#[test]
fn slates_are_judged() {
    let dir = tempdir().expect("a folder");
    let header = "slate_id,position,reward,pscore,pscore_item_position,pscore_cascade,pi_e_pscore,pi_e_pscore_item_position,pi_e_pscore_cascade\n";
    let mut text = header.to_owned();
    for slate in 0..40 {
        // Two positions, filled independently with 0.5 each; the target has 0.5 and 1 for what is good, 0 for the other.
        let good = slate % 2;
        let (slate_p, second) = (f64::from(good) * 0.5, f64::from(good));
        text += &format!(
            "s{slate},0,1,0.25,0.5,0.5,{slate_p},0.5,0.5\ns{slate},1,{good},0.25,0.5,0.25,{slate_p},{second},{slate_p}\n"
        );
    }
    let file = write(dir.path(), "slates.csv", &text);
    let report = concierge(&format!("ope --slates {file} --json")).code(0).json();
    let found = |name: &str| {
        let all = report["estimates"].as_array().expect("estimates");
        all.iter()
            .find(|e| e["estimator"] == name)
            .map(|e| e["value"].clone())
    };
    for name in [
        "standard_ips",
        "independent_ips",
        "reward_interaction_ips",
        "pseudo_inverse",
        "sn_standard_ips",
    ] {
        assert_eq!(found(name), Some(2.0.into()), "{name} in {report}");
    }
    assert_eq!(report["refused"].as_array().map(Vec::len), Some(2), "{report}");
    let torn = write(dir.path(), "torn.csv", &text.replace("s3,1,", "s4,1,"));
    concierge(&format!("ope --slates {torn}"))
        .code(2)
        .says(&["torn.csv: line 9", "2 rows of each slate"]);
}

/// The same slates from a file, over HTTP, give the same report to the last bit.
#[test]
fn slates_sent_to_a_server_are_judged_as_those_of_a_file() {
    let dir = tempdir().expect("a folder");
    let columns = [
        "reward",
        "pscore_item_position",
        "pi_e_pscore_item_position",
        "pscore_cascade",
        "pi_e_pscore_cascade",
        "q_hat",
        "pi_e_q_hat",
    ];
    let mut text = format!("slate_id,position,pscore,pi_e_pscore,{}\n", columns.join(","));
    let mut sent = Vec::new();
    for slate in 0..60 {
        // Two positions out of three items, drawn evenly; the target has 0.5, 0.3, 0.2 for them and keeps to that.
        let (first, second) = (slate % 3, (slate % 3 + 1 + slate / 3 % 2) % 3);
        let wants = [0.5, 0.3, 0.2];
        let both = |a: usize, b: usize| wants[a] * wants[b] / (1.0 - wants[a]);
        let here: f64 = (0..3).filter(|a| *a != second).map(|a| both(a, second)).sum();
        let rows = [
            [
                u8::from(slate % 4 == 0).into(),
                1.0 / 3.0,
                wants[first],
                1.0 / 3.0,
                wants[first],
                0.3,
                0.25,
            ],
            [
                u8::from(first == 1).into(),
                1.0 / 3.0,
                here,
                1.0 / 6.0,
                both(first, second),
                0.4,
                0.35,
            ],
        ];
        let whole = (1.0 / 6.0, both(first, second));
        let mut positions = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().map(f64::to_string).collect();
            text += &format!("s{slate},{at},{},{},{}\n", whole.0, whole.1, cells.join(","));
            let named = columns
                .iter()
                .zip(row)
                .map(|(name, value)| ((*name).to_owned(), (*value).into()));
            positions.push(serde_json::Value::Object(named.collect()));
        }
        sent.push(serde_json::json!({"pscore": whole.0, "pi_e_pscore": whole.1, "positions": positions}));
    }
    let file = write(dir.path(), "slates.csv", &text);
    let options = "--seed 4 --level 0.9 --reward-range 0,1";
    let of_file = concierge(&format!("ope --slates {file} {options} --json"))
        .code(0)
        .json();
    assert_eq!(
        of_file["estimates"].as_array().map(Vec::len),
        Some(8),
        "{of_file}"
    );

    let server = Served::start(&dir.path().join("shop"), &[]);
    let body = serde_json::json!({"slates": sent, "seed": 4, "level": 0.9, "reward_range": [0, 1]});
    let (status, of_server) = server.post("/v1/ope", &body);
    assert_eq!(status, 200, "{of_server}");
    assert_eq!(of_server, of_file);
}

#[test]
fn recorded_decisions_need_to_be_there() {
    let dir = tempdir().expect("a folder");
    let shop = dir.path().join("shop").display().to_string();
    concierge(&format!("init --data {shop}")).code(0);
    let ope = |rest: &str| concierge(&format!("ope --data {shop} {rest}")).code(2);
    ope("--policy greedy --rewards click=1").says(&["no decision of home to judge from"]);
    ope("--policy best --rewards click=1").says(&["policy: got", "softmax:TEMPERATURE"]);
    ope("--policy greedy --rewards click").says(&["click", "expected a type of event"]);
    ope("--policy greedy --rewards click=1 --placement nowhere")
        .says(&["placement: got nowhere, expected one of"]);
    ope("--policy greedy").says(&["--rewards"]);
    // What decisions have no use for is refused by name.
    for unused in [
        "--target uniform",
        "--assume-propensities uniform",
        "--categories nofile.csv",
        "--reward-column x",
        "--feature-prefix f_",
    ] {
        let name = unused.split(' ').next().unwrap_or_default();
        ope(&format!("--policy greedy --rewards click=1 {unused}")).says(&[name, "cannot be used with"]);
    }
    ope("--policy greedy --rewards click=1 --positions 2 --tuning slope")
        .says(&["--tuning", "--positions 1"]);
    ope("--set policy.name=softmax --rewards click=1 --reward-model logistic")
        .says(&["--reward-model", "--policy"]);
    // A reward model by position is learnt for slates.
    ope("--policy greedy --rewards click=1 --positions 2 --reward-model logistic")
        .says(&["no decision of home"]);
    ope("--policy greedy --rewards click=1 --reward-range 1")
        .says(&["--reward-range", "two numbers with a comma"]);
    ope("--policy greedy --rewards click=1 --reward-range 0,1").says(&["no decision of home"]);
}

#[test]
fn few_clicks_have_a_sane_interval_and_actions_their_names() {
    let dir = tempdir().expect("a folder");
    let rows: Vec<String> = (0..600)
        .map(|at| {
            format!(
                "{},{},0.5,0.5,0.5",
                if at % 2 == 0 { "left" } else { "right" },
                u8::from(at == 7)
            )
        })
        .collect();
    let log = write(
        dir.path(),
        "log.csv",
        &format!("action,reward,pscore,pi_e_left,pi_e_right\n{}\n", rows.join("\n")),
    );
    let ran = concierge(&format!(
        "ope --log {log} --estimators ips,dr --reward-range 0,1 --json"
    ))
    .code(0);
    for e in ran.json()["estimates"].as_array().expect("estimates") {
        let high = e["high"].as_f64().expect("an end");
        assert!(
            e["interval"] == "few_events" && high < 0.012 && e["low"].as_f64() >= Some(0.0),
            "{e}"
        );
        assert!(
            e["warnings"][0]
                .as_str()
                .is_some_and(|w| w.starts_with("a single round")),
            "{e}"
        );
    }
    concierge(&format!("ope --log {log} --resamples 0"))
        .code(2)
        .says(&["--resamples: got 0"]);
    // An action that is never taken is told by its name.
    let text = rows
        .join("\n")
        .replace("right", "left")
        .replace(",0.5,0.5,0.5", ",1,0.5,0.5");
    let gone = write(
        dir.path(),
        "gone.csv",
        &format!("action,reward,pscore,pi_e_left,pi_e_right\n{text}\n"),
    );
    concierge(&format!("ope --log {gone} --estimators ips"))
        .code(2)
        .says(&["not in the log: right"]);
}
