//! Eigenvalues and eigenvectors of a small symmetric matrix, by faer.

use crate::NotConverged;
use faer::Mat;
use faer::Par;
use faer::diag::Diag;
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};

/// A symmetric matrix taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct SymmetricEigen {
    /// Ascending.
    pub values: Vec<f32>,
    /// `n × n`, row-major: row k is the vector of value k, of length one.
    pub vectors: Vec<f32>,
}

/// Takes the `n × n` row-major `matrix` apart, of which only the lower triangle is read. About 9n³ multiplications in
/// `f64`, on one thread.
///
/// # Errors
/// [`NotConverged`] if there is something other than a number in it.
///
/// # Panics
/// If `matrix` is not `n · n` long.
pub fn symmetric_eigen(matrix: &[f32], n: usize) -> Result<SymmetricEigen, NotConverged> {
    assert_eq!(matrix.len(), n * n, "matrix length");
    if matrix.iter().any(|x| !x.is_finite()) {
        return Err(NotConverged);
    }
    let whole = Mat::<f64>::from_fn(n, n, |i, j| f64::from(matrix[i.max(j) * n + i.min(j)]));
    let scratch = self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    let mut memory = faer::dyn_stack::MemBuffer::new(scratch);
    let mut values = Diag::<f64>::zeros(n);
    let mut turns = Mat::<f64>::zeros(n, n);
    self_adjoint_evd(
        whole.as_ref(),
        values.as_mut(),
        Some(turns.as_mut()),
        Par::Seq,
        faer::dyn_stack::MemStack::new(&mut memory),
        Default::default(),
    )
    .map_err(|_| NotConverged)?;
    let values = (0..n).map(|k| values.column_vector()[k] as f32).collect();
    let vectors = (0..n * n).map(|at| turns[(at % n, at / n)] as f32).collect();
    Ok(SymmetricEigen { values, vectors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SeededStream, dot, gram};

    #[test]
    fn values_and_vectors_make_the_matrix_again() {
        let (n, mut stream) = (7, SeededStream::new(4, 0));
        let x: Vec<f32> = (0..11 * n).map(|_| stream.normal() as f32).collect();
        let matrix = gram(&x, n);
        let apart = symmetric_eigen(&matrix, n).unwrap();
        assert!(apart.values.is_sorted());
        for (i, row) in matrix.chunks_exact(n).enumerate() {
            for (k, vector) in apart.vectors.chunks_exact(n).enumerate() {
                let (got, expected) = (dot(row, vector), apart.values[k] * vector[i]);
                assert!((got - expected).abs() < 1e-4, "{i} {k}: {got} {expected}");
            }
        }
        assert!(symmetric_eigen(&[1.0, f32::NAN, f32::NAN, 1.0], 2).is_err());
    }
}
