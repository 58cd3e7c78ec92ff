//! How alike two items, or two people, are by what is left of their ratings after the baseline.
//!
//! The correlation over those who rated both (or over what both rated), times (n − 1) / (n − 1 + shrinkage) (Koren 2010,
//! TKDD 4(1), §2.2 and §3). Cost of one row: the lengths of the lists that its own entries lead to.

/// Sums by the other side: products, squares of the own, squares of the other, number.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    sums: Vec<[f32; 4]>,
    touched: Vec<u32>,
}

impl Sums {
    /// For this many others.
    pub(crate) fn new(n: usize) -> Sums {
        Sums {
            sums: vec![[0.0; 4]; n],
            touched: Vec::new(),
        }
    }

    /// Likeness of one, whose entries are `own` as (list, rest), to all that stand in those lists as (other, rest), into `row`.
    /// Who correlates not at all is left at zero.
    pub(crate) fn row(
        &mut self,
        own: impl Iterator<Item = (u32, f32)>,
        lists: &[Vec<(u32, f32)>],
        shrinkage: f32,
        row: &mut [f32],
    ) {
        for (list, own) in own {
            for (other, rest) in lists.get(list as usize).into_iter().flatten() {
                let sum = &mut self.sums[*other as usize];
                if sum[3] == 0.0 {
                    self.touched.push(*other);
                }
                sum[0] += own * rest;
                sum[1] += own * own;
                sum[2] += rest * rest;
                sum[3] += 1.0;
            }
        }
        for other in self.touched.drain(..) {
            let [product, a, b, count] = std::mem::take(&mut self.sums[other as usize]);
            let both = (f64::from(a) * f64::from(b)).sqrt() as f32;
            if both > 0.0 {
                row[other as usize] = product / both * (count - 1.0) / (count - 1.0 + shrinkage).max(1e-9);
            }
        }
    }
}

/// The mean of what is left of `near`, each weighing its likeness, of the `most` most alike; 0 of nobody.
pub(crate) fn vote(near: &[(f32, f32)], most: usize) -> f32 {
    let entries = (0u32..).zip(near.iter().map(|(likeness, _)| *likeness));
    let (mut sum, mut total) = (0f32, 0f32);
    for (at, likeness) in numeric::top_k(most, entries.filter(|(_, likeness)| *likeness > 0.0)) {
        sum += likeness * near[at as usize].1;
        total += likeness;
    }
    if total > 0.0 { sum / total } else { 0.0 }
}

/// A square matrix of `n` rows within the limit, or the megabytes that it would take.
pub(crate) fn fits(n: usize, memory_mb_max: u64) -> Result<(), u64> {
    let needed = (4 * n as u64 * n as u64) >> 20;
    if needed > memory_mb_max {
        Err(needed)
    } else {
        Ok(())
    }
}
