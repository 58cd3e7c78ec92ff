//! Spectral graph filters: a person's row, smoothed over the graph of items.
//!
//! With R̃ = Dᵤ⁻ᵃ R Dᵢ⁻ᵇ / σ, scaled such that its largest singular value is one, P = R̃ᵀR̃ and V the `rank` leading right
//! singular vectors of R̃, the row r of a person becomes r·(P + α·Dᵢ⁻ᶜVVᵀDᵢᶜ)·f(P): the linear filter of neighbours and
//! the ideal low-pass filter (Shen et al. 2021, "How powerful is graph convolution for recommendation?", CIKM: GF-CF),
//! then, if `sharpen` t > 0, what dr/dt = −rP makes of that, which takes off again what everyone gets (Choi et al. 2023,
//! "Blurring-sharpening process models for collaborative filtering", SIGIR: BSPM). It is integrated in one Runge-Kutta
//! step of order q = `sharpen_order`, as there: f(P) = Σₖ₌₀..q (−tP)ᵏ/k!. The exponents a, b, c are ½ in both papers.
//!
//! All of it is linear in r, so it is worked out once, and anyone with a history is served from that, with exact
//! reasons. What the linear filter says is loud for few items: of each column of P·f(P) the `keep` largest weights are
//! kept, without the diagonal. What the low-pass filter says is soft for many: it stays the product of two matrices
//! `rank` wide, exactly.
//!
//! Cost: for n items, n·cells·(2 + 2q) multiplications, and a truncated decomposition (`numeric::svd`) before.
//! Memory: 8 bytes per kept weight (three times that in training; without sharpening no more than there are pairs in histories), 8·n·rank, and the data twice. Limit: grows with n·cells, so it is for catalogues of
//! up to some tens of thousands of items; weights stay until the next training.

use crate::common::{parse, shown, within};
use crate::item_weights::Dense;
use crate::recall::{self, Recall};
use crate::taken::{Taken, largest, of_rows};
use crate::{Model, ModelError, Run, Trainer, TrainingData};
use numeric::{Csr, PANEL, PanelTerms, multiply_panel, on_threads, parallel_chunks_with, truncated_svd};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) const NAME: &str = "spectral";

/// Columns between two looks at whether to stop.
const SPAN: usize = 64 * PANEL;

/// Configuration of the spectral filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpectralConfig {
    /// Singular vectors of the low-pass filter; 0 leaves it out; null for 1.25 times the root of the number of
    /// items, 8 to 512. Default 256.
    pub rank: Option<usize>,
    /// Weight of the low-pass filter (α), 0 to 10. Default 0.3.
    pub low_pass: f64,
    /// People are scaled by length to the minus this (a), 0 to 1. Default 0.5.
    pub user_exponent: f64,
    /// Items are scaled by frequency to the minus this (b), 0 to 1. Default 0.5.
    pub item_exponent: f64,
    /// Frequencies around the low-pass filter have this exponent (c), -1 to 1. Default 0.5.
    pub low_pass_exponent: f64,
    /// How long what was smoothed is sharpened (t), 0 to 5; 0 not at all; null for by the last eigenvalue of P that the
    /// low-pass filter has, from 0 at 0.1 to 2.5 at 0.2, and 0 without that filter: sharpening is for sparse data, where
    /// much lies beyond the leading vectors. Default 0.
    pub sharpen: Option<f64>,
    /// Order of the step in which it is done (q), 1 to 8. Default 4.
    pub sharpen_order: usize,
    /// Weights kept of each column, the largest, 1 to 10,000,000: the number of items or more keeps all. Default 200.
    pub keep: usize,
    /// Latest events of a history that count; null for 200 if most people's events have different moments, else 1,000.
    /// Default null.
    pub history_max: Option<usize>,
    /// Events of a history after which one counts half; 0 for all alike; null for 4 if `history_max` is null and most people's events have
    /// different moments, else 0. Default null.
    pub half_life_events: Option<f32>,
    /// Least share that an event counts, 0 to 1. Default 0.1.
    pub floor: Option<f32>,
    /// Training that would need more is refused. Default 8192.
    pub memory_mb_max: u64,
}

