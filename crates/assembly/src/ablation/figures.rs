//! How good, how broad and how varied lists are, with intervals by bootstrap over people.

use super::world::Person;
use hashbrown::HashMap;
use numeric::SeededStream;
use serde::Serialize;
use std::collections::BTreeMap;

/// Resamples for a mean over people, and for a figure of all people together.
const ROUNDS: usize = 1000;
const ROUNDS_OVERALL: usize = 200;
const LEVEL: f64 = 0.95;

/// A figure with its 95 % interval by bootstrap over people.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean, or the figure itself where there is one for all people together.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What lists come to, or how much two sets of lists differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// NDCG at k; the gain of an item is the weight of the best that the person did with it later.
    pub ndcg: Estimate,
    /// Share of what a person did later that is in the list, out of at most k.
    pub recall: Estimate,
    /// Share of the catalogue that is in anybody's list.
    pub coverage: Estimate,
    /// Gini coefficient of how often each item of the catalogue is in a list; 1 where all lists are one item.
    pub gini: Estimate,
    /// Mean distance (1 − Jaccard) of the categories, tags and references of two items of a list; absent where items have none.
    pub intra_list_diversity: Option<Estimate>,
}

/// One list per person.
pub(super) type Lists = [Vec<u32>];

/// What lists are measured by.
pub(super) struct Measure<'a> {
    pub(super) people: &'a [Person],
    pub(super) k: usize,
    pub(super) n_items: usize,
    pub(super) seed: u64,
    /// Likeness of two items; absent where nothing is known of any.
    pub(super) likeness: Option<&'a (dyn Fn(u32, u32) -> f64 + Sync)>,
}

impl Measure<'_> {
    /// The figures of lists, one per person.
    pub(super) fn of(&self, lists: &Lists) -> Figures {
        self.figures(&[(lists, 1.0)])
    }

    /// The figures of some lists less those of others, for the same people.
    pub(super) fn difference(&self, with: &Lists, without: &Lists) -> Figures {
        self.figures(&[(with, 1.0), (without, -1.0)])
    }

    fn figures(&self, terms: &[(&Lists, f64)]) -> Figures {
        let [coverage, gini] = self.exposure(terms);
        Figures {
            ndcg: self.mean(terms, |person, list| ndcg(list, &person.truth, self.k)),
            recall: self.mean(terms, |person, list| {
                let hits = list.iter().filter(|item| person.truth.contains_key(item));
                hits.count() as f64 / person.truth.len().min(self.k) as f64
            }),
            coverage,
            gini,
            intra_list_diversity: self
                .likeness
                .map(|likeness| self.mean(terms, |_, list| diversity(list, likeness))),
        }
    }

    fn mean(&self, terms: &[(&Lists, f64)], value: impl Fn(&Person, &[u32]) -> f64) -> Estimate {
        let of = |(at, person): (usize, &Person)| {
            terms
                .iter()
                .map(|(lists, sign)| sign * value(person, &lists[at]))
                .sum()
        };
        let values: Vec<f64> = self.people.iter().enumerate().map(of).collect();
        let interval = numeric::bootstrap_mean(&values, ROUNDS, LEVEL, self.seed);
        Estimate {
            mean: interval.mean,
            low: interval.low,
            high: interval.high,
        }
    }

    /// Coverage and Gini coefficient, which are of all people together. Resamples of people repeat some and so see fewer items than all people do: an interval is the spread of
    /// resamples about their own mean, put around the figure and kept within what is possible.
    fn exposure(&self, terms: &[(&Lists, f64)]) -> [Estimate; 2] {
        let n = self.people.len();
        let of = |sample: &[usize]| -> [f64; 2] {
            let mut sums = [0.0; 2];
            for (lists, sign) in terms {
                let mut counts: HashMap<u32, u64> = HashMap::new();
                for item in sample.iter().flat_map(|at| &lists[*at]) {
                    *counts.entry(*item).or_default() += 1;
                }
                sums[0] += sign * counts.len() as f64 / self.n_items.max(1) as f64;
                sums[1] += sign * gini(&counts, self.n_items);
            }
            sums
        };
        let all: Vec<usize> = (0..n).collect();
        let figures = of(&all);
        let drawn: Vec<[f64; 2]> = numeric::parallel_chunks(ROUNDS_OVERALL, 16, |rounds| {
            let draw = |round: usize| {
                let mut stream = SeededStream::new(self.seed, round as u64);
                let sample: Vec<usize> = (0..n).map(|_| stream.below(n as u64) as usize).collect();
                of(&sample)
            };
            rounds.map(draw).collect::<Vec<_>>()
        })
        .concat();
        let tail = (1.0 - LEVEL) / 2.0;
        // Both are shares: from 0 to 1, and their differences from −1.
        let least = if terms.len() == 1 { 0.0 } else { -1.0 };
        [0, 1].map(|which| {
            let drawn: Vec<f64> = drawn.iter().map(|both| both[which]).collect();
            let (figure, centre) = (figures[which], numeric::mean(&drawn));
            let off = |at: f64| numeric::quantile(&drawn, at).map_or(0.0, |value| value - centre);
            Estimate {
                mean: figure,
                low: (figure + off(tail).min(0.0)).max(least),
                high: (figure + off(1.0 - tail).max(0.0)).min(1.0),
            }
        })
    }
}

