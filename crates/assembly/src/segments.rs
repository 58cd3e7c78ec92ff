//! Segments of people and circumstances, and what is popular in each: two sources for each segmentation that the configuration names.
//!
//! Everything is a function of the events up to the number that the snapshot has absorbed, in the order of the log, and, for attributes of people, of what these
//! were when the event was counted. A checksum of which event was counted where goes with each step of the lineage: a replay counts anew, and says so if it comes to something else.

use crate::Config;
use domain::{Attributes, Event, Query, RawAttribute, Retriever, Sequence, UserId};
use retrieval::{SegmentRetriever, SegmentTable, SegmentTerms, Standing};
use serde::{Deserialize, Serialize};
use signals::EventTypes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the names of sources begin with.
const SOURCES: [(&str, Standing); 2] = [
    ("popular-in-", Standing::Popular),
    ("trending-in-", Standing::Trending),
];
/// Most segmentations.
const SEGMENTATIONS_MAX: usize = 20;
/// Most bounds of one.
const BOUNDS_MAX: usize = 100;

/// Where the value stands that makes the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentOf {
    /// Among the attributes of the person.
    Person,
    /// In the context of the event, and of the request.
    Context,
}

/// One way to tell segments apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentConfig {
    /// Where the value stands.
    pub of: SegmentOf,
    /// Name of the attribute or of the field of the context; absent for that of the section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// Numbers between these are one segment, in rising order, at most 100: [18, 25, 40] makes four bands. Each bound begins its band. Empty for each value by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<f64>,
    /// Days in which an event loses half its strength, above `short_days`, at most 100,000.
    #[serde(default = "half_life_days")]
    pub half_life_days: f64,
    /// The same for what counts as recent, 0.01 or more.
    #[serde(default = "short_days")]
    pub short_days: f64,
    /// Strength of events that must be known of a segment for its own taste to count as much as everybody's, above 0, at most a billion.
    #[serde(default = "shrinkage")]
    pub shrinkage: f64,
}

fn half_life_days() -> f64 {
    30.0
}

fn short_days() -> f64 {
    2.0
}

fn shrinkage() -> f64 {
    50.0
}

impl SegmentConfig {
    fn attribute<'a>(&'a self, name: &'a str) -> &'a str {
        self.attribute.as_deref().unwrap_or(name)
    }

    fn check(&self) -> Result<(), String> {
        let within = |field: &str, value: f64, holds: bool, expected: &str| match holds {
            true => Ok(()),
            false => Err(format!("{field}: got {value}, expected {expected}")),
        };
        let (long, short, k) = (self.half_life_days, self.short_days, self.shrinkage);
        within("short_days", short, short >= 0.01, "0.01 or more")?;
        let is_longer = long > short && long <= 100_000.0;
        within(
            "half_life_days",
            long,
            is_longer,
            "above short_days, at most 100000",
        )?;
        within("shrinkage", k, k > 0.0 && k <= 1e9, "above 0, at most 1000000000")?;
        let is_rising = self.bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let is_finite = self.bounds.iter().all(|bound| bound.is_finite());
        if !(is_rising && is_finite && self.bounds.len() <= BOUNDS_MAX) {
            return Err(format!(
                "bounds: got {:?}, expected at most {BOUNDS_MAX} rising numbers",
                self.bounds
            ));
        }
        Ok(())
    }

    /// The segment of these attributes, as a number made from what it stands for.
    fn segment(&self, attribute: &str, attributes: &Attributes) -> Option<u64> {
        let text = match attributes.get(attribute)? {
            RawAttribute::Number(number) if !self.bounds.is_empty() => {
                format!("band {}", self.bounds.partition_point(|bound| bound <= number))
            }
            _ if !self.bounds.is_empty() => return None,
            RawAttribute::Number(number) => number.to_string(),
            RawAttribute::Text(text) => text.clone(),
            RawAttribute::Flag(flag) => flag.to_string(),
            RawAttribute::Texts(texts) if texts.len() == 1 => texts[0].clone(),
            _ => return None,
        };
        Some(numeric::hash_bytes(text.as_bytes()))
    }
}

/// Checks all segmentations, and that sources of segments that placements name are there.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    if config.segments.len() > SEGMENTATIONS_MAX {
        let got = config.segments.len();
        return Err(format!(
            "segments: got {got}, expected at most {SEGMENTATIONS_MAX}"
        ));
    }
    for (name, segments) in &config.segments {
        if name.is_empty() {
            return Err("segments: got an empty name, expected a name".into());
        }
        segments.check().map_err(|e| format!("segments.{name}.{e}"))?;
    }
    for (placement, of) in &config.placements {
        for source in &of.sources {
            let of_segments = SOURCES.iter().find_map(|(start, _)| source.strip_prefix(start));
            if of_segments.is_some_and(|name| !config.segments.contains_key(name)) {
                let known: Vec<&str> = config.segments.keys().map(String::as_str).collect();
                return Err(format!(
                    "placements.{placement}.sources: got {source:?}, expected a section of segments after -in-, of which there are: {}",
                    known.join(", ")
                ));
            }
        }
    }
    Ok(())
}

