//! `concierge simulate`: closed loops with known truth.

use crate::bench::scratch::Scratch;
use crate::bulk::{Bulk, Planned};
use crate::failure::{InputError, bad_input};
use crate::output::{self, count};
use crate::simulate_http::Server;
use crate::{config_file, demo, files, progress, simulate_html};
use ::simulate::{Engine, Report, Scenario, Setup, SimulateError, Target, compare};
use anyhow::Context;
use assembly::{OpenReport, Stores};
use domain::Item;
use import::{Kind, Options};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Scenarios that this program carries.
const CARRIED: &[(&str, &str)] = &[
    ("debiasing", include_str!("../../../scenarios/debiasing.toml")),
    ("films", include_str!("../../../scenarios/films.toml")),
    ("narrowing", include_str!("../../../scenarios/narrowing.toml")),
    ("news", include_str!("../../../scenarios/news.toml")),
    ("newcomers", include_str!("../../../scenarios/newcomers.toml")),
    ("popularity", include_str!("../../../scenarios/popularity.toml")),
    (
        "position-bias",
        include_str!("../../../scenarios/position-bias.toml"),
    ),
    ("ranker", include_str!("../../../scenarios/ranker.toml")),
    ("throughput", include_str!("../../../scenarios/throughput.toml")),
    ("unwanted", include_str!("../../../scenarios/unwanted.toml")),
];

