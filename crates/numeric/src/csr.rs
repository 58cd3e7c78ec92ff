//! Compressed sparse rows.

/// What is wrong with the parts of a matrix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sparse matrix: {0}")]
pub struct CsrError(String);

/// A sparse matrix by rows: columns ascending within a row, none twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Csr {
    n_columns: usize,
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Csr {
    /// Builds from (row, column, value) in any order; values of one cell are added in the order given.
    ///
    /// # Panics
    /// If a row or column is out of bounds.
    pub fn from_triplets(n_rows: usize, n_columns: usize, triplets: &[(u32, u32, f32)]) -> Csr {
        let mut offsets = vec![0usize; n_rows + 1];
        for (row, column, _) in triplets {
            assert!((*column as usize) < n_columns, "column {column} of {n_columns}");
            offsets[*row as usize + 1] += 1;
        }
        for row in 0..n_rows {
            offsets[row + 1] += offsets[row];
        }
        let mut next = offsets.clone();
        let mut cells = vec![(0u32, 0f32); triplets.len()];
        for (row, column, value) in triplets {
            cells[next[*row as usize]] = (*column, *value);
            next[*row as usize] += 1;
        }
        let mut matrix = Csr {
            n_columns,
            offsets: vec![0],
            columns: Vec::with_capacity(cells.len()),
            values: Vec::with_capacity(cells.len()),
        };
        for row in 0..n_rows {
            let run = &mut cells[offsets[row]..offsets[row + 1]];
            run.sort_by_key(|cell| cell.0);
            let start = matrix.columns.len();
            for (column, value) in run {
                if matrix.columns.len() > start && matrix.columns.last() == Some(column) {
                    *matrix.values.last_mut().expect("as long as columns") += *value;
                } else {
                    matrix.columns.push(*column);
                    matrix.values.push(*value);
                }
            }
            matrix.offsets.push(matrix.columns.len());
        }
        matrix
    }

    /// Checks parts that came from outside.
    ///
    /// # Errors
    /// [`CsrError`] if offsets do not rise from 0 to the number of values, or columns are out of
    /// bounds or not ascending within a row, or a value is not finite.
    pub fn from_parts(
        n_columns: usize,
        offsets: Vec<usize>,
        columns: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Csr, CsrError> {
        let fail = |reason: &str| Err(CsrError(reason.to_owned()));
        if offsets.first() != Some(&0) || offsets.last() != Some(&columns.len()) {
            return fail("offsets do not span the values");
        }
        if columns.len() != values.len() {
            return fail("as many columns as values expected");
        }
        if offsets.windows(2).any(|w| w[0] > w[1]) {
            return fail("offsets fall");
        }
        if values.iter().any(|v| !v.is_finite()) {
            return fail("a value is not finite");
        }
        for w in offsets.windows(2) {
            let row = &columns[w[0]..w[1]];
            if row.windows(2).any(|c| c[0] >= c[1]) || row.last().is_some_and(|c| *c as usize >= n_columns) {
                return fail("columns out of order or bounds");
            }
        }
        Ok(Csr {
            n_columns,
            offsets,
            columns,
            values,
        })
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Number of columns.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Number of stored cells.
    pub fn n_cells(&self) -> usize {
        self.columns.len()
    }

    /// Columns and values of a row; empty for a row that is not there.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        if row >= self.n_rows() {
            return (&[], &[]);
        }
        let run = self.offsets[row]..self.offsets[row + 1];
        (&self.columns[run.clone()], &self.values[run])
    }

    /// Value of a cell, zero if it is not stored.
    pub fn get(&self, row: usize, column: u32) -> f32 {
        let (columns, values) = self.row(row);
        columns.binary_search(&column).map_or(0.0, |at| values[at])
    }

    /// Row starts, columns and values.
    pub fn parts(&self) -> (&[usize], &[u32], &[f32]) {
        (&self.offsets, &self.columns, &self.values)
    }

    /// Rows become columns.
    pub fn transpose(&self) -> Csr {
        let mut offsets = vec![0usize; self.n_columns + 1];
        for column in &self.columns {
            offsets[*column as usize + 1] += 1;
        }
        for column in 0..self.n_columns {
            offsets[column + 1] += offsets[column];
        }
        let mut next = offsets.clone();
        let mut columns = vec![0u32; self.columns.len()];
        let mut values = vec![0f32; self.columns.len()];
        for row in 0..self.n_rows() {
            let (row_columns, row_values) = self.row(row);
            for (column, value) in row_columns.iter().zip(row_values) {
                let at = next[*column as usize];
                columns[at] = row as u32;
                values[at] = *value;
                next[*column as usize] += 1;
            }
        }
        Csr {
            n_columns: self.n_rows(),
            offsets,
            columns,
            values,
        }
    }

    /// y ← Ax, rows in order.
    ///
    /// # Panics
    /// If `x` is shorter than there are columns.
    pub fn multiply(&self, x: &[f32]) -> Vec<f32> {
        assert!(
            x.len() >= self.n_columns,
            "vector of {} for {}",
            x.len(),
            self.n_columns
        );
        (0..self.n_rows())
            .map(|row| {
                let (columns, values) = self.row(row);
                columns.iter().zip(values).map(|(c, v)| x[*c as usize] * v).sum()
            })
            .collect()
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.offsets.len() * size_of::<usize>() + self.columns.len() * 8
    }
}

#[cfg(test)]
#[allow(
    clippy::needless_range_loop,
    reason = "oracles are written as textbooks write them"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_dense_table(cells in prop::collection::vec((0u32..7, 0u32..9, -4i32..5), 0..60)) {
            let mut dense = [[0f32; 9]; 7];
            let triplets: Vec<_> = cells.iter().map(|(r, c, v)| (*r, *c, *v as f32)).collect();
            for (r, c, v) in &triplets {
                dense[*r as usize][*c as usize] += v;
            }
            let matrix = Csr::from_triplets(7, 9, &triplets);
            let turned = matrix.transpose();
            for r in 0..7 {
                for c in 0..9 {
                    prop_assert_eq!(matrix.get(r, c as u32), dense[r][c]);
                    prop_assert_eq!(turned.get(c, r as u32), dense[r][c]);
                }
            }
            prop_assert_eq!(&turned.transpose(), &matrix);
            let x: Vec<f32> = (0..9).map(|i| i as f32).collect();
            for (r, y) in matrix.multiply(&x).into_iter().enumerate() {
                prop_assert_eq!(y, (0..9).map(|c| dense[r][c] * c as f32).sum::<f32>());
            }
            let (offsets, columns, values) = matrix.parts();
            let again = Csr::from_parts(9, offsets.to_vec(), columns.to_vec(), values.to_vec());
            prop_assert_eq!(again.as_ref(), Ok(&matrix));
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        for (offsets, columns, values) in [
            (vec![], vec![], vec![]),
            (vec![0, 2], vec![0], vec![1.0]),
            (vec![0, 2, 1], vec![0], vec![1.0]),
            (vec![0, 1], vec![3], vec![1.0]),
            (vec![0, 2], vec![1, 1], vec![1.0, 1.0]),
            (vec![0, 1], vec![0], vec![f32::NAN]),
            (vec![0, 1], vec![0], vec![]),
        ] {
            assert!(Csr::from_parts(3, offsets, columns, values).is_err());
        }
    }
}
