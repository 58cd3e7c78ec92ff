//! `concierge simulate`, in this process and over HTTP.

use crate::run::concierge;
use crate::served::Served;
use tempfile::tempdir;

const LITTLE: &str = r#"
name = "little"
summary = "A few people for a few days."
seeds = 2
[catalogue]
items = 20
[people]
users = 15
[run]
days = 4
tick_hours = 12.0
train_every_days = 2
round_days = 2
n = 4
[history]
days = 3.0
[service.training]
model = "popular"
fallbacks = []
[service.placements.home]
exclude_seen = false
[[variants]]
name = "greedy"
[[variants]]
name = "blind"
[variants.with.service.placements.home.policy]
name = "epsilon-greedy"
epsilon = 1.0
[[expect]]
metric = "coverage"
variant = "blind"
above = "greedy"
"#;

#[test]
fn a_scenario_is_run_and_told() {
    let dir = tempdir().expect("a folder");
    let file = dir.path().join("little.toml");
    std::fs::write(&file, LITTLE).expect("writable");
    let (file, page) = (file.display(), dir.path().join("report.html"));
    let ran = concierge(&format!(
        "simulate {file} --json --html {} --threads 2",
        page.display()
    ))
    .code(0);
    let report = ran.json();
    assert_eq!(report["variants"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["expected"][0]["points_that_way"], true, "{report}");
    assert!(
        report["variants"][0]["figures"]["regret"]["mean"].as_f64() > Some(0.0),
        "{report}"
    );
    let again = concierge(&format!("simulate {file} --json --threads 1")).code(0);
    assert_eq!(again.json(), report);
    let html = std::fs::read_to_string(page).expect("a page");
    assert!(html.contains("<svg") && !html.contains("NaN"), "{html}");
    let table = concierge(&format!("simulate {file} --variants blind --seeds 1"))
        .code(0)
        .out;
    assert!(
        table.contains("blind") && !table.contains("greedy") && table.contains("decisions/s"),
        "{table}"
    );
    // Kept on disk, a run is a data folder like any other.
    let kept = dir.path().join("kept");
    concierge(&format!(
        "simulate {file} --variants greedy --seeds 1 --keep {}",
        kept.display()
    ))
    .code(0);
    let status = concierge(&format!(
        "status --data {} --json",
        kept.join("0-greedy-1").display()
    ))
    .code(0);
    assert!(status.json()["events"].as_u64() > Some(0));

    concierge("simulate no-such")
        .code(2)
        .says(&["SCENARIO: got no-such", "narrowing"]);
    concierge(&format!("simulate {file} --variants grim"))
        .code(2)
        .says(&["--variants: got grim"]);
    concierge(&format!("simulate {file} --items nothing.csv"))
        .code(2)
        .says(&["--items: got nothing.csv", "makes its items itself"]);
    std::fs::write(
        dir.path().join("bad.toml"),
        LITTLE.replace("tick_hours", "tick_days"),
    )
    .expect("writable");
    let bad = dir.path().join("bad.toml");
    concierge(&format!("simulate {}", bad.display()))
        .code(2)
        .says(&["unknown field `tick_days`"]);
    assert!(concierge("simulate --list").code(0).out.contains("position-bias"));
}

#[test]
fn a_server_is_used_by_the_population() {
    let dir = tempdir().expect("a folder");
    let data = dir.path().join("data");
    concierge(&format!("init --data {}", data.display())).code(0);
    let served = Served::start(&data, &[]);
    let file = dir.path().join("little.toml");
    std::fs::write(&file, LITTLE).expect("writable");
    let ran = concierge(&format!(
        "simulate {} --url {} --connections 2 --json",
        file.display(),
        served.url()
    ));
    let report = ran.code(0).json();
    let decisions = report["variants"][0]["decisions"].as_u64().expect("a count");
    assert!(decisions > 20, "{report}");
    let mut answer = Served::agent()
        .get(format!("{}/v1/status", served.url()))
        .call()
        .expect("an answer");
    let status: serde_json::Value = answer.body_mut().read_json().expect("JSON");
    assert_eq!(status["decisions"].as_u64(), Some(decisions));
    assert_eq!(status["items"].as_u64(), Some(20));
    assert_eq!(report["variants"][0]["events"], status["events"]);
    concierge(&format!("simulate {} --url ftp://x", file.display()))
        .code(2)
        .says(&["--url: got ftp://x"]);
}
