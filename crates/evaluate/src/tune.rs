//! Looking for a good configuration: random search with successive halving.
//!
//! A [`Search`] proposes trials for one learner and is told how they went. The first is the configuration as given, on all
//! rows: the result is never worse than it on the validation users. Then come brackets of nine configurations that
//! are tried on a fifth of the people, the best three of them on half, the best of these on all (Jamieson and Talwalkar 2016,
//! "Non-stochastic best arm identification and hyperparameter optimization", arXiv:1502.07943, with the share of people learnt
//! from as the resource). In the first bracket all nine are drawn evenly (Bergstra and Bengio 2012), in later ones
//! every other one near the best so far. People who validate are ranked for from their whole history on every rung, since models
//! need not have seen them.
//!
//! Nothing here reads the clock: whoever drives the search stops asking when the time is up. The proposals are a function
//! of seed, learner and what was told, so a search that was broken off goes on from a record of its outcomes.

use crate::{EvaluateError, Inputs, Prepared, Row, Split, prepare, split};
use dataset::{Interaction, Interactions};
use models::TrainingData;
use models::space::{Tunable, config_at, draw, draw_near};
use numeric::{SeededStream, hash_bytes, mix};
use serde_json::{Map, Value};
use std::sync::Arc;

/// One in so many is promoted.
const ETA: usize = 3;
/// Shares of people learnt from, rung by rung.
const SHARES: [f64; 3] = [0.2, 0.5, 1.0];
/// A rung needs at least this many people to learn from.
const PEOPLE_MIN: f64 = 600.0;
/// Standard deviation of a step near the best, as a share of each key's range.
const SPREAD: f64 = 0.15;

/// Data of one rung: fewer people to learn from, the same people to validate.
#[derive(Debug, Clone)]
pub struct Rung {
    /// Share of the people learnt from.
    pub share: f64,
    /// What is learnt and whom to rank for.
    pub prepared: Prepared,
}

/// Data for a search from rows that are cut already: `train` to learn from, `test` to validate by. At most `users_max` people
/// validate, drawn by hash. The last rung has all rows; lower ones are left out where they would have too few people.
///
/// # Errors
/// Those of [`prepare`].
pub fn rungs(inputs: Inputs, users_max: usize, seed: u64) -> Result<Vec<Rung>, EvaluateError> {
    let mut whole = prepare(inputs)?;
    let drawn = |id: &str| mix(hash_bytes(id.as_bytes()) ^ mix(seed ^ 0x7475_6e65));
    if whole.users.len() > users_max.max(1) {
        let mut order: Vec<u64> = whole.users.iter().map(|user| drawn(user.user.as_str())).collect();
        order.sort_unstable();
        let most = order[users_max.max(1)];
        whole.retain_users(|user| drawn(user.user.as_str()) < most);
    }
    let people = whole.training.interactions.n_users() as f64;
    let of_share = |share: f64| Rung {
        share,
        prepared: Prepared {
            training: thinned(&whole.training, |id| {
                (drawn(id) >> 11) as f64 / ((1u64 << 53) as f64) < share
            }),
            ..whole.clone()
        },
    };
    let low = SHARES
        .into_iter()
        .filter(|share| *share < 1.0 && share * people >= PEOPLE_MIN);
    let mut rungs: Vec<Rung> = low.map(of_share).collect();
    rungs.push(Rung {
        share: 1.0,
        prepared: whole,
    });
    Ok(rungs)
}

/// Rows of training data, cut by `how` into what is learnt from and what validates, ready for [`rungs`].
///
/// # Errors
/// Those of [`split`].
pub fn cut_for_tuning(data: &TrainingData, how: Split, seed: u64) -> Result<Inputs, EvaluateError> {
    let interactions = &data.interactions;
    let row = |row: &Interaction| Row {
        user: interactions.users[row.user as usize].clone(),
        item: interactions.items.id(row.item).clone(),
        value: None,
        timestamp: row.timestamp,
    };
    let (train, test) = split(interactions.rows.iter().map(row).collect(), how, seed)?;
    let described = interactions.items.ids().iter().zip(data.features.iter());
    let people = interactions.users.iter().zip(data.user_features.iter());
    Ok(Inputs {
        train,
        test,
        features: described
            .filter(|(_, features)| !features.is_empty())
            .map(|(item, features)| (item.clone(), features.clone()))
            .collect(),
        user_features: people
            .filter(|(_, features)| !features.is_empty())
            .map(|(user, features)| (user.clone(), features.clone()))
            .collect(),
        allow_overlap: true,
        ..Inputs::default()
    })
}

