//! No exploration: the first `n` as they come, each with probability exactly 1. The reference that the others are measured against.

use crate::contract::{Chances, PolicyError, SlatePolicy};
use crate::settings::parse;
use crate::{Arms, PolicyEntry};
use serde::Deserialize;
use serde_json::{Value, json};

/// Its line in the table.
pub(crate) const ENTRY: PolicyEntry = PolicyEntry {
    name: "greedy",
    summary: "the best as they come, nothing left to chance",
    source: "none",
    build: |settings| {
        let Settings {} = parse(settings)?;
        Ok::<Box<dyn SlatePolicy>, PolicyError>(Box::new(Greedy))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// Shows the first ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Greedy;

impl SlatePolicy for Greedy {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!({})
    }

    fn chances<'a>(&'a self, arms: &'a Arms) -> Box<dyn Chances + 'a> {
        Box::new(First {
            n_arms: arms.len(),
            order: arms.open(),
        })
    }
}

struct First {
    n_arms: usize,
    order: Vec<usize>,
}

impl Chances for First {
    fn next(&mut self, prefix: &[usize], out: &mut [f64]) {
        out.fill(0.0);
        if let Some(first) = self.order.iter().find(|at| !prefix.contains(at)) {
            out[*first] = 1.0;
        }
    }

    fn n_arms(&self) -> usize {
        self.n_arms
    }

    fn marginals(&mut self, n: usize, pairs: &[(usize, usize)]) -> Option<Vec<f64>> {
        let at = |(arm, position): &(usize, usize)| *position < n && self.order.get(*position) == Some(arm);
        Some(pairs.iter().map(|pair| f64::from(u8::from(at(pair)))).collect())
    }
}
