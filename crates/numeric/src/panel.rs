//! A sparse matrix times a panel: a dense table so narrow that its rows stay in registers and the whole of it, or the
//! part that is asked for often, in the second-level cache.

use crate::Csr;
#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::wide::wide;

/// Columns of a panel.
pub const PANEL: usize = 32;

/// Factors of what is added up.
#[derive(Debug, Clone, Copy)]
pub struct PanelTerms {
    /// Of the product.
    pub product: f32,
    /// Of the rows of `from`.
    pub from: f32,
    /// Of what was in `out` before; zero leaves it unread.
    pub own: f32,
}

impl PanelTerms {
    /// The product alone.
    pub const PLAIN: PanelTerms = PanelTerms {
        product: 1.0,
        from: 0.0,
        own: 0.0,
    };
}

/// out ← product·(matrix × table) + from·`from` + own·out; all row-major and [`PANEL`] wide. `from` may be empty if its
/// factor is zero. Entries at even and at odd places of a row are summed apart: one addition need not wait for the other.
///
/// # Panics
/// If lengths do not fit.
pub fn multiply_panel(matrix: &Csr, table: &[f32], terms: PanelTerms, from: &[f32], out: &mut [f32]) {
    assert_eq!(table.len(), matrix.n_columns() * PANEL, "table length");
    assert_eq!(out.len(), matrix.n_rows() * PANEL, "result length");
    assert!(
        terms.from == 0.0 || from.len() == out.len(),
        "as many rows to add"
    );
    let (table, _) = table.as_chunks::<PANEL>();
    let (out, _) = out.as_chunks_mut::<PANEL>();
    #[cfg(target_arch = "x86_64")]
    if simd::available() {
        // SAFETY: the machine has the features, which is all that the call asks for.
        unsafe { simd::panel(matrix, table, terms, from, out) };
        return;
    }
    multiply_plain(matrix, table, terms, from, out);
}

#[inline(always)]
pub(crate) fn add_up(terms: PanelTerms, sum: f32, from: f32, own: f32) -> f32 {
    let sum = terms.product * sum;
    let sum = if terms.from == 0.0 {
        sum
    } else {
        terms.from.mul_add(from, sum)
    };
    if terms.own == 0.0 {
        sum
    } else {
        terms.own.mul_add(own, sum)
    }
}

wide! {
    fn multiply_plain(matrix: &Csr, table: &[[f32; PANEL]], terms: PanelTerms, from: &[f32], out: &mut [[f32; PANEL]]) {
        let (from, _) = from.as_chunks::<PANEL>();
        for (at, out) in out.iter_mut().enumerate() {
            let (columns, values) = matrix.row(at);
            // Two entries at a time, so that both sums stay in registers.
            let (mut even, mut odd) = ([0f32; PANEL], [0f32; PANEL]);
            let (column_pairs, column_rest) = columns.as_chunks::<2>();
            let (value_pairs, value_rest) = values.as_chunks::<2>();
            for (columns, values) in column_pairs.iter().zip(value_pairs) {
                let rows = [&table[columns[0] as usize], &table[columns[1] as usize]];
                for lane in 0..PANEL {
                    even[lane] = values[0].mul_add(rows[0][lane], even[lane]);
                    odd[lane] = values[1].mul_add(rows[1][lane], odd[lane]);
                }
            }
            for (column, value) in column_rest.iter().zip(value_rest) {
                let row = &table[*column as usize];
                for (even, x) in even.iter_mut().zip(row) {
                    *even = value.mul_add(*x, *even);
                }
            }
            let from = from.get(at).unwrap_or(&[0.0; PANEL]);
            let sums = even.iter().zip(&odd).map(|(even, odd)| even + odd);
            for ((out, sum), from) in out.iter_mut().zip(sums).zip(from) {
                *out = add_up(terms, sum, *from, *out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededStream;
    use proptest::prelude::*;

    proptest! {
        /// Against sums in `f64`, and the wide form against the plain one to the last bit.
        #[test]
        fn products_are_the_plain_sums(rows in 1usize..12, columns in 1usize..20, seed in 0u64..500, which in 0usize..3) {
            let mut stream = SeededStream::new(seed, 4);
            let mut cells = Vec::new();
            for row in 0..rows {
                for column in 0..columns {
                    if stream.uniform() < 0.4 {
                        cells.push((row as u32, column as u32, stream.normal() as f32));
                    }
                }
            }
            let matrix = Csr::from_triplets(rows, columns, &cells);
            let mut table = |n: usize| (0..n * PANEL).map(|_| stream.normal() as f32).collect::<Vec<f32>>();
            let (dense, from, before) = (table(columns), table(rows), table(rows));
            let terms = [
                PanelTerms::PLAIN,
                PanelTerms { product: 0.5, from: -1.0, own: 0.0 },
                PanelTerms { product: 2.0, from: -2.0, own: -1.0 },
            ][which];
            let (mut out, mut plain) = (before.clone(), before.clone());
            multiply_panel(&matrix, &dense, terms, &from, &mut out);
            multiply_plain(&matrix, dense.as_chunks().0, terms, &from, plain.as_chunks_mut().0);
            for row in 0..rows {
                for lane in 0..PANEL {
                    let at = row * PANEL + lane;
                    prop_assert_eq!(out[at].to_bits(), plain[at].to_bits());
                    let sum: f64 = (0..columns)
                        .map(|c| f64::from(matrix.get(row, c as u32)) * f64::from(dense[c * PANEL + lane]))
                        .sum();
                    let want = f64::from(terms.product) * sum
                        + f64::from(terms.from) * f64::from(from[at])
                        + f64::from(terms.own) * f64::from(before[at]);
                    prop_assert!((f64::from(out[at]) - want).abs() < 1e-4, "{} {}", out[at], want);
                }
            }
        }
    }
}
