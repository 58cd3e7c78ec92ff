//! Decisions as bytes: what is long stands in columns, the rest as JSON.
//!
//! Nearly all of a record is its candidates: for each an item, a score, and for each source that proposed it a rank and a score. Those, the removals
//! and the history are taken out of the records and stood side by side: texts once per block, in the order of first mention, and
//! then by number; scores as differences of their bit patterns from the one before, which are small since lists are in order; ranks as differences. What remains of a
//! record is a line of JSON. A record whose candidates name their sources in an order that columns cannot tell keeps them in its line. The features of what was shown stand
//! feature by feature, as many of them are the same for a whole slate, under their names as one text; so do the numbers of the stages and their times.
//!
//! Everything comes back to the last bit.

use crate::StoredDecision;
use domain::{
    Decision, DecisionId, DecisionItem, FeatureRecord, ItemId, Removal, SourceHit, StageReport, Timestamp,
};
use hashbrown::{DefaultHashBuilder, HashTable};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::hash::BuildHasher;
use std::sync::Arc;

/// Streams of a block, one after the other.
pub(crate) const STREAMS: usize = 11;
/// Streams of earlier versions, which had features, stages and times in the line.
const STREAMS_BEFORE: usize = 9;
const LINES: usize = 0;
const NAMES: usize = 1;
const COUNTS: usize = 2;
const ITEMS: usize = 3;
const SCORES: usize = 4;
const SOURCES: usize = 5;
const HITS: usize = 6;
const HISTORY: usize = 7;
const REMOVALS: usize = 8;
const FEATURES: usize = 9;
const STAGES: usize = 10;

/// Between names that stand as one text, which have none of it.
const BETWEEN: char = '\n';

/// A record without what stands in columns.
struct Line<'a> {
    stored: &'a StoredDecision,
    stays: Stays,
}

/// What stays in the line although it could stand in columns.
#[derive(Clone, Copy)]
struct Stays {
    candidates: bool,
    features: bool,
    stages: bool,
    times: bool,
}

