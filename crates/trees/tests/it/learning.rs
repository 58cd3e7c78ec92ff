//! What is learnt, where the answer is known.

use crate::world::{World, world};
use trees::{
    Feature, Monotone, Objective, Rows, Scorer, Test, TreesConfig, TreesError, log_loss, ndcg, train,
};

fn scores(world: &World, forest: trees::Forest) -> Vec<f64> {
    let mut scores = vec![0.0; world.labels.len()];
    Scorer::from(forest).score(&world.values, &mut scores);
    scores.into_iter().map(f64::from).collect()
}

#[test]
fn every_objective_learns_what_carries_over() {
    let (learn, test) = (world(300, 21), world(100, 22));
    for objective in [
        Objective::Lambdamart,
        Objective::Pairwise,
        Objective::SquaredError,
    ] {
        let config = TreesConfig {
            objective,
            trees: 60,
            ..TreesConfig::default()
        };
        let forest = train(&learn.rows(), None, &config).expect("rows are fine").forest;
        let value = ndcg(&scores(&test, forest), &test.labels, &[], &test.groups, 10, false).expect("groups");
        // By chance it is about 0.55; the noise leaves about 0.96 to the truth itself.
        assert!(value > 0.91, "{objective:?}: {value}");
    }
    let (learn, test) = (learn.yes_or_no(), test.yes_or_no());
    let config = TreesConfig {
        objective: Objective::LogLoss,
        trees: 60,
        ..TreesConfig::default()
    };
    let forest = train(&learn.rows(), None, &config).expect("rows are fine").forest;
    let scores = scores(&test, forest);
    let loss = log_loss(&scores, &test.labels, &[]);
    assert!(loss < 0.32, "{loss}");
    // Probabilities are right on average.
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / test.labels.len() as f64;
    let said = mean(&mut scores.iter().map(|s| 1.0 / (1.0 + (-s).exp())));
    let was = mean(&mut test.labels.iter().map(|l| f64::from(*l)));
    assert!((said - was).abs() < 0.03, "{said} {was}");
}

#[test]
fn one_split_is_the_best_one() {
    // A step at 5 with a missing value that belongs to the right: found exactly, and its leaves are the means.
    let features = [Feature::number("noise"), Feature::number("step")];
    let mut values = Vec::new();
    let mut labels = Vec::new();
    for at in 0..200u32 {
        let step = if at % 10 == 9 { f32::NAN } else { (at % 10) as f32 };
        values.extend([(at * 7 % 13) as f32, step]);
        labels.push(if step <= 4.0 { 1.0 } else { 3.0 });
    }
    let rows = Rows {
        features: &features,
        values: &values,
        labels: &labels,
        weights: &[],
        groups: &[],
    };
    let config = TreesConfig {
        objective: Objective::SquaredError,
        trees: 1,
        leaves: 2,
        learning_rate: 1.0,
        ..TreesConfig::default()
    };
    let forest = train(&rows, None, &config).expect("rows are fine").forest;
    let node = &forest.trees()[0].nodes[0];
    assert_eq!(
        (node.feature, &node.test, node.missing_left),
        (1, &Test::AtMost(4.5), false)
    );
    assert_eq!(forest.trees()[0].leaf_rows, [100, 100]);
    for (row, label) in values.chunks(2).zip(&labels) {
        assert!((forest.score(row) - label).abs() < 1e-5);
    }
}

#[test]
fn categories_without_order_are_told_apart_at_once() {
    let features = [Feature::category("kind")];
    let good = [3u32, 5, 17, 40, 41, 900];
    let values: Vec<f32> = (0..4000u32)
        .map(|at| [0, 3, 5, 9, 17, 22, 40, 41, 77, 900][at as usize % 10] as f32)
        .collect();
    let labels: Vec<f32> = values
        .iter()
        .map(|v| f32::from(good.contains(&(*v as u32))))
        .collect();
    let rows = Rows {
        features: &features,
        values: &values,
        labels: &labels,
        weights: &[],
        groups: &[],
    };
    let config = TreesConfig {
        objective: Objective::SquaredError,
        trees: 1,
        leaves: 2,
        learning_rate: 1.0,
        category_reg: 0.0,
        ..TreesConfig::default()
    };
    let forest = train(&rows, None, &config).expect("rows are fine").forest;
    for (row, label) in values.iter().zip(&labels) {
        assert!((forest.score(&[*row]) - label).abs() < 1e-5, "{row}");
    }
    // A category never met goes with the missing.
    assert_eq!(forest.score(&[123.0]), forest.score(&[f32::NAN]));
}

