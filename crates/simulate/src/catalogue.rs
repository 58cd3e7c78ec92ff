//! Items with what is true of them: where they lie in the space of tastes, how good they are, when they come and go.

use crate::DAY_MS;
use crate::engine::START;
use crate::setup::CatalogueSetup;
use assembly::{ItemInput, Moment};
use domain::{Attributes, Item, RawAttribute};
use numeric::SeededStream;
use std::collections::HashMap;

const TOPICS: u64 = 0x70_91c5;
const ITEMS: u64 = 0x17_e35;
const CHOICE: u64 = 0xc401_ce17;
/// Topics that given items may have; rarer ones share one.
pub(crate) const TOPICS_MAX: usize = 64;

/// All items that there will be, those to come with them.
pub(crate) struct Catalogue {
    pub(crate) dimensions: usize,
    /// A unit vector for each item, one after the other.
    vectors: Vec<f32>,
    pub(crate) quality: Vec<f32>,
    /// Log odds of a click that are no part of liking.
    pub(crate) lure: Vec<f32>,
    pub(crate) topic: Vec<u16>,
    pub(crate) topics: usize,
    /// Day on which it came; negative before the first.
    pub(crate) born: Vec<f64>,
    pub(crate) ids: Vec<String>,
    attributes: Vec<Attributes>,
    by_id: HashMap<String, u32>,
    /// Shown today, in order of arrival.
    pub(crate) live: Vec<u32>,
    next: usize,
}

/// A seeded direction.
pub(crate) fn direction(stream: &mut SeededStream, dimensions: usize) -> Vec<f32> {
    let mut vector: Vec<f32> = (0..dimensions).map(|_| stream.normal() as f32).collect();
    normalise(&mut vector);
    vector
}

pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    if length > 1e-9 {
        vector.iter_mut().for_each(|v| *v /= length);
    }
}

/// `share` of `base` with the rest at random; of length 1.
fn around(base: &[f32], share: f64, stream: &mut SeededStream) -> Vec<f32> {
    let (near, far) = (share.sqrt() as f32, (1.0 - share).sqrt() as f32);
    let own = direction(stream, base.len());
    let mut vector: Vec<f32> = base.iter().zip(&own).map(|(b, o)| near * b + far * o).collect();
    normalise(&mut vector);
    vector
}

/// The words of an item that tell where it lies: those of its first attribute with several values.
fn tags(item: &Item) -> &[String] {
    let lists = item.attributes.values().filter_map(|value| match value {
        RawAttribute::Texts(texts) if !texts.is_empty() => Some(texts.as_slice()),
        _ => None,
    });
    lists.into_iter().next().unwrap_or_default()
}

fn topic_name(topic: usize) -> String {
    format!("topic-{topic}")
}

impl Catalogue {
    /// Items for so many days. Each draws from a stream of its own.
    pub(crate) fn new(setup: &CatalogueSetup, given: &[Item], days: usize, seed: u64) -> Catalogue {
        let mut catalogue = Catalogue {
            dimensions: setup.dimensions,
            vectors: Vec::new(),
            quality: Vec::new(),
            lure: Vec::new(),
            topic: Vec::new(),
            topics: 1,
            born: Vec::new(),
            ids: Vec::new(),
            attributes: Vec::new(),
            by_id: HashMap::new(),
            live: Vec::new(),
            next: 0,
        };
        let to_come = (setup.arrivals_per_day * days as f64).ceil() as usize;
        let total = setup.items + to_come;
        if setup.source == "given" {
            catalogue.take(setup, given, total, seed);
        } else {
            catalogue.generate(setup, total, seed);
        }
        for at in 0..catalogue.ids.len() {
            let mut stream = SeededStream::new(seed, numeric::mix(ITEMS ^ 1) ^ at as u64);
            catalogue
                .quality
                .push((stream.normal() * setup.quality_deviation) as f32);
            let mut looks = SeededStream::new(seed, numeric::mix(ITEMS ^ 2) ^ at as u64);
            catalogue
                .lure
                .push((looks.normal() * setup.lure_deviation) as f32);
            // Those of the first day have ages as if they had always come and gone.
            let age = match (setup.retire_after_days, setup.fade_half_life_days) {
                (retire, _) if retire > 0.0 => stream.uniform() * retire,
                (_, fade) if fade > 0.0 => stream.uniform() * 2.0 * fade,
                _ => 365.0,
            };
            let arrival = at.checked_sub(setup.items);
            catalogue.born.push(match arrival {
                Some(nth) => (nth as f64 + 0.5) / setup.arrivals_per_day,
                None => -age,
            });
        }
        let ids = catalogue.ids.iter().cloned().zip(0..);
        catalogue.by_id = ids.collect();
        catalogue
    }

