//! Whom and what a model is judged by: people and items that it knows well, little, or not at all.
//!
//! A protocol takes the rows of a split and makes cases of them: what may be learnt, and for whom to rank from which
//! history. Each stands in a file of its own. All draw by a hash of seed and id, so that the same people and items are held
//! out whatever the order of the rows and whichever model is judged, and figures of one protocol can be paired.

mod few_shot_item;
mod few_shot_user;
mod unseen_item;
mod unseen_user;
mod warm;

use crate::{EvaluateError, Inputs, Prepared, prepare};
use numeric::{hash_bytes, mix};

/// Which items compete with those that are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// The whole catalogue.
    All,
    /// Only those held out.
    HeldOut,
}

/// Who is judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Scheme {
    /// Everyone with relevant items, all of which count: what a split gives.
    Everyone,
    /// Users with a history and relevant items with training rows.
    Warm,
    /// A share of the users is held out of training entirely and ranked for from the earliest part of their rows.
    UnseenUser {
        /// Share of the users.
        share: f64,
        /// Part of each one's rows that makes the history.
        history: f64,
        /// Whether the same users are also ranked for by a model that was trained on them, as a case before.
        beside: bool,
    },
    /// The same users ranked for from their first n rows, a case for each n.
    FewShotUser {
        /// Share of the users.
        share: f64,
        /// Lengths of history.
        shots: Vec<usize>,
        /// Whether they are judged by what follows the longest of these instead of by the rows of the test.
        following: bool,
    },
    /// A share of the items is held out of training entirely, with all that was done with them.
    UnseenItem {
        /// Share of the items; zero for only those without training rows.
        share: f64,
        /// What they compete with.
        among: Among,
    },
    /// The same with the first n rows of each item left in training, a case (and a training) for each n.
    FewShotItem {
        /// Share of the items.
        share: f64,
        /// Rows left in training.
        shots: Vec<usize>,
        /// What they compete with.
        among: Among,
    },
}

/// Something to fit and measure. Cases of one protocol may share their training data, which is then the same allocation.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is, such as `5 rows`; empty if there is but one.
    pub label: String,
    /// What to learn and whom to rank for.
    pub prepared: Prepared,
}

