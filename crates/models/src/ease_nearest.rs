//! EASE over each item's nearest items only, for catalogues whose square does not fit.
//!
//! The column of item j in exact EASE is the ridge regression of j on all other items:
//! B₋ⱼ,ⱼ = (G + Λ)⁻¹₋ⱼ G₋ⱼ,ⱼ. Here only the `neighbours` items nearest to j by cosine enter (as in fsSLIM: Ning and
//! Karypis 2011, "SLIM: Sparse linear methods for top-N recommender systems"), each regression in closed form by
//! Cholesky. With `neighbours` at least n − 1 it is exact EASE. Without `zero_diagonal` the item itself enters as well,
//! and what it tells of itself is left out of the result.
//!
//! Cost: Σ list length² to count, then per item the counts of its neighbours and neighbours³/6 multiplications.
//! Memory: 8 bytes per pair of items that were taken together.

use crate::companions::Row;
use crate::taken::{Taken, largest, of_rows};
use numeric::{Cholesky, Csr, Sums, parallel_chunks_with};

/// G with weights and scales applied, and what is added to its diagonal.
pub(crate) struct Ridge {
    pub(crate) gram: Csr,
    /// Added to the diagonal by place.
    pub(crate) ridge: Vec<f32>,
    /// Whether an item is left out of its own regression.
    pub(crate) zero_diagonal: bool,
}

/// Bytes that counting may need at most, without doing it.
pub(crate) fn bytes_at_most(taken: &Taken) -> u64 {
    let n = taken.n_items() as u64;
    let pairs: u64 = taken.users.iter().map(|list| (list.len() as u64).pow(2)).sum();
    // The rows, once in pieces and once together.
    16 * pairs.min(n * n)
}

/// All of G by rows: Σ over users of both `weight(user)`, times the scales of both.
pub(crate) fn gram(taken: &Taken, scales: &[f64], weight: impl Fn(usize) -> f32 + Sync) -> Csr {
    let n = taken.n_items();
    let users_of = taken.users_of();
    let rows = parallel_chunks_with(
        n,
        32,
        || (Sums::new(n), Row::default()),
        |(sums, gathered), range| {
            let row = |item: usize| {
                for user in &users_of[item] {
                    let weight = weight(*user as usize);
                    let others = &taken.users[*user as usize];
                    others.iter().for_each(|other| sums.add(*other, weight));
                }
                let own = scales[item];
                gathered.take(sums);
                let pairs = gathered.items.iter().zip(&gathered.sums);
                pairs
                    .map(|(other, sum)| (*other, (f64::from(*sum) * own * scales[*other as usize]) as f32))
                    .collect::<Vec<_>>()
            };
            range.map(row).collect::<Vec<_>>()
        },
    );
    of_rows(n, rows.into_iter().flatten())
}

/// Scratch space of one worker.
struct Work {
    /// Place + 1 in the neighbourhood at hand, by item; zero for none.
    at: Vec<u32>,
    matrix: Vec<f32>,
    cholesky: Cholesky,
}

impl Ridge {
    /// B by columns (row j of the result is column j of B), between scaled items.
    pub(crate) fn columns(&self, neighbours: usize, keep: usize) -> Csr {
        let n = self.gram.n_rows();
        let diagonal: Vec<f32> = (0..n).map(|i| self.gram.get(i, i as u32)).collect();
        let columns = parallel_chunks_with(
            n,
            16,
            || Work {
                at: vec![0; n],
                matrix: Vec::new(),
                cholesky: Cholesky::default(),
            },
            |work, range| {
                range
                    .map(|item| self.column(work, item, &diagonal, neighbours, keep))
                    .collect::<Vec<_>>()
            },
        );
        of_rows(n, columns.into_iter().flatten())
    }

    fn column(
        &self,
        work: &mut Work,
        item: usize,
        diagonal: &[f32],
        neighbours: usize,
        keep: usize,
    ) -> Vec<(u32, f32)> {
        let (others, sums) = self.gram.row(item);
        let near = others
            .iter()
            .zip(sums)
            .filter(|(other, _)| **other as usize != item);
        // The item's own diagonal is the same for all, so cosine orders by this.
        let near = near.map(|(other, sum)| (*other, sum / diagonal[*other as usize].sqrt()));
        let mut near = largest(near.collect(), neighbours);
        if !self.zero_diagonal {
            near.push((item as u32, 0.0));
        }
        let m = near.len();
        for (at, (other, _)) in (1u32..).zip(&near) {
            work.at[*other as usize] = at;
        }
        work.matrix.clear();
        work.matrix.resize(m * m, 0.0);
        let mut right = vec![0f32; m];
        for (row, (other, _)) in work.matrix.chunks_exact_mut(m.max(1)).zip(&near) {
            let (columns, values) = self.gram.row(*other as usize);
            for (column, value) in columns.iter().zip(values) {
                if let Some(at) = work.at[*column as usize].checked_sub(1) {
                    row[at as usize] = *value;
                }
            }
        }
        for (at, (other, _)) in near.iter().enumerate() {
            work.matrix[at * m + at] += self.ridge[*other as usize];
        }
        for (other, sum) in others.iter().zip(sums) {
            if let Some(at) = work.at[*other as usize].checked_sub(1) {
                right[at as usize] = *sum;
            }
        }
        near.iter().for_each(|(other, _)| work.at[*other as usize] = 0);
        if m == 0 || work.cholesky.factor(&work.matrix, m).is_err() {
            // Without a pivot above zero there is nothing to be said of this item.
            return Vec::new();
        }
        work.cholesky.solve(&mut right);
        let weights = near.iter().map(|(other, _)| *other).zip(right);
        let weights = weights.filter(|(other, _)| *other as usize != item);
        largest(weights.collect(), keep)
    }
}
