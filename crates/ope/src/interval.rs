//! Intervals of an estimate from the contributions of rounds.
//!
//! Three kinds, and one for few events ([`crate::FewEvents`]). The studentised bootstrap (Efron, 1979; Hall, 1988) resamples rounds, takes self-normalised parts apart each time, and measures each resample by its own
//! standard error, which makes up for skewed weights in small logs. The normal interval takes the variance
//! of the linearised contributions. The empirical Bernstein bound (Maurer and Pontil, 2009, theorem 4) holds at any number of rounds, and is wide; it is a
//! guarantee only where the range of a contribution is known beforehand, see [`Bernstein::guaranteed`]. All speak of sampling error
//! alone: none knows the bias of a clipped weight or of a reward model. No interval can be shorter for a biased estimate without knowing a
//! bound on its bias (Low, 1997), so reports tell the interval of the estimator without that bias, see [`Entry::unbiased`](crate::Entry::unbiased).

use crate::{Contributions, FewEvents, IntervalKind, Refusal};
use numeric::SeededStream;
use serde::Serialize;

/// Two ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Range {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// An empirical Bernstein interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bernstein {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The range of contributions followed from the declared range of rewards and the policies' distributions. Otherwise it is the one seen, and
    /// the interval is only about right.
    pub guaranteed: bool,
}

/// The intervals of one estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Intervals {
    /// Standard error of the linearised estimate.
    pub standard_error: f64,
    /// Studentised bootstrap over rounds.
    pub bootstrap: Range,
    /// Normal.
    pub normal: Range,
    /// Empirical Bernstein.
    pub bernstein: Bernstein,
    /// For few rewarded rounds; none of an estimator without weights.
    pub few_events: Option<FewEvents>,
}

/// All intervals at this level (0.95, say), but for that of few events. `rewards` is the range of one reward, if it is known. The bootstrap costs `rounds` times the number
/// of rounds of the log.
///
/// # Errors
/// As [`Contributions::value`].
pub fn intervals(
    contributions: &Contributions,
    rewards: Option<Range>,
    level: f64,
    rounds: usize,
    seed: u64,
) -> Result<Intervals, Refusal> {
    let value = contributions.value()?;
    let linearised = contributions.linearised()?;
    let n = linearised.len() as f64;
    let variance = numeric::variance(&linearised);
    let standard_error = (variance / n).sqrt();
    let wide = normal_quantile(0.5 + level / 2.0) * standard_error;
    let (span, guaranteed) = span(contributions, rewards, &linearised);
    let log = (4.0 / (1.0 - level)).ln();
    let far = (2.0 * variance * log / n).sqrt() + 7.0 * span * log / (3.0 * (n - 1.0));
    Ok(Intervals {
        standard_error,
        bootstrap: bootstrap(
            contributions,
            (value, standard_error),
            &linearised,
            level,
            (rounds, seed),
        ),
        normal: Range {
            low: value - wide,
            high: value + wide,
        },
        bernstein: Bernstein {
            low: value - far,
            high: value + far,
            guaranteed,
        },
        few_events: None,
    })
}

/// The normal interval of sampling error alone.
///
/// # Errors
/// As [`Contributions::value`].
pub(crate) fn sampling(contributions: &Contributions, level: f64) -> Result<Range, Refusal> {
    let value = contributions.value()?;
    let linearised = contributions.linearised()?;
    let error = (numeric::variance(&linearised) / linearised.len() as f64).sqrt();
    let wide = normal_quantile(0.5 + level / 2.0) * error;
    Ok(Range {
        low: value - wide,
        high: value + wide,
    })
}

impl Range {
    pub(crate) fn stretched(self, to: f64) -> Range {
        Range {
            low: self.low.min(to),
            high: self.high.max(to),
        }
    }

    /// What of it is possible.
    fn within(self, possible: Range) -> Range {
        Range {
            low: self.low.clamp(possible.low, possible.high),
            high: self.high.clamp(possible.low, possible.high),
        }
    }
}

