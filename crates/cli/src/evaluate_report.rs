//! The findings of an evaluation, for machines and on a terminal.

use crate::evaluate::{Finding, Findings, Paired};
use crate::output::line;
use comfy_table::{Cell, CellAlignment, Table, presets};
use evaluate::{Comparison, Estimate, Measured};
use serde_json::{Value, json};

/// One object per model.
pub(crate) fn models_json(findings: &[Finding]) -> serde_json::Result<Vec<Value>> {
    let rounded = |seconds: f64| (seconds * 1e4).round() / 1e4;
    let one = |finding: &Finding| {
        Ok(json!({
            "name": finding.name,
            "config": finding.config,
            "fit_seconds": rounded(finding.fit_seconds),
            "rank_seconds": rounded(finding.rank_seconds),
            "peak_memory_mb": finding.peak_memory_mb,
            "empty_lists": finding.measured().empty_lists,
            "metrics": serde_json::to_value(&finding.measured().metrics)?,
            "segments": serde_json::to_value(&finding.measured().segments)?,
            "recall_curve": finding.measured().recall_curve,
            "cases": cases(finding)?,
            "incremental": finding.incremental,
        }))
    };
    findings.iter().map(one).collect()
}

/// The cases of a few-shot protocol; empty for one case.
fn cases(finding: &Finding) -> serde_json::Result<Vec<Value>> {
    let one = |(label, measured): &(String, Measured)| {
        Ok(json!({
            "label": label,
            "metrics": serde_json::to_value(&measured.metrics)?,
        }))
    };
    let several = finding.cases.len() > 1;
    finding.cases.iter().filter(|_| several).map(one).collect()
}

/// The pairs of models by metric.
pub(crate) fn comparisons_json(comparisons: &[(String, Vec<Comparison>)]) -> serde_json::Result<Vec<Value>> {
    let one = |(metric, pairs): &(String, Vec<Comparison>)| {
        Ok(json!({ "metric": metric, "pairs": serde_json::to_value(pairs)? }))
    };
    comparisons.iter().map(one).collect()
}

/// Each model's last case against the one before.
pub(crate) fn paired_json(paired: &[Paired]) -> serde_json::Result<Vec<Value>> {
    let one = |pair: &Paired| {
        Ok(json!({
            "model": pair.model,
            "metric": pair.metric,
            "case": pair.comparison.a,
            "against": pair.comparison.b,
            "mean": pair.last,
            "mean_against": pair.before,
            "relative": relative(pair, pair.comparison.difference.mean),
            "comparison": serde_json::to_value(&pair.comparison)?,
        }))
    };
    paired.iter().map(one).collect()
}

/// A difference over the mean of what it is a difference to.
fn relative(pair: &Paired, difference: f64) -> f64 {
    difference / pair.before.abs().max(1e-12)
}

fn paired_table(paired: &[Paired]) -> Option<(String, Table)> {
    let first = paired.first()?;
    let (last, before) = (&first.comparison.a, &first.comparison.b);
    let title = format!("{}: {last} against {before}, paired by user", first.metric);
    let header = [
        "model",
        before,
        last,
        "difference",
        "relative",
        "95 % interval, relative",
        "p",
    ];
    let mut table = table(header.map(str::to_owned).to_vec());
    for pair in paired {
        let difference = pair.comparison.difference;
        let percent = |value: f64| format!("{:+.2} %", 100.0 * relative(pair, value));
        let ends = difference.low.zip(difference.high);
        let mut row = vec![Cell::new(&pair.model)];
        row.extend(
            [
                format!("{:.4}", pair.before),
                format!("{:.4}", pair.last),
                format!("{:+.4}", difference.mean),
                percent(difference.mean),
                ends.map_or("–".to_owned(), |(low, high)| {
                    format!("{} to {}", percent(low), percent(high))
                }),
                format!("{:.4}", pair.comparison.p_value),
            ]
            .map(right),
        );
        table.add_row(row);
    }
    Some((title, table))
}

/// What updates took.
fn incremental_table(findings: &[Finding]) -> Option<Table> {
    findings.iter().find(|finding| finding.incremental.is_some())?;
    let header = [
        "model",
        "promise",
        "taken in",
        "updates, CPU s",
        "training anew, CPU s",
        "cost",
        "staleness",
    ];
    let mut table = table(header.map(str::to_owned).to_vec());
    for finding in findings {
        let Some(one) = &finding.incremental else { continue };
        let mut row = vec![
            Cell::new(&finding.name),
            Cell::new(one.guarantee.split(':').next().unwrap_or_default()),
        ];
        row.extend(
            [
                format!("{} of {}", one.absorbed, one.rows),
                format!("{:.2}", one.update_cpu_seconds),
                format!("{:.2}", one.retrain_cpu_seconds),
                format!("{:.1} %", 100.0 * one.cost()),
                format!("{:.4}", one.staleness),
            ]
            .map(right),
        );
        table.add_row(row);
    }
    Some(table)
}

