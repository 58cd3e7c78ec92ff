//! Every figure of the Open Bandit Pipeline 0.5.5 on the reference logs, to 1e-6 relative.

use crate::files::{Columns, shared};
use ope::{Log, Options, Report, SlateLog, judge, judge_slates};
use serde_json::Value;

fn reference() -> Option<Value> {
    let path = shared("ope-reference/estimates.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is not there, nothing is compared", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("the reference is JSON"))
}

/// Our name of a name of the reference: a parameter is behind the last underscore there.
fn ours(name: &str) -> String {
    match name.rsplit_once('_') {
        Some((name, parameter)) if parameter.parse::<f64>().is_ok() => format!("{name}:{parameter}"),
        _ => name.to_owned(),
    }
}

fn compare(report: &Report, estimates: &Value) {
    let estimates = estimates.as_object().expect("the reference has estimates");
    assert!(report.refused.is_empty(), "{:?}", report.refused);
    assert_eq!(report.estimates.len(), estimates.len());
    for (found, (name, expected)) in report.estimates.iter().zip(estimates) {
        let expected = expected.as_f64().expect("estimates are numbers");
        assert_eq!(found.estimator, ours(name));
        let off = (found.value / expected - 1.0).abs();
        assert!(off < 1e-6, "{name}: {} for {expected}", found.value);
        eprintln!("{name}: {} off by {off:.1e}", found.value);
        assert!(found.low <= found.value && found.value <= found.high);
    }
}

fn options() -> Options {
    Options {
        bootstrap_rounds: 100,
        ..Options::default()
    }
}

#[test]
fn single_actions_agree_with_the_reference() {
    let Some(reference) = reference() else { return };
    let file = Columns::read(&shared("ope-reference/single.parquet"));
    let log = Log::new(
        10,
        file.get("reward"),
        file.whole("action"),
        file.matrix("pi_e_", 10),
    )
    .and_then(|log| log.with_propensities(file.get("pscore")))
    .and_then(|log| log.with_model(file.matrix("q_hat_", 10)))
    .expect("the log is right");
    let estimates = &reference["single"]["estimates"];
    let names: Vec<String> = estimates
        .as_object()
        .expect("an object")
        .keys()
        .map(|name| ours(name))
        .collect();
    let report = judge(&log, &names, &options()).expect("the request is right");
    compare(&report, estimates);
    assert!(report.support.is_some_and(|support| support.holds));
    // Chosen parameters and a learnt model come close to the truth: five standard errors of plain weights.
    let truth = reference["single"]["true_value"].as_f64().expect("a number");
    let tuned = [
        "ips_clip",
        "switch_dr",
        "dros",
        "subgaussian_ips",
        "subgaussian_dr",
    ];
    for found in judge(&log, &tuned, &options())
        .expect("the request is right")
        .estimates
    {
        assert!((found.value - truth).abs() < 0.06, "{found:?}");
        assert!(
            found
                .parameter
                .is_some_and(|p| p.tuned.is_some() && p.candidates > 1)
        );
    }
}

#[test]
fn slates_agree_with_the_reference() {
    let Some(reference) = reference() else { return };
    let file = Columns::read(&shared("ope-reference/slate.parquet"));
    let firsts = |name: &str| file.get(name).into_iter().step_by(3).collect::<Vec<f64>>();
    let log = SlateLog::new(3, file.get("reward"))
        .and_then(|log| log.with_slates(firsts("pscore"), firsts("pi_e_pscore")))
        .and_then(|log| {
            log.with_marginals(
                file.get("pscore_item_position"),
                file.get("pi_e_pscore_item_position"),
            )
        })
        .and_then(|log| log.with_prefixes(file.get("pscore_cascade"), file.get("pi_e_pscore_cascade")))
        .expect("the log is right");
    let estimates = &reference["slate"]["estimates"];
    let names: Vec<&String> = estimates.as_object().expect("an object").keys().collect();
    compare(
        &judge_slates(&log, &names, &options()).expect("the request is right"),
        estimates,
    );
    // Items are drawn without replacement: the closed form would be wrong, and there is no model.
    let refused =
        judge_slates(&log, &["pseudo_inverse", "cascade_dr"], &options()).expect("the request is right");
    assert!(refused.estimates.is_empty());
    assert!(
        refused.refused[0].reason.contains("depend on each other"),
        "{:?}",
        refused.refused
    );
    assert!(
        refused.refused[1].reason.contains("reward model"),
        "{:?}",
        refused.refused
    );
}
