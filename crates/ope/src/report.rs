//! Estimators over a log, with everything that is needed to trust or distrust them.

use crate::contributions::range;
use crate::few_events;
use crate::interval::{Intervals, Range, intervals, normal_quantile, sampling};
use crate::log::LogError;
use crate::support::{self, Support};
use crate::{
    Assumption, Contributions, Entry, Estimator, Log, PropensitySource, Refusal, RequestError,
    RewardModelConfig, SlateLog, SupportOf, Tuning, WeightTails, cross_fit, effective_sample_size, estimator,
    mean_square, slate_estimator, slope, weight_tails,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Rounds below which the effective sample size is worth a warning.
const FEW_ROUNDS: f64 = 100.0;
/// Share of one weight that is worth a warning.
const LARGE_SHARE: f64 = 0.05;

/// The interval that an estimate's `low` and `high` are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalKind {
    /// Studentised bootstrap.
    Bootstrap,
    /// Normal.
    Normal,
    /// Empirical Bernstein.
    Bernstein,
    /// For few rewarded rounds; told instead of bootstrap and normal where they are few, see [`FewEvents`](crate::FewEvents).
    FewEvents,
}

/// How logs are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Level of intervals.
    pub level: f64,
    /// Which interval is told first.
    pub interval: IntervalKind,
    /// Resamples of the bootstrap.
    pub bootstrap_rounds: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// The range that one reward can have, if known beforehand; the empirical Bernstein interval is a guarantee only then.
    pub reward_range: Option<Range>,
    /// Share of the target's choices that may be without support.
    pub support_tolerance: f64,
    /// What to assume of propensities if the log has none. Every estimate then says so.
    pub assume_propensities: Option<Assumption>,
    /// How parameters that are not given are chosen.
    pub tuning: Tuning,
    /// How a reward model is learnt if the log brings none.
    pub reward_model: RewardModelConfig,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            level: 0.95,
            interval: IntervalKind::Bootstrap,
            bootstrap_rounds: 1000,
            seed: 0,
            reward_range: None,
            support_tolerance: 0.001,
            assume_propensities: None,
            tuning: Tuning::MeanSquare,
            reward_model: RewardModelConfig::default(),
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), RequestError> {
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(RequestError::new("level", self.level, "a number between 0 and 1"));
        }
        if self.bootstrap_rounds < 2 {
            return Err(RequestError::new(
                "resamples",
                self.bootstrap_rounds,
                "at least 2",
            ));
        }
        if !(0.0..1.0).contains(&self.support_tolerance) {
            return Err(RequestError::new(
                "support_tolerance",
                self.support_tolerance,
                "from 0 to below 1",
            ));
        }
        if let Some(Range { low, high }) = self.reward_range
            && !(low <= high && low.is_finite() && high.is_finite())
        {
            return Err(RequestError::new(
                "reward_range",
                format!("{low} to {high}"),
                "two finite numbers in order",
            ));
        }
        Ok(())
    }

    fn check_rewards(&self, rewards: &[f64]) -> Result<(), RequestError> {
        let (low, high) = range(rewards);
        match self.reward_range {
            Some(declared) if low < declared.low || high > declared.high => {
                let got = format!("rewards from {low} to {high}");
                let expected = format!("rewards from {} to {}, as declared", declared.low, declared.high);
                Err(RequestError::new("reward_range", got, expected))
            }
            _ => Ok(()),
        }
    }
}

/// The parameter that an estimator ran with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tuned {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// How it was chosen from the log; none if it was given.
    pub tuned: Option<Tuning>,
    /// How many values were tried.
    pub candidates: usize,
}

