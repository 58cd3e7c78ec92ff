//! Search spaces: which keys of a learner's configuration are worth tuning, and within which limits.
//!
//! One table per learner, named by its entry in the registry (`space`); an empty table means that there is nothing
//! to tune. Keys that are not listed keep their defaults. A point of a space is a vector of numbers in 0 … 1, one
//! per key, so that a search needs to know nothing of kinds.

use numeric::SeededStream;
use serde_json::{Map, Value};

/// One key of a configuration with what it may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tunable {
    /// The key.
    pub name: &'static str,
    /// What it may be.
    pub kind: TunableKind,
}

/// What a key may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TunableKind {
    /// A number, even on a linear scale, both ends included.
    Uniform(f64, f64),
    /// A number above zero, even on a logarithmic scale.
    LogUniform(f64, f64),
    /// A whole number, even on a linear scale.
    Int(u32, u32),
    /// A whole number above zero, even on a logarithmic scale.
    LogInt(u32, u32),
    /// One of these whole numbers.
    OneOf(&'static [u32]),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Yes or no.
    Flag,
}

/// One line of a table.
const fn key(name: &'static str, kind: TunableKind) -> Tunable {
    Tunable { name, kind }
}

use TunableKind::{Int, LogInt, LogUniform, OneOf, Uniform};

pub(crate) const POPULAR: &[Tunable] = &[key("half_life_days", LogUniform(0.5, 2000.0))];

pub(crate) const TRENDING: &[Tunable] = &[
    key("short_days", LogUniform(0.25, 8.0)),
    key("long_days", LogUniform(10.0, 400.0)),
    key("shrinkage", LogUniform(0.3, 100.0)),
];

pub(crate) const COSINE: &[Tunable] = &[
    key("history_max", LogInt(5, 1000)),
    key("half_life_events", LogUniform(1.0, 100.0)),
    key("floor", LogUniform(0.02, 1.0)),
    key("neighbours", LogInt(10, 1000)),
    key("shrinkage", LogUniform(0.1, 500.0)),
];

pub(crate) const BM25: &[Tunable] = &[
    key("history_max", LogInt(5, 1000)),
    key("half_life_events", LogUniform(1.0, 100.0)),
    key("floor", LogUniform(0.02, 1.0)),
    key("neighbours", LogInt(10, 1000)),
    key("shrinkage", LogUniform(0.1, 500.0)),
    key("k1", LogUniform(0.3, 200.0)),
    key("b", Uniform(0.0, 1.0)),
];

pub(crate) const SWING: &[Tunable] = &[
    key("history_max", LogInt(5, 1000)),
    key("half_life_events", LogUniform(1.0, 100.0)),
    key("floor", LogUniform(0.02, 1.0)),
    key("neighbours", LogInt(20, 1000)),
    key("alpha", LogUniform(0.1, 200.0)),
    key("users_max", OneOf(&[50, 100, 200, 400])),
];

pub(crate) const RP3BETA: &[Tunable] = &[
    key("history_max", LogInt(5, 1000)),
    key("half_life_events", LogUniform(1.0, 100.0)),
    key("floor", LogUniform(0.02, 1.0)),
    key("neighbours", LogInt(20, 1000)),
    key("alpha", Uniform(0.2, 1.8)),
    key("beta", Uniform(0.0, 1.2)),
];

pub(crate) const USER_KNN: &[Tunable] = &[
    key("neighbours", LogInt(20, 1000)),
    key("shrinkage", LogUniform(0.01, 100.0)),
    key("item_exponent", Uniform(0.0, 1.0)),
    key("sharpness", Uniform(0.5, 3.0)),
];

pub(crate) const ALS: &[Tunable] = &[
    key("factors", OneOf(&[32, 64, 128, 256])),
    key("epochs", Int(6, 20)),
    key("reg", LogUniform(1e-4, 0.3)),
    key("reg_exponent", Uniform(0.0, 1.2)),
    key("unobserved_weight", LogUniform(0.005, 2.0)),
    key("unobserved_exponent", Uniform(0.0, 0.5)),
];

pub(crate) const EASE: &[Tunable] = &[
    key("history_max", LogInt(5, 1000)),
    key("half_life_events", LogUniform(1.0, 100.0)),
    key("floor", LogUniform(0.02, 1.0)),
    key("l2", LogUniform(1.0, 5000.0)),
    key("dropout", Uniform(0.0, 0.8)),
    key("user_exponent", Uniform(0.0, 0.6)),
    key("item_exponent", Uniform(-0.3, 0.5)),
];

