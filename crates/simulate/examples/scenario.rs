//! Runs a scenario file without the command line: `cargo run --release -p simulate --example scenario -- scenarios/news.toml [threads] [seeds] [short]`.

use simulate::{Engine, Scenario, Target, compare};
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<usize>().ok());
    let text = std::fs::read_to_string(&args[0]).expect("a scenario file");
    let short = args.iter().any(|arg| arg == "short");
    let mut scenario = Scenario::parse(&text, &args[0], short).expect("a scenario");
    scenario.seeds = number(2).unwrap_or(scenario.seeds);
    let root = std::env::temp_dir().join(format!("concierge-scenario-{}", std::process::id()));
    let started = Instant::now();
    let make = |variant: usize, seed: u64, setup: &simulate::Setup| {
        let engine = Engine::open(&root.join(format!("{variant}-{seed}")), setup, false)?;
        Ok(Box::new(engine) as Box<dyn Target>)
    };
    let report = compare(&scenario, &[], number(1).unwrap_or(2), &make, &|_| {}).expect("a report");
    let seconds = started.elapsed().as_secs_f64();
    let _ = std::fs::remove_dir_all(&root);
    let decisions: u64 = report.variants.iter().map(|v| v.decisions).sum();
    for variant in &report.variants {
        println!("{}", variant.name);
        for (name, figure) in &variant.figures {
            println!(
                "  {name:16} {:10.4} {:10.4} {:10.4}",
                figure.mean,
                figure.low.unwrap_or(f64::NAN),
                figure.high.unwrap_or(f64::NAN)
            );
        }
        for (at, round) in variant.rounds.iter().enumerate() {
            println!(
                "  {at:3} reward {:.4} regret {:.4} coverage {:.3} gini {:.3} new {:.3} people {}",
                round.reward, round.regret, round.coverage, round.gini, round.share_new, round.people
            );
        }
    }
    for e in &report.expected {
        println!(
            "{} {} {:?}",
            if e.holds { "holds" } else { "DOES NOT HOLD" },
            e.claim,
            e.difference
        );
    }
    println!(
        "{decisions} decisions, {seconds:.1} s, {:.0} decisions/s",
        decisions as f64 / seconds
    );
}
