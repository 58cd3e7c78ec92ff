//! Trees as they are kept.

use crate::bins::category;
use crate::{Feature, FeatureKind, Objective, TreesError};

/// Where a branch leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To a node by its number.
    Node(u32),
    /// To a leaf by its number.
    Leaf(u32),
}

/// What a node asks of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// A number of at most this goes left; a missing one where the node says.
    AtMost(f32),
    /// A category in this set, as bits by its number, goes left; others and missing ones go right.
    OneOf(Vec<u32>),
}

/// An inner node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Column.
    pub feature: u32,
    /// What is asked.
    pub test: Test,
    /// Whether a missing number goes left.
    pub missing_left: bool,
    /// Where rows go of which the test holds.
    pub left: Place,
    /// Where others go.
    pub right: Place,
}

impl Node {
    /// Whether a row with this value goes left.
    #[inline]
    pub fn goes_left(&self, value: f32) -> bool {
        match &self.test {
            Test::AtMost(bound) => {
                if value.is_nan() {
                    self.missing_left
                } else {
                    value <= *bound
                }
            }
            Test::OneOf(set) => in_set(set, value),
        }
    }
}

/// Whether a value stands for a category of a set.
#[inline]
pub(crate) fn in_set(set: &[u32], value: f32) -> bool {
    category(value).is_some_and(|code| {
        set.get(code as usize / 32)
            .is_some_and(|word| word >> (code % 32) & 1 == 1)
    })
}

/// One tree: node 0 is the root, a child has a higher number than its parent; a tree without nodes is its only leaf.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree {
    /// Inner nodes.
    pub nodes: Vec<Node>,
    /// Answers, the learning rate included.
    pub leaves: Vec<f32>,
    /// Rows that came to each leaf in training.
    pub leaf_rows: Vec<u32>,
}

impl Tree {
    /// The leaf that a row comes to.
    pub fn leaf(&self, row: &[f32]) -> usize {
        let mut place = match self.nodes.first() {
            Some(_) => Place::Node(0),
            None => Place::Leaf(0),
        };
        loop {
            match place {
                Place::Leaf(leaf) => return leaf as usize,
                Place::Node(node) => {
                    let node = &self.nodes[node as usize];
                    place = if node.goes_left(row[node.feature as usize]) {
                        node.left
                    } else {
                        node.right
                    };
                }
            }
        }
    }

    /// Its answer to a row.
    pub fn answer(&self, row: &[f32]) -> f32 {
        self.leaves[self.leaf(row)]
    }
}

/// A sum of trees.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    pub(crate) features: Vec<Feature>,
    pub(crate) objective: Objective,
    pub(crate) base: f64,
    pub(crate) trees: Vec<Tree>,
}

impl Forest {
    /// A forest from its parts.
    ///
    /// # Errors
    /// Trees that name columns, nodes or leaves that are not there, or that are no trees.
    pub fn new(
        features: Vec<Feature>,
        objective: Objective,
        base: f64,
        trees: Vec<Tree>,
    ) -> Result<Forest, TreesError> {
        let forest = Forest {
            features,
            objective,
            base,
            trees,
        };
        forest.check().map_err(TreesError::Damaged)?;
        Ok(forest)
    }

    /// The columns, in order.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// What it was learnt for.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// What every row starts from.
    pub fn base(&self) -> f64 {
        self.base
    }

    /// The trees, in the order of learning.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The score of a row: a log-odds for [`Objective::LogLoss`]. The plain way, one tree after the other; [`Scorer`](crate::Scorer)
    /// gives the same numbers faster.
    ///
    /// # Panics
    /// If the row does not have one value per feature.
    pub fn score(&self, row: &[f32]) -> f32 {
        assert_eq!(row.len(), self.features.len(), "a value per feature");
        self.trees
            .iter()
            .fold(self.base, |sum, tree| sum + f64::from(tree.answer(row))) as f32
    }

    /// Gains are not kept; this is how many splits ask each feature, in the order of the features.
    pub fn splits_by_feature(&self) -> Vec<u32> {
        let mut counts = vec![0; self.features.len()];
        for node in self.trees.iter().flat_map(|tree| &tree.nodes) {
            counts[node.feature as usize] += 1;
        }
        counts
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.features.is_empty() || !self.base.is_finite() {
            return Err("no features, or a base that is not finite".to_owned());
        }
        for (at, tree) in self.trees.iter().enumerate() {
            tree.check(&self.features)
                .map_err(|reason| format!("tree {at}: {reason}"))?;
        }
        Ok(())
    }
}

impl Tree {
    /// Every node and leaf is reached exactly once, children come after parents.
    fn check(&self, features: &[Feature]) -> Result<(), String> {
        if self.leaves.len() != self.nodes.len() + 1 || self.leaf_rows.len() != self.leaves.len() {
            return Err(format!(
                "{} leaves for {} nodes",
                self.leaves.len(),
                self.nodes.len()
            ));
        }
        if self.leaves.iter().any(|leaf| !leaf.is_finite()) {
            return Err("a leaf is not finite".to_owned());
        }
        let mut reached_nodes = vec![false; self.nodes.len()];
        let mut reached_leaves = vec![false; self.leaves.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            let feature = features
                .get(node.feature as usize)
                .ok_or("a feature that is not there")?;
            let fits = match &node.test {
                Test::AtMost(bound) => feature.kind == FeatureKind::Number && !bound.is_nan(),
                Test::OneOf(set) => feature.kind == FeatureKind::Category && set.len() <= 2048,
            };
            if !fits {
                return Err(format!("node {at} asks what {} cannot answer", feature.name));
            }
            for place in [node.left, node.right] {
                let seen = match place {
                    Place::Node(child) if child as usize <= at => None,
                    Place::Node(child) => reached_nodes.get_mut(child as usize),
                    Place::Leaf(leaf) => reached_leaves.get_mut(leaf as usize),
                };
                let seen = seen.ok_or_else(|| format!("node {at} leads nowhere"))?;
                if std::mem::replace(seen, true) {
                    return Err(format!("two ways lead to the same place below node {at}"));
                }
            }
        }
        Ok(())
    }
}
