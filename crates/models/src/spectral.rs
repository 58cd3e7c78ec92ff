//! Spectral graph filters: a person's row, smoothed over the graph of items.
//!
//! With R̃ = Dᵤ⁻ᵃ R Dᵢ⁻ᵇ, P = R̃ᵀR̃ and V the `rank` leading right singular vectors of R̃, the row r of a person becomes
//! r·(P + α·Dᵢ⁻ᶜVVᵀDᵢᶜ)·f(P): the linear filter of neighbours and the ideal low-pass filter (Shen et al. 2021, "How
//! powerful is graph convolution for recommendation?", CIKM: GF-CF), then, if `sharpen` t > 0, f(P) = (I − t/q·P)^q
//! in q = `sharpen_steps` steps, which takes off again what everyone gets (Choi et al. 2023, "Blurring-sharpening process
//! models for collaborative filtering", SIGIR: BSPM, by Euler steps). The exponents a, b, c are ½ in GF-CF.
//!
//! All of it is linear in r, so it is worked out once as weights from items to items, column by column, of which the
//! `keep` largest of each are kept; anyone with a history is served from these, and reasons are exact.
//!
//! Cost: for n items, n·cells·(2 + 2q) + 2·n²·rank multiplications; a block Krylov decomposition (`numeric::svd`) before.
//! Memory: 8 bytes per kept weight, 4·n·rank, and the data twice. Limit: grows with n·cells, so it is for catalogues of
//! up to some tens of thousands of items; weights stay until the next training.

use crate::common::{parse, shown, within};
use crate::taken::{Taken, largest, of_rows};
use crate::{Model, ModelError, Run, Trainer, TrainingData};
use numeric::{
    Csr, add_rows, axpy, multiply_add, multiply_transposed, on_threads, parallel_chunks_with, truncated_svd,
};
use serde::{Deserialize, Serialize};

pub(crate) const NAME: &str = "spectral";

/// Columns worked out together.
const WIDTH: usize = 32;
/// Columns between two looks at whether to stop.
const SPAN: usize = 64 * WIDTH;

/// Configuration of the spectral filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpectralConfig {
    /// Singular vectors of the low-pass filter; 0 leaves it out. Default 256.
    pub rank: usize,
    /// Weight of the low-pass filter (α), 0 to 10. Default 0.3.
    pub low_pass: f64,
    /// People are scaled by length to the minus this (a), 0 to 1. Default 0.5.
    pub user_exponent: f64,
    /// Items are scaled by frequency to the minus this (b), 0 to 1. Default 0.5.
    pub item_exponent: f64,
    /// Frequencies around the low-pass filter have this exponent (c), -1 to 1. Default 0.5.
    pub low_pass_exponent: f64,
    /// How long what was smoothed is sharpened (t), 0 to 5; 0 not at all. Default 0.
    pub sharpen: f64,
    /// In how many steps (q), 1 to 8. Default 1.
    pub sharpen_steps: usize,
    /// Weights kept of each column, the largest; the low-pass filter speaks softly of much, so it needs many. Default
    /// 5000.
    pub keep: usize,
    /// Latest events of a history that count. Default 1000.
    pub history_max: usize,
    /// Training that would need more is refused. Default 8192.
    pub memory_mb_max: u64,
}

