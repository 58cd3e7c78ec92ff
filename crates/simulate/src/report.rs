//! Variants under several seeds, with intervals, paired differences, and what was expected.

use crate::measure::METRICS;
use crate::run::simulate;
use crate::scenario::{Expectation, Scenario};
use crate::setup::Setup;
use crate::target::Target;
use crate::{Measured, Round, SimulateError};
use domain::Item;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A mean over seeds with its 95 % interval (Student's t).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// Mean over seeds.
    pub mean: f64,
    /// Lower end; absent for a single seed.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// What one variant gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantReport {
    /// Its name.
    pub name: String,
    /// Figures by name.
    pub figures: BTreeMap<String, Figure>,
    /// Rounds, means over seeds.
    pub rounds: Vec<Round>,
    /// Slates asked for, under all seeds.
    pub decisions: u64,
    /// Events told, under all seeds.
    pub events: u64,
}

/// A difference between two variants under the same seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Which figure.
    pub metric: String,
    /// Of this variant …
    pub variant: String,
    /// … less that of this one.
    pub than: String,
    /// Mean of the paired differences.
    pub difference: Figure,
}

/// What was expected and what came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Expected {
    /// In words.
    pub claim: String,
    /// The difference (or the figure less the bound) that decides.
    pub difference: Figure,
    /// True if the interval lies wholly on the expected side.
    pub holds: bool,
    /// True if the mean does: all that a few seeds can say.
    pub points_that_way: bool,
}

/// The report of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its name.
    pub scenario: String,
    /// What it shows.
    pub summary: String,
    /// Seeds of each variant: 1, 2, …
    pub seeds: usize,
    /// Days of a round.
    pub round_days: usize,
    /// Variants in the order of the file.
    pub variants: Vec<VariantReport>,
    /// The others against the first, for every figure.
    pub differences: Vec<Difference>,
    /// What was expected.
    pub expected: Vec<Expected>,
    /// What each figure says.
    pub metrics: BTreeMap<&'static str, &'static str>,
}

/// 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom; the normal's beyond.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

fn figure(values: &[f64]) -> Figure {
    let mean = numeric::mean(values);
    let half = values.len().checked_sub(2).map(|at| {
        let t = STUDENT.get(at).copied().unwrap_or(1.96);
        t * (numeric::variance(values) / values.len() as f64).sqrt()
    });
    Figure {
        mean,
        low: half.map(|half| mean - half),
        high: half.map(|half| mean + half),
    }
}

fn mean_rounds(runs: &[&Measured]) -> Vec<Round> {
    let n = runs.len() as f64;
    let longest = runs.iter().map(|run| run.rounds.len()).max().unwrap_or(0);
    let mean = |at: usize, of: fn(&Round) -> f64| {
        runs.iter()
            .filter_map(|run| run.rounds.get(at))
            .map(of)
            .sum::<f64>()
            / n
    };
    let one = |at: usize| Round {
        visits: mean(at, |r| r.visits as f64).round() as u64,
        reward: mean(at, |r| r.reward),
        regret: mean(at, |r| r.regret),
        regret_total: mean(at, |r| r.regret_total),
        coverage: mean(at, |r| r.coverage),
        gini: mean(at, |r| r.gini),
        share_new: mean(at, |r| r.share_new),
        people: mean(at, |r| r.people as f64).round() as u64,
    };
    (0..longest).map(one).collect()
}

/// Runs of one variant by seed.
struct Runs<'a> {
    name: &'a str,
    runs: Vec<&'a Measured>,
}

impl Runs<'_> {
    fn values(&self, metric: &str) -> Option<Vec<f64>> {
        self.runs
            .iter()
            .map(|run| run.figures.get(metric).copied())
            .collect()
    }

    fn less(&self, other: &Runs<'_>, metric: &str) -> Option<Figure> {
        let (mine, theirs) = (self.values(metric)?, other.values(metric)?);
        let differences: Vec<f64> = mine.iter().zip(&theirs).map(|(a, b)| a - b).collect();
        Some(figure(&differences))
    }
}

