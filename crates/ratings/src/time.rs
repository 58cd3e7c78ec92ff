//! What the moment of a rating adds to the baseline: αᵤ·devᵤ(t) + bᵤ,day(t) + bᵢ,bin(t).
//!
//! Koren 2009, "Collaborative filtering with temporal dynamics", KDD, §3.1: an item's standing changes slowly, so time is cut into bins with a
//! deviation each; a person drifts, devᵤ(t) = sign(t − tᵤ)·|t − tᵤ|^½ with tᵤ the mean moment, in root days (the paper has the power 0.4, found for its data), and has days that are
//! good or bad throughout. Here each is a closed form with shrinkage, like the rest of the baseline, in turn with it. A moment outside what was seen
//! drifts no further, counts to the nearest bin, and its day says nothing. A rating without a moment is the plain baseline's. Nothing is random.

use crate::registry::check;
use crate::{Ratings, RatingsError};
use serde::{Deserialize, Serialize};

/// Configuration of what time adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeConfig {
    /// Bins of the whole time, of equal length, for items; 0 for none. Default 30.
    pub bins: usize,
    /// Ratings' worth of shrinkage of an item's deviation in a bin. Default 25.
    pub reg_bin: f32,
    /// Ratings' worth of shrinkage of a person's drift, at one day from the mean. Default 100.
    pub reg_drift: f32,
    /// Ratings' worth of shrinkage of a person's day. Default 10.
    pub reg_day: f32,
}

impl Default for TimeConfig {
    fn default() -> Self {
        TimeConfig {
            bins: 30,
            reg_bin: 25.0,
            reg_drift: 100.0,
            reg_day: 10.0,
        }
    }
}

impl TimeConfig {
    pub(crate) fn check(&self, model: &str) -> Result<(), RatingsError> {
        check(model, "time.bins", self.bins as f64, 0.0, 1e4)?;
        check(model, "time.reg_bin", f64::from(self.reg_bin), 0.0, 1e6)?;
        check(model, "time.reg_drift", f64::from(self.reg_drift), 0.0, 1e6)?;
        check(model, "time.reg_day", f64::from(self.reg_day), 0.0, 1e6)
    }
}

const DAY: i64 = 86_400;

/// One person's moments.
#[derive(Debug, Clone, Default)]
struct Person {
    /// Mean, first and last moment, seconds.
    mean: f64,
    first: i64,
    last: i64,
    /// αᵤ.
    slope: f32,
    /// Days with ratings, ascending, with their deviations.
    days: Vec<(i64, f32)>,
}

impl Person {
    fn deviation(&self, at: i64) -> f32 {
        let days = (at.clamp(self.first, self.last) as f64 - self.mean) / DAY as f64;
        (days.signum() * days.abs().sqrt()) as f32
    }

    fn day(&self, at: i64) -> Option<usize> {
        let day = at.div_euclid(DAY);
        self.days.binary_search_by_key(&day, |(own, _)| *own).ok()
    }
}

/// Where a rating of the training stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Place in `bins`.
    bin: usize,
    day: usize,
    deviation: f32,
}

/// What time adds, by person and item.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    first: i64,
    /// Seconds of a bin.
    bin_s: i64,
    n_bins: usize,
    /// A row per item.
    bins: Vec<f32>,
    people: Vec<Person>,
}

/// [`Timed`] in the making.
pub(crate) struct Timing<'a> {
    config: &'a TimeConfig,
    timed: Timed,
    /// By rating; `None` without a moment.
    places: Vec<Option<Place>>,
}

impl Timed {
    fn bin(&self, item: usize, at: i64) -> usize {
        let bin = (at - self.first)
            .div_euclid(self.bin_s)
            .clamp(0, self.n_bins.max(1) as i64 - 1);
        item * self.n_bins + bin as usize
    }

    /// What is added for this rating.
    pub(crate) fn of(&self, user: u32, item: u32, at: i64) -> f32 {
        let of_item = match self.n_bins {
            0 => 0.0,
            _ => self.bins.get(self.bin(item as usize, at)).copied().unwrap_or(0.0),
        };
        let of_user = self.people.get(user as usize).map_or(0.0, |person| {
            let day = person.day(at).map_or(0.0, |day| person.days[day].1);
            person.slope * person.deviation(at) + day
        });
        of_item + of_user
    }
}

