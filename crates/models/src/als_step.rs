//! One half-step of alternating least squares: all rows of one side given the other.
//!
//! A row's objective is quadratic: A = α₀G + Σ wⱼyⱼyⱼᵀ + λI with G = YᵀY of the other side (α₀ and G weighed as in `als_absence.rs`), and b = Σ wⱼtⱼyⱼ, plus
//! (λI + (1 − e)α₀G)m where the row has a prior mean m (see [`Prior`]); λ is then (1 + κ(1 − c)) times its own. Two ways to its minimum:
//!
//! - [`State::solve`], exact: all of A, by Cholesky. entries·d²/2 + d³/6 multiplications. Rows of few entries take a
//!   shorter way to the same ([`Short`]).
//! - [`State::sweep`], by blocks of coordinates (Rendle, Krichene, Zhang, Koren 2021, "iALS++: Speeding up matrix
//!   factorization with subspace optimization", arXiv:2110.14044): block after block is solved exactly with the rest
//!   held, from the row as it was. entries·d·(b/2 + 3) + d² + d·b²/6 multiplications, and close to the minimum, since
//!   the next sweep goes on from there.
//!
//! A third, by conjugate gradients, is in `als_gradients.rs`.

use crate::als_absence::{Absence, gram_by};
use numeric::{Cholesky, Csr, add_rows, axpy, dot, dot_rows, dots_at, parallel_rows_with, syrk_add_at};
use std::sync::Arc;

/// Constants of a half-step.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    /// Length of a factor.
    pub(crate) d: usize,
    /// Coordinates solved for at a time; `d` or more for all.
    pub(crate) block: usize,
    /// Weight of a pair without entry (α₀), before `absence`.
    pub(crate) unobserved: f32,
    /// How much more it is for rows of many entries.
    pub(crate) absence: Absence,
    /// The same of the other side's rows, which its Gram matrix is weighed by in training; `None` where all are alike.
    pub(crate) others: Option<Arc<Vec<f32>>>,
    pub(crate) reg: f32,
    pub(crate) exponent: f32,
    /// Rows of the other side.
    pub(crate) n_other: usize,
    /// Entries at which the absence of others is half believed, for rows with a prior mean (h).
    pub(crate) handover: f32,
    /// How steeply it comes to be believed about there (s).
    pub(crate) steepness: f32,
    /// How much more a row with a prior mean and no entries is held there than λ does (κ).
    pub(crate) pull: f32,
}

impl Side {
    /// Weight of a pair without entry, of a row with so many.
    pub(crate) fn unobserved_of(&self, entries: usize) -> f32 {
        self.unobserved * self.absence.share(entries)
    }

    /// The other side's Gram matrix (G), weighed where absence counts differently.
    pub(crate) fn gram(&self, other: &[f32]) -> Vec<f32> {
        gram_by(
            self.others.as_ref().map(|shares| shares.as_slice()),
            other,
            self.d,
        )
    }

    pub(crate) fn lambda(&self, entries: usize) -> f32 {
        let frequency = entries as f32 + self.unobserved_of(entries) * self.n_other as f32;
        // The floor keeps the matrix invertible in single precision.
        (self.reg * frequency.powf(self.exponent)).max(1e-6)
    }

    /// λκ(1 − c): what λ is more for a row with a prior mean.
    pub(crate) fn more(&self, entries: usize) -> f32 {
        self.lambda(entries) * self.pull * (1.0 - self.believed(entries))
    }

    /// λ of a row, with a prior mean or without.
    pub(crate) fn lambda_of(&self, entries: usize, drawn: bool) -> f32 {
        self.lambda(entries) + if drawn { self.more(entries) } else { 0.0 }
    }

    /// b ← b + (λI + (1 − e)α₀G)m: what a prior mean adds to the right-hand side of a row with so many entries.
    pub(crate) fn draw(&self, gram: &[f32], entries: usize, mean: &[f32], b: &mut [f32]) {
        let lambda = self.lambda_of(entries, true);
        let absent = (1.0 - self.exposure(entries)) * self.unobserved_of(entries);
        for (i, b) in b.iter_mut().enumerate() {
            *b += lambda * mean[i] + absent * dot(&gram[i * self.d..(i + 1) * self.d], mean);
        }
    }

