//! The table of feature families.

use super::facts::hash;
use super::{FeatureError, Known, Moment, Read};
use domain::{Candidate, HistoryEvent, RawAttribute};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
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

/// Items of the history that affinities look at, the latest ones, so that their cost is bounded.
const AFFINITY_ITEMS_MAX: usize = 200;

/// Windows of counts and rates, days.
const WINDOWS: [i32; 3] = [1, 7, 30];

/// Every family.
#[rustfmt::skip]
pub static FAMILIES: &[Family] = &[
    Family { name: "model_score", summary: "score of the placement's model", state: REQUEST,
        names: |_| one("model_score"), build: model_score },
    Family { name: "source_score", summary: "score of a source; missing if it did not propose the item", state: REQUEST,
        names: |k| each("source_score", &k.sources), build: |a| named(a, Kind::Number, source_score) },
    Family { name: "source_rank", summary: "place in a source's list, from 1; missing if it did not propose the item", state: REQUEST,
        names: |k| each("source_rank", &k.sources), build: |a| named(a, Kind::Number, source_rank) },
    Family { name: "sources", summary: "number of sources that proposed the item", state: REQUEST,
        names: |_| one("sources"), build: |a| plain(a, Kind::Number, |_, c| c.hits.len() as f32) },
    Family { name: "best_rank", summary: "best place in any source's list", state: REQUEST,
        names: |_| one("best_rank"), build: |a| plain(a, Kind::Number, best_rank) },
    Family { name: "fused_rank", summary: "sum of 1 / (60 + rank) over sources", state: REQUEST,
        names: |_| one("fused_rank"), build: |a| plain(a, Kind::Number, fused_rank) },
    Family { name: "position", summary: "place in the slate, from 1: as shown in training, 1 for all in serving", state: REQUEST,
        names: |_| one("position"), build: position },
    Family { name: "item_number", summary: "a number of the item", state: CATALOGUE,
        names: |k| each("item_number", &k.item_numbers), build: |a| named(a, Kind::Number, item_number) },
    Family { name: "item_category", summary: "a category of the item, hashed into 4,093 codes", state: CATALOGUE,
        names: |k| each("item_category", &k.item_categories), build: |a| named(a, Kind::Category, item_category) },
    Family { name: "item_age_days", summary: "days since the item was added", state: CATALOGUE,
        names: |_| one("item_age_days"), build: |a| plain(a, Kind::Number, item_age_days) },
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
        names: |k| affinities("affinity", k), build: |a| affinity(a, |history| history.to_vec()) },
    Family { name: "affinity_recent", summary: "the same with strengths halved every week", state: HISTORY,
        names: |k| affinities("affinity_recent", k), build: |a| affinity(a, recent) },
    Family { name: "affinity_session", summary: "the same for the session alone", state: HISTORY,
        names: |k| affinities("affinity_session", k), build: |a| affinity(a, |history| session(history).to_vec()) },
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

