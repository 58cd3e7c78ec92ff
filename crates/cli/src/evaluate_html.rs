//! The report of an evaluation as one HTML file: style and plots inside, nothing fetched.

use crate::evaluate::{Finding, Findings};
use crate::evaluate_report::notes;
use crate::output::count;
use crate::plot::{self, Bar, Series};
use evaluate::{Comparison, Estimate, GROUPS};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #e0e1e6; --page: #fcfcfd; --card: #ffffff; --good: #0b6e4f; --bad: #b3261e;
 --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b45f9b; --c4: #c58a00; --c5: #3a9bd9; --c6: #6e6e6e; --c7: #8c564b; --c8: #6a3d9a; --c9: #7a8b00; --p0: #1f4e79; --p1: #5b9bd5; --p2: #c3dcf1; --inside: #ffffff; --inside2: #1c2024; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #a0a4ab; --line: #33363b; --page: #111113; --card: #18191b; --good: #4cc38a; --bad: #ff9592;
 --c0: #4ba3e3; --c1: #ff8b3d; --c2: #30c596; --c3: #dd8ac4; --c4: #f0b429; --c5: #7cc7ff; --c6: #a8a8a8; --c7: #c49080; --c8: #a98ad9; --c9: #bccc3a; --p0: #7db9f0; --p1: #3f78ad; --p2: #22405d; --inside: #ffffff; --inside2: #edeef0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 60px; max-width: 1180px; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 34px 0 6px; } h3 { font-size: 14px; margin: 0 0 8px; }
p, li { max-width: 78ch; } .soft { color: var(--soft); }
.facts { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 14px 0; padding: 0; list-style: none; } .facts b { display: block; font-size: 19px; font-weight: 600; }
.grid2 { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 16px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; overflow-x: auto; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
svg .tick, svg .axis { fill: var(--soft); } svg .name { font-size: 12px; } svg .value { font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--line); } svg .whisker { stroke: var(--ink); stroke-width: 1.4; } svg .leader { stroke: var(--soft); stroke-width: .6; }
svg .line { fill: none !important; stroke-width: 2; } svg .end { font-weight: 600; } svg .inside { fill: var(--inside); font-size: 10.5px; }
svg .part0 { fill: var(--p0); } svg .part1 { fill: var(--p1); } svg .part2 { fill: var(--p2); } svg g:has(.part2) .inside { fill: var(--inside2); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; } th, td { padding: 5px 8px; font-size: 13.5px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); } th:first-child, td:first-child { text-align: left; } td.best { font-weight: 700; } td small { color: var(--soft); }
td.up { color: var(--good); font-weight: 600; } td.down { color: var(--bad); font-weight: 600; } td.same { color: var(--soft); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12.5px; margin: 6px 0; } details { margin: 8px 0; }
";

/// The style sheet of a report, colours of series among it.
pub(crate) fn style() -> String {
    let mut text = STYLE.to_owned();
    for at in 0..plot::COLOURS {
        text.push_str(&format!(
            "svg .c{at} {{ fill: var(--c{at}); }} svg .line.c{at} {{ stroke: var(--c{at}); }}\n"
        ));
    }
    text
}

/// The whole page.
pub(crate) fn page(findings: &Findings) -> String {
    let data = &findings.summary;
    let longest = findings.set.longest();
    let facts = [
        (count(data.train_rows as u64), "rows learnt from"),
        (count(data.train_users as u64), "users learnt from"),
        (count(data.catalogue_items as u64), "items ranked"),
        (count(data.test_users as u64), "users judged by"),
        (count(data.test_rows as u64), "rows judged by"),
    ];
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Evaluation of " (findings.models.len()) " models" }
                style { (PreEscaped(style())) }
            }
            body {
                h1 { "Evaluation of " (findings.models.len()) " models" }
                p.soft { (findings.protocol) @if findings.sampled { " — " strong { "sampled figures: they do not compare with full ranking" } } }
                ul.facts { @for (figure, what) in &facts { li { b { (figure) } span.soft { (what) } } } }
                h2 { "Figures" }
                p.soft { "Means over users; whiskers and ± are 95 % bootstrap intervals. The best of each column is bold." }
                div.card { (table(findings)) }
                h2 { "Accuracy" }
                div.grid2 {
                    div.card { h3 { "nDCG@" (longest) } (metric_bars(findings, &format!("ndcg@{longest}"))) }
                    div.card { h3 { "Recall@" (longest) } (metric_bars(findings, &format!("recall@{longest}"))) }
                    div.card { h3 { "Recall by length of the list" } (recall_lines(findings)) }
                    @if cases(findings) > 1 { div.card { h3 { "nDCG@" (longest) " by what is known" } (case_lines(findings, longest)) } }
                    @if cases(findings) == 1 && has_segments(findings) { div.card { h3 { "nDCG@" (longest) " by length of history" } (segments(findings, longest)) } }
                }
                @if !findings.sampled { (beyond(findings, longest)) }
                @if findings.models.len() > 1 { (pairs(findings)) }
                h2 { "Notes" }
                ul {
                    @for note in notes(findings) { li { (note) } }
                    @for skipped in &findings.skipped { li { (skipped.name) " left out: " (skipped.reason) } }
                }
                h2 { "How it was made" }
                pre { "concierge " (findings.command) }
                @for model in &findings.models {
                    details { summary { (model.name) } pre { (serde_json::to_string_pretty(&model.config).unwrap_or_default()) } }
                }
            }
        }
    };
    markup.into_string()
}