/// One estimate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimator, as it was asked for.
    pub estimator: String,
    /// The estimate.
    pub value: f64,
    /// Lower end of the chosen interval.
    pub low: f64,
    /// Upper end of the chosen interval.
    pub high: f64,
    /// Which one that is: the one asked for, or that for few events.
    pub interval: IntervalKind,
    /// Equally weighted rounds that are worth as much; all rounds for an estimator without weights.
    pub effective_sample_size: f64,
    /// Where propensities come from; none for an estimator without weights.
    pub propensities: Option<PropensitySource>,
    /// All intervals: of this estimator, or of the one without its bias, stretched to hold the estimate.
    pub intervals: Intervals,
    /// The estimator without this one's bias, where the intervals are taken from it.
    pub interval_of: Option<&'static str>,
    /// Normal interval of this estimator's sampling error, which knows nothing of its bias; told where `interval_of` is.
    pub sampling: Option<Range>,
    /// Its parameter, if it has one.
    pub parameter: Option<Tuned>,
    /// Tails of the weights as the estimator uses them.
    pub weights: Option<WeightTails>,
    /// What a reader should know before relying on it.
    pub warnings: Vec<String>,
}

/// An estimator that would not answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refused {
    /// The estimator, as it was asked for.
    pub estimator: String,
    /// Why.
    pub reason: String,
}

/// What estimators say about a log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Rounds, or slates.
    pub rounds: usize,
    /// Actions, or positions of a slate.
    pub actions: usize,
    /// Mean reward of the log: what the logging policy earned.
    pub logged_value: f64,
    /// Where propensities come from.
    pub propensities: PropensitySource,
    /// Where the reward model comes from, if one was used.
    pub reward_model: Option<String>,
    /// Level of intervals.
    pub level: f64,
    /// Which interval `low` and `high` are.
    pub interval: IntervalKind,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// What the log can say about the target; none for slates, whose check is by estimator, and without propensities.
    pub support: Option<Support>,
    /// The estimates, in the order asked for.
    pub estimates: Vec<Estimate>,
    /// Who would not answer.
    pub refused: Vec<Refused>,
}

impl Report {
    fn put(&mut self, name: &str, found: Result<Estimate, Refusal>) {
        match found {
            Ok(estimate) => self.estimates.push(estimate),
            Err(refusal) => self.refused.push(Refused {
                estimator: name.to_owned(),
                reason: refusal.to_string(),
            }),
        }
    }
}

/// Runs estimators (`"snips"`, `"switch_dr:5"`, see [`estimator`]) over a log. One that cannot be trusted with it is listed as refused, with the reason.
///
/// # Errors
/// A name, parameter or option that cannot be, or a reward model that cannot be learnt as configured.
pub fn judge<S: AsRef<str>>(log: &Log, names: &[S], options: &Options) -> Result<Report, RequestError> {
    options.check()?;
    options.check_rewards(log.rewards())?;
    let asked: Vec<(&str, &Entry, Option<f64>)> = names
        .iter()
        .map(|name| estimator(name.as_ref()).map(|(entry, given)| (name.as_ref(), entry, given)))
        .collect::<Result<_, _>>()?;
    let (log, reward_model) = completed(log, asked.iter().any(|(_, entry, _)| entry.needs.model), options)?;
    let supports = [SupportOf::Actions, SupportOf::Categories];
    let supports = supports.map(|of| support::check(&log, of, options.support_tolerance));
    let mut report = Report {
        rounds: log.n_rounds(),
        actions: log.n_actions(),
        logged_value: numeric::mean(log.rewards()),
        propensities: log.source(),
        reward_model,
        level: options.level,
        interval: options.interval,
        seed: options.seed,
        support: supports[0].clone(),
        estimates: Vec::new(),
        refused: Vec::new(),
    };
    let mut known = BTreeMap::new();
    for (name, entry, given) in asked {
        let reference = without_bias(&log, entry, supports[0].as_ref(), &mut known, options);
        let found = one(&log, name, (entry, given), &supports, reference, options);
        report.put(name, found);
    }
    Ok(report)
}

