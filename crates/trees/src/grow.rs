//! One tree, grown leaf by leaf: of all leaves the one is split whose best split gains most.

use crate::bins::{Binned, Cuts};
use crate::forest::{Node, Place, Test, Tree};
use crate::histogram::{Layout, Packed, Scale, histogram};
use crate::split::{LeafSums, LeftBins, Split, best_split};
use crate::{Feature, Monotone, TreesConfig};

/// What trees are grown from.
#[derive(Clone, Copy)]
pub(crate) struct Grower<'a> {
    pub(crate) config: &'a TreesConfig,
    pub(crate) features: &'a [Feature],
    pub(crate) binned: &'a Binned,
    pub(crate) layout: &'a Layout,
}

/// Gradients of one round.
pub(crate) struct Round<'a> {
    pub(crate) packed: &'a [Packed],
    pub(crate) scale: Scale,
    pub(crate) gradients: &'a [f64],
    pub(crate) hessians: &'a [f64],
}

/// A tree and the rows that came to each of its leaves.
pub(crate) struct Grown {
    pub(crate) tree: Tree,
    /// All rows it saw, leaf after leaf.
    pub(crate) rows: Vec<u32>,
    /// Per leaf, where its rows are in `rows`.
    pub(crate) spans: Vec<(usize, usize)>,
}

struct Growing {
    start: usize,
    end: usize,
    total: Packed,
    histogram: Vec<Packed>,
    depth: usize,
    bounds: (f64, f64),
    best: Option<Split>,
    /// Which branch leads here.
    parent: Option<(usize, bool)>,
}

