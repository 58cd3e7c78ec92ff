//! From rows to a ranker.

use crate::{Form, Head, HeadWeight, OutcomeModel, PositionMode, RankObjective, RankerConfig};
use serde::Serialize;
use std::collections::BTreeMap;
use trees::{Feature, Objective, Rows, Scorer, log_loss, train};

/// What was shown, with what was known of it and what came of it.
#[derive(Debug, Clone, Default)]
pub struct RankRows {
    /// Columns.
    pub features: Vec<Feature>,
    /// Row after row.
    pub values: Vec<f32>,
    /// Rows by decision, the oldest decision first.
    pub groups: Vec<u32>,
    /// Place of each row in its slate, from 1; empty if nothing was shown (rows from the event log).
    pub positions: Vec<u32>,
    /// What each row stands for; empty for 1 each.
    pub weights: Vec<f32>,
    /// How often in a row the person of each row had been shown its item before and nothing had come of it; empty for never.
    pub repeats: Vec<u32>,
    /// By type of event, per row, 1 if it came of it.
    pub outcomes: BTreeMap<String, Vec<f32>>,
}

/// Why no ranker was learnt.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LearnError {
    /// There is not enough to learn from.
    #[error("{0}")]
    TooLittle(String),
    /// The rows or the configuration cannot be.
    #[error(transparent)]
    Trees(#[from] trees::TreesError),
}

/// How one head came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadReport {
    /// Type of event, or `order`.
    pub outcome: String,
    /// Rows with it.
    pub positives: u64,
    /// Trees kept.
    pub trees: usize,
    /// Mean logistic loss on the validation rows after calibration; absent for an order.
    pub loss: Option<f64>,
    /// The same of the share of positives as a constant.
    pub loss_of_constant: Option<f64>,
    /// Mean distance of probability and share over ten equal parts of the validation rows.
    pub calibration_error: Option<f64>,
    /// The features that most splits ask, with how many do.
    pub top_features: Vec<(String, u32)>,
}

/// How learning went.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LearnReport {
    /// Decisions learnt from, validation included.
    pub groups: u64,
    /// Rows of these.
    pub rows: u64,
    /// Heads learnt.
    pub heads: Vec<HeadReport>,
    /// Outcomes without a head, and why.
    pub left_out: Vec<(String, String)>,
    /// Examination by place that was used for weighting, if any.
    pub examination: Vec<f64>,
}

/// Share of the latest decisions that decide when to stop and how to calibrate.
const VALIDATION_SHARE: f64 = 0.15;
/// Showings without an outcome beyond which one more makes nothing worse.
const REPEATS_MAX: u32 = 5;

/// The probability that a place is looked at, and how much an outcome there stands for.
#[derive(Clone, Copy)]
pub(crate) struct Looks<'a> {
    examination: &'a [f64],
    clip: f64,
}