impl Default for SpectralConfig {
    fn default() -> Self {
        SpectralConfig {
            rank: Some(256),
            low_pass: 0.3,
            user_exponent: 0.5,
            item_exponent: 0.5,
            low_pass_exponent: 0.5,
            sharpen: Some(0.0),
            sharpen_order: 4,
            keep: 200,
            history_max: None,
            half_life_events: None,
            floor: None,
            memory_mb_max: 8192,
        }
    }
}

/// Learns spectral filters.
#[derive(Debug, Clone)]
pub struct SpectralTrainer {
    config: SpectralConfig,
}

impl SpectralTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        let config: SpectralConfig = parse(NAME, config)?;
        within(NAME, "rank", config.rank.unwrap_or(0) as f64, 0.0, 4096.0)?;
        within(NAME, "low_pass", config.low_pass, 0.0, 10.0)?;
        within(NAME, "user_exponent", config.user_exponent, 0.0, 1.0)?;
        within(NAME, "item_exponent", config.item_exponent, 0.0, 1.0)?;
        within(NAME, "low_pass_exponent", config.low_pass_exponent, -1.0, 1.0)?;
        within(NAME, "sharpen", config.sharpen.unwrap_or(0.0), 0.0, 5.0)?;
        within(NAME, "sharpen_order", config.sharpen_order as f64, 1.0, 8.0)?;
        within(NAME, "keep", config.keep as f64, 1.0, 1e7)?;
        within(
            NAME,
            "history_max",
            config.history_max.unwrap_or(1) as f64,
            1.0,
            1e6,
        )?;
        recall::check(NAME, config.half_life_events, config.floor)?;
        Ok(Box::new(SpectralTrainer { config }))
    }

    /// Vectors of the low-pass filter for so many items.
    fn rank(&self, n_items: usize) -> usize {
        let by_size = || ((1.25 * (n_items as f64).sqrt()) as usize).clamp(8, 512);
        let asked = self.config.rank.unwrap_or_else(by_size);
        if self.config.low_pass > 0.0 { asked } else { 0 }
    }

    fn check_memory(&self, taken: &Taken) -> Result<(), ModelError> {
        let n = taken.n_items() as u64;
        let cells: u64 = taken.users.iter().map(|list| list.len() as u64).sum();
        // The decomposition's vectors with their images, twice.
        let dense = 4 * n * (6 * self.rank(taken.n_items()) as u64 + 8 * PANEL as u64);
        let mut weights = n * n.min(self.config.keep as u64);
        if self.config.sharpen == Some(0.0) {
            // P has no more than what pairs there are.
            let pairs = taken.users.iter().map(|list| (list.len() as u64).pow(2));
            weights = weights.min(pairs.sum());
        }
        let needed_mb = (dense + 32 * cells + 24 * weights) >> 20;
        if needed_mb > self.config.memory_mb_max {
            return Err(ModelError::TooLarge {
                model: NAME.to_owned(),
                needed_mb,
                limit_mb: self.config.memory_mb_max,
            });
        }
        Ok(())
    }

    fn filter(&self, taken: &Taken, seed: u64) -> Result<Filter<'_>, ModelError> {
        let config = &self.config;
        let counts = taken.counts();
        let power = |x: f64, exponent: f64| x.powf(exponent);
        let scale: Vec<f64> = counts
            .iter()
            .map(|c| power(f64::from(*c), -config.item_exponent))
            .collect();
        let normalised = |by: f64| {
            let row = |list: &Vec<u32>| {
                let own = by * power(list.len() as f64, -config.user_exponent);
                list.iter()
                    .map(|item| (*item, (own * scale[*item as usize]) as f32))
                    .collect()
            };
            let lists = taken.users.iter().filter(|l| !l.is_empty());
            of_rows(taken.n_items(), lists.map(row))
        };
        let rank = self.rank(taken.n_items());
        let rows = normalised(1.0);
        let svd = truncated_svd(&rows, rank.max(1), seed).map_err(|e| ModelError::Empty(e.to_string()))?;
        let rows = normalised(1.0 / f64::from(svd.values[0].max(1e-30)));
        let last = svd
            .values
            .last()
            .map_or(0.0, |last| last / svd.values[0].max(1e-30));
        let by_data = if rank == 0 {
            0.0
        } else {
            (10.0 * f64::from(last * last)).min(2.5)
        };
        let around = |c: &u32| power(f64::from(*c), config.low_pass_exponent) as f32;
        Ok(Filter {
            config,
            sharpen: config.sharpen.unwrap_or(by_data),
            columns: rows.transpose(),
            rows,
            rank: if rank == 0 { 0 } else { svd.values.len() },
            vectors: svd.right,
            around: counts.iter().map(around).collect(),
        })
    }
}

