//! Solving Ax = b for a small symmetric positive definite A by A = LLᵀ.
//!
//! Left-looking in blocks of eight columns (Golub and Van Loan, *Matrix Computations*, §4.2.5): the
//! inner loops run along rows of length up to d and become vector instructions. n³/6 multiplications.

#[cfg(target_arch = "x86_64")]
use crate::kernels::syrk_by_hand;
use crate::kernels::{axpy_body, dot_body};
#[cfg(target_arch = "x86_64")]
use crate::simd::Square;
use crate::wide::wide;

/// A pivot was not above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("matrix is not positive definite at pivot {pivot}")]
pub struct NotPositiveDefinite {
    /// Row of the pivot.
    pub pivot: usize,
}

const BLOCK: usize = 8;

/// The factor of a matrix, kept so that several right-hand sides can be solved. Reusable.
#[derive(Debug, Clone, Default)]
pub struct Cholesky {
    n: usize,
    /// Row-major `n × n`; the lower triangle is L.
    lower: Vec<f32>,
    /// 1 / Lᵢᵢ.
    inverse: Vec<f32>,
    /// The current panel, transposed: `BLOCK × n`.
    panel: Vec<f32>,
}

impl Cholesky {
    /// Factorises the `n × n` row-major `matrix`, of which only the lower triangle is read.
    ///
    /// # Errors
    /// [`NotPositiveDefinite`] if a pivot is not above zero (or not a number).
    ///
    /// # Panics
    /// If `matrix` is not `n · n` long.
    pub fn factor(&mut self, matrix: &[f32], n: usize) -> Result<(), NotPositiveDefinite> {
        assert_eq!(matrix.len(), n * n, "matrix length");
        self.n = n;
        self.lower.clear();
        self.lower.extend_from_slice(matrix);
        self.inverse.clear();
        self.inverse.resize(n, 0.0);
        self.panel.resize(BLOCK * n, 0.0);
        factor_blocks(self)
    }

    /// Factorises the diagonal block in place: pivot by pivot, taking the outer product of each row off the rows after
    /// it, all lanes at once.
    #[inline(always)]
    fn diagonal(&mut self, start: usize, end: usize) -> Result<(), NotPositiveDefinite> {
        let n = self.n;
        // Transposed: row k holds column k of L. Beyond a short last block it is the identity.
        let mut block = [[0f32; BLOCK]; BLOCK];
        for (k, row) in block.iter_mut().enumerate() {
            row[k] = 1.0;
        }
        for i in start..end {
            for j in start..=i {
                block[j - start][i - start] = self.lower[i * n + j];
            }
        }
        for k in 0..end - start {
            let pivot = block[k][k];
            if !(pivot > 0.0 && pivot.is_finite()) {
                return Err(NotPositiveDefinite { pivot: start + k });
            }
            let root = pivot.sqrt();
            let inverse = 1.0 / root;
            self.inverse[start + k] = inverse;
            block[k].iter_mut().for_each(|x| *x *= inverse);
            block[k][k] = root;
            let own = block[k];
            for i in k + 1..BLOCK {
                let factor = -own[i];
                for (x, own) in block[i].iter_mut().zip(own) {
                    *x = factor.mul_add(own, *x);
                }
            }
        }
        for i in start..end {
            for j in start..=i {
                self.lower[i * n + j] = block[j - start][i - start];
            }
        }
        Ok(())
    }

    /// Solves the rows below the diagonal block: in `panel`, transposed, so that it goes along many rows at once.
    #[inline(always)]
    fn below(&mut self, start: usize, end: usize) {
        let n = self.n;
        let rest = n - end;
        if rest == 0 {
            return;
        }
        let (top, bottom) = self.lower.split_at_mut(end * n);
        for (i, row) in (end..).zip(bottom.chunks_exact(n)) {
            for (k, value) in row[start..end].iter().enumerate() {
                self.panel[k * n + i] = *value;
            }
        }
        for j in start..end {
            let (solved, own) = self.panel.split_at_mut((j - start) * n);
            let own = &mut own[end..n];
            for (k, solved) in solved.chunks_exact(n).enumerate() {
                axpy_body(-top[j * n + start + k], &solved[end..n], own);
            }
            let inverse = self.inverse[j];
            own.iter_mut().for_each(|value| *value *= inverse);
        }
        for (i, row) in (end..).zip(bottom.chunks_exact_mut(n)) {
            for (k, value) in row[start..end].iter_mut().enumerate() {
                *value = self.panel[k * n + i];
            }
        }
    }