impl<'a> Looks<'a> {
    pub(crate) fn new(examination: &'a [f64], clip: f64) -> Looks<'a> {
        Looks { examination, clip }
    }

    fn at(&self, place: u32) -> f64 {
        let at = (place.max(1) as usize - 1).min(self.examination.len().saturating_sub(1));
        self.examination.get(at).map_or(1.0, |theta| theta.max(1e-9))
    }

    fn inverse(&self, place: u32) -> f64 {
        (1.0 / self.at(place)).clamp(1.0 / self.clip, self.clip)
    }
}

impl RankRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|g| *g as usize).sum()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The first decisions and the rest.
    pub fn split(&self, groups: usize) -> (RankRows, RankRows) {
        let groups = groups.min(self.groups.len());
        let rows: usize = self.groups[..groups].iter().map(|g| *g as usize).sum();
        let width = self.features.len();
        let cut = |values: &[f32]| {
            let at = rows.min(values.len());
            (values[..at].to_vec(), values[at..].to_vec())
        };
        let at = rows.min(self.positions.len());
        let repeats_at = rows.min(self.repeats.len());
        let (weights, weights_after) = cut(&self.weights);
        let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
        for (name, outcome) in &self.outcomes {
            let (before, after) = cut(outcome);
            first.insert(name.clone(), before);
            second.insert(name.clone(), after);
        }
        (
            RankRows {
                features: self.features.clone(),
                values: self.values[..rows * width].to_vec(),
                groups: self.groups[..groups].to_vec(),
                positions: self.positions[..at].to_vec(),
                repeats: self.repeats[..repeats_at].to_vec(),
                weights,
                outcomes: first,
            },
            RankRows {
                features: self.features.clone(),
                values: self.values[rows * width..].to_vec(),
                groups: self.groups[groups..].to_vec(),
                positions: self.positions[at..].to_vec(),
                repeats: self.repeats[repeats_at..].to_vec(),
                weights: weights_after,
                outcomes: second,
            },
        )
    }

    /// The same rows without the columns of these families of features.
    pub fn without(&self, families: &[&str]) -> RankRows {
        let family = |feature: &Feature| feature.name.split(':').next().unwrap_or_default().to_owned();
        let stays = |feature: &&Feature| !families.contains(&family(feature).as_str());
        let features: Vec<Feature> = self.features.iter().filter(stays).cloned().collect();
        RankRows {
            values: self.select(&features),
            features,
            ..self.clone()
        }
    }

    /// The columns of these names in their order; those that are not there are missing throughout.
    pub fn select(&self, features: &[Feature]) -> Vec<f32> {
        let width = self.features.len();
        let places: Vec<Option<usize>> = features
            .iter()
            .map(|f| self.features.iter().position(|own| own.name == f.name))
            .collect();
        let mut out = Vec::with_capacity(self.len() * features.len());
        for row in self.values.chunks(width.max(1)) {
            out.extend(places.iter().map(|place| place.map_or(f32::NAN, |at| row[at])));
        }
        out
    }

    /// One column; missing throughout if it is not there.
    pub fn column(&self, name: &str) -> Vec<f32> {
        self.select(&[Feature::number(name)])
    }

    /// Worth of what came of each row, below 0 where what came of it is unwanted; what is wanted counts for as many as would have come if everybody had looked.
    fn worth(&self, weights: &BTreeMap<String, HeadWeight>, looks: Looks<'_>) -> Vec<f64> {
        let mut worth = vec![0.0; self.len()];
        for (name, outcome) in &self.outcomes {
            let weight = weights.get(name).map_or(0.0, |head| f64::from(head.weight));
            worth
                .iter_mut()
                .zip(outcome)
                .for_each(|(sum, y)| *sum += weight * f64::from(*y));
        }
        for (worth, place) in worth.iter_mut().zip(&self.positions).filter(|(w, _)| **w > 0.0) {
            *worth *= looks.inverse(*place);
        }
        worth
    }

    /// Showings in a row that count against each row of which nothing came; none where something did.
    fn ignored(&self) -> impl Iterator<Item = f64> + '_ {
        let came = |at: usize| self.outcomes.values().any(|outcome| outcome[at] > 0.0);
        self.repeats
            .iter()
            .enumerate()
            .map(move |(at, repeats)| match came(at) {
                true => 0.0,
                false => f64::from(*repeats.min(&REPEATS_MAX)),
            })
    }

    /// NDCG of a model's order within each decision that has both something worth anything and something worth less; in the order of
    /// the decisions. Gains are what came of an item; where something unwanted came of one, those of which nothing came gain. If the examination of places is given, gains are divided by it, and each
    /// decision counts for its ideal over that without dividing, relative to the mean of all: what divides all gains of a decision would not be seen otherwise. The mean over decisions is then an NDCG, one
    /// decision may have more than 1.
    pub fn ndcgs(
        &self,
        model: &OutcomeModel,
        weights: &BTreeMap<String, HeadWeight>,
        examination: &[f64],
    ) -> Vec<f64> {
        let scores = model.scores(&self.neutral(&model.features));
        self.ndcgs_of(&scores, weights, examination)
    }

    /// The same for scores that are given.
    pub fn ndcgs_of(
        &self,
        scores: &[f32],
        weights: &BTreeMap<String, HeadWeight>,
        examination: &[f64],
    ) -> Vec<f64> {
        let plain = self.worth(weights, Looks::new(&[], 1.0));
        let worth = self.worth(weights, Looks::new(examination, RankerConfig::default().clip));
        let (mut start, mut counted) = (0, 0.0);
        let mut found = Vec::new();
        for size in &self.groups {
            let rows = start..start + *size as usize;
            start = rows.end;
            let ideal = gains_of(&plain[rows.clone()]).ideal();
            let gains = gains_of(&worth[rows.clone()]);
            if ideal > 0.0 && gains.differ() {
                found.push(gains.in_order_of(&scores[rows]) / ideal);
                counted += gains.ideal() / ideal;
            }
        }
        let mean = counted / found.len().max(1) as f64;
        found.iter_mut().for_each(|value| *value /= mean);
        found
    }

    /// What each row stands for where ignored showings count more.
    fn weighed(&self, unclicked: f64) -> Vec<f32> {
        if unclicked == 0.0 || self.repeats.is_empty() {
            return self.weights.clone();
        }
        let rows = self.ignored().enumerate();
        rows.map(|(at, times)| (weight_at(&self.weights, at) * (1.0 + unclicked * times)) as f32)
            .collect()
    }

    /// Columns as in serving: everything in the first place.
    fn neutral(&self, features: &[Feature]) -> Vec<f32> {
        let mut values = self.select(features);
        if let Some(at) = features.iter().position(|f| f.name == "position") {
            values
                .iter_mut()
                .skip(at)
                .step_by(features.len())
                .for_each(|value| *value = 1.0);
        }
        values
    }
}