pub(crate) const SPECTRAL: &[Tunable] = &[
    key("history_max", LogInt(5, 1000)),
    key("half_life_events", LogUniform(1.0, 100.0)),
    key("floor", LogUniform(0.02, 1.0)),
    key("rank", LogInt(16, 512)),
    key("low_pass", LogUniform(0.01, 3.0)),
    key("user_exponent", Uniform(0.2, 0.8)),
    key("item_exponent", Uniform(0.2, 0.8)),
    key("low_pass_exponent", Uniform(0.0, 0.8)),
    key("sharpen", Uniform(0.0, 3.0)),
];

pub(crate) const CONTENT: &[Tunable] = &[
    key("k1", LogUniform(0.3, 20.0)),
    key("b", Uniform(0.0, 1.0)),
    key("history_max", LogInt(5, 500)),
];

/// A point drawn evenly.
pub fn draw(space: &[Tunable], stream: &mut SeededStream) -> Vec<f64> {
    space.iter().map(|_| stream.uniform()).collect()
}

/// A point near another: normal steps of `spread` on each axis, reflected at the ends; kinds without order keep
/// their value with probability 3/4 and are drawn anew otherwise.
pub fn draw_near(space: &[Tunable], point: &[f64], spread: f64, stream: &mut SeededStream) -> Vec<f64> {
    let step = |(tunable, at): (&Tunable, &f64)| match tunable.kind {
        TunableKind::Word(_) | TunableKind::Flag => {
            let fresh = stream.uniform();
            if stream.uniform() < 0.75 { *at } else { fresh }
        }
        _ => {
            let moved = (at + spread * stream.normal()).rem_euclid(2.0);
            if moved > 1.0 { 2.0 - moved } else { moved }
        }
    };
    space.iter().zip(point).map(step).collect()
}

/// The keys of a configuration at a point. Numbers are cut to four significant digits, so that what is tried can be
/// written down in full.
///
/// # Panics
/// If the point has not one number per key.
pub fn config_at(space: &[Tunable], point: &[f64]) -> Map<String, Value> {
    assert_eq!(space.len(), point.len(), "one number per key");
    let pairs = space.iter().zip(point);
    pairs
        .map(|(tunable, at)| (tunable.name.to_owned(), tunable.kind.at(*at)))
        .collect()
}

impl TunableKind {
    fn at(self, at: f64) -> Value {
        let at = at.clamp(0.0, 1.0);
        let place = |n: usize| ((at * n as f64) as usize).min(n.saturating_sub(1));
        match self {
            TunableKind::Uniform(low, high) => short(low + at * (high - low)).into(),
            TunableKind::LogUniform(low, high) => {
                short((low.ln() + at * (high / low).ln()).exp().clamp(low, high)).into()
            }
            TunableKind::Int(low, high) => (low + place((high - low) as usize + 1) as u32).into(),
            TunableKind::LogInt(low, high) => {
                let (low, high) = (f64::from(low), f64::from(high));
                let value = (low.ln() + at * (high / low).ln()).exp().round();
                (value.clamp(low, high) as u32).into()
            }
            TunableKind::OneOf(values) => values.get(place(values.len())).copied().into(),
            TunableKind::Word(values) => values.get(place(values.len())).copied().into(),
            TunableKind::Flag => (at >= 0.5).into(),
        }
    }
}

/// To four significant digits.
fn short(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middles_by_hand() {
        let at = |kind: TunableKind, point: f64| kind.at(point);
        assert_eq!(at(LogUniform(0.01, 100.0), 0.5), 1.0);
        assert_eq!(at(LogUniform(0.01, 100.0), 0.0), 0.01);
        assert_eq!(at(Uniform(-1.0, 1.0), 1.0), 1.0);
        assert_eq!(at(Uniform(0.0, 1.0), 0.123_456), 0.1235);
        assert_eq!((at(Int(3, 5), 0.34), at(Int(3, 5), 1.0)), (4.into(), 5.into()));
        assert_eq!(at(LogInt(10, 1000), 0.5), 100);
        assert_eq!(at(OneOf(&[32, 64]), 0.99), 64);
        assert_eq!(at(TunableKind::Word(&["a", "b"]), 0.2), "a");
        assert_eq!(at(TunableKind::Flag, 0.5), true);
    }

    /// Every corner, the middle, and steps near them build for every learner.
    #[test]
    fn every_point_of_every_space_builds() {
        let mut stream = SeededStream::new(1, 1);
        for entry in crate::trainers() {
            let space = entry.space;
            let mut points = vec![
                vec![0.0; space.len()],
                vec![1.0; space.len()],
                vec![0.5; space.len()],
            ];
            for _ in 0..20 {
                points.push(draw(space, &mut stream));
                let near = draw_near(space, &points[0], 0.3, &mut stream);
                assert!(near.iter().all(|at| (0.0..=1.0).contains(at)), "{near:?}");
                points.push(near);
            }
            for point in points {
                let config = Value::Object(config_at(space, &point));
                let built = (entry.build)(&config);
                assert!(built.is_ok(), "{} {config}: {:?}", entry.name, built.err());
            }
        }
    }
}
