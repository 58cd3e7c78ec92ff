//! A half-step of alternating least squares by conjugate gradients: a few steps from each row as it was.
//!
//! Takács, Pilászy and Tikk (2011), "Applications of the conjugate gradient method for implicit feedback collaborative filtering", RecSys: with the last factor as the start few steps a pass come as far
//! as solving exactly, since the next pass goes on from there. What is own here are the coordinates: G = VΛVᵀ is taken apart once, and both sides are turned by V. There a row's matrix is
//! the diagonal α₀Λ + λI and its entries, so a product with it costs nothing but the entries, and the diagonal is at hand as a preconditioner
//! (`numeric::approach`). Two steps then come further than three without.
//!
//! Cost: 9d³ to take G apart; per row of either side d², once more for the rows of this side to turn back; (steps + 1)·2·entries·d. The objective is that of `als_step.rs`, prior means
//! included. Rows are gathered the same way whatever the number of threads, so the result does not depend on it.

use crate::als_step::{Prior, Side};
use numeric::{ApproachRoom, Csr, WeightedRows, approach, multiply_add, parallel_rows_with, symmetric_eigen};

/// Numbers in the factors of a batch: they stay in the second-level cache, with their entries.
const BATCH: usize = 1 << 14;

/// Improves every row of `out` against `other` by so many steps. In parallel.
pub(crate) fn step(
    entries: &Csr,
    other: &[f32],
    out: &mut [f32],
    side: &Side,
    prior: Option<Prior<'_>>,
    steps: usize,
) {
    let d = side.d;
    let Some(turn) = Turn::of(&side.gram(other), d) else {
        // Only a damaged or absurdly scaled matrix: nothing is known then.
        out.fill(0.0);
        return;
    };
    let table = turn.turned(other, d);
    let n = (BATCH / d).max(8);
    parallel_rows_with(out, d * n, 1, Batch::default, |batch, at, rows| {
        batch.gather(entries, side, at * n, rows.len() / d);
        batch.improve(&table, &turn, side, prior, steps, rows);
    });
}

/// Coordinates in which G is diagonal.
struct Turn {
    /// That diagonal (Λ).
    values: Vec<f32>,
    /// V, and Vᵀ.
    there: Vec<f32>,
    back: Vec<f32>,
}

impl Turn {
    fn of(gram: &[f32], d: usize) -> Option<Turn> {
        let apart = symmetric_eigen(gram, d).ok()?;
        let mut there = vec![0f32; d * d];
        for (k, vector) in apart.vectors.chunks_exact(d).enumerate() {
            for (i, x) in vector.iter().enumerate() {
                there[i * d + k] = *x;
            }
        }
        Some(Turn {
            values: apart.values.iter().map(|value| value.max(0.0)).collect(),
            there,
            back: apart.vectors,
        })
    }

    /// The table in these coordinates. In parallel.
    fn turned(&self, table: &[f32], d: usize) -> Vec<f32> {
        const ROWS: usize = 512;
        let mut turned = vec![0f32; table.len()];
        parallel_rows_with(
            &mut turned,
            d * ROWS,
            1,
            || (),
            |(), at, rows| {
                let from = &table[at * ROWS * d..at * ROWS * d + rows.len()];
                multiply_add(1.0, from, &self.there, (rows.len() / d, d, d), rows);
            },
        );
        turned
    }
}

/// Scratch space.
#[derive(Default)]
struct Batch {
    /// Row in the table of the side, and its entries in the lists below.
    rows: Vec<(usize, usize, usize)>,
    starts: Vec<usize>,
    weights: Vec<f32>,
    /// What each entry adds to the right-hand side per unit: the target of a negative one is zero.
    pulls: Vec<f32>,
    turned: Vec<f32>,
    means: Vec<f32>,
    means_turned: Vec<f32>,
    diagonal: Vec<f32>,
    constant: Vec<f32>,
    room: ApproachRoom,
}

impl Batch {
    fn gather(&mut self, entries: &Csr, side: &Side, first: usize, n: usize) {
        self.rows.clear();
        self.starts.clear();
        self.weights.clear();
        self.pulls.clear();
        for row in first..first + n {
            let (columns, values) = entries.row(row);
            let from = self.starts.len();
            self.starts
                .extend(columns.iter().map(|column| *column as usize * side.d));
            self.weights.extend(values.iter().map(|value| value.abs()));
            self.pulls.extend(values.iter().map(|value| value.max(0.0)));
            self.rows.push((row, from, self.starts.len()));
        }
    }

