//! Closed loops through the real engine.

use simulate::{Engine, Report, Scenario, Setup, Target, compare};
use std::path::Path;
use tempfile::TempDir;

fn carried(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../scenarios/{name}.toml"));
    std::fs::read_to_string(path).expect("a carried scenario")
}

fn run(scenario: &Scenario, threads: usize) -> Report {
    let dir = TempDir::new().expect("a folder");
    let make = |variant: usize, seed: u64, setup: &Setup| {
        let engine = Engine::open(&dir.path().join(format!("{variant}-{seed}")), setup, false)?;
        Ok(Box::new(engine) as Box<dyn Target>)
    };
    compare(scenario, &[], threads, &make, &|_| {}).expect("a report")
}

fn short(name: &str) {
    let scenario = Scenario::parse(&carried(name), name, true).expect("a scenario");
    let report = run(&scenario, 2);
    // A power needs more rounds than the short form has.
    let told = report
        .expected
        .iter()
        .filter(|e| !e.claim.starts_with("regret_power"));
    for expected in told {
        assert!(expected.points_that_way, "{}: {expected:?}", report.scenario);
    }
}

#[test]
fn learning_from_ones_own_slates_narrows_and_exploring_does_not() {
    short("narrowing");
}

#[test]
fn bandits_beat_blind_chance_on_news() {
    short("news");
}

#[test]
fn newcomers_get_what_is_fair() {
    short("newcomers");
}

#[test]
fn weighing_by_looks_undoes_the_bias_of_positions() {
    short("position-bias");
}

#[test]
fn training_with_inverse_propensities_finds_what_is_liked() {
    short("debiasing");
}

#[test]
fn holding_popular_items_back_keeps_the_catalogue_open() {
    short("popularity");
}

const SMALL: &str = r#"
name = "small"
summary = "Everything at once, in little."
seeds = 2
[catalogue]
items = 30
arrivals_per_day = 2.0
retire_after_days = 8.0
fade_half_life_days = 4.0
[people]
users = 40
arrivals_per_day = 3.0
visits_per_day = 1.5
week = [1.0, 1.0, 1.0, 1.0, 1.2, 0.5, 0.4]
weekend_shift = 0.5
drift_per_day = 0.1
churn_per_day = 0.05
attributes = true
[behaviour]
clicks = "cascade"
boredom = 0.3
purchase_bias = -1.0
return_bias = -1.0
return_days = 2.0
impressions = true
[history]
days = 5.0
[run]
days = 10
tick_hours = 12.0
train_every_days = 4
round_days = 5
n = 5
[rewards]
click = 0.1
purchase = 1.0
return = -1.0
[service.training]
model = "popular"
fallbacks = []
[service.placements.home]
exclude_seen = false
policy = { name = "softmax", temperature = 0.5 }
"#;

#[test]
fn the_same_report_at_any_number_of_threads() {
    let scenario = Scenario::parse(SMALL, "small", false).expect("a scenario");
    let one = run(&scenario, 1);
    assert_eq!(one, run(&scenario, 4));
    let figures = &one.variants[0].figures;
    // Everything happened: items and people came, some left, and what was bought earned something.
    assert!(
        figures["share_new"].mean > 0.0 && figures["retention"].mean < 1.0,
        "{figures:#?}"
    );
    assert!(
        figures["reward"].mean > 0.0 && figures["regret"].mean > 0.0,
        "{figures:#?}"
    );
    assert!(one.variants[0].rounds.iter().all(|round| round.coverage <= 1.0));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let check = |change: &str, says: &str| {
        let text = format!("{SMALL}\n{change}");
        let error = Scenario::parse(&text, "small", false)
            .expect_err(change)
            .to_string();
        assert!(error.contains(says), "{change}: {error}");
    };
    check("[run2]\na = 1", "unknown field `run2`");
    check(
        "[[variants]]\nname = \"a\"\nwith = { run = { dayz = 1 } }",
        "unknown field `dayz`",
    );
    check(
        "[[variants]]\nname = \"a\"\nwith = { service = { placements = { home = { n = 0 } } } }",
        "variant a: service: placements.home.n: got 0",
    );
    check(
        "[[variants]]\nname = \"a\"\nwith = { run = { placement = \"cart\" } }",
        "run.placement: got \"cart\"",
    );
    check(
        "[[expect]]\nmetric = \"reward\"\nvariant = \"b\"\nat_least = 0.0",
        "got \"b\"",
    );
    check(
        "[[expect]]\nmetric = \"joy\"\nvariant = \"as is\"\nat_least = 0.0",
        "metric: got \"joy\"",
    );
    check(
        "[[expect]]\nmetric = \"reward\"\nvariant = \"as is\"",
        "got 0 relations",
    );
}