impl Grower<'_> {
    /// Grows a tree on some rows (ascending) with some features (ascending).
    pub(crate) fn grow(&self, round: &Round<'_>, mut rows: Vec<u32>, used: &[usize]) -> Grown {
        let words: Vec<Packed> = rows.iter().map(|row| round.packed[*row as usize]).collect();
        let sums = histogram(self.binned, self.layout, &rows, &words);
        drop(words);
        let total = sums[self.layout.of(0)].iter().sum();
        let everything = (f64::NEG_INFINITY, f64::INFINITY);
        let root = Growing {
            start: 0,
            end: rows.len(),
            total,
            histogram: sums,
            depth: 0,
            bounds: everything,
            best: None,
            parent: None,
        };
        let mut leaves = vec![self.judged(root, round, used)];
        let mut nodes: Vec<Node> = Vec::new();
        let mut scratch = Vec::new();
        while leaves.len() < self.config.leaves {
            // Of equal gains the older leaf.
            let mut top: Option<(usize, f64)> = None;
            for (at, leaf) in leaves.iter().enumerate() {
                if let Some(split) = &leaf.best
                    && top.is_none_or(|(_, gain)| split.gain > gain)
                {
                    top = Some((at, split.gain));
                }
            }
            let Some((at, _)) = top else { break };
            let Some(split) = leaves[at].best.take() else {
                break;
            };
            let middle = self.part(&mut rows[leaves[at].start..leaves[at].end], &split, &mut scratch)
                + leaves[at].start;
            let leaf = &mut leaves[at];
            if middle == leaf.start || middle == leaf.end {
                // Rounded hessians promised rows that are not there.
                continue;
            }
            let parent = std::mem::take(&mut leaf.histogram);
            let is_left_smaller = middle - leaf.start <= leaf.end - middle;
            let small = if is_left_smaller {
                leaf.start..middle
            } else {
                middle..leaf.end
            };
            let words: Vec<Packed> = rows[small.clone()]
                .iter()
                .map(|row| round.packed[*row as usize])
                .collect();
            let smaller = histogram(self.binned, self.layout, &rows[small], &words);
            let mut larger = parent;
            larger.iter_mut().zip(&smaller).for_each(|(a, b)| *a -= b);
            let (left_sums, right_sums) = if is_left_smaller {
                (smaller, larger)
            } else {
                (larger, smaller)
            };
            let total = |sums: &[Packed]| sums[self.layout.of(0)].iter().sum::<Packed>();
            let (left_bounds, right_bounds) = self.bounds(&split, leaf.bounds);
            let node = nodes.len();
            nodes.push(self.node(&split));
            if let Some((above, is_left)) = leaf.parent {
                let place = if is_left {
                    &mut nodes[above].left
                } else {
                    &mut nodes[above].right
                };
                *place = Place::Node(node as u32);
            }
            let child = |start, end, histogram: Vec<Packed>, bounds, is_left| Growing {
                start,
                end,
                total: total(&histogram),
                histogram,
                depth: leaf.depth + 1,
                bounds,
                best: None,
                parent: Some((node, is_left)),
            };
            let left = child(leaf.start, middle, left_sums, left_bounds, true);
            let right = child(middle, leaf.end, right_sums, right_bounds, false);
            // Leaves that will not be split any more need no split.
            let (left, right) = if leaves.len() + 1 < self.config.leaves {
                (self.judged(left, round, used), self.judged(right, round, used))
            } else {
                (left, right)
            };
            leaves[at] = left;
            leaves.push(right);
        }
        let mut tree = Tree {
            nodes,
            ..Tree::default()
        };
        let mut spans = Vec::with_capacity(leaves.len());
        for (at, leaf) in leaves.iter().enumerate() {
            if let Some((above, is_left)) = leaf.parent {
                let node = &mut tree.nodes[above];
                let place = if is_left { &mut node.left } else { &mut node.right };
                *place = Place::Leaf(at as u32);
            }
            let of_leaf = &rows[leaf.start..leaf.end];
            let sum = |of: &[f64]| of_leaf.iter().map(|row| of[*row as usize]).sum::<f64>();
            let (g, h) = (sum(round.gradients), sum(round.hessians));
            let answer = -g / (h + self.config.reg).max(f64::MIN_POSITIVE);
            let answer = answer.clamp(leaf.bounds.0, leaf.bounds.1) * self.config.learning_rate;
            tree.leaves.push(answer as f32);
            tree.leaf_rows.push(of_leaf.len() as u32);
            spans.push((leaf.start, leaf.end));
        }
        Grown { tree, rows, spans }
    }

    fn judged(&self, leaf: Growing, round: &Round<'_>, used: &[usize]) -> Growing {
        if self.config.depth_max > 0 && leaf.depth >= self.config.depth_max {
            return leaf;
        }
        let sums = LeafSums {
            total: leaf.total,
            rows: leaf.end - leaf.start,
            bounds: leaf.bounds,
        };
        let best = best_split(self, used, &leaf.histogram, round.scale, sums);
        Growing { best, ..leaf }
    }

    /// What answers may be below a split: a constrained feature parts the range in the middle of both answers.
    fn bounds(&self, split: &Split, bounds: (f64, f64)) -> ((f64, f64), (f64, f64)) {
        let middle = (split.answers.0 + split.answers.1) * 0.5;
        match self.features[split.feature].monotone {
            Monotone::Free => (bounds, bounds),
            Monotone::Rising => ((bounds.0, middle), (middle, bounds.1)),
            Monotone::Falling => ((middle, bounds.1), (bounds.0, middle)),
        }
    }

    /// Puts rows that go left first, both sides in their order; how many there are.
    fn part(&self, rows: &mut [u32], split: &Split, scratch: &mut Vec<u32>) -> usize {
        let mut goes_left = [false; 256];
        goes_left[0] = split.missing_left;
        match &split.left {
            LeftBins::UpTo(last) => goes_left[1..=usize::from(*last)].fill(true),
            LeftBins::Set(bins) => bins.iter().for_each(|bin| goes_left[usize::from(*bin)] = true),
        }
        scratch.clear();
        scratch.resize(rows.len(), 0);
        let (mut n_left, mut n_right) = (0, 0);
        for at in 0..rows.len() {
            let row = rows[at];
            let left = goes_left[usize::from(self.binned.bin(split.feature, row as usize))];
            // Both are written, one counts: there is no branch to mispredict.
            rows[n_left] = row;
            scratch[n_right] = row;
            n_left += usize::from(left);
            n_right += usize::from(!left);
        }
        rows[n_left..].copy_from_slice(&scratch[..n_right]);
        n_left
    }

    fn node(&self, split: &Split) -> Node {
        let test = match (&split.left, &self.binned.cuts[split.feature]) {
            (LeftBins::UpTo(last), Cuts::Number(bounds)) => {
                // What is above the last bound is all that is not missing.
                let bound = bounds.get(usize::from(*last) - 1).copied();
                Test::AtMost(bound.unwrap_or(f32::INFINITY))
            }
            (LeftBins::Set(bins), Cuts::Category { codes, .. }) => {
                let mut set = Vec::new();
                for bin in bins {
                    let code = codes[usize::from(*bin) - 1] as usize;
                    if set.len() <= code / 32 {
                        set.resize(code / 32 + 1, 0u32);
                    }
                    set[code / 32] |= 1 << (code % 32);
                }
                Test::OneOf(set)
            }
            (left, _) => unreachable!("bins {left:?} are not of the kind of feature {}", split.feature),
        };
        Node {
            feature: split.feature as u32,
            test,
            missing_left: split.missing_left,
            left: Place::Leaf(0),
            right: Place::Leaf(0),
        }
    }
}
