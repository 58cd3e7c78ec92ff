//! A part of a blend: a model with what the blend knows of it.

use crate::blend_unit::Normalise;
use crate::{Model, TopItems};

/// A model with what the blend knows of it.
pub(crate) struct Part {
    pub(crate) model: Box<dyn Model>,
    /// True if it is not personal: the root of its score is taken.
    pub(crate) root: bool,
    /// Mean of its best twenty (after the root) for a history of one event.
    pub(crate) scale: f32,
    /// How that grows: the exponent of the history's length.
    pub(crate) growth: f32,
    pub(crate) trust: Trust,
    /// Blend per point of this model, by range of length.
    pub(crate) alone: [f32; 5],
}

/// How much a model counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trust {
    /// By range of length.
    pub(crate) weights: [f32; 5],
    /// Factor by age of the item; the last is one.
    pub(crate) by_age: [f32; 3],
}

impl Part {
    /// What a raw score is divided by, for a history of so many known events, if nothing else is known.
    pub(crate) fn unit(&self, length: usize) -> f32 {
        self.scale * (length.max(1) as f32).powf(self.growth)
    }

    /// A raw score after the root.
    pub(crate) fn rooted(&self, score: f32) -> f32 {
        if self.root {
            score.signum() * score.abs().sqrt()
        } else {
            score
        }
    }

    /// The same for somebody whose list of this part is `list`, if need be.
    pub(crate) fn unit_for(&self, kind: Normalise, length: usize, list: impl FnOnce() -> TopItems) -> f32 {
        // What is not personal says the same to all.
        if self.root || kind == Normalise::Typical {
            return self.unit(length);
        }
        let scores: Vec<f32> = list().iter().map(|(_, score)| *score).collect();
        kind.unit(&scores).unwrap_or_else(|| self.unit(length))
    }
}

/// Weights before anything is measured.
pub(crate) fn default_weights(name: &str) -> [f32; 5] {
    match name {
        "ease" => [0.0, 0.5, 0.6, 0.8, 0.8],
        "item-cosine" | "item-bm25" | "swing" | "spectral" | "rp3beta" | "user-knn" => {
            [0.0, 0.5, 0.5, 0.4, 0.3]
        }
        "als" => [0.0, 0.2, 0.4, 0.6, 0.7],
        "content" => [0.0, 0.3, 0.15, 0.1, 0.05],
        "popular" => [1.0, 0.2, 0.1, 0.05, 0.02],
        _ => [0.1, 0.05, 0.05, 0.05, 0.05],
    }
}
