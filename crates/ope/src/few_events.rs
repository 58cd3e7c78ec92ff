//! An interval for estimates that rest on few rewarded rounds.
//!
//! With three clicks, one resample in twenty has none: the bootstrap then knows no spread. What is random is how many events there are and which weights they carry, a sum
//! of Poisson variables with weights. Its interval comes from gamma distributions with the sum's mean and variance, below without and above with one more event of the largest
//! weight (Fay and Feuer, 1997), taken half-way (mid-p; Fay and Kim, 2017). For equal weights that is the mid-p interval of a Poisson mean; without any event it ends at
//! 3.0 largest weights in n, at 95 %.
//!
//! An event is a round whose reward is not the most frequent one, so that few failures are as good as few successes. Events upwards and
//! downwards, and what else varies between rounds (a reward model, the mean weight), are put together by squares of their distances from the estimate (Zou and Donner, 2008).

use crate::gamma::{below, reached};
use crate::{Contributions, Range, Refusal};
use serde::Serialize;

/// Equally weighted events below which the interval for few is told.
pub(crate) const FEW: f64 = 20.0;

/// The interval for few events, and how few.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FewEvents {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Rounds with a weight whose reward is not the most frequent one.
    pub events: usize,
    /// Equally weighted events that are worth as much.
    pub worth: f64,
    /// The largest change of the sum by one event, over the rounds: what is not in the log, but may have been.
    pub largest: f64,
    /// All rewards are alike and their range is not declared: zero to one is taken, or to the reward.
    pub range_taken: bool,
}

impl FewEvents {
    /// Too few for a bootstrap.
    pub(crate) fn few(&self) -> bool {
        self.worth < FEW
    }

    /// How few they are; `told` if the interval is this one.
    pub(crate) fn warning(&self, told: bool) -> Option<String> {
        if !self.few() {
            return None;
        }
        let rounds = match self.events {
            0 => "no round has a reward other than the usual one".to_owned(),
            1 => "a single round has a reward other than the usual one".to_owned(),
            events => format!(
                "{events} rounds have a reward other than the usual one, worth {:.0} equally weighted ones",
                self.worth
            ),
        };
        let instead = if told {
            "; the interval is the one for few events"
        } else {
            ""
        };
        let taken = match self.range_taken {
            true => "; it takes rewards to be from zero to one, or to the one seen: declare their range",
            false => "",
        };
        Some(format!("{rounds}{instead}{taken}"))
    }
}

/// Sums of events in one direction.
#[derive(Default)]
struct Sums {
    first: f64,
    second: f64,
    unit: f64,
}

impl Sums {
    /// Lower and upper distance from the sum, over `n` rounds.
    fn distances(&self, n: f64, level: f64) -> (f64, f64) {
        let (y, v) = (self.first / n, self.second / (n * n));
        let unit = self.unit / n;
        let (more, wide) = (y + unit, v + unit * unit);
        if more <= 0.0 {
            return (0.0, 0.0);
        }
        let without = |x: f64| {
            if y > 0.0 { below(y * y / v, x * y / v) } else { 1.0 }
        };
        let with = |x: f64| {
            if unit > 0.0 {
                below(more * more / wide, x * more / wide)
            } else {
                without(x)
            }
        };
        let both = |x: f64| 0.5 * (without(x) + with(x));
        let tail = (1.0 - level) / 2.0;
        // In units of the sum, so that halving ends at its scale.
        let low = if y > 0.0 {
            more * reached(tail, |x| both(x * more))
        } else {
            0.0
        };
        let high = more * reached(1.0 - tail, |x| both(x * more));
        ((y - low).max(0.0), (high - y).max(0.0))
    }
}

/// The interval of an estimate with weights; `None` without. `rewards` by row, `positions` rows a round; `declared` is the range that a reward can have.
///
/// # Errors
/// As [`Contributions::value`].
pub(crate) fn interval(
    contributions: &Contributions,
    rewards: &[f64],
    positions: usize,
    declared: Option<Range>,
    (level, z): (f64, f64),
) -> Result<Option<FewEvents>, Refusal> {
    let (value, linearised) = (contributions.value()?, contributions.linearised()?);
    let Some(weights) = &contributions.weights else {
        return Ok(None);
    };
    let usual = most_frequent(rewards);
    let seen = rewards
        .iter()
        .fold((usual, usual), |(low, high), r| (low.min(*r), high.max(*r)));
    let range_taken = declared.is_none() && seen.0 == seen.1;
    let (least, most) = match declared {
        Some(Range { low, high }) => (low, high),
        None if range_taken => (usual.min(0.0), if usual > 0.0 { usual } else { usual + 1.0 }),
        None => seen,
    };
    let n = linearised.len();
    let scales = scales(contributions, positions);
    let weight = |row: usize| {
        let own = if weights.len() == rewards.len() {
            weights[row]
        } else {
            weights[row / positions]
        };
        own / scales[row % positions]
    };
    let (mut up, mut down) = (Sums::default(), Sums::default());
    let (mut events, mut rest) = (0, linearised);
    for (round, rest) in rest.iter_mut().enumerate() {
        let rows = round * positions..(round + 1) * positions;
        let event: f64 = rows.clone().map(|row| weight(row) * (rewards[row] - usual)).sum();
        let largest = rows.map(|row| weight(row).abs()).fold(0.0, f64::max);
        *rest -= event;
        let own = if event >= 0.0 { &mut up } else { &mut down };
        own.first += event.abs();
        own.second += event * event;
        events += usize::from(event != 0.0);
        up.unit = up.unit.max(largest * (most - usual));
        down.unit = down.unit.max(largest * (usual - least));
    }
    let sum = up.first + down.first;
    let squares = up.second + down.second;
    let still = z * z * numeric::variance(&rest) / n as f64;
    let ((up_low, up_high), (down_low, down_high)) =
        (up.distances(n as f64, level), down.distances(n as f64, level));
    Ok(Some(FewEvents {
        low: value - (up_low * up_low + down_high * down_high + still).sqrt(),
        high: value + (up_high * up_high + down_low * down_low + still).sqrt(),
        events,
        worth: if squares > 0.0 { sum * sum / squares } else { 0.0 },
        largest: up.unit.max(down.unit),
        range_taken,
    }))
}

