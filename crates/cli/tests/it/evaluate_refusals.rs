//! What the commands that measure have no use for is refused, in words that they have.

use crate::evaluate::{camps_in_one, write};
use crate::run::concierge;
use serde_json::Value;
use tempfile::tempdir;

#[test]
fn an_option_that_would_do_nothing_is_refused() {
    let dir = tempdir().expect("a folder");
    let (all, _) = camps_in_one(dir.path());
    let check = |arguments: String, option: &str, got: &str, expected: &str| {
        let said = concierge(&arguments).code(2).err;
        let first = said.lines().next().unwrap_or_default();
        let begins = format!("error: {option}: got {got}");
        let ends = format!(", expected {expected}");
        assert!(
            first.starts_with(&begins) && first.contains(&ends),
            "{arguments}: expected {begins:?} and {ends:?} in:\n{said}"
        );
    };
    let evaluate = format!("evaluate --data {all}");
    // Where the rows are is said once.
    check(
        format!("{evaluate} --test x.csv"),
        "--test",
        &format!("x.csv beside --data {all}"),
        "--train and --test",
    );
    check(
        format!("{evaluate} --valid x.csv"),
        "--valid",
        "x.csv beside",
        "--train and --test",
    );
    check(
        format!("{evaluate} --train x.csv"),
        "--train",
        "x.csv beside",
        "--train and --test",
    );
    check(
        "evaluate --train x.csv".to_owned(),
        "--train",
        "x.csv without --test",
        "--train and --test, or --data",
    );
    check(
        "evaluate --test x.csv".to_owned(),
        "--test",
        "x.csv without --train",
        "--train and --test, or --data",
    );
    check(
        "evaluate".to_owned(),
        "--data",
        "nothing",
        "a file with all rows, or --train and --test",
    );
    check(
        "evaluate --train x --test y --split last:1".to_owned(),
        "--split",
        "last:1 beside --train",
        "--data",
    );
    check(
        "tune".to_owned(),
        "--data",
        "nothing",
        "a file with all rows, or --train",
    );
    check(
        format!("tune --data {all} --valid x.csv"),
        "--valid",
        "x.csv beside --data",
        "--train",
    );
    check(
        "tune --valid x.csv".to_owned(),
        "--valid",
        "x.csv without --train",
        "--train",
    );
    check(
        "tune --train x --valid y --split last:1".to_owned(),
        "--split",
        "last:1 beside --valid y",
        "one of the two",
    );
    // What only tuning has a use for.
    for (option, value) in [
        ("--out", "o.toml"),
        ("--state", "s.jsonl"),
        ("--metric", "foo"),
        ("--tune-users", "9"),
    ] {
        check(
            format!("{evaluate} {option} {value}"),
            option,
            &format!("{value} without --tune"),
            "--tune TIME",
        );
    }
    // What only some protocols have a use for.
    for (protocol, option, value, expected) in [
        (
            "full",
            "--share",
            "0.2",
            "--protocol unseen-user or few-shot-user or unseen-item or few-shot-item or incremental",
        ),
        ("warm", "--history-share", "0.5", "--protocol unseen-user"),
        (
            "few-shot-user",
            "--history-share",
            "0.5",
            "--protocol unseen-user",
        ),
        (
            "unseen-user",
            "--shots",
            "1,2",
            "--protocol few-shot-user or few-shot-item",
        ),
        (
            "few-shot-user",
            "--among",
            "unseen",
            "--protocol unseen-item or few-shot-item",
        ),
        ("full", "--batch", "9", "--protocol incremental"),
        ("full", "--negatives", "n.csv", "--protocol negatives"),
    ] {
        let got = format!("{value} with --protocol {protocol}");
        check(
            format!("{evaluate} --protocol {protocol} {option} {value}"),
            option,
            &got,
            expected,
        );
    }
    check(
        format!("{evaluate} --beside-trained"),
        "--beside-trained",
        "with --protocol full",
        "--protocol unseen-user",
    );
    check(
        format!("{evaluate} --protocol unseen-user --following"),
        "--following",
        "with --protocol unseen-user",
        "--protocol few-shot-user",
    );
    // Searches go by name: two of one kind would take each other's result.
    check(
        format!("tune --data {all} --split last:1 --budget 1s --models als,als:{{\"factors\":8}}"),
        "--models",
        "als more than once",
        "each model once",
    );
}

#[test]
fn what_is_wrong_with_a_file_is_said_without_options_of_import() {
    let dir = tempdir().expect("a folder");
    let torn = write(dir.path(), "torn.csv", "user_id,item_id,rating\nu1,i1,3\nu1,,4\n");
    let unnamed = write(dir.path(), "unnamed.csv", "who,what,rating\nu1,i1,3\n");
    let lists = write(dir.path(), "lists.csv", "user_id,item_id,rank\nu1,i1,1\n");
    for command in ["evaluate", "tune", "ratings"] {
        let check = |file: &str, words: &[&str]| {
            let said = concierge(&format!("{command} --data {file}"))
                .code(2)
                .says(words)
                .err;
            for foreign in ["--max-bad-share", "stored", "--map"] {
                assert!(!said.contains(foreign), "{command}: {foreign} in:\n{said}");
            }
        };
        check(&torn, &["torn.csv: line 3: item_id", "every row must be sound"]);
        check(
            &unnamed,
            &["unnamed.csv: no column for user_id; there are who, what, rating. Name"],
        );
    }
    concierge(&format!("metrics --relevance {torn} --recommendations {lists}"))
        .code(2)
        .says(&["torn.csv: line 3"]);
}