impl Default for SpectralConfig {
    fn default() -> Self {
        SpectralConfig {
            rank: 256,
            low_pass: 0.3,
            user_exponent: 0.5,
            item_exponent: 0.5,
            low_pass_exponent: 0.5,
            sharpen: 0.0,
            sharpen_steps: 1,
            keep: 5000,
            history_max: 1000,
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
        within(NAME, "rank", config.rank as f64, 0.0, 4096.0)?;
        within(NAME, "low_pass", config.low_pass, 0.0, 10.0)?;
        within(NAME, "user_exponent", config.user_exponent, 0.0, 1.0)?;
        within(NAME, "item_exponent", config.item_exponent, 0.0, 1.0)?;
        within(NAME, "low_pass_exponent", config.low_pass_exponent, -1.0, 1.0)?;
        within(NAME, "sharpen", config.sharpen, 0.0, 5.0)?;
        within(NAME, "sharpen_steps", config.sharpen_steps as f64, 1.0, 8.0)?;
        within(NAME, "keep", config.keep as f64, 1.0, 1e7)?;
        within(NAME, "history_max", config.history_max as f64, 1.0, 1e6)?;
        Ok(Box::new(SpectralTrainer { config }))
    }

    fn check_memory(&self, taken: &Taken) -> Result<(), ModelError> {
        let n = taken.n_items() as u64;
        let cells: u64 = taken.users.iter().map(|list| list.len() as u64).sum();
        // The basis of the decomposition is the widest.
        let dense = 4 * n * (3 * self.config.rank as u64 + 4 * WIDTH as u64);
        let needed_mb = (dense + 32 * cells + 24 * n * n.min(self.config.keep as u64)) >> 20;
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
        let row = |list: &Vec<u32>| {
            let own = power(list.len() as f64, -config.user_exponent);
            list.iter()
                .map(|item| (*item, (own * scale[*item as usize]) as f32))
                .collect()
        };
        let rows = of_rows(
            taken.n_items(),
            taken.users.iter().filter(|l| !l.is_empty()).map(row),
        );
        let rank = if config.low_pass > 0.0 { config.rank } else { 0 };
        let svd = truncated_svd(&rows, rank, seed).map_err(|e| ModelError::Empty(e.to_string()))?;
        let columns = rows.transpose();
        let around = |c: &u32| power(f64::from(*c), config.low_pass_exponent) as f32;
        Ok(Filter {
            config,
            starts: (starts(&rows), starts(&columns)),
            rows,
            columns,
            rank: svd.values.len(),
            vectors: svd.right,
            around: counts.iter().map(around).collect(),
        })
    }
}

/// Where the rows that a matrix's entries ask for begin in a table `WIDTH` wide.
fn starts(matrix: &Csr) -> Vec<usize> {
    let (_, columns, _) = matrix.parts();
    columns.iter().map(|column| *column as usize * WIDTH).collect()
}

/// What columns are worked out from.
struct Filter<'a> {
    config: &'a SpectralConfig,
    /// R̃ and its transpose.
    rows: Csr,
    columns: Csr,
    starts: (Vec<usize>, Vec<usize>),
    rank: usize,
    /// V by rows.
    vectors: Vec<f32>,
    /// Dᶜ.
    around: Vec<f32>,
}

/// Scratch space of one worker; a table has a row per item, `between` one per person.
struct Work {
    x: Vec<f32>,
    image: Vec<f32>,
    between: Vec<f32>,
    coefficients: Vec<f32>,
}

impl Filter<'_> {
    fn work(&self) -> Work {
        let n = self.columns.n_rows();
        Work {
            x: vec![0.0; n * WIDTH],
            image: vec![0.0; n * WIDTH],
            between: vec![0.0; self.rows.n_rows() * WIDTH],
            coefficients: vec![0.0; self.rank * WIDTH],
        }
    }

    /// `image` ← P × `x`.
    fn smooth(&self, work: &mut Work) {
        multiply(&self.rows, &self.starts.0, &work.x, &mut work.between);
        multiply(&self.columns, &self.starts.1, &work.between, &mut work.image);
    }

    /// Columns `range` of the weights, each as its kept entries.
    fn run(&self, work: &mut Work, range: std::ops::Range<usize>) -> Vec<Vec<(u32, f32)>> {
        work.x.fill(0.0);
        for (at, item) in range.clone().enumerate() {
            work.x[item * WIDTH + at] = 1.0;
        }
        let steps = self.config.sharpen_steps;
        for _ in 0..if self.config.sharpen > 0.0 { steps } else { 0 } {
            self.smooth(work);
            axpy(
                -(self.config.sharpen / steps as f64) as f32,
                &work.image,
                &mut work.x,
            );
        }
        self.smooth(work);
        if self.rank > 0 {
            self.low_pass(work);
        }
        let column = |(at, own): (usize, usize)| {
            let rows = work
                .image
                .chunks_exact(WIDTH)
                .enumerate()
                .filter(|(item, _)| *item != own);
            let entries = rows
                .map(|(item, row)| (item as u32, row[at]))
                .filter(|(_, value)| *value != 0.0);
            largest(entries.collect(), self.config.keep)
        };
        range.enumerate().map(column).collect()
    }

    /// `image` ← `image` + α·D⁻ᶜVVᵀDᶜ × `x`; spoils `x`.
    fn low_pass(&self, work: &mut Work) {
        let n = self.columns.n_rows();
        for (row, scale) in work.x.chunks_exact_mut(WIDTH).zip(&self.around) {
            row.iter_mut().for_each(|x| *x *= scale);
        }
        multiply_transposed(
            &self.vectors,
            &work.x,
            (n, self.rank, WIDTH),
            &mut work.coefficients,
        );
        work.x.fill(0.0);
        let alpha = self.config.low_pass as f32;
        multiply_add(
            alpha,
            &self.vectors,
            &work.coefficients,
            (n, self.rank, WIDTH),
            &mut work.x,
        );
        let rows = work.x.chunks_exact(WIDTH).zip(work.image.chunks_exact_mut(WIDTH));
        for ((x, image), scale) in rows.zip(&self.around) {
            axpy(1.0 / scale, x, image);
        }
    }
}

