//! The load loops, briefly: that they run and say what they should.

use crate::folders::on;
use crate::run::{command, concierge, ran};
use tempfile::tempdir;

#[test]
fn every_loop_reports_what_it_measured() {
    let import = concierge("bench import --rows 2000 --users 100 --items 50 --json")
        .code(0)
        .json();
    assert!(import["rows_per_second"].as_f64() > Some(0.0), "{import:#}");
    let ingest = concierge("bench ingest --connections 2 --batch 50 --seconds 1 --json")
        .code(0)
        .json();
    assert!(ingest["events_per_second"].as_f64() > Some(0.0), "{ingest:#}");
    assert!(ingest["batch_ms"]["p99"].is_f64() && ingest["server_peak_memory_mb"].is_f64());

    let root = tempdir().expect("a folder");
    let data = root.path().join("data");
    let events = root.path().join("events.parquet").display().to_string();
    let sizes = [
        "--events", "3000", "--users", "60", "--items", "40", "--tastes", "4",
    ];
    ran(command()
        .args(["generate", "--to", &events])
        .args(sizes)
        .output()
        .expect("the binary starts"))
    .code(0);
    on(&data, &["init"]).code(0);
    let freshness = ["bench", "freshness", "--rate", "50", "--probes", "5", "--json"];
    on(&data, &freshness).code(2).says(&["--data", "concierge train"]);
    on(&data, &["import", "--events", &events]).code(0);
    on(&data, &["train"]).code(0);
    let fresh = on(&data, &freshness).code(0).json();
    assert!(fresh["fresh_ms"]["p99"].as_f64() > Some(0.0), "{fresh:#}");
}

#[test]
fn training_is_of_the_sizes_asked_for() {
    let refused = |arguments: &str, words: &[&str]| {
        concierge(&format!("bench training {arguments}"))
            .code(2)
            .says(words);
    };
    refused(
        "--interactions 3000,1000 --users 100",
        &["--interactions: got 3000,1000, expected ascending"],
    );
    refused("--interactions 1000,1000 --users 100", &["expected ascending"]);
    refused(
        "--interactions 1000",
        &[
            "--interactions: got 1,000 with --users 1,000,000",
            "gives 1,000,001",
            "fewer --users",
        ],
    );
    refused(
        "--users 10 --items 10",
        &[
            "got 10,000,000 with --users 10 and --items 10, which gives 50",
            "fewer interactions",
        ],
    );
    let told =
        concierge("bench training --interactions 2000,4000 --users 100 --items 300 --factors 8 --json")
            .code(0)
            .json();
    let sizes = told["sizes"].as_array().expect("sizes");
    for (size, asked) in sizes.iter().zip([2000.0, 4000.0]) {
        let found = size["interactions"].as_f64().expect("a number");
        assert!((found / asked - 1.0).abs() < 0.1, "{size}");
        // A pass this short may be lost in noise, which is then said.
        for key in ["epoch_seconds", "once_seconds", "gflops"] {
            assert!(size[key].is_null() || size[key].as_f64() >= Some(0.0), "{size}");
        }
    }
}

#[test]
fn slates_are_of_the_whole_pipeline() {
    let small = "bench serve --items 1000 --users 1000 --events 20000 --decisions 1200 --seconds 1 --overload 0 --json";
    let told = concierge(small).code(0).json();
    let (pipeline, steady) = (&told["pipeline"], &told["steady"]);
    let at_least = |field: &str, least: u64| {
        let found = pipeline[field]
            .as_u64()
            .or(pipeline[field].as_f64().map(|n| n as u64));
        assert!(found >= Some(least), "{field}: {pipeline:#}");
    };
    at_least("candidates_scored", 300);
    at_least("features", 60);
    at_least("trees", 100);
    at_least("rules", 8);
    let stages = pipeline["stages"].to_string();
    for stage in [
        "rank/trees@1",
        "rerank/mmr",
        "rules/in-stock",
        "retrieve/als",
        "retrieve/pinned",
    ] {
        assert!(stages.contains(stage), "{stage} is not among {stages}");
    }
    assert!(
        steady["stages_us"]["rank/trees@1"].as_f64() > Some(0.0),
        "{steady:#}"
    );
    concierge("bench serve --overload-seconds 2")
        .code(2)
        .says(&["--overload-seconds"]);
}