fn cases(findings: &Findings) -> usize {
    findings.models.first().map_or(0, |model| model.cases.len())
}

fn estimate<'a>(model: &'a Finding, metric: &str) -> Option<&'a Estimate> {
    model.measured().metrics.get(metric)
}

fn mean(model: &Finding, metric: &str) -> f64 {
    estimate(model, metric).map_or(f64::NAN, |estimate| estimate.mean)
}

fn table(findings: &Findings) -> Markup {
    let longest = findings.set.longest();
    let mut columns: Vec<(String, String, usize, bool)> = Vec::new();
    for k in findings.set.lengths() {
        columns.push((format!("nDCG@{k}"), format!("ndcg@{k}"), 4, true));
        columns.push((format!("recall@{k}"), format!("recall@{k}"), 4, true));
    }
    columns.push(("MRR".to_owned(), "mrr".to_owned(), 4, true));
    columns.push((
        "coverage".to_owned(),
        format!("catalog_coverage@{longest}"),
        3,
        true,
    ));
    columns.push(("Gini".to_owned(), format!("gini@{longest}"), 3, false));
    columns.push((
        "diversity".to_owned(),
        format!("intra_list_diversity@{longest}"),
        3,
        true,
    ));
    columns.push((
        "miscalibration".to_owned(),
        format!("miscalibration@{longest}"),
        3,
        false,
    ));
    columns.retain(|(_, metric, _, _)| {
        findings
            .models
            .iter()
            .any(|model| estimate(model, metric).is_some())
    });
    let best: Vec<f64> = columns
        .iter()
        .map(|(_, metric, _, higher)| {
            let all = findings
                .models
                .iter()
                .map(|model| mean(model, metric))
                .filter(|v| v.is_finite());
            if *higher {
                all.fold(f64::NEG_INFINITY, f64::max)
            } else {
                all.fold(f64::INFINITY, f64::min)
            }
        })
        .collect();
    html! {
        table {
            thead { tr { th { "model" } @for (title, ..) in &columns { th { (title) } } th { "fit, s" } th { "rank, s" } } }
            tbody {
                @for model in &findings.models {
                    tr {
                        td { (model.name) }
                        @for ((_, metric, digits, _), best) in columns.iter().zip(&best) {
                            @match estimate(model, metric) {
                                Some(figure) => td.best[figure.mean == *best] {
                                    (format!("{:.*}", digits, figure.mean))
                                    @if let (Some(low), Some(high)) = (figure.low, figure.high) { small { (format!(" ±{:.*}", digits, (high - low) / 2.0)) } }
                                },
                                None => td { "–" },
                            }
                        }
                        td { (format!("{:.2}", model.fit_seconds)) }
                        td { (format!("{:.2}", model.rank_seconds)) }
                    }
                }
            }
        }
    }
}

fn metric_bars(findings: &Findings, metric: &str) -> Markup {
    let bar = |model: &'_ Finding| {
        let figure = estimate(model, metric);
        figure.map(|figure| (figure.mean, figure.low.zip(figure.high)))
    };
    let rows: Vec<Bar<'_>> = findings
        .models
        .iter()
        .map(|model| {
            let (mean, interval) = bar(model).unwrap_or((0.0, None));
            Bar {
                name: &model.name,
                mean,
                interval,
            }
        })
        .collect();
    plot::bars(&rows)
}

fn recall_lines(findings: &Findings) -> Markup {
    let line = |model: &'_ Finding| -> Vec<(f64, f64)> {
        let curve = &model.measured().recall_curve;
        curve.iter().map(|(k, recall)| (*k as f64, *recall)).collect()
    };
    let series: Vec<Series<'_>> = findings
        .models
        .iter()
        .map(|model| Series {
            name: &model.name,
            points: line(model),
        })
        .collect();
    plot::lines(&series, "length of the list", "recall")
}

/// The cases of a few-shot protocol: their labels begin with the number.
fn case_lines(findings: &Findings, k: usize) -> Markup {
    let point = |(label, measured): &(String, evaluate::Measured)| {
        let number = label.split(' ').next().and_then(|n| n.parse::<f64>().ok())?;
        Some((number, measured.metrics.get(&format!("ndcg@{k}"))?.mean))
    };
    let series: Vec<Series<'_>> = findings
        .models
        .iter()
        .map(|model| Series {
            name: &model.name,
            points: model.cases.iter().filter_map(point).collect(),
        })
        .collect();
    plot::lines(&series, "first rows known", &format!("nDCG@{k}"))
}

const SEGMENTS: [(&str, &str); 3] = [("unseen", "no history"), ("few_shot", "1 to 5"), ("warm", "more")];