    fn improve(
        &mut self,
        table: &[f32],
        turn: &Turn,
        side: &Side,
        prior: Option<Prior<'_>>,
        steps: usize,
        x: &mut [f32],
    ) {
        let d = side.d;
        let shape = (self.rows.len(), d, d);
        for part in [&mut self.diagonal, &mut self.constant] {
            part.clear();
            part.resize(d, 0.0);
        }
        self.turned.clear();
        self.turned.resize(x.len(), 0.0);
        multiply_add(1.0, x, &turn.there, shape, &mut self.turned);
        if let Some(prior) = prior {
            self.means.clear();
            self.means.resize(x.len(), 0.0);
            for ((row, _, _), own) in self.rows.iter().zip(self.means.chunks_exact_mut(d)) {
                if let Some(mean) = prior.of(*row, d) {
                    own.copy_from_slice(mean);
                }
            }
            self.means_turned.clear();
            self.means_turned.resize(x.len(), 0.0);
            multiply_add(1.0, &self.means, &turn.there, shape, &mut self.means_turned);
        }
        for (at, (row, from, to)) in self.rows.iter().enumerate() {
            let n = to - from;
            let own = at * d..(at + 1) * d;
            let turned = &mut self.turned[own.clone()];
            if n == 0 {
                match prior {
                    Some(_) => turned.copy_from_slice(&self.means_turned[own]),
                    None => turned.fill(0.0),
                }
                continue;
            }
            let drawn = prior.is_some_and(|prior| prior.of(*row, d).is_some());
            let lambda = side.lambda_of(n, drawn);
            let unobserved = side.unobserved_of(n);
            for (diagonal, value) in self.diagonal.iter_mut().zip(&turn.values) {
                *diagonal = unobserved * value + lambda;
            }
            if prior.is_some() {
                let absent = (1.0 - side.exposure(n)) * unobserved;
                let means = self.means_turned[own].iter().zip(&turn.values);
                for (constant, (mean, value)) in self.constant.iter_mut().zip(means) {
                    *constant = (lambda + absent * value) * mean;
                }
            }
            let rows = WeightedRows {
                table,
                starts: &self.starts[*from..],
                pulls: &self.pulls[*from..*to],
                weights: &self.weights[*from..*to],
            };
            approach(
                turned,
                &self.diagonal,
                &self.constant,
                rows,
                steps,
                &mut self.room,
            );
        }
        x.fill(0.0);
        multiply_add(1.0, &self.turned, &turn.back, shape, x);
        for x in x.chunks_exact_mut(d) {
            if x.iter().any(|x| !x.is_finite()) {
                // Only a damaged or absurdly scaled matrix: nothing is known then.
                x.fill(0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::als_absence::Absence;
    use crate::als_step;
    use numeric::{SeededStream, on_threads};
    use std::sync::Arc;

    /// 200 rows against 90, some of them without entries, values of both signs.
    fn case(d: usize) -> (Csr, Vec<f32>, Side, Vec<f32>) {
        let mut stream = SeededStream::new(11, 0);
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in 0..200u64 {
            for column in 0..90u32 {
                if row % 17 != 3 && stream.below(90) < 1 + row % 23 {
                    columns.push(column);
                    values.push(if stream.below(5) == 0 {
                        -0.6
                    } else {
                        0.4 + stream.uniform() as f32
                    });
                }
            }
            offsets.push(columns.len());
        }
        let other = (0..90 * d).map(|_| stream.normal() as f32 * 0.3).collect();
        let means = (0..200 * d)
            .map(|at| {
                if (at / d).is_multiple_of(2) {
                    stream.normal() as f32 * 0.3
                } else {
                    0.0
                }
            })
            .collect();
        let side = Side {
            d,
            block: d,
            unobserved: 0.1,
            absence: Absence::new(0.4, 12.0),
            others: Some(Arc::new((1..=90).map(|n| n as f32 / 45.0).collect())),
            reg: 0.02,
            exponent: 1.0,
            n_other: 90,
            handover: 10.0,
            steepness: 2.0,
            pull: 3.0,
        };
        (
            Csr::from_parts(90, offsets, columns, values).expect("sorted"),
            other,
            side,
            means,
        )
    }

    #[test]
    fn enough_steps_come_to_the_exact_solution_on_any_number_of_threads() {
        let (entries, other, side, means) = case(24);
        for prior in [None, Some(Prior { means: &means })] {
            let mut stream = SeededStream::new(4, 0);
            let start: Vec<f32> = (0..200 * 24).map(|_| stream.normal() as f32 * 0.1).collect();
            let mut exact = start.clone();
            als_step::step(&entries, &other, &mut exact, &side, prior);
            let by_steps = |steps: usize, threads: usize| {
                let mut out = start.clone();
                on_threads(threads, || step(&entries, &other, &mut out, &side, prior, steps));
                out
            };
            let distance = |out: &[f32]| {
                out.iter()
                    .zip(&exact)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max)
            };
            let (few, many) = (by_steps(3, 1), by_steps(60, 1));
            assert!(distance(&many) < 1e-3, "{}", distance(&many));
            assert!(
                distance(&few) < 0.5 * distance(&start),
                "{} {}",
                distance(&few),
                distance(&start)
            );
            assert_eq!(by_steps(3, 2), few);
        }
    }

    #[test]
    fn a_damaged_table_leaves_nothing_known() {
        let (entries, mut other, side, means) = case(8);
        other[5] = f32::NAN;
        for prior in [None, Some(Prior { means: &means })] {
            let mut out = vec![0.5f32; 200 * 8];
            step(&entries, &other, &mut out, &side, prior, 2);
            assert!(out.iter().all(|x| *x == 0.0));
        }
    }
}
