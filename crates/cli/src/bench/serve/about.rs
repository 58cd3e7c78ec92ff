//! What a slate really was made of, as the server's own figures and records have it.

use super::super::http::{Connection, Prepared};
use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Decisions that are looked at.
const DECISIONS: u64 = 100;

/// Seconds and calls by stage.
pub(super) struct Stages(BTreeMap<String, (f64, f64)>);

impl Stages {
    /// Since the server's start.
    pub(super) fn read(address: SocketAddr) -> anyhow::Result<Stages> {
        let mut connection = Connection::open(address)?;
        let status = connection.send_prepared(&Prepared::get("/metrics"))?;
        ensure!(status == 200, "/metrics answered {status}");
        Ok(Stages::parse(&String::from_utf8_lossy(&connection.body)))
    }

    fn parse(text: &str) -> Stages {
        let figure = |kind: &str| -> BTreeMap<String, f64> {
            let head = format!("concierge_stage_seconds_{kind}{{stage=\"");
            let lines = text
                .lines()
                .filter_map(|line| line.strip_prefix(&head)?.split_once("\"} "));
            lines
                .filter_map(|(stage, value)| Some((stage.to_owned(), value.parse().ok()?)))
                .collect()
        };
        let counts = figure("count");
        let of = |(stage, sum): (String, f64)| {
            let count = counts.get(&stage).copied()?;
            Some((stage, (sum, count)))
        };
        Stages(figure("sum").into_iter().filter_map(of).collect())
    }

    /// What has been added since an earlier reading.
    pub(super) fn since(mut self, earlier: &Stages) -> Stages {
        for (stage, (sum, count)) in &mut self.0 {
            let (of, calls) = earlier.0.get(stage).copied().unwrap_or_default();
            (*sum, *count) = (*sum - of, *count - calls);
        }
        self
    }

    /// Mean microseconds of a call, by stage; those without a call are left out.
    pub(super) fn means(&self) -> Value {
        let called = self.0.iter().filter(|(_, (_, count))| *count > 0.0);
        let mean = |(stage, (sum, count)): (&String, &(f64, f64))| {
            (stage.clone(), json!((sum / count * 1e7).round() / 10.0))
        };
        Value::Object(called.map(mean).collect::<Map<_, _>>())
    }
}

fn get(connection: &mut Connection, path: &str) -> anyhow::Result<Value> {
    let status = connection.send_prepared(&Prepared::get(path))?;
    ensure!(status == 200, "{path} answered {status}: {}", connection.text());
    serde_json::from_slice(&connection.body).with_context(|| format!("reading {path}"))
}

/// Candidates, features, trees, rules and stages of a slate, out of the records of some that were just made.
pub(super) fn pipeline(address: SocketAddr, placement: &str, requests: &[Prepared]) -> anyhow::Result<Value> {
    let mut connection = Connection::open(address)?;
    let mut ids = Vec::new();
    for request in requests.iter().take(DECISIONS as usize) {
        let status = connection.send_prepared(request)?;
        ensure!(
            status == 200,
            "a slate was answered with {status}: {}",
            connection.text()
        );
        let answer: Value = serde_json::from_slice(&connection.body).context("reading a slate")?;
        ids.push(answer["decision_id"].as_str().unwrap_or_default().to_owned());
    }
    let (mut candidates, mut features, mut stages) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let (mut rules, mut events) = (BTreeSet::new(), 0);
    for id in &ids {
        let decision = get(&mut connection, &format!("/v1/decisions/{id}"))?;
        let len = |field: &str| decision[field].as_array().map_or(0, Vec::len) as u64;
        candidates.push(len("considered") + decision["considered_cut"].as_u64().unwrap_or(0));
        events += len("history");
        features.extend(decision["features"]["names"].as_array().map(Vec::len));
        let active = decision["rules"]["active"].as_array();
        rules.extend(
            active
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned),
        );
        let named = decision["stages"].as_array().into_iter().flatten();
        stages.extend(
            named
                .filter_map(|stage| stage["stage"].as_str())
                .map(str::to_owned),
        );
    }
    let models = get(&mut connection, "/v1/models")?;
    let rankers = models["rankers"].as_array().into_iter().flatten();
    let serving = rankers.filter(|one| one["placement"] == placement && one["in_service"] == true);
    let heads = serving.flat_map(|one| one["learning"]["heads"].as_array().into_iter().flatten());
    let trees: u64 = heads.filter_map(|head| head["trees"].as_u64()).sum();
    let sum: u64 = candidates.iter().sum();
    Ok(json!({
        "placement": placement,
        "candidates_scored": (sum as f64 / ids.len().max(1) as f64).round(),
        "candidates_least": candidates.iter().min(),
        "history_events": (f64::from(events as u32) / ids.len().max(1) as f64 * 10.0).round() / 10.0,
        "features": features.iter().max().copied().unwrap_or(0),
        "trees": trees,
        "rules": rules.len(),
        "stages": stages,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_what_was_added() {
        let text = |sum: f64, count: u32| {
            format!(
                "# TYPE x\nconcierge_stage_seconds_sum{{stage=\"rank/als\"}} {sum}\nconcierge_stage_seconds_count{{stage=\"rank/als\"}} {count}\n"
            )
        };
        let (before, after) = (Stages::parse(&text(1.0, 10)), Stages::parse(&text(1.5, 20)));
        assert_eq!(after.since(&before).means(), json!({ "rank/als": 50_000.0 }));
        let same = Stages::parse(&text(1.0, 10));
        assert_eq!(same.since(&before).means(), json!({}));
    }
}