    fn generate(&mut self, setup: &CatalogueSetup, total: usize, seed: u64) {
        let mut stream = SeededStream::new(seed, TOPICS);
        let centres: Vec<Vec<f32>> = (0..setup.topics)
            .map(|_| direction(&mut stream, setup.dimensions))
            .collect();
        self.topics = setup.topics;
        for at in 0..total {
            let mut stream = SeededStream::new(seed, ITEMS ^ (at as u64) << 8);
            let topic = stream.below(setup.topics as u64) as usize;
            self.vectors
                .extend(around(&centres[topic], setup.topic_share, &mut stream));
            self.topic.push(topic as u16);
            self.ids.push(format!("i{at}"));
            let price = (1.0 + 40.0 * (0.6 * stream.normal()).exp()).round();
            let attributes = [
                ("title", RawAttribute::Text(format!("Item {at}"))),
                ("topic", RawAttribute::Texts(vec![topic_name(topic)])),
                ("price", RawAttribute::Number(price)),
            ];
            self.attributes
                .push(attributes.map(|(name, value)| (name.to_owned(), value)).into());
        }
    }

    fn take(&mut self, setup: &CatalogueSetup, given: &[Item], total: usize, seed: u64) {
        let mut order: Vec<usize> = (0..given.len()).collect();
        SeededStream::new(seed, CHOICE).shuffle(&mut order);
        order.truncate(total);
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for tag in order.iter().flat_map(|at| tags(&given[*at])) {
            *counts.entry(tag).or_default() += 1;
        }
        let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
        names.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let places: HashMap<&str, u16> = names.iter().map(|(name, _)| *name).zip(0..).collect();
        self.topics = (names.len() + 1).min(TOPICS_MAX);
        let centre = |tag: &str| {
            let mut stream = SeededStream::new(seed, numeric::hash_bytes(tag.as_bytes()));
            direction(&mut stream, setup.dimensions)
        };
        for at in order {
            let item = &given[at];
            let own = numeric::hash_bytes(item.item_id.as_str().as_bytes());
            let mut stream = SeededStream::new(seed, ITEMS ^ own);
            let mut base = vec![0.0f32; setup.dimensions];
            for tag in tags(item) {
                base.iter_mut().zip(centre(tag)).for_each(|(sum, c)| *sum += c);
            }
            normalise(&mut base);
            self.vectors.extend(around(&base, setup.topic_share, &mut stream));
            let topic = tags(item).first().and_then(|tag| places.get(tag.as_str()));
            let last = self.topics as u16 - 1;
            self.topic.push(topic.map_or(last, |topic| (*topic).min(last)));
            self.ids.push(item.item_id.as_str().to_owned());
            self.attributes.push(item.attributes.clone());
        }
    }

    pub(crate) fn vector(&self, item: u32) -> &[f32] {
        let at = item as usize * self.dimensions;
        &self.vectors[at..at + self.dimensions]
    }

    pub(crate) fn position(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// Lets items come and go; those to be put, hidden ones with them.
    pub(crate) fn turn(&mut self, day: f64, retire_after_days: f64) -> Vec<ItemInput> {
        let mut changed = Vec::new();
        while self.next < self.ids.len() && self.born[self.next] <= day {
            let at = self.next;
            self.next += 1;
            if retire_after_days > 0.0 && day - self.born[at] > retire_after_days {
                continue;
            }
            self.live.push(at as u32);
            changed.push(self.input(at, false));
        }
        if retire_after_days > 0.0 {
            let (born, old) = (&self.born, |item: &u32, born: &[f64]| {
                day - born[*item as usize] > retire_after_days
            });
            let gone: Vec<u32> = self.live.iter().copied().filter(|item| old(item, born)).collect();
            if !gone.is_empty() {
                self.live.retain(|item| !old(item, &self.born));
                changed.extend(gone.into_iter().map(|item| self.input(item as usize, true)));
            }
        }
        changed
    }

    fn input(&self, at: usize, hidden: bool) -> ItemInput {
        ItemInput {
            item_id: self.ids[at].clone(),
            attributes: self.attributes[at].clone(),
            hidden,
            added_at: Some(Moment::Number((START.0 as f64 + self.born[at] * DAY_MS).round())),
        }
    }

    /// Age in days.
    pub(crate) fn age(&self, item: u32, day: f64) -> f64 {
        day - self.born[item as usize]
    }
}
