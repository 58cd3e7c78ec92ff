//! One half-step of alternating least squares: all rows of one side given the other.

use numeric::{Cholesky, Csr, axpy, gram, parallel_chunks_with, syrk_add};

/// Constants of a half-step.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    /// Length of a factor.
    pub(crate) d: usize,
    /// Weight of a pair without entry (α₀).
    pub(crate) unobserved: f32,
    pub(crate) reg: f32,
    pub(crate) exponent: f32,
    /// Rows of the other side.
    pub(crate) n_other: usize,
}

impl Side {
    fn lambda(&self, entries: usize) -> f32 {
        let frequency = entries as f32 + self.unobserved * self.n_other as f32;
        // The floor keeps the matrix invertible in single precision.
        (self.reg * frequency.powf(self.exponent)).max(1e-6)
    }
}

/// Rows gathered before they are added to the matrix: 64 × 64 floats fit the first-level cache.
const GATHER: usize = 64;

/// Scratch space and result of one row.
#[derive(Debug, Clone)]
pub(crate) struct State {
    matrix: Vec<f32>,
    gathered: Vec<f32>,
    weights: Vec<f32>,
    cholesky: Cholesky,
    factor: Vec<f32>,
    solved: bool,
}

impl State {
    pub(crate) fn new(side: &Side) -> State {
        State {
            matrix: vec![0.0; side.d * side.d],
            gathered: Vec::new(),
            weights: Vec::new(),
            cholesky: Cholesky::default(),
            factor: vec![0.0; side.d],
            solved: false,
        }
    }

    /// The solved factor; zero if there was nothing to solve.
    pub(crate) fn factor(&self) -> &[f32] {
        &self.factor
    }

    /// x ← A⁻¹x for the matrix of the last solve.
    pub(crate) fn apply_inverse(&self, x: &mut [f32]) {
        if self.solved {
            self.cholesky.solve(x);
        } else {
            x.fill(0.0);
        }
    }

    /// Solves for the row with these entries: (other side's factor, signed weight).
    pub(crate) fn solve<'a>(
        &mut self,
        side: &Side,
        gram: &[f32],
        entries: impl Iterator<Item = (&'a [f32], f32)>,
        n_entries: usize,
    ) {
        self.factor.fill(0.0);
        self.solved = false;
        if n_entries == 0 {
            return;
        }
        for (value, g) in self.matrix.iter_mut().zip(gram) {
            *value = side.unobserved * g;
        }
        for (factor, weight) in entries {
            if weight > 0.0 {
                axpy(weight, factor, &mut self.factor);
            }
            self.gathered.extend_from_slice(factor);
            self.weights.push(weight.abs());
            if self.weights.len() == GATHER {
                self.flush(side.d);
            }
        }
        self.flush(side.d);
        self.finish(side, n_entries);
    }

    /// Solves from sums gathered before.
    pub(crate) fn solve_from(
        &mut self,
        side: &Side,
        gram: &[f32],
        matrix: &[f32],
        b: &[f32],
        entries: usize,
    ) {
        for ((value, g), m) in self.matrix.iter_mut().zip(gram).zip(matrix) {
            *value = side.unobserved * g + m;
        }
        self.factor.copy_from_slice(b);
        self.finish(side, entries);
    }

    fn flush(&mut self, d: usize) {
        syrk_add(&mut self.matrix, d, &self.gathered, &self.weights);
        self.gathered.clear();
        self.weights.clear();
    }

    fn finish(&mut self, side: &Side, n_entries: usize) {
        let lambda = side.lambda(n_entries);
        for i in 0..side.d {
            self.matrix[i * side.d + i] += lambda;
        }
        self.solved = self.cholesky.factor(&self.matrix, side.d).is_ok();
        if self.solved {
            self.cholesky.solve(&mut self.factor);
        }
        if !self.solved || self.factor.iter().any(|x| !x.is_finite()) {
            // Only a damaged or absurdly scaled matrix: nothing is known then.
            self.solved = false;
            self.factor.fill(0.0);
        }
    }
}

/// Solves every row of `entries` against `other` into `out`. In parallel; each row on its own.
pub(crate) fn step(entries: &Csr, other: &[f32], out: &mut [f32], side: &Side) {
    let d = side.d;
    let gram = gram(other, d);
    let parts = parallel_chunks_with(
        entries.n_rows(),
        32,
        || State::new(side),
        |state, range| {
            let mut part = Vec::with_capacity(range.len() * d);
            for row in range {
                let (columns, values) = entries.row(row);
                let factor = |c: &u32| &other[*c as usize * d..(*c as usize + 1) * d];
                let rows = columns.iter().map(factor).zip(values.iter().copied());
                state.solve(side, &gram, rows, columns.len());
                part.extend_from_slice(state.factor());
            }
            part
        },
    );
    let mut rest = out;
    for part in parts {
        let (head, tail) = rest.split_at_mut(part.len());
        head.copy_from_slice(&part);
        rest = tail;
    }
}