fn has_segments(findings: &Findings) -> bool {
    findings
        .models
        .first()
        .is_some_and(|model| model.measured().segments.len() > 1)
}

fn segments(findings: &Findings, k: usize) -> Markup {
    let metric = format!("ndcg@{k}");
    let known = |key: &str| {
        findings
            .models
            .first()
            .and_then(|model| model.measured().segments.get(key))
    };
    html! {
        table {
            thead { tr { th { "model" } @for (key, title) in SEGMENTS { @if let Some(segment) = known(key) { th { (title) " (" (segment.users) ")" } } } } }
            tbody {
                @for model in &findings.models {
                    tr {
                        td { (model.name) }
                        @for (key, _) in SEGMENTS {
                            @if known(key).is_some() {
                                td { @match model.measured().segments.get(key).and_then(|segment| segment.metrics.get(&metric)) {
                                    Some(figure) => (format!("{:.4}", figure.mean)),
                                    None => "–",
                                } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What lists are like beside being right.
fn beyond(findings: &Findings, k: usize) -> Markup {
    let shares: Vec<(&str, Vec<f64>)> = findings
        .models
        .iter()
        .map(|model| {
            let of = |group: &&str| mean(model, &format!("{group}_share@{k}"));
            (model.name.as_str(), GROUPS.iter().map(of).collect())
        })
        .collect();
    let diversity = format!("intra_list_diversity@{k}");
    let described = findings
        .models
        .iter()
        .any(|model| estimate(model, &diversity).is_some());
    let (x_metric, x_label) = if described {
        (diversity, "diversity within a list")
    } else {
        (
            format!("catalog_coverage@{k}"),
            "share of the catalogue that is listed",
        )
    };
    let points: Vec<Series<'_>> = findings
        .models
        .iter()
        .map(|model| Series {
            name: &model.name,
            points: vec![(mean(model, &x_metric), mean(model, &format!("ndcg@{k}")))],
        })
        .collect();
    html! {
        h2 { "Beyond accuracy" }
        p.soft { "Head, middle and tail hold a third of the training rows each: lists in proportion to what people take would have a third of their places in each." }
        div.grid2 {
            div.card { h3 { "Places by popularity of the item" } (plot::shares(&GROUPS, &shares)) }
            div.card { h3 { "Accuracy and " @if described { "diversity" } @else { "coverage" } } (plot::scatter(&points, x_label, &format!("nDCG@{k}"))) }
            div.card { h3 { "Recall@" (k) " by popularity of the item" } (group_recalls(findings, k)) }
        }
    }
}

fn group_recalls(findings: &Findings, k: usize) -> Markup {
    html! {
        table {
            thead { tr { th { "model" } @for group in GROUPS { th { (group) } } th { "novelty, bits" } } }
            tbody {
                @for model in &findings.models {
                    tr {
                        td { (model.name) }
                        @for group in GROUPS { td { (format!("{:.4}", mean(model, &format!("{group}_recall@{k}")))) } }
                        td { (format!("{:.2}", mean(model, &format!("mean_inv_user_freq@{k}")))) }
                    }
                }
            }
        }
    }
}

/// Tables of differences, row minus column.
fn pairs(findings: &Findings) -> Markup {
    html! {
        h2 { "Which differences are real" }
        p.soft { "Row minus column on the same users. Coloured where a two-sided randomisation test, corrected by Holm for all pairs, gives p < 0.05; hover for the 95 % interval and p." }
        @for (metric, comparisons) in &findings.comparisons {
            @if !comparisons.is_empty() {
                div.card style="margin-bottom: 16px" {
                    h3 { (metric) }
                    table {
                        thead { tr { th { } @for model in &findings.models { th { (model.name) } } } }
                        tbody {
                            @for row in &findings.models {
                                tr {
                                    td { (row.name) }
                                    @for column in &findings.models { (difference(comparisons, &row.name, &column.name)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn difference(comparisons: &[Comparison], row: &str, column: &str) -> Markup {
    let found = comparisons.iter().find_map(|c| {
        if (c.a.as_str(), c.b.as_str()) == (row, column) {
            Some((c, 1.0))
        } else if (c.b.as_str(), c.a.as_str()) == (row, column) {
            Some((c, -1.0))
        } else {
            None
        }
    });
    let Some((comparison, sign)) = found else {
        return html! { td { } };
    };
    let of = |value: f64| value * sign;
    let mean = of(comparison.difference.mean);
    let class = match comparison.p_holm < 0.05 {
        false => "same",
        true if mean > 0.0 => "up",
        true => "down",
    };
    let (low, high) = (
        comparison.difference.low.unwrap_or(0.0),
        comparison.difference.high.unwrap_or(0.0),
    );
    let (low, high) = if sign > 0.0 { (low, high) } else { (-high, -low) };
    let title = format!(
        "{low:+.4} to {high:+.4}; p = {:.4}, corrected {:.4}; {} users",
        comparison.p_value, comparison.p_holm, comparison.users
    );
    html! { td class=(class) title=(title) { (format!("{mean:+.4}")) } }
}