#[test]
fn constraints_hold_everywhere() {
    let mut world = world(150, 31);
    world.features[0].monotone = Monotone::Rising;
    world.features[3].monotone = Monotone::Falling;
    // The data say the opposite of the first constraint now and then.
    for at in 0..world.labels.len() {
        if world.row(at)[0] > 1.0 {
            world.labels[at] = 0.0;
        }
    }
    for objective in [Objective::Lambdamart, Objective::SquaredError] {
        let config = TreesConfig {
            objective,
            trees: 40,
            leaf_rows_min: 5,
            ..TreesConfig::default()
        };
        let forest = train(&world.rows(), None, &config).expect("rows are fine").forest;
        assert!(
            forest.splits_by_feature()[0] > 0,
            "the constrained feature is used"
        );
        for at in 0..200 {
            for (feature, sign) in [(0, 1.0), (3, -1.0)] {
                let mut row = world.row(at).to_vec();
                let mut last = f32::NEG_INFINITY;
                for step in -40..=40 {
                    row[feature] = step as f32 * 0.1;
                    let score = forest.score(&row) * sign;
                    let score = score - f32::EPSILON * 8.0 * score.abs();
                    assert!(
                        last - last.abs() * 1e-5 - 1e-6 <= score,
                        "{objective:?}, feature {feature}: {last} then {score}"
                    );
                    last = score;
                }
            }
        }
    }
}

#[test]
fn a_weight_is_as_good_as_copies() {
    let world = world(60, 41);
    let mut twice = (Vec::new(), Vec::new());
    let mut weights = Vec::new();
    for at in 0..world.labels.len() {
        let copies = 1 + at % 2;
        weights.push(copies as f32);
        for _ in 0..copies {
            twice.0.extend(world.row(at));
            twice.1.push(world.labels[at]);
        }
    }
    let config = TreesConfig {
        objective: Objective::SquaredError,
        trees: 1,
        leaf_rows_min: 1,
        leaf_hessian_min: 10.0,
        bins_max: 255,
        ..TreesConfig::default()
    };
    let features = [world.features[2].clone()];
    let third = |values: &[f32]| values.chunks(6).map(|row| row[2]).collect::<Vec<f32>>();
    let (one, two) = (third(&world.values), third(&twice.0));
    let rows = |values, labels, weights| Rows {
        features: &features,
        values,
        labels,
        weights,
        groups: &[],
    };
    let a = train(&rows(&one, &world.labels, &weights), None, &config)
        .expect("rows are fine")
        .forest;
    let b = train(&rows(&two, &twice.1, &[]), None, &config)
        .expect("rows are fine")
        .forest;
    for at in -4..=4 {
        let (a, b) = (a.score(&[at as f32]), b.score(&[at as f32]));
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn learning_stops_where_validation_says() {
    let (learn, validation) = (world(40, 51), world(40, 52));
    let config = TreesConfig {
        trees: 400,
        stop_after: 10,
        leaf_rows_min: 3,
        ..TreesConfig::default()
    };
    let trained = train(&learn.rows(), Some(&validation.rows()), &config).expect("rows are fine");
    let best = trained.validation.iter().copied().fold(f64::MIN, f64::max);
    let n = trained.forest.trees().len();
    assert!(n < 400 && trained.validation[n - 1] == best && trained.validation.len() == n + 10);
    let again = ndcg(
        &scores(&validation, trained.forest),
        &validation.labels,
        validation.rows().weights,
        &validation.groups,
        10,
        true,
    );
    assert!((again.expect("groups") - best).abs() < 1e-6);
}

#[test]
fn bad_input_is_named() {
    let world = world(2, 61);
    let refused = |change: &dyn Fn(&mut World), config: &TreesConfig, expected: &str| {
        let mut world = World { ..self::world(2, 61) };
        change(&mut world);
        match train(&world.rows(), None, config) {
            Err(TreesError::Input { field, .. }) => {
                assert!(field.contains(expected), "{field}, expected {expected}")
            }
            other => panic!("{expected}: {other:?}"),
        }
    };
    let config = TreesConfig::default();
    refused(&|w| w.values[8] = f32::INFINITY, &config, "values of row 1, c");
    refused(&|w| w.labels[3] = -1.0, &config, "labels[3]");
    refused(&|w| w.labels[3] = f32::NAN, &config, "labels[3]");
    refused(&|w| w.weights[3] = 0.0, &config, "weights[3]");
    refused(&|w| w.groups = vec![20], &config, "groups");
    refused(&|w| w.values.truncate(239), &config, "values.length");
    refused(
        &|w| w.features[4].monotone = Monotone::Rising,
        &config,
        "monotone of e",
    );
    refused(
        &|_| (),
        &TreesConfig {
            learning_rate: 0.0,
            ..config.clone()
        },
        "learning_rate",
    );
    refused(
        &|_| (),
        &TreesConfig {
            bins_max: 256,
            ..config.clone()
        },
        "bins_max",
    );
    // What cannot be learnt from is no error: the forest says the mean.
    let constant = Rows {
        labels: &[1.0; 40],
        ..world.rows()
    };
    let config = TreesConfig {
        objective: Objective::SquaredError,
        ..config
    };
    let forest = train(&constant, None, &config).expect("rows are fine").forest;
    assert_eq!((forest.trees().len(), forest.score(world.row(0))), (0, 1.0));
}
