//! How likely people are to look at each place of a slate.
//!
//! In the position-based model someone acts on an item if they look at its place (probability θ of the place) and the item suits them. What is shown first is acted on more than
//! it deserves, and a ranker that learns from acts alone learns to repeat itself. θ is known up to a factor; here θ of the first place is 1.

use std::collections::BTreeMap;

/// Something shown, and whether it was acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impression {
    /// What is alike in how well it suits: an item, or an item for a kind of person. With swaps: what the swap was drawn for.
    pub key: u64,
    /// Place, from 1.
    pub place: u32,
    /// Whether it was acted on.
    pub acted: bool,
}

/// Places beyond this count as this one.
pub const PLACES_MAX: usize = 50;
/// θ is at least this, so that weights stay bounded.
const LEAST: f64 = 0.02;

fn place(impression: &Impression) -> usize {
    (impression.place.max(1) as usize).min(PLACES_MAX) - 1
}

fn n_places(impressions: &[Impression]) -> usize {
    impressions.iter().map(|i| place(i) + 1).max().unwrap_or(0)
}

fn normalised(mut theta: Vec<f64>) -> Vec<f64> {
    let first = theta.first().copied().unwrap_or(1.0);
    theta
        .iter_mut()
        .for_each(|t| *t = (*t / first).clamp(LEAST, 1.0 / LEAST));
    theta
}

/// θ by place from logs without interventions, by expectation and maximisation: whether someone looked, and whether the item suits, are filled in
/// from the current guess, then re-estimated. It needs items that come at several places, and takes it that where they come does not depend on how well they suit
/// this time; `None` if no key comes at two places.
///
/// Source: M. Richardson, E. Dominowska and R. Ragno (2007), "Predicting clicks", WWW, for the model; X. Wang, N. Golbandi et al. (2018),
/// "Position bias estimation for unbiased learning to rank in personal search", WSDM, for the steps. Cost: cells (key, place) × rounds.
pub fn by_expectation(impressions: &[Impression], rounds: usize) -> Option<Vec<f64>> {
    let n = n_places(impressions);
    let mut cells: BTreeMap<(u64, usize), (f64, f64)> = BTreeMap::new();
    for impression in impressions {
        let cell = cells.entry((impression.key, place(impression))).or_default();
        cell.0 += 1.0;
        cell.1 += f64::from(u8::from(impression.acted));
    }
    let mut keys: Vec<u64> = cells.keys().map(|(key, _)| *key).collect();
    keys.dedup();
    if keys.len() == cells.len() {
        return None;
    }
    let cells: Vec<(usize, usize, f64, f64)> = cells
        .into_iter()
        .filter_map(|((key, place), (shown, acted))| {
            Some((keys.binary_search(&key).ok()?, place, shown, acted))
        })
        .collect();
    let total: f64 = cells.iter().map(|c| c.2).sum();
    let rate = (cells.iter().map(|c| c.3).sum::<f64>() / total).clamp(1e-6, 0.5);
    let mut theta = vec![0.5; n];
    let mut suits = vec![(rate * 2.0).min(0.9); keys.len()];
    for _ in 0..rounds {
        let (mut looked, mut of_place) = (vec![0.0; n], vec![0.0; n]);
        let (mut suited, mut of_key) = (vec![0.0; keys.len()], vec![0.0; keys.len()]);
        for (key, place, shown, acted) in &cells {
            let (t, s) = (theta[*place], suits[*key]);
            let neither = (1.0 - t * s).max(1e-12);
            let idle = shown - acted;
            looked[*place] += acted + idle * t * (1.0 - s) / neither;
            of_place[*place] += shown;
            suited[*key] += acted + idle * s * (1.0 - t) / neither;
            of_key[*key] += shown;
        }
        for at in 0..n {
            if of_place[at] > 0.0 {
                theta[at] = (looked[at] / of_place[at]).clamp(1e-4, 1.0);
            }
        }
        // Half an act among two tries beforehand, so that rare items do not run to 0 or 1.
        for at in 0..keys.len() {
            suits[at] = (suited[at] + 2.0 * rate) / (of_key[at] + 2.0);
        }
    }
    Some(normalised(theta))
}

/// θ by place from logs in which what stands where was partly drawn by lot: the same key at different places differs in nothing but the place. For
/// each pair of places the keys that came at both are compared, each with the same weight at both; logarithms of ratios are then brought
/// together by weighted least squares. `None` if the places are not all connected by such keys.
///
/// Source: A. Agarwal, I. Zaitsev, X. Wang et al. (2019), "Estimating position bias without intrusive interventions", WSDM. Cost: keys × places².
pub fn by_interventions(impressions: &[Impression]) -> Option<Vec<f64>> {
    let n = n_places(impressions);
    let mut by_key: BTreeMap<u64, BTreeMap<usize, (f64, f64)>> = BTreeMap::new();
    for impression in impressions {
        let cell = by_key
            .entry(impression.key)
            .or_default()
            .entry(place(impression))
            .or_default();
        cell.0 += 1.0;
        cell.1 += f64::from(u8::from(impression.acted));
    }
    // Sums of rates at the lower and the upper place of each pair, and the acts behind them.
    let mut pairs: BTreeMap<(usize, usize), (f64, f64, f64)> = BTreeMap::new();
    for cells in by_key.values() {
        for (low, (shown_low, acted_low)) in cells {
            for (high, (shown_high, acted_high)) in cells.range(low + 1..) {
                // As exact as the rarer of both.
                let weight = shown_low * shown_high / (shown_low + shown_high);
                let pair = pairs.entry((*low, *high)).or_default();
                pair.0 += weight * acted_low / shown_low;
                pair.1 += weight * acted_high / shown_high;
                pair.2 += acted_low + acted_high;
            }
        }
    }
    // Normal equations of log θ with the first place at 0.
    let (mut a, mut b) = (vec![vec![0.0; n]; n], vec![0.0; n]);
    for ((low, high), (at_low, at_high, acts)) in pairs {
        if at_low > 0.0 && at_high > 0.0 {
            let difference = (at_high / at_low).ln();
            a[low][low] += acts;
            a[high][high] += acts;
            a[low][high] -= acts;
            a[high][low] -= acts;
            b[high] += acts * difference;
            b[low] -= acts * difference;
        }
    }
    let logs = solve(a, b)?;
    Some(normalised(logs.into_iter().map(f64::exp).collect()))
}

/// Solves with the first unknown at 0 by elimination; `None` if the others are not determined.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for pivot in 1..n {
        if a[pivot][pivot] <= 1e-9 {
            return None;
        }
        for row in pivot + 1..n {
            let factor = a[row][pivot] / a[pivot][pivot];
            if factor != 0.0 {
                let (above, below) = a.split_at_mut(row);
                below[0]
                    .iter_mut()
                    .zip(&above[pivot])
                    .skip(pivot)
                    .for_each(|(x, p)| *x -= factor * p);
                b[row] -= factor * b[pivot];
            }
        }
    }
    let mut x = vec![0.0; n];
    for row in (1..n).rev() {
        let known: f64 = (row + 1..n).map(|column| a[row][column] * x[column]).sum();
        x[row] = (b[row] - known) / a[row][row];
    }
    (n > 0).then_some(x)
}