    /// Takes the block's outer products off what is left.
    #[inline(always)]
    fn trail(&mut self, start: usize, end: usize) {
        let n = self.n;
        if end - start < BLOCK || end == n {
            return; // The last block, which may be short, has nothing after it.
        }
        #[cfg(target_arch = "x86_64")]
        {
            let at = Square {
                start: end * n + end,
                stride: n,
                d: n - end,
            };
            let starts: [usize; BLOCK] = std::array::from_fn(|k| k * n + end);
            if syrk_by_hand(&mut self.lower, at, &self.panel, &starts, &[-1.0; BLOCK]) {
                return;
            }
        }
        let mut columns = self.panel.chunks_exact(n);
        let panel: [&[f32]; BLOCK] = std::array::from_fn(|_| columns.next().unwrap_or(&[]));
        for i in end..n {
            let row = &mut self.lower[i * n..(i + 1) * n];
            let factors: [f32; BLOCK] = std::array::from_fn(|k| row[start + k]);
            let stop = (i + 4).min(n);
            let target = &mut row[end..stop];
            let p: [&[f32]; BLOCK] = std::array::from_fn(|k| &panel[k][end..stop]);
            for (j, value) in target.iter_mut().enumerate() {
                let mut sum = *value;
                for k in 0..BLOCK {
                    sum = (-factors[k]).mul_add(p[k][j], sum);
                }
                *value = sum;
            }
        }
    }

    /// Solves in place: `b` becomes x.
    ///
    /// # Panics
    /// If `b` is not as long as the factorised matrix is wide.
    pub fn solve(&self, b: &mut [f32]) {
        self.solve_lower(b);
        self.solve_upper(b);
    }

    /// b ← L⁻¹b.
    ///
    /// # Panics
    /// As [`solve`](Self::solve).
    pub fn solve_lower(&self, b: &mut [f32]) {
        assert_eq!(b.len(), self.n, "right-hand side length");
        lower_solved(&self.lower, &self.inverse, b);
    }

    /// b ← L⁻ᵀb.
    ///
    /// # Panics
    /// As [`solve`](Self::solve).
    pub fn solve_upper(&self, b: &mut [f32]) {
        assert_eq!(b.len(), self.n, "right-hand side length");
        upper_solved(&self.lower, &self.inverse, b);
    }
}

wide! {
    fn factor_blocks(of: &mut Cholesky) -> Result<(), NotPositiveDefinite> {
        let mut start = 0;
        while start < of.n {
            let end = (start + BLOCK).min(of.n);
            of.diagonal(start, end)?;
            of.below(start, end);
            of.trail(start, end);
            start = end;
        }
        Ok(())
    }

    fn lower_solved(lower: &[f32], inverse: &[f32], b: &mut [f32]) {
        let n = b.len();
        for i in 0..n {
            let sum = dot_body(&lower[i * n..i * n + i], &b[..i]);
            b[i] = (b[i] - sum) * inverse[i];
        }
    }

    fn upper_solved(lower: &[f32], inverse: &[f32], b: &mut [f32]) {
        let n = b.len();
        for i in (0..n).rev() {
            let x = b[i] * inverse[i];
            b[i] = x;
            axpy_body(-x, &lower[i * n..i * n + i], &mut b[..i]);
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::needless_range_loop,
    reason = "oracles are written as textbooks write them"
)]
mod tests {
    use super::*;
    use crate::SeededStream;
    use proptest::prelude::*;

    /// Gaussian elimination in `f64`, the obvious way.
    fn eliminate(a: &[f32], b: &[f32]) -> Vec<f64> {
        let n = b.len();
        let mut m: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                let row = (0..n).map(|j| f64::from(a[i.max(j) * n + i.min(j)]));
                row.chain([f64::from(b[i])]).collect()
            })
            .collect();
        for i in 0..n {
            for r in i + 1..n {
                let factor = m[r][i] / m[i][i];
                for c in i..=n {
                    m[r][c] -= factor * m[i][c];
                }
            }
        }
        let mut x = vec![0.0; n];
        for i in (0..n).rev() {
            let sum: f64 = (i + 1..n).map(|j| m[i][j] * x[j]).sum();
            x[i] = (m[i][n] - sum) / m[i][i];
        }
        x
    }

    proptest! {
        #[test]
        fn solves_like_elimination(n in 1usize..70, seed in 0u64..50) {
            let mut stream = SeededStream::new(seed, 3);
            let rows: Vec<f32> = (0..n * (n + 3)).map(|_| stream.normal() as f32).collect();
            let mut a = vec![0f32; n * n];
            crate::syrk_add(&mut a, n, &rows, &vec![1.0; n + 3]);
            for i in 0..n {
                a[i * n + i] += n as f32;
            }
            let mut b: Vec<f32> = (0..n).map(|_| stream.normal() as f32).collect();
            let expected = eliminate(&a, &b);
            let mut factor = Cholesky::default();
            factor.factor(&a, n).unwrap();
            factor.solve(&mut b);
            for (got, want) in b.iter().zip(expected) {
                prop_assert!((f64::from(*got) - want).abs() < 1e-4, "{got} {want}");
            }
        }
    }

    #[test]
    fn two_by_two_by_hand_and_refusals() {
        // [[4, 2], [2, 3]] x = [2, 5] has x = [-0.5, 2].
        let mut factor = Cholesky::default();
        factor.factor(&[4.0, 9.0, 2.0, 3.0], 2).unwrap();
        let mut b = [2.0, 5.0];
        factor.solve(&mut b);
        assert!((b[0] + 0.5).abs() < 1e-6 && (b[1] - 2.0).abs() < 1e-6);
        assert_eq!(
            factor.factor(&[1.0, 0.0, 2.0, 1.0], 2),
            Err(NotPositiveDefinite { pivot: 1 })
        );
        assert!(factor.factor(&[f32::NAN], 1).is_err());
    }
}