/// The same items with the rows of some people only.
fn thinned(data: &TrainingData, keep: impl Fn(&str) -> bool) -> TrainingData {
    let all = &data.interactions;
    let (mut users, mut offsets, mut rows) = (Vec::new(), vec![0], Vec::new());
    let mut user_features = Vec::new();
    for (at, user) in all
        .users
        .iter()
        .enumerate()
        .filter(|(_, user)| keep(user.as_str()))
    {
        let position = users.len() as u32;
        rows.extend(all.of_user(at).iter().map(|row| Interaction {
            user: position,
            ..*row
        }));
        if let Some(features) = data.user_features.get(at) {
            user_features.push(features.clone());
        }
        users.push(user.clone());
        offsets.push(rows.len());
    }
    TrainingData {
        interactions: Arc::new(Interactions {
            items: Arc::clone(&all.items),
            users,
            offsets,
            rows,
        }),
        user_features: Arc::new(user_features),
        ..data.clone()
    }
}

/// Something to try.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The configuration: what was given, with the keys of the space replaced.
    pub config: Value,
    /// Which rung.
    pub rung: usize,
    /// Where in the space; `None` for the configuration as given.
    point: Option<Vec<f64>>,
}

/// A configuration that was tried on all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The configuration.
    pub config: Value,
    /// Its score, the higher the better.
    pub score: f64,
    point: Option<Vec<f64>>,
}

/// Proposes trials for one learner.
#[derive(Debug, Clone)]
pub struct Search {
    given: Map<String, Value>,
    space: &'static [Tunable],
    seed: u64,
    n_rungs: usize,
    bracket: u64,
    /// Trials of the rung at hand that are still to be proposed, last first.
    waiting: Vec<Trial>,
    /// Trials of the rung at hand with their scores.
    told: Vec<(Trial, f64)>,
    /// Trials on all rows.
    found: Vec<Found>,
    started: bool,
}

impl Search {
    /// A search for the learner of this name with this space around a given configuration (an object or null) on so many rungs.
    pub fn new(name: &str, space: &'static [Tunable], given: &Value, n_rungs: usize, seed: u64) -> Search {
        Search {
            given: given.as_object().cloned().unwrap_or_default(),
            space,
            seed: mix(seed) ^ hash_bytes(name.as_bytes()),
            n_rungs: n_rungs.max(1),
            bracket: 0,
            waiting: Vec::new(),
            told: Vec::new(),
            found: Vec::new(),
            started: false,
        }
    }

    /// The next trial; `None` if there is nothing (more) to try. Each must be told before the next is asked for.
    pub fn propose(&mut self) -> Option<Trial> {
        if !self.started {
            self.started = true;
            return Some(Trial {
                config: Value::Object(self.given.clone()),
                rung: self.n_rungs - 1,
                point: None,
            });
        }
        if self.space.is_empty() {
            return None;
        }
        if self.waiting.is_empty() {
            self.next_rung();
        }
        self.waiting.pop()
    }

    /// Fills `waiting`: the best of the rung that ended, or a new bracket.
    fn next_rung(&mut self) {
        let mut ended = std::mem::take(&mut self.told);
        let rung = ended.first().map_or(self.n_rungs, |(trial, _)| trial.rung + 1);
        if rung < self.n_rungs {
            // Stable: of equal ones the first proposed goes on.
            ended.sort_by(|a, b| b.1.total_cmp(&a.1));
            ended.truncate((ended.len() / ETA).max(1));
            ended.retain(|(_, score)| score.is_finite());
            let promoted = ended.into_iter().map(|(trial, _)| Trial { rung, ..trial });
            self.waiting = promoted.rev().collect();
        }
        if self.waiting.is_empty() {
            self.new_bracket();
        }
    }

    fn new_bracket(&mut self) {
        let size = ETA.pow(self.n_rungs.clamp(2, 3) as u32 - 1);
        let best = self.best().and_then(|found| found.point.clone());
        let trial = |place: usize| {
            let mut stream = SeededStream::new(self.seed, self.bracket * 100 + place as u64);
            let point = match &best {
                Some(best) if self.bracket > 0 && place.is_multiple_of(2) => {
                    draw_near(self.space, best, SPREAD, &mut stream)
                }
                _ => draw(self.space, &mut stream),
            };
            let mut config = self.given.clone();
            config.extend(config_at(self.space, &point));
            Trial {
                config: Value::Object(config),
                rung: 0,
                point: Some(point),
            }
        };
        self.waiting = (0..size).rev().map(trial).collect();
        self.bracket += 1;
    }

    /// How the trial went: its score, or `None` if there was no model.
    pub fn tell(&mut self, trial: &Trial, score: Option<f64>) {
        if let Some(score) = score.filter(|_| trial.rung + 1 == self.n_rungs) {
            self.found.push(Found {
                config: trial.config.clone(),
                score,
                point: trial.point.clone(),
            });
        }
        if trial.point.is_some() {
            self.told
                .push((trial.clone(), score.unwrap_or(f64::NEG_INFINITY)));
        }
    }

    /// The best configuration tried on all rows; the first of several.
    pub fn best(&self) -> Option<&Found> {
        self.found.iter().rev().max_by(|a, b| a.score.total_cmp(&b.score))
    }

