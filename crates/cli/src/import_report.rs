//! What an import will do and did, for people and for machines.

use crate::bulk::{Held, Loaded};
use crate::output::{self, count};
use import::{Field, Kind, Plan};
use serde_json::{Value, json};

/// What each column of each file becomes.
pub(crate) fn plans(plans: &[&Plan]) -> anyhow::Result<()> {
    for plan in plans {
        let kind = kind_name(plan.kind);
        output::line(format!("{} ({}): {kind}", plan.name, plan.format))?;
        let rows = plan.columns.iter().map(|column| {
            vec![
                column.name.clone(),
                becomes(plan, column.field),
                column.examples.join(" · "),
            ]
        });
        output::table(&["column", "becomes", "such as"], rows.collect())?;
        if let Some(unit) = plan.time_unit.filter(|_| plan.kind == Kind::Events) {
            output::line(format!("moments: {}", name_of(&unit)))?;
        }
        for note in &plan.notes {
            output::line(format!("note: {note}"))?;
        }
    }
    Ok(())
}

/// The plans alone, for machines.
pub(crate) fn plans_json(plans: &[&Plan]) -> anyhow::Result<()> {
    let files: Vec<Value> = plans.iter().map(|plan| json!({ "plan": plan })).collect();
    output::json(&json!({ "files": files }))
}

/// What was done.
pub(crate) fn tell(
    loaded: &[Loaded],
    held: &Held,
    peak_mb: Option<f64>,
    as_json: bool,
) -> anyhow::Result<()> {
    if as_json {
        let files: Vec<Value> = loaded.iter().map(file_json).collect();
        return output::json(&json!({
            "files": files,
            "events": held.events,
            "items": held.items,
            "users": held.users,
            "unknown_event_types": held.unknown_event_types,
            "peak_memory_mb": peak_mb,
        }));
    }
    let rows = loaded.iter().map(|file| {
        let summary = &file.summary;
        vec![
            file.plan.name.clone(),
            kind_name(file.plan.kind).to_owned(),
            count(summary.rows),
            count(summary.accepted),
            count(summary.duplicate),
            count(summary.bad),
            format!("{:.1}", file.seconds),
            count(rate(file)),
        ]
    });
    let header = [
        "file",
        "",
        "rows",
        "stored",
        "already there",
        "bad",
        "seconds",
        "rows/s",
    ];
    output::table(&header, rows.collect())?;
    for file in loaded {
        for (cause, rows) in &file.summary.causes {
            output::line(format!("bad: {}: {} rows: {cause}", file.plan.name, count(*rows)))?;
        }
        if file.summary.rejects_left_out > 0 {
            output::line(format!(
                "note: {}: {} more bad rows are counted above but not written to the rejects file, which is full",
                file.plan.name,
                count(file.summary.rejects_left_out)
            ))?;
        }
    }
    for (event_type, events) in &held.unknown_event_types {
        output::line(format!(
            "note: {} events of type {event_type:?} count for nothing until [event_types.{event_type}] is configured",
            count(*events)
        ))?;
    }
    output::line(format!(
        "now {} events, {} items, {} users with attributes{}",
        count(held.events),
        count(held.items),
        count(held.users),
        peak_mb.map_or(String::new(), |mb| format!("; peak memory {mb:.0} MB")),
    ))
}

fn file_json(file: &Loaded) -> Value {
    json!({
        "plan": file.plan,
        "summary": file.summary,
        "seconds": (file.seconds * 1e3).round() / 1e3,
        "rows_per_second": rate(file),
    })
}

fn rate(file: &Loaded) -> u64 {
    (file.summary.rows as f64 / file.seconds.max(1e-9)) as u64
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Events => "events",
        Kind::Items => "items",
        Kind::Users => "users",
    }
}

fn name_of(value: &impl serde::Serialize) -> String {
    let name = serde_json::to_value(value).ok();
    name.as_ref()
        .and_then(Value::as_str)
        .unwrap_or_default()
        .replace('_', " ")
}

fn becomes(plan: &Plan, field: Field) -> String {
    match field {
        Field::UserId
        | Field::ItemId
        | Field::EventId
        | Field::EventType
        | Field::SessionId
        | Field::DecisionId
        | Field::AddedAt => name_of(&field).replace(' ', "_"),
        Field::Timestamp | Field::Value | Field::Context | Field::Attributes | Field::Hidden => {
            name_of(&field)
        }
        Field::Text => "attribute".to_owned(),
        Field::Number => "attribute, number".to_owned(),
        Field::Flag => "attribute, true or false".to_owned(),
        Field::List => format!("attribute, list between {:?}", plan.list_separator),
        Field::Ignored => "(left out)".to_owned(),
    }
}
