//! How often intervals hold the truth: 1,000 seeded logs of planted worlds per sample size. Prints a table per estimator.
//!
//! With `support`, how often the check of support fires; with `sparse`, how often intervals hold the truth where rewards are rare.
//!
//! `cargo run --release -p ope --example coverage -- [LOGS] [support|sparse]`

#[path = "../tests/it/steep.rs"]
mod steep;
#[path = "../tests/it/worlds.rs"]
mod worlds;

use ope::{Options, Range, Report, judge, judge_slates};
use steep::Steep;
use worlds::{SlateWorld, Tells, World, fared};

fn options(seed: u64) -> Options {
    Options {
        bootstrap_rounds: 1000,
        seed,
        reward_range: Some(Range { low: 0.0, high: 1.0 }),
        ..Options::default()
    }
}

fn told(n: usize, reports: &[Report], names: &[&str], truth: f64) {
    for (name, f) in names.iter().zip(fared(reports, names, truth)) {
        let [bootstrap, normal, bernstein] = f.covered.map(|c| 100.0 * c);
        println!(
            "| `{name}` | {n} | {} | {:+.4} | {:.4} | {:.4} | {bootstrap:.1} | {normal:.1} | {bernstein:.1} | {:.1} |",
            f.answered,
            f.bias,
            f.rmse,
            f.width,
            100.0 * f.sampling
        );
    }
}

/// Logs of different sizes have different seeds: they would share their first rounds otherwise.
fn many(logs: usize, n: usize, one: impl Fn(u64) -> Report + Sync) -> Vec<Report> {
    numeric::parallel_chunks(logs, 1, |range| one((n * 100_000 + range.start) as u64))
}

/// How often the check of support fires: full support, missing in half of the contexts, missing everywhere; a world of its own for each log.
fn support(logs: usize) {
    println!(
        "\n| support | rounds | missing mass, median | refused by distributions % | refused by propensities % | unclear % |\n|---|---:|---:|---:|---:|---:|"
    );
    let quick = |seed| Options {
        bootstrap_rounds: 2,
        ..options(seed)
    };
    for (name, gone) in [
        ("full", 0),
        ("missing in half of the contexts", 4),
        ("missing everywhere", 8),
    ] {
        for n in [250, 1000, 4000, 16_000] {
            let one = |seed: u64| {
                let world = World::new(seed, false, gone);
                let fires = |tells| {
                    let report = judge(&world.log(n, seed, tells), &["ips"], &quick(seed));
                    report.expect("a right request")
                };
                let (sure, signs) = (fires(Tells::Distributions), fires(Tells::Propensities));
                // Too little to be told from noise: within eight standard errors of the mean weight.
                let unclear = signs.support.as_ref().is_some_and(|found| {
                    let noise = ((found.mean_weight - 1.0) / found.mean_weight_score).abs();
                    gone > 0 && found.holds && world.missing_mass() <= 8.0 * noise
                });
                let fired = |report: &Report| f64::from(u8::from(!report.refused.is_empty()));
                [
                    world.missing_mass(),
                    fired(&sure),
                    fired(&signs),
                    f64::from(u8::from(unclear)),
                ]
            };
            let found = numeric::parallel_chunks(logs, 1, |range| one((n * 100_000 + range.start) as u64));
            let percent =
                |at: usize| 100.0 * found.iter().map(|f: &[f64; 4]| f[at]).sum::<f64>() / logs as f64;
            let mut masses: Vec<f64> = found.iter().map(|f| f[0]).collect();
            masses.sort_unstable_by(f64::total_cmp);
            println!(
                "| {name} | {n} | {:.4} | {:.1} | {:.1} | {:.1} |",
                numeric::quantile(&masses, 0.5).unwrap_or(0.0),
                percent(1),
                percent(2),
                percent(3)
            );
        }
    }
}