fn expected(expectation: &Expectation, all: &[Runs<'_>]) -> Expected {
    let Expectation {
        metric,
        variant,
        above,
        below,
        at_least,
        at_most,
    } = expectation;
    let of = |name: &str| all.iter().find(|runs| runs.name == name);
    let against = |bound: f64| {
        let values = of(variant)?.values(metric)?;
        Some(figure(
            &values.iter().map(|value| value - bound).collect::<Vec<_>>(),
        ))
    };
    let other = above.as_ref().or(below.as_ref());
    let higher = above.is_some() || at_least.is_some();
    let (relation, difference) = match (other, at_least.or(*at_most)) {
        (Some(other), _) => (
            format!("{} that of {other}", if higher { "above" } else { "below" }),
            of(other).and_then(|other| of(variant)?.less(other, metric)),
        ),
        (None, Some(bound)) => (
            format!("{} {bound}", if higher { "at least" } else { "at most" }),
            against(bound),
        ),
        (None, None) => (String::new(), None),
    };
    let missing = Figure {
        mean: f64::NAN,
        low: None,
        high: None,
    };
    let difference = difference.unwrap_or(missing);
    let sign = if higher { 1.0 } else { -1.0 };
    let near = if higher { difference.low } else { difference.high };
    Expected {
        claim: format!("{metric} of {variant} is {relation}"),
        difference,
        holds: near.is_some_and(|near| sign * near > 0.0),
        points_that_way: sign * difference.mean > 0.0,
    }
}

/// Makes the target of one run: variant by place, seed, setup.
pub type MakeTarget<'a> = dyn Fn(usize, u64, &Setup) -> Result<Box<dyn Target>, SimulateError> + Sync + 'a;

/// Runs every variant under every seed on so many threads. The report does not depend on their number.
///
/// # Errors
/// The first failure of a target or a setup.
pub fn compare(
    scenario: &Scenario,
    given: &[Item],
    threads: usize,
    make: &MakeTarget<'_>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Report, SimulateError> {
    let jobs: Vec<(usize, u64)> = (0..scenario.variants.len())
        .flat_map(|variant| (1..=scenario.seeds as u64).map(move |seed| (variant, seed)))
        .collect();
    let results: Vec<Mutex<Option<Result<Measured, SimulateError>>>> =
        jobs.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    let workers = threads.clamp(1, jobs.len());
    let inside = (threads / workers).max(1);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::SeqCst);
            let Some((variant, seed)) = jobs.get(at).copied() else {
                return;
            };
            let (name, setup) = &scenario.variants[variant];
            let run = || {
                let target = make(variant, seed, setup)?;
                simulate(setup, seed, given, &*target)
            };
            let result = numeric::on_threads(inside, run);
            progress(&format!("{name}, seed {seed}"));
            if let Ok(mut slot) = results[at].lock() {
                *slot = Some(result);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let mut measured = Vec::with_capacity(jobs.len());
    for slot in results {
        let result = slot.into_inner().ok().flatten();
        measured.push(result.unwrap_or_else(|| {
            Err(SimulateError::Target {
                doing: "running",
                reason: "a worker ended before its time".to_owned(),
            })
        })?);
    }
    Ok(report(scenario, &measured))
}

fn report(scenario: &Scenario, measured: &[Measured]) -> Report {
    let all: Vec<Runs<'_>> = scenario
        .variants
        .iter()
        .zip(measured.chunks(scenario.seeds))
        .map(|((name, _), runs)| Runs {
            name,
            runs: runs.iter().collect(),
        })
        .collect();
    let variant = |runs: &Runs<'_>| VariantReport {
        name: runs.name.to_owned(),
        figures: METRICS
            .iter()
            .filter_map(|(metric, _)| Some(((*metric).to_owned(), figure(&runs.values(metric)?))))
            .collect(),
        rounds: mean_rounds(&runs.runs),
        decisions: runs.runs.iter().map(|run| run.decisions).sum(),
        events: runs.runs.iter().map(|run| run.events).sum(),
    };
    let first = &all[0];
    let differences = all[1..].iter().flat_map(|runs| {
        METRICS.iter().filter_map(|(metric, _)| {
            Some(Difference {
                metric: (*metric).to_owned(),
                variant: runs.name.to_owned(),
                than: first.name.to_owned(),
                difference: runs.less(first, metric)?,
            })
        })
    });
    Report {
        scenario: scenario.name.clone(),
        summary: scenario.summary.clone(),
        seeds: scenario.seeds,
        round_days: scenario.variants[0].1.run.round_days,
        differences: differences.collect(),
        expected: scenario.expect.iter().map(|e| expected(e, &all)).collect(),
        variants: all.iter().map(variant).collect(),
        metrics: METRICS.iter().copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_by_hand() {
        // Mean 2, variance 1, n 3: 4.303 · √(1/3).
        let f = figure(&[1.0, 2.0, 3.0]);
        assert_eq!(f.mean, 2.0);
        assert!((f.high.unwrap() - 2.0 - 4.303 * (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(figure(&[5.0]).low, None);
    }
}