/// Let a made-up population use the service, and see what the loop does
///
/// People with known tastes are shown slates by the real engine, react, drift, tire of things, come and leave; the engine learns from what they did. A scenario says what the
/// world is like, which variants of the service are compared, and what is expected of them. The report has means over seeds with 95 % intervals, paired differences, and whether what was
/// expected holds. The same scenario gives the same report at any number of threads.
///
/// Without --url everything happens in this process, with a simulated clock. With --url a running server is asked over HTTP: it should be empty, has its own clock and its own
/// configuration (the scenario's is not sent), and one variant is run under one seed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  concierge simulate narrowing --html narrowing.html\n  \
    concierge simulate my-scenario.toml --seeds 3 --json\n  \
    concierge simulate throughput --url http://127.0.0.1:7800 --days 2\n  \
    concierge simulate --list"
)]
pub(crate) struct Args {
    /// A scenario file, or the name of a carried one (see --list)
    #[arg(value_name = "SCENARIO", required_unless_present = "list")]
    scenario: Option<String>,
    /// Tell which scenarios this program carries
    #[arg(long)]
    list: bool,
    /// Write a carried scenario's file to standard output, to begin one's own with
    #[arg(long)]
    print: bool,
    /// The short form, as tests run it
    #[arg(long)]
    short: bool,
    /// Seeds of each variant, in place of the scenario's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: Option<u32>,
    /// Days, in place of the scenario's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    days: Option<u32>,
    /// Run only these variants; what is expected of others is left out
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    variants: Vec<String>,
    /// Items for a catalogue that is `given`; MovieLens films if absent
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// Ask a running server instead of this process
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Connections to the server
    #[arg(long, value_name = "N", default_value_t = 4, requires = "url", value_parser = clap::value_parser!(u64).range(1..=256))]
    connections: u64,
    /// Keep the data folders of all runs here, events and catalogue on disk; by default they are in memory and gone afterwards
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    keep: Option<PathBuf>,
    /// Threads; all if absent
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The report with plots as one HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.list {
        return list();
    }
    let name = args.scenario.as_deref().unwrap_or_default();
    let (text, file) = read(name)?;
    if args.print {
        return output::print(&text);
    }
    let mut scenario = Scenario::parse(&text, &file, args.short).map_err(input)?;
    adjust(&mut scenario, args)?;
    let scratch = Scratch::new()?;
    let needs_items = scenario
        .variants
        .iter()
        .any(|(_, setup)| setup.catalogue.source == "given");
    if let Some(file) = args.items.as_deref().filter(|_| !needs_items) {
        return Err(bad_input(
            "--items",
            file.display().to_string(),
            "a scenario whose catalogue has source \"given\", such as films: this one makes its items itself",
        ));
    }
    let given = if needs_items {
        items(&scratch, args.items.as_deref())?
    } else {
        Vec::new()
    };
    let root = args.keep.clone().unwrap_or_else(|| scratch.join("runs"));
    if args.keep.is_some() && !crate::folder::is_empty(&root) {
        return Err(bad_input(
            "--keep",
            root.display().to_string(),
            "a folder that is empty or not there yet",
        ));
    }
    let server = args
        .url
        .as_deref()
        .map(|url| Server::at(url, args.connections as usize))
        .transpose()?;
    let make = |variant: usize, seed: u64, setup: &Setup| -> Result<Box<dyn Target>, SimulateError> {
        if let Some(server) = &server {
            return Ok(Box::new(server.clone()));
        }
        let dir = root.join(format!(
            "{}-{seed}",
            folder_name(variant, &scenario.variants[variant].0)
        ));
        Ok(Box::new(Engine::open(&dir, setup, args.keep.is_some())?))
    };
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let total = scenario.variants.len() * scenario.seeds;
    let spinner = progress::spinner(format!("{} runs", total));
    let done = std::sync::atomic::AtomicUsize::new(0);
    let tell = |what: &str| {
        let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        spinner.set_message(format!("{done} of {total} runs: {what}"));
    };
    let started = Instant::now();
    let report = compare(&scenario, &given, args.threads.unwrap_or(all), &make, &tell);
    spinner.finish_and_clear();
    let report = report.map_err(input)?;
    let seconds = started.elapsed().as_secs_f64();
    let decisions: u64 = report.variants.iter().map(|variant| variant.decisions).sum();
    let events: u64 = report.variants.iter().map(|variant| variant.events).sum();
    let took = format!(
        "{} decisions and {} events in {seconds:.1} s: {} decisions/s",
        count(decisions),
        count(events),
        count((decisions as f64 / seconds.max(1e-9)) as u64)
    );
    if let Some(path) = &args.html {
        std::fs::write(path, simulate_html::page(&report))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if args.json {
        output::told(&took);
        output::json(&report)
    } else {
        shown(&report)?;
        output::line(took)
    }
}

fn list() -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (name, text) in CARRIED {
        let scenario = Scenario::parse(text, name, false).map_err(input)?;
        let variants: Vec<&str> = scenario.variants.iter().map(|(name, _)| name.as_str()).collect();
        rows.push(vec![(*name).to_owned(), scenario.summary, variants.join(", ")]);
    }
    output::table(&["scenario", "what it shows", "variants"], rows)
}

/// Text and name of a scenario: a file's, or a carried one's.
fn read(name: &str) -> anyhow::Result<(String, String)> {
    if let Some((_, text)) = CARRIED.iter().find(|(known, _)| *known == name) {
        return Ok(((*text).to_owned(), name.to_owned()));
    }
    let text = std::fs::read_to_string(name).map_err(|e| {
        let names: Vec<&str> = CARRIED.iter().map(|(name, _)| *name).collect();
        bad_input(
            "SCENARIO",
            format!("{name} ({e})"),
            format!("a file, or one of {}", names.join(", ")),
        )
    })?;
    Ok((text, name.to_owned()))
}

/// A scenario that cannot be is the caller's; a target that fails is the operator's.
fn input(error: SimulateError) -> anyhow::Error {
    match error {
        SimulateError::Scenario { .. } => InputError(error.to_string()).into(),
        SimulateError::Target { .. } => error.into(),
    }
}