/// The fields of a decision, but with no history, no removals, and perhaps without candidates, features and stages.
struct Rest<'a>(&'a Decision, Stays);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Named one by one, so that a new field cannot be forgotten.
        let StoredDecision {
            decision,
            timings_us,
            request,
        } = self.stored;
        let mut out = serializer.serialize_struct("StoredDecision", 3)?;
        out.serialize_field("decision", &Rest(decision, self.stays))?;
        let none: [u8; 0] = [];
        if self.stays.times {
            out.serialize_field("timings_us", timings_us)?;
        } else {
            out.serialize_field("timings_us", &none)?;
        }
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
        if self.1.stages {
            out.serialize_field("stages", stages)?;
        } else {
            out.serialize_field("stages", &none)?;
        }
        if self.1.candidates {
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
        if self.1.features && features.is_some() {
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

/// Room in a stream for so many numbers of at most 35 bits, written without a look at the room at each.
struct Wide<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
}

impl<'a> Wide<'a> {
    fn new(out: &'a mut Vec<u8>, numbers: usize) -> Wide<'a> {
        let at = out.len();
        // Five bytes each; the last is written as eight.
        out.resize(at + 5 * numbers + 3, 0);
        Wide { out, at }
    }

    /// As [`put`], all bytes of the number at once.
    #[inline]
    fn put(&mut self, number: u64) {
        let bits = 64 - (number | 1).leading_zeros();
        let len = (bits * 9 + 64) / 64;
        let spread = number & 0x7f
            | (number & 0x7f << 7) << 1
            | (number & 0x7f << 14) << 2
            | (number & 0x7f << 21) << 3
            | (number & 0x7f << 28) << 4;
        let more = 0x80_8080_8080 & ((1 << (8 * (len - 1))) - 1);
        self.out[self.at..self.at + 8].copy_from_slice(&(spread | more).to_le_bytes());
        self.at += len as usize;
    }

    /// A signed number, small ones short.
    #[inline]
    fn put_signed(&mut self, number: i64) {
        self.put(((number << 1) ^ (number >> 63)) as u64);
    }

    fn end(self) {
        self.out.truncate(self.at);
    }
}

/// Different streams at once.
fn several<const N: usize>(streams: &mut [Vec<u8>; STREAMS], which: [usize; N]) -> [&mut Vec<u8>; N] {
    streams
        .get_disjoint_mut(which)
        .expect("different streams that there are")
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

/// A text within the stream of texts.
#[derive(Clone, Copy)]
struct Name {
    start: usize,
    len: usize,
    number: u64,
}

/// Texts by number, in the order of first mention; the texts themselves are in their stream.
#[derive(Default)]
struct Names {
    table: HashTable<Name>,
    hasher: DefaultHashBuilder,
}

impl Names {
    fn number(&mut self, stream: &mut Vec<u8>, name: &str) -> u64 {
        let text = |stream: &[u8], of: &Name| self.hasher.hash_one(&stream[of.start..of.start + of.len]);
        let hash = self.hasher.hash_one(name.as_bytes());
        let is_it = |of: &Name| stream[of.start..of.start + of.len] == *name.as_bytes();
        if let Some(known) = self.table.find(hash, is_it) {
            return known.number;
        }
        put_bytes(stream, name.as_bytes());
        let new = Name {
            start: stream.len() - name.len(),
            len: name.len(),
            number: self.table.len() as u64,
        };
        self.table.insert_unique(hash, new, |of| text(stream, of));
        new.number
    }
}

/// An item that was met, and its number.
#[derive(Clone, Default)]
struct Met {
    /// Held, so that no other text can come to stand at its address.
    item: Option<ItemId>,
    epoch: u64,
    number: u64,
}

/// Numbers of items by the address of their text: all mentions of an item share its text, which then need not be read. Of items
/// that fall on one place the last is kept.
#[derive(Default)]
struct Familiar {
    met: Vec<Met>,
    /// Numbers of other epochs count no longer.
    epoch: u64,
}

/// Places for items, as a power of 2.
const FAMILIAR_BITS: u32 = 12;

impl Familiar {
    fn number(&mut self, item: &ItemId, learn: impl FnOnce(&str) -> u64) -> u64 {
        if self.met.is_empty() {
            self.met.resize(1 << FAMILIAR_BITS, Met::default());
        }
        let address = item.as_str().as_ptr();
        let place = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FAMILIAR_BITS);
        let met = &mut self.met[place as usize];
        let is_it = met
            .item
            .as_ref()
            .is_some_and(|met| met.as_str().as_ptr() == address);
        if !is_it {
            met.item = Some(item.clone());
        }
        if !is_it || met.epoch != self.epoch {
            (met.epoch, met.number) = (self.epoch, learn(item.as_str()));
        }
        met.number
    }
}

/// One source's word on one candidate: rank, place among the candidates, score.
type Hit = (u32, u32, f32);

/// Records as bytes that grow record by record, not compressed.
#[derive(Default)]
pub(crate) struct Encoder {
    streams: [Vec<u8>; STREAMS],
    names: Names,
    familiar: Familiar,
    /// Room that is used again for each record: places by rank.
    by_rank: Vec<u32>,
}

/// A record on its way into an [`Encoder`]: what can be made without it.
pub(crate) struct Head<'a> {
    stored: &'a StoredDecision,
    /// What does not stand in columns, as JSON.
    json: Vec<u8>,
    /// Sources with what they said of the candidates; `None` if the candidates stay in the JSON.
    said: Option<Vec<(&'a str, Vec<Hit>)>>,
    /// Names of the features as one text, how many items have them, and the values feature by feature; `None` if there are none or they stay in the JSON.
    features: Option<(String, usize, Vec<u8>)>,
    /// Names of the stages, and of the times, as one text; `None` if they stay in the JSON.
    stages: Option<String>,
    times: Option<String>,
}

impl Head<'_> {
    pub(crate) fn id(&self) -> &DecisionId {
        &self.stored.decision.decision_id
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.stored.decision.now
    }
}

/// What a line mostly fits in.
const LINE_BYTES: usize = 8 << 10;

/// Prepares a record.
pub(crate) fn head(stored: &StoredDecision) -> Result<Head<'_>, String> {
    let said = said(&stored.decision);
    let mut json = Vec::with_capacity(LINE_BYTES);
    let features = stored.decision.features.as_ref().and_then(turned);
    let reports = &stored.decision.stages;
    let stages = reports.iter().all(|report| report.error.is_none());
    let names = || joined(reports.iter().map(|report| &*report.stage));
    let stages = stages.then(names).flatten();
    let times = joined(stored.timings_us.iter().map(|(name, _)| &**name));
    let line = Line {
        stored,
        stays: Stays {
            candidates: said.is_none(),
            features: features.is_none(),
            stages: stages.is_none(),
            times: times.is_none(),
        },
    };
    serde_json::to_writer(&mut json, &line).map_err(|e| e.to_string())?;
    Ok(Head {
        stored,
        json,
        said,
        features,
        stages,
        times,
    })
}

