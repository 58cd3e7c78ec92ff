//! Contributions against the definition.

use crate::world::{World, world};
use trees::{Forest, Objective, Place, Tree, TreesConfig, train};

/// What a tree answers if only the features of a coalition are known: at other nodes both ways, by rows.
fn answer(tree: &Tree, row: &[f32], coalition: u32, place: Place) -> (f64, f64) {
    match place {
        Place::Leaf(leaf) => (
            f64::from(tree.leaves[leaf as usize]),
            f64::from(tree.leaf_rows[leaf as usize]),
        ),
        Place::Node(at) => {
            let node = &tree.nodes[at as usize];
            let (left, left_rows) = answer(tree, row, coalition, node.left);
            let (right, right_rows) = answer(tree, row, coalition, node.right);
            let rows = left_rows + right_rows;
            let is_known = coalition >> node.feature & 1 == 1;
            let value = match (is_known, node.goes_left(row[node.feature as usize])) {
                (true, true) => left,
                (true, false) => right,
                (false, _) => (left * left_rows + right * right_rows) / rows,
            };
            (value, rows)
        }
    }
}

/// Shapley values by all coalitions.
fn by_definition(forest: &Forest, row: &[f32]) -> (Vec<f64>, f64) {
    let n = row.len() as u32;
    let value = |coalition: u32| {
        let trees = forest.trees().iter().filter(|tree| !tree.nodes.is_empty());
        let lone: f64 = forest
            .trees()
            .iter()
            .filter(|t| t.nodes.is_empty())
            .map(|t| f64::from(t.leaves[0]))
            .sum();
        forest.base()
            + lone
            + trees
                .map(|tree| answer(tree, row, coalition, Place::Node(0)).0)
                .sum::<f64>()
    };
    let factorial = |k: u32| (1..=k).map(f64::from).product::<f64>();
    let one = |feature: u32| {
        let without = (0..1u32 << n).filter(|coalition| coalition >> feature & 1 == 0);
        let part = |coalition: u32| {
            let size = coalition.count_ones();
            let weight = factorial(size) * factorial(n - size - 1) / factorial(n);
            weight * (value(coalition | 1 << feature) - value(coalition))
        };
        without.map(part).sum()
    };
    ((0..n).map(one).collect(), value(0))
}

fn check(world: &World, config: &TreesConfig) {
    let forest = train(&world.rows(), None, config).expect("rows are fine").forest;
    assert!(!forest.trees().is_empty());
    for at in 0..15 {
        let row = world.row(at);
        let (got, base) = forest.contributions(row);
        let (expected, expected_base) = by_definition(&forest, row);
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-9, "{got} {expected}");
        }
        assert!((base - expected_base).abs() < 1e-9);
        let sum = got.iter().sum::<f64>() + base;
        assert!(
            (sum - f64::from(forest.score(row))).abs() < 1e-5,
            "{sum} {}",
            forest.score(row)
        );
    }
}

#[test]
fn are_the_shapley_values() {
    let world = world(40, 11);
    let config = TreesConfig {
        trees: 8,
        leaves: 20,
        leaf_rows_min: 3,
        category_smooth: 1.0,
        ..TreesConfig::default()
    };
    check(&world, &config);
    check(
        &world,
        &TreesConfig {
            objective: Objective::SquaredError,
            ..config.clone()
        },
    );
    check(
        &world.yes_or_no(),
        &TreesConfig {
            objective: Objective::LogLoss,
            ..config
        },
    );
}
