//! Thompson sampling over a fixed set of draws from the joint posterior: at every position one draw is taken at random, and the arm that is best in it of those left
//! stands there.
//!
//! For posteriors in which arms depend on each other (hybrid linear bandits, factor models) the probability of the highest has no closed form. With the draws fixed
//! beforehand it is a count: `P(i next) = draws in which i is best of those left / draws`. That is the exact probability of the policy as it runs; against Thompson sampling from the
//! posterior itself it is off by a standard error of √(p(1 − p) / draws). An arm that is best in no draw has probability 0.
//!
//! Cost: draws × m for each position. Source: Lu and Van Roy (2017), *Ensemble Sampling*, NeurIPS 30.

use crate::contract::{Chances, SlatePolicy};
use crate::{Arms, Samples};
use numeric::SeededStream;
use serde_json::{Value, json};

/// Thompson sampling from given draws.
#[derive(Debug, Clone)]
pub struct EnsembleThompson {
    samples: Samples,
}

impl EnsembleThompson {
    /// From these draws of the scores of the arms that it will be given, in their order.
    pub fn new(samples: Samples) -> EnsembleThompson {
        EnsembleThompson { samples }
    }
}

impl SlatePolicy for EnsembleThompson {
    fn name(&self) -> &'static str {
        "ensemble-thompson"
    }

    fn version(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!({"draws": self.samples.n_draws()})
    }

    /// # Panics
    /// If the draws are of another number of arms.
    fn chances<'a>(&'a self, arms: &'a Arms) -> Box<dyn Chances + 'a> {
        let width = self.samples.draws().next().map_or(0, <[f64]>::len);
        assert_eq!(width, arms.len(), "draws are of as many scores as there are arms");
        Box::new(Ensemble {
            samples: &self.samples,
            arms,
        })
    }
}

struct Ensemble<'a> {
    samples: &'a Samples,
    arms: &'a Arms,
}

fn best(scores: &[f64], left: &[bool]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for at in (0..scores.len()).filter(|at| left[*at]) {
        if best.is_none_or(|best| scores[at] > scores[best]) {
            best = Some(at);
        }
    }
    best
}

impl Chances for Ensemble<'_> {
    fn next(&mut self, prefix: &[usize], out: &mut [f64]) {
        out.fill(0.0);
        let left = self.arms.left(prefix);
        let mut counts = vec![0u32; out.len()];
        for scores in self.samples.draws() {
            if let Some(best) = best(scores, &left) {
                counts[best] += 1;
            }
        }
        let draws = self.samples.n_draws().max(1) as f64;
        for (out, count) in out.iter_mut().zip(counts) {
            *out = f64::from(count) / draws;
        }
    }

    fn n_arms(&self) -> usize {
        self.arms.len()
    }

    fn draw_next(&mut self, prefix: &[usize], stream: &mut SeededStream) -> usize {
        let left = self.arms.left(prefix);
        let draw = stream.below(self.samples.n_draws() as u64) as usize;
        let scores = self.samples.draws().nth(draw);
        scores.and_then(|scores| best(scores, &left)).unwrap_or(0)
    }
}