/// Learns a ranker: the latest decisions of `rows` decide when to stop and calibrate. `examination` by place is used where the configuration
/// says `ips` or `doubly_robust`. In parallel on the current pool; the same rows, configuration and seed give the same bytes.
///
/// # Errors
/// Too little to learn from, by name.
pub fn learn(
    rows: &RankRows,
    weights: &BTreeMap<String, HeadWeight>,
    config: &RankerConfig,
    examination: &[f64],
    seed: u64,
) -> Result<(OutcomeModel, LearnReport), LearnError> {
    let uses_position = config.position == PositionMode::Feature && !rows.positions.is_empty();
    let features: Vec<Feature> = rows
        .features
        .iter()
        .filter(|f| uses_position || f.name != "position")
        .cloned()
        .collect();
    let examination = match config.position.needs_examination() && !rows.positions.is_empty() {
        true => examination,
        false => &[],
    };
    let looks = Looks::new(examination, config.clip);
    let n_learn = ((rows.groups.len() as f64) * (1.0 - VALIDATION_SHARE)).round() as usize;
    let (learnt, held) = rows.split(n_learn);
    if learnt.is_empty() || held.is_empty() {
        return Err(LearnError::TooLittle(format!(
            "{} decisions, too few to learn from",
            rows.groups.len()
        )));
    }
    let mut report = LearnReport {
        groups: rows.groups.len() as u64,
        rows: rows.len() as u64,
        examination: examination.to_vec(),
        ..LearnReport::default()
    };
    let parts = [&learnt, &held].map(|part| Part {
        values: part.select(&features),
        rows: part,
        weights: part.weighed(config.unclicked),
    });
    let task = Task {
        parts: &parts,
        features: &features,
        config,
        looks,
        seed,
    };
    let mut heads = Vec::new();
    match config.objective {
        RankObjective::Order => {
            let positives = rows.worth(weights, looks).iter().filter(|w| **w > 0.0).count();
            if positives < config.outcomes_min {
                let words = format!(
                    "{positives} rows with an outcome of worth, expected at least {}",
                    config.outcomes_min
                );
                return Err(LearnError::TooLittle(words));
            }
            heads.push(task.order(weights, &mut report)?);
        }
        RankObjective::Outcomes => {
            for (name, weight) in weights {
                let sum = |rows: &RankRows| {
                    rows.outcomes
                        .get(name)
                        .map_or(0, |y| y.iter().filter(|y| **y > 0.0).count())
                };
                let (learnt, held) = (sum(&learnt), sum(&held));
                if learnt + held < config.outcomes_min || learnt == 0 || held == 0 {
                    let (rows, least) = (learnt + held, config.outcomes_min);
                    let why = match rows < least {
                        true => format!("{rows} rows with it, expected at least {least}"),
                        false => format!(
                            "{learnt} rows with it to learn from and {held} later ones to stop by, expected some of both"
                        ),
                    };
                    report.left_out.push((name.clone(), why));
                    continue;
                }
                heads.push(task.outcome(name, *weight, &mut report)?);
            }
        }
    }
    if heads.is_empty() {
        let words: Vec<String> = report
            .left_out
            .iter()
            .map(|(name, why)| format!("{name}: {why}"))
            .collect();
        return Err(LearnError::TooLittle(format!(
            "no outcome has enough rows ({})",
            words.join("; ")
        )));
    }
    Ok((
        OutcomeModel {
            features,
            heads,
            weights_version: config.weights_version,
        },
        report,
    ))
}