impl Intervals {
    /// The ends of this kind; of few events those of the bootstrap where there are none.
    pub(crate) fn of(&self, kind: IntervalKind) -> Range {
        let range = |low, high| Range { low, high };
        match (kind, &self.few_events) {
            (IntervalKind::Normal, _) => self.normal,
            (IntervalKind::Bernstein, _) => range(self.bernstein.low, self.bernstein.high),
            (IntervalKind::FewEvents, Some(few)) => range(few.low, few.high),
            (IntervalKind::Bootstrap | IntervalKind::FewEvents, _) => self.bootstrap,
        }
    }

    /// The same, stretched to hold a value.
    pub(crate) fn stretched(self, to: f64) -> Intervals {
        self.each(|range| range.stretched(to))
    }

    /// The same, without what lies outside of the values that are possible.
    pub(crate) fn within(self, possible: Range) -> Intervals {
        self.each(|range| range.within(possible))
    }

    fn each(self, change: impl Fn(Range) -> Range) -> Intervals {
        let both = |low, high| change(Range { low, high });
        let Range { low, high } = both(self.bernstein.low, self.bernstein.high);
        let bernstein = Bernstein {
            low,
            high,
            ..self.bernstein
        };
        let few_events = self.few_events.map(|few| {
            let Range { low, high } = both(few.low, few.high);
            FewEvents { low, high, ..few }
        });
        Intervals {
            bootstrap: change(self.bootstrap),
            normal: change(self.normal),
            bernstein,
            few_events,
            ..self
        }
    }

    /// With the interval for few events; Bernstein's, if its range is only the one seen, reckons with what one more event may bring.
    pub(crate) fn with_few_events(mut self, few: FewEvents, (value, level, n): (f64, f64, f64)) -> Intervals {
        if few.few() && !self.bernstein.guaranteed {
            let far = 7.0 * few.largest * (4.0 / (1.0 - level)).ln() / (3.0 * (n - 1.0));
            let Bernstein { low, high, .. } = &mut self.bernstein;
            (*low, *high) = (low.min(value - far), high.max(value + far));
        }
        self.few_events = Some(few);
        self
    }
}

/// How far apart two contributions can be, and whether that is known rather than seen.
fn span(contributions: &Contributions, rewards: Option<Range>, linearised: &[f64]) -> (f64, bool) {
    if let (Some(rewards), Some(bound), []) = (
        rewards,
        contributions.weight_bound,
        contributions.ratios.as_slice(),
    ) {
        let (low, high) = contributions.model_range;
        let up = high + bound * (rewards.high - low).max(0.0);
        let down = low + bound * (rewards.low - high).min(0.0);
        return (up - down, true);
    }
    let (low, high) = crate::contributions::range(linearised);
    (high - low, false)
}

fn bootstrap(
    contributions: &Contributions,
    (value, standard_error): (f64, f64),
    linearised: &[f64],
    level: f64,
    (rounds, seed): (usize, u64),
) -> Range {
    let n = contributions.base.len();
    // Of each round: what it adds to the base, to the numerators and weights, and how far it is from the estimate.
    let width = 2 + 2 * contributions.ratios.len();
    let mut rows = vec![0.0; n * width];
    for (row, cells) in rows.chunks_exact_mut(width).enumerate() {
        cells[0] = contributions.base[row];
        cells[width - 1] = linearised[row] - value;
        for (at, ratio) in contributions.ratios.iter().enumerate() {
            cells[1 + 2 * at] = ratio.numerator[row];
            cells[2 + 2 * at] = ratio.weight[row];
        }
    }
    let draw = |round: usize| {
        let mut stream = SeededStream::new(seed, round as u64);
        let mut sums = vec![0.0; width];
        let mut squares = 0.0;
        for _ in 0..n {
            let at = stream.below(n as u64) as usize * width;
            let cells = &rows[at..at + width];
            sums.iter_mut().zip(cells).for_each(|(sum, cell)| *sum += cell);
            squares += cells[width - 1] * cells[width - 1];
        }
        let n = n as f64;
        let off = sums[width - 1];
        let spread = squares - off * off / n;
        // What is left of equal rounds by rounding is no spread.
        let error = if spread > 1e-12 * squares.max(off * off / n) {
            (spread / (n - 1.0) / n).sqrt()
        } else {
            0.0
        };
        let ratios = sums[1..width - 1].chunks_exact(2).map(|pair| pair[0] / pair[1]);
        (sums[0] / n + ratios.sum::<f64>() - value) / error
    };
    let mut scores =
        numeric::parallel_chunks(rounds, 16, |range| range.map(draw).collect::<Vec<_>>()).concat();
    // A resample without any weight, or of one round again and again, says nothing.
    scores.retain(|score| score.is_finite());
    let tail = (1.0 - level) / 2.0;
    scores.sort_unstable_by(f64::total_cmp);
    let end = |q: f64| value - numeric::quantile(&scores, q).unwrap_or(0.0) * standard_error;
    Range {
        low: end(1.0 - tail),
        high: end(tail),
    }
}

