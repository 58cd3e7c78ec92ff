//! How sure implicit ALS is of a score.
//!
//! The score of an item is x·y. Given the item, the posterior of the person is normal with the precision matrix of the fold-in, A/σ², so
//! the score's variance is σ²·yᵀA⁻¹y: exact, by the Cholesky factor that the fold-in made. Given the person, that of
//! the item adds σ²·xᵀA⁻¹x with its A taken to be (cα₀ + k/n)G + λ(k)I: as if its k takers had been any of the n
//! people, and as if those who did not take it had been asked as far as their entries are believed (c = k/(k + h)), with λ of an item with attributes or without; so an item that nobody
//! met is uncertain, not disliked. With G = VΛVᵀ once, that is Σ (vⱼ·x)² / ((cα₀ + k/n)Λⱼ + λ(k)), the
//! same for all items of k entries alike in that. σ² is the mean squared miss on the entries of the training.
//!
//! Source: Gaussian posteriors of one side given the other as in Salakhutdinov and Mnih (2008), "Bayesian probabilistic
//! matrix factorization", and their use in choosing as in Zhao, Zhang and Wang (2013), "Interactive collaborative filtering", CIKM.
//! Cost: d² for a person, d²/2 per item asked about, d per distinct k.

use crate::Someone;
use crate::als::Als;
use crate::als_step::{Side, State};
use numeric::{Csr, SymmetricEigen, dot, dot_rows, parallel_chunks, symmetric_eigen};
use std::collections::BTreeMap;

/// Users whose entries say how far scores miss.
const SAMPLE: usize = 20_000;

/// σ²: the mean of w(t − x·y)² over the entries of an even sample of users.
pub(crate) fn noise(entries: &Csr, users: &[f32], items: &[f32], d: usize) -> f32 {
    let stride = entries.n_rows().div_ceil(SAMPLE).max(1);
    let sums = parallel_chunks(entries.n_rows().div_ceil(stride), 64, |range| {
        let (mut sum, mut n) = (0f64, 0usize);
        for at in range {
            let row = at * stride;
            let user = &users[row * d..(row + 1) * d];
            let (columns, values) = entries.row(row);
            for (column, value) in columns.iter().zip(values) {
                let item = &items[*column as usize * d..(*column as usize + 1) * d];
                let target = if *value > 0.0 { 1.0 } else { 0.0 };
                let miss = target - dot(user, item);
                sum += f64::from(value.abs() * miss * miss);
                n += 1;
            }
        }
        (sum, n)
    });
    let (sum, n) = sums
        .iter()
        .fold((0.0, 0), |total, one| (total.0 + one.0, total.1 + one.1));
    ((sum / n.max(1) as f64) as f32).clamp(1e-6, 1e6)
}

/// The variance that comes of not knowing an item of `entries` entries, for a person whose products with the eigenvectors are
/// `turned`; before σ².
fn of_item(side: &Side, apart: &SymmetricEigen, turned: &[f32], entries: usize, drawn: bool) -> f32 {
    let weight =
        side.believed(entries) * side.unobserved_of(entries) + entries as f32 / side.n_other.max(1) as f32;
    let lambda = side.lambda_of(entries, drawn);
    let terms = turned.iter().zip(&apart.values);
    terms
        .map(|(z, value)| z * z / (weight * value.max(0.0) + lambda))
        .sum()
}

impl Als {
    /// See the head of this file. `None` for items without a factor.
    pub(crate) fn variances_of(&self, someone: Someone<'_>, items: &[u32]) -> Vec<Option<f32>> {
        let folded = self.folded(someone);
        let own = self.user_side();
        let alone;
        let state = if folded.state.is_solved() {
            &folded.state
        } else {
            let mut state = State::new(&own);
            state.factor_alone(&own, &self.gram);
            alone = state;
            &alone
        };
        let side = self.item_side();
        let apart = self
            .apart
            .get_or_init(|| symmetric_eigen(&self.users_gram, side.d).ok());
        let mut turned = vec![0f32; side.d];
        if let Some(apart) = apart {
            dot_rows(&apart.vectors, folded.state.factor(), &mut turned);
        }
        let mut by_entries: BTreeMap<(usize, bool), f32> = BTreeMap::new();
        let one = |item: &u32| {
            let factor = self.factor(*item)?;
            let entries = self.entries_by_now(*item);
            let drawn = side.pull > 0.0 && !self.mean_of(*item).is_empty();
            let unknown = by_entries.entry((entries, drawn)).or_insert_with(|| {
                apart
                    .as_ref()
                    .map_or(0.0, |apart| of_item(&side, apart, &turned, entries, drawn))
            });
            let variance = self.noise * (state.variance(factor) + *unknown);
            Some(if variance.is_finite() { variance } else { 0.0 })
        };
        items.iter().map(one).collect()
    }
}