/// How deep NDCG looks.
const DEPTH: usize = 10;

/// DCG of gains in their order.
fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    let of_rank = |(rank, gain): (usize, f64)| gain / (rank as f64 + 2.0).log2();
    gains.take(DEPTH).enumerate().map(of_rank).sum()
}

/// What each row of a decision gains.
struct Gains(Vec<f64>);

/// Worth above the least of the decision, or above nothing.
fn gains_of(worth: &[f64]) -> Gains {
    let least = worth.iter().copied().fold(0.0, f64::min);
    Gains(worth.iter().map(|worth| worth - least).collect())
}

impl Gains {
    fn differ(&self) -> bool {
        self.0.iter().any(|gain| *gain != self.0[0])
    }

    /// Their DCG in the order of scores; equal ones in the order of the rows.
    fn in_order_of(&self, scores: &[f32]) -> f64 {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        discounted(order.into_iter().map(|at| self.0[at]))
    }

    /// The most that it can be.
    fn ideal(&self) -> f64 {
        let mut gains = self.0.clone();
        gains.sort_by(|a, b| b.total_cmp(a));
        discounted(gains.into_iter())
    }
}

struct Part<'a> {
    values: Vec<f32>,
    rows: &'a RankRows,
    /// What each row stands for, ignored showings included; empty for 1 each.
    weights: Vec<f32>,
}

/// What is learnt from: rows to learn and rows to stop and calibrate by.
struct Task<'a> {
    parts: &'a [Part<'a>; 2],
    features: &'a [Feature],
    config: &'a RankerConfig,
    looks: Looks<'a>,
    seed: u64,
}

impl Part<'_> {
    fn as_rows<'b>(&'b self, features: &'b [Feature], labels: &'b [f32], weights: &'b [f32]) -> Rows<'b> {
        Rows {
            features,
            values: &self.values,
            labels,
            weights,
            groups: &self.rows.groups,
        }
    }
}

fn top(scorer: &Scorer) -> Vec<(String, u32)> {
    let forest = scorer.forest();
    let mut top: Vec<(String, u32)> = forest
        .features()
        .iter()
        .map(|f| f.name.clone())
        .zip(forest.splits_by_feature())
        .filter(|(_, n)| *n > 0)
        .collect();
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    top.truncate(10);
    top
}