/// What weights are divided by at each position: the mean weight where it is self-normalised.
fn scales(contributions: &Contributions, positions: usize) -> Vec<f64> {
    let ratios = &contributions.ratios;
    // Weights of rewards come last; those of a model before them, if there are any.
    let own = ratios.len().checked_sub(positions).map(|at| &ratios[at..]);
    let scale = |position: usize| match (own, ratios.first()) {
        (_, None) => 1.0,
        (Some(own), _) => numeric::mean(&own[position].weight),
        (None, Some(only)) => numeric::mean(&only.weight),
    };
    (0..positions).map(scale).collect()
}

/// The most frequent value, of equally frequent ones the least; zero of none.
fn most_frequent(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let runs = sorted.chunk_by(|a, b| a == b);
    let best = runs.reduce(|best, run| if run.len() > best.len() { run } else { best });
    best.and_then(|run| run.first()).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rewards: &[f64], weights: &[f64], declared: Option<Range>) -> FewEvents {
        let contributions = Contributions {
            base: rewards.iter().zip(weights).map(|(r, w)| r * w).collect(),
            ratios: Vec::new(),
            weights: Some(weights.to_vec()),
            weight_bound: None,
            model_range: (0.0, 0.0),
        };
        let found = interval(&contributions, rewards, 1, declared, (0.95, 1.959963985));
        found.expect("values are finite").expect("there are weights")
    }

    fn rewarded(n: usize, ones: usize) -> Vec<f64> {
        (0..n).map(|at| f64::from(u8::from(at < ones))).collect()
    }

    #[test]
    fn by_hand() {
        // No event: half of an exponential above zero leaves 0.025 above 3.0 (ln 20) weights.
        let none = found(&rewarded(600, 0), &[1.0; 600], None);
        assert!(
            none.low == 0.0 && (none.high * 600.0 - 20.0f64.ln()).abs() < 1e-6,
            "{none:?}"
        );
        assert!(none.range_taken && none.events == 0 && none.few());
        // Twice the range or the largest weight, twice the end.
        let range = Some(Range { low: 0.0, high: 2.0 });
        assert!((found(&rewarded(600, 0), &[1.0; 600], range).high - 2.0 * none.high).abs() < 1e-9);
        let mut heavy = vec![1.0; 600];
        heavy[7] = 2.0;
        assert!((found(&rewarded(600, 0), &heavy, None).high - 2.0 * none.high).abs() < 1e-9);
        // One event of weight one: P(X ≤ 1 | mean) − P(X = 1 | mean) / 2 is 0.025 and 0.975 at the ends of the mid-p interval of a Poisson mean.
        let one = found(&rewarded(600, 1), &[1.0; 600], None);
        let tail = |mean: f64| (-mean).exp() * (1.0 + mean / 2.0);
        assert!((tail(one.high * 600.0) - 0.025).abs() < 1e-7, "{one:?}");
        assert!((tail(one.low * 600.0) - 0.975).abs() < 1e-7, "{one:?}");
        // Few failures are few events downwards.
        let failing: Vec<f64> = rewarded(600, 1).iter().map(|r| 1.0 - r).collect();
        let mirrored = found(&failing, &[1.0; 600], None);
        assert!(
            (mirrored.high - (1.0 - one.low)).abs() < 1e-9 && (mirrored.low - (1.0 - one.high)).abs() < 1e-9
        );
    }

    #[test]
    fn with_many_events_it_is_the_normal_interval() {
        let rewards: Vec<f64> = (0..20_000).map(|at| f64::from(u8::from(at % 10 == 0))).collect();
        let weights: Vec<f64> = (0..20_000).map(|at| 0.5 + (at % 7) as f64 / 6.0).collect();
        let found = found(&rewards, &weights, None);
        let each: Vec<f64> = rewards.iter().zip(&weights).map(|(r, w)| r * w).collect();
        let second = each.iter().map(|e| e * e).sum::<f64>() / 20_000.0f64.powi(2);
        let wide = 1.96 * second.sqrt();
        let mean = numeric::mean(&each);
        assert!(
            (found.high - mean - wide).abs() < 0.03 * wide,
            "{found:?} {mean} {wide}"
        );
        assert!((mean - found.low - wide).abs() < 0.03 * wide && !found.few());
    }
}
