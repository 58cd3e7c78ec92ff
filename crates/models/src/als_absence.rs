//! How much it counts that people did not take an item: more of those that many take.
//!
//! Whoever did not take what everybody meets has more likely seen it and let it be. The weight of a pair without entry is α₀s(k) for an item of k entries, s(k) =
//! (max(k, 1)/k̄)^η with k̄ the mean number of entries of items that have any; η = 0 is the plain model. People's matrices then hold
//! α₀Σ s(kᵢ)yᵢyᵢᵀ in place of α₀YᵀY, and that of an item α₀s(k)XᵀX.
//!
//! Source: He, Zhang, Kan and Chua (2016), "Fast matrix factorization for online recommendation with implicit feedback", SIGIR (their c_i, there a share of one weight in all).

use numeric::weighted_gram;
use std::sync::Arc;

/// s(k).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Absence {
    exponent: f32,
    typical: f32,
}

impl Absence {
    /// The same for every item.
    pub(crate) const EVEN: Absence = Absence {
        exponent: 0.0,
        typical: 1.0,
    };

    pub(crate) fn new(exponent: f32, typical: f32) -> Absence {
        Absence { exponent, typical }
    }

    pub(crate) fn share(self, entries: usize) -> f32 {
        if self.exponent == 0.0 {
            return 1.0;
        }
        (entries.max(1) as f32 / self.typical).powf(self.exponent)
    }

    /// The weight that YᵀY has an item of so many entries with: none without any.
    pub(crate) fn counted(self, entries: usize) -> f32 {
        if entries == 0 { 0.0 } else { self.share(entries) }
    }

    /// The share of each item; `None` where all are alike.
    pub(crate) fn shares(self, counts: &[u32]) -> Option<Arc<Vec<f32>>> {
        let of = |count: &u32| self.share(*count as usize);
        (self.exponent != 0.0).then(|| Arc::new(counts.iter().map(of).collect()))
    }
}

/// The mean number of entries of items that have any (k̄); 1 if none has.
pub(crate) fn typical(counts: &[u32]) -> f32 {
    let taken = counts.iter().filter(|count| **count > 0).count();
    let all: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    (all / taken.max(1) as f64).max(1.0) as f32
}

/// Σ s y yᵀ over the rows of a table; with none given every s is 1.
pub(crate) fn gram_by(shares: Option<&[f32]>, table: &[f32], d: usize) -> Vec<f32> {
    match shares {
        Some(shares) => weighted_gram(table, d, shares),
        None => numeric::gram(table, d),
    }
}