/// What is stored of people, asked for as events are counted.
pub(crate) type PersonOf<'a> = &'a mut dyn FnMut(&UserId) -> Result<Arc<Attributes>, domain::StoreError>;

/// Tables by segmentation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments {
    tables: BTreeMap<String, Arc<SegmentTable>>,
}

impl Segments {
    pub(crate) fn new(config: &Config) -> Segments {
        let table = |(name, config): (&String, &SegmentConfig)| {
            let terms = SegmentTerms {
                half_life_days: config.half_life_days,
                short_days: config.short_days,
                shrinkage: config.shrinkage,
            };
            (name.clone(), Arc::new(SegmentTable::new(terms)))
        };
        Segments {
            tables: config.segments.iter().map(table).collect(),
        }
    }

    /// Counts an event, if it counts for anything.
    pub(crate) fn count(
        &mut self,
        config: &Config,
        sequence: Sequence,
        item: u32,
        event: &Event,
        person: PersonOf<'_>,
    ) -> Result<(), domain::StoreError> {
        let types: &EventTypes = &config.event_types;
        let Some(weight) = types.strength(event).filter(|weight| *weight != 0.0) else {
            return Ok(());
        };
        for (name, table) in &mut self.tables {
            let Some(config) = config.segments.get(name) else {
                continue;
            };
            let attribute = config.attribute(name);
            let segment = match config.of {
                SegmentOf::Context => config.segment(attribute, &event.context),
                SegmentOf::Person => config.segment(attribute, &*person(&event.user_id)?),
            };
            Arc::make_mut(table).add(sequence.0, segment, item, weight, event.timestamp);
        }
        Ok(())
    }

    /// Makes what was counted count.
    pub(crate) fn settle(&mut self) {
        self.tables
            .values_mut()
            .for_each(|table| Arc::make_mut(table).settle());
    }

    /// True if there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// A checksum of which events were counted where; 0 if there are no segments.
    pub(crate) fn digest(&self) -> u64 {
        let all = self.tables.iter();
        all.map(|(name, table)| table.digest() ^ numeric::hash_bytes(name.as_bytes()))
            .fold(0, |all, one| numeric::mix(all ^ one))
    }

    /// The sources of this name, if it is one of segments.
    pub(crate) fn retriever(&self, config: &Config, source: &str) -> Option<Arc<dyn Retriever>> {
        let (start, standing) = SOURCES.iter().find(|(start, _)| source.starts_with(start))?;
        let name = source.strip_prefix(start)?.to_owned();
        let table = self.tables.get(&name)?.clone();
        let config = config.segments.get(&name)?.clone();
        let segment_of = move |query: &Query| {
            let attributes = match config.of {
                SegmentOf::Person => &query.user_attributes,
                SegmentOf::Context => &query.context,
            };
            config.segment(config.attribute(&name), attributes)
        };
        Some(Arc::new(SegmentRetriever::new(
            source,
            *standing,
            table,
            Arc::new(segment_of),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_make_segments() {
        let config = |bounds: &[f64]| SegmentConfig {
            of: SegmentOf::Person,
            attribute: None,
            bounds: bounds.to_vec(),
            half_life_days: half_life_days(),
            short_days: short_days(),
            shrinkage: shrinkage(),
        };
        let segment = |bounds: &[f64], value: RawAttribute| {
            config(bounds).segment("age", &[("age".to_owned(), value)].into())
        };
        let (bands, number) = ([18.0, 25.0], RawAttribute::Number);
        assert_eq!(segment(&bands, number(18.0)), segment(&bands, number(24.9)));
        assert_ne!(segment(&bands, number(17.9)), segment(&bands, number(18.0)));
        assert_ne!(segment(&bands, number(24.9)), segment(&bands, number(25.0)));
        assert_eq!(segment(&bands, RawAttribute::Text("old".into())), None);
        assert_ne!(segment(&[], number(18.0)), segment(&[], number(19.0)));
        let one = RawAttribute::Texts(vec!["x".into()]);
        assert_eq!(segment(&[], one), segment(&[], RawAttribute::Text("x".into())));
        assert_eq!(
            segment(&[], RawAttribute::Texts(vec!["x".into(), "y".into()])),
            None
        );
        assert_eq!(config(&[]).segment("other", &Attributes::new()), None);
    }
}
