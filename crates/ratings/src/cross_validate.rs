//! How far predictions are off, on ratings that were held out.

use crate::{Rating, RatingTrainer, Ratings, RatingsError};
use numeric::{Interval, SeededStream, bootstrap_mean};
use rayon::prelude::*;
use serde::Serialize;

/// Which fold each rating is held out in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folds {
    /// By rating.
    pub of: Vec<u32>,
    /// Number of folds.
    pub n: usize,
    /// True if a fold is predicted from those before it only; ratings of none (`n`) come before all.
    pub forward: bool,
}

/// Random folds of (about) the same size.
///
/// # Errors
/// [`RatingsError::Folds`] for fewer than two, or more than there are ratings.
pub fn folds(n_ratings: usize, n: usize, seed: u64) -> Result<Folds, RatingsError> {
    if n < 2 || n > n_ratings {
        return Err(RatingsError::Folds {
            folds: n,
            ratings: n_ratings,
        });
    }
    let mut of: Vec<u32> = (0..n_ratings).map(|at| (at % n) as u32).collect();
    SeededStream::new(seed, 77).shuffle(&mut of);
    Ok(Folds {
        of,
        n,
        forward: false,
    })
}

/// The later half of the ratings in `n` parts of (about) the same size in the order of their moments, each predicted from all that is earlier.
/// Ratings of one moment stay together.
///
/// # Errors
/// [`RatingsError::Folds`] for none, or for so many that one would be empty; [`RatingsError::Untimed`] for a rating without a moment.
pub fn folds_by_time(rows: &[Rating], n: usize) -> Result<Folds, RatingsError> {
    let moments = rows
        .iter()
        .enumerate()
        .map(|(at, row)| row.at_s.ok_or(RatingsError::Untimed { at }));
    let moments: Vec<i64> = moments.collect::<Result<_, _>>()?;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by_key(|at| (moments[*at], *at));
    let mut of = vec![n as u32; rows.len()];
    let mut earlier: Option<(i64, u32)> = None;
    for (place, at) in order.iter().enumerate() {
        let fold = match earlier {
            Some((moment, fold)) if moment == moments[*at] => fold,
            _ if 2 * place < rows.len() => n as u32,
            _ => ((2 * place - rows.len()) * n / rows.len()) as u32,
        };
        of[*at] = fold;
        earlier = Some((moments[*at], fold));
    }
    let filled = |fold| of.contains(&(fold as u32));
    if n == 0 || !(0..=n).all(filled) {
        return Err(RatingsError::Folds {
            folds: n,
            ratings: rows.len(),
        });
    }
    Ok(Folds { of, n, forward: true })
}

/// What came of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Root of the mean squared error, mean over folds.
    pub rmse: f64,
    /// Mean absolute error, mean over folds.
    pub mae: f64,
    /// Root of the ends of the 95 % bootstrap interval of the squared error over all held-out ratings.
    pub rmse_interval: (f64, f64),
    /// By fold.
    pub rmse_by_fold: Vec<f64>,
    /// Seconds to fit, mean over folds; folds run beside each other.
    pub fit_seconds: f64,
    /// Seconds for one prediction, mean.
    pub predict_seconds: f64,
}

/// What came of one fold.
struct Held {
    errors: Vec<f64>,
    fitted: f64,
    predicted: f64,
}

/// Resamples of the interval.
const ROUNDS: usize = 200;