/// What weights are worked out from.
struct Filter<'a> {
    config: &'a SpectralConfig,
    /// t.
    sharpen: f64,
    /// R̃ and its transpose.
    rows: Csr,
    columns: Csr,
    rank: usize,
    /// V by rows.
    vectors: Vec<f32>,
    /// Dᶜ.
    around: Vec<f32>,
}

/// Scratch space of one worker: panels with a row per item, `between` with one per person.
struct Work {
    start: Vec<f32>,
    x: Vec<f32>,
    image: Vec<f32>,
    between: Vec<f32>,
}

impl Work {
    /// `image` ← product·P × `x` + from·`start`.
    fn smooth(&mut self, filter: &Filter<'_>, product: f32, from: f32) {
        multiply_panel(&filter.rows, &self.x, PanelTerms::PLAIN, &[], &mut self.between);
        let terms = PanelTerms {
            product,
            from,
            own: 0.0,
        };
        multiply_panel(
            &filter.columns,
            &self.between,
            terms,
            &self.start,
            &mut self.image,
        );
    }

    /// `x` ← f(P) × `start`, by Horner's rule.
    fn sharpen(&mut self, filter: &Filter<'_>) {
        self.x.copy_from_slice(&self.start);
        let (t, order) = (filter.sharpen, filter.config.sharpen_order);
        for k in (1..=if t > 0.0 { order } else { 0 }).rev() {
            self.smooth(filter, -(t / k as f64) as f32, 1.0);
            std::mem::swap(&mut self.x, &mut self.image);
        }
    }
}