impl Task<'_> {
    fn order(
        &self,
        weights: &BTreeMap<String, HeadWeight>,
        report: &mut LearnReport,
    ) -> Result<Head, LearnError> {
        let is_robust = self.config.position == PositionMode::DoublyRobust;
        let plain = Looks::new(&[], 1.0);
        let mut worth = self.parts.each_ref().map(|part| part.rows.worth(weights, plain));
        let positives = worth.iter().flatten().filter(|w| **w > 0.0).count() as u64;
        if is_robust {
            worth = self.parts.each_ref().map(|part| vec![0.0; part.rows.len()]);
            let came = |name: &&String| {
                let of = |part: &Part<'_>| {
                    part.rows
                        .outcomes
                        .get(*name)
                        .is_some_and(|y| y.iter().any(|y| *y > 0.0))
                };
                self.parts.iter().all(of)
            };
            for (name, head) in weights.iter().filter(|(name, _)| came(name)) {
                let labels = self.labels(name)?;
                for (worth, labels) in worth.iter_mut().zip(&labels) {
                    let both = worth.iter_mut().zip(labels);
                    both.for_each(|(sum, y)| *sum += f64::from(head.weight) * f64::from(*y));
                }
            }
        }
        for (worth, part) in worth.iter_mut().zip(self.parts) {
            let both = worth.iter_mut().zip(part.rows.ignored());
            both.for_each(|(worth, times)| *worth -= self.config.unclicked * times);
        }
        let least = worth.iter().flatten().copied().fold(0.0, f64::min);
        let most = worth.iter().flatten().copied().fold(0.0, f64::max);
        let span = (most - least).max(1e-9);
        // The best gets a gain of 3, the worst none, others in proportion.
        let grade = |worth: &f64| (1.0 + 3.0 * (worth - least) / span).log2() as f32;
        let grades = worth
            .each_ref()
            .map(|worth| worth.iter().map(grade).collect::<Vec<f32>>());
        // A pair counts what its better row stands for; doubly robust labels have that in them.
        let weights = self.parts.each_ref().map(|part| {
            let one = |at: usize| match part.rows.positions.get(at) {
                Some(place) if !is_robust => self.looks.inverse(*place) as f32,
                _ => 1.0,
            };
            (0..part.rows.len()).map(one).collect::<Vec<f32>>()
        });
        let rows = |at: usize| self.parts[at].as_rows(self.features, &grades[at], &weights[at]);
        let tree_config = self.config.trees_config(Objective::Lambdamart, self.seed);
        let trained = train(&rows(0), Some(&rows(1)), &tree_config)?;
        let scorer = Scorer::from(trained.forest);
        report.heads.push(HeadReport {
            outcome: "order".to_owned(),
            positives,
            trees: scorer.forest().trees().len(),
            loss: None,
            loss_of_constant: None,
            calibration_error: None,
            top_features: top(&scorer),
        });
        let weight = HeadWeight {
            weight: 1.0,
            min: 1.0,
            max: 1.0,
        };
        Ok(Head {
            outcome: "order".to_owned(),
            weight,
            form: Form::Order,
            scorer,
        })
    }

    fn seed_of(&self, name: &str) -> u64 {
        numeric::mix(self.seed ^ numeric::hash_bytes(name.as_bytes()))
    }

    /// What is learnt of an outcome, by part and row: whether it came, weighed by the place if places are to be weighed.
    fn labels(&self, name: &str) -> Result<[Vec<f32>; 2], LearnError> {
        let weighed = self.parts.each_ref().map(|part| {
            let raw = &part.rows.outcomes[name];
            let one = |(at, y): (usize, &f32)| match part.rows.positions.get(at) {
                Some(place) => y * self.looks.inverse(*place) as f32,
                None => *y,
            };
            raw.iter().enumerate().map(one).collect::<Vec<f32>>()
        });
        match self.config.position {
            PositionMode::DoublyRobust => self.doubly_robust(name, &weighed),
            _ => Ok(weighed),
        }
    }

    /// r + w (y − θ r): the probability r that an imputation gives, and what is missing to the outcome y, at a place that is looked at with probability θ, weighed by w = 1/θ, clipped. Without
    /// clipping this is y/θ; with it, what is cut off the weight is made up by r instead of being lost. The imputation of a row comes from decisions that it is not among: rows that are learnt from have
    /// that of the other half, the rest that of all of them.
    fn doubly_robust(&self, name: &str, weighed: &[Vec<f32>; 2]) -> Result<[Vec<f32>; 2], LearnError> {
        let [learnt, held] = self.parts;
        let config = self
            .config
            .trees_config(Objective::LogLoss, self.seed_of(name) ^ 1);
        // Every second decision, so that both halves are of all times.
        let mut half = Vec::with_capacity(learnt.rows.len());
        for (at, size) in learnt.rows.groups.iter().enumerate() {
            half.extend(std::iter::repeat_n(at % 2, *size as usize));
        }
        let width = self.features.len();
        let mut imputed = [vec![0.0f32; learnt.rows.len()], vec![0.0f32; held.rows.len()]];
        for own in 0..2 {
            let rows: Vec<usize> = (0..half.len()).filter(|row| half[*row] != own).collect();
            let pick = |values: &[f32]| -> Vec<f32> {
                rows.iter().filter_map(|row| values.get(*row).copied()).collect()
            };
            let values: Vec<f32> = (rows.iter())
                .flat_map(|row| learnt.values[row * width..(row + 1) * width].iter().copied())
                .collect();
            let groups = learnt.rows.groups.iter().enumerate();
            let groups: Vec<u32> = groups
                .filter(|(at, _)| at % 2 != own)
                .map(|(_, size)| *size)
                .collect();
            let (labels, weights) = (pick(&weighed[0]), pick(&learnt.weights));
            let rows = Rows {
                features: self.features,
                values: &values,
                labels: &labels,
                weights: &weights,
                groups: &groups,
            };
            let trained = train(
                &rows,
                Some(&held.as_rows(self.features, &weighed[1], &held.weights)),
                &config,
            )?;
            let scorer = Scorer::from(trained.forest);
            let chance = |raw: f32| (1.0 / (1.0 + (-f64::from(raw)).exp())) as f32;
            let mut raw = vec![0.0f32; learnt.rows.len()];
            scorer.score(&learnt.values, &mut raw);
            for ((imputed, raw), half) in imputed[0].iter_mut().zip(raw).zip(&half) {
                if *half == own {
                    *imputed = chance(raw);
                }
            }
            let mut raw = vec![0.0f32; held.rows.len()];
            scorer.score(&held.values, &mut raw);
            let both = imputed[1].iter_mut().zip(raw);
            both.for_each(|(imputed, raw)| *imputed += chance(raw) / 2.0);
        }
        let mut labels = imputed;
        for (labels, part) in labels.iter_mut().zip(self.parts) {
            let rows = part.rows.positions.iter().zip(&part.rows.outcomes[name]);
            for (label, (place, y)) in labels.iter_mut().zip(rows) {
                let (theta, weight) = (self.looks.at(*place), self.looks.inverse(*place));
                let r = f64::from(*label);
                // Not below 0, since w is at most 1/θ, but for rounding.
                *label = (r + weight * (f64::from(*y) - theta * r)).max(0.0) as f32;
            }
        }
        Ok(labels)
    }

    fn outcome(&self, name: &str, weight: HeadWeight, report: &mut LearnReport) -> Result<Head, LearnError> {
        let (parts, labels) = (self.parts, self.labels(name)?);
        let rows = |at: usize| parts[at].as_rows(self.features, &labels[at], &parts[at].weights);
        let tree_config = self.config.trees_config(Objective::LogLoss, self.seed_of(name));
        let trained = train(&rows(0), Some(&rows(1)), &tree_config)?;
        let scorer = Scorer::from(trained.forest);
        let mut raw = vec![0.0f32; labels[1].len()];
        scorer.score(&parts[1].values, &mut raw);
        let raw: Vec<f64> = raw.into_iter().map(f64::from).collect();
        let sample = &parts[1].weights;
        let (slope, intercept) = calibrated(&raw, &labels[1], sample);
        let log_odds: Vec<f64> = raw.iter().map(|raw| slope * raw + intercept).collect();
        let mean = weighted_mean(&labels[1], sample).clamp(1e-6, 1.0 - 1e-6);
        let constant = vec![(mean / (1.0 - mean)).ln(); raw.len()];
        report.heads.push(HeadReport {
            outcome: name.to_owned(),
            positives: parts
                .iter()
                .map(|p| p.rows.outcomes[name].iter().filter(|y| **y > 0.0).count() as u64)
                .sum(),
            trees: scorer.forest().trees().len(),
            loss: Some(log_loss(&log_odds, &labels[1], sample)),
            loss_of_constant: Some(log_loss(&constant, &labels[1], sample)),
            calibration_error: Some(calibration_error(&log_odds, &labels[1], sample)),
            top_features: top(&scorer),
        });
        Ok(Head {
            outcome: name.to_owned(),
            weight,
            form: Form::Probability { slope, intercept },
            scorer,
        })
    }
}