/// Names as one text; `None` if they could not be told apart again.
fn joined<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut text = String::with_capacity(TEXT_BYTES);
    for (at, name) in names.enumerate() {
        if name.contains(BETWEEN) {
            return None;
        }
        if at > 0 {
            text.push(BETWEEN);
        }
        text.push_str(name);
    }
    (!text.is_empty()).then_some(text)
}

/// What names as one text mostly fit in.
const TEXT_BYTES: usize = 1 << 10;

/// Features by name; `None` if they could not be told apart again.
fn turned(FeatureRecord { names, rows }: &FeatureRecord) -> Option<(String, usize, Vec<u8>)> {
    let text = joined(names.iter().map(|name| &**name))?;
    let mut values = vec![0u8; 4 * names.len() * rows.len()];
    for (at, row) in rows.iter().enumerate() {
        if row.len() != 8 * names.len() {
            return None;
        }
        for (of, digits) in row.as_bytes().as_chunks::<8>().0.iter().enumerate() {
            let to = 4 * (of * rows.len() + at);
            values[to..to + 4].copy_from_slice(&bits_of(digits)?.to_le_bytes());
        }
    }
    Some((text, rows.len(), values))
}

/// Eight small hexadecimal digits.
fn bits_of(digits: &[u8; 8]) -> Option<u32> {
    let (mut bits, mut fits) = (0u32, true);
    for digit in digits {
        let is_letter = digit.wrapping_sub(b'a') < 6;
        let value = digit.wrapping_sub(if is_letter { b'a' - 10 } else { b'0' });
        fits &= value < if is_letter { 16 } else { 10 };
        bits = bits << 4 | u32::from(value & 15);
    }
    fits.then_some(bits)
}

/// The sources, in an order in which every candidate names them, with what they said; `None` if there is no such order.
fn said(decision: &Decision) -> Option<Vec<(&str, Vec<Hit>)>> {
    let reports = decision.stages.iter();
    let mut said: Vec<(&str, Vec<Hit>)> = reports
        .filter_map(|report| {
            let name = report.stage.strip_prefix("retrieve/")?;
            let most = decision.considered.len().min(report.output as usize);
            Some((name, Vec::with_capacity(most)))
        })
        .collect();
    for (place, item) in (0..).zip(&decision.considered) {
        let mut last = None;
        for SourceHit { source, rank, score } in &item.sources {
            let source: &str = source;
            // Candidates share the text of a source, so that one look at the address mostly tells.
            let same = said
                .iter()
                .position(|(name, _)| std::ptr::eq::<str>(*name, source));
            let at = same.unwrap_or_else(|| {
                let at = said.iter().position(|(name, _)| *name == source);
                let at = at.unwrap_or_else(|| {
                    said.push((source, Vec::new()));
                    said.len() - 1
                });
                said[at].0 = source;
                at
            });
            if last.is_some_and(|last| at <= last) {
                return None;
            }
            last = Some(at);
            said[at].1.push((*rank, place, *score));
        }
    }
    Some(said)
}

impl Encoder {
    /// One for the records after these, in the room of one that is done with, or with as much room as these took.
    pub(crate) fn next(&mut self, done: Option<Encoder>) -> Encoder {
        let mut next = done.unwrap_or_else(|| Encoder {
            streams: self
                .streams
                .each_ref()
                .map(|stream| Vec::with_capacity(stream.len() + stream.len() / 8)),
            names: Names {
                table: HashTable::with_capacity(self.names.table.len()),
                hasher: self.names.hasher.clone(),
            },
            ..Encoder::default()
        });
        next.streams.iter_mut().for_each(Vec::clear);
        next.names.table.clear();
        next.familiar = std::mem::take(&mut self.familiar);
        next.familiar.epoch += 1;
        next.by_rank = std::mem::take(&mut self.by_rank);
        next
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, head: Head<'_>) {
        let decision = &head.stored.decision;
        put_bytes(&mut self.streams[LINES], &head.json);
        let columns = head
            .said
            .as_ref()
            .map_or(0, |_| decision.considered.len() as u64 + 1);
        put(&mut self.streams[COUNTS], columns);
        put(&mut self.streams[COUNTS], decision.history.len() as u64);
        put(&mut self.streams[COUNTS], decision.removals.len() as u64);
        if let Some(said) = head.said {
            self.put_candidates(&decision.considered, said);
        }
        match head.features {
            None => put(&mut self.streams[FEATURES], 0),
            Some((names, rows, values)) => {
                let number = self.number(&names);
                put(&mut self.streams[FEATURES], number + 1);
                put(&mut self.streams[FEATURES], rows as u64);
                self.streams[FEATURES].extend_from_slice(&values);
            }
        }
        let of_stages = decision.stages.iter();
        let of_stages = of_stages.flat_map(|report| [report.input, report.output].map(u64::from));
        self.put_named(head.stages.as_deref(), of_stages);
        let of_times = head.stored.timings_us.iter().map(|(_, time)| *time);
        self.put_named(head.times.as_deref(), of_times);
        for (item, strength) in &decision.history {
            let number = self.item(item);
            put(&mut self.streams[HISTORY], number);
            self.streams[HISTORY].extend_from_slice(&strength.to_bits().to_le_bytes());
        }
        // One rule mostly takes out many for one reason.
        let mut last: [Option<(&str, u64)>; 2] = [None; 2];
        for Removal {
            item_id,
            rule,
            reason,
        } in &decision.removals
        {
            let number = self.item(item_id);
            put(&mut self.streams[REMOVALS], number);
            for (last, name) in last.iter_mut().zip([&**rule, &**reason]) {
                let number = match last {
                    Some((known, number)) if *known == name => *number,
                    _ => self.number(name),
                };
                put(&mut self.streams[REMOVALS], number);
                *last = Some((name, number));
            }
        }
    }