impl Filter<'_> {
    fn work(&self) -> Work {
        let panel = vec![0f32; self.columns.n_rows() * PANEL];
        Work {
            start: panel.clone(),
            x: panel.clone(),
            image: panel,
            between: vec![0.0; self.rows.n_rows() * PANEL],
        }
    }

    /// Columns `range` of P·f(P), each as its kept entries.
    fn run(&self, work: &mut Work, range: std::ops::Range<usize>) -> Vec<Vec<(u32, f32)>> {
        work.start.fill(0.0);
        for (at, item) in range.clone().enumerate() {
            work.start[item * PANEL + at] = 1.0;
        }
        work.sharpen(self);
        work.smooth(self, 1.0, 0.0);
        let column = |(at, own): (usize, usize)| {
            let rows = work
                .image
                .chunks_exact(PANEL)
                .enumerate()
                .filter(|(item, _)| *item != own);
            let entries = rows
                .map(|(item, row)| (item as u32, row[at]))
                .filter(|(_, value)| *value != 0.0);
            largest(entries.collect(), self.config.keep)
        };
        range.enumerate().map(column).collect()
    }

    /// The low-pass filter as rows of α·D⁻ᶜV and of f(P)DᶜV.
    fn low_pass(&self) -> (Vec<f32>, Vec<f32>) {
        let scaled = |of: &dyn Fn(f32) -> f32| {
            let rows = self.vectors.chunks_exact(self.rank).zip(&self.around);
            rows.flat_map(|(row, around)| row.iter().map(|x| x * of(*around)).collect::<Vec<_>>())
                .collect::<Vec<f32>>()
        };
        let alpha = self.config.low_pass as f32;
        let (inputs, mut outputs) = (scaled(&|around| alpha / around), scaled(&|around| around));
        let panels = parallel_chunks_with(
            self.rank,
            PANEL,
            || self.work(),
            |work, range| {
                work.start.fill(0.0);
                let rows = outputs
                    .chunks_exact(self.rank)
                    .zip(work.start.chunks_exact_mut(PANEL));
                rows.for_each(|(from, to)| to[..range.len()].copy_from_slice(&from[range.clone()]));
                work.sharpen(self);
                work.x.clone()
            },
        );
        for (at, panel) in panels.iter().enumerate() {
            let rows = outputs.chunks_exact_mut(self.rank).zip(panel.chunks_exact(PANEL));
            for (to, from) in rows {
                let to = &mut to[at * PANEL..];
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
        (inputs, outputs)
    }
}

impl Trainer for SpectralTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        let taken = Taken::of(data)?;
        self.check_memory(&taken)?;
        run.check()?;
        let n = taken.n_items();
        let (weights, dense, sharpen) = on_threads(run.threads, || {
            let filter = self.filter(&taken, run.seed)?;
            let mut columns: Vec<Vec<(u32, f32)>> = Vec::with_capacity(n);
            for start in (0..n).step_by(SPAN) {
                run.check()?;
                let span = SPAN.min(n - start);
                let parts = parallel_chunks_with(
                    span,
                    PANEL,
                    || filter.work(),
                    |work, range| filter.run(work, start + range.start..start + range.end),
                );
                columns.extend(parts.into_iter().flatten());
            }
            let spread = |rows: &[f32]| taken.spread_rows(rows, filter.rank, data.interactions.n_items());
            let dense = (filter.rank > 0).then(|| {
                let (inputs, outputs) = filter.low_pass();
                Dense {
                    rank: filter.rank,
                    inputs: spread(&inputs),
                    outputs: spread(&outputs),
                }
            });
            let weights = of_rows(n, columns.into_iter()).transpose();
            Ok::<(Csr, Option<Dense>, f64), ModelError>((weights, dense, filter.sharpen))
        })?;
        let mut model = taken.model(
            NAME,
            data,
            &weights,
            Recall::of(
                self.config.history_max,
                self.config.half_life_events,
                self.config.floor,
                &data.interactions,
            ),
        );
        model.dense = dense.map(Arc::new);
        model.settled = [
            ("rank".to_owned(), self.rank(n).into()),
            ("sharpen".to_owned(), sharpen.into()),
        ]
        .into_iter()
        .collect();
        Ok(Box::new(model))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::InteractionsBuilder;
    use domain::{HistoryEvent, ItemId, Timestamp, UserId};
    use std::sync::Arc;

    type Matrix = Vec<Vec<f64>>;

    fn times(a: &Matrix, b: &Matrix) -> Matrix {
        let entry = |row: &Vec<f64>, j: usize| row.iter().zip(b).map(|(x, other)| x * other[j]).sum();
        a.iter()
            .map(|row| (0..b[0].len()).map(|j| entry(row, j)).collect())
            .collect()
    }

    /// The formula in full, with dense matrices. At full rank VVᵀ is the identity; at rank 1 V is found by squaring.
    #[test]
    fn weights_are_those_of_the_formula() {
        let lists = [
            vec![0, 1, 2],
            vec![1, 2, 3, 4],
            vec![0, 4],
            vec![2, 4],
            vec![0, 1],
            vec![2],
        ];
        let n = 5;
        let mut builder = InteractionsBuilder::default();
        for (user, list) in lists.iter().enumerate() {
            for item in list {
                let (user, item) = (UserId::new(format!("u{user}")), ItemId::new(format!("i{item}")));
                builder.push(&user.unwrap(), &item.unwrap(), 1.0, Timestamp(0));
            }
        }
        let data = TrainingData {
            interactions: Arc::new(builder.build()),
            features: Arc::default(),
            user_features: Arc::default(),
            now: Timestamp(0),
        };
        let (alpha, a, b, c, t, q) = (0.7, 0.4, 0.6, 0.3, 1.2, 3);
        let count = |i: usize| lists.iter().filter(|list| list.contains(&i)).count() as f64;
        let scaled = |list: &Vec<usize>, i: usize| {
            let there = f64::from(u8::from(list.contains(&i)));
            there * (list.len() as f64).powf(-a) * count(i).powf(-b)
        };
        let rows: Matrix = lists
            .iter()
            .map(|list| (0..n).map(|i| scaled(list, i)).collect())
            .collect();
        let across: Matrix = (0..n).map(|i| rows.iter().map(|row| row[i]).collect()).collect();
        let mut p = times(&across, &rows);
        // The largest eigenvalue, by squaring.
        let mut power = p.clone();
        for _ in 0..12 {
            power = times(&power, &power);
            let size: f64 = (0..n).map(|i| power[i][i]).sum();
            power.iter_mut().flatten().for_each(|x| *x /= size);
        }
        let largest: f64 = (0..n).map(|i| times(&p, &power)[i][i]).sum();
        p.iter_mut().flatten().for_each(|x| *x /= largest);
        let identity = |i: usize, j: usize| f64::from(u8::from(i == j));
        for rank in [1, 99] {
            let projector: Matrix = if rank == 1 {
                power.clone()
            } else {
                (0..n).map(|i| (0..n).map(|j| identity(i, j)).collect()).collect()
            };
            let low = |i: usize, j: usize| alpha * projector[i][j] * (count(j) / count(i)).powf(c);
            let mut sharper: Matrix = (0..n).map(|i| (0..n).map(|j| identity(i, j)).collect()).collect();
            let mut term = sharper.clone();
            for k in 1..=q {
                term = times(&term, &p);
                term.iter_mut().flatten().for_each(|x| *x *= -t / f64::from(k));
                for (row, term) in sharper.iter_mut().zip(&term) {
                    row.iter_mut().zip(term).for_each(|(x, term)| *x += term);
                }
            }
            let spread: Matrix = (0..n).map(|i| (0..n).map(|j| low(i, j)).collect()).collect();
            let (near, far) = (times(&p, &sharper), times(&spread, &sharper));
            let config = serde_json::json!({"rank": rank, "low_pass": alpha, "user_exponent": a, "item_exponent": b,
                "low_pass_exponent": c, "sharpen": t, "sharpen_order": q});
            let model = SpectralTrainer::build(&config)
                .unwrap()
                .fit(&data, &Run::new(0, 2))
                .unwrap();
            for i in 0..n {
                let event = HistoryEvent {
                    item: i as u32,
                    weight: 1.0,
                    age_days: 0.0,
                };
                let mut scores = vec![0f32; n];
                model.score(&[event], &[0, 1, 2, 3, 4], &mut scores);
                for j in 0..n {
                    let got = f64::from(scores[j]);
                    // The diagonal of the linear filter is left out.
                    let want = far[i][j] + if i == j { 0.0 } else { near[i][j] };
                    assert!((got - want).abs() < 1e-5, "rank {rank}, {i} {j}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn too_large_is_refused_with_the_estimate() {
        let taken = Taken {
            users: vec![vec![0]],
            items: (0..60_000).collect(),
            mean_strength: 1.0,
        };
        let trainer = |memory_mb_max, sharpen, keep| SpectralTrainer {
            config: SpectralConfig {
                memory_mb_max,
                sharpen,
                keep,
                ..SpectralConfig::default()
            },
        };
        let refused = trainer(600, None, 200).check_memory(&taken);
        assert!(matches!(
            refused,
            Err(ModelError::TooLarge {
                needed_mb: 601..,
                limit_mb: 600,
                ..
            })
        ));
        assert!(trainer(800, None, 200).check_memory(&taken).is_ok());
        // Without sharpening there are no more weights than pairs, however many may be kept.
        assert!(trainer(800, None, 1_000_000).check_memory(&taken).is_err());
        assert!(trainer(600, Some(0.0), 1_000_000).check_memory(&taken).is_ok());
    }
}
