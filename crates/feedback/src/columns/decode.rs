//! Records out of columns.

use super::numbers::{In, risen};
use super::strengths::Strengths;
use super::{
    BETWEEN, COUNTS, FEATURES, HISTORY, HITS, ITEMS, LINES, NAMES, REMOVALS, SCORES, SHOWN, SOURCES, STAGES,
    STREAMS, STREAMS_BEFORE, STRENGTHS,
};
use crate::StoredDecision;
use domain::{DecisionItem, FeatureRecord, ItemId, Removal, Shown, SourceHit, StageReport};
use std::sync::Arc;

/// The streams of [`Encoder::since`](super::Encoder::since).
pub(crate) fn streams(bytes: &[u8]) -> Result<[&[u8]; STREAMS], String> {
    let mut bytes = In(bytes);
    let mut streams = [[].as_slice(); STREAMS];
    for (at, stream) in streams.iter_mut().enumerate() {
        if at >= STREAMS_BEFORE && bytes.0.is_empty() {
            break;
        }
        *stream = bytes.bytes()?;
    }
    Ok(streams)
}

/// The records of [`Encoder::write`](super::Encoder::write).
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
    let (mut decisions, mut strengths) = (Vec::new(), Strengths::default());
    // Earlier versions have each strength behind its item.
    let has_strengths = !streams[STRENGTHS].0.is_empty();
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
        if !streams[SHOWN].0.is_empty() {
            let left = streams[SHOWN].0.len();
            for _ in 0..streams[SHOWN].count(left)? {
                let shown = shown(&names, &mut streams[SHOWN])?;
                stored.decision.shown.push(shown);
            }
        }
        for _ in 0..history {
            let item = item_of(&names, streams[HISTORY].number()?)?;
            let bits = if has_strengths {
                strengths.next(&mut streams[STRENGTHS])?
            } else {
                u32::from_le_bytes(streams[HISTORY].exactly()?)
            };
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

fn shown(names: &[Arc<str>], stream: &mut In<'_>) -> Result<Shown, String> {
    let item_id = item_of(names, stream.number()?)?;
    let rank = u32::try_from(stream.number()?).map_err(|e| e.to_string())?;
    let score = f32::from_bits(u32::from_le_bytes(stream.exactly()?));
    let propensity = f64::from_bits(u64::from_le_bytes(stream.exactly()?));
    let front = stream.size()?;
    let mut position_propensity = None;
    if front & 1 == 1 {
        position_propensity = Some(f64::from_bits(u64::from_le_bytes(stream.exactly()?)));
    }
    let (mut sources, mut reasons) = (Vec::new(), Vec::new());
    for _ in 0..front / 2 {
        sources.push(name_of(names, stream.number()?)?.to_string());
    }
    let left = stream.0.len();
    for _ in 0..stream.count(left)? {
        let reason = std::str::from_utf8(stream.bytes()?).map_err(|e| e.to_string())?;
        reasons.push(reason.to_owned());
    }
    Ok(Shown {
        item_id,
        rank,
        score,
        propensity,
        position_propensity,
        sources,
        reasons,
        explanation: None,
    })
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
