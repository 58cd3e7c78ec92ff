//! Which metrics are taken, under which names, in which order.

use crate::groups::GROUPS;
use crate::{EvaluateError, Groups, Labels, Popularity, metrics};
use domain::HistoryEvent;

/// What lists are looked at by beside relevance; what is absent is not taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lens<'a> {
    /// Novelty.
    pub popularity: Option<&'a Popularity>,
    /// Head, middle and tail.
    pub groups: Option<&'a Groups>,
    /// Diversity and calibration.
    pub labels: Option<&'a Labels>,
}

/// Whom a list is for.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// Gains of all relevant items, descending.
    pub ideal: &'a [f64],
    /// Relevant items that could be listed.
    pub relevant: &'a [u32],
    /// Number of relevant items.
    pub n_relevant: usize,
    /// What they did before.
    pub history: &'a [HistoryEvent],
}

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
    pub fn names(&self, lens: Lens<'_>) -> Vec<String> {
        let mut kinds = vec!["ndcg", "map", "precision", "recall", "hit_rate"];
        if self.variants {
            kinds.extend(["ndcg_exp", "map_min"]);
        }
        let mut kinds: Vec<String> = kinds.into_iter().map(str::to_owned).collect();
        let mut more = |names: &[&str]| kinds.extend(names.iter().map(|name| (*name).to_owned()));
        if lens.popularity.is_some() {
            more(&["mean_inv_user_freq", "avg_rec_popularity", "serendipity"]);
        }
        if lens.groups.is_some() {
            GROUPS.iter().for_each(|group| more(&[&format!("{group}_share")]));
            GROUPS
                .iter()
                .for_each(|group| more(&[&format!("{group}_recall")]));
        }
        if let Some(labels) = lens.labels {
            more(&["intra_list_diversity"]);
            if labels.attribute().is_some() {
                more(&["miscalibration"]);
            }
        }
        let at_lengths = |k: &usize| kinds.iter().map(|kind| format!("{kind}@{k}")).collect::<Vec<_>>();
        let mut names: Vec<String> = self.lengths.iter().flat_map(at_lengths).collect();
        names.push("mrr".to_owned());
        names
    }

    /// One user's metrics, appended to `row`. `gains` as in [`metrics`], along `list`. Metrics of
    /// accuracy are not numbers for a user without relevant items, those of novelty, diversity and
    /// popularity for an empty list, calibration also without a history: means leave them out.
    pub fn row(&self, list: &[u32], gains: &[f64], judge: Judge<'_>, lens: Lens<'_>, row: &mut Vec<f64>) {
        let ideal = judge.ideal;
        let of_groups = lens
            .groups
            .map(|groups| groups.count(judge.relevant, judge.n_relevant - judge.relevant.len()));
        let calibrated = lens.labels.filter(|labels| labels.attribute().is_some());
        let mix = calibrated.map(|labels| labels.mix_of_history(judge.history));
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
            if let Some(popularity) = lens.popularity {
                row.push(popularity.mean_inverse_user_frequency(list, k));
                row.push(popularity.mean_popularity(list, k));
                row.push(popularity.serendipity(list, gains, k));
            }
            if let (Some(groups), Some(of)) = (lens.groups, of_groups) {
                row.extend(groups.shares(list, k));
                row.extend(groups.recalls(list, gains, k, of));
            }
            if let Some(labels) = lens.labels {
                row.push(labels.diversity(list, k));
            }
            if let (Some(labels), Some(mix)) = (calibrated, &mix) {
                row.push(labels.miscalibration(mix, list, k));
            }
        }
        row.push(judged(metrics::reciprocal_rank(gains)));
    }
}
