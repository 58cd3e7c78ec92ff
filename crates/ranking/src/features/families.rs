//! The table of feature families.

use super::facts::{ItemFacts, hash};
use super::reading::Hit;
use super::{FeatureError, Known, Moment, Read};
use domain::{Candidate, HistoryEvent, RawAttribute};
use std::sync::LazyLock;
use trees::{Feature, Monotone};

/// One kind of feature.
pub struct Family {
    /// The part of a feature's name before the colon.
    pub name: &'static str,
    /// What it is, with its unit.
    pub summary: &'static str,
    /// Which state it keeps and how an event updates it.
    pub state: &'static str,
    /// Names of this family's features where this is known.
    pub(crate) names: fn(&Known) -> Vec<String>,
    /// How the feature with this argument is read; `None` if it cannot be one.
    pub(crate) build: fn(&str) -> Option<(Kind, Read)>,
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Family")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How a family's numbers are meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Number,
    Falling,
    Category,
}

const REQUEST: &str = "none: read from the request";
const HISTORY: &str = "the person's latest events; an event is added to them before it is answered";
const CATALOGUE: &str = "the catalogue; a write replaces the item";
const COUNTS: &str = "events by item, type and day for 31 days; an event adds 1 when it is absorbed";

/// Categories are hashed into this many.
const CODES: u64 = 4093;
/// Events that the rate over all items counts for in the rate of one.
const SHRINKAGE: f64 = 20.0;
/// Minutes without an event that end a session.
const SESSION_GAP_DAYS: f32 = 30.0 / 1440.0;
const DAY_MS: i64 = 86_400_000;

/// Windows of counts and rates, days.
const WINDOWS: [i32; 3] = [1, 7, 30];