/// out ← matrix × dense, `WIDTH` wide.
fn multiply(matrix: &Csr, starts: &[usize], dense: &[f32], out: &mut [f32]) {
    let (offsets, _, values) = matrix.parts();
    for (out, range) in out.chunks_exact_mut(WIDTH).zip(offsets.windows(2)) {
        out.fill(0.0);
        add_rows(
            dense,
            &starts[range[0]..range[1]],
            &values[range[0]..range[1]],
            out,
        );
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
        let weights = on_threads(run.threads, || {
            let filter = self.filter(&taken, run.seed)?;
            let mut columns: Vec<Vec<(u32, f32)>> = Vec::with_capacity(n);
            for start in (0..n).step_by(SPAN) {
                run.check()?;
                let span = SPAN.min(n - start);
                let parts = parallel_chunks_with(
                    span,
                    WIDTH,
                    || filter.work(),
                    |work, range| filter.run(work, start + range.start..start + range.end),
                );
                columns.extend(parts.into_iter().flatten());
            }
            Ok::<Csr, ModelError>(of_rows(n, columns.into_iter()).transpose())
        })?;
        Ok(Box::new(taken.model(
            NAME,
            data,
            &weights,
            self.config.history_max,
        )))
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
        let (alpha, a, b, c, t, q) = (0.7, 0.4, 0.6, 0.3, 1.2, 2);
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
        let p = times(&across, &rows);
        let identity = |i: usize, j: usize| f64::from(u8::from(i == j));
        for rank in [1, 99] {
            let projector: Matrix = if rank == 1 {
                let mut power = p.clone();
                for _ in 0..12 {
                    power = times(&power, &power);
                    let size: f64 = (0..n).map(|i| power[i][i]).sum();
                    power.iter_mut().flatten().for_each(|x| *x /= size);
                }
                power
            } else {
                (0..n).map(|i| (0..n).map(|j| identity(i, j)).collect()).collect()
            };
            let low = |i: usize, j: usize| alpha * projector[i][j] * (count(j) / count(i)).powf(c);
            let mut expected: Matrix = (0..n)
                .map(|i| (0..n).map(|j| p[i][j] + low(i, j)).collect())
                .collect();
            let step: Matrix = (0..n)
                .map(|i| (0..n).map(|j| identity(i, j) - t / q as f64 * p[i][j]).collect())
                .collect();
            for _ in 0..q {
                expected = times(&expected, &step);
            }
            let config = serde_json::json!({"rank": rank, "low_pass": alpha, "user_exponent": a, "item_exponent": b,
                "low_pass_exponent": c, "sharpen": t, "sharpen_steps": q});
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
                for j in (0..n).filter(|j| *j != i) {
                    let (got, want) = (f64::from(scores[j]), expected[i][j]);
                    assert!((got - want).abs() < 1e-5, "rank {rank}, {i} {j}: {got} {want}");
                }
                assert_eq!(scores[i], 0.0);
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
        let trainer = |memory_mb_max| SpectralTrainer {
            config: SpectralConfig {
                memory_mb_max,
                ..SpectralConfig::default()
            },
        };
        let refused = trainer(5000).check_memory(&taken);
        assert!(matches!(
            refused,
            Err(ModelError::TooLarge {
                needed_mb: 5001..,
                limit_mb: 5000,
                ..
            })
        ));
        assert!(trainer(9000).check_memory(&taken).is_ok());
    }
}
