//! `evaluate` and `metrics` as scripts call them.

use crate::run::concierge;
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use tempfile::tempdir;

/// Two camps: even users take even items, odd ones odd items; times rise with the item. Gives train and
/// test rows (the last item of each user), comma-separated.
fn camps() -> (String, String) {
    let mut train = "user_id,item_id,rating,timestamp\n".to_owned();
    let mut test = train.clone();
    for user in 0..40 {
        for step in 0..8 {
            let item = (user % 2) + 2 * ((user / 2 + step) % 10);
            let part = if step == 7 { &mut test } else { &mut train };
            writeln!(
                part,
                "u{user},i{item},{},{}",
                1 + step % 5,
                1_600_000_000 + step * 1000
            )
            .expect("text");
        }
    }
    (train, test)
}

pub(crate) fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("writable");
    path.display().to_string()
}

#[track_caller]
fn metric(report: &Value, model: usize, name: &str) -> f64 {
    report["models"][model]["metrics"][name]["mean"]
        .as_f64()
        .expect("a number")
}

#[test]
fn given_split_gives_the_json_that_was_promised() {
    let dir = tempdir().expect("a folder");
    let (train, test) = camps();
    let (train, test) = (
        write(dir.path(), "train.csv", &train),
        write(dir.path(), "test.csv", &test),
    );
    let file = dir.path().join("report.json").display().to_string();
    let command = format!(
        "evaluate --train {train} --test {test} --models popular,item-cosine --k 5,10 --seed 7 --threads 2 --json {file}"
    );
    let shown = concierge(&command).code(0).out;
    assert!(shown.contains("item-cosine") && shown.contains("nDCG"), "{shown}");
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("the report")).expect("JSON");
    assert_eq!(report["data"]["test_users"], 40);
    assert_eq!(report["protocol"]["name"], "full");
    let first = &report["models"][0];
    assert_eq!(first["name"], "popular");
    assert!(first["config"].is_object() && first["fit_seconds"].is_f64() && first["peak_memory_mb"].is_f64());
    for name in [
        "recall@5",
        "ndcg@10",
        "precision@5",
        "map@10",
        "hit_rate@5",
        "mrr",
        "catalog_coverage@10",
    ] {
        assert!(first["metrics"][name]["mean"].is_f64(), "{name}: {first:#}");
    }
    let interval = &first["metrics"]["recall@5"];
    let ends = ["low", "mean", "high"].map(|end| interval[end].as_f64().expect("a number"));
    assert!(ends.is_sorted() && ends[0] < ends[2], "{interval}");
    // Who takes even items is told apart from who takes odd ones; popularity cannot do that.
    assert!(metric(&report, 1, "hit_rate@5") > 0.9);
    assert!(metric(&report, 0, "hit_rate@5") < 0.8);
}

#[test]
fn results_do_not_depend_on_threads_or_format() {
    let dir = tempdir().expect("a folder");
    let (train, test) = camps();
    let tabs = |text: &str| text.replace(',', "\t").replace("rating", "value");
    let lines = |text: &str| {
        let rows = text.lines().skip(1).map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            format!(
                "{{\"user_id\":\"{}\",\"item_id\":\"{}\",\"timestamp\":{}}}\n",
                cells[0], cells[1], cells[3]
            )
        });
        rows.collect::<String>()
    };
    let files = [
        (
            write(dir.path(), "train.csv", &train),
            write(dir.path(), "test.csv", &test),
        ),
        (
            write(dir.path(), "train.tsv", &tabs(&train)),
            write(dir.path(), "test.tsv", &tabs(&test)),
        ),
        (
            write(dir.path(), "train.jsonl", &lines(&train)),
            write(dir.path(), "test.jsonl", &lines(&test)),
        ),
    ];
    let of = |(train, test): &(String, String), threads: u32| {
        let command =
            format!("evaluate --train {train} --test {test} --models als --k 5 --threads {threads} --json -");
        concierge(&command).code(0).json()["models"][0]["metrics"].clone()
    };
    let expected = of(&files[0], 1);
    assert_eq!(of(&files[0], 8), expected);
    assert_eq!(of(&files[1], 2), expected);
    assert_eq!(of(&files[2], 2), expected);
}

