//! Decisions as bytes: what is long stands in columns, the rest as JSON.
//!
//! Nearly all of a record is its candidates: for each an item, a score, and for each source that proposed it a rank and a score. Those, the removals
//! and the history are taken out of the records and stood side by side: texts once per block, in the order of first mention, and
//! then by number; scores as differences of their bit patterns from the one before, which are small since lists are in order; ranks as differences. What remains of a
//! record is a line of JSON. A record whose candidates name their sources in an order that columns cannot tell keeps them in its line.
//!
//! Everything comes back to the last bit.

use crate::StoredDecision;
use domain::{Decision, DecisionItem, ItemId, Removal, SourceHit};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::sync::Arc;

/// Streams of a block, one after the other.
const STREAMS: usize = 9;
const LINES: usize = 0;
const NAMES: usize = 1;
const COUNTS: usize = 2;
const ITEMS: usize = 3;
const SCORES: usize = 4;
const SOURCES: usize = 5;
const HITS: usize = 6;
const HISTORY: usize = 7;
const REMOVALS: usize = 8;

/// A record without what stands in columns.
struct Line<'a> {
    stored: &'a StoredDecision,
    /// Whether the candidates stay.
    with_candidates: bool,
}

/// The fields of a decision, but with no history, no removals, and perhaps no candidates.
struct Rest<'a>(&'a Decision, bool);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Named one by one, so that a new field cannot be forgotten.
        let StoredDecision {
            decision,
            timings_us,
            request,
        } = self.stored;
        let mut out = serializer.serialize_struct("StoredDecision", 3)?;
        out.serialize_field("decision", &Rest(decision, self.with_candidates))?;
        out.serialize_field("timings_us", timings_us)?;
        if request.is_some() {
            out.serialize_field("request", request)?;
        }
        out.end()
    }
}

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Decision {
            decision_id,
            now,
            placement,
            user_id,
            snapshot,
            sequence,
            seed,
            config_hash,
            n,
            attributes,
            context,
            item_id,
            history: _,
            stages,
            considered,
            considered_cut,
            removals: _,
            removals_cut,
            policy,
            rules,
            constraints,
            page,
            shown,
            features,
            degraded,
            arms,
        } = self.0;
        let none: [u8; 0] = [];
        let mut out = serializer.serialize_struct("Decision", 26)?;
        out.serialize_field("decision_id", decision_id)?;
        out.serialize_field("now", now)?;
        out.serialize_field("placement", placement)?;
        out.serialize_field("user_id", user_id)?;
        out.serialize_field("snapshot", snapshot)?;
        out.serialize_field("sequence", sequence)?;
        out.serialize_field("seed", seed)?;
        out.serialize_field("config_hash", config_hash)?;
        out.serialize_field("n", n)?;
        if !attributes.is_empty() {
            out.serialize_field("attributes", attributes)?;
        }
        if !context.is_empty() {
            out.serialize_field("context", context)?;
        }
        if item_id.is_some() {
            out.serialize_field("item_id", item_id)?;
        }
        out.serialize_field("history", &none)?;
        out.serialize_field("stages", stages)?;
        if self.1 {
            out.serialize_field("considered", considered)?;
        } else {
            out.serialize_field("considered", &none)?;
        }
        out.serialize_field("considered_cut", considered_cut)?;
        out.serialize_field("removals", &none)?;
        out.serialize_field("removals_cut", removals_cut)?;
        if policy.is_some() {
            out.serialize_field("policy", policy)?;
        }
        if rules.is_some() {
            out.serialize_field("rules", rules)?;
        }
        if !constraints.is_empty() {
            out.serialize_field("constraints", constraints)?;
        }
        if page.is_some() {
            out.serialize_field("page", page)?;
        }
        out.serialize_field("shown", shown)?;
        if features.is_some() {
            out.serialize_field("features", features)?;
        }
        out.serialize_field("degraded", degraded)?;
        out.serialize_field("arms", arms)?;
        out.end()
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A signed number, small ones short.
fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)) as u64);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bit pattern that rises with the number.
fn rising(score: f32) -> i64 {
    let bits = score.to_bits();
    i64::from(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 })
}