impl Scheme {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Scheme::Everyone => "full",
            Scheme::Warm => "warm",
            Scheme::UnseenUser { .. } => "unseen-user",
            Scheme::FewShotUser { .. } => "few-shot-user",
            Scheme::UnseenItem { .. } => "unseen-item",
            Scheme::FewShotItem { .. } => "few-shot-item",
        }
    }

    /// What it does, in a line.
    pub fn told(&self) -> String {
        let rivals = |among: &Among| match among {
            Among::All => "the whole catalogue",
            Among::HeldOut => "the held-out items only",
        };
        match self {
            Scheme::Everyone => "every item of the catalogue but those that the user has seen".to_owned(),
            Scheme::Warm => "users with a history, relevant items with training rows".to_owned(),
            Scheme::UnseenUser {
                share,
                history,
                beside,
            } => format!(
                "{} % of the users held out of training, ranked for from the first {} % of their rows{}",
                share * 100.0,
                history * 100.0,
                if *beside {
                    "; beside them the same users trained on"
                } else {
                    ""
                }
            ),
            Scheme::FewShotUser { share, following, .. } => format!(
                "{} % of the users held out of training, ranked for from their first rows{}",
                share * 100.0,
                if *following {
                    ", judged by what follows the most of them"
                } else {
                    ""
                }
            ),
            Scheme::UnseenItem { share, among } => format!(
                "{} % of the items held out of training, ranked within {}",
                share * 100.0,
                rivals(among)
            ),
            Scheme::FewShotItem { share, among, .. } => format!(
                "{} % of the items with only their first rows in training, ranked within {}",
                share * 100.0,
                rivals(among)
            ),
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`EvaluateError::Scheme`] for one that cannot be.
    pub fn check(&self) -> Result<(), EvaluateError> {
        let wrong = |field: &'static str, got: String, expected: &'static str| {
            Err(EvaluateError::Scheme { field, got, expected })
        };
        let (share, least, history, shots) = match self {
            Scheme::Everyone | Scheme::Warm => return Ok(()),
            Scheme::UnseenUser { share, history, .. } => (*share, f64::MIN_POSITIVE, *history, None),
            Scheme::FewShotUser { share, shots, .. } => (*share, f64::MIN_POSITIVE, 1.0, Some((shots, 0))),
            Scheme::UnseenItem { share, .. } => (*share, 0.0, 1.0, None),
            Scheme::FewShotItem { share, shots, .. } => (*share, f64::MIN_POSITIVE, 1.0, Some((shots, 0))),
        };
        if !(share >= least && share < 1.0) {
            return wrong(
                "share",
                share.to_string(),
                "a number above 0 (for unseen items from 0) and below 1",
            );
        }
        if !(history > 0.0 && history <= 1.0) {
            return wrong(
                "history-share",
                history.to_string(),
                "a number above 0 and at most 1",
            );
        }
        match shots {
            Some((shots, least)) if shots.is_empty() || shots.iter().any(|n| *n < least || *n > 10_000) => {
                wrong(
                    "shots",
                    format!("{shots:?}"),
                    "one or more whole numbers up to 10,000",
                )
            }
            _ => Ok(()),
        }
    }

    /// Cuts the rows into cases.
    ///
    /// # Errors
    /// Those of [`prepare`] and [`check`](Self::check); [`EvaluateError::NobodyLeft`] if nobody or nothing is left to judge.
    pub fn cases(&self, inputs: Inputs, seed: u64) -> Result<Vec<Case>, EvaluateError> {
        self.check()?;
        let cases = match self {
            Scheme::Everyone => vec![single(prepare(inputs)?)],
            Scheme::Warm => vec![single(warm::cut(prepare(inputs)?))],
            Scheme::UnseenUser {
                share,
                history,
                beside,
            } => {
                let keep = |n: usize| ((n as f64 * history).round() as usize).max(1);
                let mut cases = Vec::new();
                if *beside {
                    let [trained, unseen] = unseen_user::beside(inputs, *share, seed)?;
                    cases.push(Case {
                        label: "trained on".to_owned(),
                        prepared: trained,
                    });
                    cases.push(Case {
                        label: "held out".to_owned(),
                        prepared: unseen,
                    });
                } else {
                    cases.push(single(unseen_user::cut(inputs, *share, seed)?));
                }
                for case in &mut cases {
                    unseen_user::shorten(&mut case.prepared, keep, seed);
                }
                cases
            }
            Scheme::FewShotUser {
                share,
                shots,
                following,
            } => few_shot_user::cut(inputs, *share, shots, *following, seed)?,
            Scheme::UnseenItem { share, among } => {
                vec![single(unseen_item::cut(inputs, *share, *among, seed)?)]
            }
            Scheme::FewShotItem { share, shots, among } => {
                few_shot_item::cut(&inputs, *share, shots, *among, seed)?
            }
        };
        if cases.iter().any(|case| case.prepared.users.is_empty()) {
            return Err(EvaluateError::NobodyLeft {
                protocol: self.name(),
            });
        }
        Ok(cases)
    }
}

fn single(prepared: Prepared) -> Case {
    Case {
        label: String::new(),
        prepared,
    }
}

/// Whether an id is in the share that is held out.
fn is_held(id: &str, share: f64, seed: u64) -> bool {
    (order_of(id, seed) >> 11) as f64 / ((1u64 << 53) as f64) < share
}

/// A number drawn by seed and id.
fn order_of(id: &str, seed: u64) -> u64 {
    mix(hash_bytes(id.as_bytes()) ^ mix(seed ^ 0x686f_6c64))
}
