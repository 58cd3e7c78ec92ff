//! One half-step of alternating least squares: all rows of one side given the other.

use numeric::{Cholesky, Csr, axpy, dot, gram, parallel_chunks_with, syrk_add};

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

/// Entries up to which a row is solved from a factor shared by all rows of the same length.
const SHORT_MAX: usize = 12;

/// For short rows: A = LLᵀ + YᵀWY with L the same for all rows of n entries, since λ depends on n only. With
/// Z = L⁻¹YᵀW^½ the solution is L⁻ᵀZ(I + ZᵀZ)⁻¹W^½t (Woodbury 1950): n·d²/2 + n²·d/2 multiplications, not d³/6.
struct Short {
    bases: Vec<Option<Cholesky>>,
}

impl Short {
    fn new(side: &Side, gram: &[f32]) -> Short {
        let base = |n: usize| {
            let mut matrix: Vec<f32> = gram.iter().map(|g| side.unobserved * g).collect();
            (0..side.d).for_each(|i| matrix[i * side.d + i] += side.lambda(n));
            let mut cholesky = Cholesky::default();
            cholesky.factor(&matrix, side.d).ok().map(|()| cholesky)
        };
        let most = SHORT_MAX.min(side.d / 4);
        Short {
            bases: (1..=most).map(base).collect(),
        }
    }

    /// Solves a row into `out`; false if it is not short or cannot be solved so.
    fn solve(&self, columns: &[u32], values: &[f32], other: &[f32], d: usize, out: &mut [f32]) -> bool {
        let n = columns.len();
        let Some(Some(base)) = n.checked_sub(1).and_then(|at| self.bases.get(at)) else {
            return false;
        };
        let mut z = vec![0f32; n * d];
        for ((z, column), value) in z.chunks_exact_mut(d).zip(columns).zip(values) {
            let root = value.abs().sqrt();
            let factor = &other[*column as usize * d..(*column as usize + 1) * d];
            z.iter_mut().zip(factor).for_each(|(z, f)| *z = root * f);
            base.solve_lower(z);
        }
        let mut inner = vec![0f32; n * n];
        for i in 0..n {
            for j in 0..=i {
                inner[i * n + j] = dot(&z[i * d..(i + 1) * d], &z[j * d..(j + 1) * d]);
            }
            inner[i * n + i] += 1.0;
        }
        let mut small = Cholesky::default();
        if small.factor(&inner, n).is_err() {
            return false;
        }
        // The target of a negative entry is zero.
        let mut right: Vec<f32> = values.iter().map(|v| v.max(0.0).sqrt()).collect();
        small.solve(&mut right);
        out.fill(0.0);
        for (z, weight) in z.chunks_exact(d).zip(&right) {
            axpy(*weight, z, out);
        }
        base.solve_upper(out);
        out.iter().all(|x| x.is_finite())
    }
}

/// Solves every row of `entries` against `other` into `out`. In parallel; each row on its own.
pub(crate) fn step(entries: &Csr, other: &[f32], out: &mut [f32], side: &Side) {
    let d = side.d;
    let gram = gram(other, d);
    let short = Short::new(side, &gram);
    let parts = parallel_chunks_with(
        entries.n_rows(),
        32,
        || State::new(side),
        |state, range| {
            let mut part = Vec::with_capacity(range.len() * d);
            for row in range {
                let (columns, values) = entries.row(row);
                let start = part.len();
                part.resize(start + d, 0.0);
                if short.solve(columns, values, other, d, &mut part[start..]) {
                    continue;
                }
                let factor = |c: &u32| &other[*c as usize * d..(*c as usize + 1) * d];
                let rows = columns.iter().map(factor).zip(values.iter().copied());
                state.solve(side, &gram, rows, columns.len());
                part[start..].copy_from_slice(state.factor());
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

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    #[test]
    fn short_rows_are_solved_like_long_ones() {
        let d = 48;
        let side = Side {
            d,
            unobserved: 0.2,
            reg: 0.01,
            exponent: 1.0,
            n_other: 40,
        };
        let mut stream = SeededStream::new(3, 0);
        let other: Vec<f32> = (0..40 * d).map(|_| stream.normal() as f32 * 0.3).collect();
        let gram = gram(&other, d);
        let short = Short::new(&side, &gram);
        for n in 1..=SHORT_MAX {
            let columns: Vec<u32> = (0..n as u32).map(|c| c * 3).collect();
            let value = |k: usize| if k % 4 == 3 { -0.7 } else { 0.5 + k as f32 };
            let values: Vec<f32> = (0..n).map(value).collect();
            let mut state = State::new(&side);
            let factor = |c: &u32| &other[*c as usize * d..(*c as usize + 1) * d];
            state.solve(
                &side,
                &gram,
                columns.iter().map(factor).zip(values.iter().copied()),
                n,
            );
            let mut out = vec![0f32; d];
            assert!(short.solve(&columns, &values, &other, d, &mut out));
            for (a, b) in out.iter().zip(state.factor()) {
                assert!((a - b).abs() < 1e-4, "{n}: {a} {b}");
            }
        }
        assert!(!short.solve(&[], &[], &other, d, &mut vec![0f32; d]));
    }
}