fn risen(number: i64) -> Result<f32, String> {
    let bits = u32::try_from(number).map_err(|_| "a score is out of range")?;
    Ok(f32::from_bits(if bits >> 31 == 1 {
        bits & !(1 << 31)
    } else {
        !bits
    }))
}

/// Texts by number, in the order of first mention.
#[derive(Default)]
struct Names<'a> {
    numbers: HashMap<&'a str, u64>,
    stream: Vec<u8>,
}

impl<'a> Names<'a> {
    fn number(&mut self, name: &'a str) -> u64 {
        let next = self.numbers.len() as u64;
        *self.numbers.entry(name).or_insert_with(|| {
            put_bytes(&mut self.stream, name.as_bytes());
            next
        })
    }
}

/// The sources in an order in which every candidate names them; `None` if there is none to be seen.
fn sources(decision: &Decision) -> Option<Vec<&str>> {
    let mut order: Vec<&str> = decision
        .stages
        .iter()
        .filter_map(|report| report.stage.strip_prefix("retrieve/"))
        .collect();
    for item in &decision.considered {
        let mut last = None;
        for hit in &item.sources {
            let at = order
                .iter()
                .position(|name| *name == &*hit.source)
                .unwrap_or_else(|| {
                    order.push(&hit.source);
                    order.len() - 1
                });
            if last.is_some_and(|last| at <= last) {
                return None;
            }
            last = Some(at);
        }
    }
    Some(order)
}

/// Records as bytes, not compressed.
pub(crate) fn encode(decisions: &[&StoredDecision]) -> Result<Vec<u8>, String> {
    let mut streams: [Vec<u8>; STREAMS] = Default::default();
    let mut names = Names::default();
    for stored in decisions {
        let decision = &stored.decision;
        let order = sources(decision);
        let line = Line {
            stored,
            with_candidates: order.is_none(),
        };
        let json = serde_json::to_vec(&line).map_err(|e| e.to_string())?;
        put_bytes(&mut streams[LINES], &json);
        let columns = order.as_ref().map_or(0, |_| decision.considered.len() as u64 + 1);
        put(&mut streams[COUNTS], columns);
        put(&mut streams[COUNTS], decision.history.len() as u64);
        put(&mut streams[COUNTS], decision.removals.len() as u64);
        if let Some(order) = order {
            put_candidates(&mut streams, &mut names, &decision.considered, &order);
        }
        for (item, strength) in &decision.history {
            put(&mut streams[HISTORY], names.number(item.as_str()));
            streams[HISTORY].extend_from_slice(&strength.to_bits().to_le_bytes());
        }
        for Removal {
            item_id,
            rule,
            reason,
        } in &decision.removals
        {
            for name in [item_id.as_str(), rule, reason] {
                put(&mut streams[REMOVALS], names.number(name));
            }
        }
    }
    streams[NAMES] = names.stream;
    let mut out = Vec::with_capacity(streams.iter().map(|stream| stream.len() + 5).sum());
    for stream in &streams {
        put_bytes(&mut out, stream);
    }
    Ok(out)
}

fn put_candidates<'a>(
    streams: &mut [Vec<u8>; STREAMS],
    names: &mut Names<'a>,
    considered: &'a [DecisionItem],
    order: &[&'a str],
) {
    let mut last = 0;
    let mut hits: Vec<Vec<(u32, usize, f32)>> = vec![Vec::new(); order.len()];
    for (
        place,
        DecisionItem {
            item_id,
            score,
            sources,
        },
    ) in considered.iter().enumerate()
    {
        put(&mut streams[ITEMS], names.number(item_id.as_str()));
        put_signed(&mut streams[SCORES], last - rising(*score));
        last = rising(*score);
        for SourceHit { source, rank, score } in sources {
            if let Some(at) = order.iter().position(|name| *name == &**source) {
                hits[at].push((*rank, place, *score));
            }
        }
    }
    put(&mut streams[COUNTS], order.len() as u64);
    for (name, mut hits) in order.iter().zip(hits) {
        put(&mut streams[SOURCES], names.number(name));
        put(&mut streams[SOURCES], hits.len() as u64);
        hits.sort_by_key(|(rank, place, _)| (*rank, *place));
        let (mut last_rank, mut last_score) = (0i64, 0);
        for (rank, place, score) in hits {
            put_signed(&mut streams[SOURCES], i64::from(rank) - last_rank - 1);
            put(&mut streams[SOURCES], place as u64);
            put_signed(&mut streams[HITS], last_score - rising(score));
            (last_rank, last_score) = (i64::from(rank), rising(score));
        }
    }
}