/// Holds out each fold in turn. Folds run in parallel on the current pool, each of which learns on its own, so the figures
/// do not depend on the number of threads. `seconds` gives the time for the timings, `progress` is told when a fold is done.
///
/// # Errors
/// Those of `Ratings::new` and of the trainer.
///
/// # Panics
/// If `folds` is not as long as `rows`.
pub fn cross_validate(
    trainer: &dyn RatingTrainer,
    (n_users, n_items): (usize, usize),
    rows: &[Rating],
    folds: &Folds,
    seed: u64,
    seconds: &(dyn Fn() -> f64 + Sync),
    progress: &(dyn Fn() + Sync),
) -> Result<Measured, RatingsError> {
    assert_eq!(folds.of.len(), rows.len(), "a fold per rating");
    let one = |fold: u32| {
        let of = |inside: bool| {
            let before = move |own: u32| own < fold || own == folds.n as u32;
            let is_of = move |own: u32| match inside {
                true => own == fold,
                false => own != fold && (!folds.forward || before(own)),
            };
            let both = rows.iter().zip(&folds.of);
            both.filter(move |(_, own)| is_of(**own)).map(|(row, _)| *row)
        };
        let train = Ratings::new(n_users, n_items, of(false).collect())?;
        let start = seconds();
        let model = trainer.fit(&train, seed)?;
        let fitted = seconds() - start;
        let start = seconds();
        let errors: Vec<f64> = of(true)
            .map(|row| f64::from(model.predict_at(row.user, row.item, row.at_s)) - f64::from(row.value))
            .collect();
        let predicted = (seconds() - start) / errors.len().max(1) as f64;
        progress();
        Ok(Held {
            errors,
            fitted,
            predicted,
        })
    };
    let parts: Vec<Held> = (0..folds.n as u32)
        .into_par_iter()
        .map(one)
        .collect::<Result<_, RatingsError>>()?;
    let n = parts.len() as f64;
    let mean = |of: &dyn Fn(&Held) -> f64| parts.iter().map(of).sum::<f64>() / n;
    let rmse = |errors: &[f64]| (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
    let squares: Vec<f64> = parts
        .iter()
        .flat_map(|part| part.errors.iter().map(|e| e * e))
        .collect();
    let Interval { low, high, .. } = bootstrap_mean(&squares, ROUNDS, 0.95, seed);
    Ok(Measured {
        rmse: mean(&|part| rmse(&part.errors)),
        mae: mean(&|part| part.errors.iter().map(|e| e.abs()).sum::<f64>() / part.errors.len() as f64),
        rmse_interval: (low.sqrt(), high.sqrt()),
        rmse_by_fold: parts.iter().map(|part| rmse(&part.errors)).collect(),
        fit_seconds: mean(&|part| part.fitted),
        predict_seconds: mean(&|part| part.predicted),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainers;
    use serde_json::Value;

    /// Tastes of two kinds on top of biases, with noise; a third of the cells.
    fn world() -> Vec<Rating> {
        let mut stream = SeededStream::new(5, 0);
        let users: Vec<(f64, f64)> = (0..120)
            .map(|_| (stream.normal() * 0.3, stream.normal()))
            .collect();
        let items: Vec<(f64, f64)> = (0..60)
            .map(|_| (stream.normal() * 0.3, stream.normal()))
            .collect();
        let mut rows = Vec::new();
        for (user, u) in (0u32..).zip(&users) {
            for (item, i) in (0u32..).zip(&items) {
                let value = 3.0 + u.0 + i.0 + 0.8 * u.1 * i.1 + 0.2 * stream.normal();
                if stream.below(3) == 0 {
                    rows.push(Rating {
                        user,
                        item,
                        value: value.clamp(1.0, 5.0) as f32,
                        at_s: None,
                    });
                }
            }
        }
        rows
    }

    #[test]
    fn each_learns_and_says_the_same_at_any_number_of_threads() {
        let rows = world();
        let folds = folds(rows.len(), 4, 1).unwrap();
        let plain = (rows.iter().map(|r| f64::from(r.value)).sum::<f64>()) / rows.len() as f64;
        let spread = rows
            .iter()
            .map(|r| (f64::from(r.value) - plain).powi(2))
            .sum::<f64>()
            / rows.len() as f64;
        let mut found = std::collections::BTreeMap::new();
        for entry in trainers() {
            let trainer = (entry.build)(&Value::Null).unwrap();
            let on = |threads: usize| {
                let work = || cross_validate(&*trainer, (120, 60), &rows, &folds, 3, &|| 0.0, &|| ());
                numeric::on_threads(threads, work).unwrap()
            };
            let measured = on(1);
            assert_eq!(measured, on(3), "{}", entry.name);
            assert!(measured.rmse < spread.sqrt(), "{}: {}", entry.name, measured.rmse);
            let (low, high) = measured.rmse_interval;
            assert!(
                low < measured.rmse + 0.01 && measured.rmse - 0.01 < high,
                "{}",
                entry.name
            );
            found.insert(entry.name, measured.rmse);
        }
        for better in ["svd", "svdpp", "item-knn", "user-knn"] {
            assert!(found[better] < 0.97 * found["baseline"], "{found:?}");
        }
    }

    #[test]
    fn someone_new_is_answered_from_a_few_ratings() {
        let rows = world();
        // The last twenty people are not trained on.
        let known = Ratings::new(100, 60, rows.iter().filter(|r| r.user < 100).copied().collect()).unwrap();
        for entry in trainers() {
            let model = (entry.build)(&Value::Null).unwrap().fit(&known, 0).unwrap();
            let (mut own, mut anyone) = (0f64, 0f64);
            for user in 100..120 {
                let theirs: Vec<&Rating> = rows.iter().filter(|r| r.user == user).collect();
                let (given, asked) = theirs.split_at(theirs.len() / 2);
                let history: Vec<(u32, f32)> = given.iter().map(|r| (r.item, r.value)).collect();
                let items: Vec<u32> = asked.iter().map(|r| r.item).collect();
                for (row, predicted) in asked.iter().zip(model.predict_for(&history, &items)) {
                    assert!(predicted.is_finite() && (known.low..=known.high).contains(&predicted));
                    own += f64::from(predicted - row.value).powi(2);
                    anyone += f64::from(model.predict(user, row.item) - row.value).powi(2);
                }
            }
            assert!(own < anyone, "{}: {own} {anyone}", entry.name);
            assert_eq!(model.predict_for(&[(999, 2.0)], &[999]).len(), 1);
            assert!(model.predict(999, 999).is_finite());
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let wrong = (crate::trainer("svd").unwrap().build)(&serde_json::json!({"factors": 0}))
            .err()
            .unwrap();
        assert_eq!(wrong.to_string(), "svd.factors: got 0, expected 1 to 4096");
        assert!((crate::trainer("svdpp").unwrap().build)(&serde_json::json!({"factor": 1})).is_err());
        assert!(matches!(folds(3, 4, 0), Err(RatingsError::Folds { .. })));
        assert!(matches!(Ratings::new(1, 1, Vec::new()), Err(RatingsError::Empty)));
        let row = Rating {
            user: 1,
            item: 0,
            value: 1.0,
            at_s: None,
        };
        assert!(matches!(
            Ratings::new(1, 1, vec![row]),
            Err(RatingsError::Row { at: 0, .. })
        ));
    }

    #[test]
    fn by_time_nothing_is_predicted_from_what_came_later() {
        // A model that says when the last thing that it saw was.
        struct Last;
        struct Saw(i64);
        impl RatingTrainer for Last {
            fn fit(&self, data: &Ratings, _: u64) -> Result<Box<dyn crate::RatingModel>, RatingsError> {
                Ok(Box::new(Saw(data
                    .rows
                    .iter()
                    .filter_map(|row| row.at_s)
                    .max()
                    .unwrap())))
            }
        }
        impl crate::RatingModel for Saw {
            fn predict(&self, _: u32, _: u32) -> f32 {
                unreachable!("the moment is known")
            }
            fn predict_at(&self, _: u32, _: u32, at_s: Option<i64>) -> f32 {
                assert!(at_s.unwrap() > self.0, "{at_s:?} after {}", self.0);
                0.0
            }
            fn predict_for(&self, _: &[(u32, f32)], _: &[u32]) -> Vec<f32> {
                Vec::new()
            }
        }
        let row = |at: u32| Rating {
            user: 0,
            item: at,
            value: at as f32,
            // Some at the same moment, and not in order.
            at_s: Some(i64::from(at * 37 % 101 / 3)),
        };
        let rows: Vec<Rating> = (0..101).map(row).collect();
        let folds = folds_by_time(&rows, 4).unwrap();
        let held = folds.of.iter().filter(|fold| **fold < 4).count();
        assert!((48..=51).contains(&held), "{held}");
        cross_validate(&Last, (1, 101), &rows, &folds, 0, &|| 0.0, &|| ()).unwrap();
        assert!(matches!(
            folds_by_time(&rows, 60),
            Err(RatingsError::Folds { .. })
        ));
        let untimed = Rating {
            at_s: None,
            ..rows[3]
        };
        assert_eq!(
            folds_by_time(&[rows[0], untimed], 1),
            Err(RatingsError::Untimed { at: 1 })
        );
    }
}