/// Every family.
#[rustfmt::skip]
pub static FAMILIES: &[Family] = &[
    Family { name: "model_score", summary: "score of the placement's model", state: REQUEST,
        names: |_| one("model_score"), build: model_score },
    Family { name: "source_score", summary: "score of a source; missing if it did not propose the item", state: REQUEST,
        names: |k| each("source_score", &k.sources), build: |a| of_source(a, |hit| hit.score) },
    Family { name: "source_rank", summary: "place in a source's list, from 1; missing if it did not propose the item", state: REQUEST,
        names: |k| each("source_rank", &k.sources), build: |a| of_source(a, |hit| hit.rank as f32) },
    Family { name: "sources", summary: "number of sources that proposed the item", state: REQUEST,
        names: |_| one("sources"), build: |a| plain(a, Kind::Number, |c| c.hits.len() as f32) },
    Family { name: "best_rank", summary: "best place in any source's list", state: REQUEST,
        names: |_| one("best_rank"), build: |a| plain(a, Kind::Number, best_rank) },
    Family { name: "fused_rank", summary: "sum of 1 / (60 + rank) over sources", state: REQUEST,
        names: |_| one("fused_rank"), build: |a| plain(a, Kind::Number, fused_rank) },
    Family { name: "position", summary: "place in the slate, from 1: as shown in training, 1 for all in serving", state: REQUEST,
        names: |_| one("position"), build: position },
    Family { name: "item_number", summary: "a number of the item", state: CATALOGUE,
        names: |k| each("item_number", &k.item_numbers), build: |a| of_item(a, Kind::Number, ItemFacts::get_number) },
    Family { name: "item_category", summary: "a category of the item, hashed into 4,093 codes", state: CATALOGUE,
        names: |k| each("item_category", &k.item_categories), build: |a| of_item(a, Kind::Category, item_category) },
    Family { name: "item_age_days", summary: "days since the item was added", state: CATALOGUE,
        names: |_| one("item_age_days"), build: item_age_days },
    Family { name: "user_number", summary: "a number of the user", state: "the users' attributes; a write replaces them",
        names: |k| each("user_number", &k.user_numbers), build: |a| of_request(a, Kind::Number, |m| &m.query.user_attributes) },
    Family { name: "user_category", summary: "a category of the user, hashed", state: "the users' attributes; a write replaces them",
        names: |k| each("user_category", &k.user_categories), build: |a| of_request(a, Kind::Category, |m| &m.query.user_attributes) },
    Family { name: "context_category", summary: "a circumstance of the request that is a category (`device`), hashed", state: REQUEST,
        names: |_| each("context_category", &["device".into(), "country".into(), "channel".into()]), build: |a| of_request(a, Kind::Category, |m| &m.query.context) },
    Family { name: "context_number", summary: "a circumstance of the request that is a number", state: REQUEST,
        names: |_| Vec::new(), build: |a| of_request(a, Kind::Number, |m| &m.query.context) },
    Family { name: "hour", summary: "hour of the day, UTC, with its fraction", state: REQUEST,
        names: |_| one("hour"), build: |a| once(a, Kind::Number, |m| m.query.now.0.rem_euclid(DAY_MS) as f32 / 3_600_000.0) },
    Family { name: "weekday", summary: "day of the week, UTC, Monday 0", state: REQUEST,
        names: |_| one("weekday"), build: |a| once(a, Kind::Category, |m| (m.query.now.0.div_euclid(DAY_MS) + 3).rem_euclid(7) as f32) },
    Family { name: "count", summary: "log(1 + events of a type about the item in so many days)", state: COUNTS,
        names: |k| windows("count", &k.outcomes), build: count },
    Family { name: "rate", summary: "events of a type per exposure in so many days, drawn to the rate over all items by 20 exposures", state: COUNTS,
        names: rates, build: rate },
    Family { name: "trend", summary: "events of a type on the last 2 days against 30, as a logarithm of daily rates, each with half an event added", state: COUNTS,
        names: |k| each("trend", &k.outcomes), build: trend },
    Family { name: "history_items", summary: "log(1 + items in the history)", state: HISTORY,
        names: |_| one("history_items"), build: |a| once(a, Kind::Number, |m| (1.0 + m.query.history.len() as f32).ln()) },
    Family { name: "history_strength", summary: "mean strength of the history", state: HISTORY,
        names: |_| one("history_strength"), build: |a| once(a, Kind::Number, history_strength) },
    Family { name: "days_since_event", summary: "days since the person's last event", state: HISTORY,
        names: |_| one("days_since_event"), build: |a| once(a, Kind::Number, |m| m.query.history.last().map_or(f32::NAN, |h| h.age_days)) },
    Family { name: "events_within", summary: "items in the history that are younger than so many days", state: HISTORY,
        names: |_| ["1", "7", "30"].map(|days| format!("events_within:{days}")).to_vec(), build: events_within },
    Family { name: "session_items", summary: "items of the session: the latest ones without 30 idle minutes between", state: HISTORY,
        names: |_| one("session_items"), build: |a| once(a, Kind::Number, |m| session(&m.query.history).len() as f32) },
    Family { name: "item_strength", summary: "what the person did with this very item, 0 for nothing", state: HISTORY,
        names: |_| one("item_strength"), build: |a| own(a, 0.0, |h| h.weight) },
    Family { name: "item_days_since", summary: "days since the person last did something with this very item", state: HISTORY,
        names: |_| one("item_days_since"), build: |a| own(a, f32::NAN, |h| h.age_days) },
    Family { name: "affinity", summary: "share of the history's strength that has the item's values of an attribute, mean over them, of the latest 200 items", state: HISTORY,
        names: |k| affinities("affinity", k), build: |a| affinity(a, all) },
    Family { name: "affinity_recent", summary: "the same with strengths halved every week", state: HISTORY,
        names: |k| affinities("affinity_recent", k), build: |a| affinity(a, recent) },
    Family { name: "affinity_session", summary: "the same for the session alone", state: HISTORY,
        names: |k| affinities("affinity_session", k), build: |a| affinity(a, of_session) },
    Family { name: "dislike", summary: "share of the history's negative strength that has the item's values of an attribute", state: HISTORY,
        names: |k| affinities("dislike", k), build: |a| affinity(a, disliked) },
    Family { name: "usual", summary: "a number of the item (its price) less the mean over the history, in standard deviations", state: HISTORY,
        names: |k| each("usual", &k.item_numbers), build: usual },
    Family { name: "anchor_share", summary: "share of an attribute's values that the item has in common with the item that the placement is about", state: REQUEST,
        names: |k| affinities("anchor_share", k), build: anchor_share },
];

