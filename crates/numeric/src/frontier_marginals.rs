//! Probability of an arm at a position where each position takes the first arm that is left, or with probability ε any that is left, whatever stands
//! elsewhere.
//!
//! While the list grows, all arms before some frontier stand on it, the one at the frontier does not, and those beyond it
//! that stand on it were all drawn evenly: given their number, each set of them is as likely as any other. So (position, frontier) is all there is to a state:
//! n²/2 of them, each with at most n successors. Exact; cost O(n³) at worst, for lists of ten some 2 µs, and n for each pair.

/// Probabilities of (arm by its place in the order, position from 0) in lists of `n` of `m` arms; 0 for what is past the end.
pub fn frontier_marginals(m: usize, epsilon: f64, n: usize, pairs: &[(usize, usize)]) -> Vec<f64> {
    let n = n.min(m);
    let states = states(m, epsilon, n);
    let one = |(i, t): &(usize, usize)| {
        let (i, t) = (*i, *t);
        if i >= m || t >= n {
            return 0.0;
        }
        let even = epsilon / (m - t) as f64;
        let from = |(j, chance): (usize, &f64)| match i.cmp(&j) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => chance * (1.0 - epsilon + even),
            std::cmp::Ordering::Greater => chance * even * (1.0 - (t - j) as f64 / (m - 1 - j) as f64),
        };
        states[t].iter().enumerate().map(from).sum()
    };
    pairs.iter().map(one).collect()
}

/// Probabilities of the frontiers at each position: `states[t][j]`.
fn states(m: usize, epsilon: f64, n: usize) -> Vec<Vec<f64>> {
    let mut states = vec![vec![1.0]];
    for t in 0..n.saturating_sub(1) {
        let mut after = vec![0.0; t + 2];
        let even = epsilon / (m - t) as f64;
        for (j, chance) in states[t].iter().enumerate().filter(|(_, chance)| **chance > 0.0) {
            let beyond = m - 1 - j;
            let taken = t - j;
            after[j] += chance * even * (beyond - taken) as f64;
            // The frontier moves on past those beyond it that are taken without a gap.
            let mut run = chance * (1.0 - epsilon + even);
            for l in 0..=taken {
                if beyond == l {
                    break;
                }
                let more = (taken - l) as f64 / (beyond - l) as f64;
                after[j + 1 + l] += run * (1.0 - more);
                run *= more;
            }
        }
        states.push(after);
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums over all lists.
    fn slowly(m: usize, epsilon: f64, n: usize) -> Vec<f64> {
        let mut out = vec![0.0; m * n];
        let mut lists = vec![(Vec::new(), 1.0)];
        for t in 0..n {
            let mut longer = Vec::new();
            for (list, chance) in &lists {
                let left: Vec<usize> = (0..m).filter(|arm| !list.contains(arm)).collect();
                for arm in &left {
                    let first = if arm == &left[0] { 1.0 - epsilon } else { 0.0 };
                    let chance = chance * (first + epsilon / left.len() as f64);
                    out[arm * n + t] += chance;
                    longer.push(([list.as_slice(), &[*arm]].concat(), chance));
                }
            }
            lists = longer;
        }
        out
    }

    #[test]
    fn as_the_sum_over_all_lists() {
        for (m, n) in [(1, 1), (3, 2), (4, 4), (6, 3), (7, 4)] {
            for epsilon in [0.0, 0.1, 0.6, 1.0] {
                let pairs: Vec<_> = (0..m * n).map(|at| (at / n, at % n)).collect();
                let found = frontier_marginals(m, epsilon, n, &pairs);
                for (found, slow) in found.iter().zip(slowly(m, epsilon, n)) {
                    assert!((found - slow).abs() < 1e-12, "{m} {n} {epsilon}: {found} {slow}");
                }
            }
        }
        assert_eq!(frontier_marginals(2, 0.5, 5, &[(2, 0), (0, 2)]), [0.0, 0.0]);
    }
}