#[test]
fn splits_by_time_learn_from_the_past() {
    let dir = tempdir().expect("a folder");
    let (train, test) = camps();
    let all = write(
        dir.path(),
        "all.csv",
        &(train + test.split_once('\n').expect("a header").1),
    );
    let of = |split: &str| {
        concierge(&format!(
            "evaluate --data {all} --split {split} --models popular --json -"
        ))
        .code(0)
        .json()
    };
    let last = of("last:1");
    assert_eq!(
        (&last["data"]["train_rows"], &last["data"]["test_rows"]),
        (&280.into(), &40.into())
    );
    let share = of("temporal:0.75");
    assert_eq!(share["data"]["test_rows_before_train_end"], 0);
    assert_eq!(
        (&share["data"]["train_rows"], &share["data"]["test_rows"]),
        (&240.into(), &80.into())
    );
    concierge(&format!("evaluate --data {all} --split half"))
        .code(2)
        .says(&["split: got \"half\"", "temporal:SHARE"]);
}

#[test]
fn negatives_are_ranked_beside_the_relevant_item_and_labelled() {
    let dir = tempdir().expect("a folder");
    let (train, test) = camps();
    let (train, test) = (
        write(dir.path(), "train.csv", &train),
        write(dir.path(), "test.csv", &test),
    );
    // Negatives from the other camp: whoever knows the camps puts the relevant item first.
    let rows: String = (0..40)
        .map(|user| {
            let items: Vec<String> = (0..5)
                .map(|n| format!("\"i{}\"", (user + 1) % 2 + 2 * n))
                .collect();
            format!(
                "{{\"user_id\":\"u{user}\",\"negatives\":[{}]}}\n",
                items.join(",")
            )
        })
        .collect();
    let listed = write(dir.path(), "lists.jsonl", &rows);
    let pairs: String = (0..40)
        .flat_map(|user| (0..5).map(move |n| format!("u{user},i{}\n", (user + 1) % 2 + 2 * n)))
        .collect();
    let paired = write(dir.path(), "pairs.csv", &format!("user_id,item_id\n{pairs}"));
    let command = format!(
        "evaluate --train {train} --test {test} --models item-cosine --k 1 --protocol negatives --json - --negatives"
    );
    let report = concierge(&format!("{command} {listed}")).code(0).json();
    assert_eq!(metric(&report, 0, "hit_rate@1"), 1.0);
    assert_eq!(
        (
            &report["protocol"]["sampled"],
            &report["protocol"]["negatives_mean"]
        ),
        (&true.into(), &5.0.into())
    );
    let other = concierge(&format!("{command} {paired}")).code(0).json();
    assert_eq!(other["models"][0]["metrics"], report["models"][0]["metrics"]);
    let half = write(dir.path(), "half.csv", "user_id,item_id\nu0,i1\n");
    concierge(&format!("{command} {half}"))
        .code(2)
        .says(&["39 have none"]);
}

#[test]
fn what_would_make_figures_wrong_is_refused() {
    let dir = tempdir().expect("a folder");
    let (train, test) = camps();
    let (train, test) = (
        write(dir.path(), "train.csv", &train),
        write(dir.path(), "test.csv", &test),
    );
    let empty = write(dir.path(), "empty.csv", "user_id,item_id\n");
    let torn = write(dir.path(), "torn.csv", "user_id,item_id\nu1,i1\nu1,\n");
    let check = |arguments: &str, words: &[&str]| {
        concierge(&format!("evaluate {arguments}")).code(2).says(words);
    };
    check(
        &format!("--train {train} --test {train}"),
        &["280 of 280", "--allow-overlap"],
    );
    check(
        &format!("--train {empty} --test {test}"),
        &["empty.csv", "got 0 rows"],
    );
    check(
        &format!("--train {torn} --test {test}"),
        &["torn.csv", "line 3", "item_id"],
    );
    check(&format!("--train {train} --test {test} --k 0"), &["k: got [0]"]);
    check(
        &format!("--train {train} --test {test} --models pop"),
        &["got \"pop\", expected one of popular"],
    );
    check(&format!("--train {train}/no --test {test}"), &["train.csv/no"]);
    check("--train x.csv", &["--test"]);
}