fn plain(argument: &str, kind: Kind, read: fn(&Moment<'_>, &Candidate) -> f32) -> Option<(Kind, Read)> {
    let read: Read = Box::new(move |moment, candidates, put| {
        candidates
            .iter()
            .enumerate()
            .for_each(|(row, c)| put(row, read(moment, c)));
    });
    argument.is_empty().then_some((kind, read))
}

/// One number for the whole request.
fn once(argument: &str, kind: Kind, read: fn(&Moment<'_>) -> f32) -> Option<(Kind, Read)> {
    let read: Read = Box::new(move |moment, candidates, put| {
        let value = read(moment);
        (0..candidates.len()).for_each(|row| put(row, value));
    });
    argument.is_empty().then_some((kind, read))
}

fn named(
    argument: &str,
    kind: Kind,
    read: fn(&Moment<'_>, &Candidate, &str, u64) -> f32,
) -> Option<(Kind, Read)> {
    let (name, key) = (argument.to_owned(), hash(argument));
    let read: Read = Box::new(move |moment, candidates, put| {
        candidates
            .iter()
            .enumerate()
            .for_each(|(row, c)| put(row, read(moment, c, &name, key)));
    });
    (!argument.is_empty()).then_some((kind, read))
}

fn of_request(
    argument: &str,
    kind: Kind,
    of: for<'a> fn(&'a Moment<'a>) -> &'a domain::Attributes,
) -> Option<(Kind, Read)> {
    let name = argument.to_owned();
    let read: Read = Box::new(move |moment, candidates, put| {
        let value = match (of(moment).get(&name), kind) {
            (Some(RawAttribute::Number(number)), Kind::Category) => code(&number.to_string()),
            (Some(RawAttribute::Number(number)), _) => *number as f32,
            (Some(RawAttribute::Flag(flag)), Kind::Category) => f32::from(*flag),
            (Some(RawAttribute::Text(text)), Kind::Category) => code(text),
            _ => f32::NAN,
        };
        (0..candidates.len()).for_each(|row| put(row, value));
    });
    (!argument.is_empty()).then_some((kind, read))
}

fn code(text: &str) -> f32 {
    (hash(text) % CODES) as f32
}

// What is read.

fn model_score(argument: &str) -> Option<(Kind, Read)> {
    let read: Read = Box::new(|moment, candidates, put| {
        for (row, score) in moment.model_scores.iter().take(candidates.len()).enumerate() {
            put(row, *score);
        }
    });
    argument.is_empty().then_some((Kind::Number, read))
}

fn source_score(_: &Moment<'_>, candidate: &Candidate, name: &str, _: u64) -> f32 {
    candidate
        .hits
        .iter()
        .find(|hit| &*hit.source == name)
        .map_or(f32::NAN, |hit| hit.score)
}

fn source_rank(_: &Moment<'_>, candidate: &Candidate, name: &str, _: u64) -> f32 {
    candidate
        .hits
        .iter()
        .find(|hit| &*hit.source == name)
        .map_or(f32::NAN, |hit| hit.rank as f32)
}

fn best_rank(_: &Moment<'_>, candidate: &Candidate) -> f32 {
    candidate
        .hits
        .iter()
        .map(|hit| hit.rank)
        .min()
        .map_or(f32::NAN, |rank| rank as f32)
}

fn fused_rank(_: &Moment<'_>, candidate: &Candidate) -> f32 {
    candidate
        .hits
        .iter()
        .map(|hit| 1.0 / (60.0 + hit.rank as f32))
        .sum()
}

fn position(argument: &str) -> Option<(Kind, Read)> {
    let read: Read = Box::new(|moment, candidates, put| {
        for row in 0..candidates.len() {
            put(row, moment.positions.get(row).map_or(1.0, |place| *place as f32));
        }
    });
    argument.is_empty().then_some((Kind::Falling, read))
}

fn item_number(moment: &Moment<'_>, candidate: &Candidate, _: &str, key: u64) -> f32 {
    moment
        .facts
        .facts(candidate.item)
        .and_then(|facts| facts.get_number(key))
        .unwrap_or(f32::NAN)
}

fn item_category(moment: &Moment<'_>, candidate: &Candidate, _: &str, key: u64) -> f32 {
    let facts = moment.facts.facts(candidate.item);
    let value = facts.and_then(|facts| facts.get_values(key).next());
    value.map_or(f32::NAN, |value| (value % CODES) as f32)
}

fn item_age_days(moment: &Moment<'_>, candidate: &Candidate) -> f32 {
    let added = moment
        .facts
        .facts(candidate.item)
        .and_then(|facts| facts.added_at);
    added.map_or(f32::NAN, |added| moment.query.now.days_since(added))
}

/// `type:days`.
fn count(argument: &str) -> Option<(Kind, Read)> {
    let (event_type, days) = argument.rsplit_once(':')?;
    let (event_type, days) = (
        event_type.to_owned(),
        days.parse::<i32>().ok().filter(|d| (1..=31).contains(d))?,
    );
    let read: Read = Box::new(move |moment, candidates, put| {
        let Some(kind) = moment.counts.kind(&event_type) else {
            return;
        };
        // Most types are silent in most shops.
        if moment.counts.of_all(kind, moment.query.now, days) == 0 {
            (0..candidates.len()).for_each(|row| put(row, 0.0));
            return;
        }
        for (row, count) in moment.counts_of(candidates, kind, days).enumerate() {
            put(row, (1.0 + count as f64).ln() as f32);
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
    let read: Read = Box::new(move |moment, candidates, put| {
        let (counts, now) = (moment.counts, moment.query.now);
        let (Some(kind), Some(shown)) = (counts.kind(&event_type), counts.kind(&exposure)) else {
            return;
        };
        let (events, exposures) = (counts.of_all(kind, now, days), counts.of_all(shown, now, days));
        if exposures == 0 {
            return;
        }
        let prior = events as f64 / exposures as f64;
        let own = moment.counts_of(candidates, kind, days);
        for (row, (own, shown)) in own.zip(moment.counts_of(candidates, shown, days)).enumerate() {
            let (own, shown) = (own as f64, shown as f64);
            put(row, ((own + SHRINKAGE * prior) / (shown + SHRINKAGE)) as f32);
        }
    });
    Some((Kind::Number, read))
}

/// `type`.
fn trend(argument: &str) -> Option<(Kind, Read)> {
    let event_type = argument.to_owned();
    let read: Read = Box::new(move |moment, candidates, put| {
        let Some(kind) = moment.counts.kind(&event_type) else {
            return;
        };
        let latest = moment.counts_of(candidates, kind, 2);
        for (row, (two, thirty)) in latest.zip(moment.counts_of(candidates, kind, 30)).enumerate() {
            let (two, thirty) = (two as f64, thirty as f64);
            put(row, ((two + 0.5) / 2.0 / ((thirty + 0.5) / 30.0)).ln() as f32);
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
    let read: Read = Box::new(move |moment, candidates, put| {
        let n = moment.query.history.iter().filter(|h| h.age_days < days).count();
        (0..candidates.len()).for_each(|row| put(row, n as f32));
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

fn recent(history: &[HistoryEvent]) -> Vec<HistoryEvent> {
    let faded = |h: &HistoryEvent| HistoryEvent {
        weight: h.weight * (-h.age_days / 7.0).exp2(),
        ..*h
    };
    history.iter().map(faded).collect()
}

fn disliked(history: &[HistoryEvent]) -> Vec<HistoryEvent> {
    history
        .iter()
        .map(|h| HistoryEvent {
            weight: -h.weight,
            ..*h
        })
        .collect()
}

/// What the history says of the very item, or something else where it says nothing.
fn own(argument: &str, otherwise: f32, of: fn(&HistoryEvent) -> f32) -> Option<(Kind, Read)> {
    let read: Read = Box::new(move |moment, candidates, put| {
        let by_item: ByHash<f32> = moment
            .query
            .history
            .iter()
            .map(|h| (u64::from(h.item), of(h)))
            .collect();
        for (row, candidate) in candidates.iter().enumerate() {
            put(
                row,
                by_item
                    .get(&u64::from(candidate.item))
                    .copied()
                    .unwrap_or(otherwise),
            );
        }
    });
    argument.is_empty().then_some((Kind::Number, read))
}

/// Keys that are hashes already, or small numbers.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = numeric::hash_bytes(bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

type ByHash<V> = HashMap<u64, V, BuildHasherDefault<Spread>>;

/// Strength by value, as a share of all; an event's strength counts in full for each of its item's values.
fn affinity(argument: &str, of: fn(&[HistoryEvent]) -> Vec<HistoryEvent>) -> Option<(Kind, Read)> {
    let key = hash(argument);
    let read: Read = Box::new(move |moment, candidates, put| {
        let mut by_value: ByHash<f64> = ByHash::default();
        let mut total = 0.0;
        let history = &moment.query.history;
        let latest = &history[history.len().saturating_sub(AFFINITY_ITEMS_MAX)..];
        for event in of(latest).into_iter().filter(|h| h.weight > 0.0) {
            let Some(facts) = moment.facts.facts(event.item) else {
                continue;
            };
            for value in facts.get_values(key) {
                *by_value.entry(value).or_default() += f64::from(event.weight);
            }
            total += f64::from(event.weight);
        }
        if total <= 0.0 {
            return;
        }
        for (row, candidate) in candidates.iter().enumerate() {
            let Some(facts) = moment.facts.facts(candidate.item) else {
                continue;
            };
            let (mut sum, mut n) = (0.0, 0u32);
            for value in facts.get_values(key) {
                sum += by_value.get(&value).copied().unwrap_or(0.0);
                n += 1;
            }
            if n > 0 {
                put(row, (sum / total / f64::from(n)) as f32);
            }
        }
    });
    (!argument.is_empty()).then_some((Kind::Number, read))
}

fn usual(argument: &str) -> Option<(Kind, Read)> {
    let key = hash(argument);
    let read: Read = Box::new(move |moment, candidates, put| {
        let (mut sum, mut squares, mut total) = (0.0f64, 0.0f64, 0.0f64);
        for event in moment.query.history.iter().filter(|h| h.weight > 0.0) {
            let number = moment
                .facts
                .facts(event.item)
                .and_then(|facts| facts.get_number(key));
            if let Some(number) = number {
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
        for (row, candidate) in candidates.iter().enumerate() {
            let number = moment
                .facts
                .facts(candidate.item)
                .and_then(|facts| facts.get_number(key));
            if let Some(number) = number {
                put(row, ((f64::from(number) - mean) / deviation) as f32);
            }
        }
    });
    (!argument.is_empty()).then_some((Kind::Number, read))
}

fn anchor_share(argument: &str) -> Option<(Kind, Read)> {
    let key = hash(argument);
    let read: Read = Box::new(move |moment, candidates, put| {
        let Some(anchor) = moment.query.anchor.and_then(|item| moment.facts.facts(item)) else {
            return;
        };
        let of_anchor: Vec<u64> = anchor.get_values(key).collect();
        for (row, candidate) in candidates.iter().enumerate() {
            let Some(facts) = moment.facts.facts(candidate.item) else {
                continue;
            };
            let (mut both, mut n) = (0u32, 0u32);
            for value in facts.get_values(key) {
                both += u32::from(of_anchor.contains(&value));
                n += 1;
            }
            if n > 0 {
                put(row, both as f32 / n as f32);
            }
        }
    });
    (!argument.is_empty()).then_some((Kind::Number, read))
}