/// Quantile of the standard normal distribution: Acklam's rational approximation, relative error below 1.2e-9.
#[allow(clippy::excessive_precision)]
pub(crate) fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.383577518672690e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 5] = [
        7.784695709041462e-3,
        3.224671290700398e-1,
        2.445134137142996,
        3.754408661907416,
        1.0,
    ];
    let horner = |by: &[f64], x: f64| by.iter().fold(0.0, |sum, c| sum * x + c);
    if p < 0.02425 {
        let q = (-2.0 * p.max(f64::MIN_POSITIVE).ln()).sqrt();
        return horner(&C, q) / horner(&D, q);
    }
    if p > 1.0 - 0.02425 {
        return -normal_quantile(1.0 - p);
    }
    let q = p - 0.5;
    let r = q * q;
    horner(&A, r) * q / horner(&B, r)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ratio;

    #[test]
    fn normal_quantiles_are_those_of_tables() {
        for (p, z) in [
            (0.975, 1.959963985),
            (0.5, 0.0),
            (0.995, 2.575829304),
            (0.001, -3.090232306),
        ] {
            assert!((normal_quantile(p) - z).abs() < 1e-8, "{p}");
        }
    }

    #[test]
    fn intervals_by_hand() {
        let plain = Contributions {
            base: [0.0, 1.0, 1.0, 2.0].repeat(25),
            ratios: Vec::new(),
            weights: None,
            weight_bound: Some(2.0),
            model_range: (0.0, 0.0),
        };
        let rewards = Some(Range { low: 0.0, high: 1.0 });
        let found = intervals(&plain, rewards, 0.95, 2000, 1).expect("values are finite");
        let (variance, log) = (50.0 / 99.0, 80.0f64.ln());
        let se = (variance / 100.0f64).sqrt();
        assert!((found.standard_error - se).abs() < 1e-12);
        assert!((found.normal.high - 1.0 - 1.959963985 * se).abs() < 1e-8);
        let far = (2.0 * variance * log / 100.0).sqrt() + 7.0 * 2.0 * log / (3.0 * 99.0);
        assert!((found.bernstein.high - 1.0 - far).abs() < 1e-9 && found.bernstein.guaranteed);
        assert!((found.bootstrap.low - found.normal.low).abs() < 0.15 * se);
        // One ratio with constant weights is the plain mean, whatever the weight.
        let ratio = Contributions {
            base: vec![0.0; 100],
            ratios: vec![Ratio {
                numerator: plain.base.iter().map(|v| v * 3.0).collect(),
                weight: vec![3.0; 100],
            }],
            ..plain.clone()
        };
        let same = intervals(&ratio, rewards, 0.95, 2000, 1).expect("values are finite");
        assert!(
            (same.standard_error - se).abs() < 1e-12
                && (same.bootstrap.low - found.bootstrap.low).abs() < 1e-12
        );
        assert!(!same.bernstein.guaranteed);
    }
}
