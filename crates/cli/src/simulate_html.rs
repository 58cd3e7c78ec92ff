//! The report of a simulation as one HTML file: style and plots inside, nothing fetched.

use crate::evaluate_html::style;
use crate::output::count;
use crate::plot::{self, Bar, Series};
use ::simulate::{Figure, Report, Round, VariantReport};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// A figure per round: what it is called, and how it is read.
type Curve = (&'static str, fn(&Round) -> f64);

const CURVES: [Curve; 6] = [
    ("reward of a visit", |round| round.reward),
    ("regret so far", |round| round.regret_total),
    ("coverage of the catalogue", |round| round.coverage),
    ("Gini of exposure", |round| round.gini),
    ("share of new items shown", |round| round.share_new),
    ("people", |round| round.people as f64),
];

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let decisions: u64 = report.variants.iter().map(|v| v.decisions).sum();
    let events: u64 = report.variants.iter().map(|v| v.events).sum();
    let facts = [
        (count(report.variants.len() as u64), "variants"),
        (count(report.seeds as u64), "seeds of each"),
        (count(decisions), "decisions"),
        (count(events), "events"),
    ];
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Simulation: " (report.scenario) }
                style { (PreEscaped(style())) }
            }
            body {
                h1 { "Simulation: " (report.scenario) }
                p.soft { (report.summary) }
                ul.facts { @for (figure, what) in &facts { li { b { (figure) } span.soft { (what) } } } }
                @if !report.expected.is_empty() {
                    h2 { "What was expected" }
                    div.card { (expected(report)) }
                }
                h2 { "Over time" }
                p.soft { "Means over seeds, by round of " (report.round_days) " days." }
                div.grid2 {
                    @for (name, of) in CURVES {
                        @if happened(report, of) { div.card { h3 { (name) } (curve(report, name, of)) } }
                    }
                }
                h2 { "Retention by diversity" }
                p.soft { "Share of people who have not left, by quarters of how many topics they were shown at a time; whiskers are 95 % intervals over seeds." }
                div.grid2 {
                    @for variant in &report.variants { div.card { h3 { (variant.name) } (retention(variant)) } }
                }
                h2 { "Figures" }
                p.soft { "Means over seeds; ± is half of a 95 % interval." }
                div.card { (figures(report)) }
                @if !report.differences.is_empty() {
                    h2 { "Against " (report.differences[0].than) }
                    p.soft { "Paired by seed. Coloured where the interval leaves out 0." }
                    div.card { (differences(report)) }
                }
            }
        }
    };
    markup.into_string()
}

fn expected(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { "expected" } th { "" } th { "difference" } th { "95 %" } } }
            tbody {
                @for one in &report.expected {
                    tr {
                        td { (one.claim) }
                        td class=(if one.holds { "up" } else if one.points_that_way { "same" } else { "down" }) {
                            (if one.holds { "holds" } else if one.points_that_way { "points that way" } else { "does not hold" })
                        }
                        td { (format!("{:+.4}", one.difference.mean)) }
                        td { (range(&one.difference)) }
                    }
                }
            }
        }
    }
}

fn range(figure: &Figure) -> String {
    let ends = figure.low.zip(figure.high);
    ends.map_or_else(
        || "–".to_owned(),
        |(low, high)| format!("{low:+.4} to {high:+.4}"),
    )
}

/// False for what is 0 all the time, such as new items where none arrive.
fn happened(report: &Report, of: fn(&Round) -> f64) -> bool {
    report
        .variants
        .iter()
        .any(|variant| variant.rounds.iter().any(|round| of(round) != 0.0))
}

fn curve(report: &Report, name: &str, of: fn(&Round) -> f64) -> Markup {
    let series: Vec<Series<'_>> = report
        .variants
        .iter()
        .map(|variant| Series {
            name: &variant.name,
            points: (1..).map(f64::from).zip(variant.rounds.iter().map(of)).collect(),
        })
        .collect();
    plot::curves(&series, "round", name)
}

fn retention(variant: &VariantReport) -> Markup {
    let names = ["fewest topics", "second", "third", "most topics"];
    let rows: Vec<Bar<'_>> = names
        .iter()
        .enumerate()
        .filter_map(|(at, name)| {
            let figure = variant.figures.get(&format!("retention_q{}", at + 1))?;
            Some(Bar {
                name,
                mean: figure.mean,
                interval: figure.low.zip(figure.high),
            })
        })
        .collect();
    plot::bars(&rows)
}

fn figures(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { "figure" } @for variant in &report.variants { th { (variant.name) } } } }
            tbody {
                @for (metric, says) in &report.metrics {
                    @if report.variants.iter().any(|v| v.figures.contains_key(*metric)) {
                        tr {
                            td title=(says) { (metric) }
                            @for variant in &report.variants {
                                @match variant.figures.get(*metric) {
                                    Some(figure) => td {
                                        (format!("{:.4}", figure.mean))
                                        @if let Some(high) = figure.high { small { (format!(" ±{:.4}", high - figure.mean)) } }
                                    },
                                    None => td { "–" },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn differences(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { "figure" } th { "variant" } th { "difference" } th { "95 %" } } }
            tbody {
                @for one in &report.differences {
                    @let (low, high) = (one.difference.low.unwrap_or(f64::NEG_INFINITY), one.difference.high.unwrap_or(f64::INFINITY));
                    tr {
                        td { (one.metric) }
                        td { (one.variant) }
                        td class=(if low > 0.0 { "up" } else if high < 0.0 { "down" } else { "same" }) { (format!("{:+.4}", one.difference.mean)) }
                        td { (range(&one.difference)) }
                    }
                }
            }
        }
    }
}