    /// How far entries are believed (c), 0 to 1.
    pub(crate) fn believed(&self, entries: usize) -> f32 {
        entries as f32 / (entries as f32 + self.handover)
    }

    /// How far the absence of others is believed (e), 0 to 1.
    pub(crate) fn exposure(&self, entries: usize) -> f32 {
        let entries = (entries as f32).powf(self.steepness);
        entries / (entries + self.handover.powf(self.steepness))
    }
}

/// Where rows are drawn to: with few entries towards the mean, as if nobody had been asked; with many, absence counts
/// fully and only λ draws. A row without entries is its mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prior<'a> {
    /// Row per row of the side; zero for none.
    pub(crate) means: &'a [f32],
}

impl<'a> Prior<'a> {
    /// The mean of a row, if it is other than zero.
    pub(crate) fn of(self, row: usize, d: usize) -> Option<&'a [f32]> {
        let mean = self.means.get(row * d..(row + 1) * d)?;
        mean.iter().any(|m| *m != 0.0).then_some(mean)
    }
}

/// One row's entries: where the other side's rows start in their table, and signed weights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries {
    pub(crate) starts: Vec<usize>,
    pub(crate) values: Vec<f32>,
    pub(crate) weights: Vec<f32>,
}

impl Entries {
    pub(crate) fn clear(&mut self) {
        self.starts.clear();
        self.values.clear();
        self.weights.clear();
    }

    pub(crate) fn push(&mut self, start: usize, value: f32) {
        self.starts.push(start);
        self.values.push(value);
        self.weights.push(value.abs());
    }

    fn of(&mut self, columns: &[u32], values: &[f32], d: usize) {
        self.clear();
        for (column, value) in columns.iter().zip(values) {
            self.push(*column as usize * d, *value);
        }
    }

    /// What each adds to the right-hand side per unit: the target of a negative entry is zero.
    fn pulls(&self) -> impl Iterator<Item = f32> + '_ {
        self.values.iter().map(|value| value.max(0.0))
    }
}

/// Scratch space and result of one row.
#[derive(Debug, Clone)]
pub(crate) struct State {
    matrix: Vec<f32>,
    entries: Entries,
    cholesky: Cholesky,
    factor: Vec<f32>,
    solved: bool,
    predicted: Vec<f32>,
    coefficients: Vec<f32>,
    moved: Vec<f32>,
}

