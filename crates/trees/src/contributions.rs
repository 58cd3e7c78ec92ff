//! What each feature adds to a score, exactly.

use crate::forest::{Forest, Place, Tree};

/// One feature met on the way to a leaf.
#[derive(Debug, Clone, Copy, Default)]
struct Met {
    feature: u32,
    /// Share of the training rows that go this way at the nodes that ask the feature.
    share: f64,
    /// 1 if the row goes this way, else 0.
    own: f64,
    /// Weight of the subsets of each size.
    weight: f64,
}

/// A tree with what is needed again and again: rows by node.
struct Weighed<'a> {
    tree: &'a Tree,
    node_rows: Vec<f64>,
}

impl Forest {
    /// Shapley values of a row's features, and what the score is without any: the sum of all is the score (of 64-bit sums).
    ///
    /// The game: a coalition of features answers as the tree does, where a node that asks another feature sends rows both ways as in training.
    /// Source: S. Lundberg, G. Erion and S. Lee (2018), "Consistent individualized feature attribution for tree ensembles", algorithm 2.
    /// Cost: trees × leaves × depth².
    ///
    /// # Panics
    /// If the row does not have one value per feature.
    pub fn contributions(&self, row: &[f32]) -> (Vec<f64>, f64) {
        assert_eq!(row.len(), self.features.len(), "a value per feature");
        let mut values = vec![0.0; row.len()];
        let mut expected = self.base;
        for tree in &self.trees {
            let weighed = Weighed::new(tree);
            expected += weighed.mean();
            if !tree.nodes.is_empty() {
                weighed.walk(
                    row,
                    Place::Node(0),
                    &mut Vec::new(),
                    (1.0, 1.0, u32::MAX),
                    &mut values,
                );
            }
        }
        (values, expected)
    }
}

impl Weighed<'_> {
    fn new(tree: &Tree) -> Weighed<'_> {
        let mut node_rows = vec![0.0; tree.nodes.len()];
        for at in (0..tree.nodes.len()).rev() {
            let rows = |place: Place| match place {
                Place::Node(node) => node_rows[node as usize],
                // A leaf of no rows still has to divide.
                Place::Leaf(leaf) => f64::from(tree.leaf_rows[leaf as usize].max(1)),
            };
            node_rows[at] = rows(tree.nodes[at].left) + rows(tree.nodes[at].right);
        }
        Weighed { tree, node_rows }
    }

    fn rows(&self, place: Place) -> f64 {
        match place {
            Place::Node(node) => self.node_rows[node as usize],
            Place::Leaf(leaf) => f64::from(self.tree.leaf_rows[leaf as usize].max(1)),
        }
    }

    /// Mean answer over the training rows.
    fn mean(&self) -> f64 {
        let rows = |leaf: usize| f64::from(self.tree.leaf_rows[leaf].max(1));
        let n = self.tree.leaves.len();
        let sum: f64 = (0..n)
            .map(|leaf| rows(leaf) * f64::from(self.tree.leaves[leaf]))
            .sum();
        sum / (0..n).map(rows).sum::<f64>()
    }

    /// `arriving`: share and own of the branch just taken, and the feature asked there.
    fn walk(
        &self,
        row: &[f32],
        place: Place,
        path: &mut Vec<Met>,
        arriving: (f64, f64, u32),
        values: &mut [f64],
    ) {
        extend(path, arriving.0, arriving.1, arriving.2);
        match place {
            Place::Leaf(leaf) => {
                let answer = f64::from(self.tree.leaves[leaf as usize]);
                for at in 1..path.len() {
                    let met = path[at];
                    values[met.feature as usize] += unwound_sum(path, at) * (met.own - met.share) * answer;
                }
            }
            Place::Node(at) => {
                let node = &self.tree.nodes[at as usize];
                let goes_left = node.goes_left(row[node.feature as usize]);
                let (mut share, mut own) = (1.0, 1.0);
                let mut here = path.clone();
                if let Some(found) = path.iter().skip(1).position(|met| met.feature == node.feature) {
                    let met = path[found + 1];
                    (share, own) = (met.share, met.own);
                    unwind(&mut here, found + 1);
                }
                for (child, is_taken) in [(node.left, goes_left), (node.right, !goes_left)] {
                    let part = self.rows(child) / self.node_rows[at as usize];
                    let own = if is_taken { own } else { 0.0 };
                    self.walk(
                        row,
                        child,
                        &mut here.clone(),
                        (share * part, own, node.feature),
                        values,
                    );
                }
            }
        }
    }
}

fn extend(path: &mut Vec<Met>, share: f64, own: f64, feature: u32) {
    let length = path.len();
    let weight = if length == 0 { 1.0 } else { 0.0 };
    path.push(Met {
        feature,
        share,
        own,
        weight,
    });
    let size = length as f64 + 1.0;
    for at in (0..length).rev() {
        path[at + 1].weight += own * path[at].weight * (at as f64 + 1.0) / size;
        path[at].weight *= share * (length as f64 - at as f64) / size;
    }
}

fn unwind(path: &mut Vec<Met>, out: usize) {
    let last = path.len() - 1;
    let Met { share, own, .. } = path[out];
    let size = last as f64 + 1.0;
    let mut next = path[last].weight;
    for at in (0..last).rev() {
        if own != 0.0 {
            let kept = path[at].weight;
            path[at].weight = next * size / ((at as f64 + 1.0) * own);
            next = kept - path[at].weight * share * (last as f64 - at as f64) / size;
        } else {
            path[at].weight = path[at].weight * size / (share * (last as f64 - at as f64));
        }
    }
    for at in out..last {
        let Met {
            feature, share, own, ..
        } = path[at + 1];
        path[at] = Met {
            feature,
            share,
            own,
            weight: path[at].weight,
        };
    }
    path.pop();
}

/// Sum of the weights after `out` is taken from the path.
fn unwound_sum(path: &[Met], out: usize) -> f64 {
    let last = path.len() - 1;
    let Met { share, own, .. } = path[out];
    let size = last as f64 + 1.0;
    let mut next = path[last].weight;
    let mut total = 0.0;
    for at in (0..last).rev() {
        if own != 0.0 {
            let weight = next * size / ((at as f64 + 1.0) * own);
            total += weight;
            next = path[at].weight - weight * share * (last as f64 - at as f64) / size;
        } else {
            total += path[at].weight / (share * (last as f64 - at as f64) / size);
        }
    }
    total
}