/// Reads what was put.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or("it runs past the end")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number does not end".to_owned())
    }

    fn size(&mut self) -> Result<usize, String> {
        usize::try_from(self.number()?).map_err(|e| e.to_string())
    }

    fn signed(&mut self) -> Result<i64, String> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let n = self.size()?;
        self.take(n)
    }

    /// A count of things of at least one byte each.
    fn count(&mut self, left: usize) -> Result<usize, String> {
        let n = self.size()?;
        if n > left {
            return Err(format!("{n} things in {left} bytes"));
        }
        Ok(n)
    }
}

/// The records of [`encode`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<StoredDecision>, String> {
    let mut bytes = In(bytes);
    let mut streams = [const { In(&[]) }; STREAMS];
    for stream in &mut streams {
        *stream = In(bytes.bytes()?);
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    while !streams[NAMES].0.is_empty() {
        let name = std::str::from_utf8(streams[NAMES].bytes()?).map_err(|e| e.to_string())?;
        names.push(name.into());
    }
    let mut decisions = Vec::new();
    while !streams[LINES].0.is_empty() {
        let json = streams[LINES].bytes()?;
        let mut stored: StoredDecision = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        let columns = streams[COUNTS].size()?;
        let (history, removals) = (streams[COUNTS].size()?, streams[COUNTS].size()?);
        if let Some(n) = columns.checked_sub(1) {
            stored.decision.considered = candidates(&mut streams, &names, n)?;
        }
        for _ in 0..history {
            let item = item_of(&names, streams[HISTORY].number()?)?;
            let bits = streams[HISTORY].take(4)?;
            let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
            stored.decision.history.push((item, f32::from_bits(bits)));
        }
        for _ in 0..removals {
            let item_id = item_of(&names, streams[REMOVALS].number()?)?;
            let rule = name_of(&names, streams[REMOVALS].number()?)?.to_string();
            let reason = name_of(&names, streams[REMOVALS].number()?)?.to_string();
            stored.decision.removals.push(Removal {
                item_id,
                rule,
                reason,
            });
        }
        decisions.push(stored);
    }
    Ok(decisions)
}

fn name_of(names: &[Arc<str>], number: u64) -> Result<&Arc<str>, String> {
    let name = usize::try_from(number).ok().and_then(|at| names.get(at));
    name.ok_or_else(|| format!("there is no text {number}"))
}

fn item_of(names: &[Arc<str>], number: u64) -> Result<ItemId, String> {
    ItemId::new(&**name_of(names, number)?).map_err(|e| e.to_string())
}

fn candidates(
    streams: &mut [In<'_>; STREAMS],
    names: &[Arc<str>],
    n: usize,
) -> Result<Vec<DecisionItem>, String> {
    if n > streams[ITEMS].0.len() {
        return Err(format!("{n} candidates in {} bytes", streams[ITEMS].0.len()));
    }
    let mut considered = Vec::with_capacity(n);
    let mut last = 0;
    for _ in 0..n {
        last -= streams[SCORES].signed()?;
        considered.push(DecisionItem {
            item_id: item_of(names, streams[ITEMS].number()?)?,
            score: risen(last)?,
            sources: Vec::new(),
        });
    }
    for _ in 0..streams[COUNTS].size()? {
        let source = name_of(names, streams[SOURCES].number()?)?;
        let left = streams[SOURCES].0.len();
        let (mut last_rank, mut last_score) = (0i64, 0);
        for _ in 0..streams[SOURCES].count(left)? {
            last_rank += streams[SOURCES].signed()? + 1;
            let place = streams[SOURCES].size()?;
            last_score -= streams[HITS].signed()?;
            let item: &mut DecisionItem = considered.get_mut(place).ok_or("a hit of no candidate")?;
            item.sources.push(SourceHit {
                source: source.clone(),
                rank: u32::try_from(last_rank).map_err(|e| e.to_string())?,
                score: risen(last_score)?,
            });
        }
    }
    Ok(considered)
}
