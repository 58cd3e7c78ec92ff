//! Small dense linear algebra in double precision: normal equations and symmetric eigenvalues.

/// Solves `a x = b` in place for a symmetric, positive definite `a` (row-major, n × n; overwritten). False if it is not positive definite.
pub(crate) fn solve_positive(a: &mut [f64], b: &mut [f64]) -> bool {
    let n = b.len();
    for j in 0..n {
        for k in 0..j {
            let factor = a[j * n + k];
            for i in j..n {
                a[i * n + j] -= a[i * n + k] * factor;
            }
        }
        let pivot = a[j * n + j];
        if pivot <= 0.0 || !pivot.is_finite() {
            return false;
        }
        let root = pivot.sqrt();
        for i in j..n {
            a[i * n + j] /= root;
        }
    }
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| a[i * n + k] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|k| a[k * n + i] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i * n + i];
    }
    true
}

/// Eigenvalues and eigenvectors (rows) of a symmetric matrix, by Jacobi's rotations. O(n³) per sweep, some ten sweeps.
pub(crate) fn symmetric_eigen(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut a = matrix.to_vec();
    let mut vectors: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    let scale: f64 = a.iter().map(|v| v * v).sum();
    for _ in 0..60 {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i * n + j].powi(2))
            .sum();
        if off <= 1e-30 * scale {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, p, q);
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), vectors)
}

fn rotate(a: &mut [f64], vectors: &mut [Vec<f64>], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let sign = if theta < 0.0 { -1.0 } else { 1.0 };
    let t = sign / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (akp, akq) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * akp - s * akq, s * akp + c * akq);
    }
    for k in 0..n {
        let (apk, aqk) = (a[p * n + k], a[q * n + k]);
        (a[p * n + k], a[q * n + k]) = (c * apk - s * aqk, s * apk + c * aqk);
    }
    let (before, after) = vectors.split_at_mut(q);
    for (vp, vq) in before[p].iter_mut().zip(&mut after[0]) {
        (*vp, *vq) = (c * *vp - s * *vq, s * *vp + c * *vq);
    }
}

/// The pseudo-inverse of a symmetric, positive semi-definite matrix times a vector.
pub(crate) fn pseudo_solve(matrix: &[f64], b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let (values, vectors) = symmetric_eigen(matrix, n);
    let floor = 1e-10 * values.iter().copied().fold(0.0, f64::max);
    let mut out = vec![0.0; n];
    for (value, vector) in values.iter().zip(&vectors).filter(|(value, _)| **value > floor) {
        let along: f64 = vector.iter().zip(b).map(|(v, b)| v * b).sum::<f64>() / value;
        out.iter_mut().zip(vector).for_each(|(out, v)| *out += along * v);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    #[test]
    fn solutions_solve() {
        let (n, mut stream) = (6, SeededStream::new(3, 0));
        let x: Vec<f64> = (0..n * 4).map(|_| stream.normal()).collect();
        let gram = |ridge: f64| -> Vec<f64> {
            let cell = |i: usize, j: usize| {
                let dot: f64 = (0..4).map(|k| x[i * 4 + k] * x[j * 4 + k]).sum();
                dot + if i == j { ridge } else { 0.0 }
            };
            (0..n * n).map(|at| cell(at / n, at % n)).collect()
        };
        let times = |a: &[f64], v: &[f64]| -> Vec<f64> {
            let row = |i: usize| (0..n).map(|j| a[i * n + j] * v[j]).sum();
            (0..n).map(row).collect()
        };
        let b: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mut solved = b.clone();
        assert!(solve_positive(&mut gram(0.5), &mut solved));
        let back = times(&gram(0.5), &solved);
        assert!(back.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-10));
        // Of rank 4: what the matrix can reach is solved exactly, and the solution is in its range.
        let reachable = times(&gram(0.0), &b);
        let solved = pseudo_solve(&gram(0.0), &reachable);
        let back = times(&gram(0.0), &solved);
        assert!(back.iter().zip(&reachable).all(|(a, b)| (a - b).abs() < 1e-9));
        let again = pseudo_solve(&gram(0.0), &times(&gram(0.0), &solved));
        assert!(again.iter().zip(&solved).all(|(a, b)| (a - b).abs() < 1e-8));
        assert!(!solve_positive(&mut [1.0, 2.0, 2.0, 1.0], &mut [1.0, 1.0]));
    }
}