impl<'a> Timing<'a> {
    /// Nothing added yet; `None` if no rating has a moment.
    pub(crate) fn new(data: &Ratings, config: &'a TimeConfig) -> Option<Timing<'a>> {
        let moments = || data.rows.iter().filter_map(|row| row.at_s);
        let (first, last) = (moments().min()?, moments().max()?);
        let n_bins = config.bins;
        let person = |user: usize| {
            let own: Vec<i64> = data.of_user(user).iter().filter_map(|row| row.at_s).collect();
            let (Some(first), Some(last)) = (own.iter().min(), own.iter().max()) else {
                return Person::default();
            };
            let mut days: Vec<(i64, f32)> = own.iter().map(|at| (at.div_euclid(DAY), 0.0)).collect();
            days.sort_unstable_by_key(|(day, _)| *day);
            days.dedup_by_key(|(day, _)| *day);
            Person {
                mean: own.iter().map(|at| *at as f64).sum::<f64>() / own.len() as f64,
                first: *first,
                last: *last,
                slope: 0.0,
                days,
            }
        };
        let timed = Timed {
            first,
            bin_s: ((last - first) / n_bins.max(1) as i64 + 1).max(1),
            n_bins,
            bins: vec![0.0; data.n_items * n_bins],
            people: (0..data.n_users).map(person).collect(),
        };
        let place = |row: &crate::Rating| {
            let at = row.at_s?;
            let person = &timed.people[row.user as usize];
            Some(Place {
                bin: if n_bins == 0 {
                    0
                } else {
                    timed.bin(row.item as usize, at)
                },
                day: person.day(at).expect("a day of this person"),
                deviation: person.deviation(at),
            })
        };
        let places = data.rows.iter().map(place).collect();
        Some(Timing {
            config,
            timed,
            places,
        })
    }

    /// What is added for rating `row`, of this user.
    pub(crate) fn of(&self, row: usize, user: u32) -> f32 {
        let Some(place) = self.places[row] else {
            return 0.0;
        };
        let person = &self.timed.people[user as usize];
        let of_item = self.timed.bins.get(place.bin).copied().unwrap_or(0.0);
        of_item + person.slope * place.deviation + person.days[place.day].1
    }

    /// Fits bins, drifts and days, in this order, to what is left of each rating without what time adds.
    pub(crate) fn refit(&mut self, data: &Ratings, left: impl Fn(&crate::Rating) -> f32) {
        let mut sums = vec![(0f64, 0f64); self.timed.bins.len()];
        if !sums.is_empty() {
            for (at, (row, place)) in data.rows.iter().zip(&self.places).enumerate() {
                if let Some(place) = place {
                    let own = self.timed.bins[place.bin];
                    let sum = &mut sums[place.bin];
                    sum.0 += f64::from(left(row) - self.of(at, row.user) + own);
                    sum.1 += 1.0;
                }
            }
        }
        for (bin, (sum, n)) in self.timed.bins.iter_mut().zip(sums) {
            *bin = (sum / (n + f64::from(self.config.reg_bin)).max(1e-9)) as f32;
        }
        for user in 0..data.n_users {
            self.refit_person(data, user, &left);
        }
    }

    fn refit_person(&mut self, data: &Ratings, user: usize, left: impl Fn(&crate::Rating) -> f32) {
        let range = data.offsets[user]..data.offsets[user + 1];
        let bin = |place: &Place| self.timed.bins.get(place.bin).copied().unwrap_or(0.0);
        let own: Vec<(Place, f64)> = range
            .filter_map(|at| Some((self.places[at]?, &data.rows[at])))
            .map(|(place, row)| (place, f64::from(left(row) - bin(&place))))
            .collect();
        let person = &mut self.timed.people[user];
        let (mut product, mut square) = (0f64, f64::from(self.config.reg_drift));
        for (place, left) in &own {
            let deviation = f64::from(place.deviation);
            product += deviation * (left - f64::from(person.days[place.day].1));
            square += deviation * deviation;
        }
        person.slope = (product / square.max(1e-9)) as f32;
        let mut sums = vec![(0f64, 0f64); person.days.len()];
        for (place, left) in &own {
            sums[place.day].0 += left - f64::from(person.slope * place.deviation);
            sums[place.day].1 += 1.0;
        }
        for ((_, day), (sum, n)) in person.days.iter_mut().zip(sums) {
            *day = (sum / (n + f64::from(self.config.reg_day)).max(1e-9)) as f32;
        }
    }

    pub(crate) fn finish(self) -> Timed {
        self.timed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rating, RatingModel, trainer};
    use numeric::SeededStream;

    fn config() -> TimeConfig {
        TimeConfig {
            bins: 2,
            reg_bin: 1.0,
            reg_drift: 3.0,
            reg_day: 1.0,
        }
    }

    fn row(user: u32, item: u32, value: f32, at_s: Option<i64>) -> Rating {
        Rating {
            user,
            item,
            value,
            at_s,
        }
    }

    #[test]
    fn one_round_by_hand() {
        // One person, two days with four days between: t = 2 days, deviations −√2 and √2.
        let rows = vec![
            row(0, 0, 2.0, Some(0)),
            row(0, 1, 4.0, Some(4 * DAY)),
            row(0, 2, 9.0, None),
        ];
        let data = Ratings::new(1, 3, rows).unwrap();
        let config = config();
        let mut timing = Timing::new(&data, &config).unwrap();
        timing.refit(&data, |row| row.value - 3.0);
        // Bins: −1 / (1 + 1) and 1 / (1 + 1). Left −½ and ½, so the slope is (√2/2 + √2/2) / (3 + 4) = √2/7; left −½ + 2/7 and ½ − 2/7, days half of that.
        let timed = timing.finish();
        let expected = 0.5 + 2.0 / 7.0 + (0.5 - 2.0 / 7.0) / 2.0;
        let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
        assert!(
            close(timed.of(0, 1, 4 * DAY), expected),
            "{}",
            timed.of(0, 1, 4 * DAY)
        );
        assert!(close(timed.of(0, 0, 0), -expected));
        // Later: the nearest bin and no further drift, but a day of which nothing is known. Strangers have no days and no drift.
        assert!(close(timed.of(0, 1, 40 * DAY), 0.5 + 2.0 / 7.0));
        assert!(close(timed.of(7, 1, 4 * DAY), 0.5) && close(timed.of(7, 9, 4 * DAY), 0.0));
        assert!(Timing::new(&Ratings::new(1, 1, vec![row(0, 0, 1.0, None)]).unwrap(), &config).is_none());
    }

    /// People whose ratings fall or rise over a hundred days, and items that come into fashion.
    fn world() -> Vec<Rating> {
        let mut stream = SeededStream::new(3, 0);
        let mut rows = Vec::new();
        for user in 0..80u32 {
            let drift = stream.normal() * 0.08;
            for item in 0..40u32 {
                let at = stream.below(100 * DAY as u64) as i64;
                let days = (at as f64 / DAY as f64) - 50.0;
                let fashion = if item % 2 == 0 && days > 0.0 { 0.8 } else { 0.0 };
                let moved = drift * days.signum() * days.abs().sqrt();
                let value = 3.0 + fashion + moved + 0.2 * stream.normal();
                rows.push(row(user, item, value as f32, Some(at)));
            }
        }
        rows
    }

    #[test]
    fn what_moves_is_found_and_what_has_no_moment_is_as_before() {
        let rows = world();
        let (train, test): (Vec<_>, Vec<_>) = rows.iter().partition(|row| (row.user + row.item) % 4 != 0);
        let known = Ratings::new(80, 40, train.clone()).unwrap();
        let untimed = train.iter().map(|row| Rating { at_s: None, ..*row }).collect();
        let untimed = Ratings::new(80, 40, untimed).unwrap();
        let rmse = |model: &dyn RatingModel| {
            let miss =
                |row: &Rating| f64::from(model.predict_at(row.user, row.item, row.at_s) - row.value).powi(2);
            (test.iter().map(miss).sum::<f64>() / test.len() as f64).sqrt()
        };
        for name in ["baseline", "svd", "svdpp"] {
            let fit = |config: serde_json::Value, data: &Ratings| {
                (trainer(name).unwrap().build)(&config)
                    .unwrap()
                    .fit(data, 1)
                    .unwrap()
            };
            let (plain, timed) = (
                fit(serde_json::Value::Null, &known),
                fit(serde_json::json!({"time": {}}), &known),
            );
            let (before, after) = (rmse(&*plain), rmse(&*timed));
            assert!(after < 0.75 * before, "{name}: {before} {after}");
            let without = fit(serde_json::json!({"time": {}}), &untimed);
            let same = |row: &Rating| {
                without.predict_at(row.user, row.item, row.at_s) == plain.predict(row.user, row.item)
            };
            assert!(test.iter().all(same), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let wrong = |config| {
            (trainer("svd").unwrap().build)(&config)
                .err()
                .unwrap()
                .to_string()
        };
        assert_eq!(
            wrong(serde_json::json!({"time": {"reg_day": -1.0}})),
            "svd.time.reg_day: got -1, expected 0 to 1000000"
        );
        assert!(wrong(serde_json::json!({"time": {"day": 1}})).contains("unknown field"));
    }
}
