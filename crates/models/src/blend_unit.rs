//! What the scores of a blend's part are measured by: the same for all histories of a length, or each person's own.
//!
//! Parts differ in how sharp they are for one person: sure of a few things, or lukewarm about many. `typical` divides by what the mean of the part's best
//! twenty is for a history of this length. `best` divides by that mean for this very person, as min-max scaling does whose least is zero; `spread` by the standard
//! deviation of the person's best hundred, as z-scores do: their shift is the same for all candidates and would change no order. All are
//! divisions, so that the parts of an explanation still sum to the score, and depend on the history alone, not on what may be shown. `best` and
//! `spread` cost one more list per part and request.

use crate::{Someone, TopItems};
use domain::HistoryEvent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a part's scores are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalise {
    /// The mean of its best twenty for a history of this length.
    Typical,
    /// The mean of this person's best twenty.
    Best,
    /// The standard deviation of this person's best hundred.
    Spread,
}

/// All of them, the usual one first; the place is what artefacts say.
pub(crate) const KINDS: [Normalise; 3] = [Normalise::Typical, Normalise::Best, Normalise::Spread];

/// Items of a person's list.
pub(crate) const OWN: usize = 100;
/// Of which the best are these.
const BEST: usize = 20;

impl Normalise {
    /// By these scores, best first; `None` if they say nothing.
    pub(crate) fn unit(self, scores: &[f32]) -> Option<f32> {
        let mean = |of: &[f32]| of.iter().map(|s| f64::from(*s)).sum::<f64>() / of.len().max(1) as f64;
        let unit = match self {
            Normalise::Typical => return None,
            Normalise::Best => mean(&scores[..scores.len().min(BEST)]),
            Normalise::Spread => {
                let middle = mean(scores);
                let squares = scores.iter().map(|s| (f64::from(*s) - middle).powi(2));
                (squares.sum::<f64>() / scores.len().max(1) as f64).sqrt()
            }
        };
        (unit.is_finite() && unit > 1e-20).then_some(unit as f32)
    }
}

/// Whatever is not in the history.
pub(crate) fn unseen(history: &[HistoryEvent]) -> impl Fn(u32) -> bool + use<> {
    let seen: BTreeSet<u32> = history.iter().map(|h| h.item).collect();
    move |item| !seen.contains(&item)
}

/// A person's list of one part, whatever may be shown.
pub(crate) fn own_list(model: &dyn crate::Model, someone: Someone<'_>) -> TopItems {
    model.recommend_for(someone, OWN, &unseen(someone.history))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let scores: Vec<f32> = (0..25).map(|at| 25.0 - at as f32).collect();
        assert_eq!(Normalise::Typical.unit(&scores), None);
        assert_eq!(Normalise::Best.unit(&scores), Some(15.5));
        assert_eq!(Normalise::Best.unit(&[3.0]), Some(3.0));
        // Of 1 … n the variance is (n² − 1) / 12.
        assert!((Normalise::Spread.unit(&scores).unwrap() - 52f32.sqrt()).abs() < 1e-5);
        for nothing in [&[][..], &[0.0, 0.0]] {
            assert_eq!(Normalise::Best.unit(nothing), None);
            assert_eq!(Normalise::Spread.unit(nothing), None);
        }
        assert_eq!(Normalise::Spread.unit(&[2.0, 2.0]), None);
    }
}