/// Tables and notes on standard output.
pub(crate) fn print(found: &Findings) -> anyhow::Result<()> {
    let (data, findings) = (&found.summary, found.models.as_slice());
    line(format!(
        "{} rows of {} users learnt from, {} items ranked; judged by {} rows of {} users",
        data.train_rows, data.train_users, data.catalogue_items, data.test_rows, data.test_users
    ))?;
    line(&found.protocol)?;
    for k in found.set.lengths() {
        line(format!(
            "\nLists of {k}, means over users ± half the 95 % interval"
        ))?;
        line(at_length(*k, found.sampled, findings).to_string())?;
    }
    let longest = found.set.longest();
    if findings.iter().any(|finding| finding.cases.len() > 1) {
        line(format!(
            "\nnDCG@{longest} by case; the tables above are of the last"
        ))?;
        line(by_case(longest, findings).to_string())?;
    }
    if let Some((title, table)) = paired_table(&found.paired) {
        line(format!("\n{title}"))?;
        line(table.to_string())?;
    }
    if let Some(table) = incremental_table(findings) {
        line("\nWhat the updates took, copies of the models included")?;
        line(table.to_string())?;
    }
    line(format!("\nnDCG@{longest} by what is known of the user"))?;
    line(by_segment(longest, findings).to_string())?;
    if !found.sampled {
        line(format!(
            "\nWhat lists of {longest} are like; head, middle and tail hold a third of the training rows each"
        ))?;
        line(beyond(longest, found.calibrated_by.as_deref(), findings).to_string())?;
    }
    for (metric, pairs) in &found.comparisons {
        against_best(metric, pairs, findings)?;
    }
    for note in notes(found) {
        line(format!("note: {note}"))?;
    }
    for skipped in &found.skipped {
        line(format!("note: {} left out: {}", skipped.name, skipped.reason))?;
    }
    Ok(())
}

/// The best model against each other one.
fn against_best(metric: &str, pairs: &[Comparison], findings: &[Finding]) -> anyhow::Result<()> {
    let mean = |finding: &&Finding| {
        finding
            .measured()
            .metrics
            .get(metric)
            .map_or(f64::NAN, |e| e.mean)
    };
    let best = findings.iter().max_by(|a, b| mean(a).total_cmp(&mean(b)));
    let (Some(best), false) = (best, pairs.is_empty()) else {
        return Ok(());
    };
    line(format!(
        "\n{metric}: {} minus the others, paired by user",
        best.name
    ))?;
    let header = ["model", "difference", "95 % interval", "p", "p, Holm"];
    let mut table = table(header.map(str::to_owned).to_vec());
    for pair in pairs {
        let (other, sign) = match (pair.a == best.name, pair.b == best.name) {
            (true, _) => (&pair.b, 1.0),
            (_, true) => (&pair.a, -1.0),
            _ => continue,
        };
        let (low, high) = (
            pair.difference.low.unwrap_or(0.0),
            pair.difference.high.unwrap_or(0.0),
        );
        let ends = if sign > 0.0 { (low, high) } else { (-high, -low) };
        let mut row = vec![Cell::new(other)];
        row.extend(
            [
                format!("{:+.4}", pair.difference.mean * sign),
                format!("{:+.4} to {:+.4}", ends.0, ends.1),
                format!("{:.4}", pair.p_value),
                format!("{:.4}", pair.p_holm),
            ]
            .map(right),
        );
        table.add_row(row);
    }
    line(table.to_string())
}

fn by_case(k: usize, findings: &[Finding]) -> Table {
    let labels = findings
        .first()
        .map(|finding| finding.cases.iter().map(|(label, _)| label.clone()));
    let mut header = vec!["model".to_owned()];
    header.extend(labels.into_iter().flatten());
    let mut table = table(header);
    for finding in findings {
        let mut row = vec![Cell::new(&finding.name)];
        let figures = finding
            .cases
            .iter()
            .map(|(_, measured)| measured.metrics.get(&format!("ndcg@{k}")));
        row.extend(figures.map(|estimate| right(figure(estimate, 4))));
        table.add_row(row);
    }
    table
}

fn beyond(k: usize, calibrated_by: Option<&str>, findings: &[Finding]) -> Table {
    let mut columns = vec![
        ("head".to_owned(), "head_share", 3),
        ("mid".to_owned(), "mid_share", 3),
        ("tail".to_owned(), "tail_share", 3),
        ("head recall".to_owned(), "head_recall", 4),
        ("mid recall".to_owned(), "mid_recall", 4),
        ("tail recall".to_owned(), "tail_recall", 4),
        ("Gini".to_owned(), "gini", 3),
        ("serendipity".to_owned(), "serendipity", 4),
        ("diversity".to_owned(), "intra_list_diversity", 3),
    ];
    if let Some(attribute) = calibrated_by {
        columns.push((format!("miscalibration ({attribute})"), "miscalibration", 3));
    }
    let metric = |kind: &str| format!("{kind}@{k}");
    columns.retain(|(_, kind, _)| {
        findings
            .iter()
            .any(|f| f.measured().metrics.contains_key(&metric(kind)))
    });
    let mut header = vec!["model".to_owned()];
    header.extend(columns.iter().map(|(title, _, _)| title.clone()));
    let mut table = table(header);
    for finding in findings {
        let mut row = vec![Cell::new(&finding.name)];
        let mean = |kind: &str| {
            finding
                .measured()
                .metrics
                .get(&metric(kind))
                .map(|estimate| estimate.mean)
        };
        row.extend(columns.iter().map(|(_, kind, digits)| {
            right(mean(kind).map_or("–".to_owned(), |mean| format!("{mean:.digits$}")))
        }));
        table.add_row(row);
    }
    table
}