fn weight_at(weights: &[f32], at: usize) -> f64 {
    weights.get(at).map_or(1.0, |w| f64::from(*w))
}

fn weighted_mean(labels: &[f32], weights: &[f32]) -> f64 {
    let total: f64 = (0..labels.len()).map(|at| weight_at(weights, at)).sum();
    labels
        .iter()
        .enumerate()
        .map(|(at, y)| weight_at(weights, at) * f64::from(*y))
        .sum::<f64>()
        / total
}

/// Slope and intercept of the least logistic loss by Newton's method; the slope stays above 0, so that calibration never turns an order round.
fn calibrated(raw: &[f64], labels: &[f32], weights: &[f32]) -> (f64, f64) {
    let (mut slope, mut intercept) = (1.0f64, 0.0f64);
    for _ in 0..50 {
        // A little pull towards (1, 0), for few rows.
        let (mut ga, mut gb) = (slope - 1.0, intercept * 1e-3);
        let (mut haa, mut hab, mut hbb) = (1.0f64, 0.0f64, 1e-3f64);
        for (at, (x, y)) in raw.iter().zip(labels).enumerate() {
            let weight = weight_at(weights, at);
            let p = 1.0 / (1.0 + (-(slope * x + intercept)).exp());
            let (g, h) = (weight * (p - f64::from(*y)), weight * p * (1.0 - p));
            ga += g * x;
            gb += g;
            haa += h * x * x;
            hab += h * x;
            hbb += h;
        }
        let determinant = haa * hbb - hab * hab;
        if determinant <= 1e-12 {
            break;
        }
        let (da, db) = (
            (hbb * ga - hab * gb) / determinant,
            (haa * gb - hab * ga) / determinant,
        );
        slope = (slope - da.clamp(-0.5, 0.5)).clamp(0.05, 20.0);
        intercept = (intercept - db.clamp(-2.0, 2.0)).clamp(-30.0, 30.0);
        if da.abs() + db.abs() < 1e-9 {
            break;
        }
    }
    (slope, intercept)
}

/// Mean |probability − share| over ten parts of equal size by probability.
fn calibration_error(log_odds: &[f64], labels: &[f32], weights: &[f32]) -> f64 {
    let mut order: Vec<usize> = (0..log_odds.len()).collect();
    order.sort_by(|a, b| log_odds[*a].total_cmp(&log_odds[*b]).then(a.cmp(b)));
    let (mut sum, mut total) = (0.0, 0.0);
    for part in order.chunks(order.len().div_ceil(10).max(1)) {
        let (mut said, mut was, mut weight) = (0.0, 0.0, 0.0);
        for at in part {
            let w = weight_at(weights, *at);
            said += w / (1.0 + (-log_odds[*at]).exp());
            was += w * f64::from(labels[*at]);
            weight += w;
        }
        sum += (said - was).abs();
        total += weight;
    }
    sum / total
}