/// Families that tell of the circumstances of a request: what it brings with it, when it comes, and what went just before.
pub const CONTEXT_FAMILIES: &[&str] = &[
    "context_category",
    "context_number",
    "hour",
    "weekday",
    "days_since_event",
    "events_within",
    "session_items",
    "affinity_session",
];

/// The feature of a name.
pub(super) fn build(name: &str) -> Result<(Feature, Read), FeatureError> {
    let (family, argument) = name.split_once(':').unwrap_or((name, ""));
    let wrong = |expected: String| FeatureError {
        name: name.to_owned(),
        expected,
    };
    let Some(found) = FAMILIES.iter().find(|f| f.name == family) else {
        let known: Vec<&str> = FAMILIES.iter().map(|f| f.name).collect();
        return Err(wrong(format!("one of the families {}", known.join(", "))));
    };
    let built = (found.build)(argument);
    let (kind, read) = built.ok_or_else(|| wrong(format!("an argument that fits: {}", found.summary)))?;
    let feature = match kind {
        Kind::Number => Feature::number(name),
        Kind::Falling => Feature {
            monotone: Monotone::Falling,
            ..Feature::number(name)
        },
        Kind::Category => Feature::category(name),
    };
    Ok((feature, read))
}

// Names.

fn one(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

fn each(family: &str, arguments: &[String]) -> Vec<String> {
    arguments
        .iter()
        .map(|argument| format!("{family}:{argument}"))
        .collect()
}

fn windows(family: &str, types: &[String]) -> Vec<String> {
    let of = |event_type: &String| WINDOWS.map(|days| format!("{family}:{event_type}:{days}"));
    types.iter().flat_map(of).collect()
}

/// Rates need exposures to divide by.
fn rates(known: &Known) -> Vec<String> {
    let of = |exposure: &String| {
        let of_type =
            |event_type: &String| [7, 30].map(|days| format!("rate:{event_type}:{exposure}:{days}"));
        known.outcomes.iter().flat_map(of_type).collect::<Vec<_>>()
    };
    known.exposures.iter().take(1).flat_map(of).collect()
}

fn affinities(family: &str, known: &Known) -> Vec<String> {
    let all: Vec<String> = known
        .item_categories
        .iter()
        .chain(&known.item_tags)
        .cloned()
        .collect();
    each(family, &all)
}

// Shapes of reading.

fn plain(argument: &str, kind: Kind, read: fn(&Candidate) -> f32) -> Option<(Kind, Read)> {
    let read: Read = Box::new(move |reading, column| {
        let each = column.iter_mut().zip(reading.candidates);
        each.for_each(|(value, candidate)| *value = read(candidate));
    });
    argument.is_empty().then_some((kind, read))
}

/// One number for the whole request.
fn once(argument: &str, kind: Kind, read: fn(&Moment<'_>) -> f32) -> Option<(Kind, Read)> {
    let read: Read = Box::new(move |reading, column| column.fill(read(reading)));
    argument.is_empty().then_some((kind, read))
}

/// A number of each candidate's attributes, where it has any.
fn of_item(argument: &str, kind: Kind, read: fn(&ItemFacts, u64) -> Option<f32>) -> Option<(Kind, Read)> {
    let key = hash(argument);
    let read: Read = Box::new(move |reading, column| {
        for (value, facts) in column.iter_mut().zip(reading.facts()) {
            *value = facts.and_then(|facts| read(facts, key)).unwrap_or(f32::NAN);
        }
    });
    (!argument.is_empty()).then_some((kind, read))
}

/// What a source said of each candidate that it proposed.
fn of_source(argument: &str, read: fn(&Hit) -> f32) -> Option<(Kind, Read)> {
    let name = argument.to_owned();
    let read: Read = Box::new(move |reading, column| {
        for hit in reading.hits().of(&name) {
            column[hit.row as usize] = read(hit);
        }
    });
    (!argument.is_empty()).then_some((Kind::Number, read))
}

fn of_request(
    argument: &str,
    kind: Kind,
    of: for<'a> fn(&'a Moment<'a>) -> &'a domain::Attributes,
) -> Option<(Kind, Read)> {
    let name = argument.to_owned();
    let read: Read = Box::new(move |moment, column| {
        let value = match (of(moment).get(&name), kind) {
            (Some(RawAttribute::Number(number)), Kind::Category) => code(&number.to_string()),
            (Some(RawAttribute::Number(number)), _) => *number as f32,
            (Some(RawAttribute::Flag(flag)), Kind::Category) => f32::from(*flag),
            (Some(RawAttribute::Text(text)), Kind::Category) => code(text),
            _ => f32::NAN,
        };
        column.fill(value);
    });
    (!argument.is_empty()).then_some((kind, read))
}

fn code(text: &str) -> f32 {
    (hash(text) % CODES) as f32
}

// What is read.

fn model_score(argument: &str) -> Option<(Kind, Read)> {
    let read: Read = Box::new(|moment, column| {
        let known = column.iter_mut().zip(moment.model_scores);
        known.for_each(|(value, score)| *value = *score);
    });
    argument.is_empty().then_some((Kind::Number, read))
}

fn best_rank(candidate: &Candidate) -> f32 {
    candidate
        .hits
        .iter()
        .map(|hit| hit.rank)
        .min()
        .map_or(f32::NAN, |rank| rank as f32)
}

fn fused_rank(candidate: &Candidate) -> f32 {
    candidate
        .hits
        .iter()
        .map(|hit| 1.0 / (60.0 + hit.rank as f32))
        .sum()
}

fn position(argument: &str) -> Option<(Kind, Read)> {
    let read: Read = Box::new(|moment, column| {
        for (row, value) in column.iter_mut().enumerate() {
            *value = moment.positions.get(row).map_or(1.0, |place| *place as f32);
        }
    });
    argument.is_empty().then_some((Kind::Falling, read))
}

fn item_category(facts: &ItemFacts, key: u64) -> Option<f32> {
    let value = facts.get_values(key).next();
    value.map(|value| (value % CODES) as f32)
}

fn item_age_days(argument: &str) -> Option<(Kind, Read)> {
    let read: Read = Box::new(|reading, column| {
        for (value, facts) in column.iter_mut().zip(reading.facts()) {
            let added = facts.and_then(|facts| facts.added_at);
            *value = added.map_or(f32::NAN, |added| reading.query.now.days_since(added));
        }
    });
    argument.is_empty().then_some((Kind::Number, read))
}

/// A function of two small counts, worked out once for each pair.
struct Table {
    width: usize,
    values: Vec<f32>,
    of: fn(u64, u64) -> f32,
}

impl Table {
    fn new(height: u64, width: u64, of: fn(u64, u64) -> f32) -> Table {
        let all = (0..height).flat_map(|a| (0..width).map(move |b| of(a, b)));
        Table {
            width: width as usize,
            values: all.collect(),
            of,
        }
    }

    fn get(&self, a: u64, b: u64) -> f32 {
        let at = (a as usize)
            .checked_mul(self.width)
            .and_then(|at| at.checked_add(b as usize));
        let known = at
            .filter(|_| b < self.width as u64)
            .and_then(|at| self.values.get(at));
        known.copied().unwrap_or_else(|| (self.of)(a, b))
    }
}

/// log(1 + count).
static COUNTED: LazyLock<Table> =
    LazyLock::new(|| Table::new(1, 2048, |_, count| (1.0 + count as f64).ln() as f32));
/// Events on 2 days against 30.
static TRENDS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(32, 128, |two, thirty| {
        let (two, thirty) = (two as f64, thirty as f64);
        ((two + 0.5) / 2.0 / ((thirty + 0.5) / 30.0)).ln() as f32
    })
});

