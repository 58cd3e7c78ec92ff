//! Trees over features as a ranker.

use crate::features::{FactsSource, FeatureSet, ItemCounts, Moment};
use crate::{FeatureError, OutcomeModel};
use domain::{
    Candidate, Contribution, ContributionSource, Evidence, Explanation, FeatureRecord, Outcome, Query,
    Ranker, StageError,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Numbers for which a thread keeps room from one request to the next.
const KEPT_MAX: usize = 1 << 20;

thread_local! {
    /// Features of the candidates of a request.
    static COLUMNS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Scores candidates by a learnt model over features; until one is published it leaves the word to the model that it
/// stands on, and only notes the features of what is shown, to learn from.
///
/// Cost per request: the features (see [`FeatureSet::read`]) and a [`trees::Scorer`] per head.
pub struct TreesRanker {
    name: String,
    learnt: Option<Learnt>,
    /// What is noted of everything shown.
    noted: Arc<FeatureSet>,
    counts: Arc<ItemCounts>,
    facts: Arc<dyn FactsSource>,
    base: Arc<dyn Ranker>,
}

struct Learnt {
    model: Arc<OutcomeModel>,
    features: FeatureSet,
}

impl TreesRanker {
    /// A ranker on top of `base`; `version` is that of the model.
    ///
    /// # Errors
    /// A model over features that are none.
    pub fn new(
        model: Option<(u64, Arc<OutcomeModel>)>,
        noted: Arc<FeatureSet>,
        counts: Arc<ItemCounts>,
        facts: Arc<dyn FactsSource>,
        base: Arc<dyn Ranker>,
    ) -> Result<TreesRanker, FeatureError> {
        let name = model.as_ref().map_or_else(
            || base.name().to_owned(),
            |(version, _)| format!("trees@{version}"),
        );
        let learnt = match model {
            None => None,
            Some((_, model)) => {
                let names: Vec<&str> = model.features.iter().map(|f| f.name.as_str()).collect();
                Some(Learnt {
                    features: FeatureSet::new(&names)?,
                    model,
                })
            }
        };
        Ok(TreesRanker {
            name,
            learnt,
            noted,
            counts,
            facts,
            base,
        })
    }

    /// Reads features at the moment of a query.
    fn at_moment<T>(
        &self,
        query: &Query,
        candidates: &[Candidate],
        read: impl FnOnce(&Moment<'_>) -> T,
    ) -> Result<T, StageError> {
        let scores = self.base.rank(query, candidates)?;
        let scores: Vec<f32> = scores
            .iter()
            .map(|outcome| match outcome {
                Outcome::Score(score) => *score,
                Outcome::Unscorable(_) => f32::NAN,
            })
            .collect();
        let moment = Moment {
            query,
            counts: &self.counts,
            facts: &*self.facts,
            model_scores: &scores,
            positions: &[],
        };
        Ok(read(&moment))
    }

    fn read(
        &self,
        set: &FeatureSet,
        query: &Query,
        candidates: &[Candidate],
    ) -> Result<Vec<f32>, StageError> {
        self.at_moment(query, candidates, |moment| set.read(moment, candidates))
    }

    /// The features that a model of this placement would be learnt from, for each candidate.
    ///
    /// # Errors
    /// Those of the model that it stands on.
    pub fn noted(&self, query: &Query, candidates: &[Candidate]) -> Result<Vec<f32>, StageError> {
        self.read(&self.noted, query, candidates)
    }
}

impl Ranker for TreesRanker {
    fn name(&self) -> &str {
        &self.name
    }

    fn rank(&self, query: &Query, candidates: &[Candidate]) -> Result<Vec<Outcome>, StageError> {
        let Some(learnt) = &self.learnt else {
            return self.base.rank(query, candidates);
        };
        let mut columns = COLUMNS.take();
        let scores = self.at_moment(query, candidates, |moment| {
            learnt.features.read_columns(moment, candidates, &mut columns);
            learnt.model.scores_of_columns(&columns)
        });
        if columns.capacity() <= KEPT_MAX {
            COLUMNS.replace(columns);
        }
        Ok(scores?.into_iter().map(Outcome::Score).collect())
    }

    fn explain(&self, query: &Query, item: u32) -> Explanation {
        self.explain_candidate(
            query,
            &Candidate {
                item,
                ..Candidate::default()
            },
        )
    }

    fn explain_candidate(&self, query: &Query, candidate: &Candidate) -> Explanation {
        let Some(learnt) = &self.learnt else {
            return self.base.explain_candidate(query, candidate);
        };
        let Ok(row) = self.read(&learnt.features, query, std::slice::from_ref(candidate)) else {
            return Explanation::default();
        };
        let (values, base) = learnt.model.contributions(&row);
        let part = |source, value: f64| Contribution {
            source,
            model: self.name.clone().into(),
            value: value as f32,
        };
        let mut contributions = vec![part(
            ContributionSource::Base {
                name: "average".to_owned(),
            },
            base,
        )];
        // What is read of one source, its place and its score, is one part.
        let mut by_source: BTreeMap<&str, f64> = BTreeMap::new();
        for (feature, value) in learnt.model.features.iter().zip(values) {
            let of_source = feature.name.strip_prefix("source_rank:");
            let of_source = of_source.or_else(|| feature.name.strip_prefix("source_score:"));
            if let Some(source) = of_source {
                *by_source.entry(source).or_default() += value;
            } else if value != 0.0 {
                contributions.push(part(
                    ContributionSource::Feature {
                        name: feature.name.clone(),
                    },
                    value,
                ));
            }
        }
        let by_source = by_source.into_iter().filter(|(_, value)| *value != 0.0);
        contributions.extend(by_source.map(|(name, value)| {
            let name = name.to_owned();
            part(ContributionSource::Source { name }, value)
        }));
        Explanation { contributions }
    }

    /// The history speaks through the model that this one stands on, so its parts are given; the rest makes up the score.
    fn evidence(&self, query: &Query, candidates: &[&Candidate]) -> Vec<Evidence> {
        let mut evidence = self.base.evidence(query, candidates);
        if self.learnt.is_some() {
            for (one, candidate) in evidence.iter_mut().zip(candidates) {
                let sum: f64 = one.history.iter().map(|(_, value)| f64::from(*value)).sum();
                one.rest = (f64::from(candidate.score) - sum) as f32;
            }
        }
        evidence
    }

    fn features(&self, query: &Query, candidates: &[&Candidate]) -> Option<FeatureRecord> {
        let candidates: Vec<Candidate> = candidates.iter().map(|c| (*c).clone()).collect();
        let rows = self.noted(query, &candidates).ok()?;
        Some(FeatureRecord::new(self.noted.names(), &rows))
    }
}