#[test]
fn configurations_say_what_followed_from_the_data() {
    let dir = tempdir().expect("a folder");
    let (all, items) = camps_in_one(dir.path());
    let report = concierge(&format!(
        "evaluate --data {all} --items {items} --split last:1 --k 3 --json - \
         --models als,item-cosine,ease,spectral:{{\"rank\":null,\"sharpen\":null}},rp3beta,blend"
    ))
    .code(0)
    .json();
    let config = |name: &str| -> &Value {
        let models = report["models"].as_array().expect("models");
        &models
            .iter()
            .find(|model| model["name"] == name)
            .expect("a model")["config"]
    };
    // 40 people, 20 items, 7 of them each: a density of 0.35, of which the root is above what is taken at most.
    let als = config("als");
    assert!(
        (als["reg"].as_f64().expect("a number") - 0.01).abs() < 1e-6,
        "{als}"
    );
    assert!(
        (als["unobserved_weight"].as_f64().expect("a number") - 0.2).abs() < 1e-6,
        "{als}"
    );
    for key in ["item_pull", "item_handover", "user_handover", "gradients"] {
        assert!(als[key].is_number(), "{key}: {als}");
    }
    assert_eq!(config("item-cosine")["history_max"], 50);
    assert_eq!(config("item-cosine")["served_max"], 200);
    // Twice the mean of the diagonal, which is at most the 14 events that an item has.
    let ease = config("ease");
    assert!(
        (1.0..28.0).contains(&ease["l2"].as_f64().expect("a number")),
        "{ease}"
    );
    assert_eq!(
        (&ease["neighbours"], &ease["history_max"]),
        (&0.into(), &200.into())
    );
    let spectral = config("spectral");
    assert_eq!(spectral["rank"], 8);
    assert!(spectral["sharpen"].is_number(), "{spectral}");
    let blend = config("blend");
    assert!(blend["normalise"].is_string(), "{blend}");
    let parts = blend["parts"].as_array().expect("parts");
    let als = parts.iter().find(|part| part["model"] == "als").expect("a part");
    assert!(als["config"]["reg"].is_number(), "{als}");
}

#[test]
fn items_that_nothing_is_known_of_are_noted() {
    let dir = tempdir().expect("a folder");
    let (all, items) = camps_in_one(dir.path());
    let notes = |more: &str| {
        let report = concierge(&format!(
            "evaluate --data {all} --split last:1 --k 3 --models popular --json - --share 0.3 {more}"
        ));
        report.code(0).json()["notes"].to_string()
    };
    let said = "without --items nothing is known";
    assert!(notes("--protocol unseen-item").contains(said));
    assert!(notes("--protocol few-shot-item --shots 0,1").contains(said));
    assert!(!notes("--protocol few-shot-item --shots 1").contains(said));
    assert!(!notes(&format!("--protocol unseen-item --items {items}")).contains(said));
}

/// `als` as given would take minutes, `popular` has nothing to search for, `item-cosine` takes milliseconds.
#[test]
fn a_model_that_takes_long_leaves_the_others_their_time() {
    let dir = tempdir().expect("a folder");
    let (all, _) = camps_in_one(dir.path());
    let state = dir.path().join("state.jsonl").display().to_string();
    let tune = |budget: u32| {
        concierge(&format!(
            "tune --data {all} --split last:1 --k 3 --budget {budget}s --json --state {state} --threads 1 \
             --models als:{{\"factors\":1024,\"epochs\":1000,\"block\":1}},item-cosine,popular"
        ))
        .code(0)
        .json()
    };
    let seconds = |found: &Value| found["models"][0]["seconds"].as_f64().expect("a number");
    let first = tune(3);
    let failed = &first["failed"][0];
    assert_eq!(failed["name"], "als");
    assert!(
        failed["reason"]
            .to_string()
            .contains("within its share of the time"),
        "{first:#}"
    );
    let cosine = &first["models"][0];
    assert_eq!(cosine["name"], "item-cosine");
    assert!(cosine["trials"].as_u64() > Some(5), "{first:#}");
    assert!(seconds(&first) > 0.3, "{first:#}");
    // Gone on with: the time that als took counts, and is not given to it again for nothing.
    let second = tune(5);
    assert!(
        second["models"][0]["trials"].as_u64() > cosine["trials"].as_u64(),
        "{second:#}"
    );
    assert!(second["seconds"].as_f64() < Some(9.0), "{second:#}");
    let record = std::fs::read_to_string(&state).expect("the record");
    assert!(record.contains("\"stopped\":true"), "{record}");
}