/// `type:days`.
fn count(argument: &str) -> Option<(Kind, Read)> {
    let (event_type, days) = argument.rsplit_once(':')?;
    let (event_type, days) = (
        event_type.to_owned(),
        days.parse::<i32>().ok().filter(|d| (1..=31).contains(d))?,
    );
    let read: Read = Box::new(move |moment, column| {
        let Some(kind) = moment.counts.kind(&event_type) else {
            return;
        };
        // Most types are silent in most shops.
        if moment.counts.of_all(kind, moment.query.now, days) == 0 {
            column.fill(0.0);
            return;
        }
        let table = &*COUNTED;
        for (value, count) in column.iter_mut().zip(&*moment.counts_of(kind, days)) {
            *value = table.get(0, *count);
        }
    });
    Some((Kind::Number, read))
}

/// `type:exposure:days`.
fn rate(argument: &str) -> Option<(Kind, Read)> {
    let (types, days) = argument.rsplit_once(':')?;
    let (event_type, exposure) = types.rsplit_once(':')?;
    let (event_type, exposure) = (event_type.to_owned(), exposure.to_owned());
    let days = days.parse::<i32>().ok().filter(|d| (1..=31).contains(d))?;
    let read: Read = Box::new(move |moment, column| {
        let (counts, now) = (moment.counts, moment.query.now);
        let (Some(kind), Some(shown)) = (counts.kind(&event_type), counts.kind(&exposure)) else {
            return;
        };
        let (events, exposures) = (counts.of_all(kind, now, days), counts.of_all(shown, now, days));
        if exposures == 0 {
            return;
        }
        let prior = events as f64 / exposures as f64;
        let (own, shown) = (moment.counts_of(kind, days), moment.counts_of(shown, days));
        for (value, (own, shown)) in column.iter_mut().zip(own.iter().zip(&*shown)) {
            let (own, shown) = (*own as f64, *shown as f64);
            *value = ((own + SHRINKAGE * prior) / (shown + SHRINKAGE)) as f32;
        }
    });
    Some((Kind::Number, read))
}