    fn number(&mut self, name: &str) -> u64 {
        self.names.number(&mut self.streams[NAMES], name)
    }

    fn item(&mut self, item: &ItemId) -> u64 {
        let (names, stream) = (&mut self.names, &mut self.streams[NAMES]);
        self.familiar.number(item, |text| names.number(stream, text))
    }

    /// Numbers that belong to names, or that there are none.
    fn put_named(&mut self, names: Option<&str>, numbers: impl Iterator<Item = u64>) {
        let Some(names) = names else {
            put(&mut self.streams[STAGES], 0);
            return;
        };
        let number = self.number(names);
        let stream = &mut self.streams[STAGES];
        put(stream, number + 1);
        numbers.for_each(|number| put(stream, number));
    }

    fn put_candidates(&mut self, considered: &[DecisionItem], said: Vec<(&str, Vec<Hit>)>) {
        let [names, items, scores] = several(&mut self.streams, [NAMES, ITEMS, SCORES]);
        let mut items = Wide::new(items, considered.len());
        let mut scores = Wide::new(scores, considered.len());
        let mut last = 0;
        for DecisionItem { item_id, score, .. } in considered {
            let learn = |text: &str| self.names.number(names, text);
            items.put(self.familiar.number(item_id, learn));
            scores.put_signed(last - rising(*score));
            last = rising(*score);
        }
        items.end();
        scores.end();
        put(&mut self.streams[COUNTS], said.len() as u64);
        for (name, mut hits) in said {
            let number = self.number(name);
            let [sources, scores] = several(&mut self.streams, [SOURCES, HITS]);
            put(sources, number);
            put(sources, hits.len() as u64);
            in_order(&mut hits, &mut self.by_rank);
            let mut sources = Wide::new(sources, 2 * hits.len());
            let mut scores = Wide::new(scores, hits.len());
            let (mut last_rank, mut last_score) = (0i64, 0);
            for (rank, place, score) in hits {
                sources.put_signed(i64::from(rank) - last_rank - 1);
                sources.put(u64::from(place));
                scores.put_signed(last_score - rising(score));
                (last_rank, last_score) = (i64::from(rank), rising(score));
            }
            sources.end();
            scores.end();
        }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.streams.iter().map(Vec::len).sum()
    }

    /// How far the streams have got.
    pub(crate) fn marks(&self) -> [usize; STREAMS] {
        self.streams.each_ref().map(Vec::len)
    }

    /// Appends what was added since the streams had got so far.
    pub(crate) fn since(&self, marks: &[usize; STREAMS], out: &mut Vec<u8>) {
        let parts = self
            .streams
            .iter()
            .zip(marks)
            .map(|(stream, from)| &stream[*from..]);
        out.reserve(parts.clone().map(|part| part.len() + 5).sum());
        parts.for_each(|part| put_bytes(out, part));
    }

    /// Takes back what was added since the streams had got so far.
    pub(crate) fn take_back(&mut self, marks: &[usize; STREAMS]) {
        for (stream, to) in self.streams.iter_mut().zip(marks) {
            stream.truncate(*to);
        }
        self.names.table.retain(|name| name.start < marks[NAMES]);
        self.familiar.epoch += 1;
    }

