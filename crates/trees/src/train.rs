//! Boosting: tree after tree, each on what those before it left.

use crate::bins::Binned;
use crate::grow::{Grower, Round};
use crate::histogram::{Layout, pack};
use crate::metric::{half_squared_error, log_loss, ndcg};
use crate::objective::{Prepared, base};
use crate::{Forest, Objective, Rows, TreesConfig, TreesError};
use numeric::{SeededStream, mix};

/// A forest, and how it came about.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The trees up to the best round.
    pub forest: Forest,
    /// After each round, what validation measured: NDCG (higher is better) for objectives that rank, else the loss. Empty without validation rows.
    pub validation: Vec<f64>,
}

/// Rows or trees scored by one worker at a time.
const ROWS: usize = 1024;

/// Learns trees. Validation rows, if given, decide when to stop (`stop_after`) and how many trees are kept.
///
/// Cost: per tree about rows × features × (depth / 2) additions; memory rows × features bytes, and 8 bytes per bin, feature and leaf.
/// In parallel on the current pool; the result does not depend on it.
///
/// # Errors
/// A configuration or rows that cannot be.
pub fn train(
    rows: &Rows<'_>,
    validation: Option<&Rows<'_>>,
    config: &TreesConfig,
) -> Result<Trained, TreesError> {
    config.check()?;
    rows.check(config)?;
    if let Some(validation) = validation {
        validation.check(config)?;
        if validation.features != rows.features {
            return Err(TreesError::input(
                "validation.features",
                "others",
                "those of the training rows",
            ));
        }
    }
    let binned = Binned::new(rows, config.bins_max);
    let layout = Layout::new(&binned);
    let grower = Grower {
        config,
        features: rows.features,
        binned: &binned,
        layout: &layout,
    };
    let prepared = Prepared::new(rows, config);
    let base = base(rows, config);
    let mut forest = Forest {
        features: rows.features.to_vec(),
        objective: config.objective,
        base,
        trees: Vec::new(),
    };
    let mut scores = vec![base; rows.len()];
    let mut validation_scores = vec![base; validation.map_or(0, Rows::len)];
    let mut measured = Vec::new();
    let mut best: Option<(usize, f64)> = None;
    for round in 0..config.trees {
        let seed = mix(config.seed ^ mix(round as u64));
        let (gradients, hessians) = prepared.gradients(rows, config, &scores);
        let sampled = sampled_rows(rows, config, seed);
        let Some((packed, scale)) = pack(&gradients, &hessians, seed) else {
            break;
        };
        let used = sampled_features(rows.features.len(), config, seed);
        let state = Round {
            packed: &packed,
            scale,
            gradients: &gradients,
            hessians: &hessians,
        };
        let is_whole = sampled.len() == rows.len();
        let grown = grower.grow(&state, sampled, &used);
        let is_stump = grown.tree.nodes.is_empty();
        if is_stump && is_whole && config.feature_share >= 1.0 {
            // Nothing gains any more, nor will it.
            break;
        }
        if is_whole {
            for (leaf, (start, end)) in grown.tree.leaves.iter().zip(&grown.spans) {
                for row in &grown.rows[*start..*end] {
                    scores[*row as usize] += f64::from(*leaf);
                }
            }
        } else {
            add(rows, &grown.tree, &mut scores);
        }
        if let Some(validation) = validation {
            add(validation, &grown.tree, &mut validation_scores);
            let value = measure(validation, config, &validation_scores);
            measured.push(value);
            let is_better = best.is_none_or(|(_, best)| {
                if config.objective.ranks() {
                    value > best
                } else {
                    value < best
                }
            });
            if is_better {
                best = Some((round, value));
            }
        }
        forest.trees.push(grown.tree);
        if let Some((at, _)) = best
            && config.stop_after > 0
            && round >= at + config.stop_after
        {
            break;
        }
    }
    if let Some((at, _)) = best.filter(|_| config.stop_after > 0) {
        forest.trees.truncate(at + 1);
    }
    Ok(Trained {
        forest,
        validation: measured,
    })
}

fn measure(rows: &Rows<'_>, config: &TreesConfig, scores: &[f64]) -> f64 {
    match config.objective {
        Objective::Lambdamart | Objective::Pairwise => {
            let (labels, weights) = (rows.labels, rows.weights);
            ndcg(scores, labels, weights, rows.groups, config.metric_k, true).unwrap_or(1.0)
        }
        Objective::LogLoss => log_loss(scores, rows.labels, rows.weights),
        Objective::SquaredError => half_squared_error(scores, rows.labels, rows.weights),
    }
}

/// Adds a tree's answers to the scores of all rows.
fn add(rows: &Rows<'_>, tree: &crate::Tree, scores: &mut [f64]) {
    let answers = numeric::parallel_chunks(rows.len(), ROWS, |range| {
        range
            .map(|row| f64::from(tree.answer(rows.row(row))))
            .collect::<Vec<f64>>()
    });
    for (score, answer) in scores.iter_mut().zip(answers.into_iter().flatten()) {
        *score += answer;
    }
}

/// The rows that a tree sees, ascending.
fn sampled_rows(rows: &Rows<'_>, config: &TreesConfig, seed: u64) -> Vec<u32> {
    if config.row_share >= 1.0 {
        return (0..rows.len() as u32).collect();
    }
    let mut stream = SeededStream::new(seed, 1);
    let mut sampled = Vec::new();
    if config.objective.ranks() {
        for (start, end) in rows.spans() {
            if stream.uniform() < config.row_share {
                sampled.extend(start as u32..end as u32);
            }
        }
    } else {
        sampled.extend((0..rows.len() as u32).filter(|_| stream.uniform() < config.row_share));
    }
    sampled
}

/// The features that a tree sees, ascending; at least one.
fn sampled_features(n: usize, config: &TreesConfig, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..n).collect();
    if config.feature_share < 1.0 {
        SeededStream::new(seed, 2).shuffle(&mut all);
        all.truncate(((n as f64 * config.feature_share).round() as usize).max(1));
        all.sort_unstable();
    }
    all
}