fn at_length(k: usize, sampled: bool, findings: &[Finding]) -> Table {
    let mut columns = vec![
        ("nDCG", format!("ndcg@{k}"), 4),
        ("recall", format!("recall@{k}"), 4),
        ("precision", format!("precision@{k}"), 4),
        ("MAP", format!("map@{k}"), 4),
        ("hit rate", format!("hit_rate@{k}"), 4),
        ("MRR", "mrr".to_owned(), 4),
    ];
    if !sampled {
        columns.push(("coverage", format!("catalog_coverage@{k}"), 3));
        columns.push(("novelty, bits", format!("mean_inv_user_freq@{k}"), 2));
    }
    let mut header = vec!["model".to_owned()];
    header.extend(columns.iter().map(|(title, _, _)| (*title).to_owned()));
    header.extend(["fit, s".to_owned(), "rank, s".to_owned(), "peak, MB".to_owned()]);
    let mut table = table(header);
    for finding in findings {
        let mut row = vec![Cell::new(&finding.name)];
        let figures = columns
            .iter()
            .map(|(_, name, digits)| figure(finding.measured().metrics.get(name), *digits));
        row.extend(figures.map(right));
        row.push(right(format!("{:.2}", finding.fit_seconds)));
        row.push(right(format!("{:.2}", finding.rank_seconds)));
        row.push(right(
            finding
                .peak_memory_mb
                .map_or("–".to_owned(), |mb| format!("{mb:.0}")),
        ));
        table.add_row(row);
    }
    table
}

fn by_segment(k: usize, findings: &[Finding]) -> Table {
    let titles = [
        ("unseen", "unseen"),
        ("few_shot", "1 to 5 items"),
        ("warm", "more than 5"),
    ];
    let users = |key: &str| {
        findings
            .first()
            .and_then(|finding| finding.measured().segments.get(key))
            .map_or(0, |segment| segment.users)
    };
    let shown: Vec<_> = titles.into_iter().filter(|(key, _)| users(key) > 0).collect();
    let mut header = vec!["model".to_owned()];
    header.extend(
        shown
            .iter()
            .map(|(key, title)| format!("{title} ({})", users(key))),
    );
    let mut table = table(header);
    for finding in findings {
        let mut row = vec![Cell::new(&finding.name)];
        for (key, _) in &shown {
            let segment = finding.measured().segments.get(key);
            row.push(right(figure(
                segment.and_then(|s| s.metrics.get(&format!("ndcg@{k}"))),
                4,
            )));
        }
        table.add_row(row);
    }
    table
}

fn table(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn figure(estimate: Option<&Estimate>, digits: usize) -> String {
    match estimate {
        None => "–".to_owned(),
        Some(Estimate {
            mean,
            low: Some(low),
            high: Some(high),
        }) => {
            format!("{mean:.digits$} ±{:.digits$}", (high - low) / 2.0)
        }
        Some(estimate) => format!("{:.digits$}", estimate.mean),
    }
}

/// What a reader of the figures must know.
pub(crate) fn notes(found: &Findings) -> Vec<String> {
    let data = &found.summary;
    let mut notes = Vec::new();
    if found.sampled {
        notes.push(
            "sampled figures: relevant items among given negatives; they do not compare with full ranking"
                .to_owned(),
        );
    }
    if found.blind {
        notes.push(
            "without --items nothing is known of items that have no training rows: they are not listed, and figures of 0 say nothing of a model"
                .to_owned(),
        );
    }
    if data.unseen_users > 0 {
        notes.push(format!(
            "{} test users have no history; they are answered as anyone unknown",
            data.unseen_users
        ));
    }
    if data.test_rows_of_unseen_items > 0 {
        notes.push(format!(
            "{} items of {} test rows are not ranked: they count as relevant and are never hit",
            data.unseen_items, data.test_rows_of_unseen_items
        ));
    }
    if data.test_rows_before_train_end > 0 {
        notes.push(format!(
            "{} of {} test rows happened before the last training row: the figures are no forecast",
            data.test_rows_before_train_end, data.test_rows
        ));
    }
    if data.overlap_left_out > 0 {
        notes.push(format!(
            "{} test rows are also in training and were left out",
            data.overlap_left_out
        ));
    }
    if data.later_left_out > 0 {
        notes.push(format!(
            "{} items that the users of the test took later than the first --next are not relevant",
            data.later_left_out
        ));
    }
    if data.rows_below_positive_min > 0 {
        notes.push(format!(
            "{} rows are below the least positive value",
            data.rows_below_positive_min
        ));
    }
    notes
}