/// `type`.
fn trend(argument: &str) -> Option<(Kind, Read)> {
    let event_type = argument.to_owned();
    let read: Read = Box::new(move |moment, column| {
        let Some(kind) = moment.counts.kind(&event_type) else {
            return;
        };
        let table = &*TRENDS;
        let (two, thirty) = (moment.counts_of(kind, 2), moment.counts_of(kind, 30));
        for (value, (two, thirty)) in column.iter_mut().zip(two.iter().zip(&*thirty)) {
            *value = table.get(*two, *thirty);
        }
    });
    (!argument.is_empty()).then_some((Kind::Number, read))
}

fn history_strength(moment: &Moment<'_>) -> f32 {
    let history = &moment.query.history;
    let sum: f64 = history.iter().map(|h| f64::from(h.weight)).sum();
    if history.is_empty() {
        f32::NAN
    } else {
        (sum / history.len() as f64) as f32
    }
}

fn events_within(argument: &str) -> Option<(Kind, Read)> {
    let days: f32 = argument.parse().ok().filter(|d| *d > 0.0)?;
    let read: Read = Box::new(move |moment, column| {
        let n = moment.query.history.iter().filter(|h| h.age_days < days).count();
        column.fill(n as f32);
    });
    Some((Kind::Number, read))
}

/// The latest events without a longer pause between them, or before now.
fn session(history: &[HistoryEvent]) -> &[HistoryEvent] {
    let (mut start, mut last) = (history.len(), 0.0);
    while start > 0 && history[start - 1].age_days - last <= SESSION_GAP_DAYS {
        start -= 1;
        last = history[start].age_days;
    }
    &history[start..]
}

/// Strength of each event for an affinity; what is not above zero does not count.
type Strengths = fn(&[HistoryEvent]) -> Vec<f32>;

fn all(history: &[HistoryEvent]) -> Vec<f32> {
    history.iter().map(|h| h.weight).collect()
}

fn recent(history: &[HistoryEvent]) -> Vec<f32> {
    history
        .iter()
        .map(|h| h.weight * (-h.age_days / 7.0).exp2())
        .collect()
}

fn of_session(history: &[HistoryEvent]) -> Vec<f32> {
    let before = history.len() - session(history).len();
    let strength = |(at, h): (usize, &HistoryEvent)| if at < before { 0.0 } else { h.weight };
    history.iter().enumerate().map(strength).collect()
}

fn disliked(history: &[HistoryEvent]) -> Vec<f32> {
    history.iter().map(|h| -h.weight).collect()
}

