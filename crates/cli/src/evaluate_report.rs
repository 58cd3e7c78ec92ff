//! The findings of an evaluation, for machines and on a terminal.

use crate::evaluate::{Finding, Skipped};
use comfy_table::{Cell, CellAlignment, Table, presets};
use evaluate::{Estimate, MetricSet, Prepared, Protocol};
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
            "empty_lists": finding.measured.empty_lists,
            "metrics": serde_json::to_value(&finding.measured.metrics)?,
            "segments": serde_json::to_value(&finding.measured.segments)?,
        }))
    };
    findings.iter().map(one).collect()
}

/// Tables and notes on standard output.
pub(crate) fn print(
    prepared: &Prepared,
    set: &MetricSet,
    protocol: &Protocol,
    findings: &[Finding],
    skipped: &[Skipped],
) {
    let data = &prepared.summary;
    println!(
        "{} rows of {} users learnt from, {} items ranked; judged by {} rows of {} users",
        data.train_rows, data.train_users, data.catalogue_items, data.test_rows, data.test_users
    );
    for k in set.lengths() {
        println!("\nLists of {k}, means over users ± half the 95 % interval");
        println!("{}", at_length(*k, protocol, findings));
    }
    let longest = set.longest();
    println!("\nnDCG@{longest} by what is known of the user");
    println!("{}", by_segment(longest, findings));
    for note in notes(prepared, protocol) {
        println!("note: {note}");
    }
    for skipped in skipped {
        println!("note: {} left out: {}", skipped.name, skipped.reason);
    }
}

fn at_length(k: usize, protocol: &Protocol, findings: &[Finding]) -> Table {
    let mut columns = vec![
        ("nDCG", format!("ndcg@{k}"), 4),
        ("recall", format!("recall@{k}"), 4),
        ("precision", format!("precision@{k}"), 4),
        ("MAP", format!("map@{k}"), 4),
        ("hit rate", format!("hit_rate@{k}"), 4),
        ("MRR", "mrr".to_owned(), 4),
    ];
    if matches!(protocol, Protocol::Full) {
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
            .map(|(_, name, digits)| figure(finding.measured.metrics.get(name), *digits));
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
            .and_then(|finding| finding.measured.segments.get(key))
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
            let segment = finding.measured.segments.get(key);
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

fn notes(prepared: &Prepared, protocol: &Protocol) -> Vec<String> {
    let data = &prepared.summary;
    let mut notes = Vec::new();
    if matches!(protocol, Protocol::Negatives(_)) {
        notes.push(
            "sampled figures: relevant items among given negatives; they do not compare with full ranking"
                .to_owned(),
        );
    }
    if data.unseen_users > 0 {
        notes.push(format!(
            "{} test users have no history; they are answered as anyone unknown",
            data.unseen_users
        ));
    }
    if data.unseen_items > 0 {
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
    if data.rows_below_positive_min > 0 {
        notes.push(format!(
            "{} rows are below the least positive value",
            data.rows_below_positive_min
        ));
    }
    notes
}