fn adjust(scenario: &mut Scenario, args: &Args) -> anyhow::Result<()> {
    if let Some(seeds) = args.seeds {
        scenario.seeds = seeds as usize;
    }
    if let Some(unknown) = args
        .variants
        .iter()
        .find(|name| scenario.variants.iter().all(|(known, _)| known != *name))
    {
        let known: Vec<&str> = scenario.variants.iter().map(|(name, _)| name.as_str()).collect();
        return Err(bad_input(
            "--variants",
            unknown,
            format!("names of {}", known.join(", ")),
        ));
    }
    if !args.variants.is_empty() {
        scenario.variants.retain(|(name, _)| args.variants.contains(name));
    }
    if args.url.is_some() {
        scenario.variants.truncate(1);
        scenario.seeds = 1;
    }
    let left: Vec<String> = scenario.variants.iter().map(|(name, _)| name.clone()).collect();
    scenario.expect.retain(|expectation| {
        let others = [&expectation.above, &expectation.below];
        let mut names = others.into_iter().flatten().chain([&expectation.variant]);
        names.all(|name| left.contains(name))
    });
    if let Some(days) = args.days {
        scenario
            .variants
            .iter_mut()
            .for_each(|(_, setup)| setup.run.days = days as usize);
    }
    Ok(())
}

/// A name that a folder may have.
fn folder_name(at: usize, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    format!("{at}-{plain}")
}

/// Items of a file, or the films that this program carries.
fn items(scratch: &Scratch, file: Option<&Path>) -> anyhow::Result<Vec<Item>> {
    let dir = scratch.join("items");
    config_file::write_if_absent(&dir, &assembly::Config::default())?;
    {
        let mut bulk = Bulk::open(&dir)?;
        match file {
            None => bulk.load_bytes(Kind::Items, "movies.csv.gz", demo::FILMS)?,
            Some(path) => {
                let name = path.display().to_string();
                let mut source = files::open_plainly(path)?;
                let (plan, first) = import::plan(source.as_mut(), &name, &Options::new(Kind::Items))?;
                bulk.load(Planned { plan, source, first }, None)?
            }
        };
    }
    let stores = Stores::open(&dir, &mut OpenReport::default())?;
    let mut items = Vec::new();
    stores
        .catalogue
        .for_each_item(&mut |item| items.push(item))
        .context("reading the items")?;
    Ok(items)
}

const SHOWN: [&str; 9] = [
    "reward",
    "reward_late",
    "regret",
    "regret_power",
    "coverage_late",
    "gini_late",
    "share_new",
    "new_reached",
    "retention",
];

fn shown(report: &Report) -> anyhow::Result<()> {
    output::line(format!("{}: {}", report.scenario, report.summary))?;
    let mut header = vec!["variant"];
    header.extend(SHOWN);
    let row = |variant: &::simulate::VariantReport| {
        let cell = |metric: &&str| match variant.figures.get(*metric) {
            Some(figure) => match figure.high {
                Some(high) => format!("{:.4} ±{:.4}", figure.mean, high - figure.mean),
                None => format!("{:.4}", figure.mean),
            },
            None => "–".to_owned(),
        };
        std::iter::once(variant.name.clone())
            .chain(SHOWN.iter().map(cell))
            .collect()
    };
    output::table(&header, report.variants.iter().map(row).collect())?;
    if !report.expected.is_empty() {
        let row = |expected: &::simulate::Expected| {
            let difference = &expected.difference;
            let range = difference.low.zip(difference.high);
            vec![
                if expected.holds {
                    "holds"
                } else if expected.points_that_way {
                    "points that way"
                } else {
                    "does not hold"
                }
                .to_owned(),
                expected.claim.clone(),
                format!("{:+.4}", difference.mean),
                range.map_or_else(String::new, |(low, high)| format!("{low:+.4} to {high:+.4}")),
            ]
        };
        output::table(
            &["", "expected", "difference", "95 %"],
            report.expected.iter().map(row).collect(),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carried_scenarios_can_be_in_both_forms() {
        for (name, text) in CARRIED {
            for short in [false, true] {
                let scenario = Scenario::parse(text, name, short).expect(name);
                assert_eq!(scenario.name, *name);
            }
        }
    }
}