/// What the history says of the very item, or something else where it says nothing.
fn own(argument: &str, otherwise: f32, of: fn(&HistoryEvent) -> f32) -> Option<(Kind, Read)> {
    let read: Read = Box::new(move |reading, column| {
        let history = &reading.query.history;
        for (value, at) in column.iter_mut().zip(reading.own_events()) {
            *value = history.get(*at as usize).map_or(otherwise, of);
        }
    });
    argument.is_empty().then_some((Kind::Number, read))
}

/// Strength by value, as a share of all; an event's strength counts in full for each of its item's values.
fn affinity(argument: &str, of: Strengths) -> Option<(Kind, Read)> {
    let key = hash(argument);
    let read: Read = Box::new(move |reading, column| {
        let history = reading.latest();
        let values = reading.values(key);
        let mut sums = vec![0f64; values.n_values];
        let mut total = 0.0;
        let events = of(history).into_iter().zip(values.of_history.iter());
        for (strength, own) in events.filter(|(strength, _)| *strength > 0.0) {
            let Some(own) = own else {
                continue;
            };
            own.iter()
                .for_each(|value| sums[*value as usize] += f64::from(strength));
            total += f64::from(strength);
        }
        if total <= 0.0 {
            return;
        }
        for (value, own) in column.iter_mut().zip(values.of_candidates.iter()) {
            let own = own.unwrap_or_default();
            if !own.is_empty() {
                let sum = own.iter().fold(0.0, |sum, value| sum + sums[*value as usize]);
                *value = (sum / total / own.len() as f64) as f32;
            }
        }
    });
    (!argument.is_empty()).then_some((Kind::Number, read))
}

fn usual(argument: &str) -> Option<(Kind, Read)> {
    let key = hash(argument);
    let read: Read = Box::new(move |reading, column| {
        let (mut sum, mut squares, mut total) = (0.0f64, 0.0f64, 0.0f64);
        let known = reading.query.history.iter().zip(reading.history_facts());
        for (event, facts) in known.filter(|(event, _)| event.weight > 0.0) {
            if let Some(number) = facts.and_then(|facts| facts.get_number(key)) {
                let (number, weight) = (f64::from(number), f64::from(event.weight));
                sum += weight * number;
                squares += weight * number * number;
                total += weight;
            }
        }
        if total <= 0.0 {
            return;
        }
        let mean = sum / total;
        // A single purchase says where, not how wide: a tenth of the mean is the least.
        let deviation = (squares / total - mean * mean)
            .max(0.0)
            .sqrt()
            .max(mean.abs() * 0.1)
            .max(1e-9);
        for (value, facts) in column.iter_mut().zip(reading.facts()) {
            if let Some(number) = facts.and_then(|facts| facts.get_number(key)) {
                *value = ((f64::from(number) - mean) / deviation) as f32;
            }
        }
    });
    (!argument.is_empty()).then_some((Kind::Number, read))
}

fn anchor_share(argument: &str) -> Option<(Kind, Read)> {
    let key = hash(argument);
    let read: Read = Box::new(move |reading, column| {
        let anchor = reading.query.anchor;
        let Some(anchor) = anchor.and_then(|item| reading.moment.facts.facts(item)) else {
            return;
        };
        let of_anchor: Vec<u64> = anchor.get_values(key).collect();
        for (value, facts) in column.iter_mut().zip(reading.facts()) {
            let Some(facts) = facts else {
                continue;
            };
            let (mut both, mut n) = (0u32, 0u32);
            for own in facts.get_values(key) {
                both += u32::from(of_anchor.contains(&own));
                n += 1;
            }
            if n > 0 {
                *value = both as f32 / n as f32;
            }
        }
    });
    (!argument.is_empty()).then_some((Kind::Number, read))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inside and outside the table, the very number that the formula gives.
    #[test]
    fn tables_hold_what_the_formulas_give() {
        for table in [&*COUNTED, &*TRENDS] {
            for a in [0, 1, 31, 32, 1000, u64::MAX] {
                for b in [0, 1, 127, 128, 2047, 2048, 1 << 40] {
                    assert_eq!(table.get(a, b).to_bits(), (table.of)(a, b).to_bits(), "{a} {b}");
                }
            }
        }
        assert_eq!(COUNTED.get(0, 2), 3f32.ln());
    }
}
