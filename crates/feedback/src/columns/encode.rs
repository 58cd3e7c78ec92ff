//! Records on their way into columns.

use super::line::{Line, Stays};
use super::names::{Familiar, Names};
use super::numbers::{Wide, put, put_bytes, rising};
use super::strengths::Strengths;
use super::{
    BETWEEN, COUNTS, FEATURES, HISTORY, HITS, ITEMS, LINES, NAMES, REMOVALS, SCORES, SHOWN, SOURCES, STAGES,
    STREAMS, STRENGTHS,
};
use crate::StoredDecision;
use domain::{
    Decision, DecisionId, DecisionItem, FeatureRecord, ItemId, Removal, Shown, SourceHit, Timestamp,
};

/// Different streams at once.
fn several<const N: usize>(streams: &mut [Vec<u8>; STREAMS], which: [usize; N]) -> [&mut Vec<u8>; N] {
    streams
        .get_disjoint_mut(which)
        .expect("different streams that there are")
}

/// One source's word on one candidate: rank, place among the candidates, score.
type Hit = (u32, u32, f32);

/// Records as bytes that grow record by record, not compressed.
#[derive(Default)]
pub(crate) struct Encoder {
    streams: [Vec<u8>; STREAMS],
    names: Names,
    familiar: Familiar,
    strengths: Strengths,
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
    /// What was shown; nothing if it stays in the JSON.
    shown: &'a [Shown],
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
    let shown: &[Shown] = &stored.decision.shown;
    let is_plain = shown.iter().all(|shown| shown.explanation.is_none());
    let line = Line {
        stored,
        stays: Stays {
            candidates: said.is_none(),
            features: features.is_none(),
            stages: stages.is_none(),
            times: times.is_none(),
            shown: !is_plain,
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
        shown: if is_plain { shown } else { &[] },
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
            names: self.names.as_large(),
            ..Encoder::default()
        });
        next.streams.iter_mut().for_each(Vec::clear);
        next.names.clear();
        next.strengths.clear();
        next.familiar = std::mem::take(&mut self.familiar);
        next.familiar.forget();
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
        let shown_with = decision.considered.iter().map(|item| &item.item_id);
        let done = decision.history.iter().map(|(item, _)| item);
        let removed = decision.removals.iter().map(|removal| &removal.item_id);
        self.familiar.approach(shown_with.chain(done).chain(removed));
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
        self.put_shown(head.shown);
        self.put_history(&decision.history);
        self.put_removals(&decision.removals);
    }

    fn put_history(&mut self, history: &[(ItemId, f32)]) {
        let [names, items, strengths] = several(&mut self.streams, [NAMES, HISTORY, STRENGTHS]);
        let mut items = Wide::new(items, history.len());
        for (item, strength) in history {
            items.put(self.familiar.number(item, &mut self.names, names));
            self.strengths.put(strengths, *strength);
        }
        items.end();
    }

    fn put_removals(&mut self, removals: &[Removal]) {
        let [names, stream] = several(&mut self.streams, [NAMES, REMOVALS]);
        let mut stream = Wide::new(stream, 3 * removals.len());
        // One rule mostly takes out many for one reason.
        let mut last: [Option<(&str, u64)>; 2] = [None; 2];
        for Removal {
            item_id,
            rule,
            reason,
        } in removals
        {
            stream.put(self.familiar.number(item_id, &mut self.names, names));
            for (last, name) in last.iter_mut().zip([&**rule, &**reason]) {
                let number = match last {
                    Some((known, number)) if *known == name => *number,
                    _ => u64::from(self.names.number(names, name)),
                };
                stream.put(number);
                *last = Some((name, number));
            }
        }
        stream.end();
    }

    fn number(&mut self, name: &str) -> u64 {
        u64::from(self.names.number(&mut self.streams[NAMES], name))
    }

    fn item(&mut self, item: &ItemId) -> u64 {
        self.familiar
            .number(item, &mut self.names, &mut self.streams[NAMES])
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

    fn put_shown(&mut self, shown: &[Shown]) {
        put(&mut self.streams[SHOWN], shown.len() as u64);
        for Shown {
            item_id,
            rank,
            score,
            propensity,
            position_propensity,
            sources,
            reasons,
            explanation: _,
        } in shown
        {
            let item = self.item(item_id);
            let [names, stream] = several(&mut self.streams, [NAMES, SHOWN]);
            put(stream, item);
            put(stream, u64::from(*rank));
            stream.extend_from_slice(&score.to_bits().to_le_bytes());
            stream.extend_from_slice(&propensity.to_bits().to_le_bytes());
            let has_position = u64::from(position_propensity.is_some());
            put(stream, 2 * sources.len() as u64 + has_position);
            if let Some(propensity) = position_propensity {
                stream.extend_from_slice(&propensity.to_bits().to_le_bytes());
            }
            for source in sources {
                put(stream, u64::from(self.names.number(names, source)));
            }
            // Reasons are rarely the same, so that looking for them would not be worth it.
            put(stream, reasons.len() as u64);
            reasons
                .iter()
                .for_each(|reason| put_bytes(stream, reason.as_bytes()));
        }
    }

    fn put_candidates(&mut self, considered: &[DecisionItem], said: Vec<(&str, Vec<Hit>)>) {
        let [names, items, scores] = several(&mut self.streams, [NAMES, ITEMS, SCORES]);
        let mut items = Wide::new(items, considered.len());
        let mut scores = Wide::new(scores, considered.len());
        let mut last = 0;
        for DecisionItem { item_id, score, .. } in considered {
            items.put(self.familiar.number(item_id, &mut self.names, names));
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
        self.names.take_back(marks[NAMES]);
        self.strengths = Strengths::of(&self.streams[STRENGTHS]);
        self.familiar.forget();
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
            let mut ordered = Vec::with_capacity(hits.len());
            let places = by_rank.iter().filter(|at| **at != u32::MAX);
            ordered.extend(places.map(|at| hits[*at as usize]));
            *hits = ordered;
            return;
        }
    }
    hits.sort_by_key(|(rank, place, _)| (*rank, *place));
}