/// NDCG at k of a list by the gains of items.
pub(super) fn ndcg(list: &[u32], gains: &BTreeMap<u32, f64>, k: usize) -> f64 {
    let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let gained = list.iter().take(k).enumerate();
    let gained: f64 = gained
        .map(|(rank, item)| gains.get(item).map_or(0.0, |gain| gain * discount(rank)))
        .sum();
    let mut best: Vec<f64> = gains.values().copied().collect();
    best.sort_by(|a, b| b.total_cmp(a));
    let most: f64 = best
        .iter()
        .take(k)
        .enumerate()
        .map(|(rank, gain)| gain * discount(rank))
        .sum();
    if most > 0.0 { gained / most } else { 0.0 }
}

/// Mean distance of two items of a list; 0 for fewer than two.
fn diversity(list: &[u32], likeness: &dyn Fn(u32, u32) -> f64) -> f64 {
    let pairs = list
        .iter()
        .enumerate()
        .flat_map(|(at, a)| list[at + 1..].iter().map(move |b| (*a, *b)));
    let distances: Vec<f64> = pairs.map(|(a, b)| 1.0 - likeness(a, b)).collect();
    numeric::mean(&distances)
}

/// Gini coefficient of exposure over the catalogue.
fn gini(counts: &HashMap<u32, u64>, n_items: usize) -> f64 {
    let mut counts: Vec<u64> = counts.values().copied().collect();
    counts.sort_unstable();
    let total: u64 = counts.iter().sum();
    if total == 0 || n_items < 2 {
        return 0.0;
    }
    // Items in no list come first, with 0 each.
    let unseen = n_items - counts.len();
    let weighted: f64 = counts
        .iter()
        .enumerate()
        .map(|(i, c)| (2.0 * (unseen + i + 1) as f64 - n_items as f64 - 1.0) * *c as f64)
        .sum();
    weighted / (n_items as f64 * total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_places_and_exposure_by_hand() {
        let gains = BTreeMap::from([(1, 1.0), (2, 0.5)]);
        assert_eq!(ndcg(&[1, 2], &gains, 2), 1.0);
        // 0.5 in the first place and 1 in the second, over the other way round.
        let second = 1.0 / 3f64.log2();
        let expected = (0.5 + second) / (1.0 + 0.5 * second);
        assert!((ndcg(&[2, 1, 9], &gains, 2) - expected).abs() < 1e-12);
        assert_eq!(ndcg(&[9], &gains, 2), 0.0);
        let counts = |counts: &[(u32, u64)]| counts.iter().copied().collect::<HashMap<u32, u64>>();
        assert_eq!(gini(&counts(&[(0, 3), (1, 3)]), 2), 0.0);
        assert_eq!(gini(&counts(&[(0, 6)]), 4), 0.75);
    }

    #[test]
    fn figures_lie_within_their_intervals_and_differences_are_paired() {
        let people: Vec<Person> = (0..40)
            .map(|at| Person {
                truth: BTreeMap::from([(at % 10, 1.0)]),
                is_newcomer: false,
            })
            .collect();
        let likeness = |a: u32, b: u32| f64::from(u8::from(a % 2 == b % 2));
        let measure = Measure {
            people: &people,
            k: 2,
            n_items: 20,
            seed: 1,
            likeness: Some(&likeness),
        };
        let good: Vec<Vec<u32>> = (0..40).map(|at| vec![at % 10, at % 10 + 1]).collect();
        let bad: Vec<Vec<u32>> = (0..40).map(|at| vec![at % 10 + 10, at % 10]).collect();
        let figures = measure.of(&good);
        let told = |e: Estimate| (e.mean, e.low <= e.mean && e.mean <= e.high);
        assert_eq!(told(figures.ndcg), (1.0, true));
        assert_eq!(told(figures.recall), (1.0, true));
        assert_eq!(told(figures.coverage), (11.0 / 20.0, true));
        assert!(told(figures.gini).1);
        assert_eq!(figures.intra_list_diversity.map(|e| e.mean), Some(1.0));
        let difference = measure.difference(&good, &bad);
        assert_eq!(
            difference.recall,
            Estimate {
                mean: 0.0,
                low: 0.0,
                high: 0.0
            }
        );
        assert!(
            difference.ndcg.low > 0.3 && difference.ndcg.high < 0.4,
            "{difference:?}"
        );
        assert_eq!(difference.intra_list_diversity.map(|e| e.mean), Some(1.0));
        assert!((difference.coverage.mean - (11.0 - 20.0) / 20.0).abs() < 1e-12);
    }
}