#[test]
fn metrics_are_one_flat_object() {
    let dir = tempdir().expect("a folder");
    let relevance = write(
        dir.path(),
        "relevance.csv",
        "user_id,item_id,gain\na,x,1\na,y,1\nb,z,1\n",
    );
    let lists = write(
        dir.path(),
        "lists.csv",
        "user_id,item_id,rank\na,y,2\na,x,1\nb,w,1\nb,z,2\n",
    );
    let train = write(dir.path(), "train.csv", "user_id,item_id\na,w\nb,x\n");
    let command =
        format!("metrics --relevance {relevance} --recommendations {lists} --train {train} --k 1,2 --json");
    let found = concierge(&command).code(0).json();
    let flat = found.as_object().expect("an object");
    assert!(flat.values().all(Value::is_number), "{found}");
    assert_eq!(
        (flat["precision@1"].as_f64(), flat["recall@2"].as_f64()),
        (Some(0.5), Some(1.0))
    );
    assert_eq!(
        (flat["mrr"].as_f64(), flat["hit_rate@1"].as_f64()),
        (Some(0.75), Some(0.5))
    );
    for name in [
        "ndcg@1",
        "map@2",
        "mean_inv_user_freq@1",
        "avg_rec_popularity@2",
        "serendipity@2",
        "catalog_coverage@2",
    ] {
        assert!(flat.contains_key(name), "{name} is not in {found}");
    }
    // By score the order is the same.
    let scored = write(
        dir.path(),
        "scored.csv",
        "user_id,item_id,score\na,y,0.5\na,x,0.9\nb,w,3\nb,z,-2\n",
    );
    assert_eq!(
        concierge(&command.replace("lists.csv", "scored.csv"))
            .code(0)
            .json(),
        found,
        "{scored}"
    );
    let twice = write(dir.path(), "twice.csv", "user_id,item_id,rank\na,x,1\na,x,2\n");
    concierge(&format!(
        "metrics --relevance {relevance} --recommendations {twice}"
    ))
    .code(2)
    .says(&["x twice"]);
    let neither = write(dir.path(), "neither.csv", "user_id,item_id\na,x\n");
    concierge(&format!(
        "metrics --relevance {relevance} --recommendations {neither}"
    ))
    .code(2)
    .says(&["neither.csv: line 2", "rank or a column score"]);
}

/// Rows of both parts in one file, and items with the camp as an attribute.
pub(crate) fn camps_in_one(dir: &Path) -> (String, String) {
    let (train, test) = camps();
    let all = write(
        dir,
        "all.csv",
        &(train + test.split_once('\n').expect("a header").1),
    );
    let items: String = (0..20).map(|i| format!("i{i},camp {}\n", i % 2)).collect();
    (all, write(dir, "items.csv", &format!("item_id,camp\n{items}")))
}

#[test]
fn protocols_hold_out_people_and_items() {
    let dir = tempdir().expect("a folder");
    let (all, items) = camps_in_one(dir.path());
    let of = |protocol: &str, models: &str| {
        concierge(&format!(
            "evaluate --data {all} --items {items} --split last:1 --k 3 --models {models} --json - --protocol {protocol}"
        ))
        .code(0)
        .json()
    };
    let unseen = of("unseen-user --share 0.4", "item-cosine,popular");
    let judged = unseen["data"]["test_users"].as_u64().expect("a number");
    assert_eq!(unseen["data"]["train_users"].as_u64(), Some(40 - judged));
    assert!(metric(&unseen, 0, "ndcg@3") > metric(&unseen, 1, "ndcg@3"));
    let pair = &unseen["comparisons"][0]["pairs"][0];
    assert_eq!(
        (&pair["a"], &pair["users"]),
        (&"item-cosine".into(), &judged.into())
    );
    assert!(
        pair["difference"]["mean"].as_f64() > Some(0.0) && pair["p_holm"].as_f64() <= Some(1.0),
        "{pair}"
    );
    let shots = of("few-shot-user --share 0.4 --shots 0,2", "item-cosine");
    let cases = &shots["models"][0]["cases"];
    assert_eq!(
        (&cases[0]["label"], &cases[1]["label"]),
        (&"0 items".into(), &"2 items".into())
    );
    assert_eq!(cases[1]["metrics"], shots["models"][0]["metrics"]);
    // Camps are all that attributes tell, and each camp has its own items: everyone's are ten of twenty.
    let items_only = of("unseen-item --share 0.3 --among unseen", "content");
    assert!(metric(&items_only, 0, "recall@3") > 0.5, "{items_only:#}");
    assert!(metric(&items_only, 0, "intra_list_diversity@3") < 0.5);
    assert_eq!(items_only["protocol"]["calibrated_by"], "camp");
    let few = of("few-shot-item --share 0.3 --shots 1,4", "item-cosine");
    assert_eq!(few["models"][0]["cases"][1]["label"], "4 rows");
    for (protocol, words) in [
        ("unseen-user --share 2", "--share: got 2"),
        ("few-shot-user --shots 99 --share 0.5", "nobody is left"),
        ("warm --compare height", "--compare: got \"height\""),
        (
            "warm --calibrate-by height",
            "--calibrate-by: got \"height\", expected one of camp",
        ),
    ] {
        concierge(&format!(
            "evaluate --data {all} --items {items} --split last:1 --models popular --protocol {protocol}"
        ))
        .code(2)
        .says(&[words]);
    }
}