impl State {
    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        // The matrix, its decomposition, and what is as long as a factor or as the entries.
        self.matrix.len() * 8 + (4 * self.factor.len() + 4 * self.predicted.len()) * 4
    }

    pub(crate) fn new(side: &Side) -> State {
        State {
            matrix: Vec::new(),
            entries: Entries::default(),
            cholesky: Cholesky::default(),
            factor: vec![0.0; side.d],
            solved: false,
            predicted: Vec::new(),
            coefficients: Vec::new(),
            moved: Vec::new(),
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

    /// Whether there is a matrix of the last solve.
    pub(crate) fn is_solved(&self) -> bool {
        self.solved
    }

    /// yᵀA⁻¹y for the matrix of the last solve; zero without one.
    pub(crate) fn variance(&self, y: &[f32]) -> f32 {
        if !self.solved {
            return 0.0;
        }
        let mut half = y.to_vec();
        self.cholesky.solve_lower(&mut half);
        dot(&half, &half)
    }

    /// Makes the matrix of a row without entries.
    pub(crate) fn factor_alone(&mut self, side: &Side, gram: &[f32]) {
        self.factor.fill(0.0);
        let unobserved = side.unobserved_of(0);
        self.matrix.clear();
        self.matrix.extend(gram.iter().map(|g| unobserved * g));
        self.finish(side, gram, 0, None);
    }

    /// Solves for the row with these entries in `table`, and this prior mean.
    pub(crate) fn solve(
        &mut self,
        side: &Side,
        gram: &[f32],
        table: &[f32],
        entries: &Entries,
        mean: Option<&[f32]>,
    ) {
        self.factor.fill(0.0);
        self.solved = false;
        let n = entries.starts.len();
        if n == 0 {
            if let Some(mean) = mean {
                self.factor.copy_from_slice(mean);
            }
            return;
        }
        let unobserved = side.unobserved_of(n);
        self.matrix.clear();
        self.matrix.extend(gram.iter().map(|g| unobserved * g));
        syrk_add_at(&mut self.matrix, side.d, table, &entries.starts, &entries.weights);
        self.coefficients.clear();
        self.coefficients.extend(entries.pulls());
        add_rows(table, &entries.starts, &self.coefficients, &mut self.factor);
        self.finish(side, gram, n, mean);
    }

    /// Solves from sums gathered before.
    pub(crate) fn solve_from(
        &mut self,
        side: &Side,
        gram: &[f32],
        (matrix, b): (&[f32], &[f32]),
        entries: usize,
        mean: Option<&[f32]>,
    ) {
        let unobserved = side.unobserved_of(entries);
        self.matrix.clear();
        let sums = gram.iter().zip(matrix);
        self.matrix.extend(sums.map(|(g, m)| unobserved * g + m));
        self.factor.copy_from_slice(b);
        self.finish(side, gram, entries, mean);
    }

    fn finish(&mut self, side: &Side, gram: &[f32], n_entries: usize, mean: Option<&[f32]>) {
        let lambda = side.lambda_of(n_entries, mean.is_some());
        if let Some(mean) = mean {
            side.draw(gram, n_entries, mean, &mut self.factor);
        }
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

    /// Improves `x` block by block for the row whose entries are in `self.entries`.
    fn sweep(&mut self, side: &Side, gram: &[f32], table: &[f32], mean: Option<&[f32]>, x: &mut [f32]) {
        let (d, n) = (side.d, self.entries.starts.len());
        let lambda = side.lambda_of(n, mean.is_some());
        let absent = 1.0 - side.exposure(n);
        let unobserved = side.unobserved_of(n);
        let starts = &self.entries.starts;
        self.predicted.clear();
        self.predicted.resize(n, 0.0);
        dots_at(table, starts, x, &mut self.predicted);
        for start in (0..d).step_by(side.block) {
            let end = (start + side.block).min(d);
            let width = end - start;
            self.matrix.clear();
            for i in start..end {
                let row = &gram[i * d + start..i * d + end];
                self.matrix.extend(row.iter().map(|g| unobserved * g));
                self.matrix[(i - start) * width + i - start] += lambda;
            }
            let own = &table[start..];
            syrk_add_at(&mut self.matrix, width, own, starts, &self.entries.weights);
            // The gradient of the block, negated, becomes the step.
            self.moved.clear();
            self.moved.extend_from_slice(x);
            if let Some(mean) = mean {
                axpy(-absent, mean, &mut self.moved);
            }
            let step = &mut self.factor[..width];
            dot_rows(&gram[start * d..end * d], &self.moved, step);
            for (k, step) in step.iter_mut().enumerate() {
                let drawn = x[start + k] - mean.map_or(0.0, |mean| mean[start + k]);
                *step = -unobserved * *step - lambda * drawn;
            }
            self.coefficients.clear();
            let pulls = self
                .entries
                .pulls()
                .zip(&self.entries.weights)
                .zip(&self.predicted);
            self.coefficients.extend(pulls.map(|((pull, w), p)| pull - w * p));
            add_rows(own, starts, &self.coefficients, step);
            if self.cholesky.factor(&self.matrix, width).is_err() {
                x.fill(0.0);
                return;
            }
            self.cholesky.solve(step);
            axpy(1.0, step, &mut x[start..end]);
            if end < d {
                self.coefficients.fill(0.0);
                dots_at(own, starts, step, &mut self.coefficients);
                axpy(1.0, &self.coefficients, &mut self.predicted);
            }
        }
        if x.iter().any(|x| !x.is_finite()) {
            x.fill(0.0);
        }
    }
}

/// Entries up to which a row is solved from a factor shared by all rows of the same length.
const SHORT_MAX: usize = 12;

/// For short rows: A = LLᵀ + YᵀWY with L the same for all rows of n entries, since λ depends on n only, and on whether there is a prior mean. With
/// Z = L⁻¹YᵀW^½ the solution is L⁻ᵀZ(I + ZᵀZ)⁻¹W^½t (Woodbury 1950): n·d²/2 + n²·d/2 multiplications, not d³/6.
struct Short {
    bases: Vec<Option<Cholesky>>,
    /// The same for rows with a prior mean, if λ is another there.
    drawn: Option<Vec<Option<Cholesky>>>,
}

impl Short {
    fn new(side: &Side, gram: &[f32]) -> Short {
        let base = |n: usize, drawn: bool| {
            let unobserved = side.unobserved_of(n);
            let mut matrix: Vec<f32> = gram.iter().map(|g| unobserved * g).collect();
            (0..side.d).for_each(|i| matrix[i * side.d + i] += side.lambda_of(n, drawn));
            let mut cholesky = Cholesky::default();
            cholesky.factor(&matrix, side.d).ok().map(|()| cholesky)
        };
        let most = SHORT_MAX.min(side.d / 4);
        Short {
            bases: (1..=most).map(|n| base(n, false)).collect(),
            drawn: (side.pull > 0.0).then(|| (1..=most).map(|n| base(n, true)).collect()),
        }
    }

    /// Solves a row into `out`, which holds what its prior mean adds to the right-hand side, or zeros; false if it is not
    /// short or cannot be solved so.
    fn solve(
        &self,
        (columns, values): (&[u32], &[f32]),
        other: &[f32],
        d: usize,
        drawn: bool,
        out: &mut [f32],
    ) -> bool {
        let n = columns.len();
        let bases = self.drawn.as_ref().filter(|_| drawn).unwrap_or(&self.bases);
        let Some(Some(base)) = n.checked_sub(1).and_then(|at| bases.get(at)) else {
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
        // With q = L⁻¹r for the prior's part r, the solution is L⁻ᵀ(q + Z(I + ZᵀZ)⁻¹(W^½t − Zᵀq)).
        if out.iter().any(|r| *r != 0.0) {
            base.solve_lower(out);
            for (right, z) in right.iter_mut().zip(z.chunks_exact(d)) {
                *right -= dot(z, out);
            }
        }
        small.solve(&mut right);
        for (z, weight) in z.chunks_exact(d).zip(&right) {
            axpy(*weight, z, out);
        }
        base.solve_upper(out);
        out.iter().all(|x| x.is_finite())
    }
}

/// Solves every row of `entries` against `other` into `out`, which holds the rows as they were. In parallel; each row
/// on its own.
pub(crate) fn step(entries: &Csr, other: &[f32], out: &mut [f32], side: &Side, prior: Option<Prior<'_>>) {
    let d = side.d;
    let gram = side.gram(other);
    let by_blocks = side.block < d;
    let short = (!by_blocks).then(|| Short::new(side, &gram));
    parallel_rows_with(
        out,
        d,
        32,
        || State::new(side),
        |state, row, x| {
            let (columns, values) = entries.row(row);
            let mean = prior.and_then(|prior| prior.of(row, d));
            if let Some(short) = &short {
                x.fill(0.0);
                if let Some(mean) = mean {
                    side.draw(&gram, columns.len(), mean, x);
                }
                if short.solve((columns, values), other, d, mean.is_some(), x) {
                    return;
                }
            }
            let mut list = std::mem::take(&mut state.entries);
            list.of(columns, values, d);
            if by_blocks && !columns.is_empty() {
                state.entries = list;
                state.sweep(side, &gram, other, mean, x);
            } else {
                state.solve(side, &gram, other, &list, mean);
                x.copy_from_slice(state.factor());
                state.entries = list;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    struct Case {
        side: Side,
        other: Vec<f32>,
        gram: Vec<f32>,
        mean: Vec<f32>,
    }

    fn case(d: usize, block: usize) -> Case {
        let side = Side {
            d,
            block,
            unobserved: 0.2,
            absence: Absence::new(0.4, 5.0),
            others: Some(Arc::new((1..=40).map(|n| n as f32 / 20.0).collect())),
            reg: 0.01,
            exponent: 1.0,
            n_other: 40,
            handover: 10.0,
            steepness: 2.0,
            pull: 3.0,
        };
        let mut stream = SeededStream::new(3, 0);
        let other: Vec<f32> = (0..40 * d).map(|_| stream.normal() as f32 * 0.3).collect();
        let mean = (0..d).map(|_| stream.normal() as f32 * 0.3).collect();
        Case {
            gram: side.gram(&other),
            side,
            other,
            mean,
        }
    }

    fn row(n: usize) -> (Vec<u32>, Vec<f32>) {
        let value = |k: usize| if k % 4 == 3 { -0.7 } else { 0.5 + k as f32 };
        (
            (0..n as u32).map(|c| c * 3).collect(),
            (0..n).map(value).collect(),
        )
    }

    #[test]
    fn short_rows_are_solved_like_long_ones() {
        let Case {
            side,
            other,
            gram,
            mean,
        } = case(48, 48);
        let short = Short::new(&side, &gram);
        for (n, with_mean) in (1..=SHORT_MAX).flat_map(|n| [(n, false), (n, true)]) {
            let (columns, values) = row(n);
            let mean = with_mean.then_some(mean.as_slice());
            let mut state = State::new(&side);
            let mut entries = Entries::default();
            entries.of(&columns, &values, side.d);
            state.solve(&side, &gram, &other, &entries, mean);
            let mut out = vec![0f32; side.d];
            mean.inspect(|mean| side.draw(&gram, n, mean, &mut out));
            assert!(short.solve((&columns, &values), &other, side.d, with_mean, &mut out));
            for (a, b) in out.iter().zip(state.factor()) {
                assert!((a - b).abs() < 1e-4, "{n}, prior {with_mean}: {a} {b}");
            }
        }
        assert!(!short.solve((&[], &[]), &other, side.d, false, &mut vec![0f32; side.d]));
    }

    /// The gradient of the objective, written down term by term in `f64`.
    fn gradient(case: &Case, columns: &[u32], values: &[f32], mean: Option<&[f32]>, x: &[f32]) -> Vec<f64> {
        let d = case.side.d;
        let rows: Vec<&[f32]> = case.other.chunks_exact(d).collect();
        let product = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let n = columns.len() as f64;
        let absent = 1.0 - n * n / (n * n + 100.0);
        let more = f64::from(case.side.pull) * (1.0 - n / (n + 10.0));
        let unobserved = 0.2 * (n / 5.0).powf(0.4);
        let lambda = 0.01 * (n + unobserved * 40.0) * (1.0 + mean.map_or(0.0, |_| more));
        let zero = vec![0f32; d];
        let mean = mean.unwrap_or(&zero);
        let mut g: Vec<f64> = (0..d)
            .map(|i| lambda * (f64::from(x[i]) - f64::from(mean[i])))
            .collect();
        for (at, row) in rows.iter().enumerate() {
            let weight = unobserved * (at + 1) as f64 / 20.0;
            let miss = weight * (product(row, x) - absent * product(row, mean));
            (0..d).for_each(|i| g[i] += miss * f64::from(row[i]));
        }
        for (column, value) in columns.iter().zip(values) {
            let row = rows[*column as usize];
            let target = if *value > 0.0 { 1.0 } else { 0.0 };
            let miss = f64::from(value.abs()) * (product(row, x) - target);
            (0..d).for_each(|i| g[i] += miss * f64::from(row[i]));
        }
        g
    }

    #[test]
    fn both_ways_end_where_the_gradient_is_zero_with_and_without_a_prior() {
        for (block, with_mean) in [(20, false), (20, true), (6, false), (6, true)] {
            let case = case(20, block);
            let (columns, values) = row(13);
            let mean = with_mean.then_some(case.mean.as_slice());
            let mut x = vec![0f32; 20];
            let mut state = State::new(&case.side);
            state.entries.of(&columns, &values, 20);
            if block == 20 {
                let entries = state.entries.clone();
                state.solve(&case.side, &case.gram, &case.other, &entries, mean);
                x.copy_from_slice(state.factor());
            } else {
                for _ in 0..200 {
                    state.sweep(&case.side, &case.gram, &case.other, mean, &mut x);
                }
            }
            let g = gradient(&case, &columns, &values, mean, &x);
            assert!(x.iter().any(|x| x.abs() > 0.01));
            assert!(
                g.iter().all(|g| g.abs() < 1e-3),
                "block {block}, prior {with_mean}: {g:?}"
            );
        }
    }
}
