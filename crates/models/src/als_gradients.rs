//! A half-step of alternating least squares by conjugate gradients: a few steps from each row as it was.
//!
//! Takács, Pilászy and Tikk (2011), "Applications of the conjugate gradient method for implicit feedback collaborative filtering", RecSys: with the last factor as the start two or three steps a pass come as far
//! as solving exactly, since the next pass goes on from there. The matrix of a row is never made: its product with a direction p is α₀Gp + Σ wⱼyⱼ(yⱼ·p) + λp. Rows are taken 64 at a time,
//! so that their products with G are one product of matrices, and so that the factors of their entries stay in the second-level cache from one step to the next.
//!
//! Cost per row: (steps + 1)·(d² + 2·entries·d) multiplications. The objective is that of `als_step.rs`, prior means included. Rows are gathered the same way whatever the number of threads, so the result
//! does not depend on it.

use crate::als_step::{Prior, Side};
use numeric::{Csr, add_rows, axpy, dot, dots_at, gram, multiply_add, parallel_rows_with};

/// Rows at a time.
const ROWS: usize = 64;

/// Improves every row of `out` against `other` by so many steps. In parallel.
pub(crate) fn step(
    entries: &Csr,
    other: &[f32],
    out: &mut [f32],
    side: &Side,
    prior: Option<Prior<'_>>,
    steps: usize,
) {
    let gram = gram(other, side.d);
    parallel_rows_with(out, side.d * ROWS, 1, Batch::default, |batch, at, rows| {
        batch.gather(entries, side, at * ROWS, rows.len() / side.d);
        batch.improve(other, &gram, side, prior, steps, rows);
    });
}

/// A row of a batch.
struct Row {
    /// Which, in the table.
    row: usize,
    /// Its entries, in the lists of the batch.
    from: usize,
    to: usize,
    lambda: f32,
    /// Squared length of the residual; zero once there is nothing left to do.
    left: f32,
}

/// Scratch space.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    starts: Vec<usize>,
    weights: Vec<f32>,
    /// What each entry adds to the right-hand side per unit: the target of a negative one is zero.
    pulls: Vec<f32>,
    predicted: Vec<f32>,
    residual: Vec<f32>,
    direction: Vec<f32>,
    image: Vec<f32>,
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
            self.rows.push(Row {
                row,
                from,
                to: self.starts.len(),
                lambda: side.lambda(columns.len()),
                left: 0.0,
            });
        }
        let longest = self.rows.iter().map(|row| row.to - row.from).max().unwrap_or(0);
        self.predicted.clear();
        self.predicted.resize(longest, 0.0);
    }

    /// image ← directions · G.
    fn multiply(&mut self, gram: &[f32], d: usize) {
        self.image.clear();
        self.image.resize(self.direction.len(), 0.0);
        multiply_add(
            1.0,
            &self.direction,
            gram,
            (self.rows.len(), d, d),
            &mut self.image,
        );
    }

    fn improve(
        &mut self,
        table: &[f32],
        gram: &[f32],
        side: &Side,
        prior: Option<Prior<'_>>,
        steps: usize,
        x: &mut [f32],
    ) {
        let d = side.d;
        self.direction.clear();
        self.direction.extend_from_slice(x);
        for (row, moved) in self.rows.iter().zip(self.direction.chunks_exact_mut(d)) {
            if let Some(mean) = prior.and_then(|prior| prior.of(row.row, d)) {
                axpy(side.exposure(row.to - row.from) - 1.0, mean, moved);
            }
        }
        self.multiply(gram, d);
        self.residual.clear();
        self.residual.resize(x.len(), 0.0);
        let own = self.rows.iter_mut().zip(x.chunks_exact_mut(d));
        let products = self.residual.chunks_exact_mut(d).zip(self.image.chunks_exact(d));
        for ((row, x), (residual, image)) in own.zip(products) {
            let mean = prior.and_then(|prior| prior.of(row.row, d));
            if row.from == row.to {
                match mean {
                    Some(mean) => x.copy_from_slice(mean),
                    None => x.fill(0.0),
                }
                continue;
            }
            axpy(-side.unobserved, image, residual);
            axpy(-row.lambda, x, residual);
            if let Some(mean) = mean {
                axpy(row.lambda, mean, residual);
            }
            let (starts, predicted) = (
                &self.starts[row.from..row.to],
                &mut self.predicted[..row.to - row.from],
            );
            dots_at(table, starts, x, predicted);
            let terms = self.pulls[row.from..row.to]
                .iter()
                .zip(&self.weights[row.from..row.to]);
            for (predicted, (pull, weight)) in predicted.iter_mut().zip(terms) {
                *predicted = pull - weight * *predicted;
            }
            add_rows(table, starts, predicted, residual);
            row.left = dot(residual, residual);
        }
        self.direction.clone_from(&self.residual);
        for step in 0..steps {
            self.multiply(gram, d);
            for (at, row) in self.rows.iter_mut().enumerate().filter(|(_, row)| row.left > 0.0) {
                let place = at * d..(at + 1) * d;
                let image = &mut self.image[place.clone()];
                let (direction, residual) = (
                    &mut self.direction[place.clone()],
                    &mut self.residual[place.clone()],
                );
                image.iter_mut().for_each(|image| *image *= side.unobserved);
                axpy(row.lambda, direction, image);
                let (starts, predicted) = (
                    &self.starts[row.from..row.to],
                    &mut self.predicted[..row.to - row.from],
                );
                dots_at(table, starts, direction, predicted);
                let weights = &self.weights[row.from..row.to];
                predicted
                    .iter_mut()
                    .zip(weights)
                    .for_each(|(p, weight)| *p *= weight);
                add_rows(table, starts, predicted, image);
                let length = row.left / dot(direction, image);
                if !(length.is_finite() && length > 0.0) {
                    row.left = 0.0;
                    continue;
                }
                axpy(length, direction, &mut x[place]);
                if step + 1 == steps {
                    continue;
                }
                axpy(-length, image, residual);
                let left = dot(residual, residual);
                let share = left / row.left;
                // Rounding is all that is left.
                row.left = if share.is_finite() && left > 1e-20 {
                    left
                } else {
                    0.0
                };
                for (direction, residual) in direction.iter_mut().zip(residual.iter()) {
                    *direction = residual + share * *direction;
                }
            }
        }
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
    use crate::als_step;
    use numeric::{SeededStream, on_threads};

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
            reg: 0.02,
            exponent: 1.0,
            n_other: 90,
            handover: 10.0,
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
}