#[test]
fn the_report_is_one_page_that_fetches_nothing() {
    let dir = tempdir().expect("a folder");
    let (all, items) = camps_in_one(dir.path());
    let file = dir.path().join("report.html").display().to_string();
    concierge(&format!(
        "evaluate --data {all} --items {items} --split last:1 --models popular,item-cosine,content --k 3,5 --html {file}"
    ))
    .code(0);
    let page = std::fs::read_to_string(&file).expect("the report");
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(page.matches("<svg").count() >= 5 && page.contains("item-cosine"));
    for outside in [
        "http", "src=", "<script", "<link", "@import", "url(", "NaN", "inf\"",
    ] {
        assert!(!page.contains(outside), "{outside} is in the page");
    }
}

#[test]
fn tuning_goes_on_where_it_was_broken_off_and_its_file_is_accepted() {
    let dir = tempdir().expect("a folder");
    let (all, _) = camps_in_one(dir.path());
    let (state, out) = (dir.path().join("state.jsonl"), dir.path().join("tuned.toml"));
    let command = format!(
        "tune --data {all} --split last:1 --models als,item-cosine,blend --k 3 --budget 2s --json --state {} --out {}",
        state.display(),
        out.display()
    );
    let first = concierge(&command).code(0).json();
    assert_eq!(first["metric"], "ndcg@3");
    let trials = |found: &Value| -> u64 {
        let models = found["models"].as_array().expect("models");
        models
            .iter()
            .map(|model| model["trials"].as_u64().expect("a number"))
            .sum()
    };
    assert!(trials(&first) > 4, "{first:#}");
    for model in first["models"].as_array().expect("models") {
        assert!(
            model["score"].as_f64() >= model["score_as_given"].as_f64(),
            "{model:#}"
        );
    }
    // As if it had been killed while it wrote: the last line is half there.
    let whole = std::fs::read_to_string(&state).expect("the record");
    let lines: Vec<&str> = whole.lines().collect();
    let kept = lines[..lines.len() - 2].join("\n") + "\n";
    std::fs::write(&state, format!("{kept}{{\"model\":\"al")).expect("writable");
    let longer = command.replace("--budget 2s", "--budget 4s");
    let second = concierge(&longer).code(0).json();
    assert!(trials(&second) > trials(&first), "{second:#}");
    let again = std::fs::read_to_string(&state).expect("the record");
    assert!(again.starts_with(&kept));
    concierge(&command.replace("--k 3", "--k 2"))
        .code(2)
        .says(&["state.jsonl", "record of another search"]);
    let out = out.display();
    concierge(&format!(
        "evaluate --data {all} --split last:1 --k 3 --models als,blend --config {out} --json -"
    ))
    .code(0);
    let shop = dir.path().join("shop").display().to_string();
    concierge(&format!("init --data {shop} --tuned {out}")).code(0);
    let written = std::fs::read_to_string(dir.path().join("shop/concierge.toml")).expect("the configuration");
    assert!(written.contains("[[training.model_config.parts]]"), "{written}");
    concierge(&format!("status --data {shop}")).code(0);
    concierge(&format!("init --data {shop}2 --tuned {out} --model swing"))
        .code(2)
        .says(&["a table swing"]);
    let tuned = concierge(&format!(
        "evaluate --data {all} --split last:1 --k 3 --models item-cosine --tune 1s --json -"
    ))
    .code(0)
    .json();
    assert_eq!(tuned["tuning"]["models"][0]["name"], "item-cosine");
}
