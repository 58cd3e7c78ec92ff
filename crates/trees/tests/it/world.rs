//! Made-up rows.

use numeric::SeededStream;
use trees::{Feature, Rows};

/// Rows with numbers, missing ones and a category.
pub(crate) struct World {
    pub(crate) features: Vec<Feature>,
    pub(crate) values: Vec<f32>,
    pub(crate) labels: Vec<f32>,
    pub(crate) weights: Vec<f32>,
    pub(crate) groups: Vec<u32>,
}

/// Groups of 20 rows with four numbers (the second often missing) and two categories; grades follow the first two numbers and the first category, with noise.
pub(crate) fn world(n_groups: usize, seed: u64) -> World {
    let mut stream = SeededStream::new(seed, 0);
    let mut world = World {
        features: vec![
            Feature::number("a"),
            Feature::number("b"),
            Feature::number("c"),
            Feature::number("d"),
            Feature::category("e"),
            Feature::category("f"),
        ],
        values: Vec::new(),
        labels: Vec::new(),
        weights: Vec::new(),
        groups: vec![20; n_groups],
    };
    for _ in 0..n_groups * 20 {
        let a = stream.normal();
        let b = if stream.uniform() < 0.4 {
            f64::NAN
        } else {
            stream.normal()
        };
        let c = stream.normal().round();
        let d = if stream.uniform() < 0.02 {
            f64::NAN
        } else {
            stream.uniform()
        };
        let e = stream.below(12);
        let f = stream.below(3);
        let kind = if [1, 4, 7, 11].contains(&e) { 1.5 } else { -0.5 };
        let taste = a + if b.is_nan() { 1.0 } else { b * b } + kind + 0.3 * c + 0.5 * stream.normal();
        let grade = [0.5, 1.5, 2.5, 3.5]
            .iter()
            .filter(|bound| taste > **bound)
            .count();
        world
            .values
            .extend([a as f32, b as f32, c as f32, d as f32, e as f32, f as f32]);
        world.labels.push(grade as f32);
        world.weights.push(0.5 + stream.uniform() as f32);
    }
    world
}

impl World {
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows {
            features: &self.features,
            values: &self.values,
            labels: &self.labels,
            weights: &self.weights,
            groups: &self.groups,
        }
    }

    /// The same with labels 0 and 1.
    pub(crate) fn yes_or_no(mut self) -> World {
        self.labels
            .iter_mut()
            .for_each(|label| *label = f32::from(*label > 1.0));
        self
    }

    pub(crate) fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.features.len()..(at + 1) * self.features.len()]
    }
}
