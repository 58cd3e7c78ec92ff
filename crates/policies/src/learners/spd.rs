//! Small symmetric positive definite matrices in double precision, row by row. For dimensions of tens; `numeric` has the large ones.

/// Lower factor L of `A = L Lᵀ`; `None` if A is not positive definite.
pub(crate) fn cholesky(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            let rest = a[i * n + j] - sum;
            if i == j {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                l[i * n + i] = rest.sqrt();
            } else {
                l[i * n + j] = rest / l[j * n + j];
            }
        }
    }
    Some(l)
}

/// A⁻¹ from its Cholesky factor.
pub(crate) fn inverse(l: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    for column in 0..n {
        let mut x = vec![0.0; n];
        for i in column..n {
            let sum: f64 = (column..i).map(|k| l[i * n + k] * x[k]).sum();
            x[i] = (f64::from(u8::from(i == column)) - sum) / l[i * n + i];
        }
        for i in (0..n).rev() {
            let sum: f64 = (i + 1..n).map(|k| l[k * n + i] * x[k]).sum();
            x[i] = (x[i] - sum) / l[i * n + i];
        }
        for (i, value) in x.into_iter().enumerate() {
            inverse[i * n + column] = value;
        }
    }
    inverse
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A x, for rows of the length of `x`.
pub(crate) fn times(a: &[f64], x: &[f64]) -> Vec<f64> {
    a.chunks_exact(x.len().max(1)).map(|row| dot(row, x)).collect()
}

/// A ← A + scale · x yᵀ.
pub(crate) fn add_outer(a: &mut [f64], scale: f64, x: &[f64], y: &[f64]) {
    for (row, x) in a.chunks_exact_mut(y.len().max(1)).zip(x) {
        row.iter_mut().zip(y).for_each(|(a, y)| *a += scale * x * y);
    }
}

/// (A + x xᵀ)⁻¹ from A⁻¹, in place (Sherman and Morrison 1950).
pub(crate) fn sherman_morrison(inverse: &mut [f64], x: &[f64]) {
    let ax = times(inverse, x);
    let scale = -1.0 / (1.0 + dot(x, &ax));
    add_outer(inverse, scale, &ax, &ax);
}

/// Eigenvalues with their vectors (as rows), by cyclic Jacobi rotations; ascending.
pub(crate) fn eigen(a: &[f64], n: usize) -> Vec<(f64, Vec<f64>)> {
    let mut a = a.to_vec();
    let mut v: Vec<f64> = (0..n * n)
        .map(|at| f64::from(u8::from(at / n == at % n)))
        .collect();
    for _ in 0..60 {
        let off: f64 = (0..n * n)
            .filter(|at| at / n != at % n)
            .map(|at| a[at] * a[at])
            .sum();
        let all: f64 = a.iter().map(|x| x * x).sum();
        if off <= 1e-28 * all {
            break;
        }
        for (p, q) in (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))) {
            rotate(&mut a, &mut v, n, p, q);
        }
    }
    let mut all: Vec<(f64, Vec<f64>)> = (0..n)
        .map(|i| (a[i * n + i], v[i * n..(i + 1) * n].to_vec()))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all
}

/// Makes `a[p][q]` zero.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
    for matrix in [a, v] {
        for k in 0..n {
            let (x, y) = (matrix[p * n + k], matrix[q * n + k]);
            matrix[p * n + k] = c * x - s * y;
            matrix[q * n + k] = s * x + c * y;
        }
    }
}
