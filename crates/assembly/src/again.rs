//! Two sources out of what a person did before: `again`, what may be due to be taken again, and `continue`, what was begun and not ended.
//!
//! `again`: with k acts on an item over the time T since the first, the rate is that of a Poisson process with a Gamma prior,
//! (k + 1) / (T + gap), and an item taken a moment ago is not due: the score is the rate in acts per `gap_days`, times
//! min(1, t / g), with t the time since the last act and g the mean time between acts, or `gap_days` after a single one.
//! After Bhagat, Muralidharan, Lobzhanidze and Vishwanath (2018), "Buy it again: modeling repeat purchase recommendations",
//! whose model has the same two factors.
//!
//! `continue`: the value of an act of `progress_types` is how far the person has come, 0 to 1; the last one counts. The latest
//! comes first: the score is 1 / (1 + days since).
//!
//! Both propose what was seen, so a placement that has one of them must not leave that out.

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use signals::RecentEvent;
use std::collections::BTreeMap;

/// Name of the source of what may be due.
pub(crate) const AGAIN: &str = "again";
/// Name of the source of what was begun.
pub(crate) const CONTINUE: &str = "continue";

/// What counts as taken, and as begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgainConfig {
    /// Types of events that take an item.
    pub take_types: Vec<String>,
    /// Days between two acts on one item, where nothing else is known, above 0, at most 3,650.
    pub gap_days: f64,
    /// Types of events whose value says how far someone has come, 0 to 1.
    pub progress_types: Vec<String>,
    /// Progress below which nothing has begun, 0 to 1.
    pub begun: f64,
    /// Progress from which on there is nothing left to continue, above `begun`, at most 1.
    pub ended: f64,
}

impl Default for AgainConfig {
    fn default() -> Self {
        AgainConfig {
            take_types: vec!["purchase".to_owned()],
            gap_days: 30.0,
            progress_types: vec!["progress".to_owned()],
            begun: 0.02,
            ended: 0.95,
        }
    }
}

impl AgainConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(self.gap_days > 0.0 && self.gap_days <= 3650.0) {
            return Err(format!(
                "again.gap_days: got {}, expected above 0, at most 3650",
                self.gap_days
            ));
        }
        if !(self.begun >= 0.0 && self.begun < self.ended && self.ended <= 1.0) {
            return Err(format!(
                "again.begun: got {} with ended = {}, expected 0 or more and less than ended, which is at most 1",
                self.begun, self.ended
            ));
        }
        Ok(())
    }
}

fn sorted(mut list: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    list
}

/// Events up to a moment, of these types.
fn of_types<'e>(
    events: &'e [RecentEvent],
    types: &'e [String],
    now: Timestamp,
) -> impl Iterator<Item = &'e RecentEvent> {
    let is_of = |event: &RecentEvent| types.iter().any(|known| known == event.event_type.as_str());
    events
        .iter()
        .filter(move |event| event.timestamp <= now && is_of(event))
}

/// What may be due to be taken again, best first.
pub(crate) fn due(events: &[RecentEvent], config: &AgainConfig, now: Timestamp) -> Vec<(u32, f32)> {
    let mut acts: BTreeMap<u32, (Timestamp, Timestamp, u32)> = BTreeMap::new();
    for event in of_types(events, &config.take_types, now) {
        let at = event.timestamp;
        let entry = acts.entry(event.item).or_insert((at, at, 0));
        *entry = (entry.0.min(at), entry.1.max(at), entry.2 + 1);
    }
    let score = |(item, (first, last, count)): (u32, (Timestamp, Timestamp, u32))| {
        let days = |since: Timestamp| f64::from(now.days_since(since));
        let gap = match count {
            1 => config.gap_days,
            _ => ((days(first) - days(last)) / f64::from(count - 1)).max(1.0 / 24.0),
        };
        let rate = (f64::from(count) + 1.0) / (days(first) + config.gap_days) * config.gap_days;
        (item, (rate * (days(last) / gap).min(1.0)) as f32)
    };
    sorted(acts.into_iter().map(score).collect())
}

/// What was begun and not ended, latest first.
pub(crate) fn begun(events: &[RecentEvent], config: &AgainConfig, now: Timestamp) -> Vec<(u32, f32)> {
    let mut last: BTreeMap<u32, &RecentEvent> = BTreeMap::new();
    for event in of_types(events, &config.progress_types, now).filter(|event| event.value.is_some()) {
        let entry = last.entry(event.item).or_insert(event);
        if event.timestamp > entry.timestamp {
            *entry = event;
        }
    }
    let open = last.into_iter().filter(|(_, event)| {
        let far = event.value.unwrap_or_default();
        far >= config.begun && far < config.ended
    });
    let scored = open.map(|(item, event)| (item, 1.0 / (1.0 + now.days_since(event.timestamp))));
    sorted(scored.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::EventType;

    fn event(item: u32, event_type: &str, day: i64, value: Option<f64>) -> RecentEvent {
        RecentEvent {
            item,
            event_type: EventType::new(event_type).expect("a type"),
            timestamp: Timestamp(day * 86_400_000),
            value,
        }
    }

    #[test]
    fn by_hand() {
        let config = AgainConfig::default();
        let now = Timestamp(100 * 86_400_000);
        let events = [
            // Every ten days, due: rate 4/(40 + 30)·30.
            event(1, "purchase", 60, None),
            event(1, "purchase", 70, None),
            event(1, "purchase", 80, None),
            // The same rhythm, taken yesterday: a tenth of 4/(21 + 30)·30.
            event(2, "purchase", 79, None),
            event(2, "purchase", 89, None),
            event(2, "purchase", 99, None),
            // Once, long ago: 2/(90 + 30)·30.
            event(3, "purchase", 10, None),
            event(4, "click", 10, None),
            event(5, "purchase", 101, None),
        ];
        let due = due(&events, &config, now);
        let items: Vec<u32> = due.iter().map(|(item, _)| *item).collect();
        assert_eq!(items, [1, 3, 2]);
        for ((_, score), expected) in due.iter().zip([4.0 / 70.0 * 30.0, 0.5, 4.0 / 51.0 * 30.0 / 10.0]) {
            assert!((score - expected as f32).abs() < 1e-4, "{score} {expected}");
        }
        let events = [
            event(1, "progress", 90, Some(0.4)),
            event(2, "progress", 99, Some(0.3)),
            event(3, "progress", 98, Some(0.99)),
            event(4, "progress", 98, Some(0.01)),
            event(1, "progress", 80, Some(0.99)),
            event(5, "progress", 95, None),
        ];
        assert_eq!(begun(&events, &config, now), [(2, 0.5), (1, 1.0 / 11.0)]);
    }
}
