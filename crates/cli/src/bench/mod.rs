//! `concierge bench`: loads this program and takes the time.

mod child;
mod freshness;
pub(crate) mod http;
mod import;
mod ingest;
mod overhead;
pub(crate) mod scratch;
mod serve;
mod training;

use serde_json::{Value, json};
use std::time::Duration;

/// Measure this machine: import, ingestion over HTTP, freshness under load, slates per second, what recording and exploring cost, training.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Import(import::Args),
    Ingest(ingest::Args),
    Freshness(freshness::Args),
    Overhead(overhead::Args),
    Serve(serve::Args),
    Training(training::Args),
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Import(args) => import::run(args),
        What::Ingest(args) => ingest::run(args),
        What::Freshness(args) => freshness::run(args),
        What::Overhead(args) => overhead::run(args),
        What::Serve(args) => serve::run(args),
        What::Training(args) => training::run(args),
    }
}

/// Durations of one kind.
#[derive(Debug, Default)]
struct Durations(Vec<Duration>);

impl Durations {
    fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// The nearest-rank percentile of sorted durations, in milliseconds; zero if there are none.
    fn percentile_ms(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        let at = self.0.get(rank.saturating_sub(1)).or(self.0.last());
        at.map_or(0.0, |duration| (duration.as_secs_f64() * 1e6).round() / 1e3)
    }

    /// Sorts, then p50, p99 and the longest.
    fn told(&mut self) -> Value {
        self.sort();
        json!({
            "p50": self.percentile_ms(0.5),
            "p99": self.percentile_ms(0.99),
            "max": self.percentile_ms(1.0),
        })
    }
}

/// A flat object as a table.
fn table(report: &Value) -> anyhow::Result<()> {
    fn rows(prefix: &str, value: &Value, into: &mut Vec<Vec<String>>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if prefix.is_empty() {
                        name.clone()
                    } else {
                        format!("{prefix} {name}")
                    };
                    rows(&path, value, into);
                }
            }
            Value::String(text) => into.push(vec![prefix.replace('_', " "), text.clone()]),
            Value::Null => {}
            other => into.push(vec![prefix.replace('_', " "), other.to_string()]),
        }
    }
    let mut found = Vec::new();
    rows("", report, &mut found);
    crate::output::table(&["", ""], found)
}

/// The report, for machines or for people.
fn tell(report: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        crate::output::json(report)
    } else {
        table(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let mut durations = Durations((1..=100).rev().map(Duration::from_millis).collect());
        let told = durations.told();
        assert_eq!(told, json!({ "p50": 50.0, "p99": 99.0, "max": 100.0 }));
        assert_eq!(Durations::default().percentile_ms(0.5), 0.0);
    }
}