/// The log with guessed propensities and a reward model where they are needed and wanted.
fn completed<'a>(
    log: &'a Log,
    needs_model: bool,
    options: &Options,
) -> Result<(Cow<'a, Log>, Option<String>), RequestError> {
    let fault = |e: LogError| RequestError::new(e.field, e.got, e.expected);
    let mut log = Cow::Borrowed(log);
    if log.source() == PropensitySource::Missing
        && let Some(assumption) = options.assume_propensities
    {
        let own = log.into_owned();
        log = Cow::Owned(match assumption {
            Assumption::Frequencies => own.with_estimated_propensities(None).map_err(fault)?,
            Assumption::Uniform => own.with_uniform_propensities(),
        });
    }
    if !needs_model || log.target().is_none() {
        return Ok((log, None));
    }
    if log.model().is_some() {
        return Ok((log, Some("given".to_owned())));
    }
    let model = cross_fit(&log, &options.reward_model).map_err(fault)?;
    log = Cow::Owned(log.into_owned().with_model(model).map_err(fault)?);
    Ok((log, Some(options.reward_model.told())))
}

fn one(
    log: &Log,
    name: &str,
    (entry, given): (&Entry, Option<f64>),
    [actions, categories]: &[Option<Support>; 2],
    reference: Option<(&'static str, Intervals)>,
    options: &Options,
) -> Result<Estimate, Refusal> {
    let support = match entry.needs.support {
        SupportOf::Actions => actions.as_ref(),
        SupportOf::Categories => categories.as_ref(),
        SupportOf::Nothing => None,
    };
    if let Some(refusal) = support.and_then(Support::refusal) {
        return Err(refusal);
    }
    let (built, parameter) = built(log, entry, given, options)?;
    let contributions = built.contributions(log)?;
    let weighted = contributions.weights.is_some() || reference.is_some();
    let source = weighted.then_some(log.source());
    let mut estimate = finished(
        name,
        &contributions,
        source,
        parameter,
        reference,
        (log.rewards(), 1),
        options,
    )?;
    let warnings = &mut estimate.warnings;
    match source {
        Some(PropensitySource::Estimated) => {
            warnings.push("propensities were not logged; they are guessed from frequencies".to_owned());
        }
        Some(PropensitySource::Assumed) => {
            warnings.push("propensities were not logged; all actions are assumed to be as likely".to_owned());
        }
        _ => {}
    }
    match actions {
        Some(support) if entry.needs.support == SupportOf::Nothing && !support.holds => {
            warnings.push(format!(
                "{:.4} of the target's choices are without support; there the reward model guesses",
                support.missing_mass
            ))
        }
        Some(support)
            if entry.needs.support == SupportOf::Actions
                && support::overshoots(support.mean_weight_score) =>
        {
            warnings.push(format!(
                "weights have mean {:.3}, above one: the propensities do not fit the log",
                support.mean_weight
            ));
        }
        Some(support) if entry.needs.support == SupportOf::Actions => {
            warnings.extend(support::light(support.mean_weight, support.mean_weight_score));
            warnings.extend(support.unseen_warning(options.support_tolerance));
        }
        _ => {}
    }
    if let Some((of, _)) = reference {
        let worth = effective_sample_size(&log.weights()?);
        if worth < FEW_ROUNDS {
            warnings.push(format!(
                "the interval is that of {of}, whose weight is on few rounds: worth {worth:.0} equal ones"
            ));
        }
    }
    if entry.unbiased.is_some() && reference.is_none() {
        warnings.push("the interval tells sampling error alone, not bias".to_owned());
    }
    Ok(estimate)
}

/// Intervals of the estimator without this one's bias, where the log supports it; `known` keeps them for the next.
fn without_bias(
    log: &Log,
    entry: &Entry,
    actions: Option<&Support>,
    known: &mut BTreeMap<&'static str, Intervals>,
    options: &Options,
) -> Option<(&'static str, Intervals)> {
    let name = entry
        .unbiased
        .filter(|_| actions.is_some_and(|actions| actions.holds))?;
    if let Some(found) = known.get(name) {
        return Some((name, *found));
    }
    let (reference, _) = estimator(name).ok()?;
    let contributions = (reference.build)(0.0).contributions(log).ok()?;
    let found = of_contributions(&contributions, (log.rewards(), 1), options).ok()?;
    known.insert(name, found);
    Some((name, found))
}

/// All intervals, as far as rewards make them possible; `rewards` by row, with the number of rows a round.
fn of_contributions(
    contributions: &Contributions,
    (rewards, positions): (&[f64], usize),
    options: &Options,
) -> Result<Intervals, Refusal> {
    let Options {
        reward_range: declared,
        level,
        ..
    } = *options;
    let mut found = intervals(
        contributions,
        declared,
        level,
        options.bootstrap_rounds,
        options.seed,
    )?;
    let z = normal_quantile(0.5 + level / 2.0);
    if let Some(few) = few_events::interval(contributions, rewards, positions, declared, (level, z))? {
        let rounds = contributions.base.len() as f64;
        found = found.with_few_events(few, (contributions.value()?, level, rounds));
    }
    Ok(match declared {
        None => found,
        Some(Range { low, high }) => found.within(Range {
            low: low * positions as f64,
            high: high * positions as f64,
        }),
    })
}

/// The estimator with its parameter: the one given, or the one chosen from the log.
fn built(
    log: &Log,
    entry: &Entry,
    given: Option<f64>,
    options: &Options,
) -> Result<(Box<dyn Estimator>, Option<Tuned>), Refusal> {
    let Some(parameter) = entry.parameter else {
        return Ok(((entry.build)(0.0), None));
    };
    let tuned = |value, tuned, candidates| {
        let told = Tuned {
            name: parameter.name,
            value,
            tuned,
            candidates,
        };
        ((entry.build)(value), Some(told))
    };
    if let Some(value) = given {
        return Ok(tuned(value, None, 1));
    }
    let grid = (parameter.grid)(&log.weights()?);
    let mut candidates = Vec::with_capacity(grid.len());
    for value in &grid {
        let contributions = (entry.build)(*value).contributions(log)?;
        let variance = numeric::variance(&contributions.linearised()?);
        candidates.push((contributions.value()?, (variance / log.n_rounds() as f64).sqrt()));
    }
    let chosen = match options.tuning {
        Tuning::MeanSquare => mean_square(&candidates),
        Tuning::Slope => {
            let z = normal_quantile(0.5 + options.level / 2.0);
            candidates.iter_mut().for_each(|(_, width)| *width *= z);
            slope(&candidates)
        }
    };
    let chosen = chosen.and_then(|at| grid.get(at)).copied();
    Ok(tuned(chosen.unwrap_or(0.0), Some(options.tuning), grid.len()))
}

fn finished(
    name: &str,
    contributions: &Contributions,
    propensities: Option<PropensitySource>,
    parameter: Option<Tuned>,
    reference: Option<(&'static str, Intervals)>,
    rewards: (&[f64], usize),
    options: &Options,
) -> Result<Estimate, Refusal> {
    let value = contributions.value()?;
    let (intervals, sampling) = match reference {
        Some((_, of)) => (of.stretched(value), Some(sampling(contributions, options.level)?)),
        None => (
            of_contributions(contributions, rewards, options)?.stretched(value),
            None,
        ),
    };
    let interval = match (options.interval, intervals.few_events) {
        (IntervalKind::Bootstrap | IntervalKind::Normal, Some(few)) if few.few() => IntervalKind::FewEvents,
        (IntervalKind::FewEvents, None) => IntervalKind::Bootstrap,
        (asked, _) => asked,
    };
    let Range { low, high } = intervals.of(interval);
    let rounds = contributions.base.len() as f64;
    let tails = contributions.weights.as_deref().map(weight_tails);
    // Weights by position are counted in slates, as rounds are.
    let effective_sample_size = contributions.weights.as_deref().map_or(rounds, |w| {
        effective_sample_size(w) * rounds / w.len().max(1) as f64
    });
    let mut warnings = Vec::new();
    warnings.extend(
        intervals
            .few_events
            .and_then(|few| few.warning(interval == IntervalKind::FewEvents)),
    );
    if intervals.standard_error <= 1e-6 * value.abs() && intervals.few_events.is_none() {
        warnings.push("all rounds contribute the same, so the interval says nothing".to_owned());
    }
    if effective_sample_size < FEW_ROUNDS {
        warnings.push(format!(
            "the weight is on few rounds: worth {effective_sample_size:.0} equal ones"
        ));
    }
    if let Some(share) = tails
        .as_ref()
        .map(|tails| tails.max_share)
        .filter(|share| *share > LARGE_SHARE)
    {
        warnings.push(format!(
            "a single weight has {:.0} % of all weight",
            share * 100.0
        ));
    }
    if let Some((of, found)) = reference
        && !(found.normal.low <= value && value <= found.normal.high)
    {
        warnings.push(format!(
            "the estimate is outside the interval of {of}: its bias shows"
        ));
    }
    Ok(Estimate {
        estimator: name.to_owned(),
        value,
        low,
        high,
        interval,
        effective_sample_size,
        propensities,
        intervals,
        interval_of: reference.map(|(of, _)| of),
        sampling,
        parameter,
        weights: tails,
        warnings,
    })
}

/// Runs slate estimators over a log of slates; values are sums over positions. An estimator whose weights fall significantly short of mean one is refused for
/// missing support.
///
/// # Errors
/// A name or option that cannot be.
pub fn judge_slates<S: AsRef<str>>(
    log: &SlateLog,
    names: &[S],
    options: &Options,
) -> Result<Report, RequestError> {
    options.check()?;
    options.check_rewards(log.rewards())?;
    let mut report = Report {
        rounds: log.n_slates(),
        actions: log.n_positions(),
        logged_value: numeric::mean(&log.totals().collect::<Vec<_>>()),
        propensities: PropensitySource::Logged,
        reward_model: log.model_from.clone(),
        level: options.level,
        interval: options.interval,
        seed: options.seed,
        support: None,
        estimates: Vec::new(),
        refused: Vec::new(),
    };
    for name in names {
        let entry = slate_estimator(name.as_ref())?;
        let contributions = (entry.build)().contributions(log);
        let found = contributions.and_then(|contributions| {
            let means = slate_weights(&contributions);
            let (mean, score) = (numeric::mean(&means), support::score(&means));
            let reach = support::Reach::of(&means, (entry.propensities)(log).unwrap_or_default());
            let mass = support::shortfall(&means, &reach, |_| 1.0);
            if mass > options.support_tolerance {
                let evidence = support::shortfall_told(mean, reach.bound(1.0));
                return Err(Refusal::MissingSupport { mass, evidence });
            }
            let source = Some(PropensitySource::Logged);
            let mut estimate = finished(
                name.as_ref(),
                &contributions,
                source,
                None,
                None,
                (log.rewards(), log.n_positions()),
                options,
            )?;
            if support::overshoots(score) {
                let told =
                    format!("weights have mean {mean:.3}, above one: the propensities do not fit the log");
                estimate.warnings.push(told);
            }
            estimate.warnings.extend(support::light(mean, score));
            Ok(estimate)
        });
        report.put(name.as_ref(), found);
    }
    Ok(report)
}

/// Mean weight of each slate.
fn slate_weights(contributions: &Contributions) -> Vec<f64> {
    let weights = contributions.weights.as_deref().unwrap_or_default();
    let each = (weights.len() / contributions.base.len().max(1)).max(1);
    weights.chunks_exact(each).map(numeric::mean).collect()
}
