//! Reciprocal rank fusion.

use domain::{
    Candidate, Contribution, ContributionSource, Explanation, Outcome, Query, Ranker, SourceHit, StageError,
};

/// Scores a candidate by the ranks that its sources gave it: Σ 1 / (k + rank), with k = 60.
///
/// Source: G. Cormack, C. Clarke and S. Büttcher (2009), "Reciprocal rank fusion outperforms
/// Condorcet and individual rank learning methods", SIGIR. Ranks are compared across sources,
/// scores are not, so that sources with different units mix.
///
/// Cost: one division per hit. It needs the candidate's hits: [`Ranker::explain`], which gets
/// none, explains the score of a candidate without hits, which is 0; use
/// [`Ranker::explain_candidate`].
#[derive(Debug, Clone)]
pub struct SourceScoreRanker {
    name: String,
}

/// The paper's k.
const RANK_OFFSET: f32 = 60.0;

impl Default for SourceScoreRanker {
    fn default() -> Self {
        SourceScoreRanker {
            name: "source-ranks".to_owned(),
        }
    }
}

fn part(hit: &SourceHit) -> f32 {
    1.0 / (RANK_OFFSET + hit.rank as f32)
}

impl Ranker for SourceScoreRanker {
    fn name(&self) -> &str {
        &self.name
    }

    fn rank(&self, _query: &Query, candidates: &[Candidate]) -> Result<Vec<Outcome>, StageError> {
        let score = |c: &Candidate| c.hits.iter().map(|hit| f64::from(part(hit))).sum::<f64>() as f32;
        Ok(candidates.iter().map(|c| Outcome::Score(score(c))).collect())
    }

    fn explain(&self, _query: &Query, _item: u32) -> Explanation {
        Explanation::default()
    }

    fn explain_candidate(&self, _query: &Query, candidate: &Candidate) -> Explanation {
        let contribution = |hit: &SourceHit| Contribution {
            source: ContributionSource::Source {
                name: hit.source.to_string(),
            },
            model: self.name.clone().into(),
            value: part(hit),
        };
        Explanation {
            contributions: candidate.hits.iter().map(contribution).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_promises() {
        testkit::stages::ranker(&SourceScoreRanker::default(), 30);
    }

    #[test]
    fn two_sources_beat_one() {
        let hit = |rank| SourceHit {
            source: "x".into(),
            rank,
            score: 0.0,
        };
        let candidate = |ranks: &[u32]| Candidate {
            hits: ranks.iter().map(|rank| hit(*rank)).collect(),
            ..Candidate::default()
        };
        let input = [candidate(&[1]), candidate(&[40, 40]), candidate(&[])];
        let outcomes = SourceScoreRanker::default().rank(&Query::default(), &input);
        // 1/61; 2/100; nothing.
        let expected = [1.0 / 61.0, 0.02, 0.0].map(Outcome::Score);
        assert_eq!(outcomes.as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn parts_are_those_of_the_sources() {
        let hit = |source: &str, rank| SourceHit {
            source: source.into(),
            rank,
            score: 9.0,
        };
        let candidate = Candidate {
            hits: vec![hit("als", 1), hit("popular", 40)],
            ..Candidate::default()
        };
        let told = SourceScoreRanker::default().explain_candidate(&Query::default(), &candidate);
        let part = |name: &str, value| Contribution {
            source: ContributionSource::Source {
                name: name.to_owned(),
            },
            model: "source-ranks".into(),
            value,
        };
        assert_eq!(
            told.contributions,
            [part("als", 1.0 / 61.0), part("popular", 0.01)]
        );
    }
}