    /// The configuration as given, if it was tried.
    pub fn given(&self) -> Option<&Found> {
        self.found.iter().find(|found| found.point.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far the logarithm of the shrinkage of `item-cosine` is from 50, less noise that shrinks with the rung.
    fn score(trial: &Trial) -> f64 {
        let shrinkage = trial.config["shrinkage"].as_f64().unwrap_or(10.0);
        let noise = hash_bytes(trial.config.to_string().as_bytes()) as f64 / u64::MAX as f64;
        1.0 - (shrinkage / 50.0).ln().abs() - noise * [0.5, 0.2, 0.0][trial.rung]
    }

    fn run(search: &mut Search, trials: usize) -> Vec<Trial> {
        let mut done = Vec::new();
        while done.len() < trials {
            let Some(trial) = search.propose() else { break };
            search.tell(&trial, Some(score(&trial)));
            done.push(trial);
        }
        done
    }

    fn space() -> &'static [Tunable] {
        models::trainer("item-cosine").expect("registered").space
    }

    #[test]
    fn brackets_halve_and_close_in_on_the_best() {
        let mut search = Search::new("item-cosine", space(), &Value::Null, 3, 1);
        let trials = run(&mut search, 1 + 13 * 4);
        let rungs: Vec<usize> = trials.iter().map(|trial| trial.rung).collect();
        let bracket = [[0; 9].as_slice(), &[1; 3], &[2]].concat();
        let expected = [&[2], [&bracket[..]; 4].concat().as_slice()].concat();
        assert_eq!(rungs, expected);
        // The three that go on are the best three of the nine.
        let mut first: Vec<f64> = trials[1..10].iter().map(score).collect();
        first.sort_by(|a, b| b.total_cmp(a));
        let mut again: Vec<f64> = trials[10..13]
            .iter()
            .map(|trial| {
                score(&Trial {
                    rung: 0,
                    ..trial.clone()
                })
            })
            .collect();
        again.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(first[..3], again);
        let best = search.best().expect("trials on all rows");
        assert!(best.score > search.given().expect("tried first").score);
        assert!(
            (20.0..125.0).contains(&best.config["shrinkage"].as_f64().expect("a number")),
            "{best:?}"
        );
    }

    #[test]
    fn the_same_proposals_after_the_same_outcomes() {
        let given = serde_json::json!({"companions_max": 77});
        let mut one = Search::new("item-cosine", space(), &given, 3, 5);
        let whole = run(&mut one, 40);
        let mut other = Search::new("item-cosine", space(), &given, 3, 5);
        for trial in &whole[..23] {
            assert_eq!(other.propose().as_ref(), Some(trial));
            other.tell(trial, Some(score(trial)));
        }
        assert_eq!(run(&mut other, 17), whole[23..]);
        assert!(whole.iter().all(|trial| trial.config["companions_max"] == 77));
    }

    #[test]
    fn failures_are_never_promoted_and_nothing_to_tune_ends() {
        let mut search = Search::new("item-cosine", space(), &Value::Null, 3, 1);
        for at in 0..12 {
            let trial = search.propose().expect("there is more");
            search.tell(&trial, (at % 4 == 0).then_some(0.1));
            assert!(at < 10 || trial.rung == 1 || trial.rung == 2, "{at} {trial:?}");
        }
        let mut fixed = Search::new("blend", &[], &Value::Null, 3, 1);
        assert_eq!(run(&mut fixed, 10).len(), 1);
        assert!(fixed.best().is_some());
    }

    #[test]
    fn lower_rungs_have_fewer_people_and_the_same_judges() {
        let rows: Vec<Row> = (0..4000u32)
            .flat_map(|user| {
                (0..3).map(move |step| Row {
                    user: domain::UserId::new(format!("u{user}")).expect("an id"),
                    item: domain::ItemId::new(format!("i{}", (user + step * step) % 50)).expect("an id"),
                    value: None,
                    timestamp: domain::Timestamp(0),
                })
            })
            .collect();
        let (train, test) = split(rows, Split::Random(0.7), 1).expect("no time needed");
        let rungs = rungs(
            Inputs {
                train,
                test,
                ..Inputs::default()
            },
            500,
            3,
        )
        .expect("rows");
        let shares: Vec<f64> = rungs.iter().map(|rung| rung.share).collect();
        assert_eq!(shares, SHARES);
        let n = |rung: &Rung| rung.prepared.training.interactions.n_users() as f64;
        assert!((n(&rungs[0]) / n(&rungs[2]) - 0.2).abs() < 0.03);
        for rung in &rungs {
            assert_eq!(rung.prepared.users.len(), 500);
            assert_eq!(rung.prepared.users, rungs[2].prepared.users);
            let data = &rung.prepared.training.interactions;
            assert_eq!(data.offsets.last(), Some(&data.rows.len()));
            let in_order = data.rows.iter().enumerate().all(|(at, row)| {
                let user = row.user as usize;
                (data.offsets[user]..data.offsets[user + 1]).contains(&at)
            });
            assert!(in_order);
        }
    }
}
