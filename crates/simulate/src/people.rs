//! People with tastes that drift, satiation and boredom, and a limit to their patience.

use crate::catalogue::{Catalogue, direction, normalise};
use crate::reaction::sigmoid;
use crate::setup::{Behaviour, People};
use domain::{Attributes, RawAttribute};
use numeric::SeededStream;

const TASTES: u64 = 0x7a57e;
const DRIFT: u64 = 0xd21f7;
const LEAVE: u64 = 0x1ea7e;
/// Items of which satiation is remembered.
const EATEN_MAX: usize = 64;
/// How much the latest visit counts in satisfaction.
const FRESHNESS: f64 = 0.1;

/// A level that halves with time.
#[derive(Debug, Clone, Copy, Default)]
struct Fading {
    level: f32,
    day: f32,
}

impl Fading {
    fn at(self, day: f64, half_life: f64) -> f64 {
        f64::from(self.level) * (-(day - f64::from(self.day)).max(0.0) / half_life).exp2()
    }

    fn add(&mut self, amount: f64, day: f64, half_life: f64) {
        self.level = (self.at(day, half_life) + amount) as f32;
        self.day = day as f32;
    }
}

/// Someone.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    taste: Vec<f32>,
    weekend: Vec<f32>,
    /// Visits per day.
    pub(crate) rate: f64,
    pub(crate) arrived: f64,
    pub(crate) left: bool,
    /// Clicks per visit, lately.
    pub(crate) satisfaction: f64,
    boredom: Vec<Fading>,
    eaten: Vec<(u32, Fading)>,
    pub(crate) visits: u32,
    /// Sum over visits of distinct topics shown, as a share of the slate.
    pub(crate) diversity: f64,
}

/// What someone feels at one moment.
pub(crate) struct Mood<'a> {
    pub(crate) taste: Vec<f32>,
    boredom: Vec<f32>,
    eaten: &'a [(u32, Fading)],
    half_life: f64,
    day: f64,
}

impl Mood<'_> {
    /// Log odds taken away from an item, before satiation's and boredom's factors: levels of both.
    pub(crate) fn boredom(&self, topic: u16) -> f32 {
        self.boredom[topic as usize]
    }

    pub(crate) fn satiation(&self, item: u32) -> f64 {
        let known = self.eaten.iter().find(|(eaten, _)| *eaten == item);
        known.map_or(0.0, |(_, level)| level.at(self.day, self.half_life))
    }

    /// Items of which someone may be sated.
    pub(crate) fn eaten(&self) -> impl Iterator<Item = u32> + '_ {
        self.eaten.iter().map(|(item, _)| *item)
    }
}

/// True on Saturday and Sunday.
fn is_weekend(day: f64) -> bool {
    day.floor().rem_euclid(7.0) >= 5.0
}

/// Factor of the rate of visits on this day.
pub(crate) fn of_week(week: &[f64; 7], day: f64) -> f64 {
    week[day.floor().rem_euclid(7.0) as usize]
}

impl Person {
    pub(crate) fn new(
        setup: &People,
        catalogue: &Catalogue,
        number: usize,
        arrived: f64,
        seed: u64,
    ) -> Person {
        let mut stream = SeededStream::new(seed, TASTES ^ (number as u64) << 8);
        let taste = direction(&mut stream, catalogue.dimensions);
        let weekend = direction(&mut stream, catalogue.dimensions);
        let spread = setup.visits_deviation;
        Person {
            id: format!("u{number}"),
            taste,
            weekend,
            rate: setup.visits_per_day * (spread * stream.normal() - spread * spread / 2.0).exp(),
            arrived,
            left: false,
            satisfaction: setup.satisfaction_needed,
            boredom: vec![Fading::default(); catalogue.topics],
            eaten: Vec::new(),
            visits: 0,
            diversity: 0.0,
        }
    }

    pub(crate) fn mood(&self, day: f64, people: &People, behaviour: &Behaviour) -> Mood<'_> {
        let mut taste = self.taste.clone();
        if people.weekend_shift > 0.0 && is_weekend(day) {
            let shift = people.weekend_shift as f32;
            taste
                .iter_mut()
                .zip(&self.weekend)
                .for_each(|(t, w)| *t = (1.0 - shift) * *t + shift * w);
            normalise(&mut taste);
        }
        let half_life = behaviour.boredom_half_life_days;
        Mood {
            taste,
            boredom: self
                .boredom
                .iter()
                .map(|level| level.at(day, half_life) as f32)
                .collect(),
            eaten: &self.eaten,
            half_life: behaviour.satiation_half_life_days,
            day,
        }
    }

    /// The person's taste as a service may know it.
    pub(crate) fn attributes(
        &self,
        mood: &Mood<'_>,
        people: &People,
        stream: &mut SeededStream,
    ) -> Attributes {
        let one = |(at, taste): (usize, &f32)| {
            let told = f64::from(*taste) + people.attribute_noise * stream.normal();
            (format!("taste-{at}"), RawAttribute::Number(told))
        };
        mood.taste.iter().enumerate().map(one).collect()
    }

    /// Takes in a visit: what was clicked, and how it was.
    pub(crate) fn remember(
        &mut self,
        clicked: &[u32],
        day: f64,
        behaviour: &Behaviour,
        catalogue: &Catalogue,
    ) {
        self.visits += 1;
        self.satisfaction += FRESHNESS * (clicked.len() as f64 - self.satisfaction);
        for item in clicked {
            let topic = catalogue.topic[*item as usize] as usize;
            self.boredom[topic].add(1.0, day, behaviour.boredom_half_life_days);
            let half_life = behaviour.satiation_half_life_days;
            match self.eaten.iter_mut().find(|(eaten, _)| eaten == item) {
                Some((_, level)) => level.add(1.0, day, half_life),
                None => {
                    if self.eaten.len() >= EATEN_MAX {
                        let level = |at: &usize| self.eaten[*at].1.at(day, half_life);
                        let least = (0..self.eaten.len()).min_by(|a, b| level(a).total_cmp(&level(b)));
                        least.map(|at| self.eaten.swap_remove(at));
                    }
                    let mut level = Fading::default();
                    level.add(1.0, day, half_life);
                    self.eaten.push((*item, level));
                }
            }
        }
    }

    /// The end of a day: tastes drift, and someone who is not satisfied may leave.
    pub(crate) fn sleep(&mut self, number: usize, day: usize, people: &People, seed: u64) {
        let stream =
            |salt: u64| SeededStream::new(seed, numeric::mix(salt ^ (number as u64) << 16) ^ day as u64);
        if people.drift_per_day > 0.0 {
            let mut stream = stream(DRIFT);
            let step = people.drift_per_day / (self.taste.len() as f64).sqrt();
            self.taste
                .iter_mut()
                .for_each(|t| *t += (step * stream.normal()) as f32);
            normalise(&mut self.taste);
        }
        if people.churn_per_day > 0.0 {
            let base = people.churn_per_day / (1.0 - people.churn_per_day);
            let short = people.satisfaction_needed - self.satisfaction;
            let chance = sigmoid(base.ln() + people.churn_slope * short);
            self.left = stream(LEAVE).uniform() < chance;
        }
    }
}
