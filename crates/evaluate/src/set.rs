//! Which metrics are taken, under which names, in which order.

use crate::{EvaluateError, Popularity, metrics};

/// Metrics by name at some list lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSet {
    lengths: Vec<usize>,
    variants: bool,
}

impl MetricSet {
    /// Metrics at these list lengths; ascending, each once. With `variants` also
    /// `ndcg_exp@k` (exponential gain) and `map_min@k` (divided by min(k, relevant)).
    ///
    /// # Errors
    /// [`EvaluateError::Lengths`] if there is none, or a zero.
    pub fn new(lengths: &[usize], variants: bool) -> Result<MetricSet, EvaluateError> {
        let mut lengths = lengths.to_vec();
        lengths.sort_unstable();
        lengths.dedup();
        if lengths.is_empty() || lengths[0] == 0 {
            return Err(EvaluateError::Lengths {
                got: format!("{lengths:?}"),
            });
        }
        Ok(MetricSet { lengths, variants })
    }

    /// The list lengths.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The longest list length.
    pub fn longest(&self) -> usize {
        self.lengths.last().copied().unwrap_or(0)
    }

    /// Names in the order of [`row`](Self::row).
    pub fn names(&self, with_popularity: bool) -> Vec<String> {
        let mut kinds = vec!["ndcg", "map", "precision", "recall", "hit_rate"];
        if self.variants {
            kinds.extend(["ndcg_exp", "map_min"]);
        }
        if with_popularity {
            kinds.extend(["mean_inv_user_freq", "avg_rec_popularity", "serendipity"]);
        }
        let at_lengths = |k: &usize| kinds.iter().map(|kind| format!("{kind}@{k}")).collect::<Vec<_>>();
        let mut names: Vec<String> = self.lengths.iter().flat_map(at_lengths).collect();
        names.push("mrr".to_owned());
        names
    }

    /// One user's metrics, appended to `row`. `gains` as in [`metrics`], along `list`. Metrics of
    /// accuracy are not numbers for a user without relevant items, those of novelty for an empty
    /// list: means leave them out.
    pub fn row(
        &self,
        list: &[u32],
        gains: &[f64],
        ideal: &[f64],
        popularity: Option<&Popularity>,
        row: &mut Vec<f64>,
    ) {
        let judged = |value: f64| if ideal.is_empty() { f64::NAN } else { value };
        for k in self.lengths.iter().copied() {
            row.extend([
                judged(metrics::ndcg(gains, ideal, k)),
                judged(metrics::average_precision(gains, ideal, k)),
                judged(metrics::precision(gains, k)),
                judged(metrics::recall(gains, ideal, k)),
                judged(metrics::hit_rate(gains, k)),
            ]);
            if self.variants {
                row.push(judged(metrics::ndcg_exponential(gains, ideal, k)));
                row.push(judged(metrics::average_precision_min(gains, ideal, k)));
            }
            if let Some(popularity) = popularity {
                row.push(popularity.mean_inverse_user_frequency(list, k));
                row.push(popularity.mean_popularity(list, k));
                row.push(popularity.serendipity(list, gains, k));
            }
        }
        row.push(judged(metrics::reciprocal_rank(gains)));
    }
}