    /// Appends all records.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.since(&[0; STREAMS], out);
    }
}

/// Brings hits into the order of their ranks, those of one rank into that of their places.
fn in_order(hits: &mut Vec<Hit>, by_rank: &mut Vec<u32>) {
    let most = hits.iter().map(|(rank, ..)| *rank as usize).max().unwrap_or(0);
    // Ranks mostly are nearly 1, 2, 3, …: then each has a place to go to, and nothing is compared.
    if most <= 4 * hits.len() + 64 {
        by_rank.clear();
        by_rank.resize(most + 1, u32::MAX);
        let mut once = true;
        for (at, (rank, ..)) in (0..).zip(hits.iter()) {
            once &= by_rank[*rank as usize] == u32::MAX;
            by_rank[*rank as usize] = at;
        }
        if once {
            let places = by_rank.iter().filter(|at| **at != u32::MAX);
            *hits = places.map(|at| hits[*at as usize]).collect();
            return;
        }
    }
    hits.sort_by_key(|(rank, place, _)| (*rank, *place));
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

/// The streams of [`Encoder::since`].
pub(crate) fn streams(bytes: &[u8]) -> Result<[&[u8]; STREAMS], String> {
    let mut bytes = In(bytes);
    let mut streams = [[].as_slice(); STREAMS];
    for (at, stream) in streams.iter_mut().enumerate() {
        if at == STREAMS_BEFORE && bytes.0.is_empty() {
            break;
        }
        *stream = bytes.bytes()?;
    }
    Ok(streams)
}

/// The records of [`Encoder::write`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<StoredDecision>, String> {
    records(streams(bytes)?)
}

/// The records that streams hold.
pub(crate) fn records(streams: [&[u8]; STREAMS]) -> Result<Vec<StoredDecision>, String> {
    let mut streams = streams.map(In);
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
        // Records of earlier versions have nothing there.
        if !streams[FEATURES].0.is_empty()
            && let Some(named) = named(&names, &mut streams[FEATURES])?
        {
            stored.decision.features = Some(features(named, &mut streams[FEATURES])?);
        }
        if !streams[STAGES].0.is_empty() {
            if let Some(named) = named(&names, &mut streams[STAGES])? {
                for stage in named.split(BETWEEN) {
                    let mut number = || {
                        let number = streams[STAGES].number()?;
                        u32::try_from(number).map_err(|e| e.to_string())
                    };
                    let (input, output) = (number()?, number()?);
                    stored.decision.stages.push(StageReport {
                        stage: stage.to_owned(),
                        input,
                        output,
                        error: None,
                    });
                }
            }
            if let Some(named) = named(&names, &mut streams[STAGES])? {
                for name in named.split(BETWEEN) {
                    let time = streams[STAGES].number()?;
                    stored.timings_us.push((name.to_owned(), time));
                }
            }
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

/// Names that stand as one text, if there are some.
fn named<'a>(names: &'a [Arc<str>], stream: &mut In<'_>) -> Result<Option<&'a str>, String> {
    let number = stream.number()?.checked_sub(1);
    number.map(|number| Ok(&**name_of(names, number)?)).transpose()
}

fn features(names: &str, stream: &mut In<'_>) -> Result<FeatureRecord, String> {
    let names: Vec<String> = names.split(BETWEEN).map(str::to_owned).collect();
    let rows = stream.size()?;
    let bytes = rows.checked_mul(4 * names.len()).ok_or("too many features")?;
    let values = stream.take(bytes)?;
    let value = |row: usize, of: usize| {
        let from = 4 * (of * rows + row);
        f32::from_le_bytes([values[from], values[from + 1], values[from + 2], values[from + 3]])
    };
    let all = (0..rows).flat_map(|row| (0..names.len()).map(move |of| (row, of)));
    let all: Vec<f32> = all.map(|(row, of)| value(row, of)).collect();
    Ok(FeatureRecord::new(names, &all))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_numbers_have_the_bytes_of_others() {
        let numbers =
            (0..35).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1, (1 << 35) - 1 - bit]);
        let numbers: Vec<u64> = numbers.filter(|number| *number < 1 << 35).collect();
        let (mut slow, mut fast) = (vec![7], vec![7]);
        numbers.iter().for_each(|number| put(&mut slow, *number));
        let mut wide = Wide::new(&mut fast, numbers.len());
        numbers.iter().for_each(|number| wide.put(*number));
        wide.end();
        assert_eq!(fast, slow);
    }
}