/// The same where large weights are rare: how often it refuses, and how often it refuses or warns.
fn steep(logs: usize) {
    println!(
        "\n| logging policy | support | rounds | refused % | refused or warned % |\n|---|---|---:|---:|---:|"
    );
    let kinds = [
        ("softmax, temperature 2", Steep::Softmax(2.0)),
        ("softmax, temperature 1", Steep::Softmax(1.0)),
        ("softmax, temperature 0.5", Steep::Softmax(0.5)),
        ("softmax, temperature 0.2", Steep::Softmax(0.2)),
        ("softmax, temperature 0.15", Steep::Softmax(0.15)),
        ("softmax, temperature 0.1", Steep::Softmax(0.1)),
        ("ε-greedy, 0.05", Steep::Epsilon(0.05)),
        ("ε-greedy, 0.2", Steep::Epsilon(0.2)),
    ];
    for (name, kind) in kinds {
        for (closed, support) in [(false, "full"), (true, "one action in ten missing")] {
            for n in [250, 1000, 4000, 16_000] {
                let one = |seed: u64| {
                    let quick = Options {
                        bootstrap_rounds: 2,
                        ..options(seed)
                    };
                    let report = judge(&steep::log(kind, closed, n, seed), &["ips"], &quick);
                    let report = report.expect("a right request");
                    let refused = !report.refused.is_empty();
                    let warned = report.estimates.iter().flat_map(|e| &e.warnings);
                    let warned = warned.into_iter().any(|w| w.contains("the log cannot say which"));
                    [refused, refused || warned].map(|is| f64::from(u8::from(is)))
                };
                let found =
                    numeric::parallel_chunks(logs, 1, |range| one((n * 100_000 + range.start) as u64));
                let percent =
                    |at: usize| 100.0 * found.iter().map(|f: &[f64; 2]| f[at]).sum::<f64>() / logs as f64;
                println!(
                    "| {name} | {support} | {n} | {:.1} | {:.1} |",
                    percent(0),
                    percent(1)
                );
            }
        }
    }
}

/// Coverage of the interval that is told where few rounds are rewarded.
fn sparse(logs: usize) {
    println!(
        "| estimator | rounds | rewarded, mean | told cover % | upper end below the truth % | for few % | mean width |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let names = ["ips", "snips", "dr", "sndr"];
    let world = World::new(1, false, 0);
    for rate in [0.001, 0.003, 0.01, 0.03, 0.1] {
        for n in [600, 2000] {
            let reports = many(logs, n, |seed| {
                let log = world.sparse_log(n, seed, rate);
                judge(
                    &log,
                    &names,
                    &Options {
                        reward_range: None,
                        ..options(seed)
                    },
                )
                .expect("a right request")
            });
            let truth = rate * world.truth();
            for (at, name) in names.iter().enumerate() {
                let all: Vec<_> = reports.iter().filter_map(|r| r.estimates.get(at)).collect();
                let share = |is: &dyn Fn(&ope::Estimate) -> bool| {
                    100.0 * all.iter().filter(|e| is(e)).count() as f64 / all.len().max(1) as f64
                };
                let width = all.iter().map(|e| e.high - e.low).sum::<f64>() / all.len().max(1) as f64;
                let rewarded = reports.iter().map(|r| r.logged_value).sum::<f64>() * n as f64 / logs as f64;
                println!(
                    "| `{name}` | {n} | {rewarded:.1} | {:.1} | {:.1} | {:.1} | {width:.5} |",
                    share(&|e| e.low <= truth && truth <= e.high),
                    share(&|e| e.high < truth),
                    share(&|e| e.interval == ope::IntervalKind::FewEvents)
                );
            }
        }
    }
}

fn main() {
    let logs: usize = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(1000);
    match std::env::args().nth(2).as_deref() {
        Some("support") => {
            support(logs);
            return steep(logs);
        }
        Some("sparse") => return sparse(logs),
        _ => {}
    }
    println!(
        "| estimator | rounds | answered | bias | RMSE | width | bootstrap % | normal % | Bernstein % | sampling error alone % |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let single = [
        "ips",
        "snips",
        "dr",
        "sndr",
        "dm",
        "ips_clip",
        "ips_clip:2",
        "switch_dr",
        "switch_dr:2",
        "dros",
        "dros:2",
        "subgaussian_ips",
        "subgaussian_ips:0.1",
        "subgaussian_dr",
        "subgaussian_dr:0.1",
    ];
    let world = World::new(1, false, 0);
    let categories = World::new(2, true, 0);
    for n in [250, 1000, 4000] {
        let log = |seed| world.log(n, seed, Tells::Distributions);
        let reports = many(logs, n, |seed| {
            judge(&log(seed), &single, &options(seed)).expect("a right request")
        });
        told(n, &reports, &single, world.truth());
        let log = |seed| categories.log(n, seed, Tells::Distributions);
        let reports = many(logs, n, |seed| {
            judge(&log(seed), &["mips"], &options(seed)).expect("a right request")
        });
        told(n, &reports, &["mips"], categories.truth());
    }
    let names: Vec<&str> = ope::slate_estimators().iter().map(|entry| entry.name).collect();
    let world = SlateWorld::new(3);
    for n in [250, 1000, 4000] {
        let reports = many(logs, n, |seed| {
            judge_slates(&world.log(n, seed), &names, &options(seed)).expect("a right request")
        });
        told(n, &reports, &names, world.truth());
    }
}
